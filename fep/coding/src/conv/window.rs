//! One window: its shape, the quantiser, and who decodes it.

#[cfg(target_arch = "x86_64")]
use super::lanes::Lanes64;
use super::reference::Reference;
use crate::isa::{Isa, IsaUnavailable};

/// The largest quantised magnitude: the cost of a wrong symbol at most.
pub(super) const QUANTISED_MAX: i16 = 15;
/// Where the quantiser puts the mean magnitude of a window.
const QUANTISED_MEAN: u32 = 7;
/// Windows that are decoded in one call at most.
pub(super) const BATCH: usize = 64;

/// The shape of a window, in bits. A window's symbols are pairs, C1 and C2 of each bit, 0 where none was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bits decoded: a multiple of 64.
    pub(super) payload: usize,
    /// Bits before and behind that take part: a multiple of 16.
    pub(super) overlap: usize,
}

impl Shape {
    /// Bits from the first to the last that takes part.
    pub(super) const fn span(self) -> usize {
        self.payload + 2 * self.overlap
    }

    /// Words of 64 decoded bits.
    pub(super) const fn words(self) -> usize {
        self.payload / 64
    }
}

/// What encoding a window's decoded bits again says of its received symbols (those of the payload, erasures left out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) compared: u32,
    pub(super) wrong: u32,
}

/// Decodes windows with the kernels of one instruction set.
#[derive(Debug)]
pub(super) struct WindowDecoder {
    shape: Shape,
    kernel: Kernel,
}

#[derive(Debug)]
enum Kernel {
    Reference(Reference),
    #[cfg(target_arch = "x86_64")]
    Lanes(Box<Lanes64>),
}

impl WindowDecoder {
    /// # Errors
    /// [`IsaUnavailable`] if this machine lacks `isa`.
    pub(super) fn new(shape: Shape, isa: Isa) -> Result<WindowDecoder, IsaUnavailable> {
        assert!(shape.payload.is_multiple_of(64) && shape.overlap.is_multiple_of(16), "{shape:?}");
        let kernel = match isa.require()? {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => Kernel::Lanes(Box::new(Lanes64::new(shape, isa)?)),
            _ => Kernel::Reference(Reference::new(shape)),
        };
        Ok(WindowDecoder { shape, kernel })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Decodes `tallies.len()` windows, 64 at most: window k is the `2 span` symbols at `pairs[k * stride..]`, its bits
    /// become the words at `words[k * payload / 64..]`, the earliest bit highest.
    pub(super) fn decode(&mut self, pairs: &[i8], stride: usize, words: &mut [u64], tallies: &mut [Tally]) {
        assert!(tallies.len() <= BATCH && words.len() == tallies.len() * self.shape.words());
        match &mut self.kernel {
            Kernel::Reference(reference) => {
                let words = words.chunks_exact_mut(self.shape.words());
                for (k, (words, tally)) in words.zip(tallies).enumerate() {
                    *tally = reference.decode(&pairs[k * stride..][..2 * self.shape.span()], words);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Lanes(lanes) => lanes.decode(pairs, stride, words, tallies),
        }
    }
}

/// Quantises the symbols of a window to -15..=15, in two's complement; only an erasure becomes 0. Magnitudes are rounded
/// up, so that the hard decision of a weak symbol survives. Returns how many symbols of the payload are no erasures.
#[inline(always)]
pub(super) fn quantise(shape: Shape, window: &[i8], quantised: &mut [u8]) -> u32 {
    let (before, rest) = window.split_at(2 * shape.overlap);
    let (payload, behind) = rest.split_at(2 * shape.payload);
    let ((sum_before, count_before), (sum_behind, count_behind)) =
        (sum_and_count(before), sum_and_count(behind));
    let (sum, present) = sum_and_count(payload);
    let (sum, count) = (sum + sum_before + sum_behind, present + count_before + count_behind);
    // In 128ths; the most that products of 16 bits hold.
    let scale = ((128 * QUANTISED_MEAN * count + sum / 2) / sum.max(1)).min(255) as i16;
    for (out, symbol) in quantised.iter_mut().zip(window) {
        let magnitude = ((i16::from(*symbol).abs() * scale + 127) >> 7).min(QUANTISED_MAX);
        let sign = i16::from(*symbol) >> 15;
        *out = ((magnitude ^ sign) - sign) as u8;
    }
    present
}

/// The sum of the magnitudes, and how many symbols are no erasures.
#[inline(always)]
fn sum_and_count(symbols: &[i8]) -> (u32, u32) {
    let (mut sum, mut count) = (0, 0);
    // Short pieces, so that the sums fit narrow lanes.
    for piece in symbols.chunks(128) {
        let (mut magnitudes, mut present) = (0u16, 0u8);
        for symbol in piece {
            magnitudes += u16::from(symbol.unsigned_abs());
            present += (*symbol != 0) as u8;
        }
        sum += u32::from(magnitudes);
        count += u32::from(present);
    }
    (sum, count)
}
