//! The batch decoder, generic over the instruction set. Every function is inlined into one compilation for each.

use super::{Bits, Lanes, Octets, STATES};
use crate::conv::outputs;
use crate::conv::window::{BATCH, Shape, Tally, quantise};

/// Quantised symbols C1 and C2 of one bit, of all lanes.
type Pair = [Octets; 2];
/// Path metrics of all states.
type Metrics = [Octets; STATES];

/// What the trellis leaves behind for the trace back, of one bit.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Step {
    /// Which lanes reach a state from its second predecessor; the entry of state s is at the reversed bits of s, so that
    /// the bits that are known first when tracing back split the table in halves.
    decisions: [Bits; STATES],
    /// Lanes whose symbols (C1, C2) speak for a 1.
    ones: [Bits; 2],
    /// Lanes whose symbols are no erasures.
    present: [Bits; 2],
}

impl Step {
    const EMPTY: Step = Step { decisions: [[0; 8]; STATES], ones: [[0; 8]; 2], present: [[0; 8]; 2] };
}

/// The work space of 64 windows.
#[derive(Debug)]
pub(super) struct Batch {
    shape: Shape,
    /// The windows, quantised, on their way into the lanes.
    rows: Vec<u8>,
    pairs: Vec<Pair>,
    metrics: Box<[Metrics; 2]>,
    /// From the first bit of the payload to the end of the span.
    steps: Vec<Step>,
}

impl Batch {
    pub(super) fn new(shape: Shape) -> Batch {
        Batch {
            shape,
            rows: vec![0; BATCH * 2 * shape.span()],
            pairs: vec![[Octets([0; 64]); 2]; shape.span()],
            metrics: Box::new([[Octets([0; 64]); STATES]; 2]),
            steps: vec![Step::EMPTY; shape.payload + shape.overlap],
        }
    }

    /// See [`crate::conv::window::WindowDecoder::decode`].
    #[inline(always)]
    pub(super) fn decode<L: Lanes>(
        &mut self,
        isa: L,
        symbols: &[i8],
        stride: usize,
        words: &mut [u64],
        tallies: &mut [Tally],
    ) {
        self.load(symbols, stride, tallies);
        let mut best = [[0; 8]; 6];
        for part in 0..tallies.len().div_ceil(L::N) {
            self.run_trellis(isa, part);
            best_states(isa, part, &self.metrics[0], &mut best);
        }
        self.trace_back(best.map(u64::from_le_bytes), words, tallies);
    }

    /// Quantises the windows into their lanes.
    #[inline(always)]
    fn load(&mut self, symbols: &[i8], stride: usize, tallies: &mut [Tally]) {
        let (row_len, count) = (2 * self.shape.span(), tallies.len());
        for (k, (row, tally)) in self.rows.chunks_exact_mut(row_len).zip(tallies).enumerate() {
            *tally =
                Tally { compared: quantise(self.shape, &symbols[k * stride..][..row_len], row), wrong: 0 };
        }
        // Blocks of 64 octets of every window: 32 bits. Entry [k][8 g + w] is word w of window 8 g + k.
        let mut block = [[0u64; 64]; 8];
        for (number, pairs) in self.pairs.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (lane, row) in self.rows.chunks_exact(row_len).enumerate().take(count) {
                let octets = row[64 * number..][..64].as_chunks::<8>().0;
                for (word, octets) in block[lane % 8][lane / 8 * 8..][..8].iter_mut().zip(octets) {
                    *word = u64::from_le_bytes(*octets);
                }
            }
            exchange_octets(&mut block);
            for (k, words) in block.iter().enumerate() {
                for w in 0..8 {
                    let lanes = &mut pairs[4 * w + k / 2][k % 2].0.as_chunks_mut::<8>().0;
                    for (g, lanes) in lanes.iter_mut().enumerate() {
                        *lanes = words[8 * g + w].to_le_bytes();
                    }
                }
            }
        }
    }

    /// Adds, compares and selects through the whole span; the final metrics are in `metrics[0]`.
    #[inline(always)]
    fn run_trellis<L: Lanes>(&mut self, isa: L, part: usize) {
        let [from, to] = &mut *self.metrics;
        for metric in from.iter_mut() {
            isa.store(metric, part, isa.zero());
        }
        let mut least = isa.zero();
        let (before, behind) = self.pairs.split_at(self.shape.overlap);
        for pairs in before.as_chunks::<4>().0 {
            let [a, b, c, d] = pairs;
            least = two_steps(isa, part, [a, b], least, from, to, None);
            least = two_steps(isa, part, [c, d], least, to, from, None);
        }
        for (pairs, steps) in behind.as_chunks::<4>().0.iter().zip(self.steps.as_chunks_mut::<4>().0) {
            let ([a, b, c, d], [step_a, step_b, step_c, step_d]) = (pairs, steps);
            least = two_steps(isa, part, [a, b], least, from, to, Some([step_a, step_b]));
            least = two_steps(isa, part, [c, d], least, to, from, Some([step_c, step_d]));
        }
    }

    /// From the `best` last states (six words, the newest bit first) back to the first bit of the payload.
    #[inline(always)]
    fn trace_back(&self, best: [u64; 6], words: &mut [u64], tallies: &mut [Tally]) {
        let mut state = best;
        let (payload, behind) = self.steps.split_at(self.shape.payload);
        for step in behind.iter().rev() {
            let oldest = look_up(&step.decisions, &state);
            state = [state[1], state[2], state[3], state[4], state[5], oldest];
        }
        let words_each = self.shape.words();
        for (word, steps) in payload.as_chunks::<64>().0.iter().enumerate().rev() {
            // The earliest bit of a word is its highest: row 63 - t.
            let mut bits = [0; 64];
            let mut wrong = [[0; 64]; 2];
            for (row, step) in steps.iter().rev().enumerate() {
                let oldest = look_up(&step.decisions, &state);
                let [b0, b1, b2, b3, _, b5] = state;
                let sent = [b0 ^ b1 ^ b2 ^ b3 ^ oldest, b0 ^ b2 ^ b3 ^ b5 ^ oldest];
                bits[row] = b0;
                for which in 0..2 {
                    let differ = sent[which] ^ u64::from_le_bytes(step.ones[which]);
                    wrong[which][row] = differ & u64::from_le_bytes(step.present[which]);
                }
                state = [state[1], state[2], state[3], state[4], state[5], oldest];
            }
            transpose_bits(&mut bits);
            let [wrong_1, wrong_2] = &mut wrong;
            transpose_bits(wrong_1);
            transpose_bits(wrong_2);
            for (lane, tally) in tallies.iter_mut().enumerate() {
                words[lane * words_each + word] = bits[lane];
                tally.wrong += wrong_1[lane].count_ones() + wrong_2[lane].count_ones();
            }
        }
    }
}

/// Two trellis steps. `least` is the smallest of the metrics `from`: it is subtracted on the way, so that they never
/// outgrow an octet. Returns the smallest of the metrics `to`.
#[inline(always)]
fn two_steps<L: Lanes>(
    isa: L,
    part: usize,
    pairs: [&Pair; 2],
    least: L::V,
    from: &Metrics,
    to: &mut Metrics,
    mut steps: Option<[&mut Step; 2]>,
) -> L::V {
    let costs = [branch_costs(isa, part, pairs[0], least), branch_costs(isa, part, pairs[1], isa.zero())];
    if let Some(steps) = &mut steps {
        for (pair, step) in pairs.into_iter().zip(steps) {
            for ((symbols, ones), present) in pair.iter().zip(&mut step.ones).zip(&mut step.present) {
                let symbols = isa.load(symbols, part);
                put::<L>(ones, part, isa.negative(symbols));
                put::<L>(present, part, isa.nonzero(symbols));
            }
        }
    }
    let mut smallest = isa.load(&from[0], part);
    macro_rules! groups {
        ($($j:literal)*) => {
            $(
                let new = four_states::<L, $j>(isa, part, &costs, from, to, &mut steps);
                smallest = if $j == 0 { new } else { isa.min(smallest, new) };
            )*
        };
    }
    groups!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    smallest
}

/// The states J, J + 16, J + 32, J + 48 become, two steps later, 4 J to 4 J + 3. Returns the smallest of these.
#[inline(always)]
fn four_states<L: Lanes, const J: usize>(
    isa: L,
    part: usize,
    costs: &[[L::V; 4]; 2],
    from: &Metrics,
    to: &mut Metrics,
    steps: &mut Option<[&mut Step; 2]>,
) -> L::V {
    let (a, b) = (isa.load(&from[J], part), isa.load(&from[J + 16], part));
    let (c, d) = (isa.load(&from[J + 32], part), isa.load(&from[J + 48], part));
    let (mut first, mut second) = match steps {
        Some([first, second]) => (Some(&mut first.decisions), Some(&mut second.decisions)),
        None => (None, None),
    };
    let (e, f) = butterfly(isa, part, &costs[0], J, a, c, first.as_deref_mut());
    let (g, h) = butterfly(isa, part, &costs[0], J + 16, b, d, first);
    let (w, x) = butterfly(isa, part, &costs[1], 2 * J, e, g, second.as_deref_mut());
    let (y, z) = butterfly(isa, part, &costs[1], 2 * J + 1, f, h, second);
    isa.store(&mut to[4 * J], part, w);
    isa.store(&mut to[4 * J + 1], part, x);
    isa.store(&mut to[4 * J + 2], part, y);
    isa.store(&mut to[4 * J + 3], part, z);
    isa.min(isa.min(w, x), isa.min(y, z))
}

/// The states j and j + 32 (of metrics `first` and `second`) become 2 j and 2 j + 1.
#[inline(always)]
fn butterfly<L: Lanes>(
    isa: L,
    part: usize,
    costs: &[L::V; 4],
    j: usize,
    first: L::V,
    second: L::V,
    decisions: Option<&mut [Bits; STATES]>,
) -> (L::V, L::V) {
    // Both polynomials take the newest and the oldest bit: changing either complements both symbols.
    let output = usize::from(outputs((j << 1) as u8));
    let (same, other) = (costs[output], costs[3 - output]);
    let (zero, zero_bits) = isa.select(isa.add(first, same), isa.add(second, other));
    let (one, one_bits) = isa.select(isa.add(first, other), isa.add(second, same));
    if let Some(decisions) = decisions {
        put::<L>(&mut decisions[reversed(2 * j)], part, zero_bits);
        put::<L>(&mut decisions[reversed(2 * j + 1)], part, one_bits);
    }
    (zero, one)
}

/// What each output (C1 in bit 1, C2 in bit 0) costs, less `least`: a symbol that differs costs its magnitude.
#[inline(always)]
fn branch_costs<L: Lanes>(isa: L, part: usize, pair: &Pair, least: L::V) -> [L::V; 4] {
    let zero = isa.zero();
    let (c1, c2) = (isa.load(&pair[0], part), isa.load(&pair[1], part));
    let (zero_1, one_1) = (isa.max_signed(isa.sub(zero, c1), zero), isa.max_signed(c1, zero));
    let (zero_2, one_2) = (isa.max_signed(isa.sub(zero, c2), zero), isa.max_signed(c2, zero));
    let (zero_1, one_1) = (isa.sub(zero_1, least), isa.sub(one_1, least));
    [isa.add(zero_1, zero_2), isa.add(zero_1, one_2), isa.add(one_1, zero_2), isa.add(one_1, one_2)]
}

/// The state with the smallest metric (the lowest of several), as six words of bits.
#[inline(always)]
fn best_states<L: Lanes>(isa: L, part: usize, metrics: &Metrics, best: &mut [Bits; 6]) {
    let mut smallest = isa.load(&metrics[0], part);
    let mut words = [0u64; 6];
    for (state, metric) in metrics.iter().enumerate().skip(1) {
        let (smaller, mask) = isa.select(smallest, isa.load(metric, part));
        smallest = smaller;
        for (bit, word) in words.iter_mut().enumerate() {
            *word = if state >> bit & 1 == 1 { *word | mask } else { *word & !mask };
        }
    }
    for (to, word) in best.iter_mut().zip(words) {
        put::<L>(to, part, word);
    }
}

/// Writes the lanes of part `part`.
#[inline(always)]
fn put<L: Lanes>(to: &mut Bits, part: usize, bits: u64) {
    // The remainder tells the compiler that nothing can be out of bounds.
    let len = L::N / 8;
    to[part % (8 / len) * len..][..len].copy_from_slice(&bits.to_le_bytes()[..len]);
}

/// A state with its six bits in reverse.
const fn reversed(state: usize) -> usize {
    ((state as u8).reverse_bits() >> 2) as usize
}

/// For every lane the decision of its state, which is given as six words, the newest bit first.
#[inline(always)]
fn look_up(decisions: &[Bits; STATES], state: &[u64; 6]) -> u64 {
    macro_rules! halve {
        ($table:expr, $len:literal, $bit:expr) => {{
            let (low, high) = $table.split_at($len);
            let mut halved = [0u64; $len];
            for i in 0..$len {
                halved[i] = low[i] ^ (low[i] ^ high[i]) & $bit;
            }
            halved
        }};
    }
    let mut table = [0u64; STATES];
    for (word, bits) in table.iter_mut().zip(decisions) {
        *word = u64::from_le_bytes(*bits);
    }
    let table = halve!(table, 32, state[0]);
    let table = halve!(table, 16, state[1]);
    let table = halve!(table, 8, state[2]);
    let table = halve!(table, 4, state[3]);
    let table = halve!(table, 2, state[4]);
    let [decision] = halve!(table, 1, state[5]);
    decision
}

/// Transposes 8 by 8 octets: octet k of a word in row r becomes octet r of the same word in row k.
#[inline(always)]
fn exchange_octets(rows: &mut [[u64; 64]; 8]) {
    macro_rules! exchange {
        ($distance:literal, $mask:literal) => {
            for block in rows.as_chunks_mut::<{ 2 * $distance }>().0 {
                let (low, high) = block.split_at_mut($distance);
                for (low, high) in low.iter_mut().zip(high) {
                    for (low, high) in low.iter_mut().zip(high) {
                        let moved = (*low >> (8 * $distance) ^ *high) & $mask;
                        *high ^= moved;
                        *low ^= moved << (8 * $distance);
                    }
                }
            }
        };
    }
    exchange!(4, 0x0000_0000_FFFF_FFFF);
    exchange!(2, 0x0000_FFFF_0000_FFFF);
    exchange!(1, 0x00FF_00FF_00FF_00FF);
}

/// Transposes 64 by 64 bits: bit j of row i becomes bit i of row j.
#[inline(always)]
fn transpose_bits(rows: &mut [u64; BATCH]) {
    macro_rules! exchange {
        ($distance:literal, $mask:literal) => {
            for block in rows.as_chunks_mut::<{ 2 * $distance }>().0 {
                let (low, high) = block.split_at_mut($distance);
                for (low, high) in low.iter_mut().zip(high) {
                    let moved = (*low >> $distance ^ *high) & $mask;
                    *high ^= moved;
                    *low ^= moved << $distance;
                }
            }
        };
    }
    exchange!(32, 0x0000_0000_FFFF_FFFF);
    exchange!(16, 0x0000_FFFF_0000_FFFF);
    exchange!(8, 0x00FF_00FF_00FF_00FF);
    exchange!(4, 0x0F0F_0F0F_0F0F_0F0F);
    exchange!(2, 0x3333_3333_3333_3333);
    exchange!(1, 0x5555_5555_5555_5555);
}
