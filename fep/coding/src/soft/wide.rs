//! Symbols of 16 bits and floating-point symbols, as the files of software radios hold them: brought to the scale of this
//! crate, by a given scale or by an automatic gain.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::{PositiveMeans, SoftFormat, SymbolBits, SymbolCoding};

/// Symbols for which the automatic gain stays as it is.
pub(super) const GAIN_SYMBOLS: usize = 256;
/// Where the automatic gain puts the mean magnitude: a receiver leaves as much above for the noise.
const TARGET: f64 = 40.0;
/// How much of a change of the mean magnitude the gain follows after each stretch: a quarter.
const FOLLOWED: f64 = 0.25;
/// A stretch counts as at most so many times the mean before, so that a single absurd value does not mute what follows.
const JUMP_MAX: f64 = 4.0;
/// Sums that are kept side by side.
const LANES: usize = 8;
/// The confidence of a symbol at full scale.
const FULL: f32 = 127.0;

/// What becomes full scale, 127, of symbols of 16 bits and of floating-point ones.
///
/// In configuration a number, or `"auto"`:
///
/// ```
/// use fep_coding::soft::{SoftFormat, SymbolBits, SymbolScale, Unpacker};
/// let format: SoftFormat = serde_json::from_str(
///     r#"{ "bits": 32, "coding": "float", "word_octets": 4, "scale": 2.0 }"#,
/// )?;
/// let mut symbols = Vec::new();
/// let octets: Vec<u8> = [1.0f32, -0.5, 1e9, f32::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
/// Unpacker::new(format)?.push(&octets, &mut symbols);
/// assert_eq!(symbols, [64, -32, 127, 0]);
/// assert_eq!(SoftFormat::new(SymbolBits::Sixteen).scale, SymbolScale::Auto);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(try_from = "ScaleForm", into = "ScaleForm")]
pub enum SymbolScale {
    /// The mean magnitude becomes 40: an automatic gain. Of every 256 symbols the gain is constant; after them it follows a
    /// quarter of the change of their mean magnitude, of which no more than fourfold counts. The first 256 symbols
    /// wait for their own mean. A function of the symbols alone, however the stream is cut.
    #[default]
    Auto,
    /// This value becomes 127, what is larger too: positive and finite.
    Given(f32),
}

// By their bits: a scale is a setting, not a result.
impl PartialEq for SymbolScale {
    fn eq(&self, other: &SymbolScale) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for SymbolScale {}

impl std::hash::Hash for SymbolScale {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl SymbolScale {
    fn bits(self) -> Option<u32> {
        match self {
            SymbolScale::Auto => None,
            SymbolScale::Given(scale) => Some(scale.to_bits()),
        }
    }
}

impl fmt::Display for SymbolScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SymbolScale::Auto => f.pad("auto"),
            SymbolScale::Given(scale) => write!(f, "{scale}"),
        }
    }
}

/// How a scale is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ScaleForm {
    Number(f32),
    Name(String),
}

impl TryFrom<ScaleForm> for SymbolScale {
    type Error = String;

    fn try_from(form: ScaleForm) -> Result<SymbolScale, String> {
        match form {
            ScaleForm::Number(scale) => Ok(SymbolScale::Given(scale)),
            ScaleForm::Name(name) if name == "auto" => Ok(SymbolScale::Auto),
            ScaleForm::Name(name) => Err(format!("scale = \"{name}\": a number, or \"auto\"")),
        }
    }
}

impl From<SymbolScale> for ScaleForm {
    fn from(scale: SymbolScale) -> ScaleForm {
        match scale {
            SymbolScale::Auto => ScaleForm::Name("auto".to_owned()),
            SymbolScale::Given(scale) => ScaleForm::Number(scale),
        }
    }
}

/// Makes symbols of values of 16 or 32 bits.
#[derive(Debug, Clone)]
pub(super) struct WideSymbols {
    bits: SymbolBits,
    /// What is taken from a 16-bit code to make its lowest bits two's complement.
    flip: u16,
    is_sign_magnitude: bool,
    negate: bool,
    /// Of a given scale: what a value is multiplied with.
    factor: Option<f32>,
    gain: Gain,
    values: Vec<f32>,
}

/// The automatic gain.
#[derive(Debug, Clone, Default)]
struct Gain {
    /// The mean magnitude as the gain has it; `None` before anything was received.
    level: Option<f64>,
    /// Of the stretch begun, symbol k in lane k modulo their number: magnitudes, and how many are no erasures.
    sums: [f64; LANES],
    present: [u32; LANES],
    /// Symbols of the stretch begun.
    count: usize,
    /// The first stretch, until it is whole.
    held: Vec<f32>,
}

impl WideSymbols {
    /// The format has 16 or 32 bits and is valid.
    pub(super) fn new(format: &SoftFormat) -> WideSymbols {
        WideSymbols {
            bits: format.bits,
            flip: if format.coding == SymbolCoding::OffsetBinary { 0x8000 } else { 0 },
            is_sign_magnitude: format.coding == SymbolCoding::SignMagnitude,
            negate: format.positive == PositiveMeans::One,
            factor: match format.scale {
                SymbolScale::Auto => None,
                SymbolScale::Given(scale) => Some(FULL / scale),
            },
            gain: Gain { held: Vec::with_capacity(GAIN_SYMBOLS), ..Gain::default() },
            values: Vec::new(),
        }
    }

    /// A new stream begins.
    pub(super) fn reset(&mut self) {
        self.gain.held.clear();
        self.gain = Gain { held: std::mem::take(&mut self.gain.held), ..Gain::default() };
    }

    /// Appends the symbols of whole units of `unit` octets; octet k of a unit, the highest of each value first, lies at
    /// `places[k]`.
    pub(super) fn unpack(&mut self, places: &[u8], octets: &[u8], symbols: &mut Vec<i8>) {
        let mut values = std::mem::take(&mut self.values);
        // Piece by piece, so that memory stays bounded.
        for piece in octets.chunks(places.len() * 512) {
            values.resize(8 * piece.len() / self.bits.count(), 0.0);
            match self.bits {
                SymbolBits::Sixteen => {
                    fill(places, piece, &mut values, |octets| self.sixteen(u16::from_be_bytes(octets)));
                }
                _ => fill(places, piece, &mut values, |octets| {
                    let value = f32::from_be_bytes(octets);
                    if self.negate { -value } else { value }
                }),
            }
            match self.factor {
                Some(factor) => quantise_all(&values, factor, symbols),
                None => self.gain.apply(&values, symbols),
            }
        }
        self.values = values;
    }

    /// The stream ends: the symbols that waited for their gain.
    pub(super) fn finish(&mut self, symbols: &mut Vec<i8>) {
        self.gain.end_of_first(symbols);
        self.reset();
    }

    fn sixteen(&self, code: u16) -> f32 {
        let value = if self.is_sign_magnitude {
            let magnitude = (code & 0x7FFF) as i16;
            if code & 0x8000 == 0 { magnitude } else { -magnitude }
        } else {
            // So that every value has its opposite.
            ((code ^ self.flip) as i16).max(-0x7FFF)
        };
        f32::from(if self.negate { -value } else { value })
    }
}

impl Gain {
    fn apply(&mut self, values: &[f32], symbols: &mut Vec<i8>) {
        let mut rest = values;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(GAIN_SYMBOLS - self.count));
            rest = behind;
            self.measure(piece);
            match self.level {
                Some(level) => {
                    let factor = (TARGET / level) as f32;
                    quantise_all(piece, factor, symbols);
                }
                None => self.held.extend_from_slice(piece),
            }
            if self.count == GAIN_SYMBOLS {
                if self.level.is_none() {
                    self.end_of_first(symbols);
                } else {
                    self.follow();
                }
                (self.sums, self.present, self.count) = ([0.0; LANES], [0; LANES], 0);
            }
        }
    }

    /// Adds values to the stretch begun, which they do not overfill.
    fn measure(&mut self, values: &[f32]) {
        let (head, rest) = values.split_at(values.len().min(self.count.next_multiple_of(LANES) - self.count));
        let (whole, tail) = rest.as_chunks::<LANES>();
        let first = self.count % LANES;
        for (value, lane) in head.iter().zip(first..) {
            self.add(lane, *value);
        }
        for values in whole {
            for (lane, value) in values.iter().enumerate() {
                self.add(lane, *value);
            }
        }
        for (lane, value) in tail.iter().enumerate() {
            self.add(lane, *value);
        }
        self.count += values.len();
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, value: f32) {
        let magnitude = value.abs();
        let is_present = (magnitude > 0.0) & (magnitude <= f32::MAX);
        self.sums[lane] += f64::from(if is_present { magnitude } else { 0.0 });
        self.present[lane] += u32::from(is_present);
    }

    /// The mean magnitude of the stretch, if there was anything in it.
    fn mean(&self) -> Option<f64> {
        let present: u32 = self.present.iter().sum();
        (present > 0).then(|| self.sums.iter().sum::<f64>() / f64::from(present))
    }

    /// Decides the symbols held with their own mean. If they say nothing at all, the next stretch is the first.
    fn end_of_first(&mut self, symbols: &mut Vec<i8>) {
        self.level = self.mean();
        let factor = self.level.map_or(0.0, |level| (TARGET / level) as f32);
        quantise_all(&self.held, factor, symbols);
        self.held.clear();
    }

    fn follow(&mut self) {
        if let (Some(level), Some(mean)) = (self.level, self.mean()) {
            self.level = Some(level + FOLLOWED * (mean.min(JUMP_MAX * level) - level));
        }
    }
}

/// The symbol nearest to a value, the even one of two; one that is no number, or infinite, says nothing.
#[inline(always)]
fn quantise(value: f32, factor: f32) -> i8 {
    let scaled = (value * factor).clamp(-FULL, FULL);
    // Added to this a number of a few bits ends in its nearest integer.
    const ROUNDING: f32 = 1.5 * (1 << 23) as f32;
    let nearest = (scaled + ROUNDING).to_bits() as i8;
    // A value with a factor beyond all bounds may make no number: it says nothing either.
    if value.abs() <= f32::MAX && !scaled.is_nan() { nearest } else { 0 }
}

/// Appends the symbols nearest to the values.
fn quantise_all(values: &[f32], factor: f32, symbols: &mut Vec<i8>) {
    let start = symbols.len();
    symbols.resize(start + values.len(), 0);
    for (symbol, value) in symbols[start..].iter_mut().zip(values) {
        *symbol = quantise(*value, factor);
    }
}

/// Fills `values` with what `value` makes of the octets of each, the highest first.
#[inline(always)]
fn fill<const N: usize>(places: &[u8], octets: &[u8], values: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    let (whole, _) = octets.as_chunks::<N>();
    // Mostly a unit is one value, one way round or the other.
    if places.iter().enumerate().all(|(k, place)| usize::from(*place) == k) {
        for (out, octets) in values.iter_mut().zip(whole) {
            *out = value(*octets);
        }
    } else if places.len() == N && places.iter().rev().enumerate().all(|(k, place)| usize::from(*place) == k)
    {
        for (out, octets) in values.iter_mut().zip(whole) {
            let mut octets = *octets;
            octets.reverse();
            *out = value(octets);
        }
    } else {
        let units = octets.chunks_exact(places.len());
        for (out, unit) in values.chunks_exact_mut(places.len() / N).zip(units) {
            for (out, places) in out.iter_mut().zip(places.as_chunks::<N>().0) {
                *out = value(places.map(|place| unit[usize::from(place)]));
            }
        }
    }
}

/// Makes values of 16 or 32 bits of symbols, as [`super::Packer`] does: full scale of the format for 127.
pub(super) fn pack(format: &SoftFormat, places: &[u8], symbols: &[i8], unit: &mut [u8]) {
    let per_symbol = format.bits.count() / 8;
    for (symbol, places) in symbols.iter().zip(places.chunks_exact(per_symbol)) {
        let symbol = f32::from((*symbol).max(-127));
        let symbol = if format.positive == PositiveMeans::One { -symbol } else { symbol };
        let scale = match format.scale {
            SymbolScale::Given(scale) => scale,
            SymbolScale::Auto if format.bits == SymbolBits::Sixteen => f32::from(i16::MAX),
            SymbolScale::Auto => 1.0,
        };
        let value = symbol / FULL * scale;
        let octets = match format.bits {
            SymbolBits::Sixteen => {
                // To the nearest; a float beyond the range becomes its end.
                let rounded = (value + 0.5f32.copysign(value)) as i16;
                let rounded = rounded.max(-0x7FFF);
                let code = match format.coding {
                    SymbolCoding::OffsetBinary => rounded as u16 ^ 0x8000,
                    SymbolCoding::SignMagnitude => rounded.unsigned_abs() | (u16::from(rounded < 0) << 15),
                    SymbolCoding::TwosComplement | SymbolCoding::Float => rounded as u16,
                };
                u32::from(code) << 16
            }
            _ => value.to_bits(),
        };
        for (place, octet) in places.iter().zip(octets.to_be_bytes()) {
            unit[usize::from(*place)] = octet;
        }
    }
}
