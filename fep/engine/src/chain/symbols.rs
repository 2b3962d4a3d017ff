//! The front of the chain on links that deliver symbols: from octets to frames, by way of whatever code the channel has.
//!
//! ```text
//! octets ── unpack ─┬─ decide ────────────────────────── FrameSync ─┐           no code, Reed-Solomon
//!                   ├─ ConvReceiver (Viterbi) ────────── FrameSync ─┴─ Batch    convolutional, concatenated
//!                   ├─ SoftSync ── decode ───────────────────────────── Batch    turbo, LDPC
//!                   └─ SoftSync ── decode ── FrameSync ──────────────── Batch    sliced LDPC
//! ```

use std::collections::VecDeque;
use std::ops::Range;

use fep_ccsds::record::FrameFlags;
use fep_coding::conv::{ConvEvent, ConvReceiver};
use fep_coding::soft::{SoftFormat, SoftSync, Unpacker};
use fep_coding::{Block, CodeSpec, FrameSync, Isa, SyncCounters, SyncState};

use super::batch::{Batch, Note};
use super::decoding::{Decoded, SoftBatches};
use super::{ChainError, ChainEvent, ChainOptions, Sink};
use crate::config::ChannelConfig;

/// Symbols of a link, and what becomes of them in front of the batch.
pub(super) struct SymbolInput {
    unpacker: Unpacker,
    symbols: Vec<i8>,
    code: CodeSpec,
    stage: Stage,
}

enum Stage {
    /// Decided at once, eight an octet.
    Bits {
        decider: Decider,
        sync: Box<FrameSync>,
    },
    Convolutional {
        receiver: Box<ConvReceiver>,
        octets: Vec<u8>,
        sync: Box<FrameSync>,
    },
    Blocks {
        sync: Box<SoftSync>,
        batches: Box<SoftBatches>,
    },
    Slices {
        sync: Box<SoftSync>,
        batches: Box<SoftBatches>,
        slices: Slices,
    },
}

impl SymbolInput {
    pub(super) fn new(
        channel: &ChannelConfig,
        options: &ChainOptions,
        bits: FrameSync,
    ) -> Result<SymbolInput, ChainError> {
        let code = |source| ChainError::Code { channel: channel.name.clone(), source };
        let isa = options.isa.unwrap_or_else(Isa::best);
        let format = options.symbols.unwrap_or(SoftFormat::HARD);
        let unpacker = Unpacker::new(format)
            .map_err(|source| ChainError::Symbols { channel: channel.name.clone(), source })?;
        let bits = Box::new(bits);
        let stage = match (&channel.soft_sync, channel.code.convolutional()) {
            (Some(spec), _) => {
                let sync = SoftSync::new(spec.clone())
                    .map_err(|source| ChainError::SoftSync { channel: channel.name.clone(), source })?
                    .with_isa(isa)
                    .map_err(|error| code(error.into()))?;
                let sync = Box::new(sync);
                let batches = SoftBatches::new(channel, options.decoding, isa).map_err(code)?;
                let batches = Box::new(batches);
                match channel.code.slicing() {
                    Some(slicing) => {
                        let slice_bits = 8 * slicing.slice_len as u64;
                        let period = bits.spec().period_bits();
                        Stage::Slices { sync, batches, slices: Slices::new(bits, slice_bits, period) }
                    }
                    None => Stage::Blocks { sync, batches },
                }
            }
            (None, Some(conv)) => {
                let receiver = ConvReceiver::with_isa(conv, isa).map_err(|error| code(error.into()))?;
                Stage::Convolutional { receiver: Box::new(receiver), octets: Vec::new(), sync: bits }
            }
            (None, None) => Stage::Bits { decider: Decider::default(), sync: bits },
        };
        Ok(SymbolInput { unpacker, symbols: Vec::new(), code: channel.code, stage })
    }

    /// Takes octets of the link.
    pub(super) fn push(&mut self, octets: &[u8], rx_tai_ns: i64, batch: &mut Batch, sink: &mut impl Sink) {
        self.symbols.clear();
        self.unpacker.push(octets, &mut self.symbols);
        let symbols = &self.symbols;
        match &mut self.stage {
            Stage::Bits { decider, sync } => {
                let octets = decider.decide(symbols);
                sync.push(octets, &mut |block| batch.push_block(&block, rx_tai_ns, sink));
            }
            Stage::Convolutional { receiver, octets, sync } => {
                octets.clear();
                let mut news = PhaseNews::default();
                receiver.push(symbols, octets, &mut |event| news.add(event));
                news.tell(receiver.hypothesis().is_some(), sink);
                sync.push(octets, &mut |block| batch.push_block(&block, rx_tai_ns, sink));
            }
            Stage::Blocks { sync, batches } => {
                let code = &self.code;
                let out = &mut |decoded: Decoded<'_>| hand_on(code, decoded, batch, sink);
                sync.push(symbols, &mut |block| batches.push(block.data, note(&block, rx_tai_ns), out));
                batches.end_of_chunk(rx_tai_ns, out);
            }
            Stage::Slices { sync, batches, slices } => {
                let out = &mut |decoded: Decoded<'_>| slices.push(decoded, batch, sink);
                sync.push(symbols, &mut |block| batches.push(block.data, note(&block, rx_tai_ns), out));
                batches.end_of_chunk(rx_tai_ns, out);
            }
        }
        batch.flush(sink);
    }

    /// Nothing came, and it is `now`: what has waited as long as it may is decoded.
    pub(super) fn idle(&mut self, now_tai_ns: i64, batch: &mut Batch, sink: &mut impl Sink) {
        match &mut self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => return,
            Stage::Blocks { batches, .. } => {
                let code = &self.code;
                batches.end_of_chunk(now_tai_ns, &mut |decoded| hand_on(code, decoded, batch, sink));
            }
            Stage::Slices { batches, slices, .. } => {
                batches.end_of_chunk(now_tai_ns, &mut |decoded| slices.push(decoded, batch, sink));
            }
        }
        batch.flush(sink);
    }

    /// Whether blocks wait for others, or for threads.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => false,
            Stage::Blocks { batches, .. } | Stage::Slices { batches, .. } => !batches.is_empty(),
        }
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, rx_tai_ns: i64, batch: &mut Batch, sink: &mut impl Sink) {
        self.unpacker.reset();
        match &mut self.stage {
            Stage::Bits { decider, sync } => {
                let octets = decider.finish();
                sync.push(octets, &mut |block| batch.push_block(&block, rx_tai_ns, sink));
                sync.finish(&mut |block| batch.push_block(&block, rx_tai_ns, sink));
            }
            Stage::Convolutional { receiver, octets, sync } => {
                octets.clear();
                receiver.finish(octets);
                sync.push(octets, &mut |block| batch.push_block(&block, rx_tai_ns, sink));
                sync.finish(&mut |block| batch.push_block(&block, rx_tai_ns, sink));
            }
            Stage::Blocks { sync, batches } => {
                let code = &self.code;
                let out = &mut |decoded: Decoded<'_>| hand_on(code, decoded, batch, sink);
                sync.finish(&mut |block| batches.push(block.data, note(&block, rx_tai_ns), out));
                batches.flush(out);
            }
            Stage::Slices { sync, batches, slices } => {
                let out = &mut |decoded: Decoded<'_>| slices.push(decoded, batch, sink);
                sync.finish(&mut |block| batches.push(block.data, note(&block, rx_tai_ns), out));
                batches.flush(out);
                slices.finish(rx_tai_ns, batch, sink);
            }
        }
        batch.flush(sink);
    }

    pub(super) fn reset(&mut self) {
        self.unpacker.reset();
        match &mut self.stage {
            Stage::Bits { decider, sync } => {
                decider.finish();
                sync.reset();
            }
            Stage::Convolutional { receiver, octets, sync } => {
                octets.clear();
                receiver.finish(octets);
                sync.reset();
            }
            Stage::Blocks { sync, batches } => {
                sync.reset();
                batches.reset();
            }
            Stage::Slices { sync, batches, slices } => {
                sync.reset();
                batches.reset();
                slices.reset();
            }
        }
    }

    /// Whether a convolutional decoder has found its phase.
    pub(super) fn has_phase(&self) -> bool {
        matches!(&self.stage, Stage::Convolutional { receiver, .. } if receiver.hypothesis().is_some())
    }

    /// Of the synchroniser that finds the blocks of the channel.
    pub(super) fn counters(&self) -> &SyncCounters {
        match &self.stage {
            Stage::Bits { sync, .. } | Stage::Convolutional { sync, .. } => sync.counters(),
            Stage::Blocks { sync, .. } | Stage::Slices { sync, .. } => sync.counters(),
        }
    }

    pub(super) fn state(&self) -> SyncState {
        match &self.stage {
            Stage::Bits { sync, .. } | Stage::Convolutional { sync, .. } => sync.state(),
            Stage::Blocks { sync, .. } | Stage::Slices { sync, .. } => sync.state(),
        }
    }
}

fn note<T>(block: &Block<'_, T>, rx_tai_ns: i64) -> Note {
    let mut flags = FrameFlags::empty();
    flags.set(FrameFlags::INVERTED, block.inverted);
    flags.set(FrameFlags::FLYWHEEL, block.flywheel);
    flags.set(FrameFlags::SLIP, block.slip_bits != 0);
    Note { rx_tai_ns, marker_bit_errors: block.marker_bit_errors, flags }
}

fn hand_on(code: &CodeSpec, (payload, verdicts, note): Decoded<'_>, batch: &mut Batch, sink: &mut impl Sink) {
    batch.count_iterations(verdicts);
    batch.push_judged(payload, *note, &code.judge(verdicts), sink);
}

/// What a convolutional decoder found in one chunk: told once each way, the present state last.
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

    fn tell(self, has_phase_now: bool, sink: &mut impl Sink) {
        let news = if has_phase_now { [self.lost, self.found] } else { [self.found, self.lost] };
        news.into_iter().flatten().for_each(|event| sink.event(event));
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

/// The stream of frames that codeblocks carry in slices (131.0-B-5 8), and where in it codewords failed.
struct Slices {
    sync: Box<FrameSync>,
    slice_bits: u64,
    period: u64,
    /// Bits given to the synchroniser since its start.
    stream_bits: u64,
    failed: VecDeque<Range<u64>>,
    /// Symbols corrected that no frame accounts for yet.
    corrected: u64,
}

impl Slices {
    fn new(sync: Box<FrameSync>, slice_bits: u64, period: u64) -> Slices {
        Slices { sync, slice_bits, period, stream_bits: 0, failed: VecDeque::new(), corrected: 0 }
    }

    fn push(&mut self, (payload, verdicts, note): Decoded<'_>, batch: &mut Batch, sink: &mut impl Sink) {
        batch.count_iterations(verdicts);
        for verdict in verdicts {
            let end = self.stream_bits + self.slice_bits;
            if !verdict.converged {
                self.failed.push_back(self.stream_bits..end);
            }
            self.corrected += u64::from(verdict.symbols_corrected);
            self.stream_bits = end;
        }
        let (failed, corrected, period) = (&mut self.failed, &mut self.corrected, self.period);
        self.sync.push(payload, &mut |block| {
            take_frame(&block, note.rx_tai_ns, failed, corrected, period, batch, sink);
        });
    }

    fn finish(&mut self, rx_tai_ns: i64, batch: &mut Batch, sink: &mut impl Sink) {
        let (failed, corrected, period) = (&mut self.failed, &mut self.corrected, self.period);
        self.sync.finish(&mut |block| {
            take_frame(&block, rx_tai_ns, failed, corrected, period, batch, sink);
        });
        self.reset();
    }

    fn reset(&mut self) {
        self.sync.reset();
        self.stream_bits = 0;
        self.failed.clear();
        self.corrected = 0;
    }
}

/// A frame of a sliced stream is as good as the codewords that it lies in. What was corrected is told with the frame
/// that ends next.
fn take_frame(
    block: &Block<'_>,
    rx_tai_ns: i64,
    failed: &mut VecDeque<Range<u64>>,
    corrected: &mut u64,
    period: u64,
    batch: &mut Batch,
    sink: &mut impl Sink,
) {
    let end = block.stream_bit + period;
    // Frames come in order, but a marker that was found early makes two of them overlap by less than a frame.
    while failed.front().is_some_and(|range| range.end + period <= block.stream_bit) {
        failed.pop_front();
    }
    let hit = failed.iter().filter(|range| range.start < end && range.end > block.stream_bit).count();
    let corrected = std::mem::take(corrected);
    let verdict = fep_coding::spec::DecodeVerdict {
        symbols_corrected: corrected.min(u64::from(u16::MAX)) as u16,
        codewords_corrected: u8::from(corrected > 0),
        codewords_failed: hit.min(255) as u8,
    };
    batch.push_judged(block.data, note(block, rx_tai_ns), &verdict, sink);
}
