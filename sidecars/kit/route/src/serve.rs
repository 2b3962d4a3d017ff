//! Doors: TCP and Unix sockets, with TLS or on this machine alone, and every connection within its limits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use fep_identity::Credentials;
use fep_kit::Stop;
use fep_kit::listen::{Address, Listener, SocketFile};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::guard::Names;
use crate::limits::{Limits, seconds};
use crate::service::Arrival;
use crate::timed::Timed;
use crate::tls::{Certificates, ClientAuthority, TlsError, peer_of};

/// How often the files of certificates are looked at.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(10);

/// What becomes of a client without a certificate at a door with `client_ca`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It gets no connection.
    #[default]
    Required,
    /// It may come with a ticket.
    Optional,
}

/// One door as configured: `[[http.doors]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorConfig {
    /// `IP:PORT` or `unix:PATH`.
    pub listen: String,
    /// Certificate chain (PEM). Needed where other machines reach the address.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Authority of the certificates that clients show (PEM): services are known by theirs, `[identity.peers]`.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// What becomes of a client without a certificate, where `client_ca` is set.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// Names by which clients ask, `host` or `host:port`, beside the address itself.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Web pages of other origins that may ask: `https://console.example`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Whether a proxy stands before a Unix socket. The peer is the proxy then, whoever asks, and is not trusted.
    #[serde(default)]
    pub proxied: bool,
    /// Permissions of a Unix socket.
    #[serde(default = "unix_mode")]
    pub unix_mode: u32,
}

const fn unix_mode() -> u32 {
    0o660
}

impl DoorConfig {
    /// A door at this address and nothing else said.
    #[must_use]
    pub fn at(listen: &str) -> DoorConfig {
        DoorConfig {
            listen: listen.to_owned(),
            certificate: None,
            key: None,
            client_ca: None,
            client_certificate: ClientCertificate::default(),
            hosts: Vec::new(),
            origins: Vec::new(),
            proxied: false,
            unix_mode: unix_mode(),
        }
    }

    /// The address, where the door is safe as configured and its certificates can be used: what [`Door::open`] would refuse
    /// before it listens, this refuses. Files are read, and nothing is changed.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<Address, DoorError> {
        let address = self.safe_address()?;
        self.certificates()?;
        Ok(address)
    }

    /// What a door with TLS shows, and asks to be shown.
    fn certificates(&self) -> Result<Option<Certificates>, DoorError> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else { return Ok(None) };
        let clients = self.client_ca.clone().map(|file| ClientAuthority {
            file,
            is_required: self.client_certificate == ClientCertificate::Required,
        });
        Ok(Some(Certificates::with_clients(certificate, key, clients)?))
    }

    fn safe_address(&self) -> Result<Address, DoorError> {
        let address: Address = self.listen.parse().map_err(DoorError::Address)?;
        match (&self.certificate, &self.key, &address) {
            (Some(_), Some(_), Address::Tcp(_)) => Ok(address),
            (None, None, _) if self.client_ca.is_some() => Err(DoorError::ClientAuthority(address)),
            (None, None, _) if address.is_local() => Ok(address),
            (None, None, _) => Err(DoorError::Plain(address)),
            _ => Err(DoorError::Half(address)),
        }
    }
}

/// A door that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Not an address.
    #[error("{0}")]
    Address(String),
    /// Plain HTTP where other machines reach it.
    #[error(
        "{0} can be reached from other machines: it needs a certificate and a key, or a loopback address"
    )]
    Plain(Address),
    /// One of certificate and key.
    #[error("{0}: a certificate and its key go together, and not with a Unix socket")]
    Half(Address),
    /// An authority of clients where nobody shows a certificate.
    #[error("{0}: client_ca is for doors with a certificate and a key")]
    ClientAuthority(Address),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system's.
    #[error("{address}: {source}")]
    System {
        /// Where.
        address: Address,
        /// Why not.
        source: io::Error,
    },
}

/// An open door.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    address: Address,
    certificates: Option<Certificates>,
    names: Arc<Names>,
    proxied: bool,
}

impl Door {
    /// Opens a door.
    ///
    /// # Errors
    /// A configuration that is not safe, certificates that cannot be used, the system's.
    pub async fn open(config: &DoorConfig) -> Result<Door, DoorError> {
        let address = config.safe_address()?;
        let certificates = config.certificates()?;
        let system = |source| DoorError::System { address: address.clone(), source };
        let listener = address.bind(config.unix_mode).await.map_err(system)?;
        let bound = listener.address().map_err(system)?;
        let names = names(&bound, certificates.is_some(), config);
        Ok(Door { listener, address: bound, certificates, names: Arc::new(names), proxied: config.proxied })
    }

    /// Where it is, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// The names of a door: its own address, and those that are configured.
fn names(address: &Address, tls: bool, config: &DoorConfig) -> Names {
    let mut hosts = config.hosts.clone();
    match address {
        Address::Tcp(address) => {
            if !address.ip().is_unspecified() {
                hosts.push(address.to_string());
            }
            if address.ip().is_loopback() {
                hosts.push(format!("localhost:{}", address.port()));
            }
        }
        // No browser reaches a Unix socket by itself; clients must send some name.
        Address::Unix(_) => hosts.push("localhost".to_owned()),
    }
    let scheme = if tls { "https" } else { "http" };
    Names::new(scheme, hosts.iter().map(String::as_str))
        .with_origins(config.origins.iter().map(String::as_str))
}

/// Whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Address(IpAddr),
    User(Option<u32>),
}

/// Counts connections.
#[derive(Debug, Default)]
struct Connections {
    of: Mutex<HashMap<Whose, usize>>,
}

struct Connected {
    connections: Arc<Connections>,
    whose: Whose,
}

impl Connections {
    fn take(self: &Arc<Connections>, whose: Whose, limits: &Limits) -> Option<Connected> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = of.values().sum();
        let count = of.get(&whose).copied().unwrap_or(0);
        if all >= limits.connections || count >= limits.connections_of_one {
            return None;
        }
        of.insert(whose, count + 1);
        Some(Connected { connections: Arc::clone(self), whose })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut of = self.connections.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.whose);
            }
        }
    }
}

/// Serves a router at every door until `stop`; then takes no more connections, and requests that run may end within
/// `grace`.
///
/// # Errors
/// When a task of the service fails, which would be a fault of the program.
pub async fn serve(
    doors: Vec<Door>,
    router: Router,
    limits: Limits,
    stop: Stop,
    grace: Duration,
) -> io::Result<()> {
    let limits = Arc::new(limits);
    let connections = Arc::new(Connections::default());
    let mut tasks = JoinSet::new();
    let mut sockets = Vec::new();
    for door in doors {
        if let Listener::Unix(_, file) = &door.listener {
            sockets.push(file.clone());
        }
        let (router, limits) = (router.clone(), Arc::clone(&limits));
        tasks.spawn(accept(door, router, limits, Arc::clone(&connections), stop.clone(), grace));
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            result = Err(io::Error::other(error));
            stop.now();
        }
    }
    sockets.iter().for_each(SocketFile::remove);
    result
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

async fn accept(
    door: Door,
    router: Router,
    limits: Arc<Limits>,
    connections: Arc<Connections>,
    stop: Stop,
    grace: Duration,
) {
    let mut look = tokio::time::interval(LOOK_AT_CERTIFICATES);
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.wait() => break,
            accepted = accept_one(&door.listener) => accepted,
            _ = look.tick() => {
                match door.certificates.as_ref().map(Certificates::refresh) {
                    Some(Ok(true)) => tracing::info!("{}: the certificates were read again", door.address),
                    Some(Err(error)) => tracing::error!("{}: the old certificates stay: {error}", door.address),
                    _ => {}
                }
                continue;
            }
            Some(_) = tasks.join_next() => continue,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, or a connection that ended before it was taken: others go on.
                tracing::warn!("{}: accepting: {error}", door.address);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (whose, credentials) = match &stream {
            Stream::Tcp(_, peer) => (Whose::Address(peer.ip()), Credentials::None),
            Stream::Unix(stream) => {
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                let trusted = uid.filter(|_| !door.proxied).map(Credentials::TrustedPeer);
                (Whose::User(uid), trusted.unwrap_or(Credentials::None))
            }
        };
        let Some(connected) = connections.take(whose, &limits) else {
            tracing::warn!("{}: too many connections of {whose:?} or of all: one is closed", door.address);
            continue;
        };
        let arrival = Arrival { credentials, names: Arc::clone(&door.names) };
        let (router, limits, stop) = (router.clone(), Arc::clone(&limits), stop.clone());
        let acceptor =
            door.certificates.as_ref().map(|certificates| TlsAcceptor::from(certificates.config()));
        tasks.spawn(async move {
            let _connected = connected;
            match stream {
                Stream::Tcp(stream, _) => {
                    // Answers are written whole: waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    begin(stream, acceptor, router, arrival, &limits, stop, grace).await;
                }
                Stream::Unix(stream) => begin(stream, None, router, arrival, &limits, stop, grace).await,
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept_one(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Stream::Tcp(stream, peer)),
        Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
    }
}

async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    mut arrival: Arrival,
    limits: &Limits,
    stop: Stop,
    grace: Duration,
) {
    let stream = Timed::new(stream, seconds(limits.write_timeout_s));
    let Some(acceptor) = acceptor else {
        return connection(stream, router, arrival, limits, stop, grace).await;
    };
    match tokio::time::timeout(seconds(limits.head_timeout_s), acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            if let Some(certificate) = peer_of(stream.get_ref().1) {
                arrival.credentials = Credentials::Certificate(Arc::new(certificate));
            }
            connection(stream, router, arrival, limits, stop, grace).await;
        }
        Ok(Err(error)) => tracing::debug!("a TLS handshake failed: {error}"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    arrival: Arrival,
    limits: &Limits,
    stop: Stop,
    grace: Duration,
) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(arrival.clone());
        router.clone().call(request)
    });
    // HTTP/1.1 and nothing else: the preface of HTTP/2 is a request that is refused.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(seconds(limits.head_timeout_s))
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.wait() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(grace, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}
