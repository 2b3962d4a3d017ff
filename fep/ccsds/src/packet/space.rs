//! Space packet primary header (133.0-B-2 4.1.3).

/// Octets of the primary header.
pub const SPACE_PACKET_HEADER_LEN: usize = 6;
/// Octets of the longest space packet, header included.
pub const SPACE_PACKET_MAX_LEN: usize = SPACE_PACKET_HEADER_LEN + 65536;
/// Application process identifier of idle packets.
pub const IDLE_APID: u16 = 0x7FF;

/// Packet type flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Telemetry (or reporting), 0.
    Telemetry,
    /// Telecommand (or requesting), 1.
    Telecommand,
}

/// Sequence flags: place of the packet in a segmented service data unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SequenceFlags {
    /// In the middle of a group.
    Continuation = 0,
    /// First of a group.
    First = 1,
    /// Last of a group.
    Last = 2,
    /// A unit of its own.
    Unsegmented = 3,
}

impl SequenceFlags {
    const fn from_bits(bits: u16) -> SequenceFlags {
        match bits & 3 {
            0 => SequenceFlags::Continuation,
            1 => SequenceFlags::First,
            2 => SequenceFlags::Last,
            _ => SequenceFlags::Unsegmented,
        }
    }
}

/// Not a space packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpacePacketInvalid {
    /// Fewer octets than a primary header.
    #[error("a space packet header has 6 octets, there are {0}")]
    Short(usize),
    /// The packet version number is not 0.
    #[error("packet version number is {0}, a space packet has 0")]
    Version(u8),
}

/// Space packet primary header (133.0-B-2 4.1.3).
///
/// ```
/// use fep_ccsds::{SequenceFlags, SpacePacketHeader};
/// let header = SpacePacketHeader::parse(&[0x08, 0x64, 0xC0, 0x2A, 0x00, 0x09]).unwrap();
/// assert_eq!((header.apid, header.sequence_count, header.data_len), (100, 42, 10));
/// assert_eq!(header.sequence_flags, SequenceFlags::Unsegmented);
/// assert_eq!(header.emit(), [0x08, 0x64, 0xC0, 0x2A, 0x00, 0x09]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpacePacketHeader {
    /// Telemetry or telecommand.
    pub packet_type: PacketType,
    /// Whether a secondary header starts the data field.
    pub secondary_header: bool,
    /// Application process identifier, 11 bits; 2047 is idle.
    pub apid: u16,
    /// Place in a segmented unit.
    pub sequence_flags: SequenceFlags,
    /// Sequence count (or telecommand name), 14 bits.
    pub sequence_count: u16,
    /// Octets of the data field, 1 to 65536 (one more than the field on the wire).
    pub data_len: u32,
}

impl SpacePacketHeader {
    /// Reads the header at the front of `octets`.
    ///
    /// # Errors
    /// Too few octets, or another packet version.
    pub fn parse(octets: &[u8]) -> Result<SpacePacketHeader, SpacePacketInvalid> {
        let Some(&[o0, o1, s0, s1, l0, l1]) = octets.first_chunk() else {
            return Err(SpacePacketInvalid::Short(octets.len()));
        };
        if o0 >> 5 != 0 {
            return Err(SpacePacketInvalid::Version(o0 >> 5));
        }
        let sequence = u16::from_be_bytes([s0, s1]);
        Ok(SpacePacketHeader {
            packet_type: if o0 & 0x10 != 0 { PacketType::Telecommand } else { PacketType::Telemetry },
            secondary_header: o0 & 8 != 0,
            apid: u16::from_be_bytes([o0, o1]) & 0x7FF,
            sequence_flags: SequenceFlags::from_bits(sequence >> 14),
            sequence_count: sequence & 0x3FFF,
            data_len: u32::from(u16::from_be_bytes([l0, l1])) + 1,
        })
    }

    /// The octets of the header. Bits of a field beyond its width are dropped; `data_len` counts modulo 65536.
    #[must_use]
    pub fn emit(&self) -> [u8; SPACE_PACKET_HEADER_LEN] {
        let identification = u16::from(self.packet_type == PacketType::Telecommand) << 12
            | u16::from(self.secondary_header) << 11
            | self.apid & 0x7FF;
        let ([o0, o1], [s0, s1], [l0, l1]) = (
            identification.to_be_bytes(),
            self.sequence().to_be_bytes(),
            (self.data_len.wrapping_sub(1) as u16).to_be_bytes(),
        );
        [o0, o1, s0, s1, l0, l1]
    }

    /// Octets of the whole packet.
    #[must_use]
    pub const fn packet_len(&self) -> usize {
        SPACE_PACKET_HEADER_LEN + self.data_len as usize
    }

    /// Sequence flags and count as one word, as they stand in the header.
    #[must_use]
    pub const fn sequence(&self) -> u16 {
        (self.sequence_flags as u16) << 14 | self.sequence_count & 0x3FFF
    }

    /// Whether it is an idle packet.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.apid == IDLE_APID
    }
}
