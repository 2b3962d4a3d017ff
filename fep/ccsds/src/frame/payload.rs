//! What a frame's data field holds, read by the service of its virtual channel.

use super::{Bpdu, ConstructionRule, Fhp, Frame, FrameInvalid, Header, Mpdu, Tfdf, TmDataField, upid};
use crate::FrameKind;
use serde::{Deserialize, Serialize};

/// Service of an AOS virtual channel: a managed parameter, no header tells (732.0-B-4 5.3).
/// TM and USLP frames say themselves what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VcService {
    /// Packets in M_PDUs.
    #[default]
    Packets,
    /// Bits in B_PDUs.
    Bitstream,
    /// Virtual channel access: the data field belongs to the mission.
    Vca,
}

/// A zone of packets and where the first of them starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketZone<'a> {
    /// First header pointer.
    pub first_header_pointer: Fhp,
    /// The zone.
    pub data: &'a [u8],
}

/// The content of a data field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Packets, for a [`crate::PacketAssembler`].
    Packets(PacketZone<'a>),
    /// Bits.
    Bitstream(Bpdu<'a>),
    /// A service data unit, or part of one, that belongs to the mission (VCA, MAPA, octet stream).
    /// For USLP the construction rule and pointer are in [`Frame::tfdf`].
    Sdu(&'a [u8]),
    /// Only idle data.
    Idle(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Reads the data field. `service` matters for AOS frames only.
    ///
    /// # Errors
    /// [`FrameInvalid::FirstHeaderPointer`], [`FrameInvalid::BitstreamPointer`]: a pointer outside its zone;
    /// [`FrameInvalid::NoRoom`]: a zone that is missing; [`FrameInvalid::PacketOrder`]. The frame itself was received all the
    /// same: it counts as such, and its counters are looked at.
    pub fn payload(&self, service: VcService) -> Result<Payload<'a>, FrameInvalid> {
        if self.idle {
            return Ok(Payload::Idle(self.data_zone));
        }
        match self.header {
            Header::Tm(header) => match header.data_field {
                TmDataField::Vca { .. } => Ok(Payload::Sdu(self.data_zone)),
                TmDataField::LegacyPackets { reverse_order: true, .. } => Err(FrameInvalid::PacketOrder),
                TmDataField::Packets { first_header_pointer }
                | TmDataField::LegacyPackets { first_header_pointer, .. } => {
                    first_header_pointer.check(self.data_zone.len())?;
                    Ok(Payload::Packets(PacketZone { first_header_pointer, data: self.data_zone }))
                }
            },
            Header::Aos(_) => match service {
                VcService::Packets => {
                    let Mpdu { first_header_pointer, packet_zone, .. } = Mpdu::parse(self.data_zone)?;
                    Ok(Payload::Packets(PacketZone { first_header_pointer, data: packet_zone }))
                }
                VcService::Bitstream => Bpdu::parse(self.data_zone).map(Payload::Bitstream),
                VcService::Vca => Ok(Payload::Sdu(self.data_zone)),
            },
            Header::Uslp(_) => {
                let tfdf = Tfdf::parse(self.data_zone)?;
                Ok(match (tfdf.upid, tfdf.rule) {
                    (upid::IDLE, _) => Payload::Idle(tfdf.zone),
                    (upid::PACKETS, ConstructionRule::PacketsSpanning) => Payload::Packets(PacketZone {
                        first_header_pointer: tfdf.first_header_pointer(),
                        data: tfdf.zone,
                    }),
                    // Whole packets: the first starts at the front.
                    (upid::PACKETS, ConstructionRule::Unsegmented) => {
                        Payload::Packets(PacketZone { first_header_pointer: Fhp::At(0), data: tfdf.zone })
                    }
                    _ => Payload::Sdu(tfdf.zone),
                })
            }
        }
    }

    /// The packet zone of a frame whose virtual channel carries packets: TM with synchronisation flag 0, AOS M_PDU,
    /// USLP construction rules 0 and 7 with packets. `None` for anything else. An idle frame is a zone with
    /// [`Fhp::IdleOnly`], so that its octets are accounted for too.
    ///
    /// # Errors
    /// As [`Frame::payload`].
    pub fn packet_zone(&self) -> Result<Option<PacketZone<'a>>, FrameInvalid> {
        Ok(match self.payload(VcService::Packets)? {
            Payload::Packets(zone) => Some(zone),
            Payload::Idle(data) => Some(PacketZone { first_header_pointer: Fhp::IdleOnly, data }),
            Payload::Bitstream(_) | Payload::Sdu(_) => None,
        })
    }

    /// The data field of a USLP frame; `None` for the other kinds.
    ///
    /// # Errors
    /// As [`Tfdf::parse`].
    pub fn tfdf(&self) -> Result<Option<Tfdf<'a>>, FrameInvalid> {
        if self.kind == FrameKind::Uslp { Tfdf::parse(self.data_zone).map(Some) } else { Ok(None) }
    }
}
