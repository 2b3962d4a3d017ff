//! When a bit of the stream was received, and whether a block continues the one before.

use std::collections::VecDeque;

use fep_time::Tai;

/// Chunks that are remembered one by one. More than lie in any block, unless a station delivers single octets.
const CHUNKS_MAX: usize = 4096;

/// The receive times of the chunks that a stream came in, by the place of their first bit.
///
/// A block is found only when the octets behind it have come, and a decoder may hold it longer still; its time is that of
/// the chunk in which its first bit lies. Places count bits, or symbols on links of symbols, since the stream began.
#[derive(Debug, Default)]
pub(crate) struct ChunkTimes {
    /// Place of the first bit and time, in order of places.
    chunks: VecDeque<(u64, Tai)>,
    /// Index at which the last answer was found: the next lies there or a little behind it.
    hint: usize,
}

impl ChunkTimes {
    /// The bit at `place` and those behind it were received at this time.
    #[inline]
    pub(crate) fn begin(&mut self, place: u64, received: Tai) {
        match self.chunks.back_mut() {
            // A chunk that brought no whole symbol: what comes is timed by the later one.
            Some(last) if last.0 >= place => last.1 = received,
            _ => {
                if self.chunks.len() == CHUNKS_MAX {
                    self.thin();
                }
                self.chunks.push_back((place, received));
            }
        }
    }

    /// When the bit at `place` was received. Places before the oldest chunk that is remembered have its time.
    #[inline]
    pub(crate) fn at(&mut self, place: u64) -> Tai {
        let starts_by = |index: usize| self.chunks.get(index).is_some_and(|chunk| chunk.0 <= place);
        let mut index = self.hint;
        if !starts_by(index) {
            index = self.chunks.partition_point(|chunk| chunk.0 <= place).saturating_sub(1);
        }
        while starts_by(index + 1) {
            index += 1;
        }
        self.hint = index;
        self.chunks.get(index).map_or(Tai::EPOCH, |chunk| chunk.1)
    }

    /// A new stream begins.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.hint = 0;
    }

    /// Makes room. The older half loses every second chunk: its bits keep the time of the chunk before, so that a place far
    /// back is still answered, less exactly.
    #[cold]
    fn thin(&mut self) {
        let (half, mut index) = (self.chunks.len() / 2, 0);
        self.chunks.retain(|_| {
            index += 1;
            index > half || index % 2 == 1
        });
        self.hint = 0;
    }
}

/// Follows the places of the blocks of a stream.
#[derive(Debug)]
pub(crate) struct BlockPlaces {
    period: u64,
    /// Where the next block begins if nothing is missing; `None` before the first.
    due: Option<u64>,
}

impl BlockPlaces {
    /// For blocks that are `period` bits apart.
    pub(crate) fn new(period: u64) -> BlockPlaces {
        BlockPlaces { period, due: None }
    }

    /// Takes the next block, whose marker begins at `place`, found `slip_bits` later than due. Returns whether the stream
    /// was interrupted before it: the block does not begin where the one before ended, because lock was lost in between or a
    /// new stream began. How long that took is judged by receive times, as after any other interruption.
    #[inline]
    pub(crate) fn is_interrupted(&mut self, place: u64, slip_bits: i8) -> bool {
        let due = self.due.replace(place + self.period);
        due.is_none_or(|due| place != due.saturating_add_signed(i64::from(slip_bits)))
    }

    /// A new stream begins.
    pub(crate) fn clear(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    // REQ: FEP-CHN-121
    #[test]
    fn a_bit_has_the_time_of_the_chunk_that_it_lies_in() {
        let mut times = ChunkTimes::default();
        for (place, received) in [(0, 10), (8, 20), (24, 30)] {
            times.begin(place, Tai(received));
        }
        let found: Vec<i64> = [0, 7, 8, 23, 24, 1000, 3].map(|place| times.at(place).0).to_vec();
        assert_eq!(found, [10, 10, 20, 20, 30, 30, 10]);
    }

    // REQ: FEP-CHN-121
    #[test]
    fn chunks_without_end_take_bounded_memory_and_recent_places_stay_exact() {
        let (mut times, mut exact) = (ChunkTimes::default(), BTreeMap::new());
        for chunk in 0..100_000_u64 {
            times.begin(8 * chunk, Tai(chunk as i64));
            exact.insert(8 * chunk, chunk as i64);
            assert!(times.chunks.len() <= CHUNKS_MAX);
            let place = 8 * chunk.saturating_sub(1000) + 3;
            assert_eq!(Some(&times.at(place).0), exact.range(..=place).next_back().map(|(_, time)| time));
        }
        assert!(times.at(80_000).0 <= 10_000, "never later than the bit");
    }

    #[test]
    fn a_block_that_begins_where_the_last_ended_is_not_interrupted_also_behind_a_slip() {
        let mut places = BlockPlaces::new(100);
        assert!(places.is_interrupted(7, 0), "nothing comes before the first");
        assert!(!places.is_interrupted(107, 0));
        assert!(!places.is_interrupted(209, 2));
        assert!(!places.is_interrupted(308, -1));
        assert!(places.is_interrupted(708, 0), "blocks are missing");
        assert!(places.is_interrupted(700, 0), "found again, further ahead");
        assert!(!places.is_interrupted(800, 0));
    }
}
