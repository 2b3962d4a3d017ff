//! Soft symbols: what a demodulator says of a received bit, with its confidence.
//!
//! Inside this crate a soft symbol is an `i8`: positive speaks for a 0, negative for a 1, 0 says nothing (an erasure or a
//! punctured place), the magnitude is the confidence. Decoders compare and add; any common scale will do for them unless
//! their own page says otherwise.

use serde::{Deserialize, Serialize};

/// What decoding found in one block of soft symbols. Data, never an error: an undecodable block has a verdict too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SoftVerdict {
    /// The decoder is sure of its answer: all parity checks hold, or whatever stop rule the code has was met.
    pub converged: bool,
    /// Iterations that were run.
    pub iterations: u16,
    /// Received symbols whose hard decision differs from the answer encoded again.
    pub symbols_corrected: u32,
}
