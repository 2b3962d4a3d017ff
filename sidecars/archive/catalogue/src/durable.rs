//! Files as a directory store, a backup and a restore make them: who may read them is settled when they are created,
//! whatever the umask is, and they have their names only when they are whole and on disk.
//!
//! Black data is for owner and group, red data and what describes the whole archive (catalogue, manifest) for the owner
//! alone. A copy is never readable by more than its source was.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fep_file::Replacement;
use sha2::{Digest, Sha256};

use crate::Error;

/// Who may read a file and enter the directories that are made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readers {
    /// Permissions of the file.
    mode: u32,
    /// Components at the end of its path that lie in the tree of its colour and are for the owner alone.
    private: usize,
}

const OWNER: u32 = 0o600;
const GROUP: u32 = 0o640;
const OWNER_DIRECTORY: u32 = 0o700;
const GROUP_DIRECTORY: u32 = 0o750;

impl Readers {
    /// Of the object with this key. What is not known to be black is for the owner alone.
    pub(crate) fn of_key(key: &str) -> Readers {
        let parts: Vec<&str> = key.split('/').collect();
        let colour_at = match parts.first() {
            Some(&("segments" | "rest" | "quarantine")) => Some(1),
            Some(&"index") => parts.iter().position(|part| part.starts_with("colour=")),
            _ => None,
        };
        match colour_at.and_then(|at| parts.get(at).map(|part| (at, *part))) {
            Some((1, "roots")) if key.starts_with("rest/roots/removals/red/") => {
                Readers { mode: OWNER, private: parts.len() - 3 }
            }
            Some((_, "black" | "colour=black" | "roots")) => Readers { mode: GROUP, private: 0 },
            Some((at, "red" | "colour=red")) => Readers { mode: OWNER, private: parts.len() - at },
            _ => Readers { mode: OWNER, private: 0 },
        }
    }

    /// No more than could read the file at `source`; one that cannot be looked at narrows nothing.
    pub(crate) fn no_wider_than(self, source: Option<&Path>) -> Readers {
        let of_source = source.and_then(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.mode());
        Readers { mode: self.mode & (of_source.unwrap_or(0o777) | OWNER), ..self }
    }

    /// Takes from a file that exists what these may not do.
    pub(crate) fn narrow(self, path: &Path) -> Result<(), Error> {
        let mode = std::fs::metadata(path).map_err(Error::io("look at", path))?.mode() & 0o777;
        if mode & !self.mode == 0 {
            return Ok(());
        }
        let narrower = Permissions::from_mode(mode & self.mode);
        std::fs::set_permissions(path, narrower).map_err(Error::io("set the permissions of", path))
    }

    /// Permissions of the directory `level` above `path`.
    fn directory_mode(self, path: &Path, level: &Path) -> u32 {
        let below = path.strip_prefix(level).map_or(0, |below| below.components().count());
        if below < self.private { OWNER_DIRECTORY } else { GROUP_DIRECTORY }
    }
}

/// Makes the directories that `path` needs, each durable. One that exists stays as it is.
pub(crate) fn make_directories_for(path: &Path, readers: Readers) -> Result<(), Error> {
    let mut missing = Vec::new();
    let mut level = path.parent();
    while let Some(directory) =
        level.filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
    {
        missing.push(directory);
        level = directory.parent();
    }
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(readers.directory_mode(path, directory)).create(directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(Error::io("make", directory))?,
        }
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent)?;
        }
    }
    Ok(())
}

pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("make durable", path))
}

/// A file in the making: it has its name only once it is whole, and goes when it does not come to that.
pub(crate) struct Building {
    file: Replacement,
    hasher: Sha256,
    path: PathBuf,
}

impl Building {
    pub(crate) fn begin(path: &Path, readers: Readers) -> Result<Building, Error> {
        make_directories_for(path, readers)?;
        let file = Replacement::begin(path, readers.mode)?;
        Ok(Building { file, hasher: Sha256::new(), path: path.to_owned() })
    }

    pub(crate) fn write(mut self, octets: &[u8]) -> Result<Building, Error> {
        self.file.write_all(octets).map_err(Error::io("write", &self.path))?;
        self.hasher.update(octets);
        Ok(self)
    }

    /// SHA-256 of what was written so far.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        Ok(self.file.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ARC-400
    #[test]
    fn only_what_is_known_to_be_black_is_for_the_group() {
        for (key, mode, private) in [
            ("segments/black/a.frames/1-2.seg", 0o640, 0),
            ("segments/red/a.frames/1-2.seg", 0o600, 3),
            ("segments/red/red/1-2.seg", 0o600, 3),
            ("segments/black/red/1-2.seg", 0o640, 0),
            ("rest/red/a.frames/1-2.gone", 0o600, 3),
            ("rest/roots/2026-11-26.json", 0o640, 0),
            ("rest/roots/removals/black/000000000001.json", 0o640, 0),
            ("rest/roots/removals/red/000000000001.json", 0o600, 2),
            ("quarantine/red/a.frames/1-2.seg", 0o600, 3),
            ("index/v1/frames/colour=red/ring=a/date=2026-11-26/1-2.parquet", 0o600, 4),
            ("index/v1/packets/colour=black/ring=a/date=2026-11-26/1-2.parquet", 0o640, 0),
            ("catalogue.jsonl", 0o600, 0),
            ("backup.json", 0o600, 0),
            ("segments", 0o600, 0),
        ] {
            assert_eq!(Readers::of_key(key), Readers { mode, private }, "{key}");
        }
        let path = Path::new("/srv/red/archive/red/red/1-2.seg");
        let readers = Readers::of_key("segments/red/red/1-2.seg");
        for (level, mode) in [
            ("/srv/red", 0o750),
            ("/srv/red/archive", 0o750),
            ("/srv/red/archive/red", 0o700),
            ("/srv/red/archive/red/red", 0o700),
        ] {
            assert_eq!(readers.directory_mode(path, Path::new(level)), mode, "{level}");
        }
    }
}
