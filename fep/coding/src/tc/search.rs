//! The search for a start sequence of 16 bits at every bit position, with no or one wrong bit.
//!
//! The octet in the middle of the 24 bits that the eight alignments of an octet reach over is looked up first; of an idle
//! sequence nothing is left after that, of random data about every second octet.

use super::START_SEQUENCE;
use crate::sync::Polarity;

/// Bits of the start sequence.
pub(super) const START_BITS: u64 = 16;

/// Which 16-bit windows are a start sequence.
#[derive(Debug, Clone)]
pub(super) struct StartFinder {
    bit_errors: u32,
    upright: bool,
    complement: bool,
    /// Bit `s` of `middle[v]`: a start sequence at offset `s` of an octet can have `v` as its next octet.
    middle: [u8; 256],
}

/// A start sequence found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) bit: usize,
    pub(super) bit_errors: u32,
    pub(super) inverted: bool,
}

impl StartFinder {
    pub(super) fn new(bit_errors: u32, polarity: Polarity) -> StartFinder {
        let mut finder = StartFinder {
            bit_errors,
            upright: polarity != Polarity::Inverted,
            complement: polarity != Polarity::Normal,
            middle: [0; 256],
        };
        let pattern = u16::from_be_bytes(START_SEQUENCE);
        for value in 0..=255u8 {
            for shift in 0..8 {
                let difference = (pattern >> shift) as u8 ^ value;
                let near = |errors: u32| errors <= bit_errors;
                if (finder.upright && near(difference.count_ones()))
                    || (finder.complement && near(difference.count_zeros()))
                {
                    finder.middle[usize::from(value)] |= 1 << shift;
                }
            }
        }
        finder
    }

    /// The first start sequence that begins at one of the bits `from..to` of `octets`, which reach 15 bits further.
    pub(super) fn find(&self, octets: &[u8], from: usize, to: usize) -> Option<Start> {
        if from >= to {
            return None;
        }
        debug_assert!(to + START_BITS as usize - 1 <= 8 * octets.len());
        let first = from / 8;
        let last = (to - 1) / 8;
        for (octet, middle) in (first..=last).zip(&octets[first + 1..]) {
            let mut shifts = self.middle[usize::from(*middle)];
            while shifts != 0 {
                let shift = shifts.trailing_zeros() as usize;
                shifts &= shifts - 1;
                let bit = 8 * octet + shift;
                if (from..to).contains(&bit)
                    && let Some(start) = self.at(octets, bit)
                {
                    return Some(start);
                }
            }
        }
        None
    }

    fn at(&self, octets: &[u8], bit: usize) -> Option<Start> {
        let octet = bit / 8;
        let third = octets.get(octet + 2).copied().unwrap_or(0);
        let window = u32::from_be_bytes([octets[octet], octets[octet + 1], third, 0]) << (bit % 8);
        let difference = (window >> 16) as u16 ^ u16::from_be_bytes(START_SEQUENCE);
        let (errors, errors_inverted) = (difference.count_ones(), difference.count_zeros());
        if self.upright && errors <= self.bit_errors {
            Some(Start { bit, bit_errors: errors, inverted: false })
        } else if self.complement && errors_inverted <= self.bit_errors {
            Some(Start { bit, bit_errors: errors_inverted, inverted: true })
        } else {
            None
        }
    }
}
