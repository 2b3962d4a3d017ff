//! The archive's catalogue: what was recorded, where it is, what is missing, and how it is kept.
//!
//! | what | where |
//! |---|---|
//! | segments, contacts, gaps, completeness, holds, deletions, audit: one SQL database, SQLite or PostgreSQL | [`Catalogue`] |
//! | one Parquet file of frames and one of packets a sealed segment | [`index`](INDEX_VERSION), [`FrameRow`], [`PacketRow`] |
//! | from segments into index and catalogue, and all of it again | [`Ingest`] |
//! | the rows of what is not sealed yet, and every row as it comes | [`Tail`], [`Arrivals`] |
//! | a local directory or S3, read back before anything counts as stored | [`Store`] |
//! | integrity scrub, tiers, retention, deletion by two persons, disk, backup and restore | [`Keeper`] |
//!
//! Segments are the record; everything here can be made from them again. What cannot (decisions of people: gap states,
//! holds, deletions, the audit trail) is in the catalogue alone and in its backups.

mod continuity;
mod coverage;
mod directory;
mod durable;
mod error;
mod hex;
mod index;
mod ingest;
mod keep;
mod model;
mod object_at;
mod packet_layout;
mod quality;
mod sql;
mod store;

pub use continuity::{Rates, Step, Unit, judge};
pub use coverage::ANTENNA_SPREAD_NS;
pub use error::Error;
pub use index::{
    Arrival, Arrivals, Backlog, Behind, Extracted, FramePlace, FrameRow, INDEX_VERSION, NOT_IN_A_SEGMENT,
    PacketRow, ParquetBytes, Record, ScanOf, SegmentScan, Summary, Tail, TailLimits, TailPiece, TailSnapshot,
    Unindexed, UtcUs, octets_digest,
};
pub use ingest::{
    Ingest, IngestConfig, IngestStep, SERVICE_NAME_MAX, SegmentIndex, build_index, packets_ring,
};
pub use keep::{
    BackupReport, DamagedIndex, DiskLevel, DiskState, Due, IndexFigures, Indexes, Keeper, MadeIndex, Problem,
    RestoreReport, RetentionRule, Round, ScrubFinding, ScrubReport, Watermarks,
};
pub use model::{
    AuditEntry, Break, Cause, Channel, Colour, Completeness, Contact, Deletion, DeletionState, Gap, GapState,
    GapStep, Hold, HoldRelease, IndexFile, Presence, PresenceCounts, Run, Scope, Segment, SegmentFacts,
    SegmentId, SegmentState, Silence, StoredObject, Tier,
};
pub use object_at::ObjectAt;
pub use packet_layout::PacketLayouts;
pub use quality::Quality;
pub use sql::{
    AuditWatch, Catalogue, CompletenessQuery, ContactFilter, GapFilter, Inserted, OrderRules, SCHEMA,
    SCHEMAS, Seen, SegmentFilter, Spacecraft, Totals,
};
pub use store::{Store, StoreConfig};

/// A link that is silent for longer has lost its spacecraft: what comes later is another contact, and what is missing
/// between the two was not lost.
pub const CONTACT_SILENCE_NS: i64 = 600_000_000_000;
