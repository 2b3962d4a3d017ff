//! The decoder of a window written plainly: what every kernel is held against, bit for bit.

use super::window::{Shape, Tally, quantise};
use super::{STATES, outputs};

/// Decodes one window at a time.
#[derive(Debug)]
pub(super) struct Reference {
    shape: Shape,
    quantised: Vec<u8>,
    /// For every bit of the span one word; bit s is set when state s is reached from its second predecessor.
    decisions: Vec<u64>,
}

impl Reference {
    pub(super) fn new(shape: Shape) -> Reference {
        Reference { shape, quantised: vec![0; 2 * shape.span()], decisions: vec![0; shape.span()] }
    }

    /// Decodes the `2 span` symbols of `window`.
    pub(super) fn decode(&mut self, window: &[i8], words: &mut [u64]) -> Tally {
        quantise(self.shape, window, &mut self.quantised);
        let (pairs, _) = self.quantised.as_chunks::<2>();

        // Costs of the best paths into every state; nothing is known of the state before the window.
        let mut metrics = [0u32; STATES];
        for (pair, decisions) in pairs.iter().zip(&mut self.decisions) {
            let cost = branch_costs(*pair);
            *decisions = 0;
            let mut next = [0; STATES];
            for (state, next) in next.iter_mut().enumerate() {
                // The state is the last six bits, the newest lowest, so the two predecessors differ in the highest bit.
                let (first, second) = (state >> 1, (state >> 1) | (STATES / 2));
                let through =
                    |from: usize| metrics[from] + cost[usize::from(outputs((from << 1 | state & 1) as u8))];
                let second_is_better = through(second) < through(first);
                *next = if second_is_better { through(second) } else { through(first) };
                *decisions |= u64::from(second_is_better) << state;
            }
            metrics = next;
        }

        let mut state = (0..STATES).min_by_key(|state| metrics[*state]).unwrap_or(0);
        let payload = self.shape.overlap..self.shape.overlap + self.shape.payload;
        let mut tally = Tally::default();
        words.fill(0);
        for (t, (pair, decisions)) in pairs.iter().zip(&self.decisions).enumerate().rev() {
            let before = (state >> 1) | ((decisions >> state & 1) as usize * (STATES / 2));
            if payload.contains(&t) {
                let bit = t - payload.start;
                words[bit / 64] |= (state as u64 & 1) << (63 - bit % 64);
                let sent = outputs((before << 1 | state & 1) as u8);
                for (symbol, sent) in pair.map(|symbol| symbol as i8).into_iter().zip([sent >> 1, sent & 1]) {
                    tally.compared += u32::from(symbol != 0);
                    tally.wrong += u32::from(symbol != 0 && (symbol < 0) != (sent == 1));
                }
            }
            state = before;
        }
        tally
    }
}

/// What the four outputs (C1 in bit 1, C2 in bit 0) cost when `pair` was received: a symbol that differs costs its
/// magnitude.
fn branch_costs(pair: [u8; 2]) -> [u32; 4] {
    let cost = |symbol: u8, sent: usize| {
        let symbol = symbol as i8;
        if (symbol < 0) == (sent == 1) { 0 } else { u32::from(symbol.unsigned_abs()) }
    };
    std::array::from_fn(|output| cost(pair[0], output >> 1) + cost(pair[1], output & 1))
}
