//! Station links: bytes from TCP, UDP, serial lines, files and standard input, with the time they arrived.
//!
//! This crate knows sockets and clocks and nothing of CCSDS: a [`Chunk`] is bytes. One [`Link`] is used by one thread, which calls
//! [`Link::poll`] for ever; the link never blocks longer than its wait bound, reconnects by itself, and counts what it lost.

mod backoff;
mod buffers;
mod counters;
mod datagram;
mod link;
mod pace;
mod reader;
mod ring;
mod serial;
mod socket;
mod spec;
mod tcp;
mod turn;
mod udp;

pub use counters::LinkCounters;
pub use link::{Chunk, Link, LinkState, NetError, Polled, ReceiveMode};
pub use spec::{
    FileSpec, LinkSpec, Parity, SerialSpec, SpecError, StdinSpec, TcpClientSpec, TcpServerSpec,
    TransportSpec, UdpSpec, WaitMode,
};
