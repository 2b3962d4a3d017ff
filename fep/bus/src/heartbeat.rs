//! Signs of life in shared memory: a word that its owner sets again and again to the monotonic clock of the machine.
//!
//! The clock is the same for all processes of a machine and begins anew at a boot. A word from before the boot, or from a
//! process that is broken, may therefore lie in the future: it says nothing, and never counts as alive.

use fep_time::Monotonic;

/// The word before the first sign of life.
pub(crate) const NONE: u64 = 0;

/// How far ahead of the reader's clock a sign of life may lie and still be one: the reader reads its clock first and may be
/// interrupted before it reads the word.
const AHEAD_MAX_NS: i64 = 1_000_000_000;

/// The word that says "alive at `now`".
#[inline]
pub(crate) fn word(now: Monotonic) -> u64 {
    now.0.max(1).cast_unsigned()
}

/// The instant a word stands for.
pub(crate) fn instant(word: u64) -> Option<Monotonic> {
    (word != NONE).then_some(Monotonic(word.cast_signed()))
}

/// Nanoseconds since the sign of life; `None` when there was none, or it lies in the future.
pub(crate) fn age_ns(word: u64, now: Monotonic) -> Option<i64> {
    let age_ns = now.ns_since(instant(word)?);
    (age_ns >= -AHEAD_MAX_NS).then_some(age_ns.max(0))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // REQ: FEP-BUS-103
        #[test]
        fn the_age_of_a_sign_of_life_is_what_has_passed_since(at in 1..i64::MAX, passed in 0..i64::MAX) {
            let now = Monotonic(at).plus_ns(passed);
            prop_assert_eq!(age_ns(word(Monotonic(at)), now), Some(now.0 - at));
        }

        // REQ: FEP-BUS-103
        #[test]
        fn a_sign_of_life_from_the_future_or_from_a_broken_process_has_no_age(now in 0..i64::MAX, beat: u64) {
            let age = age_ns(beat, Monotonic(now));
            if beat == NONE || i128::from(beat.cast_signed()) > i128::from(now) + 1_000_000_000 {
                prop_assert_eq!(age, None);
            } else {
                prop_assert!(age.is_some_and(|age| age >= 0));
            }
        }
    }

    // REQ: FEP-BUS-103
    #[test]
    fn a_sign_of_life_read_after_the_clock_is_a_fresh_one() {
        assert_eq!(age_ns(word(Monotonic(1_000_000)), Monotonic(999_000)), Some(0));
        assert_eq!(age_ns(word(Monotonic(1)), Monotonic(0)), Some(0));
        assert_eq!(age_ns(NONE, Monotonic(5)), None);
    }
}
