//! Markers among soft symbols, by correlation.
//!
//! With c the correlation with the marker and e the sum of all magnitudes, (e - c)/2 is the confidence of the symbols
//! that disagree; n(e - c)/2e is then how many of the n symbols disagree, each counted by its share of the confidence.
//! Of symbols of equal strength that is the number of wrong bits, whatever the gain of the receiver.

use super::Polarity;
use super::buffer::Window;
use super::marks::PageMarks;
use super::search::{Finder, Sighting};
use super::soft::SoftSyncSpec;
use crate::kernels::{Bitwise, CORRELATE_POSITIONS};

/// How markers are recognised: by their correlation.
#[derive(Debug, Clone)]
pub(super) struct SymbolFinder {
    /// 1 for a marker bit of 0, -1 for a 1.
    signs: Vec<i8>,
    search_bit_errors: u32,
    lock_bit_errors: u32,
    upright: bool,
    complement: bool,
    /// Whether the second half of the marker is the first or its complement, as that of rate 1/6 is: half a marker off its
    /// place, the other way round, half of it agrees without an error.
    halves_alike: bool,
    pub(super) bitwise: Bitwise,
}

impl SymbolFinder {
    pub(super) fn new(spec: &SoftSyncSpec, bitwise: Bitwise) -> SymbolFinder {
        let octets = spec.marker.as_bytes().iter();
        let signs: Vec<i8> =
            octets.flat_map(|octet| (0..8).map(move |i| 1 - 2 * ((octet >> (7 - i)) & 1) as i8)).collect();
        let (first, second) = signs.split_at(signs.len() / 2);
        let halves_alike = first == second || first.iter().zip(second).all(|(a, b)| *a == -*b);
        SymbolFinder {
            halves_alike,
            signs,
            search_bit_errors: spec.search_bit_errors,
            lock_bit_errors: spec.lock_bit_errors,
            upright: spec.polarity != Polarity::Inverted,
            complement: spec.polarity != Polarity::Normal,
            bitwise,
        }
    }

    fn symbols<'w>(&self, window: &Window<'w, i8>, position: u64) -> &'w [i8] {
        let from = window.offset(position);
        &window.units[from..from + self.signs.len()]
    }

    /// Symbols that disagree with the marker, by confidence; half of them where nothing is said at all.
    fn errors(&self, symbols: &[i8]) -> u32 {
        Self::errors_of(symbols, &self.signs)
    }

    fn errors_of(symbols: &[i8], signs: &[i8]) -> u32 {
        let (mut correlation, mut magnitude) = (0i32, 0i32);
        for (symbol, sign) in symbols.iter().zip(signs) {
            let symbol = i32::from(*symbol);
            correlation += symbol * i32::from(*sign);
            magnitude += symbol.abs();
        }
        let bits = signs.len() as i32;
        if magnitude == 0 {
            return bits as u32 / 2;
        }
        // To the nearest: 0 to `bits`.
        ((bits * (magnitude - correlation) + magnitude) / (2 * magnitude)) as u32
    }

    fn judge(&self, symbols: &[i8], position: u64, bit_errors: u32) -> Option<Sighting> {
        let errors = self.errors(symbols);
        let bits = self.signs.len() as u32;
        let sighting = if errors <= bit_errors && self.upright {
            Sighting { position, bit_errors: errors, inverted: false }
        } else if bits - errors <= bit_errors && self.complement {
            Sighting { position, bit_errors: bits - errors, inverted: true }
        } else {
            return None;
        };
        self.is_whole(symbols, &sighting, bit_errors).then_some(sighting)
    }

    /// Whether both halves of a marker agree. Of noise 18 ± 5 symbols of each half of the longest marker disagree where its code
    /// still works; of data under one half 48 ± 5.
    fn is_whole(&self, symbols: &[i8], sighting: &Sighting, bit_errors: u32) -> bool {
        if !self.halves_alike {
            return true;
        }
        let half = self.signs.len() / 2;
        let most = bit_errors * 2 / 3 + 4;
        [0..half, half..2 * half].into_iter().all(|range| {
            let errors = Self::errors_of(&symbols[range.clone()], &self.signs[range]);
            (if sighting.inverted { half as u32 - errors } else { errors }) <= most
        })
    }
}

impl Finder for SymbolFinder {
    type Unit = i8;

    fn errors_at(&self, window: &Window<'_, i8>, position: u64, inverted: bool) -> u32 {
        let errors = self.errors(self.symbols(window, position));
        if inverted { self.signs.len() as u32 - errors } else { errors }
    }

    fn search_sighting(&self, window: &Window<'_, i8>, position: u64) -> Option<Sighting> {
        self.judge(self.symbols(window, position), position, self.search_bit_errors)
    }

    fn lock_sighting(&self, window: &Window<'_, i8>, position: u64) -> Option<Sighting> {
        self.judge(self.symbols(window, position), position, self.lock_bit_errors)
    }

    fn may_hold(&self, _: &Window<'_, i8>, from: u64, to: u64) -> bool {
        // Only correlating says it.
        from < to
    }

    fn marks_lock(&self) -> bool {
        true
    }

    fn mark(
        &self,
        window: &Window<'_, i8>,
        from: u64,
        to: u64,
        page_from: u64,
        marks: &mut PageMarks,
    ) -> bool {
        if from >= to {
            return false;
        }
        let (start, end, bits) = (window.offset(from), window.offset(to), self.signs.len());
        // Twice as far from chance as the worst marker that counts: |c| n >= e (n - 2 errors), a little less for rounding.
        let least = (bits as i32 - 2 * self.lock_bit_errors as i32 - 1).max(0);
        let mut magnitude: i32 =
            window.units[start..start + bits].iter().map(|symbol| i32::from(*symbol).abs()).sum();
        let mut correlations = [0i16; CORRELATE_POSITIONS];
        let mut any = false;
        let mut at = start;
        while at < end {
            let block = &window.units[at..];
            let known = block.len() >= CORRELATE_POSITIONS + bits - 1;
            if known {
                self.bitwise.correlate(
                    &block[..CORRELATE_POSITIONS + bits - 1],
                    &self.signs,
                    &mut correlations,
                );
            }
            for (offset, correlation) in correlations.iter().enumerate().take(end - at) {
                let strong = i32::from(*correlation).abs() * bits as i32 >= magnitude * least;
                if strong || !known {
                    let position = window.position(at + offset);
                    let symbols = &block[offset..offset + bits];
                    // A search allows no more errors than lock does.
                    if let Some(sighting) = self.judge(symbols, position, self.lock_bit_errors) {
                        let place = (position - page_from) as usize;
                        marks.lock.set(place);
                        if sighting.bit_errors <= self.search_bit_errors
                            && self.is_whole(symbols, &sighting, self.search_bit_errors)
                        {
                            marks.search.set(place);
                        }
                        any = true;
                    }
                }
                let entering = block.get(offset + bits).map_or(0, |symbol| i32::from(*symbol).abs());
                magnitude += entering - i32::from(block[offset]).abs();
            }
            at += CORRELATE_POSITIONS;
        }
        any
    }

    fn block<'a>(
        &self,
        window: &Window<'a, i8>,
        from: u64,
        inverted: bool,
        scratch: &'a mut [i8],
    ) -> &'a [i8] {
        let from = window.offset(from);
        let symbols = &window.units[from..from + scratch.len()];
        if !inverted {
            return symbols;
        }
        for (out, symbol) in scratch.iter_mut().zip(symbols) {
            *out = symbol.saturating_neg();
        }
        scratch
    }
}
