//! Listening on TCP and Unix sockets, and serving until told to stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
    /// process left is replaced, one that a live process serves is not.
    ///
    /// # Errors
    /// The system's, and `AddrInUse` for a Unix socket that somebody serves.
    pub async fn bind(&self, unix_mode: u32) -> io::Result<Listener> {
        match self {
            Address::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Address::Unix(path) => Ok(Listener::Unix(bind_unix(path, unix_mode).await?, path.clone())),
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

async fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        let message = format!("{} is served by another process", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&temporary, path)?;
    Ok(listener)
}

/// An open door.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream socket, and its name.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// The address; with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Listener::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Listener::Unix(_, path) => Address::Unix(path.clone()),
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
        /// The user, as the kernel vouches.
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
            Listener::Unix(listener, path) => {
                sockets.push(path);
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
    for socket in sockets {
        let _ = std::fs::remove_file(socket);
    }
    result
}
