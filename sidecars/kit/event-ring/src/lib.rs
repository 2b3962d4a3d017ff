//! Events of processes in shared memory: one ring a process, written by [`EventRing`], and all of them read by [`EventFollow`].
//!
//! The ring of `fepd` is `events`; that of any other process is named after it, `recorder.events`, `feeds.events`. Whoever
//! follows knows them by their schema, [`SCHEMA`], so that a new process needs no configuration anywhere. The recorder records
//! them as it records other rings.
//!
//! The payload of a record is a JSON object: `event`, its name; `advice`, what to do, unless it is NORMAL; and figures.

pub use cursors::CursorError;
pub use follow::{Event, EventFollow, EventFollowSpec, EventItem};
pub use ring::{EventRing, EventRingError, EventSender, log};
pub use seldom::Seldom;

mod cursors;
mod follow;
mod ring;
mod seldom;

/// Schema of every events ring.
pub const SCHEMA: &str = "fep.event.v1";

/// Longest payload of an event, in octets.
pub const EVENT_MAX: u32 = 16 << 10;
