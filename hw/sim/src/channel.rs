//! A radio channel with faults: seeded, repeatable, and exact about what it did.
//!
//! CADUs go in, a stream of octets (or datagrams) comes out, and the [`Ledger`] tells what became of each. Faults are
//! applied in the order of nature: whole CADUs first (drop-outs, duplicates, reordering), then bits (noise, bursts,
//! damaged markers, slips, polarity). Each kind of fault has dice of its own, so that turning one up leaves the others
//! where they were. The channel knows nothing of time, frames or codes beyond where codewords lie in a codeblock.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bits::BitString;
use crate::ledger::{ChannelCounts, Ledger, Memory, Passage, Slip};

/// Which faults occur, and how often. Probabilities are per CADU; all zero is a clear channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSpec {
    /// Probability that a bit is received wrong, independently of the others.
    pub bit_error_rate: f64,
    /// Probability of a burst inside the codeblock.
    pub burst_probability: f64,
    /// Longest burst in symbols (octets); lengths are spread evenly from 1 to this, every symbol of a burst is wrong.
    pub burst_symbols: u32,
    /// Probability that bits appear or vanish inside the codeblock. Streams only.
    pub slip_probability: f64,
    /// Largest slip in bits; insertions and losses are equally likely.
    pub slip_bits: u32,
    /// Probability that the polarity turns over before the CADU and stays so. Streams only.
    pub inversion_probability: f64,
    /// Probability that a drop-out begins.
    pub drop_out_probability: f64,
    /// Longest drop-out in CADUs.
    pub drop_out_cadus: u32,
    /// Probability that a CADU arrives twice in a row.
    pub duplicate_probability: f64,
    /// Probability that a CADU is overtaken by later ones.
    pub reorder_probability: f64,
    /// By how many CADUs it is overtaken at most.
    pub reorder_cadus: u32,
    /// Probability that bits of the marker are inverted.
    pub marker_damage_probability: f64,
    /// Bits inverted in a damaged marker.
    pub marker_damage_bits: u32,
}

impl ChannelSpec {
    /// No fault can occur.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.probabilities().iter().all(|(_, value)| *value == 0.0)
    }

    fn probabilities(&self) -> [(&'static str, f64); 8] {
        [
            ("bit_error_rate", self.bit_error_rate),
            ("burst_probability", self.burst_probability),
            ("slip_probability", self.slip_probability),
            ("inversion_probability", self.inversion_probability),
            ("drop_out_probability", self.drop_out_probability),
            ("duplicate_probability", self.duplicate_probability),
            ("reorder_probability", self.reorder_probability),
            ("marker_damage_probability", self.marker_damage_probability),
        ]
    }
}

/// How CADUs travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// As one stream of bits, cut into octets anywhere.
    Stream,
    /// Each in a datagram of its own.
    Datagrams,
}

/// Where marker and codewords lie in a CADU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaduLayout {
    /// Octets of the attached sync marker; 0 for units without one.
    pub marker_len: usize,
    /// Octets from the end of one marker to the next: frame, or codeblock.
    pub codeblock_len: usize,
    /// Codewords interleaved symbol by symbol (131.0-B-5 4.4.1); 1 without a code.
    pub interleave: u8,
}

impl CaduLayout {
    /// Octets of a CADU.
    #[must_use]
    pub fn cadu_len(&self) -> usize {
        self.marker_len + self.codeblock_len
    }
}

/// Why a channel cannot be built.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ChannelError {
    /// A probability lies outside its range.
    #[error("channel.{key} = {value}: a probability lies between 0 and 1")]
    Probability {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A fault is likely but has no extent, or too much of it.
    #[error("channel.{key} = {value}: must lie between 1 and {max} because {because} is not 0")]
    Extent {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u32,
        /// The largest that fits this CADU.
        max: u32,
        /// The probability that asks for it.
        because: &'static str,
    },
    /// A fault of bit streams was asked of datagrams.
    #[error(
        "channel.{key}: datagrams have no bit stream to slip or turn over; set it to 0 or use a stream transport"
    )]
    StreamOnly {
        /// The key.
        key: &'static str,
    },
    /// The layout is impossible.
    #[error("a CADU of {cadu_len} octets with {interleave} interleaved codewords cannot be sent")]
    Layout {
        /// Octets of the CADU.
        cadu_len: usize,
        /// Interleaved codewords.
        interleave: u8,
    },
}

/// The channel itself.
#[derive(Debug)]
pub struct Channel {
    spec: ChannelSpec,
    layout: CaduLayout,
    carriage: Carriage,
    dice: Dice,
    ledger: Ledger,
    /// CADUs that later ones overtake: released once `cadus_in` has passed the first field.
    held: VecDeque<(u64, u64, Vec<u8>)>,
    drop_out_left: u32,
    inverted: bool,
    /// Good bits left before the next one that noise inverts.
    noise_gap_bits: u64,
    /// A codeblock that lost bits and takes the missing ones from what follows it.
    short: Option<ShortCodeblock>,
    stream: BitString,
    work: Vec<u8>,
    octets: Vec<u8>,
}

/// One source of chance for each kind of fault.
#[derive(Debug)]
struct Dice {
    noise: ChaCha8Rng,
    burst: ChaCha8Rng,
    slip: ChaCha8Rng,
    inversion: ChaCha8Rng,
    drop_out: ChaCha8Rng,
    duplicate: ChaCha8Rng,
    reorder: ChaCha8Rng,
    marker: ChaCha8Rng,
}

#[derive(Debug)]
struct ShortCodeblock {
    position: u64,
    passage: Passage,
    sent: Vec<u8>,
    inverted: bool,
    received: BitString,
    missing_bits: usize,
}

impl Channel {
    /// A channel for CADUs of one layout; the same `spec`, `layout` and `seed` do the same again.
    ///
    /// # Errors
    /// [`ChannelError`] names the first key that makes no sense.
    pub fn new(
        spec: ChannelSpec,
        layout: CaduLayout,
        carriage: Carriage,
        memory: Memory,
        seed: u64,
    ) -> Result<Channel, ChannelError> {
        validate(&spec, &layout, carriage)?;
        // Streams of one seeded generator are independent: one for each kind of fault.
        let die = |stream: u64| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(stream);
            generator
        };
        let mut channel = Channel {
            dice: Dice {
                noise: die(1),
                burst: die(2),
                slip: die(3),
                inversion: die(4),
                drop_out: die(5),
                duplicate: die(6),
                reorder: die(7),
                marker: die(8),
            },
            spec,
            layout,
            carriage,
            ledger: Ledger::new(memory),
            held: VecDeque::new(),
            drop_out_left: 0,
            inverted: false,
            noise_gap_bits: u64::MAX,
            short: None,
            stream: BitString::default(),
            work: Vec::new(),
            octets: Vec::new(),
        };
        channel.noise_gap_bits = channel.draw_noise_gap();
        Ok(channel)
    }

    /// Sends one CADU; `sink` gets what arrives because of it: whole octets of the stream, or one datagram a call.
    ///
    /// # Panics
    /// If `cadu` is not of the layout's length: that is the caller's mistake.
    pub fn push(&mut self, cadu: &[u8], sink: &mut impl FnMut(&[u8])) {
        assert_eq!(cadu.len(), self.layout.cadu_len(), "a CADU of the channel's layout");
        let number = self.ledger.counts().cadus_in;
        self.ledger.counts_mut().cadus_in += 1;
        if self.falls_into_drop_out() {
            self.ledger.note_lost(number);
        } else if chance(&mut self.dice.reorder, self.spec.reorder_probability) {
            let overtaken_by = self.dice.reorder.random_range(1..=u64::from(self.spec.reorder_cadus));
            self.ledger.counts_mut().reordered += 1;
            self.held.push_back((number + overtaken_by, number, cadu.to_vec()));
        } else {
            self.arrive(number, cadu, sink);
            if chance(&mut self.dice.duplicate, self.spec.duplicate_probability) {
                self.ledger.counts_mut().duplicated += 1;
                self.arrive(number, cadu, sink);
            }
        }
        while let Some(due) = self.held.iter().position(|(release, ..)| *release <= number) {
            let (_, late, octets) = self.held.remove(due).expect("its position was just found");
            self.arrive(late, &octets, sink);
        }
    }

    /// Ends the stream: whatever is still held comes out, the last octet filled with zero bits.
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8])) {
        while let Some((_, late, octets)) = self.held.pop_front() {
            self.arrive(late, &octets, sink);
        }
        match self.short.take() {
            // The bits that fill the last octet can make up for those that were lost.
            Some(short) if short.missing_bits <= self.stream.free_bits() => {
                self.complete(short, &[if self.inverted { 0xFF } else { 0 }]);
            }
            Some(mut short) => {
                short.passage.truncated = true;
                self.ledger.note_passage(short.position, short.passage);
            }
            None => {}
        }
        self.octets.clear();
        self.stream.take_all(&mut self.octets);
        if !self.octets.is_empty() {
            sink(&self.octets);
        }
    }

    /// The account so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The account, when the channel is done with.
    #[must_use]
    pub fn into_ledger(self) -> Ledger {
        self.ledger
    }

    /// Totals so far.
    #[must_use]
    pub fn counts(&self) -> &ChannelCounts {
        self.ledger.counts()
    }

    fn falls_into_drop_out(&mut self) -> bool {
        if self.drop_out_left == 0 && chance(&mut self.dice.drop_out, self.spec.drop_out_probability) {
            self.drop_out_left = self.dice.drop_out.random_range(1..=self.spec.drop_out_cadus);
        }
        let lost = self.drop_out_left > 0;
        self.drop_out_left = self.drop_out_left.saturating_sub(1);
        lost
    }

    /// One CADU reaches the receiver: bit faults, then out.
    fn arrive(&mut self, number: u64, cadu: &[u8], sink: &mut impl FnMut(&[u8])) {
        if chance(&mut self.dice.inversion, self.spec.inversion_probability) {
            self.inverted = !self.inverted;
            self.ledger.note_inversion();
        }
        let position = self.ledger.note_arrival(number);
        let mut work = std::mem::take(&mut self.work);
        work.clear();
        work.extend_from_slice(cadu);
        let touched = self.add_noise(&mut work) | self.add_burst(&mut work) | self.damage_marker(&mut work);
        let slip = self.draw_slip();
        if let Some(short) = self.short.take() {
            self.complete(short, &work);
        }
        if touched || slip.is_some() {
            self.judge(position, cadu, &work, slip);
        }
        if self.inverted {
            work.iter_mut().for_each(|octet| *octet = !*octet);
        }
        match self.carriage {
            Carriage::Datagrams => sink(&work),
            Carriage::Stream => {
                append_slipped(&mut self.stream, &work, slip);
                self.octets.clear();
                self.stream.take_whole(&mut self.octets);
                sink(&self.octets);
            }
        }
        self.work = work;
    }

    fn draw_noise_gap(&mut self) -> u64 {
        let rate = self.spec.bit_error_rate;
        if rate == 0.0 {
            return u64::MAX;
        }
        if rate >= 1.0 {
            return 0;
        }
        // Gaps between independent errors are geometric: far fewer draws than one a bit.
        let uniform: f64 = 1.0 - self.dice.noise.random::<f64>();
        (uniform.ln() / (1.0 - rate).ln()) as u64
    }

    fn add_noise(&mut self, cadu: &mut [u8]) -> bool {
        let bit_count = cadu.len() as u64 * 8;
        let mut at = self.noise_gap_bits;
        let mut touched = false;
        while at < bit_count {
            cadu[(at / 8) as usize] ^= 0x80 >> (at % 8);
            self.ledger.counts_mut().bit_errors += 1;
            touched = true;
            at = at.saturating_add(1).saturating_add(self.draw_noise_gap());
        }
        self.noise_gap_bits = if at == u64::MAX { at } else { at - bit_count };
        touched
    }

    fn add_burst(&mut self, cadu: &mut [u8]) -> bool {
        if !chance(&mut self.dice.burst, self.spec.burst_probability) {
            return false;
        }
        let die = &mut self.dice.burst;
        let len = die.random_range(1..=self.spec.burst_symbols) as usize;
        let start = self.layout.marker_len + die.random_range(0..=self.layout.codeblock_len - len);
        cadu[start..start + len].iter_mut().for_each(|octet| *octet ^= die.random_range(1..=255_u8));
        self.ledger.counts_mut().bursts += 1;
        true
    }

    fn damage_marker(&mut self, cadu: &mut [u8]) -> bool {
        if !chance(&mut self.dice.marker, self.spec.marker_damage_probability) {
            return false;
        }
        let bits = self.layout.marker_len * 8;
        let wrong = self.spec.marker_damage_bits as usize;
        for bit in rand::seq::index::sample(&mut self.dice.marker, bits, wrong) {
            cadu[bit / 8] ^= 0x80 >> (bit % 8);
        }
        true
    }

    fn draw_slip(&mut self) -> Option<Slip> {
        if !chance(&mut self.dice.slip, self.spec.slip_probability) {
            return None;
        }
        let die = &mut self.dice.slip;
        let size = die.random_range(1..=self.spec.slip_bits);
        let bits = if die.random::<bool>() { size as i32 } else { -(size as i32) };
        // Inside the codeblock: a marker stays in one piece, and what follows starts at a marker.
        let first = self.layout.marker_len as u32 * 8;
        let last = self.layout.cadu_len() as u32 * 8 - size;
        self.ledger.counts_mut().slips += 1;
        Some(Slip { bits, at_bit: die.random_range(first..=last) })
    }

    /// Notes what a receiver sees that takes the codeblock right behind its marker.
    fn judge(&mut self, position: u64, sent: &[u8], received: &[u8], slip: Option<Slip>) {
        let marker_len = self.layout.marker_len;
        let marker_bit_errors = sent[..marker_len]
            .iter()
            .zip(received)
            .map(|(sent, received)| (sent ^ received).count_ones())
            .sum();
        let mut passage = Passage { marker_bit_errors, slip, ..Passage::default() };
        let Some(Slip { bits, .. }) = slip else {
            passage.symbol_errors = self.symbol_errors(sent, received);
            self.ledger.note_passage(position, passage);
            return;
        };
        let mut shifted = BitString::default();
        append_slipped(&mut shifted, received, slip);
        if bits < 0 {
            let missing_bits = bits.unsigned_abs() as usize;
            let (sent, inverted) = (sent.to_vec(), self.inverted);
            self.short =
                Some(ShortCodeblock { position, passage, sent, inverted, received: shifted, missing_bits });
        } else {
            let mut octets = Vec::with_capacity(sent.len() + 8);
            shifted.take_all(&mut octets);
            passage.symbol_errors = self.symbol_errors(sent, &octets[..sent.len()]);
            self.ledger.note_passage(position, passage);
        }
    }

    /// The receiver fills a codeblock that lost bits with the first bits of the next CADU, in the polarity it
    /// takes the codeblock to have.
    fn complete(&mut self, mut short: ShortCodeblock, next: &[u8]) {
        let turned: Vec<u8> = next[..short.missing_bits.div_ceil(8)]
            .iter()
            .map(|octet| if short.inverted == self.inverted { *octet } else { !*octet })
            .collect();
        short.received.append(&turned, 0, short.missing_bits);
        let mut octets = Vec::with_capacity(short.sent.len());
        short.received.take_all(&mut octets);
        assert_eq!(octets.len(), short.sent.len(), "bits lost and bits filled in balance");
        short.passage.symbol_errors = self.symbol_errors(&short.sent, &octets);
        self.ledger.note_passage(short.position, short.passage);
    }

    /// Wrong symbols of each codeword, given two whole CADUs.
    fn symbol_errors(&self, sent: &[u8], received: &[u8]) -> Vec<u16> {
        let interleave = usize::from(self.layout.interleave);
        let mut errors = vec![0; interleave];
        let codeblocks = sent.iter().zip(received).skip(self.layout.marker_len);
        for (symbol, _) in codeblocks.enumerate().filter(|(_, (sent, received))| sent != received) {
            errors[symbol % interleave] += 1;
        }
        errors
    }
}

fn chance(die: &mut ChaCha8Rng, probability: f64) -> bool {
    probability > 0.0 && die.random::<f64>() < probability
}

/// Appends `cadu` with bits inserted or left out. Inserted bits repeat what stands before the slip, as a bit
/// synchroniser does that samples twice.
fn append_slipped(stream: &mut BitString, cadu: &[u8], slip: Option<Slip>) {
    let bit_count = cadu.len() * 8;
    let Some(Slip { bits, at_bit }) = slip else {
        stream.append(cadu, 0, bit_count);
        return;
    };
    let at = at_bit as usize;
    let size = bits.unsigned_abs() as usize;
    stream.append(cadu, 0, at);
    if bits > 0 {
        stream.append(cadu, at - size, size);
        stream.append(cadu, at, bit_count - at);
    } else {
        stream.append(cadu, at + size, bit_count - at - size);
    }
}

fn validate(spec: &ChannelSpec, layout: &CaduLayout, carriage: Carriage) -> Result<(), ChannelError> {
    if layout.codeblock_len == 0 || layout.interleave == 0 {
        return Err(ChannelError::Layout { cadu_len: layout.cadu_len(), interleave: layout.interleave });
    }
    for (key, value) in spec.probabilities() {
        if !(0.0..=1.0).contains(&value) {
            return Err(ChannelError::Probability { key, value });
        }
    }
    if carriage == Carriage::Datagrams {
        let streams_only = [
            ("slip_probability", spec.slip_probability),
            ("inversion_probability", spec.inversion_probability),
        ];
        if let Some((key, _)) = streams_only.into_iter().find(|(_, value)| *value != 0.0) {
            return Err(ChannelError::StreamOnly { key });
        }
    }
    let marker_bits = layout.marker_len as u32 * 8;
    let codeblock_len = layout.codeblock_len as u32;
    // A slip is no longer than the marker, so that neither what it repeats nor what fills a short codeblock reaches
    // beyond one marker.
    let slip_max = marker_bits.min(codeblock_len * 8);
    for (key, value, max, because, probability) in [
        ("burst_symbols", spec.burst_symbols, codeblock_len, "burst_probability", spec.burst_probability),
        ("slip_bits", spec.slip_bits, slip_max, "slip_probability", spec.slip_probability),
        ("drop_out_cadus", spec.drop_out_cadus, u32::MAX, "drop_out_probability", spec.drop_out_probability),
        ("reorder_cadus", spec.reorder_cadus, 1000, "reorder_probability", spec.reorder_probability),
        (
            "marker_damage_bits",
            spec.marker_damage_bits,
            marker_bits,
            "marker_damage_probability",
            spec.marker_damage_probability,
        ),
    ] {
        if probability > 0.0 && !(1..=max).contains(&value) {
            return Err(ChannelError::Extent { key, value, max, because });
        }
    }
    Ok(())
}
