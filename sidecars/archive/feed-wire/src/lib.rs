//! What goes over the wire of a feed, and which feeds are configured. No socket, no thread, no server: replays, the archive and
//! clients use it without linking `fep-feeds`.
//!
//! | what | where |
//! |---|---|
//! | messages octet by octet, both directions (`docs/feeds.md` is normative) | [`wire`] |
//! | what feed and client say to each other in JSON | [`control`] |
//! | which records a client wants | [`filter`] |
//! | sections `[feeding]` and `[feeds.NAME]` of the configuration, and every mistake in them | [`spec`] |
//! | which addresses of this machine are the same door | [`address`] |

pub mod address;
pub mod control;
pub mod filter;
pub mod spec;
pub mod wire;

mod check;

pub use filter::Filter;
pub use spec::{FeedSections, FeedSpec};
