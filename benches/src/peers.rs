//! Peers that are linked into this crate: each behind one function that does the work ours does, in the peer's own
//! documented way, and returns what it found, so that a case can check that both did the same work.

pub mod ccsds_pipeline;
