//! Station links: octets from and to TCP, UDP, serial lines, files and standard input, with the times they came and went.
//!
//! | layer | what it is | needs feature `io` |
//! |---|---|---|
//! | [`LinkSpec`] | the specification: what TOML says, checked | no |
//! | [`Protocol`](protocol::Protocol) | a machine between link and chain, sans-I/O: units out of octets and back | no |
//! | `Link` | the transport: io_uring, connections, reconnects, the queue of what is to be sent | yes |
//! | `Station` | a link with its protocol: what an engine polls | yes |
//!
//! This crate knows sockets and clocks and nothing of CCSDS. One link is used by one thread, which calls `poll` for ever; the
//! link never blocks longer than its wait bound, reconnects by itself, and counts what it lost. Everything a poll finds comes as
//! an [`Event`], in order:
//!
//! * `Connected`, then any number of chunks and completions, then `Disconnected`: the two alternate strictly.
//! * Every unit that `transmit` took gets exactly one completion, `Transmitted` or `TransmitFailed`, in the order of transmission.
//!   What fails because the connection ended fails before `Disconnected`. Nothing is sent again on its own.
//!
//! ```no_run
//! # #[cfg(feature = "io")] {
//! use fep_net::{Event, LinkSpec, Polled, Station};
//!
//! let spec = LinkSpec::tcp_client("192.0.2.7:4001".parse().unwrap());
//! let mut station = Station::open(spec).expect("opened");
//! loop {
//!     let polled = station.poll(&mut |event| match event {
//!         Event::Chunk(chunk) => println!("{} octets at {:?}", chunk.octets.len(), chunk.received),
//!         Event::Disconnected { at, reason } => println!("{reason} at {:?}", at.tai),
//!         _ => (),
//!     });
//!     if polled == Polled::Ended {
//!         break;
//!     }
//! }
//! # }
//! ```

mod counters;
mod event;
pub mod protocol;
mod spec;

#[cfg(feature = "io")]
mod backoff;
#[cfg(feature = "io")]
mod buffers;
#[cfg(feature = "io")]
mod datagram;
#[cfg(feature = "io")]
mod link;
#[cfg(feature = "io")]
mod outgoing;
#[cfg(feature = "io")]
mod pace;
#[cfg(feature = "io")]
mod reader;
#[cfg(all(test, feature = "io"))]
mod reopen_tests;
#[cfg(feature = "io")]
mod requests;
#[cfg(feature = "io")]
mod ring;
#[cfg(feature = "io")]
mod serial;
#[cfg(feature = "io")]
mod socket;
#[cfg(feature = "io")]
mod station;
#[cfg(feature = "io")]
mod tcp;
#[cfg(feature = "io")]
mod turn;
#[cfg(feature = "io")]
mod udp;
#[cfg(feature = "io")]
mod waker;

pub use counters::LinkCounters;
pub use event::{Chunk, EndReason, Event, Moment, Refusal, TransmitFault, TransmitRefused, TransmitRoom};
pub use spec::{
    Endian, FileSpec, LengthOf, LengthPrefixedSpec, LinkSpec, Parity, ProtocolSpec, SendTo, SerialSpec,
    SpecError, StdinSpec, TcpClientSpec, TcpServerSpec, TransportSpec, UdpSpec, WaitMode,
};

#[cfg(feature = "io")]
pub use backoff::Backoff;
#[cfg(feature = "io")]
pub use link::{Link, LinkState, NetError, Polled, ReceiveMode};
#[cfg(feature = "io")]
pub use station::Station;
#[cfg(feature = "io")]
pub use waker::Waker;
