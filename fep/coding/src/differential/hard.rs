//! Differential coding of hard bits, packed in octets: 64 bits at a time, and one bit at a time as the reference.

use super::LineCode;
use crate::isa::{Isa, IsaUnavailable};

/// Makes bits of the levels of a stream.
///
/// The level before the first one is taken to be 0, as [`DifferentialEncoder`] has it; where that is not known the first
/// bit means nothing.
#[derive(Debug, Clone)]
pub struct DifferentialDecoder {
    code: LineCode,
    reference: bool,
    /// The last level of the stream so far.
    level: bool,
}

/// Makes levels of the bits of a stream. The level before the first one is 0.
#[derive(Debug, Clone)]
pub struct DifferentialEncoder {
    code: LineCode,
    reference: bool,
    /// The last level of the stream so far.
    level: bool,
}

macro_rules! state_machine {
    ($name:ident, $word:ident, $bit:ident) => {
        impl $name {
            /// A new stream in this code.
            pub fn new(code: LineCode) -> $name {
                $name { code, reference: false, level: false }
            }

            /// The same with the kernel of `isa`: one bit at a time for [`Isa::Scalar`], 64 for all others.
            ///
            /// # Errors
            /// [`IsaUnavailable`] when this machine lacks it.
            pub fn with_isa(code: LineCode, isa: Isa) -> Result<$name, IsaUnavailable> {
                let reference = isa.require()? == Isa::Scalar;
                Ok($name { reference, ..$name::new(code) })
            }

            /// The code.
            pub fn code(&self) -> LineCode {
                self.code
            }

            /// Converts the next octets of the stream, the first bit highest, and appends as many to `output`.
            pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
                let start = output.len();
                output.extend_from_slice(input);
                self.apply(&mut output[start..]);
            }

            /// Converts the next octets of the stream in place.
            pub fn apply(&mut self, octets: &mut [u8]) {
                if self.code == LineCode::NrzL {
                    return;
                }
                if self.reference {
                    return self.apply_bits(octets, 8 * octets.len());
                }
                let (words, rest) = octets.as_chunks_mut::<8>();
                for word in words {
                    *word = self.$word(u64::from_be_bytes(*word)).to_be_bytes();
                }
                self.apply_bits(rest, 8 * rest.len());
            }

            /// Converts the next `count` bits of the stream in place, the first ones of `octets`; the others stay as they
            /// are. For streams and pieces that do not end with an octet.
            ///
            /// # Panics
            /// When `octets` has fewer than `count` bits.
            pub fn apply_bits(&mut self, octets: &mut [u8], count: usize) {
                assert!(count <= 8 * octets.len(), "{count} bits of {} octets", octets.len());
                if self.code == LineCode::NrzL {
                    return;
                }
                let whole = if self.reference { 0 } else { count / 64 * 8 };
                let (words, rest) = octets.split_at_mut(whole);
                if whole > 0 {
                    self.apply(words);
                }
                for k in 0..count - 8 * whole {
                    let (octet, mask) = (&mut rest[k / 8], 0x80 >> (k % 8));
                    let bit = self.$bit(*octet & mask != 0);
                    *octet = (*octet & !mask) | if bit { mask } else { 0 };
                }
            }

            /// A new stream begins: the last level is forgotten.
            pub fn reset(&mut self) {
                self.level = false;
            }
        }
    };
}

state_machine!(DifferentialDecoder, decode_word, decode_bit);
state_machine!(DifferentialEncoder, encode_word, encode_bit);

impl DifferentialDecoder {
    /// Each bit is the difference between its level and the one before.
    fn decode_word(&mut self, levels: u64) -> u64 {
        let before = levels >> 1 | u64::from(self.level) << 63;
        self.level = levels & 1 == 1;
        levels ^ before ^ keeps(self.code)
    }

    fn decode_bit(&mut self, level: bool) -> bool {
        let changed = level != std::mem::replace(&mut self.level, level);
        changed != (self.code == LineCode::NrzS)
    }
}

impl DifferentialEncoder {
    /// Each level is the sum of all changes so far: a prefix sum without carry, in six steps.
    fn encode_word(&mut self, bits: u64) -> u64 {
        let mut levels = bits ^ keeps(self.code);
        for step in [1, 2, 4, 8, 16, 32] {
            levels ^= levels >> step;
        }
        levels ^= if self.level { u64::MAX } else { 0 };
        self.level = levels & 1 == 1;
        levels
    }

    fn encode_bit(&mut self, bit: bool) -> bool {
        self.level ^= bit != (self.code == LineCode::NrzS);
        self.level
    }
}

/// Ones where a 1 keeps the level.
fn keeps(code: LineCode) -> u64 {
    if code == LineCode::NrzS { u64::MAX } else { 0 }
}
