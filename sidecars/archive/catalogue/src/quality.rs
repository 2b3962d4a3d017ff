//! How far the octets of a frame are to be believed.

use fep_record::{BadReason, FrameFlags};
use serde::{Deserialize, Serialize};

/// Quality of a frame or packet; better is greater. Index files hold the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Quality {
    /// Damaged, or not a frame of the channel: the header means nothing.
    Bad = 0,
    /// No code and no error control vouches for it.
    Unchecked = 1,
    /// Vouched for after symbols were corrected.
    Corrected = 2,
    /// Vouched for as received.
    Good = 3,
}

impl Quality {
    /// Every quality, worst first.
    pub const ALL: [Quality; 4] = [Quality::Bad, Quality::Unchecked, Quality::Corrected, Quality::Good];

    const BAD: FrameFlags =
        FrameFlags(FrameFlags::UNCORRECTABLE.0 | FrameFlags::FECF_FAILED.0 | FrameFlags::HEADER_INVALID.0);

    /// From what the engine knew.
    #[must_use]
    pub fn of(flags: FrameFlags, reason: BadReason) -> Quality {
        if flags.intersects(Self::BAD) || reason != BadReason::None {
            Quality::Bad
        } else if flags.contains(FrameFlags::CORRECTED) {
            Quality::Corrected
        } else if flags.contains(FrameFlags::CODED) {
            Quality::Good
        } else {
            Quality::Unchecked
        }
    }

    /// The quality with this number in an index, if there is one.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Quality> {
        Self::ALL.into_iter().find(|quality| *quality as i32 == number)
    }
}
