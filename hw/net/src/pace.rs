//! Pacing: how many octets of a stream of constant rate are due at a time. Arithmetic only; time is an argument.

use fep_time::Monotonic;

/// A constant rate in bit/s from a fixed origin: rounding never accumulates, a late turn is caught up.
#[derive(Debug)]
pub(crate) struct Pacer {
    bit_rate: u64,
    origin: Option<Monotonic>,
    released: u64,
    quantum: u64,
}

const NS: u128 = 1_000_000_000;

impl Pacer {
    /// `bit_rate` in bit/s, at least 1; `largest` is the most octets one release can carry.
    pub(crate) fn new(bit_rate: u64, largest: usize) -> Pacer {
        // A millisecond's worth: small beside any frame period that matters, large beside the cost of a turn.
        let quantum = (bit_rate / 8 / 1000).clamp(1, largest.max(1) as u64);
        Pacer { bit_rate, origin: None, released: 0, quantum }
    }

    /// Octets released at once when the thread is on time.
    pub(crate) fn quantum(&self) -> u64 {
        self.quantum
    }

    /// Octets due at `now` and not yet released. The first call sets the origin.
    pub(crate) fn due(&mut self, now: Monotonic) -> u64 {
        let origin = *self.origin.get_or_insert(now);
        let elapsed = u128::from(now.ns_since(origin).max(0).unsigned_abs());
        let total = elapsed * u128::from(self.bit_rate) / (8 * NS);
        u64::try_from(total).unwrap_or(u64::MAX).saturating_sub(self.released)
    }

    /// Notes that `octets` were released.
    pub(crate) fn release(&mut self, octets: u64) {
        self.released += octets;
    }

    /// When `octets` more will be due.
    pub(crate) fn due_at(&self, octets: u64) -> Monotonic {
        let bits = (u128::from(self.released) + u128::from(octets)) * 8;
        let after = (bits * NS).div_ceil(u128::from(self.bit_rate));
        self.origin.unwrap_or_default().plus_ns(i64::try_from(after).unwrap_or(i64::MAX))
    }

    /// Forgets what is due beyond `octets`: a source that had nothing to give does not make up for it.
    pub(crate) fn limit_backlog(&mut self, now: Monotonic, octets: u64) {
        if self.due(now) > octets {
            let start =
                i64::try_from(u128::from(octets) * 8 * NS / u128::from(self.bit_rate)).unwrap_or(i64::MAX);
            self.origin = Some(now.plus_ns(-start));
            self.released = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Releases all that is due at each of `turns`.
    fn released_at(pacer: &mut Pacer, turns: impl Iterator<Item = i64>) -> u64 {
        let mut total = 0;
        for now in turns {
            let due = pacer.due(Monotonic(now));
            pacer.release(due);
            total += due;
        }
        total
    }

    // REQ: FEP-NET-013
    #[test]
    fn after_a_day_of_odd_turns_not_an_octet_is_missing() {
        for rate in [1, 7, 9_600, 64_000, 123_457, 8_000_000, 1_999_999_999] {
            let mut pacer = Pacer::new(rate, 1 << 17);
            let day_ns = 86_400 * 1_000_000_000i64;
            let turns = (0..200_000).map(|turn| turn * 431_999_983).chain([day_ns]);
            assert_eq!(released_at(&mut pacer, turns), rate * 86_400 / 8, "at {rate} bit/s");
        }
    }

    // REQ: FEP-NET-013
    #[test]
    fn octets_are_due_at_the_announced_time_and_not_a_nanosecond_earlier() {
        for rate in [3, 9_600, 1_000_003, 10_000_000_000] {
            let mut pacer = Pacer::new(rate, 1 << 17);
            pacer.due(Monotonic(1_000));
            for octets in [1, 2, 1000, 1279] {
                let at = pacer.due_at(octets);
                assert!(pacer.due(at) >= octets, "{rate} bit/s, {octets} octets");
                assert!(pacer.due(at.plus_ns(-1)) < octets, "{rate} bit/s, {octets} octets");
                pacer.release(octets);
            }
        }
    }

    #[test]
    fn a_backlog_that_is_forgotten_leaves_the_octets_allowed() {
        let mut pacer = Pacer::new(8_000, 1 << 17);
        let at = Monotonic(3_600_000_000_000);
        pacer.due(Monotonic(0));
        pacer.limit_backlog(at, 100);
        assert_eq!(pacer.due(at), 100);
        assert_eq!(pacer.due(at.plus_ns(1_000_000)), 101);
    }

    #[test]
    fn the_quantum_is_never_zero_and_never_more_than_a_buffer() {
        assert_eq!(Pacer::new(1, 4096).quantum(), 1);
        assert_eq!(Pacer::new(1_000_000_000_000, 4096).quantum(), 4096);
    }
}
