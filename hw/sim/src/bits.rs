//! A growing string of bits, most significant bit first: what a demodulator delivers.
//!
//! It appends runs of bits that may start anywhere in an octet; whole octets are moved at once while the string is
//! byte-aligned, so a channel that never slips costs no more than a copy. It is no general bit vector: bits are
//! only ever appended, and only whole octets are taken out.

/// Bits appended so far, less the whole octets already taken.
#[derive(Debug, Default, Clone)]
pub(crate) struct BitString {
    octets: Vec<u8>,
    /// Bits of `octets.last()` that are filled, 0 when the last octet is whole (or there is none).
    partial_bits: u32,
}

impl BitString {
    /// Appends `bit_count` bits of `source`, from bit `start_bit` on.
    pub(crate) fn append(&mut self, source: &[u8], start_bit: usize, bit_count: usize) {
        assert!(start_bit + bit_count <= source.len() * 8, "a run of bits ends after its source");
        if self.partial_bits == 0 && start_bit.is_multiple_of(8) {
            let first = start_bit / 8;
            self.octets.extend_from_slice(&source[first..first + bit_count / 8]);
            self.append_slowly(source, start_bit + bit_count / 8 * 8, bit_count % 8);
        } else {
            self.append_slowly(source, start_bit, bit_count);
        }
    }

    fn append_slowly(&mut self, source: &[u8], start_bit: usize, bit_count: usize) {
        let mut at = start_bit;
        let end = start_bit + bit_count;
        while at < end {
            let take = (end - at).min(8);
            self.push_octet(bits_at(source, at, take), take as u32);
            at += take;
        }
    }

    /// Appends the upper `bit_count` bits of `octet`.
    fn push_octet(&mut self, octet: u8, bit_count: u32) {
        let octet = if bit_count == 8 { octet } else { octet & !(0xFF >> bit_count) };
        if self.partial_bits == 0 {
            self.octets.push(octet);
            self.partial_bits = bit_count % 8;
            return;
        }
        let free = 8 - self.partial_bits;
        *self.octets.last_mut().expect("a partial octet exists") |= octet >> self.partial_bits;
        if bit_count > free {
            self.octets.push(octet << free);
        }
        self.partial_bits = (self.partial_bits + bit_count) % 8;
    }

    /// Bits of the last octet that are not filled.
    pub(crate) fn free_bits(&self) -> usize {
        (8 - self.partial_bits as usize) % 8
    }

    /// Moves all whole octets to the end of `out`; an unfinished last octet stays.
    pub(crate) fn take_whole(&mut self, out: &mut Vec<u8>) {
        let whole = self.octets.len() - usize::from(self.partial_bits != 0);
        out.extend_from_slice(&self.octets[..whole]);
        self.octets.drain(..whole);
    }

    /// Moves everything to the end of `out`; free bits of the last octet are zero.
    pub(crate) fn take_all(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.octets);
        self.partial_bits = 0;
    }
}

/// Up to eight bits of `source` from `start_bit` on, left-aligned; bits after the end of `source` read as zero.
fn bits_at(source: &[u8], start_bit: usize, bit_count: usize) -> u8 {
    let index = start_bit / 8;
    let shift = start_bit % 8;
    let high = source[index] << shift;
    let low = if shift == 0 { 0 } else { source.get(index + 1).copied().unwrap_or(0) >> (8 - shift) };
    let octet = high | low;
    if bit_count >= 8 { octet } else { octet & !(0xFF_u8 >> bit_count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_of_bits_join_as_one_string(runs in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..12), 0usize..96, 0usize..96), 0..20)) {
            let mut string = BitString::default();
            let mut expected: Vec<bool> = Vec::new();
            let mut out = Vec::new();
            for (source, start, count) in runs {
                let start = start % (source.len() * 8);
                let count = count.min(source.len() * 8 - start);
                expected.extend((start..start + count).map(|bit| source[bit / 8] & (0x80 >> (bit % 8)) != 0));
                string.append(&source, start, count);
                string.take_whole(&mut out);
                prop_assert!(out.len() * 8 <= expected.len());
            }
            string.take_all(&mut out);
            prop_assert_eq!(out.len(), expected.len().div_ceil(8));
            for (bit, value) in expected.iter().enumerate() {
                prop_assert_eq!(out[bit / 8] & (0x80 >> (bit % 8)) != 0, *value, "bit {}", bit);
            }
        }
    }
}
