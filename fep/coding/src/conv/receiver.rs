//! Node synchronisation: which symbol is the first of a puncture period and, on quadrature modulations, how the axes are
//! turned. Found by trying all hypotheses on a stretch of symbols, watched by the symbol error rate, found again.
//!
//! # Ties
//! Some data is a codeword under two hypotheses: all zeros of rate 1/2, read one symbol late, are all ones. While two
//! hypotheses are equally good the receiver holds the symbols back and tries the next stretch, until one is clearly better,
//! and then decodes from where the tie began. What is held is bounded: after [`TIE_PROBES`] probes it decodes under the
//! first of the tied hypotheses and goes on trying the others beside it.
//!
//! # Decoding again
//! When the lock falls, by its error rate or because a tied hypothesis turned out better, the wrong bits are out already.
//! The symbols are still there, from the first window that was bad on and one before it; the search goes back to it. No
//! symbol is decoded more than twice.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::decoder::{SymbolErrors, append_bits};
use super::places::BitPlaces;
use super::probe::{Axes, Hypothesis, Probe, hypotheses, restore};
use super::raw::RawSymbols;
use super::spec::{ConvSpec, ConvSpecError, PROBE_BITS_MIN};
use super::stream::{RunBatches, WindowStream};
use super::tie::{Tie, is_locked, is_sure};
use super::window::Tally;
use crate::isa::{Isa, IsaUnavailable};

/// Symbols that are taken in at once, so that memory stays bounded however much a call brings.
const PIECE_SYMBOLS: usize = 1 << 16;
/// Probes for which the symbols of a tie are held back.
const TIE_PROBES: u64 = 4;
/// In how many steps a stream that ends in search is searched once more.
const END_STEPS: usize = 8;

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
    /// The symbol error rate rose above what the lock allows, or another hypothesis turned out better. The output up to
    /// bit `bit` ends with symbol `symbol`; the search starts at symbol `again`, from which on the output is decoded again.
    /// Of that output only the first two windows ([`ConvSpec::window_bits`]) can be right: a frame that is as short may
    /// come out twice.
    Lost {
        /// Number of the symbol since the stream began.
        symbol: u64,
        /// Number of the bit since the stream began.
        bit: u64,
        /// Number of the symbol from which on the stream is searched and decoded again.
        again: u64,
        /// Over the watched bits.
        errors: SymbolErrors,
    },
}

/// What a receiver has done since it was made, over all streams. Always
/// `symbols_in + symbols_repeated = symbols_decoded + symbols_discarded + symbols_held`.
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
    /// Symbols that were decoded in a wrong phase and are searched and decoded again.
    #[serde(default)]
    pub symbols_repeated: u64,
    /// Bits given, those of repeated symbols every time.
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
/// What was decoded in a wrong phase is decoded again when that is noticed: wrong bits may come out, and the right ones of
/// the same symbols behind them ([`ConvEvent::Lost`]).
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
    raw: RawSymbols,
    /// Number of the first symbol that is neither decoded nor discarded.
    taken: u64,
    /// No symbol before this number is decoded again.
    settled: u64,
    locked: Option<Locked>,
    /// Hypotheses that are as good as that of the lock, or as one another before it.
    tie: Option<Tie>,
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
    /// Number of the first symbol that the stream has not taken.
    fed: u64,
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
        Ok(ConvReceiver {
            spec: *spec,
            hypotheses: hypotheses(spec),
            probe: Probe::new(spec, isa)?,
            stream: WindowStream::new(spec, isa)?,
            raw: RawSymbols::default(),
            taken: 0,
            settled: 0,
            locked: None,
            tie: None,
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
        self.locked.as_ref().map_or(SymbolErrors::default(), |locked| SymbolErrors::of(&locked.watched))
    }

    /// What was done so far.
    pub fn counters(&self) -> ConvCounters {
        ConvCounters { symbols_held: self.raw.end() - self.taken, ..self.counters }
    }

    /// The number of the first symbol that bit `bit` of the output was decoded from. `None` for a bit that was not given
    /// yet, and for one that is more than 1024 locks old. Known until the next stream begins: after
    /// [`ConvReceiver::finish`] until the next [`ConvReceiver::push`].
    ///
    /// Exact: the number is that of the first symbol which the encoder made of this bit. On turned axes it may be the
    /// other symbol of the same modulation symbol, one off. Within a lock it grows with `bit`; the next lock may go back
    /// to symbols that were decoded in a wrong phase before.
    pub fn symbol_of_bit(&self, bit: u64) -> Option<u64> {
        if bit < self.stream_bits { self.places.symbol_of(bit, &self.spec) } else { None }
    }

    /// Takes soft symbols (see [`crate::soft`]), appends the bits decided to `bits` (whole octets, the earliest bit of
    /// each highest) and reports what was found. Any number of symbols; the answer does not depend on how they are cut.
    pub fn push(&mut self, symbols: &[i8], bits: &mut Vec<u8>, on_event: &mut impl FnMut(ConvEvent)) {
        self.push_with(symbols, bits, on_event, &mut None);
    }

    /// Prepares for `count` threads: [`ConvReceiver::push_spread`] then decodes up to 64 windows on each at once.
    ///
    /// # Errors
    /// [`IsaUnavailable`] if this machine lacks `isa`.
    pub fn spread(&mut self, count: usize, isa: Isa) -> Result<(), IsaUnavailable> {
        self.stream.spread(count, isa)
    }

    /// As [`ConvReceiver::push`], with `run` to decode what waits in batches, on threads of the caller. The answer is the
    /// same.
    pub fn push_spread(
        &mut self,
        symbols: &[i8],
        bits: &mut Vec<u8>,
        on_event: &mut impl FnMut(ConvEvent),
        run: RunBatches<'_>,
    ) {
        self.push_with(symbols, bits, on_event, &mut Some(run));
    }

    fn push_with(
        &mut self,
        symbols: &[i8],
        bits: &mut Vec<u8>,
        on_event: &mut impl FnMut(ConvEvent),
        run: &mut Option<RunBatches<'_>>,
    ) {
        if self.ended && !symbols.is_empty() {
            self.begin_stream();
        }
        for piece in symbols.chunks(self.stream.threads() * PIECE_SYMBOLS) {
            self.counters.symbols_in += piece.len() as u64;
            self.raw.extend(piece);
            while if self.locked.is_some() { self.decode(bits, on_event, run) } else { self.search(on_event) }
            {
            }
            self.forget();
        }
    }

    /// Ends the stream: appends the bits still held, the last octet completed with zeros, and discards what cannot be
    /// decoded. Returns the number of bits of the whole stream.
    ///
    /// The last bits are those of the best path, whatever state it ends in. A tie is settled for the best, what was decoded
    /// in a wrong phase lately is decoded again. The receiver then searches anew; positions start at 0 again, counters go
    /// on.
    pub fn finish(&mut self, bits: &mut Vec<u8>) -> u64 {
        loop {
            if self.locked.is_none() {
                self.search_the_rest();
            }
            let Some(locked) = &mut self.locked else { break };
            // A last symbol without its other axis has no partner to come.
            feed(&mut self.stream, locked, &self.raw, self.raw.end(), &mut self.restored);
            let fallen = loop {
                let (count, given) = self.stream.decode_rest();
                if count == 0 {
                    break self.bad_end();
                }
                if let Some(errors) = self.give(count, given, bits) {
                    break Some((self.first_bad_symbol(), errors));
                }
            };
            let Some((again, errors)) = fallen else { break };
            self.fall(again, errors, &mut |_| {});
        }
        self.pass_over(self.raw.end() - self.taken);
        self.locked = None;
        self.tie = None;
        self.ended = true;
        self.stream_bits
    }

    /// Forgets the stream: what is held is discarded, the phase is searched anew, positions start at 0. Counters go on.
    pub fn reset(&mut self) {
        self.pass_over(self.raw.end() - self.taken);
        self.begin_stream();
    }

    fn begin_stream(&mut self) {
        self.ended = false;
        self.raw.clear();
        (self.taken, self.settled, self.stream_bits) = (0, 0, 0);
        self.locked = None;
        self.tie = None;
        self.places.clear();
    }

    /// Tries the hypotheses on the next stretch of symbols. Returns whether there was such a stretch.
    fn search(&mut self, on_event: &mut impl FnMut(ConvEvent)) -> bool {
        let at = self.tie.as_ref().map_or(self.taken, |tie| tie.next);
        let Some(symbols) = stretch(&self.raw, at, self.probe.symbols) else { return false };
        let Some(tie) = &mut self.tie else {
            let errors = self.probe.errors(&self.spec, &self.hypotheses, at, symbols);
            let next = at + self.probe.step as u64;
            match Tie::new(&self.spec, &self.hypotheses, &errors, next) {
                Some(tie) if tie.alive.len() == 1 => self.lock(tie.best(), on_event),
                Some(tie) => self.tie = Some(tie),
                None => self.pass_over(self.probe.step as u64),
            }
            return true;
        };
        let errors = self.probe.errors(&self.spec, &tie.alive, at, symbols);
        let holds = tie.add(&self.spec, &errors, self.probe.step);
        let (best, is_decided) = (tie.best(), tie.alive.len() == 1);
        if is_decided || !holds {
            self.tie = None;
        }
        // What is held is not lost by a wrong choice: it is decoded again.
        if is_decided || !holds || at >= self.taken + TIE_PROBES * self.probe.step as u64 {
            self.lock(best, on_event);
        }
        true
    }

    /// The stream ends in search: settles a tie, or tries all hypotheses on what there is, less than a probe likes. Fewer
    /// symbols prove less, so they must be better; at either end of them, where a state is unknown, they prove nothing.
    fn search_the_rest(&mut self) {
        if let Some(tie) = self.tie.take() {
            return self.lock(tie.best(), &mut |_| {});
        }
        let least = self.least_symbols();
        let step = (self.probe.step as u64 / END_STEPS as u64).max(least).next_multiple_of(2);
        while self.raw.end() - self.taken >= least {
            let symbols = self.raw.get(self.taken..self.raw.end());
            let errors = self.probe.errors(&self.spec, &self.hypotheses, self.taken, symbols);
            let tie = Tie::new(&self.spec, &self.hypotheses, &errors, self.taken);
            if let Some(best) = tie.map(|tie| tie.best()).filter(|(_, errors)| is_sure(&self.spec, *errors)) {
                return self.lock(best, &mut |_| {});
            }
            self.pass_over(step);
        }
    }

    /// The symbols that are worth a decision.
    fn least_symbols(&self) -> u64 {
        self.spec.first_symbol(u64::from(PROBE_BITS_MIN) + 2 * self.spec.overlap_bits() as u64)
    }

    /// The next symbols are not decoded.
    fn pass_over(&mut self, symbols: u64) {
        let symbols = symbols.min(self.raw.end() - self.taken);
        self.counters.symbols_discarded += symbols;
        self.taken += symbols;
    }

    fn lock(&mut self, best: (Hypothesis, SymbolErrors), on_event: &mut impl FnMut(ConvEvent)) {
        let (hypothesis, errors) = best;
        self.pass_over(u64::from(hypothesis.skip));
        self.counters.locks += 1;
        let origin = self.taken;
        on_event(ConvEvent::Locked { symbol: origin, bit: self.stream_bits, hypothesis, errors });
        self.places.begin(self.stream_bits, origin);
        self.stream.restart();
        self.locked = Some(Locked { hypothesis, origin, windows: 0, fed: origin, watched: VecDeque::new() });
    }

    /// Decodes what waits, as long as the phase seems right. Returns whether anything was done.
    fn decode(
        &mut self,
        bits: &mut Vec<u8>,
        on_event: &mut impl FnMut(ConvEvent),
        run: &mut Option<RunBatches<'_>>,
    ) -> bool {
        let Some(locked) = &mut self.locked else { return false };
        // Not beyond the end of the stretch on which tied hypotheses are tried next, so that the answer does not depend on
        // how much has come already.
        let next_trial = self.tie.as_ref().map(|tie| tie.next + self.probe.symbols as u64);
        let end = next_trial.map_or(self.raw.end(), |trial| trial.min(self.raw.end()));
        // A symbol without its other axis waits for it.
        let waits =
            locked.hypothesis.axes != Axes::Upright && (end + u64::from(locked.hypothesis.odd)) % 2 == 1;
        feed(&mut self.stream, locked, &self.raw, end - u64::from(waits), &mut self.restored);
        let count = self.stream.decode_waiting(run.as_mut().map(|run| &mut **run as RunBatches<'_>));
        if count == 0 {
            return next_trial.is_some_and(|trial| trial <= self.raw.end()) && self.try_the_tied(on_event);
        }
        if let Some(errors) = self.give(count, count * self.stream.shape().payload, bits) {
            let again = self.first_bad_symbol();
            self.fall(again, errors, on_event);
        }
        true
    }

    /// Tries the hypotheses that are as good as that of the lock on the next stretch, and takes the better one. Returns
    /// true.
    fn try_the_tied(&mut self, on_event: &mut impl FnMut(ConvEvent)) -> bool {
        let (Some(mut tie), Some(locked)) = (self.tie.take(), &self.locked) else { return false };
        let symbols = self.raw.get(tie.next..tie.next + self.probe.symbols as u64);
        let errors = self.probe.errors(&self.spec, &tie.alive, tie.next, symbols);
        let holds = tie.add(&self.spec, &errors, self.probe.step);
        if !holds {
            return true; // what comes now fits none of them: for the watch to notice
        }
        if tie.alive.contains(&locked.hypothesis) {
            self.tie = (tie.alive.len() > 1).then_some(tie);
            return true;
        }
        let kept = self.taken.saturating_sub(self.kept_for_a_tie()).max(self.settled);
        let first = kept.max(locked.origin - u64::from(locked.hypothesis.skip));
        // A number of steps back, so that the hypotheses mean the same there.
        let step = self.probe.step as u64;
        let again = tie.next - tie.next.saturating_sub(first) / step * step;
        let errors = SymbolErrors::of(&locked.watched);
        self.fall(again, errors, on_event);
        if self.taken == again {
            self.lock(tie.best(), on_event);
            self.tie = (tie.alive.len() > 1).then_some(tie);
        }
        true
    }

    /// Appends the first `bits_valid` bits of the `count` windows decoded last, and keeps the books. Stops behind the
    /// window with which the lock falls, and returns the errors for which it does.
    fn give(&mut self, count: usize, bits_valid: usize, bits: &mut Vec<u8>) -> Option<SymbolErrors> {
        let locked = self.locked.as_mut()?;
        let payload = self.stream.shape().payload;
        let watch_windows = (self.spec.node_sync.watch_bits as usize).div_ceil(payload);
        for k in 0..count {
            let (words, tally) = self.stream.window(k);
            let given = (bits_valid - k * payload).min(payload);
            append_bits(words, given, bits);
            self.counters.symbols_compared += u64::from(tally.compared);
            self.counters.symbols_wrong += u64::from(tally.wrong);
            self.counters.bits_out += given as u64;
            self.stream_bits += given as u64;
            let bits_of_lock = locked.windows * payload as u64 + given as u64;
            locked.windows += 1;
            let taken = locked.origin + self.spec.first_symbol(bits_of_lock);
            self.counters.symbols_decoded += taken - self.taken;
            self.taken = taken;
            if locked.watched.len() == watch_windows {
                locked.watched.pop_front();
            }
            locked.watched.push_back(tally);
            let errors = SymbolErrors::of(&locked.watched);
            if locked.watched.len() == watch_windows && !is_locked(&self.spec, errors) {
                return Some(errors);
            }
        }
        None
    }

    /// The windows decoded last that are bad, one after the other: how many, and their errors.
    fn bad_windows(&self) -> (u64, SymbolErrors) {
        let (mut count, mut errors) = (0, SymbolErrors::default());
        for tally in self.locked.iter().flat_map(|locked| locked.watched.iter().rev()) {
            let one = SymbolErrors::of([tally]);
            // Twice the errors: half of what a lock allows.
            if one.compared > 0 && is_locked(&self.spec, SymbolErrors { wrong: 2 * one.wrong, ..one }) {
                break;
            }
            count += 1;
            errors.add(*tally);
        }
        (count, errors)
    }

    /// The first symbol of the bad windows, and of the window before them, in which the phase may have changed.
    fn first_bad_symbol(&self) -> u64 {
        let Some(locked) = &self.locked else { return self.taken };
        let first = locked.windows.saturating_sub(self.bad_windows().0 + 1);
        locked.origin + self.spec.first_symbol(first * self.stream.shape().payload as u64)
    }

    /// At the end of the stream: whether the last windows are bad, be they fewer than are watched, and where they begin.
    fn bad_end(&self) -> Option<(u64, SymbolErrors)> {
        let (count, errors) = self.bad_windows();
        let again = self.first_bad_symbol().max(self.settled);
        let is_bad = count > 0 && !is_sure(&self.spec, errors) && self.taken - again >= self.least_symbols();
        is_bad.then_some((again, errors))
    }

    /// The lock falls: the symbols from number `again` on are searched and decoded again, if they were not already.
    fn fall(&mut self, again: u64, errors: SymbolErrors, on_event: &mut impl FnMut(ConvEvent)) {
        let (symbol, again) = (self.taken, again.max(self.settled).min(self.taken));
        debug_assert!(again >= self.raw.start(), "symbol {again} was dropped");
        self.counters.losses += 1;
        self.counters.symbols_repeated += symbol - again;
        self.settled = self.settled.max(symbol);
        self.taken = again;
        self.locked = None;
        self.tie = None;
        on_event(ConvEvent::Lost { symbol, bit: self.stream_bits, again, errors });
    }

    /// Symbols that are kept behind `taken` while hypotheses are tied.
    fn kept_for_a_tie(&self) -> u64 {
        (TIE_PROBES + 2) * self.probe.step as u64 + self.probe.symbols as u64
    }

    /// Drops the symbols that are not decoded again whatever comes, but for one: with turned axes it may be the partner of
    /// the first symbol needed.
    fn forget(&mut self) {
        let needed = self.locked.as_ref().map_or(self.taken, |locked| {
            let windows = locked.windows.saturating_sub(locked.watched.len() as u64 + 1);
            let watched =
                locked.origin + self.spec.first_symbol(windows * self.stream.shape().payload as u64);
            match self.tie {
                Some(_) => watched.min(self.taken.saturating_sub(self.kept_for_a_tie())),
                None => watched,
            }
        });
        let needed = needed.max(self.settled).min(self.taken).saturating_sub(1);
        self.raw.forget_before(needed.max(self.raw.start()));
    }
}

/// The symbols of a whole stretch from number `at` on, if they are there.
fn stretch(raw: &RawSymbols, at: u64, symbols: usize) -> Option<&[i8]> {
    let end = at + symbols as u64;
    (end <= raw.end()).then(|| raw.get(at..end))
}

/// Gives the decoder the symbols before number `end` that it has not taken, as they were sent.
fn feed(stream: &mut WindowStream, locked: &mut Locked, raw: &RawSymbols, end: u64, restored: &mut Vec<i8>) {
    if end <= locked.fed {
        return;
    }
    restored.clear();
    let range = (locked.fed - raw.start()) as usize..(end - raw.start()) as usize;
    restore(locked.hypothesis, raw.start(), raw.all(), range, restored);
    locked.fed = end;
    stream.feed(restored);
}
