//! Leap seconds: TAI − UTC, dated and extendable.
//!
//! A table, not a clock. The built-in table is that of IERS Bulletin C; a newer one is read from the list that IERS and
//! NIST publish, or extended by hand when a bulletin announces a second.

use crate::{NS_PER_DAY, NS_PER_SECOND, Tai, TimeError, Utc};

/// TAI − UTC from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeapSecond {
    /// First day with this difference, in days since 1958-01-01.
    pub day: i32,
    /// TAI − UTC in seconds.
    pub tai_minus_utc: i32,
}

impl LeapSecond {
    const fn start(&self) -> i64 {
        self.day as i64 * NS_PER_DAY + self.tai_minus_utc as i64 * NS_PER_SECOND
    }
}

/// The leap seconds known, and until when nothing else is to come.
///
/// Before 1972 UTC did not differ from TAI by whole seconds. Those years are read with the 10 s of 1972-01-01, so that
/// time stays continuous; they are not history to the second.
///
/// ```
/// use fep_time::{LeapSeconds, Utc};
/// let leap_seconds = LeapSeconds::builtin();
/// let utc = Utc::new(2016, 12, 31, 23, 59, 60, 0).unwrap();
/// let tai = leap_seconds.tai(utc).unwrap();
/// assert_eq!(leap_seconds.utc(tai), Ok(utc));
/// assert_eq!(leap_seconds.tai_minus_utc(tai), 36);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeapSeconds {
    // Never empty, days ascending, differences of neighbours not zero and at most 1.
    table: Vec<LeapSecond>,
    valid_until: Option<Utc>,
}

// (year, month, TAI - UTC) from the first of the month on.
const BUILTIN: [(u16, u8, i32); 28] = [
    (1972, 1, 10),
    (1972, 7, 11),
    (1973, 1, 12),
    (1974, 1, 13),
    (1975, 1, 14),
    (1976, 1, 15),
    (1977, 1, 16),
    (1978, 1, 17),
    (1979, 1, 18),
    (1980, 1, 19),
    (1981, 7, 20),
    (1982, 7, 21),
    (1983, 7, 22),
    (1985, 7, 23),
    (1988, 1, 24),
    (1990, 1, 25),
    (1991, 1, 26),
    (1992, 7, 27),
    (1993, 7, 28),
    (1994, 7, 29),
    (1996, 1, 30),
    (1997, 7, 31),
    (1999, 1, 32),
    (2006, 1, 33),
    (2009, 1, 34),
    (2012, 7, 35),
    (2015, 7, 36),
    (2017, 1, 37),
];
const BUILTIN_VALID_UNTIL: (u16, u8, u8) = (2026, 6, 28);

// 1900-01-01, the epoch of the published list, in days since 1958-01-01.
const NTP_EPOCH_DAY: i64 = -21_184;

impl Default for LeapSeconds {
    fn default() -> Self {
        LeapSeconds::builtin()
    }
}

impl LeapSeconds {
    /// The seconds announced up to IERS Bulletin C 70; no other until 2026-06-28.
    #[must_use]
    pub fn builtin() -> LeapSeconds {
        let midnight = |year, month, day| {
            Utc::new(year, month, day, 0, 0, 0, 0)
                .unwrap_or_else(|_| unreachable!("the built-in dates are dates"))
        };
        let table = BUILTIN
            .iter()
            .map(|&(year, month, tai_minus_utc)| LeapSecond {
                day: midnight(year, month, 1).day_since_1958(),
                tai_minus_utc,
            })
            .collect();
        let (year, month, day) = BUILTIN_VALID_UNTIL;
        LeapSeconds { table, valid_until: Some(midnight(year, month, day)) }
    }

    /// Reads the published `leap-seconds.list`: lines of `<seconds since 1900> <TAI − UTC>`, comments after `#`, the
    /// expiry date after `#@`.
    ///
    /// # Errors
    /// [`TimeError::LeapList`] with the line that cannot be.
    pub fn from_list(text: &str) -> Result<LeapSeconds, TimeError> {
        let mut list = LeapSeconds { table: Vec::new(), valid_until: None };
        for (index, line) in text.lines().enumerate() {
            let refuse = |why| TimeError::LeapList { line: index + 1, why };
            let day_of = |seconds: &str| -> Result<i32, TimeError> {
                let seconds: i64 =
                    seconds.parse().map_err(|_| refuse("not a number of seconds since 1900"))?;
                if seconds % 86_400 != 0 {
                    return Err(refuse("not midnight"));
                }
                i32::try_from(seconds / 86_400 + NTP_EPOCH_DAY)
                    .map_err(|_| refuse("the date is out of range"))
            };
            if let Some(expiry) = line.strip_prefix("#@") {
                let expiry = Utc::from_day_and_ns(day_of(expiry.trim())?, 0);
                list.valid_until = Some(expiry.map_err(|_| refuse("the date is out of range"))?);
                continue;
            }
            let mut fields = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(seconds) = fields.next() else { continue };
            let difference = fields.next().ok_or(refuse("TAI - UTC is missing"))?;
            let tai_minus_utc = difference.parse().map_err(|_| refuse("TAI - UTC is not a number"))?;
            list.append(LeapSecond { day: day_of(seconds)?, tai_minus_utc }, index + 1)?;
        }
        if list.table.is_empty() {
            return Err(TimeError::LeapList { line: 0, why: "no leap second in it" });
        }
        Ok(list)
    }

    /// Adds a second announced after the last one known.
    ///
    /// # Errors
    /// [`TimeError::LeapList`] when it is not later than the last, or does not differ from it by one second.
    pub fn extend(&mut self, day: i32, tai_minus_utc: i32) -> Result<(), TimeError> {
        self.append(LeapSecond { day, tai_minus_utc }, 0)
    }

    fn append(&mut self, leap: LeapSecond, line: usize) -> Result<(), TimeError> {
        if let Some(last) = self.table.last() {
            if leap.day <= last.day {
                return Err(TimeError::LeapList { line, why: "not later than the one before" });
            }
            if leap.tai_minus_utc.abs_diff(last.tai_minus_utc) != 1 {
                return Err(TimeError::LeapList { line, why: "TAI - UTC does not change by one second" });
            }
        }
        if leap.tai_minus_utc.unsigned_abs() > 1000 || !(-30_000..=100_000).contains(&leap.day) {
            return Err(TimeError::LeapList { line, why: "the date or TAI - UTC is out of range" });
        }
        self.table.push(leap);
        Ok(())
    }

    /// Declares that no other second comes before this date (a bulletin announced that there is none).
    pub fn set_valid_until(&mut self, date: Utc) {
        self.valid_until = Some(date);
    }

    /// From this date on a leap second may exist that the table does not know.
    #[must_use]
    pub const fn valid_until(&self) -> Option<Utc> {
        self.valid_until
    }

    /// The table, dates ascending.
    #[must_use]
    pub fn table(&self) -> &[LeapSecond] {
        &self.table
    }

    /// TAI − UTC in seconds at a time. During a leap second it is that of the day that the second belongs to.
    #[must_use]
    pub fn tai_minus_utc(&self, tai: Tai) -> i32 {
        self.table[self.known_at(tai)].tai_minus_utc
    }

    /// The UTC of a time.
    ///
    /// # Errors
    /// Never for a [`Tai`], whose range lies within the calendar's; kept for symmetry with [`LeapSeconds::tai`].
    pub fn utc(&self, tai: Tai) -> Result<Utc, TimeError> {
        let known = self.known_at(tai);
        // i128: the difference could leave the range of i64 at its ends.
        let utc_ns =
            i128::from(tai.0) - i128::from(self.table[known].tai_minus_utc) * i128::from(NS_PER_SECOND);
        let mut day = utc_ns.div_euclid(i128::from(NS_PER_DAY)) as i32;
        if self.table.get(known + 1).is_some_and(|next| self.in_leap_second(tai, known, next)) {
            day -= 1;
        }
        Utc::from_day_and_ns(day, (utc_ns - i128::from(day) * i128::from(NS_PER_DAY)) as i64)
    }

    /// The TAI of a date and time.
    ///
    /// # Errors
    /// [`TimeError::NoLeapSecond`] for a second 60 (or, on a day with a negative leap second, 59) that the day does not
    /// have; [`TimeError::OutOfRange`] outside 1665 to 2250.
    pub fn tai(&self, utc: Utc) -> Result<Tai, TimeError> {
        let day = utc.day_since_1958();
        let known = self.table.partition_point(|leap| leap.day <= day).saturating_sub(1);
        let offset = i128::from(self.table[known].tai_minus_utc) * i128::from(NS_PER_SECOND);
        let tai = i128::from(day) * i128::from(NS_PER_DAY) + i128::from(utc.ns_of_day()) + offset;
        let tomorrow = match self.table.get(known + 1) {
            Some(next) if next.day == day + 1 => i128::from(next.start()),
            _ => (i128::from(day) + 1) * i128::from(NS_PER_DAY) + offset,
        };
        if tai >= tomorrow {
            return Err(TimeError::NoLeapSecond { day });
        }
        i64::try_from(tai).map(Tai).map_err(|_| TimeError::OutOfRange("TAI in nanoseconds"))
    }

    /// Index of the last entry that has begun; the first for times before it.
    fn known_at(&self, tai: Tai) -> usize {
        self.table.partition_point(|leap| leap.start() <= tai.0).saturating_sub(1)
    }

    /// Whether the time lies past the midnight of the entry in force but before the next entry begins.
    fn in_leap_second(&self, tai: Tai, known: usize, next: &LeapSecond) -> bool {
        let midnight =
            i64::from(next.day) * NS_PER_DAY + i64::from(self.table[known].tai_minus_utc) * NS_PER_SECOND;
        (midnight..next.start()).contains(&tai.0)
    }
}
