//! From coded symbols to what a demodulator delivers: modulation, noise, bursts, slips and phase flips, packed in any
//! format. Seeded, and it counts what it did.

use fep_coding::soft::{Packer, SoftFormat, SoftFormatError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::awgn::{Awgn, es_n0_db};

/// Modulation of the symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modulation {
    /// One symbol after the other; a phase flip inverts them.
    #[default]
    Bpsk,
    /// Two at a time, I and Q, Gray-mapped; a phase flip is a turn by 90, 180 or 270 degrees.
    Qpsk,
}

/// A demodulator behind a channel, as a station's configuration says it. Probabilities are per frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolSpec {
    /// How symbols lie in octets.
    pub format: SoftFormat,
    /// Modulation.
    #[serde(default)]
    pub modulation: Modulation,
    /// Eb/N0 in dB, of information bits: of the frame, markers not counted. Left out: no noise.
    #[serde(default)]
    pub eb_n0_db: Option<f64>,
    /// Probability of a burst, in which symbols say anything with full confidence.
    #[serde(default)]
    pub burst_probability: f64,
    /// Longest burst in symbols.
    #[serde(default)]
    pub burst_symbols: u32,
    /// Probability that symbols are lost or come twice.
    #[serde(default)]
    pub slip_probability: f64,
    /// Longest slip in symbols; with QPSK they slip in pairs.
    #[serde(default)]
    pub slip_symbols: u32,
    /// Probability that the phase jumps.
    #[serde(default)]
    pub phase_flip_probability: f64,
}

/// What a symbol channel did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolCounts {
    /// Symbols delivered.
    pub symbols: u64,
    /// Symbols whose sign is not the one sent (phase flips do not count).
    pub wrong: u64,
    /// Bursts.
    pub bursts: u64,
    /// Slips.
    pub slips: u64,
    /// Phase jumps.
    pub phase_flips: u64,
}

/// A demodulator that cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SymbolSpecError {
    /// The format is impossible.
    #[error("symbols.format.{0}")]
    Format(#[from] SoftFormatError),
    /// A probability lies outside its range.
    #[error("symbols.{key} = {value}: a probability lies between 0 and 1")]
    Probability {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A fault is likely but has no extent, or too much of it.
    #[error("symbols.{key} = {value}: must lie between {min} and {max} because {because} is not 0")]
    Extent {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u32,
        /// The least.
        min: u32,
        /// The largest.
        max: u32,
        /// The probability that asks for it.
        because: &'static str,
    },
    /// An Eb/N0 that no link has.
    #[error("symbols.eb_n0_db = {0}: must lie between -20 and 60")]
    EbN0(f64),
}

/// Longest burst and slip.
const BURST_MAX: u32 = 1 << 20;
const SLIP_MAX: u32 = 64;

impl SymbolSpec {
    /// This format, BPSK, no noise and no fault.
    #[must_use]
    pub fn clear(format: SoftFormat) -> SymbolSpec {
        SymbolSpec {
            format,
            modulation: Modulation::Bpsk,
            eb_n0_db: None,
            burst_probability: 0.0,
            burst_symbols: 0,
            slip_probability: 0.0,
            slip_symbols: 0,
            phase_flip_probability: 0.0,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`SymbolSpecError`] names the first key that makes no sense.
    pub fn validate(&self) -> Result<(), SymbolSpecError> {
        self.format.validate()?;
        for (key, value) in [
            ("burst_probability", self.burst_probability),
            ("slip_probability", self.slip_probability),
            ("phase_flip_probability", self.phase_flip_probability),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(SymbolSpecError::Probability { key, value });
            }
        }
        if let Some(db) = self.eb_n0_db.filter(|db| !(-20.0..=60.0).contains(db)) {
            return Err(SymbolSpecError::EbN0(db));
        }
        let least = self.slip_unit() as u32;
        for (key, value, min, max, because, probability) in [
            ("burst_symbols", self.burst_symbols, 1, BURST_MAX, "burst_probability", self.burst_probability),
            ("slip_symbols", self.slip_symbols, least, SLIP_MAX, "slip_probability", self.slip_probability),
        ] {
            if probability > 0.0 && !(min..=max).contains(&value) {
                return Err(SymbolSpecError::Extent { key, value, min, max, because });
            }
        }
        Ok(())
    }

    /// Symbols that only slip together.
    fn slip_unit(&self) -> usize {
        match self.modulation {
            Modulation::Bpsk => 1,
            Modulation::Qpsk => 2,
        }
    }
}

/// Modulator, channel and demodulator.
#[derive(Debug)]
pub struct SymbolChannel {
    spec: SymbolSpec,
    awgn: Awgn,
    packer: Packer,
    dice: ChaCha8Rng,
    /// Turns of the phase by 90 degrees.
    turns: u8,
    /// With QPSK, the first symbol of a pair whose second is still to come.
    held: Option<i8>,
    work: Vec<i8>,
    counts: SymbolCounts,
}

impl SymbolChannel {
    /// A channel for a code of `rate` information bits a symbol; the same `spec`, `rate` and `seed` do the same again.
    ///
    /// # Errors
    /// As [`SymbolSpec::validate`].
    pub fn new(spec: SymbolSpec, rate: f64, seed: u64) -> Result<SymbolChannel, SymbolSpecError> {
        spec.validate()?;
        let es_n0_db = spec.eb_n0_db.map(|db| es_n0_db(db, rate));
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(1);
        Ok(SymbolChannel {
            awgn: Awgn::new(es_n0_db, &spec.format, seed, 0),
            packer: Packer::new(spec.format)?,
            spec,
            dice,
            turns: 0,
            held: None,
            work: Vec::new(),
            counts: SymbolCounts::default(),
        })
    }

    /// Sends the symbols of one frame (only their signs count) and appends what the demodulator delivers to `octets`.
    pub fn push(&mut self, symbols: &[i8], octets: &mut Vec<u8>) {
        let mut work = std::mem::take(&mut self.work);
        work.clear();
        work.extend(self.held.take());
        work.extend_from_slice(symbols);
        self.slip(&mut work);
        if self.spec.modulation == Modulation::Qpsk && work.len() % 2 == 1 {
            self.held = work.pop();
        }
        self.turn(&mut work);
        self.demodulate(&mut work, octets);
        self.work = work;
    }

    /// Ends the stream: what is held comes out, the last octets filled up.
    pub fn finish(&mut self, octets: &mut Vec<u8>) {
        if let Some(last) = self.held.take() {
            self.demodulate(&mut [last], octets);
        }
        self.packer.finish(octets);
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> &SymbolCounts {
        &self.counts
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.dice.random::<f64>() < probability
    }

    /// A place for a fault of `size` symbols, on a pair with QPSK.
    fn place(&mut self, len: usize, size: usize) -> usize {
        let unit = self.spec.slip_unit();
        self.dice.random_range(0..=len.saturating_sub(size)) / unit * unit
    }

    fn slip(&mut self, symbols: &mut Vec<i8>) {
        if !self.chance(self.spec.slip_probability) {
            return;
        }
        let unit = self.spec.slip_unit();
        let size = self.dice.random_range(1..=self.spec.slip_symbols as usize / unit) * unit;
        let size = size.min(symbols.len() / unit * unit);
        let at = self.place(symbols.len(), size);
        if self.dice.random::<bool>() {
            let again = symbols[at..at + size].to_vec();
            symbols.splice(at..at, again);
        } else {
            symbols.drain(at..at + size);
        }
        self.counts.slips += 1;
    }

    fn turn(&mut self, symbols: &mut [i8]) {
        let from = if self.chance(self.spec.phase_flip_probability) {
            self.counts.phase_flips += 1;
            self.place(symbols.len(), 0)
        } else {
            symbols.len()
        };
        let (before, behind) = symbols.split_at_mut(from);
        self.rotate(before);
        if !behind.is_empty() {
            let by = match self.spec.modulation {
                Modulation::Bpsk => 2,
                Modulation::Qpsk => self.dice.random_range(1..=3),
            };
            self.turns = (self.turns + by) % 4;
            self.rotate(behind);
        }
    }

    fn rotate(&self, symbols: &mut [i8]) {
        if self.turns >= 2 {
            symbols.iter_mut().for_each(|symbol| *symbol = symbol.saturating_neg());
        }
        if self.turns % 2 == 1 {
            // A quarter turn: I becomes Q, Q becomes -I.
            for pair in symbols.chunks_exact_mut(2) {
                (pair[0], pair[1]) = (pair[1].saturating_neg(), pair[0]);
            }
        }
    }

    fn demodulate(&mut self, symbols: &mut [i8], octets: &mut Vec<u8>) {
        let sent: Vec<bool> = symbols.iter().map(|symbol| *symbol < 0).collect();
        self.awgn.receive(symbols);
        if self.chance(self.spec.burst_probability) {
            let len = self.dice.random_range(1..=self.spec.burst_symbols as usize).min(symbols.len());
            let at = self.place(symbols.len(), len);
            let full = self.spec.format.full_scale();
            for symbol in &mut symbols[at..at + len] {
                *symbol = if self.dice.random::<bool>() { full } else { -full };
            }
            self.counts.bursts += 1;
        }
        self.counts.symbols += symbols.len() as u64;
        self.counts.wrong +=
            symbols.iter().zip(&sent).filter(|(symbol, sent)| (**symbol < 0) != **sent).count() as u64;
        self.packer.push(symbols, octets);
    }
}
