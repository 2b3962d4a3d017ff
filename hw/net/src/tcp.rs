//! TCP stations: a client that reconnects, a server that takes one station at a time.
//!
//! A second station is refused (with a reset) and counted. When the first has been silent for `takeover_silence_ms`, it is taken
//! for half-open and the second replaces it: a station that rebooted is back at once, and nothing is lost, because nothing was coming.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::Socket;

use crate::backoff::Backoff;
use crate::link::{LinkState, ReceiveMode};
use crate::ring::{Completion, Request, Token};
use crate::socket;
use crate::spec::{LinkSpec, TcpServerSpec};
use crate::turn::{NEVER_NS, Turn, os_error};

const MS: i64 = 1_000_000;
/// After an error of `accept` (no descriptors left, mostly): asking again at once would only burn the core.
const ACCEPT_PAUSE_NS: i64 = 100 * MS;

/// A TCP link.
pub(crate) struct Tcp {
    spec: LinkSpec,
    role: Role,
    phase: Phase,
    mode: ReceiveMode,
    /// Counts connections and attempts, so that completions of an earlier one are recognised.
    generation: u32,
}

enum Role {
    Client { address: SocketAddr, backoff: Backoff },
    Server { listener: Socket, rules: TcpServerSpec, accepting: bool, accept_from_ns: i64 },
}

enum Phase {
    /// Without a connection; a client tries from `until_ns` on.
    Apart {
        until_ns: i64,
        first: bool,
    },
    Connecting {
        socket: Socket,
        deadline_ns: i64,
    },
    Connected(Connection),
}

struct Connection {
    socket: Socket,
    armed: bool,
    /// No octet has come yet.
    fresh: bool,
    last_octet_ns: i64,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    ByPeer,
    ByUs,
    Reset,
    HalfOpen,
    Error,
}

impl Tcp {
    /// A client; `seed` decides the jitter of its pauses.
    pub(crate) fn client(address: SocketAddr, spec: &LinkSpec, mode: ReceiveMode, seed: u64) -> Tcp {
        let backoff = Backoff::new(spec.reconnect_min_ms, spec.reconnect_max_ms, seed);
        Tcp::new(spec, Role::Client { address, backoff }, mode)
    }

    /// A server that listens already.
    pub(crate) fn server(rules: &TcpServerSpec, spec: &LinkSpec, mode: ReceiveMode) -> io::Result<Tcp> {
        let listener = socket::tcp_listener(rules.address, spec)?;
        let role =
            Role::Server { listener, rules: rules.clone(), accepting: false, accept_from_ns: i64::MIN };
        Ok(Tcp::new(spec, role, mode))
    }

    fn new(spec: &LinkSpec, role: Role, mode: ReceiveMode) -> Tcp {
        let phase = Phase::Apart { until_ns: i64::MIN, first: true };
        Tcp { spec: spec.clone(), role, phase, mode, generation: 0 }
    }

    pub(crate) fn mode(&self) -> ReceiveMode {
        self.mode
    }

    /// The listener's address, or our end of the connection.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match (&self.role, &self.phase) {
            (Role::Server { listener, .. }, _) => listener.local_addr().ok()?.as_socket(),
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

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        let accept_at_ns = self.listen(turn)?;
        if let (Phase::Apart { until_ns, first }, Role::Client { address, .. }) = (&self.phase, &self.role) {
            if turn.now_ns < *until_ns {
                return Ok(*until_ns);
            }
            self.attempt(turn, *address, *first)?;
        }
        let deadline_ns = match &mut self.phase {
            Phase::Apart { until_ns, .. } => match self.role {
                Role::Client { .. } => *until_ns,
                Role::Server { .. } => NEVER_NS,
            },
            Phase::Connecting { deadline_ns, .. } if turn.now_ns < *deadline_ns => *deadline_ns,
            Phase::Connecting { .. } => {
                turn.counters.connect_timeouts += 1;
                turn.status
                    .fault("connecting", format_args!("no answer in {} ms", self.spec.connect_timeout_ms));
                turn.ring.cancel(Token { request: Request::Connect, generation: self.generation })?;
                self.apart(turn)
            }
            Phase::Connected(connection) => {
                let silent_from_ns = connection.last_octet_ns;
                match self.spec.idle_timeout_ms.map(|ms| silent_from_ns + i64::from(ms) * MS) {
                    Some(at_ns) if turn.now_ns >= at_ns => {
                        turn.status.fault("receiving", "idle_timeout_ms is over without an octet");
                        self.disconnect(turn, Cause::HalfOpen)?
                    }
                    timer => {
                        if !connection.armed {
                            connection.armed = arm(turn, &connection.socket, self.mode, self.generation)?;
                        }
                        timer.unwrap_or(NEVER_NS)
                    }
                }
            }
        };
        Ok(deadline_ns.min(accept_at_ns))
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        match completion.token.request {
            Request::Accept => self.accepted(turn, completion),
            Request::Connect if completion.token.generation == self.generation => {
                self.connected(turn, completion.result);
                Ok(())
            }
            Request::ReceiveMulti | Request::ReceiveSingle => self.received(turn, &completion),
            _ => Ok(()),
        }
    }

    /// Ends the connection, if there is one, because we want to.
    pub(crate) fn close(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        if matches!(self.phase, Phase::Connected(_)) {
            self.disconnect(turn, Cause::ByUs)?;
        }
        Ok(())
    }

    fn attempt(&mut self, turn: &mut Turn<'_>, address: SocketAddr, first: bool) -> io::Result<()> {
        turn.counters.reconnect_attempts += u64::from(!first);
        turn.status.state = LinkState::Connecting;
        self.generation = self.generation.wrapping_add(1);
        match socket::tcp_client(address, &self.spec) {
            Ok(socket) => {
                turn.ring.connect(socket.as_fd(), address, self.generation)?;
                let deadline_ns = turn.now_ns + i64::from(self.spec.connect_timeout_ms) * MS;
                self.phase = Phase::Connecting { socket, deadline_ns };
            }
            Err(error) => {
                turn.counters.connect_errors += 1;
                turn.status.fault(format_args!("a socket for {address}"), error);
                self.apart(turn);
            }
        }
        Ok(())
    }

    fn connected(&mut self, turn: &mut Turn<'_>, result: Result<usize, i32>) {
        let before = std::mem::replace(&mut self.phase, Phase::Apart { until_ns: NEVER_NS, first: false });
        match (before, result) {
            (Phase::Connecting { socket, .. }, Ok(_)) => self.adopt(turn, socket),
            (Phase::Connecting { .. }, Err(errno)) => {
                let counter = match errno {
                    libc::ECONNREFUSED => &mut turn.counters.connect_refused,
                    libc::ETIMEDOUT => &mut turn.counters.connect_timeouts,
                    _ => &mut turn.counters.connect_errors,
                };
                *counter += 1;
                turn.status.fault("connecting", os_error(errno));
                self.apart(turn);
            }
            (other, _) => self.phase = other,
        }
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, socket: Socket) {
        turn.counters.connections += 1;
        turn.status.state = LinkState::Connected;
        self.phase =
            Phase::Connected(Connection { socket, armed: false, fresh: true, last_octet_ns: turn.now_ns });
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
                self.disconnect(turn, Cause::ByPeer)?;
            }
            Ok(_) => {
                connection.last_octet_ns = turn.now_ns;
                turn.hand_on(completion, std::mem::take(&mut connection.fresh));
                if let Role::Client { backoff, .. } = &mut self.role {
                    backoff.reset();
                }
            }
            // All provided buffers are in use; the request is armed again when we have given some back.
            Err(libc::ENOBUFS) => turn.counters.buffers_exhausted += 1,
            Err(libc::EAGAIN | libc::EINTR) => {}
            // Kernels of 5.19 have provided buffers but no multishot receive.
            Err(libc::EINVAL) if self.mode == ReceiveMode::Multishot => self.mode = ReceiveMode::SingleShot,
            Err(errno) => {
                turn.status.fault("receiving", os_error(errno));
                let cause = match errno {
                    libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => Cause::Reset,
                    libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH => Cause::HalfOpen,
                    _ => Cause::Error,
                };
                self.disconnect(turn, cause)?;
            }
        }
        Ok(())
    }

    /// Ends the connection and returns when the next attempt is due.
    fn disconnect(&mut self, turn: &mut Turn<'_>, cause: Cause) -> io::Result<i64> {
        let counter = match cause {
            Cause::ByPeer => &mut turn.counters.disconnects_by_peer,
            Cause::ByUs => &mut turn.counters.disconnects_by_us,
            Cause::Reset => &mut turn.counters.resets,
            Cause::HalfOpen => &mut turn.counters.half_open,
            Cause::Error => &mut turn.counters.disconnects_by_error,
        };
        *counter += 1;
        turn.counters.disconnects += 1;
        if let Phase::Connected(Connection { armed: true, .. }) = self.phase {
            let request = match self.mode {
                ReceiveMode::Multishot => Request::ReceiveMulti,
                ReceiveMode::SingleShot => Request::ReceiveSingle,
            };
            turn.ring.cancel(Token { request, generation: self.generation })?;
        }
        Ok(self.apart(turn))
    }

    /// Drops the socket and waits: a client for its pause to be over, a server for a station. Returns when a client tries again.
    fn apart(&mut self, turn: &mut Turn<'_>) -> i64 {
        self.generation = self.generation.wrapping_add(1);
        let until_ns = match &mut self.role {
            Role::Client { backoff, .. } => {
                turn.status.state = LinkState::Connecting;
                turn.now_ns + backoff.pause_ns()
            }
            Role::Server { .. } => {
                turn.status.state = LinkState::Listening;
                NEVER_NS
            }
        };
        self.phase = Phase::Apart { until_ns, first: false };
        until_ns
    }

    /// Keeps a server's accept request armed; returns when it may be armed again after an error.
    fn listen(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        let Role::Server { listener, accepting, accept_from_ns, .. } = &mut self.role else {
            return Ok(NEVER_NS);
        };
        if *accepting {
            return Ok(NEVER_NS);
        }
        if turn.now_ns < *accept_from_ns {
            return Ok(*accept_from_ns);
        }
        if turn.status.state == LinkState::Idle {
            turn.status.state = LinkState::Listening;
        }
        *accepting = true;
        turn.ring.accept(listener.as_fd(), 0)?;
        Ok(NEVER_NS)
    }

    fn accepted(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        let Role::Server { rules, accepting, accept_from_ns, .. } = &mut self.role else { return Ok(()) };
        *accepting = false;
        let newcomer = match (completion.accepted, completion.result) {
            (Some(fd), _) => Socket::from(fd),
            (None, result) => {
                let errno = result.err().unwrap_or(0);
                turn.counters.receive_errors += 1;
                turn.status.fault("accepting a station", os_error(errno));
                *accept_from_ns = turn.now_ns + ACCEPT_PAUSE_NS;
                return Ok(());
            }
        };
        let peer = newcomer.peer_addr().ok().and_then(|address| address.as_socket());
        let allowed = rules.allowed_peers.is_empty()
            || peer.is_some_and(|peer| rules.allowed_peers.contains(&canonical(peer.ip())));
        let takeover_ns = i64::from(rules.takeover_silence_ms) * MS;
        let replace = match &self.phase {
            Phase::Connected(present) => {
                takeover_ns > 0 && turn.now_ns - present.last_octet_ns >= takeover_ns
            }
            _ => true,
        };
        if !allowed || !replace {
            turn.counters.refused += 1;
            let peer = peer.map_or("a station".into(), |peer| peer.to_string());
            let why = if allowed { "another station is connected" } else { "not in allowed_peers" };
            turn.status.fault(format_args!("refused {peer}"), why);
            socket::refuse(newcomer);
            return Ok(());
        }
        if matches!(self.phase, Phase::Connected(_)) {
            turn.status.fault("receiving", "a silent station was replaced by a new connection");
            self.disconnect(turn, Cause::HalfOpen)?;
        }
        if let Err(error) = socket::set_liveness(&newcomer, &self.spec) {
            // The station has gone again already: the receive will tell why.
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

/// An IPv4 station that reached an IPv6 listener is still that IPv4 station.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Octets of a connection that was given up already.
fn discard(turn: &mut Turn<'_>, completion: &Completion) {
    turn.counters.discarded_bytes += turn.ring.payload_octets(completion);
    turn.ring.give_back(completion);
}
