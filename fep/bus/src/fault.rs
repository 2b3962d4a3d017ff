#![allow(unsafe_code)]
//! Files that are cut short under a mapping for reading. An access behind the new end raises SIGBUS, which would end the process:
//! the recorder must not die because a service shortens its events ring.
//!
//! The handler puts zeros in the place of the whole mapping, and the access that faulted is tried again. A reader then finds what it
//! finds in a damaged ring: nothing new. SIGBUS from anywhere else takes its usual course.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mappings that one process can have.
const REGIONS_MAX: usize = 8192;

/// One mapping; free when `start` is zero. `start` is stored last and cleared first.
struct Region {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    fired: AtomicBool,
}

static REGIONS: [Region; REGIONS_MAX] = [const {
    Region {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        fired: AtomicBool::new(false),
    }
}; REGIONS_MAX];

/// What handled SIGBUS before: set once, before the handler can run.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// Protects one mapping for as long as it lives. To be dropped before the mapping.
#[derive(Debug)]
pub(crate) struct Guard {
    index: usize,
}

impl Guard {
    /// Protects `len` octets from address `start`.
    pub(crate) fn new(start: usize, len: usize) -> io::Result<Guard> {
        install()?;
        let free = REGIONS.iter().position(|region| !region.taken.swap(true, Ordering::AcqRel));
        let index = free.ok_or_else(|| {
            io::Error::other(format!("this process has {REGIONS_MAX} files of the bus mapped already"))
        })?;
        let region = &REGIONS[index];
        region.fired.store(false, Ordering::Relaxed);
        region.end.store(start + len, Ordering::Relaxed);
        region.start.store(start, Ordering::Release);
        Ok(Guard { index })
    }

    /// Whether zeros were put in the place of the mapping.
    pub(crate) fn has_fired(&self) -> bool {
        REGIONS[self.index].fired.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let region = &REGIONS[self.index];
        region.start.store(0, Ordering::Relaxed);
        region.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once in the life of the process.
fn install() -> io::Result<()> {
    let installed = BEFORE.get_or_init(|| {
        // SAFETY: a zeroed `sigaction` is a valid one, and is filled in by the first call; that one only asks.
        let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: as above; both pointers are null or of values that live long enough.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) } != 0 {
            return None;
        }
        Some(before)
    });
    if installed.is_none() {
        return Err(io::Error::other("the signal SIGBUS cannot be handled"));
    }
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let installed = *INSTALLED.get_or_init(|| {
        // SAFETY: a zeroed `sigaction` is a valid one with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as usize;
        // On the stack that std gives threads for the case that theirs is full.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does only what a handler may.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) == 0 }
    });
    if installed { Ok(()) } else { Err(io::Error::other("the signal SIGBUS cannot be handled")) }
}

/// Only atomics and system calls: all that a handler may do.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO, and SIGBUS has an address.
    let address = unsafe { (*info).si_addr() }.addr();
    let found = REGIONS.iter().find(|region| {
        let start = region.start.load(Ordering::Acquire);
        start != 0 && start <= address && address < region.end.load(Ordering::Relaxed)
    });
    if let Some(region) = found {
        let start = region.start.load(Ordering::Relaxed);
        let len = region.end.load(Ordering::Relaxed).wrapping_sub(start);
        // SAFETY: the location of this thread's `errno`, which the system call below may change.
        let errno = unsafe { *libc::__errno_location() };
        // SAFETY: replaces exactly a mapping of ours that is alive, because somebody reads it at this moment and its guard is
        // dropped before it; readers see atomics that become zero, which is what another process could have stored there.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(start),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
        if mapped != libc::MAP_FAILED {
            region.fired.store(true, Ordering::Relaxed);
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.get().copied().flatten();
    match before {
        Some(before) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction) => {
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: who installed it said by SA_SIGINFO that it is such a function.
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    unsafe { std::mem::transmute(before.sa_sigaction) };
                handler(signal, info, context);
            } else {
                // SAFETY: who installed it said by the missing SA_SIGINFO that it is such a function.
                let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(before.sa_sigaction) };
                handler(signal);
            }
        }
        _ => {
            // SAFETY: a zeroed `sigaction` is the default action; the access faults again and ends the process.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        }
    }
}
