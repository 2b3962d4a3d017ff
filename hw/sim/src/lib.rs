//! Simulators for the front-end processor, all seeded: spacecraft telemetry, a radio channel with an exact ledger of its
//! faults, ground-station links, and the recordings of real satellites.
//!
//! Nothing here is used in operation. The same seed gives the same octets on every machine; only a [`station`] knows of
//! clocks and sockets.

#![warn(missing_docs)]

mod bits;
pub mod captures;
pub mod channel;
pub mod ledger;

pub use channel::{CaduLayout, Carriage, Channel, ChannelError, ChannelSpec};
pub use ledger::{ChannelCounts, Ledger, Memory, Outcome, Passage, Slip};
