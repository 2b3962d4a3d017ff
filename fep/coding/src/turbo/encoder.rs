//! The encoder: eight bit times a step, by tables.
//!
//! The component code is linear: what eight bit times put out and the state they lead to is the sum of an entry for the
//! octet and one for the state. The entries hold the symbols where the multiplexer puts them, so that the sum of both
//! encoders' entries is a piece of codeword.

use super::interleaver::OctetInterleaver;
use super::trellis::{Component, STATES, feedback, next};
use super::{TAIL_STEPS, TurboSpec, TurboSpecError};

/// Where an entry keeps the state; below are up to 48 symbols.
const STATE_SHIFT: u32 = 60;
const SYMBOLS: u64 = (1 << 48) - 1;

/// Encodes frames of one code.
#[derive(Debug, Clone)]
pub struct TurboEncoder {
    spec: TurboSpec,
    interleaver: OctetInterleaver,
    a: Tables,
    b: Tables,
    interleaved: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Tables {
    octets: Box<[u64; 256]>,
    states: [u64; STATES],
    /// The symbols of the last four bit times.
    tails: [u64; STATES],
}

impl TurboEncoder {
    /// Makes the tables of `spec`: about 8 KiB.
    ///
    /// # Errors
    /// [`TurboSpecError`] as [`TurboSpec::validate`].
    pub fn new(spec: TurboSpec) -> Result<TurboEncoder, TurboSpecError> {
        spec.validate()?;
        let [a, b] = Component::of(spec.rate);
        let symbols = spec.rate.symbols_per_bit();
        Ok(TurboEncoder {
            spec,
            interleaver: OctetInterleaver::new(spec.information_bits),
            a: Tables::new(&a, symbols, true),
            b: Tables::new(&b, symbols, false),
            interleaved: vec![0; spec.information_len()],
        })
    }

    /// Which code.
    pub fn spec(&self) -> TurboSpec {
        self.spec
    }

    /// Encodes `information` into `codeword`, first symbol in the highest bit. At rate 1/3 the last four bits of the last
    /// octet are set to 0.
    ///
    /// # Panics
    /// When `information` is not [`TurboSpec::information_len`] or `codeword` not [`TurboSpec::codeword_len`] octets.
    pub fn encode(&mut self, information: &[u8], codeword: &mut [u8]) {
        let (len, codeword_len) = (self.spec.information_len(), self.spec.codeword_len());
        assert!(
            information.len() == len && codeword.len() == codeword_len,
            "{}: {len} octets into {codeword_len}, got {} into {}",
            self.spec,
            information.len(),
            codeword.len()
        );
        self.interleaver.interleave(information, &mut self.interleaved);
        match self.spec.rate.symbols_per_bit() {
            2 => self.multiplex::<2>(information, codeword),
            3 => self.multiplex::<3>(information, codeword),
            4 => self.multiplex::<4>(information, codeword),
            _ => self.multiplex::<6>(information, codeword),
        }
    }

    /// The codeword of `information` and of its interleaved copy, with R symbols a bit time.
    fn multiplex<const R: usize>(&self, information: &[u8], codeword: &mut [u8]) {
        // The tail takes R / 2 octets, rounded up: less than a piece.
        let (body, last) = codeword.as_chunks_mut::<R>();
        let (mut state_a, mut state_b) = (0, 0);
        for ((piece, direct), interleaved) in body.iter_mut().zip(information).zip(&self.interleaved) {
            let a = self.a.octets[usize::from(*direct)] ^ self.a.states[state_a];
            let b = self.b.octets[usize::from(*interleaved)] ^ self.b.states[state_b];
            (state_a, state_b) = ((a >> STATE_SHIFT) as usize, (b >> STATE_SHIFT) as usize);
            let symbols = ((a ^ b) & SYMBOLS) << (64 - 8 * R);
            piece.copy_from_slice(&symbols.to_be_bytes()[..R]);
        }
        let symbols = (self.a.tails[state_a] ^ self.b.tails[state_b]) << (64 - TAIL_STEPS * R);
        last.copy_from_slice(&symbols.to_be_bytes()[..last.len()]);
    }
}

impl Tables {
    fn new(component: &Component, symbols_per_bit: usize, systematic: bool) -> Tables {
        let run = |state: u8, octet: u8| {
            let (mut state, mut symbols) = (state, 0);
            for t in 0..8 {
                let bit = octet >> (7 - t) & 1;
                let adder = bit ^ feedback(state);
                symbols = symbols << symbols_per_bit
                    | of_bit_time(component, symbols_per_bit, systematic, t, state, adder);
                state = next(state, adder);
            }
            symbols | u64::from(state) << STATE_SHIFT
        };
        let tail = |state: usize| {
            let (mut state, mut symbols) = (state as u8, 0);
            for t in 0..TAIL_STEPS {
                symbols = symbols << symbols_per_bit
                    | of_bit_time(component, symbols_per_bit, systematic, t, state, 0);
                state = next(state, 0);
            }
            symbols
        };
        Tables {
            octets: Box::new(std::array::from_fn(|octet| run(0, octet as u8))),
            states: std::array::from_fn(|state| run(state as u8, 0)),
            tails: std::array::from_fn(tail),
        }
    }
}

/// The symbols of a bit time, the first highest, as far as one encoder makes them. Octets, and the tail, begin at an
/// even bit time.
fn of_bit_time(
    component: &Component,
    symbols_per_bit: usize,
    systematic: bool,
    t: usize,
    state: u8,
    adder: u8,
) -> u64 {
    let input = adder ^ feedback(state);
    let symbols = component.symbols(t, state, adder) | if systematic { input } else { 0 };
    (0..symbols_per_bit).fold(0, |word, place| word << 1 | u64::from(symbols >> place & 1))
}
