//! Which victims die when: the environment of all tests that kill.
//!
//! `FEP_KILL_ROUNDS` says how often each victim is killed, `FEP_KILL_SEED` at which moments.

use std::ops::Range;
use std::time::Duration;

/// How often each victim of a test is killed: `FEP_KILL_ROUNDS`, a hundred times if it is not set.
///
/// # Panics
/// If it is no number.
#[must_use]
pub fn kill_rounds() -> u64 {
    variable("FEP_KILL_ROUNDS", 100)
}

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: a number")),
        Err(_) => default,
    }
}

/// Moments that look random, the same again from the same seed.
#[derive(Debug)]
pub struct Moments(u64);

impl Moments {
    /// From `FEP_KILL_SEED`; prints what a run needs to be the same again.
    ///
    /// # Panics
    /// If it is no number.
    #[must_use]
    pub fn from_environment() -> Moments {
        let seed = variable("FEP_KILL_SEED", 0x5EED).max(1);
        println!("FEP_KILL_ROUNDS={} FEP_KILL_SEED={seed}", kill_rounds());
        Moments(seed)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // Xorshift of Marsaglia, 64 bits.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Lets so many milliseconds pass.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn sleep_ms(&mut self, range: Range<u64>) {
        let length_ms = range.start + self.below(range.end - range.start);
        std::thread::sleep(Duration::from_millis(length_ms));
    }
}
