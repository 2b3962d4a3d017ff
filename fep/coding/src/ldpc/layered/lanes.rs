//! What the layered kernel asks of an instruction set. No algorithm here.
//!
//! A value of an implementing type is the proof that the machine has the instructions. All methods are `#[inline(always)]`
//! and so is every function above them, so that all of it is compiled inside the few functions that enable the
//! instructions.

use std::fmt::Debug;

/// One instruction set; lanes are octets.
pub(super) trait Lanes: Copy + Debug {
    /// Lanes of a vector: 32 or 64.
    const N: usize;

    /// A vector.
    type V: Copy + Debug;

    /// N octets from `from[at..]`; panics if they are not there.
    fn load(self, from: &[i8], at: usize) -> Self::V;
    /// Writes N octets to `to[at..]`; panics if there is no room.
    fn store(self, to: &mut [i8], at: usize, v: Self::V);
    /// The same octet in every lane.
    fn splat(self, octet: u8) -> Self::V;
    /// All ones in the first `count` lanes, zeros behind.
    fn first(self, count: usize) -> Self::V;
    /// Signed, saturating.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Signed, saturating.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// Magnitudes as unsigned octets; of -128, 128.
    fn magnitude(self, v: Self::V) -> Self::V;
    /// Unsigned.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Unsigned.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Unsigned `a - b`, at least 0.
    fn less(self, a: Self::V, b: Self::V) -> Self::V;
    /// Unsigned, by four, rounded down.
    fn quarter(self, v: Self::V) -> Self::V;
    /// Bit by bit.
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    /// Bit by bit.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// `yes` where `a` equals `b`, `no` elsewhere.
    fn if_equal(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// `v` with the sign changed where `sign` is negative.
    fn negate_if(self, v: Self::V, sign: Self::V) -> Self::V;
    /// Whether any lane is negative.
    fn any_negative(self, v: Self::V) -> bool;
}
