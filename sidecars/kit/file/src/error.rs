use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path ends in no name of a file: it is empty, or ends in `..`.
    #[error("\"{}\" names no file", path.display())]
    NoName {
        /// As given.
        path: PathBuf,
    },
    /// Something else than a regular file has the name. It is neither read nor replaced.
    #[error("{} is {found}, not a regular file: it is left as it is; remove it, or choose another name", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file is longer than the caller takes.
    #[error("{} has more than {limit_octets} octets, the most that is read here", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// The bound.
        limit_octets: u64,
    },
    /// A file that must not exist does.
    #[error("{} exists already: it is not replaced", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Another process works on what one process alone works on.
    #[error("{} is held by {holder}: end that one first, or give this one a place of its own", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Program and number of the process, as the file says.
        holder: String,
    },
    /// A text file holds octets that are no UTF-8.
    #[error("{} is no UTF-8 text: the first wrong octet is number {at}", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
        /// Place of the first wrong octet, from 0.
        at: usize,
    },
    /// The mode has bits beyond the nine permissions.
    #[error("{}: mode {mode:o} is not one of 0 to 777 (octal)", path.display())]
    Mode {
        /// The path.
        path: PathBuf,
        /// As given.
        mode: u32,
    },
}

impl FileError {
    /// The file or directory that it speaks of.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            FileError::Io { path, .. }
            | FileError::NoName { path }
            | FileError::NotRegular { path, .. }
            | FileError::TooLong { path, .. }
            | FileError::Exists { path }
            | FileError::Held { path, .. }
            | FileError::NotText { path, .. }
            | FileError::Mode { path, .. } => path,
        }
    }

    /// Whether there is no such file or directory.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
        let path = path.to_owned();
        move |source| FileError::Io { action, path, source: source.into() }
    }
}
