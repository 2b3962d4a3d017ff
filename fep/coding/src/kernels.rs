//! Bulk work shared by the synchronisers and the randomisers: xor, bit-shifted copy, marker scan, marker correlation.
//!
//! Each kernel is one plain loop, written so that the compiler vectorises it, and compiled once for every instruction
//! set (`kernels/x86.rs`); no intrinsic, hence no second algorithm to keep equal. What is chosen at run time is which
//! compilation runs.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::isa::{Isa, IsaUnavailable};

pub(crate) use portable::{CORRELATE_POSITIONS, MarkerPattern, SCAN_OCTETS, SCAN_OVERREAD};

/// The bulk kernels of one instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bitwise {
    /// Invariant: available on this machine (`with_isa` checks; the x86 calls rely on it).
    isa: Isa,
}

impl Bitwise {
    pub(crate) fn best() -> Bitwise {
        Bitwise { isa: Isa::best() }
    }

    pub(crate) fn with_isa(isa: Isa) -> Result<Bitwise, IsaUnavailable> {
        Ok(Bitwise { isa: isa.require()? })
    }

    /// `data[i] ^= mask[i]`; the lengths are equal.
    #[inline]
    pub(crate) fn xor_in_place(self, data: &mut [u8], mask: &[u8]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::xor_in_place(data, mask),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::xor_in_place(data, mask),
            _ => portable::xor_in_place(data, mask),
        }
    }

    /// `dst[i] = src[i] ^ mask[i]`; the lengths are equal.
    #[inline]
    pub(crate) fn xor_to(self, src: &[u8], mask: &[u8], dst: &mut [u8]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::xor_to(src, mask, dst),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::xor_to(src, mask, dst),
            _ => portable::xor_to(src, mask, dst),
        }
    }

    /// Copies `8 * dst.len()` bits of `src`, from bit `shift` (0..=7) of its first octet on, xor-ing every octet with
    /// `flip` (0x00, or 0xFF to complement). `src` has one octet more than `dst` unless `shift` is 0.
    #[inline]
    pub(crate) fn shift_to(self, src: &[u8], shift: u32, flip: u8, dst: &mut [u8]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::shift_to(src, shift, flip, dst),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::shift_to(src, shift, flip, dst),
            _ => portable::shift_to(src, shift, flip, dst),
        }
    }

    /// Of the first [`SCAN_OCTETS`] octets of `window`, which alignments (bit k: a bit offset of k within some octet)
    /// can hold the start of the marker; never misses one, may name one in vain. `window` has
    /// `SCAN_OCTETS + SCAN_OVERREAD` octets.
    #[inline]
    pub(crate) fn scan(self, window: &[u8; SCAN_OCTETS + SCAN_OVERREAD], pattern: &MarkerPattern) -> u8 {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::scan(window, pattern),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::scan(window, pattern),
            _ => portable::scan(window, pattern),
        }
    }

    /// Which bit positions of the first [`SCAN_OCTETS`] octets of `window` hold the first 32 bits of the marker, with the
    /// errors of a search and with those of lock: position k of an octet in bit k of its place in `search` and `lock`.
    #[inline]
    pub(crate) fn mark(
        self,
        window: &[u8; SCAN_OCTETS + SCAN_OVERREAD],
        pattern: &MarkerPattern,
        search: &mut [u8; SCAN_OCTETS],
        lock: &mut [u8; SCAN_OCTETS],
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::mark(window, pattern, search, lock),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::mark(window, pattern, search, lock),
            _ => portable::mark(window, pattern, search, lock),
        }
    }

    /// The correlation of a marker (`signs`, each 1 or -1, at most 256) with `symbols` from each of the first
    /// [`CORRELATE_POSITIONS`] on; there are `CORRELATE_POSITIONS + signs.len() - 1` symbols.
    #[inline]
    pub(crate) fn correlate(
        self,
        symbols: &[i8],
        signs: &[i8],
        correlations: &mut [i16; CORRELATE_POSITIONS],
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::correlate(symbols, signs, correlations),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::correlate(symbols, signs, correlations),
            _ => portable::correlate(symbols, signs, correlations),
        }
    }
}
