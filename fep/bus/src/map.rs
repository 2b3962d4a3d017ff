#![allow(unsafe_code)]
//! Shared mappings of whole files, seen only as atomic words. Nothing else of the bus calls `mmap`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::fault::Guard;
use crate::memory::AtomicU64;

/// Gives `file` its length and all its memory now: a full file system is an error here, not a fault later.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: only passes a valid descriptor and numbers.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A file mapped from its start. Dropping unmaps it.
///
/// Whoever may shrink the file makes the next access fault (SIGBUS). Only files of trusted owners are mapped, which
/// [`crate::directory`] sees to; files that consumers own never are. A mapping for reading outlives even that
/// ([`crate::fault`]): it is all zeros then, and [`Mapping::is_lost`].
pub(crate) struct Mapping {
    start: *const AtomicU64,
    words: usize,
    /// Of mappings for reading. The owner of a file of its own that it shortens has itself to blame, and must not write on into
    /// memory that nobody sees.
    guard: Option<Guard>,
}

// SAFETY: the memory is only reached as atomics, from any thread; the mapping is not bound to one.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` octets (a multiple of 8) of `file` for reading, and for writing if asked.
    pub(crate) fn new(file: &File, len: u64, writable: bool, prefault: bool) -> io::Result<Mapping> {
        // Loom replaces the atomics by ones that cannot lie in a file; its models use heap memory.
        if cfg!(loom) {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "file too long to map");
        let octets = usize::try_from(len).map_err(|_| too_long())?;
        if !len.is_multiple_of(8) || len == 0 || file.metadata()?.len() < len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "file shorter than what it should hold"));
        }
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let flags = libc::MAP_SHARED | if prefault { libc::MAP_POPULATE } else { 0 };
        // SAFETY: a fresh mapping of a file we hold open; the kernel picks the address, nothing of ours is replaced.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), octets, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut mapping = Mapping { start: start.cast_const().cast(), words: octets / 8, guard: None };
        if !writable {
            mapping.guard = Some(Guard::new(start.addr(), octets)?);
        }
        Ok(mapping)
    }

    /// Whether the file was cut short under this mapping: it holds nothing but zeros from then on.
    pub(crate) fn is_lost(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::has_fired)
    }

    /// All words. On a read-only mapping the caller only loads, relaxed (stores would fault).
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and valid for `words` words until drop; other processes change them, which
        // is what atomics allow; no plain reference to them exists anywhere.
        unsafe { std::slice::from_raw_parts(self.start, self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Before the addresses can be given to somebody else.
        self.guard = None;
        // SAFETY: exactly the range that `new` mapped; borrows of it end with `self`.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.words * 8) };
    }
}
