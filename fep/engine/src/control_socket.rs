//! The control socket: bound beside its name, and put in place when who asks finds everything ready. Nothing but a socket that
//! nobody answers under is ever replaced or removed.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use fep_control::config::DaemonConfig;

/// How long a process may take to accept before it counts as one that does.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// A socket that is bound, and not yet under its name.
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    temporary: Temporary,
}

/// Goes with whoever made it, unless it has been given its name.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The name of the socket, which goes with the process that answers under it.
pub(crate) struct Name {
    path: PathBuf,
    identity: (u64, u64),
}

impl Name {
    /// Whether nothing lies under the name: it goes with a run directory that somebody deletes.
    pub(crate) fn is_gone(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Another `fepd` may have taken the directory, and the name with it.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Whether a socket may be put under this name: nothing lies there, or a socket.
///
/// # Errors
/// What lies there instead.
pub(crate) fn check_place(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let what = match kind {
        _ if kind.is_socket() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_file() => "a regular file",
        _ if kind.is_symlink() => "a symbolic link",
        _ => "a device or FIFO",
    };
    let text = format!(
        "{what} of this name exists, and only a socket is replaced: remove it, or set daemon.control_socket"
    );
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// As [`check_place`]; also, nobody may answer under the name.
async fn check_free(path: &Path) -> io::Result<()> {
    check_place(path)?;
    let answers = match tokio::time::timeout(ANSWERS_WITHIN, UnixStream::connect(path)).await {
        Ok(Ok(_)) | Err(_) => true,
        // So many wait that no more are taken: somebody listens.
        Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
    };
    if answers {
        let text = "another process answers under this name: stop it, or set daemon.control_socket";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    Ok(())
}

/// Binds the control socket with its permissions. It appears under its name with [`Bound::put_in_place`], when nobody else may
/// use it any more.
///
/// # Errors
/// Something else lies under its name, or another process answers there; what the system refuses.
pub(crate) async fn bind(path: &Path, config: &DaemonConfig) -> io::Result<Bound> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    check_free(path).await?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // Left behind by a process that was killed.
    check_place(&temporary)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", temporary.display())))?;
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    let temporary = Temporary(temporary);
    if !config.control_group.is_empty() {
        let group = crate::realtime::group_number(&config.control_group)?;
        std::os::unix::fs::chown(&temporary.0, None, Some(group))?;
    }
    std::fs::set_permissions(&temporary.0, std::fs::Permissions::from_mode(config.control_mode))?;
    Ok(Bound { listener, path: path.to_owned(), temporary })
}

impl Bound {
    /// Gives the socket its name.
    ///
    /// # Errors
    /// Something else lies there by now; what the system refuses.
    pub(crate) fn put_in_place(self) -> io::Result<(UnixListener, Name)> {
        let Bound { listener, path, temporary } = self;
        check_place(&path)?;
        let identity = identity(&temporary.0)?;
        std::fs::rename(&temporary.0, &path)?;
        Ok((listener, Name { path, identity }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DaemonConfig {
        fep_control::config::load(None).unwrap().daemon
    }

    // REQ: FEP-ENG-301
    #[tokio::test]
    async fn nothing_but_a_socket_that_nobody_answers_under_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let beside = dir.path().join("control.sock.new");
        for place in [&path, &beside] {
            std::fs::write(place, "precious").unwrap();
            let error = bind(&path, &config()).await.err().unwrap();
            assert!(error.to_string().contains("a regular file"), "{error}");
            assert_eq!(std::fs::read(place).unwrap(), b"precious");
            std::fs::remove_file(place).unwrap();
            std::fs::create_dir(place).unwrap();
            let error = bind(&path, &config()).await.err().unwrap();
            assert!(error.to_string().contains("a directory"), "{error}");
            std::fs::remove_dir(place).unwrap();
        }
        let other = UnixListener::bind(&path).unwrap();
        let error = bind(&path, &config()).await.err().unwrap();
        assert!(error.to_string().contains("another process answers"), "{error}");
        drop(other);
        let (_listener, name) = bind(&path, &config()).await.unwrap().put_in_place().unwrap();
        assert!(!name.is_gone() && !beside.exists());
        UnixStream::connect(&path).await.unwrap();
        drop(name);
        assert!(!path.exists());
    }

    // REQ: FEP-ENG-300
    #[tokio::test]
    async fn the_name_of_a_socket_that_another_process_has_taken_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (_listener, name) = bind(&path, &config()).await.unwrap().put_in_place().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(name.is_gone());
        let _other = UnixListener::bind(&path).unwrap();
        drop(name);
        assert!(path.exists(), "it is not ours");
    }
}
