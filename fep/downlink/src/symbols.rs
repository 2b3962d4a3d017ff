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

use fep_coding::conv::{ConvEvent, ConvReceiver};
use fep_coding::soft::{SoftFormat, SoftSync, Unpacker};
use fep_coding::{Block, CodeSpec, FrameSync, Isa, SyncCounters, SyncState};

use fep_time::Tai;

use crate::batch::Batch;
use crate::block::{BlockNote, Judgement};
use crate::decoding::{DecodePool, Decoded, SoftBatches};
use crate::{ChainError, ChainEvent, ChainOptions, Sink};
use fep_mission::ChannelConfig;

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
        pool: Option<Box<dyn DecodePool>>,
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
                let batches = SoftBatches::new(channel, options.decoding, isa, pool).map_err(code)?;
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
    pub(super) fn push(
        &mut self,
        octets: &[u8],
        received: Tai,
        batch: &mut Batch,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        self.symbols.clear();
        self.unpacker.push(octets, &mut self.symbols);
        let symbols = &self.symbols;
        match &mut self.stage {
            Stage::Bits { decider, sync } => {
                let octets = decider.decide(symbols);
                sync.push(octets, &mut |block| batch.push_block(&block, received, out));
            }
            Stage::Convolutional { receiver, octets, sync } => {
                octets.clear();
                let mut news = PhaseNews::default();
                receiver.push(symbols, octets, &mut |event| news.add(event));
                news.report(receiver.hypothesis().is_some(), out);
                sync.push(octets, &mut |block| batch.push_block(&block, received, out));
            }
            Stage::Blocks { sync, batches } => {
                let code = &self.code;
                let decoded = &mut |decoded: Decoded<'_>| hand_on(code, decoded, batch, out);
                sync.push(symbols, &mut |block| {
                    batches.push(block.data, BlockNote::of(&block, received), decoded)
                });
                batches.end_of_chunk(received, decoded);
            }
            Stage::Slices { sync, batches, slices } => {
                let decoded = &mut |decoded: Decoded<'_>| slices.push(decoded, batch, out);
                sync.push(symbols, &mut |block| {
                    batches.push(block.data, BlockNote::of(&block, received), decoded)
                });
                batches.end_of_chunk(received, decoded);
            }
        }
        batch.flush(out);
    }

    /// Nothing came, and it is `now`: what has waited as long as it may is decoded.
    pub(super) fn idle(&mut self, now: Tai, batch: &mut Batch, out: &mut Judgement<'_, impl Sink>) {
        match &mut self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => return,
            Stage::Blocks { batches, .. } => {
                let code = &self.code;
                batches.end_of_chunk(now, &mut |decoded| hand_on(code, decoded, batch, out));
            }
            Stage::Slices { batches, slices, .. } => {
                batches.end_of_chunk(now, &mut |decoded| slices.push(decoded, batch, out));
            }
        }
        batch.flush(out);
    }

    /// Whether blocks wait for others, or for the pool.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.stage {
            Stage::Bits { .. } | Stage::Convolutional { .. } => false,
            Stage::Blocks { batches, .. } | Stage::Slices { batches, .. } => !batches.is_empty(),
        }
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, received: Tai, batch: &mut Batch, out: &mut Judgement<'_, impl Sink>) {
        self.unpacker.reset();
        match &mut self.stage {
            Stage::Bits { decider, sync } => {
                let octets = decider.finish();
                sync.push(octets, &mut |block| batch.push_block(&block, received, out));
                sync.finish(&mut |block| batch.push_block(&block, received, out));
            }
            Stage::Convolutional { receiver, octets, sync } => {
                octets.clear();
                receiver.finish(octets);
                sync.push(octets, &mut |block| batch.push_block(&block, received, out));
                sync.finish(&mut |block| batch.push_block(&block, received, out));
            }
            Stage::Blocks { sync, batches } => {
                let code = &self.code;
                let decoded = &mut |decoded: Decoded<'_>| hand_on(code, decoded, batch, out);
                sync.finish(&mut |block| batches.push(block.data, BlockNote::of(&block, received), decoded));
                batches.flush(decoded);
            }
            Stage::Slices { sync, batches, slices } => {
                let decoded = &mut |decoded: Decoded<'_>| slices.push(decoded, batch, out);
                sync.finish(&mut |block| batches.push(block.data, BlockNote::of(&block, received), decoded));
                batches.flush(decoded);
                slices.finish(received, batch, out);
            }
        }
        batch.flush(out);
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

fn hand_on(
    code: &CodeSpec,
    (payload, verdicts, note): Decoded<'_>,
    batch: &mut Batch,
    out: &mut Judgement<'_, impl Sink>,
) {
    out.count_iterations(verdicts);
    batch.push_judged(payload, *note, &code.judge(verdicts), out);
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

    fn push(
        &mut self,
        (payload, verdicts, note): Decoded<'_>,
        batch: &mut Batch,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        out.count_iterations(verdicts);
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
            take_frame(&block, note.received, failed, corrected, period, batch, out);
        });
    }

    fn finish(&mut self, received: Tai, batch: &mut Batch, out: &mut Judgement<'_, impl Sink>) {
        let (failed, corrected, period) = (&mut self.failed, &mut self.corrected, self.period);
        self.sync.finish(&mut |block| {
            take_frame(&block, received, failed, corrected, period, batch, out);
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
    received: Tai,
    failed: &mut VecDeque<Range<u64>>,
    corrected: &mut u64,
    period: u64,
    batch: &mut Batch,
    out: &mut Judgement<'_, impl Sink>,
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
    batch.push_judged(block.data, BlockNote::of(block, received), &verdict, out);
}
