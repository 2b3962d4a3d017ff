//! The CCSDS time codes (301.0-B-4) that are counts or calendar fields, and the correlation of an on-board clock with
//! the ground. Instants, the calendar and the ASCII codes are in `fep-time`.

mod ccs;
mod cds;
mod correlation;
mod cuc;

pub use ccs::{Ccs, CcsDate, CcsFormat};
pub use cds::{Cds, CdsFormat, SubMillisecond};
pub use correlation::{Correlation, CorrelationError, CorrelationSpec, Correlator, PairVerdict, TimePair};
pub use cuc::{Cuc, CucFormat};

use serde::{Deserialize, Serialize};

/// Epoch that a time code counts from (301.0-B-4 3.2.2, 3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeEpoch {
    /// 1958-01-01, level 1.
    Ccsds,
    /// The agency's own, level 2: a managed parameter.
    Agency,
}

/// A time code that cannot be.
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
    /// The time does not fit the time code, or [`fep_time::Tai`].
    #[error("the time is outside the range of {0}")]
    OutOfRange(&'static str),
    /// A date or time that the calendar does not have.
    #[error(transparent)]
    Calendar(#[from] fep_time::TimeError),
}

pub(crate) fn need(octets: &[u8], needed: usize) -> Result<&[u8], TimeError> {
    octets.get(..needed).ok_or(TimeError::Short { needed, actual: octets.len() })
}
