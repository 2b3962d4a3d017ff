//! How a vector kernel writes field elements: an isomorphic copy of the CCSDS field in which its machine multiplies well.
//!
//! AVX-512 multiplies in the AES polynomial (GF2P8MULB); the nibble-table sets multiply in GF(16)^2. All constants are
//! computed in the CCSDS field and carried over by the tables of this module; none is written down twice.

use crate::rs::Basis;
use crate::rs::field::{self, FROM_DUAL, TO_DUAL};

/// alpha^8 = alpha^7 + alpha^2 + alpha + 1: the equation that singles out the images of alpha.
const ALPHA_TERMS: [u32; 4] = [7, 2, 1, 0];

/// An isomorphism from the CCSDS field onto a kernel's field, both ways.
#[derive(Debug, Clone)]
pub(super) struct Representation {
    /// Kernel octet of a CCSDS element (polynomial basis).
    pub(super) of: [u8; 256],
    /// CCSDS element of a kernel octet.
    pub(super) element: [u8; 256],
}

impl Representation {
    /// The isomorphism onto the field whose product is `multiply` and whose one is 1.
    ///
    /// # Panics
    /// If `multiply` is not the product of a field of 256 elements.
    pub(super) fn onto(multiply: fn(u8, u8) -> u8) -> Representation {
        let power = |base: u8, exponent: u32| (0..exponent).fold(1, |product, _| multiply(product, base));
        let alpha = (2..=255u8)
            .find(|&x| power(x, 8) == ALPHA_TERMS.iter().fold(0, |sum, &term| sum ^ power(x, term)))
            .expect("every field of 256 elements holds a root of F(x)");
        let (mut of, mut element) = ([0; 256], [0; 256]);
        for value in 0..=255u8 {
            let bits = (0..8).filter(|bit| value >> bit & 1 == 1);
            let image = bits.fold(0, |sum, bit| sum ^ power(alpha, bit));
            of[value as usize] = image;
            element[image as usize] = value;
        }
        Representation { of, element }
    }

    /// Kernel octet of beta^exponent.
    pub(super) fn beta_power(&self, exponent: usize) -> u8 {
        self.of[field::beta_power(exponent) as usize]
    }

    /// The table of multiplication by a CCSDS element, from kernel octet to kernel octet.
    pub(super) fn times(&self, factor: u8) -> [u8; 256] {
        self.element.map(|element| self.of[field::mul(factor, element) as usize])
    }

    /// The table from wire octet to kernel octet.
    pub(super) fn of_wire(&self, basis: Basis) -> [u8; 256] {
        match basis {
            Basis::Dual => FROM_DUAL.map(|element| self.of[element as usize]),
            Basis::Conventional => self.of,
        }
    }

    /// The table from kernel octet to wire octet.
    pub(super) fn wire(&self, basis: Basis) -> [u8; 256] {
        match basis {
            Basis::Dual => self.element.map(|element| TO_DUAL[element as usize]),
            Basis::Conventional => self.element,
        }
    }
}

/// Product in the field of the AES polynomial x^8 + x^4 + x^3 + x + 1, that of GF2P8MULB.
#[cfg_attr(
    not(any(test, target_arch = "x86_64")),
    expect(dead_code, reason = "only the AVX-512 kernel works in this field")
)]
pub(super) fn aes_product(a: u8, b: u8) -> u8 {
    carryless_product(a, b, 8, 0x11B)
}

/// Product in `GF(16)[y] / (y^2 + y + x^3)` over `GF(16) = GF(2)[x] / (x^4 + x + 1)`; the high nibble is the factor of y.
pub(super) fn tower_product(a: u8, b: u8) -> u8 {
    let (a1, a0, b1, b0) = (a >> 4, a & 15, b >> 4, b & 15);
    let low = nibble_product(a0, b0);
    let high = nibble_product(a1 ^ a0, b1 ^ b0) ^ low;
    high << 4 | (low ^ nibble_product(TOWER_NU, nibble_product(a1, b1)))
}

/// x^3, whose trace is 1: y^2 + y + x^3 is irreducible.
pub(super) const TOWER_NU: u8 = 8;

/// Product in `GF(16) = GF(2)[x] / (x^4 + x + 1)`.
pub(super) fn nibble_product(a: u8, b: u8) -> u8 {
    carryless_product(a, b, 4, 0b1_0011)
}

fn carryless_product(a: u8, b: u8, degree: u32, modulus: u16) -> u8 {
    let mut product =
        (0..degree).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u16::from(a) << bit);
    for bit in (degree..2 * degree).rev() {
        if product >> bit & 1 == 1 {
            product ^= modulus << (bit - degree);
        }
    }
    product as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kernel_fields_are_isomorphic_to_the_field_of_the_standard() {
        for multiply in [aes_product, tower_product] {
            let representation = Representation::onto(multiply);
            for a in 0..=255u8 {
                assert_eq!(representation.element[representation.of[a as usize] as usize], a);
                for b in 0..=255u8 {
                    let image = multiply(representation.of[a as usize], representation.of[b as usize]);
                    assert_eq!(image, representation.of[field::mul(a, b) as usize]);
                }
            }
        }
    }
}
