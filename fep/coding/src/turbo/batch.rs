//! The kernel for many codewords: one in each lane, so that states are whole vectors and the interleaver moves whole rows.

use super::lanes::Codewords;
use super::schedule::{Code, IMPOSSIBLE, MERGED, NORMALISED_EVERY, RUN_UP, SYMBOL_MAX, WINDOW, gain, scaled};
use super::siso::{Decisions, LANES_MAX, Siso};
use super::trellis::{G1, G1_G2_G3, G1_G3, G2_G3, STATES, feedback, label};

/// Two states and the two that they lead to.
const BUTTERFLIES: usize = STATES / 2;

type Metrics<L> = [<L as super::lanes::Lanes>::V; STATES];

/// Symbols that are brought to scale and turned over at a time.
const TILE: usize = 64;

#[derive(Debug)]
pub(super) struct Batch<L: Codewords> {
    lanes: L,
    /// Symbols of the codewords, and zeros.
    symbols: Vec<L::V>,
    /// What the component decoders tell each other of every information bit.
    extrinsic: Vec<L::V>,
    /// For each component, backward metrics at the start of every window.
    entries: [Vec<Metrics<L>>; 2],
    /// For each component, backward metrics at the end of the information.
    ends: [Metrics<L>; 2],
    /// The bit times of the window at work, from the backward recursion for the forward one.
    window: Vec<BitTime<L::V>>,
    /// Symbols in scale, codeword by codeword.
    tile: Vec<i8>,
}

/// A block once for each number, which is a constant there: metrics then stay in registers, where a loop that the
/// compiler leaves a loop would keep them in memory.
macro_rules! unrolled {
    ($i:ident in 8 $body:block) => { unrolled!($i in [0 1 2 3 4 5 6 7] $body) };
    ($i:ident in 16 $body:block) => { unrolled!($i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] $body) };
    ($i:ident in [$($n:literal)*] $body:block) => { $( { let $i: usize = $n; $body } )* };
}

/// A bit time of a window.
#[derive(Debug, Clone, Copy)]
struct BitTime<V> {
    /// Backward metrics behind it.
    backward: [V; STATES],
    /// What is known of its input.
    known: V,
    branches: Branches<V>,
}

impl<V: Copy> BitTime<V> {
    #[inline(always)]
    fn new(zero: V) -> BitTime<V> {
        let branches = Branches { parity: [zero; 8], whole: [[zero; 8]; 2], mean: zero };
        BitTime { backward: [zero; STATES], known: zero, branches }
    }
}

/// What the branches of a bit time cost.
#[derive(Debug, Clone, Copy)]
struct Branches<V> {
    /// By the parities.
    parity: [V; 8],
    /// By the input and the parities, and [`MERGED`].
    whole: [[V; 8]; 2],
    /// On average, any branch and its complement.
    mean: V,
}

/// Butterfly b for a set of polynomials: input and parities of the branch from state 2b by adder 0.
struct Butterflies<const SET: u8>;

impl<const SET: u8> Butterflies<SET> {
    const PARITIES: usize = SET.count_ones() as usize;
    const LABELS: usize = 1 << Self::PARITIES;
    /// Whether no branch ever costs 256: a parity costs as much as a symbol at most, what is known of an input 127.
    const WHOLE_IS_SMALL: bool = Self::PARITIES * SYMBOL_MAX as usize + 127 + (MERGED as usize) < 256;
    const OF: [(usize, usize); BUTTERFLIES] = {
        let mut of = [(0, 0); BUTTERFLIES];
        let mut b = 0;
        while b < BUTTERFLIES {
            let state = 2 * b as u8;
            of[b] = (feedback(state) as usize, label(state, 0, SET));
            b += 1;
        }
        of
    };

    /// The parities of the two other branches of a butterfly.
    const fn complement(label: usize) -> usize {
        label ^ (Self::LABELS - 1)
    }
}

impl<L: Codewords> Batch<L> {
    #[inline(always)]
    pub(super) fn new(lanes: L, code: &Code) -> Batch<L> {
        let zero = lanes.splat(0);
        let entries = || vec![[zero; STATES]; code.windows()];
        Batch {
            lanes,
            symbols: vec![zero; code.symbols() + 1],
            extrinsic: vec![zero; code.steps()],
            entries: [entries(), entries()],
            ends: [[zero; STATES]; 2],
            window: vec![BitTime::new(zero); WINDOW],
            tile: vec![0; L::N * TILE],
        }
    }

    #[inline(always)]
    fn branches<const SET: u8>(&self, place: usize, known: L::V) -> Branches<L::V> {
        let l = self.lanes;
        let zero = l.splat(0);
        let mut parity = [zero; 8];
        let [zero_costs, one_costs] = l.penalties(self.symbols[place]);
        (parity[0], parity[1]) = (zero_costs, one_costs);
        // Three parities and their sum stay below 256.
        for p in 1..Butterflies::<SET>::PARITIES {
            let [zero_costs, one_costs] = l.penalties(self.symbols[place + p]);
            unrolled!(label in [0 1 2 3] {
                if label < 1 << p {
                    parity[label | 1 << p] = l.add_small(parity[label], one_costs);
                    parity[label] = l.add_small(parity[label], zero_costs);
                }
            });
        }
        let mut whole = [[zero; 8]; 2];
        let merged = l.splat(MERGED);
        let [zero_costs, one_costs] = l.penalties(known).map(|costs| l.add_small(costs, merged));
        let sum = |a, b| if Butterflies::<SET>::WHOLE_IS_SMALL { l.add_small(a, b) } else { l.add(a, b) };
        unrolled!(label in 8 {
            if label < Butterflies::<SET>::LABELS {
                whole[0][label] = sum(parity[label], zero_costs);
                whole[1][label] = sum(parity[label], one_costs);
            }
        });
        let complement = Butterflies::<SET>::complement(0);
        let mean = l.sub(l.mean(whole[0][0], whole[1][complement]), merged);
        Branches { parity, whole, mean }
    }

    /// What is known of the input of bit time `t`, and what the branches cost there.
    #[inline(always)]
    fn bit_time<const SET: u8>(&self, code: &Code, component: usize, t: usize) -> (L::V, Branches<L::V>) {
        let bit = usize::from(code.orders[component][t]);
        let systematic = self.symbols[bit * code.symbols_per_bit()];
        let known = self.lanes.add_symbols(systematic, self.extrinsic[bit]);
        (known, self.branches::<SET>(code.parity_place(component, t), known))
    }

    #[inline(always)]
    fn backward<const SET: u8>(&self, branches: &Branches<L::V>, t: usize, after: &Metrics<L>) -> Metrics<L> {
        let l = self.lanes;
        let mut metrics = *after;
        unrolled!(b in 8 {
            let (input, label) = Butterflies::<SET>::OF[b];
            let (low, high) = (after[b], after[b + 8]);
            let one = branches.whole[input][label];
            let other = branches.whole[1 - input][Butterflies::<SET>::complement(label)];
            let mean = l.add(l.mean(low, high), branches.mean);
            metrics[2 * b] = l.min(mean, l.min(l.add(low, one), l.add(high, other)));
            metrics[2 * b + 1] = l.min(mean, l.min(l.add(low, other), l.add(high, one)));
        });
        self.normalised(t, metrics)
    }

    #[inline(always)]
    fn end<const SET: u8>(&self, code: &Code, component: usize) -> Metrics<L> {
        let l = self.lanes;
        let mut metrics = self.only_zero();
        for t in code.tail().rev() {
            let known = self.symbols[code.tail_place(component, t)];
            let branches = self.branches::<SET>(code.parity_place(component, t), known);
            let after = metrics;
            for state in 0..STATES as u8 {
                let cost = branches.whole[usize::from(feedback(state))][label(state, 0, SET)];
                metrics[usize::from(state)] = l.add(after[usize::from(state / 2)], cost);
            }
            metrics = self.normalised(t, metrics);
        }
        metrics
    }

    #[inline(always)]
    fn only_zero(&self) -> Metrics<L> {
        let mut metrics = [self.lanes.splat(IMPOSSIBLE); STATES];
        metrics[0] = self.lanes.splat(0);
        metrics
    }

    #[inline(always)]
    fn normalised(&self, t: usize, mut metrics: Metrics<L>) -> Metrics<L> {
        let l = self.lanes;
        if t.is_multiple_of(NORMALISED_EVERY) {
            // Four chains, so that they run beside each other.
            let mut least = [metrics[0], metrics[1], metrics[2], metrics[3]];
            unrolled!(i in 16 { least[i % 4] = l.min(least[i % 4], metrics[i]) });
            let least = l.min(l.min(least[0], least[1]), l.min(least[2], least[3]));
            unrolled!(i in 16 { metrics[i] = l.sub(metrics[i], least) });
        }
        metrics
    }

    /// Backward metrics at the end of window `w`.
    #[inline(always)]
    fn entry<const SET: u8>(&self, code: &Code, component: usize, w: usize, first: bool) -> Metrics<L> {
        let end = code.window(w).end;
        if end == code.steps() {
            return self.ends[component];
        }
        if !first {
            return self.entries[component][w + 1];
        }
        let from = (end + RUN_UP).min(code.steps());
        let known_end = from == code.steps();
        let mut metrics = if known_end { self.ends[component] } else { [self.lanes.splat(0); STATES] };
        for t in (end..from).rev() {
            let (_, branches) = self.bit_time::<SET>(code, component, t);
            metrics = self.backward::<SET>(&branches, t, &metrics);
        }
        metrics
    }

    /// The bit time `t`: what the code says of the input, and the forward metrics behind it.
    #[inline(always)]
    fn forward<const SET: u8>(
        &self,
        branches: &Branches<L::V>,
        t: usize,
        before: &Metrics<L>,
        after: &Metrics<L>,
    ) -> (L::V, Metrics<L>) {
        let l = self.lanes;
        let impossible = l.splat(IMPOSSIBLE);
        let mut least = [[impossible; 8]; 2];
        let mut metrics = *before;
        unrolled!(b in 8 {
            let (input, label) = Butterflies::<SET>::OF[b];
            let complement = Butterflies::<SET>::complement(label);
            let (even, odd) = (before[2 * b], before[2 * b + 1]);
            let (low, high) = (after[b], after[b + 8]);
            let of_one = l.min(l.add(even, low), l.add(odd, high));
            let of_other = l.min(l.add(even, high), l.add(odd, low));
            least[input][label] = l.min(least[input][label], of_one);
            least[1 - input][complement] = l.min(least[1 - input][complement], of_other);
            let (one, other) = (branches.whole[input][label], branches.whole[1 - input][complement]);
            let mean = l.add(l.mean(even, odd), branches.mean);
            metrics[b] = l.min(mean, l.min(l.add(even, one), l.add(odd, other)));
            metrics[b + 8] = l.min(mean, l.min(l.add(even, other), l.add(odd, one)));
        });
        let mut paths = [impossible; 2];
        unrolled!(label in 8 {
            if label < Butterflies::<SET>::LABELS {
                paths[0] = l.min(paths[0], l.add(least[0][label], branches.parity[label]));
                paths[1] = l.min(paths[1], l.add(least[1][label], branches.parity[label]));
            }
        });
        (l.difference(paths[1], paths[0]), self.normalised(t + 1, metrics))
    }

    #[inline(always)]
    fn run<const SET: u8>(&mut self, code: &Code, half: usize, decisions: &mut Decisions) {
        let (component, first) = (half % 2, half < 2);
        let l = self.lanes;
        let mut forward = self.only_zero();
        for w in 0..code.windows() {
            let window = code.window(w);
            let mut backward = self.entry::<SET>(code, component, w, first);
            for t in window.clone().rev() {
                let (known, branches) = self.bit_time::<SET>(code, component, t);
                let kept = &mut self.window[t - window.start];
                kept.backward = backward;
                kept.known = known;
                kept.branches.mean = branches.mean;
                // Only what this set of polynomials has.
                unrolled!(label in 8 {
                    if label < Butterflies::<SET>::LABELS {
                        kept.branches.parity[label] = branches.parity[label];
                        kept.branches.whole[0][label] = branches.whole[0][label];
                        kept.branches.whole[1][label] = branches.whole[1][label];
                    }
                });
                backward = self.backward::<SET>(&branches, t, &backward);
            }
            self.entries[component][w] = backward;
            for t in window.clone() {
                let bit = usize::from(code.orders[component][t]);
                let kept = &self.window[t - window.start];
                let said;
                (said, forward) = self.forward::<SET>(&kept.branches, t, &forward, &kept.backward);
                decisions.decide(bit, l.negative(l.add_symbols(kept.known, said)));
                self.extrinsic[bit] = l.three_quarters(said);
            }
        }
    }

    #[inline(always)]
    fn turn_tile(&mut self, first: usize, count: usize) {
        let l = self.lanes;
        for column in (0..count).step_by(16) {
            let mut rows = [l.splat(0); 16];
            for (k, row) in rows.iter_mut().enumerate() {
                *row = l.load_sixteens(&self.tile, k * TILE + column, 16 * TILE);
            }
            // Four perfect shuffles: after each, rows 2i and 2i+1 are the zipped halves of i and i+8.
            for _ in 0..4 {
                let before = rows;
                unrolled!(i in 8 {
                    rows[2 * i] = l.zip_low(before[i], before[i + 8]);
                    rows[2 * i + 1] = l.zip_high(before[i], before[i + 8]);
                });
            }
            let rows = &rows[..(count - column).min(16)];
            self.symbols[first + column..][..rows.len()].copy_from_slice(rows);
        }
    }
}

impl<L: Codewords> Siso for Batch<L> {
    #[inline(always)]
    fn load(&mut self, code: &Code, symbols: &[i8], count: usize) {
        let n = code.symbols();
        let mut gains = [0; LANES_MAX];
        for (gain_of, codeword) in gains.iter_mut().zip(symbols.chunks_exact(n)) {
            *gain_of = gain(code.spec.rate, codeword);
        }
        self.tile.fill(0);
        for first in (0..n).step_by(TILE) {
            let columns = TILE.min(n - first);
            for (lane, gain) in gains[..count].iter().enumerate() {
                let from = &symbols[lane * n + first..][..columns];
                for (place, symbol) in self.tile[lane * TILE..][..columns].iter_mut().zip(from) {
                    *place = scaled(*symbol, *gain);
                }
            }
            self.turn_tile(first, columns);
        }
        self.extrinsic.fill(self.lanes.splat(0));
        for component in 0..2 {
            self.ends[component] = match code.components[component].set {
                G1 => self.end::<G1>(code, component),
                G2_G3 => self.end::<G2_G3>(code, component),
                G1_G3 => self.end::<G1_G3>(code, component),
                _ => self.end::<G1_G2_G3>(code, component),
            };
        }
    }

    #[inline(always)]
    fn half_iteration(&mut self, code: &Code, half: usize, decisions: &mut Decisions) {
        match code.components[half % 2].set {
            G1 => self.run::<G1>(code, half, decisions),
            G2_G3 => self.run::<G2_G3>(code, half, decisions),
            G1_G3 => self.run::<G1_G3>(code, half, decisions),
            _ => self.run::<G1_G2_G3>(code, half, decisions),
        }
    }

    #[inline(always)]
    fn count_contradicted(&self, codewords: &[u64], counts: &mut [u32; LANES_MAX]) {
        let l = self.lanes;
        // So many that the sums of a lane stay within an octet.
        const ROWS: usize = 255;
        for (symbols, words) in self.symbols.chunks(ROWS).zip(codewords.chunks(ROWS)) {
            let mut sums = l.splat(0);
            for (symbol, ones) in symbols.iter().zip(words) {
                sums = l.add(sums, l.sub(l.contradicted(*symbol, *ones), l.splat(254)));
            }
            for (count, sum) in counts.iter_mut().zip(l.lanes(sums)) {
                *count += u32::from(sum);
            }
        }
    }
}
