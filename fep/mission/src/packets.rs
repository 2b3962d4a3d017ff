//! What a spacecraft puts into the secondary headers of its telemetry packets: `[spacecraft.NAME.packets]`. No header tells.

use std::collections::BTreeMap;

use fep_ccsds::time::{CucFormat, SubMillisecond, TimeEpoch};
use serde::{Deserialize, Serialize};

/// Secondary headers of one spacecraft.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketLayout {
    /// Of every application process that is not in `apids`.
    #[serde(default)]
    pub all: SecondaryHeader,
    /// By application process.
    #[serde(default)]
    pub apids: BTreeMap<u16, SecondaryHeader>,
}

/// What a telemetry packet's secondary header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SecondaryHeader {
    /// Nothing that anybody reads.
    #[default]
    None,
    /// ECSS-E-ST-70-41C 7.4.3: type, subtype, then the time.
    PusC {
        /// Time field.
        time: Option<TimeField>,
    },
    /// A time field at its front.
    Time {
        /// Time field.
        time: TimeField,
    },
}

/// A time code of 301.0-B-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeField {
    /// CUC, counting TAI seconds.
    Cuc {
        /// Octets of whole seconds, 1 to 7.
        coarse_octets: u8,
        /// Octets of fraction, 0 to 10.
        fine_octets: u8,
        /// Epoch, in TAI seconds since 1958-01-01.
        #[serde(default)]
        epoch_tai_s: i64,
        /// Whether a P-field stands before it (it then says the octets).
        #[serde(default)]
        p_field: bool,
    },
    /// CDS, counting UTC days.
    Cds {
        /// Whether the day has 24 bits instead of 16.
        #[serde(default)]
        long_day: bool,
        /// Octets below the millisecond: 0, 2 (microseconds) or 4 (picoseconds).
        #[serde(default)]
        sub_millisecond_octets: u8,
        /// Epoch, in days since 1958-01-01.
        #[serde(default)]
        epoch_day: i32,
        /// Whether a P-field stands before it (it then says the octets).
        #[serde(default)]
        p_field: bool,
    },
}

impl PacketLayout {
    /// The secondary header of an application process.
    #[must_use]
    pub fn of(&self, apid: u16) -> SecondaryHeader {
        *self.apids.get(&apid).unwrap_or(&self.all)
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == PacketLayout::default()
    }

    /// Checks APIDs and time fields.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if let Some(apid) = self.apids.keys().find(|apid| **apid > 2047) {
            return Err(format!("{apid} is not an APID: 0 to 2047"));
        }
        for header in std::iter::once(&self.all).chain(self.apids.values()) {
            if let SecondaryHeader::PusC { time: Some(time) } | SecondaryHeader::Time { time } = header {
                time.validate()?;
            }
        }
        Ok(())
    }
}

impl TimeField {
    fn validate(self) -> Result<(), String> {
        match self {
            TimeField::Cuc { coarse_octets, fine_octets, .. } => {
                CucFormat::new(TimeEpoch::Agency, coarse_octets, fine_octets)
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            }
            TimeField::Cds { sub_millisecond_octets, .. } => {
                TimeField::sub_millisecond(sub_millisecond_octets).map(|_| ()).ok_or_else(|| {
                    format!("sub_millisecond_octets is {sub_millisecond_octets}; CDS has 0, 2 or 4")
                })
            }
        }
    }

    /// What stands below the millisecond of a CDS field, by its octets; `None` for a number that CDS does not have.
    #[must_use]
    pub const fn sub_millisecond(octets: u8) -> Option<SubMillisecond> {
        match octets {
            0 => Some(SubMillisecond::None),
            2 => Some(SubMillisecond::Microseconds),
            4 => Some(SubMillisecond::Picoseconds),
            _ => None,
        }
    }
}
