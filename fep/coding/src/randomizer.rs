//! The pseudo-randomisers: sequences that are xor-ed over a block so that the receiver always sees transitions.
//!
//! Not a cipher and not a scrambler: the sequence restarts at the first bit after the marker of every block
//! (131.0-B-5 10.3), so randomising and derandomising are the same xor. The marker is never randomised.
//! Sequences are made once, in the constructor; applying one is a plain xor that the compiler vectorises.

use serde::{Deserialize, Serialize};

use crate::isa::Isa;
use crate::kernels::Bitwise;

/// Which sequence a channel uses (managed parameter "randomizer").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Randomizer {
    /// No randomiser.
    #[default]
    #[serde(rename = "none")]
    None,
    /// x⁸+x⁷+x⁵+x³+1, all ones, period 255 bits (131.0-B-5 10.4.2; the only one up to issue 4).
    #[serde(rename = "legacy")]
    Legacy255,
    /// x¹⁷+x¹⁴+1, preset 11000111000111000, period 131 071 bits (131.0-B-5 10.4.1).
    #[serde(rename = "long")]
    Long131071,
    /// x⁸+x⁶+x⁴+x³+x²+x+1, all ones, period 255 bits: telecommand (231.0-B 6).
    #[serde(rename = "tc")]
    Tc255,
}

/// A shift register that gives its lowest bit, shifts right and feeds the parity of `taps` into its highest bit.
struct Lfsr {
    state: u32,
    taps: u32,
    width: u32,
}

impl Lfsr {
    fn next_bit(&mut self) -> u8 {
        let out = (self.state & 1) as u8;
        let feedback = (self.state & self.taps).count_ones() & 1;
        self.state = (self.state >> 1) | (feedback << (self.width - 1));
        out
    }

    fn next_octet(&mut self) -> u8 {
        (0..8).fold(0, |octet, _| (octet << 1) | self.next_bit())
    }
}

impl Randomizer {
    /// The first `len` octets of the sequence (zeros for [`Randomizer::None`]).
    pub fn sequence(self, len: usize) -> Vec<u8> {
        let mut lfsr = match self {
            Randomizer::None => return vec![0; len],
            Randomizer::Legacy255 => Lfsr { state: 0xFF, taps: 0b1010_1001, width: 8 },
            // The preset is printed with the bit that leaves first on the right.
            Randomizer::Long131071 => Lfsr { state: 0x18E38, taps: (1 << 14) | 1, width: 17 },
            Randomizer::Tc255 => Lfsr { state: 0xFF, taps: 0b0101_1111, width: 8 },
        };
        (0..len).map(|_| lfsr.next_octet()).collect()
    }
}

/// Applies a randomiser to blocks of at most a given length. Randomises as well as derandomises.
///
/// ```
/// use fep_coding::{Derandomizer, Randomizer};
/// let randomizer = Derandomizer::new(Randomizer::Legacy255, 4);
/// let mut block = [0u8; 4];
/// randomizer.apply(&mut block);
/// assert_eq!(block, [0xFF, 0x48, 0x0E, 0xC0]); // 131.0-B-5 10.4.2
/// randomizer.apply(&mut block);
/// assert_eq!(block, [0; 4]);
/// ```
#[derive(Debug, Clone)]
pub struct Derandomizer {
    /// Empty for [`Randomizer::None`]: nothing to do is then one comparison.
    sequence: Vec<u8>,
    randomizer: Randomizer,
    len: usize,
    bitwise: Bitwise,
}

impl Derandomizer {
    /// A randomiser for blocks of up to `len` octets, with the best kernels of this machine.
    pub fn new(randomizer: Randomizer, len: usize) -> Derandomizer {
        let sequence = if randomizer == Randomizer::None { Vec::new() } else { randomizer.sequence(len) };
        Derandomizer { sequence, randomizer, len, bitwise: Bitwise::best() }
    }

    /// The same with the kernels of `isa`.
    ///
    /// # Errors
    /// [`crate::isa::IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(
        randomizer: Randomizer,
        len: usize,
        isa: Isa,
    ) -> Result<Self, crate::isa::IsaUnavailable> {
        Ok(Derandomizer { bitwise: Bitwise::with_isa(isa)?, ..Derandomizer::new(randomizer, len) })
    }

    /// Which randomiser this is.
    pub fn randomizer(&self) -> Randomizer {
        self.randomizer
    }

    /// The longest block it can be applied to, octets.
    pub fn max_len(&self) -> usize {
        self.len
    }

    /// Xors the sequence, from its first octet, over `data`.
    ///
    /// # Panics
    /// When `data` is longer than the `len` of the constructor.
    pub fn apply(&self, data: &mut [u8]) {
        assert!(data.len() <= self.len, "block of {} octets, randomiser made for {}", data.len(), self.len);
        if let Some(sequence) = self.sequence.get(..data.len()) {
            self.bitwise.xor_in_place(data, sequence);
        }
    }

    /// Copies `src` into `dst` with the sequence xor-ed over it: one pass instead of two.
    ///
    /// # Panics
    /// When the lengths differ, or exceed the `len` of the constructor.
    pub fn apply_to(&self, src: &[u8], dst: &mut [u8]) {
        assert_eq!(src.len(), dst.len(), "source and destination must be one block each");
        assert!(src.len() <= self.len, "block of {} octets, randomiser made for {}", src.len(), self.len);
        match self.sequence.get(..src.len()) {
            Some(sequence) => self.bitwise.xor_to(src, sequence, dst),
            None => dst.copy_from_slice(src),
        }
    }
}
