//! Node synchronisation: which symbol is the first of a puncture period and, on quadrature modulations, how the axes are
//! turned. Found by trying all hypotheses on a stretch of symbols, watched by the symbol error rate, found again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::decoder::{SymbolErrors, append_bits};
use super::places::BitPlaces;
use super::spec::{ConvSpec, ConvSpecError, PROBE_BITS_MIN, Quadrature};
use super::stream::{WindowStream, depuncture};
use super::window::{BATCH, Shape, Tally, WindowDecoder};
use crate::isa::Isa;

/// Symbols that are taken in at once, so that memory stays bounded however much a call brings.
const PIECE_SYMBOLS: usize = 1 << 16;
/// In how many steps a stream that ends in search is searched once more.
const END_STEPS: usize = 8;

/// How the two axes of a quadrature modulation arrive: `(i, q)` is what was sent. Turning by 180 degrees on top inverts
/// all symbols, which the code cannot tell.
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
    /// when the axes are upright.
    pub odd: bool,
}

/// What a receiver has found. Numbers of symbols and bits count from the start of the stream: from
/// [`ConvReceiver::new`], or from the last [`ConvReceiver::finish`] or [`ConvReceiver::reset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvEvent {
    /// The phase is found. Decoding starts with symbol `symbol` of the stream, whose bit becomes bit `bit` of the output.
    Locked {
        /// Number of the symbol since the stream began.
        symbol: u64,
        /// Number of the bit since the stream began.
        bit: u64,
        /// How the stream is read from here on.
        hypothesis: Hypothesis,
        /// What decoding the probe under this hypothesis found.
        errors: SymbolErrors,
    },
    /// The symbol error rate rose above what the lock allows. The output up to bit `bit`, of which about the last
    /// [`crate::conv::NodeSync::watch_bits`] are worth nothing, ends with symbol `symbol`; the search starts there.
    Lost {
        /// Number of the symbol since the stream began.
        symbol: u64,
        /// Number of the bit since the stream began.
        bit: u64,
        /// Over the watched bits.
        errors: SymbolErrors,
    },
}

/// What a receiver has done since it was made, over all streams. Always `symbols_in = symbols_decoded + symbols_discarded + symbols_held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConvCounters {
    /// Symbols pushed.
    pub symbols_in: u64,
    /// Symbols whose bits were given.
    pub symbols_decoded: u64,
    /// Symbols passed over in search, and those of an incomplete bit at the end.
    pub symbols_discarded: u64,
    /// Symbols that wait for more.
    pub symbols_held: u64,
    /// Bits given.
    pub bits_out: u64,
    /// Symbols of given bits that were compared with these bits encoded again.
    pub symbols_compared: u64,
    /// Of these, the ones whose hard decision differs.
    pub symbols_wrong: u64,
    /// How often the phase was found.
    pub locks: u64,
    /// How often it was lost.
    pub losses: u64,
}

/// Decodes a stream of soft symbols of unknown phase.
///
/// The polarity is not known (the code is transparent): bits may come out inverted, for [`crate::FrameSync`] to resolve.
///
/// # Positions
/// Symbols and bits are numbered from the start of the stream: the first symbol pushed and the first bit given after
/// [`ConvReceiver::new`], [`ConvReceiver::finish`] or [`ConvReceiver::reset`] are number 0.
/// [`ConvReceiver::symbol_of_bit`] says where a bit came from; with [`crate::Block::stream_bit`] of a synchroniser that
/// starts at the same time, and a table of the times at which symbols arrived, that is the time of a frame's first bit.
#[derive(Debug)]
pub struct ConvReceiver {
    spec: ConvSpec,
    hypotheses: Vec<Hypothesis>,
    probe: Probe,
    stream: WindowStream,
    /// Received symbols that belong to no given bit, from number `raw_start` on.
    raw: Vec<i8>,
    raw_start: u64,
    locked: Option<Locked>,
    restored: Vec<i8>,
    /// Bits given of this stream.
    stream_bits: u64,
    places: BitPlaces,
    /// The stream has ended; the next symbol is the first of a new one.
    ended: bool,
    counters: ConvCounters,
}

/// The state of a locked receiver.
#[derive(Debug)]
struct Locked {
    hypothesis: Hypothesis,
    /// Number of the first symbol of the lock.
    origin: u64,
    windows: u64,
    /// Symbols of `raw` that the stream has taken.
    fed: usize,
    watched: VecDeque<Tally>,
}

impl ConvReceiver {
    /// A receiver on the best instruction set of this machine.
    ///
    /// # Errors
    /// As [`ConvSpec::validate`].
    pub fn new(spec: &ConvSpec) -> Result<ConvReceiver, ConvSpecError> {
        ConvReceiver::with_isa(spec, Isa::best())
    }

    /// A receiver with the kernels of `isa`.
    ///
    /// # Errors
    /// As [`ConvSpec::validate`], or [`ConvSpecError::Isa`] when this machine lacks `isa`.
    pub fn with_isa(spec: &ConvSpec, isa: Isa) -> Result<ConvReceiver, ConvSpecError> {
        spec.validate()?;
        let mut hypotheses = Vec::new();
        let axes_searched = match spec.node_sync.quadrature {
            Quadrature::Off => &Axes::ALL[..1],
            Quadrature::Turns => &Axes::ALL[..2],
            Quadrature::TurnsAndMirrors => &Axes::ALL[..],
        };
        for axes in axes_searched {
            for odd in if *axes == Axes::Upright { &[false][..] } else { &[false, true] } {
                for skip in 0..spec.rate.period_symbols() as u8 {
                    hypotheses.push(Hypothesis { skip, axes: *axes, odd: *odd });
                }
            }
        }
        Ok(ConvReceiver {
            spec: *spec,
            hypotheses,
            probe: Probe::new(spec, isa)?,
            stream: WindowStream::new(spec, isa)?,
            raw: Vec::new(),
            raw_start: 0,
            locked: None,
            restored: Vec::new(),
            stream_bits: 0,
            places: BitPlaces::default(),
            ended: false,
            counters: ConvCounters::default(),
        })
    }

    /// The parameters.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// How the stream is read, while locked.
    pub fn hypothesis(&self) -> Option<Hypothesis> {
        self.locked.as_ref().map(|locked| locked.hypothesis)
    }

    /// Symbol errors over the watched bits, while locked.
    pub fn recent_errors(&self) -> SymbolErrors {
        self.locked.as_ref().map_or(SymbolErrors::default(), |locked| sum(&locked.watched))
    }

    /// What was done so far.
    pub fn counters(&self) -> ConvCounters {
        ConvCounters { symbols_held: self.raw.len() as u64, ..self.counters }
    }

    /// The number of the first symbol that bit `bit` of the output was decoded from. `None` for a bit that was not given
    /// yet, and for one that is more than 1024 locks old. Known until the next stream begins: after
    /// [`ConvReceiver::finish`] until the next [`ConvReceiver::push`].
    ///
    /// Exact: the number is that of the first symbol which the encoder made of this bit. On turned axes it may be the
    /// other symbol of the same modulation symbol, one off. Within a lock it grows with `bit`.
    pub fn symbol_of_bit(&self, bit: u64) -> Option<u64> {
        if bit < self.stream_bits { self.places.symbol_of(bit, &self.spec) } else { None }
    }

    /// Takes soft symbols (see [`crate::soft`]), appends the bits decided to `bits` (whole octets, the earliest bit of
    /// each highest) and reports what was found. Any number of symbols; the answer does not depend on how they are cut.
    pub fn push(&mut self, symbols: &[i8], bits: &mut Vec<u8>, on_event: &mut impl FnMut(ConvEvent)) {
        if self.ended && !symbols.is_empty() {
            self.ended = false;
            self.begin_stream();
        }
        for piece in symbols.chunks(PIECE_SYMBOLS) {
            self.counters.symbols_in += piece.len() as u64;
            self.raw.extend_from_slice(piece);
            while if self.locked.is_some() { self.decode(bits, on_event) } else { self.search(on_event) } {}
        }
    }

    /// Ends the stream: appends the bits still held, the last octet completed with zeros, and discards what cannot be
    /// decoded. Returns the number of bits of the whole stream.
    ///
    /// The last bits are those of the best path, whatever state it ends in. The receiver then searches anew; positions
    /// start at 0 again, counters go on.
    pub fn finish(&mut self, bits: &mut Vec<u8>) -> u64 {
        if self.locked.is_none() {
            self.search_the_rest();
        }
        if let Some(locked) = self.locked.take() {
            // A last symbol without its other axis has no partner to come.
            self.restored.clear();
            restore(
                locked.hypothesis,
                self.raw_start,
                &self.raw,
                locked.fed..self.raw.len(),
                &mut self.restored,
            );
            self.stream.feed(&self.restored);
            let mut bits_left = 0;
            loop {
                let (count, given) = self.stream.decode_rest();
                if count == 0 {
                    break;
                }
                for k in 0..count {
                    let (words, tally) = self.stream.window(k);
                    append_bits(words, given - k * self.stream.shape().payload, bits);
                    count_tally(&mut self.counters, tally);
                }
                bits_left += given as u64;
            }
            self.counters.bits_out += bits_left;
            self.stream_bits += bits_left;
            let first_bit = locked.windows * self.stream.shape().payload as u64;
            let used = self.spec.first_symbol(first_bit + bits_left) - self.spec.first_symbol(first_bit);
            self.counters.symbols_decoded += used;
            self.drop_raw(used as usize);
        }
        self.counters.symbols_discarded += self.raw.len() as u64;
        self.drop_raw(self.raw.len());
        self.ended = true;
        self.stream_bits
    }

    /// Forgets the stream: what is held is discarded, the phase is searched anew, positions start at 0. Counters go on.
    pub fn reset(&mut self) {
        self.counters.symbols_discarded += self.raw.len() as u64;
        self.ended = false;
        self.begin_stream();
    }

    fn begin_stream(&mut self) {
        self.raw.clear();
        self.raw_start = 0;
        self.locked = None;
        self.stream_bits = 0;
        self.places.clear();
    }

    /// Tries all hypotheses on the next stretch of symbols. Returns whether there was such a stretch.
    fn search(&mut self, on_event: &mut impl FnMut(ConvEvent)) -> bool {
        let needed = self.probe.symbols;
        if self.raw.len() < needed {
            return false;
        }
        let best = self.probe.best(&self.spec, &self.hypotheses, self.raw_start, &self.raw[..needed]);
        match best.filter(|(_, errors)| is_locked(&self.spec, *errors)) {
            Some((hypothesis, errors)) => self.lock(hypothesis, errors, on_event),
            None => self.pass_over(self.probe.step),
        }
        true
    }

    /// The stream ends in search: tries all hypotheses on what there is, less than a probe likes. Fewer symbols prove
    /// less, so they must be better; at either end of them, where a state is unknown, they prove nothing.
    fn search_the_rest(&mut self) {
        let least_bits = u64::from(PROBE_BITS_MIN) + 2 * self.spec.overlap_bits() as u64;
        let least = self.spec.first_symbol(least_bits) as usize;
        let step = (self.probe.step / END_STEPS).max(least).next_multiple_of(2);
        while self.raw.len() >= least {
            let best = self.probe.best(&self.spec, &self.hypotheses, self.raw_start, &self.raw);
            let sure = |errors: SymbolErrors| SymbolErrors { wrong: errors.wrong * 3 / 2, ..errors };
            if let Some((hypothesis, errors)) =
                best.filter(|(_, errors)| is_locked(&self.spec, sure(*errors)))
            {
                return self.lock(hypothesis, errors, &mut |_| {});
            }
            self.pass_over(step);
        }
    }

    /// No hypothesis holds for the next symbols.
    fn pass_over(&mut self, symbols: usize) {
        let symbols = symbols.min(self.raw.len());
        self.counters.symbols_discarded += symbols as u64;
        self.drop_raw(symbols);
    }

    fn lock(&mut self, hypothesis: Hypothesis, errors: SymbolErrors, on_event: &mut impl FnMut(ConvEvent)) {
        self.counters.symbols_discarded += u64::from(hypothesis.skip);
        self.counters.locks += 1;
        let origin = self.raw_start + u64::from(hypothesis.skip);
        on_event(ConvEvent::Locked { symbol: origin, bit: self.stream_bits, hypothesis, errors });
        self.drop_raw(hypothesis.skip as usize);
        self.places.begin(self.stream_bits, origin);
        self.stream.restart();
        self.locked = Some(Locked { hypothesis, origin, windows: 0, fed: 0, watched: VecDeque::new() });
    }

    /// Decodes what waits, as long as the phase seems right. Returns whether anything was done.
    fn decode(&mut self, bits: &mut Vec<u8>, on_event: &mut impl FnMut(ConvEvent)) -> bool {
        let Some(locked) = &mut self.locked else { return false };
        // A symbol without its other axis waits for it.
        let end = self.raw_start as usize + self.raw.len();
        let whole = match locked.hypothesis.axes {
            Axes::Upright => self.raw.len(),
            _ => self.raw.len() - (end + usize::from(locked.hypothesis.odd)) % 2,
        };
        self.restored.clear();
        if whole > locked.fed {
            let range = locked.fed..whole;
            restore(locked.hypothesis, self.raw_start, &self.raw, range, &mut self.restored);
            locked.fed = whole;
        }
        self.stream.feed(&self.restored);
        let count = self.stream.decode_waiting();
        let payload = self.stream.shape().payload as u64;
        let first_bit = locked.windows * payload;
        let watch_windows = (self.spec.node_sync.watch_bits as u64).div_ceil(payload) as usize;
        let mut lost = None;
        for k in 0..count {
            let (words, tally) = self.stream.window(k);
            append_bits(words, payload as usize, bits);
            count_tally(&mut self.counters, tally);
            self.counters.bits_out += payload;
            self.stream_bits += payload;
            locked.windows += 1;
            if locked.watched.len() == watch_windows {
                locked.watched.pop_front();
            }
            locked.watched.push_back(tally);
            let errors = sum(&locked.watched);
            if locked.watched.len() == watch_windows && !is_locked(&self.spec, errors) {
                lost = Some(errors);
                break;
            }
        }
        let next_bit = locked.windows * payload;
        let used = self.spec.first_symbol(next_bit) - self.spec.first_symbol(first_bit);
        locked.fed -= used as usize;
        let symbol = locked.origin + self.spec.first_symbol(next_bit);
        self.counters.symbols_decoded += used;
        self.drop_raw(used as usize);
        if let Some(errors) = lost {
            self.counters.losses += 1;
            self.locked = None;
            on_event(ConvEvent::Lost { symbol, bit: self.stream_bits, errors });
        }
        count > 0
    }

    fn drop_raw(&mut self, symbols: usize) {
        self.raw.drain(..symbols);
        self.raw_start += symbols as u64;
    }
}

/// Tries hypotheses on a stretch of symbols, windows of several side by side.
#[derive(Debug)]
struct Probe {
    windows: WindowDecoder,
    /// Windows that are decoded under each hypothesis.
    count: usize,
    /// Symbols of the stretch.
    symbols: usize,
    /// Symbols that are passed over when none holds: whole modulation symbols.
    step: usize,
    restored: Vec<i8>,
    pairs: Vec<i8>,
    batch: Vec<i8>,
    words: Vec<u64>,
}

impl Probe {
    fn new(spec: &ConvSpec, isa: Isa) -> Result<Probe, ConvSpecError> {
        let shape = Shape { payload: spec.window_bits(), overlap: spec.overlap_bits() };
        let count = (spec.node_sync.probe_bits as usize).div_ceil(shape.payload);
        let bits = (count * shape.payload + shape.overlap) as u64;
        let period = spec.rate.period_symbols();
        Ok(Probe {
            windows: WindowDecoder::new(shape, isa)?,
            count,
            // With what a hypothesis skips, and the other axis of the last symbol.
            symbols: spec.first_symbol(bits + spec.rate.period_bits() as u64) as usize + period + 1,
            step: spec.first_symbol((count * shape.payload) as u64) as usize / 2 * 2,
            restored: Vec::new(),
            pairs: Vec::new(),
            batch: Vec::with_capacity(BATCH * 2 * shape.span()),
            words: vec![0; BATCH * shape.words()],
        })
    }

    /// The hypothesis with the fewest symbol errors on `symbols`, of which the first is number `start`: as many as the
    /// probe likes, or the last of the stream.
    fn best(
        &mut self,
        spec: &ConvSpec,
        hypotheses: &[Hypothesis],
        start: u64,
        symbols: &[i8],
    ) -> Option<(Hypothesis, SymbolErrors)> {
        let shape = self.windows.shape();
        let complete = spec.complete_bits(symbols.len() as u64) as usize;
        let count = complete.div_ceil(shape.payload).clamp(1, self.count);
        let span = 2 * (count * shape.payload + 2 * shape.overlap);
        let mut errors = vec![SymbolErrors::default(); hypotheses.len()];
        let mut owners = Vec::with_capacity(BATCH);
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
                owners.push(k);
                if owners.len() == BATCH {
                    self.decode(&mut owners, &mut errors);
                }
            }
        }
        self.decode(&mut owners, &mut errors);
        let rated = hypotheses.iter().zip(errors).filter_map(|(h, e)| e.rate().map(|rate| (*h, e, rate)));
        rated.min_by(|a, b| a.2.total_cmp(&b.2)).map(|(hypothesis, errors, _)| (hypothesis, errors))
    }

    /// Decodes the windows of `batch`, and adds what they say to their owners' errors.
    fn decode(&mut self, owners: &mut Vec<usize>, errors: &mut [SymbolErrors]) {
        let shape = self.windows.shape();
        let mut tallies = [Tally::default(); BATCH];
        let tallies = &mut tallies[..owners.len()];
        let words = &mut self.words[..owners.len() * shape.words()];
        self.windows.decode(&self.batch, 2 * shape.span(), words, tallies);
        for (owner, tally) in owners.drain(..).zip(tallies) {
            errors[owner].compared += u64::from(tally.compared);
            errors[owner].wrong += u64::from(tally.wrong);
        }
        self.batch.clear();
    }
}

/// Whether symbol errors are few enough for a lock.
fn is_locked(spec: &ConvSpec, errors: SymbolErrors) -> bool {
    let most_ppm = spec.rate.random_error_ppm() * u64::from(spec.node_sync.threshold_percent) / 100;
    errors.compared > 0 && errors.wrong * 1_000_000 <= errors.compared * most_ppm
}

fn sum(tallies: &VecDeque<Tally>) -> SymbolErrors {
    tallies.iter().fold(SymbolErrors::default(), |sum, tally| SymbolErrors {
        compared: sum.compared + u64::from(tally.compared),
        wrong: sum.wrong + u64::from(tally.wrong),
    })
}

fn count_tally(counters: &mut ConvCounters, tally: Tally) {
    counters.symbols_compared += u64::from(tally.compared);
    counters.symbols_wrong += u64::from(tally.wrong);
}

/// Appends what was sent as the symbols `range` of `raw`, of which the first is number `start` of the stream. A symbol
/// whose other axis is not in `raw` is restored as if that had been erased.
fn restore(
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
