//! How soft symbols lie in the octets of a station link. No standard says it: every maker of receivers has a way of its
//! own, so each freedom is a parameter here.

use serde::{Deserialize, Serialize};

use super::wide::SymbolScale;

/// What one step of a 4-bit symbol counts inside this crate: full scale is 7 steps.
pub const LEVEL_4_BIT: i8 = 8;
/// What a 1-bit symbol counts inside this crate: a confidence that leaves decoders as much room above as below.
pub const LEVEL_1_BIT: i8 = 32;

/// How soft symbols lie in octets. Also the configuration's form: each key may be left out but `bits`.
///
/// ```
/// use fep_coding::soft::{SoftFormat, SymbolBits, SymbolCoding, Unpacker};
/// let format = SoftFormat { coding: SymbolCoding::OffsetBinary, ..SoftFormat::new(SymbolBits::Eight) };
/// let mut symbols = Vec::new();
/// Unpacker::new(format)?.push(&[0, 128, 255], &mut symbols);
/// assert_eq!(symbols, [-127, 0, 127]);
/// # Ok::<(), fep_coding::soft::SoftFormatError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftFormat {
    /// Bits of one symbol.
    pub bits: SymbolBits,
    /// What these bits mean; with 1-bit symbols there is only the sign.
    #[serde(default)]
    pub coding: SymbolCoding,
    /// Where the first of the symbols of an octet lies; with 8-bit symbols there is only one.
    #[serde(default)]
    pub first: FirstSymbol,
    /// Which data bit a positive value (a clear sign bit) speaks for.
    #[serde(default)]
    pub positive: PositiveMeans,
    /// The symbols of each pair are exchanged: Q came before I.
    #[serde(default)]
    pub swap_iq: bool,
    /// Octets come in words of so many, the last octet of each word first (little-endian words).
    #[serde(default)]
    pub word_octets: WordOctets,
    /// With symbols of 16 or 32 bits: which value counts as full scale.
    #[serde(default, skip_serializing_if = "is_auto")]
    pub scale: SymbolScale,
}

fn is_auto(scale: &SymbolScale) -> bool {
    *scale == SymbolScale::Auto
}

/// Bits of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum SymbolBits {
    /// Hard decisions, eight an octet.
    One,
    /// Two an octet.
    Four,
    /// One an octet.
    Eight,
    /// One in two octets, the higher one first (with `word_octets = 2` the lower one).
    Sixteen,
    /// One in four octets, the highest one first (with `word_octets = 4` the lowest one): floating point.
    ThirtyTwo,
}

/// What the bits of a symbol mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolCoding {
    /// 8-bit: -128 to 127 (-128 counts as -127, so that every value has its opposite).
    #[default]
    TwosComplement,
    /// The same plus half the range: 8-bit symbols go from 0 to 255 with 128 in the middle.
    OffsetBinary,
    /// A sign bit in front of the magnitude; both zeros are zero.
    SignMagnitude,
    /// A number of IEEE 754, of 32 bits; what is no number, or infinite, says nothing.
    Float,
}

/// Where the first of the symbols of an octet lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSymbol {
    /// In the highest bits.
    #[default]
    MostSignificant,
    /// In the lowest bits.
    LeastSignificant,
}

/// Which data bit a positive value speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositiveMeans {
    /// 0: the convention of this crate.
    #[default]
    Zero,
    /// 1.
    One,
}

/// Octets of the words in which a link delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum WordOctets {
    /// No words: the first octet is the first.
    #[default]
    One,
    /// Little-endian words of 16 bits.
    Two,
    /// Little-endian words of 32 bits.
    Four,
    /// Little-endian words of 64 bits.
    Eight,
}

/// A format that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SoftFormatError {
    /// Symbols of another width.
    #[error("bits = {0}: soft symbols have 1, 4, 8, 16 or 32 bits")]
    Bits(u8),
    /// Words of another length.
    #[error("word_octets = {0}: words have 1, 2, 4 or 8 octets")]
    WordOctets(u8),
    /// A meaning of bits that are not there.
    #[error("coding: symbols of 1 bit are only a sign; leave the key out")]
    CodingOfOneBit,
    /// An order of one thing.
    #[error(
        "first: an octet holds only one symbol of 8 bits or more; leave the key out (word_octets is for the order of \
         octets)"
    )]
    FirstOfOne,
    /// Fixed-point symbols of 32 bits, or floating-point ones of another width.
    #[error(
        "coding: symbols of 32 bits are floating point (coding = \"float\"), and only these are; bits = {0}"
    )]
    CodingOfFloat(u8),
    /// A scale where every code has its meaning.
    #[error("scale: only symbols of 16 or 32 bits have a scale; bits = {0}")]
    ScaleOfFixed(u8),
    /// A scale that no value can have.
    #[error("scale = {0}: the value that counts as full scale is positive and finite, or \"auto\"")]
    Scale(SymbolScale),
}

impl SoftFormat {
    /// Symbols of this width, two's complement (of 32 bits floating point), the first in the highest bits, positive for a
    /// 0, automatic gain where there is a scale.
    pub const fn new(bits: SymbolBits) -> SoftFormat {
        SoftFormat {
            bits,
            coding: match bits {
                SymbolBits::ThirtyTwo => SymbolCoding::Float,
                _ => SymbolCoding::TwosComplement,
            },
            first: FirstSymbol::MostSignificant,
            positive: PositiveMeans::Zero,
            swap_iq: false,
            word_octets: WordOctets::One,
            scale: SymbolScale::Auto,
        }
    }

    /// Little-endian symbols of 16 bits: "cs16", "sc16" and "s16le" of software radios.
    pub const I16_LE: SoftFormat =
        SoftFormat { word_octets: WordOctets::Two, ..SoftFormat::new(SymbolBits::Sixteen) };

    /// Little-endian floating-point symbols: "cf32" and "f32le" of software radios.
    pub const F32_LE: SoftFormat =
        SoftFormat { word_octets: WordOctets::Four, ..SoftFormat::new(SymbolBits::ThirtyTwo) };

    /// Plain bits, the first in the highest place: what a receiver delivers that decides by itself.
    pub const HARD: SoftFormat = SoftFormat::new(SymbolBits::One);

    /// Checks that the parameters go together.
    ///
    /// # Errors
    /// [`SoftFormatError`] names the key that has no meaning here.
    pub fn validate(&self) -> Result<(), SoftFormatError> {
        if self.bits == SymbolBits::One && self.coding != SymbolCoding::TwosComplement {
            return Err(SoftFormatError::CodingOfOneBit);
        }
        let bits = u8::from(self.bits);
        if bits >= 8 && self.first != FirstSymbol::MostSignificant {
            return Err(SoftFormatError::FirstOfOne);
        }
        if (self.bits == SymbolBits::ThirtyTwo) != (self.coding == SymbolCoding::Float) {
            return Err(SoftFormatError::CodingOfFloat(bits));
        }
        match self.scale {
            SymbolScale::Given(_) if bits < 16 => Err(SoftFormatError::ScaleOfFixed(bits)),
            // The smallest normal number, so that its inverse is one as well.
            SymbolScale::Given(scale) if !scale.is_normal() || scale < 0.0 => {
                Err(SoftFormatError::Scale(self.scale))
            }
            _ => Ok(()),
        }
    }

    /// The largest magnitude that this format can carry, on the scale of this crate.
    pub const fn full_scale(&self) -> i8 {
        match self.bits {
            SymbolBits::One => LEVEL_1_BIT,
            SymbolBits::Four => 7 * LEVEL_4_BIT,
            SymbolBits::Eight | SymbolBits::Sixteen | SymbolBits::ThirtyTwo => 127,
        }
    }

    /// Whether a symbol takes several octets.
    pub(super) const fn is_wide(&self) -> bool {
        matches!(self.bits, SymbolBits::Sixteen | SymbolBits::ThirtyTwo)
    }

    /// The symbol that the lowest bits of `code` stand for. Not for wide formats.
    pub(super) fn decode(&self, code: u8) -> i8 {
        let (sign, all, level) = match self.bits {
            SymbolBits::One => (1, 1, LEVEL_1_BIT),
            SymbolBits::Four => (0x08, 0x0F, LEVEL_4_BIT),
            _ => (0x80, 0xFF, 1),
        };
        let code = i16::from(code & all);
        let value = match (self.bits, self.coding) {
            (SymbolBits::One, _) => 1 - 2 * code,
            (_, SymbolCoding::OffsetBinary) => code - sign,
            (_, SymbolCoding::TwosComplement) if code & sign != 0 => code - 2 * sign,
            (_, SymbolCoding::SignMagnitude) if code & sign != 0 => -(code ^ sign),
            (_, _) => code,
        };
        let most = if self.bits == SymbolBits::One { 1 } else { sign - 1 };
        let value = value.clamp(-most, most) as i8 * level;
        if self.positive == PositiveMeans::One { -value } else { value }
    }

    /// The code nearest to a symbol; what is not said (0) is said of a 0 where the format cannot say nothing. Not for wide
    /// formats.
    pub(super) fn encode(&self, symbol: i8) -> u8 {
        let symbol = i16::from(symbol.max(-127));
        let value = if self.positive == PositiveMeans::One { -symbol } else { symbol };
        let (sign, most, level) = match self.bits {
            SymbolBits::One => {
                let silent = u8::from(symbol == 0 && self.positive == PositiveMeans::One);
                return u8::from(value < 0) | silent;
            }
            SymbolBits::Four => (0x08, 7, i16::from(LEVEL_4_BIT)),
            _ => (0x80, 127, 1),
        };
        let away = if value < 0 { -(level / 2) } else { level / 2 };
        let value = ((value + away) / level).clamp(-most, most);
        let code = match self.coding {
            SymbolCoding::TwosComplement | SymbolCoding::Float => value & (2 * sign - 1),
            SymbolCoding::OffsetBinary => value + sign,
            SymbolCoding::SignMagnitude => value.abs() | if value < 0 { sign } else { 0 },
        };
        // At most 255 in every arm.
        code as u8
    }
}

impl SymbolBits {
    /// Bits of one symbol.
    pub const fn count(self) -> usize {
        match self {
            SymbolBits::One => 1,
            SymbolBits::Four => 4,
            SymbolBits::Eight => 8,
            SymbolBits::Sixteen => 16,
            SymbolBits::ThirtyTwo => 32,
        }
    }
}

impl WordOctets {
    /// Octets of a word.
    pub const fn count(self) -> usize {
        match self {
            WordOctets::One => 1,
            WordOctets::Two => 2,
            WordOctets::Four => 4,
            WordOctets::Eight => 8,
        }
    }
}

impl TryFrom<u8> for SymbolBits {
    type Error = SoftFormatError;

    fn try_from(bits: u8) -> Result<SymbolBits, SoftFormatError> {
        match bits {
            1 => Ok(SymbolBits::One),
            4 => Ok(SymbolBits::Four),
            8 => Ok(SymbolBits::Eight),
            16 => Ok(SymbolBits::Sixteen),
            32 => Ok(SymbolBits::ThirtyTwo),
            _ => Err(SoftFormatError::Bits(bits)),
        }
    }
}

impl From<SymbolBits> for u8 {
    fn from(bits: SymbolBits) -> u8 {
        bits.count() as u8
    }
}

impl TryFrom<u8> for WordOctets {
    type Error = SoftFormatError;

    fn try_from(octets: u8) -> Result<WordOctets, SoftFormatError> {
        match octets {
            1 => Ok(WordOctets::One),
            2 => Ok(WordOctets::Two),
            4 => Ok(WordOctets::Four),
            8 => Ok(WordOctets::Eight),
            _ => Err(SoftFormatError::WordOctets(octets)),
        }
    }
}

impl From<WordOctets> for u8 {
    fn from(octets: WordOctets) -> u8 {
        octets.count() as u8
    }
}
