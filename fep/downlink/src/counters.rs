//! Frame counters across a restart: where they stood, and how a new chain continues them.

use fep_ccsds::{MasterChannelState, Mcid};

/// Where the frame counters of one physical channel stand: every spacecraft with the master channel counter (TM) and the
/// counter of each virtual channel, with receive times and rates, so that a gap across the restart is resolved by the time
/// that went by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResumePoint {
    /// The spacecraft seen.
    pub spacecraft: Vec<(Mcid, MasterChannelState)>,
}
