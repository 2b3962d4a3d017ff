//! The receiver of CLTUs with BCH: hard bits in, events out; states and rules are in [`crate::tc`].

use super::bch::{Bch, BchVerdict, CODEBLOCK_LEN, INFORMATION_LEN};
use super::cltu::{CltuSpec, CltuSpecError};
use super::ledger::Ledger;
use super::search::{START_BITS, StartFinder};
use super::{CltuCounters, CltuEvent, CltuFrame, CltuStart, EndReason, TAIL_SEQUENCE};
use crate::randomizer::Derandomizer;

const CODEBLOCK_BITS: u64 = 8 * CODEBLOCK_LEN as u64;
/// How far behind a rejected codeblock the search goes back at most into codeblocks that were accepted. Of what is no
/// codeblock the decoder corrects a quarter (half, if the filler bit is ignored), so eight in a row are rare; and what is
/// held, and searched twice, stays bounded.
const REACH_BACK_BITS: u64 = 8 * CODEBLOCK_BITS;
/// Input is taken in pieces, so that a large one is not copied whole.
const PIECE_OCTETS: usize = 1 << 16;

/// Finds and decodes the CLTUs of one stream.
#[derive(Debug, Clone)]
pub struct CltuReceiver {
    spec: CltuSpec,
    bch: Bch,
    finder: StartFinder,
    derandomizer: Derandomizer,
    /// Octets that may still be needed, from octet `held_from` of the stream to its end so far.
    held: Vec<u8>,
    held_from: u64,
    phase: Phase,
    ledger: Ledger,
    octets: Vec<u8>,
    verdicts: Vec<BchVerdict>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No start sequence begins before `at`, but for those found.
    Search { at: u64 },
    Decode {
        /// The next codeblock.
        at: u64,
        inverted: bool,
        /// From this bit on another start sequence may hide if the next codeblock is rejected: the last codeblock
        /// without any error and with its filler bit 0 (one in 256 is that by chance), or the second bit of the start
        /// sequence.
        doubtful: u64,
    },
}

impl CltuReceiver {
    /// A receiver in search.
    ///
    /// # Errors
    /// [`CltuSpecError`] as [`CltuSpec::validate`].
    pub fn new(spec: CltuSpec) -> Result<CltuReceiver, CltuSpecError> {
        spec.validate()?;
        Ok(CltuReceiver {
            bch: Bch::new(spec.mode, spec.filler),
            finder: StartFinder::new(spec.start_bit_errors, spec.polarity),
            derandomizer: spec.derandomizer(),
            spec,
            held: Vec::new(),
            held_from: 0,
            phase: Phase::Search { at: 0 },
            ledger: Ledger::default(),
            octets: Vec::new(),
            verdicts: Vec::new(),
        })
    }

    /// What it was made from.
    pub fn spec(&self) -> &CltuSpec {
        &self.spec
    }

    /// What has happened so far.
    pub fn counters(&self) -> &CltuCounters {
        &self.ledger.counters
    }

    /// Whether a start sequence was found whose CLTU has not ended.
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Decode { .. })
    }

    /// Takes the next octets of the stream, first bit first, and gives every event that they complete to `sink`.
    pub fn push(&mut self, input: &[u8], sink: &mut impl FnMut(CltuEvent<'_, BchVerdict>)) {
        for piece in input.chunks(PIECE_OCTETS) {
            self.held.extend_from_slice(piece);
            self.ledger.counters.bits_in += 8 * piece.len() as u64;
            self.run(sink);
            self.release();
        }
        self.ledger.hold_to(self.end_bit());
    }

    /// The stream ends here: a CLTU being received ends with what it has. Positions start at 0 again, counters stay.
    pub fn finish(&mut self, sink: &mut impl FnMut(CltuEvent<'_, BchVerdict>)) {
        if let Phase::Decode { at, .. } = self.phase {
            self.end(EndReason::StreamEnd, at, at, sink);
        }
        self.reset();
    }

    /// Forgets the stream, and the CLTU being received with it. Positions start at 0 again, counters stay.
    pub fn reset(&mut self) {
        self.ledger.restart(self.end_bit());
        self.held.clear();
        self.held_from = 0;
        self.phase = Phase::Search { at: 0 };
        self.octets.clear();
        self.verdicts.clear();
    }

    fn end_bit(&self) -> u64 {
        8 * (self.held_from + self.held.len() as u64)
    }

    fn run(&mut self, sink: &mut impl FnMut(CltuEvent<'_, BchVerdict>)) {
        let end = self.end_bit();
        loop {
            match self.phase {
                Phase::Search { at } => {
                    let to = (end + 1).saturating_sub(START_BITS).max(at);
                    let origin = 8 * self.held_from;
                    let found = self.finder.find(&self.held, (at - origin) as usize, (to - origin) as usize);
                    let Some(start) = found else {
                        self.ledger.discard_to(to);
                        self.phase = Phase::Search { at: to };
                        return;
                    };
                    let stream_bit = origin + start.bit as u64;
                    self.ledger.take(stream_bit, stream_bit + START_BITS);
                    self.ledger.counters.start_bit_errors += u64::from(start.bit_errors);
                    sink(CltuEvent::Started(CltuStart {
                        stream_bit,
                        inverted: start.inverted,
                        start_bit_errors: start.bit_errors as u8,
                    }));
                    self.phase = Phase::Decode {
                        at: stream_bit + START_BITS,
                        inverted: start.inverted,
                        doubtful: stream_bit + 1,
                    };
                }
                Phase::Decode { at, .. } if at + CODEBLOCK_BITS > end => return,
                Phase::Decode { at, inverted, doubtful } => self.codeblock(at, inverted, doubtful, sink),
            }
        }
    }

    /// Decodes the codeblock at `at`, which is there whole.
    fn codeblock(
        &mut self,
        at: u64,
        inverted: bool,
        doubtful: u64,
        sink: &mut impl FnMut(CltuEvent<'_, BchVerdict>),
    ) {
        let flip = if inverted { u64::MAX } else { 0 };
        let word = octets_at(&self.held, (at - 8 * self.held_from) as usize) ^ flip;
        let tail_errors = (word ^ u64::from_be_bytes(TAIL_SEQUENCE)).count_ones();
        let next = at + CODEBLOCK_BITS;
        let search_from = doubtful.max(at.saturating_sub(REACH_BACK_BITS));
        if tail_errors <= self.spec.tail_bit_errors {
            self.ledger.take(at, next);
            self.ledger.counters.tails += 1;
            // No start sequence is like any part of a tail, but the next may begin where the end of this one was cut off.
            return self.end(EndReason::Tail { bit_errors: tail_errors as u8 }, next, at, sink);
        }
        if self.verdicts.len() == self.spec.codeblocks_max as usize {
            return self.end(EndReason::TooLong, at, search_from, sink);
        }
        let mut block = word.to_be_bytes();
        let verdict = self.bch.decode(&mut block);
        if verdict == BchVerdict::Rejected {
            self.ledger.counters.codeblocks_rejected += 1;
            return self.end(EndReason::Rejected, at, search_from, sink);
        }
        self.ledger.take(at, next);
        self.ledger.counters.codeblocks += 1;
        self.octets.extend_from_slice(&block[..INFORMATION_LEN]);
        self.verdicts.push(verdict);
        self.ledger.counters.codeblocks_corrected += u64::from(verdict != BchVerdict::Clean);
        let doubtful = if verdict == BchVerdict::Clean && word & 1 == 0 { at } else { doubtful };
        self.phase = Phase::Decode { at: next, inverted, doubtful };
    }

    /// The CLTU ended before `stream_bit`; the search goes on at `search_from`.
    fn end(
        &mut self,
        reason: EndReason,
        stream_bit: u64,
        search_from: u64,
        sink: &mut impl FnMut(CltuEvent<'_, BchVerdict>),
    ) {
        if self.verdicts.is_empty() {
            self.ledger.counters.false_starts += 1;
        } else {
            self.ledger.counters.cltus += 1;
            self.derandomizer.apply(&mut self.octets);
            sink(CltuEvent::Frame(CltuFrame { octets: &self.octets, verdicts: &self.verdicts }));
            self.octets.clear();
            self.verdicts.clear();
        }
        sink(CltuEvent::Ended { reason, stream_bit });
        self.phase = Phase::Search { at: search_from };
    }

    /// Lets go of octets that are no longer needed, once they are most of what is held (so that each is moved once).
    fn release(&mut self) {
        let keep_bit = match self.phase {
            Phase::Search { at } => at,
            Phase::Decode { at, doubtful, .. } => doubtful.max(at.saturating_sub(REACH_BACK_BITS)),
        };
        let unneeded = (keep_bit / 8 - self.held_from) as usize;
        if unneeded > self.held.len() / 2 {
            self.held.drain(..unneeded);
            self.held_from += unneeded as u64;
        }
    }
}

/// The 64 bits from `bit` on, which are there.
#[inline]
fn octets_at(octets: &[u8], bit: usize) -> u64 {
    let octets = &octets[bit / 8..];
    let mut word = [0; CODEBLOCK_LEN];
    word.copy_from_slice(&octets[..CODEBLOCK_LEN]);
    let word = u64::from_be_bytes(word);
    match bit % 8 {
        0 => word,
        shift => (word << shift) | (u64::from(octets[CODEBLOCK_LEN]) >> (8 - shift)),
    }
}
