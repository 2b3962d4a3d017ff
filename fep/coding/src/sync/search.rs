//! The search for a marker at every bit position.

use super::buffer::Window;
use super::marker::MarkerWords;
use super::{Polarity, SyncSpec};
use crate::kernels::{Bitwise, MarkerPattern, SCAN_OCTETS, SCAN_OVERREAD};

/// How markers are recognised.
#[derive(Debug, Clone)]
pub(super) struct MarkerFinder {
    words: MarkerWords,
    bits: u32,
    search_bit_errors: u32,
    pattern: MarkerPattern,
    pub(super) bitwise: Bitwise,
}

/// A marker that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) position: u64,
    pub(super) bit_errors: u32,
    pub(super) inverted: bool,
}

impl MarkerFinder {
    pub(super) fn new(spec: &SyncSpec, bitwise: Bitwise) -> MarkerFinder {
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&spec.marker.as_bytes()[..4]);
        MarkerFinder {
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

    /// Bits in which the stream at `position` differs from the marker, or from its complement.
    #[inline]
    pub(super) fn errors_at(&self, window: &Window<'_>, position: u64, inverted: bool) -> u32 {
        let errors = self.words.errors_at(window.octets, window.bit(position));
        if inverted { self.bits - errors } else { errors }
    }

    /// The marker at `position` if it has at most `bit_errors` errors. The caller makes sure that it lies whole in
    /// `window`.
    #[inline]
    pub(super) fn sighting(&self, window: &Window<'_>, position: u64, bit_errors: u32) -> Option<Sighting> {
        let errors = self.words.errors_at(window.octets, window.bit(position));
        if errors <= bit_errors && self.pattern.upright {
            Some(Sighting { position, bit_errors: errors, inverted: false })
        } else if self.bits - errors <= bit_errors && self.pattern.complement {
            Some(Sighting { position, bit_errors: self.bits - errors, inverted: true })
        } else {
            None
        }
    }

    /// The first marker at `from` or later that starts before `to` with at most `search_bit_errors` errors. The marker
    /// at `to - 1` lies whole in `window`.
    pub(super) fn first(&self, window: &Window<'_>, from: u64, to: u64) -> Option<Sighting> {
        if from >= to {
            return None;
        }
        let (start, end) = (window.bit(from), window.bit(to));
        let mut octet = start / 8;
        while 8 * octet < end {
            let alignments = self.scan(&window.octets[octet..]);
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

    /// The best marker near `due` but not at it: within `window_bits`, at most `bit_errors` errors; fewest errors first,
    /// then nearest, then earliest. Only markers that lie whole in `window` and start at `not_before` or later.
    pub(super) fn slipped(
        &self,
        window: &Window<'_>,
        due: u64,
        window_bits: u32,
        bit_errors: u32,
        not_before: u64,
    ) -> Option<Sighting> {
        let last = window.end_bit().checked_sub(u64::from(self.bits))?;
        let offsets = (1..=u64::from(window_bits)).flat_map(|k| [due.checked_sub(k), Some(due + k)]);
        let places = offsets.flatten().filter(|&position| position >= not_before && position <= last);
        // min_by_key keeps the first of equals: the nearest, the earlier of two.
        places
            .filter_map(|position| self.sighting(window, position, bit_errors))
            .min_by_key(|sighting| sighting.bit_errors)
    }
}
