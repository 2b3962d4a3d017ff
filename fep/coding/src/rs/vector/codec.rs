//! The codec over vectors of lanes: clean codewords leave after their syndromes, single errors after one comparison, and
//! the rest of a batch is gathered and searched 64 codewords at a time.
//!
//! Gives the answers of the scalar codec, octet by octet. All of it is compiled inside the functions of `avx2`, `avx512`
//! and `neon` that enable the instructions; hence `#[inline(always)]`.

use super::lanes::Lanes;
use super::locate::{Corrections, GROUP, Locator};
use super::representation::Representation;
use super::syndromes::{Checks, INTERLEAVE_MAX, OVERRUN, ROOTS, SymbolTables, Syndromes};
use crate::rs::{CODEWORD_LEN, CodewordVerdict, RsSpec, RsVerdict};

/// Constants and scratch of one codec.
#[derive(Debug, Clone)]
pub(super) struct VectorCodec<L: Lanes> {
    lanes: L,
    spec: RsSpec,
    syndromes: Syndromes<L>,
    checks: Checks<L>,
    locator: Locator<L>,
    symbols: SymbolTables,
    /// A codeblock with its virtual fill in front and room for overrun behind.
    whole: Box<[u8; CODEWORD_LEN * INTERLEAVE_MAX + OVERRUN]>,
    /// Syndrome rows of damaged codewords, and room for those of the codeblock at hand.
    rows: Box<[u8; ROOTS * PENDING + OVERRUN]>,
    /// Whose rows they are.
    owners: [Owner; PENDING],
}

/// Damaged codewords that may wait: a full group, less one, and all codewords of the codeblock that completes it.
const PENDING: usize = GROUP + INTERLEAVE_MAX;

/// A codeword of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Owner {
    codeblock: usize,
    codeword: u8,
}

impl<L: Lanes> VectorCodec<L> {
    pub(super) fn new(lanes: L, spec: RsSpec) -> VectorCodec<L> {
        let representation = Representation::onto(L::product);
        VectorCodec {
            lanes,
            spec,
            syndromes: Syndromes::new(lanes, &spec, &representation),
            checks: Checks::new(lanes, &spec, &representation),
            locator: Locator::new(&spec, &representation),
            symbols: SymbolTables::new(&representation, spec.basis),
            whole: Box::new([0; CODEWORD_LEN * INTERLEAVE_MAX + OVERRUN]),
            rows: Box::new([0; ROOTS * PENDING + OVERRUN]),
            owners: [Owner::default(); PENDING],
        }
    }

    /// See [`crate::rs::ReedSolomon::encode`]; the lengths have been checked.
    #[inline(always)]
    pub(super) fn encode(&mut self, frame: &[u8], check: &mut [u8]) {
        let interleave = self.spec.interleave as usize;
        let start = self.spec.virtual_fill as usize * interleave;
        self.whole[start..start + frame.len()].copy_from_slice(frame);
        self.whole[start + frame.len()..][..check.len()].fill(0);
        self.syndromes.compute(self.lanes, &self.whole[..], 0, &mut self.rows[..]);
        self.checks.compute(self.lanes, &mut self.rows[..], interleave);
        for (t, symbols) in check.chunks_exact_mut(interleave).enumerate() {
            for (codeword, symbol) in symbols.iter_mut().enumerate() {
                *symbol = self.rows[ROOTS * codeword + t];
            }
        }
    }

    /// See [`crate::rs::ReedSolomon::decode_batch`]; the lengths have been checked and the verdicts are all clean.
    #[inline(always)]
    pub(super) fn decode_batch(&mut self, codeblocks: &mut [u8], stride: usize, verdicts: &mut [RsVerdict]) {
        let mut pending = 0;
        let mut next = 0;
        while next < verdicts.len() || pending > 0 {
            while next < verdicts.len() && pending < GROUP {
                pending = self.gather(codeblocks, next, stride, pending, &mut verdicts[next]);
                next += 1;
            }
            if pending > 0 {
                pending = self.correct(codeblocks, stride, verdicts, pending);
            }
        }
    }

    /// Computes the syndromes of one codeblock; corrects single errors; appends the rows of codewords with more of them
    /// to the `pending` ones. Returns how many are pending then.
    #[inline(always)]
    fn gather(
        &mut self,
        codeblocks: &mut [u8],
        codeblock: usize,
        stride: usize,
        pending: usize,
        verdict: &mut RsVerdict,
    ) -> usize {
        let interleave = self.spec.interleave as usize;
        let start = self.spec.virtual_fill as usize * interleave;
        let (at, len) = (codeblock * stride, self.spec.codeblock_len());
        let rows = &mut self.rows[ROOTS * pending..];
        if start == 0 && at + len + OVERRUN <= codeblocks.len() {
            self.syndromes.compute(self.lanes, codeblocks, at, rows);
        } else {
            self.whole[start..start + len].copy_from_slice(&codeblocks[at..at + len]);
            self.syndromes.compute(self.lanes, &self.whole[..], 0, rows);
        }
        let block = &mut codeblocks[at..at + len];
        let mut end = pending;
        for codeword in 0..interleave {
            let row = ROOTS * (pending + codeword);
            if self.rows[row..row + ROOTS].iter().fold(0, |any, syndrome| any | syndrome) == 0 {
                continue;
            }
            match self.single_error(row) {
                Some((position, _)) if position < self.spec.virtual_fill as usize => {
                    verdict.count(CodewordVerdict::Failed);
                }
                Some((position, value)) => {
                    block[position * interleave + codeword - start] ^= value;
                    verdict.count(CodewordVerdict::Corrected(1));
                }
                None => {
                    self.rows.copy_within(row..row + ROOTS, ROOTS * end);
                    self.owners[end] = Owner { codeblock, codeword: codeword as u8 };
                    end += 1;
                }
            }
        }
        end
    }

    /// The place and the wire value of the error if one single symbol explains all the syndromes of a row.
    #[inline(always)]
    fn single_error(&self, row: usize) -> Option<(usize, u8)> {
        let l = self.lanes;
        let (first, second) = (self.rows[row], self.rows[row + 1]);
        if first == 0 || second == 0 {
            return None;
        }
        // Then each syndrome is the one before times the locator.
        let log = |octet: u8| self.symbols.log[octet as usize] as usize;
        let locator = (log(second) + 255 - log(first)) % 255;
        let ratio = l.splat(self.symbols.power[locator]);
        let next = l.multiply(&l.operand(l.load(&self.rows[..], row)), &l.operand(ratio));
        let agrees = l.bits(l.is_zero(l.xor(next, l.load(&self.rows[..], row + 1))));
        let pairs = (1 << (self.spec.e.check_symbols() - 1)) - 1;
        if agrees & pairs != pairs {
            return None;
        }
        let value = (log(first) + 255 - locator * self.spec.e.first_root() % 255) % 255;
        Some((CODEWORD_LEN - 1 - locator, self.symbols.wire_power[value]))
    }

    /// Searches and corrects the first 64 pending codewords, or all if there are fewer. Returns how many are left.
    #[inline(always)]
    fn correct(
        &mut self,
        codeblocks: &mut [u8],
        stride: usize,
        verdicts: &mut [RsVerdict],
        pending: usize,
    ) -> usize {
        let interleave = self.spec.interleave as usize;
        let start = self.spec.virtual_fill as usize * interleave;
        let count = pending.min(GROUP);
        // Lanes without a codeword must not make the search longer.
        self.rows[ROOTS * count..ROOTS * GROUP].fill(0);
        let owners = &self.owners;
        self.locator.search(self.lanes, &self.rows[..], count, |lane, corrections| {
            let Owner { codeblock, codeword } = owners[lane];
            let Some(Corrections { positions, values }) = corrections else {
                return verdicts[codeblock].count(CodewordVerdict::Failed);
            };
            let block = &mut codeblocks[codeblock * stride..][..self.spec.codeblock_len()];
            for (position, value) in positions.iter().zip(values) {
                block[*position as usize * interleave + codeword as usize - start] ^= value;
            }
            verdicts[codeblock].count(CodewordVerdict::Corrected(positions.len() as u8));
        });
        self.rows.copy_within(ROOTS * count..ROOTS * pending, 0);
        self.owners.copy_within(count..pending, 0);
        pending - count
    }
}
