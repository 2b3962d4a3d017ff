//! The modified BCH (63,56) code of telecommands (231.0-B 3): one codeblock is 56 information bits, 7 parity bits, each
//! complemented, and a filler bit of 0.
//!
//! The generator x⁷+x⁶+x²+1 = (x+1)(x⁶+x+1) gives distance 4: three wrong bits are detected ([`BchMode::Ted`]), or one
//! is corrected and two are detected ([`BchMode::Sec`]). Not here: what codeblocks mean together ([`crate::tc`]).
//!
//! The engine is eight tables of 256 octets, one for each octet of a codeblock: a syndrome is eight independent loads.

use serde::{Deserialize, Serialize};

/// Octets of a codeblock.
pub const CODEBLOCK_LEN: usize = 8;
/// Information octets of a codeblock.
pub const INFORMATION_LEN: usize = 7;

/// x⁷+x⁶+x²+1.
const GENERATOR: u32 = 0b1100_0101;
/// Marks a syndrome that no single wrong bit has.
const NO_BIT: u8 = 0xFF;

/// `SYNDROMES[i][v]`: what octet `i` of value `v` adds to the syndrome. The parity is complemented and the filler bit is
/// no part of the codeword.
static SYNDROMES: [[u8; 256]; CODEBLOCK_LEN] = syndromes();
/// The one wrong bit that has this syndrome.
static WRONG_BIT: [u8; 128] = wrong_bits();

/// What the decoder does with errors (231.0-B 3.4; a managed parameter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BchMode {
    /// Triple error detection: a codeblock is accepted only without any error.
    Ted,
    /// Single error correction: one wrong bit is corrected, two are detected.
    Sec,
}

/// What a filler bit of 1 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillerRule {
    /// Nothing: the filler bit is no part of the codeword.
    Ignored,
    /// That this is a damaged tail sequence (which ends in 1) rather than a damaged codeblock (which ends in 0): nothing
    /// is corrected (200.0-G-6 annex D, "using fill bit").
    InhibitsCorrection,
}

/// What decoding found in one codeblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BchVerdict {
    /// A codeword.
    #[default]
    Clean,
    /// One bit was wrong.
    Corrected {
        /// Which: 0 is the first information bit, 56 the first parity bit.
        bit: u8,
    },
    /// No codeword, and not to be corrected; left as received.
    Rejected,
}

impl BchVerdict {
    /// Whether the information may be used.
    pub fn is_accepted(self) -> bool {
        self != BchVerdict::Rejected
    }
}

/// A decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bch {
    mode: BchMode,
    filler: FillerRule,
}

impl Bch {
    /// A decoder that works by these rules.
    pub const fn new(mode: BchMode, filler: FillerRule) -> Bch {
        Bch { mode, filler }
    }

    /// Judges one codeblock and corrects it in place. The filler bit is left alone.
    ///
    /// ```
    /// use fep_coding::tc::bch::{self, Bch, BchMode, BchVerdict, FillerRule};
    /// let mut codeblock = bch::encode([0; 7]);
    /// assert_eq!(codeblock, [0, 0, 0, 0, 0, 0, 0, 0xFE]);
    /// codeblock[1] ^= 0x80;
    /// let sec = Bch::new(BchMode::Sec, FillerRule::Ignored);
    /// assert_eq!(sec.decode(&mut codeblock), BchVerdict::Corrected { bit: 8 });
    /// assert_eq!(codeblock, [0, 0, 0, 0, 0, 0, 0, 0xFE]);
    /// ```
    #[inline]
    pub fn decode(&self, codeblock: &mut [u8; CODEBLOCK_LEN]) -> BchVerdict {
        let syndrome = syndrome(codeblock);
        if syndrome == 0 {
            return BchVerdict::Clean;
        }
        let verdict = self.judge(syndrome, codeblock[CODEBLOCK_LEN - 1] & 1);
        if let BchVerdict::Corrected { bit } = verdict {
            codeblock[usize::from(bit / 8)] ^= 0x80 >> (bit % 8);
        }
        verdict
    }

    /// Decodes consecutive codeblocks up to the first that is rejected, which ends a CLTU: writes 7 octets of
    /// `information` and one verdict for each accepted one and returns how many were accepted.
    ///
    /// # Panics
    /// When `codeblocks` is not a whole number of codeblocks, or an output has not room for all of them.
    pub fn decode_run(
        &self,
        codeblocks: &[u8],
        information: &mut [u8],
        verdicts: &mut [BchVerdict],
    ) -> usize {
        let (blocks, []) = codeblocks.as_chunks::<CODEBLOCK_LEN>() else {
            panic!("{} octets are not a whole number of codeblocks", codeblocks.len());
        };
        let (information, _) = information.as_chunks_mut::<INFORMATION_LEN>();
        assert!(information.len() >= blocks.len() && verdicts.len() >= blocks.len(), "outputs too short");
        for (count, ((block, out), verdict)) in blocks.iter().zip(information).zip(verdicts).enumerate() {
            let mut block = *block;
            *verdict = self.decode(&mut block);
            if !verdict.is_accepted() {
                return count;
            }
            out.copy_from_slice(&block[..INFORMATION_LEN]);
        }
        blocks.len()
    }

    #[cold]
    fn judge(&self, syndrome: u8, filler: u8) -> BchVerdict {
        let inhibited = self.filler == FillerRule::InhibitsCorrection && filler == 1;
        match WRONG_BIT[usize::from(syndrome)] {
            bit if self.mode == BchMode::Sec && bit != NO_BIT && !inhibited => BchVerdict::Corrected { bit },
            _ => BchVerdict::Rejected,
        }
    }
}

/// The codeblock of these 56 information bits.
#[inline]
pub fn encode(information: [u8; INFORMATION_LEN]) -> [u8; CODEBLOCK_LEN] {
    let mut codeblock = [0; CODEBLOCK_LEN];
    codeblock[..INFORMATION_LEN].copy_from_slice(&information);
    // With nothing in the last octet its complemented parity reads as all ones: the syndrome is the complement already.
    codeblock[INFORMATION_LEN] = syndrome(&codeblock) << 1;
    codeblock
}

/// Appends the codeblocks of `information` to `codeblocks`; the last is filled with 0x55.
pub fn encode_run(information: &[u8], codeblocks: &mut Vec<u8>) {
    let (whole, rest) = information.as_chunks::<INFORMATION_LEN>();
    let from = codeblocks.len();
    let count = information.len().div_ceil(INFORMATION_LEN);
    codeblocks.resize(from + count * CODEBLOCK_LEN, 0);
    let (out, _) = codeblocks[from..].as_chunks_mut::<CODEBLOCK_LEN>();
    for (block, out) in whole.iter().zip(&mut *out) {
        *out = encode(*block);
    }
    if !rest.is_empty() {
        let mut block = [super::FILL_OCTET; INFORMATION_LEN];
        block[..rest.len()].copy_from_slice(rest);
        out[count - 1] = encode(block);
    }
}

/// Zero for a codeword.
#[inline]
fn syndrome(codeblock: &[u8; CODEBLOCK_LEN]) -> u8 {
    let mut syndrome = 0;
    for (table, octet) in SYNDROMES.iter().zip(codeblock) {
        syndrome ^= table[usize::from(*octet)];
    }
    syndrome
}

/// The syndrome of one wrong bit: x^(62-bit) mod generator.
const fn syndrome_of_bit(bit: u32) -> u8 {
    let mut value = 1;
    let mut i = 0;
    while i < 62 - bit {
        value <<= 1;
        if value & 0x80 != 0 {
            value ^= GENERATOR;
        }
        i += 1;
    }
    value as u8
}

const fn syndromes() -> [[u8; 256]; CODEBLOCK_LEN] {
    let mut tables = [[0; 256]; CODEBLOCK_LEN];
    let mut octet = 0;
    while octet < CODEBLOCK_LEN {
        let mut value = 0;
        while value < 256 {
            let mut syndrome = if octet == CODEBLOCK_LEN - 1 { 0x7F } else { 0 };
            let mut i = 0;
            while i < 8 {
                let bit = 8 * octet as u32 + i;
                if bit < 63 && value & (0x80 >> i) != 0 {
                    syndrome ^= syndrome_of_bit(bit);
                }
                i += 1;
            }
            tables[octet][value] = syndrome;
            value += 1;
        }
        octet += 1;
    }
    tables
}

const fn wrong_bits() -> [u8; 128] {
    let mut bits = [NO_BIT; 128];
    let mut bit = 0;
    while bit < 63 {
        bits[syndrome_of_bit(bit) as usize] = bit as u8;
        bit += 1;
    }
    bits
}
