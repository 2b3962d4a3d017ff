//! What a recording holds in memory between the ring and the disk, and what it counts.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_bus::{Ledger, Position};
use fep_segments::{Loss, LossCause};
use hdrhistogram::Histogram;

use crate::buffer::BlockBuffer;

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
    /// Its largest value since it was last told.
    pub(crate) latency_max_ns: u64,
}

impl StreamFigures {
    pub(crate) fn lost(&self) -> Lost {
        Lost { records: self.lost_records, octets: self.lost_octets }
    }
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
    pub(crate) file: Arc<File>,
    /// Of the first block of a segment: the directory in which the segment's name must last, too.
    pub(crate) directory: Option<Arc<File>>,
    pub(crate) end: Position,
    pub(crate) ledger: Ledger,
    pub(crate) octets: u64,
    pub(crate) published_tai_ns: Vec<i64>,
    pub(crate) lost: Lost,
    pub(crate) written: bool,
}

/// What was written into one segment and is not committed.
pub(crate) struct Uncommitted {
    pub(crate) file: Arc<File>,
    pub(crate) directory: Option<Arc<File>>,
    /// Since when the first of it waits.
    pub(crate) since: Instant,
    pub(crate) octets: u64,
    pub(crate) end: Position,
    pub(crate) ledger: Ledger,
    pub(crate) published_tai_ns: Vec<i64>,
    pub(crate) lost: Lost,
    /// Requests of its commit that have not ended.
    pub(crate) requests: u8,
}

impl Uncommitted {
    pub(crate) fn begin(block: InFlight, now: Instant) -> Uncommitted {
        let InFlight { file, directory, end, ledger, octets, published_tai_ns, lost, .. } = block;
        Uncommitted { file, directory, since: now, octets, end, ledger, published_tai_ns, lost, requests: 0 }
    }

    pub(crate) fn add(&mut self, block: InFlight) {
        self.octets += block.octets;
        self.end = block.end;
        self.ledger = block.ledger;
        self.published_tai_ns.extend(block.published_tai_ns);
        self.lost.add(block.lost);
    }
}

/// Why a recording has to be opened again.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) cause: LossCause,
    pub(crate) text: String,
}

/// How long until a disk that has refused something is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// The disk takes nothing at the moment; over when something has been committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standstill {
    /// [`LossCause::DiskFull`] or [`LossCause::DiskError`]: why what the ring overwrites meanwhile is lost.
    pub(crate) cause: LossCause,
    /// When it was refused first, or last given room: whoever has waited longest gets the first room there is.
    pub(crate) since: Instant,
    /// Until then nothing is begun.
    pub(crate) retry_at: Instant,
}

impl Standstill {
    /// The disk has refused something, again or for the first time.
    pub(crate) fn refused(before: Option<Standstill>, cause: LossCause, now: Instant) -> Standstill {
        let since = before.map_or(now, |before| before.since);
        Standstill { cause, since, retry_at: now + RETRY }
    }
}

/// Whether a new segment may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Yes, if the disk takes it.
    Free,
    /// Not before another ring that has waited longer for room on the same file system.
    AfterAnother,
    /// No: free space is under the critical level.
    Critical,
}
