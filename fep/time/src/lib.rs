//! Time of the front end: instants and the clocks they are read from.
//!
//! | type | what it is | for |
//! |---|---|---|
//! | [`Tai`] | an instant of International Atomic Time, nanoseconds since 1958-01-01 | when something happened |
//! | [`Utc`] | a calendar date and time | people, calendar time codes |
//! | [`LeapSeconds`] | TAI − UTC, dated | from one to the other |
//! | [`Monotonic`] | an instant of a clock that nobody sets | timers, time-outs, ages |
//!
//! A [`Tai`] may step when somebody sets the clock of the machine; a [`Monotonic`] never does. They are two types so that
//! no timer can be built on the first by accident. [`clock`] is the only module that asks the operating system.

mod ascii;
pub mod clock;
mod leap;
mod monotonic;
mod utc;

pub use ascii::AsciiForm;
pub use clock::{ReceiveClock, tai_now};
pub use leap::{LeapSecond, LeapSeconds};
pub use monotonic::Monotonic;
pub use utc::Utc;

use serde::{Deserialize, Serialize};

/// Nanoseconds of a second.
pub const NS_PER_SECOND: i64 = 1_000_000_000;
/// Nanoseconds of a day without a leap second.
pub const NS_PER_DAY: i64 = 86_400 * NS_PER_SECOND;

/// International atomic time in nanoseconds since 1958-01-01T00:00:00 TAI. It reaches from 1665 to 2250.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tai(pub i64);

impl Tai {
    /// 1958-01-01T00:00:00 TAI, the CCSDS epoch.
    pub const EPOCH: Tai = Tai(0);
    /// 1970-01-01T00:00:00 TAI: the epoch of `CLOCK_TAI` of Linux, whose readings count from here.
    pub const UNIX_EPOCH: Tai = Tai(4383 * NS_PER_DAY);

    /// This instant and a number of nanoseconds more; `None` beyond 2250.
    #[must_use]
    pub const fn checked_add_ns(self, ns: i64) -> Option<Tai> {
        match self.0.checked_add(ns) {
            Some(sum) => Some(Tai(sum)),
            None => None,
        }
    }

    /// This instant and a number of nanoseconds more; the last instant there is beyond 2250.
    #[must_use]
    pub const fn saturating_add_ns(self, ns: i64) -> Tai {
        Tai(self.0.saturating_add(ns))
    }

    /// Nanoseconds from an earlier instant to this one; negative when it is later.
    #[must_use]
    pub const fn ns_since(self, earlier: Tai) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A date or time that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A field outside its range.
    #[error("{field} is {value}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// Not a date and time in ASCII code A or B.
    #[error("'{text}' is not YYYY-MM-DDThh:mm:ss or YYYY-DDDThh:mm:ss: {why}")]
    Syntax {
        /// What was read.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The time does not fit the calendar, or [`Tai`].
    #[error("the time is outside the range of {0}")]
    OutOfRange(&'static str),
    /// Second 60 of a day that has none.
    #[error("day {day} since 1958-01-01 has no leap second")]
    NoLeapSecond {
        /// Days since 1958-01-01.
        day: i32,
    },
    /// A leap second list that cannot be read.
    #[error("leap second list, line {line}: {why}")]
    LeapList {
        /// Line, from 1; 0 for the whole list.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
}
