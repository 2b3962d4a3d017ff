//! Transfer frames: one zero-copy view over TM, AOS and USLP.
//!
//! A [`Frame`] borrows every zone from the octets it was parsed from. It says what stands in the frame, not whether
//! the frame is welcome: counters, idle policy and known spacecraft are judged elsewhere. A frame that cannot be right
//! is a [`FrameInvalid`], which is data: it is counted and published, it never ends a stream.

mod aos;
mod build;
mod payload;
mod tm;
mod uslp;

pub use aos::{
    AOS_HEADER_LEN, AosHeader, BPDU_HEADER_LEN, BitstreamPointer, Bpdu, IDLE_VCID, MPDU_HEADER_LEN, Mpdu,
};
pub use build::{BuildError, FrameParts};
pub use payload::{PacketZone, Payload, VcService};
pub use tm::{TM_HEADER_LEN, TmDataField, TmHeader};
pub use uslp::{
    ConstructionRule, Tfdf, USLP_HEADER_LEN, USLP_TRUNCATED_HEADER_LEN, UslpHeader, UslpHeaderRest, upid,
};

use crate::{Fecf, FrameKind, FrameSpec, Gvcid, Ocf, check};

/// First header pointer: where the first packet header starts in a packet zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fhp {
    /// Offset in octets.
    At(u16),
    /// No packet starts in this zone (TM, AOS 7FF; USLP FFFF).
    None,
    /// The zone holds only idle data (TM, AOS 7FE).
    IdleOnly,
}

impl Fhp {
    /// From the 11 low bits of `field` (132.0-B-3 4.1.2.7.6, 732.0-B-4 4.1.4.2.3).
    #[must_use]
    pub const fn from_11_bits(field: u16) -> Fhp {
        match field & 0x7FF {
            0x7FF => Fhp::None,
            0x7FE => Fhp::IdleOnly,
            offset => Fhp::At(offset),
        }
    }

    /// As an 11-bit field. An offset takes its low 11 bits.
    #[must_use]
    pub const fn to_11_bits(self) -> u16 {
        match self {
            Fhp::None => 0x7FF,
            Fhp::IdleOnly => 0x7FE,
            Fhp::At(offset) => offset & 0x7FF,
        }
    }

    /// # Errors
    /// [`FrameInvalid::FirstHeaderPointer`]: it points outside of a zone of so many octets.
    fn check(self, zone_len: usize) -> Result<(), FrameInvalid> {
        match self {
            Fhp::At(pointer) if usize::from(pointer) >= zone_len => {
                Err(FrameInvalid::FirstHeaderPointer { pointer, zone_len })
            }
            _ => Ok(()),
        }
    }
}

/// Why octets are not a valid transfer frame, or why the data field of a valid one cannot be read
/// ([`Frame::payload`]). Data, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameInvalid {
    /// Not as many octets as the managed parameters say.
    #[error("{actual} octets, the physical channel carries frames of {expected}")]
    Length {
        /// By managed parameters (the most, for variable-length frames).
        expected: usize,
        /// Given.
        actual: usize,
    },
    /// The frame error control field does not match.
    #[error("FECF is {received:X}, the octets give {computed:X}")]
    Fecf {
        /// Field in the frame.
        received: u32,
        /// CRC of the octets before it.
        computed: u32,
    },
    /// More header symbols are wrong than the frame header error control corrects.
    #[error("frame header error control cannot correct the header")]
    Fhec,
    /// Another transfer frame version number.
    #[error("transfer frame version is {found}, this channel carries {expected}")]
    Version {
        /// Of the channel.
        expected: u8,
        /// In the frame.
        found: u8,
    },
    /// TM packet order flag 1: packets in reverse order, which nobody can take out of the data field. The frame is valid.
    #[error("the TM packet order flag says that the packets are in reverse order")]
    PacketOrder,
    /// TM secondary header of an unknown version or an impossible length.
    #[error(
        "TM secondary header identification {identification:02X}: version must be 0, length 1 to 63 \
         (secondary_header_len is for headers whose length field is wrong)"
    )]
    SecondaryHeader {
        /// The identification octet.
        identification: u8,
    },
    /// The headers, zones and trailers that this frame says it has do not fit.
    #[error("headers, zones and trailers need {needed} octets, there are {available}")]
    NoRoom {
        /// Least octets needed.
        needed: usize,
        /// Octets there.
        available: usize,
    },
    /// The USLP frame length field is not the number of octets received.
    #[error("the frame says it has {field} octets, {actual} were received")]
    UslpLength {
        /// By the header (field + 1).
        field: usize,
        /// Given.
        actual: usize,
    },
    /// A truncated USLP frame on a channel without them, or of another length.
    #[error("truncated frame of {actual} octets, the channel has {expected:?}")]
    Truncated {
        /// By managed parameters.
        expected: Option<usize>,
        /// Given.
        actual: usize,
    },
    /// The first header pointer (or USLP last valid octet pointer) lies outside its zone.
    #[error("pointer {pointer} lies outside the zone of {zone_len} octets")]
    FirstHeaderPointer {
        /// The pointer.
        pointer: u16,
        /// Octets of the zone.
        zone_len: usize,
    },
    /// The bitstream data pointer lies outside its zone.
    #[error("bitstream data pointer {pointer} lies outside the zone of {zone_bits} bits")]
    BitstreamPointer {
        /// The pointer.
        pointer: u16,
        /// Bits of the zone.
        zone_bits: usize,
    },
}

/// A typed primary header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// TM.
    Tm(TmHeader),
    /// AOS, as corrected by its frame header error control.
    Aos(AosHeader),
    /// USLP.
    Uslp(UslpHeader),
}

/// A parsed transfer frame that borrows its zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Frame kind.
    pub kind: FrameKind,
    /// Channel.
    pub gvcid: Gvcid,
    /// Virtual channel frame count: 8 bits TM, 24 AOS (28 with its cycle), 0 to 56 USLP.
    pub frame_count: u64,
    /// One more than the greatest count; 1 when the frame has no count.
    pub frame_count_modulus: u64,
    /// Master channel frame count of TM frames.
    pub mc_count: Option<u8>,
    /// Only idle data: AOS and USLP virtual channel 63, TM first header pointer 7FE.
    pub idle: bool,
    /// USLP multiplexer access point.
    pub map_id: Option<u8>,
    /// The primary header with all its fields.
    pub header: Header,
    /// Symbols that the AOS frame header error control corrected, 0 to 2.
    pub fhec_corrected: u8,
    /// AOS and USLP insert zone.
    pub insert_zone: &'a [u8],
    /// Data of the TM secondary header, without its identification octet. Where the channel sets
    /// [`FrameSpec::secondary_header_len`], the whole header.
    pub secondary_header: Option<&'a [u8]>,
    /// SDLS security header.
    pub security_header: &'a [u8],
    /// Transfer frame data field: packets (TM), M_PDU, B_PDU or VCA (AOS), TFDF header and zone (USLP).
    pub data_zone: &'a [u8],
    /// SDLS security trailer.
    pub security_trailer: &'a [u8],
    /// Mission-specific octets before the OCF.
    pub trailer: &'a [u8],
    /// Operational control field.
    pub ocf: Option<[u8; 4]>,
}

impl<'a> Frame<'a> {
    /// Parses one whole transfer frame and checks its FECF.
    ///
    /// A pointer into the data field is not looked at: a frame whose pointer is wrong was received, and counts. Its data
    /// field cannot be read, which [`Frame::payload`] says.
    ///
    /// # Errors
    /// Why the octets are not a frame of this channel. The FECF is looked at before any header field.
    pub fn parse(spec: &FrameSpec, octets: &'a [u8]) -> Result<Frame<'a>, FrameInvalid> {
        if spec.fecf != Fecf::None && !is_truncated_uslp(spec, octets) {
            check::fecf(spec.fecf, octets)?;
        }
        Frame::parse_unchecked(spec, octets)
    }

    /// Parses without looking at the FECF: for frames that a channel code has found right, and to look into frames
    /// that are known to be bad.
    ///
    /// # Errors
    /// As [`Frame::parse`], but never [`FrameInvalid::Fecf`].
    pub fn parse_unchecked(spec: &FrameSpec, octets: &'a [u8]) -> Result<Frame<'a>, FrameInvalid> {
        match spec.kind {
            FrameKind::Tm => parse_tm(spec, octets),
            FrameKind::Aos => parse_aos(spec, octets),
            FrameKind::Uslp => parse_uslp(spec, octets),
        }
    }

    /// Whether the data field status of a TM frame is not as 132.0-B-3 has it: see [`TmDataField::LegacyPackets`].
    #[must_use]
    pub const fn has_legacy_status(&self) -> bool {
        matches!(self.header, Header::Tm(TmHeader { data_field: TmDataField::LegacyPackets { .. }, .. }))
    }

    /// Whether the USLP frame belongs to the expedited service, which has a frame counter of its own.
    #[must_use]
    pub const fn is_expedited(&self) -> bool {
        matches!(
            self.header,
            Header::Uslp(UslpHeader { rest: Some(UslpHeaderRest { bypass: true, .. }), .. })
        )
    }
}

// A truncated USLP frame has no FECF (732.1-B-2 annex D). Its header bit alone tells, so it is believed only where the
// channel has frames of that length.
fn is_truncated_uslp(spec: &FrameSpec, octets: &[u8]) -> bool {
    spec.kind == FrameKind::Uslp
        && spec.truncated_len == Some(octets.len())
        && octets.get(3).is_some_and(|octet| octet & 1 != 0)
}

fn check_fixed_len(spec: &FrameSpec, octets: &[u8]) -> Result<(), FrameInvalid> {
    if octets.len() == spec.frame_len {
        Ok(())
    } else {
        Err(FrameInvalid::Length { expected: spec.frame_len, actual: octets.len() })
    }
}

fn parse_tm<'a>(spec: &FrameSpec, octets: &'a [u8]) -> Result<Frame<'a>, FrameInvalid> {
    check_fixed_len(spec, octets)?;
    let Some((header_octets, after)) = octets.split_first_chunk() else {
        return Err(FrameInvalid::NoRoom { needed: TM_HEADER_LEN, available: octets.len() });
    };
    let header = TmHeader::parse(header_octets)?;
    let (secondary_header, after) = match (header.secondary_header, spec.secondary_header_len) {
        (false, _) => (None, after),
        (true, Some(len)) => {
            let needed = TM_HEADER_LEN.saturating_add(len);
            let no_room = FrameInvalid::NoRoom { needed, available: octets.len() };
            let (whole, after) = after.split_at_checked(len).ok_or(no_room)?;
            (Some(whole), after)
        }
        (true, None) => {
            let no_room = FrameInvalid::NoRoom { needed: TM_HEADER_LEN + 2, available: octets.len() };
            let (&identification, after) = after.split_first().ok_or(no_room)?;
            let len = usize::from(identification & 0x3F);
            if identification >> 6 != 0 || len == 0 {
                return Err(FrameInvalid::SecondaryHeader { identification });
            }
            let no_room = FrameInvalid::NoRoom { needed: TM_HEADER_LEN + 1 + len, available: octets.len() };
            let (data, after) = after.split_at_checked(len).ok_or(no_room)?;
            (Some(data), after)
        }
    };
    let zones = Zones::split(spec, after, 0, header.ocf, octets.len())?;
    let idle = header.data_field.first_header_pointer() == Some(Fhp::IdleOnly);
    Ok(Frame {
        kind: FrameKind::Tm,
        gvcid: Gvcid { tfvn: FrameKind::Tm.tfvn(), scid: header.scid, vcid: header.vcid },
        frame_count: u64::from(header.vc_count),
        frame_count_modulus: 1 << 8,
        mc_count: Some(header.mc_count),
        idle,
        map_id: None,
        header: Header::Tm(header),
        fhec_corrected: 0,
        insert_zone: &[],
        secondary_header,
        security_header: zones.security_header,
        data_zone: zones.data,
        security_trailer: zones.security_trailer,
        trailer: zones.trailer,
        ocf: zones.ocf,
    })
}

fn parse_aos<'a>(spec: &FrameSpec, octets: &'a [u8]) -> Result<Frame<'a>, FrameInvalid> {
    check_fixed_len(spec, octets)?;
    let Some((received, mut after)) = octets.split_first_chunk::<AOS_HEADER_LEN>() else {
        return Err(FrameInvalid::NoRoom { needed: AOS_HEADER_LEN, available: octets.len() });
    };
    let mut header_octets = *received;
    let mut fhec_corrected = 0;
    if spec.fhec {
        let Some((&fhec, rest)) = after.split_first_chunk() else {
            return Err(FrameInvalid::NoRoom { needed: AOS_HEADER_LEN + 2, available: octets.len() });
        };
        after = rest;
        fhec_corrected = check::correct_aos_header(&mut header_octets, fhec)?;
    }
    let header = AosHeader::parse(&header_octets)?;
    let zones = Zones::split(spec, after, spec.insert_zone_len, spec.ocf == Ocf::Present, octets.len())?;
    Ok(Frame {
        kind: FrameKind::Aos,
        gvcid: Gvcid { tfvn: FrameKind::Aos.tfvn(), scid: u16::from(header.scid), vcid: header.vcid },
        frame_count: u64::from(header.full_count()),
        frame_count_modulus: if header.vc_count_cycle_used { 1 << 28 } else { 1 << 24 },
        mc_count: None,
        idle: header.vcid == IDLE_VCID,
        map_id: None,
        header: Header::Aos(header),
        fhec_corrected,
        insert_zone: zones.insert_zone,
        secondary_header: None,
        security_header: zones.security_header,
        data_zone: zones.data,
        security_trailer: zones.security_trailer,
        trailer: zones.trailer,
        ocf: zones.ocf,
    })
}

fn parse_uslp<'a>(spec: &FrameSpec, octets: &'a [u8]) -> Result<Frame<'a>, FrameInvalid> {
    let header = UslpHeader::parse(octets)?;
    let after = &octets[header.len()..];
    let (zones, count, modulus) = match header.rest {
        None => {
            if spec.truncated_len != Some(octets.len()) {
                return Err(FrameInvalid::Truncated { expected: spec.truncated_len, actual: octets.len() });
            }
            // No count, insert zone, security, OCF or FECF in it: all that follows is data.
            (Zones { data: after, ..Zones::default() }, 0, 1)
        }
        Some(rest) => {
            let too_long = octets.len() > spec.frame_len;
            if too_long || !spec.variable_len && octets.len() != spec.frame_len {
                return Err(FrameInvalid::Length { expected: spec.frame_len, actual: octets.len() });
            }
            if rest.frame_len as usize != octets.len() {
                return Err(FrameInvalid::UslpLength {
                    field: rest.frame_len as usize,
                    actual: octets.len(),
                });
            }
            let zones = Zones::split(spec, after, spec.insert_zone_len, rest.ocf, octets.len())?;
            (zones, rest.vcf_count, 1 << (8 * u32::from(rest.vcf_count_len)))
        }
    };
    if zones.data.len() < 2 {
        return Err(FrameInvalid::NoRoom {
            needed: octets.len() + 2 - zones.data.len(),
            available: octets.len(),
        });
    }
    Ok(Frame {
        kind: FrameKind::Uslp,
        gvcid: Gvcid { tfvn: FrameKind::Uslp.tfvn(), scid: header.scid, vcid: header.vcid },
        frame_count: count,
        frame_count_modulus: modulus,
        mc_count: None,
        idle: header.vcid == IDLE_VCID,
        map_id: Some(header.map_id),
        header: Header::Uslp(header),
        fhec_corrected: 0,
        insert_zone: zones.insert_zone,
        secondary_header: None,
        security_header: zones.security_header,
        data_zone: zones.data,
        security_trailer: zones.security_trailer,
        trailer: zones.trailer,
        ocf: zones.ocf,
    })
}

/// What follows the headers, in the order in which it stands there.
#[derive(Default)]
struct Zones<'a> {
    insert_zone: &'a [u8],
    security_header: &'a [u8],
    data: &'a [u8],
    security_trailer: &'a [u8],
    trailer: &'a [u8],
    ocf: Option<[u8; 4]>,
}

impl<'a> Zones<'a> {
    #[inline]
    fn split(
        spec: &FrameSpec,
        after_header: &'a [u8],
        insert_zone_len: usize,
        has_ocf: bool,
        frame_len: usize,
    ) -> Result<Zones<'a>, FrameInvalid> {
        let ocf_len = if has_ocf { 4 } else { 0 };
        let front = insert_zone_len.saturating_add(spec.security_header_len);
        let back = spec
            .security_trailer_len
            .saturating_add(spec.trailer_len)
            .saturating_add(ocf_len + spec.fecf.len());
        let overhead = front.saturating_add(back);
        if overhead >= after_header.len() {
            let header_len = frame_len - after_header.len();
            let needed = header_len.saturating_add(overhead).saturating_add(1);
            return Err(FrameInvalid::NoRoom { needed, available: frame_len });
        }
        let (insert_zone, rest) = after_header.split_at(insert_zone_len);
        let (security_header, rest) = rest.split_at(spec.security_header_len);
        let (data, rest) = rest.split_at(after_header.len() - overhead);
        let (security_trailer, rest) = rest.split_at(spec.security_trailer_len);
        let (trailer, rest) = rest.split_at(spec.trailer_len);
        let ocf = if has_ocf { rest.first_chunk().copied() } else { None };
        Ok(Zones { insert_zone, security_header, data, security_trailer, trailer, ocf })
    }
}
