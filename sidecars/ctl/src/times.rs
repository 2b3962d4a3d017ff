//! Ring times as people read them.

use fep_archive_query::{TIME_FORMS, parse_time};
use fep_time::{AsciiForm, LeapSeconds, Tai};

use crate::failure::Failure;

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

/// How long ago something is said, for messages.
pub(crate) const AGO_FORMS: &str = "a number and s, m, h or d, as 10m";

/// The beginning of a span that lasts until now: `90s`, `10m`, `2h`, `1d` back from now, or a time. Nanoseconds of TAI.
pub(crate) fn since(option: &str, text: &str) -> Result<i64, Failure> {
    if let Some(ns) = duration_ns(text) {
        return Ok(fep_time::tai_now().0.saturating_sub(ns));
    }
    parse_time(text).map_err(|detail| {
        Failure::usage(format!("{option}: {detail} (allowed: {AGO_FORMS}, back from now; {TIME_FORMS})"))
    })
}

/// The time that an option says. Nanoseconds of TAI.
pub(crate) fn at(option: &str, text: &str) -> Result<i64, Failure> {
    parse_time(text).map_err(|detail| Failure::usage(format!("{option}: {detail} (allowed: {TIME_FORMS})")))
}

/// `90s`, `10m`, `2h`, `1d`.
pub(crate) fn duration_ns(text: &str) -> Option<i64> {
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let unit_s: f64 = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let ns = number.parse::<f64>().ok()? * unit_s * 1e9;
    (ns.is_finite() && ns > 0.0 && ns < 4e18).then_some(ns as i64)
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
