//! The link: one source of station bytes, polled by one thread.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::counters::LinkCounters;
use crate::spec::{LinkSpec, SpecError, TransportSpec, WaitMode};

/// Bytes as they arrived, valid during the sink's call.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The bytes, still in the receive buffer.
    pub bytes: &'a [u8],
    /// When they arrived, TAI nanoseconds since 1970-01-01T00:00:00 TAI.
    pub rx_tai_ns: i64,
    /// True if the chunk is exactly one datagram.
    pub datagram: bool,
    /// True for the first bytes of a new connection: what came before does not continue here.
    pub connection_start: bool,
    /// True if the datagram was longer than the receive buffer; the rest is lost.
    pub truncated: bool,
}

/// What one turn brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// So many octets went to the sink.
    Data(usize),
    /// Nothing arrived within the wait bound.
    Idle,
    /// Nothing will ever arrive again: end of file, `shutdown`, or a failure (`Link::state` tells).
    Ended,
}

/// Where the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Opened and not yet polled.
    Idle,
    /// Trying to reach the station, or pausing before the next attempt.
    Connecting,
    /// Bytes can arrive.
    Connected,
    /// A server without a station.
    Listening,
    /// Over, in order.
    Ended,
    /// Over, for the reason given.
    Failed(String),
}

/// How bytes get from the kernel to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveMode {
    /// Multishot requests into a ring of provided buffers.
    Multishot,
    /// One request a receive, into a buffer of our own.
    SingleShot,
}

/// Why a link could not be opened or polled.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The specification cannot be obeyed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The operating system refused something the link cannot do without.
    #[error("{what}: {source}")]
    Os {
        /// What was being done, and on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

enum Source {
    Client(Option<TcpStream>, SocketAddr),
    Server(TcpListener, Option<TcpStream>),
    Udp(UdpSocket),
    File(File),
}

/// One source of station bytes.
pub struct Link {
    spec: LinkSpec,
    source: Source,
    buffer: Vec<u8>,
    counters: LinkCounters,
    state: LinkState,
    fresh: bool,
}

impl Link {
    /// Opens a link. Connects lazily and never blocks.
    ///
    /// # Errors
    /// A specification that cannot be obeyed, or a refusal of the operating system.
    pub fn open(spec: LinkSpec) -> Result<Link, NetError> {
        spec.validate()?;
        let os = |what: String| move |source| NetError::Os { what, source };
        let source = match &spec.transport {
            TransportSpec::TcpClient(tcp) => Source::Client(None, tcp.address),
            TransportSpec::TcpServer(tcp) => {
                let listener =
                    TcpListener::bind(tcp.address).map_err(os(format!("listen at {}", tcp.address)))?;
                listener.set_nonblocking(true).map_err(os("set non-blocking".into()))?;
                Source::Server(listener, None)
            }
            TransportSpec::Udp(udp) => {
                let socket = UdpSocket::bind(udp.bind).map_err(os(format!("bind {}", udp.bind)))?;
                socket.set_nonblocking(true).map_err(os("set non-blocking".into()))?;
                Source::Udp(socket)
            }
            TransportSpec::File(file) => {
                Source::File(File::open(&file.path).map_err(os(format!("open {}", file.path.display())))?)
            }
            other => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                return Err(NetError::Os { what: format!("open {}", other.kind()), source });
            }
        };
        let buffer = vec![0; spec.payload_bytes().max(spec.receive_buffer_bytes) as usize];
        let (counters, state) = (LinkCounters::default(), LinkState::Idle);
        Ok(Link { spec, source, buffer, counters, state, fresh: true })
    }

    /// One turn: hands every chunk that has arrived to `sink`; waits at most the configured time when there is none.
    pub fn poll(&mut self, sink: &mut impl FnMut(Chunk<'_>)) -> Polled {
        if matches!(self.state, LinkState::Ended | LinkState::Failed(_)) {
            return Polled::Ended;
        }
        let datagram = matches!(self.source, Source::Udp(_));
        let result = match &mut self.source {
            Source::Client(stream @ None, address) => {
                self.state = LinkState::Connecting;
                match TcpStream::connect_timeout(address, Duration::from_millis(50)) {
                    Ok(new) => {
                        let _ = new.set_nonblocking(true);
                        *stream = Some(new);
                        self.fresh = true;
                        self.counters.connections += 1;
                        self.state = LinkState::Connected;
                    }
                    Err(_) => self.counters.reconnect_attempts += 1,
                }
                Err(io::ErrorKind::WouldBlock.into())
            }
            Source::Server(listener, stream @ None) => {
                self.state = LinkState::Listening;
                if let Ok((new, _)) = listener.accept() {
                    let _ = new.set_nonblocking(true);
                    *stream = Some(new);
                    self.fresh = true;
                    self.counters.connections += 1;
                    self.state = LinkState::Connected;
                }
                Err(io::ErrorKind::WouldBlock.into())
            }
            Source::Client(Some(stream), _) | Source::Server(_, Some(stream)) => {
                stream.read(&mut self.buffer)
            }
            Source::Udp(socket) => {
                self.state = LinkState::Connected;
                socket.recv(&mut self.buffer)
            }
            Source::File(file) => file.read(&mut self.buffer),
        };
        match result {
            Ok(0) if !datagram => {
                match &mut self.source {
                    Source::Client(stream, _) | Source::Server(_, stream) => {
                        *stream = None;
                        self.counters.disconnects += 1;
                    }
                    _ => {
                        self.state = LinkState::Ended;
                        return Polled::Ended;
                    }
                }
                Polled::Idle
            }
            Ok(len) => {
                self.counters.bytes += len as u64;
                self.counters.chunks += 1;
                self.counters.datagrams += u64::from(datagram);
                let connection_start = std::mem::take(&mut self.fresh);
                let rx_tai_ns = crate::clock::tai_now_ns();
                sink(Chunk {
                    bytes: &self.buffer[..len],
                    rx_tai_ns,
                    datagram,
                    connection_start,
                    truncated: false,
                });
                Polled::Data(len)
            }
            Err(_) => {
                if self.spec.wait != WaitMode::Busy {
                    std::thread::sleep(Duration::from_micros(u64::from(self.spec.max_wait_us)));
                }
                Polled::Idle
            }
        }
    }

    /// Where the link stands.
    pub fn state(&self) -> &LinkState {
        &self.state
    }

    /// What the link has counted.
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// The address we are bound to: of the listener, the datagram socket, or our end of the connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.source {
            Source::Client(Some(stream), _) => stream.local_addr().ok(),
            Source::Server(listener, _) => listener.local_addr().ok(),
            Source::Udp(socket) => socket.local_addr().ok(),
            _ => None,
        }
    }

    /// How bytes get from the kernel to us.
    pub fn receive_mode(&self) -> ReceiveMode {
        ReceiveMode::SingleShot
    }

    /// Closes in order; afterwards `poll` answers `Ended`.
    pub fn shutdown(&mut self) {
        self.state = LinkState::Ended;
    }
}
