//! The streaming decoder of symbols whose phase is known: puncturing undone, windows cut, decoded, counted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::spec::{ConvSpec, ConvSpecError};
use super::stream::WindowStream;
use super::window::Tally;
use crate::isa::Isa;
use crate::soft;

/// Windows whose symbol errors make the recent estimate.
const RECENT_WINDOWS: usize = 64;
/// Symbols that are taken in at once, so that memory stays bounded however much a call brings.
const PIECE_SYMBOLS: usize = 1 << 16;
/// Hard symbols as soft ones: any value does that the quantiser need not stretch.
const HARD_AMPLITUDE: i8 = 32;

/// Decodes a stream of soft symbols that starts with the first symbol of a puncture period (at rate 1/2: of a pair).
///
/// Bit k of the output belongs to the symbols from [`ConvSpec::first_symbol`]`(k)` on, always. It is given at the latest
/// when the symbols of bit `k + latency_bits` have been pushed.
#[derive(Debug)]
pub struct ViterbiDecoder {
    spec: ConvSpec,
    stream: WindowStream,
    hard: Vec<i8>,
    recent: VecDeque<Tally>,
    counters: ViterbiCounters,
}

/// What a decoder has done since it was made. `symbols_in` minus the symbols of `bits_out` is held, until `finish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ViterbiCounters {
    /// Symbols pushed, erasures among them.
    pub symbols_in: u64,
    /// Bits given.
    pub bits_out: u64,
    /// Symbols that were compared with the decoded bits encoded again: all of the given bits' but erasures.
    pub symbols_compared: u64,
    /// Of these, the ones whose hard decision differs.
    pub symbols_wrong: u64,
}

/// Symbol errors, as an estimate of the channel: received symbols against the decoded bits encoded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SymbolErrors {
    /// Symbols compared.
    pub compared: u64,
    /// Symbols that differ.
    pub wrong: u64,
}

impl SymbolErrors {
    pub(super) fn add(&mut self, tally: Tally) {
        self.compared += u64::from(tally.compared);
        self.wrong += u64::from(tally.wrong);
    }

    /// The errors of several windows.
    pub(super) fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> SymbolErrors {
        tallies.into_iter().fold(SymbolErrors::default(), |mut sum, tally| {
            sum.add(*tally);
            sum
        })
    }

    /// Wrong symbols over symbols; `None` before anything was compared.
    pub fn rate(&self) -> Option<f64> {
        (self.compared > 0).then(|| self.wrong as f64 / self.compared as f64)
    }
}

impl ViterbiDecoder {
    /// A decoder on the best instruction set of this machine.
    ///
    /// # Errors
    /// As [`ConvSpec::validate`].
    pub fn new(spec: &ConvSpec) -> Result<ViterbiDecoder, ConvSpecError> {
        ViterbiDecoder::with_isa(spec, Isa::best())
    }

    /// A decoder with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`ConvSpec::validate`], or [`ConvSpecError::Isa`] when this machine lacks `isa`.
    pub fn with_isa(spec: &ConvSpec, isa: Isa) -> Result<ViterbiDecoder, ConvSpecError> {
        spec.validate()?;
        Ok(ViterbiDecoder {
            spec: *spec,
            stream: WindowStream::new(spec, isa)?,
            hard: Vec::new(),
            recent: VecDeque::with_capacity(RECENT_WINDOWS),
            counters: ViterbiCounters::default(),
        })
    }

    /// The parameters.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// What was done so far.
    pub fn counters(&self) -> ViterbiCounters {
        self.counters
    }

    /// Symbol errors of the last 64 windows.
    pub fn recent_errors(&self) -> SymbolErrors {
        SymbolErrors::of(&self.recent)
    }

    /// Takes soft symbols (see [`crate::soft`]) and appends the bits that can now be decided to `bits`, whole octets,
    /// the earliest bit of each highest. Any number of symbols; the answer does not depend on how they are cut.
    pub fn push(&mut self, symbols: &[i8], bits: &mut Vec<u8>) {
        for piece in symbols.chunks(PIECE_SYMBOLS) {
            self.counters.symbols_in += piece.len() as u64;
            self.stream.feed(piece);
            loop {
                let count = self.stream.decode_waiting(None);
                if count == 0 {
                    break;
                }
                self.give(count, count * self.stream.shape().payload, bits);
            }
        }
    }

    /// As [`ViterbiDecoder::push`], with hard symbols: eight an octet, the first highest.
    pub fn push_hard(&mut self, symbols: &[u8], bits: &mut Vec<u8>) {
        let mut hard = std::mem::take(&mut self.hard);
        for piece in symbols.chunks(PIECE_SYMBOLS / 8) {
            hard.clear();
            soft::from_hard(piece, 8 * piece.len(), HARD_AMPLITUDE, &mut hard);
            self.push(&hard, bits);
        }
        self.hard = hard;
    }

    /// Ends the stream: appends the bits still held, the last octet completed with zeros. Symbols of a bit that is not
    /// complete are dropped. Returns the number of bits of the whole stream. The decoder is then ready for a new stream;
    /// its counters go on.
    pub fn finish(&mut self, bits: &mut Vec<u8>) -> u64 {
        let mut total = self.stream.bits_decoded();
        loop {
            let (count, bits_left) = self.stream.decode_rest();
            if count == 0 {
                break;
            }
            self.give(count, bits_left, bits);
            total += bits_left as u64;
        }
        self.stream.restart();
        total
    }

    /// Appends the first `bits_valid` bits of the `count` windows decoded last, and keeps the books.
    fn give(&mut self, count: usize, bits_valid: usize, bits: &mut Vec<u8>) {
        let payload = self.stream.shape().payload;
        for k in 0..count {
            let (words, tally) = self.stream.window(k);
            append_bits(words, bits_valid - k * payload, bits);
            self.counters.symbols_compared += u64::from(tally.compared);
            self.counters.symbols_wrong += u64::from(tally.wrong);
            if self.recent.len() == RECENT_WINDOWS {
                self.recent.pop_front();
            }
            self.recent.push_back(tally);
        }
        self.counters.bits_out += bits_valid as u64;
    }
}

/// Appends the first `count` bits of `words`, or all if there are fewer, the last octet completed with zeros.
pub(super) fn append_bits(words: &[u64], count: usize, bits: &mut Vec<u8>) {
    let start = bits.len();
    bits.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    if count < 64 * words.len() {
        bits.truncate(start + count.div_ceil(8));
        if let (true, Some(last)) = (!count.is_multiple_of(8), bits.last_mut()) {
            *last &= 0xFF << (8 - count % 8);
        }
    }
}
