//! Peers that are linked into this crate or compiled as programs beside it: each behind one function that does the work
//! ours does, in the peer's own documented way, and checks that it was done or returns what it found for a case to check.

pub mod ccsds_pipeline;
pub mod libfec;
