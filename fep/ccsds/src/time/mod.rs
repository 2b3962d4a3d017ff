//! Time: the scale of the front end, leap seconds, the four CCSDS time codes (301.0-B-4), and the correlation of an
//! on-board clock with the ground.
//!
//! No clock is read here. [`Tai`] is the time of everything that happens on the ground; [`Utc`] is for people and for
//! the calendar time codes.

mod ascii;
mod ccs;
mod cds;
mod correlation;
mod cuc;
mod leap;
mod utc;

pub use ascii::AsciiForm;
pub use ccs::{Ccs, CcsDate, CcsFormat};
pub use cds::{Cds, CdsFormat, SubMillisecond};
pub use correlation::{Correlation, CorrelationError, CorrelationSpec, Correlator, PairVerdict, TimePair};
pub use cuc::{Cuc, CucFormat};
pub use leap::{LeapSecond, LeapSeconds};
pub use utc::Utc;

use serde::{Deserialize, Serialize};

pub(crate) const NS_PER_SECOND: i64 = 1_000_000_000;
pub(crate) const NS_PER_DAY: i64 = 86_400 * NS_PER_SECOND;

/// International atomic time in nanoseconds since 1958-01-01T00:00:00 TAI. It reaches from 1665 to 2250.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tai(pub i64);

impl Tai {
    /// 1958-01-01T00:00:00 TAI, the CCSDS epoch.
    pub const EPOCH: Tai = Tai(0);
    /// 1970-01-01T00:00:00 TAI: the epoch of `CLOCK_TAI` of Linux, whose readings count from here.
    pub const UNIX_EPOCH: Tai = Tai(4383 * NS_PER_DAY);

    /// This time and a number of nanoseconds more; `None` beyond 2250.
    #[must_use]
    pub const fn checked_add_ns(self, ns: i64) -> Option<Tai> {
        match self.0.checked_add(ns) {
            Some(sum) => Some(Tai(sum)),
            None => None,
        }
    }
}

/// Epoch that a time code counts from (301.0-B-4 3.2.2, 3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeEpoch {
    /// 1958-01-01, level 1.
    Ccsds,
    /// The agency's own, level 2: a managed parameter.
    Agency,
}

/// A time code or date that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Too few octets.
    #[error("{needed} octets needed, there are {actual}")]
    Short {
        /// Least octets needed.
        needed: usize,
        /// Octets there.
        actual: usize,
    },
    /// The P-field is not that of the time code.
    #[error("P-field {octets:02X?} is not that of a {code} time code")]
    PField {
        /// Name of the time code.
        code: &'static str,
        /// The octets.
        octets: [u8; 2],
    },
    /// A format that the time code does not have.
    #[error("{field} of {value} octets: {code} has {allowed}")]
    Format {
        /// Name of the time code.
        code: &'static str,
        /// Which length.
        field: &'static str,
        /// Given.
        value: u8,
        /// What may be.
        allowed: &'static str,
    },
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
    /// The time does not fit the time code, or [`Tai`].
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

pub(crate) fn need(octets: &[u8], needed: usize) -> Result<&[u8], TimeError> {
    octets.get(..needed).ok_or(TimeError::Short { needed, actual: octets.len() })
}
