//! The algorithm, over [`Lanes`]; `super` tells how beliefs lie.

use super::lanes::Lanes;
use crate::ldpc::code::{Edge, ParityChecks};
use crate::ldpc::gang::Kernel;
use crate::ldpc::quantisation::{Correction, MESSAGE_MAX};

/// Octets that the beliefs of a word take at most: any place is a `u16`, and N octets lie behind it.
const WORD_LEN: usize = (1 << 16) + 64;

/// N checks of a layer: which of their edges lie near an end of their column, bit by bit. An edge whose first bit is
/// among the first N is stored behind the column too; one whose bits reach beyond the column's end, in front of it too.
#[derive(Debug, Clone, Copy)]
struct Group {
    near_start: u32,
    near_end: u32,
}

/// N octets of beliefs that lie near an end of their column, and their place at the other end.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    from: u16,
    to: u16,
}

/// A layer.
#[derive(Debug, Clone)]
struct Layer {
    degree: usize,
    groups: Vec<Group>,
    /// What [`Group`] says bit by bit, group by group.
    repeats: Vec<Vec<Repeat>>,
    /// `places[group * degree + edge]`: where the first check of the group finds its bit, in the beliefs of a word.
    places: Vec<u16>,
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
    /// Words of [`WORD_LEN`].
    beliefs: Vec<i8>,
    /// Octets in front of the first word, so that columns begin on a cache line.
    offset: usize,
    /// Vectors of a word.
    messages_len: usize,
    /// What every group of checks last said, edge by edge.
    messages: Vec<L::V>,
}

/// Circulants below this are short: most beliefs lie near an end of their column.
const SHORT: usize = 256;

/// Words decoded side by side: while one layer of one word waits for its stores, the others go on.
const fn room(q: usize) -> usize {
    match q {
        0..=128 => 4,
        129..=512 => 2,
        _ => 1,
    }
}

/// What N checks hear of their bits: least magnitudes, and the sign of all.
#[derive(Debug, Clone, Copy)]
struct Heard<V> {
    least: V,
    second: V,
    sign: V,
}

impl<V: Copy> Heard<V> {
    #[inline(always)]
    fn new<L: Lanes<V = V>>(lanes: L) -> Heard<V> {
        let most = lanes.splat(u8::MAX);
        Heard { least: most, second: most, sign: lanes.splat(0) }
    }

    /// Takes back `message`, which the checks said before, of `belief`, and hears what is left, which it returns.
    #[inline(always)]
    fn hear<L: Lanes<V = V>>(&mut self, lanes: L, belief: V, message: V) -> V {
        let left = lanes.sub(belief, message);
        let magnitude = lanes.magnitude(left);
        self.second = lanes.min(self.second, lanes.max(self.least, magnitude));
        self.least = lanes.min(self.least, magnitude);
        self.sign = lanes.xor(self.sign, left);
        left
    }

    /// [`Correction::say`], at most `most`, with the signs of the checks.
    #[inline(always)]
    fn said<L: Lanes<V = V>, const D: usize>(self, lanes: L, most: V) -> Said<V> {
        let correction = const { Correction::of_degree(D) };
        let apart = lanes.quarter(lanes.less(self.second, self.least));
        let to_others = lanes.less(self.least, lanes.less(lanes.splat(correction.close), apart));
        let to_least = lanes.less(self.second, lanes.splat(correction.second));
        Said {
            least: self.least,
            to_others: lanes.negate_if(lanes.min(to_others, most), self.sign),
            to_least: lanes.negate_if(lanes.min(to_least, most), self.sign),
        }
    }
}

/// What N checks say, to a bit of positive sign.
#[derive(Debug, Clone, Copy)]
struct Said<V> {
    least: V,
    to_others: V,
    to_least: V,
}

impl<V: Copy> Said<V> {
    /// The message to the bits of which `left` was heard, and what is now believed of them.
    #[inline(always)]
    fn to<L: Lanes<V = V>>(&self, lanes: L, left: V) -> (V, V) {
        let message = lanes.if_equal(lanes.magnitude(left), self.least, self.to_least, self.to_others);
        let message = lanes.negate_if(message, left);
        (message, lanes.add(left, message))
    }
}

/// The most that the checks of group `index` say: lanes behind the last check say nothing, and so change nothing.
#[inline(always)]
fn most<L: Lanes>(lanes: L, q: usize, index: usize) -> L::V {
    let whole = lanes.splat(MESSAGE_MAX);
    if (index + 1) * L::N > q { lanes.and(whole, lanes.first(q % L::N)) } else { whole }
}

/// Beliefs near an end of their column that were written are written to its other end.
#[inline(always)]
fn repeat<L: Lanes>(lanes: L, beliefs: &mut [i8; WORD_LEN], repeats: &[Repeat]) {
    for repeat in repeats {
        let repeated = lanes.load(beliefs, repeat.from.into());
        lanes.store(beliefs, repeat.to.into(), repeated);
    }
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
            let turned = |group: usize, edge: &Edge| (usize::from(edge.shift) + group * n) % q;
            let place = |group, edge: &Edge| -> u16 {
                let place = 64 + usize::from(edge.column) * stride + turned(group, edge);
                place.try_into().expect("no code has more than 65472 octets of beliefs")
            };
            let places = (0..groups).flat_map(|group| edges.iter().map(move |edge| place(group, edge)));
            let marked = |group: usize, near: &dyn Fn(usize) -> bool| {
                let bit = |(e, edge): (usize, &Edge)| u32::from(near(turned(group, edge))) << e;
                edges.iter().enumerate().map(bit).sum()
            };
            let near = |group| Group {
                near_start: marked(group, &|turned| turned < n),
                near_end: marked(group, &|turned| turned + n > q),
            };
            let repeats = |group| {
                let near = |edge: &Edge| {
                    let (turned, from): (usize, u16) = (turned(group, edge), place(group, edge));
                    let behind = (turned < n).then(|| from.wrapping_add(q as u16));
                    let in_front = (turned + n > q).then(|| from.wrapping_sub(q as u16));
                    behind.into_iter().chain(in_front).map(move |to| Repeat { from, to })
                };
                edges.iter().flat_map(near).collect()
            };
            layers.push(Layer {
                degree: edges.len(),
                groups: (0..groups).map(near).collect(),
                repeats: (0..groups).map(repeats).collect(),
                places: places.collect(),
                messages: messages_len,
            });
            messages_len += groups * edges.len();
        }
        let room = room(q);
        LayeredKernel {
            lanes,
            q,
            layers,
            room,
            stride,
            columns: checks.columns,
            beliefs: vec![0; room * WORD_LEN + 64],
            offset: 0,
            messages_len,
            messages: vec![lanes.splat(0); room * messages_len],
        }
    }

    #[inline(always)]
    pub(super) fn lanes(&self) -> L {
        self.lanes
    }

    /// Updates word `w` by a layer whose checks have few bits, or whose columns are short: what is heard of them stays in
    /// registers, and what lies near an end of a column is written to both at once.
    #[inline(always)]
    fn update_short<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q) = (self.lanes, self.q);
        let (layer, beliefs, messages) = self.state_of::<D>(w, layer);
        let (places, _) = layer.places.as_chunks::<D>();
        for (index, ((group, places), messages)) in layer.groups.iter().zip(places).zip(messages).enumerate()
        {
            let mut heard = Heard::new(lanes);
            let mut left = [lanes.splat(0); D];
            for e in 0..D {
                left[e] = heard.hear(lanes, lanes.load(beliefs, places[e].into()), messages[e]);
            }
            let said = heard.said::<L, D>(lanes, most(lanes, q, index));
            for e in 0..D {
                let (message, belief) = said.to(lanes, left[e]);
                messages[e] = message;
                lanes.store(beliefs, places[e].into(), belief);
                if group.near_start >> e & 1 == 1 {
                    lanes.store(beliefs, places[e].wrapping_add(q as u16).into(), belief);
                }
                if group.near_end >> e & 1 == 1 {
                    lanes.store(beliefs, places[e].wrapping_sub(q as u16).into(), belief);
                }
            }
        }
    }

    /// Updates word `w` by a layer whose checks have many bits: what is heard of them waits where their messages lie.
    #[inline(always)]
    fn update_long<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q) = (self.lanes, self.q);
        let (layer, beliefs, messages) = self.state_of::<D>(w, layer);
        let (places, _) = layer.places.as_chunks::<D>();
        for (index, (places, messages)) in places.iter().zip(messages).enumerate() {
            let mut heard = Heard::new(lanes);
            for e in 0..D {
                messages[e] = heard.hear(lanes, lanes.load(beliefs, places[e].into()), messages[e]);
            }
            let said = heard.said::<L, D>(lanes, most(lanes, q, index));
            for e in 0..D {
                let (message, belief) = said.to(lanes, messages[e]);
                messages[e] = message;
                lanes.store(beliefs, places[e].into(), belief);
            }
            repeat(lanes, beliefs, &layer.repeats[index]);
        }
    }

    /// [`LayeredKernel::update_long`] of words `w` and `w + 1`: one word's checks say while the other's hear, so that
    /// stores do not wait for loads, nor either for the sums of a check.
    #[inline(always)]
    fn update_long_two<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q) = (self.lanes, self.q);
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * WORD_LEN..];
        let (first, rest) = beliefs.split_first_chunk_mut::<WORD_LEN>().expect("whole words");
        let second: &mut [i8; WORD_LEN] = rest.first_chunk_mut().expect("whole words");
        let (messages, others) = self.messages[w * self.messages_len..].split_at_mut(self.messages_len);
        let (messages, _) = messages[layer.messages..].as_chunks_mut::<D>();
        let (others, _) = others[layer.messages..].as_chunks_mut::<D>();
        let (places, _) = layer.places.as_chunks::<D>();
        let mut heard = Heard::new(lanes);
        for e in 0..D {
            messages[0][e] = heard.hear(lanes, lanes.load(first, places[0][e].into()), messages[0][e]);
        }
        let last = layer.repeats.len() - 1;
        for (index, repeats) in layer.repeats.iter().enumerate() {
            let most = most(lanes, q, index);
            let now = &places[index];
            let said = heard.said::<L, D>(lanes, most);
            heard = Heard::new(lanes);
            for e in 0..D {
                let (message, belief) = said.to(lanes, messages[index][e]);
                messages[index][e] = message;
                lanes.store(first, now[e].into(), belief);
                let left = heard.hear(lanes, lanes.load(second, now[e].into()), others[index][e]);
                others[index][e] = left;
            }
            repeat(lanes, first, repeats);
            let said = heard.said::<L, D>(lanes, most);
            if index == last {
                for e in 0..D {
                    let (message, belief) = said.to(lanes, others[index][e]);
                    others[index][e] = message;
                    lanes.store(second, now[e].into(), belief);
                }
            } else {
                let next = &places[index + 1];
                heard = Heard::new(lanes);
                for e in 0..D {
                    let (message, belief) = said.to(lanes, others[index][e]);
                    others[index][e] = message;
                    lanes.store(second, now[e].into(), belief);
                    let messages = &mut messages[index + 1][e];
                    *messages = heard.hear(lanes, lanes.load(first, next[e].into()), *messages);
                }
            }
            repeat(lanes, second, repeats);
        }
    }

    /// A layer, the beliefs of word `w`, and its messages of the layer.
    #[inline(always)]
    fn state_of<const D: usize>(
        &mut self,
        w: usize,
        layer: usize,
    ) -> (&Layer, &mut [i8; WORD_LEN], &mut [[L::V; D]]) {
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * WORD_LEN..];
        let beliefs = beliefs.first_chunk_mut().expect("whole words");
        let messages = &mut self.messages[w * self.messages_len + layer.messages..];
        (layer, beliefs, messages.as_chunks_mut::<D>().0)
    }

    #[inline(always)]
    fn column(&self, w: usize, column: usize) -> usize {
        self.offset + w * WORD_LEN + 64 + column * self.stride
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
        match (self.layers[layer].degree, self.q) {
            (3, _) => self.update_short::<3>(w, layer),
            (6, _) => self.update_short::<6>(w, layer),
            (10, _) => self.update_short::<10>(w, layer),
            (18, ..SHORT) => self.update_short::<18>(w, layer),
            (18, _) => self.update_long::<18>(w, layer),
            (32, _) => self.update_long::<32>(w, layer),
            (degree, _) => unreachable!("no code has checks of {degree} bits"),
        }
    }

    #[inline(always)]
    fn update_two(&mut self, w: usize, layer: usize) -> bool {
        match (self.layers[layer].degree, self.q) {
            (18, SHORT..) => self.update_long_two::<18>(w, layer),
            (32, _) => self.update_long_two::<32>(w, layer),
            _ => return false,
        }
        true
    }

    #[inline(always)]
    fn is_codeword(&self, w: usize) -> bool {
        let lanes = self.lanes;
        let beliefs = &self.beliefs[self.offset + w * WORD_LEN..];
        let beliefs: &[i8; WORD_LEN] = beliefs.first_chunk().expect("whole words");
        for layer in &self.layers {
            for (group, places) in layer.places.chunks_exact(layer.degree).enumerate() {
                let mut sign = lanes.splat(0);
                for place in places {
                    sign = lanes.xor(sign, lanes.load(beliefs, usize::from(*place)));
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
