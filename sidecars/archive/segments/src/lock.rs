//! Who records a stream: one process at a time, and others can see whether it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::error::SegmentError;
use crate::name::Stream;
use crate::plain;
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
        // Somebody who only looks (`is_recorded`) may hold it for an instant.
        Ok(locked(&directory.join("lock"), 20)?.map(|file| RecorderLock { _file: file }))
    }
}

/// Held by the one recorder of an archive directory; released when it ends, however it ends.
#[derive(Debug)]
pub struct ArchiveLock {
    _file: File,
}

impl ArchiveLock {
    /// Takes the lock of an archive directory that exists; `None` when another process holds it, also after a second: one
    /// that was killed may still be on its way out.
    pub fn take(archive: &Path) -> Result<Option<ArchiveLock>, SegmentError> {
        Ok(locked(&archive.join("recorder.lock"), 200)?.map(|file| ArchiveLock { _file: file }))
    }
}

/// Takes a lock file, made if need be; `None` when it is held at every one of so many attempts, 5 ms apart.
fn locked(path: &Path, attempts: usize) -> Result<Option<File>, SegmentError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .map_err(SegmentError::io(path, "open"))?;
    for _ in 0..attempts {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(SegmentError::io(path, "lock")(error)),
        }
    }
    Ok(None)
}

/// Whether a live process records the stream.
pub fn is_recorded(archive: &Path, stream: &Stream) -> bool {
    let Ok(file) = plain::open(&stream.directory(archive).join("lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
