//! Objects of a store that is a directory, read so that nothing in their place can hold up who reads: neither a FIFO nor a
//! device is waited for, a symbolic link leads nowhere, and no more is read than was asked for.
//!
//! All of it blocks: for threads outside of the runtime.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fep_file::FileError;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::durable::sync;
use crate::model::StoredObject;

/// Octets that are hashed at a time.
const STEP: usize = 1 << 20;
/// Last part of the name of what was in the way.
const SET_ASIDE: &str = "set-aside";
/// Tries at a free name.
const NAMES_MAX: usize = 100;

/// One object: its file, and its key for messages.
#[derive(Debug, Clone)]
pub(crate) struct ObjectFile {
    pub(crate) key: String,
    pub(crate) path: PathBuf,
}

impl ObjectFile {
    /// Octets; `None` when there is no such object.
    pub(crate) fn size(&self) -> Result<Option<u64>, Error> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            // A folder of objects is none itself.
            Ok(found) if found.is_dir() => Ok(None),
            // Says what it is.
            Ok(_) => self.open().map(|_| None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("looking for", error)),
        }
    }

    /// All of it, at most `limit_octets`.
    pub(crate) fn read(&self, limit_octets: u64) -> Result<Bytes, Error> {
        fep_file::read(&self.path, limit_octets).map(Bytes::from).map_err(|error| self.refused(error))
    }

    /// Stretches of it.
    pub(crate) fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let file = self.open()?;
        let octets = file.metadata().map_err(|error| self.failed("reading", error))?.len();
        let read = |range: &Range<u64>| {
            // Nobody makes room for more than there is.
            let (from, to) = (range.start.min(octets), range.end.min(octets));
            if from >= to && range.start < range.end {
                let short = io::Error::new(io::ErrorKind::UnexpectedEof, format!("it has {octets} octets"));
                return Err(self.failed("reading", short));
            }
            let mut stretch = vec![0; to.saturating_sub(from) as usize];
            file.read_exact_at(&mut stretch, from).map_err(|error| self.failed("reading", error))?;
            Ok(Bytes::from(stretch))
        };
        ranges.iter().map(read).collect()
    }

    /// What it is.
    pub(crate) fn hash(&self) -> Result<StoredObject, Error> {
        let mut file = self.open()?;
        let (mut hasher, mut octets) = (Sha256::new(), 0);
        let mut step = vec![0; STEP];
        loop {
            let read = match file.read(&mut step) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed("reading", error)),
            };
            octets += read as u64;
            hasher.update(&step[..read]);
        }
        Ok(StoredObject { key: self.key.clone(), octets, sha256: hasher.finalize().into() })
    }

    /// The file, if it is a regular one.
    pub(crate) fn open(&self) -> Result<File, Error> {
        fep_file::open(&self.path).map_err(|error| self.refused(error))
    }

    /// Renames what is in the way of a file of this name: a link, a FIFO, a directory. A regular file is not.
    pub(crate) fn clear_the_way(&self) -> Result<(), Error> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_file() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("looking for", error));
            }
            _ => return Ok(()),
        }
        for number in 1..=NAMES_MAX {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{SET_ASIDE}-{number}"));
            let to = PathBuf::from(name);
            if std::fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            std::fs::rename(&self.path, &to).map_err(Error::io("set aside", &self.path))?;
            tracing::error!("{} was no regular file: it is {} now", self.path.display(), to.display());
            return sync(self.path.parent().unwrap_or(Path::new(".")));
        }
        Err(Error::refused(
            self.path.display().to_string(),
            format!("it is no regular file, and {NAMES_MAX} others were set aside there before: remove them"),
        ))
    }

    fn refused(&self, error: FileError) -> Error {
        match error {
            FileError::Io { source, .. } => self.failed("reading", source),
            error => Error::File(error),
        }
    }

    /// As the store itself would say it, so that what may pass is tried again.
    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        let path = self.path.display().to_string();
        let source = match source.kind() {
            io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: source.into() },
            io::ErrorKind::PermissionDenied => {
                object_store::Error::PermissionDenied { path, source: source.into() }
            }
            _ => object_store::Error::Generic { store: "directory", source: source.into() },
        };
        Error::Store { action, key: self.key.clone(), source }
    }
}
