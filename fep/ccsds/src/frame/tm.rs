//! TM transfer frame primary header (132.0-B-3 4.1.2).
//!
//! Fields to octets and back; where the data field lies is the business of [`crate::Frame`].

use super::{Fhp, FrameInvalid};

/// Octets of the primary header.
pub const TM_HEADER_LEN: usize = 6;

/// Transfer frame data field status (132.0-B-3 4.1.2.7): what the data field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TmDataField {
    /// Synchronisation flag 0: packets, forward ordered, and where the first of them starts.
    Packets {
        /// First header pointer.
        first_header_pointer: Fhp,
    },
    /// Synchronisation flag 0, but not as 132.0-B-3 has it: spacecraft built to its predecessor (packet telemetry, 102.0-B)
    /// write other segment length identifiers than 3. Forward ordered packets among them are read like any other.
    LegacyPackets {
        /// First header pointer.
        first_header_pointer: Fhp,
        /// Packet order flag: the packets are in reverse order, and cannot be taken out.
        reverse_order: bool,
        /// Segment length identifier, 2 bits.
        segment_length_id: u8,
    },
    /// Synchronisation flag 1: a virtual channel access service data unit.
    Vca {
        /// The 14 bits that CCSDS leaves to the mission: packet order flag, segment length identifier, pointer.
        undefined: u16,
    },
}

impl TmDataField {
    fn parse(status: u16) -> TmDataField {
        let first_header_pointer = Fhp::from_11_bits(status);
        match (status & 0x4000 != 0, status & 0x2000 != 0, (status >> 11 & 3) as u8) {
            (true, ..) => TmDataField::Vca { undefined: status & 0x3FFF },
            // 132.0-B-3 4.1.2.7.4, 4.1.2.7.5: packet order flag 0, segment length identifier 3.
            (false, false, 3) => TmDataField::Packets { first_header_pointer },
            (false, reverse_order, segment_length_id) => {
                TmDataField::LegacyPackets { first_header_pointer, reverse_order, segment_length_id }
            }
        }
    }

    const fn emit(self) -> u16 {
        match self {
            TmDataField::Packets { first_header_pointer } => 0x1800 | first_header_pointer.to_11_bits(),
            TmDataField::LegacyPackets { first_header_pointer, reverse_order, segment_length_id } => {
                (reverse_order as u16) << 13
                    | (segment_length_id as u16 & 3) << 11
                    | first_header_pointer.to_11_bits()
            }
            TmDataField::Vca { undefined } => 0x4000 | undefined & 0x3FFF,
        }
    }

    /// Where the first packet starts, in frames of packets.
    #[must_use]
    pub const fn first_header_pointer(self) -> Option<Fhp> {
        match self {
            TmDataField::Packets { first_header_pointer }
            | TmDataField::LegacyPackets { first_header_pointer, .. } => Some(first_header_pointer),
            TmDataField::Vca { .. } => None,
        }
    }
}

/// TM transfer frame primary header (132.0-B-3 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TmHeader {
    /// Spacecraft identifier, 10 bits.
    pub scid: u16,
    /// Virtual channel identifier, 3 bits.
    pub vcid: u8,
    /// Whether the frame ends with an operational control field.
    pub ocf: bool,
    /// Master channel frame count.
    pub mc_count: u8,
    /// Virtual channel frame count.
    pub vc_count: u8,
    /// Whether a secondary header follows.
    pub secondary_header: bool,
    /// What the data field holds.
    pub data_field: TmDataField,
}

impl TmHeader {
    /// Reads a primary header.
    ///
    /// # Errors
    /// [`FrameInvalid::Version`]: the version number is not 0.
    pub fn parse(octets: &[u8; TM_HEADER_LEN]) -> Result<TmHeader, FrameInvalid> {
        let [o0, o1, mc_count, vc_count, o4, o5] = *octets;
        if o0 >> 6 != 0 {
            return Err(FrameInvalid::Version { expected: 0, found: o0 >> 6 });
        }
        let status = u16::from_be_bytes([o4, o5]);
        Ok(TmHeader {
            scid: u16::from_be_bytes([o0, o1]) >> 4 & 0x3FF,
            vcid: o1 >> 1 & 7,
            ocf: o1 & 1 != 0,
            mc_count,
            vc_count,
            secondary_header: status & 0x8000 != 0,
            data_field: TmDataField::parse(status),
        })
    }

    /// The octets of the header. Bits of a field beyond its width are dropped.
    #[must_use]
    pub fn emit(&self) -> [u8; TM_HEADER_LEN] {
        let id = (self.scid & 0x3FF) << 4 | u16::from(self.vcid & 7) << 1 | u16::from(self.ocf);
        let status = u16::from(self.secondary_header) << 15 | self.data_field.emit();
        let ([o0, o1], [o4, o5]) = (id.to_be_bytes(), status.to_be_bytes());
        [o0, o1, self.mc_count, self.vc_count, o4, o5]
    }
}
