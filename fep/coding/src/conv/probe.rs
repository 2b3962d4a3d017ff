//! Hypotheses on how a stream of symbols is to be read, and trying them on a stretch of it.

use serde::{Deserialize, Serialize};

use super::decoder::SymbolErrors;
use super::spec::{ConvSpec, ConvSpecError, Quadrature};
use super::stream::depuncture;
use super::window::{BATCH, Shape, Tally, WindowDecoder};
use crate::isa::Isa;

/// How the two axes of a quadrature modulation arrive: `(i, q)` is what was sent. Turning by 180 degrees on top inverts
/// all symbols, which the code does not notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// As sent: `(i, q)`.
    Upright,
    /// Turned by a quarter: `(q, -i)`.
    Turned,
    /// Exchanged, as an inverted spectrum with a quarter turn does: `(q, i)`.
    Exchanged,
    /// Mirrored, as an inverted spectrum does: `(i, -q)`.
    Mirrored,
}

impl Axes {
    /// All, in the order of trying.
    pub const ALL: [Axes; 4] = [Axes::Upright, Axes::Turned, Axes::Exchanged, Axes::Mirrored];

    /// What was sent when `pair` arrived.
    fn restore(self, [a, b]: [i8; 2]) -> [i8; 2] {
        match self {
            Axes::Upright => [a, b],
            Axes::Turned => [b.saturating_neg(), a],
            Axes::Exchanged => [b, a],
            Axes::Mirrored => [a, b.saturating_neg()],
        }
    }
}

/// One way to read the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// Symbols between the place where the search began and the first of a puncture period.
    pub skip: u8,
    /// How the axes arrive.
    pub axes: Axes,
    /// Whether the symbols of odd numbers in the stream are the first axis of their modulation symbol; means nothing
    /// when the axes are upright or mirrored.
    pub odd: bool,
}

/// All hypotheses that a receiver of these parameters tries, in the order of trying.
pub(super) fn hypotheses(spec: &ConvSpec) -> Vec<Hypothesis> {
    let axes_searched = match spec.node_sync.quadrature {
        Quadrature::Off => &Axes::ALL[..1],
        Quadrature::Turns => &Axes::ALL[..2],
        Quadrature::TurnsAndMirrors => &Axes::ALL[..],
    };
    let mut hypotheses = Vec::new();
    for axes in axes_searched {
        // Mirrored in pairs that begin with the other symbol is the same, inverted.
        let both_ways = matches!(axes, Axes::Turned | Axes::Exchanged);
        for odd in if both_ways { &[false, true][..] } else { &[false] } {
            for skip in 0..spec.rate.period_symbols() as u8 {
                hypotheses.push(Hypothesis { skip, axes: *axes, odd: *odd });
            }
        }
    }
    hypotheses
}

/// Tries hypotheses on a stretch of symbols, windows of several side by side.
#[derive(Debug)]
pub(super) struct Probe {
    windows: WindowDecoder,
    /// Windows that are decoded under each hypothesis.
    count: usize,
    /// Symbols of a stretch.
    pub(super) symbols: usize,
    /// Symbols from one stretch to the next: whole puncture periods and whole modulation symbols, so that a hypothesis
    /// means the same on both.
    pub(super) step: usize,
    restored: Vec<i8>,
    pairs: Vec<i8>,
    batch: Vec<i8>,
    words: Vec<u64>,
    owners: Vec<usize>,
}

impl Probe {
    pub(super) fn new(spec: &ConvSpec, isa: Isa) -> Result<Probe, ConvSpecError> {
        let shape = Shape { payload: spec.window_bits(), overlap: spec.overlap_bits() };
        let count = (spec.node_sync.probe_bits as usize).div_ceil(shape.payload);
        let bits = (count * shape.payload + shape.overlap) as u64;
        let period = spec.rate.period_symbols();
        let unit = if period.is_multiple_of(2) { period } else { 2 * period };
        Ok(Probe {
            windows: WindowDecoder::new(shape, isa)?,
            count,
            // With what a hypothesis skips, and the other axis of the last symbol.
            symbols: spec.first_symbol(bits + spec.rate.period_bits() as u64) as usize + period + 1,
            step: (spec.first_symbol((count * shape.payload) as u64) as usize / unit).max(1) * unit,
            restored: Vec::new(),
            pairs: Vec::new(),
            batch: Vec::with_capacity(BATCH * 2 * shape.span()),
            words: vec![0; BATCH * shape.words()],
            owners: Vec::with_capacity(BATCH),
        })
    }

    /// The symbol errors under each of `hypotheses` on `symbols`, of which the first is number `start`: a stretch, or the
    /// last symbols of the stream.
    pub(super) fn errors(
        &mut self,
        spec: &ConvSpec,
        hypotheses: &[Hypothesis],
        start: u64,
        symbols: &[i8],
    ) -> Vec<SymbolErrors> {
        let shape = self.windows.shape();
        let complete = spec.complete_bits(symbols.len() as u64) as usize;
        let count = complete.div_ceil(shape.payload).clamp(1, self.count);
        let span = 2 * (count * shape.payload + 2 * shape.overlap);
        let mut errors = vec![SymbolErrors::default(); hypotheses.len()];
        self.batch.clear();
        for (k, hypothesis) in hypotheses.iter().enumerate() {
            self.restored.clear();
            restore(*hypothesis, start, symbols, 0..symbols.len(), &mut self.restored);
            self.pairs.clear();
            self.pairs.resize(2 * shape.overlap, 0);
            depuncture(spec, 0, &self.restored[hypothesis.skip as usize..], &mut self.pairs);
            if self.pairs.len() < span {
                self.pairs.resize(span, 0);
            }
            for window in 0..count {
                self.batch.extend_from_slice(&self.pairs[2 * window * shape.payload..][..2 * shape.span()]);
                self.owners.push(k);
                if self.owners.len() == BATCH {
                    self.decode(&mut errors);
                }
            }
        }
        self.decode(&mut errors);
        errors
    }

    /// Decodes the windows of `batch`, and adds what they say to their owners' errors.
    fn decode(&mut self, errors: &mut [SymbolErrors]) {
        let shape = self.windows.shape();
        let mut tallies = [Tally::default(); BATCH];
        let tallies = &mut tallies[..self.owners.len()];
        let words = &mut self.words[..self.owners.len() * shape.words()];
        self.windows.decode(&self.batch, 2 * shape.span(), words, tallies);
        for (owner, tally) in self.owners.drain(..).zip(tallies) {
            errors[owner].add(*tally);
        }
        self.batch.clear();
    }
}

/// Appends what was sent as the symbols `range` of `raw`, of which the first is number `start` of the stream. A symbol
/// whose other axis is not in `raw` is restored as if that had been erased.
pub(super) fn restore(
    hypothesis: Hypothesis,
    start: u64,
    raw: &[i8],
    range: std::ops::Range<usize>,
    sent: &mut Vec<i8>,
) {
    if hypothesis.axes == Axes::Upright {
        sent.extend_from_slice(&raw[range]);
        return;
    }
    let is_second = |k: usize| (start as usize + k + usize::from(hypothesis.odd)) % 2 == 1;
    let mut k = range.start;
    if k < range.end && is_second(k) {
        let first = if k > 0 { raw[k - 1] } else { 0 };
        sent.push(hypothesis.axes.restore([first, raw[k]])[1]);
        k += 1;
    }
    let (pairs, rest) = raw[k..range.end].as_chunks::<2>();
    for pair in pairs {
        sent.extend_from_slice(&hypothesis.axes.restore(*pair));
    }
    if let [first] = rest {
        let second = raw.get(range.end).copied().unwrap_or(0);
        sent.push(hypothesis.axes.restore([*first, second])[0]);
    }
}
