//! Where the bits that a receiver gave came from.

use std::collections::VecDeque;

use super::spec::ConvSpec;

/// Locks whose places are kept. A lock lasts some hundred bits at least and in practice thousands, so this reaches back over
/// more data than a frame synchroniser behind the receiver holds.
const PIECES_MAX: usize = 1024;

/// The map from bits of the output to symbols of the input, one piece for each lock.
#[derive(Debug, Default)]
pub(super) struct BitPlaces {
    pieces: VecDeque<Piece>,
}

/// The bits of one lock: bit `bit` of the output was decoded from symbol `symbol` of the input on.
#[derive(Debug, Clone, Copy)]
struct Piece {
    bit: u64,
    symbol: u64,
}

impl BitPlaces {
    /// From bit `bit` on, decoding starts with symbol `symbol`, the first of a puncture period.
    pub(super) fn begin(&mut self, bit: u64, symbol: u64) {
        if self.pieces.back().is_some_and(|last| last.bit == bit) {
            // No bit was given in between.
            self.pieces.pop_back();
        } else if self.pieces.len() == PIECES_MAX {
            self.pieces.pop_front();
        }
        self.pieces.push_back(Piece { bit, symbol });
    }

    /// The first symbol of `bit`; `None` if it comes before the oldest piece kept.
    pub(super) fn symbol_of(&self, bit: u64, spec: &ConvSpec) -> Option<u64> {
        let behind = self.pieces.partition_point(|piece| piece.bit <= bit);
        let piece = self.pieces.get(behind.checked_sub(1)?)?;
        Some(piece.symbol + spec.first_symbol(bit - piece.bit))
    }

    /// A new stream begins.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }
}
