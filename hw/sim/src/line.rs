//! The sending end of a station link: TCP in either direction, UDP to one or many, or a file.
//!
//! It sends octets and says what became of them. It knows nothing of rates, frames or faults.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;

use crate::whole_file::WholeFile;

/// Where a station's stream goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TransportSpec {
    /// The station listens and sends to whoever connected last, as most ground stations do.
    TcpServer {
        /// Local address; port 0 takes a free one.
        bind: SocketAddr,
    },
    /// The station connects, again and again until it succeeds.
    TcpClient {
        /// The receiver.
        address: SocketAddr,
    },
    /// One CADU (or frame) a datagram, to one receiver or a multicast group.
    Udp {
        /// The receiver or group.
        to: SocketAddr,
        /// IPv4 address of the interface by which a group is reached; the loopback interface if left out and `to` is a
        /// group.
        #[serde(default)]
        interface: Option<Ipv4Addr>,
        /// What a datagram holds.
        #[serde(default)]
        datagram: Datagram,
    },
    /// A file, written anew: it has its name once the source has ended.
    File {
        /// Its name; in a file of stations relative to that file.
        path: PathBuf,
    },
}

impl TransportSpec {
    /// Whether units travel in datagrams.
    #[must_use]
    pub fn is_datagrams(&self) -> bool {
        matches!(self, TransportSpec::Udp { .. })
    }
}

/// What a datagram holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datagram {
    /// Marker and codeblock, as on the radio link.
    #[default]
    Cadu,
    /// The transfer frame alone: the station has synchronised and decoded.
    Frame,
}

/// A link that cannot be opened.
#[derive(Debug, Error)]
#[error("{what}: {source}")]
pub struct LineError {
    what: String,
    source: std::io::Error,
}

/// What became of octets given to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The system took them all.
    All,
    /// The connection ended, or the caller said stop, after so many octets.
    Cut(usize),
}

/// How long one attempt to write or connect may last before a stop is looked for.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// The link itself.
#[derive(Debug)]
pub(crate) enum Line {
    Server { listener: TcpListener, peer: Option<TcpStream>, connections: u64 },
    Client { address: SocketAddr, peer: Option<TcpStream>, next_attempt: Instant, connections: u64 },
    Udp { socket: UdpSocket, to: SocketAddr },
    File { file: Option<WholeFile> },
}

impl Line {
    pub(crate) fn open(spec: &TransportSpec) -> Result<Line, LineError> {
        match spec {
            TransportSpec::TcpServer { bind } => {
                let failed = |source| LineError { what: format!("cannot listen on {bind}"), source };
                let listener = TcpListener::bind(bind).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Line::Server { listener, peer: None, connections: 0 })
            }
            TransportSpec::TcpClient { address } => Ok(Line::Client {
                address: *address,
                peer: None,
                next_attempt: Instant::now(),
                connections: 0,
            }),
            TransportSpec::Udp { to, interface, .. } => {
                let socket = udp_socket(to, *interface)
                    .map_err(|source| LineError { what: format!("cannot send datagrams to {to}"), source })?;
                Ok(Line::Udp { socket, to: *to })
            }
            TransportSpec::File { path } => {
                let failed = |source| LineError { what: format!("cannot write {}", path.display()), source };
                Ok(Line::File { file: Some(WholeFile::create(path).map_err(failed)?) })
            }
        }
    }

    /// The address a server listens on, with the port it was given.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Line::Server { listener, .. } => listener.local_addr().ok(),
            Line::Udp { socket, .. } => socket.local_addr().ok(),
            Line::Client { .. } | Line::File { .. } => None,
        }
    }

    /// Connections made so far.
    pub(crate) fn connections(&self) -> u64 {
        match self {
            Line::Server { connections, .. } | Line::Client { connections, .. } => *connections,
            Line::Udp { .. } | Line::File { .. } => 0,
        }
    }

    /// Takes up a new connection if there is one; true when somebody can be sent to.
    pub(crate) fn connect(&mut self) -> bool {
        match self {
            Line::Server { listener, peer, connections } => {
                // A newer connection replaces the older: behind a half-open one nobody is listening any more.
                while let Ok((stream, _)) = listener.accept() {
                    *peer = prepare(stream);
                    *connections += u64::from(peer.is_some());
                }
                peer.is_some()
            }
            Line::Client { address, peer, next_attempt, connections } => {
                if peer.is_none() && Instant::now() >= *next_attempt {
                    *next_attempt = Instant::now() + RETRY;
                    *peer = TcpStream::connect_timeout(address, PATIENCE).ok().and_then(prepare);
                    *connections += u64::from(peer.is_some());
                }
                peer.is_some()
            }
            Line::Udp { .. } | Line::File { .. } => true,
        }
    }

    /// Sends `octets`; datagrams hold `unit_len` octets each. Returns early when `stop` says so.
    pub(crate) fn send(
        &mut self,
        octets: &[u8],
        unit_len: usize,
        stop: &impl Fn() -> bool,
    ) -> std::io::Result<Sent> {
        match self {
            Line::Server { .. } | Line::Client { .. } => Ok(self.send_stream(octets, stop)),
            Line::Udp { socket, to } => {
                let mut sent = 0;
                for datagram in octets.chunks(unit_len) {
                    while let Err(error) = socket.send_to(datagram, *to) {
                        // A full queue empties itself; whatever else happens to one datagram happens to all.
                        let full = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory)
                            || error.raw_os_error() == Some(105);
                        if error.kind() == ErrorKind::ConnectionRefused
                            || error.kind() == ErrorKind::Interrupted
                        {
                            continue;
                        }
                        if !full {
                            return Err(error);
                        }
                        if stop() {
                            return Ok(Sent::Cut(sent));
                        }
                        std::thread::sleep(Duration::from_micros(100));
                    }
                    sent += datagram.len();
                }
                Ok(Sent::All)
            }
            Line::File { file } => {
                file.as_mut().map_or(Ok(()), |file| file.write_all(octets)).map(|()| Sent::All)
            }
        }
    }

    fn send_stream(&mut self, octets: &[u8], stop: &impl Fn() -> bool) -> Sent {
        let mut sent = 0;
        while sent < octets.len() {
            let known = self.connections();
            // Octets of one batch never go to two receivers: each would get part of a CADU.
            if stop() || !self.connect() || self.connections() != known {
                return Sent::Cut(sent);
            }
            let Some(stream) = self.peer() else { return Sent::Cut(sent) };
            match stream.write(&octets[sent..]) {
                Ok(0) => self.hang_up(),
                Ok(count) => sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.hang_up(),
            }
        }
        Sent::All
    }

    fn peer(&mut self) -> Option<&mut TcpStream> {
        match self {
            Line::Server { peer, .. } | Line::Client { peer, .. } => peer.as_mut(),
            Line::Udp { .. } | Line::File { .. } => None,
        }
    }

    fn hang_up(&mut self) {
        if let Line::Server { peer, .. } | Line::Client { peer, .. } = self {
            *peer = None;
        }
    }

    /// Ends the stream in good order: what the system has taken is still delivered. A file that is not `whole`, because
    /// its source was stopped or failed, is removed.
    pub(crate) fn close(&mut self, whole: bool) -> std::io::Result<()> {
        if let Some(stream) = self.peer() {
            // Fails only when the receiver is gone already.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        self.hang_up();
        match self {
            Line::File { file } if whole => file.take().map_or(Ok(()), WholeFile::finish),
            Line::File { file } => {
                *file = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn prepare(stream: TcpStream) -> Option<TcpStream> {
    stream.set_nonblocking(false).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

fn udp_socket(to: &SocketAddr, interface: Option<Ipv4Addr>) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(*to), Type::DGRAM, Some(Protocol::UDP))?;
    match to.ip() {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_if_v4(&interface.unwrap_or(Ipv4Addr::LOCALHOST))?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(group) if group.is_multicast() => socket.set_multicast_loop_v6(true)?,
        _ => {}
    }
    let any = SocketAddr::new(
        match (to.ip(), interface) {
            (IpAddr::V4(_), Some(interface)) => IpAddr::V4(interface),
            (IpAddr::V4(_), None) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (IpAddr::V6(_), _) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        },
        0,
    );
    socket.bind(&any.into())?;
    let socket: UdpSocket = socket.into();
    // The default would make a burst of large frames wait for the receiver.
    SockRef::from(&socket).set_send_buffer_size(1 << 20)?;
    Ok(socket)
}
