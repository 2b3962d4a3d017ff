//! The algorithm, over [`Lanes`]; `super` tells how beliefs lie.

use super::lanes::Lanes;
use crate::ldpc::code::{Edge, ParityChecks};
use crate::ldpc::gang::Kernel;
use crate::ldpc::quantisation::MESSAGE_MAX;

/// Where N checks find their bits along an edge.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of the first one, in the beliefs of a word.
    at: u32,
    /// It lies among the first N of its column: store behind the column too.
    near_start: bool,
    /// N from it reach beyond the column's end: store in front of the column too.
    near_end: bool,
}

/// A layer: `places[group * degree + edge]`.
#[derive(Debug, Clone)]
struct Layer {
    degree: usize,
    places: Vec<Place>,
    /// First of its messages in those of a word, vectors.
    messages: usize,
}

/// A kernel with the state of `room` words.
#[derive(Debug, Clone)]
pub(super) struct LayeredKernel<L: Lanes> {
    lanes: L,
    q: usize,
    layers: Vec<Layer>,
    room: usize,
    /// Octets from one column to the next, and of all columns of a word.
    stride: usize,
    columns: usize,
    word_len: usize,
    beliefs: Vec<i8>,
    /// Octets in front of the first word, so that columns begin on a cache line.
    offset: usize,
    /// Vectors of a word.
    messages_len: usize,
    /// What every group of checks last said, edge by edge.
    messages: Vec<L::V>,
}

/// Words decoded side by side: while one layer of one word waits for its stores, the others go on.
const fn room(q: usize) -> usize {
    match q {
        0..=128 => 4,
        129..=512 => 2,
        _ => 1,
    }
}

/// [`crate::ldpc::quantisation::scaled`], at most `most`, with the sign of the check.
#[inline(always)]
fn say<L: Lanes>(lanes: L, magnitude: L::V, most: L::V, sign: L::V) -> L::V {
    let half = lanes.mean(magnitude, lanes.splat(0));
    lanes.negate_if(lanes.min(lanes.mean(magnitude, half), most), sign)
}

impl<L: Lanes> LayeredKernel<L> {
    pub(super) fn new(lanes: L, checks: &ParityChecks) -> LayeredKernel<L> {
        let (q, n) = (checks.circulant, L::N);
        assert!(q >= n - 1, "circulants of {q} in {n} lanes");
        let groups = q.div_ceil(n);
        let stride = q.next_multiple_of(64) + 128;
        let mut messages_len = 0;
        let mut layers = Vec::new();
        for edges in &checks.layers {
            let place = |group: usize, edge: &Edge| {
                let turned = (usize::from(edge.shift) + group * n) % q;
                Place {
                    at: (64 + usize::from(edge.column) * stride + turned) as u32,
                    near_start: turned < n,
                    near_end: turned + n > q,
                }
            };
            let places = (0..groups).flat_map(|group| edges.iter().map(move |edge| place(group, edge)));
            layers.push(Layer { degree: edges.len(), places: places.collect(), messages: messages_len });
            messages_len += groups * edges.len();
        }
        let room = room(q);
        let word_len = 64 + checks.columns * stride;
        LayeredKernel {
            lanes,
            q,
            layers,
            room,
            stride,
            columns: checks.columns,
            word_len,
            beliefs: vec![0; room * word_len + 64],
            offset: 0,
            messages_len,
            messages: vec![lanes.splat(0); room * messages_len],
        }
    }

    #[inline(always)]
    fn update_layer<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q, n) = (self.lanes, self.q, L::N);
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * self.word_len..][..self.word_len];
        let messages = &mut self.messages[w * self.messages_len + layer.messages..];
        let (places, _) = layer.places.as_chunks::<D>();
        let (messages, _) = messages.as_chunks_mut::<D>();
        let whole = lanes.splat(MESSAGE_MAX);
        let partial = lanes.and(whole, lanes.first(q % n));
        for (group, (places, messages)) in places.iter().zip(messages).enumerate() {
            let mut incoming = [lanes.splat(0); D];
            let (mut least, mut second) = (lanes.splat(u8::MAX), lanes.splat(u8::MAX));
            let mut sign = lanes.splat(0);
            for e in 0..D {
                let v = lanes.sub(lanes.load(beliefs, places[e].at as usize), messages[e]);
                incoming[e] = v;
                let magnitude = lanes.magnitude(v);
                second = lanes.min(second, lanes.max(least, magnitude));
                least = lanes.min(least, magnitude);
                sign = lanes.xor(sign, v);
            }
            // Lanes behind the last check say nothing, and so change nothing.
            let most = if (group + 1) * n > q { partial } else { whole };
            let said = say(lanes, least, most, sign);
            let said_to_least = say(lanes, second, most, sign);
            for e in 0..D {
                let v = incoming[e];
                let magnitude = lanes.if_equal(lanes.magnitude(v), least, said_to_least, said);
                let message = lanes.negate_if(magnitude, v);
                messages[e] = message;
                let belief = lanes.add(v, message);
                let place = places[e];
                lanes.store(beliefs, place.at as usize, belief);
                if place.near_start {
                    lanes.store(beliefs, place.at as usize + q, belief);
                }
                if place.near_end {
                    lanes.store(beliefs, place.at as usize - q, belief);
                }
            }
        }
    }

    #[inline(always)]
    fn column(&self, w: usize, column: usize) -> usize {
        self.offset + w * self.word_len + 64 + column * self.stride
    }
}

impl<L: Lanes> Kernel for LayeredKernel<L> {
    #[inline(always)]
    fn room(&self) -> usize {
        self.room
    }

    #[inline(always)]
    fn layers(&self) -> usize {
        self.layers.len()
    }

    #[inline(always)]
    fn start(&mut self, w: usize, channel: &[i8]) {
        if w == 0 {
            // A clone lies elsewhere.
            self.offset = self.beliefs.as_ptr().align_offset(64).min(64);
        }
        for (column, channel) in channel.chunks_exact(self.q).enumerate() {
            let at = self.column(w, column);
            self.beliefs[at..at + self.q].copy_from_slice(channel);
            // One time around may be less than N.
            self.beliefs.copy_within(at..at + L::N, at + self.q);
        }
        let messages = &mut self.messages[w * self.messages_len..][..self.messages_len];
        messages.fill(self.lanes.splat(0));
    }

    #[inline(always)]
    fn update(&mut self, w: usize, layer: usize) {
        match self.layers[layer].degree {
            3 => self.update_layer::<3>(w, layer),
            6 => self.update_layer::<6>(w, layer),
            10 => self.update_layer::<10>(w, layer),
            18 => self.update_layer::<18>(w, layer),
            32 => self.update_layer::<32>(w, layer),
            degree => unreachable!("no code has checks of {degree} bits"),
        }
    }

    #[inline(always)]
    fn is_codeword(&self, w: usize) -> bool {
        let lanes = self.lanes;
        let beliefs = &self.beliefs[self.offset + w * self.word_len..][..self.word_len];
        for layer in &self.layers {
            for (group, places) in layer.places.chunks_exact(layer.degree).enumerate() {
                let mut sign = lanes.splat(0);
                for place in places {
                    sign = lanes.xor(sign, lanes.load(beliefs, place.at as usize));
                }
                if (group + 1) * L::N > self.q {
                    sign = lanes.and(sign, lanes.first(self.q % L::N));
                }
                if lanes.any_negative(sign) {
                    return false;
                }
            }
        }
        true
    }

    #[inline(always)]
    fn beliefs(&self, w: usize, beliefs: &mut [i8]) {
        for (column, beliefs) in beliefs.chunks_exact_mut(self.q).enumerate().take(self.columns) {
            let at = self.column(w, column);
            beliefs.copy_from_slice(&self.beliefs[at..at + self.q]);
        }
    }
}
