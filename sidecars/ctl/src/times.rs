//! Ring times as people read them.

use fep_time::{AsciiForm, LeapSeconds, Tai};

/// A ring time (nanoseconds of TAI since 1958-01-01) as UTC with so many decimals,
/// `2026-03-01T12:03:04.567Z`; `-` when nobody stamped it.
pub(crate) fn utc(tai_ns: i64, decimals: usize) -> String {
    if tai_ns == 0 {
        return "-".to_owned();
    }
    match LeapSeconds::builtin().utc(Tai(tai_ns)) {
        Ok(utc) => format!("{}Z", utc.to_ascii(AsciiForm::A, decimals).trim_end_matches('Z')),
        Err(_) => format!("{tai_ns} ns TAI"),
    }
}

/// Now, as UTC with milliseconds and without the `Z`.
pub(crate) fn utc_now() -> String {
    utc(fep_time::tai_now().0, 3).trim_end_matches('Z').to_owned()
}

/// Only the time of day of a ring time, with milliseconds.
pub(crate) fn time_of_day(tai_ns: i64) -> String {
    let text = utc(tai_ns, 3);
    match text.split_once('T') {
        Some((_, time)) => time.trim_end_matches('Z').to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_times_count_from_1958_tai_and_are_shown_as_utc() {
        // 2017-01-01T00:00:00Z is 1 483 228 800 s of UNIX time; TAI is ahead by 37 s since that moment.
        let tai_ns = Tai::UNIX_EPOCH.0 + (1_483_228_800 + 37) * 1_000_000_000 + 5_000_000;
        assert_eq!(utc(tai_ns, 3), "2017-01-01T00:00:00.005Z");
        assert_eq!(time_of_day(tai_ns), "00:00:00.005");
        assert_eq!(utc(0, 3), "-");
    }
}
