//! `fepd`, the front-end processor daemon, and the parts of it that others use: configuration and decoding chain.
//!
//! * [`config`]: what the daemon is told, from TOML, refused with file, line, key and allowed values.
//! * [`chain`]: bytes of a station link in, frames and packets with their verdicts out. Sans I/O.
//! * [`api`]: the bodies of the control interface.
//!
//! The daemon is one pinned thread a link, each running one chain to completion into its rings, and one control thread
//! that does everything else. Hot threads share nothing but what they alone write (rings, metric pages) and a queue of
//! commands. Not here: coding, frame formats, rings and sockets, which have crates of their own.

pub mod api;
pub mod chain;
pub mod config;
pub mod daemon;
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
