//! Blocks of soft symbols on their way through the decoder: gathered to batches, decoded here or in a pool, handed on in
//! the order of their reception.

use fep_coding::soft::{SoftDerandomizer, SoftVerdict};
use fep_coding::spec::SoftBlockDecoder;
use fep_coding::{CodeSpecError, Isa};

use crate::Decoding;
use crate::block::BlockNote;
use fep_mission::ChannelConfig;
use fep_time::Tai;

/// Symbols decoded together where nothing else is said: enough to fill the lanes of any decoder.
const BATCH_SYMBOLS: usize = 1 << 19;
/// Most blocks of such a batch.
const BATCH_BLOCKS: usize = 64;

/// A decoded block: its octets, the verdicts on its codewords, what was known of it before.
pub(super) type Decoded<'a> = (&'a [u8], &'a [SoftVerdict], &'a BlockNote);

/// Blocks decoded together.
#[derive(Default)]
pub struct DecodeJob {
    symbols: Vec<i8>,
    notes: Vec<BlockNote>,
    payloads: Vec<u8>,
    verdicts: Vec<SoftVerdict>,
}

impl DecodeJob {
    /// Decodes every block. The decoder is one of the channel that the blocks belong to.
    pub fn decode(&mut self, decoder: &mut SoftBlockDecoder) {
        let count = self.notes.len();
        self.payloads.resize(count * decoder.payload_len(), 0);
        self.verdicts.clear();
        self.verdicts.resize(count * decoder.codewords(), SoftVerdict::default());
        decoder.decode_batch(&self.symbols, &mut self.payloads, &mut self.verdicts);
    }

    /// Hands everything on, and is empty again.
    fn hand_on(&mut self, shape: Shape, out: &mut impl FnMut(Decoded<'_>)) {
        let payloads = self.payloads.chunks_exact(shape.payload_len);
        let verdicts = self.verdicts.chunks_exact(shape.codewords);
        for ((note, payload), verdicts) in self.notes.iter().zip(payloads).zip(verdicts) {
            out((payload, verdicts, note));
        }
        self.symbols.clear();
        self.notes.clear();
    }
}

#[derive(Clone, Copy)]
struct Shape {
    payload_len: usize,
    codewords: usize,
}

/// Where jobs are decoded when not on the thread of the chain: threads, owned by whoever runs the chain.
pub trait DecodePool: Send {
    /// Jobs that it holds at most.
    fn capacity(&self) -> usize;
    /// Takes a job. There are never more than [`DecodePool::capacity`] in it.
    fn submit(&mut self, job: DecodeJob);
    /// Gives the oldest job back, decoded. `None` when it is not finished yet; with `wait`, only when there is none.
    fn collect(&mut self, wait: bool) -> Option<DecodeJob>;
}

/// Who decodes.
enum Decoders {
    Here(Box<SoftBlockDecoder>),
    Pool { pool: Box<dyn DecodePool>, outstanding: usize, idle: Vec<DecodeJob> },
}

/// The batches of soft blocks of one link.
pub(super) struct SoftBatches {
    shape: Shape,
    derandomizer: SoftDerandomizer,
    /// Most blocks of a batch.
    batch: usize,
    /// How long a block may wait, nanoseconds.
    wait_ns: i64,
    gathering: DecodeJob,
    decoders: Decoders,
}

impl SoftBatches {
    pub(super) fn new(
        channel: &ChannelConfig,
        decoding: Decoding,
        isa: Isa,
        pool: Option<Box<dyn DecodePool>>,
    ) -> Result<SoftBatches, CodeSpecError> {
        let decoder = channel.code.build_soft(isa)?;
        let shape = Shape { payload_len: channel.code.payload_len(), codewords: decoder.codewords() };
        let symbols = channel.code.block_symbols();
        let batch = match decoding.batch {
            0 => (BATCH_SYMBOLS / symbols).clamp(1, BATCH_BLOCKS),
            batch => batch,
        };
        let decoders = match pool {
            None => Decoders::Here(Box::new(decoder)),
            Some(pool) => Decoders::Pool { pool, outstanding: 0, idle: Vec::new() },
        };
        Ok(SoftBatches {
            shape,
            derandomizer: SoftDerandomizer::new(channel.randomizer, symbols),
            batch,
            wait_ns: 1000 * i64::from(decoding.wait_us),
            gathering: DecodeJob::default(),
            decoders,
        })
    }

    /// Takes a block as it was received.
    pub(super) fn push(&mut self, block: &[i8], note: BlockNote, out: &mut impl FnMut(Decoded<'_>)) {
        let from = self.gathering.symbols.len();
        self.gathering.symbols.resize(from + block.len(), 0);
        self.derandomizer.apply_to(block, &mut self.gathering.symbols[from..]);
        self.gathering.notes.push(note);
        if self.gathering.notes.len() == self.batch {
            self.decode(out);
        }
    }

    /// What came has been taken, and it is `now`: nothing waits longer than it may.
    pub(super) fn end_of_chunk(&mut self, now: Tai, out: &mut impl FnMut(Decoded<'_>)) {
        let oldest = self.gathering.notes.first().map(|note| note.received);
        if oldest.is_some_and(|oldest| now.ns_since(oldest) >= self.wait_ns) {
            self.decode(out);
        }
        // Without leave to wait, what was begun in this chunk is finished in it.
        self.decoders.collect(if self.wait_ns == 0 { 0 } else { usize::MAX }, self.shape, out);
    }

    /// Decodes and hands on everything.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(Decoded<'_>)) {
        self.decode(out);
        self.decoders.collect(0, self.shape, out);
    }

    /// Whether something is on its way.
    pub(super) fn is_empty(&self) -> bool {
        let at_work = match &self.decoders {
            Decoders::Here(_) => 0,
            Decoders::Pool { outstanding, .. } => *outstanding,
        };
        self.gathering.notes.is_empty() && at_work == 0
    }

    /// Forgets what was gathered; what the pool is at work on is thrown away as well.
    pub(super) fn reset(&mut self) {
        self.gathering.symbols.clear();
        self.gathering.notes.clear();
        self.decoders.collect(0, self.shape, &mut |_| {});
    }

    fn decode(&mut self, out: &mut impl FnMut(Decoded<'_>)) {
        if self.gathering.notes.is_empty() {
            return;
        }
        match &mut self.decoders {
            Decoders::Here(decoder) => {
                self.gathering.decode(decoder);
                self.gathering.hand_on(self.shape, out);
            }
            Decoders::Pool { pool, .. } => {
                // Room for one more.
                let most = pool.capacity() - 1;
                self.decoders.collect(most, self.shape, out);
                let Decoders::Pool { pool, outstanding, idle } = &mut self.decoders else { return };
                let empty = idle.pop().unwrap_or_default();
                pool.submit(std::mem::replace(&mut self.gathering, empty));
                *outstanding += 1;
            }
        }
    }
}

impl Decoders {
    /// Hands on what the pool has decoded, and waits until no more than `most` jobs are in it.
    fn collect(&mut self, most: usize, shape: Shape, out: &mut impl FnMut(Decoded<'_>)) {
        let Decoders::Pool { pool, outstanding, idle } = self else { return };
        while *outstanding > 0 {
            let Some(mut job) = pool.collect(*outstanding > most) else { return };
            *outstanding -= 1;
            job.hand_on(shape, out);
            idle.push(job);
        }
    }
}
