//! Whether the checks of AR4JA codes with short circulants hold: a column is an integer, and the four layers of a block
//! row are looked at side by side.
//!
//! A term of a block row looks, in layer j, at quarter (θ + j) mod 4 of a block column, rotated by a shift of its own
//! ([`super::super::code`]). The quarters of a block column lie twice, one copy behind the other, so that those of a term
//! are four neighbours.

use std::fmt::Debug;

use crate::ldpc::code::{Edge, ParityChecks};

/// Columns of one length.
pub(super) trait Columns {
    /// One column for each layer.
    type Four: Copy + Debug + PartialEq;
    /// A block column: its quarters, twice.
    type Block: Copy + Debug;

    /// No ones.
    const ZERO: Self::Four;

    /// Block column number `block` of those in `words`.
    fn received(words: &[u64], block: usize) -> Self::Four;
    fn twice(four: Self::Four) -> Self::Block;
    /// To each sum its quarter of `block`, the first from quarter `first`, rotated.
    fn add_rotated(sums: &mut Self::Four, block: &Self::Block, first: usize, shifts: &[u32; 4]);
}

/// Columns of 32 bits.
#[derive(Debug, Clone)]
pub(super) struct Of32;

/// Columns of 64 bits.
#[derive(Debug, Clone)]
pub(super) struct Of64;

/// Columns of 128 bits: their lower halves, and their upper halves.
#[derive(Debug, Clone)]
pub(super) struct Of128;

macro_rules! columns_of_integers {
    ($name:ident, $integer:ty, $received:expr) => {
        impl Columns for $name {
            type Four = [$integer; 4];
            type Block = [$integer; 8];

            const ZERO: [$integer; 4] = [0; 4];

            #[inline(always)]
            fn received(words: &[u64], block: usize) -> [$integer; 4] {
                $received(words, block)
            }

            #[inline(always)]
            fn twice([a, b, c, d]: [$integer; 4]) -> [$integer; 8] {
                [a, b, c, d, a, b, c, d]
            }

            #[inline(always)]
            fn add_rotated(sums: &mut [$integer; 4], block: &[$integer; 8], first: usize, shifts: &[u32; 4]) {
                let columns = &block[first..first + 4];
                for j in 0..4 {
                    sums[j] ^= columns[j].rotate_right(shifts[j]);
                }
            }
        }
    };
}

columns_of_integers!(Of32, u32, |words: &[u64], block: usize| {
    let (low, high) = (words[2 * block], words[2 * block + 1]);
    [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
});
columns_of_integers!(Of64, u64, |words: &[u64], block: usize| {
    [words[4 * block], words[4 * block + 1], words[4 * block + 2], words[4 * block + 3]]
});

impl Columns for Of128 {
    type Four = [[u64; 4]; 2];
    type Block = [[u64; 8]; 2];

    const ZERO: [[u64; 4]; 2] = [[0; 4]; 2];

    #[inline(always)]
    fn received(words: &[u64], block: usize) -> [[u64; 4]; 2] {
        let words = &words[8 * block..8 * block + 8];
        [[words[0], words[2], words[4], words[6]], [words[1], words[3], words[5], words[7]]]
    }

    #[inline(always)]
    fn twice(four: [[u64; 4]; 2]) -> [[u64; 8]; 2] {
        four.map(Of64::twice)
    }

    #[inline(always)]
    fn add_rotated(sums: &mut [[u64; 4]; 2], block: &[[u64; 8]; 2], first: usize, shifts: &[u32; 4]) {
        let [low, high] = block.each_ref().map(|half| &half[first..first + 4]);
        for j in 0..4 {
            // From 64 on, the halves change places.
            let turned = (low[j] ^ high[j]) & (u64::from(shifts[j] >> 6 & 1)).wrapping_neg();
            let (a, b, shift) = (low[j] ^ turned, high[j] ^ turned, shifts[j] % 64);
            // In two steps: a word moved by 64 bits is none.
            sums[0][j] ^= a >> shift | b << 1 << (63 - shift);
            sums[1][j] ^= b >> shift | a << 1 << (63 - shift);
        }
    }
}

/// A term: its block column, the quarter that layer 0 looks at, and the shift of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Term {
    block: usize,
    first: usize,
    shifts: [u32; 4],
}

/// A block row.
#[derive(Debug, Clone)]
struct Row {
    terms: Vec<Term>,
    /// The block column that the sums are, where the row looks at the one that is not sent; elsewhere the sums are zero
    /// in a codeword.
    gives: Option<usize>,
}

/// The checks, and block columns of one word after the other.
#[derive(Debug, Clone)]
pub(super) struct Quarters<C: Columns> {
    rows: Vec<Row>,
    /// Block columns that are sent: all but one.
    received: usize,
    blocks: Vec<C::Block>,
}

impl<C: Columns> Quarters<C> {
    /// Of an AR4JA code.
    pub(super) fn new(checks: &ParityChecks) -> Quarters<C> {
        let (rows, rest) = checks.layers.as_chunks::<4>();
        let blocks = checks.columns / 4;
        assert!(rest.is_empty() && checks.columns.is_multiple_of(4), "blocks of four quarters");
        let mut known = false;
        let mut row = |layers: &[Vec<Edge>; 4]| {
            let term = |i: usize| {
                let edges = layers.each_ref().map(|layer| layer[i]);
                let (block, first) = (usize::from(edges[0].column) / 4, usize::from(edges[0].column) % 4);
                for (j, edge) in edges.iter().enumerate() {
                    assert_eq!(usize::from(edge.column), 4 * block + (first + j) % 4, "quarters of a term");
                }
                Term { block, first, shifts: edges.map(|edge| edge.shift.into()) }
            };
            let terms = (0..layers[0].len()).map(term);
            let (given, terms): (Vec<Term>, Vec<Term>) =
                terms.partition(|term| !known && term.block == blocks - 1);
            let gives = given.first().map(|term| term.block);
            let identity = |block| vec![Term { block, first: 0, shifts: [0; 4] }];
            assert_eq!(given, gives.map(identity).unwrap_or_default(), "what is given is not rotated");
            known |= gives.is_some();
            Row { terms, gives }
        };
        let rows = rows.iter().map(&mut row).collect();
        Quarters { rows, received: blocks - 1, blocks: vec![C::twice(C::ZERO); blocks] }
    }

    /// Whether all checks hold of the word of which `received` are the columns that are sent.
    #[inline(always)]
    pub(super) fn hold(&mut self, received: &[u64]) -> bool {
        for (block, columns) in self.blocks[..self.received].iter_mut().enumerate() {
            *columns = C::twice(C::received(received, block));
        }
        for row in &self.rows {
            let mut sums = C::ZERO;
            for term in &row.terms {
                C::add_rotated(&mut sums, &self.blocks[term.block], term.first, &term.shifts);
            }
            match row.gives {
                Some(block) => self.blocks[block] = C::twice(sums),
                None if sums != C::ZERO => return false,
                None => {}
            }
        }
        true
    }
}
