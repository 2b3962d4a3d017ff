//! What every kernel must do alike for the answers to be the same: the arithmetic of metrics and the order of the work.
//!
//! All metrics are octets with saturation. A branch costs a *penalty*, never above 0: for each of its bits that
//! contradicts the sign of a symbol, that symbol's magnitude. Metrics of states therefore only fall; every
//! [`NORMALISED_EVERY`] bit times the largest is lifted to [`CEILING`] again. What saturates is far below the best, where
//! it decides nothing. CEILING is such that the sum of a forward and a backward metric cannot overflow upwards.
//!
//! The backward recursion runs window by window, so that its metrics stay in the first-level cache. It enters a window
//! with the metrics that the window behind had at its start half an iteration of the same encoder ago; the first time,
//! when there are none, with those of a run-up of [`RUN_UP`] bit times from nothing known.

use super::interleaver::interleaver;
use super::trellis::Component;
use super::{TAIL_STEPS, TurboRate, TurboSpec};

/// Bit times of a window; the last may be shorter.
pub(super) const WINDOW: usize = 32;
/// Bit times behind a window that are looked at before anything is known of its end.
pub(super) const RUN_UP: usize = 24;
/// See the module.
pub(super) const NORMALISED_EVERY: usize = 4;
/// Metric of the best state after it has been normalised.
pub(super) const CEILING: i8 = 63;
/// Metric of a state that cannot be.
pub(super) const FLOOR: i8 = i8::MIN;
/// Largest magnitude of a symbol inside the decoder.
const SYMBOL_MAX: u16 = 63;

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

/// What brings a codeword's symbols to the scale at which saturation neither cuts off much nor steps become coarse: a
/// factor in units of 1/512. Decoding compares sums of symbols, so that no other scale matters.
#[inline(always)]
pub(super) fn gain(rate: TurboRate, symbols: &[i8]) -> u16 {
    let target = match rate {
        TurboRate::R1_2 => 10,
        TurboRate::R1_3 => 8,
        TurboRate::R1_4 => 6,
        TurboRate::R1_6 => 5,
    };
    let sum: u32 = symbols
        .chunks(64)
        .map(|part| part.iter().map(|s| u16::from(s.unsigned_abs())).sum::<u16>() as u32)
        .sum();
    (target * 512 * symbols.len() as u32 / sum.max(1)).min(u32::from(u16::MAX)) as u16
}

/// A symbol times `gain`, rounded, cut off; what is not 0 stays so, with its sign.
#[inline(always)]
pub(super) fn scaled(symbol: i8, gain: u16) -> i8 {
    let magnitude = u16::from(symbol.unsigned_abs());
    let doubled = (u32::from(magnitude << 8) * u32::from(gain) >> 16) as u16;
    let rounded = ((doubled + 1) >> 1).clamp(magnitude.min(1), SYMBOL_MAX) as i8;
    if symbol < 0 { -rounded } else { rounded }
}
