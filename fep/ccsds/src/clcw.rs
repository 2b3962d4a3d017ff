//! What an operational control field holds: the communications link control word, in which the spacecraft's receiver of
//! telecommands reports, or another report.
//!
//! Fields to octets, to text and back; COP-1, which acts on them, is not here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Content of an operational control field (132.0-B-3 4.1.5, 732.0-B-4 4.1.5, 732.1-B-2 4.1.5).
///
/// In JSON as `{"type": "clcw", …}` with the fields of the [`Clcw`], and for the others with the octets.
///
/// ```
/// use fep_ccsds::OcfReport;
/// assert!(matches!(OcfReport::parse([0x01, 0, 0, 9]), OcfReport::Clcw(clcw) if clcw.report_value == 9));
/// // The frame security report of SDLS (355.1-B-1) has its first bit set: it is no CLCW.
/// assert!(matches!(OcfReport::parse([0xC0, 0, 0, 9]), OcfReport::Type2 { .. }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OcfReport {
    /// Type-1 report (first bit 0): a CLCW of version 0.
    Clcw(Clcw),
    /// Type-1 report of a version that this crate does not know.
    UnknownVersion {
        /// The field.
        octets: [u8; 4],
    },
    /// Type-2 report (first bit 1): of the mission, or a frame security report of SDLS (355.1-B-1).
    Type2 {
        /// The field.
        octets: [u8; 4],
    },
}

impl OcfReport {
    /// Reads an operational control field: any four octets are one of the three.
    #[must_use]
    pub fn parse(octets: [u8; 4]) -> OcfReport {
        match Clcw::parse(octets) {
            Ok(clcw) => OcfReport::Clcw(clcw),
            Err(_) if octets[0] & 0x80 != 0 => OcfReport::Type2 { octets },
            Err(_) => OcfReport::UnknownVersion { octets },
        }
    }

    /// The octets of the field.
    #[must_use]
    pub fn emit(&self) -> [u8; 4] {
        match *self {
            OcfReport::Clcw(clcw) => clcw.emit(),
            OcfReport::UnknownVersion { octets } | OcfReport::Type2 { octets } => octets,
        }
    }
}

impl fmt::Display for OcfReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OcfReport::Clcw(clcw) => clcw.fmt(f),
            OcfReport::UnknownVersion { octets } => {
                write!(f, "CLCW of unknown version, {:08X}", u32::from_be_bytes(*octets))
            }
            OcfReport::Type2 { octets } => write!(f, "type-2 report {:08X}", u32::from_be_bytes(*octets)),
        }
    }
}

/// Communications link control word, 232.0-B-4 4.2.1. JSON has the fields under the names below.
///
/// As text: what it reports on, what is expected next, and only those flags that are set.
///
/// ```
/// use fep_ccsds::Clcw;
/// let clcw = Clcw::parse([0x01, 0x00, 0x20, 0x00]).unwrap();
/// assert!(clcw.lockout && clcw.cop_in_effect == 1);
/// assert_eq!(clcw.emit(), [0x01, 0x00, 0x20, 0x00]);
/// assert_eq!(clcw.to_string(), "COP-1 VC 0 V(R) 0 FARM-B 0 lockout");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Clcw {
    /// Status of the mission, 3 bits.
    pub status: u8,
    /// COP in effect, 2 bits: 1 for COP-1.
    pub cop_in_effect: u8,
    /// Virtual channel of telecommands that the word reports on, 6 bits.
    pub vcid: u8,
    /// Reserved bits after the virtual channel, 2; the sender shall set 0.
    pub reserved: u8,
    /// The physical channel is not ready (no radio frequency available).
    pub no_rf_available: bool,
    /// No bit lock.
    pub no_bit_lock: bool,
    /// FARM-1 is in lockout.
    pub lockout: bool,
    /// The spacecraft cannot take further frames.
    pub wait: bool,
    /// Frames must be sent again.
    pub retransmit: bool,
    /// FARM-B counter, 2 bits.
    pub farm_b_counter: u8,
    /// Reserved bit before the report value; the sender shall set 0.
    pub reserved_last: bool,
    /// Next frame sequence number expected, V(R).
    pub report_value: u8,
}

/// The OCF is not a CLCW of version 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operational control field {ocf:08X} is not a CLCW: type and version are not 0")]
pub struct NotClcw {
    /// The field.
    pub ocf: u32,
}

impl Clcw {
    /// Reads an operational control field.
    ///
    /// # Errors
    /// [`NotClcw`] when the type flag (0: CLCW) or the version (0) say that it is something else.
    pub fn parse(ocf: [u8; 4]) -> Result<Clcw, NotClcw> {
        let [o0, o1, o2, report_value] = ocf;
        if o0 & 0xE0 != 0 {
            return Err(NotClcw { ocf: u32::from_be_bytes(ocf) });
        }
        let flag = |bit: u8| o2 >> bit & 1 != 0;
        Ok(Clcw {
            status: o0 >> 2 & 7,
            cop_in_effect: o0 & 3,
            vcid: o1 >> 2,
            reserved: o1 & 3,
            no_rf_available: flag(7),
            no_bit_lock: flag(6),
            lockout: flag(5),
            wait: flag(4),
            retransmit: flag(3),
            farm_b_counter: o2 >> 1 & 3,
            reserved_last: flag(0),
            report_value,
        })
    }

    /// The octets of the word. Bits of a field beyond its width are dropped.
    #[must_use]
    pub fn emit(&self) -> [u8; 4] {
        let flags = u8::from(self.no_rf_available) << 7
            | u8::from(self.no_bit_lock) << 6
            | u8::from(self.lockout) << 5
            | u8::from(self.wait) << 4
            | u8::from(self.retransmit) << 3
            | (self.farm_b_counter & 3) << 1
            | u8::from(self.reserved_last);
        [
            (self.status & 7) << 2 | self.cop_in_effect & 3,
            self.vcid << 2 | self.reserved & 3,
            flags,
            self.report_value,
        ]
    }
}

impl fmt::Display for Clcw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cop_in_effect & 3 {
            1 => f.write_str("COP-1")?,
            cop => write!(f, "COP code {cop}")?,
        }
        write!(f, " VC {} V(R) {} FARM-B {}", self.vcid, self.report_value, self.farm_b_counter)?;
        let flags = [
            (self.lockout, "lockout"),
            (self.wait, "wait"),
            (self.retransmit, "retransmit"),
            (self.no_rf_available, "no RF available"),
            (self.no_bit_lock, "no bit lock"),
        ];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            write!(f, " {name}")?;
        }
        if self.status != 0 {
            write!(f, " status {}", self.status)?;
        }
        Ok(())
    }
}
