//! Where the daemon's socket and rings are: said on the command line, or worked out from its configuration.

use std::path::{Path, PathBuf};

use fep_control::config::{self, Config};

use crate::archive::args::Target as ArchiveTarget;
use crate::cli::Target;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::ring::args::RingPlace;

/// Reads a configuration; all its mistakes become one failure.
pub(crate) fn load_config(file: Option<&Path>) -> Result<Config, Failure> {
    config::load(file).map_err(|errors| {
        Failure::new(errors.to_string())
            .hint("`fepctl config explain KEY` says what a key does and what it may be")
    })
}

impl Target {
    /// The configuration meant.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        load_config(self.config.as_deref())
    }

    /// A client of the daemon meant.
    pub(crate) fn daemon(&self) -> Result<Daemon, Failure> {
        match &self.socket {
            Some(socket) => Daemon::at(socket.clone()),
            None => Daemon::at(self.load()?.control_socket()),
        }
    }
}

impl ArchiveTarget {
    /// Where the archive meant listens.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        match &self.archive {
            Some(archive) => Ok(archive.clone()),
            None => {
                let file = std::env::var_os("FEP_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
                let socket = load_config(file.as_deref())?.daemon.run_dir.join("archive.sock");
                Ok(format!("unix:{}", socket.display()))
            }
        }
    }
}

impl RingPlace {
    /// The directory of the rings.
    pub(crate) fn resolve(&self) -> Result<PathBuf, Failure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(load_config(self.config.as_deref())?.bus_dir()),
        }
    }

    /// Names of the links by the number in their records; a configuration that cannot be read only costs the names.
    pub(crate) fn link_names(&self) -> Vec<(u16, String)> {
        config::load(self.config.as_deref())
            .map(|config| config.links.into_iter().map(|link| (link.id, link.name)).collect())
            .unwrap_or_default()
    }
}
