//! Synchronisation and channel coding of CCSDS telemetry (131.0-B-5), as a library: no I/O, no clock, no threads.
//!
//! What it is: a frame synchroniser ([`sync`]), the pseudo-randomisers ([`randomizer`]), Reed-Solomon ([`rs`]),
//! the cyclic redundancy checks ([`crc`]) and the header check of AOS ([`fhec`]), each with a scalar reference that is
//! always compiled and SIMD kernels that are chosen once, in the constructor ([`isa`]).
//!
//! What it is not: it knows no transfer frame, no virtual channel, no packet (that is `fep-ccsds`) and no socket.
//! Bytes go in, blocks and verdicts come out. A damaged block is a verdict, never an error; an `Err` means that the
//! caller asked for something impossible, and says what.

#![warn(missing_docs)]

pub mod crc;
pub mod fhec;
pub mod isa;
mod kernels;
pub mod randomizer;
pub mod rs;
pub mod spec;
pub mod sync;

pub use isa::Isa;
pub use randomizer::{Derandomizer, Randomizer};
pub use spec::{BlockDecoder, BlockEncoder, CodeSpec, CodeSpecError};
pub use sync::{Block, FrameSync, Marker, Polarity, SyncCounters, SyncSpec, SyncState};
