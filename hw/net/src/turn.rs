//! What every kind of link has at hand during one turn, and how events leave it.

use std::io;
use std::net::SocketAddr;

use fep_time::{Monotonic, ReceiveClock, Tai};

use crate::counters::LinkCounters;
use crate::event::{Chunk, EndReason, Event, Moment, Refusal, TransmitFault};
use crate::link::LinkState;
use crate::outgoing::{Outbound, Outgoing};
use crate::ring::{Completion, Ring, Token};

/// Where the link stands, and the last thing that went wrong.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) state: LinkState,
    pub(crate) last_fault: Option<String>,
    /// Between `Event::Connected` and `Event::Disconnected`.
    pub(crate) connected: bool,
    /// Events delivered to the sink.
    pub(crate) events: u64,
}

impl Status {
    /// Remembers a fault that does not end the link.
    pub(crate) fn fault(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        self.last_fault = Some(format!("{what}: {error}"));
    }
}

/// The system's text for an error number.
pub(crate) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// What the kernel said about a datagram that was delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) drops: Option<u32>,
    pub(crate) sender: Option<SocketAddr>,
    pub(crate) received: Tai,
}

/// Where events go, with the moment of the turn.
pub(crate) type Sink<'s> = dyn FnMut(Moment, Event<'_>) + 's;

/// One turn of a link.
pub(crate) struct Turn<'t> {
    pub(crate) ring: &'t mut Ring,
    pub(crate) outgoing: &'t mut Outgoing,
    pub(crate) counters: &'t mut LinkCounters,
    pub(crate) status: &'t mut Status,
    pub(crate) clock: &'t ReceiveClock,
    /// The one reading of the monotonic clock this turn is allowed.
    pub(crate) now: Monotonic,
    pub(crate) sink: &'t mut Sink<'t>,
}

impl Turn<'_> {
    /// The moment of this turn.
    pub(crate) fn moment(&self) -> Moment {
        Moment { tai: self.clock.tai(self.now), monotonic: self.now }
    }

    fn emit(&mut self, event: Event<'_>) {
        self.status.events += 1;
        let at = self.moment();
        (self.sink)(at, event);
    }

    /// A connection stands.
    pub(crate) fn connected(&mut self, peer: Option<SocketAddr>) {
        self.status.state = LinkState::Connected;
        self.status.connected = true;
        let at = self.moment();
        self.emit(Event::Connected { at, peer });
    }

    /// A server refused a connection.
    pub(crate) fn refused(&mut self, peer: Option<SocketAddr>, reason: Refusal) {
        self.counters.refused += 1;
        let who = peer.map_or("a station".into(), |peer| peer.to_string());
        self.status.fault(format_args!("refused {who}"), reason);
        let at = self.moment();
        self.emit(Event::Refused { at, peer, reason });
    }

    /// An attempt to connect or to open has failed: `what` was tried, `error` says why.
    pub(crate) fn connect_failed(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        let cause = error.to_string();
        self.status.fault(what, &cause);
        let at = self.moment();
        self.emit(Event::ConnectFailed { at, cause: &cause });
    }

    /// The connection has ended: what waits to be sent fails, then the end is reported. `sending` is the request that may be in
    /// flight; its outcome is waited for, so that what has been sent is known to the octet.
    pub(crate) fn disconnected(&mut self, reason: EndReason, sending: Option<Token>) -> io::Result<()> {
        if let Some(token) = sending
            && let Some(completion) = self.ring.settle(token)?
        {
            match completion.result {
                Ok(taken) => self.sent(taken),
                Err(_) => _ = self.outgoing.abandon(),
            }
        }
        self.give_up(TransmitFault::Ended(reason));
        self.report_end(reason);
        Ok(())
    }

    /// Reports the end of a connection, if one stands.
    pub(crate) fn report_end(&mut self, reason: EndReason) {
        if std::mem::take(&mut self.status.connected) {
            let at = self.moment();
            self.emit(Event::Disconnected { at, reason });
        }
    }

    /// Counts the end of a connection by its cause.
    pub(crate) fn count_end(&mut self, reason: EndReason) {
        let counter = match reason {
            EndReason::Peer => &mut self.counters.disconnects_by_peer,
            EndReason::Us | EndReason::EndOfData => &mut self.counters.disconnects_by_us,
            EndReason::Reset => &mut self.counters.resets,
            EndReason::HalfOpen | EndReason::Idle | EndReason::Replaced => &mut self.counters.half_open,
            EndReason::Error(_) => &mut self.counters.disconnects_by_error,
            EndReason::Protocol(_) => &mut self.counters.disconnects_by_protocol,
        };
        *counter += 1;
        self.counters.disconnects += 1;
    }

    /// Delivers the octets of a stream receive and gives the buffer back.
    pub(crate) fn deliver(&mut self, completion: &Completion) {
        let at = self.moment();
        let octets = self.ring.bytes(completion);
        let chunk = Chunk { octets, received: at.tai, unit: false, truncated: false };
        deliver(self.counters, self.status, self.sink, at, chunk);
        self.ring.give_back(completion);
    }

    /// Delivers a part of the buffer of our own.
    pub(crate) fn deliver_own(&mut self, range: std::ops::Range<usize>) {
        let at = self.moment();
        let chunk = Chunk { octets: self.ring.own(range), received: at.tai, unit: false, truncated: false };
        deliver(self.counters, self.status, self.sink, at, chunk);
    }

    /// Delivers a datagram and gives the buffer back; `None` if the kernel's framing of it makes no sense.
    pub(crate) fn deliver_datagram(&mut self, completion: &Completion) -> Option<Delivered> {
        let at = self.moment();
        let datagram = self.ring.datagram(completion);
        let delivered = datagram.map(|datagram| {
            self.counters.datagrams += 1;
            self.counters.truncated += u64::from(datagram.truncated);
            let received = match datagram.rx_utc_ns {
                Some(utc_ns) => self.clock.tai_of_kernel_stamp(utc_ns),
                None => at.tai,
            };
            let chunk =
                Chunk { octets: datagram.payload, received, unit: true, truncated: datagram.truncated };
            deliver(self.counters, self.status, self.sink, at, chunk);
            Delivered { drops: datagram.drops, sender: datagram.sender, received }
        });
        self.ring.give_back(completion);
        delivered
    }

    /// A link of datagrams has been silent.
    pub(crate) fn silence(&mut self, last_received: Tai) {
        self.counters.silences += 1;
        let at = self.moment();
        self.emit(Event::Silence { at, last_received });
    }

    /// The kernel took so many octets of the request in flight.
    pub(crate) fn sent(&mut self, taken: usize) {
        self.outgoing.progressed(taken);
        self.counters.transmitted_bytes += taken as u64;
        self.report_sent();
    }

    /// Reports the units that have been sent.
    pub(crate) fn report_sent(&mut self) {
        while let Some(unit) = self.outgoing.pop_done() {
            let Some(token) = unit.token else { continue };
            self.counters.transmitted_units += 1;
            let at = self.moment();
            self.emit(Event::Transmitted { token, at });
        }
    }

    /// The request in flight has ended with an error that concerns only its unit.
    pub(crate) fn give_up_one(&mut self, fault: TransmitFault) {
        self.outgoing.abandon();
        self.report_sent();
        if let Some(unit) = self.outgoing.pop() {
            self.report_failed(unit, 0, fault);
        }
    }

    /// Nothing of what waits will be sent.
    pub(crate) fn give_up(&mut self, fault: TransmitFault) {
        self.report_sent();
        let mut in_doubt = self.outgoing.abandon();
        while let Some(unit) = self.outgoing.pop() {
            let part = in_doubt.min(unit.len - unit.sent);
            in_doubt -= part;
            self.report_failed(unit, part, fault);
        }
    }

    fn report_failed(&mut self, unit: Outbound, in_doubt_octets: usize, fault: TransmitFault) {
        let Some(token) = unit.token else { return };
        self.counters.transmit_failed += 1;
        let at = self.moment();
        self.emit(Event::TransmitFailed { token, at, sent_octets: unit.sent, in_doubt_octets, fault });
    }
}

fn deliver(
    counters: &mut LinkCounters,
    status: &mut Status,
    sink: &mut Sink<'_>,
    at: Moment,
    chunk: Chunk<'_>,
) {
    counters.bytes += chunk.octets.len() as u64;
    counters.chunks += 1;
    status.events += 1;
    sink(at, Event::Chunk(chunk));
}
