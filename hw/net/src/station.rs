//! A station: a link and the protocol spoken on it.

use std::io;

use fep_time::Monotonic;

use crate::counters::LinkCounters;
use crate::event::{Chunk, EndReason, Event, Moment, TransmitFault, TransmitRefused};
use crate::link::{Link, LinkState, NetError, Polled};
use crate::protocol::{self, Input, Protocol, ProtocolFault};
use crate::spec::{LinkSpec, WaitMode};
use crate::waker::Waker;

/// A link with its protocol. With `protocol = "raw"` it is the link and nothing more: chunks pass without a copy.
///
/// It reports what [`Link`] reports, except that chunks are the units of the protocol (`Chunk::unit` is true), that completions are
/// those of units, and that a violated protocol ends the connection, with [`EndReason::Protocol`].
pub struct Station {
    link: Link,
    /// `None` for raw.
    protocol: Option<Box<dyn Protocol>>,
    /// Octets that came behind a fault, in all turns.
    behind_fault: u64,
}

impl Station {
    /// Opens the link and makes the protocol's machine.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub fn open(spec: LinkSpec) -> Result<Station, NetError> {
        let protocol = protocol::machine(&spec.protocol);
        Ok(Station { link: Link::open(spec)?, protocol, behind_fault: 0 })
    }

    /// Joins a link with a machine of the caller's.
    pub fn with_protocol(link: Link, protocol: Box<dyn Protocol>) -> Station {
        Station { link, protocol: Some(protocol), behind_fault: 0 }
    }

    /// One turn: gives every event to `sink`; waits at most the configured time when nothing happens.
    pub fn poll(&mut self, sink: &mut impl FnMut(Event<'_>)) -> Polled {
        let Some(protocol) = self.protocol.as_deref_mut() else { return self.link.poll(sink) };
        let mut relay = Relay { protocol, sink, fault: None, passed: false, behind_fault: 0 };
        let polled = self.link.poll_at(&mut |at, event| relay.take(at, event));
        let now = self.link.now();
        if relay.fault.is_none() && now.monotonic >= relay.protocol.poll_timeout() {
            match relay.protocol.handle_timeout(now.monotonic) {
                Ok(()) => {
                    relay.input(now, Chunk { octets: &[], received: now.tai, unit: false, truncated: false })
                }
                Err(fault) => relay.fault = Some(fault),
            }
        }
        if let Some(fault) = relay.fault {
            self.link.end_connection(EndReason::Protocol(fault), &mut |at, event| relay.take(at, event));
        }
        let (passed, behind_fault) = (relay.passed, relay.behind_fault);
        self.pump(now.monotonic);
        self.count(behind_fault);
        match polled {
            _ if passed => Polled::Active,
            Polled::Active => Polled::Idle,
            other => other,
        }
    }

    /// Takes a unit that is to be sent, as [`Link::transmit`] does.
    ///
    /// # Errors
    /// Nothing was taken; in addition to the reasons of the link, the protocol may have its own.
    pub fn transmit(&mut self, unit: &[u8], token: u64) -> Result<(), TransmitRefused> {
        let now = self.link.now().monotonic;
        let Some(protocol) = self.protocol.as_deref_mut() else { return self.link.transmit(unit, token) };
        let taken = self.link.may_transmit().and_then(|()| protocol.handle_transmit(now, unit, token));
        self.link.counters.transmit_refused += u64::from(taken.is_err());
        self.pump(now);
        taken
    }

    /// Moves what the protocol wants to send into the link, as far as there is room, and sets the time of its next timer.
    fn pump(&mut self, now: Monotonic) {
        let Some(protocol) = self.protocol.as_deref_mut() else { return };
        loop {
            let room = self.link.transmit_room();
            if room.units == 0 {
                break;
            }
            let Some(transmit) = protocol.poll_transmit(now, room.octets) else { break };
            let taken = self.link.enqueue(transmit.octets, transmit.token);
            debug_assert!(taken.is_ok(), "there was room: {taken:?}");
        }
        let timer = protocol.poll_timeout();
        // A timer that has run out and could not be served waits for room, which a completion brings.
        self.link.wake_at(if timer <= now { Monotonic::NEVER } else { timer });
    }

    fn count(&mut self, behind_fault: u64) {
        let Some(protocol) = self.protocol.as_deref() else { return };
        let (from, to) = (protocol.counters(), &mut self.link.counters);
        to.units = from.units;
        to.unit_octets = from.unit_octets;
        to.keepalives_received = from.keepalives_received;
        to.keepalives_sent = from.keepalives_sent;
        to.protocol_faults = from.faults;
        self.behind_fault += behind_fault;
        to.protocol_discarded_octets = from.discarded_octets + self.behind_fault;
    }

    /// As [`Link::set_wait`].
    pub fn set_wait(&mut self, wait: WaitMode) {
        self.link.set_wait(wait);
    }

    /// The link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What link and protocol have counted, as of the last turn.
    pub fn counters(&self) -> &LinkCounters {
        self.link.counters()
    }

    /// Where the link stands.
    pub fn state(&self) -> &LinkState {
        self.link.state()
    }

    /// The last thing that went wrong, in words.
    pub fn last_fault(&self) -> Option<&str> {
        self.link.last_fault()
    }

    /// As [`Link::waker`].
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn waker(&mut self) -> io::Result<Waker> {
        self.link.waker()
    }

    /// As [`Link::shutdown`].
    pub fn shutdown(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        let Some(protocol) = self.protocol.as_deref_mut() else { return self.link.shutdown(sink) };
        let mut relay = Relay { protocol, sink, fault: None, passed: false, behind_fault: 0 };
        self.link.shutdown_at(&mut |at, event| relay.take(at, event));
        let behind_fault = relay.behind_fault;
        self.count(behind_fault);
    }
}

/// What stands between the link's events and the caller's during one turn.
struct Relay<'t, S> {
    protocol: &'t mut dyn Protocol,
    sink: &'t mut S,
    /// The connection must end; until it has, its octets are discarded.
    fault: Option<ProtocolFault>,
    /// Something went to the caller.
    passed: bool,
    /// Octets that came behind a fault.
    behind_fault: u64,
}

impl<S: FnMut(Event<'_>)> Relay<'_, S> {
    fn take(&mut self, at: Moment, event: Event<'_>) {
        match event {
            Event::Chunk(chunk) if self.fault.is_none() => return self.input(at, chunk),
            Event::Chunk(chunk) => {
                self.behind_fault += chunk.octets.len() as u64;
                return;
            }
            Event::Connected { .. } => self.protocol.handle_connected(at.monotonic),
            Event::Disconnected { reason, .. } => {
                self.fault = None;
                self.protocol.handle_disconnected(at.monotonic);
                while let Some(token) = self.protocol.poll_failed() {
                    let fault = TransmitFault::Ended(reason);
                    let (sent_octets, in_doubt_octets) = (0, 0);
                    self.pass(Event::TransmitFailed { token, at, sent_octets, in_doubt_octets, fault });
                }
            }
            Event::Refused { .. }
            | Event::ConnectFailed { .. }
            | Event::Silence { .. }
            | Event::Transmitted { .. }
            | Event::TransmitFailed { .. } => {}
        }
        self.pass(event);
    }

    fn input(&mut self, at: Moment, chunk: Chunk<'_>) {
        let mut input = Input { octets: chunk.octets, received: chunk.received, datagram: chunk.unit };
        loop {
            match self.protocol.handle_input(at.monotonic, &mut input) {
                Ok(Some(unit)) => {
                    self.passed = true;
                    let truncated = chunk.truncated;
                    (self.sink)(Event::Chunk(Chunk {
                        octets: unit.octets,
                        received: unit.received,
                        unit: true,
                        truncated,
                    }));
                }
                Ok(None) => return,
                Err(fault) => {
                    self.fault = Some(fault);
                    self.behind_fault += input.octets.len() as u64;
                    return;
                }
            }
        }
    }

    fn pass(&mut self, event: Event<'_>) {
        self.passed = true;
        (self.sink)(event);
    }
}
