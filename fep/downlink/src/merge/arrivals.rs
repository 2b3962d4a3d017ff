//! Frames without a usable count: copies of one another are recognised by content, within the wait.

use std::collections::{HashMap, VecDeque};

use fep_time::Monotonic;

/// The frames with one content that arrived of late, oldest first, and how many of them each antenna has delivered.
#[derive(Debug, Default)]
struct Alike {
    /// Number of the first that is still remembered.
    first: u64,
    /// Number of the next.
    end: u64,
    /// By antenna: the number of the next one that it delivers.
    delivered: Vec<u64>,
}

/// Remembers what arrived of late.
#[derive(Debug)]
pub(super) struct Arrivals {
    wait_ns: i64,
    most: usize,
    by_hash: HashMap<u64, Alike>,
    /// In order of arrival.
    order: VecDeque<(Monotonic, u64)>,
}

impl Arrivals {
    /// Remembers for `wait_ns`, and `most` frames at most.
    pub(super) fn new(wait_ns: i64, most: usize) -> Arrivals {
        Arrivals { wait_ns, most, by_hash: HashMap::new(), order: VecDeque::new() }
    }

    /// A frame of this content comes from an antenna. Says whether it is a copy of one that another antenna delivered: its
    /// first is a copy of the first, its second of the second.
    pub(super) fn is_copy(&mut self, hash: u64, antenna: usize, now: Monotonic) -> bool {
        self.forget(now);
        let alike = self.by_hash.entry(hash).or_default();
        if alike.delivered.len() <= antenna {
            alike.delivered.resize(antenna + 1, 0);
        }
        let next = alike.delivered[antenna].max(alike.first);
        alike.delivered[antenna] = next + 1;
        if next < alike.end {
            return true;
        }
        alike.end = next + 1;
        self.order.push_back((now, hash));
        false
    }

    fn forget(&mut self, now: Monotonic) {
        while let Some((arrived, hash)) = self.order.front().copied() {
            if now.ns_since(arrived) <= self.wait_ns && self.order.len() < self.most {
                return;
            }
            self.order.pop_front();
            if let Some(alike) = self.by_hash.get_mut(&hash) {
                alike.first += 1;
                if alike.first == alike.end {
                    self.by_hash.remove(&hash);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-MRG-006
    #[test]
    fn the_second_of_two_equal_frames_is_no_copy_of_the_first() {
        let mut arrivals = Arrivals::new(100, 10);
        let copies: Vec<bool> = [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (0, 5)]
            .map(|(antenna, now)| arrivals.is_copy(7, antenna, Monotonic(now)))
            .to_vec();
        assert_eq!(copies, [false, false, true, true, false, true]);
    }

    // REQ: FEP-MRG-006
    #[test]
    fn what_came_longer_ago_than_the_wait_is_forgotten_and_memory_is_bounded() {
        let mut arrivals = Arrivals::new(100, 10);
        assert!(!arrivals.is_copy(7, 0, Monotonic(0)));
        assert!(!arrivals.is_copy(7, 1, Monotonic(101)));
        for hash in 0..1000 {
            arrivals.is_copy(hash, 0, Monotonic(102));
        }
        assert!(arrivals.order.len() <= 10 && arrivals.by_hash.len() <= 10);
    }
}
