//! The three areas a ring's two sides work on, as slices of atomic words: the seam where loom's atomics, a heap
//! region (Miri, fuzzing, tests) and a mapped file take each other's place. No I/O and no protocol here.

use std::sync::Arc;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(any(test, loom))]
use crate::layout::LINE;
use crate::layout::{Shape, page};

/// Words of a ring; lengths are fixed for the life of the value.
pub(crate) trait Memory {
    /// The producer page, `page::END / 8` words.
    fn page(&self) -> &[AtomicU64];
    /// All descriptors, eight words each.
    fn descriptors(&self) -> &[AtomicU64];
    /// The byte log, `data_len / 8` words, starting on a line.
    fn data(&self) -> &[AtomicU64];
}

impl<M: Memory + ?Sized> Memory for Arc<M> {
    fn page(&self) -> &[AtomicU64] {
        (**self).page()
    }
    fn descriptors(&self) -> &[AtomicU64] {
        (**self).descriptors()
    }
    fn data(&self) -> &[AtomicU64] {
        (**self).data()
    }
}

/// Loads with acquire from memory that may be mapped read-only: there the language only promises relaxed loads.
#[inline]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// A ring without a file, for models and tests.
#[cfg(any(test, loom))]
pub(crate) struct HeapMemory {
    page: Vec<AtomicU64>,
    descriptors: Vec<AtomicU64>,
    data: Vec<AtomicU64>,
}

#[cfg(any(test, loom))]
impl HeapMemory {
    /// Zeroed areas with the producer page set as a creator sets it.
    pub(crate) fn new(shape: &Shape) -> HeapMemory {
        let words = |octets: u64| (0..octets / 8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let memory = HeapMemory {
            page: words(page::END as u64),
            descriptors: words(shape.slots() * LINE),
            data: words(shape.data_len),
        };
        format_page(&memory, shape);
        memory
    }
}

#[cfg(any(test, loom))]
impl Memory for HeapMemory {
    fn page(&self) -> &[AtomicU64] {
        &self.page
    }
    fn descriptors(&self) -> &[AtomicU64] {
        &self.descriptors
    }
    fn data(&self) -> &[AtomicU64] {
        &self.data
    }
}

/// First values of the producer page; everything else starts as zero.
pub(crate) fn format_page(memory: &impl Memory, shape: &Shape) {
    let set = |offset: usize, value: u64| memory.page()[offset / 8].store(value, Ordering::Relaxed);
    set(page::RESERVE_POS, shape.pos0);
    set(page::HEAD_SEQ, shape.seq0);
    set(page::HEAD_POS, shape.pos0);
    set(page::HEAD_PAYLOAD, shape.payload0);
    set(page::EPOCH_SEQ, shape.seq0);
    // Until a warden says more: everything a reader standing at the start leaves free.
    set(page::LIMIT_SEQ, shape.seq0 + shape.slots());
    set(page::LIMIT_POS, shape.pos0 + shape.data_len);
}
