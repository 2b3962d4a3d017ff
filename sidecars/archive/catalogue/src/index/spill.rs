//! Chunks of the open tail that have no room in memory: in a file without a name, in places of equal length.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// The file. It has no name: it is gone with this process, however that ends.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    place_len: usize,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    free: Vec<u64>,
    /// Places that the file has.
    used: u64,
    max: u64,
}

/// Octets in the file. Their place is free again when the last who holds this drops it.
#[derive(Debug)]
pub(super) struct Spilled {
    spill: Arc<Spill>,
    place: u64,
    len: usize,
}

impl Spill {
    /// Makes the file in `directory`, for its owner alone: `octets` of it at most, in places of `place_len`.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn create(directory: &Path, place_len: usize, octets: u64) -> Result<Spill, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = directory.join(format!("tail-{}-{now}", std::process::id()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(Error::io("make", &path))?;
        std::fs::remove_file(&path).map_err(Error::io("take the name from", &path))?;
        let places = Places { free: Vec::new(), used: 0, max: octets / place_len as u64 };
        Ok(Spill { file, place_len, places: Mutex::new(places) })
    }

    /// Writes a chunk; `None` when there is no room for it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(self: &Arc<Spill>, octets: &[u8]) -> Result<Option<Spilled>, Error> {
        let place = {
            let mut places = self.lock();
            match places.free.pop() {
                Some(place) => place,
                None if places.used < places.max => {
                    places.used += 1;
                    places.used - 1
                }
                None => return Ok(None),
            }
        };
        // From here on the place is freed by dropping this, written or not.
        let spilled = Spilled { spill: Arc::clone(self), place, len: octets.len() };
        self.file
            .write_all_at(octets, place * self.place_len as u64)
            .map_err(Error::io("write", Path::new("the spilled tail")))?;
        Ok(Some(spilled))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spilled {
    /// Octets.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Reads a part of them.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn read(&self, from: usize, to: usize) -> Result<Vec<u8>, Error> {
        let mut octets = vec![0; to - from];
        let at = self.place * self.spill.place_len as u64 + from as u64;
        self.spill
            .file
            .read_exact_at(&mut octets, at)
            .map_err(Error::io("read", Path::new("the spilled tail")))?;
        Ok(octets)
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let mut places = self.spill.lock();
        places.free.push(self.place);
        if places.free.len() as u64 == places.used {
            // Nothing is in it any more: the disk gets it back. Where that fails, it stays for the next chunks.
            places.free = Vec::new();
            places.used = 0;
            let _ = self.spill.file.set_len(0);
        }
    }
}
