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
    /// The end of the group's part of [`Layer::repeats`].
    repeats_end: usize,
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
    /// What [`Group`] says bit by bit, as a list.
    repeats: Vec<Repeat>,
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

/// Words decoded side by side: while one layer of one word waits for its stores, the others go on.
const fn room(q: usize) -> usize {
    match q {
        0..=128 => 4,
        129..=512 => 2,
        _ => 1,
    }
}

/// [`Correction::say`], at most `most`, with the sign of the check.
#[inline(always)]
fn say<L: Lanes, const D: usize>(
    lanes: L,
    least: L::V,
    second: L::V,
    most: L::V,
    sign: L::V,
) -> (L::V, L::V) {
    let correction = const { Correction::of_degree(D) };
    let apart = lanes.quarter(lanes.less(second, least));
    let others = lanes.less(least, lanes.less(lanes.splat(correction.close), apart));
    let to_least = lanes.less(second, lanes.splat(correction.second));
    (lanes.negate_if(lanes.min(others, most), sign), lanes.negate_if(lanes.min(to_least, most), sign))
}

impl Layer {
    #[inline(always)]
    fn repeats_of(&self, group: usize) -> &[Repeat] {
        let from = group.checked_sub(1).map_or(0, |before| self.groups[before].repeats_end);
        &self.repeats[from..self.groups[group].repeats_end]
    }
}

/// What N checks hear of their bits.
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

    #[inline(always)]
    fn hear<L: Lanes<V = V>>(&mut self, lanes: L, beliefs: &[i8; WORD_LEN], place: u16, message: &mut V) {
        let v = lanes.sub(lanes.load(beliefs, place.into()), *message);
        *message = v;
        let magnitude = lanes.magnitude(v);
        self.second = lanes.min(self.second, lanes.max(self.least, magnitude));
        self.least = lanes.min(self.least, magnitude);
        self.sign = lanes.xor(self.sign, v);
    }

    #[inline(always)]
    fn say<const D: usize, L: Lanes<V = V>>(self, lanes: L, most: V) -> Said<V> {
        let (to_others, to_least) = say::<L, D>(lanes, self.least, self.second, most, self.sign);
        Said { least: self.least, to_others, to_least }
    }
}

#[derive(Debug, Clone, Copy)]
struct Said<V> {
    least: V,
    to_others: V,
    to_least: V,
}

impl<V: Copy> Said<V> {
    #[inline(always)]
    fn say<L: Lanes<V = V>>(&self, lanes: L, beliefs: &mut [i8; WORD_LEN], place: u16, message: &mut V) {
        let v = *message;
        let magnitude = lanes.if_equal(lanes.magnitude(v), self.least, self.to_least, self.to_others);
        *message = lanes.negate_if(magnitude, v);
        lanes.store(beliefs, place.into(), lanes.add(v, *message));
    }
}

/// The most that the checks of group `index` say: lanes behind the last check say nothing, and so change nothing.
#[inline(always)]
fn most<L: Lanes>(lanes: L, q: usize, index: usize) -> L::V {
    let whole = lanes.splat(MESSAGE_MAX);
    if (index + 1) * L::N > q { lanes.and(whole, lanes.first(q % L::N)) } else { whole }
}

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
            let mut repeats = Vec::new();
            let mut near = |group| {
                let near_start = marked(group, &|turned| turned < n);
                let near_end = marked(group, &|turned| turned + n > q);
                for (e, edge) in edges.iter().enumerate() {
                    let from: u16 = place(group, edge);
                    if near_start >> e & 1 == 1 {
                        repeats.push(Repeat { from, to: from.wrapping_add(q as u16) });
                    }
                    if near_end >> e & 1 == 1 {
                        repeats.push(Repeat { from, to: from.wrapping_sub(q as u16) });
                    }
                }
                Group { near_start, near_end, repeats_end: repeats.len() }
            };
            layers.push(Layer {
                degree: edges.len(),
                groups: (0..groups).map(&mut near).collect(),
                repeats,
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
    fn update_layer<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q, n) = (self.lanes, self.q, L::N);
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * WORD_LEN..];
        let beliefs: &mut [i8; WORD_LEN] = beliefs.first_chunk_mut().expect("whole words");
        let messages = &mut self.messages[w * self.messages_len + layer.messages..];
        let (places, _) = layer.places.as_chunks::<D>();
        let (messages, _) = messages.as_chunks_mut::<D>();
        let whole = lanes.splat(MESSAGE_MAX);
        let partial = lanes.and(whole, lanes.first(q % n));
        let groups = layer.groups.iter().zip(places).zip(messages).enumerate();
        for (index, ((group, places), messages)) in groups {
            let mut incoming = [lanes.splat(0); D];
            let (mut least, mut second) = (lanes.splat(u8::MAX), lanes.splat(u8::MAX));
            let mut sign = lanes.splat(0);
            for e in 0..D {
                let v = lanes.sub(lanes.load(beliefs, places[e].into()), messages[e]);
                incoming[e] = v;
                let magnitude = lanes.magnitude(v);
                second = lanes.min(second, lanes.max(least, magnitude));
                least = lanes.min(least, magnitude);
                sign = lanes.xor(sign, v);
            }
            // Lanes behind the last check say nothing, and so change nothing.
            let most = if (index + 1) * n > q { partial } else { whole };
            let (said, said_to_least) = say::<L, D>(lanes, least, second, most, sign);
            for e in 0..D {
                let v = incoming[e];
                let magnitude = lanes.if_equal(lanes.magnitude(v), least, said_to_least, said);
                let message = lanes.negate_if(magnitude, v);
                messages[e] = message;
                let belief = lanes.add(v, message);
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

    /// [`LayeredKernel::update_layer`] of two words at once: what one word's checks say is written while what the
    /// other's hear is read, so that neither waits for the other's sums.
    #[inline(always)]
    fn update_layer_of_two<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q) = (self.lanes, self.q);
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * WORD_LEN..];
        let (first, rest) = beliefs.split_first_chunk_mut::<WORD_LEN>().expect("whole words");
        let second: &mut [i8; WORD_LEN] = rest.first_chunk_mut().expect("whole words");
        let (places, _) = layer.places.as_chunks::<D>();
        let (a, b) = self.messages[w * self.messages_len..].split_at_mut(self.messages_len);
        let len = layer.groups.len() * D;
        let (a, _) = a[layer.messages..][..len].as_chunks_mut::<D>();
        let (b, _) = b[layer.messages..][..len].as_chunks_mut::<D>();
        let mut heard = Heard::new(lanes);
        for e in 0..D {
            heard.hear(lanes, first, places[0][e], &mut a[0][e]);
        }
        for (index, group) in layer.groups.iter().enumerate() {
            let repeats = layer.repeats_of(index);
            let most = most(lanes, q, index);
            let said = heard.say::<D, L>(lanes, most);
            heard = Heard::new(lanes);
            for e in 0..D {
                said.say(lanes, first, places[index][e], &mut a[index][e]);
                heard.hear(lanes, second, places[index][e], &mut b[index][e]);
            }
            repeat(lanes, first, repeats);
            let said = heard.say::<D, L>(lanes, most);
            heard = Heard::new(lanes);
            if index + 1 < layer.groups.len() {
                for e in 0..D {
                    said.say(lanes, second, places[index][e], &mut b[index][e]);
                    heard.hear(lanes, first, places[index + 1][e], &mut a[index + 1][e]);
                }
            } else {
                for e in 0..D {
                    said.say(lanes, second, places[index][e], &mut b[index][e]);
                }
            }
            repeat(lanes, second, repeats);
            let _ = group;
        }
    }

    #[inline(always)]
    fn update_layer_in_place<const D: usize>(&mut self, w: usize, layer: usize) {
        let (lanes, q) = (self.lanes, self.q);
        let layer = &self.layers[layer];
        let beliefs = &mut self.beliefs[self.offset + w * WORD_LEN..];
        let beliefs: &mut [i8; WORD_LEN] = beliefs.first_chunk_mut().expect("whole words");
        let (places, _) = layer.places.as_chunks::<D>();
        let messages = &mut self.messages[w * self.messages_len + layer.messages..];
        let (messages, _) = messages.as_chunks_mut::<D>();
        for (index, (places, messages)) in places.iter().zip(messages).enumerate() {
            let mut heard = Heard::new(lanes);
            for e in 0..D {
                heard.hear(lanes, beliefs, places[e], &mut messages[e]);
            }
            let said = heard.say::<D, L>(lanes, most(lanes, q, index));
            for e in 0..D {
                said.say(lanes, beliefs, places[e], &mut messages[e]);
            }
            repeat(lanes, beliefs, layer.repeats_of(index));
        }
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
        match self.layers[layer].degree {
            3 => self.update_layer::<3>(w, layer),
            6 => self.update_layer::<6>(w, layer),
            10 => self.update_layer::<10>(w, layer),
            18 => self.update_layer_in_place::<18>(w, layer),
            32 => self.update_layer_in_place::<32>(w, layer),
            degree => unreachable!("no code has checks of {degree} bits"),
        }
    }

    #[inline(always)]
    fn update_two(&mut self, w: usize, layer: usize) {
        match self.layers[layer].degree {
            18 => self.update_layer_of_two::<18>(w, layer),
            32 => self.update_layer_of_two::<32>(w, layer),
            _ => { self.update(w, layer); self.update(w + 1, layer); }
        }
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
