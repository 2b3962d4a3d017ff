//! The kernel for one codeword: a state in each of 16 lanes. What limits it is how long a bit time of a recursion takes,
//! so that the backward recursion of the next window runs beside the forward one of this.

use super::lanes::States;
use super::schedule::{Code, IMPOSSIBLE, MERGED, NORMALISED_EVERY, RUN_UP, WINDOW, gain, scaled};
use super::siso::{Decisions, LANES_MAX, Siso};
use super::trellis::{Component, STATES, feedback, label, next};

/// Bit times whose results are taken out of their lanes together. Every window is a multiple.
const GROUP: usize = 8;

#[derive(Debug)]
pub(super) struct Single<L: States> {
    lanes: L,
    /// Symbols of the codeword, and a 0.
    symbols: Vec<i8>,
    /// What the component decoders tell each other of every information bit.
    extrinsic: Vec<i8>,
    /// What is known of the input of every bit time.
    known: Vec<i8>,
    /// For each component, backward metrics at the start of every window.
    entries: [Vec<L::V>; 2],
    /// For each component, backward metrics at the end of the information.
    ends: [L::V; 2],
    patterns: [Patterns<L::V>; 2],
    /// The windows at work: this and the next, by turns.
    windows: [[Place<L::V>; WINDOW]; 2],
}

/// A bit time of a window.
#[derive(Debug, Clone, Copy)]
struct Place<V> {
    /// Backward metrics behind it.
    backward: V,
    branches: Branches<V>,
}

/// What the branches of a bit time cost, by their parities (bits 0 to 2 of the lane) and input (bit 3).
#[derive(Debug, Clone, Copy)]
struct Branches<V> {
    /// The parities' part.
    parity: V,
    /// All of it, and [`MERGED`].
    whole: V,
    /// On average, any branch and its complement.
    mean: V,
}

/// Where what is in the lanes goes, for one component.
#[derive(Debug, Clone, Copy)]
struct Patterns<V> {
    /// For input 0 and 1: the state behind every state, and the branch there.
    behind: [V; 2],
    branch_behind: [V; 2],
    /// For the even and the odd state before: the state, and the branch from it.
    before: [V; 2],
    branch_before: [V; 2],
    /// Negative where a branch's input, or its parity p, is 1.
    input: V,
    parities: [V; 3],
    /// Everywhere a branch, everywhere its complement.
    complements: [V; 2],
    /// Lane i holds lane (i + 8, 4, 2, 1) mod 16.
    turns: [V; 4],
    /// The lower eight lanes hold the upper.
    upper: V,
}

impl<V: Copy> Patterns<V> {
    #[inline(always)]
    fn new<L: States<V = V>>(l: L, component: &Component) -> Patterns<V> {
        let lanes = |of: &dyn Fn(u8) -> usize| {
            let mut lanes = [0; STATES];
            lanes.iter_mut().enumerate().for_each(|(i, lane)| *lane = of(i as u8) as u8);
            l.load(&lanes)
        };
        let branch = |state: u8, input: u8| {
            usize::from(input) << 3 | label(state, input ^ feedback(state), component.set)
        };
        let behind = |input| lanes(&|state| usize::from(next(state, input ^ feedback(state))));
        let branch_behind = |input| lanes(&|state| branch(state, input));
        // State i is reached from 2i and 2i + 1 (mod 16) by an adder that gives its highest bit.
        let from = |i: u8, odd: u8| 2 * i % 16 + odd;
        let before = |odd| lanes(&|i| usize::from(from(i, odd)));
        let branch_before = |odd| lanes(&|i| branch(from(i, odd), i >> 3 ^ feedback(from(i, odd))));
        let ones = |bit: u8| lanes(&|i| if i >> bit & 1 == 1 { 0x80 } else { 0 });
        let turned = |by: u8| lanes(&|i| usize::from((i + by) % 16));
        Patterns {
            behind: [behind(0), behind(1)],
            branch_behind: [branch_behind(0), branch_behind(1)],
            before: [before(0), before(1)],
            branch_before: [branch_before(0), branch_before(1)],
            input: ones(3),
            parities: [ones(0), ones(1), ones(2)],
            complements: [0, 8 | ((1 << component.set.count_ones()) - 1)].map(|branch| l.splat(branch)),
            turns: [turned(8), turned(4), turned(2), turned(1)],
            upper: turned(8),
        }
    }
}

impl<L: States> Single<L> {
    #[inline(always)]
    pub(super) fn new(lanes: L, code: &Code) -> Single<L> {
        let zero = lanes.splat(0);
        let entries = || vec![zero; code.windows()];
        let place = Place { backward: zero, branches: Branches { parity: zero, whole: zero, mean: zero } };
        let [a, b] = &code.components;
        Single {
            lanes,
            symbols: vec![0; code.symbols() + 1],
            extrinsic: vec![0; code.steps()],
            known: vec![0; code.steps()],
            entries: [entries(), entries()],
            ends: [zero; 2],
            patterns: [Patterns::new(lanes, a), Patterns::new(lanes, b)],
            windows: [[place; WINDOW]; 2],
        }
    }

    #[inline(always)]
    fn branches(&self, code: &Code, component: usize, t: usize, known: i8) -> Branches<L::V> {
        let l = self.lanes;
        let patterns = &self.patterns[component];
        let penalty = |symbol: i8, ones: L::V| {
            let [zero, one] = l.penalties(l.splat(symbol as u8));
            l.choose(ones, zero, one)
        };
        let place = code.parity_place(component, t);
        let mut parity = penalty(self.symbols[place], patterns.parities[0]);
        for p in 1..code.components[component].set.count_ones() as usize {
            parity = l.add(parity, penalty(self.symbols[place + p], patterns.parities[p]));
        }
        let merged = l.splat(MERGED);
        let whole = l.add(parity, l.add(penalty(known, patterns.input), merged));
        let [any, complement] = patterns.complements;
        let mean = l.sub(l.mean(l.pick(whole, any), l.pick(whole, complement)), merged);
        Branches { parity, whole, mean }
    }

    #[inline(always)]
    fn backward(&self, patterns: &Patterns<L::V>, t: usize, branches: &Branches<L::V>, after: L::V) -> L::V {
        let metrics = self.step(after, &patterns.behind, &patterns.branch_behind, branches);
        self.normalised(patterns, t, metrics)
    }

    /// Every state's metric from those of the two next to it by `branches`.
    #[inline(always)]
    fn step(&self, metrics: L::V, states: &[L::V; 2], by: &[L::V; 2], branches: &Branches<L::V>) -> L::V {
        let l = self.lanes;
        let [one, other] = states.map(|states| l.pick(metrics, states));
        let mean = l.add(l.mean(one, other), branches.mean);
        let [by_one, by_other] = by.map(|by| l.pick(branches.whole, by));
        l.min(mean, l.min(l.add(one, by_one), l.add(other, by_other)))
    }

    #[inline(always)]
    fn normalised(&self, patterns: &Patterns<L::V>, t: usize, metrics: L::V) -> L::V {
        let l = self.lanes;
        if !t.is_multiple_of(NORMALISED_EVERY) {
            return metrics;
        }
        let least = patterns.turns.iter().fold(metrics, |least, turn| l.min(least, l.pick(least, *turn)));
        l.sub(metrics, least)
    }

    fn only_zero(&self) -> L::V {
        let mut metrics = [IMPOSSIBLE; STATES];
        metrics[0] = 0;
        self.lanes.load(&metrics)
    }

    /// The tail has one branch from each state: by adder 0.
    #[inline(always)]
    fn end(&self, code: &Code, component: usize) -> L::V {
        let l = self.lanes;
        let patterns = &self.patterns[component];
        let mut odd = [0; STATES];
        odd.iter_mut()
            .enumerate()
            .filter(|(s, _)| feedback(*s as u8) == 1)
            .for_each(|(_, lane)| *lane = 0x80);
        let odd = l.load(&odd);
        let mut metrics = self.only_zero();
        for t in code.tail().rev() {
            let known = self.symbols[code.tail_place(component, t)];
            let whole = self.branches(code, component, t, known).whole;
            let [zero, one] = [0, 1].map(|input| {
                l.add(l.pick(metrics, patterns.behind[input]), l.pick(whole, patterns.branch_behind[input]))
            });
            metrics = self.normalised(patterns, t, l.choose(odd, zero, one));
        }
        metrics
    }

    /// Backward metrics at the end of window `w`.
    #[inline(always)]
    fn entry(&self, code: &Code, component: usize, w: usize, first: bool) -> L::V {
        let end = code.window(w).end;
        if end == code.steps() {
            return self.ends[component];
        }
        if !first {
            return self.entries[component][w + 1];
        }
        let from = (end + RUN_UP).min(code.steps());
        let known_end = from == code.steps();
        let mut metrics = if known_end { self.ends[component] } else { self.lanes.splat(0) };
        for t in (end..from).rev() {
            let branches = self.branches(code, component, t, self.known[t]);
            metrics = self.backward(&self.patterns[component], t, &branches, metrics);
        }
        metrics
    }

    /// One bit time of the backward recursion; keeps what the forward one will need.
    #[inline(always)]
    fn backward_into(&mut self, code: &Code, component: usize, t: usize, w: usize, after: L::V) -> L::V {
        let branches = self.branches(code, component, t, self.known[t]);
        self.windows[w % 2][t % WINDOW] = Place { backward: after, branches };
        self.backward(&self.patterns[component], t, &branches, after)
    }

    /// What the code says of a group of inputs, in the lower eight lanes, from the costs of the paths through every
    /// state with input 0 (the first eight vectors) and 1.
    #[inline(always)]
    fn said(&self, patterns: &Patterns<L::V>, mut paths: [L::V; 2 * GROUP]) -> L::V {
        let l = self.lanes;
        // Each step halves the vectors: lanes of two alternate, and the lower half of each remains.
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                let (a, b) = (paths[i], paths[i + width]);
                paths[i] = l.min(l.zip_low(a, b), l.zip_high(a, b));
            }
        }
        l.difference(l.pick(paths[0], patterns.upper), paths[0])
    }
}

impl<L: States> Siso for Single<L> {
    #[inline(always)]
    fn load(&mut self, code: &Code, symbols: &[i8], _count: usize) {
        let gain = gain(code.spec.rate, symbols);
        for (place, symbol) in self.symbols.iter_mut().zip(symbols) {
            *place = scaled(*symbol, gain);
        }
        self.extrinsic.fill(0);
        self.ends = [self.end(code, 0), self.end(code, 1)];
    }

    #[inline(always)]
    fn half_iteration(&mut self, code: &Code, half: usize, decisions: &mut Decisions) {
        let (component, first) = (half % 2, half < 2);
        let l = self.lanes;
        let patterns = self.patterns[component];
        let step = code.symbols_per_bit();
        for (known, bit) in self.known.iter_mut().zip(&code.orders[component]) {
            let bit = usize::from(*bit);
            *known = self.symbols[bit * step].saturating_add(self.extrinsic[bit]);
        }
        let mut metrics = self.entry(code, component, 0, first);
        for t in code.window(0).rev() {
            metrics = self.backward_into(code, component, t, 0, metrics);
        }
        let mut forward = self.only_zero();
        for w in 0..code.windows() {
            let window = code.window(w);
            let mut following = if w + 1 < code.windows() { code.window(w + 1) } else { 0..0 };
            if !following.is_empty() {
                metrics = self.entry(code, component, w + 1, first);
            }
            for group in window.step_by(GROUP) {
                let mut paths = [forward; 2 * GROUP];
                for i in 0..GROUP {
                    let t = group + i;
                    let Place { backward, branches } = self.windows[w % 2][t % WINDOW];
                    for input in [0, 1] {
                        let metric = l.add(forward, l.pick(backward, patterns.behind[input]));
                        paths[input * GROUP + i] =
                            l.add(metric, l.pick(branches.parity, patterns.branch_behind[input]));
                    }
                    let reached = self.step(forward, &patterns.before, &patterns.branch_before, &branches);
                    forward = self.normalised(&patterns, t + 1, reached);
                    if let Some(t) = following.next_back() {
                        metrics = self.backward_into(code, component, t, w + 1, metrics);
                    }
                }
                let said = self.said(&patterns, paths);
                let known = std::array::from_fn(|i| if i < GROUP { self.known[group + i] as u8 } else { 0 });
                let ones = l.negative(l.add_symbols(l.load(&known), said));
                let passed_on = l.lanes(l.three_quarters(said));
                let bits = &code.orders[component][group..][..GROUP];
                for (i, (bit, said)) in bits.iter().zip(passed_on).enumerate() {
                    let bit = usize::from(*bit);
                    decisions.decide(bit, ones >> i & 1);
                    self.extrinsic[bit] = said as i8;
                }
            }
            if w + 1 < code.windows() {
                self.entries[component][w + 1] = metrics;
            }
        }
    }

    #[inline(always)]
    fn count_contradicted(&self, codewords: &[u64], counts: &mut [u32; LANES_MAX]) {
        let contradicts = |(symbol, word): &(&i8, &u64)| **symbol != 0 && (**symbol < 0) != (**word & 1 == 1);
        counts[0] += self.symbols.iter().zip(codewords).filter(contradicts).count() as u32;
    }
}
