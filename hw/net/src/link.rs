//! The link: one transport of station octets, polled by one thread.

use std::io;
use std::net::SocketAddr;

use fep_time::{Monotonic, ReceiveClock};

use crate::backoff::Backoff;
use crate::counters::LinkCounters;
use crate::event::{EndReason, Event, Moment, TransmitFault, TransmitRefused, TransmitRoom};
use crate::outgoing::Outgoing;
use crate::reader::Reader;
use crate::ring::{Completion, Request, Ring, RingPlan};
use crate::serial::Serial;
use crate::spec::{LinkSpec, SendTo, SpecError, TransportSpec, WaitMode};
use crate::tcp::Tcp;
use crate::turn::{Sink, Status, Turn};
use crate::udp::Udp;
use crate::waker::Waker;

/// What one turn brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// At least one event went to the sink.
    Active,
    /// Nothing happened within the wait bound.
    Idle,
    /// Nothing will ever happen again: end of the data, `shutdown`, or a failure (`Link::state` says which).
    Ended,
}

/// Where the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Opened and not yet polled.
    Idle,
    /// Trying to reach the station, or to open again what failed, or pausing before the next attempt (`Link::last_fault` says why).
    Connecting,
    /// Octets can arrive.
    Connected,
    /// A server without a station, or a FIFO without a writer.
    Listening,
    /// Over, in order.
    Ended,
    /// Over, for the reason given. A new link of the same specification may fare better.
    Failed(String),
}

/// How octets get from the kernel to us.
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

impl NetError {
    /// True if trying again is useless until somebody changes the specification or the kernel. False for what may heal by itself:
    /// an address or interface that does not exist yet, a port in use, a file that is not there yet, a shortage.
    pub fn is_permanent(&self) -> bool {
        match self {
            NetError::Spec(_) => true,
            NetError::Os { source, .. } => source.kind() == io::ErrorKind::Unsupported,
        }
    }
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
    fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        match self {
            Machine::Tcp(tcp) => tcp.drive(turn),
            Machine::Udp(udp) => udp.drive(turn),
            Machine::Serial(serial) => serial.drive(turn),
            Machine::Reader(reader) => reader.drive(turn),
            Machine::Closed => Ok(Monotonic::NEVER),
        }
    }

    fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        match self {
            Machine::Tcp(tcp) => tcp.complete(turn, completion),
            Machine::Udp(udp) => udp.complete(turn, completion),
            Machine::Serial(serial) => serial.complete(turn, completion),
            Machine::Reader(reader) => reader.complete(turn, completion),
            Machine::Closed => Ok(()),
        }
    }

    /// Asks the kernel to send what waits, if it can be sent now.
    fn pump(&mut self, ring: &mut Ring, outgoing: &mut Outgoing) -> io::Result<()> {
        match self {
            Machine::Tcp(tcp) => tcp.pump(ring, outgoing),
            Machine::Udp(udp) => udp.pump(ring, outgoing),
            Machine::Serial(serial) => serial.pump(ring, outgoing),
            Machine::Reader(_) | Machine::Closed => Ok(()),
        }
    }

    fn may_transmit(&self) -> Result<(), TransmitRefused> {
        match self {
            Machine::Tcp(tcp) => tcp.may_transmit(),
            Machine::Udp(udp) => udp.may_transmit(),
            Machine::Serial(serial) => serial.may_transmit(),
            Machine::Reader(reader) => Err(TransmitRefused::ReceiveOnly(reader.kind())),
            Machine::Closed => Err(TransmitRefused::NotConnected),
        }
    }

    /// Ends the connection, if one stands.
    fn end(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<()> {
        match self {
            Machine::Tcp(tcp) => tcp.end(turn, reason),
            Machine::Udp(udp) => udp.end(turn, reason),
            Machine::Serial(serial) => serial.end(turn, reason),
            Machine::Reader(reader) => reader.end(turn, reason),
            Machine::Closed => Ok(()),
        }
    }
}

/// One transport of station octets. Made by any thread, then polled by one; dropped by another thread than that one, it leaks its
/// buffers rather than free what the kernel may still use.
pub struct Link {
    // Dropped first: cancels every request before the descriptors in `machine` are closed.
    ring: Ring,
    machine: Machine,
    outgoing: Outgoing,
    pub(crate) counters: LinkCounters,
    pub(crate) status: Status,
    clock: ReceiveClock,
    waker: Option<Waker>,
    waker_armed: bool,
    wait: WaitMode,
    max_wait_ns: i64,
    spin_ns: i64,
    /// The monotonic clock as read in the last turn.
    now: Monotonic,
    /// When the machine wants to be driven though nothing has arrived.
    timer: Monotonic,
    /// When the caller wants to have the thread back.
    wake_at: Monotonic,
    last_activity: Monotonic,
    reap_max: u32,
}

impl Link {
    /// Opens a link: makes the io_uring, binds or opens what is local. Connects lazily and never blocks. `spec.protocol` is not
    /// looked at: see [`crate::Station`].
    ///
    /// # Errors
    /// A specification that cannot be obeyed; an address that cannot be bound; a file that cannot be opened; no io_uring. The caller
    /// tries again after a pause unless [`NetError::is_permanent`].
    pub fn open(spec: LinkSpec) -> Result<Link, NetError> {
        spec.validate()?;
        let os = |what: String| move |source| NetError::Os { what, source };
        let socket = matches!(
            spec.transport,
            TransportSpec::TcpClient(_) | TransportSpec::TcpServer(_) | TransportSpec::Udp(_)
        );
        let payload_bytes = spec.payload_bytes() as usize;
        let (datagrams, senders, sends) = match &spec.transport {
            TransportSpec::Udp(udp) => (true, udp.send_to == Some(SendTo::Sender), udp.send_to.is_some()),
            TransportSpec::File(_) | TransportSpec::Stdin(_) => (false, false, false),
            _ => (false, false, true),
        };
        let transmit_bytes = if sends { spec.transmit_buffer_bytes as usize } else { 0 };
        let ring = Ring::new(RingPlan {
            provided: (socket && spec.multishot).then(|| (spec.buffer_count(), payload_bytes)),
            own_bytes: payload_bytes,
            datagrams,
            senders,
            transmit_bytes,
        })
        .map_err(os("set up io_uring (see kernel.io_uring_disabled)".into()))?;
        let mode = if ring.has_provided_buffers() { ReceiveMode::Multishot } else { ReceiveMode::SingleShot };
        let seed = Backoff::seed();
        let machine = match &spec.transport {
            TransportSpec::TcpClient(tcp) => Machine::Tcp(Tcp::client(tcp.address, &spec, mode, seed)),
            TransportSpec::TcpServer(tcp) => Machine::Tcp(
                Tcp::server(tcp, &spec, mode, seed)
                    .map_err(os(format!("listen at address {}", tcp.address)))?,
            ),
            TransportSpec::Udp(udp) => Machine::Udp(
                Udp::bind(udp, &spec, mode, seed)
                    .map_err(os(format!("receive datagrams at bind {}", udp.bind)))?,
            ),
            TransportSpec::Serial(serial) => Machine::Serial(Serial::new(serial, &spec, seed)),
            TransportSpec::File(file) => {
                let reader = Reader::file(file, payload_bytes);
                Machine::Reader(reader.map_err(os(format!("read path {}", file.path.display())))?)
            }
            TransportSpec::Stdin(stdin) => Machine::Reader(Reader::stdin(stdin.pace_bps, payload_bytes)),
        };
        Ok(Link {
            ring,
            machine,
            outgoing: Outgoing::new(transmit_bytes, spec.transmit_units as usize, datagrams),
            counters: LinkCounters::default(),
            status: Status { state: LinkState::Idle, last_fault: None, connected: false, events: 0 },
            clock: ReceiveClock::new(),
            waker: None,
            waker_armed: false,
            wait: spec.wait,
            max_wait_ns: i64::from(spec.max_wait_us) * 1000,
            spin_ns: i64::from(spec.spin_us) * 1000,
            now: Monotonic::PAST,
            timer: Monotonic::PAST,
            wake_at: Monotonic::NEVER,
            last_activity: Monotonic::PAST,
            reap_max: u32::from(spec.buffer_count()).max(16),
        })
    }

    /// One turn: gives every event to `sink`; waits at most the configured time when nothing happens.
    pub fn poll(&mut self, sink: &mut impl FnMut(Event<'_>)) -> Polled {
        self.poll_at(&mut |_, event| sink(event))
    }

    /// [`Link::poll`], with the moment of the turn beside every event.
    pub(crate) fn poll_at(&mut self, sink: &mut Sink<'_>) -> Polled {
        if self.is_over() {
            return Polled::Ended;
        }
        let before = self.status.events;
        if let Err(error) = self.turn(sink) {
            self.fail(&error, sink);
        }
        self.counters.kernel_entries = self.ring.entries();
        if self.status.events > before {
            self.last_activity = self.now;
            return Polled::Active;
        }
        if self.is_over() { Polled::Ended } else { Polled::Idle }
    }

    fn turn(&mut self, sink: &mut Sink<'_>) -> io::Result<()> {
        self.arm_waker()?;
        self.ring.enter(self.sleep_ns())?;
        self.now = self.clock.turn();
        let mut turn = Turn {
            ring: &mut self.ring,
            outgoing: &mut self.outgoing,
            counters: &mut self.counters,
            status: &mut self.status,
            clock: &self.clock,
            now: self.now,
            sink,
        };
        // Bounded, so that a flood cannot keep the caller from its other duties.
        for _ in 0..self.reap_max {
            let Some(completion) = turn.ring.next() else { break };
            if completion.token.request == Request::Wake {
                self.waker_armed = completion.more;
                self.waker.iter().for_each(Waker::clear);
                continue;
            }
            self.machine.complete(&mut turn, completion)?;
        }
        self.timer = self.machine.drive(&mut turn)?;
        self.machine.pump(turn.ring, turn.outgoing)?;
        turn.report_sent();
        Ok(())
    }

    /// The ring does not work any more: nothing can be asked of it.
    #[cold]
    fn fail(&mut self, error: &io::Error, sink: &mut Sink<'_>) {
        let reason = EndReason::Error(error.raw_os_error().unwrap_or(0));
        self.with_turn(sink, |_, turn| {
            turn.give_up(TransmitFault::Ended(reason));
            turn.report_end(reason);
        });
        self.status.state = LinkState::Failed(error.to_string());
    }

    fn with_turn<T>(
        &mut self,
        sink: &mut Sink<'_>,
        work: impl FnOnce(&mut Machine, &mut Turn<'_>) -> T,
    ) -> T {
        let mut turn = Turn {
            ring: &mut self.ring,
            outgoing: &mut self.outgoing,
            counters: &mut self.counters,
            status: &mut self.status,
            clock: &self.clock,
            now: self.now,
            sink,
        };
        work(&mut self.machine, &mut turn)
    }

    /// Ends a request as a failing interface would: with an error from the kernel that no receive survives (ECANCELED).
    #[cfg(test)]
    pub(crate) fn break_request(&mut self, request: Request) -> io::Result<()> {
        let token = crate::ring::Token { request, generation: 0 };
        self.with_turn(&mut |_, _| (), |_, turn| turn.ring.cancel(token))
    }

    /// How long the coming turn may sleep; `None`: not at all.
    fn sleep_ns(&self) -> Option<u64> {
        let sleeps = match self.wait {
            WaitMode::Busy => false,
            WaitMode::Wait => true,
            WaitMode::Adaptive => self.now.ns_since(self.last_activity) >= self.spin_ns,
        };
        let until_timer_ns = self.timer.min(self.wake_at).ns_since(self.now);
        (sleeps && until_timer_ns > 0 && !self.outgoing.has_done())
            .then(|| until_timer_ns.min(self.max_wait_ns).unsigned_abs())
    }

    fn is_over(&self) -> bool {
        matches!(self.status.state, LinkState::Ended | LinkState::Failed(_))
    }

    /// Waits so from the next turn on: a thread that gets a neighbour on its core must not spin any longer.
    pub fn set_wait(&mut self, wait: WaitMode) {
        self.wait = wait;
    }

    /// Queues a unit to be sent and starts to send it; makes no system call, so it leaves with the next [`Link::poll`]. The octets
    /// are copied. On datagram links a unit is one datagram, on streams it only marks what its completion stands for. An empty unit
    /// of a stream is completed when its turn comes.
    ///
    /// Every unit that is taken gets exactly one completion with its `token`, which may have any value.
    ///
    /// # Errors
    /// Nothing was taken: the queue is full, the unit too long, there is no connection, or this link only receives.
    pub fn transmit(&mut self, unit: &[u8], token: u64) -> Result<(), TransmitRefused> {
        let taken = self.enqueue(unit, Some(token));
        self.counters.transmit_refused += u64::from(taken.is_err());
        taken
    }

    /// [`Link::transmit`] for a protocol, which sends units of its own without a token.
    pub(crate) fn enqueue(&mut self, unit: &[u8], token: Option<u64>) -> Result<(), TransmitRefused> {
        self.may_transmit()?;
        let start = self.outgoing.place(unit.len(), token)?;
        self.ring.transmit_memory(start..start + unit.len()).copy_from_slice(unit);
        // A failure of the ring shows again, and is reported, in the next turn.
        let _ = self.machine.pump(&mut self.ring, &mut self.outgoing);
        Ok(())
    }

    /// Whether a unit could be sent now, room aside.
    pub(crate) fn may_transmit(&self) -> Result<(), TransmitRefused> {
        self.machine.may_transmit()?;
        if self.is_over() { Err(TransmitRefused::NotConnected) } else { Ok(()) }
    }

    /// What [`Link::transmit`] would take now. Without a connection it takes nothing.
    pub fn transmit_room(&self) -> TransmitRoom {
        if self.may_transmit().is_ok() { self.outgoing.room() } else { TransmitRoom::default() }
    }

    /// Ends the connection, if one stands; a link that connects by itself connects again. What waits to be sent fails, then the end
    /// is reported.
    pub(crate) fn end_connection(&mut self, reason: EndReason, sink: &mut Sink<'_>) {
        if self.is_over() {
            return;
        }
        self.status.fault("the connection was ended", reason);
        if let Err(error) = self.with_turn(sink, |machine, turn| machine.end(turn, reason)) {
            self.fail(&error, sink);
        }
        self.timer = Monotonic::PAST;
    }

    /// Bounds the sleep of the coming turns: the thread wants to be back at `at`. [`Monotonic::NEVER`] takes the bound away.
    pub fn wake_at(&mut self, at: Monotonic) {
        self.wake_at = at;
    }

    /// What ends the sleep of the thread that polls this link. Made once, cloned as often as needed.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn waker(&mut self) -> io::Result<Waker> {
        match &self.waker {
            Some(waker) => Ok(waker.clone()),
            None => Ok(self.waker.insert(Waker::new()?).clone()),
        }
    }

    fn arm_waker(&mut self) -> io::Result<()> {
        if let (Some(waker), false) = (&self.waker, self.waker_armed) {
            self.ring.wake_on(waker.descriptor())?;
            self.waker_armed = true;
        }
        Ok(())
    }

    /// The moment of the last turn.
    pub fn now(&self) -> Moment {
        Moment { tai: self.clock.tai(self.now), monotonic: self.now }
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

    /// The station's address: while one is connected by TCP, or where the next datagram would go.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match &self.machine {
            Machine::Tcp(tcp) => tcp.peer_address(),
            Machine::Udp(udp) => udp.peer_address(),
            _ => None,
        }
    }

    /// How octets get from the kernel to us; older kernels show only at the first receive what they cannot do.
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

    /// Closes sockets, lines and files in order; afterwards `poll` answers `Ended` and the addresses are free. What waits to be sent
    /// fails, then the end of the connection is reported. What had arrived and was not polled is counted in `discarded_bytes` as far
    /// as the kernel had delivered it; the rest stays in the kernel and goes with the socket.
    pub fn shutdown(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        self.shutdown_at(&mut |_, event| sink(event));
    }

    pub(crate) fn shutdown_at(&mut self, sink: &mut Sink<'_>) {
        if self.is_over() {
            return;
        }
        let ended = self.with_turn(sink, |machine, turn| machine.end(turn, EndReason::Us));
        let closed = ended.and_then(|()| self.ring.quiesce());
        self.machine = Machine::Closed;
        match closed {
            Ok(leftover) => {
                self.counters.discarded_bytes += leftover;
                self.status.state = LinkState::Ended;
            }
            Err(error) => self.fail(&io::Error::new(error.kind(), format!("closing: {error}")), sink),
        }
    }
}
