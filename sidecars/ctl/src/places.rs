//! Where sockets and rings are: said on the command line, or worked out from the daemon's configuration.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fep_control::config::{self, Config};

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

/// The identity service of an installation, where nothing else is said: its unit makes this directory.
const IDENTITY: &str = "unix:/run/fep/identity/identity.sock";
/// Sockets of the services that `fepctl up` starts, in the run directory.
const ARCHIVE_SOCKET: &str = "archive.sock";
const IDENTITY_SOCKET: &str = "identity.sock";

/// Where `fepctl up` has its archive listen.
pub(crate) fn archive_socket(config: &Config) -> PathBuf {
    config.daemon.run_dir.join(ARCHIVE_SOCKET)
}

/// Where `fepctl up` has its identity service listen.
pub(crate) fn identity_socket(config: &Config) -> PathBuf {
    config.daemon.run_dir.join(IDENTITY_SOCKET)
}

/// Address of the archive service: as it was said, else in the run directory of the configuration.
///
/// # Errors
/// A configuration that cannot be read.
pub(crate) fn archive(said: Option<&str>, config: Option<&Path>) -> Result<String, Failure> {
    match said {
        Some(address) => Ok(address.to_owned()),
        None => Ok(format!("unix:{}", archive_socket(&load_config(config)?).display())),
    }
}

/// Address of the identity service: as it was said; else in the run directory of the configuration, where `fepctl up` of this
/// user runs one; else that of the installation.
///
/// # Errors
/// A configuration that cannot be read.
pub(crate) fn identity(said: Option<&str>, config: Option<&Path>) -> Result<String, Failure> {
    if let Some(address) = said {
        return Ok(address.to_owned());
    }
    let socket = identity_socket(&load_config(config)?);
    // Passwords go there: a socket that somebody else put in a shared directory is none of ours.
    if is_own(&socket) { Ok(format!("unix:{}", socket.display())) } else { Ok(IDENTITY.to_owned()) }
}

/// Whether a socket is this user's, in a directory that nobody else can change.
fn is_own(socket: &Path) -> bool {
    // The directory of a process in /proc belongs to its effective user.
    let Ok(own) = std::fs::metadata("/proc/self").map(|found| found.uid()) else { return false };
    let directory = socket.parent().and_then(|directory| directory.symlink_metadata().ok());
    directory
        .is_some_and(|found| found.is_dir() && found.uid() == own && found.permissions().mode() & 0o022 == 0)
        && socket.symlink_metadata().is_ok_and(|found| found.file_type().is_socket() && found.uid() == own)
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

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-174
    #[test]
    fn a_socket_is_ones_own_where_nobody_else_could_have_put_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join(IDENTITY_SOCKET);
        let mode = |mode: u32| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), permissions).expect("changed");
        };
        assert!(!is_own(&socket), "none exists");
        std::fs::write(&socket, "").expect("written");
        assert!(!is_own(&socket), "a file");
        std::fs::remove_file(&socket).expect("removed");
        let other = dir.path().join("other.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&other).expect("a socket");
        std::os::unix::fs::symlink(&other, &socket).expect("a link");
        assert!(!is_own(&socket), "a link");
        std::fs::remove_file(&socket).expect("removed");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        mode(0o755);
        assert!(is_own(&socket));
        for wide in [0o777, 0o1777, 0o775] {
            mode(wide);
            assert!(!is_own(&socket), "{wide:o}");
        }
        mode(0o700);
    }
}
