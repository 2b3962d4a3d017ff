//! One virtual channel of a merge: its sequence of frames, what is held of it and what is behind.

use std::collections::VecDeque;

use fep_time::{Monotonic, Tai};

use super::arrivals::Arrivals;
use super::frame::{Antennas, Facts, Held, Outlet, digest_of};
use super::past::{Content, History};
use super::track::{Last, Pace, Track};
use crate::Merged;

/// Counters up to this modulus turn so often that a place in the sequence is not found by the count alone.
pub(super) const NARROW: u64 = 1 << 16;

/// A lane whose positions come so far begins anew: wide counters that jump backwards again and again.
const POSITION_MAX: u64 = 1 << 62;

/// So many frames of an antenna, one after the other, lie behind everything remembered, and for so long nothing was served:
/// the sequence is one that nobody follows any more.
const LATE_RUN: u32 = 64;
const UNFOLLOWED_NS: i64 = 1_000_000_000;
const UNFOLLOWED_WAITS: i64 = 8;

/// What all lanes of a merge share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) wait_ns: i64,
    /// Most frames that are held.
    pub(super) window: usize,
    /// Positions behind that are remembered.
    pub(super) memory: usize,
    pub(super) in_order: bool,
    pub(super) antennas: usize,
}

/// The moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Monotonic,
    /// Antennas that are waited for.
    pub(super) live: Antennas,
}

/// A frame at its position.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) position: u64,
    /// Antennas that delivered it.
    pub(super) seen: Antennas,
    pub(super) held: Held,
}

/// One virtual channel.
pub(super) struct Lane {
    pub(super) rules: Rules,
    pub(super) modulus: u64,
    pub(super) tracks: Vec<Track>,
    pub(super) pace: Pace,
    /// Whether the first position is settled: antennas that are behind may still bring earlier frames.
    pub(super) is_open: bool,
    /// The position to be served next.
    pub(super) next: u64,
    /// In order of position.
    pub(super) pending: VecDeque<Slot>,
    pub(super) history: History,
    /// Frames in limbo, of all tracks.
    pub(super) in_limbo: usize,
    /// A frame that is not idle was seen: idle frames, all alike, need not say where an antenna is.
    pub(super) has_data: bool,
    /// When the positions that are held first arrived, earliest first; those already served are left out late.
    queue: VecDeque<(Monotonic, u64)>,
    /// Position behind a jump that a single frame made, which another has to confirm.
    jumped_to: Option<u64>,
    /// When a frame of the sequence was served last.
    served_at: Monotonic,
    /// Nobody follows the sequence: the next frame begins another.
    is_deserted: bool,
    loose: Arrivals,
}

impl Lane {
    pub(super) fn new(modulus: u64, rules: Rules) -> Lane {
        Lane {
            rules,
            modulus,
            tracks: (0..rules.antennas).map(|_| Track::default()).collect(),
            pace: Pace::default(),
            is_open: false,
            next: 0,
            pending: VecDeque::new(),
            history: History::new(rules.memory),
            in_limbo: 0,
            has_data: false,
            queue: VecDeque::new(),
            jumped_to: None,
            served_at: Monotonic::PAST,
            is_deserted: false,
            loose: Arrivals::new(rules.wait_ns, rules.window),
        }
    }

    pub(super) const fn is_narrow(&self) -> bool {
        self.modulus <= NARROW
    }

    /// Takes a frame of this virtual channel.
    #[inline]
    pub(super) fn push(
        &mut self,
        octets: &[u8],
        facts: &Facts,
        bad_before: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        if self.next > POSITION_MAX || self.is_deserted {
            self.flush(moment, outlet);
            *self = Lane::new(self.modulus, self.rules);
        }
        self.place(octets, facts, bad_before, moment, outlet);
        if !self.pending.is_empty() {
            self.settle(moment, outlet);
        }
    }

    /// Whether a frame of the only antenna is next in order while nothing is held; it is served then.
    #[inline]
    pub(super) fn is_next(&mut self, count: u64, octets: &[u8], received: Tai, is_verified: bool) -> bool {
        let Some(last) = self.tracks.first().and_then(|track| track.last) else { return false };
        let follows = last.position + 1 == self.next && (last.count + 1) % self.modulus == count;
        if !follows || !self.pending.is_empty() {
            return false;
        }
        let hash = digest_of(octets);
        self.history.served(self.next, Content { hash, is_verified, common: received }, 1);
        self.tracks[0].last = Some(Last { position: self.next, count, hash, received });
        self.next += 1;
        true
    }

    /// Puts a frame where it belongs.
    #[inline]
    pub(super) fn put(
        &mut self,
        position: u64,
        octets: &[u8],
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        if position.abs_diff(self.next) <= self.rules.memory as u64 {
            self.tracks[facts.antenna].followed = Some(facts.arrived);
        }
        if self.is_open && position == self.next && self.pending.is_empty() {
            let alone = facts.bit();
            if facts.is_clean || self.is_covered(position, alone, moment.live) {
                let content = self.content(facts);
                self.history.served(position, content, alone);
                self.next += 1;
                self.goes_on(facts.antenna, moment);
                return outlet.serve(octets, facts);
            }
        }
        if self.is_open && position < self.next {
            return self.put_behind(position, octets, facts, moment, outlet);
        }
        let at = match self.pending.back() {
            Some(last) if last.position >= position => {
                self.pending.partition_point(|slot| slot.position < position)
            }
            _ => self.pending.len(),
        };
        match self.pending.get_mut(at).filter(|slot| slot.position == position) {
            Some(slot) => {
                let others = slot.seen & !facts.bit();
                let is_same = slot.held.facts.hash == facts.hash;
                let common = self.tracks[slot.held.facts.antenna].common_time(slot.held.facts.received);
                slot.seen |= facts.bit();
                if facts.is_better_than(&slot.held.facts) {
                    outlet.replace(&mut slot.held, octets, *facts);
                } else {
                    outlet.duplicate(octets, facts);
                }
                if is_same {
                    self.matched(facts, others, common);
                }
                if facts.arrived < moment.now {
                    self.enqueue(facts.arrived, position);
                }
            }
            None => {
                let held = outlet.hold(octets, *facts);
                self.pending.insert(at, Slot { position, seen: facts.bit(), held });
                self.enqueue(facts.arrived, position);
            }
        }
    }

    /// A copy of the frame at this position arrived then.
    fn enqueue(&mut self, arrived: Monotonic, position: u64) {
        // At the end, unless it comes out of limbo.
        let place = self.queue.iter().rposition(|(other, _)| *other <= arrived);
        self.queue.insert(place.map_or(0, |place| place + 1), (arrived, position));
    }

    fn content(&self, facts: &Facts) -> Content {
        Content::of(facts, self.tracks[facts.antenna].common_time(facts.received))
    }

    fn put_behind(
        &mut self,
        position: u64,
        octets: &[u8],
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        match self.history.get_mut(position) {
            Some(past) if past.served.is_some() => {
                let content = past.served.filter(|content| content.hash == facts.hash);
                let others = past.seen & !facts.bit();
                past.seen |= facts.bit();
                self.tracks[facts.antenna].late_run = 0;
                outlet.duplicate(octets, facts);
                if let Some(content) = content {
                    self.matched(facts, others, content.common);
                }
            }
            Some(_) => outlet.late(octets, facts),
            None => {
                outlet.late(octets, facts);
                let run = &mut self.tracks[facts.antenna].late_run;
                *run += 1;
                let silent_ns = UNFOLLOWED_NS.max(UNFOLLOWED_WAITS * self.rules.wait_ns);
                self.is_deserted = *run >= LATE_RUN && moment.now.ns_since(self.served_at) >= silent_ns;
            }
        }
    }

    /// The antenna brought the next frame of the sequence.
    #[inline]
    fn goes_on(&mut self, antenna: usize, moment: Moment) {
        self.served_at = moment.now;
        self.tracks[antenna].late_run = 0;
    }

    /// The frame is a copy of one that others delivered: their places and its own confirm each other.
    #[inline]
    fn matched(&mut self, facts: &Facts, others: Antennas, common: Tai) {
        if others == 0 || facts.is_idle {
            return;
        }
        self.tracks[facts.antenna].compare_time(facts.received, common);
        let mut left = others | facts.bit();
        while left != 0 {
            self.tracks[left.trailing_zeros() as usize].is_confirmed = true;
            left &= left - 1;
        }
    }

    /// A frame that has no place in the sequence: served as it comes, copies recognised by content.
    #[cold]
    pub(super) fn put_loose(
        &mut self,
        octets: &[u8],
        facts: &Facts,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        if self.rules.antennas > 1 && self.loose.is_copy(facts.hash, facts.antenna, facts.arrived) {
            outlet.duplicate(octets, facts);
        } else {
            outlet.serve(octets, facts);
        }
    }

    /// Whether every live antenna has delivered the position or is past it.
    fn is_covered(&self, position: u64, seen: Antennas, live: Antennas) -> bool {
        let missing = live & !seen;
        missing == 0 || self.rules.in_order && self.all_reached(position, missing)
    }

    /// Whether each of these antennas has come to the position.
    fn all_reached(&self, position: u64, antennas: Antennas) -> bool {
        self.tracks.iter().enumerate().all(|(antenna, track)| {
            antennas >> antenna & 1 == 0
                || track.limbo.is_empty() && track.last.is_some_and(|last| last.position >= position)
        })
    }

    /// Serves what is to be served now.
    pub(super) fn settle(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        while let Some(front) = self.pending.front() {
            let (position, is_clean, seen) = (front.position, front.held.facts.is_clean, front.seen);
            let is_next = self.is_open && position == self.next;
            let is_due = if !self.is_open {
                self.all_reached(0, moment.live)
            } else if is_next {
                is_clean || self.is_covered(position, seen, moment.live)
            } else {
                self.rules.in_order && self.all_reached(position, moment.live)
            };
            if !is_due {
                // Nothing waits longer because of something before it that came later.
                let is_over =
                    self.since().is_some_and(|since| moment.now.ns_since(since) >= self.rules.wait_ns);
                let is_full = self.pending.len() > self.rules.window;
                if !is_over && !is_full {
                    return;
                }
                outlet.ledger.overflowed += u64::from(!is_over);
                outlet.ledger.waits_over += u64::from(is_over && self.is_open && !is_next);
            }
            if is_next {
                self.serve_front(moment, outlet);
            } else if self.is_open {
                self.give_up_gap(position, moment, outlet);
            } else {
                (self.is_open, self.next) = (true, position);
            }
        }
    }

    /// When the first of what is held arrived.
    fn since(&mut self) -> Option<Monotonic> {
        while self.is_open && self.queue.front().is_some_and(|(_, position)| *position < self.next) {
            self.queue.pop_front();
        }
        self.queue.front().map(|(arrived, _)| *arrived)
    }

    fn give_up_gap(
        &mut self,
        position: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        // Further off than anything remembered: a wrong count would take all others for late ones.
        let is_jump = position - self.next > self.rules.memory as u64;
        let is_contradicted = self.is_astray() || is_jump && self.is_contradicted(moment);
        let is_single = is_jump && self.pending.len() == 1 && self.jumped_to != Some(position);
        if is_contradicted || is_single {
            self.jumped_to = Some(position + 1);
            if let Some(slot) = self.pending.pop_front() {
                outlet.ledger.unplaced += 1;
                self.queue.retain(|(_, held)| *held != slot.position);
                outlet.end(slot.held, |outlet, octets, facts| match is_contradicted {
                    true => outlet.late(octets, facts),
                    false => outlet.serve(octets, facts),
                });
            }
            return;
        }
        self.history.given_up(self.next, position);
        self.next = position;
    }

    /// Whether those that brought the first of what is held have all gone on below it since: rings are in order, and so it was
    /// of another sequence.
    fn is_astray(&self) -> bool {
        let Some(front) = self.pending.front() else { return false };
        self.rules.in_order
            && self.tracks.iter().enumerate().all(|(antenna, track)| {
                front.seen >> antenna & 1 == 0
                    || track.last.is_some_and(|last| last.position < front.position)
            })
    }

    /// Whether an antenna that did not bring the first of what is held has followed the sequence since: the spacecraft
    /// counts on, and what is held is not of it.
    fn is_contradicted(&self, moment: Moment) -> bool {
        let Some(front) = self.pending.front() else { return false };
        self.tracks.iter().enumerate().any(|(antenna, track)| {
            let is_other = moment.live >> antenna & 1 != 0 && front.seen >> antenna & 1 == 0;
            is_other && track.followed.is_some_and(|followed| followed > front.held.facts.arrived)
        })
    }

    fn serve_front(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        let Some(slot) = self.pending.pop_front() else { return };
        self.goes_on(slot.held.facts.antenna, moment);
        let content = self.content(&slot.held.facts);
        self.history.served(slot.position, content, slot.seen);
        self.next = slot.position + 1;
        outlet.end(slot.held, |outlet, octets, facts| outlet.serve(octets, facts));
    }

    /// When something has waited long enough; `None` while nothing waits.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let limbo =
            self.tracks.iter().filter_map(|track| track.limbo.front()).map(|held| held.facts.arrived).min();
        let mut queue = self.queue.iter();
        let pending = queue.find(|(_, position)| !self.is_open || *position >= self.next);
        let since = limbo.into_iter().chain(pending.map(|(arrived, _)| *arrived)).min()?;
        Some(since.plus_ns(self.rules.wait_ns))
    }

    /// It is later: what has waited long enough is served.
    pub(super) fn poll(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        if self.in_limbo > 0 {
            self.end_limbo(moment, outlet);
        }
        self.settle(moment, outlet);
    }

    /// Serves everything, in order.
    pub(super) fn flush(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        for antenna in 0..self.tracks.len() {
            self.align_by_time(antenna, moment, outlet);
        }
        while let Some(position) = self.pending.front().map(|front| front.position) {
            if self.is_open && position > self.next {
                self.history.given_up(self.next, position);
            }
            self.is_open = true;
            self.serve_front(moment, outlet);
        }
    }
}
