//! The stream as the tracker sees it: what may still be needed is held, everything else is read where it lies.

use super::buffer::{Unit, Window};
use super::search::Finder;
use super::tracker::{Rules, Tracker};
use super::{Block, SyncCounters, SyncState};

/// A synchroniser of one kind of stream.
#[derive(Debug, Clone)]
pub(super) struct Stream<F: Finder> {
    tracker: Tracker<F>,
    /// Units that may still be needed, from unit `held_from` of the stream to its end so far.
    held: Vec<F::Unit>,
    held_from: u64,
    counters: SyncCounters,
}

impl<F: Finder> Stream<F> {
    const POSITIONS: u64 = F::Unit::POSITIONS;

    pub(super) fn new(finder: F, rules: Rules, block_len: usize) -> Stream<F> {
        let tracker = Tracker::new(finder, rules, block_len);
        Stream { tracker, held: Vec::new(), held_from: 0, counters: SyncCounters::default() }
    }

    pub(super) fn finder_mut(&mut self) -> &mut F {
        self.tracker.finder_mut()
    }

    pub(super) fn state(&self) -> SyncState {
        self.tracker.state()
    }

    pub(super) fn counters(&self) -> &SyncCounters {
        &self.counters
    }

    pub(super) fn push(&mut self, input: &[F::Unit], sink: &mut impl FnMut(Block<'_, F::Unit>)) {
        self.counters.bits_in += Self::POSITIONS * input.len() as u64;
        let input_from = self.held_from + self.held.len() as u64;
        let mut taken = 0;
        // As long as something held is needed, the input is appended to it by as little as lets the tracker go on ...
        while !self.held.is_empty() && taken < input.len() {
            let held_end = self.held_from + self.held.len() as u64;
            let wanted = self.tracker.needs().div_ceil(Self::POSITIONS).saturating_sub(held_end).max(1);
            let more = (input.len() - taken).min(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.held.extend_from_slice(&input[taken..taken + more]);
            taken += more;
            self.track_held(sink);
            let keep = self.tracker.keeps() / Self::POSITIONS;
            if keep >= input_from {
                self.held.clear();
                self.held_from = keep;
                taken = (keep - input_from) as usize;
            }
        }
        // ... and then read in place.
        if self.held.is_empty() {
            let rest = &input[taken..];
            self.held_from = input_from + taken as u64;
            self.tracker.run(&Window::new(rest, self.held_from), &mut self.counters, sink);
            let keep = (self.tracker.keeps() / Self::POSITIONS - self.held_from) as usize;
            self.held.extend_from_slice(&rest[keep..]);
            self.held_from += keep as u64;
        } else {
            self.release();
        }
        self.counters.bits_held = self.tracker.settle(self.end(), &mut self.counters);
    }

    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Block<'_, F::Unit>)) {
        let held = std::mem::take(&mut self.held);
        self.tracker.finish(&Window::new(&held, self.held_from), &mut self.counters, sink);
        self.held = held;
        self.reset();
    }

    pub(super) fn reset(&mut self) {
        let held = self.tracker.settle(self.end(), &mut self.counters);
        self.counters.bits_discarded += held;
        self.counters.bits_held = 0;
        self.held.clear();
        self.held_from = 0;
        self.tracker.reset(&mut self.counters);
    }

    /// The position behind the last one so far.
    fn end(&self) -> u64 {
        Self::POSITIONS * (self.held_from + self.held.len() as u64)
    }

    fn track_held(&mut self, sink: &mut impl FnMut(Block<'_, F::Unit>)) {
        let held = std::mem::take(&mut self.held);
        self.tracker.run(&Window::new(&held, self.held_from), &mut self.counters, sink);
        self.held = held;
    }

    /// Drops units that are no longer needed, once they are most of what is held (so that each is moved once).
    fn release(&mut self) {
        let unneeded = (self.tracker.keeps() / Self::POSITIONS - self.held_from) as usize;
        if unneeded > self.held.len() / 2 {
            self.held.drain(..unneeded);
            self.held_from += unneeded as u64;
        }
    }
}
