//! Waking a thread that sleeps in `poll`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Ends the sleep of the thread that polls a link, from any other thread: when it has been given something to send, for one.
#[derive(Debug, Clone)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    pub(crate) fn new() -> std::io::Result<Waker> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker { event: Arc::new(event) })
    }

    /// The sleep that runs now, or the next one, ends at once. Never blocks; costs one system call.
    pub fn wake(&self) {
        // Fails only when it has been called 2^64 - 2 times since the last turn: then a wake-up is pending anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Makes the next [`Waker::wake`] count.
    pub(crate) fn clear(&self) {
        // Fails only when nobody has called since the last time.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}
