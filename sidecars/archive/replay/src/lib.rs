//! Any slice of the archive played again: with the timing of its reception, ×0.1 to ×1000, or as fast as the receiver
//! takes it; paused, stepped, wound back and forth, looped; over TCP or UDP, or into a ring of its own.
//!
//! **Replayed data never looks live.** Every record is marked with the session REPLAY before it leaves, and one that
//! cannot be marked does not leave. A replay ring has a name, `replay.…`, and a schema that no live ring has; a link's
//! ring cannot be written, because its producer's lock is another's and its name is none that a replay can have. Over
//! the network [`Policy`] lets replays go only to addresses that are named with their ports, and to none that a live process
//! of ours listens at or is connected to.
//!
//! ```
//! use fep_replay::{Policy, Replay, ReplaySpec, Shelf, Speed, Target};
//! use std::time::Duration;
//! let receiver = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let address = receiver.local_addr()?;
//! let policy = Policy { receivers: vec![address], ..Policy::default() };
//! let target = serde_json::json!({ "kind": "tcp_client", "address": address });
//! let spec: ReplaySpec = serde_json::from_value(serde_json::json!({ "name": "pass-7", "target": target, "speed": 10.0 }))?;
//! let replay = Replay::start(spec, Box::new(Shelf::new(Vec::new(), Vec::new())), &policy)?;
//! assert!(replay.wait(Duration::from_secs(60)).phase.is_over());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod live;
mod output;
mod pacing;
mod play;
mod reel;
mod target;

pub use live::Live;
pub use pacing::{Due, LATENESS_MAX_NS, Pacer, Speed, SpeedInvalid};
pub use play::{NAME_MAX, Order, Over, Phase, Replay, ReplaySpec, ReplayStatus, StartError};
pub use reel::{Played, Reel, ReelError, SegmentReel, Shelf, Unread, Wanted};
pub use target::{Form, NotAllowed, Policy, Target};
