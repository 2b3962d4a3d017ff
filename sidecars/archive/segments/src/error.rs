//! What can go wrong outside the contents: files, and files that are no segments. Damage inside a segment is no
//! error; it is a finding, a hole, a [`crate::Loss`].

use std::path::{Path, PathBuf};

use crate::plain;

/// Failure to open, read or write something of the archive.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// File or directory concerned.
        path: PathBuf,
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not a segment (or root, or key) that this build understands.
    #[error("{path} is not usable: {problem}")]
    Format {
        /// File concerned.
        path: PathBuf,
        /// First thing found wrong, and what was expected.
        problem: String,
    },
    /// The ring beside the segments cannot be used.
    #[error(transparent)]
    Bus(#[from] fep_bus::BusError),
    /// A small file (root, head, key, record of removal) cannot be read or replaced.
    #[error(transparent)]
    File(#[from] fep_file::FileError),
}

impl SegmentError {
    /// Turns the system's reason into an error that says what was attempted on which file.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> SegmentError {
        let path = path.to_owned();
        move |source| SegmentError::Io { path, action, source }
    }

    /// The file at `path` is not what it should be.
    pub fn format(path: &Path, problem: impl Into<String>) -> SegmentError {
        SegmentError::Format { path: path.to_owned(), problem: problem.into() }
    }

    /// Whether there is no such file: it was never made, or it has another name by now.
    pub fn is_not_found(&self) -> bool {
        match self {
            SegmentError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            SegmentError::File(error) => error.is_not_found(),
            SegmentError::Format { .. } | SegmentError::Bus(_) => false,
        }
    }

    /// The file that this error says cannot be used, and why: it is no segment, may not be read, or the disk cannot read
    /// it. `None` when something else is wrong, that may be over in a moment.
    pub fn condemned(&self) -> Option<(&Path, String)> {
        match self {
            SegmentError::Format { path, problem } => Some((path, problem.clone())),
            SegmentError::Io { path, action, source } if plain::condemns(source) => {
                Some((path, format!("cannot {action} it: {source}")))
            }
            SegmentError::Io { .. } | SegmentError::Bus(_) | SegmentError::File(_) => None,
        }
    }
}
