//! The time scale of everything `fepd` writes into shared memory: nanoseconds of TAI since 1958-01-01, the epoch of the
//! CCSDS time codes (301.0-B-4 3.2), as `fep-ccsds` and `fep-bus` have it. `fep-net` counts from 1970.

/// From 1958-01-01 to 1970-01-01: twelve years, three of them leap years.
pub const EPOCH_1958_TO_1970_NS: i64 = (12 * 365 + 3) * 86_400 * 1_000_000_000;

/// TAI now, nanoseconds since 1958-01-01.
pub fn tai_now_ns() -> i64 {
    from_1970(fep_net::clock::tai_now_ns())
}

/// From TAI since 1970 to TAI since 1958.
pub const fn from_1970(tai_1970_ns: i64) -> i64 {
    tai_1970_ns + EPOCH_1958_TO_1970_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_epochs_are_4383_days_apart() {
        assert_eq!(from_1970(0) / 1_000_000_000, 378_691_200);
        assert!(tai_now_ns() > 68 * 365 * 86_400 * 1_000_000_000, "later than 2025");
    }
}
