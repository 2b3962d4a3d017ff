//! From soft symbols of any scale to the 8-bit beliefs of the decoder, and back to octets.

use super::hard::{Words, magnitudes};
use super::spec::C2_VIRTUAL_ZEROS;
use super::{Ar4jaRate, LdpcSpec};

/// What the decoder believes of a bit that it knows.
const CERTAIN: i8 = 127;

/// The mean magnitude that the symbols of a block are brought to: large enough for fine steps, small enough that beliefs
/// have room to grow to 127. Measured, with [`Correction::of_degree`].
const fn mean_magnitude(spec: LdpcSpec) -> u32 {
    match spec {
        LdpcSpec::C2 => 20,
        LdpcSpec::Ar4ja { rate: Ar4jaRate::Half | Ar4jaRate::FourFifths, .. } => 12,
        LdpcSpec::Ar4ja { rate: Ar4jaRate::TwoThirds, .. } => 14,
    }
}

/// The largest message. A bit takes part in four checks (six, where nothing is received), so that taking its messages
/// back one after the other from a saturated belief does not turn its sign.
pub(super) const MESSAGE_MAX: u8 = 31;
/// Largest belief that the channel alone gives: less than one message. Half of the parity that AR4JA sends takes part in
/// one check only, and a wrong symbol that outweighs that check stays wrong however many iterations follow.
const CHANNEL_MAX: i16 = MESSAGE_MAX as i16 - 1;

/// By how much the least magnitude overstates what a check knows.
///
/// With two magnitudes a ≤ b, sum-product says a - ln(1 + e^(a-b)) + ln(1 + e^(-a-b)): much less than a where b is
/// close, a itself where b is far. So most where the two least are equal, one less for every four that they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Correction {
    /// Of the least, where the second least equals it.
    pub(super) close: u8,
    /// Of the second least, which the bit of the least is told; how far the third least is from it is not known.
    pub(super) second: u8,
}

impl Correction {
    /// For checks of so many bits, in the units of [`mean_magnitude`].
    pub(super) const fn of_degree(degree: usize) -> Correction {
        match degree {
            3 => Correction { close: 2, second: 0 },
            6 | 10 => Correction { close: 3, second: 2 },
            _ => Correction { close: 2, second: 1 },
        }
    }

    /// Magnitudes of what a check says: to the bits other than that of the least, and to that bit.
    #[inline(always)]
    pub(super) fn say(self, least: u8, second: u8) -> (u8, u8) {
        let close = self.close.saturating_sub((second - least) / 4);
        (least.saturating_sub(close).min(MESSAGE_MAX), second.saturating_sub(self.second).min(MESSAGE_MAX))
    }
}

/// Multiplication by `factor / 2^shift` in 16 bits: `factor` is at most 127, so that no product with an `i8` overflows,
/// even rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gain {
    factor: i16,
    shift: u32,
}

impl Gain {
    /// Brings the mean magnitude of `symbols` to `target`.
    #[inline(always)]
    fn new<W: Words>(words: W, symbols: &[i8], target: u32) -> Gain {
        let total = magnitudes(words, symbols);
        let wanted = ((symbols.len() as u64 * u64::from(target)) << 14) / u64::from(total.max(1));
        // `wanted` / 2^14 with the seven leading bits kept.
        let excess = (64 - wanted.leading_zeros()).saturating_sub(7);
        if excess > 14 {
            return Gain { factor: 127, shift: 0 };
        }
        Gain { factor: (wanted >> excess) as i16, shift: 14 - excess }
    }

    #[inline(always)]
    fn apply(self, symbol: i8) -> i8 {
        let round = (1 << self.shift) >> 1;
        let value = (i16::from(symbol) * self.factor + round) >> self.shift;
        value.clamp(-CHANNEL_MAX, CHANNEL_MAX) as i8
    }
}

/// What the channel says of every bit of the word: of those sent by `symbols`, of C2's virtual zeros and of punctured
/// bits by definition.
#[inline(always)]
pub(super) fn channel<W: Words>(words: W, spec: LdpcSpec, symbols: &[i8], channel: &mut [i8]) {
    let (before, sent) = match spec {
        LdpcSpec::C2 => (C2_VIRTUAL_ZEROS, channel.len() - C2_VIRTUAL_ZEROS),
        LdpcSpec::Ar4ja { .. } => (0, symbols.len()),
    };
    let symbols = &symbols[..sent];
    let gain = Gain::new(words, symbols, mean_magnitude(spec));
    let (known, rest) = channel.split_at_mut(before);
    let (received, punctured) = rest.split_at_mut(sent);
    known.fill(CERTAIN);
    for (out, symbol) in received.iter_mut().zip(symbols) {
        *out = gain.apply(*symbol);
    }
    punctured.fill(0);
}
