//! Pauses between attempts to connect or to open: exponential, bounded, jittered. Arithmetic only.

/// Doubles from the shortest pause to the longest; each pause is shortened at random by up to half.
#[derive(Debug)]
pub(crate) struct Backoff {
    min_ms: u32,
    max_ms: u32,
    next_ms: u32,
    random: u64,
}

impl Backoff {
    /// `seed` decides the jitter.
    pub(crate) fn new(min_ms: u32, max_ms: u32, seed: u64) -> Backoff {
        Backoff { min_ms, max_ms, next_ms: min_ms, random: seed | 1 }
    }

    /// The next pause in nanoseconds.
    pub(crate) fn pause_ns(&mut self) -> i64 {
        let full_ns = u64::from(self.next_ms) * 1_000_000;
        self.next_ms = self.next_ms.saturating_mul(2).min(self.max_ms);
        // xorshift64: jitter needs to differ between links, nothing more.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (full_ns - self.random % (full_ns / 2 + 1)) as i64
    }

    /// The station delivered: start over from the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }
}

/// A seed that differs from link to link and from run to run.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-NET-004
    #[test]
    fn pauses_double_up_to_the_longest_and_are_shortened_by_at_most_half() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(100, 1000, seed);
            for full_ms in [100, 200, 400, 800, 1000, 1000, 1000] {
                let pause = backoff.pause_ns();
                assert!(
                    (full_ms * 500_000..=full_ms * 1_000_000).contains(&pause),
                    "{pause} ns of {full_ms} ms"
                );
            }
            backoff.reset();
            assert!(backoff.pause_ns() <= 100_000_000);
        }
    }

    // REQ: FEP-NET-004
    #[test]
    fn links_with_different_seeds_pause_differently() {
        let pauses: std::collections::HashSet<i64> =
            (0..64).map(|s| Backoff::new(100, 100, s * 2).pause_ns()).collect();
        assert!(pauses.len() > 60, "{}", pauses.len());
    }
}
