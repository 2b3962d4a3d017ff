//! One at a time: a scrub that reads a segment, a round that moves it and a deletion must not meet.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use twox_hash::XxHash3_64;

use crate::model::SegmentId;

/// Segments share so many locks: two that share one only wait for each other.
const LOCKS: usize = 64;

/// Who may change where a segment's octets are. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Turns {
        Turns((0..LOCKS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Waits until nobody else is at work on the segment; it is ours until the guard is dropped. What the catalogue said
    /// of the segment before may not hold any more.
    pub(super) async fn of(&self, id: &SegmentId) -> MutexGuard<'_, ()> {
        let hash = XxHash3_64::oneshot(id.0.as_bytes());
        self.0[(hash % LOCKS as u64) as usize].lock().await
    }
}
