//! Markers among hard bits, at every bit position.

use super::buffer::Window;
use super::marker::MarkerWords;
use super::marks::PageMarks;
use super::search::{Finder, Sighting};
use super::{Polarity, SyncSpec};
use crate::kernels::{Bitwise, MarkerPattern, SCAN_OCTETS, SCAN_OVERREAD};

/// Up to so many errors the first 32 bits of a marker are a sieve: one position in a hundred of noise passes.
const SIEVE_ERRORS: u32 = 9;

/// How markers are recognised: by their wrong bits.
#[derive(Debug, Clone)]
pub(super) struct BitFinder {
    words: MarkerWords,
    bits: u32,
    search_bit_errors: u32,
    lock_bit_errors: u32,
    pattern: MarkerPattern,
    pub(super) bitwise: Bitwise,
}

impl BitFinder {
    pub(super) fn new(spec: &SyncSpec, bitwise: Bitwise) -> BitFinder {
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&spec.marker.as_bytes()[..4]);
        BitFinder {
            words: MarkerWords::new(&spec.marker),
            bits: spec.marker.bits(),
            search_bit_errors: spec.search_bit_errors,
            lock_bit_errors: spec.lock_bit_errors,
            pattern: MarkerPattern {
                prefix,
                // An eighth of the marker at most: far below the 31 that the scan's arithmetic can stand.
                bit_errors: spec.search_bit_errors as u8,
                lock_bit_errors: spec.lock_bit_errors.min(SIEVE_ERRORS) as u8,
                upright: spec.polarity != Polarity::Inverted,
                complement: spec.polarity != Polarity::Normal,
            },
            bitwise,
        }
    }

    #[inline]
    fn sighting(&self, window: &Window<'_, u8>, position: u64, bit_errors: u32) -> Option<Sighting> {
        let errors = self.words.errors_at(window.units, window.offset(position));
        if errors <= bit_errors && self.pattern.upright {
            Some(Sighting { position, bit_errors: errors, inverted: false })
        } else if self.bits - errors <= bit_errors && self.pattern.complement {
            Some(Sighting { position, bit_errors: self.bits - errors, inverted: true })
        } else {
            None
        }
    }
}

/// The octets from `octet` on that one scan takes, as if zeros followed the last one.
#[inline]
fn scanned<R>(octets: &[u8], octet: usize, scan: impl FnOnce(&[u8; SCAN_OCTETS + SCAN_OVERREAD]) -> R) -> R {
    let octets = &octets[octet..];
    match octets.first_chunk::<{ SCAN_OCTETS + SCAN_OVERREAD }>() {
        Some(window) => scan(window),
        None => {
            let mut padded = [0; SCAN_OCTETS + SCAN_OVERREAD];
            padded[..octets.len()].copy_from_slice(octets);
            scan(&padded)
        }
    }
}

impl Finder for BitFinder {
    type Unit = u8;

    #[inline]
    fn errors_at(&self, window: &Window<'_, u8>, position: u64, inverted: bool) -> u32 {
        let errors = self.words.errors_at(window.units, window.offset(position));
        if inverted { self.bits - errors } else { errors }
    }

    #[inline]
    fn search_sighting(&self, window: &Window<'_, u8>, position: u64) -> Option<Sighting> {
        self.sighting(window, position, self.search_bit_errors)
    }

    #[inline]
    fn lock_sighting(&self, window: &Window<'_, u8>, position: u64) -> Option<Sighting> {
        self.sighting(window, position, self.lock_bit_errors)
    }

    fn may_hold(&self, window: &Window<'_, u8>, from: u64, to: u64) -> bool {
        from < to
            && scanned(window.units, window.offset(from) / 8, |octets| {
                self.bitwise.scan(octets, &self.pattern)
            }) != 0
    }

    fn marks_lock(&self) -> bool {
        self.lock_bit_errors <= SIEVE_ERRORS
    }

    fn mark(
        &self,
        window: &Window<'_, u8>,
        from: u64,
        to: u64,
        page_from: u64,
        marks: &mut PageMarks,
    ) -> bool {
        if from >= to {
            return false;
        }
        let (mut search, mut lock) = ([0; SCAN_OCTETS], [0; SCAN_OCTETS]);
        scanned(window.units, window.offset(from) / 8, |octets| {
            self.bitwise.mark(octets, &self.pattern, &mut search, &mut lock);
        });
        // Pages start with an octet.
        let place = ((from - page_from) / 8) as usize;
        let mut any = false;
        for (hits, bitmap, bit_errors) in [
            (&search, &mut marks.search, self.search_bit_errors),
            (&lock, &mut marks.lock, self.lock_bit_errors),
        ] {
            let (words, _) = hits.as_chunks::<8>();
            let words = words.iter().map(|octets| u64::from_le_bytes(*octets)).enumerate();
            for (k, mut bits) in words.filter(|(_, bits)| *bits != 0) {
                while bits != 0 {
                    let offset = 8 * place + 64 * k + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let position = page_from + offset as u64;
                    // The first 32 bits of a longer marker are only a sieve.
                    if (from..to).contains(&position)
                        && (self.bits == 32 || self.sighting(window, position, bit_errors).is_some())
                    {
                        bitmap.set(offset);
                        any = true;
                    }
                }
            }
        }
        any
    }

    #[inline]
    fn block<'a>(
        &self,
        window: &Window<'a, u8>,
        from: u64,
        inverted: bool,
        scratch: &'a mut [u8],
    ) -> &'a [u8] {
        let bit = window.offset(from);
        let (octet, shift, len) = (bit / 8, (bit % 8) as u32, scratch.len());
        if shift == 0 && !inverted {
            return &window.units[octet..octet + len];
        }
        let source = &window.units[octet..octet + len + usize::from(shift != 0)];
        self.bitwise.shift_to(source, shift, if inverted { 0xFF } else { 0 }, scratch);
        scratch
    }
}
