//! What is on disk or in the rings and not yet in the catalogue or the tail: answers read it from the segments, or say that it is
//! missing.
//!
//! Who asks a question has the taking in look around first ([`Tail::catch_up`]): what was on disk when the question came is then in
//! the catalogue, in the tail, or in [`TailSnapshot::unindexed`].
//!
//! [`Tail::catch_up`]: super::Tail::catch_up
//! [`TailSnapshot::unindexed`]: super::TailSnapshot::unindexed

use std::collections::BTreeMap;
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
    /// The last question that what was looked at since answers.
    pub(crate) looked: u64,
    pub(crate) asked: u64,
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
