//! Protocol machines: what stands between a transport and the decoding chain.
//!
//! A machine turns octets of a transport into units (one frame, one CADU) and units into octets. It does no I/O and reads no
//! clock: octets and time are arguments, so that every one of its states can be reached by a test. `Station` drives it.
//!
//! # For authors of machines
//!
//! * **Input** comes through [`Protocol::handle_input`] in pieces cut anywhere. The machine takes octets off the front of
//!   [`Input::octets`] and returns one unit; it is called again until it returns `None`, which means that it has taken everything.
//!   A unit that lies whole in the piece is returned as a slice of it, without a copy; one that was cut is collected inside.
//! * **Times.** A unit carries the earth receive time of the piece in which its first octet came, unless the protocol brings a better
//!   one from the station (CORTEX time tags, SLE earth-receive-time); then it carries that.
//! * **Output** is collected by [`Protocol::handle_transmit`] and leaves through [`Protocol::poll_transmit`], along with what the
//!   machine sends for itself (keep-alives, handshakes, acknowledgements). What a machine holds is bounded: when it cannot take a
//!   unit now it refuses, and the caller tries again after a completion.
//! * **Tokens.** A unit that was taken leaves exactly once: in a [`Transmit`] with its token, or, when the connection ends first,
//!   through [`Protocol::poll_failed`].
//! * **Timers.** [`Protocol::poll_timeout`] says when [`Protocol::handle_timeout`] wants to be called; it may be called late, never
//!   early. A timer that brings units or output lets them leave through the same two doors: after `handle_timeout`, the driver calls
//!   `handle_input` with no octets, then `poll_transmit`.
//! * **Faults.** A [`ProtocolFault`] means that the peer cannot be understood any more. The driver ends the connection with it as
//!   the reason; the machine gets `handle_disconnected` and nothing before that. What can be skipped is counted, not a fault.
//! * **Connections.** Nothing survives `handle_disconnected` but counters. A machine with a handshake refuses units with
//!   [`TransmitRefused::NotConnected`] until it is over.
//!
//! A machine is added in three places: a module here, a variant of `ProtocolSpec` with its checks, and one line in [`machine`].

mod length_prefixed;

use std::fmt;

use fep_time::{Monotonic, Tai};

use crate::event::TransmitRefused;
use crate::spec::ProtocolSpec;

pub use length_prefixed::LengthPrefixed;

/// A protocol machine. See the [module](self) for what it may rely on and what it owes.
pub trait Protocol: Send {
    /// A connection stands.
    fn handle_connected(&mut self, now: Monotonic);

    /// The connection has ended: what was begun is dropped and counted, units not yet sent come out of [`Protocol::poll_failed`].
    fn handle_disconnected(&mut self, now: Monotonic);

    /// Takes input and returns the next unit; `None` when all input has been taken.
    ///
    /// # Errors
    /// The peer cannot be understood any more; the connection must end.
    fn handle_input<'s, 'i: 's>(
        &'s mut self,
        now: Monotonic,
        input: &mut Input<'i>,
    ) -> Result<Option<Unit<'s>>, ProtocolFault>;

    /// Takes a unit that is to be sent.
    ///
    /// # Errors
    /// It cannot be taken, now or ever.
    fn handle_transmit(&mut self, now: Monotonic, unit: &[u8], token: u64) -> Result<(), TransmitRefused>;

    /// The next octets for the transport, at most `room` of them; they count as sent. `None` when nothing is to be sent or it
    /// does not fit.
    fn poll_transmit(&mut self, now: Monotonic, room: usize) -> Option<Transmit<'_>>;

    /// The next unit that was taken and will not be sent because the connection has ended: its token.
    fn poll_failed(&mut self) -> Option<u64>;

    /// When [`Protocol::handle_timeout`] wants to be called; [`Monotonic::NEVER`] for never.
    fn poll_timeout(&self) -> Monotonic;

    /// A timer has run out.
    ///
    /// # Errors
    /// The peer was silent for too long; the connection must end.
    fn handle_timeout(&mut self, now: Monotonic) -> Result<(), ProtocolFault>;

    /// What the machine has counted.
    fn counters(&self) -> ProtocolCounters;
}

/// A piece of input.
#[derive(Debug, Clone, Copy)]
pub struct Input<'i> {
    /// The octets not yet taken. A machine takes them off the front.
    pub octets: &'i [u8],
    /// When they arrived.
    pub received: Tai,
    /// True if they are exactly one datagram: nothing continues from one piece to the next.
    pub datagram: bool,
}

/// A unit that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Its octets, without the protocol's framing.
    pub octets: &'a [u8],
    /// Earth receive time of its first octet.
    pub received: Tai,
}

/// Octets for the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// The octets, the protocol's framing included. On a transport of datagrams: one datagram.
    pub octets: &'a [u8],
    /// The unit they carry; `None` for what the machine sends for itself.
    pub token: Option<u64>,
}

/// Why a peer cannot be understood any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// A length that cannot be.
    BadLength {
        /// What the length field said.
        length: u32,
        /// The least it can say.
        min: u32,
        /// The most it can say.
        max: u32,
    },
    /// Nothing arrived for so long.
    Silent {
        /// The limit, in milliseconds.
        idle_timeout_ms: u32,
    },
}

impl fmt::Display for ProtocolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolFault::BadLength { length, min, max } => {
                write!(f, "a unit says that it has length {length}, possible is {min} to {max}; ")?;
                f.write_str("check length_octets, length_of, endian and max_unit_octets of the protocol")
            }
            ProtocolFault::Silent { idle_timeout_ms } => {
                write!(f, "nothing arrived for {idle_timeout_ms} ms (idle_timeout_ms of the protocol)")
            }
        }
    }
}

impl std::error::Error for ProtocolFault {}

/// What a machine counts. No counter ever goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProtocolCounters {
    /// Units delivered.
    pub units: u64,
    /// Octets of these units, framing excluded.
    pub unit_octets: u64,
    /// Keep-alives that arrived.
    pub keepalives_received: u64,
    /// Keep-alives sent.
    pub keepalives_sent: u64,
    /// Faults: each ended a connection.
    pub faults: u64,
    /// Octets of units that had begun when their connection ended, and octets behind a fault.
    pub discarded_octets: u64,
}

/// The machine of a specification; `None` for `raw`, which needs none: chunks pass as they are.
pub fn machine(spec: &ProtocolSpec) -> Option<Box<dyn Protocol>> {
    match spec {
        ProtocolSpec::Raw {} => None,
        ProtocolSpec::LengthPrefixed(spec) => Some(Box::new(LengthPrefixed::new(spec))),
    }
}
