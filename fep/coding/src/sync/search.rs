//! What the tracker asks of a stream: where its markers are, and what lies behind them.

use super::buffer::{Unit, Window};

/// A marker that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) position: u64,
    pub(super) bit_errors: u32,
    pub(super) inverted: bool,
}

/// Recognises markers in one kind of stream, and cuts blocks out of it.
pub(super) trait Finder {
    /// What the stream is delivered in.
    type Unit: Unit;

    /// Bits in which the stream at `position` differs from the marker, or from its complement.
    fn errors_at(&self, window: &Window<'_, Self::Unit>, position: u64, inverted: bool) -> u32;

    /// The marker at `position` if it has at most `bit_errors` errors. The caller makes sure that it lies whole in
    /// `window`.
    fn sighting(&self, window: &Window<'_, Self::Unit>, position: u64, bit_errors: u32) -> Option<Sighting>;

    /// The first marker at `from` or later that starts before `to` with at most as many errors as a search allows. The
    /// marker at `to - 1` lies whole in `window`.
    fn first(&self, window: &Window<'_, Self::Unit>, from: u64, to: u64) -> Option<Sighting>;

    /// The block at `from`, of the length of `scratch`, upright; lies whole in `window`.
    fn block<'a>(
        &self,
        window: &Window<'a, Self::Unit>,
        from: u64,
        inverted: bool,
        scratch: &'a mut [Self::Unit],
    ) -> &'a [Self::Unit];

    /// The best marker near `due` but not at it: at most `reach` away, at most `bit_errors` errors; fewest errors first,
    /// then nearest, then earliest. Only markers that start between `not_before` and `last`.
    fn slipped(
        &self,
        window: &Window<'_, Self::Unit>,
        due: u64,
        reach: u32,
        bit_errors: u32,
        (not_before, last): (u64, u64),
    ) -> Option<Sighting> {
        let offsets = (1..=u64::from(reach)).flat_map(|k| [due.checked_sub(k), Some(due + k)]);
        let places = offsets.flatten().filter(|&position| position >= not_before && position <= last);
        // min_by_key keeps the first of equals: the nearest, the earlier of two.
        places
            .filter_map(|position| self.sighting(window, position, bit_errors))
            .min_by_key(|sighting| sighting.bit_errors)
    }
}
