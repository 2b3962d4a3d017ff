//! The reference: log-MAP in floating point, by the standard's own description and nothing of the crate's.
//!
//! Probabilities instead of logarithms, so that it is exact: a component decoder computes for each bit the ratio of the
//! sums over all paths. Interleaver and trellis are written from the standard's text.

use fep_coding::turbo::{TurboRate, TurboSpec};

/// `pi(s)` for s = 1..k, as 131.0-B-5 6.3 defines it.
fn pi(k: usize) -> Vec<usize> {
    let (k1, k2, p) = (8, k / 8, [31, 37, 43, 47, 53, 59, 61, 67]);
    (1..=k)
        .map(|s| {
            let m = (s - 1) % 2;
            let i = (s - 1) / (2 * k2);
            let j = (s - 1) / 2 - i * k2;
            let t = (19 * i + 1) % (k1 / 2);
            let q = t % 8 + 1;
            let c = (p[q - 1] * j + 21 * m) % k2;
            2 * (t + c * k1 / 2 + 1) - m
        })
        .collect()
}

/// Which symbols follow each other in a bit time, by name; of rate 1/2 an odd and an even one.
fn multiplex(rate: TurboRate, t: usize) -> &'static [&'static str] {
    match (rate, t % 2) {
        (TurboRate::R1_2, 0) => &["0a", "1a"],
        (TurboRate::R1_2, _) => &["0a", "1b"],
        (TurboRate::R1_3, _) => &["0a", "1a", "1b"],
        (TurboRate::R1_4, _) => &["0a", "2a", "3a", "1b"],
        (TurboRate::R1_6, _) => &["0a", "1a", "2a", "3a", "1b", "3b"],
    }
}

/// One component: what it is given at every bit time as log-likelihood ratios (positive for 0).
struct Trellis {
    /// Of the outputs 1, 2, 3.
    parities: Vec<[f64; 3]>,
    /// Of the input in the four bit times of the tail.
    tail: [f64; 4],
}

/// `[state][input]`: the next state and outputs 1, 2, 3 as signs.
fn branches() -> [[(usize, [f64; 3]); 2]; 16] {
    std::array::from_fn(|state| {
        [0, 1].map(|input| {
            let d = [state >> 3 & 1, state >> 2 & 1, state >> 1 & 1, state & 1];
            let adder = input ^ d[2] ^ d[3];
            let outputs =
                [adder ^ d[0] ^ d[2] ^ d[3], adder ^ d[1] ^ d[3], adder ^ d[0] ^ d[1] ^ d[2] ^ d[3]];
            (adder << 3 | state >> 1, outputs.map(|output| if output == 0 { 0.5 } else { -0.5 }))
        })
    })
}

impl Trellis {
    /// What the code says of each input bit, given what is known of it beside the code.
    fn decode(&self, known: &[f64]) -> Vec<f64> {
        let (k, branches) = (known.len(), branches());
        // Costs of the eight output combinations, and of the input, as factors.
        let costs: Vec<[f64; 8]> = self
            .parities
            .iter()
            .map(|ratios| {
                std::array::from_fn(|label| {
                    let sign = |output: usize| if label >> output & 1 == 0 { 0.5 } else { -0.5 };
                    (0..3).map(|output| sign(output) * ratios[output]).sum::<f64>().exp()
                })
            })
            .collect();
        let label = |outputs: [f64; 3]| (0..3).fold(0, |label, i| label | usize::from(outputs[i] < 0.0) << i);
        let branches = branches.map(|pair| pair.map(|(next, outputs)| (next, label(outputs))));
        let inputs = |ratio: f64| [(0.5 * ratio).exp(), (-0.5 * ratio).exp()];
        let mut backward = vec![[0.0; 16]; k + 5];
        backward[k + 4][0] = 1.0;
        for t in (0..k + 4).rev() {
            let input = inputs(if t < k { known[t] } else { self.tail[t - k] });
            let mut sums = [0.0; 16];
            for (state, sum) in sums.iter_mut().enumerate() {
                for u in [0, 1] {
                    let (next, label) = branches[state][u];
                    if t < k || next < 8 {
                        *sum += backward[t + 1][next] * input[u] * costs[t][label];
                    }
                }
            }
            let total: f64 = sums.iter().sum();
            backward[t] = sums.map(|sum| sum / total);
        }
        let mut forward = [0.0; 16];
        forward[0] = 1.0;
        let mut said = Vec::with_capacity(k);
        for t in 0..k {
            let input = inputs(known[t]);
            let (mut ones, mut sums) = ([0.0; 2], [0.0; 16]);
            for state in 0..16 {
                for u in [0, 1] {
                    let (next, label) = branches[state][u];
                    let path = forward[state] * costs[t][label];
                    ones[u] += path * backward[t + 1][next];
                    sums[next] += path * input[u];
                }
            }
            said.push((ones[0].max(1e-300) / ones[1].max(1e-300)).ln());
            let total: f64 = sums.iter().sum();
            forward = sums.map(|sum| sum / total);
        }
        said
    }
}

/// Decodes what was received (amplitude 1, noise of `deviation`) in `iterations`, fewer when `sent` is found: the
/// reference is allowed to know when it is done. Whether it was found.
pub(crate) fn decodes(
    spec: TurboSpec,
    received: &[f64],
    deviation: f64,
    iterations: usize,
    sent: impl Fn(usize) -> u8,
) -> bool {
    let (k, steps) = (spec.information_bits, spec.information_bits + 4);
    let (mut systematic, mut a, mut b) = (vec![0.0; steps], vec![[0.0; 3]; steps], vec![[0.0; 3]; steps]);
    let mut symbols = received.iter().map(|value| 2.0 * value / (deviation * deviation));
    for t in 0..steps {
        for (name, ratio) in multiplex(spec.rate, t).iter().zip(&mut symbols) {
            let output = name[..1].parse::<usize>().expect("a digit");
            match (output, name.ends_with('a')) {
                (0, _) => systematic[t] = ratio,
                (_, true) => a[t][output - 1] = ratio,
                (_, false) => b[t][output - 1] = ratio,
            }
        }
    }
    let mut tail = [0.0; 4];
    tail.copy_from_slice(&systematic[k..]);
    let (first, second) = (Trellis { parities: a, tail }, Trellis { parities: b, tail: [0.0; 4] });
    let order: Vec<usize> = pi(k).iter().map(|s| s - 1).collect();
    let mut from_second = vec![0.0; k];
    for _ in 0..iterations {
        let known: Vec<f64> = (0..k).map(|i| systematic[i] + from_second[i]).collect();
        let from_first = first.decode(&known);
        let known: Vec<f64> = order.iter().map(|i| systematic[*i] + from_first[*i]).collect();
        for (i, said) in order.iter().zip(second.decode(&known)) {
            from_second[*i] = said;
        }
        let one = |i: usize| systematic[i] + from_first[i] + from_second[i] < 0.0;
        if (0..k).all(|i| one(i) == (sent(i) == 1)) {
            return true;
        }
    }
    false
}
