use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use crate::FileError;

/// Opens a regular file for reading. A symbolic link, a FIFO, a device, a socket or a directory of that name is refused
/// without waiting for anything; links in the directories before the name are followed.
///
/// # Errors
/// [`FileError::NotRegular`], and what the system says.
pub fn open(path: &Path) -> Result<File, FileError> {
    // Without NONBLOCK the open of a FIFO would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let handle = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::LOOP) => {
            return Err(FileError::NotRegular { path: path.to_owned(), found: "a symbolic link" });
        }
        // A socket cannot be opened at all.
        Err(rustix::io::Errno::NXIO) => {
            return Err(FileError::NotRegular { path: path.to_owned(), found: "a socket" });
        }
        Err(error) => return Err(FileError::io("open", path)(error)),
    };
    let found = rustix::fs::fstat(&handle).map_err(FileError::io("look at", path))?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::RegularFile {
        return Ok(File::from(handle));
    }
    Err(FileError::NotRegular { path: path.to_owned(), found: name_of(kind) })
}

/// Reads a file as [`open`] opens it, of at most `limit_octets`.
///
/// # Errors
/// As [`open`]; [`FileError::TooLong`].
pub fn read(path: &Path, limit_octets: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let octets = file.metadata().map_err(FileError::io("look at", path))?.len();
    let too_long = || FileError::TooLong { path: path.to_owned(), limit_octets };
    if octets > limit_octets {
        return Err(too_long());
    }
    let mut contents = Vec::with_capacity(octets as usize);
    // The file may grow while it is read.
    file.take(limit_octets.saturating_add(1))
        .read_to_end(&mut contents)
        .map_err(FileError::io("read", path))?;
    if contents.len() as u64 > limit_octets { Err(too_long()) } else { Ok(contents) }
}

/// As [`read`]; `None` when there is no such file.
///
/// # Errors
/// As [`read`].
pub fn read_if_exists(path: &Path, limit_octets: u64) -> Result<Option<Vec<u8>>, FileError> {
    match read(path, limit_octets) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`read`], for text.
///
/// # Errors
/// As [`read`], and [`FileError::NotText`].
pub fn read_text(path: &Path, limit_octets: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, limit_octets)?)
        .map_err(|error| FileError::NotText { path: path.to_owned(), at: error.utf8_error().valid_up_to() })
}

pub(crate) fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something of an unknown kind",
    }
}
