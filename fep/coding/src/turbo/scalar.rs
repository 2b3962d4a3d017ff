//! The reference: one codeword, every state and branch written out. All other kernels give its answers.

use super::schedule::{Code, IMPOSSIBLE, MERGED, NORMALISED_EVERY, RUN_UP, WINDOW, gain, scaled};
use super::siso::{Decisions, LANES_MAX, Siso};
use super::trellis::{STATES, feedback, label, next};

type Metrics = [u8; STATES];

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// Symbols of the codeword, and a 0.
    symbols: Vec<i8>,
    /// What the component decoders tell each other of every information bit.
    extrinsic: Vec<i8>,
    /// For each component, backward metrics at the start of every window.
    entries: [Vec<Metrics>; 2],
    /// For each component, backward metrics at the end of the information.
    ends: [Metrics; 2],
    /// Backward metrics behind every bit time of the window at work.
    backward: [Metrics; WINDOW],
}

/// What the branches of a bit time cost.
struct Branches {
    /// By the parities.
    parity: [u8; 8],
    /// By the input and the parities, and [`MERGED`].
    whole: [[u8; 8]; 2],
    /// On average, any branch and its complement.
    mean: u8,
}

impl Scalar {
    pub(super) fn new(code: &Code) -> Scalar {
        let entries = || vec![[0; STATES]; code.windows()];
        Scalar {
            symbols: vec![0; code.symbols() + 1],
            extrinsic: vec![0; code.steps()],
            entries: [entries(), entries()],
            ends: [[0; STATES]; 2],
            backward: [[0; STATES]; WINDOW],
        }
    }

    /// The branches of bit time `t`, with `known` of the input.
    fn branches(&self, code: &Code, component: usize, t: usize, known: i8) -> Branches {
        let parities = code.components[component].set.count_ones() as usize;
        let place = code.parity_place(component, t);
        let parity = std::array::from_fn(|label| {
            (0..parities).fold(0_u8, |sum, p| {
                // A punctured symbol is alone in its bit time.
                sum.saturating_add(penalty(self.symbols[place + p], label >> p & 1 == 1))
            })
        });
        let whole = [false, true].map(|one| {
            let input = penalty(known, one).saturating_add(MERGED);
            parity.map(|sum: u8| sum.saturating_add(input))
        });
        let complement = (1 << parities) - 1;
        let mean = mean(whole[0][0], whole[1][complement]).saturating_sub(MERGED);
        Branches { parity, whole, mean }
    }

    /// What is known of the input of bit time `t`: the symbol, and what the other component decoder said.
    fn known(&self, code: &Code, component: usize, t: usize) -> i8 {
        let bit = usize::from(code.orders[component][t]);
        self.symbols[bit * code.symbols_per_bit()].saturating_add(self.extrinsic[bit])
    }

    fn backward(&self, code: &Code, component: usize, t: usize, after: &Metrics) -> Metrics {
        let set = code.components[component].set;
        let branches = self.branches(code, component, t, self.known(code, component, t));
        let metric = |state: u8| {
            let by = |adder: u8| {
                let input = usize::from(adder ^ feedback(state));
                after[usize::from(next(state, adder))]
                    .saturating_add(branches.whole[input][label(state, adder, set)])
            };
            let behind = [0, 1].map(|adder| after[usize::from(next(state, adder))]);
            by(0).min(by(1)).min(mean(behind[0], behind[1]).saturating_add(branches.mean))
        };
        normalised(t, std::array::from_fn(|state| metric(state as u8)))
    }

    fn end(&self, code: &Code, component: usize) -> Metrics {
        let set = code.components[component].set;
        let mut metrics = only_zero();
        for t in code.tail().rev() {
            let branches = self.branches(code, component, t, self.symbols[code.tail_place(component, t)]);
            let metric = |state: u8| {
                let cost = branches.whole[usize::from(feedback(state))][label(state, 0, set)];
                metrics[usize::from(next(state, 0))].saturating_add(cost)
            };
            metrics = normalised(t, std::array::from_fn(|state| metric(state as u8)));
        }
        metrics
    }

    /// Backward metrics at the end of window `w`.
    fn entry(&self, code: &Code, component: usize, w: usize, first: bool) -> Metrics {
        let end = code.window(w).end;
        if !first && end < code.steps() {
            return self.entries[component][w + 1];
        }
        let from = (end + RUN_UP).min(code.steps());
        let start = if from == code.steps() { self.ends[component] } else { [0; STATES] };
        (end..from).rev().fold(start, |metrics, t| self.backward(code, component, t, &metrics))
    }

    /// The bit time `t`: what the code says of the input, and the forward metrics behind it.
    fn forward(
        &self,
        code: &Code,
        component: usize,
        t: usize,
        before: &Metrics,
        after: &Metrics,
    ) -> (i8, Metrics) {
        let set = code.components[component].set;
        let branches = self.branches(code, component, t, self.known(code, component, t));
        let mut least = [IMPOSSIBLE; 2];
        let mut metrics = [IMPOSSIBLE; STATES];
        for state in 0..STATES as u8 {
            for adder in [0, 1] {
                let input = usize::from(adder ^ feedback(state));
                let label = label(state, adder, set);
                let (from, to) = (before[usize::from(state)], usize::from(next(state, adder)));
                let path = from.saturating_add(after[to]).saturating_add(branches.parity[label]);
                least[input] = least[input].min(path);
                let met = mean(from, before[usize::from(state ^ 1)]).saturating_add(branches.mean);
                let arriving = from.saturating_add(branches.whole[input][label]);
                metrics[to] = metrics[to].min(arriving).min(met);
            }
        }
        (difference(least[1], least[0]), normalised(t + 1, metrics))
    }
}

impl Siso for Scalar {
    fn load(&mut self, code: &Code, symbols: &[i8], _count: usize) {
        let gain = gain(code.spec.rate, symbols);
        for (place, symbol) in self.symbols.iter_mut().zip(symbols) {
            *place = scaled(*symbol, gain);
        }
        self.extrinsic.fill(0);
        self.ends = [self.end(code, 0), self.end(code, 1)];
    }

    fn half_iteration(&mut self, code: &Code, half: usize, decisions: &mut Decisions) {
        let (component, first) = (half % 2, half < 2);
        let mut forward = only_zero();
        for w in 0..code.windows() {
            let window = code.window(w);
            let mut backward = self.entry(code, component, w, first);
            for t in window.clone().rev() {
                self.backward[t - window.start] = backward;
                backward = self.backward(code, component, t, &backward);
            }
            self.entries[component][w] = backward;
            for t in window.clone() {
                let bit = usize::from(code.orders[component][t]);
                let known = self.known(code, component, t);
                let said;
                (said, forward) =
                    self.forward(code, component, t, &forward, &self.backward[t - window.start]);
                decisions.decide(bit, u64::from(known.saturating_add(said) < 0));
                self.extrinsic[bit] = three_quarters(said);
            }
        }
    }

    fn count_contradicted(&self, codewords: &[u64], counts: &mut [u32; LANES_MAX]) {
        let contradicts = |(symbol, word): &(&i8, &u64)| **symbol != 0 && (**symbol < 0) != (**word & 1 == 1);
        counts[0] += self.symbols.iter().zip(codewords).filter(contradicts).count() as u32;
    }
}

fn only_zero() -> Metrics {
    let mut metrics = [IMPOSSIBLE; STATES];
    metrics[0] = 0;
    metrics
}

/// What a branch costs whose bit is `one` where `symbol` was received.
fn penalty(symbol: i8, one: bool) -> u8 {
    if one { symbol.max(0) as u8 } else { 0_i8.saturating_sub(symbol).max(0) as u8 }
}

/// Rounded up.
fn mean(a: u8, b: u8) -> u8 {
    (u16::from(a) + u16::from(b)).div_ceil(2) as u8
}

/// `a - b`, cut off.
fn difference(a: u8, b: u8) -> i8 {
    (i16::from(a) - i16::from(b)).clamp(-127, 127) as i8
}

/// The metrics at bit time `t`, lowered when it is time.
fn normalised(t: usize, metrics: Metrics) -> Metrics {
    if !t.is_multiple_of(NORMALISED_EVERY) {
        return metrics;
    }
    let least = metrics.iter().copied().fold(IMPOSSIBLE, u8::min);
    metrics.map(|metric| metric - least)
}

/// Less by a quarter of the magnitude, rounded.
fn three_quarters(value: i8) -> i8 {
    let magnitude = value.unsigned_abs();
    let less = (magnitude - ((magnitude + 2) >> 2)) as i8;
    if value < 0 { -less } else { less }
}
