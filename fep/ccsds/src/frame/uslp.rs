//! USLP transfer frame primary header (732.1-B-2 4.1.2) and transfer frame data field header (4.1.4.2).
//!
//! Fields to octets and back; where the zones lie is the business of [`crate::Frame`].

use super::{Fhp, FrameInvalid};

/// Octets of the truncated primary header (732.1-B-2 annex D).
pub const USLP_TRUNCATED_HEADER_LEN: usize = 4;
/// Octets of a primary header without frame count; the count adds 0 to 7.
pub const USLP_HEADER_LEN: usize = 7;

/// What a primary header carries unless it is truncated (732.1-B-2 4.1.2.6 to 4.1.2.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UslpHeaderRest {
    /// Octets of the whole frame: 1 to 65536 (one more than the field on the wire).
    pub frame_len: u32,
    /// Expedited (1) or sequence-controlled (0) quality of service.
    pub bypass: bool,
    /// The data field holds protocol control commands (1) or user data (0).
    pub protocol_control_command: bool,
    /// Reserved bits, 2; the sender shall set 0.
    pub reserved: u8,
    /// Whether the frame carries an operational control field.
    pub ocf: bool,
    /// Octets of the virtual channel frame count, 0 to 7.
    pub vcf_count_len: u8,
    /// Virtual channel frame count; 0 when it has no octets.
    pub vcf_count: u64,
}

/// USLP transfer frame primary header (732.1-B-2 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UslpHeader {
    /// Spacecraft identifier, 16 bits.
    pub scid: u16,
    /// The identifier names the destination (1) or the source (0) of the frame.
    pub destination: bool,
    /// Virtual channel identifier, 6 bits; 63 is idle.
    pub vcid: u8,
    /// Multiplexer access point identifier, 4 bits.
    pub map_id: u8,
    /// The rest; `None` for a truncated header.
    pub rest: Option<UslpHeaderRest>,
}

impl UslpHeader {
    /// Reads the primary header at the front of a frame.
    ///
    /// # Errors
    /// [`FrameInvalid::NoRoom`] and [`FrameInvalid::Version`].
    pub fn parse(octets: &[u8]) -> Result<UslpHeader, FrameInvalid> {
        let no_room = |needed| FrameInvalid::NoRoom { needed, available: octets.len() };
        let Some((id, after)) = octets.split_first_chunk::<USLP_TRUNCATED_HEADER_LEN>() else {
            return Err(no_room(USLP_TRUNCATED_HEADER_LEN));
        };
        let id = u32::from_be_bytes(*id);
        if id >> 28 != 0b1100 {
            return Err(FrameInvalid::Version { expected: 0b1100, found: (id >> 28) as u8 });
        }
        let rest = if id & 1 != 0 {
            None
        } else {
            let Some((&[l0, l1, flags], after)) = after.split_first_chunk() else {
                return Err(no_room(USLP_HEADER_LEN));
            };
            let vcf_count_len = flags & 7;
            let Some(count) = after.get(..usize::from(vcf_count_len)) else {
                return Err(no_room(USLP_HEADER_LEN + usize::from(vcf_count_len)));
            };
            Some(UslpHeaderRest {
                frame_len: u32::from(u16::from_be_bytes([l0, l1])) + 1,
                bypass: flags & 0x80 != 0,
                protocol_control_command: flags & 0x40 != 0,
                reserved: flags >> 4 & 3,
                ocf: flags & 8 != 0,
                vcf_count_len,
                vcf_count: count.iter().fold(0, |count, &octet| count << 8 | u64::from(octet)),
            })
        };
        Ok(UslpHeader {
            scid: (id >> 12) as u16,
            destination: id & 0x800 != 0,
            vcid: (id >> 5) as u8 & 0x3F,
            map_id: (id >> 1) as u8 & 0xF,
            rest,
        })
    }

    /// Octets of this header: 4, or 7 to 14.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.rest {
            None => USLP_TRUNCATED_HEADER_LEN,
            Some(rest) => USLP_HEADER_LEN + usize::from(rest.vcf_count_len & 7),
        }
    }

    /// Never: a header has at least 4 octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Appends the octets of the header. Bits of a field beyond its width are dropped.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let id = 0b1100 << 28
            | u32::from(self.scid) << 12
            | u32::from(self.destination) << 11
            | u32::from(self.vcid & 0x3F) << 5
            | u32::from(self.map_id & 0xF) << 1
            | u32::from(self.rest.is_none());
        out.extend_from_slice(&id.to_be_bytes());
        if let Some(rest) = self.rest {
            out.extend_from_slice(&(rest.frame_len.wrapping_sub(1) as u16).to_be_bytes());
            let count_len = rest.vcf_count_len & 7;
            out.push(
                u8::from(rest.bypass) << 7
                    | u8::from(rest.protocol_control_command) << 6
                    | (rest.reserved & 3) << 4
                    | u8::from(rest.ocf) << 3
                    | count_len,
            );
            out.extend_from_slice(&rest.vcf_count.to_be_bytes()[8 - usize::from(count_len)..]);
        }
    }
}

/// Construction rule of a transfer frame data zone (732.1-B-2 4.1.4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConstructionRule {
    /// Packets that span fixed-length frames; the pointer is a first header pointer.
    PacketsSpanning = 0,
    /// Fixed length: start of a MAPA or VCA service data unit; the pointer is where it ends, if it does here.
    SduStart = 1,
    /// Fixed length: continuing portion of a MAPA or VCA service data unit; pointer as for the start.
    SduContinuing = 2,
    /// Variable length: octet stream.
    OctetStream = 3,
    /// Variable length: first segment.
    SegmentStart = 4,
    /// Variable length: a segment in the middle.
    SegmentContinuing = 5,
    /// Variable length: last segment.
    SegmentLast = 6,
    /// Variable length: whole packets, or one whole service data unit.
    Unsegmented = 7,
}

impl ConstructionRule {
    const ALL: [ConstructionRule; 8] = [
        ConstructionRule::PacketsSpanning,
        ConstructionRule::SduStart,
        ConstructionRule::SduContinuing,
        ConstructionRule::OctetStream,
        ConstructionRule::SegmentStart,
        ConstructionRule::SegmentContinuing,
        ConstructionRule::SegmentLast,
        ConstructionRule::Unsegmented,
    ];

    /// Whether a 16-bit pointer follows in the header.
    #[must_use]
    pub const fn has_pointer(self) -> bool {
        (self as u8) < 3
    }
}

/// USLP protocol identifiers that this crate looks at (SANA registry of USLP protocol identifiers).
pub mod upid {
    /// Space packets or encapsulation packets.
    pub const PACKETS: u8 = 0;
    /// User-defined octet stream.
    pub const OCTET_STREAM: u8 = 4;
    /// Mission-specific MAPA service data unit.
    pub const MAPA_SDU: u8 = 5;
    /// Only idle data.
    pub const IDLE: u8 = 31;
}

/// USLP transfer frame data field: header and zone (732.1-B-2 4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tfdf<'a> {
    /// How the zone was filled.
    pub rule: ConstructionRule,
    /// USLP protocol identifier, 5 bits: what the zone holds. See [`upid`].
    pub upid: u8,
    /// Pointer of rules 0 to 2; 0 for the others, which have none.
    pub pointer: u16,
    /// Transfer frame data zone.
    pub zone: &'a [u8],
}

impl<'a> Tfdf<'a> {
    /// Reads a transfer frame data field.
    ///
    /// # Errors
    /// [`FrameInvalid::NoRoom`] when header or zone is missing; [`FrameInvalid::FirstHeaderPointer`] when the pointer of
    /// rules 0 to 2 is neither FFFF nor inside the zone.
    pub fn parse(data_field: &'a [u8]) -> Result<Tfdf<'a>, FrameInvalid> {
        let no_room = |needed| FrameInvalid::NoRoom { needed, available: data_field.len() };
        let Some((&first, after)) = data_field.split_first() else { return Err(no_room(2)) };
        let rule = ConstructionRule::ALL[usize::from(first >> 5)];
        let (pointer, zone) = if rule.has_pointer() {
            let Some((&[p0, p1], zone)) = after.split_first_chunk() else { return Err(no_room(4)) };
            (u16::from_be_bytes([p0, p1]), zone)
        } else {
            (0, after)
        };
        if zone.is_empty() {
            return Err(no_room(data_field.len() + 1));
        }
        if rule.has_pointer() && pointer != 0xFFFF && usize::from(pointer) >= zone.len() {
            return Err(FrameInvalid::FirstHeaderPointer { pointer, zone_len: zone.len() });
        }
        Ok(Tfdf { rule, upid: first & 0x1F, pointer, zone })
    }

    /// Appends the octets of header and zone.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push((self.rule as u8) << 5 | self.upid & 0x1F);
        if self.rule.has_pointer() {
            out.extend_from_slice(&self.pointer.to_be_bytes());
        }
        out.extend_from_slice(self.zone);
    }

    /// Pointer of rule 0 as first header pointer.
    #[must_use]
    pub fn first_header_pointer(&self) -> Fhp {
        if self.pointer == 0xFFFF { Fhp::None } else { Fhp::At(self.pointer) }
    }
}
