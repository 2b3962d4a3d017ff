//! Soft symbols: what a demodulator says of a received bit, with its confidence.
//!
//! Inside this crate a soft symbol is an `i8`: positive speaks for a 0, negative for a 1, 0 says nothing (an erasure or a
//! punctured place), the magnitude is the confidence. Decoders compare and add; any common scale will do for them unless
//! their own page says otherwise.
//!
//! | what | |
//! |---|---|
//! | [`SoftFormat`] | how soft symbols lie in the octets of a station link: 8, 4 or 1 bit each, 16 bits, floating point |
//! | [`Unpacker`], [`Packer`] | from those octets to symbols and back, in pieces of any length |
//! | [`SoftSync`] | finds blocks by their markers among soft symbols, far below the noise where bits are no use |
//! | [`SoftDerandomizer`] | takes the randomiser off: sign flips |
//! | [`SoftVerdict`] | what a decoder found in one block |
//!
//! Not here: the decoders, which have modules of their own, and what a block means.

mod derandomizer;
mod format;
mod packing;
mod wide;

use serde::{Deserialize, Serialize};

pub use crate::sync::{SoftBlock, SoftSync, SoftSyncSpec, SoftSyncSpecError};
pub use derandomizer::SoftDerandomizer;
pub use format::{
    FirstSymbol, LEVEL_1_BIT, LEVEL_4_BIT, PositiveMeans, SoftFormat, SoftFormatError, SymbolBits,
    SymbolCoding, WordOctets,
};
pub use packing::{Packer, Unpacker};
pub use wide::SymbolScale;

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

/// Appends the first `count` bits of `packed` (the most significant of each octet first) to `symbols` as soft symbols of
/// one confidence: `amplitude` for a 0, `-amplitude` for a 1.
pub fn from_hard(packed: &[u8], count: usize, amplitude: i8, symbols: &mut Vec<i8>) {
    let start = symbols.len();
    symbols.resize(start + 8 * packed.len(), 0);
    for (eight, octet) in symbols[start..].as_chunks_mut::<8>().0.iter_mut().zip(packed) {
        for (i, symbol) in eight.iter_mut().enumerate() {
            *symbol = if octet << i & 0x80 == 0 { amplitude } else { amplitude.saturating_neg() };
        }
    }
    symbols.truncate(start + count);
}
