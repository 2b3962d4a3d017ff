//! Secondary headers of the packet utilisation standard, ECSS-E-ST-70-41C 7.4 (PUS-C).
//!
//! Header and packet error control only: what the services do with them is not here.

use crate::packet::{SPACE_PACKET_HEADER_LEN, SpacePacketHeader};
use fep_coding::crc::crc16_fecf;

/// Octets of a telecommand secondary header without spare octets.
pub const PUS_TC_HEADER_LEN: usize = 5;
/// Octets of a telemetry secondary header before its time field.
pub const PUS_TM_HEADER_LEN: usize = 7;
/// Octets of the packet error control field.
pub const PACKET_ERROR_CONTROL_LEN: usize = 2;
const PUS_VERSION: u8 = 2;

/// Not a PUS-C header or packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PusInvalid {
    /// Too few octets.
    #[error("{needed} octets needed, there are {actual}")]
    Short {
        /// Least octets needed.
        needed: usize,
        /// Octets there.
        actual: usize,
    },
    /// Another PUS version number.
    #[error("PUS version number is {0}, PUS-C has 2")]
    Version(u8),
    /// The packet error control does not match.
    #[error("packet error control is {received:04X}, the octets give {computed:04X}")]
    ErrorControl {
        /// Field in the packet.
        received: u16,
        /// CRC of the octets before it.
        computed: u16,
    },
    /// The packet would be longer than a space packet can be.
    #[error("the data field has {0} octets, a space packet holds 65536")]
    TooLong(usize),
}

/// Telemetry secondary header (ECSS-E-ST-70-41C 7.4.3.1). The time field that ends it is the mission's: CUC or CDS.
///
/// ```
/// use fep_ccsds::pus::PusTmHeader;
/// let header = PusTmHeader { time_reference_status: 0, service: 3, subtype: 25, message_counter: 7, destination_id: 1 };
/// assert_eq!(PusTmHeader::parse(&header.emit()), Ok(header));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PusTmHeader {
    /// Spacecraft time reference status, 4 bits.
    pub time_reference_status: u8,
    /// Service type.
    pub service: u8,
    /// Message subtype.
    pub subtype: u8,
    /// Message type counter.
    pub message_counter: u16,
    /// Destination (application process user) identifier.
    pub destination_id: u16,
}

impl PusTmHeader {
    /// Reads the header at the front of a packet data field. The time field follows at [`PUS_TM_HEADER_LEN`].
    ///
    /// # Errors
    /// Too few octets or another version.
    pub fn parse(data_field: &[u8]) -> Result<PusTmHeader, PusInvalid> {
        let &[o0, service, subtype, c0, c1, d0, d1] = first_octets(data_field)?;
        check_version(o0)?;
        Ok(PusTmHeader {
            time_reference_status: o0 & 0xF,
            service,
            subtype,
            message_counter: u16::from_be_bytes([c0, c1]),
            destination_id: u16::from_be_bytes([d0, d1]),
        })
    }

    /// The octets of the header, without the time field.
    #[must_use]
    pub fn emit(&self) -> [u8; PUS_TM_HEADER_LEN] {
        let ([c0, c1], [d0, d1]) = (self.message_counter.to_be_bytes(), self.destination_id.to_be_bytes());
        [PUS_VERSION << 4 | self.time_reference_status & 0xF, self.service, self.subtype, c0, c1, d0, d1]
    }
}

/// Telecommand secondary header (ECSS-E-ST-70-41C 7.4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PusTcHeader {
    /// Acknowledgement flags, 4 bits: acceptance (8), start (4), progress (2), completion (1).
    pub ack_flags: u8,
    /// Service type.
    pub service: u8,
    /// Message subtype.
    pub subtype: u8,
    /// Source (application process user) identifier.
    pub source_id: u16,
}

impl PusTcHeader {
    /// Reads the header at the front of a packet data field.
    ///
    /// # Errors
    /// Too few octets or another version.
    pub fn parse(data_field: &[u8]) -> Result<PusTcHeader, PusInvalid> {
        let &[o0, service, subtype, s0, s1] = first_octets(data_field)?;
        check_version(o0)?;
        Ok(PusTcHeader { ack_flags: o0 & 0xF, service, subtype, source_id: u16::from_be_bytes([s0, s1]) })
    }

    /// The octets of the header.
    #[must_use]
    pub fn emit(&self) -> [u8; PUS_TC_HEADER_LEN] {
        let [s0, s1] = self.source_id.to_be_bytes();
        [PUS_VERSION << 4 | self.ack_flags & 0xF, self.service, self.subtype, s0, s1]
    }
}

/// Appends a whole packet to `out`: primary header, `secondary_header` (time field included), data and packet error
/// control. The secondary header flag and the length of `primary` are put right. Returns the length of the packet.
///
/// # Errors
/// [`PusInvalid::TooLong`]; `out` is then as it was.
pub fn build_packet(
    primary: SpacePacketHeader,
    secondary_header: &[&[u8]],
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, PusInvalid> {
    let secondary_len: usize = secondary_header.iter().map(|part| part.len()).sum();
    let data_len = secondary_len + data.len() + PACKET_ERROR_CONTROL_LEN;
    if data_len > 65536 {
        return Err(PusInvalid::TooLong(data_len));
    }
    let start = out.len();
    let primary =
        SpacePacketHeader { secondary_header: secondary_len > 0, data_len: data_len as u32, ..primary };
    out.extend_from_slice(&primary.emit());
    for part in secondary_header {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(data);
    let crc = crc16_fecf(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
    Ok(out.len() - start)
}

/// Checks the packet error control of a whole packet and gives the packet data field without it.
///
/// # Errors
/// Too few octets, or a CRC that does not match.
pub fn checked_data_field(packet: &[u8]) -> Result<&[u8], PusInvalid> {
    let needed = SPACE_PACKET_HEADER_LEN + PACKET_ERROR_CONTROL_LEN;
    let (body, field) = packet
        .split_last_chunk()
        .filter(|(body, _)| body.len() >= SPACE_PACKET_HEADER_LEN)
        .ok_or(PusInvalid::Short { needed, actual: packet.len() })?;
    let (received, computed) = (u16::from_be_bytes(*field), crc16_fecf(body));
    if received == computed {
        Ok(&body[SPACE_PACKET_HEADER_LEN..])
    } else {
        Err(PusInvalid::ErrorControl { received, computed })
    }
}

fn first_octets<const N: usize>(octets: &[u8]) -> Result<&[u8; N], PusInvalid> {
    octets.first_chunk().ok_or(PusInvalid::Short { needed: N, actual: octets.len() })
}

fn check_version(first_octet: u8) -> Result<(), PusInvalid> {
    if first_octet >> 4 == PUS_VERSION { Ok(()) } else { Err(PusInvalid::Version(first_octet >> 4)) }
}
