//! Listening on TCP and Unix sockets, and serving until told to stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::Stop;

/// Where to listen: `127.0.0.1:8400`, `[::1]:8400`, or `unix:/path/of/socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }

    /// Begins to listen. A Unix socket appears under its name only with its permissions (`unix_mode`); one that a dead
    /// process left is replaced, one that a live process serves is not, and neither is anything that is no socket.
    ///
    /// # Errors
    /// The system's; `AddrInUse` for a Unix socket that somebody serves; `AlreadyExists` for a path that holds something
    /// else than a socket.
    pub async fn bind(&self, unix_mode: u32) -> io::Result<Listener> {
        match self {
            Address::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Address::Unix(path) => {
                let (listener, file) = bind_unix(path, unix_mode).await?;
                Ok(Listener::Unix(listener, file))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("unix: without a path".to_owned());
            }
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            format!("{text:?} is neither IP:PORT nor unix:PATH; names of hosts are not looked up")
        })
    }
}

async fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    refuse_unless_free(path).await?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    refuse_unless_free(&temporary).await?;
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The file that bind makes takes its permissions from the unbound socket: at no moment are they wider than `mode`.
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(&temporary)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    // The umask may have taken away what was asked for.
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
    let listener = UnixListener::from_std(socket.into())?;
    let metadata = std::fs::symlink_metadata(&temporary)?;
    std::fs::rename(&temporary, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() }))
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Refuses a path that is taken: by a socket that a process serves, or by anything that is no socket. Only a socket that
/// nobody serves any more may be replaced.
async fn refuse_unless_free(path: &Path) -> io::Result<()> {
    let refusal = |kind, problem: String| Err(io::Error::new(kind, format!("{} {problem}", path.display())));
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let problem = "exists and is not a socket: it is not replaced; name another path, or remove it";
        return refusal(io::ErrorKind::AlreadyExists, problem.to_owned());
    }
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => refusal(io::ErrorKind::AddrInUse, "is served by another process".to_owned()),
        // Nobody listens there, or it went away at this moment.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        // A full queue of connections, or a socket that is not for us: somebody may serve it.
        Err(error) => refusal(io::ErrorKind::AddrInUse, format!("may be served by another process: {error}")),
    }
}

/// The file of a Unix socket: its name, and which file that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Removes it, unless another file has its name by now.
    pub fn remove(&self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if is_ours {
            // A file that cannot be removed is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An open door.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream socket, and its file.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// The address; with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Listener::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Listener::Unix(_, file) => Address::Unix(file.path.clone()),
        })
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket.
    Unix {
        /// The user, as the kernel says.
        uid: Option<u32>,
        /// Whether that is root or the user whom this process runs as.
        trusted: bool,
    },
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Peer {
        Peer::Tcp(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        let uid = stream.io().peer_cred().ok().map(|credentials| credentials.uid());
        // The owner of /proc/self is the effective user of this process.
        let own = std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid());
        Peer::Unix { uid, trusted: uid.is_some() && (uid == Some(0) || uid == own) }
    }
}

/// Serves `router` on every listener until `stop`; then takes no more connections and lets requests that run end, for
/// `grace` at most (a live tail never ends by itself).
///
/// # Errors
/// When accepting fails for good; the others are stopped then.
pub async fn serve(listeners: Vec<Listener>, router: Router, stop: Stop, grace: Duration) -> io::Result<()> {
    let mut doors = JoinSet::new();
    let mut sockets = Vec::new();
    for listener in listeners {
        let service = router.clone().into_make_service_with_connect_info::<Peer>();
        let told = stop.clone();
        let until = async move { told.wait().await };
        match listener {
            Listener::Tcp(listener) => {
                doors
                    .spawn(async move { axum::serve(listener, service).with_graceful_shutdown(until).await });
            }
            Listener::Unix(listener, file) => {
                sockets.push(file);
                doors
                    .spawn(async move { axum::serve(listener, service).with_graceful_shutdown(until).await });
            }
        }
    }
    let mut result = Ok(());
    let over = async {
        stop.wait().await;
        tokio::time::sleep(grace).await;
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            ended = doors.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => { result = Err(error); stop.now(); }
                Some(Err(error)) => { result = Err(io::Error::other(error)); stop.now(); }
            },
            () = &mut over => break,
        }
    }
    sockets.iter().for_each(SocketFile::remove);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(path: &Path) -> io::Error {
        Address::Unix(path.to_owned()).bind(0o660).await.expect_err("refused")
    }

    // REQ: FEP-KIT-400
    #[tokio::test]
    async fn only_a_socket_that_nobody_serves_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.sock");
        std::fs::write(&path, "a file of somebody").expect("written");
        let refused = refusal(&path).await;
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{refused}");
        assert!(refused.to_string().contains("x.sock exists and is not a socket"), "{refused}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"a file of somebody");

        let (folder, link) = (directory.path().join("folder"), directory.path().join("link"));
        std::fs::create_dir(&folder).expect("made");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        for taken in [&folder, &link] {
            assert_eq!(refusal(taken).await.kind(), io::ErrorKind::AlreadyExists);
            assert!(std::fs::symlink_metadata(taken).is_ok(), "{} is still there", taken.display());
        }

        // The name under which a socket is made ready is no exception.
        let other = directory.path().join("y.sock");
        std::fs::write(directory.path().join("y.sock.new"), "kept").expect("written");
        assert_eq!(refusal(&other).await.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(directory.path().join("y.sock.new")).expect("still there"), b"kept");

        let socket = directory.path().join("z.sock");
        let served = Address::Unix(socket.clone()).bind(0o600).await.expect("free");
        assert_eq!(refusal(&socket).await.kind(), io::ErrorKind::AddrInUse);
        drop(served);
        Address::Unix(socket).bind(0o600).await.expect("a socket that nobody serves is replaced");
    }

    // REQ: FEP-KIT-401
    #[tokio::test]
    async fn a_socket_has_the_permissions_asked_for_and_at_the_end_only_ones_own_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.sock");
        for mode in [0o600, 0o660, 0o666] {
            let listener = Address::Unix(path.clone()).bind(mode).await.expect("free");
            let found = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            assert_eq!(found, mode, "{found:o}");
            let stop = Stop::default();
            stop.now();
            serve(vec![listener], Router::new(), stop, Duration::ZERO).await.expect("an orderly end");
            assert!(!path.exists());
        }
        let first = Address::Unix(path.clone()).bind(0o600).await.expect("free");
        std::fs::remove_file(&path).expect("somebody removes it");
        let _second = Address::Unix(path.clone()).bind(0o600).await.expect("free");
        let stop = Stop::default();
        stop.now();
        serve(vec![first], Router::new(), stop, Duration::ZERO).await.expect("an orderly end");
        assert!(path.exists(), "the socket of the second is not the first's to remove");
    }
}
