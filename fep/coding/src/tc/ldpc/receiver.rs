//! The receiver of CLTUs with LDPC: soft symbols in, events out; states and rules are in [`crate::tc`].
//!
//! Positions and counters are in symbols. After a codeword that failed the search goes back one codeword further: one
//! whose end was cut off and replaced by the next start sequence may still have been corrected.

use super::cltu::{LdpcCltuSpec, LdpcCltuSpecError, LdpcRandomization};
use super::decoder::{Kernels, LdpcVerdict, TcLdpcDecoder, append_hard};
use super::kernel::correlate;
use super::{START_SEQUENCE, TAIL_SEQUENCE};
use crate::isa::{Isa, IsaUnavailable};
use crate::randomizer::{Derandomizer, Randomizer};
use crate::sync::Polarity;
use crate::tc::ledger::Ledger;
use crate::tc::{CltuCounters, CltuEvent, CltuFrame, CltuStart, EndReason};

const START_SYMBOLS: u64 = 64;
/// Input is taken in pieces, so that a large one is not copied whole.
const PIECE_SYMBOLS: usize = 1 << 16;

/// Finds and decodes the CLTUs with LDPC of one stream.
#[derive(Debug, Clone)]
pub struct LdpcCltuReceiver {
    spec: LdpcCltuSpec,
    kernels: Kernels,
    decoder: TcLdpcDecoder,
    /// +1 where a bit is 0, -1 where it is 1.
    start: [i8; 64],
    tail: [i8; 128],
    /// -1 where the randomiser flips a symbol of a codeword.
    flips: Vec<i8>,
    frame_randomizer: Derandomizer,
    /// Symbols that may still be needed, from symbol `held_from` of the stream to its end so far.
    held: Vec<i8>,
    held_from: u64,
    phase: Phase,
    ledger: Ledger,
    codeword: Vec<i8>,
    hard: Vec<i8>,
    octets: Vec<u8>,
    verdicts: Vec<LdpcVerdict>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No start sequence begins before `at`, but for those found.
    Search { at: u64 },
    /// The next codeword begins at `at`, the start sequence at `start`.
    Decode { start: u64, at: u64, inverted: bool },
}

impl LdpcCltuReceiver {
    /// A receiver in search, with the best kernels of this machine.
    ///
    /// # Errors
    /// [`LdpcCltuSpecError`] as [`LdpcCltuSpec::validate`].
    pub fn new(spec: LdpcCltuSpec) -> Result<LdpcCltuReceiver, LdpcCltuSpecError> {
        spec.validate()?;
        let randomizer = |wanted, len| match spec.randomization == wanted {
            true => Derandomizer::new(Randomizer::Tc255, len),
            false => Derandomizer::new(Randomizer::None, len),
        };
        let mut sequence = vec![0; spec.code.codeword_len()];
        randomizer(LdpcRandomization::Codewords, sequence.len()).apply(&mut sequence);
        let frame_len_max = spec.codewords_max as usize * spec.code.information_len();
        let mut tail = [0; 128];
        tail.copy_from_slice(&signs(&TAIL_SEQUENCE));
        let mut start = [0; 64];
        start.copy_from_slice(&signs(&START_SEQUENCE));
        Ok(LdpcCltuReceiver {
            kernels: Kernels::best(),
            decoder: TcLdpcDecoder::new(spec.code, spec.iterations_max),
            start,
            tail,
            flips: signs(&sequence),
            frame_randomizer: randomizer(LdpcRandomization::Frame, frame_len_max),
            held: Vec::new(),
            held_from: 0,
            phase: Phase::Search { at: 0 },
            ledger: Ledger::default(),
            codeword: Vec::new(),
            hard: Vec::new(),
            octets: Vec::new(),
            verdicts: Vec::new(),
            spec,
        })
    }

    /// The same receiver with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(mut self, isa: Isa) -> Result<LdpcCltuReceiver, IsaUnavailable> {
        self.kernels = Kernels::new(isa)?;
        self.decoder = TcLdpcDecoder::with_isa(self.spec.code, self.spec.iterations_max, isa)?;
        Ok(self)
    }

    /// What it was made from.
    pub fn spec(&self) -> &LdpcCltuSpec {
        &self.spec
    }

    /// What has happened so far, bits being symbols.
    pub fn counters(&self) -> &CltuCounters {
        &self.ledger.counters
    }

    /// Whether a start sequence was found whose CLTU has not ended.
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Decode { .. })
    }

    /// Takes the next soft symbols (positive is a 0) and gives every event that they complete to `sink`.
    pub fn push(&mut self, symbols: &[i8], sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>)) {
        for piece in symbols.chunks(PIECE_SYMBOLS) {
            self.held.extend_from_slice(piece);
            self.ledger.counters.bits_in += piece.len() as u64;
            self.run(sink);
            self.release();
        }
        self.ledger.hold_to(self.end_symbol());
    }

    /// Takes the next octets of hard bits, first bit first.
    pub fn push_hard(&mut self, octets: &[u8], sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>)) {
        let mut hard = std::mem::take(&mut self.hard);
        for piece in octets.chunks(PIECE_SYMBOLS / 8) {
            hard.clear();
            append_hard(piece, &mut hard);
            self.push(&hard, sink);
        }
        self.hard = hard;
    }

    /// The stream ends here: a CLTU being received ends with what it has. Positions start at 0 again, counters stay.
    pub fn finish(&mut self, sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>)) {
        if let Phase::Decode { at, .. } = self.phase {
            self.end(EndReason::StreamEnd, at, at, sink);
        }
        self.reset();
    }

    /// Forgets the stream, and the CLTU being received with it. Positions start at 0 again, counters stay.
    pub fn reset(&mut self) {
        self.ledger.restart(self.end_symbol());
        self.held.clear();
        self.held_from = 0;
        self.phase = Phase::Search { at: 0 };
        self.octets.clear();
        self.verdicts.clear();
    }

    fn end_symbol(&self) -> u64 {
        self.held_from + self.held.len() as u64
    }

    fn run(&mut self, sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>)) {
        let end = self.end_symbol();
        loop {
            match self.phase {
                Phase::Search { at } => {
                    let Some((symbol, inverted, bit_errors)) = self.find(at) else {
                        let to = (end + 1).saturating_sub(START_SYMBOLS).max(at);
                        self.ledger.discard_to(to);
                        self.phase = Phase::Search { at: to };
                        return;
                    };
                    self.ledger.take(symbol, symbol + START_SYMBOLS);
                    self.ledger.counters.start_bit_errors += u64::from(bit_errors);
                    sink(CltuEvent::Started(CltuStart {
                        stream_bit: symbol,
                        inverted,
                        start_bit_errors: bit_errors,
                    }));
                    self.phase = Phase::Decode { start: symbol, at: symbol + START_SYMBOLS, inverted };
                }
                Phase::Decode { at, .. } if at + self.spec.code.codeword_bits() as u64 > end => return,
                Phase::Decode { start, at, inverted } => self.codeword(start, at, inverted, sink),
            }
        }
    }

    /// The first start sequence at or behind `at`: where, whether inverted, and its wrong bits.
    fn find(&self, at: u64) -> Option<(u64, bool, u8)> {
        let mut from = (at - self.held_from) as usize;
        loop {
            let percent = self.spec.threshold_percent;
            from += self.kernels.find_start(&self.held, from, &self.start, percent)?;
            let window = &self.held[from..][..self.start.len()];
            let inverted = correlate(window, &self.start).0 < 0;
            let looked_for = match self.spec.polarity {
                Polarity::Auto => true,
                Polarity::Normal => !inverted,
                Polarity::Inverted => inverted,
            };
            if looked_for {
                let errors = count_errors(window, &self.start, inverted);
                return Some((self.held_from + from as u64, inverted, errors));
            }
            from += 1;
        }
    }

    /// Decodes the codeword at `at`, which is there whole.
    fn codeword(
        &mut self,
        start: u64,
        at: u64,
        inverted: bool,
        sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>),
    ) {
        let len = self.spec.code.codeword_bits();
        let next = at + len as u64;
        let search_from = self.search_from(start, at);
        let received = &self.held[(at - self.held_from) as usize..][..len];
        let polarity: i8 = if inverted { -1 } else { 1 };
        if self.spec.tail {
            let (correlation, weight) = correlate(received, &self.tail);
            let correlation = correlation * i32::from(polarity);
            if weight > 0 && i64::from(correlation) * 100 >= i64::from(self.spec.threshold_percent * weight) {
                let bit_errors = count_errors(received, &self.tail, inverted);
                self.ledger.take(at, next);
                self.ledger.counters.tails += 1;
                // The next start sequence may begin where the end of this tail was cut off.
                return self.end(EndReason::Tail { bit_errors }, next, at, sink);
            }
        }
        if self.verdicts.len() == self.spec.codewords_max as usize {
            return self.end(EndReason::TooLong, at, search_from, sink);
        }
        self.codeword.clear();
        let derandomised =
            received.iter().zip(&self.flips).map(|(symbol, flip)| symbol.saturating_mul(flip * polarity));
        self.codeword.extend(derandomised);
        let from = self.octets.len();
        self.octets.resize(from + self.spec.code.information_len(), 0);
        let verdict = self.decoder.decode(&self.codeword, &mut self.octets[from..]);
        let LdpcVerdict::Decoded { bits_corrected, .. } = verdict else {
            self.octets.truncate(from);
            self.ledger.counters.codeblocks_rejected += 1;
            return self.end(EndReason::Rejected, at, search_from, sink);
        };
        self.ledger.take(at, next);
        self.ledger.counters.codeblocks += 1;
        self.ledger.counters.codeblocks_corrected += u64::from(bits_corrected > 0);
        self.verdicts.push(verdict);
        self.phase = Phase::Decode { start, at: next, inverted };
    }

    /// The CLTU ended before `stream_bit`; the search goes on at `search_from`.
    fn end(
        &mut self,
        reason: EndReason,
        stream_bit: u64,
        search_from: u64,
        sink: &mut impl FnMut(CltuEvent<'_, LdpcVerdict>),
    ) {
        if self.verdicts.is_empty() {
            self.ledger.counters.false_starts += 1;
        } else {
            self.ledger.counters.cltus += 1;
            self.frame_randomizer.apply(&mut self.octets);
            sink(CltuEvent::Frame(CltuFrame { octets: &self.octets, verdicts: &self.verdicts }));
            self.octets.clear();
            self.verdicts.clear();
        }
        sink(CltuEvent::Ended { reason, stream_bit });
        self.phase = Phase::Search { at: search_from };
    }

    /// Where another start sequence may hide if the codeword at `at` fails.
    fn search_from(&self, start: u64, at: u64) -> u64 {
        (start + 1).max(at.saturating_sub(self.spec.code.codeword_bits() as u64))
    }

    /// Lets go of symbols that are no longer needed, once they are most of what is held (so that each is moved once).
    fn release(&mut self) {
        let keep = match self.phase {
            Phase::Search { at } => at,
            Phase::Decode { start, at, .. } => self.search_from(start, at),
        };
        let unneeded = (keep - self.held_from) as usize;
        if unneeded > self.held.len() / 2 {
            self.held.drain(..unneeded);
            self.held_from += unneeded as u64;
        }
    }
}

/// +1 for every 0, -1 for every 1.
fn signs(octets: &[u8]) -> Vec<i8> {
    let mut signs = Vec::new();
    append_hard(octets, &mut signs);
    signs.iter().map(|symbol| symbol.signum()).collect()
}

/// Symbols whose sign is not that of `pattern`, or of its complement.
fn count_errors(symbols: &[i8], pattern: &[i8], inverted: bool) -> u8 {
    let wrong = |(symbol, sign): (&i8, &i8)| (*symbol < 0) != ((*sign < 0) != inverted);
    symbols.iter().zip(pattern).filter(|pair| wrong(*pair)).count() as u8
}
