//! The encoder: a table from six bits of history and a handful of new ones to the symbols they give.

use super::outputs;
use super::spec::{ConvRate, ConvSpec, ConvSpecError};
use crate::soft;

/// Bits of history that a symbol depends on besides the newest.
const MEMORY: u32 = 6;

/// Makes channel symbols of a stream of bits (131.0-B-5 3). The register starts at zero and runs on over the boundaries
/// of frames.
///
/// Output may lag behind input by less than a puncture period and an octet; `finish` gives the rest.
#[derive(Debug, Clone)]
pub struct ConvEncoder {
    places: Vec<u8>,
    period_bits: u8,
    invert: u8,
    /// Bits that are encoded at once: whole puncture periods.
    group_bits: u32,
    group_symbols: u32,
    /// Indexed by history and group, the oldest bit highest: the group's symbols, the first highest.
    table: Vec<u16>,
    /// The history and, below it, the `waiting` bits that do not fill a group yet.
    window: u64,
    waiting: u32,
    /// Symbols that do not fill an octet yet, the last lowest.
    symbols: u64,
    symbols_waiting: u32,
    symbols_out: u64,
    packed: Vec<u8>,
}

impl ConvEncoder {
    /// An encoder whose register is zero.
    ///
    /// # Errors
    /// As [`ConvSpec::validate`].
    pub fn new(spec: &ConvSpec) -> Result<ConvEncoder, ConvSpecError> {
        spec.validate()?;
        let group_bits = match spec.rate {
            ConvRate::R1_2 | ConvRate::R2_3 | ConvRate::R3_4 => 6,
            ConvRate::R5_6 => 5,
            ConvRate::R7_8 => 7,
        };
        let mut encoder = ConvEncoder {
            places: spec.rate.places(spec.g2_first)[..spec.rate.period_symbols()].to_vec(),
            period_bits: spec.rate.period_bits() as u8,
            invert: u8::from(spec.g2_is_inverted()),
            group_bits,
            group_symbols: group_bits / spec.rate.period_bits() as u32 * spec.rate.period_symbols() as u32,
            table: Vec::new(),
            window: 0,
            waiting: 0,
            symbols: 0,
            symbols_waiting: 0,
            symbols_out: 0,
            packed: Vec::new(),
        };
        encoder.table = (0..1u64 << (MEMORY + group_bits))
            .map(|window| (0..group_bits).fold(0, |symbols, bit| encoder.symbols_of(window, bit, symbols)))
            .collect();
        Ok(encoder)
    }

    /// Encodes the bits of `data`, the most significant of each octet first, and appends whole octets of hard symbols to
    /// `symbols`, the first symbol highest.
    pub fn push(&mut self, data: &[u8], symbols: &mut Vec<u8>) {
        let mask = (1 << (MEMORY + self.group_bits)) - 1;
        symbols.reserve(data.len() * 2 + 8);
        for octet in data {
            self.window = self.window << 8 | u64::from(*octet);
            self.waiting += 8;
            while self.waiting >= self.group_bits {
                self.waiting -= self.group_bits;
                let group = self.table[(self.window >> self.waiting & mask) as usize];
                self.symbols = self.symbols << self.group_symbols | u64::from(group);
                self.symbols_waiting += self.group_symbols;
            }
            if self.symbols_waiting >= 32 {
                self.symbols_waiting -= 32;
                self.symbols_out += 32;
                symbols.extend_from_slice(&((self.symbols >> self.symbols_waiting) as u32).to_be_bytes());
            }
        }
        self.give_octets(symbols);
    }

    /// Ends the stream: what [`ConvEncoder::push`] still held, the last octet completed with zeros. Returns the number of
    /// symbols of the whole stream. The encoder is then as new.
    pub fn finish(&mut self, symbols: &mut Vec<u8>) -> u64 {
        self.encode_rest();
        self.give_octets(symbols);
        let total = self.symbols_out + u64::from(self.symbols_waiting);
        if self.symbols_waiting > 0 {
            symbols.push((self.symbols << (8 - self.symbols_waiting)) as u8);
        }
        self.restart();
        total
    }

    /// As [`ConvEncoder::push`], but appends soft symbols: `amplitude` for a 0, `-amplitude` for a 1.
    pub fn push_soft(&mut self, data: &[u8], amplitude: i8, symbols: &mut Vec<i8>) {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        self.push(data, &mut packed);
        soft::from_hard(&packed, 8 * packed.len(), amplitude, symbols);
        self.packed = packed;
    }

    /// Ends the stream: appends the soft symbols that [`ConvEncoder::push_soft`] still held, no more. The encoder is then
    /// as new.
    pub fn finish_soft(&mut self, amplitude: i8, symbols: &mut Vec<i8>) {
        self.encode_rest();
        let rest = self.symbols << (64 - self.symbols_waiting.max(1));
        soft::from_hard(&rest.to_be_bytes(), self.symbols_waiting as usize, amplitude, symbols);
        self.restart();
    }

    /// Encodes the bits that do not fill a group.
    fn encode_rest(&mut self) {
        // As if zeros followed, but only the symbols of bits that are there.
        let window = self.window << (self.group_bits - self.waiting);
        for bit in 0..self.waiting {
            let sent = self.symbols_of(window, bit, 1);
            let count = u16::BITS - 1 - sent.leading_zeros();
            self.symbols = self.symbols << count | u64::from(sent ^ 1 << count);
            self.symbols_waiting += count;
        }
        self.waiting = 0;
    }

    fn restart(&mut self) {
        (self.window, self.waiting, self.symbols, self.symbols_waiting, self.symbols_out) = (0, 0, 0, 0, 0);
    }

    fn give_octets(&mut self, symbols: &mut Vec<u8>) {
        while self.symbols_waiting >= 8 {
            self.symbols_waiting -= 8;
            self.symbols_out += 8;
            symbols.push((self.symbols >> self.symbols_waiting) as u8);
        }
    }

    /// Appends to `symbols` those of bit `bit` of a group; `window` ends with the whole group.
    fn symbols_of(&self, window: u64, bit: u32, symbols: u16) -> u16 {
        let output = outputs((window >> (self.group_bits - 1 - bit) & 0x7F) as u8) ^ self.invert;
        let place = bit as u8 % self.period_bits;
        self.places
            .iter()
            .filter(|sent| **sent / 2 == place)
            .fold(symbols, |symbols, sent| symbols << 1 | u16::from(output >> (1 - sent % 2) & 1))
    }
}
