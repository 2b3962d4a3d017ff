//! A file that appears under its name only when it is whole: it is written under a temporary name beside it and renamed.
//!
//! Whoever reads the final name sees the old file or the new one, never a part. A file that is dropped before
//! [`WholeFile::finish`], or whose process calls [`remove_unfinished`] on its way out, leaves nothing behind. Devices and
//! pipes (`/dev/stdout`, a FIFO) have no parts to hide: they are written directly.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Permissions of a file that did not exist, less the umask of the process.
const MODE: u32 = 0o666;

/// Temporary files of this process, so that a signal can remove them.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Distinguishes the files of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file being written.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// Temporary and final name; `None` for a device or pipe, which is written directly.
    names: Option<(PathBuf, PathBuf)>,
}

impl WholeFile {
    /// Begins to write `path`. A file that exists keeps its octets until [`WholeFile::finish`], and its permissions after.
    ///
    /// # Errors
    /// What the system says: no such directory, no permission; or that `path` is a directory.
    pub fn create(path: &Path) -> io::Result<WholeFile> {
        let mode = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(found) if !found.is_file() => {
                return Ok(WholeFile { file: OpenOptions::new().write(true).open(path)?, names: None });
            }
            Ok(found) => Some(found.mode() & 0o777),
            Err(_) => None,
        };
        let temporary = temporary_name(path)?;
        let mut unfinished = unfinished();
        // A name that exists is refused, links included: nothing that somebody planted is opened.
        let file =
            OpenOptions::new().write(true).create_new(true).mode(mode.unwrap_or(MODE)).open(&temporary)?;
        unfinished.push(temporary.clone());
        drop(unfinished);
        let whole = WholeFile { file, names: Some((temporary, path.to_owned())) };
        if let Some(mode) = mode {
            // The umask may have taken some away.
            whole.file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(whole)
    }

    /// Gives the file its name. Buffers around it have to be flushed before.
    ///
    /// # Errors
    /// When it cannot be renamed; the temporary file is removed then.
    pub fn finish(mut self) -> io::Result<()> {
        let Some((temporary, name)) = self.names.take() else { return self.file.flush() };
        // Under the lock, so that a signal finds it either unfinished or renamed.
        let mut unfinished = unfinished();
        let renamed = fs::rename(&temporary, name);
        if renamed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        unfinished.retain(|other| *other != temporary);
        renamed
    }
}

impl Write for WholeFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = self.names.take() {
            let mut unfinished = unfinished();
            // One that is gone already is what is wanted.
            let _ = fs::remove_file(&temporary);
            unfinished.retain(|other| *other != temporary);
        }
    }
}

/// Writes a file of these octets.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::finish`], and what the system says to the octets.
pub fn write_whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(octets)?;
    file.finish()
}

/// Removes every unfinished file of this process, which is about to end, and returns a guard: while it lives no file is
/// begun or finished.
#[must_use = "without the guard another thread may begin a file"]
pub fn remove_unfinished() -> impl Sized {
    let mut unfinished = unfinished();
    for temporary in unfinished.drain(..) {
        let _ = fs::remove_file(temporary);
    }
    unfinished
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    // A list of names: whatever a panicking thread left is still one.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `.NAME.PID-N.part` in the same directory, so that renaming never copies.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{number}.part", std::process::id()));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    // REQ: FEP-CTL-105
    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_keeps_its_permissions() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("allowed");
        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"new").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"old");
        assert_eq!(names(dir.path()).len(), 2);
        file.finish().expect("renamed");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o640);
        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(names(dir.path()), ["out"]);
        WholeFile::create(dir.path()).expect_err("a directory");
        WholeFile::create(&dir.path().join("no/such")).expect_err("no directory");
    }

    // REQ: FEP-CTL-105
    #[test]
    fn a_link_in_the_place_of_the_file_is_replaced_and_what_it_names_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, path) = (dir.path().join("victim"), dir.path().join("out"));
        fs::write(&victim, "mine").expect("written");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        write_whole(&path, b"new").expect("written");
        assert_eq!(fs::read(&victim).expect("readable"), b"mine");
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
        assert_eq!(fs::read(&path).expect("readable"), b"new");
    }
}
