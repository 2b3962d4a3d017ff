//! What the batch and the single kernel ask of an instruction set. No algorithm here.
//!
//! A value of an implementing type is the proof that the machine has the instructions: it is made only after asking the
//! processor. All methods are therefore safe to call. They are `#[inline(always)]`, as is all of the kernels above them,
//! so that everything is compiled inside the few functions that enable the instructions.

use std::fmt::Debug;

/// Vectors of octets: costs without a sign, symbols with one.
pub(super) trait Lanes: Copy + Debug {
    /// Lanes of a vector.
    const N: usize;

    /// A vector.
    type V: Copy + Debug;

    /// The same in every lane.
    fn splat(self, value: u8) -> Self::V;
    /// Saturating sum of costs.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Sum of costs that is below 256: twice as fast as a saturating one on some machines.
    fn add_small(self, a: Self::V, b: Self::V) -> Self::V;
    /// Saturating difference of costs: at least 0.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lower cost.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The mean cost, rounded up.
    fn mean(self, a: Self::V, b: Self::V) -> Self::V;
    /// Saturating sum of symbols.
    fn add_symbols(self, a: Self::V, b: Self::V) -> Self::V;
    /// What a 0, and what a 1, costs where a symbol was received.
    fn penalties(self, symbol: Self::V) -> [Self::V; 2];
    /// `a - b` of costs as a symbol, at most 127 in magnitude.
    fn difference(self, a: Self::V, b: Self::V) -> Self::V;
    /// A symbol less a quarter of its magnitude, rounded: what one component decoder tells the other.
    fn three_quarters(self, symbol: Self::V) -> Self::V;
    /// Which symbols are below 0, lane 0 lowest.
    fn negative(self, v: Self::V) -> u64;
    /// The lower halves of each 16 lanes of `a` and `b`, alternating.
    fn zip_low(self, a: Self::V, b: Self::V) -> Self::V;
    /// The upper halves of each 16 lanes of `a` and `b`, alternating.
    fn zip_high(self, a: Self::V, b: Self::V) -> Self::V;
}

/// [`Lanes`] with a codeword in each.
pub(super) trait Codewords: Lanes {
    /// Sixteen octets each from `at`, `at + pitch`, ..., one behind the other; panics if they are not there.
    fn load_sixteens(self, from: &[i8], at: usize, pitch: usize) -> Self::V;
    /// 255 in the lanes where the sign of a symbol says another than `ones`, 0 elsewhere and where it says nothing.
    fn contradicted(self, symbols: Self::V, ones: u64) -> Self::V;
    /// The lanes, and zeros behind them.
    fn lanes(self, v: Self::V) -> [u8; 64];
}

/// Sixteen [`Lanes`] with a state of the trellis in each.
pub(super) trait States: Lanes {
    /// From an array.
    fn load(self, from: &[u8; 16]) -> Self::V;
    /// To an array.
    fn lanes(self, v: Self::V) -> [u8; 16];
    /// Lane i becomes lane `places[i]` (0 to 15).
    fn pick(self, v: Self::V, places: Self::V) -> Self::V;
    /// `one` where the highest bit of `choice` is set, else `zero`.
    fn choose(self, choice: Self::V, zero: Self::V, one: Self::V) -> Self::V;
}
