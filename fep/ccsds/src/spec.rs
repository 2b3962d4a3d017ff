//! Managed parameters of a physical channel: what sender and receiver agreed on beforehand and no header says.
//!
//! Parameters only; [`crate::Frame`] reads frames by them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which transfer frame a physical channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// TM transfer frame, 132.0-B-3.
    Tm,
    /// AOS transfer frame, 732.0-B-4.
    Aos,
    /// Unified space data link protocol frame, 732.1-B-2.
    Uslp,
}

impl FrameKind {
    /// Transfer frame version number as it stands in the frame: 0 (2 bits), 1 (2 bits), 12 (4 bits).
    #[must_use]
    pub const fn tfvn(self) -> u8 {
        match self {
            FrameKind::Tm => 0b00,
            FrameKind::Aos => 0b01,
            FrameKind::Uslp => 0b1100,
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameKind::Tm => "TM",
            FrameKind::Aos => "AOS",
            FrameKind::Uslp => "USLP",
        })
    }
}

/// Frame error control field at the end of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fecf {
    /// No field: only the channel code tells whether the frame is right.
    #[default]
    None,
    /// 16-bit CRC (132.0-B-3 4.1.6, 732.0-B-4 4.1.6, 732.1-B-2 4.1.6).
    Crc16,
    /// 32-bit CRC, USLP only (732.1-B-2 annex B).
    Crc32,
}

impl Fecf {
    /// Octets the field takes.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Fecf::None => 0,
            Fecf::Crc16 => 2,
            Fecf::Crc32 => 4,
        }
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Fecf::None)
    }
}

/// Operational control field of AOS frames. TM and USLP frames say in their header whether they carry one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ocf {
    /// No field.
    #[default]
    Absent,
    /// Four octets before the FECF.
    Present,
}

/// Managed parameters of a physical channel (132.0-B-3 5, 732.0-B-4 5, 732.1-B-2 5). Lengths are in octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameSpec {
    /// Transfer frame kind.
    pub kind: FrameKind,
    /// Whole transfer frame: header to FECF, without marker and check symbols. For variable-length USLP the maximum.
    pub frame_len: usize,
    /// Insert zone of AOS and USLP frames.
    #[serde(default)]
    pub insert_zone_len: usize,
    /// Frame error control field.
    #[serde(default)]
    pub fecf: Fecf,
    /// Operational control field of AOS frames; ignored for TM and USLP.
    #[serde(default)]
    pub ocf: Ocf,
    /// AOS frame header error control field (732.0-B-4 4.1.2.6).
    #[serde(default)]
    pub fhec: bool,
    /// Security header of SDLS (355.0-B-2), right before the data field.
    #[serde(default)]
    pub security_header_len: usize,
    /// Security trailer of SDLS, right after the data field.
    #[serde(default)]
    pub security_trailer_len: usize,
    /// Octets of a mission between the data field (or security trailer) and the OCF that are neither.
    #[serde(default)]
    pub trailer_len: usize,
    /// USLP: frames of any length up to `frame_len`. Else every frame has exactly `frame_len` octets.
    #[serde(default)]
    pub variable_len: bool,
    /// USLP: length of truncated frames, where the mission has them (732.1-B-2 annex D). `None` refuses them.
    #[serde(default)]
    pub truncated_len: Option<usize>,
    /// TM: octets of the secondary header, identification octet included, where the length field in it is wrong.
    /// `None` believes the field. Frames without the secondary header flag have none either way.
    #[serde(default)]
    pub secondary_header_len: Option<usize>,
}

/// A [`FrameSpec`] that no frame can obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameSpecError {
    /// The frame cannot hold its own headers and trailers and at least one octet of data.
    #[error("frame_len is {frame_len} octets but headers, zones and trailers alone take {overhead}")]
    TooShort {
        /// Length given.
        frame_len: usize,
        /// Octets that are not data.
        overhead: usize,
    },
    /// Longer than the frame kind allows.
    #[error("frame_len is {frame_len} octets; a {kind} frame has at most {max}")]
    TooLong {
        /// Kind given.
        kind: FrameKind,
        /// Length given.
        frame_len: usize,
        /// Most that the kind allows.
        max: usize,
    },
    /// Whether there is an operational control field is managed for AOS frames only.
    #[error(
        "ocf is a key of AOS frames only: in {kind} frames a flag of the header says whether there is one; leave it out"
    )]
    HeaderSays {
        /// Kind given.
        kind: FrameKind,
    },
    /// A parameter that this frame kind does not have.
    #[error("{parameter} does not exist in {kind} frames")]
    NotInKind {
        /// Kind given.
        kind: FrameKind,
        /// Name of the parameter.
        parameter: &'static str,
    },
    /// A truncated USLP frame holds a 4-octet header, a TFDF header and at least one octet.
    #[error("truncated_len is {truncated_len} octets; it must be 6 to frame_len")]
    TruncatedLen {
        /// Length given.
        truncated_len: usize,
    },
    /// A secondary header has at least its identification octet.
    #[error(
        "secondary_header_len is 0; it must be at least 1, or left out when there are no secondary headers"
    )]
    SecondaryHeaderLen,
}

impl FrameSpec {
    /// Fixed-length frames of `frame_len` octets with nothing optional in them.
    #[must_use]
    pub const fn new(kind: FrameKind, frame_len: usize) -> FrameSpec {
        FrameSpec {
            kind,
            frame_len,
            insert_zone_len: 0,
            fecf: Fecf::None,
            ocf: Ocf::Absent,
            fhec: false,
            security_header_len: 0,
            security_trailer_len: 0,
            trailer_len: 0,
            variable_len: false,
            truncated_len: None,
            secondary_header_len: None,
        }
    }

    /// TM frames, see [`FrameSpec::new`].
    #[must_use]
    pub const fn tm(frame_len: usize) -> FrameSpec {
        FrameSpec::new(FrameKind::Tm, frame_len)
    }

    /// AOS frames, see [`FrameSpec::new`].
    #[must_use]
    pub const fn aos(frame_len: usize) -> FrameSpec {
        FrameSpec::new(FrameKind::Aos, frame_len)
    }

    /// USLP frames, see [`FrameSpec::new`].
    #[must_use]
    pub const fn uslp(frame_len: usize) -> FrameSpec {
        FrameSpec::new(FrameKind::Uslp, frame_len)
    }

    /// Checks that the parameters belong to the frame kind and leave room for data.
    ///
    /// # Errors
    /// The first parameter that cannot be, with the figures.
    pub fn validate(&self) -> Result<(), FrameSpecError> {
        let kind = self.kind;
        let refuse = |parameter| Err(FrameSpecError::NotInKind { kind, parameter });
        if kind != FrameKind::Aos && self.fhec {
            return refuse("fhec");
        }
        if kind != FrameKind::Aos && self.ocf == Ocf::Present {
            return Err(FrameSpecError::HeaderSays { kind });
        }
        if kind == FrameKind::Tm && self.insert_zone_len > 0 {
            return refuse("insert_zone_len");
        }
        if kind != FrameKind::Uslp && self.variable_len {
            return refuse("variable_len");
        }
        if kind != FrameKind::Uslp && self.truncated_len.is_some() {
            return refuse("truncated_len");
        }
        if kind != FrameKind::Tm && self.secondary_header_len.is_some() {
            return refuse("secondary_header_len");
        }
        if self.secondary_header_len == Some(0) {
            return Err(FrameSpecError::SecondaryHeaderLen);
        }
        if kind != FrameKind::Uslp && self.fecf == Fecf::Crc32 {
            return refuse("fecf crc32");
        }
        // 11 bits of first header pointer limit TM and AOS; 16 bits of length limit USLP.
        let max = if kind == FrameKind::Uslp { 65536 } else { 2048 };
        if self.frame_len > max {
            return Err(FrameSpecError::TooLong { kind, frame_len: self.frame_len, max });
        }
        let overhead = self.least_header_len()
            + self.insert_zone_len.min(max)
            + self.secondary_header_len.unwrap_or(0).min(max)
            + self.security_header_len.min(max)
            + self.security_trailer_len.min(max)
            + self.trailer_len.min(max)
            + if self.ocf == Ocf::Present { 4 } else { 0 }
            + self.fecf.len();
        if self.frame_len <= overhead {
            return Err(FrameSpecError::TooShort { frame_len: self.frame_len, overhead });
        }
        if let Some(truncated_len) = self.truncated_len
            && !(6..=self.frame_len).contains(&truncated_len)
        {
            return Err(FrameSpecError::TruncatedLen { truncated_len });
        }
        Ok(())
    }

    const fn least_header_len(&self) -> usize {
        match self.kind {
            FrameKind::Tm => 6,
            FrameKind::Aos => 6 + if self.fhec { 2 } else { 0 },
            // Primary header without a frame count, and the one octet of TFDF header.
            FrameKind::Uslp => 7 + 1,
        }
    }
}
