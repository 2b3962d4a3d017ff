//! Markers among hard bits, at every bit position.

use super::buffer::Window;
use super::marker::MarkerWords;
use super::search::{Finder, Sighting};
use super::{Polarity, SyncSpec};
use crate::kernels::{Bitwise, MarkerPattern, SCAN_OCTETS, SCAN_OVERREAD};

/// How markers are recognised: by their wrong bits.
#[derive(Debug, Clone)]
pub(super) struct BitFinder {
    words: MarkerWords,
    bits: u32,
    search_bit_errors: u32,
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
            pattern: MarkerPattern {
                prefix,
                // An eighth of the marker at most: far below the 31 that the scan's arithmetic can stand.
                bit_errors: spec.search_bit_errors as u8,
                upright: spec.polarity != Polarity::Inverted,
                complement: spec.polarity != Polarity::Normal,
            },
            bitwise,
        }
    }

    /// Scans the first [`SCAN_OCTETS`] octets, as if zeros followed the last one.
    fn scan(&self, octets: &[u8]) -> u8 {
        match octets.first_chunk::<{ SCAN_OCTETS + SCAN_OVERREAD }>() {
            Some(window) => self.bitwise.scan(window, &self.pattern),
            None => {
                let mut padded = [0; SCAN_OCTETS + SCAN_OVERREAD];
                padded[..octets.len()].copy_from_slice(octets);
                self.bitwise.scan(&padded, &self.pattern)
            }
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

    fn first(&self, window: &Window<'_, u8>, from: u64, to: u64) -> Option<Sighting> {
        if from >= to {
            return None;
        }
        let (start, end) = (window.offset(from), window.offset(to));
        let mut octet = start / 8;
        while 8 * octet < end {
            let alignments = self.scan(&window.units[octet..]);
            if alignments != 0 {
                let bits = start.max(8 * octet)..end.min(8 * (octet + SCAN_OCTETS));
                let candidates = bits.filter(|bit| alignments & (1 << (bit % 8)) != 0);
                let mut sightings = candidates
                    .filter_map(|bit| self.sighting(window, window.position(bit), self.search_bit_errors));
                if let Some(first) = sightings.next() {
                    return Some(first);
                }
            }
            octet += SCAN_OCTETS;
        }
        None
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
