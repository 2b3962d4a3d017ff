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
    /// Synchronisation flag 1: a virtual channel access service data unit.
    Vca {
        /// The 14 bits that CCSDS leaves to the mission: packet order flag, segment length identifier, pointer.
        undefined: u16,
    },
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
    /// [`FrameInvalid::Version`] and [`FrameInvalid::DataFieldStatus`]: with synchronisation flag 0 the packet order
    /// flag is 0 and the segment length identifier is 3 (132.0-B-3 4.1.2.7.4, 4.1.2.7.5).
    pub fn parse(octets: &[u8; TM_HEADER_LEN]) -> Result<TmHeader, FrameInvalid> {
        let [o0, o1, mc_count, vc_count, o4, o5] = *octets;
        if o0 >> 6 != 0 {
            return Err(FrameInvalid::Version { expected: 0, found: o0 >> 6 });
        }
        let status = u16::from_be_bytes([o4, o5]);
        let data_field = if status & 0x4000 != 0 {
            TmDataField::Vca { undefined: status & 0x3FFF }
        } else if status & 0x3800 == 0x1800 {
            TmDataField::Packets { first_header_pointer: Fhp::from_11_bits(status) }
        } else {
            return Err(FrameInvalid::DataFieldStatus { status });
        };
        Ok(TmHeader {
            scid: u16::from_be_bytes([o0, o1]) >> 4 & 0x3FF,
            vcid: o1 >> 1 & 7,
            ocf: o1 & 1 != 0,
            mc_count,
            vc_count,
            secondary_header: status & 0x8000 != 0,
            data_field,
        })
    }

    /// The octets of the header. Bits of a field beyond its width are dropped.
    #[must_use]
    pub fn emit(&self) -> [u8; TM_HEADER_LEN] {
        let id = (self.scid & 0x3FF) << 4 | u16::from(self.vcid & 7) << 1 | u16::from(self.ocf);
        let status = u16::from(self.secondary_header) << 15
            | match self.data_field {
                TmDataField::Packets { first_header_pointer } => 0x1800 | first_header_pointer.to_11_bits(),
                TmDataField::Vca { undefined } => 0x4000 | undefined & 0x3FFF,
            };
        let ([o0, o1], [o4, o5]) = (id.to_be_bytes(), status.to_be_bytes());
        [o0, o1, self.mc_count, self.vc_count, o4, o5]
    }
}
