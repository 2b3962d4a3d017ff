//! The LDPC codes of telecommands, (128,64) and (512,256) (231.0-B-4 4), and CLTUs made of them.
//!
//! Both are systematic and quasi-cyclic: a parity-check matrix of 4 × 8 circulants. Soft symbols are octets of
//! confidence: positive is a 0, negative a 1, 0 says nothing; any scale will do, for decoding only compares.
//!
//! Encoding adds up one table row for each nibble. Decoding is layered normalised min-sum with early stop
//! ([`TcLdpcDecoder`]). Not here: the LDPC codes of telemetry.

mod cltu;
mod decoder;
mod kernel;
mod receiver;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cltu::{LdpcCltuBuilder, LdpcCltuSpec, LdpcCltuSpecError, LdpcRandomization};
pub use decoder::{ITERATIONS_MAX, LdpcVerdict, TcLdpcDecoder};
pub use receiver::LdpcCltuReceiver;

/// What comes before the codewords of a CLTU with LDPC (231.0-B-4 5).
pub const START_SEQUENCE: [u8; 8] = [0x03, 0x47, 0x76, 0xC7, 0x27, 0x28, 0x95, 0xB0];
/// What may come behind (128,64) codewords; there is none for (512,256). Known from one public implementation only.
pub const TAIL_SEQUENCE: [u8; 16] =
    [0x55, 0x55, 0x55, 0x56, 0xAA, 0xAA, 0xAA, 0xAA, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55];

/// Which of the two codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TcLdpc {
    /// (128,64): circulants of 16.
    #[serde(rename = "128_64")]
    N128,
    /// (512,256): circulants of 64.
    #[serde(rename = "512_256")]
    N512,
}

/// One block row of a parity-check matrix: block column and shift of every circulant permutation in it. Row `i` of a
/// circulant of shift `s` has its one in column `(i + s) mod M`. Every row of every check has weight 8.
type Layer = [(u8, u8); 8];

/// Tables 2-4 to 2-6 of 231.1-O.
static LAYERS_128: [Layer; 4] = [
    [(0, 0), (0, 7), (1, 2), (2, 14), (3, 6), (5, 0), (6, 13), (7, 0)],
    [(0, 6), (1, 0), (1, 15), (2, 0), (3, 1), (4, 0), (6, 0), (7, 7)],
    [(0, 4), (1, 1), (2, 0), (2, 15), (3, 14), (4, 11), (5, 0), (7, 3)],
    [(0, 0), (1, 1), (2, 9), (3, 0), (3, 13), (4, 14), (5, 1), (6, 0)],
];
static LAYERS_512: [Layer; 4] = [
    [(0, 0), (0, 63), (1, 30), (2, 50), (3, 25), (5, 43), (6, 62), (7, 0)],
    [(0, 56), (1, 0), (1, 61), (2, 50), (3, 23), (4, 0), (6, 37), (7, 26)],
    [(0, 16), (1, 0), (2, 0), (2, 55), (3, 27), (4, 56), (5, 0), (7, 43)],
    [(0, 35), (1, 56), (2, 62), (3, 0), (3, 11), (4, 58), (5, 3), (6, 0)],
];

/// First rows of the circulants of the generator (231.1-O tables 2-1 and 2-3), 64 bits a word.
static GENERATOR_128: [[u64; 1]; 4] =
    [[0x0E69_166B_EF4C_0BC2], [0x7766_137E_BB24_8418], [0xC480_FEB9_CD53_A713], [0x4EAA_22FA_465E_EA11]];
static GENERATOR_512: [[u64; 4]; 4] = [
    [0x1D21_794A_2276_1FAE, 0x5994_5014_257E_130D, 0x74D6_0540_0379_4014, 0x2DAD_EB9C_A25E_F12E],
    [0x60E0_B662_3C5C_E512, 0x4D2C_81EC_C7F4_69AB, 0x2067_8DBF_B752_3ECE, 0x2B54_B906_A9DB_E98C],
    [0xF673_9BCF_5427_3E77, 0x167B_DA12_0C6C_4774, 0x4C07_1EFF_5E32_A759, 0x3138_670C_095C_39B5],
    [0x2870_6BD0_4530_0258, 0x2DAB_85F0_5B92_01D0, 0x8DFD_EE2D_9D84_CA88, 0xB371_FAE6_3A4E_B07E],
];

impl TcLdpc {
    /// Both codes.
    pub const ALL: [TcLdpc; 2] = [TcLdpc::N128, TcLdpc::N512];

    /// Bits (symbols) of a codeword.
    pub const fn codeword_bits(self) -> usize {
        8 * self.codeword_len()
    }

    /// Octets of a codeword.
    pub const fn codeword_len(self) -> usize {
        2 * self.information_len()
    }

    /// Information octets of a codeword: its first half.
    pub const fn information_len(self) -> usize {
        match self {
            TcLdpc::N128 => 8,
            TcLdpc::N512 => 32,
        }
    }

    /// Rows of a circulant.
    const fn circulant(self) -> usize {
        self.codeword_bits() / 8
    }

    fn layers(self) -> &'static [Layer; 4] {
        match self {
            TcLdpc::N128 => &LAYERS_128,
            TcLdpc::N512 => &LAYERS_512,
        }
    }

    /// Whether all parity checks hold for `codeword`.
    ///
    /// # Panics
    /// When `codeword` is not [`TcLdpc::codeword_len`] octets.
    pub fn is_codeword(self, codeword: &[u8]) -> bool {
        assert_eq!(codeword.len(), self.codeword_len(), "one codeword");
        let m = self.circulant();
        let bit = |column: u8, row: usize| {
            let index = usize::from(column) * m + row % m;
            codeword[index / 8] >> (7 - index % 8) & 1
        };
        let holds = |layer: &Layer, row: usize| {
            layer.iter().fold(0, |sum, (column, shift)| sum ^ bit(*column, row + usize::from(*shift))) == 0
        };
        self.layers().iter().all(|layer| (0..m).all(|row| holds(layer, row)))
    }
}

impl fmt::Display for TcLdpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TcLdpc::N128 => "LDPC (128,64)",
            TcLdpc::N512 => "LDPC (512,256)",
        })
    }
}

/// Encodes codewords of one of the codes.
#[derive(Debug, Clone)]
pub struct TcLdpcEncoder {
    code: TcLdpc,
    table: Table,
}

/// `rows[i][v]`: the parity that nibble `i` of the information adds when its value is `v`.
#[derive(Debug, Clone)]
enum Table {
    N128(Vec<[[u64; 1]; 16]>),
    N512(Vec<[[u64; 4]; 16]>),
}

impl TcLdpcEncoder {
    /// Makes the tables of `code`: 2 KiB or 32 KiB.
    pub fn new(code: TcLdpc) -> TcLdpcEncoder {
        let table = match code {
            TcLdpc::N128 => Table::N128(nibble_rows(&GENERATOR_128, code.circulant())),
            TcLdpc::N512 => Table::N512(nibble_rows(&GENERATOR_512, code.circulant())),
        };
        TcLdpcEncoder { code, table }
    }

    /// Which code.
    pub fn code(&self) -> TcLdpc {
        self.code
    }

    /// Writes the parity of `information`; the codeword is one behind the other.
    ///
    /// # Panics
    /// When either is not [`TcLdpc::information_len`] octets.
    pub fn parity(&self, information: &[u8], parity: &mut [u8]) {
        let len = self.code.information_len();
        assert!(
            information.len() == len && parity.len() == len,
            "{}: {len} octets and as many parity",
            self.code
        );
        match &self.table {
            Table::N128(rows) => sum_rows(rows, information, parity),
            Table::N512(rows) => sum_rows(rows, information, parity),
        }
    }
}

fn sum_rows<const WORDS: usize>(rows: &[[[u64; WORDS]; 16]], information: &[u8], parity: &mut [u8]) {
    let mut sum = [0; WORDS];
    let (pairs, _) = rows.as_chunks::<2>();
    for ([high, low], octet) in pairs.iter().zip(information) {
        let (high, low) = (&high[usize::from(octet >> 4)], &low[usize::from(octet & 15)]);
        for (sum, (high, low)) in sum.iter_mut().zip(high.iter().zip(low)) {
            *sum ^= high ^ low;
        }
    }
    for (out, word) in parity.chunks_exact_mut(8).zip(sum) {
        out.copy_from_slice(&word.to_be_bytes());
    }
}

/// The table of a generator whose further rows are the first of each block, rotated right within every circulant.
fn nibble_rows<const WORDS: usize>(first_rows: &[[u64; WORDS]; 4], m: usize) -> Vec<[[u64; WORDS]; 16]> {
    let row = |index: usize| -> [u64; WORDS] {
        let shift = (index % m) as u32;
        first_rows[index / m].map(|word| match m {
            64 => word.rotate_right(shift),
            _ => (0..4).fold(0, |out, quarter| {
                let part = (word >> (16 * quarter)) as u16;
                out | u64::from(part.rotate_right(shift)) << (16 * quarter)
            }),
        })
    };
    let nibbles = 4 * m / 4;
    let mut table = vec![[[0; WORDS]; 16]; nibbles];
    for (nibble, sums) in table.iter_mut().enumerate() {
        for (value, sum) in sums.iter_mut().enumerate() {
            for bit in (0..4).filter(|bit| value >> (3 - bit) & 1 == 1) {
                for (sum, word) in sum.iter_mut().zip(row(4 * nibble + bit)) {
                    *sum ^= word;
                }
            }
        }
    }
    table
}
