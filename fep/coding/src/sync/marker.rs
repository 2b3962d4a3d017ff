//! Attached synchronisation markers: 32 to 192 bits, compared at any bit position.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest marker, octets (turbo 1/6).
const MARKER_LEN_MAX: usize = 24;
/// Shortest marker, octets.
const MARKER_LEN_MIN: usize = 4;
const WORDS: usize = MARKER_LEN_MAX / 8;

/// The bits in front of every block (131.0-B-5 9.3). Written as hex digits in configuration files: `"1acffc1d"`.
///
/// ```
/// use fep_coding::Marker;
/// assert_eq!(Marker::new(&[0x1A, 0xCF, 0xFC, 0x1D])?, Marker::CCSDS_32);
/// assert_eq!(Marker::CCSDS_32.to_string(), "1acffc1d");
/// # Ok::<(), fep_coding::sync::MarkerError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Marker {
    /// Zero behind `len`, so that equality and hash see only the marker.
    octets: [u8; MARKER_LEN_MAX],
    len: u8,
}

/// Octets or digits that are no marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// Too short or too long.
    #[error("a marker has 4 to 24 octets (32 to 192 bits), this one has {0}")]
    Length(usize),
    /// Something that is no hexadecimal digit.
    #[error("a marker is written as hexadecimal digits, like \"1acffc1d\"; character {0} is none")]
    Digit(usize),
    /// An odd number of digits.
    #[error("a marker has whole octets: an even number of hexadecimal digits, not {0}")]
    OddDigits(usize),
}

impl Marker {
    /// Uncoded, convolutional, Reed-Solomon, concatenated, LDPC 7/8.
    pub const CCSDS_32: Marker = Marker::of([0x1A, 0xCF, 0xFC, 0x1D]);
    /// Turbo 1/2; LDPC 1/2, 2/3, 4/5.
    pub const CCSDS_64: Marker = Marker::of([0x03, 0x47, 0x76, 0xC7, 0x27, 0x28, 0x95, 0xB0]);
    /// Turbo 1/3.
    pub const CCSDS_96: Marker =
        Marker::of([0x25, 0xD5, 0xC0, 0xCE, 0x89, 0x90, 0xF6, 0xC9, 0x46, 0x1B, 0xF7, 0x9C]);
    /// Turbo 1/4: the 64-bit marker and its complement.
    pub const CCSDS_128: Marker = Marker::of([
        0x03, 0x47, 0x76, 0xC7, 0x27, 0x28, 0x95, 0xB0, 0xFC, 0xB8, 0x89, 0x38, 0xD8, 0xD7, 0x6A, 0x4F,
    ]);
    /// Turbo 1/6: the 96-bit marker and its complement.
    pub const CCSDS_192: Marker = Marker::of([
        0x25, 0xD5, 0xC0, 0xCE, 0x89, 0x90, 0xF6, 0xC9, 0x46, 0x1B, 0xF7, 0x9C, //
        0xDA, 0x2A, 0x3F, 0x31, 0x76, 0x6F, 0x09, 0x36, 0xB9, 0xE4, 0x08, 0x63,
    ]);
    /// A data stream embedded in another channel's frames (131.0-B-5 9.6).
    pub const EMBEDDED_32: Marker = Marker::of([0x35, 0x2E, 0xF8, 0x53]);

    /// A marker of 4 to 24 octets, in order of transmission.
    ///
    /// # Errors
    /// [`MarkerError::Length`].
    pub fn new(marker: &[u8]) -> Result<Marker, MarkerError> {
        if !(MARKER_LEN_MIN..=MARKER_LEN_MAX).contains(&marker.len()) {
            return Err(MarkerError::Length(marker.len()));
        }
        let mut octets = [0; MARKER_LEN_MAX];
        octets[..marker.len()].copy_from_slice(marker);
        Ok(Marker { octets, len: marker.len() as u8 })
    }

    const fn of<const N: usize>(marker: [u8; N]) -> Marker {
        assert!(N >= MARKER_LEN_MIN && N <= MARKER_LEN_MAX);
        let mut octets = [0; MARKER_LEN_MAX];
        let mut i = 0;
        while i < N {
            octets[i] = marker[i];
            i += 1;
        }
        Marker { octets, len: N as u8 }
    }

    /// The octets in order of transmission.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Length in bits: 32 to 192.
    pub fn bits(&self) -> u32 {
        u32::from(self.len) * 8
    }

    /// Bits in which the marker differs from itself moved by `shift` bits, over the bits where both lie.
    pub(super) fn distance_to_itself(&self, shift: u32) -> u32 {
        let bit = |i: u32| (self.octets[(i / 8) as usize] >> (7 - i % 8)) & 1;
        (shift..self.bits()).map(|i| u32::from(bit(i) != bit(i - shift))).sum()
    }
}

impl TryFrom<String> for Marker {
    type Error = MarkerError;

    fn try_from(hex: String) -> Result<Marker, MarkerError> {
        let digits = hex.chars().enumerate().map(|(i, c)| c.to_digit(16).ok_or(MarkerError::Digit(i + 1)));
        let digits = digits.collect::<Result<Vec<u32>, _>>()?;
        if digits.len() % 2 != 0 {
            return Err(MarkerError::OddDigits(digits.len()));
        }
        let octets: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
        Marker::new(&octets)
    }
}

impl From<Marker> for String {
    fn from(marker: Marker) -> String {
        marker.to_string()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marker({self})")
    }
}

/// A marker ready to be compared: 64 bits a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkerWords {
    words: [u64; WORDS],
    masks: [u64; WORDS],
    used: usize,
}

impl MarkerWords {
    pub(super) fn new(marker: &Marker) -> MarkerWords {
        let mut words = [0; WORDS];
        let mut masks = [0; WORDS];
        for (i, octet) in marker.as_bytes().iter().enumerate() {
            let shift = 56 - 8 * (i % 8);
            words[i / 8] |= u64::from(*octet) << shift;
            masks[i / 8] |= 0xFF << shift;
        }
        MarkerWords { words, masks, used: marker.as_bytes().len().div_ceil(8) }
    }

    /// Bits in which `octets` differ from the marker from bit `bit` on; bits behind the end count as zeros.
    #[inline]
    pub(super) fn errors_at(&self, octets: &[u8], bit: usize) -> u32 {
        let mut errors = 0;
        for i in 0..self.used {
            let window = window_64(octets, bit + 64 * i);
            errors += ((window ^ self.words[i]) & self.masks[i]).count_ones();
        }
        errors
    }
}

/// The 64 bits of `octets` from bit `bit` on, zeros behind the end.
#[inline]
fn window_64(octets: &[u8], bit: usize) -> u64 {
    let (start, shift) = (bit / 8, bit % 8);
    let (word, next) = match octets.get(start..start + 9).and_then(|nine| nine.split_first_chunk::<8>()) {
        Some((eight, rest)) => (u64::from_be_bytes(*eight), rest[0]),
        None => {
            let mut nine = [0; 9];
            let tail = octets.get(start..).unwrap_or_default();
            let len = tail.len().min(9);
            nine[..len].copy_from_slice(&tail[..len]);
            let [a, b, c, d, e, f, g, h, next] = nine;
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), next)
        }
    };
    if shift == 0 { word } else { (word << shift) | (u64::from(next) >> (8 - shift)) }
}
