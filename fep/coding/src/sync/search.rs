//! What the tracker asks of a stream: where its markers are, and what lies behind them.

use super::buffer::{Unit, Window};
use super::marks::PageMarks;

/// A marker that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) position: u64,
    pub(super) bit_errors: u32,
    pub(super) inverted: bool,
}

/// Recognises markers in one kind of stream, and cuts blocks out of it.
///
/// Where a method takes a position, the caller makes sure that the marker there lies whole in `window`.
pub(super) trait Finder {
    /// What the stream is delivered in.
    type Unit: Unit;

    /// Bits in which the stream at `position` differs from the marker, or from its complement.
    fn errors_at(&self, window: &Window<'_, Self::Unit>, position: u64, inverted: bool) -> u32;

    /// The marker at `position` if it has at most as many errors as a search allows.
    fn search_sighting(&self, window: &Window<'_, Self::Unit>, position: u64) -> Option<Sighting>;

    /// The marker at `position` if it has at most as many errors as lock allows.
    fn lock_sighting(&self, window: &Window<'_, Self::Unit>, position: u64) -> Option<Sighting>;

    /// A quick look whether a search may find a marker that starts in `from..to`, at most a page. Never misses one.
    fn may_hold(&self, window: &Window<'_, Self::Unit>, from: u64, to: u64) -> bool;

    /// Whether [`Finder::mark`] marks what lock allows too.
    fn marks_lock(&self) -> bool;

    /// Marks every position of `from..to` that holds a marker, in the bitmaps of the page that starts at `page_from`.
    /// Returns whether there was one.
    fn mark(
        &self,
        window: &Window<'_, Self::Unit>,
        from: u64,
        to: u64,
        page_from: u64,
        marks: &mut PageMarks,
    ) -> bool;

    /// The block at `from`, of the length of `scratch`, upright; lies whole in `window`.
    fn block<'a>(
        &self,
        window: &Window<'a, Self::Unit>,
        from: u64,
        inverted: bool,
        scratch: &'a mut [Self::Unit],
    ) -> &'a [Self::Unit];
}
