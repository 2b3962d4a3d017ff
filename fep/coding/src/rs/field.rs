//! The field of the CCSDS Reed-Solomon codes and its two bases on the wire (CCSDS 131.0-B-5, section 4 and annex F).
//!
//! Tables only, all made at compile time from the published constants; no codec here. An element is an octet of
//! polynomial-basis coordinates (bit 7 is alpha^7), "conventional" in the standard's words.

/// F(x) = x^8 + x^7 + x^2 + x + 1, whose root is alpha.
const FIELD_POLYNOMIAL: u16 = 0x187;

/// The generator's roots are powers of alpha^11: the standard's codes are written on beta = alpha^11.
const BETA_EXPONENT: usize = 11;

/// Images in the dual basis of alpha^7, alpha^6 .. alpha^0, z0 as the most significant bit (4.3.9, annex F).
const DUAL_OF_POWER: [u8; 8] = [0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B];

/// The elements whose only dual-basis coordinate is z0, z1 .. z7 (inverse of the matrix above).
const POWER_OF_DUAL: [u8; 8] = [0xC5, 0x42, 0x2E, 0xFD, 0xF0, 0x79, 0xAC, 0xCC];

/// beta^i for i in 0..510: two periods, so that a sum of two logarithms needs no reduction.
pub(super) const EXP: [u8; 510] = exp_table();

/// Logarithm to the base beta; the entry of 0 has no meaning.
pub(super) const LOG: [u8; 256] = log_table();

/// Dual-basis octet of an element.
pub(super) const TO_DUAL: [u8; 256] = linear_table(DUAL_OF_POWER);

/// Element of a dual-basis octet.
pub(super) const FROM_DUAL: [u8; 256] = linear_table(POWER_OF_DUAL);

/// Product of two elements.
#[inline]
pub(super) fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP[LOG[a as usize] as usize + LOG[b as usize] as usize] }
}

/// Quotient of two elements; `b` is not zero.
#[inline]
pub(super) fn div(a: u8, b: u8) -> u8 {
    assert!(b != 0, "division by the zero of the field");
    if a == 0 { 0 } else { EXP[LOG[a as usize] as usize + 255 - LOG[b as usize] as usize] }
}

/// beta to any power.
#[inline]
pub(super) fn beta_power(exponent: usize) -> u8 {
    EXP[exponent % 255]
}

const fn times_alpha(a: u8) -> u8 {
    let doubled = (a as u16) << 1;
    (if doubled & 0x100 != 0 { doubled ^ FIELD_POLYNOMIAL } else { doubled }) as u8
}

const fn exp_table() -> [u8; 510] {
    let mut table = [0; 510];
    let mut element = 1;
    let mut i = 0;
    while i < 510 {
        table[i] = element;
        let mut step = 0;
        while step < BETA_EXPONENT {
            element = times_alpha(element);
            step += 1;
        }
        i += 1;
    }
    table
}

const fn log_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[EXP[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// The table of a linear map given by the images of the bits, most significant first.
const fn linear_table(images: [u8; 8]) -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        let mut bit = 0;
        while bit < 8 {
            if value & (0x80 >> bit) != 0 {
                table[value] ^= images[bit];
            }
            bit += 1;
        }
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alpha_power(exponent: usize) -> u8 {
        (0..exponent).fold(1, |element, _| times_alpha(element))
    }

    #[test]
    fn the_two_bases_are_inverse_of_each_other_and_agree_with_the_examples_of_annex_f() {
        for value in 0..=255u8 {
            assert_eq!(FROM_DUAL[TO_DUAL[value as usize] as usize], value);
        }
        assert_eq!(alpha_power(213), 0b0010_1010);
        assert_eq!(TO_DUAL[0b0010_1010], 0b1011_1001);
        assert_eq!(alpha_power(152), 0b0101_1001);
        assert_eq!(TO_DUAL[0b0101_1001], 0b1110_1000);
    }

    #[test]
    fn products_and_quotients_undo_each_other_and_beta_generates_the_field() {
        let mut seen = [false; 256];
        for i in 0..255 {
            seen[beta_power(i) as usize] = true;
        }
        assert_eq!(seen.iter().filter(|seen| **seen).count(), 255);
        for a in 0..=255u8 {
            for b in 1..=255u8 {
                assert_eq!(div(mul(a, b), b), a);
            }
        }
    }
}
