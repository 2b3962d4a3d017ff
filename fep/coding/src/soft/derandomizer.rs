//! The randomiser on soft symbols: where its sequence has a 1, the sign is turned.

use crate::randomizer::Randomizer;

/// Takes a randomiser off blocks of soft symbols (or puts it on).
///
/// ```
/// use fep_coding::Randomizer;
/// use fep_coding::soft::SoftDerandomizer;
/// let mut symbols = [3, -4, 5, 0, 1, 1, 1, 1, 7, 7];
/// SoftDerandomizer::new(Randomizer::Legacy255, 10).apply(&mut symbols);
/// assert_eq!(symbols, [-3, 4, -5, 0, -1, -1, -1, -1, 7, -7]); // the sequence begins with FF 48
/// ```
#[derive(Debug, Clone)]
pub struct SoftDerandomizer {
    /// 0 or -1 for each symbol; empty for no randomiser.
    masks: Vec<i8>,
    len: usize,
}

impl SoftDerandomizer {
    /// A randomiser for blocks of up to `len` symbols.
    pub fn new(randomizer: Randomizer, len: usize) -> SoftDerandomizer {
        let mut masks = Vec::new();
        if randomizer != Randomizer::None {
            let octets = randomizer.sequence(len.div_ceil(8));
            masks.extend(
                octets.iter().flat_map(|octet| (0..8).map(move |i| -(((octet >> (7 - i)) & 1) as i8))),
            );
            masks.truncate(len);
        }
        SoftDerandomizer { masks, len }
    }

    /// Turns the signs of a block in place. -128, which no [`crate::soft::Unpacker`] gives, becomes 127.
    ///
    /// # Panics
    /// When `symbols` is longer than the `len` of the constructor.
    pub fn apply(&self, symbols: &mut [i8]) {
        assert!(
            symbols.len() <= self.len,
            "block of {} symbols, randomiser made for {}",
            symbols.len(),
            self.len
        );
        for (symbol, mask) in symbols.iter_mut().zip(&self.masks) {
            *symbol = (*symbol ^ mask).saturating_sub(*mask);
        }
    }

    /// Copies a block, turning its signs on the way.
    ///
    /// # Panics
    /// When the lengths differ, or exceed the `len` of the constructor.
    pub fn apply_to(&self, src: &[i8], dst: &mut [i8]) {
        assert_eq!(src.len(), dst.len(), "source and destination must be one block each");
        assert!(src.len() <= self.len, "block of {} symbols, randomiser made for {}", src.len(), self.len);
        if self.masks.is_empty() {
            return dst.copy_from_slice(src);
        }
        for ((out, symbol), mask) in dst.iter_mut().zip(src).zip(&self.masks) {
            *out = (*symbol ^ mask).saturating_sub(*mask);
        }
    }
}
