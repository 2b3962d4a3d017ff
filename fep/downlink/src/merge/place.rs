//! Where a frame belongs in the sequence of its virtual channel.

use super::Merged;
use super::frame::{Facts, Outlet};
use super::lane::{Lane, Moment};
use super::past::Content;
use super::track::Last;

/// A frame of a wide counter that is further behind than its modulus shifted by this is not late: it belongs elsewhere.
const LATE_SHIFT: u32 = 6;

/// Most turns of a counter that receive times say have passed: more is a clock that was set, and positions must not run out.
const TURNS_MOST: u64 = 1 << 20;
/// Turns of a counter that are searched for a copy: more than a full window has, unless what is held lies turns apart.
const SEARCH_MOST: u32 = 1024;

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
enum Place {
    /// Behind the antenna's last frame, in its own sequence.
    Onward(u64),
    /// At or before the antenna's last frame: it came twice, or out of order.
    Back(u64),
    /// The antenna's sequence starts anew here.
    Aligned(u64),
    /// Far ahead: the next frame of the antenna has to confirm it.
    Jump(u64),
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
        let modulus = self.modulus;
        let track = &mut self.tracks[facts.antenna];
        track.bad_before = bad_before;
        self.has_data |= !facts.is_idle;
        let position = match place {
            Place::Onward(position) => {
                track.goes_on(position, facts.received, &mut self.pace);
                track.is_confirmed |= track.run >= modulus;
                track.last = Some(Last::of(position, facts));
                track.jump = None;
                position
            }
            Place::Back(position) => position,
            Place::Aligned(position) => {
                (track.last, track.jump) = (Some(Last::of(position, facts)), None);
                track.was_gone = false;
                track.breaks_off();
                if !track.limbo.is_empty() {
                    self.leave_limbo(facts.antenna, position, facts.count, moment, outlet);
                }
                position
            }
            Place::Jump(position) => {
                track.jump = Some(Last::of(position, facts));
                position
            }
            Place::Limbo => return self.enter_limbo(octets, facts, moment, outlet),
            Place::Loose => {
                outlet.ledger.unplaced += 1;
                return self.put_loose(octets, facts, outlet);
            }
        };
        self.put(position, octets, facts, moment, outlet);
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
        let Some(last) = track.last else { return self.align(facts, moment, outlet) };
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
            At::Another | At::Again if self.is_narrow() => self.align(facts, moment, outlet),
            At::Another | At::Again => Place::Loose,
            At::Same => Place::Onward(position),
            _ if !self.is_narrow() || facts.is_idle || self.tracks[facts.antenna].is_confirmed => {
                Place::Onward(position)
            }
            _ => match self.search(facts) {
                Some(found) if found != position => Place::Aligned(found),
                _ => Place::Onward(position),
            },
        }
    }

    #[inline]
    fn at(&self, position: u64, facts: &Facts) -> At {
        let (content, seen) = if self.is_open && position < self.next {
            match self.history.get(position).map(|past| (past.served, past.seen)) {
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
                    let facts = &self.pending[at].held.facts;
                    (Content::of(facts, facts.received), self.pending[at].seen)
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

    /// Looks for the same octets at a position with this count that the antenna has not delivered yet. Octets that repeat
    /// with the counter (idle frames, and data that stands still) say where they belong only within half a turn of where
    /// they are expected.
    #[cold]
    fn search(&self, facts: &Facts) -> Option<u64> {
        let newest = self.newest()?;
        let oldest = match self.pending.front() {
            Some(front) if !self.is_open => front.position,
            _ => self.history.start().min(self.next),
        };
        let expected = self.expected(facts);
        let (mut found, mut alike): (Option<u64>, u32) = (None, u32::from(facts.is_idle));
        let mut position = newest - forward(facts.count, newest, self.modulus);
        for _ in 0..SEARCH_MOST {
            if position < oldest {
                break;
            }
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
        found.filter(|found| alike == 1 || found.abs_diff(expected) <= self.modulus / 2)
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
    fn has_copy(&self, position: u64, facts: &Facts) -> Option<bool> {
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
    fn align(
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
                return Place::Aligned(first);
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
        if let Some(found) = self.search(facts).filter(|_| says_where) {
            return Place::Aligned(found);
        }
        let own = self.tracks[facts.antenna].last.map_or(0, |last| last.position);
        let others = self.tracks.iter().enumerate().filter(|(antenna, track)| {
            *antenna != facts.antenna && moment.live >> antenna & 1 != 0 && track.last.is_some()
        });
        let is_ahead =
            others.into_iter().all(|(_, track)| track.last.is_some_and(|last| last.position <= own));
        if is_ahead { Place::Aligned(self.by_time(facts, outlet)) } else { Place::Limbo }
    }

    /// The position with this count that is nearest to where the receive time says, behind the antenna's own last frame.
    fn by_time(&mut self, facts: &Facts, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) -> u64 {
        let own = self.tracks[facts.antenna].last.map(|last| last.position + 1);
        let floor = own.unwrap_or(self.modulus).max(self.modulus);
        let expected = self.expected(facts).max(floor);
        let ahead = forward(expected % self.modulus, facts.count, self.modulus);
        let mut position = expected + ahead;
        if ahead > self.modulus / 2 && position - self.modulus >= floor {
            position -= self.modulus;
        }
        while matches!(self.at(position, facts), At::Another | At::Again) {
            position += self.modulus;
        }
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
            self.align_by_time(facts.antenna, moment, outlet);
        }
    }

    /// The antenna's next frame, of this count, is at this position: those in limbo lie before it.
    fn leave_limbo(
        &mut self,
        antenna: usize,
        position: u64,
        count: u64,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let limbo = std::mem::take(&mut self.tracks[antenna].limbo);
        self.in_limbo -= limbo.len();
        let (mut behind, mut later) = (0, count);
        let mut behinds: Vec<u64> = Vec::with_capacity(limbo.len());
        for held in limbo.iter().rev() {
            behind += forward(held.facts.count, later, self.modulus);
            later = held.facts.count;
            behinds.push(behind);
        }
        for (held, behind) in limbo.into_iter().zip(behinds.into_iter().rev()) {
            let position = position.saturating_sub(behind);
            let is_free = self.at(position, &held.facts) != At::Another;
            outlet.end(held, |outlet, octets, facts| {
                if is_free {
                    self.put(position, octets, facts, moment, outlet);
                    if self.in_limbo > 0 && !facts.is_idle {
                        self.match_limbo(position, facts, moment, outlet);
                    }
                } else {
                    outlet.ledger.unplaced += 1;
                    self.put_loose(octets, facts, outlet);
                }
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
            let distance: u64 = limbo
                .iter()
                .zip(limbo.iter().skip(1))
                .skip(at)
                .map(|(held, next)| forward(held.facts.count, next.facts.count, self.modulus))
                .sum();
            let Some(last) = limbo.back().map(|held| Last::of(position + distance, &held.facts)) else {
                continue;
            };
            self.settle_limbo(antenna, last, moment, outlet);
            self.tracks[antenna].is_confirmed = true;
        }
    }

    /// The last frame in limbo is here.
    fn settle_limbo(
        &mut self,
        antenna: usize,
        last: Last,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let track = &mut self.tracks[antenna];
        (track.last, track.jump, track.was_gone) = (Some(last), None, false);
        track.breaks_off();
        self.leave_limbo(antenna, last.position, last.count, moment, outlet);
    }

    /// Places an antenna whose frames wait in limbo by receive time.
    #[cold]
    pub(super) fn align_by_time(
        &mut self,
        antenna: usize,
        moment: Moment,
        outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>,
    ) {
        let Some(facts) = self.tracks[antenna].limbo.back().map(|held| held.facts) else { return };
        let position = self.by_time(&facts, outlet);
        self.settle_limbo(antenna, Last::of(position, &facts), moment, outlet);
    }

    /// Antennas whose frames waited in limbo for a whole wait are placed by receive time.
    #[cold]
    pub(super) fn end_limbo(&mut self, moment: Moment, outlet: &mut Outlet<'_, impl FnMut(Merged<'_>)>) {
        for antenna in 0..self.tracks.len() {
            let oldest = self.tracks[antenna].limbo.front().map(|held| held.facts.arrived);
            if oldest.is_some_and(|oldest| moment.now.ns_since(oldest) >= self.rules.wait_ns) {
                self.align_by_time(antenna, moment, outlet);
            }
        }
    }
}

/// Steps of a counter from one count to another.
#[inline]
fn forward(from: u64, to: u64, modulus: u64) -> u64 {
    let (from, to) = (from % modulus, to % modulus);
    if to >= from { to - from } else { to + (modulus - from) }
}
