//! TCP stations: a client that reconnects, a server that takes one station at a time.
//!
//! A second station is refused (with a reset) and counted. When the first has been silent for `takeover_silence_ms`, it is taken
//! for half-open and the second replaces it: a station that rebooted is back at once, and nothing is lost, because nothing was coming.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use fep_time::Monotonic;
use socket2::Socket;

use crate::backoff::Backoff;
use crate::event::{EndReason, Refusal, TransmitFault, TransmitRefused};
use crate::link::{LinkState, ReceiveMode};
use crate::outgoing::Outgoing;
use crate::ring::{Completion, Request, Ring, Token};
use crate::socket;
use crate::spec::{LinkSpec, TcpServerSpec};
use crate::turn::{Turn, os_error};

const MS: i64 = 1_000_000;
/// After an error of `accept` (no descriptors left, mostly): asking again at once would only burn the core.
const ACCEPT_PAUSE_NS: i64 = 100 * MS;
/// When a send has failed, the station is gone, but its last octets may still wait in the kernel: so long for their receive to
/// notice the end as well.
const LAST_OCTETS_NS: i64 = 1_000 * MS;

/// A TCP link.
pub(crate) struct Tcp {
    spec: LinkSpec,
    role: Role,
    phase: Phase,
    mode: ReceiveMode,
    /// Counts connections and attempts, so that completions of an earlier one are recognised.
    generation: u32,
    /// Between attempts to connect, or to listen again.
    backoff: Backoff,
}

enum Role {
    Client { address: SocketAddr },
    Server { listener: Listener, rules: TcpServerSpec },
}

/// What a server listens with. A listener that failed is opened again at the same address.
struct Listener {
    /// `None` between a failure and the next attempt.
    socket: Option<Socket>,
    /// As bound: port 0 of the specification has become one that stays.
    address: SocketAddr,
    accepting: bool,
    accept_from: Monotonic,
    /// Counts listeners, so that completions of an earlier one are recognised.
    generation: u32,
}

enum Phase {
    /// Without a connection; a client tries from `until` on.
    Apart {
        until: Monotonic,
        first: bool,
    },
    Connecting {
        socket: Socket,
        deadline: Monotonic,
    },
    Connected(Connection),
}

struct Connection {
    socket: Socket,
    armed: bool,
    last_octet: Monotonic,
    /// A send has failed with this error: nothing more is sent, and the connection ends at the latest then.
    send_fault: Option<(i32, Monotonic)>,
}

impl Tcp {
    /// A client; `seed` decides the jitter of its pauses.
    pub(crate) fn client(address: SocketAddr, spec: &LinkSpec, mode: ReceiveMode, seed: u64) -> Tcp {
        Tcp::new(spec, Role::Client { address }, mode, seed)
    }

    /// A server that listens already.
    pub(crate) fn server(
        rules: &TcpServerSpec,
        spec: &LinkSpec,
        mode: ReceiveMode,
        seed: u64,
    ) -> io::Result<Tcp> {
        let socket = socket::tcp_listener(rules.address, spec)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(rules.address);
        let listener = Listener {
            socket: Some(socket),
            address,
            accepting: false,
            accept_from: Monotonic::PAST,
            generation: 0,
        };
        Ok(Tcp::new(spec, Role::Server { listener, rules: rules.clone() }, mode, seed))
    }

    fn new(spec: &LinkSpec, role: Role, mode: ReceiveMode, seed: u64) -> Tcp {
        let phase = Phase::Apart { until: Monotonic::PAST, first: true };
        let backoff = Backoff::new(spec.reconnect_min_ms, spec.reconnect_max_ms, seed);
        Tcp { spec: spec.clone(), role, phase, mode, generation: 0, backoff }
    }

    pub(crate) fn mode(&self) -> ReceiveMode {
        self.mode
    }

    /// The listener's address, or our end of the connection.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match (&self.role, &self.phase) {
            (Role::Server { listener, .. }, _) => Some(listener.address),
            (_, Phase::Connected(connection)) => connection.socket.local_addr().ok()?.as_socket(),
            _ => None,
        }
    }

    /// The station's end of the connection.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match &self.phase {
            Phase::Connected(connection) => connection.socket.peer_addr().ok()?.as_socket(),
            _ => None,
        }
    }

    pub(crate) fn may_transmit(&self) -> Result<(), TransmitRefused> {
        match &self.phase {
            Phase::Connected(Connection { send_fault: None, .. }) => Ok(()),
            _ => Err(TransmitRefused::NotConnected),
        }
    }

    /// Asks the kernel to send what waits.
    pub(crate) fn pump(&mut self, ring: &mut Ring, outgoing: &mut Outgoing) -> io::Result<()> {
        if let Phase::Connected(Connection { socket, send_fault: None, .. }) = &self.phase
            && ring.has_room()
            && let Some(range) = outgoing.next()
        {
            outgoing.started(range.len());
            ring.send(socket.as_fd(), range, self.generation)?;
        }
        Ok(())
    }

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        let accept_at = self.listen(turn)?;
        if let (Phase::Apart { until, first }, Role::Client { address }) = (&self.phase, &self.role) {
            if turn.now < *until {
                return Ok(*until);
            }
            self.attempt(turn, *address, *first)?;
        }
        let deadline = match &mut self.phase {
            Phase::Apart { until, .. } => match self.role {
                Role::Client { .. } => *until,
                Role::Server { .. } => Monotonic::NEVER,
            },
            Phase::Connecting { deadline, .. } if turn.now < *deadline => *deadline,
            Phase::Connecting { .. } => {
                turn.counters.connect_timeouts += 1;
                turn.connect_failed(
                    "connecting",
                    format_args!("no answer in {} ms", self.spec.connect_timeout_ms),
                );
                turn.ring.cancel(Token { request: Request::Connect, generation: self.generation })?;
                self.apart(turn)?
            }
            Phase::Connected(connection) => {
                let silent_at = self
                    .spec
                    .idle_timeout_ms
                    .map_or(Monotonic::NEVER, |ms| connection.last_octet.plus_ns(i64::from(ms) * MS));
                let (errno, fault_at) = connection.send_fault.unwrap_or((0, Monotonic::NEVER));
                if turn.now >= fault_at {
                    self.disconnect(turn, end_reason(errno))?
                } else if turn.now >= silent_at {
                    turn.status.fault("receiving", "idle_timeout_ms is over without an octet");
                    self.disconnect(turn, EndReason::Idle)?
                } else {
                    if !connection.armed {
                        connection.armed = arm(turn, &connection.socket, self.mode, self.generation)?;
                    }
                    silent_at.min(fault_at)
                }
            }
        };
        Ok(deadline.min(accept_at))
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        let current = completion.token.generation == self.generation;
        match completion.token.request {
            Request::Accept => self.accepted(turn, completion),
            Request::Connect if current => self.connected(turn, completion.result),
            Request::ReceiveMulti | Request::ReceiveSingle => self.received(turn, &completion),
            Request::Send if current => self.sent(turn, completion.result),
            _ => Ok(()),
        }
    }

    /// Ends the connection, if one stands.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<()> {
        if matches!(self.phase, Phase::Connected(_)) {
            self.disconnect(turn, reason)?;
        }
        Ok(())
    }

    fn attempt(&mut self, turn: &mut Turn<'_>, address: SocketAddr, first: bool) -> io::Result<()> {
        turn.counters.reconnect_attempts += u64::from(!first);
        turn.status.state = LinkState::Connecting;
        self.generation = self.generation.wrapping_add(1);
        let attempt = socket::tcp_client(address, &self.spec).and_then(|socket| {
            turn.ring.connect(socket.as_fd(), address, self.generation)?;
            Ok(socket)
        });
        match attempt {
            Ok(socket) => {
                let deadline = turn.now.plus_ns(i64::from(self.spec.connect_timeout_ms) * MS);
                self.phase = Phase::Connecting { socket, deadline };
            }
            Err(error) => {
                turn.counters.connect_errors += 1;
                turn.connect_failed(format_args!("a socket for {address}"), error);
                self.apart(turn)?;
            }
        }
        Ok(())
    }

    fn connected(&mut self, turn: &mut Turn<'_>, result: Result<usize, i32>) -> io::Result<()> {
        let apart = Phase::Apart { until: Monotonic::NEVER, first: false };
        match (std::mem::replace(&mut self.phase, apart), result) {
            (Phase::Connecting { socket, .. }, Ok(_)) => self.adopt(turn, socket),
            (Phase::Connecting { socket, deadline }, Err(errno)) => {
                let counter = match errno {
                    libc::ECONNREFUSED => &mut turn.counters.connect_refused,
                    libc::ETIMEDOUT => &mut turn.counters.connect_timeouts,
                    _ => &mut turn.counters.connect_errors,
                };
                *counter += 1;
                turn.connect_failed("connecting", os_error(errno));
                self.phase = Phase::Connecting { socket, deadline };
                self.apart(turn)?;
            }
            (other, _) => self.phase = other,
        }
        Ok(())
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, socket: Socket) {
        turn.counters.connections += 1;
        let peer = socket.peer_addr().ok().and_then(|address| address.as_socket());
        self.phase =
            Phase::Connected(Connection { socket, armed: false, last_octet: turn.now, send_fault: None });
        turn.connected(peer);
    }

    fn received(&mut self, turn: &mut Turn<'_>, completion: &Completion) -> io::Result<()> {
        let current = completion.token.generation == self.generation;
        let (Phase::Connected(connection), true) = (&mut self.phase, current) else {
            discard(turn, completion);
            return Ok(());
        };
        connection.armed &= completion.more;
        match completion.result {
            Ok(0) => {
                turn.ring.give_back(completion);
                // The error of a connection is reported once: when a send got it, the receive sees only the end.
                let reason = connection.send_fault.map_or(EndReason::Peer, |(errno, _)| end_reason(errno));
                self.disconnect(turn, reason)?;
            }
            Ok(_) => {
                connection.last_octet = turn.now;
                turn.deliver(completion);
                self.backoff.reset();
            }
            // All provided buffers are in use; the request is armed again when we have given some back.
            Err(libc::ENOBUFS) => turn.counters.buffers_exhausted += 1,
            Err(libc::EAGAIN | libc::EINTR) => {}
            // Kernels of 5.19 have provided buffers but no multishot receive.
            Err(libc::EINVAL) if self.mode == ReceiveMode::Multishot => self.mode = ReceiveMode::SingleShot,
            Err(errno) => {
                turn.status.fault("receiving", os_error(errno));
                self.disconnect(turn, end_reason(errno))?;
            }
        }
        Ok(())
    }

    fn sent(&mut self, turn: &mut Turn<'_>, result: Result<usize, i32>) -> io::Result<()> {
        let Phase::Connected(connection) = &mut self.phase else { return Ok(()) };
        match result {
            Ok(taken) => {
                turn.sent(taken);
                self.pump(turn.ring, turn.outgoing)?;
            }
            Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => _ = turn.outgoing.abandon(),
            Err(errno) => {
                turn.status.fault("sending", os_error(errno));
                connection.send_fault = Some((errno, turn.now.plus_ns(LAST_OCTETS_NS)));
                turn.outgoing.abandon();
                turn.give_up(TransmitFault::Ended(end_reason(errno)));
            }
        }
        Ok(())
    }

    /// Ends the connection and returns when the next attempt is due.
    fn disconnect(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<Monotonic> {
        turn.count_end(reason);
        turn.disconnected(reason, Some(Token { request: Request::Send, generation: self.generation }))?;
        if let Phase::Connected(Connection { armed: true, .. }) = self.phase {
            let request = match self.mode {
                ReceiveMode::Multishot => Request::ReceiveMulti,
                ReceiveMode::SingleShot => Request::ReceiveSingle,
            };
            turn.ring.cancel(Token { request, generation: self.generation })?;
        }
        self.apart(turn)
    }

    /// Closes the socket and waits: a client for its pause to be over, a server for a station. Returns when a client tries again.
    fn apart(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        self.generation = self.generation.wrapping_add(1);
        let until = match &self.role {
            Role::Client { .. } => {
                turn.status.state = LinkState::Connecting;
                turn.now.plus_ns(self.backoff.pause_ns())
            }
            Role::Server { .. } => {
                turn.status.state = LinkState::Listening;
                Monotonic::NEVER
            }
        };
        match std::mem::replace(&mut self.phase, Phase::Apart { until, first: false }) {
            Phase::Connecting { socket, .. } => turn.ring.close(socket.into())?,
            Phase::Connected(Connection { socket, .. }) => {
                // The cancelled receive holds the socket open until the next turn; the station shall see the end now. This fails where
                // the station has reset the connection, and then it is not needed.
                let _ = socket.shutdown(std::net::Shutdown::Both);
                turn.ring.close(socket.into())?;
            }
            Phase::Apart { .. } => {}
        }
        Ok(until)
    }

    /// Keeps a server's accept request armed and its listener open; returns when to try again after an error.
    fn listen(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        let Role::Server { listener, .. } = &mut self.role else { return Ok(Monotonic::NEVER) };
        if listener.accepting {
            return Ok(Monotonic::NEVER);
        }
        if turn.now < listener.accept_from {
            return Ok(listener.accept_from);
        }
        if listener.socket.is_none() {
            match socket::tcp_listener(listener.address, &self.spec) {
                Ok(socket) => {
                    turn.counters.reopens += 1;
                    listener.socket = Some(socket);
                    listener.generation = listener.generation.wrapping_add(1);
                }
                Err(error) => {
                    turn.connect_failed(format_args!("listening at address {}", listener.address), error);
                    listener.accept_from = turn.now.plus_ns(self.backoff.pause_ns());
                    return Ok(listener.accept_from);
                }
            }
        }
        if matches!(self.phase, Phase::Apart { .. }) {
            turn.status.state = LinkState::Listening;
        }
        if let Some(socket) = &listener.socket {
            listener.accepting = true;
            turn.ring.accept(socket.as_fd(), listener.generation)?;
        }
        Ok(Monotonic::NEVER)
    }

    fn accepted(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        let Role::Server { listener, rules } = &mut self.role else { return Ok(()) };
        if completion.token.generation != listener.generation {
            return Ok(());
        }
        listener.accepting = false;
        let newcomer = match (completion.accepted, completion.result) {
            (Some(fd), _) => Socket::from(fd),
            (None, result) => {
                let errno = result.err().unwrap_or(0);
                turn.counters.receive_errors += 1;
                turn.status.fault("accepting a station", os_error(errno));
                if concerns_the_newcomer_or_a_shortage(errno) {
                    listener.accept_from = turn.now.plus_ns(ACCEPT_PAUSE_NS);
                } else {
                    listener.accept_from = turn.now.plus_ns(self.backoff.pause_ns());
                    if let Some(socket) = listener.socket.take() {
                        turn.ring.close(socket.into())?;
                    }
                    if matches!(self.phase, Phase::Apart { .. }) {
                        turn.status.state = LinkState::Connecting;
                    }
                }
                return Ok(());
            }
        };
        self.backoff.reset();
        let peer = newcomer.peer_addr().ok().and_then(|address| address.as_socket());
        let allowed = rules.allowed_peers.is_empty()
            || peer.is_some_and(|peer| rules.allowed_peers.contains(&canonical(peer.ip())));
        let takeover_ns = i64::from(rules.takeover_silence_ms) * MS;
        let refusal = match &self.phase {
            _ if !allowed => Some(Refusal::NotAllowed),
            Phase::Connected(present) => {
                let silent_ns = turn.now.ns_since(present.last_octet);
                let by = present.socket.peer_addr().ok().and_then(|address| address.as_socket());
                (takeover_ns == 0 || silent_ns < takeover_ns)
                    .then(|| Refusal::Occupied { by, silent_ms: (silent_ns / MS).unsigned_abs() })
            }
            _ => None,
        };
        if let Some(reason) = refusal {
            turn.refused(peer, reason);
            socket::refuse(newcomer);
            return Ok(());
        }
        if matches!(self.phase, Phase::Connected(_)) {
            turn.status.fault("receiving", "a silent station was replaced by a new connection");
            self.disconnect(turn, EndReason::Replaced)?;
        }
        if let Err(error) = socket::set_connection_options(&newcomer, &self.spec) {
            // The station has gone again already: the receive will say why.
            turn.status.fault("setting keep-alive", error);
        }
        self.generation = self.generation.wrapping_add(1);
        self.adopt(turn, newcomer);
        Ok(())
    }
}

/// Asks for octets; false when the buffer is still with the cancelled receive of the connection before.
fn arm(turn: &mut Turn<'_>, socket: &Socket, mode: ReceiveMode, generation: u32) -> io::Result<bool> {
    match mode {
        ReceiveMode::Multishot => turn.ring.receive_multi(socket.as_fd(), generation)?,
        ReceiveMode::SingleShot if !turn.ring.own_is_free() => return Ok(false),
        ReceiveMode::SingleShot => turn.ring.receive_single(socket.as_fd(), generation)?,
    }
    Ok(true)
}

/// What an error of a connected socket says about the end of its connection.
fn end_reason(errno: i32) -> EndReason {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => EndReason::Reset,
        libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH => EndReason::HalfOpen,
        errno => EndReason::Error(errno),
    }
}

/// Errors of `accept` after which the listener still listens (accept(2)): the connection was gone before it was taken, its network
/// failed, or the system is short of something. After any other the listener is opened again.
fn concerns_the_newcomer_or_a_shortage(errno: i32) -> bool {
    const OF_THE_NEWCOMER: [i32; 12] = [
        libc::EAGAIN,
        libc::EINTR,
        libc::ECONNABORTED,
        libc::EPERM,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ];
    OF_THE_NEWCOMER.contains(&errno)
        || [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&errno)
}

/// An IPv4 station that reached an IPv6 listener is still that IPv4 station.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Octets of a connection that was given up already.
fn discard(turn: &mut Turn<'_>, completion: &Completion) {
    turn.counters.discarded_bytes += turn.ring.payload_octets(completion);
    turn.ring.give_back(completion);
}
