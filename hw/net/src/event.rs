//! What a link reports, and why it refuses to transmit.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use fep_time::{Monotonic, Tai};

use crate::protocol::ProtocolFault;

/// One moment on both clocks: when something happened, and an instant to measure from. All events of one turn that carry a moment
/// carry the same one, read once at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// For records; it may step when somebody sets the clock.
    pub tai: Tai,
    /// For ages and timers; it never steps.
    pub monotonic: Monotonic,
}

/// Octets as they arrived, valid during the sink's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The octets, still in the receive buffer where that is possible.
    pub octets: &'a [u8],
    /// When they arrived: the earth receive time. Datagrams carry the kernel's receive time, streams the time of the turn that found
    /// them, units of a protocol the time of the chunk in which their first octet came.
    pub received: Tai,
    /// True if these octets are exactly one unit: a datagram, or what a protocol delivered. False for a piece of a stream.
    pub unit: bool,
    /// True if the datagram was longer than `max_datagram_bytes`; the rest is lost.
    pub truncated: bool,
}

/// Something that happened on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A connection, an opened line, a bound datagram socket, a pass of a file. What came before does not continue here.
    Connected {
        /// When.
        at: Moment,
        /// The station's address, on TCP.
        peer: Option<SocketAddr>,
    },
    /// A server refused a connection. It does not touch the one that stands.
    Refused {
        /// When.
        at: Moment,
        /// Who wanted to connect; `None` when it had gone again already.
        peer: Option<SocketAddr>,
        /// Why it was refused.
        reason: Refusal,
    },
    /// An attempt to connect, to open a line, or to open a socket or listener again has failed; it is made again after a pause.
    ConnectFailed {
        /// When.
        at: Moment,
        /// Why, in words, without the address or path.
        cause: &'a str,
    },
    /// Octets.
    Chunk(Chunk<'a>),
    /// A link of datagrams has had none for `silence_ms`; reported once, until the next one comes.
    Silence {
        /// When it was noticed.
        at: Moment,
        /// When the last datagram was received.
        last_received: Tai,
    },
    /// The end of what [`Event::Connected`] began: no octet of it follows.
    Disconnected {
        /// When it was noticed.
        at: Moment,
        /// Why.
        reason: EndReason,
    },
    /// The kernel has taken every octet of this unit. Whether the station received it only the station can say.
    Transmitted {
        /// What `transmit` was called with.
        token: u64,
        /// When the kernel's answer was found.
        at: Moment,
    },
    /// This unit will not be sent, or not wholly.
    TransmitFailed {
        /// What `transmit` was called with.
        token: u64,
        /// When it was noticed.
        at: Moment,
        /// Octets of it, framing of a protocol included, that the kernel took; 0: none of it can have reached the station.
        sent_octets: usize,
        /// Octets after those of which nobody can say whether the kernel took them. 0 unless io_uring itself failed.
        in_doubt_octets: usize,
        /// Why.
        fault: TransmitFault,
    },
}

/// Why a server refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another station is connected.
    Occupied {
        /// Its address.
        by: Option<SocketAddr>,
        /// How long it has delivered no octet.
        silent_ms: u64,
    },
    /// It is not in `allowed_peers`.
    NotAllowed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Occupied { .. } => f.write_str("another station is connected"),
            Refusal::NotAllowed => f.write_str("not in allowed_peers"),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The peer closed in an orderly way, or the serial line hung up. A peer that closes only its own direction ends the
    /// connection too.
    Peer,
    /// The peer reset the connection.
    Reset,
    /// The peer does not answer any more: keep-alive or TCP_USER_TIMEOUT. Counted in `half_open`, as the next two are.
    HalfOpen,
    /// The peer delivered no octet for `idle_timeout_ms`.
    Idle,
    /// The peer was silent for `takeover_silence_ms`, and another connection took its place.
    Replaced,
    /// We closed.
    Us,
    /// A pass of a file or FIFO, or standard input, is over.
    EndOfData,
    /// The system reported an error: its number, or 0 where it has none.
    Error(i32),
    /// The protocol spoken on it was violated.
    Protocol(ProtocolFault),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Peer => f.write_str("closed by the station"),
            EndReason::Reset => f.write_str("reset by the station"),
            EndReason::HalfOpen => f.write_str("the station does not answer any more"),
            EndReason::Idle => f.write_str("no octet came for idle_timeout_ms"),
            EndReason::Replaced => f.write_str("silent, and replaced by a new connection"),
            EndReason::Us => f.write_str("closed by us"),
            EndReason::EndOfData => f.write_str("end of the data"),
            EndReason::Error(0) => f.write_str("the link failed"),
            EndReason::Error(errno) => io::Error::from_raw_os_error(*errno).fmt(f),
            EndReason::Protocol(fault) => fault.fmt(f),
        }
    }
}

/// Why a unit was not sent, or not wholly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransmitFault {
    /// The connection ended.
    Ended(EndReason),
    /// The system refused it, with this error number; the connection stands, later units may fare better.
    Os(i32),
}

impl fmt::Display for TransmitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransmitFault::Ended(reason) => reason.fmt(f),
            TransmitFault::Os(errno) => io::Error::from_raw_os_error(*errno).fmt(f),
        }
    }
}

/// What `transmit` would take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransmitRoom {
    /// The longest unit, in octets; 0 also when no unit is taken at all.
    pub octets: usize,
    /// How many units.
    pub units: usize,
}

/// Why `transmit` did not take a unit. A unit that was refused gets no completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransmitRefused {
    /// Too much waits to be sent already: try again after a completion.
    #[error("too much waits to be sent: room for {} units and {} octets", room.units, room.octets)]
    Full {
        /// What would be taken now.
        room: TransmitRoom,
    },
    /// It could never be taken.
    #[error("a unit of {octets} octets; at most {max} are possible")]
    TooLong {
        /// Its length.
        octets: usize,
        /// The longest possible.
        max: usize,
    },
    /// An empty unit, which is this protocol's keep-alive.
    #[error("an empty unit is this protocol's keep-alive")]
    Empty,
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// This link receives only: a file, standard input, or datagrams without `send_to`.
    #[error("this link only receives: {0}")]
    ReceiveOnly(&'static str),
}
