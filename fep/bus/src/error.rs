//! What can go wrong outside the data path: files, locks, specifications. Nothing here is about record contents.

use std::path::{Path, PathBuf};

/// Failure to create, open or attach something of the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The specification cannot be laid out.
    #[error("ring \"{ring}\": {problem}")]
    Spec {
        /// Name of the ring as given.
        ring: String,
        /// What is wrong and what would be right.
        problem: String,
    },
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
    /// The file exists but is not a ring (or page) this build understands.
    #[error("{path} cannot be used: {problem}")]
    Layout {
        /// File concerned.
        path: PathBuf,
        /// First thing found wrong.
        problem: String,
    },
    /// What lies under the name is not a file (or directory) of the bus: a link, a FIFO, a device, another user's.
    #[error("{path} was refused: {problem}; only files of the bus belong here, remove it")]
    Foreign {
        /// The entry.
        path: PathBuf,
        /// What it is.
        problem: String,
    },
    /// A directory holds more entries than are looked at.
    #[error(
        "{path} holds more than {limit} entries; the others are left out. Remove what does not belong here"
    )]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// Entries looked at.
        limit: usize,
    },
    /// This process's user may not make rings here.
    #[error(
        "this process's user may make no ring in {path}: a process with a user of its own has its rings in {place}, which root \
         makes for it (config/systemd/tmpfiles.d)"
    )]
    NoPlace {
        /// Where the ring would lie.
        path: PathBuf,
        /// The place that does not exist, or is another user's.
        place: PathBuf,
    },
    /// A group without a number.
    #[error("no group \"{group}\" in /etc/group; give its number if it comes from elsewhere")]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// No ring of this name.
    #[error("no ring or page \"{ring}\" exists under {dir}; has its producer been started?")]
    NotFound {
        /// Name asked for.
        ring: String,
        /// Directory searched.
        dir: PathBuf,
    },
    /// The name exists in both colours.
    #[error("\"{ring}\" exists both black and red under {dir}; ask for \"black/{ring}\" or \"red/{ring}\"")]
    Ambiguous {
        /// Name asked for.
        ring: String,
        /// Directory searched.
        dir: PathBuf,
    },
    /// Somebody else holds the role that only one process may hold.
    #[error("{path} is held by the live process {pid}: one {role} at a time")]
    Held {
        /// The locked file.
        path: PathBuf,
        /// Process holding the lock (0 when the system does not tell).
        pid: u32,
        /// "producer of a ring", "consumer of this name".
        role: &'static str,
    },
}

impl BusError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> BusError {
        let path = path.to_owned();
        move |source| BusError::Io { path, action, source }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, BusError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    pub(crate) fn layout(path: &Path, problem: impl Into<String>) -> BusError {
        BusError::Layout { path: path.to_owned(), problem: problem.into() }
    }
}

/// Why a record could not be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The record is longer than the ring's `payload_max`: misuse by the caller.
    #[error("a record of {len} octets does not fit the ring's payload_max of {payload_max}")]
    TooLong {
        /// Octets asked for.
        len: usize,
        /// Octets a record may have.
        payload_max: u32,
    },
    /// Only on rings with `on_full = wait`: a gate holds the space; try again later.
    #[error("a gated consumer still holds the space of this record")]
    Full,
}
