//! Blocks on their way through a decoder: gathered to batches, decoded here or in a pool of threads, handed on in the
//! order of their reception.
//!
//! The chain has no threads. A [`DecodePool`] belongs to whoever runs the chain; it takes [`DecodeJob`]s and gives them
//! back decoded, in their order. Every code goes through it the same way.

mod octets;
mod symbols;

use fep_coding::conv::WindowBatch;
use fep_time::Monotonic;

pub(crate) use octets::{DecodedFrame, OctetBlocks, OctetShape};
pub(crate) use symbols::{DecodedBlock, SymbolBlocks, SymbolShape};

/// Blocks that are decoded together, with the decoder that does it.
pub struct DecodeJob {
    work: Work,
    failed: bool,
}

enum Work {
    Octets(OctetBlocks),
    Symbols(SymbolBlocks),
    Windows(WindowBatch),
}

impl DecodeJob {
    /// Decodes every block.
    pub fn run(&mut self) {
        match &mut self.work {
            Work::Octets(blocks) => blocks.decode(),
            Work::Symbols(blocks) => blocks.decode(),
            Work::Windows(windows) => windows.run(),
        }
    }

    /// The decoder did not come to its end: its blocks are handed on as uncorrectable, and the chain reports
    /// a fault ([`crate::Chain::pool_failed`]).
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

/// Where jobs are decoded when not on the thread of the chain.
pub trait DecodePool: Send {
    /// Jobs that it holds at most; 1 or more.
    fn capacity(&self) -> usize;
    /// Takes a job. There are never more than [`DecodePool::capacity`] in it.
    fn submit(&mut self, job: DecodeJob);
    /// Gives the oldest job back, decoded or failed. `None` when it is not finished yet; with `wait`, only when there is
    /// none.
    fn collect(&mut self, wait: bool) -> Option<DecodeJob>;
}

/// The pool of a chain with a convolutional code: windows of its stream, all of one call at once.
pub(crate) struct WindowPool {
    pool: Box<dyn DecodePool>,
    failed: bool,
}

impl WindowPool {
    pub(crate) fn new(pool: Box<dyn DecodePool>) -> WindowPool {
        WindowPool { pool, failed: false }
    }

    /// Batches that it decodes at once.
    pub(crate) fn capacity(&self) -> usize {
        self.pool.capacity()
    }

    /// Decodes every batch. What failed is zeros, in which no code and no FECF finds a frame.
    pub(crate) fn run(&mut self, batches: &mut Vec<WindowBatch>) {
        let count = batches.len();
        for batch in batches.drain(..) {
            self.pool.submit(Work::Windows(batch).into());
        }
        for _ in 0..count {
            let Some(DecodeJob { work: Work::Windows(mut batch), failed }) = self.pool.collect(true) else {
                unreachable!("a pool gives back what it was given")
            };
            if failed {
                self.failed = true;
                batch.give_up();
            }
            batches.push(batch);
        }
    }

    /// Whether a job failed in the pool.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }
}

/// Blocks of one kind, gathered, decoded, handed on.
pub(crate) trait Blocks: Sized {
    /// A decoded block with what is known of it.
    type Out<'a>;

    fn is_empty(&self) -> bool;
    fn is_full(&self) -> bool;
    fn decode(&mut self);
    /// What was gathered could not be decoded.
    fn give_up(&mut self);
    /// Hands every block on, and is empty again.
    fn hand_on(&mut self, out: &mut impl FnMut(Self::Out<'_>));
    fn clear(&mut self);
    fn into_job(self) -> DecodeJob;
    fn from_job(job: DecodeJob) -> Option<Self>;
}

impl From<Work> for DecodeJob {
    fn from(work: Work) -> DecodeJob {
        DecodeJob { work, failed: false }
    }
}

/// Gathers blocks, and hands them on decoded in the order in which they came.
pub(crate) struct Decoding<B> {
    gathering: B,
    /// When the first of them came.
    since: Monotonic,
    /// How long a block may wait for others, nanoseconds.
    wait_ns: i64,
    pool: Option<Pool<B>>,
    failed: bool,
}

struct Pool<B> {
    pool: Box<dyn DecodePool>,
    outstanding: usize,
    /// Empty blocks with their decoders: as many as the pool holds jobs, made beforehand.
    idle: Vec<B>,
}

impl<B: Blocks> Decoding<B> {
    /// `make` makes empty blocks with a decoder; it is called once, and once more for every job that the pool holds.
    pub(crate) fn new<E>(
        wait_us: u32,
        pool: Option<Box<dyn DecodePool>>,
        make: impl Fn() -> Result<B, E>,
    ) -> Result<Decoding<B>, E> {
        let gathering = make()?;
        let pool = match pool {
            Some(pool) => {
                let idle = (0..pool.capacity()).map(|_| make()).collect::<Result<_, E>>()?;
                Some(Pool { pool, outstanding: 0, idle })
            }
            None => None,
        };
        let wait_ns = 1000 * i64::from(wait_us);
        Ok(Decoding { gathering, since: Monotonic::PAST, wait_ns, pool, failed: false })
    }

    /// The blocks being gathered; one more may be put in. [`Decoding::gathered`] follows.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut B {
        &mut self.gathering
    }

    /// A block was put in at `now`.
    #[inline]
    pub(crate) fn gathered(&mut self, now: Monotonic, out: &mut impl FnMut(B::Out<'_>)) {
        if self.gathering.is_full() {
            self.decode(out);
        } else if self.wait_ns > 0 && self.since == Monotonic::PAST {
            self.since = now;
        }
    }

    /// What came has been taken in, and it is `now`: no block waits longer than it may.
    pub(crate) fn end_of_chunk(&mut self, now: Monotonic, out: &mut impl FnMut(B::Out<'_>)) {
        if self.wait_ns == 0 || now.ns_since(self.since) >= self.wait_ns {
            self.decode(out);
        }
        // Without leave to wait, what was begun in this chunk is finished in it.
        self.collect(if self.wait_ns == 0 { 0 } else { usize::MAX }, out);
    }

    /// Decodes and hands on everything.
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(B::Out<'_>)) {
        self.decode(out);
        self.collect(0, out);
    }

    /// Whether something is on its way.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.gathering.is_empty() || self.pool.as_ref().is_some_and(|pool| pool.outstanding > 0)
    }

    /// Whether a job failed in the pool.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Forgets what was gathered; what the pool is at work on is thrown away as well.
    pub(crate) fn reset(&mut self) {
        self.gathering.clear();
        self.since = Monotonic::PAST;
        self.collect(0, &mut |_| {});
    }

    fn decode(&mut self, out: &mut impl FnMut(B::Out<'_>)) {
        if self.gathering.is_empty() {
            return;
        }
        self.since = Monotonic::PAST;
        if self.pool.is_none() {
            self.gathering.decode();
            return self.gathering.hand_on(out);
        }
        // Room for one more.
        let most = self.pool.as_ref().map_or(0, |pool| pool.pool.capacity() - 1);
        self.collect(most, out);
        let Some(pool) = &mut self.pool else { return };
        let Some(empty) = pool.idle.pop() else { unreachable!("as many empty ones as the pool holds jobs") };
        pool.pool.submit(std::mem::replace(&mut self.gathering, empty).into_job());
        pool.outstanding += 1;
    }

    /// Hands on what the pool has decoded, and waits until no more than `most` jobs are in it.
    fn collect(&mut self, most: usize, out: &mut impl FnMut(B::Out<'_>)) {
        let Some(pool) = &mut self.pool else { return };
        while pool.outstanding > 0 {
            let Some(job) = pool.pool.collect(pool.outstanding > most) else { return };
            pool.outstanding -= 1;
            let failed = job.failed;
            let Some(mut blocks) = B::from_job(job) else {
                unreachable!("a pool gives back what it was given")
            };
            if failed {
                self.failed = true;
                blocks.give_up();
            }
            blocks.hand_on(out);
            pool.idle.push(blocks);
        }
    }
}
