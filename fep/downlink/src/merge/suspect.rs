//! Strays among the frames of a narrow counter: what is believed of a frame that only its own count speaks for.
//!
//! Eight bits give every frame a place within half a turn, also one that is not of the sequence: of a neighbour with the
//! same identifiers, or damaged where nothing verifies it. Behind several antennas a frame is a suspect while it is more
//! than [`step_most`] from the last frame of its antenna, and neither its content nor the next frames of the antenna say
//! that it belongs there. A suspect moves neither its antenna's place nor the sequence, and gives way to a frame that is no
//! suspect. When its wait is over, it is a stray if another antenna, which follows its own sequence, received a frame
//! before its place later, or if its receive time is not that of its place.

use fep_time::Tai;

use super::Merged;
use super::frame::{Antennas, Facts, Outlet};
use super::lane::{Lane, Moment, Slot};
use super::place::{Place, forward};
use super::track::{EVIDENCE_BITS, Last, evidence_bits, step_most};

/// Strays one after the other that are recognised among frames in limbo.
const STRAYS_MOST: usize = 4;
/// Frames of an antenna, one after the other, that go beside those of others before its place is in question.
const BESIDE_MOST: u32 = 3;

/// A suspect that was served in the sequence because nothing contradicted it, and the positions that were given up for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubtful {
    pub(super) from: u64,
    pub(super) to: u64,
    /// When it was received, as the antennas have it in common.
    pub(super) common: Tai,
}

/// Frames by which the place of a suspect may differ from where its receive time says, and the share of the time between.
const DOUBT_FRAMES: u64 = 1;
const DOUBT_SHARE: u64 = 8;

impl Lane {
    /// Whether frames of this virtual channel can be suspects.
    pub(super) const fn doubts(&self) -> bool {
        self.is_narrow() && self.rules.antennas > 1
    }

    /// Whether a live antenna beside these follows a sequence.
    pub(super) fn has_steady_besides(&self, antennas: Antennas, live: Antennas) -> bool {
        let others = live & !antennas;
        self.tracks.iter().enumerate().any(|(antenna, track)| others >> antenna & 1 != 0 && track.is_steady())
    }

    /// Whether the place of another antenna than these is known.
    pub(super) fn has_others(&self, antennas: Antennas) -> bool {
        let mut tracks = self.tracks.iter().enumerate();
        tracks.any(|(antenna, track)| antennas >> antenna & 1 == 0 && track.last.is_some())
    }

    /// Finds the place of a frame that is further from its antenna's last one than [`step_most`].
    #[cold]
    pub(super) fn find_behind_a_leap(
        &mut self,
        facts: &Facts,
        last: &Last,
        distance: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Place {
        let own = last.position + distance;
        if self.has_copy(own, facts) == Some(true) {
            return Place::Onward(own);
        }
        let says_where = !facts.is_idle || !self.has_data;
        if says_where && let Some(found) = self.search(facts, false) {
            return Place::Aligned(found);
        }
        if let Some(place) = self.behind_the_jump(facts) {
            return place;
        }
        if self.is_another(own, facts) {
            return self.align(facts, moment, outlet);
        }
        let track = &mut self.tracks[facts.antenna];
        (track.jump_from, track.jump_bits) = (own, 0);
        Place::Jump(own)
    }

    /// The place of a frame that follows the jump of its antenna, if it does.
    #[cold]
    pub(super) fn behind_the_jump(&mut self, facts: &Facts) -> Option<Place> {
        let (modulus, pace) = (self.modulus, self.pace);
        let track = &mut self.tracks[facts.antenna];
        let jump = track.jump?;
        let step = forward(jump.count, facts.count, modulus);
        if step == 0 && jump.hash == facts.hash {
            return Some(Place::Back(jump.position));
        }
        let bits = evidence_bits(step, modulus);
        if bits == 0 || pace.may_hide_half_a_turn(facts.received.ns_since(jump.received), modulus) {
            return None;
        }
        track.jump_bits += bits;
        let position = jump.position + step;
        let is_proved = track.jump_bits >= EVIDENCE_BITS;
        Some(if is_proved { Place::Onward(position) } else { Place::Jump(position) })
    }

    /// The antenna goes on at this position: its suspects of the jump that leads there belong to the sequence, others are
    /// strays.
    #[cold]
    pub(super) fn end_jump(
        &mut self,
        antenna: usize,
        position: u64,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let track = &mut self.tracks[antenna];
        let (jump, from) = (track.jump.take(), track.jump_from);
        let step = jump.and_then(|jump| position.checked_sub(jump.position));
        let leads_there = step.is_some_and(|step| step <= step_most(self.modulus));
        track.was_gone &= !leads_there;
        let mut at = 0;
        while let Some(slot) = self.pending.get_mut(at) {
            let is_own = slot.held.facts.is_suspect && slot.held.facts.antenna == antenna;
            if is_own && leads_there && (from..=position).contains(&slot.position) {
                slot.held.facts.is_suspect = false;
            } else if is_own && slot.position != position {
                self.drop_stray(at, outlet);
                continue;
            }
            at += 1;
        }
    }

    /// An antenna's sequence begins at this position, as far as its count and receive time say.
    pub(super) fn unproved(&mut self, position: u64, facts: &Facts) -> Place {
        if !self.doubts() {
            return Place::Aligned(position);
        }
        let track = &mut self.tracks[facts.antenna];
        (track.jump_from, track.jump_bits) = (position, 0);
        Place::Jump(position)
    }

    /// The place of a frame that goes on from before the antenna's last gap, as if the frame behind that gap were a stray.
    #[cold]
    pub(super) fn before_the_gap(
        &mut self,
        facts: &Facts,
        stray: u64,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Option<Place> {
        let before = self.tracks[facts.antenna].before_gap.take()?;
        let step = forward(before.count, facts.count, self.modulus);
        let position = before.position + step;
        if evidence_bits(step, self.modulus) == 0 || self.is_another(position, facts) {
            return None;
        }
        if let Ok(at) = self.pending.binary_search_by_key(&stray, |slot| slot.position)
            && self.pending[at].seen == facts.bit()
        {
            self.drop_stray(at, outlet);
        }
        self.tracks[facts.antenna].last = Some(before);
        Some(Place::Onward(position))
    }

    /// Whether a frame that follows its antenna's sequence goes beside one that another antenna brought.
    #[cold]
    pub(super) fn is_beside(&self, position: u64, facts: &Facts) -> bool {
        let track = &self.tracks[facts.antenna];
        let is_sure = track.is_confirmed || !self.has_others(facts.bit());
        let is_steady = self.doubts() && track.is_steady() && track.beside < BESIDE_MOST;
        is_steady
            && is_sure
            && self.common(facts) > self.newest_common
            && position < self.next
            && self.search(facts, false).is_none()
    }

    /// When a frame was received, as the antennas have it in common.
    pub(super) fn common(&self, facts: &Facts) -> Tai {
        self.tracks[facts.antenna].common_time(facts.received)
    }

    /// Whether what was served at the position may be a stray.
    pub(super) fn is_doubtful(&self, position: u64) -> bool {
        self.doubtful.is_some_and(|doubtful| (doubtful.from..=doubtful.to).contains(&position))
    }

    /// A held frame turned out to be a stray.
    #[cold]
    pub(super) fn drop_stray(&mut self, at: usize, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        if let Some(slot) = self.pending.remove(at) {
            self.leave_queue(slot.position);
            outlet.end(slot.held, |outlet, octets, facts| outlet.stray(octets, facts));
        }
    }

    /// Whether a suspect whose wait is over is not of the sequence.
    #[cold]
    pub(super) fn is_stray(&self, slot: &Slot, moment: Moment) -> bool {
        let facts = &slot.held.facts;
        let common = self.tracks[facts.antenna].common_time(facts.received);
        let others = moment.live & !slot.seen;
        let followers = self
            .tracks
            .iter()
            .enumerate()
            .filter(|(antenna, track)| others >> antenna & 1 != 0 && track.is_steady());
        let lasts = followers.filter_map(|(_, track)| {
            track.last.map(|last| (track.common_time(last.received), last.position))
        });
        let Some((newest, position)) = lasts.filter(|(_, position)| *position < slot.position).max() else {
            return false;
        };
        if newest > common {
            return true;
        }
        // Without a pace only what is next is believed.
        let frames = self.pace.frames_in(common.ns_since(newest)).unwrap_or(1).unsigned_abs();
        let doubt = DOUBT_FRAMES + frames / DOUBT_SHARE;
        (position + frames).abs_diff(slot.position) > doubt
    }

    /// A suspect is served at this position, and those from `from` on are given up for it.
    #[cold]
    pub(super) fn doubt(&mut self, from: u64, to: u64, facts: &Facts) {
        let common = self.tracks[facts.antenna].common_time(facts.received);
        let doubtful = Doubtful { from, to, common };
        self.doubtful = Some(match self.doubtful.filter(|before| before.to + 1 == from) {
            Some(before) => Doubtful { from: before.from, to, common: before.common.max(common) },
            None => doubtful,
        });
    }

    /// Takes a frame that belongs where a suspect was served, or to what was given up for it. One that was received later
    /// shows that the suspect was a stray, and is served as it comes.
    #[cold]
    pub(super) fn put_into_doubt(
        &mut self,
        octets: &[u8],
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let is_alone = facts.is_suspect && self.tracks[facts.antenna].jump_bits == 0;
        let common = self.common(facts);
        if is_alone {
            outlet.stray(octets, facts);
        } else if self.loose.is_copy(facts.hash, facts.antenna, facts.arrived) {
            outlet.duplicate(octets, facts);
        } else if common > self.newest_common {
            self.newest_common = common;
            self.goes_on(facts.antenna, moment);
            outlet.serve(octets, facts);
        } else {
            outlet.late(octets, facts);
        }
    }

    /// Drops the frame that has waited longest if it is a stray. Returns whether it was.
    #[cold]
    pub(super) fn drop_oldest_stray(
        &mut self,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> bool {
        let Some(position) = self.oldest() else { return false };
        let Ok(at) = self.pending.binary_search_by_key(&position, |slot| slot.position) else { return false };
        let is_stray = self.pending[at].held.facts.is_suspect && self.is_stray(&self.pending[at], moment);
        if is_stray {
            self.drop_stray(at, outlet);
        }
        is_stray
    }

    /// What the counts of the frames in limbo say for it that the last of them are of one sequence, in bits.
    pub(super) fn limbo_bits(&self, antenna: usize) -> u32 {
        let limbo = &self.tracks[antenna].limbo;
        let counts = limbo.iter().rev().map(|held| held.facts.count);
        let steps = counts.clone().skip(1).zip(counts);
        let bits =
            steps.map(|(count, later)| evidence_bits(forward(count, later, self.modulus), self.modulus));
        bits.take_while(|bits| *bits > 0).take(EVIDENCE_BITS as usize).sum()
    }

    /// Positions from the first to the last frame in limbo.
    pub(super) fn limbo_span(&self, antenna: usize) -> u64 {
        let counts: Vec<u64> = self.tracks[antenna].limbo.iter().map(|held| held.facts.count).collect();
        let (Some(known), end) = (counts.len().checked_sub(1), u64::MAX / 2) else { return 0 };
        let first = line_up(&counts, known, end, self.modulus).into_iter().flatten().next();
        first.map_or(0, |first| end - first)
    }

    /// A frame has waited in limbo as long as it may, and no others of its antenna speak for it.
    #[cold]
    pub(super) fn end_lone_limbo(
        &mut self,
        antenna: usize,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let Some(held) = self.tracks[antenna].limbo.pop_front() else { return };
        self.in_limbo -= 1;
        let here = |position| Some(Last::of(position, &held.facts));
        let position = match self.behind_the_jump(&held.facts) {
            Some(Place::Jump(position)) => {
                self.tracks[antenna].jump = here(position);
                position
            }
            Some(Place::Onward(position)) => {
                self.end_jump(antenna, position, outlet);
                self.tracks[antenna].last = here(position);
                position
            }
            Some(_) => return outlet.end(held, |outlet, octets, facts| outlet.duplicate(octets, facts)),
            None => {
                let position = self.position_by_time(&held.facts, 0);
                let track = &mut self.tracks[antenna];
                (track.jump, track.jump_from, track.jump_bits) = (here(position), position, 0);
                position
            }
        };
        let is_free = !self.is_another(position, &held.facts);
        outlet.end(held, |outlet, octets, facts| {
            let suspect = Facts { is_suspect: true, ..*facts };
            if is_free {
                self.put(position, octets, &suspect, moment, outlet);
            } else {
                outlet.stray(octets, facts);
            }
        });
    }
}

/// Where the frames with these counts lie, one after the other, when the one at `known` lies at `position`. `None` for
/// strays: those before and behind them follow one another.
pub(super) fn line_up(counts: &[u64], known: usize, position: u64, modulus: u64) -> Vec<Option<u64>> {
    let fits = |from: u64, to: u64| {
        let step = forward(from, to, modulus);
        step == 0 || evidence_bits(step, modulus) > 0
    };
    let mut places = vec![None; counts.len()];
    places[known] = Some(position);
    let (mut later, mut at) = (counts[known], position);
    for index in (0..known).rev() {
        let before = &counts[index.saturating_sub(STRAYS_MOST)..index];
        if !fits(counts[index], later) && before.iter().any(|count| fits(*count, later)) {
            continue;
        }
        at = at.saturating_sub(forward(counts[index], later, modulus));
        (places[index], later) = (Some(at), counts[index]);
    }
    let (mut earlier, mut at) = (counts[known], position);
    for index in known + 1..counts.len() {
        let behind = counts[index + 1..].iter().take(STRAYS_MOST);
        if !fits(earlier, counts[index]) && behind.into_iter().any(|count| fits(earlier, *count)) {
            continue;
        }
        at += forward(earlier, counts[index], modulus);
        (places[index], earlier) = (Some(at), counts[index]);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-MRG-300
    #[test]
    fn frames_in_limbo_line_up_beside_strays_and_across_gaps() {
        let places = line_up(&[250, 90, 251, 7, 8, 200, 30, 9], 4, 1000, 256);
        let expected = [Some(986), None, Some(987), Some(999), Some(1000), None, None, Some(1001)];
        assert_eq!(places, expected);
        // Nothing follows the far one: a gap as far as anybody knows.
        assert_eq!(line_up(&[5, 105, 106], 0, 1000, 256), [Some(1000), Some(1100), Some(1101)]);
    }
}
