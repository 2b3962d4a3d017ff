//! The link: one source of station bytes, polled by one thread.

use std::io;
use std::net::SocketAddr;

use fep_time::{ReceiveClock, Tai};

use crate::backoff;
use crate::counters::LinkCounters;
use crate::reader::Reader;
use crate::ring::{Completion, Ring, RingPlan};
use crate::serial::Serial;
use crate::spec::{LinkSpec, SpecError, TransportSpec, WaitMode};
use crate::tcp::Tcp;
use crate::turn::{Status, Turn};
use crate::udp::Udp;

/// Bytes as they arrived, valid during the sink's call.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The bytes, still in the receive buffer.
    pub bytes: &'a [u8],
    /// When they arrived. Datagrams carry the kernel's receive time, streams the time of the turn that found them.
    pub received: Tai,
    /// True if the chunk is exactly one datagram.
    pub datagram: bool,
    /// True for the first bytes of a new connection or pass of a file: what came before does not continue here.
    pub connection_start: bool,
    /// True if the datagram was longer than `max_datagram_bytes`; the rest is lost.
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
    /// Trying to reach the station, or pausing before the next attempt (`Link::last_fault` says why).
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
    /// One request a receive, into a buffer of our own. Files, standard input and serial lines always do so.
    SingleShot,
}

/// Why a link could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The specification cannot be obeyed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The operating system refused something the link cannot do without.
    #[error("cannot {what}: {source}")]
    Os {
        /// What was being done, and on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// The kinds of links; each drives its own requests on the shared ring.
enum Machine {
    Tcp(Tcp),
    Udp(Udp),
    Serial(Serial),
    Reader(Reader),
    /// Shut down: sockets and files are closed.
    Closed,
}

impl Machine {
    /// Timers and new requests; returns when the next timer runs out.
    fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        match self {
            Machine::Tcp(tcp) => tcp.drive(turn),
            Machine::Udp(udp) => udp.drive(turn),
            Machine::Serial(serial) => serial.drive(turn),
            Machine::Reader(reader) => reader.drive(turn),
            Machine::Closed => Ok(i64::MAX),
        }
    }

    fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        match self {
            Machine::Tcp(tcp) => tcp.complete(turn, completion),
            Machine::Reader(reader) => reader.complete(turn, completion),
            Machine::Closed => Ok(()),
            Machine::Udp(udp) => {
                udp.complete(turn, completion);
                Ok(())
            }
            Machine::Serial(serial) => {
                serial.complete(turn, completion);
                Ok(())
            }
        }
    }

    fn close(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        match self {
            Machine::Tcp(tcp) => tcp.close(turn),
            Machine::Serial(serial) => serial.close(turn),
            Machine::Udp(udp) => {
                udp.count_drops(turn);
                Ok(())
            }
            Machine::Reader(_) | Machine::Closed => Ok(()),
        }
    }
}

/// One source of station bytes. Made by any thread, then polled by one; it may be dropped by that thread only
/// without leaking its receive buffers.
pub struct Link {
    // Dropped first: cancels every request before the descriptors in `machine` are closed.
    ring: Ring,
    machine: Machine,
    counters: LinkCounters,
    status: Status,
    clock: ReceiveClock,
    wait: WaitMode,
    max_wait_ns: i64,
    spin_ns: i64,
    /// The monotonic clock as read in the last turn.
    now_ns: i64,
    /// When the machine wants to be driven though nothing has arrived.
    timer_ns: i64,
    last_data_ns: i64,
    reap_max: u32,
}

impl Link {
    /// Opens a link: makes the io_uring, binds or opens what is local. Connects lazily and never blocks.
    ///
    /// # Errors
    /// A specification that cannot be obeyed; an address that cannot be bound; a file that cannot be opened; no io_uring.
    pub fn open(spec: LinkSpec) -> Result<Link, NetError> {
        spec.validate()?;
        let os = |what: String| move |source| NetError::Os { what, source };
        let socket = matches!(
            spec.transport,
            TransportSpec::TcpClient(_) | TransportSpec::TcpServer(_) | TransportSpec::Udp(_)
        );
        let payload_bytes = spec.payload_bytes() as usize;
        let provided = (socket && spec.multishot).then(|| (spec.buffer_count(), payload_bytes));
        let datagrams = matches!(spec.transport, TransportSpec::Udp(_));
        let ring = Ring::new(RingPlan { provided, own_bytes: payload_bytes, datagrams })
            .map_err(os("set up io_uring (see kernel.io_uring_disabled)".into()))?;
        let mode = if ring.has_provided_buffers() { ReceiveMode::Multishot } else { ReceiveMode::SingleShot };
        let seed = backoff::seed();
        let machine = match &spec.transport {
            TransportSpec::TcpClient(tcp) => Machine::Tcp(Tcp::client(tcp.address, &spec, mode, seed)),
            TransportSpec::TcpServer(tcp) => {
                Machine::Tcp(Tcp::server(tcp, &spec, mode).map_err(os(format!("listen at {}", tcp.address)))?)
            }
            TransportSpec::Udp(udp) => Machine::Udp(
                Udp::bind(udp, &spec, mode).map_err(os(format!("receive datagrams at {}", udp.bind)))?,
            ),
            TransportSpec::Serial(serial) => Machine::Serial(Serial::new(serial, &spec, seed)),
            TransportSpec::File(file) => {
                let reader = Reader::file(file, payload_bytes);
                Machine::Reader(reader.map_err(os(format!("read {}", file.path.display())))?)
            }
            TransportSpec::Stdin(stdin) => Machine::Reader(Reader::stdin(stdin.pace_bps, payload_bytes)),
        };
        let clock = ReceiveClock::new();
        Ok(Link {
            ring,
            machine,
            counters: LinkCounters::default(),
            status: Status { state: LinkState::Idle, last_fault: None },
            clock,
            wait: spec.wait,
            max_wait_ns: i64::from(spec.max_wait_us) * 1000,
            spin_ns: i64::from(spec.spin_us) * 1000,
            now_ns: 0,
            timer_ns: i64::MIN,
            last_data_ns: 0,
            reap_max: u32::from(spec.buffer_count()).max(16),
        })
    }

    /// One turn: hands every chunk that has arrived to `sink`; waits at most the configured time when there is none.
    pub fn poll(&mut self, sink: &mut impl FnMut(Chunk<'_>)) -> Polled {
        if self.is_over() {
            return Polled::Ended;
        }
        let before = self.counters.bytes;
        if let Err(error) = self.turn(sink) {
            self.status.state = LinkState::Failed(error.to_string());
        }
        self.counters.kernel_entries = self.ring.entries();
        match (self.counters.bytes - before) as usize {
            0 if self.is_over() => Polled::Ended,
            0 => Polled::Idle,
            bytes => {
                self.last_data_ns = self.now_ns;
                Polled::Data(bytes)
            }
        }
    }

    fn turn(&mut self, sink: &mut dyn FnMut(Chunk<'_>)) -> io::Result<()> {
        self.ring.enter(self.sleep_ns())?;
        self.now_ns = self.clock.turn().0;
        let mut turn = Turn {
            ring: &mut self.ring,
            counters: &mut self.counters,
            status: &mut self.status,
            clock: &self.clock,
            now_ns: self.now_ns,
            sink,
        };
        // Bounded, so that a flood cannot keep the caller from its other duties.
        for _ in 0..self.reap_max {
            let Some(completion) = turn.ring.next() else { break };
            self.machine.complete(&mut turn, completion)?;
        }
        self.timer_ns = self.machine.drive(&mut turn)?;
        Ok(())
    }

    /// How long the coming turn may sleep; `None`: not at all.
    fn sleep_ns(&self) -> Option<u64> {
        let sleeps = match self.wait {
            WaitMode::Busy => false,
            WaitMode::Wait => true,
            WaitMode::Adaptive => self.now_ns - self.last_data_ns >= self.spin_ns,
        };
        let until_timer_ns = self.timer_ns.saturating_sub(self.now_ns);
        (sleeps && until_timer_ns > 0).then(|| until_timer_ns.min(self.max_wait_ns).unsigned_abs())
    }

    fn is_over(&self) -> bool {
        matches!(self.status.state, LinkState::Ended | LinkState::Failed(_))
    }

    /// Where the link stands.
    pub fn state(&self) -> &LinkState {
        &self.status.state
    }

    /// The last thing that went wrong, in words; stays until something else does.
    pub fn last_fault(&self) -> Option<&str> {
        self.status.last_fault.as_deref()
    }

    /// What the link has counted.
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// The address we are bound to: of the listener, the datagram socket, or our end of the connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.machine {
            Machine::Tcp(tcp) => tcp.local_address(),
            Machine::Udp(udp) => udp.local_address(),
            Machine::Serial(_) | Machine::Reader(_) | Machine::Closed => None,
        }
    }

    /// The station's address, while one is connected by TCP.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match &self.machine {
            Machine::Tcp(tcp) => tcp.peer_address(),
            _ => None,
        }
    }

    /// How bytes get from the kernel to us; older kernels show only at the first receive what they cannot do.
    pub fn receive_mode(&self) -> ReceiveMode {
        match &self.machine {
            Machine::Tcp(tcp) => tcp.mode(),
            Machine::Udp(udp) => udp.mode(),
            Machine::Serial(_) | Machine::Reader(_) | Machine::Closed => ReceiveMode::SingleShot,
        }
    }

    /// The kernel buffer of a datagram socket as granted, in octets, the kernel's own overhead included.
    pub fn socket_buffer_bytes(&self) -> Option<usize> {
        match &self.machine {
            Machine::Udp(udp) => udp.socket_buffer_bytes(),
            _ => None,
        }
    }

    /// Closes sockets, lines and files in order; afterwards `poll` answers `Ended` and the addresses are gone. What had arrived and was not polled is counted in `discarded_bytes`
    /// as far as the kernel had handed it over; the rest stays in the kernel and goes with the socket.
    pub fn shutdown(&mut self) {
        if self.is_over() {
            return;
        }
        let mut turn = Turn {
            ring: &mut self.ring,
            counters: &mut self.counters,
            status: &mut self.status,
            clock: &self.clock,
            now_ns: self.now_ns,
            sink: &mut |_| (),
        };
        let closed = self.machine.close(&mut turn).and_then(|()| self.ring.quiesce());
        self.machine = Machine::Closed;
        self.status.state = match closed {
            Ok(leftover) => {
                self.counters.discarded_bytes += leftover;
                LinkState::Ended
            }
            Err(error) => LinkState::Failed(format!("closing: {error}")),
        };
    }
}
