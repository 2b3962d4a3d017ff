//! Datagrams, unicast or multicast: one chunk a datagram, order and duplicates as the network made them; one unit a datagram sent.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use fep_time::{Monotonic, Tai};
use socket2::Socket;

use crate::backoff::Backoff;
use crate::counters::WrappingCount;
use crate::event::{EndReason, TransmitFault, TransmitRefused};
use crate::link::{LinkState, ReceiveMode};
use crate::outgoing::Outgoing;
use crate::ring::{Completion, Request, Ring, Token};
use crate::socket;
use crate::spec::{LinkSpec, SendTo, UdpSpec};
use crate::turn::{Turn, os_error};

/// Datagrams carry the drop count of the time they were queued; drops after the last one show in the socket option only.
const DROPS_EVERY_NS: i64 = 50_000_000;
/// After an error that the socket survives: asking again at once would only burn the core.
const ERROR_PAUSE_NS: i64 = 10_000_000;
/// Between two looks whether the socket is still in its multicast group: two system calls.
const MEMBERSHIP_EVERY_NS: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;

/// A datagram link.
pub(crate) struct Udp {
    /// With the address that was bound: port 0 of the specification has become one that stays.
    udp: UdpSpec,
    spec: LinkSpec,
    phase: Phase,
    mode: ReceiveMode,
    /// Counts sockets, so that completions of an earlier one are recognised.
    generation: u32,
    drops: WrappingCount,
    backoff: Backoff,
    sender: Option<SocketAddr>,
    /// When the last datagram came, until its silence has been reported.
    last: Option<(Monotonic, Tai)>,
}

enum Phase {
    /// The socket failed; it is opened again at `until`.
    Apart {
        until: Monotonic,
    },
    Open(Open),
}

struct Open {
    socket: Socket,
    armed: bool,
    arm_from: Monotonic,
    read_drops_at: Monotonic,
    /// When its membership is looked at; never without a group.
    look_at: Monotonic,
    /// `Event::Connected` has been reported.
    reported: bool,
}

impl Open {
    fn new(socket: Socket, udp: &UdpSpec) -> Open {
        let look_at = if udp.multicast_group.is_some() { Monotonic::PAST } else { Monotonic::NEVER };
        Open {
            socket,
            look_at,
            armed: false,
            arm_from: Monotonic::PAST,
            read_drops_at: Monotonic::PAST,
            reported: false,
        }
    }
}

impl Udp {
    /// Binds, and joins the group if there is one; `seed` decides the jitter of its pauses.
    pub(crate) fn bind(udp: &UdpSpec, spec: &LinkSpec, mode: ReceiveMode, seed: u64) -> io::Result<Udp> {
        let socket = socket::udp(udp, spec)?;
        let mut udp = udp.clone();
        udp.bind.set_port(socket.local_addr()?.as_socket().map_or(udp.bind.port(), |bound| bound.port()));
        let phase = Phase::Open(Open::new(socket, &udp));
        Ok(Udp {
            udp,
            spec: spec.clone(),
            phase,
            mode,
            generation: 0,
            drops: WrappingCount::default(),
            backoff: Backoff::new(spec.reconnect_min_ms, spec.reconnect_max_ms, seed),
            sender: None,
            last: None,
        })
    }

    pub(crate) fn mode(&self) -> ReceiveMode {
        self.mode
    }

    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        Some(self.udp.bind)
    }

    /// Where the next datagram would go.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self.udp.send_to? {
            SendTo::Address(address) => Some(address),
            SendTo::Sender => self.sender,
        }
    }

    /// The kernel buffer we really got, in octets (the kernel counts its own overhead in it).
    pub(crate) fn socket_buffer_bytes(&self) -> Option<usize> {
        match &self.phase {
            Phase::Open(open) => open.socket.recv_buffer_size().ok(),
            Phase::Apart { .. } => None,
        }
    }

    pub(crate) fn may_transmit(&self) -> Result<(), TransmitRefused> {
        if self.udp.send_to.is_none() {
            return Err(TransmitRefused::ReceiveOnly("udp without send_to"));
        }
        match (&self.phase, self.peer_address()) {
            (Phase::Open(_), Some(_)) => Ok(()),
            _ => Err(TransmitRefused::NotConnected),
        }
    }

    /// Asks the kernel to send the next datagram.
    pub(crate) fn pump(&mut self, ring: &mut Ring, outgoing: &mut Outgoing) -> io::Result<()> {
        if let (Phase::Open(open), Some(address)) = (&self.phase, self.peer_address())
            && ring.has_room()
            && let Some(range) = outgoing.next()
        {
            outgoing.started(range.len());
            ring.send_datagram(open.socket.as_fd(), range, address, self.generation)?;
        }
        Ok(())
    }

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        if let Phase::Apart { until } = self.phase {
            if turn.now < until {
                return Ok(until);
            }
            match socket::udp(&self.udp, &self.spec) {
                Ok(socket) => {
                    turn.counters.reopens += 1;
                    self.drops = WrappingCount::after(turn.counters.kernel_drops);
                    self.phase = Phase::Open(Open::new(socket, &self.udp));
                }
                Err(error) => {
                    turn.connect_failed(format_args!("receiving datagrams at bind {}", self.udp.bind), error);
                    return self.apart(turn);
                }
            }
        }
        let silent_at = self.silence(turn);
        if let Err(error) = self.check_membership(turn.now) {
            let group = self.udp.multicast_group.map(|group| group.to_string()).unwrap_or_default();
            turn.status.fault(format_args!("in the multicast group {group}"), &error);
            self.end(turn, EndReason::Error(error.raw_os_error().unwrap_or(libc::ENODEV)))?;
        }
        if let Phase::Apart { until } = self.phase {
            return Ok(until);
        }
        let Phase::Open(open) = &mut self.phase else { return Ok(Monotonic::NEVER) };
        if !std::mem::replace(&mut open.reported, true) {
            turn.connected(None);
        }
        if turn.now >= open.read_drops_at {
            open.read_drops_at = turn.now.plus_ns(DROPS_EVERY_NS);
            count_drops(&mut self.drops, open, turn);
        }
        if !open.armed && turn.now >= open.arm_from {
            match self.mode {
                ReceiveMode::Multishot => {
                    turn.ring.receive_datagrams_multi(open.socket.as_fd(), self.generation)?;
                    open.armed = true;
                }
                // The buffer may still be with the cancelled receive of the socket before.
                ReceiveMode::SingleShot if turn.ring.own_is_free() => {
                    turn.ring.receive_datagram_single(open.socket.as_fd(), self.generation)?;
                    open.armed = true;
                }
                ReceiveMode::SingleShot => {}
            }
        }
        let arm_at = if open.armed { Monotonic::NEVER } else { open.arm_from };
        Ok(open.read_drops_at.min(arm_at).min(silent_at).min(open.look_at))
    }

    /// Looks now and then whether the socket is still in its group.
    fn check_membership(&mut self, now: Monotonic) -> io::Result<()> {
        match (&mut self.phase, self.udp.multicast_group) {
            (Phase::Open(open), Some(group)) if now >= open.look_at => {
                open.look_at = now.plus_ns(MEMBERSHIP_EVERY_NS);
                socket::check_membership(&open.socket, group, &self.udp)
            }
            _ => Ok(()),
        }
    }

    /// Reports silence when it is due; returns when it will be.
    fn silence(&mut self, turn: &mut Turn<'_>) -> Monotonic {
        let (Some((at, received)), 1..) = (self.last, self.udp.silence_ms) else { return Monotonic::NEVER };
        let due = at.plus_ns(i64::from(self.udp.silence_ms) * MS);
        if turn.now < due {
            return due;
        }
        self.last = None;
        turn.silence(received);
        Monotonic::NEVER
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        let (Phase::Open(open), true) = (&mut self.phase, completion.token.generation == self.generation)
        else {
            turn.counters.discarded_bytes += turn.ring.payload_octets(&completion);
            turn.ring.give_back(&completion);
            return Ok(());
        };
        match completion.token.request {
            Request::ReceiveMulti | Request::ReceiveSingle => open.armed &= completion.more,
            Request::Send => return self.sent(turn, completion.result),
            _ => return Ok(()),
        }
        match completion.result {
            Ok(_) => match turn.deliver_datagram(&completion) {
                Some(delivered) => {
                    self.last = Some((turn.now, delivered.received));
                    self.sender = delivered.sender;
                    self.backoff.reset();
                    if let Some(reading) = delivered.drops {
                        turn.counters.kernel_drops = self.drops.observe(reading);
                    }
                }
                None => turn.counters.receive_errors += 1,
            },
            Err(libc::ENOBUFS) => turn.counters.buffers_exhausted += 1,
            Err(libc::EAGAIN | libc::EINTR) => {}
            Err(libc::EINVAL) if self.mode == ReceiveMode::Multishot => self.mode = ReceiveMode::SingleShot,
            Err(errno) => {
                turn.counters.receive_errors += 1;
                turn.status.fault("receiving", os_error(errno));
                if is_survived(errno) {
                    open.arm_from = turn.now.plus_ns(ERROR_PAUSE_NS);
                } else {
                    self.end(turn, EndReason::Error(errno))?;
                }
            }
        }
        Ok(())
    }

    fn sent(&mut self, turn: &mut Turn<'_>, result: Result<usize, i32>) -> io::Result<()> {
        match result {
            Ok(taken) => turn.sent(taken),
            Err(libc::EAGAIN | libc::EINTR) => _ = turn.outgoing.abandon(),
            // The datagram did not leave; the next one may, when a route or a neighbour is back.
            Err(errno) => {
                turn.status.fault("sending", os_error(errno));
                turn.give_up_one(TransmitFault::Os(errno));
            }
        }
        self.pump(turn.ring, turn.outgoing)
    }

    /// Closes the socket; it is opened again after a pause, unless the link is shut down.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<()> {
        if let Phase::Open(open) = &self.phase {
            count_drops(&mut self.drops, open, turn);
            turn.disconnected(reason, Some(Token { request: Request::Send, generation: self.generation }))?;
            if open.armed {
                let request = match self.mode {
                    ReceiveMode::Multishot => Request::ReceiveMulti,
                    ReceiveMode::SingleShot => Request::ReceiveSingle,
                };
                turn.ring.cancel(Token { request, generation: self.generation })?;
            }
            self.apart(turn)?;
        }
        Ok(())
    }

    /// Closes the socket, if one is open, and pauses; returns until when.
    fn apart(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        turn.status.state = LinkState::Connecting;
        self.generation = self.generation.wrapping_add(1);
        (self.sender, self.last) = (None, None);
        let until = turn.now.plus_ns(self.backoff.pause_ns());
        if let Phase::Open(open) = std::mem::replace(&mut self.phase, Phase::Apart { until }) {
            turn.ring.close(open.socket.into())?;
        }
        Ok(until)
    }
}

/// Counts the drops up to now. (Kernels without SO_MEMINFO, before 4.12, report them with the next datagram only.)
fn count_drops(drops: &mut WrappingCount, open: &Open, turn: &mut Turn<'_>) {
    if let Ok(reading) = socket::drops(&open.socket) {
        turn.counters.kernel_drops = drops.observe(reading);
    }
}

/// Errors after which a datagram socket still receives: a report of the network about something we sent (ICMP; udp(7)), or a
/// shortage. After any other (its interface is down, its address is gone) it is opened again.
fn is_survived(errno: i32) -> bool {
    [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::EHOSTDOWN,
        libc::ENETUNREACH,
        libc::ENOPROTOOPT,
        libc::EPROTO,
        libc::EMSGSIZE,
        libc::EACCES,
        libc::EPERM,
        libc::ENOMEM,
    ]
    .contains(&errno)
}
