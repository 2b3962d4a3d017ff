//! Datagrams, unicast or multicast: one chunk a datagram, order and duplicates as the network made them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::Socket;

use crate::counters::WrappingCount;
use crate::link::{LinkState, ReceiveMode};
use crate::ring::{Completion, Request};
use crate::socket;
use crate::spec::{LinkSpec, UdpSpec};
use crate::turn::{Turn, os_error};

/// Datagrams carry the drop count of the time they were queued; drops after the last one show in the socket option only.
const DROPS_EVERY_NS: i64 = 50_000_000;
/// After an unexpected error: asking again at once would only burn the core.
const ERROR_PAUSE_NS: i64 = 10_000_000;

/// A datagram link.
pub(crate) struct Udp {
    socket: Socket,
    mode: ReceiveMode,
    armed: bool,
    arm_from_ns: i64,
    fresh: bool,
    drops: WrappingCount,
    read_drops_at_ns: i64,
}

impl Udp {
    /// Binds, and joins the group if there is one.
    pub(crate) fn bind(udp: &UdpSpec, spec: &LinkSpec, mode: ReceiveMode) -> io::Result<Udp> {
        Ok(Udp {
            socket: socket::udp(udp, spec)?,
            mode,
            armed: false,
            arm_from_ns: i64::MIN,
            fresh: true,
            drops: WrappingCount::default(),
            read_drops_at_ns: i64::MIN,
        })
    }

    pub(crate) fn mode(&self) -> ReceiveMode {
        self.mode
    }

    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// The kernel buffer we really got, in octets (the kernel counts its own overhead in it).
    pub(crate) fn socket_buffer_bytes(&self) -> Option<usize> {
        self.socket.recv_buffer_size().ok()
    }

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        turn.status.state = LinkState::Connected;
        if turn.now_ns >= self.read_drops_at_ns {
            self.read_drops_at_ns = turn.now_ns + DROPS_EVERY_NS;
            self.count_drops(turn);
        }
        if !self.armed && turn.now_ns >= self.arm_from_ns {
            self.armed = true;
            match self.mode {
                ReceiveMode::Multishot => turn.ring.receive_datagrams_multi(self.socket.as_fd(), 0)?,
                ReceiveMode::SingleShot => turn.ring.receive_datagram_single(self.socket.as_fd(), 0)?,
            }
        }
        let arm_at_ns = if self.armed { i64::MAX } else { self.arm_from_ns };
        Ok(self.read_drops_at_ns.min(arm_at_ns))
    }

    /// Counts the drops up to now. (Kernels without SO_MEMINFO, before 4.12, tell them with the next datagram only.)
    pub(crate) fn count_drops(&mut self, turn: &mut Turn<'_>) {
        if let Ok(reading) = socket::drops(&self.socket) {
            turn.counters.kernel_drops = self.drops.observe(reading);
        }
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) {
        if !matches!(completion.token.request, Request::ReceiveMulti | Request::ReceiveSingle) {
            return;
        }
        self.armed &= completion.more;
        match completion.result {
            Ok(_) => match turn.hand_on_datagram(&completion, std::mem::take(&mut self.fresh)) {
                Some(Some(reading)) => turn.counters.kernel_drops = self.drops.observe(reading),
                Some(None) => {}
                None => turn.counters.receive_errors += 1,
            },
            Err(libc::ENOBUFS) => turn.counters.buffers_exhausted += 1,
            Err(libc::EAGAIN | libc::EINTR) => {}
            Err(libc::EINVAL) if self.mode == ReceiveMode::Multishot => self.mode = ReceiveMode::SingleShot,
            Err(errno) => {
                turn.counters.receive_errors += 1;
                turn.status.fault("receiving", os_error(errno));
                self.arm_from_ns = turn.now_ns + ERROR_PAUSE_NS;
            }
        }
    }
}
