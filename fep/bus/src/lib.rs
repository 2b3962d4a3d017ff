//! Shared-memory rings with one writer and many readers, consumer cursors, gates, metric pages and latest-value pages.
//!
//! The writer never waits for, and never even reads, what a reader writes; a reader that falls a whole ring behind
//! learns exactly what it lost; either side may be killed at any instant and goes on where it stood. `docs/ring.md`
//! is the normative description, byte by byte (`docs/latest.md` of latest-value pages). This crate knows shared memory and nothing of CCSDS; what a record
//! means is in its tag and payload, which are only carried.
//!
//! ```
//! use fep_bus::{Consumer, Poll, Producer, Resume, RingSpec, Tag};
//! let dir = tempfile::tempdir()?;
//! let mut producer = Producer::create_or_attach(dir.path(), &RingSpec::new("frames", "ccsds.frame.v1"))?;
//! let mut consumer = Consumer::attach(dir.path(), "frames", "console", Resume::Oldest)?;
//! producer.publish(Tag { kind: 1, ..Tag::default() }, b"a frame")?;
//! let mut payload = Vec::new();
//! assert!(matches!(consumer.poll(&mut payload), Poll::Record(record) if record.seq == 1));
//! assert_eq!(payload, b"a frame");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the shared layout is little-endian and positions are 64 bits wide");

pub use consumer::{Consumer, Poll, Resume, SILENT_AFTER_NS, Span};
pub use descriptor::{Record, Seq, Tag};
pub use error::{BusError, ClaimError};
pub use fep_colour::Colour;
pub use latest::{
    LATEST_CAPACITY_MAX, LATEST_FIELDS, LATEST_VALUE_MAX, Latest, LatestBusy, LatestError, LatestPage,
    LatestReader, LatestSpec,
};
pub use layout::{ABI_VERSION, FIELDS, KIND_PAD, Position};
pub use list::{RingInfo, list};
pub use metrics::{
    BUCKETS, Log2Hist, MetricId, MetricKind, MetricPage, MetricReader, MetricSet, MetricValue, bucket_end,
    bucket_of,
};
pub use producer::{Claim, Origin, Producer};
pub use reader::{Gap, GapCause, Ledger, Payload};
pub use remove::{Removal, remove_if_drained};
pub use spec::{Access, OnFull, RingSpec, check_name};
pub use warden::{CursorProblem, GateState, GateStatus, Warden, WardenEvent, WardenSpec};

mod consumer;
mod copy;
mod cursor;
mod descriptor;
mod directory;
mod error;
mod fault;
mod file;
mod heartbeat;
mod latest;
mod layout;
mod list;
mod lock;
mod map;
mod memory;
mod metrics;
#[cfg(test)]
mod models;
mod place;
mod producer;
mod reader;
mod remove;
mod spec;
mod warden;
mod writer;
