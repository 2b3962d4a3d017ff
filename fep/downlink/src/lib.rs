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

mod block;
mod chain;
mod channels;
mod counters;
mod datagram;
mod decoding;
mod extraction;
mod framer;
mod ledger;
mod merge;
mod reception;
mod sightings;
mod spacecraft;
mod symbols;
mod times;
mod virtual_channel;

use fep_ccsds::{Frame, Gvcid, MasterChannel};
use fep_coding::conv::{Hypothesis, SymbolErrors};
use fep_coding::soft::{SoftFormat, SoftFormatError, SoftSyncSpecError};
use fep_coding::sync::SyncSpecError;
use fep_coding::{CodeSpecError, Isa};
use fep_record::{FrameRecord, PacketRecord, Session};
use fep_time::Tai;
use serde::{Deserialize, Serialize};

pub use chain::Chain;
pub use counters::ResumePoint;
pub use decoding::{DecodeJob, DecodePool};
pub use extraction::{Extracted, Extraction, ExtractionLedger, RecordedFrame};
use fep_mission::Colour;
pub use ledger::{BadFrames, Counts, Ledger, UnknownReason, VcLedger};
pub use merge::{
    ANTENNAS_MAX, AntennaCounts, Fate, Merge, MergeInput, MergeLedger, MergeSpec, MergeSpecError, Merged,
};
pub use reception::{Quality, Reception};
pub use sightings::{Refusal, Refusals, UndeclaredPackets};
pub use spacecraft::{EXPLORED_MAX, Spacecraft};

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

/// How blocks are decoded: see `decode_threads` in `config/default.toml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Decoding {
    /// Threads that decode; 0 for the link's own.
    pub threads: usize,
    /// The most blocks decoded together; 0 as the decoder likes best.
    pub batch: usize,
    /// How long a block may wait for others to be decoded with, microseconds.
    pub wait_us: u32,
}

/// What a chain is told besides the managed parameters of its channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainOptions {
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
    /// How datagrams that changed places on the network are put right; `None` to take them as they come. Not for streams,
    /// whose frames cannot change places.
    pub reorder: Option<ReorderSpec>,
    /// Frames only: no packets are taken out of them. For one of several antennas, whose frames are merged first.
    pub frames_only: bool,
    /// Whether spacecraft and virtual channels that the mission does not describe are taken as they come, up to
    /// [`EXPLORED_MAX`]. For files of an unknown satellite, not for a link whose sink knows the configured ones only:
    /// indexes of what is found lie behind those of the configuration.
    pub explore: bool,
}

/// How datagrams that changed places are put right: a frame before whose count others are missing waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReorderSpec {
    /// How long, nanoseconds.
    pub wait_ns: i64,
    /// How many frames of a virtual channel at most.
    pub window_frames: usize,
}

/// Where the chain hands its results. Everything borrowed is valid during the call only.
pub trait Sink {
    /// A frame, good or bad.
    fn frame(&mut self, frame: &FrameOut<'_>);
    /// A packet, complete. It comes after the frame in which it ended.
    fn packet(&mut self, packet: &PacketOut<'_>);
    /// Something that an operator wants to know.
    fn event(&mut self, event: ChainEvent);
    /// The operational control field of a good frame, once for each that has one; also for idle frames that are dropped.
    fn ocf(&mut self, ocf: &OcfOut) {
        let _ = ocf;
    }
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
    pub received: Tai,
    /// Its parts; `None` when its header is not to be believed, or its virtual channel not known.
    pub view: Option<&'a Frame<'a>>,
    /// Index of its virtual channel in the configuration; `None` when it cannot be attributed.
    pub vc: Option<usize>,
    /// Which rings it may go to.
    pub colour: Colour,
    /// Frames of its virtual channel missing before it; at least so many with [`fep_record::FrameFlags::LOSS_AT_LEAST`].
    pub lost: u64,
    /// The counters of its spacecraft as they stand with this frame; `None` when it cannot be attributed.
    pub counters: Option<&'a MasterChannel>,
}

/// An operational control field as the chain hands it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcfOut {
    /// Virtual channel of the frame that it came in.
    pub gvcid: Gvcid,
    /// The field: [`fep_ccsds::Clcw::parse`] reads it.
    pub octets: [u8; 4],
    /// When the frame was received.
    pub received: Tai,
    /// Colour of the frame.
    pub colour: Colour,
    /// Whether a code or a FECF has verified the frame.
    pub verified: bool,
}

/// A packet as the chain hands it over.
#[derive(Debug, Clone, Copy)]
pub struct PacketOut<'a> {
    /// The packet, header included.
    pub octets: &'a [u8],
    /// What is known of it. `frame_seq` is left 0: the sink knows the sequence number of the frame before.
    pub record: PacketRecord,
    /// When the frame in which it ended was received.
    pub received: Tai,
    /// Index of its virtual channel in the configuration.
    pub vc: usize,
    /// Which rings it may go to.
    pub colour: Colour,
    /// Whether it began in an earlier frame than the one in which it ended.
    pub spanned: bool,
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEvent {
    /// The synchroniser is sure of the markers.
    LockAcquired {
        /// How often since the event before it of either kind: all of them together are what the synchroniser counts.
        times: u64,
    },
    /// It is not any more.
    LockLost {
        /// As for [`ChainEvent::LockAcquired`].
        times: u64,
    },
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
        /// How many.
        lost: u64,
        /// The count allows more, and time does not tell how many: `lost` is the least number, and may be 0.
        at_least: bool,
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
    /// The data field status of a TM frame has another segment length identifier than 132.0-B-3 demands, the first of its
    /// virtual channel. Its packets are taken all the same.
    LegacyStatus {
        /// Which channel.
        gvcid: Gvcid,
    },
    /// A packet with an APID that the mission does not name, the first of its virtual channel.
    UndeclaredApid {
        /// Which channel.
        gvcid: Gvcid,
        /// The APID.
        apid: u16,
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
    /// The reordering of datagrams cannot be.
    #[error("reordering of channel {channel}: {source}")]
    Reorder {
        /// `mission/channel`.
        channel: String,
        /// What is wrong with it.
        source: MergeSpecError,
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
