//! Frames and packets to other systems over TCP and UDP, each client with its own filter and its own lossless cursor.
//!
//! A feed follows rings, live where it can and from the archive's segments where it is behind, and tells its client
//! which. A slow client harms nobody: it has a thread, a buffer and a cursor of its own. `docs/feeds.md` is the normative
//! description of what goes over the wire; the crate `fep-feed-wire` is both ends of it.

pub mod ledger;
pub mod status;

mod config;
mod connection;
mod cursor;
mod datagrams;
mod delivery;
mod events;
mod feed;
mod http;
mod identities;
mod names;
mod outq;
mod pipe;
mod process;
mod sources;
mod stream;
mod window;

pub use config::FeedsConfig;
pub use events::FeedEvent;
pub use process::{run, service_for_test};
