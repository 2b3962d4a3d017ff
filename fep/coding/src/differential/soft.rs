//! Differential decoding of soft symbols: the sign says whether two levels differ, the weaker one says how surely.

use super::LineCode;

/// Makes soft bits of the soft levels of a stream (see [`crate::soft`]).
///
/// A bit is as sure as the weaker of its two levels: the magnitude is the smaller one, the sign that of the product (for
/// NRZ-S its opposite). So an erased level erases two bits, and the first bit of a stream, whose level before is not known,
/// is an erasure. The hard decisions are those of [`super::DifferentialDecoder`] wherever no level is erased.
///
/// ```
/// use fep_coding::differential::{LineCode, SoftDifferentialDecoder};
/// let mut symbols = Vec::new();
/// SoftDifferentialDecoder::new(LineCode::NrzM).push(&[50, 40, -90, -3, 0, 7], &mut symbols);
/// assert_eq!(symbols, [0, 40, -40, 3, 0, 0]);
/// ```
#[derive(Debug, Clone)]
pub struct SoftDifferentialDecoder {
    code: LineCode,
    /// The last level of the stream so far; 0 before the first.
    level: i8,
}

impl SoftDifferentialDecoder {
    /// A new stream in this code.
    pub fn new(code: LineCode) -> SoftDifferentialDecoder {
        SoftDifferentialDecoder { code, level: 0 }
    }

    /// The code.
    pub fn code(&self) -> LineCode {
        self.code
    }

    /// Decodes the next levels of the stream and appends as many soft bits to `output`. -128 counts as -127.
    pub fn push(&mut self, input: &[i8], output: &mut Vec<i8>) {
        if self.code == LineCode::NrzL {
            return output.extend_from_slice(input);
        }
        let Some((first, _)) = input.split_first() else { return };
        let flip = self.flip();
        let start = output.len();
        output.resize(start + input.len(), 0);
        let output = &mut output[start..];
        output[0] = difference(self.level, *first, flip);
        for ((out, before), level) in output[1..].iter_mut().zip(input).zip(&input[1..]) {
            *out = difference(*before, *level, flip);
        }
        self.level = input[input.len() - 1];
    }

    /// Decodes the next levels of the stream in place.
    pub fn apply(&mut self, symbols: &mut [i8]) {
        if self.code == LineCode::NrzL {
            return;
        }
        let flip = self.flip();
        for symbol in symbols {
            let level = *symbol;
            *symbol = difference(self.level, level, flip);
            self.level = level;
        }
    }

    /// A new stream begins: the last level is forgotten.
    pub fn reset(&mut self) {
        self.level = 0;
    }

    /// -1 where a change of level is a 0.
    fn flip(&self) -> i8 {
        if self.code == LineCode::NrzS { -1 } else { 0 }
    }
}

/// The soft bit of two levels.
#[inline(always)]
fn difference(before: i8, level: i8, flip: i8) -> i8 {
    let magnitude = before.saturating_abs().min(level.saturating_abs());
    let sign = (before ^ level) >> 7 ^ flip;
    (magnitude ^ sign) - sign
}
