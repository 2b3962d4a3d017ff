//! From a stream of symbols to windows, decoded in batches as wide as what waits.

use super::spec::{ConvRate, ConvSpec};
use super::window::{BATCH, Shape, Tally, WindowDecoder};
use crate::isa::{Isa, IsaUnavailable};

/// Decodes the windows of a stream that starts with a puncture period.
#[derive(Debug)]
pub(super) struct WindowStream {
    spec: ConvSpec,
    windows: WindowDecoder,
    /// Symbols before puncturing, and where among them the next window starts.
    pairs: Vec<i8>,
    next: usize,
    symbols_in: u64,
    bits_decoded: u64,
    words: Vec<u64>,
    tallies: Vec<Tally>,
    /// Batches that threads decode; none where this one decodes.
    batches: Vec<WindowBatch>,
}

/// Windows that some thread decodes, with the decoder that it takes. Windows overlap, so any thread can decode any of them.
#[derive(Debug)]
pub struct WindowBatch {
    decoder: WindowDecoder,
    pairs: Vec<i8>,
    words: Vec<u64>,
    tallies: Vec<Tally>,
}

impl WindowBatch {
    /// Decodes the windows.
    pub fn run(&mut self) {
        let stride = 2 * self.decoder.shape().payload;
        self.decoder.decode(&self.pairs, stride, &mut self.words, &mut self.tallies);
    }

    /// The windows could not be decoded: their bits are zeros.
    pub fn give_up(&mut self) {
        self.words.fill(0);
        self.tallies.fill(Tally::default());
    }
}

/// Runs [`WindowBatch::run`] on every batch, on as many threads as it likes, and returns when all are done.
pub type RunBatches<'r> = &'r mut dyn FnMut(&mut Vec<WindowBatch>);

impl WindowStream {
    /// # Errors
    /// [`IsaUnavailable`] if this machine lacks `isa`. The `spec` is valid.
    pub(super) fn new(spec: &ConvSpec, isa: Isa) -> Result<WindowStream, IsaUnavailable> {
        let shape = Shape { payload: spec.window_bits(), overlap: spec.overlap_bits() };
        Ok(WindowStream {
            spec: *spec,
            windows: WindowDecoder::new(shape, isa)?,
            pairs: vec![0; 2 * shape.overlap],
            next: 0,
            symbols_in: 0,
            bits_decoded: 0,
            words: vec![0; BATCH * shape.words()],
            tallies: vec![Tally::default(); BATCH],
            batches: Vec::new(),
        })
    }

    /// Prepares for `count` threads that decode at once.
    ///
    /// # Errors
    /// [`IsaUnavailable`] if this machine lacks `isa`.
    pub(super) fn spread(&mut self, count: usize, isa: Isa) -> Result<(), IsaUnavailable> {
        let shape = self.shape();
        let batch = || {
            Ok(WindowBatch {
                decoder: WindowDecoder::new(shape, isa)?,
                pairs: Vec::with_capacity(2 * (BATCH * shape.payload + 2 * shape.overlap)),
                words: Vec::with_capacity(BATCH * shape.words()),
                tallies: Vec::with_capacity(BATCH),
            })
        };
        self.batches = (0..count).map(|_| batch()).collect::<Result<_, IsaUnavailable>>()?;
        self.words.resize(count.max(1) * BATCH * shape.words(), 0);
        self.tallies.resize(count.max(1) * BATCH, Tally::default());
        Ok(())
    }

    /// Threads that decode at once; 1 where this one decodes.
    pub(super) fn threads(&self) -> usize {
        self.batches.len().max(1)
    }

    pub(super) fn shape(&self) -> Shape {
        self.windows.shape()
    }

    /// Bits decoded since the stream started, those of the last windows beyond its end among them.
    pub(super) fn bits_decoded(&self) -> u64 {
        self.bits_decoded
    }

    /// Forgets everything: a new stream starts.
    pub(super) fn restart(&mut self) {
        self.pairs.clear();
        self.pairs.resize(2 * self.shape().overlap, 0);
        (self.next, self.symbols_in, self.bits_decoded) = (0, 0, 0);
    }

    /// Takes symbols in.
    pub(super) fn feed(&mut self, symbols: &[i8]) {
        if self.next > self.pairs.len() / 2 {
            self.pairs.drain(..self.next);
            self.next = 0;
        }
        depuncture(&self.spec, self.symbols_in, symbols, &mut self.pairs);
        self.symbols_in += symbols.len() as u64;
    }

    /// Decodes windows whose symbols are all there, 64 at most for each thread, and returns how many.
    pub(super) fn decode_waiting(&mut self, run: Option<RunBatches<'_>>) -> usize {
        let Shape { payload, overlap } = self.shape();
        let waiting = self.spec.complete_bits(self.symbols_in) - self.bits_decoded;
        let whole = (waiting as usize).saturating_sub(overlap) / payload;
        match run {
            Some(run) if whole > BATCH && !self.batches.is_empty() => {
                let count = whole.min(self.batches.len() * BATCH);
                self.decode_spread(count, run);
                count
            }
            _ => {
                let count = whole.min(BATCH);
                self.decode(count);
                count
            }
        }
    }

    /// The stream ends: the symbols of an incomplete bit are dropped, what is missing to fill the last windows is
    /// erased, up to 64 windows are decoded. Returns how many windows, and how many bits of them there are.
    pub(super) fn decode_rest(&mut self) -> (usize, usize) {
        let Shape { payload, overlap } = self.shape();
        let waiting = self.spec.complete_bits(self.symbols_in).saturating_sub(self.bits_decoded) as usize;
        let count = waiting.div_ceil(payload).min(BATCH);
        self.pairs.truncate(self.next + 2 * (overlap + waiting));
        let needed = self.next + 2 * (count * payload + 2 * overlap);
        let kept = self.pairs.len();
        self.pairs.resize(needed.max(kept), 0);
        self.decode(count);
        self.pairs.truncate(kept);
        (count, waiting.min(count * payload))
    }

    fn decode(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let shape = self.shape();
        let words = &mut self.words[..count * shape.words()];
        self.windows.decode(&self.pairs[self.next..], 2 * shape.payload, words, &mut self.tallies[..count]);
        self.next += count * 2 * shape.payload;
        self.bits_decoded += (count * shape.payload) as u64;
    }

    /// Decodes windows on several threads: each has the same number, or one less.
    fn decode_spread(&mut self, count: usize, run: RunBatches<'_>) {
        let Shape { payload, overlap } = self.shape();
        let (threads, words) = (self.batches.len(), self.shape().words());
        let begin = |thread: usize| count * thread / threads;
        for (thread, batch) in self.batches.iter_mut().enumerate() {
            let (from, until) = (begin(thread), begin(thread + 1));
            let start = self.next + from * 2 * payload;
            batch.pairs.clear();
            let len = 2 * ((until - from) * payload + 2 * overlap);
            batch.pairs.extend_from_slice(&self.pairs[start..start + len]);
            batch.words.resize((until - from) * words, 0);
            batch.tallies.resize(until - from, Tally::default());
        }
        run(&mut self.batches);
        assert_eq!(self.batches.len(), threads, "whoever runs the batches gives them back");
        for (thread, batch) in self.batches.iter().enumerate() {
            let (from, until) = (begin(thread), begin(thread + 1));
            self.words[from * words..until * words].copy_from_slice(&batch.words);
            self.tallies[from..until].copy_from_slice(&batch.tallies);
        }
        self.next += count * 2 * payload;
        self.bits_decoded += (count * payload) as u64;
    }

    /// Window `k` of those decoded last: its bits, the earliest highest, and what they say of its symbols.
    pub(super) fn window(&self, k: usize) -> (&[u64], Tally) {
        let words = self.shape().words();
        (&self.words[k * words..][..words], self.tallies[k])
    }
}

/// Appends to `pairs` the symbols before puncturing that `symbols` belong to, of which the first is number `position` of a
/// stream; places that were not sent are 0. When a period is begun, `pairs` is filled up to its end.
pub(super) fn depuncture(spec: &ConvSpec, position: u64, symbols: &[i8], pairs: &mut Vec<i8>) {
    let (period, period_pairs) = (spec.rate.period_symbols(), 2 * spec.rate.period_bits());
    let places = spec.rate.places(spec.g2_first);
    let signs = [0, -i8::from(spec.g2_is_inverted())];

    // To the end of a period that was begun, whole periods, the begin of one more.
    let begun = (position % period as u64) as usize;
    let (head, rest) = symbols.split_at(if begun == 0 { 0 } else { symbols.len().min(period - begun) });
    let put_some = |symbols: &[i8], places: &[u8], pairs: &mut Vec<i8>| {
        let start = pairs.len() - period_pairs;
        for (symbol, place) in symbols.iter().zip(places) {
            pairs[start + usize::from(*place)] = signed(*symbol, signs[usize::from(place % 2)]);
        }
    };
    if !head.is_empty() {
        put_some(head, &places[begun..], pairs);
    }
    let (whole, tail) = rest.split_at(rest.len() / period * period);
    let start = pairs.len();
    pairs.resize(start + whole.len() / period * period_pairs, 0);
    let out = &mut pairs[start..];
    macro_rules! expand {
        ($rate:ident) => {
            match (spec.g2_first, spec.g2_is_inverted()) {
                (false, false) => expand!($rate, false, false),
                (false, true) => expand!($rate, false, true),
                (true, false) => expand!($rate, true, false),
                (true, true) => expand!($rate, true, true),
            }
        };
        ($rate:ident, $g2_first:literal, $inverted:literal) => {{
            const RATE: ConvRate = ConvRate::$rate;
            const PLACES: [u8; 8] = RATE.places($g2_first);
            expand::<{ RATE.period_symbols() }, { 2 * RATE.period_bits() }>(whole, &PLACES, $inverted, out)
        }};
    }
    match spec.rate {
        ConvRate::R1_2 if !spec.g2_first => {
            // Nothing moves: signs alone, a vector's worth at a time.
            let mut signs_of_pairs = [0; 64];
            signs_of_pairs.as_chunks_mut::<2>().0.fill(signs);
            for (out, symbols) in out.chunks_mut(64).zip(whole.chunks(64)) {
                for ((out, symbol), sign) in out.iter_mut().zip(symbols).zip(&signs_of_pairs) {
                    *out = signed(*symbol, *sign);
                }
            }
        }
        ConvRate::R1_2 => expand!(R1_2),
        ConvRate::R2_3 => expand!(R2_3),
        ConvRate::R3_4 => expand!(R3_4),
        ConvRate::R5_6 => expand!(R5_6),
        ConvRate::R7_8 => expand!(R7_8),
    }
    if !tail.is_empty() {
        pairs.resize(pairs.len() + period_pairs, 0);
        put_some(tail, &places, pairs);
    }
}

/// Whole periods of `SYMBOLS` symbols into zeroed ones of `PAIRS`. All but the symbols is known when compiling.
#[inline(always)]
fn expand<const SYMBOLS: usize, const PAIRS: usize>(
    symbols: &[i8],
    places: &[u8; 8],
    inverted: bool,
    pairs: &mut [i8],
) {
    let periods = symbols.as_chunks::<SYMBOLS>().0.iter().zip(pairs.as_chunks_mut::<PAIRS>().0);
    for (symbols, pairs) in periods {
        for (symbol, place) in symbols.iter().zip(places) {
            let sign = if inverted && place % 2 == 1 { -1 } else { 0 };
            pairs[usize::from(*place)] = signed(*symbol, sign);
        }
    }
}

/// The symbol, negated when `sign` is -1 and not when it is 0.
#[inline(always)]
fn signed(symbol: i8, sign: i8) -> i8 {
    (symbol ^ sign).saturating_sub(sign)
}
