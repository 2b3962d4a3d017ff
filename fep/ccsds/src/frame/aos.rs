//! AOS transfer frame primary header (732.0-B-4 4.1.2) and the headers of the multiplexing and bitstream
//! protocol data units (4.1.4.2, 4.1.4.3).
//!
//! Fields to octets and back; where the zones lie is the business of [`crate::Frame`].

use super::{Fhp, FrameInvalid};

/// Octets of the primary header without frame header error control.
pub const AOS_HEADER_LEN: usize = 6;
/// The virtual channel of frames that hold only idle data, AOS and USLP alike.
pub const IDLE_VCID: u8 = 63;
/// Octets of an M_PDU header.
pub const MPDU_HEADER_LEN: usize = 2;
/// Octets of a B_PDU header.
pub const BPDU_HEADER_LEN: usize = 2;

/// AOS transfer frame primary header (732.0-B-4 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AosHeader {
    /// Spacecraft identifier, 8 bits.
    pub scid: u8,
    /// Virtual channel identifier, 6 bits; 63 is idle.
    pub vcid: u8,
    /// Virtual channel frame count, 24 bits.
    pub vc_count: u32,
    /// Replayed (1) or real-time (0) data.
    pub replay: bool,
    /// Whether `vc_count_cycle` extends the count.
    pub vc_count_cycle_used: bool,
    /// Reserved bits, 2; the sender shall set 0.
    pub reserved: u8,
    /// Virtual channel frame count cycle, 4 bits.
    pub vc_count_cycle: u8,
}

impl AosHeader {
    /// Reads a primary header.
    ///
    /// # Errors
    /// [`FrameInvalid::Version`]: the version number is not 1.
    pub fn parse(octets: &[u8; AOS_HEADER_LEN]) -> Result<AosHeader, FrameInvalid> {
        let [o0, o1, c0, c1, c2, signalling] = *octets;
        if o0 >> 6 != 1 {
            return Err(FrameInvalid::Version { expected: 1, found: o0 >> 6 });
        }
        Ok(AosHeader {
            scid: o0 << 2 | o1 >> 6,
            vcid: o1 & 0x3F,
            vc_count: u32::from_be_bytes([0, c0, c1, c2]),
            replay: signalling & 0x80 != 0,
            vc_count_cycle_used: signalling & 0x40 != 0,
            reserved: signalling >> 4 & 3,
            vc_count_cycle: signalling & 0xF,
        })
    }

    /// The octets of the header. Bits of a field beyond its width are dropped.
    #[must_use]
    pub fn emit(&self) -> [u8; AOS_HEADER_LEN] {
        let [_, c0, c1, c2] = self.vc_count.to_be_bytes();
        let signalling = u8::from(self.replay) << 7
            | u8::from(self.vc_count_cycle_used) << 6
            | (self.reserved & 3) << 4
            | self.vc_count_cycle & 0xF;
        [0x40 | self.scid >> 2, self.scid << 6 | self.vcid & 0x3F, c0, c1, c2, signalling]
    }

    /// Frame count with its cycle, where the cycle is used: 24 or 28 bits.
    #[must_use]
    pub fn full_count(&self) -> u32 {
        let cycle = if self.vc_count_cycle_used { u32::from(self.vc_count_cycle & 0xF) } else { 0 };
        cycle << 24 | self.vc_count & 0xFF_FFFF
    }
}

/// Multiplexing protocol data unit: a header and a zone of packets (732.0-B-4 4.1.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mpdu<'a> {
    /// Reserved bits, 5; the sender shall set 0.
    pub reserved: u8,
    /// Where the first packet header starts in the zone.
    pub first_header_pointer: Fhp,
    /// Packet zone.
    pub packet_zone: &'a [u8],
}

impl<'a> Mpdu<'a> {
    /// Reads the data field of a frame as M_PDU.
    ///
    /// # Errors
    /// [`FrameInvalid::NoRoom`] when there is no packet zone; [`FrameInvalid::FirstHeaderPointer`] when the pointer
    /// points outside of it.
    pub fn parse(data_field: &'a [u8]) -> Result<Mpdu<'a>, FrameInvalid> {
        let Some((&[o0, o1], packet_zone)) =
            data_field.split_first_chunk().filter(|(_, zone)| !zone.is_empty())
        else {
            return Err(FrameInvalid::NoRoom { needed: MPDU_HEADER_LEN + 1, available: data_field.len() });
        };
        let first_header_pointer = Fhp::from_11_bits(u16::from_be_bytes([o0, o1]));
        first_header_pointer.check(packet_zone.len())?;
        Ok(Mpdu { reserved: o0 >> 3, first_header_pointer, packet_zone })
    }

    /// The two octets of the header.
    #[must_use]
    pub fn emit_header(&self) -> [u8; MPDU_HEADER_LEN] {
        (u16::from(self.reserved & 0x1F) << 11 | self.first_header_pointer.to_11_bits()).to_be_bytes()
    }
}

/// Bitstream data pointer (732.0-B-4 4.1.4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitstreamPointer {
    /// Location of the last valid bit, counted from 0.
    LastBit(u16),
    /// Every bit of the zone is valid (3FFF).
    AllValid,
    /// Only idle data (3FFE).
    IdleOnly,
}

/// Bitstream protocol data unit: a header and a zone of bits (732.0-B-4 4.1.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bpdu<'a> {
    /// Reserved bits, 2; the sender shall set 0.
    pub reserved: u8,
    /// Where the valid bits end.
    pub pointer: BitstreamPointer,
    /// Bitstream data zone, whole octets.
    pub bitstream_zone: &'a [u8],
}

impl<'a> Bpdu<'a> {
    /// Reads the data field of a frame as B_PDU.
    ///
    /// # Errors
    /// [`FrameInvalid::NoRoom`] when there is no zone; [`FrameInvalid::BitstreamPointer`] when the last valid bit
    /// lies outside of it.
    pub fn parse(data_field: &'a [u8]) -> Result<Bpdu<'a>, FrameInvalid> {
        let Some((&[o0, o1], bitstream_zone)) =
            data_field.split_first_chunk().filter(|(_, zone)| !zone.is_empty())
        else {
            return Err(FrameInvalid::NoRoom { needed: BPDU_HEADER_LEN + 1, available: data_field.len() });
        };
        let pointer = match u16::from_be_bytes([o0, o1]) & 0x3FFF {
            0x3FFF => BitstreamPointer::AllValid,
            0x3FFE => BitstreamPointer::IdleOnly,
            last if usize::from(last) < bitstream_zone.len() * 8 => BitstreamPointer::LastBit(last),
            pointer => {
                return Err(FrameInvalid::BitstreamPointer { pointer, zone_bits: bitstream_zone.len() * 8 });
            }
        };
        Ok(Bpdu { reserved: o0 >> 6, pointer, bitstream_zone })
    }

    /// The two octets of the header.
    #[must_use]
    pub fn emit_header(&self) -> [u8; BPDU_HEADER_LEN] {
        let pointer = match self.pointer {
            BitstreamPointer::LastBit(last) => last & 0x3FFF,
            BitstreamPointer::AllValid => 0x3FFF,
            BitstreamPointer::IdleOnly => 0x3FFE,
        };
        (u16::from(self.reserved & 3) << 14 | pointer).to_be_bytes()
    }

    /// How many bits of the zone are data, from its first.
    #[must_use]
    pub fn valid_bits(&self) -> usize {
        match self.pointer {
            BitstreamPointer::LastBit(last) => usize::from(last) + 1,
            BitstreamPointer::AllValid => self.bitstream_zone.len() * 8,
            BitstreamPointer::IdleOnly => 0,
        }
    }
}
