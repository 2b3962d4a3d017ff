//! 64 windows side by side: one octet lane each. The instruction sets differ in a dozen operations (`x86.rs`); all else
//! is written once, here, and compiled inside the functions that enable the instructions.
//!
//! * Adding, comparing, selecting goes through the states in sequence, two trellis steps at a time, so that four path
//!   metrics are loaded and stored for eight new ones.
//! * The decisions of a state are a word of 64 lanes. Tracing back never leaves that form: the states of all lanes are
//!   six words of one bit each, and a decision is looked up by a tree of 63 selections.

mod batch;
mod x86;

use super::STATES;
use super::window::{Shape, Tally};
use crate::isa::{Isa, IsaUnavailable};

/// One octet for each of the 64 lanes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Octets([u8; 64]);

/// One bit for each of the 64 lanes, lane 0 lowest, in little-endian order.
type Bits = [u8; 8];

/// What the decoder asks of an instruction set. Vectors hold N octets, a half or all of the lanes.
///
/// A value of an implementing type is the proof that the machine has the instructions.
trait Lanes: Copy {
    /// Lanes of a vector: 32 or 64.
    const N: usize;
    /// A vector.
    type V: Copy;

    /// The lanes of part `part` (below 64 / N).
    fn load(self, from: &Octets, part: usize) -> Self::V;
    /// Writes the lanes of part `part`.
    fn store(self, to: &mut Octets, part: usize, v: Self::V);
    /// All zero.
    fn zero(self) -> Self::V;
    /// Sum modulo 256.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Difference modulo 256.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of signed octets.
    fn max_signed(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of unsigned octets.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of unsigned octets, and in which lanes that is `b` alone.
    fn select(self, a: Self::V, b: Self::V) -> (Self::V, u64);
    /// Which lanes are negative.
    fn negative(self, v: Self::V) -> u64;
    /// Which lanes are not zero.
    fn nonzero(self, v: Self::V) -> u64;
}

/// The batch decoder of one instruction set.
#[derive(Debug)]
pub(super) struct Lanes64 {
    /// Invariant: AVX2 or AVX-512, and available on this machine.
    isa: Isa,
    batch: batch::Batch,
}

impl Lanes64 {
    /// # Errors
    /// [`IsaUnavailable`] if this machine lacks `isa`, or if there are no lanes for it.
    pub(super) fn new(shape: Shape, isa: Isa) -> Result<Lanes64, IsaUnavailable> {
        match isa {
            Isa::Avx2 | Isa::Avx512 => Ok(Lanes64 { isa: isa.require()?, batch: batch::Batch::new(shape) }),
            Isa::Scalar | Isa::Neon => Err(IsaUnavailable(isa)),
        }
    }

    /// See [`super::window::WindowDecoder::decode`].
    pub(super) fn decode(&mut self, pairs: &[i8], stride: usize, words: &mut [u64], tallies: &mut [Tally]) {
        match self.isa {
            Isa::Avx2 => x86::avx2::decode(&mut self.batch, pairs, stride, words, tallies),
            Isa::Avx512 => x86::avx512::decode(&mut self.batch, pairs, stride, words, tallies),
            _ => unreachable!("the constructor takes no other set"),
        }
    }
}
