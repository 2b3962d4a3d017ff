//! The component code (131.0-B-5 6.3): a recursive shift register of four stages.
//!
//! State `D1 D2 D3 D4` as a number, D1 (the newest) highest. With the adder's output `a = u + D3 + D4`, the next state is
//! `a D1 D2 D3`. Feedback and every forward polynomial contain both `a` and D4, so that states 2b and 2b+1 lead to b and
//! b+8 by two branches of one label and two of its complement: eight such *butterflies* are one step of the trellis.

use super::TurboRate;

pub(super) const STATES: usize = 16;

/// Forward polynomials 11011, 10101, 11111, left to right `a D1 D2 D3 D4`.
pub(super) const FORWARD: [u8; 3] = [0b11011, 0b10101, 0b11111];
/// Sets of them, for the kernels that are compiled for each set that some rate uses: bit g for `FORWARD[g]`.
pub(super) const G1: u8 = 0b001;
pub(super) const G2_G3: u8 = 0b110;
pub(super) const G1_G3: u8 = 0b101;
pub(super) const G1_G2_G3: u8 = 0b111;

/// The bit that the adder's feedback contributes.
pub(super) const fn feedback(state: u8) -> u8 {
    (state >> 1 ^ state) & 1
}

/// The state behind one whose adder gives `adder`.
pub(super) const fn next(state: u8, adder: u8) -> u8 {
    adder << 3 | state >> 1
}

/// The output of polynomial `g` of [`FORWARD`].
pub(super) const fn parity(state: u8, adder: u8, g: usize) -> u8 {
    ((adder << 4 | state) & FORWARD[g]).count_ones() as u8 & 1
}

/// The parities of a branch, one bit for each polynomial of the set, the first in bit 0.
pub(super) const fn label(state: u8, adder: u8, set: u8) -> usize {
    let (mut label, mut place, mut g) = (0, 0, 0);
    while g < FORWARD.len() {
        if set >> g & 1 == 1 {
            label |= (parity(state, adder, g) as usize) << place;
            place += 1;
        }
        g += 1;
    }
    label
}

/// One of the two encoders as a code of a given rate uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    /// Which polynomials are sent.
    pub(super) set: u8,
    /// Place of the first of them among the symbols of a bit time; the others follow.
    pub(super) first_place: usize,
    /// When set, parity is sent only at bit times of this parity (0: first, third, ...).
    pub(super) phase: Option<usize>,
}

impl Component {
    /// Encoders a and b.
    pub(super) const fn of(rate: TurboRate) -> [Component; 2] {
        const fn plain(set: u8, first_place: usize) -> Component {
            Component { set, first_place, phase: None }
        }
        match rate {
            TurboRate::R1_2 => {
                [Component { phase: Some(0), ..plain(G1, 1) }, Component { phase: Some(1), ..plain(G1, 1) }]
            }
            TurboRate::R1_3 => [plain(G1, 1), plain(G1, 2)],
            TurboRate::R1_4 => [plain(G2_G3, 1), plain(G1, 3)],
            TurboRate::R1_6 => [plain(G1_G2_G3, 1), plain(G1_G3, 4)],
        }
    }

    /// Whether parity is sent at bit time `t`.
    pub(super) const fn sends(&self, t: usize) -> bool {
        match self.phase {
            Some(phase) => t % 2 == phase,
            None => true,
        }
    }

    /// The parity symbols of bit time `t` as places (0 to 5) set to the outputs of a branch; the other places 0.
    pub(super) const fn symbols(&self, t: usize, state: u8, adder: u8) -> u8 {
        if self.sends(t) { (label(state, adder, self.set) as u8) << self.first_place } else { 0 }
    }
}
