//! Markers with another one period behind them, remembered: each says that the stream may be cut there.

use super::buffer::Window;
use super::marks::Marks;
use super::search::Finder;

/// What is known of the positions `from..to`: the first of them that holds a backed marker, or that none does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rivals {
    from: u64,
    to: u64,
    first: Option<u64>,
}

impl Rivals {
    /// Whether a marker in `from..to` has another one `period` behind it. All of both lie whole in `window`.
    ///
    /// Asked of ranges that start ever further in the stream, or nearly so, it looks at each position once.
    pub(super) fn is_any<F: Finder>(
        &mut self,
        marks: &mut Marks<F>,
        window: &Window<'_, F::Unit>,
        (from, to): (u64, u64),
        period: u64,
    ) -> bool {
        if from >= to {
            return false;
        }
        let is_known = (self.from..=self.to).contains(&from) && self.first.is_none_or(|first| first >= from);
        if !is_known {
            *self = Rivals { from, to: from, first: None };
        }
        while self.first.is_none() && self.to < to {
            let Some(rival) = marks.next_search(window, self.to, to) else {
                self.to = to;
                break;
            };
            self.to = rival + 1;
            let backing = rival + period;
            self.first = marks.next_lock(window, backing, backing + 1).map(|_| rival);
        }
        self.first.is_some_and(|first| first < to)
    }
}
