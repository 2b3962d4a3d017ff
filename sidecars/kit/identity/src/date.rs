//! Instants of tickets, tokens and accounts.

use std::fmt;

use fep_time::{AsciiForm, Utc};
use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00 UTC without leap seconds: `NumericDate` of RFC 7519 section 2, which tickets carry.
/// It is a type of its own because it is not [`fep_time::Tai`]: it repeats a second at a leap second, which no lifetime
/// of a ticket notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumericDate(pub i64);

impl NumericDate {
    /// What the clock of the machine says. The rest of this crate takes the time as an argument.
    #[must_use]
    pub fn now() -> NumericDate {
        let seconds = fep_time::clock::unix_now_ns() / fep_time::NS_PER_SECOND.unsigned_abs();
        NumericDate(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// So many seconds later.
    #[must_use]
    pub const fn plus_s(self, seconds: i64) -> NumericDate {
        NumericDate(self.0.saturating_add(seconds))
    }

    /// Seconds from an earlier instant to this one; negative when that one is later.
    #[must_use]
    pub const fn s_since(self, earlier: NumericDate) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Days from 1958-01-01, where [`Utc`] counts from, to 1970-01-01.
const DAY_OF_UNIX_EPOCH: i64 = 4383;

impl fmt::Display for NumericDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.0.div_euclid(86_400).saturating_add(DAY_OF_UNIX_EPOCH);
        let ns_of_day = self.0.rem_euclid(86_400) * fep_time::NS_PER_SECOND;
        match i32::try_from(day).ok().and_then(|day| Utc::from_day_and_ns(day, ns_of_day).ok()) {
            Some(utc) => f.write_str(&utc.to_ascii(AsciiForm::A, 0)),
            None => write!(f, "{} s since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_date_prints_as_the_utc_that_coreutils_print_for_it() {
        // date -u -d @1780000000 +%FT%TZ
        assert_eq!(NumericDate(1_780_000_000).to_string(), "2026-05-28T20:26:40Z");
        assert_eq!(NumericDate(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(NumericDate(-1).to_string(), "1969-12-31T23:59:59Z");
        assert_eq!(NumericDate(i64::MAX).to_string(), format!("{} s since 1970", i64::MAX));
    }
}
