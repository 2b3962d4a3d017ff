use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};

use crate::FileError;
use crate::reading::name_of;

/// Entries of a directory that are looked at for what killed writers left.
const LEFTOVERS_LOOKED_AT: usize = 4096;
const SUFFIX: &str = ".new";

/// Writes `contents` to `path`. Whoever opens `path`, now or after a power cut, finds the old file or the new one, whole.
/// When the call returns, the new one is on disk.
///
/// # Errors
/// As [`Replacement::begin`] and [`Replacement::finish`]. The old file then is as before, unless the error says that the
/// directory could not be made durable: then the new file has the name, and may lose it in a power cut.
pub fn replace(path: &Path, mode: u32, contents: &[u8]) -> Result<(), FileError> {
    let mut file = Replacement::begin(path, mode)?;
    file.write_all(contents).map_err(FileError::io("write", path))?;
    file.finish()
}

/// As [`replace`], but only when nothing has the name.
///
/// # Errors
/// As [`replace`], and [`FileError::Exists`].
pub fn create_new(path: &Path, mode: u32, contents: &[u8]) -> Result<(), FileError> {
    let mut file = Replacement::begin_new(path, mode)?;
    file.write_all(contents).map_err(FileError::io("write", path))?;
    file.finish()
}

/// Makes a directory that must not exist yet; its parent must. On disk when the call returns.
///
/// # Errors
/// [`FileError::Exists`], and what the system says.
pub fn create_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    let (parent, name) = split(path)?;
    check_mode(path, mode)?;
    let parent = open_directory(&parent)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode & 0o700)) {
        Err(rustix::io::Errno::EXIST) => return Err(FileError::Exists { path: path.to_owned() }),
        made => made.map_err(FileError::io("make the directory", path))?,
    }
    rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(FileError::io("set the mode of", path))?;
    rustix::fs::fsync(&parent).map_err(FileError::io("make durable the directory of", path))
}

/// A file that is being written and has no name yet. Dropped before [`Replacement::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    directory: OwnedFd,
    path: PathBuf,
    name: String,
    /// `None` once it has its name.
    temporary: Option<String>,
    mode: u32,
    may_replace: bool,
}

impl Replacement {
    /// Begins the file that will replace `path`, or be the first of that name. `mode` is its nine permission bits.
    ///
    /// # Errors
    /// [`FileError::NotRegular`] when something else than a regular file has the name: a symbolic link is neither followed
    /// nor replaced. [`FileError::NoName`], [`FileError::Mode`], and what the system says.
    pub fn begin(path: &Path, mode: u32) -> Result<Replacement, FileError> {
        Replacement::open(path, mode, true)
    }

    /// As [`Replacement::begin`], for a file that must not exist.
    ///
    /// # Errors
    /// As [`Replacement::begin`]; [`FileError::Exists`], here or at the end.
    pub fn begin_new(path: &Path, mode: u32) -> Result<Replacement, FileError> {
        Replacement::open(path, mode, false)
    }

    fn open(path: &Path, mode: u32, may_replace: bool) -> Result<Replacement, FileError> {
        let (parent, name) = split(path)?;
        check_mode(path, mode)?;
        let directory = open_directory(&parent)?;
        match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(FileError::io("look at", path)(error)),
            Ok(_) if !may_replace => return Err(FileError::Exists { path: path.to_owned() }),
            Ok(found) => {
                let kind = FileType::from_raw_mode(found.st_mode);
                if kind != FileType::RegularFile {
                    return Err(FileError::NotRegular { path: path.to_owned(), found: name_of(kind) });
                }
            }
        }
        remove_leftovers(&directory, name);
        let (file, temporary) =
            begin_beside(&directory, name).map_err(FileError::io("create a file beside", path))?;
        Ok(Replacement {
            file,
            directory,
            path: path.to_owned(),
            name: name.to_owned(),
            temporary: Some(temporary),
            mode,
            may_replace,
        })
    }

    /// The file, for writers that do more than [`Write`]. Its place is the caller's affair.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the contents durable, gives the file its mode and its name, and makes the name durable.
    ///
    /// # Errors
    /// What the system says; [`FileError::Exists`] for a file that was to be new. Unless the directory alone could not be
    /// made durable, the old file is as before and the new one is gone.
    pub fn finish(mut self) -> Result<(), FileError> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(self.mode))
            .map_err(FileError::io("set the mode of", &self.path))?;
        self.file.sync_all().map_err(FileError::io("make durable", &self.path))?;
        if let Some(temporary) = &self.temporary {
            let flags = if self.may_replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            match rustix::fs::renameat_with(&self.directory, temporary, &self.directory, &self.name, flags) {
                Err(rustix::io::Errno::EXIST) => {
                    return Err(FileError::Exists { path: self.path.clone() });
                }
                renamed => renamed.map_err(FileError::io("put into place", &self.path))?,
            }
        }
        self.temporary = None;
        rustix::fs::fsync(&self.directory).map_err(FileError::io("make durable the directory of", &self.path))
    }
}

impl Write for Replacement {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // One that is gone already is what is wanted.
            let _ = rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty());
        }
    }
}

/// Directory and name. The name must be text, as the hidden file beside it is made of it.
fn split(path: &Path) -> Result<(PathBuf, &str), FileError> {
    let no_name = || FileError::NoName { path: path.to_owned() };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((parent, name))
}

fn check_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    if mode & !0o777 == 0 { Ok(()) } else { Err(FileError::Mode { path: path.to_owned(), mode }) }
}

fn open_directory(path: &Path) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(FileError::io("open the directory", path))
}

/// Makes the hidden file beside `name`, locked: the lock says that its writer lives.
fn begin_beside(directory: &OwnedFd, name: &str) -> Result<(File, String), rustix::io::Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut attempts = 16;
    loop {
        let temporary = format!(".{name}.{:016x}{SUFFIX}", random_word());
        // Until it is whole, nobody else has any right on it.
        let file = File::from(rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))?);
        attempts -= 1;
        if is_locked_in_place(&file)? || attempts == 0 {
            return Ok((file, temporary));
        }
    }
}

/// Locks a new file. `false`: before that, another writer has taken it for one of a dead writer, and removed it.
fn is_locked_in_place(file: &File) -> Result<bool, rustix::io::Errno> {
    // Who looks for leftovers has the lock for a moment.
    for _ in 0..1000 {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(1)),
            // Where a file system has no locks, nothing of a dead writer is removed.
            Ok(()) | Err(_) => break,
        }
    }
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

/// Removes what writers of `name` left that were killed. Whatever fails here only leaves something behind.
fn remove_leftovers(directory: &OwnedFd, name: &str) {
    let start = format!(".{name}.");
    let Ok(entries) = rustix::fs::Dir::read_from(directory) else { return };
    for entry in entries.take(LEFTOVERS_LOOKED_AT).flatten() {
        let Ok(found) = entry.file_name().to_str() else { continue };
        let Some(rest) = found.strip_prefix(&start) else { continue };
        let ours = rest.len() == 16 + SUFFIX.len()
            && rest.ends_with(SUFFIX)
            && rest.bytes().take(16).all(|digit| digit.is_ascii_hexdigit());
        if !ours {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(directory, found, flags, Mode::empty()) else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(directory, found, AtFlags::empty());
        }
    }
}

/// A number that another program cannot guess; that a name is new is made sure by `O_EXCL`.
fn random_word() -> u64 {
    RandomState::new().build_hasher().finish()
}
