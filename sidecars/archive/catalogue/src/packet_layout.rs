//! Secondary headers of packets, as the missions describe them.

use std::collections::BTreeMap;

use fep_ccsds::pus::{PUS_TM_HEADER_LEN, PusTmHeader};
use fep_ccsds::time::{Cds, CdsFormat, Cuc, CucFormat, TimeEpoch};
use fep_mission::{Mission, PacketLayout, SecondaryHeader, TimeField};
use fep_time::{LeapSeconds, Tai};

use crate::Error;

/// Secondary headers by spacecraft. Packets of spacecraft that are not here have neither type nor on-board time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PacketLayouts {
    /// By spacecraft identifier.
    pub spacecraft: BTreeMap<u16, PacketLayout>,
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
        let mut layouts = PacketLayouts::default();
        for mission in missions {
            for (name, craft) in mission.spacecraft.iter().filter(|(_, craft)| !craft.packets.is_empty()) {
                let before = layouts.spacecraft.insert(craft.scid, craft.packets.clone());
                if before.is_some_and(|before| before != craft.packets) {
                    return Err(Error::Invalid {
                        what: "secondary header",
                        problem: format!(
                            "mission {} describes the packets of spacecraft {name} (SCID {}) otherwise than another",
                            mission.name, craft.scid
                        ),
                    });
                }
            }
        }
        Ok(layouts)
    }

    pub(crate) fn of(&self, scid: u16, apid: u16) -> SecondaryHeader {
        self.spacecraft.get(&scid).map_or(SecondaryHeader::None, |layout| layout.of(apid))
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
