//! Coordinated universal time as a calendar: days and the time within a day.
//!
//! A calendar only: which days have a leap second is known to [`crate::LeapSeconds`].

use crate::{NS_PER_DAY, NS_PER_SECOND, TimeError};
use std::fmt;

/// A UTC date and time. Ordered; second 60 comes after second 59.
///
/// Displays in ASCII code A with 6 decimals, or as many as the precision says.
///
/// ```
/// use fep_time::Utc;
/// let utc = Utc::new(2016, 12, 31, 23, 59, 60, 250_000_000).unwrap();
/// assert_eq!(format!("{utc:.3}"), "2016-12-31T23:59:60.250Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc {
    day: i32,
    ns_of_day: i64,
}

impl Utc {
    /// First and last day, years 0001 to 9999: what four digits can write.
    const DAYS: std::ops::RangeInclusive<i32> = -714_779..=2_937_279;

    /// A date and time.
    ///
    /// # Errors
    /// The first field outside its range. Second 60 is taken at 23:59 only; whether the day has one is not checked here.
    pub fn new(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
        nanosecond: u32,
    ) -> Result<Utc, TimeError> {
        let refuse = |field, value| Err(TimeError::Field { field, value });
        check_year(year)?;
        if !(1..=12).contains(&month) {
            return refuse("month", u64::from(month));
        }
        if !(1..=days_of_month(year, month)).contains(&day) {
            return refuse("day of month", u64::from(day));
        }
        Utc::at(days_from_civil(year, month, day), hour, minute, second, nanosecond)
    }

    /// A date by day of year (1 to 366) and time.
    ///
    /// # Errors
    /// As [`Utc::new`].
    pub fn from_day_of_year(
        year: u16,
        day_of_year: u16,
        hour: u8,
        minute: u8,
        second: u8,
        nanosecond: u32,
    ) -> Result<Utc, TimeError> {
        let refuse = |field, value| Err(TimeError::Field { field, value });
        check_year(year)?;
        if !(1..=365 + u16::from(is_leap_year(year))).contains(&day_of_year) {
            return refuse("day of year", u64::from(day_of_year));
        }
        Utc::at(days_from_civil(year, 1, 1) + i32::from(day_of_year) - 1, hour, minute, second, nanosecond)
    }

    /// A day since 1958-01-01 and nanoseconds within it (86 401 s on a day with a leap second).
    ///
    /// # Errors
    /// A day outside the years 1 to 9999, or a time outside the day.
    pub fn from_day_and_ns(day: i32, ns_of_day: i64) -> Result<Utc, TimeError> {
        if !Self::DAYS.contains(&day) {
            return Err(TimeError::OutOfRange("UTC"));
        }
        if !(0..NS_PER_DAY + NS_PER_SECOND).contains(&ns_of_day) {
            return Err(TimeError::Field { field: "nanosecond of day", value: ns_of_day.unsigned_abs() });
        }
        Ok(Utc { day, ns_of_day })
    }

    fn at(day: i32, hour: u8, minute: u8, second: u8, nanosecond: u32) -> Result<Utc, TimeError> {
        let refuse = |field, value| Err(TimeError::Field { field, value });
        if hour > 23 {
            return refuse("hour", u64::from(hour));
        }
        if minute > 59 {
            return refuse("minute", u64::from(minute));
        }
        if second > 59 && !(second == 60 && hour == 23 && minute == 59) {
            return refuse("second", u64::from(second));
        }
        if nanosecond > 999_999_999 {
            return refuse("nanosecond", u64::from(nanosecond));
        }
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Utc::from_day_and_ns(day, seconds * NS_PER_SECOND + i64::from(nanosecond))
    }

    /// Days since 1958-01-01.
    #[must_use]
    pub const fn day_since_1958(&self) -> i32 {
        self.day
    }

    /// Nanoseconds since midnight, up to 86 401 s in a day with a leap second.
    #[must_use]
    pub const fn ns_of_day(&self) -> i64 {
        self.ns_of_day
    }

    /// Year, month and day.
    #[must_use]
    pub const fn date(&self) -> (u16, u8, u8) {
        civil_from_days(self.day)
    }

    /// Year and day of year.
    #[must_use]
    pub const fn ordinal_date(&self) -> (u16, u16) {
        let (year, _, _) = self.date();
        (year, (self.day - days_from_civil(year, 1, 1) + 1) as u16)
    }

    /// Hour, minute, second and nanosecond.
    #[must_use]
    pub const fn time(&self) -> (u8, u8, u8, u32) {
        let seconds = self.ns_of_day / NS_PER_SECOND;
        let nanosecond = (self.ns_of_day % NS_PER_SECOND) as u32;
        if seconds >= 86_400 {
            return (23, 59, (seconds - 86_340) as u8, nanosecond);
        }
        ((seconds / 3600) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8, nanosecond)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_ascii(crate::AsciiForm::A, f.precision().unwrap_or(6)))
    }
}

/// Years 0001 to 9999: what four digits can write.
fn check_year(year: u16) -> Result<(), TimeError> {
    if (1..=9999).contains(&year) {
        Ok(())
    } else {
        Err(TimeError::Field { field: "year", value: u64::from(year) })
    }
}

const fn is_leap_year(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

// Years are counted from March, so that the leap day is the last of its year and the months before it have fixed
// lengths: day of year = (153 m + 2) / 5 with m = 0 for March.
const DAYS_FROM_YEAR_0_TO_1958: i32 = 715_085;

const fn days_from_civil(year: u16, month: u8, day: u8) -> i32 {
    let march_year = year as i32 - (month <= 2) as i32;
    let march_month = (month as i32 + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day as i32 - 1;
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    march_year * 365 + leap_days + day_of_year - DAYS_FROM_YEAR_0_TO_1958
}

const fn civil_from_days(day: i32) -> (u16, u8, u8) {
    let days = day + DAYS_FROM_YEAR_0_TO_1958;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + (month <= 2) as i32;
    (year as u16, month as u8, day_of_month as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_covers_exactly_the_years_1_to_9999() {
        assert_eq!(days_from_civil(1958, 1, 1), 0);
        assert_eq!(days_from_civil(1, 1, 1), *Utc::DAYS.start());
        assert_eq!(days_from_civil(9999, 12, 31), *Utc::DAYS.end());
    }

    #[test]
    fn every_day_is_the_day_after_the_day_before() {
        let mut expected = (1_u16, 1_u8, 1_u8);
        for day in Utc::DAYS {
            assert_eq!(civil_from_days(day), expected);
            let (year, month, day_of_month) = expected;
            assert_eq!(days_from_civil(year, month, day_of_month), day);
            expected = match (month, day_of_month) {
                (12, 31) => (year + 1, 1, 1),
                (month, last) if last == days_of_month(year, month) => (year, month + 1, 1),
                (month, day_of_month) => (year, month, day_of_month + 1),
            };
        }
    }
}
