//! What is on disk or in the rings and not yet in the catalogue or the tail: answers read it from the segments, or say that it is
//! missing.
//!
//! Who asks a question has the taking in look around first ([`Tail::catch_up`]): what was on disk when the question came is then in
//! the catalogue, in the tail, or in [`TailSnapshot::unindexed`].
//!
//! [`Tail::catch_up`]: super::Tail::catch_up
//! [`TailSnapshot::unindexed`]: super::TailSnapshot::unindexed

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fep_segments::{SegmentEntry, Stream};
use tokio::sync::{Notify, watch};

use crate::model::SegmentId;

/// A segment that exists and that the catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// Its ring.
    pub stream: Stream,
    /// Its file as it was found; `None`: it is in the object store alone.
    pub entry: Option<SegmentEntry>,
    /// Octets of its file; 0 where it has none.
    pub octets: u64,
    /// Why it cannot be taken in, where that was tried.
    pub problem: Option<String>,
}

/// All of it at one moment.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    /// Whether somebody takes in at all. Where nobody does, nothing is known and nothing waited for.
    pub is_attended: bool,
    /// Whether everything that exists was looked at since the start.
    pub has_begun: bool,
    /// Segments that the catalogue does not have, in order.
    pub segments: Arc<BTreeMap<SegmentId, Unindexed>>,
    /// Open ends that were not read to their end.
    pub behind: BTreeMap<Stream, Behind>,
    /// How far the packets of recorded frames were taken out.
    pub extraction: Extracted,
    /// The last question that what was looked at since answers.
    pub(crate) looked: u64,
    pub(crate) asked: u64,
}

/// How far the catalogue was gone through, in the order of the names, for segments of frames whose packets were not recorded:
/// since the start of the service, as what is described and what was recorded beside it may be others than before.
#[derive(Debug, Clone, Default)]
pub struct Extracted {
    /// The last segment that was gone through.
    pub(crate) after: Option<SegmentId>,
    /// Whether that was the last there is.
    pub(crate) is_done: bool,
    /// Segments before it whose packets could not be taken out.
    pub(crate) failed: Arc<BTreeSet<SegmentId>>,
}

impl Extracted {
    /// Whether a segment of frames has its packets in an index, or needs none.
    #[must_use]
    pub fn has_passed(&self, id: &SegmentId) -> bool {
        (self.is_done || self.after.as_ref().is_some_and(|after| id <= after)) && !self.failed.contains(id)
    }
}

/// Why an open end was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// There is more than was read by now.
    Reading,
    /// It cannot be read; it is tried again.
    Problem(String),
}

impl Backlog {
    /// Octets of the segments.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.segments.values().map(|segment| segment.octets).sum()
    }

    /// Whether a question is answered by what was looked at, as far as waiting helps.
    pub(crate) fn answers(&self, question: u64) -> bool {
        self.has_begun
            && self.looked >= question
            && !self.behind.values().any(|behind| *behind == Behind::Reading)
    }
}

/// Between those who ask and the taking in.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) wanted: Notify,
    pub(crate) looked: watch::Sender<u64>,
}
