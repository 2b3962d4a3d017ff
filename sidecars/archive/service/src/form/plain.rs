//! Octets and nothing else: frame files, packet files, and frames with their marker.

use super::{Form, Written};
use crate::retrieval::{Columns, Error, Row};

/// Attached sync marker of TM and AOS channels (131.0-B-5 section 9.3.1).
pub const MARKER: [u8; 4] = [0x1A, 0xCF, 0xFC, 0x1D];

pub(super) struct Plain {
    before: &'static [u8],
    len: usize,
}

impl Plain {
    pub(super) fn new(columns: &Columns, before: &'static [u8]) -> Plain {
        Plain { before, len: columns.len }
    }
}

impl Form for Plain {
    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(self.before);
        out.extend_from_slice(unit.octets);
        Ok(())
    }

    fn unit_len(&self, row: &Row) -> Option<u64> {
        Some(self.before.len() as u64 + row.number(self.len) as u64)
    }

    fn wants_octets(&self) -> bool {
        true
    }
}
