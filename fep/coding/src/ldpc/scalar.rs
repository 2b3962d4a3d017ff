//! The reference decoder: layered min-sum by the definition, check by check, in plain loops.
//!
//! Every value is an `i8` and every sum saturates. A check takes back what it said before of each of its bits, finds
//! the least and the second least magnitude of what is left, and tells every bit the least of the others, corrected, with
//! the sign that would make the check hold. It tells at once: the next check already hears it.

use super::code::{Edge, ParityChecks};
use super::gang::Kernel;
use super::quantisation::Correction;

/// The beliefs and messages of one word.
#[derive(Debug, Clone)]
pub(super) struct ScalarKernel {
    checks: ParityChecks,
    /// What is believed of every bit of the word; positive is a 0.
    beliefs: Vec<i8>,
    /// `messages[layer][e * Q + row]`: what check `row` of the layer last said along its edge `e`.
    messages: Vec<Vec<i8>>,
}

impl ScalarKernel {
    pub(super) fn new(checks: ParityChecks) -> ScalarKernel {
        let messages = checks.layers.iter().map(|layer| vec![0; layer.len() * checks.circulant]).collect();
        ScalarKernel { beliefs: vec![0; checks.bits()], messages, checks }
    }
}

impl Kernel for ScalarKernel {
    fn room(&self) -> usize {
        1
    }

    fn layers(&self) -> usize {
        self.checks.layers.len()
    }

    fn start(&mut self, _: usize, channel: &[i8]) {
        self.beliefs.copy_from_slice(channel);
        self.messages.iter_mut().for_each(|messages| messages.fill(0));
    }

    fn update(&mut self, _: usize, layer: usize) {
        let q = self.checks.circulant;
        let (edges, said) = (&self.checks.layers[layer], &mut self.messages[layer]);
        let correction = Correction::of_degree(edges.len());
        for row in 0..q {
            let place = |edge: &Edge| usize::from(edge.column) * q + (usize::from(edge.shift) + row) % q;
            let (mut least, mut second, mut negative) = (u8::MAX, u8::MAX, false);
            for (e, edge) in edges.iter().enumerate() {
                let belief = &mut self.beliefs[place(edge)];
                *belief = belief.saturating_sub(said[e * q + row]);
                let magnitude = belief.unsigned_abs();
                second = second.min(least.max(magnitude));
                least = least.min(magnitude);
                negative ^= *belief < 0;
            }
            let (to_others, to_least) = correction.say(least, second);
            let (to_others, to_least) = (to_others as i8, to_least as i8);
            for (e, edge) in edges.iter().enumerate() {
                let belief = &mut self.beliefs[place(edge)];
                let magnitude = if belief.unsigned_abs() == least { to_least } else { to_others };
                let message = if negative ^ (*belief < 0) { -magnitude } else { magnitude };
                said[e * q + row] = message;
                *belief = belief.saturating_add(message);
            }
        }
    }

    fn is_codeword(&self, _: usize) -> bool {
        self.checks.hold(|i| self.beliefs[i] < 0)
    }

    fn beliefs(&self, _: usize, beliefs: &mut [i8]) {
        beliefs.copy_from_slice(&self.beliefs);
    }
}
