//! Who records a stream: one process at a time, and others can see whether it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_bus::BusError;
use rustix::fs::OFlags;

use crate::error::SegmentError;
use crate::name::Stream;
use crate::plain;
use crate::tree::{SegmentState, list};
use crate::writer::make_directory;

/// Held by the process that writes the segments of a stream; released when it ends, however it ends.
#[derive(Debug)]
pub struct RecorderLock(#[expect(dead_code, reason = "held for its lock")] Locked);

impl RecorderLock {
    /// Takes the lock. Makes the stream's directory if need be. Waits until what a recorder that was killed had on its way to
    /// the disk is there, or is given up by the system ([`write_lock`]): only then do the segments say where they end.
    ///
    /// # Errors
    /// [`BusError::Held`] when another process holds it, or its writes are not at their end after a second.
    pub fn take(archive: &Path, stream: &Stream) -> Result<RecorderLock, SegmentError> {
        let directory = stream.directory(archive);
        make_directory(&directory, stream)?;
        // Somebody who only looks (`is_recorded`) may hold it for an instant.
        let lock = RecorderLock(locked(&directory.join("lock"), 20, "recorder of a ring")?);
        let mut attempts = 200;
        for entry in list(archive, stream)?.into_iter().filter(|entry| entry.state == SegmentState::Open) {
            while is_locked(&entry.path) {
                attempts -= 1;
                if attempts == 0 {
                    let role = "recorder that has ended, whose last writes the disk has not done";
                    return Err(BusError::Held { path: entry.path, pid: 0, role }.into());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(lock)
    }
}

/// Locks a segment that begins to be written, with the descriptor that it is written by. A process that is killed may leave
/// writes behind that the system does after its end: each of them keeps the file open, and so the lock. A file system without
/// locks writes without.
pub fn write_lock(file: &File) {
    let _ = file.try_lock();
}

/// Held by the one recorder of an archive directory; released when it ends, however it ends.
#[derive(Debug)]
pub struct ArchiveLock(#[expect(dead_code, reason = "held for its lock")] Locked);

impl ArchiveLock {
    /// Takes the lock of an archive directory, which exists. One that was killed may still be on its way out: it is waited
    /// for, a second long.
    ///
    /// # Errors
    /// [`BusError::Held`] when another process holds it.
    pub fn take(archive: &Path) -> Result<ArchiveLock, SegmentError> {
        let file = locked(&ArchiveLock::file(archive), 200, "recorder of an archive directory")?;
        Ok(ArchiveLock(file))
    }

    /// Whether a live process holds the lock. Changes nothing.
    pub fn is_held(archive: &Path) -> bool {
        is_locked(&ArchiveLock::file(archive))
    }

    fn file(archive: &Path) -> PathBuf {
        archive.join("recorder.lock")
    }
}

/// A file whose lock we hold. It is unlocked at the end, not only closed: a child process that another thread is starting
/// has our descriptors until it becomes its own program.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // What cannot be unlocked here, the kernel unlocks with the last descriptor.
        let _ = self.0.unlock();
    }
}

/// Takes a lock file, made if need be, in at most so many attempts, 5 ms apart, and leaves the number of this process in
/// it.
fn locked(path: &Path, attempts: usize, role: &'static str) -> Result<Locked, SegmentError> {
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
            Ok(()) => {
                let pid = std::process::id().to_string();
                // Only for messages: a disk without room does not keep anybody from locking.
                let _ = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
                return Ok(Locked(file));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(SegmentError::io(path, "lock")(error)),
        }
    }
    let mut pid = [0; 10];
    let read = file.read_at(&mut pid, 0).unwrap_or(0);
    let pid = std::str::from_utf8(&pid[..read]).ok().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    Err(BusError::Held { path: path.to_owned(), pid, role }.into())
}

/// Whether a live process records the stream.
pub fn is_recorded(archive: &Path, stream: &Stream) -> bool {
    is_locked(&stream.directory(archive).join("lock"))
}

fn is_locked(path: &Path) -> bool {
    let Ok(file) = plain::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use fep_bus::Colour;

    use super::*;
    use crate::name::SegmentName;

    // REQ: FEP-REC-161
    #[test]
    fn a_stream_is_taken_only_when_the_last_write_of_a_recorder_that_was_killed_is_at_its_end() {
        let archive = tempfile::tempdir().unwrap();
        let stream = Stream::new(Colour::Black, "one.frames");
        drop(RecorderLock::take(archive.path(), &stream).unwrap());
        let name = SegmentName { series: 1, base_pos: 0 };
        let path = stream.directory(archive.path()).join(name.open_file());
        let written = File::create(&path).unwrap();
        write_lock(&written);
        // The process ends, its descriptor is closed; a write that is under way keeps the file.
        let under_way = written.try_clone().unwrap();
        drop(written);
        let refused = RecorderLock::take(archive.path(), &stream).unwrap_err().to_string();
        assert!(refused.contains("last writes"), "{refused}");
        let taken = std::thread::scope(|scope| {
            let taken = scope.spawn(|| RecorderLock::take(archive.path(), &stream));
            drop(under_way);
            taken.join().unwrap()
        });
        drop(taken.unwrap());
    }
}
