//! Where counters stand, to be kept outside of the process: a restart then resolves gaps by the time that went by.

use fep_time::Tai;
use serde::{Deserialize, Serialize};

use super::RateBounds;

/// Where the counter of one virtual channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CounterState {
    /// Virtual channel.
    pub vcid: u8,
    /// Whether it is the expedited counter of a USLP virtual channel.
    pub expedited: bool,
    /// Last count.
    pub count: u64,
    /// One more than the greatest count.
    pub modulus: u64,
    /// When the last frame was received.
    pub received: Tai,
    /// How fast frames came; `None` when too few did.
    pub rate: Option<RateBounds>,
}

impl CounterState {
    /// Words of [`CounterState::to_words`].
    pub const WORDS: usize = 5;

    /// As plain words, for a page that is written next to every frame: count + 1 (0: none), modulus, receive time, and
    /// the two bounds of the rate as bits (0: none). Whose counter it is is not in them.
    #[must_use]
    pub fn to_words(&self) -> [u64; CounterState::WORDS] {
        let [low, high] = rate_words(self.rate);
        [self.count.wrapping_add(1), self.modulus, self.received.0 as u64, low, high]
    }

    /// Back from the words of [`CounterState::to_words`]; `None` when they hold no counter, or cannot be one.
    #[must_use]
    pub fn from_words(vcid: u8, expedited: bool, words: [u64; CounterState::WORDS]) -> Option<CounterState> {
        let [next, modulus, received, low, high] = words;
        let count = next.checked_sub(1)?;
        let rate = rate_of_words(low, high);
        (count < modulus).then_some(CounterState {
            vcid,
            expedited,
            count,
            modulus,
            received: Tai(received as i64),
            rate,
        })
    }
}

/// Where the counters of one spacecraft stand: [`super::MasterChannel::state`], [`super::MasterChannel::resume`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MasterChannelState {
    /// Last master channel count (TM).
    pub master_count: Option<u8>,
    /// When the last frame of any virtual channel was received; `None` when none was.
    pub received: Option<Tai>,
    /// How fast the frames of all virtual channels together came.
    pub rate: Option<RateBounds>,
    /// The virtual channels seen.
    pub channels: Vec<CounterState>,
}

impl MasterChannelState {
    /// Words of [`MasterChannelState::to_words`].
    pub const WORDS: usize = 4;

    /// The part that is not of one virtual channel, as plain words: master channel count + 1 (0: none), receive time
    /// (0: none), and the two bounds of the rate as bits (0: none).
    #[must_use]
    pub fn to_words(&self) -> [u64; MasterChannelState::WORDS] {
        let [low, high] = rate_words(self.rate);
        let next = self.master_count.map_or(0, |count| u64::from(count) + 1);
        [next, self.received.map_or(0, |received| received.0 as u64), low, high]
    }

    /// Back from the words of [`MasterChannelState::to_words`], with the virtual channels kept beside them.
    #[must_use]
    pub fn from_words(
        words: [u64; MasterChannelState::WORDS],
        channels: Vec<CounterState>,
    ) -> MasterChannelState {
        let [next, received, low, high] = words;
        MasterChannelState {
            master_count: next.checked_sub(1).and_then(|count| u8::try_from(count).ok()),
            received: (received != 0).then_some(Tai(received as i64)),
            rate: rate_of_words(low, high),
            channels,
        }
    }
}

fn rate_words(rate: Option<RateBounds>) -> [u64; 2] {
    rate.map_or([0, 0], |rate| [rate.low_hz.to_bits(), rate.high_hz.to_bits()])
}

fn rate_of_words(low: u64, high: u64) -> Option<RateBounds> {
    let rate = RateBounds { low_hz: f64::from_bits(low), high_hz: f64::from_bits(high) };
    (rate.is_valid() && rate.high_hz > 0.0).then_some(rate)
}
