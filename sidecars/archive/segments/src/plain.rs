//! Opening files of a tree in which others may have put anything: a FIFO must not hold up whoever opens it, a link must
//! not lead a writer to another file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::SegmentError;

/// Opens a regular file for reading, through symbolic links, and without waiting for anything: a FIFO in its place holds up
/// nobody.
///
/// # Errors
/// [`SegmentError::Format`] for what is no regular file; otherwise what the system says.
pub fn open_file(path: &Path) -> Result<File, SegmentError> {
    open(path).map_err(|error| {
        if is_other_kind(&error) {
            SegmentError::format(path, "it is no regular file: remove it, or restore what was there")
        } else {
            SegmentError::io(path, "open")(error)
        }
    })
}

/// Reads a regular file of at most `limit_octets`.
///
/// # Errors
/// As [`open_file`]; [`SegmentError::Format`] for a longer one.
pub(crate) fn read(path: &Path, limit_octets: u64) -> Result<Vec<u8>, SegmentError> {
    contents(open_file(path)?, path, limit_octets)
}

/// Reads an open file of at most `limit_octets`; `path` is for messages.
pub(crate) fn contents(file: File, path: &Path, limit_octets: u64) -> Result<Vec<u8>, SegmentError> {
    let mut octets = Vec::new();
    file.take(limit_octets.saturating_add(1))
        .read_to_end(&mut octets)
        .map_err(SegmentError::io(path, "read"))?;
    if octets.len() as u64 > limit_octets {
        return Err(SegmentError::format(path, format!("it has more than {limit_octets} octets")));
    }
    Ok(octets)
}

/// Opens a regular file for reading.
///
/// # Errors
/// As the system says; `InvalidInput` for what is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path)?)
}

/// Opens a regular file for reading and writing; a symbolic link is refused.
pub(crate) fn open_writable(path: &Path) -> io::Result<File> {
    let no_follow = flags(OFlags::NONBLOCK | OFlags::NOFOLLOW);
    regular(OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path)?)
}

/// Renames, and never over a file that exists: `AlreadyExists` then.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) if std::fs::symlink_metadata(to).is_err() => {
            std::fs::rename(from, to)
        }
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        result => Ok(result?),
    }
}

/// Whether this error says that the file itself cannot be used, and not that the system is short of something: it may
/// not be read, it is no regular file, it is too short, or the disk cannot read it.
pub(crate) fn condemns(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::UnexpectedEof];
    let codes = [Errno::IO, Errno::LOOP, Errno::NXIO, Errno::ISDIR].map(|code| Some(code.raw_os_error()));
    kinds.contains(&error.kind()) || codes.contains(&error.raw_os_error())
}

/// Whether the system refused to open something because it is no file: a socket, a loop of links.
fn is_other_kind(error: &io::Error) -> bool {
    let codes = [Errno::LOOP, Errno::NXIO].map(|code| Some(code.raw_os_error()));
    error.kind() == io::ErrorKind::InvalidInput || codes.contains(&error.raw_os_error())
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}
