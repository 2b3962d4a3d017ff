//! Iterations: the two component decoders in turn, decisions, when to stop, and the verdicts.
//!
//! Decisions are kept with one bit for each codeword in a word for each information bit, so that comparing them, their
//! CRC and their encoding cost next to nothing, however many codewords are decoded side by side.

use super::decoder::{TurboDecoding, TurboStop};
use super::schedule::Code;
use super::trellis::{Component, FORWARD};
use crate::soft::SoftVerdict;

/// The most codewords side by side.
pub(super) const LANES_MAX: usize = 64;

/// Decodes the component codes of up to [`LANES_MAX`] codewords side by side.
pub(super) trait Siso {
    /// Takes the symbols of `count` codewords, one behind the other, and forgets those before.
    fn load(&mut self, code: &Code, symbols: &[i8], count: usize);

    /// Half iteration `half` (0, 1, ...): encoders a and b by turns.
    fn half_iteration(&mut self, code: &Code, half: usize, decisions: &mut Decisions);

    /// Adds to `counts` how many symbols of each codeword contradict `codewords`, which has one word for each symbol.
    fn count_contradicted(&self, codewords: &[u64], counts: &mut [u32; LANES_MAX]);
}

/// What the information bits are held to be: bit l of word i is bit i of codeword l.
#[derive(Debug, Clone)]
pub(super) struct Decisions {
    words: Vec<u64>,
    /// Codewords still at work; the decisions on others stand.
    active: u64,
    /// Codewords with a bit that is another than half an iteration ago.
    changed: u64,
}

impl Decisions {
    #[inline(always)]
    pub(super) fn decide(&mut self, bit: usize, ones: u64) {
        let word = &mut self.words[bit];
        let changed = (ones ^ *word) & self.active;
        self.changed |= changed;
        *word ^= changed;
    }
}

/// What decoding needs besides the component decoders.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    decisions: Decisions,
    codewords: Vec<u64>,
}

impl Scratch {
    pub(super) fn new(code: &Code) -> Scratch {
        Scratch {
            decisions: Decisions { words: vec![0; code.steps()], active: 0, changed: 0 },
            codewords: vec![0; code.symbols()],
        }
    }
}

/// What is to be done: as many codewords as there are verdicts, at most as many as the kernel has room for.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) decoding: TurboDecoding,
    pub(super) symbols: &'a [i8],
    pub(super) frames: &'a mut [u8],
    pub(super) verdicts: &'a mut [SoftVerdict],
}

/// Decodes the codewords of `job`; the lengths have been checked.
#[inline(always)]
pub(super) fn decode(siso: &mut impl Siso, code: &Code, scratch: &mut Scratch, job: Job<'_>) {
    let Job { decoding, symbols, frames, verdicts } = job;
    let count = verdicts.len();
    let all = u64::MAX >> (LANES_MAX - count);
    siso.load(code, symbols, count);
    let Scratch { decisions, codewords } = scratch;
    decisions.active = all;
    verdicts.fill(SoftVerdict { iterations: u16::from(decoding.iterations_max), ..SoftVerdict::default() });
    let (mut converged, mut changed_before) = (0, all);
    for half in 0..2 * usize::from(decoding.iterations_max) {
        decisions.changed = 0;
        siso.half_iteration(code, half, decisions);
        if half == 0 {
            continue;
        }
        let settled = !(decisions.changed | changed_before);
        changed_before = decisions.changed;
        let sure = match decoding.stop {
            TurboStop::Never => {
                converged = all & settled;
                continue;
            }
            TurboStop::Agreement => settled,
            // The CRC is looked at once for each answer that stands, not once for each guess on the way: every look at wrong
            // bits is a chance of 2^-16.
            TurboStop::Fecf => match all & !decisions.changed & decisions.active {
                0 => 0,
                standing => standing & crc_holds(&decisions.words),
            },
        } & decisions.active;
        converged |= sure;
        decisions.active &= !sure;
        for (lane, verdict) in verdicts.iter_mut().enumerate().filter(|(lane, _)| sure >> lane & 1 == 1) {
            debug_assert!(lane < count);
            verdict.iterations = (half / 2 + 1) as u16;
        }
        if decisions.active == 0 {
            break;
        }
    }
    encode(code, &decisions.words, codewords);
    let mut counts = [0; LANES_MAX];
    siso.count_contradicted(codewords, &mut counts);
    for (lane, verdict) in verdicts.iter_mut().enumerate() {
        verdict.converged = converged >> lane & 1 == 1;
        verdict.symbols_corrected = counts[lane];
    }
    pack(&decisions.words, frames);
}

/// The codewords whose bits `words` end with their CRC-16 (132.0-B-3 4.1.6).
#[inline(always)]
fn crc_holds(words: &[u64]) -> u64 {
    // The register as a ring: what stands at `top` is its highest bit, the others follow downwards.
    let mut ring = [u64::MAX; 16];
    let mut top = 0;
    for word in words {
        let fed_back = ring[top] ^ word;
        ring[top] = fed_back;
        top = (top + 1) % 16;
        // Bit 0 is now the place before `top`; bits 5 and 12 are five and twelve places before that.
        ring[(top + 15 - 5) % 16] ^= fed_back;
        ring[(top + 15 - 12) % 16] ^= fed_back;
    }
    !ring.iter().fold(0, |any, bits| any | bits)
}

/// The component encoder of all codewords at once: adder and stages D1 to D4.
#[derive(Debug, Clone, Copy, Default)]
struct Register([u64; 5]);

impl Register {
    /// Adds up for an input, or for the one that leads towards zero; then [`Register::shift`].
    #[inline(always)]
    fn add(&mut self, input: Option<u64>) -> u64 {
        let fed_back = self.0[3] ^ self.0[4];
        self.0[0] = input.map_or(0, |bits| bits ^ fed_back);
        input.unwrap_or(fed_back)
    }

    #[inline(always)]
    fn output(&self, g: usize) -> u64 {
        (0..5).filter(|stage| FORWARD[g] >> (4 - stage) & 1 == 1).fold(0, |sum, stage| sum ^ self.0[stage])
    }

    #[inline(always)]
    fn shift(&mut self) {
        self.0 = [0, self.0[0], self.0[1], self.0[2], self.0[3]];
    }
}

/// The codewords of the frames that `words` holds, one word for each symbol.
#[inline(always)]
fn encode(code: &Code, words: &[u64], codewords: &mut [u64]) {
    let mut registers = [Register::default(); 2];
    for (t, symbols) in codewords.chunks_exact_mut(code.symbols_per_bit()).enumerate() {
        for (c, register) in registers.iter_mut().enumerate() {
            let input = code.orders[c].get(t).map(|bit| words[usize::from(*bit)]);
            let systematic = register.add(input);
            if c == 0 {
                symbols[0] = systematic;
            }
            let Component { set, first_place, .. } = code.components[c];
            if code.components[c].sends(t) {
                let sent = (0..FORWARD.len()).filter(|g| set >> g & 1 == 1);
                for (symbol, g) in symbols[first_place..].iter_mut().zip(sent) {
                    *symbol = register.output(g);
                }
            }
            register.shift();
        }
    }
}

/// Writes the frames that `words` holds, one behind the other.
#[inline(always)]
fn pack(words: &[u64], frames: &mut [u8]) {
    let len = words.len() / 8;
    let (groups, _) = words.as_chunks::<8>();
    for (octet, group) in groups.iter().enumerate() {
        for (eighth, frames) in frames.chunks_mut(8 * len).enumerate() {
            let square = group.iter().fold(0, |square, word| square << 8 | (word >> (8 * eighth) & 0xFF));
            let turned = transpose(square).to_le_bytes();
            for (frame, bits) in frames.chunks_exact_mut(len).zip(turned) {
                frame[octet] = bits;
            }
        }
    }
}

/// Eight octets as a square of bits, turned over: bit l of octet k becomes bit k of octet l, both from the lowest.
#[inline(always)]
fn transpose(square: u64) -> u64 {
    let swap = |x: u64, distance: u32, mask: u64| {
        let differing = (x ^ x >> distance) & mask;
        x ^ differing ^ differing << distance
    };
    let square = swap(square, 7, 0x00AA_00AA_00AA_00AA);
    let square = swap(square, 14, 0x0000_CCCC_0000_CCCC);
    swap(square, 28, 0x0000_0000_F0F0_F0F0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc::crc16_fecf;

    #[test]
    fn the_crc_of_many_codewords_at_once_holds_exactly_for_those_that_have_it() {
        let mut frames = [[0; 223]; LANES_MAX];
        for (lane, frame) in frames.iter_mut().enumerate() {
            let octets = frame.iter_mut().enumerate();
            octets.for_each(|(i, octet)| *octet = (31 * i + 7 * lane + i * i) as u8);
            let check = crc16_fecf(&frame[..221]);
            frame[221..].copy_from_slice(&check.to_be_bytes());
            frame[lane] ^= if lane % 3 == 0 { 1 << (lane % 8) } else { 0 };
        }
        let bit = |frame: &[u8; 223], i: usize| u64::from(frame[i / 8] >> (7 - i % 8) & 1);
        let word = |i: usize| frames.iter().rev().fold(0, |word, frame| word << 1 | bit(frame, i));
        let words: Vec<u64> = (0..1784).map(word).collect();
        let expected = (0..64).filter(|lane| lane % 3 != 0).fold(0, |lanes, lane| lanes | 1 << lane);
        assert_eq!(crc_holds(&words), expected);

        let mut packed = vec![0; 223 * LANES_MAX];
        pack(&words, &mut packed);
        assert_eq!(packed, frames.concat());
        let mut few = vec![0; 223 * 11];
        pack(&words, &mut few);
        assert_eq!(few, packed[..few.len()]);
    }
}
