//! A naive synchroniser: the rules of the module's documentation, written down a second time over a whole stream of
//! single bits, with no buffers, no words and no care for speed.

use std::cell::Cell;

use fep_coding::{Polarity, SyncSpec};

use crate::stream::Given;

struct Oracle<'a> {
    bits: &'a [u8],
    marker: Vec<u8>,
    spec: &'a SyncSpec,
    /// A decision was wanted for which the stream is too short: only whole blocks count from here on.
    at_end: Cell<bool>,
}

#[derive(Clone, Copy)]
struct Seen {
    position: usize,
    errors: usize,
    inverted: bool,
    flywheel: bool,
    slip: i64,
}

enum Look {
    Found(Seen),
    Missing,
    BehindTheEnd,
}

enum Ending {
    Broken,
    EndOfStream { missing: u32 },
}

/// A chain of markers from a candidate to where it breaks.
struct Chain {
    seen: Vec<Seen>,
    confirmed: bool,
    ending: Ending,
}

/// What a synchroniser must release for the whole stream.
pub(crate) fn expected(spec: &SyncSpec, octets: &[u8]) -> Vec<Given> {
    let bits = crate::stream::Bits::unpack(octets).0;
    let marker = crate::stream::Bits::unpack(spec.marker.as_bytes()).0;
    Oracle { bits: &bits, marker, spec, at_end: Cell::new(false) }.blocks()
}

impl Oracle<'_> {
    fn period(&self) -> usize {
        self.spec.period_bits() as usize
    }

    fn errors(&self, position: usize) -> usize {
        self.marker.iter().zip(&self.bits[position..]).filter(|(a, b)| a != b).count()
    }

    fn fits(&self, position: usize) -> bool {
        position + self.marker.len() <= self.bits.len()
    }

    fn marker_at(&self, position: usize, tolerance: u32) -> Option<Seen> {
        let (errors, tolerance) = (self.errors(position), tolerance as usize);
        let complement_errors = self.marker.len() - errors;
        let seen = |errors, inverted| Seen { position, errors, inverted, flywheel: false, slip: 0 };
        match self.spec.polarity {
            Polarity::Normal | Polarity::Auto if errors <= tolerance => Some(seen(errors, false)),
            Polarity::Inverted | Polarity::Auto if complement_errors <= tolerance => {
                Some(seen(complement_errors, true))
            }
            _ => None,
        }
    }

    fn look(&self, due: usize, last_seen: usize) -> Look {
        if self.fits(due)
            && let Some(seen) = self.marker_at(due, self.spec.lock_bit_errors)
        {
            return Look::Found(seen);
        }
        if !self.fits(due + self.spec.slip_window_bits as usize) {
            self.at_end.set(true);
        }
        let mut best: Option<Seen> = None;
        for k in 1..=self.spec.slip_window_bits as i64 {
            for slip in [-k, k] {
                let position = due as i64 + slip;
                if position <= last_seen as i64 || !self.fits(position as usize) {
                    continue;
                }
                if let Some(seen) = self.marker_at(position as usize, self.spec.lock_bit_errors)
                    && best.is_none_or(|best| seen.errors < best.errors)
                {
                    best = Some(Seen { slip, ..seen });
                }
            }
        }
        match best {
            Some(seen) => Look::Found(seen),
            None if self.fits(due) => Look::Missing,
            None => Look::BehindTheEnd,
        }
    }

    fn rival(&self, last_seen: usize, due: usize, found: usize) -> bool {
        (last_seen + 1..found).any(|position| {
            let next = position + self.period();
            let backed = if self.fits(next) {
                self.marker_at(next, self.spec.lock_bit_errors).is_some()
            } else {
                next <= self.bits.len() && found != due
            };
            backed && self.marker_at(position, self.spec.search_bit_errors).is_some()
        })
    }

    fn chain(&self, candidate: Seen) -> Chain {
        let mut chain =
            Chain { seen: vec![candidate], confirmed: self.spec.check_markers == 0, ending: Ending::Broken };
        let (mut last_seen, mut found, mut missing, mut inverted) =
            (candidate.position, 0, 0, candidate.inverted);
        let mut due = last_seen + self.period();
        loop {
            match self.look(due, last_seen) {
                Look::Found(seen) => {
                    if missing > 0 || seen.slip != 0 {
                        if !self.fits(seen.position + self.period()) {
                            self.at_end.set(true);
                        }
                        if self.rival(last_seen, due, seen.position) {
                            return chain;
                        }
                    }
                    chain.seen.push(seen);
                    (last_seen, missing, inverted) = (seen.position, 0, seen.inverted);
                    due = last_seen + self.period();
                    found += 1;
                    chain.confirmed |= found >= self.spec.check_markers;
                }
                Look::Missing => {
                    missing += 1;
                    let least = if chain.confirmed { 0 } else { 1 };
                    if missing > self.spec.flywheel_blocks.max(least) {
                        return chain;
                    }
                    let upright = self.errors(due);
                    let errors = if inverted { self.marker.len() - upright } else { upright };
                    chain.seen.push(Seen { position: due, errors, inverted, flywheel: true, slip: 0 });
                    due += self.period();
                }
                Look::BehindTheEnd => {
                    chain.ending = Ending::EndOfStream { missing };
                    return chain;
                }
            }
        }
    }

    fn blocks(&self) -> Vec<Given> {
        let mut given = Vec::new();
        let mut orphans: Vec<Seen> = Vec::new();
        let mut at = 0;
        // Without a check, a marker is believed even where its block is cut off by the end.
        let needed = || match self.spec.check_markers {
            0 if !self.at_end.get() => self.marker.len(),
            _ => self.period(),
        };
        while at + needed() <= self.bits.len() {
            let Some(candidate) = self.marker_at(at, self.spec.search_bit_errors) else {
                at += 1;
                continue;
            };
            self.release_until(at, &mut orphans, &mut given);
            let mut chain = self.chain(candidate);
            if let Ending::EndOfStream { missing: 0 } = chain.ending {
                chain.confirmed = true;
            }
            let last = chain.seen.iter().rposition(|seen| !seen.flywheel).unwrap_or(0);
            let trusted = chain.seen.split_off(last + 1);
            if !chain.confirmed {
                if let Ending::EndOfStream { .. } = chain.ending {
                    chain.seen.retain(|seen| orphans.iter().all(|orphan| orphan.position != seen.position));
                    orphans.extend(chain.seen);
                    orphans.sort_by_key(|seen| seen.position);
                }
                at += 1;
                continue;
            }
            orphans = trusted;
            at = chain.seen[last].position + 1;
            given.extend(chain.seen.iter().filter_map(|seen| self.release(seen)));
            if let Ending::EndOfStream { missing: 0 } = chain.ending {
                return given;
            }
        }
        self.release_until(self.bits.len(), &mut orphans, &mut given);
        given
    }

    fn release_until(&self, end: usize, orphans: &mut Vec<Seen>, given: &mut Vec<Given>) {
        while orphans.first().is_some_and(|orphan| orphan.position + self.period() <= end) {
            given.extend(self.release(&orphans.remove(0)));
        }
    }

    fn release(&self, seen: &Seen) -> Option<Given> {
        let start = seen.position + self.marker.len();
        let bits = self.bits.get(start..seen.position + self.period())?;
        if seen.flywheel && self.spec.flywheel_blocks == 0 {
            return None;
        }
        let flip = u8::from(seen.inverted);
        let data = crate::stream::Bits(bits.iter().map(|bit| bit ^ flip).collect()).pack();
        Some(Given {
            data,
            marker_bit_errors: seen.errors as u8,
            inverted: seen.inverted,
            flywheel: seen.flywheel,
            slip_bits: seen.slip as i8,
            stream_bit: seen.position as u64,
        })
    }
}
