//! Who records a stream: one process at a time, and others can see whether it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::SegmentError;
use crate::name::Stream;
use crate::writer::make_directory;

/// Held by the process that writes the segments of a stream; released when it ends, however it ends.
#[derive(Debug)]
pub struct RecorderLock {
    _file: File,
}

impl RecorderLock {
    /// Takes the lock; `None` when another process holds it. Makes the stream's directory if need be.
    pub fn take(archive: &Path, stream: &Stream) -> Result<Option<RecorderLock>, SegmentError> {
        let directory = stream.directory(archive);
        make_directory(&directory, stream)?;
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(SegmentError::io(&path, "open"))?;
        // Somebody who only looks (`is_recorded`) may hold it for an instant.
        for attempt in 0..20 {
            match file.try_lock() {
                Ok(()) => return Ok(Some(RecorderLock { _file: file })),
                Err(TryLockError::WouldBlock) if attempt < 19 => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(SegmentError::io(&path, "lock")(error)),
            }
        }
        Ok(None)
    }
}

/// Whether a live process records the stream.
pub fn is_recorded(archive: &Path, stream: &Stream) -> bool {
    let Ok(file) = File::open(stream.directory(archive).join("lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
