//! Instants of a clock that nobody sets.

use crate::clock;

/// An instant of the monotonic clock of this machine, nanoseconds since some moment before its start. It never steps and
/// says nothing about the date: for timers, time-outs and ages. Comparable between processes of one machine, until the
/// next boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub i64);

impl Monotonic {
    /// Before every reading.
    pub const PAST: Monotonic = Monotonic(i64::MIN);
    /// After every reading: a timer that never runs out.
    pub const NEVER: Monotonic = Monotonic(i64::MAX);

    /// Now. One vDSO read.
    #[must_use]
    pub fn now() -> Monotonic {
        clock::monotonic_now()
    }

    /// Nanoseconds from an earlier instant to this one; negative when it is later.
    #[must_use]
    pub const fn ns_since(self, earlier: Monotonic) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant and a number of nanoseconds more.
    #[must_use]
    pub const fn plus_ns(self, ns: i64) -> Monotonic {
        Monotonic(self.0.saturating_add(ns))
    }
}
