//! The front of the chain on links that deliver symbols: from octets to frames, by way of whatever code the channel has.
//!
//! ```text
//! octets ── unpack ─┬─ line code ── decide ───────────────────────────── FrameSync ─┐   no code, Reed-Solomon
//!                   ├─ ConvReceiver (Viterbi) ── line code ───────────── FrameSync ─┴─ decode   convolutional, concatenated
//!                   ├─ SoftSync ── decode ──────────────────────────────────────────── judge    turbo, LDPC
//!                   └─ SoftSync ── decode ── FrameSync ─────────────────────────────── judge    sliced LDPC
//! ```
//!
//! A block is timed by the symbol that its first bit came from, whatever lies in between.

mod slices;

use fep_coding::conv::{ConvEvent, ConvReceiver};
use fep_coding::differential::{DifferentialDecoder, LineCode, SoftDifferentialDecoder};
use fep_coding::soft::{SoftBlock, SoftFormat, SoftSync, Unpacker};
use fep_coding::{CodeSpec, FrameSync, Isa, SyncCounters, SyncState};
use fep_mission::ChannelConfig;
use fep_time::{Monotonic, Tai};

use crate::block::{BlockNote, Judgement};
use crate::chain::Octets;
use crate::decoding::{DecodedBlock, Decoding, SymbolBlocks, SymbolShape, WindowPool};
use crate::framer::Framer;
use crate::times::{BlockPlaces, ChunkTimes};
use crate::{ChainError, ChainEvent, ChainOptions, DecodePool, Sink};
use slices::Slices;

/// Symbols of a link, and what becomes of them in front of the blocks of octets.
pub(crate) struct SymbolInput {
    unpacker: Unpacker,
    symbols: Vec<i8>,
    /// Symbols of the stream that have been unpacked.
    place: u64,
    times: ChunkTimes,
    code: CodeSpec,
    stage: Stage,
}

enum Stage {
    /// Decided at once, eight an octet.
    Bits {
        line: Option<SoftDifferentialDecoder>,
        decider: Decider,
        framer: Framer,
    },
    Convolutional {
        receiver: Box<ConvReceiver>,
        pool: Option<WindowPool>,
        octets: Vec<u8>,
        line: Option<DifferentialDecoder>,
        framer: Framer,
    },
    Blocks(SoftStage),
    Slices {
        soft: SoftStage,
        slices: Slices,
    },
}

/// Blocks of soft symbols, found and decoded.
struct SoftStage {
    sync: Box<SoftSync>,
    places: BlockPlaces,
    blocks: Box<Decoding<SymbolBlocks>>,
}

impl SymbolInput {
    pub(crate) fn new(
        channel: &ChannelConfig,
        options: &ChainOptions,
        bits: FrameSync,
        pool: Option<Box<dyn DecodePool>>,
    ) -> Result<SymbolInput, ChainError> {
        let code = |source| ChainError::Code { channel: channel.name.clone(), source };
        let isa = options.isa.unwrap_or_else(Isa::best);
        let unpacker = Unpacker::new(options.symbols.unwrap_or(SoftFormat::HARD))
            .map_err(|source| ChainError::Symbols { channel: channel.name.clone(), source })?;
        let framer = Framer::new(bits);
        let line = channel.line_code;
        let stage = match (&channel.soft_sync, channel.code.convolutional()) {
            (Some(spec), _) => {
                let sync = SoftSync::new(spec.clone())
                    .map_err(|source| ChainError::SoftSync { channel: channel.name.clone(), source })?
                    .with_isa(isa)
                    .map_err(|error| code(error.into()))?;
                let places = BlockPlaces::new(sync.spec().period_symbols());
                let shape = SymbolShape { channel, isa, batch: options.decoding.batch };
                let make = || SymbolBlocks::new(&shape);
                let blocks = Box::new(Decoding::new(options.decoding.wait_us, pool, make).map_err(code)?);
                let soft = SoftStage { sync: Box::new(sync), places, blocks };
                match channel.code.slicing() {
                    Some(slicing) => Stage::Slices { soft, slices: Slices::new(framer, slicing.slice_len) },
                    None => Stage::Blocks(soft),
                }
            }
            (None, Some(conv)) => {
                let mut receiver = ConvReceiver::with_isa(conv, isa).map_err(|error| code(error.into()))?;
                let pool = pool.map(WindowPool::new);
                if let Some(pool) = &pool {
                    receiver.spread(pool.capacity(), isa).map_err(|error| code(error.into()))?;
                }
                let line = (line != LineCode::NrzL).then(|| DifferentialDecoder::new(line));
                Stage::Convolutional { receiver: Box::new(receiver), pool, octets: Vec::new(), line, framer }
            }
            (None, None) => {
                let line = (line != LineCode::NrzL).then(|| SoftDifferentialDecoder::new(line));
                Stage::Bits { line, decider: Decider::default(), framer }
            }
        };
        let times = ChunkTimes::default();
        Ok(SymbolInput { unpacker, symbols: Vec::new(), place: 0, times, code: channel.code, stage })
    }

    /// Takes octets of the link.
    pub(crate) fn push(
        &mut self,
        octets: &[u8],
        received: Tai,
        antenna: u16,
        now: Monotonic,
        blocks: &mut Octets,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.times.begin(self.place, received);
        self.symbols.clear();
        self.unpacker.push(octets, &mut self.symbols);
        self.take_unpacked(antenna, now, blocks, out);
    }

    fn take_unpacked(
        &mut self,
        antenna: u16,
        now: Monotonic,
        blocks: &mut Octets,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.place += self.symbols.len() as u64;
        let (symbols, times) = (&mut self.symbols[..], &mut self.times);
        match &mut self.stage {
            Stage::Bits { line, decider, framer } => {
                if let Some(line) = line {
                    line.apply(symbols);
                }
                let octets = decider.decide(symbols);
                framer.push(octets, antenna, &mut |bit| times.at(bit), &mut |block, note| {
                    blocks.put(block.data, note, now, out);
                });
            }
            Stage::Convolutional { receiver, pool, octets, line, framer } => {
                octets.clear();
                let mut news = PhaseNews::default();
                let on_event = &mut |event| news.add(event);
                match pool {
                    None => receiver.push(symbols, octets, on_event),
                    Some(pool) => {
                        receiver.push_spread(symbols, octets, on_event, &mut |batches| pool.run(batches));
                    }
                }
                news.report(receiver.hypothesis().is_some(), out);
                if let Some(line) = line {
                    line.apply(octets);
                }
                let mut time = |bit| times.at(receiver.symbol_of_bit(bit).unwrap_or(0));
                framer.push(octets, antenna, &mut time, &mut |block, note| {
                    blocks.put(block.data, note, now, out)
                });
            }
            Stage::Blocks(soft) => {
                let (code, place) = (&self.code, &mut soft.places);
                let decoded = &mut |block: DecodedBlock<'_>| hand_on(code, block, out);
                let SoftStage { sync, blocks, .. } = soft;
                sync.push(symbols, &mut |block| {
                    gather(&block, antenna, now, place, times, blocks, decoded);
                });
                blocks.end_of_chunk(now, decoded);
            }
            Stage::Slices { soft, slices } => {
                let decoded = &mut |block: DecodedBlock<'_>| slices.push(block, antenna, out);
                let SoftStage { sync, places, blocks } = soft;
                sync.push(symbols, &mut |block| {
                    gather(&block, antenna, now, places, times, blocks, decoded);
                });
                blocks.end_of_chunk(now, decoded);
            }
        }
    }

    /// It is `now`: what has waited as long as it may is decoded.
    pub(crate) fn idle(&mut self, antenna: u16, now: Monotonic, out: &mut Judgement<'_, impl Sink>) {
        match &mut self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => {}
            Stage::Blocks(soft) => {
                let code = &self.code;
                soft.blocks.end_of_chunk(now, &mut |block| hand_on(code, block, out));
            }
            Stage::Slices { soft, slices } => {
                soft.blocks.end_of_chunk(now, &mut |block| slices.push(block, antenna, out));
            }
        }
    }

    /// Whether blocks wait for others, or for the pool.
    pub(crate) fn is_waiting(&self) -> bool {
        self.soft_blocks().is_some_and(Decoding::is_waiting)
    }

    /// Whether a job failed in the pool.
    pub(crate) fn has_failed(&self) -> bool {
        match &self.stage {
            Stage::Convolutional { pool, .. } => pool.as_ref().is_some_and(WindowPool::has_failed),
            _ => self.soft_blocks().is_some_and(Decoding::has_failed),
        }
    }

    fn soft_blocks(&self) -> Option<&Decoding<SymbolBlocks>> {
        match &self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => None,
            Stage::Blocks(soft) | Stage::Slices { soft, .. } => Some(&soft.blocks),
        }
    }

    /// The stream has ended: everything that is held goes out, and a new stream begins.
    pub(crate) fn finish(
        &mut self,
        antenna: u16,
        now: Monotonic,
        blocks: &mut Octets,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        // An automatic gain holds the first symbols back.
        self.symbols.clear();
        self.unpacker.finish(&mut self.symbols);
        if !self.symbols.is_empty() {
            self.take_unpacked(antenna, now, blocks, out);
        }
        let times = &mut self.times;
        match &mut self.stage {
            Stage::Bits { decider, framer, .. } => {
                let (octets, time) = (decider.finish(), &mut |bit| times.at(bit));
                framer.push(octets, antenna, time, &mut |block, note| blocks.put(block.data, note, now, out));
                framer.finish(antenna, time, &mut |block, note| blocks.put(block.data, note, now, out));
            }
            Stage::Convolutional { receiver, octets, line, framer, .. } => {
                octets.clear();
                receiver.finish(octets);
                if let Some(line) = line {
                    line.apply(octets);
                }
                let time = &mut |bit| times.at(receiver.symbol_of_bit(bit).unwrap_or(0));
                framer.push(octets, antenna, time, &mut |block, note| blocks.put(block.data, note, now, out));
                framer.finish(antenna, time, &mut |block, note| blocks.put(block.data, note, now, out));
            }
            Stage::Blocks(SoftStage { sync, places, blocks }) => {
                let code = &self.code;
                let decoded = &mut |block: DecodedBlock<'_>| hand_on(code, block, out);
                sync.finish(&mut |block| gather(&block, antenna, now, places, times, blocks, decoded));
                blocks.flush(decoded);
            }
            Stage::Slices { soft: SoftStage { sync, places, blocks }, slices } => {
                let decoded = &mut |block: DecodedBlock<'_>| slices.push(block, antenna, out);
                sync.finish(&mut |block| gather(&block, antenna, now, places, times, blocks, decoded));
                blocks.flush(decoded);
                slices.finish(antenna, out);
            }
        }
        self.reset();
    }

    /// Forgets the stream.
    pub(crate) fn reset(&mut self) {
        self.unpacker.reset();
        self.times.clear();
        self.place = 0;
        match &mut self.stage {
            Stage::Bits { line, decider, framer } => {
                if let Some(line) = line {
                    line.reset();
                }
                decider.finish();
                framer.reset();
            }
            Stage::Convolutional { receiver, octets, line, framer, .. } => {
                octets.clear();
                receiver.reset();
                if let Some(line) = line {
                    line.reset();
                }
                framer.reset();
            }
            Stage::Blocks(soft) => soft.reset(),
            Stage::Slices { soft, slices } => {
                soft.reset();
                slices.reset();
            }
        }
    }

    /// Whether a convolutional decoder has found its phase.
    pub(crate) fn has_phase(&self) -> bool {
        matches!(&self.stage, Stage::Convolutional { receiver, .. } if receiver.hypothesis().is_some())
    }

    /// Of the synchroniser that finds the blocks of the channel.
    pub(crate) fn counters(&self) -> &SyncCounters {
        match &self.stage {
            Stage::Bits { framer, .. } | Stage::Convolutional { framer, .. } => framer.counters(),
            Stage::Blocks(soft) | Stage::Slices { soft, .. } => soft.sync.counters(),
        }
    }

    pub(crate) fn state(&self) -> SyncState {
        match &self.stage {
            Stage::Bits { framer, .. } | Stage::Convolutional { framer, .. } => framer.state(),
            Stage::Blocks(soft) | Stage::Slices { soft, .. } => soft.sync.state(),
        }
    }
}

impl SoftStage {
    fn reset(&mut self) {
        self.sync.reset();
        self.places.clear();
        self.blocks.reset();
    }
}

fn gather(
    block: &SoftBlock<'_>,
    antenna: u16,
    now: Monotonic,
    places: &mut BlockPlaces,
    times: &mut ChunkTimes,
    blocks: &mut Decoding<SymbolBlocks>,
    decoded: &mut impl FnMut(DecodedBlock<'_>),
) {
    let interrupted = places.is_interrupted(block.stream_bit, block.slip_bits);
    let note = BlockNote::of(block, times.at(block.stream_bit), antenna, interrupted);
    blocks.room().put(block.data, note);
    blocks.gathered(now, decoded);
}

fn hand_on(code: &CodeSpec, block: DecodedBlock<'_>, out: &mut Judgement<'_, impl Sink>) {
    out.count_iterations(block.verdicts);
    out.frame(block.payload, block.note, Some(&code.judge(block.verdicts)));
}

/// What a convolutional decoder found in one chunk: reported once each way, the present state last.
#[derive(Default)]
struct PhaseNews {
    found: Option<ChainEvent>,
    lost: Option<ChainEvent>,
}

impl PhaseNews {
    fn add(&mut self, event: ConvEvent) {
        match event {
            ConvEvent::Locked { hypothesis, errors, .. } => {
                self.found = Some(ChainEvent::PhaseFound { hypothesis, errors });
            }
            ConvEvent::Lost { errors, .. } => self.lost = Some(ChainEvent::PhaseLost { errors }),
        }
    }

    fn report(self, has_phase_now: bool, out: &mut Judgement<'_, impl Sink>) {
        let news = if has_phase_now { [self.lost, self.found] } else { [self.found, self.lost] };
        news.into_iter().flatten().for_each(|event| out.event(event));
    }
}

/// Hard decisions, packed.
#[derive(Default)]
struct Decider {
    octets: Vec<u8>,
    held: Vec<i8>,
}

impl Decider {
    /// The whole octets that these symbols complete.
    fn decide(&mut self, symbols: &[i8]) -> &[u8] {
        self.held.extend_from_slice(symbols);
        self.octets.clear();
        let (whole, rest) = self.held.as_chunks::<8>();
        let octet =
            |eight: &[i8; 8]| eight.iter().fold(0, |octet, symbol| (octet << 1) | u8::from(*symbol < 0));
        self.octets.extend(whole.iter().map(octet));
        let rest = rest.len();
        self.held.drain(..self.held.len() - rest);
        &self.octets
    }

    /// The last octet, filled with zeros.
    fn finish(&mut self) -> &[u8] {
        if !self.held.is_empty() {
            let missing = 8 - self.held.len();
            return self.decide(&[0; 8][..missing]);
        }
        self.octets.clear();
        &self.octets
    }
}
