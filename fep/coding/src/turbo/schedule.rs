//! What every kernel must do alike for the answers to be the same: the arithmetic of metrics and the order of the work.
//!
//! Metrics are *costs*: unsigned octets that saturate at the top, where it matters no more what they are. A branch costs,
//! for each of its bits that contradicts the sign of a symbol, that symbol's magnitude. Where two paths meet, the cheaper
//! one remains, and log-MAP would make it cheaper still by ln(1 + exp(-d)), d being their distance. That is approximated
//! by max(0, c - d / 2): the smallest of the two costs and of their mean less c. It makes up for nearly all of what
//! max-log-MAP loses, and supposes that symbols have about [`UNITS_PER_NEPER`] steps for a ratio of e when the code is
//! near its limit; [`gain`] sees to that.
//!
//! Two states that lead to the same two states do so by branches of complementary labels, whose costs together are
//! always the magnitudes of all symbols of the bit time. Both meetings therefore have the same mean: that of the two
//! states, plus that of two complementary branches. And instead of making the mean cheaper by c, every branch is made
//! dearer by it ([`MERGED`]), which changes no comparison. Every [`NORMALISED_EVERY`] bit times all costs are lowered
//! together, so that the least is 0.
//!
//! The backward recursion runs window by window, so that its metrics stay in a cache close by. It enters a window
//! with the metrics that the window behind had at its start half an iteration of the same encoder ago; the first time,
//! when there are none, with those of a run-up of [`RUN_UP`] bit times from nothing known.

use super::interleaver::interleaver;
use super::trellis::Component;
use super::{TAIL_STEPS, TurboRate, TurboSpec};

/// Bit times of a window; the last may be shorter.
pub(super) const WINDOW: usize = 128;
/// Bit times behind a window that are looked at before anything is known of its end.
pub(super) const RUN_UP: usize = 32;
/// See the module.
pub(super) const NORMALISED_EVERY: usize = 4;
/// Cost of a state that cannot be.
pub(super) const IMPOSSIBLE: u8 = u8::MAX;
/// See the module.
const UNITS_PER_NEPER: f64 = 4.4;
/// See the module: 0.9 nepers, some of which the means lose by rounding up.
pub(super) const MERGED: u8 = 4;
/// Largest magnitude of a symbol inside the decoder.
pub(super) const SYMBOL_MAX: u16 = 63;

/// A code as the kernels see it.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) spec: TurboSpec,
    pub(super) components: [Component; 2],
    /// For each component, the information bit of every bit time.
    pub(super) orders: [Vec<u16>; 2],
}

impl Code {
    /// The parameters have been validated.
    pub(super) fn new(spec: TurboSpec) -> Code {
        let natural = (0..spec.information_bits as u16).collect();
        Code {
            spec,
            components: Component::of(spec.rate),
            orders: [natural, interleaver(spec.information_bits)],
        }
    }

    /// Bit times that carry information.
    pub(super) fn steps(&self) -> usize {
        self.spec.information_bits
    }

    pub(super) fn symbols_per_bit(&self) -> usize {
        self.spec.rate.symbols_per_bit()
    }

    /// Symbols of a codeword; a place behind them, which always holds 0, stands for punctured ones.
    pub(super) fn symbols(&self) -> usize {
        self.spec.codeword_bits()
    }

    /// Place of the first parity symbol of `component` at bit time `t`; further ones follow it.
    #[inline(always)]
    pub(super) fn parity_place(&self, component: usize, t: usize) -> usize {
        let component = &self.components[component];
        if component.sends(t) { t * self.symbols_per_bit() + component.first_place } else { self.symbols() }
    }

    /// Place of the systematic symbol of bit time `t` in the tail: only encoder a sends it.
    pub(super) fn tail_place(&self, component: usize, t: usize) -> usize {
        if component == 0 { t * self.symbols_per_bit() } else { self.symbols() }
    }

    /// Bit times of the tail.
    pub(super) fn tail(&self) -> std::ops::Range<usize> {
        self.steps()..self.steps() + TAIL_STEPS
    }

    pub(super) fn windows(&self) -> usize {
        self.steps().div_ceil(WINDOW)
    }

    /// Bit times of window `w`.
    #[inline(always)]
    pub(super) fn window(&self, w: usize) -> std::ops::Range<usize> {
        w * WINDOW..((w + 1) * WINDOW).min(self.steps())
    }
}

/// What brings a codeword's symbols to the decoder's scale: a factor in units of 1/512. Decoding compares sums of
/// symbols, so that theirs does not matter; what each rate's mean magnitude is brought to is what it would be with
/// [`UNITS_PER_NEPER`] at an Eb/N0 in the waterfall (1.0, 0.5, 0.3 and 0 dB for rates 1/2 to 1/6).
#[inline(always)]
pub(super) fn gain(rate: TurboRate, symbols: &[i8]) -> u16 {
    let mean_nepers = match rate {
        TurboRate::R1_2 => 2.81,
        TurboRate::R1_3 => 1.87,
        TurboRate::R1_4 => 1.47,
        TurboRate::R1_6 => 1.07,
    };
    let target = (512.0 * UNITS_PER_NEPER * mean_nepers) as u64;
    let sum_of = |part: &[i8]| part.iter().map(|symbol| u16::from(symbol.unsigned_abs())).sum::<u16>();
    let sum: u64 = symbols.chunks(64).map(|part| u64::from(sum_of(part))).sum();
    (target * symbols.len() as u64 / sum.max(1)).min(u64::from(u16::MAX)) as u16
}

/// A symbol times `gain`, rounded, cut off; what is not 0 stays so, with its sign.
#[inline(always)]
pub(super) fn scaled(symbol: i8, gain: u16) -> i8 {
    let magnitude = u16::from(symbol.unsigned_abs());
    let doubled = ((u32::from(magnitude << 8) * u32::from(gain)) >> 16) as u16;
    let rounded = ((doubled + 1) >> 1).clamp(magnitude.min(1), SYMBOL_MAX) as i8;
    if symbol < 0 { -rounded } else { rounded }
}
