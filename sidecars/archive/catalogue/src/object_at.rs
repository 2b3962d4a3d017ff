//! A stored object as segments are read: a stretch here, a stretch there.

use std::io;

use fep_segments::ReadAt;
use tokio::runtime::Handle;

use crate::model::StoredObject;
use crate::store::Store;

/// An object of the store, read by stretches. Blocking: for threads outside of the runtime.
#[derive(Debug, Clone)]
pub struct ObjectAt {
    store: Store,
    object: StoredObject,
    runtime: Handle,
}

impl ObjectAt {
    /// Nothing is read yet. Requests run on `runtime`.
    #[must_use]
    pub fn new(store: Store, object: StoredObject, runtime: Handle) -> ObjectAt {
        ObjectAt { store, object, runtime }
    }
}

impl ReadAt for ObjectAt {
    fn len(&self) -> io::Result<u64> {
        Ok(self.object.octets)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = self.object.octets.min(offset.saturating_add(into.len() as u64));
        if offset >= end {
            return Ok(0);
        }
        let found = self.store.get_range(&self.object.key, offset, end);
        let found = self.runtime.block_on(found).map_err(io::Error::other)?;
        let len = found.len().min(into.len());
        into[..len].copy_from_slice(&found[..len]);
        Ok(len)
    }
}
