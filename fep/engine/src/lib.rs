//! `fepd`, the front-end processor daemon: threads, rings, supervision and the control socket around the chain of
//! `fep-downlink`.
//!
//! The daemon is roles and one control thread. A role is a supervised thread: a link, pinned, runs one chain to completion
//! into its rings; a spacecraft merges the rings of several links. It ends for a fault or a panic and is tried again; nothing else stops. The control thread does everything
//! else and never waits for a role. Hot threads share nothing but what they alone write (rings, metric pages), a queue of
//! commands and a queue of events. Not here: coding, frame formats, the chain, configuration, rings and sockets, which have crates of their own.

mod control_socket;
pub mod daemon;
mod decode_pool;
pub mod event;
mod exposition;
mod guard;
mod heard;
mod link;
mod metrics;
mod ocf;
mod plan;
mod publisher;
mod rates;
pub mod realtime;
mod resume;
mod rings;
mod role;
mod server;
mod spacecraft;
mod supervised;
mod supervisor;
mod watch;

pub use supervisor::ConfigSource;
