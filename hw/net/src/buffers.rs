//! Receive buffers lent to the kernel: a provided-buffer ring and the memory its entries point to.
//!
//! Invariants, asserted where they could break:
//! * a buffer is either with the kernel or with us, never both ([`ProvidedBuffers::take`] and [`ProvidedBuffers::give_back`] alternate);
//! * only a buffer that is with us can be looked at;
//! * the memory outlives every request of the ring it is registered with; [`crate::ring::Ring`] sees to that.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

const PAGE: usize = 4096;
const CACHE_LINE: usize = 64;

/// Page-aligned zeroed memory at a fixed address.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Pages {
        let layout =
            Layout::from_size_align(bytes.max(1), PAGE).expect("sizes are bounded by LinkSpec::validate");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Pages { start, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// A ring of `count` buffers of `size` octets each, shared with the kernel.
pub(crate) struct ProvidedBuffers {
    entries: Pages,
    data: Pages,
    count: u16,
    size: usize,
    /// Distance between buffers: `size` rounded up to a cache line.
    stride: usize,
    with_us: Vec<bool>,
    tail: u16,
}

// SAFETY: the memory is owned, and is reached only through `&self` and `&mut self`.
unsafe impl Send for ProvidedBuffers {}

impl ProvidedBuffers {
    /// `count` is a power of two. All buffers start with the kernel.
    pub(crate) fn new(count: u16, size: usize) -> ProvidedBuffers {
        assert!(count.is_power_of_two(), "the kernel masks indices");
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>());
        let stride = size.next_multiple_of(CACHE_LINE);
        let data = Pages::new(usize::from(count) * stride);
        // The kernel would fault the pages in one by one while data waits.
        for page in (0..usize::from(count) * stride).step_by(PAGE) {
            // SAFETY: within the allocation.
            unsafe { data.start.as_ptr().add(page).write_volatile(0) };
        }
        let mut buffers = ProvidedBuffers {
            entries,
            data,
            count,
            size,
            stride,
            with_us: vec![true; usize::from(count)],
            tail: 0,
        };
        for id in 0..count {
            buffers.give_back(id);
        }
        buffers
    }

    /// Address of the ring of entries, for the registration.
    pub(crate) fn ring_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// Number of entries, for the registration.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// The kernel filled buffer `id` and named it in a completion.
    pub(crate) fn take(&mut self, id: u16) {
        let with_us = &mut self.with_us[usize::from(id)];
        assert!(!*with_us, "the kernel completed into buffer {id}, which it does not hold");
        *with_us = true;
    }

    /// The first `len` octets of a buffer that is with us.
    pub(crate) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(self.with_us[usize::from(id)], "buffer {id} is with the kernel");
        assert!(len <= self.size, "{len} octets in a buffer of {}", self.size);
        // SAFETY: `id` indexed `with_us`, so it is below `count`; the buffer is with us, so nobody writes to it, and
        // `give_back` needs `&mut self`, so it stays with us as long as the borrow lives. The memory is initialised (zeroed).
        unsafe {
            std::slice::from_raw_parts(self.data.start.as_ptr().add(usize::from(id) * self.stride), len)
        }
    }

    /// Lends buffer `id` to the kernel again.
    pub(crate) fn give_back(&mut self, id: u16) {
        let with_us = &mut self.with_us[usize::from(id)];
        assert!(*with_us, "buffer {id} was given back twice");
        *with_us = false;
        let slot = usize::from(self.tail & (self.count - 1));
        let ring = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot` is below `count`, so the entry is inside the allocation; the kernel does not read it before the tail moves.
        // The address stays inside `data`. Only fields are written, because the tail lives in the padding of entry 0.
        unsafe {
            let entry = &mut *ring.add(slot);
            entry.set_addr(self.data.start.as_ptr().add(usize::from(id) * self.stride) as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `tail` gives the address of the tail inside the allocation, 2-aligned; the kernel only reads it.
        unsafe {
            AtomicU16::from_ptr(BufRingEntry::tail(ring).cast_mut()).store(self.tail, Ordering::Release)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-NET-003
    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_buffer_cannot_be_given_back_twice() {
        let mut buffers = ProvidedBuffers::new(2, 64);
        buffers.take(1);
        buffers.give_back(1);
        buffers.give_back(1);
    }

    // REQ: FEP-NET-003
    #[test]
    #[should_panic(expected = "is with the kernel")]
    fn a_buffer_that_is_with_the_kernel_cannot_be_looked_at() {
        let buffers = ProvidedBuffers::new(2, 64);
        buffers.bytes(0, 1);
    }

    #[test]
    fn a_buffer_taken_back_shows_its_octets() {
        let mut buffers = ProvidedBuffers::new(4, 4096);
        buffers.take(3);
        assert_eq!(buffers.bytes(3, 4096), &[0u8; 4096][..]);
    }
}
