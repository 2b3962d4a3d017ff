//! Where a frame belongs in the sequence of its virtual channel.

use super::Merged;
use super::frame::{Facts, Outlet};
use super::lane::{Lane, Moment};
use super::past::Content;
use super::suspect::line_up;
use super::track::{EVIDENCE_BITS, Last, step_most};

/// A frame of a wide counter that is further behind than its modulus shifted by this is not late: it belongs elsewhere.
const LATE_SHIFT: u32 = 6;

/// Most turns of a counter that receive times say have passed: more is a clock that was set, and positions must not run out.
const TURNS_MOST: u64 = 1 << 20;

/// What is at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing yet.
    Nothing,
    /// The same frame.
    Same,
    /// The same frame, and the antenna has delivered it before.
    Again,
    /// Another frame.
    Another,
    /// Nothing any more.
    GivenUp,
    /// It is behind everything that is remembered.
    Forgotten,
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the antenna's last frame, in its own sequence.
    Onward(u64),
    /// At or before the antenna's last frame: it came twice, or out of order.
    Back(u64),
    /// The antenna's sequence starts anew here.
    Aligned(u64),
    /// Far ahead: the next frame of the antenna has to confirm it.
    Jump(u64),
    /// In the sequence of its antenna, where a frame of another antenna is.
    Beside(u64),
    /// Nobody knows yet.
    Limbo,
    /// Nowhere.
    Loose,
}

impl Lane {
    /// Puts a frame where it belongs, or holds it until that is known.
    #[inline]
    pub(super) fn place(
        &mut self,
        octets: &[u8],
        facts: &Facts,
        bad_before: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let place = self.find(facts, bad_before, moment, outlet);
        if self.tracks[facts.antenna].jump.is_some()
            && self.doubts()
            && let Place::Onward(position) | Place::Aligned(position) = place
        {
            self.end_jump(facts.antenna, position, outlet);
        }
        let (mut is_suspect, mut is_behind_gap) = (false, false);
        let (modulus, doubts) = (self.modulus, self.doubts());
        let track = &mut self.tracks[facts.antenna];
        track.bad_before = bad_before;
        self.has_data |= !facts.is_idle;
        let position = match place {
            Place::Onward(position) => {
                track.goes_on(position, facts.received, &mut self.pace);
                track.is_confirmed |= track.run >= modulus;
                let before = track.last.replace(Last::of(position, facts));
                is_behind_gap = doubts && before.is_none_or(|before| position != before.position + 1);
                track.before_gap = if is_behind_gap { before } else { None };
                (track.jump, track.beside) = (None, 0);
                position
            }
            Place::Back(position) => position,
            Place::Aligned(position) => {
                (track.last, track.jump) = (Some(Last::of(position, facts)), None);
                track.was_gone = false;
                track.breaks_off();
                if !track.limbo.is_empty() {
                    let known = track.limbo.len();
                    self.leave_limbo(facts.antenna, known, &Last::of(position, facts), moment, outlet);
                }
                position
            }
            Place::Jump(position) => {
                track.jump = Some(Last::of(position, facts));
                is_suspect = self.doubts();
                position
            }
            Place::Beside(position) => {
                (track.last, track.jump) = (Some(Last::of(position, facts)), None);
                track.beside += 1;
                outlet.ledger.unplaced += 1;
                return self.put_loose(octets, facts, outlet);
            }
            Place::Limbo => return self.enter_limbo(octets, facts, moment, outlet),
            Place::Loose => {
                outlet.ledger.unplaced += 1;
                return self.put_loose(octets, facts, outlet);
            }
        };
        if is_suspect || is_behind_gap {
            let facts = Facts { is_suspect, is_behind_gap, ..*facts };
            self.put(position, octets, &facts, moment, outlet);
        } else {
            self.put(position, octets, facts, moment, outlet);
        }
        if self.in_limbo > 0 && !facts.is_idle {
            self.match_limbo(position, facts, moment, outlet);
        }
    }

    #[inline]
    fn find(
        &mut self,
        facts: &Facts,
        bad_before: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Place {
        let track = &self.tracks[facts.antenna];
        let may_follow = track.jump.is_some() && track.limbo.is_empty() && self.doubts();
        let Some(last) = track.last else {
            let place = if may_follow { self.behind_the_jump(facts) } else { None };
            return place.unwrap_or_else(|| self.align(facts, moment, outlet));
        };
        let distance = forward(last.count, facts.count, self.modulus);
        if !self.is_narrow() && self.rules.antennas > 1 {
            // Far from where the others are, whatever the antenna missed meanwhile: its count says where it belongs.
            let own = last.position + distance;
            let is_far = own.abs_diff(self.next) > self.rules.memory as u64;
            if is_far && let Some(position) = self.near(facts) {
                return Place::Aligned(position);
            }
            // Further behind than any network is late: the others have jumped, and now it has.
            if is_far && self.is_open && own + (self.modulus >> LATE_SHIFT) < self.next {
                return self.find_behind_a_jump(facts);
            }
        }
        if self.is_narrow() {
            let elapsed_ns = facts.received.ns_since(last.received);
            let is_dark = track.was_gone
                || bad_before - track.bad_before >= self.modulus / 2
                || self.pace.may_hide_half_a_turn(elapsed_ns, self.modulus);
            if is_dark && self.rules.antennas > 1 {
                if may_follow && let Some(place) = self.behind_the_jump(facts) {
                    return place;
                }
                return self.align(facts, moment, outlet);
            }
        }
        if distance != 1 {
            return self.find_out_of_sequence(facts, &last, distance, moment, outlet);
        }
        self.onward(last.position + 1, facts, moment, outlet)
    }

    #[cold]
    fn find_out_of_sequence(
        &mut self,
        facts: &Facts,
        last: &Last,
        distance: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Place {
        if distance == 0 {
            // The same count again: the frame came twice, or the counter does not count.
            return if last.hash == facts.hash { Place::Back(last.position) } else { Place::Loose };
        }
        let back = self.modulus - distance;
        let back_most = if self.is_narrow() { self.modulus / 4 } else { self.modulus / 2 };
        if back <= back_most.min(self.rules.memory as u64) && back <= last.position {
            let position = last.position - back;
            let belongs = match self.at(position, facts) {
                At::Same | At::Again => true,
                At::Nothing | At::GivenUp => !self.rules.in_order,
                At::Another | At::Forgotten => false,
            };
            if belongs {
                return Place::Back(position);
            }
        }
        if self.doubts() && distance > step_most(self.modulus) {
            if let Some(place) = self.before_the_gap(facts, last.position, outlet) {
                return place;
            }
            return self.find_behind_a_leap(facts, last, distance, moment, outlet);
        }
        if distance <= self.rules.memory as u64 || self.is_narrow() {
            return self.onward(last.position + distance, facts, moment, outlet);
        }
        self.find_behind_a_jump(facts)
    }

    /// Ahead of the sequence, so that it is the same place for every antenna, also for one that missed the jump before.
    #[cold]
    fn find_behind_a_jump(&self, facts: &Facts) -> Place {
        let last = self.tracks[facts.antenna].last.map_or(0, |last| last.position);
        let base = if self.is_open { self.next.saturating_sub(1) } else { last };
        let position = base + forward(base % self.modulus, facts.count, self.modulus);
        let confirmed = self.tracks[facts.antenna].jump.is_some_and(|jump| {
            let step = forward(jump.count, facts.count, self.modulus);
            (1..=self.rules.memory as u64).contains(&step)
        });
        if confirmed { Place::Onward(position) } else { Place::Jump(position) }
    }

    /// The position with this count that lies within half a turn of `base`; `None` where that is before the first.
    fn within_half_a_turn(&self, base: u64, count: u64) -> Option<u64> {
        let ahead = forward(base % self.modulus, count, self.modulus);
        if ahead <= self.modulus / 2 { Some(base + ahead) } else { (base + ahead).checked_sub(self.modulus) }
    }

    /// The position with this count close to what is served next, if the frame can belong there. Wide counters only.
    #[cold]
    fn near(&self, facts: &Facts) -> Option<u64> {
        let base = if self.is_open { self.next.checked_sub(1)? } else { self.newest()? };
        let position = self.within_half_a_turn(base, facts.count)?;
        let is_close = position.abs_diff(base) <= self.rules.memory as u64;
        (is_close && !matches!(self.at(position, facts), At::Another | At::Again)).then_some(position)
    }

    /// The frame continues the sequence of its antenna, unless the others' frames contradict.
    #[inline]
    fn onward(
        &mut self,
        position: u64,
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Place {
        if self.rules.antennas == 1 {
            return Place::Onward(position);
        }
        match self.at(position, facts) {
            // An antenna goes on and does not deliver what it has delivered.
            At::Another if self.is_doubtful(position) => Place::Onward(position),
            At::Another if self.is_beside(position, facts) => Place::Beside(position),
            At::Another | At::Again if self.is_narrow() => self.align(facts, moment, outlet),
            At::Another | At::Again => Place::Loose,
            At::Same => Place::Onward(position),
            _ if !self.is_narrow() || facts.is_idle || self.tracks[facts.antenna].is_confirmed => {
                Place::Onward(position)
            }
            _ => match self.search(facts, false) {
                Some(found) if found != position => Place::Aligned(found),
                _ => Place::Onward(position),
            },
        }
    }

    #[inline]
    fn at(&self, position: u64, facts: &Facts) -> At {
        let (content, seen) = if self.is_open && position < self.next {
            match self.history.get(position).map(|past| (past.served, past.seen)) {
                Some((Some(content), _)) if content.hash != facts.hash && self.is_doubtful(position) => {
                    return At::Another;
                }
                Some((Some(content), seen)) => (content, seen),
                Some((None, _)) => return At::GivenUp,
                None => return At::Forgotten,
            }
        } else {
            match self.pending.back() {
                Some(back) if back.position >= position => {}
                _ => return At::Nothing,
            }
            match self.pending.binary_search_by_key(&position, |slot| slot.position) {
                Ok(at) => {
                    let held = &self.pending[at].held.facts;
                    if (held.is_suspect || held.is_behind_gap) && held.hash != facts.hash {
                        return At::Nothing;
                    }
                    (Content::of(held, held.received), self.pending[at].seen)
                }
                Err(_) => return At::Nothing,
            }
        };
        match (content.may_be(facts), seen & facts.bit() != 0) {
            (true, false) => At::Same,
            (true, true) => At::Again,
            (false, _) => At::Another,
        }
    }

    /// Whether something else is at the position.
    pub(super) fn is_another(&self, position: u64, facts: &Facts) -> bool {
        matches!(self.at(position, facts), At::Another | At::Again)
    }

    /// Looks for the same octets at a position with this count that the antenna has not delivered yet. Octets that repeat
    /// with the counter (idle frames, and data that stands still) say where they belong only within half a turn of where
    /// they are expected. That they repeat is not seen in the first turn, nor where only one copy is remembered: so any copy has
    /// to lie there once the antenna's receive times have been compared with those of others; elsewhere only when the wait
    /// for a nearer one is over.
    #[cold]
    pub(super) fn search(&self, facts: &Facts, is_over: bool) -> Option<u64> {
        let newest = self.newest()?;
        let oldest = match self.pending.front() {
            Some(front) if !self.is_open => front.position,
            _ => self.history.start().min(self.next),
        };
        let expected = self.expected(facts);
        let (mut found, mut alike): (Option<u64>, u32) = (None, u32::from(facts.is_idle));
        let mut position = newest - forward(facts.count, newest, self.modulus);
        while position >= oldest {
            if let Some(is_new) = self.has_copy(position, facts) {
                alike += 1;
                let nearer = |other: u64| position.abs_diff(expected) < other.abs_diff(expected);
                if is_new && found.is_none_or(nearer) {
                    found = Some(position);
                }
            }
            match self.turn_before(position) {
                Some(before) => position = before,
                None => break,
            }
        }
        let is_trusted = alike == 1 && (is_over || !self.tracks[facts.antenna].is_compared);
        found.filter(|found| is_trusted || found.abs_diff(expected) <= self.modulus / 2)
    }

    /// The next position with the same count, going back, where something may be: after a leap of receive times any number
    /// of turns may hold nothing.
    fn turn_before(&self, position: u64) -> Option<u64> {
        let before = position.checked_sub(self.modulus)?;
        if self.is_open && before < self.next {
            return Some(before);
        }
        let below = self.pending.partition_point(|slot| slot.position <= before);
        let filled = match below.checked_sub(1) {
            Some(below) => self.pending[below].position,
            None if self.is_open => self.next.saturating_sub(1),
            None => return None,
        };
        Some(before - (before - filled) / self.modulus * self.modulus)
    }

    /// Whether the octets are those at the position, and if so, whether the antenna has not delivered them yet.
    pub(super) fn has_copy(&self, position: u64, facts: &Facts) -> Option<bool> {
        let (hash, seen) = if self.is_open && position < self.next {
            match self.history.get(position) {
                Some(past) => (past.served.map(|content| content.hash), past.seen),
                None => return None,
            }
        } else {
            match self.pending.binary_search_by_key(&position, |slot| slot.position) {
                Ok(at) => (Some(self.pending[at].held.facts.hash), self.pending[at].seen),
                Err(_) => return None,
            }
        };
        (hash == Some(facts.hash)).then_some(seen & facts.bit() == 0)
    }

    /// The newest position that holds a frame, or was served.
    fn newest(&self) -> Option<u64> {
        match self.pending.back() {
            Some(back) => Some(back.position),
            None if self.is_open => Some(self.next.saturating_sub(1)),
            None => None,
        }
    }

    /// Where a frame is expected by its receive time, from the others' last frames, or from the antenna's own.
    fn expected(&self, facts: &Facts) -> u64 {
        let own = &self.tracks[facts.antenna];
        let others = self.tracks.iter().enumerate().filter(|(antenna, _)| *antenna != facts.antenna);
        let lasts = others.chain([(facts.antenna, own)]);
        let lasts = lasts.filter_map(|(_, track)| {
            track.last.map(|last| (track.common_time(last.received), last.position))
        });
        let Some((time, position)) = lasts.max() else {
            return self.newest().map_or(0, |newest| newest + 1);
        };
        match self.pace.frames_in(own.common_time(facts.received).ns_since(time)) {
            Some(frames) => {
                let most = self.modulus.saturating_mul(TURNS_MOST).cast_signed();
                position.saturating_add_signed(frames.clamp(-most, most))
            }
            None => position + 1,
        }
    }

    /// Finds the place of a frame that does not continue a known sequence: by content, and otherwise later or by time.
    #[cold]
    pub(super) fn align(
        &mut self,
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) -> Place {
        let Some(newest) = self.newest() else {
            if self.in_limbo == 0 {
                // The first frame of all: whole turns below it, for those that are behind.
                let turns = (1_u64 << 40).div_ceil(self.modulus);
                let first = turns * self.modulus + facts.count;
                if self.rules.antennas == 1 {
                    (self.is_open, self.next) = (true, first);
                }
                return self.unproved(first, facts);
            }
            return Place::Limbo;
        };
        if !self.is_narrow() {
            // Within half a turn of the newest: a turn takes minutes.
            let Some(position) = self.within_half_a_turn(newest, facts.count) else { return Place::Loose };
            return match self.at(position, facts) {
                At::Another | At::Again => Place::Loose,
                _ => Place::Aligned(position),
            };
        }
        let says_where = !facts.is_idle || !self.has_data;
        if let Some(found) = self.search(facts, false).filter(|_| says_where) {
            return Place::Aligned(found);
        }
        let own = self.tracks[facts.antenna].last.map_or(0, |last| last.position);
        let others = self.tracks.iter().enumerate().filter(|(antenna, track)| {
            *antenna != facts.antenna && moment.live >> antenna & 1 != 0 && track.last.is_some()
        });
        let is_ahead =
            others.into_iter().all(|(_, track)| track.last.is_some_and(|last| last.position <= own));
        if !is_ahead {
            return Place::Limbo;
        }
        let position = self.by_time(facts, 0, outlet);
        self.unproved(position, facts)
    }

    /// The position with this count that is nearest to where the receive time says, behind the antenna's own last frame and
    /// not before `least`.
    pub(super) fn position_by_time(&self, facts: &Facts, least: u64) -> u64 {
        let own = self.tracks[facts.antenna].last.map(|last| last.position + 1);
        let floor = own.unwrap_or(self.modulus).max(self.modulus).max(least);
        let expected = self.expected(facts).max(floor);
        let ahead = forward(expected % self.modulus, facts.count, self.modulus);
        let mut position = expected + ahead;
        if ahead > self.modulus / 2 && position - self.modulus >= floor {
            position -= self.modulus;
        }
        while self.is_another(position, facts) {
            position += self.modulus;
        }
        position
    }

    fn by_time(&mut self, facts: &Facts, least: u64, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) -> u64 {
        let position = self.position_by_time(facts, least);
        // It may be wrong by whole turns: until contents agree again, they are looked at.
        for track in &mut self.tracks {
            (track.is_confirmed, track.run) = (false, 0);
        }
        outlet.ledger.placed_by_time += 1;
        position
    }

    fn enter_limbo(
        &mut self,
        octets: &[u8],
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let held = outlet.hold(octets, *facts);
        let track = &mut self.tracks[facts.antenna];
        track.limbo.push_back(held);
        // Until it is aligned, its own sequence says nothing.
        track.was_gone = true;
        self.in_limbo += 1;
        if track.limbo.len() > self.rules.window {
            outlet.ledger.overflowed += 1;
            return self.align_by_time(facts.antenna, moment, outlet);
        }
        // Nobody else follows the sequence: what is of one sequence by itself is it.
        let is_alone = self.doubts() && !self.has_others(facts.bit());
        if is_alone && self.limbo_bits(facts.antenna) >= EVIDENCE_BITS {
            self.align_by_time(facts.antenna, moment, outlet);
        }
    }

    /// The frame in limbo with the index `known`, or the antenna's next one behind them, is here: the others lie around it.
    fn leave_limbo(
        &mut self,
        antenna: usize,
        known: usize,
        here: &Last,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let limbo = std::mem::take(&mut self.tracks[antenna].limbo);
        self.in_limbo -= limbo.len();
        let mut counts: Vec<u64> = limbo.iter().map(|held| held.facts.count).collect();
        counts.resize(counts.len().max(known + 1), here.count);
        let places = line_up(&counts, known, here.position, self.modulus);
        let track = &mut self.tracks[antenna];
        for (held, place) in limbo.iter().zip(&places).skip(known) {
            if let Some(position) = place {
                track.last = Some(Last::of(*position, &held.facts));
            }
        }
        for (held, place) in limbo.into_iter().zip(places) {
            let is_free = place.is_some_and(|place| self.at(place, &held.facts) != At::Another);
            outlet.end(held, |outlet, octets, facts| match place {
                Some(position) if is_free => {
                    self.put(position, octets, facts, moment, outlet);
                    if self.in_limbo > 0 && !facts.is_idle {
                        self.match_limbo(position, facts, moment, outlet);
                    }
                }
                Some(_) => {
                    outlet.ledger.unplaced += 1;
                    self.put_loose(octets, facts, outlet);
                }
                None => outlet.stray(octets, facts),
            });
        }
    }

    /// A frame came to its place: antennas whose frames in limbo have the same octets are aligned by it.
    #[cold]
    fn match_limbo(
        &mut self,
        position: u64,
        facts: &Facts,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        for antenna in 0..self.tracks.len() {
            let limbo = &self.tracks[antenna].limbo;
            let Some(at) = limbo.iter().position(|held| {
                held.facts.hash == facts.hash && held.facts.count == facts.count && !held.facts.is_idle
            }) else {
                continue;
            };
            let Some(here) = limbo.get(at).map(|held| Last::of(position, &held.facts)) else { continue };
            self.settle_limbo(antenna, at, here, moment, outlet);
            self.tracks[antenna].is_confirmed = true;
        }
    }

    /// The frame in limbo with this index is here.
    fn settle_limbo(
        &mut self,
        antenna: usize,
        known: usize,
        here: Last,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let track = &mut self.tracks[antenna];
        (track.last, track.jump, track.was_gone) = (Some(here), None, false);
        track.breaks_off();
        self.leave_limbo(antenna, known, &here, moment, outlet);
    }

    /// Places an antenna whose frames wait in limbo by receive time.
    #[cold]
    pub(super) fn align_by_time(
        &mut self,
        antenna: usize,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let limbo = &self.tracks[antenna].limbo;
        let (Some(known), Some(facts)) = (limbo.len().checked_sub(1), limbo.back().map(|held| held.facts))
        else {
            return;
        };
        // Where nobody else follows a sequence, what was served does not say what is late.
        let is_alone = self.is_open && self.doubts() && !self.has_others(1 << antenna);
        let least = if is_alone { self.next + self.limbo_span(antenna) } else { 0 };
        let here = Last::of(self.by_time(&facts, least, outlet), &facts);
        self.settle_limbo(antenna, known, here, moment, outlet);
    }

    /// Antennas whose frames waited in limbo for a whole wait are placed by receive time.
    #[cold]
    pub(super) fn end_limbo(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        for antenna in 0..self.tracks.len() {
            while let Some(oldest) = self.tracks[antenna].limbo.front().map(|held| held.facts)
                && moment.now.ns_since(oldest.arrived) >= self.rules.wait_ns
            {
                let says_where = !oldest.is_idle || !self.has_data;
                if says_where && let Some(found) = self.search(&oldest, true) {
                    self.settle_limbo(antenna, 0, Last::of(found, &oldest), moment, outlet);
                } else if self.doubts() && self.limbo_bits(antenna) < EVIDENCE_BITS {
                    self.end_lone_limbo(antenna, moment, outlet);
                } else {
                    self.align_by_time(antenna, moment, outlet);
                }
            }
        }
    }
}

/// Steps of a counter from one count to another.
#[inline]
pub(super) fn forward(from: u64, to: u64, modulus: u64) -> u64 {
    let (from, to) = (from % modulus, to % modulus);
    if to >= from { to - from } else { to + (modulus - from) }
}
