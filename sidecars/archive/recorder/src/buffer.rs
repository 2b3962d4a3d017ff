//! Memory of blocks, and the numbers by which io_uring knows it.

use std::sync::{Arc, Mutex, PoisonError};

use fep_segments::PAGE_LEN;

/// Memory for one block: starts on a page, whole pages long.
#[derive(Debug, Default)]
pub struct BlockBuffer {
    octets: Vec<u8>,
    start: usize,
    len: usize,
    /// Its number in the table of a queue, once that has written it.
    pub(crate) slot: Option<Slot>,
}

impl BlockBuffer {
    /// Zeroed memory of `len` octets, rounded up to whole pages.
    pub fn new(len: usize) -> BlockBuffer {
        let len = len.next_multiple_of(PAGE_LEN);
        let octets = vec![0; len + PAGE_LEN];
        let start = octets.as_ptr().align_offset(PAGE_LEN);
        BlockBuffer { octets, start, len, slot: None }
    }

    /// Octets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[self.start..self.start + self.len]
    }

    /// The memory.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.octets[self.start..self.start + self.len]
    }
}

/// Numbers of the buffers that one queue has registered with the kernel, which then need not look for their pages at each write.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<Vec<u16>>,
}

/// The number of one buffer, free again when that is dropped. Until another buffer gets the number the kernel keeps its pages.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u16,
    slots: Arc<Slots>,
}

impl Slots {
    pub(crate) fn new(count: u16) -> Arc<Slots> {
        Arc::new(Slots { free: Mutex::new((0..count).rev().collect()) })
    }

    /// A number that no living buffer has.
    pub(crate) fn take(self: &Arc<Slots>) -> Option<Slot> {
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot { number, slots: Arc::clone(self) })
    }
}

impl Slot {
    /// The number, if it is one of this table.
    pub(crate) fn number_in(&self, slots: &Arc<Slots>) -> Option<u16> {
        Arc::ptr_eq(&self.slots, slots).then_some(self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}
