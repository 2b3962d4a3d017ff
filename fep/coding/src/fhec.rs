//! Frame Header Error Control of AOS frames (732.0-B 4.1.2.6): a shortened Reed-Solomon code (10,6) over GF(16).
//!
//! It guards octets 0, 1 and 5 of the primary header (version, spacecraft, virtual channel, signalling) but *not* the
//! frame count, and corrects two of the ten 4-bit symbols. The field is x⁴+x+1, the generator has the roots α⁶..α⁹;
//! symbols are the high and low halves of the octets in order, then the four check symbols.

/// What [`decode`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FhecVerdict {
    /// The header as it was sent: octets 0, 1 and 5, with this many symbols (0, 1 or 2) corrected, check symbols
    /// included.
    Good {
        /// Octets 0, 1 and 5 of the primary header, corrected.
        header: [u8; 3],
        /// Symbols that were wrong.
        symbols_corrected: u8,
    },
    /// More than two symbols are wrong.
    Uncorrectable,
}

const CHECK_SYMBOLS: usize = 4;
const SYMBOLS: usize = 10;
/// Exponent of the generator's first root.
const FIRST_ROOT: usize = 6;
/// α⁰..α¹⁴ twice, so that the sum of two logarithms needs no reduction.
const EXP: [u8; 30] = exp_table();
const LOG: [u8; 16] = log_table();
const GENERATOR: [u8; CHECK_SYMBOLS] = generator();

const fn exp_table() -> [u8; 30] {
    let mut table = [0; 30];
    let mut value = 1u8;
    let mut i = 0;
    while i < 30 {
        table[i] = value;
        value = (value << 1) ^ if value & 8 != 0 { 0b1_0011 } else { 0 };
        value &= 0xF;
        i += 1;
    }
    table
}

const fn log_table() -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 15 {
        table[EXP[i] as usize] = i as u8;
        i += 1;
    }
    table
}

const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP[(LOG[a as usize] + LOG[b as usize]) as usize] }
}

/// `a / b`; `b` is not zero.
const fn div(a: u8, b: u8) -> u8 {
    if a == 0 { 0 } else { EXP[(LOG[a as usize] + 15 - LOG[b as usize]) as usize] }
}

/// Coefficients of x³..x⁰ of (x-α⁶)(x-α⁷)(x-α⁸)(x-α⁹); the leading one is implied.
const fn generator() -> [u8; CHECK_SYMBOLS] {
    let mut poly = [0u8; CHECK_SYMBOLS + 1]; // highest power first
    poly[CHECK_SYMBOLS] = 1;
    let mut root = 0;
    while root < CHECK_SYMBOLS {
        let mut i = 0;
        while i < CHECK_SYMBOLS {
            poly[i] = poly[i + 1] ^ mul(poly[i], EXP[FIRST_ROOT + root]);
            i += 1;
        }
        poly[CHECK_SYMBOLS] = mul(poly[CHECK_SYMBOLS], EXP[FIRST_ROOT + root]);
        root += 1;
    }
    [poly[1], poly[2], poly[3], poly[4]]
}

/// The two FHEC octets for octets 0, 1 and 5 of an AOS primary header.
///
/// ```
/// assert_eq!(fep_coding::fhec::encode(0x12, 0x34, 0x56), 0x94DC);
/// ```
pub fn encode(octet0: u8, octet1: u8, octet5: u8) -> u16 {
    let mut remainder = [0u8; CHECK_SYMBOLS];
    for octet in [octet0, octet1, octet5] {
        for symbol in [octet >> 4, octet & 0xF] {
            let feedback = symbol ^ remainder[0];
            for i in 0..CHECK_SYMBOLS {
                let next = remainder.get(i + 1).copied().unwrap_or(0);
                remainder[i] = next ^ mul(feedback, GENERATOR[i]);
            }
        }
    }
    remainder.iter().fold(0, |word, &symbol| (word << 4) | u16::from(symbol))
}

/// Checks octets 0, 1 and 5 of a primary header against the received FHEC and corrects up to two wrong symbols.
pub fn decode(octet0: u8, octet1: u8, octet5: u8, fhec: u16) -> FhecVerdict {
    let [check0, check1] = fhec.to_be_bytes();
    let mut symbols = [0u8; SYMBOLS];
    for (pair, octet) in symbols.chunks_exact_mut(2).zip([octet0, octet1, octet5, check0, check1]) {
        pair[0] = octet >> 4;
        pair[1] = octet & 0xF;
    }
    let syndromes: [u8; CHECK_SYMBOLS] = std::array::from_fn(|j| {
        symbols.iter().fold(0, |sum, &symbol| mul(sum, EXP[FIRST_ROOT + j]) ^ symbol)
    });
    let Some(symbols_corrected) = correct(&mut symbols, syndromes) else { return FhecVerdict::Uncorrectable };
    let octet = |i: usize| (symbols[2 * i] << 4) | symbols[2 * i + 1];
    FhecVerdict::Good { header: [octet(0), octet(1), octet(2)], symbols_corrected }
}

/// Solves the syndromes for one error, then for two (Peterson's equations), and corrects; `None` if neither fits.
fn correct(symbols: &mut [u8; SYMBOLS], [s0, s1, s2, s3]: [u8; CHECK_SYMBOLS]) -> Option<u8> {
    if [s0, s1, s2, s3] == [0; 4] {
        return Some(0);
    }
    let determinant = mul(s0, s2) ^ mul(s1, s1);
    if determinant == 0 {
        // One error of value e at locator X: s_j = e X^(6+j).
        if s0 == 0 || s1 == 0 || mul(s1, s2) != mul(s0, s3) {
            return None;
        }
        let locator = div(s1, s0);
        let power = LOG[locator as usize] as usize;
        if power >= SYMBOLS {
            return None;
        }
        symbols[SYMBOLS - 1 - power] ^= div(s0, EXP[(FIRST_ROOT * power) % 15]);
        return Some(1);
    }
    // Two errors: the locators are the roots of x² + sum x + product.
    let sum = div(mul(s0, s3) ^ mul(s1, s2), determinant);
    let product = div(mul(s1, s3) ^ mul(s2, s2), determinant);
    let mut powers = (0..SYMBOLS).filter(|&power| {
        let x = EXP[power];
        mul(x, x) ^ mul(sum, x) ^ product == 0
    });
    let (first, second) = (powers.next()?, powers.next()?);
    let (x, y) = (EXP[first], EXP[second]);
    // s0 = u + v, s1 = u x + v y with u = e x⁶, v = f y⁶.
    let u = div(s1 ^ mul(s0, y), x ^ y);
    let v = s0 ^ u;
    symbols[SYMBOLS - 1 - first] ^= div(u, EXP[(FIRST_ROOT * first) % 15]);
    symbols[SYMBOLS - 1 - second] ^= div(v, EXP[(FIRST_ROOT * second) % 15]);
    Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(word: [u8; 5], nibble: usize, error: u8) -> [u8; 5] {
        let mut damaged = word;
        damaged[nibble / 2] ^= if nibble.is_multiple_of(2) { error << 4 } else { error };
        damaged
    }

    // REQ: FEP-CODING-006
    #[test]
    fn every_pattern_of_one_or_two_wrong_symbols_is_corrected() {
        for header in [[0, 0, 0], [0x72, 0x21, 0x45], [0xFF, 0xFF, 0xFF], [0x12, 0x34, 0x56]] {
            let [c0, c1] = encode(header[0], header[1], header[2]).to_be_bytes();
            let word = [header[0], header[1], header[2], c0, c1];
            for first in 0..SYMBOLS {
                for e in 1..16 {
                    let one = damage(word, first, e);
                    let verdict = decode(one[0], one[1], one[2], u16::from_be_bytes([one[3], one[4]]));
                    assert_eq!(verdict, FhecVerdict::Good { header, symbols_corrected: 1 });
                    for second in first + 1..SYMBOLS {
                        for f in 1..16 {
                            let two = damage(one, second, f);
                            let verdict =
                                decode(two[0], two[1], two[2], u16::from_be_bytes([two[3], two[4]]));
                            assert_eq!(verdict, FhecVerdict::Good { header, symbols_corrected: 2 });
                        }
                    }
                }
            }
        }
    }
}
