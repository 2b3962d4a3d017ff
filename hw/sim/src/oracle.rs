//! The checker's half of a simulated spacecraft: which frames it sends, without storing them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeBounds;

use crate::spacecraft::{FrameIdentity, Spacecraft, SpacecraftError, SpacecraftSpec};

/// Knows every octet of the first frames of a spacecraft, by regenerating the stream and keeping one hash a frame.
#[derive(Debug)]
pub struct FrameOracle {
    frames: HashMap<u64, FrameIdentity>,
}

impl FrameOracle {
    /// Regenerates the first `frame_count` frames.
    ///
    /// # Errors
    /// As [`Spacecraft::new`].
    ///
    /// # Panics
    /// If two frames of the stream are the same octet for octet (TM counters repeat after 256 frames, their packets never
    /// do), for then no checker could tell them apart.
    pub fn new(spec: SpacecraftSpec, seed: u64, frame_count: u64) -> Result<FrameOracle, SpacecraftError> {
        let mut spacecraft = Spacecraft::new(spec, seed)?;
        let mut frames = HashMap::with_capacity(usize::try_from(frame_count).unwrap_or(0));
        let mut octets = Vec::new();
        for _ in 0..frame_count {
            octets.clear();
            let identity = spacecraft.next_frame(&mut octets);
            let twin = frames.insert(frame_hash(&octets), identity);
            assert!(twin.is_none(), "frames {twin:?} and {identity:?} are the same");
        }
        Ok(FrameOracle { frames })
    }

    /// Which frame of the spacecraft these octets are; `None` if it never sent them.
    #[must_use]
    pub fn identify(&self, octets: &[u8]) -> Option<FrameIdentity> {
        self.identify_hash(frame_hash(octets))
    }

    /// As [`FrameOracle::identify`], for a reader that kept only the hash of what it read.
    #[must_use]
    pub fn identify_hash(&self, hash: u64) -> Option<FrameIdentity> {
        self.frames.get(&hash).copied()
    }

    /// How many frames of the idle channel there are among these numbers: their loss shows in no counter of AOS.
    #[must_use]
    pub fn idle_frames(&self, numbers: impl RangeBounds<u64>) -> u64 {
        self.frames.values().filter(|frame| frame.idle && numbers.contains(&frame.number)).count() as u64
    }
}

/// The hash of a frame by which [`FrameOracle`] knows it: over every octet, not cryptographic, and comparable only between
/// programs built by the same compiler.
#[must_use]
pub fn frame_hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}
