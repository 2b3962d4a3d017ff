//! The chain of one link: what the station delivers, decoded and judged in one pass.

use fep_ccsds::Gvcid;
use fep_coding::conv::SymbolErrors;
use fep_coding::{FrameSync, SyncCounters, SyncState};
use fep_mission::ChannelConfig;
use fep_time::Tai;

use crate::batch::Batch;
use crate::block::Judgement;
use crate::datagram::DatagramReader;
use crate::spacecraft::Spacecraft;
use crate::symbols::SymbolInput;
use crate::{
    ChainError, ChainEvent, ChainOptions, DecodePool, Framing, Ledger, Reception, Refusals, ResumePoint,
    Sink, UndeclaredPackets, VcLedger,
};

/// The chain of one link.
pub struct Chain {
    input: Input,
    batch: Batch,
    spacecraft: Spacecraft,
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
    /// Parameters that a stage refuses; a channel out of [`fep_mission`] is never refused.
    pub fn new(channel: &ChannelConfig) -> Result<Chain, ChainError> {
        Chain::with_options(channel, ChainOptions::default())
    }

    /// A chain with everything said.
    ///
    /// # Errors
    /// As [`Chain::new`]; also an instruction set that this machine does not have.
    pub fn with_options(channel: &ChannelConfig, options: ChainOptions) -> Result<Chain, ChainError> {
        Chain::with_pool(channel, options, None)
    }

    /// A chain whose blocks of soft symbols are decoded in a pool of threads, in their order.
    ///
    /// # Errors
    /// As [`Chain::with_options`].
    pub fn with_pool(
        channel: &ChannelConfig,
        options: ChainOptions,
        pool: Option<Box<dyn DecodePool>>,
    ) -> Result<Chain, ChainError> {
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
                    Input::Symbols(Box::new(SymbolInput::new(channel, &options, sync, pool)?))
                } else {
                    Input::Stream(Box::new(sync))
                }
            }
            Framing::DatagramCadu => Input::Datagrams(DatagramReader::with_marker(&channel.sync)),
            Framing::DatagramFrame => Input::Datagrams(DatagramReader::without_marker()),
        };
        Ok(Chain {
            input,
            batch: Batch::new(channel, &options)?,
            spacecraft: Spacecraft::new(channel, &options),
        })
    }

    /// Takes the next octets of the stream, or one unit.
    pub fn receive(&mut self, reception: &Reception<'_>, sink: &mut impl Sink) {
        let Reception { octets: bytes, received, .. } = *reception;
        let before = self.lock_counts();
        let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
        match &mut self.input {
            Input::Stream(sync) => {
                sync.push(bytes, &mut |block| self.batch.push_block(&block, received, out));
                self.batch.flush(out);
            }
            Input::Datagrams(reader) => {
                reader.read(bytes, &mut self.batch, received, out);
                self.batch.flush(out);
            }
            Input::Symbols(input) => input.push(bytes, received, &mut self.batch, out),
        }
        self.report_lock(before, sink);
    }

    /// Nothing came, and it is `now`: blocks of soft symbols that have waited for others as long as they may are
    /// decoded ([`Decoding::wait_us`]).
    pub fn idle(&mut self, now: Tai, sink: &mut impl Sink) {
        if let Input::Symbols(input) = &mut self.input {
            let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
            input.idle(now, &mut self.batch, out);
        }
    }

    /// Whether blocks wait for [`Chain::idle`].
    pub fn is_waiting(&self) -> bool {
        matches!(&self.input, Input::Symbols(input) if input.is_waiting())
    }

    /// The stream has ended: takes what the synchroniser still holds.
    fn finish(&mut self, received: Tai, sink: &mut impl Sink) {
        let before = self.lock_counts();
        let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
        match &mut self.input {
            Input::Stream(sync) => {
                sync.finish(&mut |block| self.batch.push_block(&block, received, out));
                self.batch.flush(out);
            }
            Input::Symbols(input) => input.finish(received, &mut self.batch, out),
            Input::Datagrams(_) => {}
        }
        self.report_lock(before, sink);
    }

    /// The connection has ended, or the stream: what is held is decoded and handed on at once, and what follows does not
    /// continue it. Counters of virtual channels are kept, so that what is lost until the next reception is counted.
    pub fn disconnected(&mut self, received: Tai, sink: &mut impl Sink) {
        let had_phase = matches!(&self.input, Input::Symbols(input) if input.has_phase());
        self.finish(received, sink);
        if had_phase {
            sink.event(ChainEvent::PhaseLost { errors: SymbolErrors::default() });
        }
        if self.is_locked() {
            sink.event(ChainEvent::LockLost);
        }
        self.spacecraft.interrupted();
        self.reset_input();
    }

    /// Forgets everything but what was counted: synchronisation, virtual channel counters, packets begun.
    pub fn reset(&mut self) {
        self.reset_input();
        self.batch.reset();
        self.spacecraft.reset();
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
        self.spacecraft.ledger()
    }

    /// Counts of the virtual channels, in the order of the configuration.
    pub fn vcs(&self) -> impl ExactSizeIterator<Item = (Gvcid, &VcLedger)> {
        self.spacecraft.vcs()
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

    /// Frames of unknown spacecraft and unknown virtual channels, by what their headers name.
    pub fn refusals(&self) -> &Refusals {
        self.spacecraft.refusals()
    }

    /// Packets with APIDs that the mission does not name, of virtual channels that report or reject them.
    pub fn undeclared_packets(&self) -> impl Iterator<Item = (Gvcid, &UndeclaredPackets)> {
        self.spacecraft.undeclared_packets()
    }

    /// Where the frame counters stand, to be given to the chain that continues after a restart.
    pub fn resume_point(&self) -> ResumePoint {
        self.spacecraft.resume_point()
    }

    /// Continues frame counters: what was lost since that point is counted with the first frame of each channel, by the time
    /// that went by.
    pub fn resume(&mut self, point: &ResumePoint) {
        self.spacecraft.resume(point);
    }

    fn is_locked(&self) -> bool {
        matches!(self.sync_state(), Some(SyncState::Lock | SyncState::Flywheel))
    }

    /// How often lock was acquired and lost so far.
    fn lock_counts(&self) -> (u64, u64) {
        self.sync_counters().map_or((0, 0), |counters| (counters.lock_acquired, counters.lock_lost))
    }

    fn report_lock(&mut self, before: (u64, u64), sink: &mut impl Sink) {
        // Several changes within one chunk are told once each way, the present state last.
        let now = self.lock_counts();
        let (gained, fell, locked_now) = (now.0 > before.0, now.1 > before.1, self.is_locked());
        if gained && !locked_now {
            sink.event(ChainEvent::LockAcquired);
        }
        if fell {
            self.spacecraft.interrupted();
            sink.event(ChainEvent::LockLost);
        }
        if gained && locked_now {
            sink.event(ChainEvent::LockAcquired);
        }
    }
}
