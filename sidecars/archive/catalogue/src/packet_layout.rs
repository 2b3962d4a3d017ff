//! Packets as the missions describe them: their secondary headers, and how they lie in frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use fep_ccsds::pus::{PUS_TM_HEADER_LEN, PusTmHeader};
use fep_ccsds::time::{Cds, CdsFormat, Cuc, CucFormat, TimeEpoch};
use fep_mission::{Fleet, Mission, PacketLayout, SecondaryHeader, TimeField};
use fep_time::{LeapSeconds, Tai};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the missions say of packets. Packets of spacecraft that no mission describes have neither type nor on-board time, and
/// cannot be taken out of their frames; they are archived all the same. Written and read are the secondary headers alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<u16, PacketLayout>", into = "BTreeMap<u16, PacketLayout>")]
pub struct PacketLayouts {
    fleet: Arc<Fleet>,
}

impl From<BTreeMap<u16, PacketLayout>> for PacketLayouts {
    fn from(layouts: BTreeMap<u16, PacketLayout>) -> PacketLayouts {
        PacketLayouts::from(Fleet::of_layouts(layouts))
    }
}

impl From<PacketLayouts> for BTreeMap<u16, PacketLayout> {
    fn from(layouts: PacketLayouts) -> BTreeMap<u16, PacketLayout> {
        layouts.fleet.layouts().clone()
    }
}

impl From<Fleet> for PacketLayouts {
    fn from(fleet: Fleet) -> PacketLayouts {
        PacketLayouts { fleet: Arc::new(fleet) }
    }
}

/// What was read of a secondary header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Secondary {
    pub(crate) service: Option<u8>,
    pub(crate) subtype: Option<u8>,
    pub(crate) onboard_tai_ns: Option<i64>,
}

impl PacketLayouts {
    /// What the missions say.
    ///
    /// # Errors
    /// Two of them describe the packets of one spacecraft identifier differently.
    pub fn of_missions<'m>(missions: impl IntoIterator<Item = &'m Mission>) -> Result<PacketLayouts, Error> {
        Fleet::of(missions)
            .map(PacketLayouts::from)
            .map_err(|conflict| Error::Invalid { what: "secondary header", problem: conflict.to_string() })
    }

    /// What all missions say.
    #[must_use]
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub(crate) fn of(&self, scid: u16, apid: u16) -> SecondaryHeader {
        self.fleet.secondary_header(scid, apid)
    }
}

/// Reads the front of a packet data field whose secondary header flag is set. What cannot be read stays open.
pub(crate) fn read_secondary(
    header: SecondaryHeader,
    data_field: &[u8],
    leap_seconds: &LeapSeconds,
) -> Secondary {
    match header {
        SecondaryHeader::None => Secondary::default(),
        SecondaryHeader::PusC { time } => match PusTmHeader::parse(data_field) {
            Err(_) => Secondary::default(),
            Ok(header) => Secondary {
                service: Some(header.service),
                subtype: Some(header.subtype),
                onboard_tai_ns: time
                    .and_then(|time| read_time(time, data_field.get(PUS_TM_HEADER_LEN..)?, leap_seconds)),
            },
        },
        SecondaryHeader::Time { time } => {
            Secondary { onboard_tai_ns: read_time(time, data_field, leap_seconds), ..Secondary::default() }
        }
    }
}

fn read_time(field: TimeField, octets: &[u8], leap_seconds: &LeapSeconds) -> Option<i64> {
    match field {
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
                let sub_millisecond = TimeField::sub_millisecond(sub_millisecond_octets)?;
                CdsFormat { epoch: TimeEpoch::Agency, long_day, sub_millisecond }
                    .parse_t_field(octets)
                    .ok()?
            };
            leap_seconds.tai(cds.to_utc(epoch_day).ok()?).ok().map(|tai| tai.0)
        }
    }
}
