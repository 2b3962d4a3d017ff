//! What a recording holds in memory between the ring and the disk, and what it counts.

use std::time::Instant;

use fep_bus::{Ledger, Position};
use fep_segments::{Loss, LossCause};
use hdrhistogram::Histogram;

use crate::disk::BlockBuffer;

/// What a recording has done so far.
#[derive(Debug, Clone)]
pub struct StreamFigures {
    /// Records on disk.
    pub records: u64,
    /// Octets of their blocks.
    pub octets: u64,
    /// Records that losses on disk say are missing.
    pub lost_records: u64,
    /// Payload octets of these.
    pub lost_octets: u64,
    /// Commits.
    pub commits: u64,
    /// Segments begun.
    pub segments: u64,
    /// Times it had to be opened again after an error of the disk.
    pub reopened: u64,
    /// From the publication of a record to its being on disk, nanoseconds.
    pub durable_latency_ns: Histogram<u64>,
    /// Its largest value since [`StreamRecorder::take_latency_max_ns`].
    pub(crate) latency_max_ns: u64,
}

impl Default for StreamFigures {
    fn default() -> StreamFigures {
        StreamFigures {
            records: 0,
            octets: 0,
            lost_records: 0,
            lost_octets: 0,
            commits: 0,
            segments: 0,
            reopened: 0,
            durable_latency_ns: Histogram::new_with_bounds(1_000, 3_600_000_000_000, 2)
                .expect("bounds and precision are constants that the histogram takes"),
            latency_max_ns: 0,
        }
    }
}

/// A block in memory, not complete yet.
pub(crate) struct Filling {
    pub(crate) buffer: BlockBuffer,
    pub(crate) len: usize,
    pub(crate) begin: Position,
    pub(crate) end: Position,
    pub(crate) ledger: Ledger,
    pub(crate) since: Instant,
}

/// What waits for room in a segment.
pub(crate) enum Ready {
    Block(Filling),
    Loss(Loss, Ledger),
}

/// Records and payload octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) records: u64,
    pub(crate) octets: u64,
}

impl Lost {
    pub(crate) fn add(&mut self, other: Lost) {
        self.records += other.records;
        self.octets += other.octets;
    }
}

impl From<&Loss> for Lost {
    fn from(loss: &Loss) -> Lost {
        Lost { records: loss.records(), octets: loss.octets() }
    }
}

/// A block on its way to the disk.
pub(crate) struct InFlight {
    pub(crate) number: u32,
    pub(crate) end: Position,
    pub(crate) ledger: Ledger,
    pub(crate) octets: u64,
    pub(crate) published_tai_ns: Vec<i64>,
    pub(crate) lost: Lost,
    pub(crate) written: bool,
}

/// What was written and is not committed.
#[derive(Default)]
pub(crate) struct Uncommitted {
    pub(crate) octets: u64,
    pub(crate) since: Option<Instant>,
    pub(crate) to: Option<(Position, Ledger)>,
    pub(crate) published_tai_ns: Vec<i64>,
    pub(crate) lost: Lost,
}

/// Why a recording has to be opened again.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) cause: LossCause,
    pub(crate) text: String,
}
