//! Global virtual channel identifier: which spacecraft, which virtual channel.
//!
//! It names a channel; it holds no state of it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Global virtual channel identifier: transfer frame version, spacecraft and virtual channel
/// (132.0-B-3 2.1.3, 732.0-B-4 2.1.3, 732.1-B-2 2.1.3).
///
/// Displays as `SCID/VCID`, the form used in reports and file names.
///
/// ```
/// let vc = fep_ccsds::Gvcid { tfvn: 1, scid: 157, vcid: 16 };
/// assert_eq!(vc.to_string(), "157/16");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Gvcid {
    /// Transfer frame version number as on the wire: 0 TM, 1 AOS (2 bits), 12 USLP (4 bits).
    pub tfvn: u8,
    /// Spacecraft identifier: 10 bits TM, 8 bits AOS, 16 bits USLP.
    pub scid: u16,
    /// Virtual channel identifier: 3 bits TM, 6 bits AOS and USLP.
    pub vcid: u8,
}

impl fmt::Display for Gvcid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scid, self.vcid)
    }
}
