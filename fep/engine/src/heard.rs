//! Whether an antenna is heard: what a link's thread says to the thread of the spacecraft that merges it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One antenna's sign, shared by two threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicBool>);

impl Heard {
    /// Whether the antenna is connected and in lock. What it published before it fell silent is visible to whoever reads
    /// `false`.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// For the link's thread.
    pub(crate) fn speak(&self) -> Speaker {
        Speaker { heard: self.clone(), said: false }
    }
}

/// The link's end. Dropping it, after a panic too, says that nobody is heard.
pub(crate) struct Speaker {
    heard: Heard,
    said: bool,
}

impl Speaker {
    #[inline]
    pub(crate) fn say(&mut self, heard: bool) {
        if heard != self.said {
            self.said = heard;
            self.heard.0.store(heard, Ordering::Release);
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.heard.0.store(false, Ordering::Release);
    }
}
