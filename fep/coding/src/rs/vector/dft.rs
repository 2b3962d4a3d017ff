//! The 15-point transform of GF(256), lane by lane: the piece that syndromes and root search share. No memory, no state.
//!
//! zeta = beta^-17 has order 15. F(c) = sum over i of x(i) zeta^(c i), by Good and Thomas over 3 x 5: twenty products
//! instead of 196, and no twiddle factors.

use super::lanes::Lanes;
use super::representation::Representation;
use crate::rs::field;

/// Exponent of beta that gives zeta: -17.
const ZETA: usize = 255 - 17;

/// The constants of the transform.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dft15<L: Lanes> {
    /// Times omega = zeta^10, of order 3.
    omega: L::Map,
    /// Times phi = w + w^4, where w = zeta^6 is of order 5.
    phi: L::Map,
    /// Times w^3.
    w3: L::Map,
    /// Times w^3 + w^4.
    w3_w4: L::Map,
    /// Times w + w^3.
    w1_w3: L::Map,
}

impl<L: Lanes> Dft15<L> {
    pub(super) fn new(representation: &Representation) -> Dft15<L> {
        let times = |factor: u8| L::map(&representation.times(factor));
        let zeta = |exponent: usize| field::beta_power(ZETA * exponent);
        let w = |exponent: usize| zeta(6 * exponent);
        Dft15 {
            omega: times(zeta(10)),
            phi: times(w(1) ^ w(4)),
            w3: times(w(3)),
            w3_w4: times(w(3) ^ w(4)),
            w1_w3: times(w(1) ^ w(3)),
        }
    }

    /// F(0) .. F(14) in place of x(0) .. x(14).
    #[inline(always)]
    pub(super) fn transform(&self, l: L, x: &mut [L::V; 15]) {
        // i = 10 a + 6 b modulo 15 gives zeta^(c i) = omega^(c a) w^(c b): a transform over a, then one over b.
        for b in 0..5 {
            let at = |a: usize| (10 * a + 6 * b) % 15;
            let (x0, x1, x2) = (x[at(0)], x[at(1)], x[at(2)]);
            let sum = l.xor(x1, x2);
            let turned = l.apply(&self.omega, sum);
            x[at(0)] = l.xor(x0, sum);
            // omega^2 = omega + 1.
            x[at(1)] = l.xor(l.xor(x0, x2), turned);
            x[at(2)] = l.xor(l.xor(x0, x1), turned);
        }
        for a in 0..3 {
            let at = |b: usize| (10 * a + 6 * b) % 15;
            let (x0, x1, x2, x3, x4) = (x[at(0)], x[at(1)], x[at(2)], x[at(3)], x[at(4)]);
            let (s1, s2) = (l.xor(x1, x4), l.xor(x2, x3));
            let s = l.xor(s1, s2);
            let phi_s = l.apply(&self.phi, s);
            let phi_x = l.apply(&self.phi, l.xor(x1, x2));
            let w3_s = l.apply(&self.w3, s);
            let w4_s1_w3_s2 = l.xor(w3_s, l.apply(&self.w3_w4, s1));
            let w3_s1_w1_s2 = l.xor(w3_s, l.apply(&self.w1_w3, s2));
            let base = l.xor(x0, phi_x);
            let f1 = l.xor(l.xor(base, x2), w4_s1_w3_s2);
            let f2 = l.xor(l.xor(base, x1), w3_s1_w1_s2);
            x[at(0)] = l.xor(x0, s);
            x[at(1)] = f1;
            x[at(2)] = f2;
            // F(5-c) differs from F(c) only in phi s1 + phi^2 s2 (c = 1) or phi^2 s1 + phi s2 (c = 2); phi^2 = phi + 1.
            x[at(4)] = l.xor(l.xor(f1, phi_s), s2);
            x[at(3)] = l.xor(l.xor(f2, phi_s), s1);
        }
    }
}
