//! Simulators for the front-end processor, all seeded: spacecraft telemetry, a radio channel with an exact ledger of its
//! faults, ground-station links, and the recordings of real satellites.
//!
//! Nothing here is used in operation. The same seed gives the same octets on every machine; only a [`Station`] knows of
//! clocks and sockets.
//!
//! ```
//! use fep_sim::{Simulation, DEFAULT_SIMULATION};
//! let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in stations")?;
//! assert_eq!(simulation.station[0].name, "npp");
//! # Ok::<(), fep_sim::SimulationError>(())
//! ```

#![warn(missing_docs)]

pub mod awgn;
mod bits;
pub mod captures;
pub mod channel;
mod encoder;
pub mod ledger;
mod line;
mod oracle;
mod pacing;
pub mod packets;
mod radio;
mod simulation;
mod source;
pub mod spacecraft;
pub mod station;
pub mod symbols;
pub mod whole_file;

pub use captures::{Capture, CaptureError};
pub use channel::{CaduLayout, Carriage, Channel, ChannelError, ChannelSpec};
pub use encoder::Encoder;
pub use ledger::{ChannelCounts, Ledger, Memory, Outcome, Passage, Slip};
pub use line::{Datagram, LineError, TransportSpec};
pub use oracle::{FrameOracle, frame_hash};
pub use packets::{Content, PacketMismatch, PacketStreamSpec, VerifiedPacket, verify_packet};
pub use simulation::{DEFAULT_SIMULATION, Simulation, SimulationError};
pub use source::{DownlinkSpec, Source, SourceError, SourceSpec, Unit};
pub use spacecraft::{FrameIdentity, Spacecraft, SpacecraftError, SpacecraftSpec, VcSpec};
pub use station::{Station, StationError, StationReport, StationSpec, StationState, Unconnected};
pub use symbols::{Modulation, SymbolChannel, SymbolCounts, SymbolSpec, SymbolSpecError};
