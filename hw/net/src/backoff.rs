//! Pauses between attempts to connect, to open or to start: exponential, bounded, jittered. Arithmetic only.

/// Doubles from the shortest pause to the longest; each pause is shortened at random by up to half, so that what failed for
/// one cause does not try again in step.
#[derive(Debug)]
pub struct Backoff {
    min_ms: u32,
    max_ms: u32,
    next_ms: u32,
    random: u64,
}

impl Backoff {
    /// A seed that differs from one to the next and from run to run.
    #[must_use]
    pub fn seed() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::hash::RandomState::new().build_hasher().finish()
    }

    /// `seed` decides the jitter.
    #[must_use]
    pub fn new(min_ms: u32, max_ms: u32, seed: u64) -> Backoff {
        Backoff { min_ms, max_ms: max_ms.max(min_ms), next_ms: min_ms, random: seed | 1 }
    }

    /// The next pause in nanoseconds.
    pub fn pause_ns(&mut self) -> i64 {
        let full_ns = u64::from(self.next_ms) * 1_000_000;
        self.next_ms = self.next_ms.saturating_mul(2).min(self.max_ms);
        // xorshift64: jitter needs to differ between links, nothing more.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (full_ns - self.random % (full_ns / 2 + 1)) as i64
    }

    /// The cause is gone (the station delivered): start over from the shortest pause.
    pub fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }
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
