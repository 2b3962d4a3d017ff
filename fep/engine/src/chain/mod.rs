//! The downlink chain: bytes of a physical channel in, frames and packets with their verdicts out.
//!
//! Sans I/O: bytes and times are arguments, results go to a [`Sink`]. The daemon, the offline decoder and the
//! benchmarks run this same code. One chain serves one link; it never blocks, and after construction it allocates only
//! to remember a packet longer than any before it.
//!
//! ```text
//! bytes ── FrameSync ── derandomise into the batch ── decode the batch ── FECF ── header ── counters ── Sink::frame
//!          (markers)     (one copy, L1/L2)             (verdicts)                              └─ packets ── Sink::packet
//! ```
//! Links that deliver soft symbols have other stages in front (`symbols`); what follows the decoder is the same.
//!
//! A batch is decoded when it is full and at the end of every push: no frame waits for the next chunk. No field of a
//! header is believed before the code and the FECF have vouched for it. A bad frame goes to the sink as well, with the
//! reason, and counts as lost on its virtual channel only through the counter of the next good frame.

mod batch;
mod counters;
mod datagram;
mod decoding;
mod ledger;
mod symbols;
mod virtual_channel;

use fep_ccsds::{Frame, Gvcid};
use fep_coding::conv::{Hypothesis, SymbolErrors};
use fep_coding::soft::{SoftFormat, SoftFormatError, SoftSyncSpecError};
use fep_coding::sync::SyncSpecError;
use fep_coding::{CodeSpecError, FrameSync, Isa, SyncCounters, SyncState};
use fep_record::{FrameRecord, PacketRecord, Session};
use serde::{Deserialize, Serialize};

use crate::config::{ChannelConfig, Decoding, VcColour};
use batch::Batch;
pub use counters::{ResumePoint, VcResume};
use datagram::DatagramReader;
pub use ledger::{BadFrames, Counts, Ledger, UnknownReason, VcLedger};
use symbols::SymbolInput;

/// How frames lie in what the station sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A bit stream with markers at any alignment, cut anywhere.
    #[default]
    Stream,
    /// One channel access data unit a datagram, marker included.
    DatagramCadu,
    /// One frame a datagram without marker: a codeblock as received, or a frame that the station has decoded; the
    /// length tells.
    DatagramFrame,
}

/// What becomes of idle frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdlePolicy {
    /// They go on like any other.
    #[default]
    Publish,
    /// They are counted and dropped.
    Drop,
}

/// What a chain is told besides the managed parameters of its channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainOptions {
    /// Number of the link, for the records.
    pub link_id: u16,
    /// What the data is, for the records.
    pub session: Session,
    /// How frames lie in the input.
    pub framing: Framing,
    /// What becomes of idle frames.
    pub idle: IdlePolicy,
    /// Instruction set of the kernels; `None` for the best of this machine.
    pub isa: Option<Isa>,
    /// How soft symbols lie in the input; `None` for plain bits (hard symbols, to a code that works on symbols).
    pub symbols: Option<SoftFormat>,
    /// How blocks of soft symbols are decoded.
    pub decoding: Decoding,
}

/// Where the chain hands its results. Everything borrowed is valid during the call only.
pub trait Sink {
    /// A frame, good or bad.
    fn frame(&mut self, frame: &FrameOut<'_>);
    /// A packet, complete. It comes after the frame in which it ended.
    fn packet(&mut self, packet: &PacketOut<'_>);
    /// Something that an operator wants to know.
    fn event(&mut self, event: ChainEvent);
    /// An idle frame that is dropped by configuration: for whoever follows counters.
    fn idle_dropped(&mut self, frame: &FrameOut<'_>) {
        let _ = frame;
    }
    /// So many frames have been decoded and are about to be handed over.
    fn batch_decoded(&mut self, frames: usize) {
        let _ = frames;
    }
    /// They have been handed over.
    fn batch_done(&mut self) {}
}

/// A frame as the chain hands it over.
#[derive(Debug, Clone, Copy)]
pub struct FrameOut<'a> {
    /// The transfer frame: no marker, no check symbols. As received when it could not be corrected.
    pub octets: &'a [u8],
    /// What is known of it.
    pub record: FrameRecord,
    /// When it was received.
    pub rx_tai_ns: i64,
    /// Its parts; `None` when its header is not to be believed.
    pub view: Option<&'a Frame<'a>>,
    /// Index of its virtual channel in the configuration; `None` when bad.
    pub vc: Option<usize>,
    /// Which rings it may go to.
    pub colour: VcColour,
    /// Frames of its virtual channel missing before it.
    pub lost: u64,
}

/// A packet as the chain hands it over.
#[derive(Debug, Clone, Copy)]
pub struct PacketOut<'a> {
    /// The packet, header included.
    pub octets: &'a [u8],
    /// What is known of it. `frame_seq` is left 0: the sink knows the sequence number of the frame before.
    pub record: PacketRecord,
    /// When the frame in which it ended was received.
    pub rx_tai_ns: i64,
    /// Index of its virtual channel in the configuration.
    pub vc: usize,
    /// Which rings it may go to.
    pub colour: VcColour,
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEvent {
    /// The synchroniser is sure of the markers.
    LockAcquired,
    /// It is not any more.
    LockLost,
    /// A convolutional decoder knows where the puncture period begins and how the axes are turned.
    PhaseFound {
        /// How the symbols are read from here on.
        hypothesis: Hypothesis,
        /// What it found wrong while it tried.
        errors: SymbolErrors,
    },
    /// It does not any more.
    PhaseLost {
        /// What was wrong of late; nothing compared when the stream itself ended.
        errors: SymbolErrors,
    },
    /// Frames of a virtual channel are missing.
    Gap {
        /// Which channel.
        gvcid: Gvcid,
        /// How many, modulo the width of the counter.
        lost: u64,
        /// Count of the frame after the gap.
        count: u64,
    },
    /// A frame counter jumped backwards.
    Reset {
        /// Which channel.
        gvcid: Gvcid,
        /// Count of the frame after the jump.
        count: u64,
    },
    /// The same count twice.
    Duplicate {
        /// Which channel.
        gvcid: Gvcid,
        /// The count.
        count: u64,
    },
    /// A bad frame.
    Bad {
        /// Why.
        reason: fep_record::BadReason,
    },
}

/// Why a chain cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// The synchroniser refuses its parameters.
    #[error("synchroniser of channel {channel}: {source}")]
    Sync {
        /// `mission/channel`.
        channel: String,
        /// What it says.
        source: SyncSpecError,
    },
    /// The synchroniser of soft symbols refuses its parameters.
    #[error("synchroniser of channel {channel}: {source}")]
    SoftSync {
        /// `mission/channel`.
        channel: String,
        /// What it says.
        source: SoftSyncSpecError,
    },
    /// There is no such format of symbols.
    #[error("symbols of channel {channel}: {source}")]
    Symbols {
        /// `mission/channel`.
        channel: String,
        /// What is wrong with it.
        source: SoftFormatError,
    },
    /// The decoder refuses its parameters.
    #[error("code of channel {channel}: {source}")]
    Code {
        /// `mission/channel`.
        channel: String,
        /// What it says.
        source: CodeSpecError,
    },
}

/// The chain of one link.
pub struct Chain {
    input: Input,
    batch: Batch,
}

enum Input {
    Stream(Box<FrameSync>),
    Datagrams(DatagramReader),
    Symbols(Box<SymbolInput>),
}

impl Chain {
    /// The chain of a bit stream, published in session OPS under link number 0.
    ///
    /// # Errors
    /// Parameters that a stage refuses; a channel out of [`crate::config`] is never refused.
    pub fn new(channel: &ChannelConfig) -> Result<Chain, ChainError> {
        Chain::with_options(channel, ChainOptions::default())
    }

    /// A chain with everything said.
    ///
    /// # Errors
    /// As [`Chain::new`]; also an instruction set that this machine does not have.
    pub fn with_options(channel: &ChannelConfig, options: ChainOptions) -> Result<Chain, ChainError> {
        let input = match options.framing {
            Framing::Stream => {
                let refused = |source| ChainError::Sync { channel: channel.name.clone(), source };
                let sync = FrameSync::new(channel.sync.clone()).map_err(refused)?;
                let sync = match options.isa {
                    Some(isa) => sync.with_isa(isa).map_err(|error| ChainError::Code {
                        channel: channel.name.clone(),
                        source: error.into(),
                    })?,
                    None => sync,
                };
                if options.symbols.is_some() || channel.code.needs_symbols() {
                    Input::Symbols(Box::new(SymbolInput::new(channel, &options, sync)?))
                } else {
                    Input::Stream(Box::new(sync))
                }
            }
            Framing::DatagramCadu => Input::Datagrams(DatagramReader::with_marker(&channel.sync)),
            Framing::DatagramFrame => Input::Datagrams(DatagramReader::without_marker()),
        };
        Ok(Chain { input, batch: Batch::new(channel, &options)? })
    }

    /// Takes the next bytes of the stream, or one datagram, received at `rx_tai_ns`.
    pub fn push(&mut self, bytes: &[u8], rx_tai_ns: i64, sink: &mut impl Sink) {
        let before = self.lock_counts();
        match &mut self.input {
            Input::Stream(sync) => {
                sync.push(bytes, &mut |block| self.batch.push_block(&block, rx_tai_ns, sink));
                self.batch.flush(sink);
            }
            Input::Datagrams(reader) => {
                reader.read(bytes, &mut self.batch, rx_tai_ns, sink);
                self.batch.flush(sink);
            }
            Input::Symbols(input) => input.push(bytes, rx_tai_ns, &mut self.batch, sink),
        }
        self.report_lock(before, sink);
    }

    /// Nothing came, and it is `now_tai_ns`: blocks of soft symbols that have waited for others as long as they may are
    /// decoded ([`Decoding::wait_us`]).
    pub fn idle(&mut self, now_tai_ns: i64, sink: &mut impl Sink) {
        if let Input::Symbols(input) = &mut self.input {
            input.idle(now_tai_ns, &mut self.batch, sink);
        }
    }

    /// Whether blocks wait for [`Chain::idle`].
    pub fn is_waiting(&self) -> bool {
        matches!(&self.input, Input::Symbols(input) if input.is_waiting())
    }

    /// The stream has ended: takes what the synchroniser still holds.
    pub fn finish(&mut self, rx_tai_ns: i64, sink: &mut impl Sink) {
        let before = self.lock_counts();
        match &mut self.input {
            Input::Stream(sync) => {
                sync.finish(&mut |block| self.batch.push_block(&block, rx_tai_ns, sink));
                self.batch.flush(sink);
            }
            Input::Symbols(input) => input.finish(rx_tai_ns, &mut self.batch, sink),
            Input::Datagrams(_) => {}
        }
        self.report_lock(before, sink);
    }

    /// The bytes that follow do not continue those before: a new connection. Counters of virtual channels are kept, so
    /// that what was lost in between is counted.
    pub fn connection_start(&mut self, rx_tai_ns: i64, sink: &mut impl Sink) {
        let had_phase = matches!(&self.input, Input::Symbols(input) if input.has_phase());
        self.finish(rx_tai_ns, sink);
        if had_phase {
            sink.event(ChainEvent::PhaseLost { errors: SymbolErrors::default() });
        }
        if self.is_locked() {
            sink.event(ChainEvent::LockLost);
        }
        self.reset_input();
    }

    /// Forgets everything but what was counted: synchronisation, virtual channel counters, packets begun.
    pub fn reset(&mut self) {
        self.reset_input();
        self.batch.reset();
    }

    fn reset_input(&mut self) {
        match &mut self.input {
            Input::Stream(sync) => sync.reset(),
            Input::Symbols(input) => input.reset(),
            Input::Datagrams(_) => {}
        }
    }

    /// What became of the frames.
    pub fn ledger(&self) -> &Ledger {
        self.batch.ledger()
    }

    /// Counts of the virtual channels, in the order of the configuration.
    pub fn vcs(&self) -> impl ExactSizeIterator<Item = (Gvcid, &VcLedger)> {
        self.batch.vcs()
    }

    /// Counters of the synchroniser; `None` for datagrams.
    pub fn sync_counters(&self) -> Option<&SyncCounters> {
        match &self.input {
            Input::Stream(sync) => Some(sync.counters()),
            Input::Symbols(input) => Some(input.counters()),
            Input::Datagrams(_) => None,
        }
    }

    /// State of the synchroniser; `None` for datagrams.
    pub fn sync_state(&self) -> Option<SyncState> {
        match &self.input {
            Input::Stream(sync) => Some(sync.state()),
            Input::Symbols(input) => Some(input.state()),
            Input::Datagrams(_) => None,
        }
    }

    /// Where the frame counters stand, to be given to the chain that continues after a restart.
    pub fn resume_point(&self) -> &ResumePoint {
        self.batch.resume_point()
    }

    /// Continues frame counters: what was lost since that point is counted with the first frame of each channel,
    /// modulo the width of its counter.
    pub fn resume(&mut self, point: ResumePoint) {
        self.batch.resume(point);
    }

    fn is_locked(&self) -> bool {
        matches!(self.sync_state(), Some(SyncState::Lock | SyncState::Flywheel))
    }

    /// How often lock was acquired and lost so far.
    fn lock_counts(&self) -> (u64, u64) {
        self.sync_counters().map_or((0, 0), |counters| (counters.lock_acquired, counters.lock_lost))
    }

    fn report_lock(&self, before: (u64, u64), sink: &mut impl Sink) {
        // Several changes within one chunk are told once each way, the present state last.
        let now = self.lock_counts();
        let (gained, fell, locked_now) = (now.0 > before.0, now.1 > before.1, self.is_locked());
        if gained && !locked_now {
            sink.event(ChainEvent::LockAcquired);
        }
        if fell {
            sink.event(ChainEvent::LockLost);
        }
        if gained && locked_now {
            sink.event(ChainEvent::LockAcquired);
        }
    }
}
