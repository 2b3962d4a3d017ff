//! The two clocks of the archive: UTC for when something was written, TAI for the rings.

use std::time::{SystemTime, UNIX_EPOCH};

/// From 1958-01-01 to 1970-01-01: twelve years, three of them leap years.
const EPOCH_1958_TO_1970_NS: i64 = (12 * 365 + 3) * 86_400 * 1_000_000_000;

/// UTC now, nanoseconds since 1970; 0 before that.
pub fn unix_now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// TAI now, nanoseconds since 1958: the scale of everything in the rings.
pub fn tai_now_ns() -> i64 {
    fep_net::clock::tai_now_ns() + EPOCH_1958_TO_1970_NS
}
