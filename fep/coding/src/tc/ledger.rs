//! Accounting of a receiver: every bit of the stream ends up in exactly one of the counters, or in two CLTUs and is then
//! counted as shared.

use super::CltuCounters;

/// The counters and the first bit that is not accounted for.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) counters: CltuCounters,
    /// Every bit before this one is in a CLTU or discarded.
    covered: u64,
}

impl Ledger {
    /// Bits `from..to` belong to a CLTU.
    pub(super) fn take(&mut self, from: u64, to: u64) {
        self.discard_to(from);
        let counters = &mut self.counters;
        counters.bits_in_cltus += to - from;
        counters.bits_shared += self.covered.min(to) - from;
        self.covered = self.covered.max(to);
    }

    /// Bits before `to` that belong to no CLTU so far never will.
    pub(super) fn discard_to(&mut self, to: u64) {
        self.counters.bits_discarded += to.saturating_sub(self.covered);
        self.covered = self.covered.max(to);
    }

    /// The stream is there up to `end`.
    pub(super) fn hold_to(&mut self, end: u64) {
        self.counters.bits_held = end - self.covered;
    }

    /// The stream ended at `end` and another starts at 0.
    pub(super) fn restart(&mut self, end: u64) {
        self.discard_to(end);
        self.covered = 0;
        self.counters.bits_held = 0;
    }
}
