//! The loops of the decoder and of the marker search, inlined into one compilation for each instruction set. The scalar
//! reference is these loops compiled for the target's baseline.
//!
//! A lane is one check of a layer: the `M` checks of a circulant lie side by side, and with `M = 16` those of several
//! codewords. Lanes never mix, so a codeword decodes to the same bits alone and in company.

use super::Layer;

/// Fractional bits of messages: soft symbols are multiplied by 8, so that small ones survive the normalisation.
const SCALE_SHIFT: u32 = 3;
/// The largest message. A symbol and the messages of its at most five checks stay within 16 bits.
const MESSAGE_MAX: i16 = 4095;
/// Codewords side by side, at most.
pub(super) const WIDTH_MAX: usize = 4;

/// Work of `LANES / M` codewords.
#[derive(Debug, Clone)]
pub(super) struct Work<const LANES: usize> {
    /// `believed[c][lane]`: what is believed of bit `lane` of block column `c`; positive is a 0.
    believed: [[i16; LANES]; 8],
    /// `messages[l][e][lane]`: what check `lane` of layer `l` last said along its edge `e`.
    messages: [[[i16; LANES]; 8]; 4],
}

impl<const LANES: usize> Work<LANES> {
    pub(super) const fn new() -> Work<LANES> {
        Work { believed: [[0; LANES]; 8], messages: [[[0; LANES]; 8]; 4] }
    }
}

/// What became of up to four codewords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `bits[c]`: hard decisions of block column `c`, lane `i` in bit `i`.
    pub(super) bits: [u64; 8],
    /// Iterations until all checks held; `None` where they never did.
    pub(super) iterations: [Option<u8>; WIDTH_MAX],
}

/// Decodes the `LANES / M` codewords of `symbols`.
#[inline(always)]
pub(super) fn decode<const M: usize, const LANES: usize>(
    layers: &[Layer; 4],
    symbols: &[i8],
    iterations_max: u8,
    work: &mut Work<LANES>,
) -> Outcome {
    let width = LANES / M;
    assert!(symbols.len() == 8 * LANES && width <= WIDTH_MAX && LANES <= 64 && LANES.is_multiple_of(M));
    for (c, believed) in work.believed.iter_mut().enumerate() {
        for w in 0..width {
            let from = &symbols[w * 8 * M + c * M..][..M];
            for (out, symbol) in believed[w * M..][..M].iter_mut().zip(from) {
                *out = i16::from(*symbol) << SCALE_SHIFT;
            }
        }
    }
    work.messages = [[[0; LANES]; 8]; 4];

    let mut outcome = Outcome { bits: [0; 8], iterations: [None; WIDTH_MAX] };
    let mut open: u64 = if LANES == 64 { u64::MAX } else { (1 << LANES) - 1 };
    for iteration in 0..=iterations_max {
        let mut decisions = [0; 8];
        for (bits, believed) in decisions.iter_mut().zip(&work.believed) {
            *bits = pack_signs(believed);
        }
        let failed = failed_checks::<M>(layers, &decisions);
        for w in 0..width {
            let lanes = (u64::MAX >> (64 - M)) << (w * M);
            if open & lanes != 0 && failed & lanes == 0 {
                open &= !lanes;
                outcome.iterations[w] = Some(iteration);
                for (out, bits) in outcome.bits.iter_mut().zip(decisions) {
                    *out |= bits & lanes;
                }
            }
        }
        if open == 0 {
            return outcome;
        }
        if iteration < iterations_max {
            for (layer, messages) in layers.iter().zip(&mut work.messages) {
                update_layer::<M, LANES>(layer, &mut work.believed, messages);
            }
        }
    }
    outcome
}

/// One layer of normalised min-sum: all its checks say anew what they think of their eight bits.
#[inline(always)]
fn update_layer<const M: usize, const LANES: usize>(
    layer: &Layer,
    believed: &mut [[i16; LANES]; 8],
    messages: &mut [[i16; LANES]; 8],
) {
    let mut incoming = [[0i16; LANES]; 8];
    let mut sign = [0i16; LANES];
    let mut least = [i16::MAX; LANES];
    let mut second = [i16::MAX; LANES];
    for ((incoming, message), (column, shift)) in incoming.iter_mut().zip(&*messages).zip(layer) {
        let rotated = rotate::<M, LANES>(&believed[usize::from(*column)], usize::from(*shift));
        for i in 0..LANES {
            let value = rotated[i] - message[i];
            incoming[i] = value;
            sign[i] ^= value;
            let magnitude = value.abs();
            second[i] = second[i].min(least[i].max(magnitude));
            least[i] = least[i].min(magnitude);
        }
    }
    let normalised = |magnitude: i16| (magnitude - (magnitude >> 2)).min(MESSAGE_MAX);
    for ((incoming, message), (column, shift)) in incoming.iter().zip(messages).zip(layer) {
        let mut change = [0i16; LANES];
        for i in 0..LANES {
            let least_of_others = if incoming[i].abs() == least[i] { second[i] } else { least[i] };
            let negative = (sign[i] ^ incoming[i]) >> 15;
            let said = (normalised(least_of_others) ^ negative) - negative;
            change[i] = said - message[i];
            message[i] = said;
        }
        // A column may take part twice in a layer: the changes of both edges add up.
        let change = rotate::<M, LANES>(&change, (M - usize::from(*shift)) % M);
        for (believed, change) in believed[usize::from(*column)].iter_mut().zip(change) {
            *believed += change;
        }
    }
}

/// Lane `i` of the result is lane `(i + shift) mod M` of the same codeword.
#[inline(always)]
fn rotate<const M: usize, const LANES: usize>(lanes: &[i16; LANES], shift: usize) -> [i16; LANES] {
    let mut out = [0; LANES];
    let mut doubled = [0i16; 128];
    for w in 0..LANES / M {
        let from = &lanes[w * M..][..M];
        doubled[..M].copy_from_slice(from);
        doubled[M..2 * M].copy_from_slice(from);
        out[w * M..][..M].copy_from_slice(&doubled[shift..][..M]);
    }
    out
}

/// Bit `i` is the sign of lane `i`.
#[inline(always)]
fn pack_signs<const LANES: usize>(lanes: &[i16; LANES]) -> u64 {
    let mut negative = [0u8; LANES];
    for (out, value) in negative.iter_mut().zip(lanes) {
        *out = (*value < 0) as u8;
    }
    let (eights, _) = negative.as_chunks::<8>();
    // Moves the lowest bits of eight octets side by side.
    let gather = |octets: &[u8; 8]| u64::from_le_bytes(*octets).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().enumerate().fold(0, |bits, (i, octets)| bits | gather(octets) << (8 * i))
}

/// Lanes of checks that do not hold.
#[inline(always)]
fn failed_checks<const M: usize>(layers: &[Layer; 4], decisions: &[u64; 8]) -> u64 {
    let mut failed = 0;
    for layer in layers {
        let mut parity = 0;
        for (column, shift) in layer {
            parity ^= rotate_bits::<M>(decisions[usize::from(*column)], u32::from(*shift));
        }
        failed |= parity;
    }
    failed
}

/// [`rotate`] of packed lanes.
#[inline(always)]
fn rotate_bits<const M: usize>(bits: u64, shift: u32) -> u64 {
    if M == 64 {
        return bits.rotate_right(shift);
    }
    const ONES: u64 = 0x0001_0001_0001_0001;
    let stay = ((1u64 << (16 - shift)) - 1) * ONES;
    ((bits >> shift) & stay) | ((bits << (16 - shift)) & !stay)
}

/// The first position where the 64 symbols agree with `pattern` (+1 and -1), or disagree with all of it, so well that
/// |Σ symbol·pattern| is at least `percent` of Σ |symbol|.
///
/// Every position from `from` on at which 64 symbols lie is looked at.
#[inline(always)]
pub(super) fn find_start(symbols: &[i8], from: usize, pattern: &[i8; 64], percent: u32) -> Option<usize> {
    symbols.get(from..)?.windows(64).position(|window| {
        let (correlation, weight) = correlate(window, pattern);
        weight > 0 && 100 * correlation.unsigned_abs() >= percent * weight
    })
}

/// Σ symbol·pattern and Σ |symbol|.
#[inline(always)]
pub(super) fn correlate(symbols: &[i8], pattern: &[i8]) -> (i32, u32) {
    let (mut correlation, mut weight) = (0i32, 0u32);
    for (symbol, pattern) in symbols.iter().zip(pattern) {
        correlation += i32::from(i16::from(*symbol) * i16::from(*pattern));
        weight += u32::from(symbol.unsigned_abs());
    }
    (correlation, weight)
}
