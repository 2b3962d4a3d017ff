//! Blocks of soft symbols: codes whose marker stands among the symbols of the channel.

use fep_coding::soft::{SoftDerandomizer, SoftVerdict};
use fep_coding::spec::SoftBlockDecoder;
use fep_coding::{CodeSpecError, Isa};
use fep_mission::ChannelConfig;

use super::{Blocks, DecodeJob, Work};
use crate::block::BlockNote;

/// Symbols decoded together where nothing else is said: enough to fill the lanes of any decoder.
const BATCH_SYMBOLS: usize = 1 << 19;
/// Most blocks of such a batch.
const BATCH_BLOCKS: usize = 64;

/// How blocks of a channel are decoded together.
#[derive(Clone, Copy)]
pub(crate) struct SymbolShape<'c> {
    pub(crate) channel: &'c ChannelConfig,
    pub(crate) isa: Isa,
    /// Most blocks of a batch; 0 as the decoder likes best.
    pub(crate) batch: usize,
}

/// Blocks of soft symbols that are decoded together.
pub(crate) struct SymbolBlocks {
    batch: usize,
    payload_len: usize,
    codewords: usize,
    symbols: Vec<i8>,
    notes: Vec<BlockNote>,
    payloads: Vec<u8>,
    verdicts: Vec<SoftVerdict>,
    derandomizer: SoftDerandomizer,
    decoder: Box<SoftBlockDecoder>,
}

/// A decoded block: its octets, the verdicts on its codewords, what was known of it before.
pub(crate) struct DecodedBlock<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) verdicts: &'a [SoftVerdict],
    pub(crate) note: &'a BlockNote,
}

impl SymbolBlocks {
    pub(crate) fn new(shape: &SymbolShape<'_>) -> Result<SymbolBlocks, CodeSpecError> {
        let SymbolShape { channel, isa, batch } = *shape;
        let decoder = Box::new(channel.code.build_soft(isa)?);
        let block = channel.code.block_symbols();
        let batch = match batch {
            0 => (BATCH_SYMBOLS / block).clamp(1, BATCH_BLOCKS),
            batch => batch,
        };
        Ok(SymbolBlocks {
            batch,
            payload_len: channel.code.payload_len(),
            codewords: decoder.codewords(),
            symbols: Vec::with_capacity(batch * block),
            notes: Vec::with_capacity(batch),
            payloads: vec![0; batch * channel.code.payload_len()],
            verdicts: vec![SoftVerdict::default(); batch * decoder.codewords()],
            derandomizer: SoftDerandomizer::new(channel.randomizer, block),
            decoder,
        })
    }

    /// Takes a block as it was received. There is room for one.
    pub(crate) fn put(&mut self, block: &[i8], note: BlockNote) {
        let from = self.symbols.len();
        self.symbols.resize(from + block.len(), 0);
        self.derandomizer.apply_to(block, &mut self.symbols[from..]);
        self.notes.push(note);
    }
}

impl Blocks for SymbolBlocks {
    type Out<'a> = DecodedBlock<'a>;

    fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    fn is_full(&self) -> bool {
        self.notes.len() == self.batch
    }

    fn decode(&mut self) {
        let count = self.notes.len();
        let payloads = &mut self.payloads[..count * self.payload_len];
        let verdicts = &mut self.verdicts[..count * self.codewords];
        verdicts.fill(SoftVerdict::default());
        self.decoder.decode_batch(&self.symbols, payloads, verdicts);
    }

    fn give_up(&mut self) {
        self.notes.iter_mut().for_each(|note| note.failed = true);
    }

    fn hand_on(&mut self, out: &mut impl FnMut(DecodedBlock<'_>)) {
        let payloads = self.payloads.chunks_exact(self.payload_len);
        let verdicts = self.verdicts.chunks_exact(self.codewords);
        for ((note, payload), verdicts) in self.notes.iter().zip(payloads).zip(verdicts) {
            out(DecodedBlock { payload, verdicts, note });
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.symbols.clear();
        self.notes.clear();
    }

    fn into_job(self) -> DecodeJob {
        Work::Symbols(self).into()
    }

    fn from_job(job: DecodeJob) -> Option<SymbolBlocks> {
        match job.work {
            Work::Symbols(blocks) => Some(blocks),
            Work::Octets(_) | Work::Windows(_) => None,
        }
    }
}
