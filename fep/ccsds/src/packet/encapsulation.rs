//! Encapsulation packet header (133.1-B-3 4.1.2).

/// Protocol identifiers (SANA registry of encapsulation protocol identifiers).
pub mod protocol_id {
    /// Idle: fill.
    pub const IDLE: u8 = 0;
    /// Licklider transmission protocol.
    pub const LTP: u8 = 1;
    /// Internet protocol extension.
    pub const IPE: u8 = 2;
    /// CCSDS file delivery protocol.
    pub const CFDP: u8 = 3;
    /// Bundle protocol.
    pub const BP: u8 = 4;
    /// The protocol identifier extension tells.
    pub const EXTENDED: u8 = 6;
    /// Mission-specific.
    pub const MISSION: u8 = 7;
}

/// How long the header is, and with it what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthOfLength {
    /// One octet, no length: an idle packet of one octet.
    Zero,
    /// Two octets, 8-bit length.
    One,
    /// Four octets, 16-bit length.
    Two {
        /// User-defined field, 4 bits.
        user_defined: u8,
        /// Encapsulation protocol identifier extension, 4 bits.
        protocol_id_extension: u8,
    },
    /// Eight octets, 32-bit length.
    Four {
        /// User-defined field, 4 bits.
        user_defined: u8,
        /// Encapsulation protocol identifier extension, 4 bits.
        protocol_id_extension: u8,
        /// CCSDS-defined field, 16 bits.
        ccsds_defined: u16,
    },
}

/// Not an encapsulation packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncapsulationInvalid {
    /// The header is longer than the octets there.
    #[error("the header has {needed} octets, there are {actual}")]
    Short {
        /// Octets of the header.
        needed: usize,
        /// Octets there.
        actual: usize,
    },
    /// The packet version number is not 7.
    #[error("packet version number is {0}, an encapsulation packet has 7")]
    Version(u8),
    /// The packet would be shorter than its own header.
    #[error("packet length {packet_len} is less than the header of {header_len} octets")]
    Length {
        /// Length field.
        packet_len: u32,
        /// Octets of the header.
        header_len: usize,
    },
    /// A header without length belongs to an idle packet, another protocol is named.
    #[error("protocol {0} in a header without length, which is for idle packets only")]
    NotIdle(u8),
}

/// Encapsulation packet header (133.1-B-3 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncapsulationHeader {
    /// Encapsulation protocol identifier, 3 bits. See [`protocol_id`].
    pub protocol_id: u8,
    /// Length of length, and the fields that come with it.
    pub length_of_length: LengthOfLength,
    /// Octets of the whole packet, header included.
    pub packet_len: u32,
}

impl EncapsulationHeader {
    /// Octets of a header that starts with `first_octet`: 1, 2, 4 or 8.
    #[must_use]
    pub const fn header_len_of(first_octet: u8) -> usize {
        1 << (first_octet & 3)
    }

    /// Reads the header at the front of `octets`.
    ///
    /// # Errors
    /// Too few octets, another packet version, or a length that cannot be.
    pub fn parse(octets: &[u8]) -> Result<EncapsulationHeader, EncapsulationInvalid> {
        let Some(&first) = octets.first() else {
            return Err(EncapsulationInvalid::Short { needed: 1, actual: 0 });
        };
        if first >> 5 != 7 {
            return Err(EncapsulationInvalid::Version(first >> 5));
        }
        let protocol_id = first >> 2 & 7;
        let header_len = Self::header_len_of(first);
        let Some(header) = octets.get(..header_len) else {
            return Err(EncapsulationInvalid::Short { needed: header_len, actual: octets.len() });
        };
        let (length_of_length, packet_len) = match *header {
            [_, len] => (LengthOfLength::One, u32::from(len)),
            [_, o1, l0, l1] => (
                LengthOfLength::Two { user_defined: o1 >> 4, protocol_id_extension: o1 & 0xF },
                u32::from(u16::from_be_bytes([l0, l1])),
            ),
            [_, o1, c0, c1, l0, l1, l2, l3] => (
                LengthOfLength::Four {
                    user_defined: o1 >> 4,
                    protocol_id_extension: o1 & 0xF,
                    ccsds_defined: u16::from_be_bytes([c0, c1]),
                },
                u32::from_be_bytes([l0, l1, l2, l3]),
            ),
            _ if protocol_id == protocol_id::IDLE => (LengthOfLength::Zero, 1),
            _ => return Err(EncapsulationInvalid::NotIdle(protocol_id)),
        };
        if (packet_len as usize) < header_len {
            return Err(EncapsulationInvalid::Length { packet_len, header_len });
        }
        Ok(EncapsulationHeader { protocol_id, length_of_length, packet_len })
    }

    /// Appends the octets of the header. Bits of a field beyond its width are dropped.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let first = 0xE0 | (self.protocol_id & 7) << 2;
        let second = |user_defined: u8, extension: u8| user_defined << 4 | extension & 0xF;
        match self.length_of_length {
            LengthOfLength::Zero => out.push(first),
            LengthOfLength::One => out.extend_from_slice(&[first | 1, self.packet_len as u8]),
            LengthOfLength::Two { user_defined, protocol_id_extension } => {
                out.extend_from_slice(&[first | 2, second(user_defined, protocol_id_extension)]);
                out.extend_from_slice(&(self.packet_len as u16).to_be_bytes());
            }
            LengthOfLength::Four { user_defined, protocol_id_extension, ccsds_defined } => {
                out.extend_from_slice(&[first | 3, second(user_defined, protocol_id_extension)]);
                out.extend_from_slice(&ccsds_defined.to_be_bytes());
                out.extend_from_slice(&self.packet_len.to_be_bytes());
            }
        }
    }

    /// Octets of this header.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self.length_of_length {
            LengthOfLength::Zero => 1,
            LengthOfLength::One => 2,
            LengthOfLength::Two { .. } => 4,
            LengthOfLength::Four { .. } => 8,
        }
    }

    /// Whether it is an idle packet.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.protocol_id == protocol_id::IDLE
    }
}
