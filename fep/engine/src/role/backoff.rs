//! Pauses between the lives of a role: exponential, bounded, jittered. Arithmetic only.

/// Doubles from the shortest pause to the longest; each pause is shortened at random by up to half, so that roles that
/// failed for one cause do not try again in step.
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
        Backoff { min_ms, max_ms: max_ms.max(min_ms), next_ms: min_ms, random: seed | 1 }
    }

    /// A seed that differs from role to role and from run to run.
    pub(crate) fn seed() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::hash::RandomState::new().build_hasher().finish()
    }

    /// The next pause in nanoseconds.
    pub(crate) fn pause_ns(&mut self) -> i64 {
        let full_ns = u64::from(self.next_ms) * 1_000_000;
        self.next_ms = self.next_ms.saturating_mul(2).min(self.max_ms);
        // xorshift64: jitter needs to differ between roles, nothing more.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (full_ns - self.random % (full_ns / 2 + 1)) as i64
    }

    /// A life that lasted this long has proven that the cause is gone.
    pub(crate) fn proven_after_ns(&self) -> i64 {
        i64::from(self.max_ms) * 1_000_000
    }

    /// Starts over from the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // REQ: FEP-ENG-101
        #[test]
        fn pauses_double_up_to_the_longest_and_are_shortened_by_at_most_half(
            min in 1u32..5_000, more in 0u32..60_000, seed: u64, pauses in 1usize..24,
        ) {
            let max = min + more;
            let mut backoff = Backoff::new(min, max, seed);
            let mut full_ms = min;
            for _ in 0..pauses {
                let pause = backoff.pause_ns();
                let (low, high) = (i64::from(full_ms) * 500_000, i64::from(full_ms) * 1_000_000);
                prop_assert!((low..=high).contains(&pause), "{} ns of {} ms", pause, full_ms);
                full_ms = full_ms.saturating_mul(2).min(max);
            }
            backoff.reset();
            prop_assert!(backoff.pause_ns() <= i64::from(min) * 1_000_000);
        }
    }
}
