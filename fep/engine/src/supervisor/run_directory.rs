//! Whether the run directory is still the one that `fepd` works in: when somebody deletes it, rings are written that nobody
//! can find until they are made anew.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fep_control::config::Config;

/// The directories that everything shared lies in, by device and inode.
pub(super) struct RunDirectory {
    directories: Vec<(PathBuf, Option<(u64, u64)>)>,
    warning: Option<String>,
}

impl RunDirectory {
    /// Those of a configuration, as they are now.
    pub(super) fn of(config: &Config) -> RunDirectory {
        let directories = [config.daemon.run_dir.clone(), config.bus_dir()];
        RunDirectory {
            directories: directories.map(|path| (path.clone(), identity(&path))).to_vec(),
            warning: None,
        }
    }

    /// What is wrong, when it has just been noticed.
    pub(super) fn look(&mut self) -> Option<String> {
        let changed = self.directories.iter().find(|(path, was)| identity(path) != *was);
        let warning = changed.map(|(path, _)| {
            format!(
                "{} was deleted or replaced while fepd ran: its rings were made anew, and consumers that have the old ones \
                 open see nothing new until they attach again",
                path.display()
            )
        });
        // It stays until fepd is started again: what was lost by it is lost.
        if warning.is_none() || self.warning.is_some() {
            return None;
        }
        self.warning = warning;
        self.warning.clone()
    }

    /// The directories were made anew.
    pub(super) fn adopt(&mut self) {
        for (path, was) in &mut self.directories {
            *was = identity(path);
        }
    }

    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ENG-105
    #[test]
    fn a_run_directory_that_is_deleted_or_replaced_is_reported_once_and_warned_of_for_as_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = fep_control::config::load(None).unwrap();
        config.daemon.run_dir = dir.path().join("run");
        let bus = config.bus_dir();
        std::fs::create_dir_all(&bus).unwrap();
        let mut watched = RunDirectory::of(&config);
        assert_eq!(watched.look(), None);
        std::fs::rename(&bus, dir.path().join("elsewhere")).unwrap();
        assert!(watched.look().is_some_and(|what| what.contains(&bus.display().to_string())));
        assert_eq!(watched.look(), None, "once");
        std::fs::create_dir(&bus).unwrap();
        watched.adopt();
        assert_eq!(watched.look(), None);
        assert!(watched.warning().is_some(), "what was lost by it is lost");
    }
}
