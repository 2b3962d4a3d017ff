//! What the missions put into the secondary headers of their packets: no header tells, so it is configuration.

use std::collections::BTreeMap;

use fep_ccsds::pus::{PUS_TM_HEADER_LEN, PusTmHeader};
use fep_ccsds::time::{Cds, CdsFormat, Cuc, CucFormat, SubMillisecond, TimeEpoch};
use fep_time::{LeapSeconds, Tai};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Secondary headers by spacecraft. Packets of spacecraft that are not here have neither type nor on-board time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PacketLayouts {
    /// By spacecraft identifier.
    pub spacecraft: BTreeMap<u16, SpacecraftLayout>,
}

/// Secondary headers of one spacecraft.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacecraftLayout {
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
    /// Nothing that the archive reads.
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

/// What was read of a secondary header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Secondary {
    pub(crate) service: Option<u8>,
    pub(crate) subtype: Option<u8>,
    pub(crate) onboard_tai_ns: Option<i64>,
}

impl PacketLayouts {
    /// Checks the time fields.
    ///
    /// # Errors
    /// The first one that the time code does not have.
    pub fn validate(&self) -> Result<(), Error> {
        for (scid, layout) in &self.spacecraft {
            for header in std::iter::once(&layout.all).chain(layout.apids.values()) {
                let (SecondaryHeader::PusC { time: Some(time) } | SecondaryHeader::Time { time }) = header
                else {
                    continue;
                };
                time.validate().map_err(|problem| Error::Invalid {
                    what: "secondary header",
                    problem: format!("spacecraft {scid}: {problem}"),
                })?;
            }
        }
        Ok(())
    }

    pub(crate) fn of(&self, scid: u16, apid: u16) -> SecondaryHeader {
        match self.spacecraft.get(&scid) {
            None => SecondaryHeader::None,
            Some(layout) => *layout.apids.get(&apid).unwrap_or(&layout.all),
        }
    }
}

impl SecondaryHeader {
    /// Reads the front of a packet data field whose secondary header flag is set. What cannot be read stays open.
    pub(crate) fn read(self, data_field: &[u8], leap_seconds: &LeapSeconds) -> Secondary {
        match self {
            SecondaryHeader::None => Secondary::default(),
            SecondaryHeader::PusC { time } => match PusTmHeader::parse(data_field) {
                Err(_) => Secondary::default(),
                Ok(header) => Secondary {
                    service: Some(header.service),
                    subtype: Some(header.subtype),
                    onboard_tai_ns: time
                        .and_then(|time| time.read(data_field.get(PUS_TM_HEADER_LEN..)?, leap_seconds)),
                },
            },
            SecondaryHeader::Time { time } => {
                Secondary { onboard_tai_ns: time.read(data_field, leap_seconds), ..Secondary::default() }
            }
        }
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
                sub_millisecond(sub_millisecond_octets).map(|_| ()).ok_or_else(|| {
                    format!("sub_millisecond_octets is {sub_millisecond_octets}; CDS has 0, 2 or 4")
                })
            }
        }
    }

    fn read(self, octets: &[u8], leap_seconds: &LeapSeconds) -> Option<i64> {
        match self {
            TimeField::Cuc { coarse_octets, fine_octets, epoch_tai_s, p_field } => {
                let (cuc, _) = if p_field {
                    Cuc::parse(octets).ok()?
                } else {
                    CucFormat::new(TimeEpoch::Agency, coarse_octets, fine_octets)
                        .ok()?
                        .parse_t_field(octets)
                        .ok()?
                };
                let epoch = Tai(epoch_tai_s.checked_mul(1_000_000_000)?);
                cuc.to_tai(epoch).ok().map(|tai| tai.0)
            }
            TimeField::Cds { long_day, sub_millisecond_octets, epoch_day, p_field } => {
                let (cds, _) = if p_field {
                    Cds::parse(octets).ok()?
                } else {
                    let sub_millisecond = sub_millisecond(sub_millisecond_octets)?;
                    CdsFormat { epoch: TimeEpoch::Agency, long_day, sub_millisecond }
                        .parse_t_field(octets)
                        .ok()?
                };
                leap_seconds.tai(cds.to_utc(epoch_day).ok()?).ok().map(|tai| tai.0)
            }
        }
    }
}

fn sub_millisecond(octets: u8) -> Option<SubMillisecond> {
    match octets {
        0 => Some(SubMillisecond::None),
        2 => Some(SubMillisecond::Microseconds),
        4 => Some(SubMillisecond::Picoseconds),
        _ => None,
    }
}
