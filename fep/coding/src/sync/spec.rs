//! The parameters of a synchroniser, and which combinations are refused.

use serde::{Deserialize, Serialize};

use super::Marker;
use super::tracker::Rules;

/// Longest block, octets. Longer than any codeblock of the standard; bounds the memory that a synchroniser can take.
pub const BLOCK_LEN_MAX: usize = 1 << 20;
/// Largest `check_markers` and `flywheel_blocks`: they bound how much data is held back.
pub const HELD_BLOCKS_MAX: u32 = 64;
/// Largest `slip_window_bits`.
pub const SLIP_WINDOW_MAX: u32 = 64;

/// Which way round the bits arrive. An NRZ-L receiver does not know; the marker shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// As sent; a complemented marker is no marker.
    Normal,
    /// Complemented; blocks are complemented back.
    Inverted,
    /// Either, decided at every marker.
    #[default]
    Auto,
}

/// Managed parameters of the synchroniser of one physical channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncSpec {
    /// The marker in front of every block.
    pub marker: Marker,
    /// Octets between the end of a marker and the start of the next: frame or codeblock.
    pub block_len: usize,
    /// Bit errors with which a marker still counts while searching, where it can be anywhere.
    pub search_bit_errors: u32,
    /// Bit errors with which a marker still counts where it is due, or within the slip window of that place.
    pub lock_bit_errors: u32,
    /// Markers that must follow the first one before lock is declared; 0 locks on the first.
    pub check_markers: u32,
    /// Blocks in a row that are taken on trust where no marker was seen.
    pub flywheel_blocks: u32,
    /// How far from its place a marker is looked for, bits to either side.
    pub slip_window_bits: u32,
    /// Which way round the bits arrive.
    pub polarity: Polarity,
}

/// A specification that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncSpecError {
    /// No block, or an absurd one.
    #[error("block_len = {0}: a block has 1 to {BLOCK_LEN_MAX} octets")]
    BlockLen(usize),
    /// More errors than a search can stand without seeing markers everywhere.
    #[error("search_bit_errors = {errors}: at most {max} with a marker of {bits} bits")]
    SearchBitErrors {
        /// What was asked for.
        errors: u32,
        /// The largest possible: an eighth of the marker.
        max: u32,
        /// Length of the marker.
        bits: u32,
    },
    /// More errors than are distinguishable from chance.
    #[error(
        "lock_bit_errors = {errors}: from search_bit_errors ({min}) to {max} with a marker of {bits} bits"
    )]
    LockBitErrors {
        /// What was asked for.
        errors: u32,
        /// The least possible: `search_bit_errors`.
        min: u32,
        /// The largest possible: less than a quarter of the marker.
        max: u32,
        /// Length of the marker.
        bits: u32,
    },
    /// Too much data would be held back.
    #[error("check_markers = {0}: at most {HELD_BLOCKS_MAX}")]
    CheckMarkers(u32),
    /// Too much data would be held back.
    #[error("flywheel_blocks = {0}: at most {HELD_BLOCKS_MAX}")]
    FlywheelBlocks(u32),
    /// The window reaches too far.
    #[error("slip_window_bits = {window}: at most {max} with blocks of {block_len} octets")]
    SlipWindow {
        /// What was asked for.
        window: u32,
        /// The largest possible: 64, and less than half a block.
        max: u32,
        /// Length of the block.
        block_len: usize,
    },
    /// The marker looks like itself a few bits away, so that its place is not clear.
    #[error(
        "marker {marker} differs from itself moved by {shift} bits in only {distance} bits: with \
         lock_bit_errors = {errors} and slip_window_bits = {window} its place is ambiguous; lower one of them"
    )]
    AmbiguousMarker {
        /// The marker.
        marker: Marker,
        /// The distance at which it is ambiguous.
        shift: u32,
        /// Bits that differ there.
        distance: u32,
        /// `lock_bit_errors`.
        errors: u32,
        /// `slip_window_bits`.
        window: u32,
    },
}

impl SyncSpec {
    /// Defaults for a marker of the standard: one bit error for each 32 marker bits while searching, three in lock,
    /// one marker to check, three blocks of flywheel, slips of up to 8 bits, polarity found out.
    pub fn ccsds(marker: Marker, block_len: usize) -> SyncSpec {
        let words = marker.bits() / 32;
        SyncSpec {
            marker,
            block_len,
            search_bit_errors: words,
            lock_bit_errors: 3 * words,
            check_markers: 1,
            flywheel_blocks: 3,
            slip_window_bits: 8.min(slip_window_max(block_len)),
            polarity: Polarity::Auto,
        }
    }

    /// Bits from one marker to the next.
    pub fn period_bits(&self) -> u64 {
        u64::from(self.marker.bits()) + 8 * self.block_len as u64
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            marker_bits: u64::from(self.marker.bits()),
            period: self.period_bits(),
            lock_bit_errors: self.lock_bit_errors,
            check_markers: self.check_markers,
            flywheel_blocks: self.flywheel_blocks,
            slip_window: self.slip_window_bits,
        }
    }

    /// Checks that the parameters go together.
    ///
    /// # Errors
    /// [`SyncSpecError`] names the parameter and what is allowed.
    pub fn validate(&self) -> Result<(), SyncSpecError> {
        let bits = self.marker.bits();
        if !(1..=BLOCK_LEN_MAX).contains(&self.block_len) {
            return Err(SyncSpecError::BlockLen(self.block_len));
        }
        let max = bits / 8;
        if self.search_bit_errors > max {
            return Err(SyncSpecError::SearchBitErrors { errors: self.search_bit_errors, max, bits });
        }
        let (min, max) = (self.search_bit_errors, bits / 4 - 1);
        if !(min..=max).contains(&self.lock_bit_errors) {
            return Err(SyncSpecError::LockBitErrors { errors: self.lock_bit_errors, min, max, bits });
        }
        if self.check_markers > HELD_BLOCKS_MAX {
            return Err(SyncSpecError::CheckMarkers(self.check_markers));
        }
        if self.flywheel_blocks > HELD_BLOCKS_MAX {
            return Err(SyncSpecError::FlywheelBlocks(self.flywheel_blocks));
        }
        let max = slip_window_max(self.block_len);
        if self.slip_window_bits > max {
            let (window, block_len) = (self.slip_window_bits, self.block_len);
            return Err(SyncSpecError::SlipWindow { window, max, block_len });
        }
        let (marker, errors, window) = (self.marker, self.lock_bit_errors, self.slip_window_bits);
        match ambiguity(&marker, errors, window, self.polarity) {
            Some((shift, distance)) => {
                Err(SyncSpecError::AmbiguousMarker { marker, shift, distance, errors, window })
            }
            None => Ok(()),
        }
    }
}

/// At which shift within the window a marker looks like itself (or its complement), and in how many bits it differs there.
pub(super) fn ambiguity(marker: &Marker, errors: u32, window: u32, polarity: Polarity) -> Option<(u32, u32)> {
    let bits = marker.bits();
    let distances = (1..=window.clamp(1, bits / 2)).map(|shift| {
        let distance = marker.distance_to_itself(shift);
        match polarity {
            Polarity::Auto => (shift, distance.min(bits - shift - distance)),
            Polarity::Normal | Polarity::Inverted => (shift, distance),
        }
    });
    distances.into_iter().find(|(_, distance)| *distance <= errors)
}

/// A window must stay clear of the neighbouring markers' windows.
fn slip_window_max(block_len: usize) -> u32 {
    SLIP_WINDOW_MAX.min((4 * block_len.min(BLOCK_LEN_MAX)) as u32)
}
