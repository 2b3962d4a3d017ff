//! The interleaver (131.0-B-5 6.3): which information bit enters encoder b when, and a fast way to move whole frames.
//!
//! Counted from 0, bit s of the interleaved frame, with s = 2 k2 i + 2 j + m, is bit 2t + 1 - m (0 the first) of octet
//! (p j + 21 m) mod k2, where t and the prime p depend on i alone. So each quarter i is one walk through the octets of
//! the frame by steps of p; the bits with m = 1 come from the same walk, some places ahead.

const ROWS: usize = 4;
const PRIMES: [usize; 4] = [31, 37, 43, 47];

/// For every bit of the interleaved frame the bit of the frame that it is, both counted from 0.
///
/// # Panics
/// When `information_bits` is no multiple of 8.
pub fn interleaver(information_bits: usize) -> Vec<u16> {
    assert!(information_bits.is_multiple_of(8), "{information_bits} bits are no whole octets");
    let k2 = information_bits / 8;
    let place = |s: usize| {
        let (m, i, j) = (s % 2, s / (2 * k2), s / 2 % k2);
        let t = quarter(i);
        let c = (PRIMES[t] * j + 21 * m) % k2;
        (8 * c + 2 * t + 1 - m) as u16
    };
    (0..information_bits).map(place).collect()
}

/// t of quarter i.
const fn quarter(i: usize) -> usize {
    (19 * i + 1) % 4
}

/// Interleaves frames of one length, octets to octets.
#[derive(Debug, Clone)]
pub(super) struct OctetInterleaver {
    k2: usize,
    /// The walks of the quarters, one behind the other: octet numbers.
    walks: Vec<u16>,
    /// How far ahead in the walk the bits with m = 1 are.
    ahead: [usize; ROWS],
    /// The walk's octets, twice over, so that it can be read across its end.
    octets: Vec<u8>,
}

impl OctetInterleaver {
    pub(super) fn new(information_bits: usize) -> OctetInterleaver {
        let k2 = information_bits / 8;
        let walk = |i: usize| (0..k2).map(move |j| PRIMES[quarter(i)] * j % k2);
        let walks = (0..ROWS).flat_map(|i| walk(i).map(|c| c as u16)).collect();
        let mut ahead = [0; ROWS];
        for (i, ahead) in ahead.iter_mut().enumerate() {
            *ahead = walk(i).position(|c| c == 21).unwrap_or(0);
        }
        OctetInterleaver { k2, walks, ahead, octets: vec![0; 2 * k2 + 8] }
    }

    /// Writes the interleaved `frame`; both have the octets of one frame.
    pub(super) fn interleave(&mut self, frame: &[u8], out: &mut [u8]) {
        let k2 = self.k2;
        let mut words = out.chunks_mut(8);
        let (mut held, mut held_bits) = (0_u64, 0);
        let mut put = |bits: u64, count: u32| {
            let room = 64 - held_bits;
            if count < room {
                held |= bits << (room - count);
                held_bits += count;
                return;
            }
            let word = held | bits >> (count - room);
            if let Some(place) = words.next() {
                place.copy_from_slice(&word.to_be_bytes()[..place.len()]);
            }
            held_bits = count - room;
            held = if held_bits == 0 { 0 } else { bits << (64 - held_bits) };
        };
        for (i, walk) in self.walks.chunks_exact(k2).enumerate() {
            let (once, again) = self.octets.split_at_mut(k2);
            for (octet, c) in once.iter_mut().zip(walk) {
                *octet = frame[usize::from(*c)];
            }
            again[..k2].copy_from_slice(once);
            // Bit 2t + 1 (m = 0) and bit 2t (m = 1) of an octet, counted from its highest.
            let shift = 6 - 2 * quarter(i) as u32;
            for j in (0..k2).step_by(8) {
                let even = load(&self.octets, j) >> shift & 0x0101_0101_0101_0101;
                let odd = load(&self.octets, j + self.ahead[i]) >> (shift + 1) & 0x0101_0101_0101_0101;
                let pairs = even << 1 | odd;
                let pairs = (pairs | pairs >> 6) & 0x000F_000F_000F_000F;
                let pairs = (pairs | pairs >> 12) & 0x0000_00FF_0000_00FF;
                let bits = (pairs | pairs >> 24) & 0xFFFF;
                let count = 2 * (k2 - j).min(8) as u32;
                put(bits >> (16 - count), count);
            }
        }
        if held_bits > 0
            && let Some(place) = words.next()
        {
            place.copy_from_slice(&held.to_be_bytes()[..place.len()]);
        }
    }
}

#[inline(always)]
fn load(octets: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&octets[at..at + 8]);
    u64::from_be_bytes(word)
}
