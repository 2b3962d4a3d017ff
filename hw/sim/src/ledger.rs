//! What a simulated channel did to each CADU, exactly: the oracle of every test that damages a stream.
//!
//! A ledger speaks of CADUs by their number since the channel's start (0 is the first) and of arrivals by their order
//! behind the channel. It says what a receiver can know at best; whether it recovers what is recoverable is the
//! receiver's affair. It never looks at the receiver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Totals of what a channel did. `cadus_in + duplicated = cadus_out + lost + held`, where `held` is nothing
/// once the channel is finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCounts {
    /// CADUs given to the channel.
    pub cadus_in: u64,
    /// CADUs that came out of it, damaged or not.
    pub cadus_out: u64,
    /// CADUs that fell into drop-outs.
    pub lost: u64,
    /// CADUs that came out twice.
    pub duplicated: u64,
    /// CADUs overtaken by later ones.
    pub reordered: u64,
    /// CADUs whose codeblock has at least one wrong symbol.
    pub codeblocks_damaged: u64,
    /// CADUs whose marker has at least one wrong bit.
    pub markers_damaged: u64,
    /// Single bits inverted by noise, wherever they fell.
    pub bit_errors: u64,
    /// Bursts.
    pub bursts: u64,
    /// Bit slips.
    pub slips: u64,
    /// Changes of polarity.
    pub inversions: u64,
}

/// Bits that appeared or vanished inside a codeblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slip {
    /// Bits inserted, or, if negative, removed.
    pub bits: i32,
    /// Where: bits after the marker's first bit.
    pub at_bit: u32,
}

/// How one CADU came through, if it did not come through as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// Wrong bits in the marker.
    pub marker_bit_errors: u32,
    /// The slip inside its codeblock, if any.
    pub slip: Option<Slip>,
    /// Wrong symbols of each codeword, as a receiver that takes the codeblock right behind its marker sees them.
    /// A channel without codewords has one entry: wrong octets.
    pub symbol_errors: Vec<u16>,
    /// The stream ended before the codeblock did: no receiver can have it.
    pub truncated: bool,
}

impl Passage {
    pub(crate) fn is_clean(&self) -> bool {
        self.marker_bit_errors == 0 && self.slip.is_none() && !self.truncated && self.symbol_errors_sum() == 0
    }

    /// Wrong symbols in all codewords.
    #[must_use]
    pub fn symbol_errors_sum(&self) -> u32 {
        self.symbol_errors.iter().map(|count| u32::from(*count)).sum()
    }

    /// What a decoder that corrects up to `correctable` symbols of a codeword makes of it (0: no code).
    #[must_use]
    pub fn outcome(&self, correctable: u16) -> Outcome {
        match self.symbol_errors_sum() {
            _ if self.truncated => Outcome::Lost,
            0 => Outcome::Intact,
            sum if self.symbol_errors.iter().all(|count| *count <= correctable) => {
                Outcome::Corrected { symbols: sum }
            }
            _ => Outcome::Uncorrectable {
                codewords: self.symbol_errors.iter().filter(|count| **count > correctable).count() as u8,
            },
        }
    }
}

/// The best a receiver can make of one CADU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every symbol of the codeblock is right.
    Intact,
    /// Every codeword is within the code's power.
    Corrected {
        /// Symbols to correct, in all codewords.
        symbols: u32,
    },
    /// At least one codeword is beyond the code's power. A decoder says so, but for chance (below 1e-13 for E = 16) and
    /// for slips by whole octets: Reed-Solomon codes are cyclic, and behind the legacy randomiser a
    /// codeblock that slipped so near its front is another codeblock. Only a FECF tells then.
    Uncorrectable {
        /// Codewords beyond it.
        codewords: u8,
    },
    /// It never arrived.
    Lost,
}

impl Outcome {
    /// The frame arrives byte for byte.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Outcome::Intact | Outcome::Corrected { .. })
    }
}

/// How much a channel remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// Totals only: for stations that run for days.
    #[default]
    Totals,
    /// Every arrival, eight octets each and more for damaged ones: for tests.
    EveryArrival,
}

/// The full account of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    counts: ChannelCounts,
    memory: Memory,
    arrivals: Vec<u64>,
    lost: Vec<u64>,
    inversions: Vec<u64>,
    passages: BTreeMap<u64, Passage>,
}

impl Ledger {
    pub(crate) fn new(memory: Memory) -> Ledger {
        Ledger { memory, ..Ledger::default() }
    }

    pub(crate) fn counts_mut(&mut self) -> &mut ChannelCounts {
        &mut self.counts
    }

    pub(crate) fn note_lost(&mut self, cadu: u64) {
        self.counts.lost += 1;
        if self.memory == Memory::EveryArrival {
            self.lost.push(cadu);
        }
    }

    pub(crate) fn note_inversion(&mut self) {
        self.counts.inversions += 1;
        if self.memory == Memory::EveryArrival {
            self.inversions.push(self.counts.cadus_out);
        }
    }

    /// Notes the next arrival and returns its position.
    pub(crate) fn note_arrival(&mut self, cadu: u64) -> u64 {
        let position = self.counts.cadus_out;
        self.counts.cadus_out += 1;
        if self.memory == Memory::EveryArrival {
            self.arrivals.push(cadu);
        }
        position
    }

    pub(crate) fn note_passage(&mut self, position: u64, passage: Passage) {
        self.counts.codeblocks_damaged += u64::from(passage.symbol_errors_sum() != 0);
        self.counts.markers_damaged += u64::from(passage.marker_bit_errors != 0);
        if self.memory == Memory::EveryArrival && !passage.is_clean() {
            self.passages.insert(position, passage);
        }
    }

    /// Totals.
    #[must_use]
    pub fn counts(&self) -> &ChannelCounts {
        &self.counts
    }

    /// Numbers of the CADUs in the order of their arrival; empty when only totals are kept.
    #[must_use]
    pub fn arrivals(&self) -> &[u64] {
        &self.arrivals
    }

    /// Numbers of the CADUs that never arrived, ascending.
    #[must_use]
    pub fn lost(&self) -> &[u64] {
        &self.lost
    }

    /// Arrivals at which the polarity turned over, before the marker.
    #[must_use]
    pub fn inversions(&self) -> &[u64] {
        &self.inversions
    }

    /// How the arrival at `position` came through; `None` if exactly as it was sent.
    #[must_use]
    pub fn passage(&self, position: u64) -> Option<&Passage> {
        self.passages.get(&position)
    }

    /// Every arrival in order: number of the CADU, and the best a decoder that corrects `correctable` symbols
    /// of a codeword can make of it.
    pub fn outcomes(&self, correctable: u16) -> impl Iterator<Item = (u64, Outcome)> + '_ {
        self.arrivals.iter().zip(0_u64..).map(move |(cadu, position)| {
            let outcome =
                self.passage(position).map_or(Outcome::Intact, |passage| passage.outcome(correctable));
            (*cadu, outcome)
        })
    }
}
