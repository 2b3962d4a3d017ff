//! The positions of a virtual channel that are behind: served, or given up.

use std::collections::VecDeque;

use fep_time::Tai;

use super::frame::{Antennas, Facts};

/// What became of one position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    /// `None` when it was given up.
    pub(super) served: Option<Content>,
    /// Antennas that delivered it.
    pub(super) seen: Antennas,
}

/// The content of a frame, as far as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) hash: u64,
    pub(super) is_verified: bool,
    /// When it was received, as the antennas have it in common.
    pub(super) common: Tai,
}

impl Content {
    pub(super) const fn of(facts: &Facts, common: Tai) -> Content {
        Content { hash: facts.hash, is_verified: facts.is_verified, common }
    }

    /// Whether a frame at the same position can be the same frame: equal octets, or one of the two may be damaged.
    pub(super) const fn may_be(&self, facts: &Facts) -> bool {
        self.hash == facts.hash || !self.is_verified || !facts.is_verified
    }
}

/// The latest positions, bounded.
#[derive(Debug)]
pub(super) struct History {
    most: usize,
    /// Position of the first entry.
    start: u64,
    entries: VecDeque<Past>,
}

impl History {
    pub(super) const fn new(most: usize) -> History {
        History { most, start: 0, entries: VecDeque::new() }
    }

    /// The oldest position that is remembered.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn get(&self, position: u64) -> Option<&Past> {
        self.entries.get(usize::try_from(position.checked_sub(self.start)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Past> {
        self.entries.get_mut(usize::try_from(position.checked_sub(self.start)?).ok()?)
    }

    /// The position was served.
    #[inline]
    pub(super) fn served(&mut self, position: u64, content: Content, seen: Antennas) {
        if self.entries.is_empty() {
            self.start = position;
        } else if self.entries.len() >= self.most {
            self.entries.pop_front();
            self.start += 1;
        }
        self.entries.push_back(Past { served: Some(content), seen });
    }

    /// All positions from `from` to before `to` were given up.
    #[cold]
    pub(super) fn given_up(&mut self, from: u64, to: u64) {
        let from = from.max(to.saturating_sub(self.most as u64));
        if self.entries.is_empty() || from > self.start + self.entries.len() as u64 {
            self.entries.clear();
            self.start = from;
        }
        for _ in from..to {
            if self.entries.len() >= self.most {
                self.entries.pop_front();
                self.start += 1;
            }
            self.entries.push_back(Past { served: None, seen: 0 });
        }
    }
}
