//! How full the file system is.

use std::io;
use std::path::Path;

/// What the free space means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceLevel {
    /// Enough.
    Good = 0,
    /// Under the warning level.
    Warning = 1,
    /// Under the critical level: nothing more is recorded.
    Critical = 2,
}

/// Free space of the archive's file system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// Octets that may still be written.
    pub free_octets: u64,
    /// All octets.
    pub total_octets: u64,
}

impl Space {
    /// Asks the file system.
    pub fn of(directory: &Path) -> io::Result<Space> {
        let told = rustix::fs::statvfs(directory)?;
        Ok(Space {
            free_octets: told.f_bavail.saturating_mul(told.f_frsize),
            total_octets: told.f_blocks.saturating_mul(told.f_frsize),
        })
    }

    /// Free part in percent.
    pub fn free_percent(&self) -> f64 {
        100.0 * self.free_octets as f64 / self.total_octets.max(1) as f64
    }

    /// What it means, when it meant `before`: a level is left only half a percent of the file system above its limit, so
    /// that it does not flutter.
    pub fn level(&self, warning_percent: f64, critical_percent: f64, before: SpaceLevel) -> SpaceLevel {
        let free = self.free_percent();
        let under = |limit: f64, level: SpaceLevel| free < limit + if before >= level { 0.5 } else { 0.0 };
        if critical_percent > 0.0 && under(critical_percent, SpaceLevel::Critical) {
            SpaceLevel::Critical
        } else if warning_percent > 0.0 && under(warning_percent, SpaceLevel::Warning) {
            SpaceLevel::Warning
        } else {
            SpaceLevel::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-REC-006
    #[test]
    fn levels_are_entered_at_their_limit_and_left_above_it() {
        let space = |free_octets| Space { free_octets, total_octets: 1000 };
        let level = |free, before| space(free).level(10.0, 3.0, before);
        assert_eq!(level(100, SpaceLevel::Good), SpaceLevel::Good);
        assert_eq!(level(99, SpaceLevel::Good), SpaceLevel::Warning);
        assert_eq!(level(102, SpaceLevel::Warning), SpaceLevel::Warning);
        assert_eq!(level(106, SpaceLevel::Warning), SpaceLevel::Good);
        assert_eq!(level(29, SpaceLevel::Warning), SpaceLevel::Critical);
        assert_eq!(level(33, SpaceLevel::Critical), SpaceLevel::Critical);
        assert_eq!(level(36, SpaceLevel::Critical), SpaceLevel::Warning);
        assert_eq!(space(0).level(0.0, 0.0, SpaceLevel::Good), SpaceLevel::Good, "0 switches it off");
    }
}
