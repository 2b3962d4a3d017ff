//! The chain of one link: what the station delivers, decoded and judged in one pass.

use fep_ccsds::Gvcid;
use fep_coding::conv::SymbolErrors;
use fep_coding::differential::{DifferentialDecoder, LineCode};
use fep_coding::{FrameSync, Isa, SyncCounters, SyncState};
use fep_mission::ChannelConfig;
use fep_time::{Monotonic, Tai};

use crate::block::{BlockNote, Judgement};
use crate::datagram::DatagramReader;
use crate::decoding::{Decoding, OctetBlocks, OctetShape};
use crate::framer::Framer;
use crate::spacecraft::Spacecraft;
use crate::symbols::SymbolInput;
use crate::times::ChunkTimes;
use crate::{
    ChainError, ChainEvent, ChainOptions, DecodePool, Framing, Ledger, Reception, Refusals, ResumePoint,
    Sink, UndeclaredPackets, VcLedger,
};

/// The chain of one link.
pub struct Chain {
    input: Input,
    octets: Octets,
    spacecraft: Spacecraft,
    /// Which antenna received last, and when the chain was last called: for what is handed on at the end of a connection.
    antenna: u16,
    now: Monotonic,
}

enum Input {
    Stream(Box<BitStream>),
    Datagrams(DatagramReader),
    Symbols(Box<SymbolInput>),
}

/// Blocks of octets on their way through their decoder.
pub(crate) struct Octets {
    blocks: Decoding<OctetBlocks>,
}

impl Octets {
    #[inline]
    pub(crate) fn put(
        &mut self,
        block: &[u8],
        note: BlockNote,
        now: Monotonic,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.blocks.room().put(block, note);
        self.blocks.gathered(now, &mut |frame| out.decoded(frame));
    }

    fn end_of_chunk(&mut self, now: Monotonic, out: &mut Judgement<'_, impl Sink>) {
        self.blocks.end_of_chunk(now, &mut |frame| out.decoded(frame));
    }

    fn flush(&mut self, out: &mut Judgement<'_, impl Sink>) {
        self.blocks.flush(&mut |frame| out.decoded(frame));
    }
}

/// A stream of plain bits.
struct BitStream {
    framer: Framer,
    line: Option<DifferentialDecoder>,
    /// Bits behind the line code; empty without one.
    bits: Vec<u8>,
    /// Bits of the stream taken so far.
    place: u64,
    times: ChunkTimes,
}

impl BitStream {
    fn push(
        &mut self,
        octets: &[u8],
        received: Tai,
        antenna: u16,
        now: Monotonic,
        blocks: &mut Octets,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        let BitStream { framer, line, bits, place, times } = self;
        times.begin(*place, received);
        *place += 8 * octets.len() as u64;
        let octets = match line {
            None => octets,
            Some(line) => {
                bits.clear();
                line.push(octets, bits);
                bits
            }
        };
        framer.push(octets, antenna, &mut |bit| times.at(bit), &mut |block, note| {
            blocks.put(block.data, note, now, out);
        });
    }

    fn finish(
        &mut self,
        antenna: u16,
        now: Monotonic,
        blocks: &mut Octets,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        let BitStream { framer, times, .. } = self;
        framer.finish(antenna, &mut |bit| times.at(bit), &mut |block, note| {
            blocks.put(block.data, note, now, out)
        });
        self.reset();
    }

    fn reset(&mut self) {
        self.framer.reset();
        if let Some(line) = &mut self.line {
            line.reset();
        }
        self.place = 0;
        self.times.clear();
    }
}

impl Chain {
    /// The chain of a bit stream, published in session OPS.
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

    /// A chain whose blocks are decoded in a pool of threads, in their order.
    ///
    /// # Errors
    /// As [`Chain::with_options`].
    pub fn with_pool(
        channel: &ChannelConfig,
        options: ChainOptions,
        mut pool: Option<Box<dyn DecodePool>>,
    ) -> Result<Chain, ChainError> {
        let code = |source| ChainError::Code { channel: channel.name.clone(), source };
        let isa = options.isa.unwrap_or_else(Isa::best);
        let input = match options.framing {
            Framing::Stream => {
                let sync = FrameSync::new(channel.sync.clone())
                    .map_err(|source| ChainError::Sync { channel: channel.name.clone(), source })?
                    .with_isa(isa)
                    .map_err(|error| code(error.into()))?;
                if options.symbols.is_some() || channel.code.needs_symbols() {
                    // Where a code works on symbols, that is the work worth a pool; else the blocks of octets behind.
                    let symbol_pool = if channel.code.needs_symbols() { pool.take() } else { None };
                    Input::Symbols(Box::new(SymbolInput::new(channel, &options, sync, symbol_pool)?))
                } else {
                    let line = channel.line_code;
                    Input::Stream(Box::new(BitStream {
                        framer: Framer::new(sync),
                        line: (line != LineCode::NrzL).then(|| DifferentialDecoder::new(line)),
                        bits: Vec::new(),
                        place: 0,
                        times: ChunkTimes::default(),
                    }))
                }
            }
            Framing::DatagramCadu => Input::Datagrams(DatagramReader::with_marker(&channel.sync)),
            Framing::DatagramFrame => Input::Datagrams(DatagramReader::without_marker(&channel.sync)),
        };
        let shape = OctetShape::of(channel, isa);
        let make = || OctetBlocks::new(&shape);
        Ok(Chain {
            input,
            octets: Octets { blocks: Decoding::new(options.decoding.wait_us, pool, make).map_err(code)? },
            spacecraft: Spacecraft::new(channel, &options)
                .map_err(|source| ChainError::Reorder { channel: channel.name.clone(), source })?,
            antenna: 0,
            now: Monotonic::PAST,
        })
    }

    /// Takes the next octets of the stream, or one unit. `now` bounds how long blocks wait for others; it says nothing
    /// about when anything was received.
    pub fn receive(&mut self, reception: &Reception<'_>, now: Monotonic, sink: &mut impl Sink) {
        let Reception { octets, received, antenna, quality } = *reception;
        (self.antenna, self.now) = (antenna, now);
        self.spacecraft.now = now;
        let before = self.lock();
        let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
        match &mut self.input {
            Input::Stream(stream) => stream.push(octets, received, antenna, now, &mut self.octets, out),
            Input::Datagrams(reader) => {
                let note = BlockNote { received, antenna, quality, ..BlockNote::default() };
                reader.read(octets, note, now, &mut self.octets.blocks, out);
            }
            Input::Symbols(input) => input.push(octets, received, antenna, now, &mut self.octets, out),
        }
        self.octets.end_of_chunk(now, out);
        self.spacecraft.end_of_wait(now, sink);
        self.report_lock(before, sink);
    }

    /// Nothing came, and it is `now`: blocks that have waited for others as long as they may are decoded
    /// ([`crate::Decoding::wait_us`]).
    pub fn idle(&mut self, now: Monotonic, sink: &mut impl Sink) {
        self.now = now;
        let before = self.lock();
        let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
        if let Input::Symbols(input) = &mut self.input {
            input.idle(self.antenna, now, out);
        }
        self.octets.end_of_chunk(now, out);
        self.spacecraft.end_of_wait(now, sink);
        self.report_lock(before, sink);
    }

    /// Whether blocks or frames wait for [`Chain::idle`].
    pub fn is_waiting(&self) -> bool {
        self.octets.blocks.is_waiting()
            || self.spacecraft.is_waiting()
            || matches!(&self.input, Input::Symbols(input) if input.is_waiting())
    }

    /// Whether a job of the pool of threads came back undecoded. Its blocks went out as uncorrectable; the pool should be
    /// made anew.
    pub fn pool_failed(&self) -> bool {
        self.octets.blocks.has_failed() || matches!(&self.input, Input::Symbols(input) if input.has_failed())
    }

    /// The connection has ended, or the stream: what is held is decoded and handed on at once with its own times, and what
    /// follows does not continue it. The synchroniser searches anew. Counters of virtual channels are kept, so that what
    /// is lost until the next reception is counted.
    pub fn disconnected(&mut self, sink: &mut impl Sink) {
        let before = self.lock();
        let had_phase = self.has_phase();
        let out = &mut Judgement { spacecraft: &mut self.spacecraft, sink };
        match &mut self.input {
            Input::Stream(stream) => stream.finish(self.antenna, self.now, &mut self.octets, out),
            Input::Symbols(input) => input.finish(self.antenna, self.now, &mut self.octets, out),
            Input::Datagrams(_) => {}
        }
        self.octets.flush(out);
        self.spacecraft.flush(sink);
        if had_phase {
            sink.event(ChainEvent::PhaseLost { errors: SymbolErrors::default() });
        }
        self.report_lock(before, sink);
        self.spacecraft.interrupted();
    }

    /// Forgets everything but what was counted: synchronisation, virtual channel counters, packets begun. A phase and a lock
    /// that there were are reported as lost.
    pub fn reset(&mut self, sink: &mut impl Sink) {
        let before = self.lock();
        let had_phase = self.has_phase();
        match &mut self.input {
            Input::Stream(stream) => stream.reset(),
            Input::Symbols(input) => input.reset(),
            Input::Datagrams(_) => {}
        }
        self.octets.blocks.reset();
        self.spacecraft.reset();
        if had_phase {
            sink.event(ChainEvent::PhaseLost { errors: SymbolErrors::default() });
        }
        self.report_lock(before, sink);
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
            Input::Stream(stream) => Some(stream.framer.counters()),
            Input::Symbols(input) => Some(input.counters()),
            Input::Datagrams(_) => None,
        }
    }

    /// State of the synchroniser; `None` for datagrams.
    pub fn sync_state(&self) -> Option<SyncState> {
        match &self.input {
            Input::Stream(stream) => Some(stream.framer.state()),
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

    /// Whether a convolutional decoder has found its phase.
    fn has_phase(&self) -> bool {
        matches!(&self.input, Input::Symbols(input) if input.has_phase())
    }

    /// How often lock was acquired and lost so far.
    fn lock(&self) -> Lock {
        let (acquired, lost) =
            self.sync_counters().map_or((0, 0), |counters| (counters.lock_acquired, counters.lock_lost));
        Lock { acquired, lost }
    }

    /// Reports how lock came from where it stood `before` to where it stands now. Acquired and lost always alternate;
    /// several changes within one chunk are reported as few, with their numbers, the present state last. The numbers are
    /// those of the synchroniser's counters, so that events and counters agree.
    fn report_lock(&self, before: Lock, sink: &mut impl Sink) {
        let now = self.lock();
        let (gained, fell) = (now.acquired - before.acquired, now.lost - before.lost);
        let was_locked = before.acquired > before.lost;
        let (first, second) = if was_locked { (fell, gained) } else { (gained, fell) };
        let turns = if first == second { [first, second, 0] } else { [second, second, 1] };
        for (turn, times) in turns.into_iter().enumerate().filter(|(_, times)| *times > 0) {
            let is_locked = was_locked == (turn % 2 == 1);
            sink.event(match is_locked {
                true => ChainEvent::LockAcquired { times },
                false => ChainEvent::LockLost { times },
            });
        }
    }
}

/// How often lock was acquired and lost so far.
#[derive(Clone, Copy)]
struct Lock {
    acquired: u64,
    lost: u64,
}
