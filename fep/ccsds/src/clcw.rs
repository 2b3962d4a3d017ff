//! Communications link control word: what the spacecraft's receiver of telecommands reports in the OCF.
//!
//! Fields to octets and back; COP-1, which acts on them, is not here.

/// Communications link control word, 232.0-B-4 4.2.1.
///
/// ```
/// use fep_ccsds::Clcw;
/// let clcw = Clcw::parse([0x01, 0x00, 0x20, 0x00]).unwrap();
/// assert!(clcw.lockout && clcw.cop_in_effect == 1);
/// assert_eq!(clcw.emit(), [0x01, 0x00, 0x20, 0x00]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
