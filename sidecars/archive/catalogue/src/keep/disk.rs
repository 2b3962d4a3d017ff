//! How full the disk is.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Keeper;
use crate::Error;

/// From which share of free octets on the disk is low, and from which critical.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermarks {
    /// Percent free, below which people are told.
    pub low_percent: f64,
    /// Percent free, below which it is an alarm: recording will stop soon.
    pub critical_percent: f64,
}

impl Default for Watermarks {
    fn default() -> Watermarks {
        Watermarks { low_percent: 15.0, critical_percent: 5.0 }
    }
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskLevel {
    /// Enough room.
    Ok,
    /// Below the first mark.
    Low,
    /// Below the second mark.
    Critical,
}

/// The disk of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskState {
    /// Octets in all.
    pub octets: u64,
    /// Octets free for the archive's user.
    pub free_octets: u64,
    /// What that means.
    pub level: DiskLevel,
}

impl Watermarks {
    /// What so many free octets of so many mean.
    #[must_use]
    pub fn level(&self, free_octets: u64, octets: u64) -> DiskLevel {
        let free_percent = 100.0 * free_octets as f64 / octets.max(1) as f64;
        if free_percent < self.critical_percent {
            DiskLevel::Critical
        } else if free_percent < self.low_percent {
            DiskLevel::Low
        } else {
            DiskLevel::Ok
        }
    }
}

impl Keeper {
    /// How full the disk of the recorder's files is.
    ///
    /// # Errors
    /// The system does not say.
    pub fn disk(&self, marks: &Watermarks) -> Result<DiskState, Error> {
        let (octets, free_octets) = space(&self.archive)?;
        Ok(DiskState { octets, free_octets, level: marks.level(free_octets, octets) })
    }
}

fn space(path: &Path) -> Result<(u64, u64), Error> {
    let found = rustix::fs::statvfs(path)
        .map_err(|error| Error::io("ask for the free space of", path)(error.into()))?;
    Ok((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ARC-055
    #[test]
    fn the_level_follows_the_free_share() {
        let marks = Watermarks::default();
        assert_eq!(marks.level(50, 100), DiskLevel::Ok);
        assert_eq!(marks.level(14, 100), DiskLevel::Low);
        assert_eq!(marks.level(4, 100), DiskLevel::Critical);
        assert_eq!(marks.level(0, 0), DiskLevel::Critical);
    }
}
