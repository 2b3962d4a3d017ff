//! What the vector codec asks of an instruction set: octet lanes, field products, a few shuffles. No algorithm here.
//!
//! A value of an implementing type is the proof that the machine has the instructions: it is made only after asking the
//! processor. All methods are therefore safe to call. They are `#[inline(always)]` and so is every function of the codec
//! above them, so that all of it is compiled inside the few functions that enable the instructions.

use std::fmt::Debug;

/// One instruction set. Lanes are octets; N of them (32 or 64) make a vector. "Kernel octets" are elements of the
/// field that [`Lanes::product`] defines.
pub(super) trait Lanes: Copy + Debug {
    /// Lanes of a vector: 32 or 64.
    const N: usize;

    /// A vector.
    type V: Copy + Debug;
    /// One truth value a lane.
    type Mask: Copy;
    /// A linear map of octets over GF(2), applied to every lane: products with a constant, changes of basis.
    type Map: Copy + Debug;
    /// A vector made ready to be multiplied by another one.
    type Operand: Copy + Debug;

    /// The product of the kernel's field, octet by octet, for making constants.
    fn product(a: u8, b: u8) -> u8;

    /// The map whose table this is; the table is linear.
    fn map(table: &[u8; 256]) -> Self::Map;

    /// N octets from `from[at..]`; panics if they are not there.
    fn load(self, from: &[u8], at: usize) -> Self::V;
    /// Writes N octets to `to[at..]`; panics if there is no room.
    fn store(self, to: &mut [u8], at: usize, v: Self::V);
    /// The same octet in every lane.
    fn splat(self, octet: u8) -> Self::V;
    /// Sum in the field.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// Difference of unsigned octets, modulo 256.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;

    /// The map of every lane.
    fn apply(self, map: &Self::Map, v: Self::V) -> Self::V;
    /// Readies a vector for [`Lanes::multiply_add`].
    fn operand(self, v: Self::V) -> Self::Operand;
    /// `sum + a b`, lane by lane, in the kernel's field.
    fn multiply_add(self, sum: Self::V, a: &Self::Operand, b: &Self::Operand) -> Self::V;
    /// The inverse of every lane; of 0, 0.
    fn inverse(self, v: Self::V) -> Self::V;

    /// Which lanes are zero.
    fn is_zero(self, v: Self::V) -> Self::Mask;
    /// Which lanes of `a` are at most those of `b`, unsigned.
    fn at_most(self, a: Self::V, b: Self::V) -> Self::Mask;
    /// `a` and not `b`.
    fn and_not(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The mask as bits, lane 0 lowest.
    fn bits(self, mask: Self::Mask) -> u64;
    /// `yes` where the mask is set, `no` elsewhere.
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V;
    /// [`Lanes::select`] on operands.
    fn select_operand(self, mask: Self::Mask, yes: &Self::Operand, no: &Self::Operand) -> Self::Operand;

    /// Transposes the 16 by 16 octets that the vectors hold in each 16-octet column.
    fn transpose(self, v: &mut [Self::V; 16]);
    /// Loads 16-octet rows: column g of vector k is the row at `at + (16 g + k) pitch`.
    fn load_rows(self, from: &[u8], at: usize, pitch: usize) -> [Self::V; 16];
    /// Stores 16-octet rows, contiguous: column g of vector k goes to `at + 16 (16 g + k)`.
    fn store_rows(self, to: &mut [u8], at: usize, v: &[Self::V; 16]);
    /// Loads N/2 octets from `from[at..]`, repeats every 16 of them twice, then picks within each 16 by the low four
    /// bits of `pattern`, whose octets are those of [`Lanes::spread_pattern`].
    fn spread(self, from: &[u8], at: usize, pattern: Self::V) -> Self::V;
    /// The entry of `table` that every lane names.
    #[inline(always)]
    fn look_up(self, table: &[u8; 256], v: Self::V) -> Self::V {
        let mut octets = [0; 64];
        self.store(&mut octets, 0, v);
        for octet in &mut octets[..Self::N] {
            *octet = table[*octet as usize];
        }
        self.load(&octets, 0)
    }

    /// Writes `first` plus the number of every bit that is set in `mask`, ascending, to `to[at..]`, where 64 octets of
    /// room are; what lies behind them may be overwritten with anything.
    #[inline(always)]
    fn list_bits(self, mask: u64, first: u8, to: &mut [u8], at: usize) {
        let mut rest = mask;
        let mut at = at;
        while rest != 0 {
            to[at] = first + rest.trailing_zeros() as u8;
            rest &= rest - 1;
            at += 1;
        }
    }

    /// `a b` in the kernel's field.
    #[inline(always)]
    fn multiply(self, a: &Self::Operand, b: &Self::Operand) -> Self::V {
        self.multiply_add(self.splat(0), a, b)
    }

    /// The pattern for [`Lanes::spread`] that picks octet `pick(l)` (below 16) for each lane l of the 32 that one
    /// 16-octet group feeds.
    fn spread_pattern(self, pick: impl Fn(usize) -> u8) -> Self::V {
        let mut octets = [0; 64];
        for (lane, octet) in octets.iter_mut().enumerate() {
            *octet = (lane / 32) as u8 * 16 + pick(lane % 32) % 16;
        }
        self.load(&octets, 0)
    }
}
