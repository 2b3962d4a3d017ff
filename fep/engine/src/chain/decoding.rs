//! Blocks of soft symbols on their way through the decoder: gathered to batches, decoded here or by threads, handed on in
//! the order of their reception.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use fep_coding::soft::{SoftDerandomizer, SoftVerdict};
use fep_coding::spec::SoftBlockDecoder;
use fep_coding::{CodeSpecError, Isa};

use super::batch::Note;
use crate::config::{ChannelConfig, Decoding};
use crate::realtime;

/// Symbols decoded together where nothing else is said: enough to fill the lanes of any decoder.
const BATCH_SYMBOLS: usize = 1 << 19;
/// Most blocks of such a batch.
const BATCH_BLOCKS: usize = 64;
/// Batches that a thread has before it at most: one at work, one waiting.
const QUEUE: usize = 2;

/// A decoded block: its octets, the verdicts on its codewords, what was known of it before.
pub(super) type Decoded<'a> = (&'a [u8], &'a [SoftVerdict], &'a Note);

/// Blocks decoded together.
#[derive(Default)]
struct Job {
    symbols: Vec<i8>,
    notes: Vec<Note>,
    payloads: Vec<u8>,
    verdicts: Vec<SoftVerdict>,
}

impl Job {
    fn decode(&mut self, decoder: &mut SoftBlockDecoder) {
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

/// Who decodes.
enum Decoders {
    Here(Box<SoftBlockDecoder>),
    Threads(Threads),
}

/// The batches of soft blocks of one link.
pub(super) struct SoftBatches {
    shape: Shape,
    derandomizer: SoftDerandomizer,
    /// Most blocks of a batch.
    batch: usize,
    /// How long a block may wait, nanoseconds.
    wait_ns: i64,
    gathering: Job,
    decoders: Decoders,
}

impl SoftBatches {
    pub(super) fn new(
        channel: &ChannelConfig,
        decoding: Decoding,
        isa: Isa,
    ) -> Result<SoftBatches, CodeSpecError> {
        let decoder = channel.code.build_soft(isa)?;
        let shape = Shape { payload_len: channel.code.payload_len(), codewords: decoder.codewords() };
        let symbols = channel.code.block_symbols();
        let batch = match decoding.batch {
            0 => (BATCH_SYMBOLS / symbols).clamp(1, BATCH_BLOCKS),
            batch => batch,
        };
        let decoders = match decoding.threads {
            0 => Decoders::Here(Box::new(decoder)),
            count => {
                let threads = Threads::start(count, || channel.code.build_soft(isa))?;
                // Where the system gives no thread at all, this one decodes the same.
                if threads.workers.is_empty() {
                    Decoders::Here(Box::new(decoder))
                } else {
                    Decoders::Threads(threads)
                }
            }
        };
        Ok(SoftBatches {
            shape,
            derandomizer: SoftDerandomizer::new(channel.randomizer, symbols),
            batch,
            wait_ns: 1000 * i64::from(decoding.wait_us),
            gathering: Job::default(),
            decoders,
        })
    }

    /// Takes a block as it was received.
    pub(super) fn push(&mut self, block: &[i8], note: Note, out: &mut impl FnMut(Decoded<'_>)) {
        let from = self.gathering.symbols.len();
        self.gathering.symbols.resize(from + block.len(), 0);
        self.derandomizer.apply_to(block, &mut self.gathering.symbols[from..]);
        self.gathering.notes.push(note);
        if self.gathering.notes.len() == self.batch {
            self.decode(out);
        }
    }

    /// What came has been taken, and it is `now`: nothing waits longer than it may.
    pub(super) fn end_of_chunk(&mut self, now_tai_ns: i64, out: &mut impl FnMut(Decoded<'_>)) {
        let oldest = self.gathering.notes.first().map(|note| note.rx_tai_ns);
        if oldest.is_some_and(|oldest| now_tai_ns - oldest >= self.wait_ns) {
            self.decode(out);
        }
        if let Decoders::Threads(threads) = &mut self.decoders {
            // Without leave to wait, what was begun in this chunk is finished in it.
            threads.collect(if self.wait_ns == 0 { 0 } else { usize::MAX }, self.shape, out);
        }
    }

    /// Decodes and hands on everything.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(Decoded<'_>)) {
        self.decode(out);
        if let Decoders::Threads(threads) = &mut self.decoders {
            threads.collect(0, self.shape, out);
        }
    }

    /// Whether something is on its way.
    pub(super) fn is_empty(&self) -> bool {
        let at_work = match &self.decoders {
            Decoders::Here(_) => 0,
            Decoders::Threads(threads) => threads.outstanding,
        };
        self.gathering.notes.is_empty() && at_work == 0
    }

    /// Forgets what was gathered; what threads are at work on is thrown away as well.
    pub(super) fn reset(&mut self) {
        self.gathering.symbols.clear();
        self.gathering.notes.clear();
        if let Decoders::Threads(threads) = &mut self.decoders {
            threads.collect(0, self.shape, &mut |_| {});
        }
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
            Decoders::Threads(threads) => {
                // Room for one more.
                threads.collect(threads.workers.len() * QUEUE - 1, self.shape, out);
                let empty = threads.idle.pop().unwrap_or_default();
                threads.submit(std::mem::replace(&mut self.gathering, empty));
            }
        }
    }
}

/// Threads that decode. Batches are dealt to them in turn and collected in the same turn, so that the order stays.
struct Threads {
    workers: Vec<Worker>,
    /// Whose turn it is to be given a batch, and to give one back.
    next_in: usize,
    next_out: usize,
    outstanding: usize,
    idle: Vec<Job>,
}

struct Worker {
    /// `None` once it shall end.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Job>,
    handle: Option<JoinHandle<()>>,
}

impl Threads {
    fn start(
        count: usize,
        build: impl Fn() -> Result<SoftBlockDecoder, CodeSpecError>,
    ) -> Result<Threads, CodeSpecError> {
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let mut decoder = build()?;
            let (jobs, jobs_in) = sync_channel::<Job>(QUEUE);
            let (done_out, done) = sync_channel(QUEUE);
            let started = std::thread::Builder::new().name(format!("fep-decode-{number}")).spawn(move || {
                // Where it was started from is pinned. If the kernel refuses, it shares that core.
                let _ = realtime::run_on(&realtime::allowed_cores());
                for mut job in jobs_in {
                    job.decode(&mut decoder);
                    if done_out.send(job).is_err() {
                        return;
                    }
                }
            });
            match started {
                Ok(handle) => workers.push(Worker { jobs: Some(jobs), done, handle: Some(handle) }),
                // Fewer threads decode the same.
                Err(_) => break,
            }
        }
        Ok(Threads { workers, next_in: 0, next_out: 0, outstanding: 0, idle: Vec::new() })
    }

    fn submit(&mut self, job: Job) {
        let worker = &self.workers[self.next_in];
        let jobs = worker.jobs.as_ref().expect("workers end with their owner only");
        // Never full: there are no more batches outstanding than all queues hold.
        assert!(jobs.send(job).is_ok(), "a decode thread has ended");
        self.next_in = (self.next_in + 1) % self.workers.len();
        self.outstanding += 1;
    }

    /// Hands on what is decoded, and waits until no more than `most` batches are at work.
    fn collect(&mut self, most: usize, shape: Shape, out: &mut impl FnMut(Decoded<'_>)) {
        while self.outstanding > 0 {
            let done = &self.workers[self.next_out].done;
            let job = if self.outstanding > most { done.recv().ok() } else { done.try_recv().ok() };
            let Some(mut job) = job else {
                assert!(self.outstanding <= most, "a decode thread has ended");
                return;
            };
            self.next_out = (self.next_out + 1) % self.workers.len();
            self.outstanding -= 1;
            job.hand_on(shape, out);
            self.idle.push(job);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.jobs = None;
        }
        for worker in &mut self.workers {
            if let Some(handle) = worker.handle.take() {
                // The queue of what is done has room for everything it can still send.
                let _ = handle.join();
            }
        }
    }
}
