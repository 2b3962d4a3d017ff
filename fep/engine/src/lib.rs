//! `fepd`, the front-end processor daemon: threads, rings, supervision and the control socket around the chain of
//! `fep-downlink`.
//!
//! The daemon is one pinned thread a link, each running one chain to completion into its rings, and one control thread
//! that does everything else. Hot threads share nothing but what they alone write (rings, metric pages) and a queue of
//! commands. Not here: coding, frame formats, the chain, configuration, rings and sockets, which have crates of their own.

pub mod daemon;
mod decode_pool;
pub mod event;
mod exposition;
mod link_slot;
mod link_thread;
mod metrics;
mod publisher;
pub mod realtime;
mod resume;
mod server;
mod supervisor;

pub use supervisor::ConfigSource;
