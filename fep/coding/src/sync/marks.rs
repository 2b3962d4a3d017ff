//! Where markers are, remembered: a bit for every position of the stream, page by page, computed once.
//!
//! In a stream that is dense with markers the tracker asks for the same positions again and again, from every candidate
//! anew. With these pages each position is judged once, so that no input is much slower than the search of noise.

use super::buffer::Window;
use super::search::{Finder, Sighting};

/// Positions of a page. Whole octets of hard bits, as many as one call of the scan looks at.
pub(super) const PAGE_POSITIONS: u64 = 2048;
const WORDS: usize = PAGE_POSITIONS as usize / 64;
/// Most pages that are remembered, some 2 MiB.
const PAGES_MAX: usize = 4096;
/// The number of no page.
const NONE: u64 = u64::MAX;

/// Which positions of a page hold a marker, the first position in the lowest bit of the first word.
#[derive(Debug, Clone)]
pub(super) struct Bitmap(pub(super) [u64; WORDS]);

/// The markers of one page.
#[derive(Debug, Clone)]
pub(super) struct PageMarks {
    /// Those with as few errors as a search allows.
    pub(super) search: Bitmap,
    /// Those with as few errors as lock allows, where the finder marks them.
    pub(super) lock: Bitmap,
}

#[derive(Debug, Clone)]
struct Page {
    number: u64,
    /// Every position before this one, from where it can still be asked for, is judged for a search.
    search_to: u64,
    /// The same for lock.
    lock_to: u64,
    is_blank: bool,
    marks: PageMarks,
}

/// A finder with a memory.
#[derive(Debug, Clone)]
pub(super) struct Marks<F> {
    finder: F,
    marker_bits: u64,
    /// As many as a power of two.
    pages: Vec<Page>,
    /// Whether the pages that can be asked for at one time may be more than are remembered.
    is_crowded: bool,
    /// The page judged last held markers: the next one likely does.
    is_dense: bool,
}

/// With which errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tolerance {
    Search,
    Lock,
}

impl<F: Finder> Marks<F> {
    /// Positions up to `span` apart are asked for at one time.
    pub(super) fn new(finder: F, marker_bits: u64, span: u64) -> Marks<F> {
        let needed = usize::try_from(span / PAGE_POSITIONS).map_or(PAGES_MAX, |pages| pages + 2);
        let count = needed.next_power_of_two().min(PAGES_MAX);
        let blank = Bitmap([0; WORDS]);
        let marks = PageMarks { search: blank.clone(), lock: blank };
        let page = Page { number: NONE, search_to: 0, lock_to: 0, is_blank: true, marks };
        let pages = vec![page; count];
        Marks { finder, marker_bits, pages, is_crowded: needed > count, is_dense: false }
    }

    pub(super) fn finder(&self) -> &F {
        &self.finder
    }

    pub(super) fn finder_mut(&mut self) -> &mut F {
        &mut self.finder
    }

    /// A new stream begins.
    pub(super) fn reset(&mut self) {
        self.pages.iter_mut().for_each(|page| page.number = NONE);
        self.is_dense = false;
    }

    /// The first marker at `from` or later that starts before `to` with at most as many errors as a search allows. The
    /// marker at `to - 1` lies whole in `window`.
    #[inline]
    pub(super) fn next_search(&mut self, window: &Window<'_, F::Unit>, from: u64, to: u64) -> Option<u64> {
        self.next(Tolerance::Search, window, from, to)
    }

    /// The best marker near `due` but not at it: at most `reach` away, with at most as many errors as lock allows; fewest
    /// errors first, then nearest, then earliest. Only markers that start between `not_before` and `last`.
    pub(super) fn slipped(
        &mut self,
        window: &Window<'_, F::Unit>,
        due: u64,
        reach: u64,
        (not_before, last): (u64, u64),
    ) -> Option<Sighting> {
        let mut best: Option<Sighting> = None;
        let (mut at, to) = (not_before.max(due.saturating_sub(reach)), (due + reach).min(last) + 1);
        while let Some(position) = self.next_lock(window, at, to) {
            let sighting = (position != due).then(|| self.finder.lock_sighting(window, position)).flatten();
            let rank = |sighting: &Sighting| {
                (sighting.bit_errors, sighting.position.abs_diff(due), sighting.position)
            };
            if let Some(sighting) = sighting
                && best.is_none_or(|best| rank(&sighting) < rank(&best))
            {
                best = Some(sighting);
            }
            at = position + 1;
        }
        best
    }

    /// The first position at `from` or later and before `to` that holds a marker with as few errors as lock allows, or
    /// may hold one where the finder does not mark these.
    #[inline]
    pub(super) fn next_lock(&mut self, window: &Window<'_, F::Unit>, from: u64, to: u64) -> Option<u64> {
        if self.finder.marks_lock() {
            return self.next(Tolerance::Lock, window, from, to);
        }
        (from..to).find(|&position| self.finder.lock_sighting(window, position).is_some())
    }

    #[inline]
    fn next(
        &mut self,
        tolerance: Tolerance,
        window: &Window<'_, F::Unit>,
        from: u64,
        to: u64,
    ) -> Option<u64> {
        let mut at = from;
        while at < to {
            let page_from = at / PAGE_POSITIONS * PAGE_POSITIONS;
            let page_to = page_from + PAGE_POSITIONS;
            let page = self.page(tolerance, window, page_from, to.min(page_to));
            if !page.is_blank {
                let bitmap = match tolerance {
                    Tolerance::Search => &page.marks.search,
                    Tolerance::Lock => &page.marks.lock,
                };
                if let Some(offset) =
                    bitmap.next((at - page_from) as usize, (to.min(page_to) - page_from) as usize)
                {
                    return Some(page_from + offset as u64);
                }
            }
            at = page_to;
        }
        None
    }

    /// The page that starts at `page_from`, judged at least up to `to`.
    #[inline]
    fn page(&mut self, tolerance: Tolerance, window: &Window<'_, F::Unit>, page_from: u64, to: u64) -> &Page {
        let number = page_from / PAGE_POSITIONS;
        let slot = self.slot(number);
        let page = &self.pages[slot];
        let judged_to = match tolerance {
            Tolerance::Search => page.search_to,
            Tolerance::Lock => page.lock_to,
        };
        if page.number != number || judged_to < to {
            self.judge(slot, tolerance, window, page_from);
        }
        &self.pages[slot]
    }

    fn slot(&self, number: u64) -> usize {
        // Pages one period apart are asked for together: where not all fit, they are spread.
        let key = if self.is_crowded { number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 } else { number };
        key as usize & (self.pages.len() - 1)
    }

    /// Judges what has come of a page.
    #[inline(never)]
    fn judge(&mut self, slot: usize, tolerance: Tolerance, window: &Window<'_, F::Unit>, page_from: u64) {
        let page = &mut self.pages[slot];
        let number = page_from / PAGE_POSITIONS;
        if page.number != number {
            if !page.is_blank {
                page.marks.search.0.fill(0);
                page.marks.lock.0.fill(0);
                page.is_blank = true;
            }
            // What lies before the window is not asked for any more.
            let from = page_from.max(window.from());
            (page.number, page.search_to, page.lock_to) = (number, from, from);
        }
        let judged_to = match tolerance {
            Tolerance::Search => page.search_to,
            Tolerance::Lock => page.lock_to,
        };
        let from = judged_to.max(window.from());
        let to = (page_from + PAGE_POSITIONS).min(window.end() + 1 - self.marker_bits);
        if tolerance == Tolerance::Search && !self.is_dense && !self.finder.may_hold(window, from, to) {
            page.search_to = to;
            return;
        }
        let any = self.finder.mark(window, from, to, page_from, &mut page.marks);
        page.is_blank &= !any;
        self.is_dense = any;
        page.search_to = page.search_to.max(to);
        // Judged in one go with the others, if nothing lies in between.
        if page.lock_to >= from {
            page.lock_to = page.lock_to.max(to);
        }
    }
}

impl Bitmap {
    pub(super) fn set(&mut self, offset: usize) {
        self.0[offset / 64] |= 1 << (offset % 64);
    }

    /// The first position set at `from` or later and before `to`.
    #[inline]
    pub(super) fn next(&self, from: usize, to: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.0[word] & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                let offset = 64 * word + bits.trailing_zeros() as usize;
                return (offset < to).then_some(offset);
            }
            word += 1;
            if 64 * word >= to {
                return None;
            }
            bits = self.0[word];
        }
    }
}
