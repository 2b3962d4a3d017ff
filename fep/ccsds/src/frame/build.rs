//! Transfer frames from their parts: the inverse of parsing.

use super::{Frame, Header, TM_HEADER_LEN};
use crate::{Fecf, FrameKind, FrameSpec, Ocf, check};

/// The parts of a transfer frame. Lengths must be those of the managed parameters.
///
/// Derived fields are put right on the way: OCF and secondary header flags follow the parts given, the USLP length
/// field follows the octets written, FHEC and FECF are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameParts<'a> {
    /// Primary header.
    pub header: Header,
    /// AOS and USLP insert zone.
    pub insert_zone: &'a [u8],
    /// Data of the TM secondary header, 1 to 63 octets. Where the channel sets [`FrameSpec::secondary_header_len`], the
    /// whole header with its identification octet, of that length.
    pub secondary_header: Option<&'a [u8]>,
    /// SDLS security header.
    pub security_header: &'a [u8],
    /// Transfer frame data field.
    pub data_zone: &'a [u8],
    /// SDLS security trailer.
    pub security_trailer: &'a [u8],
    /// Mission-specific octets before the OCF.
    pub trailer: &'a [u8],
    /// Operational control field.
    pub ocf: Option<[u8; 4]>,
}

/// Parts that do not make a frame of this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A header of another kind than the channel's.
    #[error("the header is not that of a {kind} frame")]
    Kind {
        /// Of the channel.
        kind: FrameKind,
    },
    /// A zone of another length than the managed parameter.
    #[error("{zone} has {actual} octets, the channel says {expected}")]
    ZoneLen {
        /// Which zone.
        zone: &'static str,
        /// Managed parameter.
        expected: usize,
        /// Given.
        actual: usize,
    },
    /// The whole frame is not as long as the channel's frames are.
    #[error("the frame has {actual} octets, the channel carries {expected}")]
    FrameLen {
        /// Managed parameter.
        expected: usize,
        /// As built.
        actual: usize,
    },
    /// A secondary header has 1 to 63 octets of data and belongs to TM.
    #[error("a secondary header of {len} octets: only TM has one, of 1 to 63")]
    SecondaryHeader {
        /// Given.
        len: usize,
    },
    /// An OCF where the channel or frame can have none, or none where it must be.
    #[error("an OCF must be given exactly where the channel has one")]
    Ocf,
}

impl<'a> FrameParts<'a> {
    /// A header and its data field; everything else empty.
    #[must_use]
    pub const fn new(header: Header, data_zone: &'a [u8]) -> FrameParts<'a> {
        FrameParts {
            header,
            insert_zone: &[],
            secondary_header: None,
            security_header: &[],
            data_zone,
            security_trailer: &[],
            trailer: &[],
            ocf: None,
        }
    }

    /// Appends the frame to `out` and returns its length. On error `out` is as it was.
    ///
    /// # Errors
    /// The first part that does not fit the managed parameters.
    pub fn build(&self, spec: &FrameSpec, out: &mut Vec<u8>) -> Result<usize, BuildError> {
        let start = out.len();
        let built = self.append(spec, out, start);
        if built.is_err() {
            out.truncate(start);
        }
        built
    }

    fn append(&self, spec: &FrameSpec, out: &mut Vec<u8>, start: usize) -> Result<usize, BuildError> {
        let kind = spec.kind;
        let truncated = matches!(self.header, Header::Uslp(header) if header.rest.is_none());
        let zones = [
            ("insert zone", if truncated { 0 } else { spec.insert_zone_len }, self.insert_zone),
            ("security header", if truncated { 0 } else { spec.security_header_len }, self.security_header),
            (
                "security trailer",
                if truncated { 0 } else { spec.security_trailer_len },
                self.security_trailer,
            ),
            ("trailer", if truncated { 0 } else { spec.trailer_len }, self.trailer),
        ];
        for (zone, expected, octets) in zones {
            if octets.len() != expected {
                return Err(BuildError::ZoneLen { zone, expected, actual: octets.len() });
            }
        }
        if let Some(data) = self.secondary_header {
            let actual = data.len();
            match spec.secondary_header_len {
                Some(expected) if expected != actual => {
                    return Err(BuildError::ZoneLen { zone: "secondary header", expected, actual });
                }
                Some(_) => {}
                None if kind == FrameKind::Tm && (1..=63).contains(&actual) => {}
                None => return Err(BuildError::SecondaryHeader { len: actual }),
            }
        }
        match (self.header, kind) {
            (Header::Tm(mut header), FrameKind::Tm) => {
                header.ocf = self.ocf.is_some();
                header.secondary_header = self.secondary_header.is_some();
                out.extend_from_slice(&header.emit());
                if let Some(data) = self.secondary_header {
                    if spec.secondary_header_len.is_none() {
                        out.push(data.len() as u8);
                    }
                    out.extend_from_slice(data);
                }
                debug_assert!(out.len() - start >= TM_HEADER_LEN);
            }
            (Header::Aos(header), FrameKind::Aos) => {
                if self.ocf.is_some() != (spec.ocf == Ocf::Present) {
                    return Err(BuildError::Ocf);
                }
                let octets = header.emit();
                out.extend_from_slice(&octets);
                if spec.fhec {
                    out.extend_from_slice(&check::aos_header_fhec(&octets));
                }
            }
            (Header::Uslp(mut header), FrameKind::Uslp) => {
                if let Some(rest) = &mut header.rest {
                    rest.ocf = self.ocf.is_some();
                    let ocf_len = if rest.ocf { 4 } else { 0 };
                    let zones_len: usize = zones.iter().map(|(_, len, _)| len).sum();
                    let rest_len = usize::from(rest.vcf_count_len & 7) + ocf_len + spec.fecf.len();
                    let len = super::USLP_HEADER_LEN + zones_len + self.data_zone.len() + rest_len;
                    // Longer than any frame: the length check below refuses it.
                    rest.frame_len = len.min(65536) as u32;
                } else if self.ocf.is_some() {
                    return Err(BuildError::Ocf);
                }
                header.emit(out);
            }
            _ => return Err(BuildError::Kind { kind }),
        }
        out.extend_from_slice(self.insert_zone);
        out.extend_from_slice(self.security_header);
        out.extend_from_slice(self.data_zone);
        out.extend_from_slice(self.security_trailer);
        out.extend_from_slice(self.trailer);
        if let Some(ocf) = self.ocf {
            out.extend_from_slice(&ocf);
        }
        let fecf = if truncated { Fecf::None } else { spec.fecf };
        check::append_fecf(fecf, out, start);
        let actual = out.len() - start;
        let expected = if truncated { spec.truncated_len.unwrap_or(0) } else { spec.frame_len };
        let fits = if spec.variable_len && !truncated { actual <= expected } else { actual == expected };
        if fits { Ok(actual) } else { Err(BuildError::FrameLen { expected, actual }) }
    }
}

impl<'a> Frame<'a> {
    /// The parts of this frame: building them gives its octets again (with the header as corrected by the FHEC).
    #[must_use]
    pub const fn parts(&self) -> FrameParts<'a> {
        FrameParts {
            header: self.header,
            insert_zone: self.insert_zone,
            secondary_header: self.secondary_header,
            security_header: self.security_header,
            data_zone: self.data_zone,
            security_trailer: self.security_trailer,
            trailer: self.trailer,
            ocf: self.ocf,
        }
    }
}
