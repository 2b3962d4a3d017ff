//! The state machine: which places of the stream are markers, and which blocks are ripe to be released.
//!
//! It sees a [`Window`] of the stream and positions, never how the stream was cut, nor whether a position is a hard bit or
//! a soft symbol: a [`Finder`] tells it where markers are. Two questions tie it to the buffer:
//! which is the first bit it still needs ([`Tracker::keeps`]) and up to where must the stream be there before it
//! can go on ([`Tracker::needs`]).

use std::collections::{BTreeMap, VecDeque};

use super::buffer::Window;
use super::marks::Marks;
use super::rivals::Rivals;
use super::search::{Finder, Sighting};
use super::{Block, SyncCounters, SyncState};

/// Bits beyond a marker that the search likes to be given at once.
const SEARCH_STEP_BITS: u64 = 512;

/// What the rules need to know of a channel, in positions of its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) marker_bits: u64,
    pub(super) period: u64,
    pub(super) lock_bit_errors: u32,
    pub(super) check_markers: u32,
    pub(super) flywheel_blocks: u32,
    pub(super) slip_window: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Tracker<F: Finder> {
    marks: Marks<F>,
    rivals: Rivals,
    rules: Rules,

    phase: Phase,
    /// Blocks of the current track that were not released yet, in order. In Check all of them, in Flywheel those taken
    /// on trust, in Lock at most the one whose end is still to come.
    pending: VecDeque<Slot>,
    /// Blocks of a lost track that are released unless a better block overlaps them, by their markers. Empty in Lock and
    /// Flywheel.
    orphans: BTreeMap<u64, Slot>,
    /// Every bit before this one belongs to a block released or is discarded.
    covered: u64,
    needs: u64,
    /// Polarity of the last marker released.
    inverted: Option<bool>,
    scratch: Vec<F::Unit>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No marker starts before `at` (but for those already released).
    Search {
        at: u64,
    },
    Track(Track),
}

/// A chain of markers one period apart.
#[derive(Debug, Clone, Copy)]
struct Track {
    /// Enough markers were found: Lock or Flywheel; otherwise Check.
    confirmed: bool,
    /// First marker of the chain.
    candidate: u64,
    /// Last marker that was really seen.
    last_seen: u64,
    /// Markers seen behind the candidate, until confirmed.
    found: u32,
    /// Markers missing in a row.
    missing: u32,
    inverted: bool,
    /// Where the next marker must be.
    due: u64,
}

/// A block whose place is known.
#[derive(Debug, Clone, Copy)]
struct Slot {
    marker: u64,
    bit_errors: u32,
    inverted: bool,
    flywheel: bool,
    slip_bits: i8,
}

/// What looking for the marker that is due came to.
enum Look {
    Found(Sighting),
    Missing,
    /// A marker was found, but others say that the stream is cut elsewhere.
    Rivalled,
    /// The stream must be there up to this bit first.
    Wait(u64),
}

impl<F: Finder> Tracker<F> {
    /// Blocks have `block_len` units.
    pub(super) fn new(finder: F, rules: Rules, block_len: usize) -> Tracker<F> {
        let held = u64::from(rules.check_markers.max(rules.flywheel_blocks)) + 4;
        Tracker {
            marks: Marks::new(finder, rules.marker_bits, held * rules.period),
            rivals: Rivals::default(),
            rules,
            phase: Phase::Search { at: 0 },
            pending: VecDeque::new(),
            orphans: BTreeMap::new(),
            covered: 0,
            needs: 0,
            inverted: None,
            scratch: vec![F::Unit::default(); block_len],
        }
    }

    pub(super) fn finder_mut(&mut self) -> &mut F {
        self.marks.finder_mut()
    }

    /// Forgets the stream. A lock that there was is lost.
    pub(super) fn reset(&mut self, counters: &mut SyncCounters) {
        counters.lock_lost += u64::from(self.is_locked());
        self.marks.reset();
        self.rivals = Rivals::default();
        self.phase = Phase::Search { at: 0 };
        self.pending.clear();
        self.orphans.clear();
        self.covered = 0;
        self.needs = 0;
        self.inverted = None;
    }

    fn is_locked(&self) -> bool {
        matches!(self.phase, Phase::Track(Track { confirmed: true, .. }))
    }

    pub(super) fn state(&self) -> SyncState {
        match self.phase {
            Phase::Search { .. } => SyncState::Search,
            Phase::Track(Track { confirmed: false, .. }) => SyncState::Check,
            Phase::Track(Track { missing: 0, .. }) => SyncState::Lock,
            Phase::Track(_) => SyncState::Flywheel,
        }
    }

    /// The first bit that may still be read.
    pub(super) fn keeps(&self) -> u64 {
        match self.phase {
            // In lock the data since the last marker seen stays: the search starts there when lock is lost.
            Phase::Track(track) if track.confirmed => {
                self.pending.front().map_or(track.last_seen, |slot| slot.marker.min(track.last_seen))
            }
            _ => self.first_possible_block(),
        }
    }

    /// Where the stream must reach before anything more can happen.
    pub(super) fn needs(&self) -> u64 {
        self.needs
    }

    /// Counts as discarded what can belong to no block any more; returns the bits before `end` that are undecided.
    pub(super) fn settle(&mut self, end: u64, counters: &mut SyncCounters) -> u64 {
        let possible = match self.phase {
            Phase::Track(track) if track.confirmed => self.covered,
            _ => self.first_possible_block(),
        };
        self.discard_until(possible, counters);
        end - self.covered
    }

    /// No block that starts before `position` will be released any more.
    fn discard_until(&mut self, position: u64, counters: &mut SyncCounters) {
        counters.bits_discarded += position.saturating_sub(self.covered);
        self.covered = self.covered.max(position);
    }

    /// Before lock: where the next block released can start at the earliest.
    fn first_possible_block(&self) -> u64 {
        let first = match self.phase {
            Phase::Search { at } => at,
            Phase::Track(track) => track.candidate,
        };
        self.orphans.keys().next().map_or(first, |orphan| first.min(*orphan))
    }

    /// Goes as far as the window allows.
    pub(super) fn run(
        &mut self,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        loop {
            match self.phase {
                Phase::Search { at } => {
                    let to = (window.end() + 1).saturating_sub(self.rules.marker_bits).max(at);
                    match self.next_candidate(window, at, to) {
                        Some(sighting) => self.begin(sighting, window, counters, sink),
                        None => {
                            self.release_orphans(to, window, counters, sink);
                            self.phase = Phase::Search { at: to };
                            self.needs = to + self.rules.marker_bits + SEARCH_STEP_BITS;
                            return;
                        }
                    }
                }
                Phase::Track(mut track) => {
                    if track.confirmed && self.pending.is_empty() {
                        self.run_in_lock(&mut track, window, counters, sink);
                        self.phase = Phase::Track(track);
                    }
                    self.release_pending(&track, window, counters, sink);
                    match self.look(&track, window, false) {
                        Look::Found(sighting) => self.found(track, sighting, counters),
                        Look::Missing => self.missing(track, window, counters),
                        Look::Rivalled => self.lose(track, counters),
                        Look::Wait(bit) => {
                            let ripe = self.pending.front().filter(|slot| is_ripe(slot, &track));
                            self.needs = ripe.map_or(bit, |slot| bit.min(slot.marker + self.rules.period));
                            return;
                        }
                    }
                }
            }
        }
    }

    /// The stream ends with `window`: settles what is open, as [`super::FrameSync::finish`] promises.
    pub(super) fn finish(
        &mut self,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        loop {
            match self.phase {
                Phase::Search { at } => {
                    // Only a marker with a whole block behind it is worth anything now.
                    let to = (window.end() + 1).saturating_sub(self.rules.period);
                    match self.next_candidate(window, at, to) {
                        Some(sighting) => self.begin(sighting, window, counters, sink),
                        None => return self.release_orphans(window.end(), window, counters, sink),
                    }
                }
                Phase::Track(mut track) => {
                    self.release_pending(&track, window, counters, sink);
                    match self.look(&track, window, true) {
                        Look::Found(sighting) => self.found(track, sighting, counters),
                        Look::Missing => self.missing(track, window, counters),
                        Look::Rivalled => self.lose(track, counters),
                        // A candidate whose own block is cut off proves nothing.
                        Look::Wait(_)
                            if !track.confirmed && window.end() < track.candidate + self.rules.period =>
                        {
                            self.search_behind(track);
                        }
                        Look::Wait(_) if track.missing == 0 => {
                            self.confirm(&mut track, counters);
                            self.release_pending(&track, window, counters, sink);
                            self.phase = Phase::Track(track);
                            return;
                        }
                        Look::Wait(_) => self.abandon(track, counters),
                    }
                }
            }
        }
    }

    /// In lock, markers in place, blocks whole: nothing but a comparison and the block.
    fn run_in_lock(
        &mut self,
        track: &mut Track,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        while track.due + self.rules.period <= window.end() {
            let bit_errors = self.marks.finder().errors_at(window, track.due, track.inverted);
            if bit_errors > self.rules.lock_bit_errors {
                return;
            }
            let (marker, inverted) = (track.due, track.inverted);
            track.last_seen = marker;
            track.due += self.rules.period;
            let slot = Slot { marker, bit_errors, inverted, flywheel: false, slip_bits: 0 };
            self.release(slot, window, counters, sink);
        }
    }

    /// Looks for the marker that is due. `at_end`: no more of the stream will come, so that [`Look::Wait`] means that
    /// the marker lies behind the end.
    fn look(&mut self, track: &Track, window: &Window<'_, F::Unit>, at_end: bool) -> Look {
        let end = window.end();
        let whole = track.due + self.rules.marker_bits;
        if end < whole && !at_end {
            return Look::Wait(whole);
        }
        let in_place = if end < whole { None } else { self.marks.finder().lock_sighting(window, track.due) };
        let sighting = match in_place {
            Some(sighting) if track.missing == 0 => return Look::Found(sighting),
            Some(sighting) => sighting,
            None => {
                let slipped = whole + u64::from(self.rules.slip_window);
                if end < slipped && !at_end {
                    return Look::Wait(slipped);
                }
                let reach = u64::from(self.rules.slip_window);
                let slipped = end.checked_sub(self.rules.marker_bits).and_then(|last| {
                    self.marks.slipped(window, track.due, reach, (track.last_seen + 1, last))
                });
                match slipped {
                    Some(sighting) => sighting,
                    None if end < whole => return Look::Wait(whole),
                    None => return Look::Missing,
                }
            }
        };
        // Off its place or after missing ones, a marker may be chance: what lies before it must not speak against it.
        let judged = sighting.position + self.rules.period + self.rules.marker_bits;
        if end < judged && !at_end {
            Look::Wait(judged)
        } else if self.has_rival(track, sighting, window) {
            Look::Rivalled
        } else {
            Look::Found(sighting)
        }
    }

    /// Whether a marker between the last one seen and `sighting` has another one period behind it: then the stream is
    /// cut there, and `sighting` is chance. At the end of the stream a marker with a whole block behind it is enough
    /// against one that is off its place.
    fn has_rival(&mut self, track: &Track, sighting: Sighting, window: &Window<'_, F::Unit>) -> bool {
        let (from, to) = (track.last_seen + 1, sighting.position);
        let period = self.rules.period;
        // The last place that can have a whole marker one period behind it.
        let last = (window.end() + 1).saturating_sub(period + self.rules.marker_bits);
        if self.rivals.is_any(&mut self.marks, window, (from, to.min(last)), period) {
            return true;
        }
        let whole = to.min((window.end() + 1).saturating_sub(period));
        sighting.position != track.due && self.marks.next_search(window, from.max(last), whole).is_some()
    }

    /// The first marker at `from` or later that starts before `to` and from which a check can succeed, as far as that is
    /// known already.
    fn next_candidate(&mut self, window: &Window<'_, F::Unit>, from: u64, to: u64) -> Option<Sighting> {
        let mut at = from;
        while let Some(candidate) = self.marks.next_search(window, at, to) {
            if !self.is_hopeless(window, candidate) {
                return self.marks.finder().search_sighting(window, candidate);
            }
            at = candidate + 1;
        }
        None
    }

    /// Whether the check of a candidate would find every marker missing that it looks for: a shortcut, with no other
    /// answer than the check's own. Only where all data that these looks need has come.
    fn is_hopeless(&mut self, window: &Window<'_, F::Unit>, candidate: u64) -> bool {
        if self.rules.check_markers == 0 {
            return false;
        }
        let looks = u64::from(self.rules.flywheel_blocks.max(1)) + 1;
        let reach = u64::from(self.rules.slip_window);
        let end = candidate + looks * self.rules.period + reach + self.rules.marker_bits;
        end <= window.end()
            && (1..=looks).all(|look| {
                let due = candidate + look * self.rules.period;
                self.marks.next_lock(window, due - reach, due + reach + 1).is_none()
            })
    }

    /// A candidate: Check begins (or Lock, where nothing is to be checked).
    fn begin(
        &mut self,
        sighting: Sighting,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        self.release_orphans(sighting.position, window, counters, sink);
        let mut track = Track {
            confirmed: false,
            candidate: sighting.position,
            last_seen: sighting.position,
            found: 0,
            missing: 0,
            inverted: sighting.inverted,
            due: sighting.position + self.rules.period,
        };
        debug_assert!(self.pending.is_empty(), "a track begins with nothing pending");
        self.pending.push_back(Slot::seen(sighting, 0));
        if self.rules.check_markers == 0 {
            self.confirm(&mut track, counters);
        }
        self.phase = Phase::Track(track);
    }

    fn found(&mut self, mut track: Track, sighting: Sighting, counters: &mut SyncCounters) {
        // Within the slip window, which fits an i8.
        let slip_bits = (sighting.position as i64 - track.due as i64) as i8;
        self.pending.push_back(Slot::seen(sighting, slip_bits));
        track.last_seen = sighting.position;
        track.due = sighting.position + self.rules.period;
        track.inverted = sighting.inverted;
        track.missing = 0;
        track.found = track.found.saturating_add(1);
        if track.found >= self.rules.check_markers {
            self.confirm(&mut track, counters);
        }
        self.phase = Phase::Track(track);
    }

    fn missing(&mut self, mut track: Track, window: &Window<'_, F::Unit>, counters: &mut SyncCounters) {
        track.missing += 1;
        // One damaged marker must not undo a check, or the good block before it would be lost.
        let allowed =
            if track.confirmed { self.rules.flywheel_blocks } else { self.rules.flywheel_blocks.max(1) };
        if track.missing > allowed {
            self.lose(track, counters);
            return;
        }
        let (marker, inverted) = (track.due, track.inverted);
        let bit_errors = self.marks.finder().errors_at(window, marker, inverted);
        self.pending.push_back(Slot { marker, bit_errors, inverted, flywheel: true, slip_bits: 0 });
        track.due += self.rules.period;
        self.phase = Phase::Track(track);
    }

    /// The chain is broken: search on, from where no block can be lost.
    fn lose(&mut self, track: Track, counters: &mut SyncCounters) {
        counters.lock_lost += u64::from(track.confirmed);
        self.search_behind(track);
    }

    fn search_behind(&mut self, track: Track) {
        if track.confirmed {
            debug_assert!(self.orphans.is_empty() && self.pending.iter().all(|slot| slot.flywheel));
            self.orphans.extend(self.pending.drain(..).map(|slot| (slot.marker, slot)));
            self.phase = Phase::Search { at: track.last_seen + 1 };
        } else {
            self.pending.clear();
            self.phase = Phase::Search { at: track.candidate + 1 };
        }
    }

    /// The stream ended on a chain with markers missing: its blocks stay, in case nothing better turns up.
    fn abandon(&mut self, track: Track, counters: &mut SyncCounters) {
        if !track.confirmed {
            for slot in self.pending.iter().filter(|slot| slot.marker <= track.last_seen) {
                // The chain of an earlier candidate may have led over the same marker.
                self.orphans.entry(slot.marker).or_insert(*slot);
            }
        }
        self.lose(track, counters);
    }

    fn confirm(&mut self, track: &mut Track, counters: &mut SyncCounters) {
        if !track.confirmed {
            track.confirmed = true;
            counters.lock_acquired += 1;
            // Those that end before the candidate were released when it was found; these overlap it.
            self.orphans.clear();
            self.discard_until(track.candidate, counters);
        }
    }

    /// Releases the orphans that end at or before `until`: no other block can overlap them any more.
    fn release_orphans(
        &mut self,
        until: u64,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        while let Some(orphan) = self.orphans.first_entry()
            && orphan.key() + self.rules.period <= until
        {
            let orphan = orphan.remove();
            self.release(orphan, window, counters, sink);
        }
    }

    /// Releases the ripe blocks that are whole.
    fn release_pending(
        &mut self,
        track: &Track,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        while let Some(&slot) = self.pending.front()
            && is_ripe(&slot, track)
            && slot.marker + self.rules.period <= window.end()
        {
            self.pending.pop_front();
            self.release(slot, window, counters, sink);
        }
    }

    #[inline]
    fn release(
        &mut self,
        slot: Slot,
        window: &Window<'_, F::Unit>,
        counters: &mut SyncCounters,
        sink: &mut impl FnMut(Block<'_, F::Unit>),
    ) {
        if slot.flywheel && self.rules.flywheel_blocks == 0 {
            return;
        }
        let end = slot.marker + self.rules.period;
        self.discard_until(slot.marker, counters);
        counters.bits_shared += self.covered.min(end).saturating_sub(slot.marker);
        self.covered = self.covered.max(end);
        counters.blocks += 1;
        if slot.flywheel {
            counters.flywheel_blocks += 1;
        } else {
            counters.marker_bit_errors += u64::from(slot.bit_errors);
            counters.slips += u64::from(slot.slip_bits != 0);
            counters.inversions += u64::from(self.inverted.is_some_and(|before| before != slot.inverted));
            self.inverted = Some(slot.inverted);
        }
        let from = slot.marker + self.rules.marker_bits;
        let data = self.marks.finder().block(window, from, slot.inverted, &mut self.scratch);
        sink(Block {
            data,
            // A marker has at most 192 bits.
            marker_bit_errors: slot.bit_errors as u8,
            inverted: slot.inverted,
            flywheel: slot.flywheel,
            slip_bits: slot.slip_bits,
            stream_bit: slot.marker,
        });
    }
}

/// Whether a block may be released as soon as it is whole: the track is confirmed and its marker, or a later one, was
/// seen.
fn is_ripe(slot: &Slot, track: &Track) -> bool {
    track.confirmed && slot.marker <= track.last_seen
}

impl Slot {
    fn seen(sighting: Sighting, slip_bits: i8) -> Slot {
        let Sighting { position, bit_errors, inverted } = sighting;
        Slot { marker: position, bit_errors, inverted, flywheel: false, slip_bits }
    }
}
