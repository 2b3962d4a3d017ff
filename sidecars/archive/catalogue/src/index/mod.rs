//! The index: one Parquet file of frames and one of packets a segment.
//!
//! ```text
//! index/v1/frames/colour=black/ring=cso-1.frames/date=2026-11-26/<series>-<base position>.parquet
//! index/v1/packets/colour=black/ring=cso-1.packets/date=2026-11-26/<series>-<base position>.parquet
//! ```
//!
//! Where the packets of a ring of frames were not recorded, they are taken out of its frames, and the index of packets of a
//! segment of frames is made of these ([`FramePlace`]).
//!
//! The partition names are read by DuckDB (`hive_partitioning`), Spark and Trino as columns `colour`, `ring` and `date`,
//! the UTC day of the segment's first reception. [`FrameRow`] and [`PacketRow`] say what the columns mean.

mod arrivals;
mod backlog;
mod builder;
mod chunk;
mod columns;
mod extracted;
mod packed;
mod parquet_file;
mod row;
mod scan;
mod spill;
mod summary;
mod tail;

pub use arrivals::{Arrival, Arrivals};
pub use backlog::{Backlog, Behind, Extracted, Unindexed};
pub use builder::Record;
pub use columns::{FrameRow, PacketRow, UtcUs};
pub use extracted::FramePlace;
pub use parquet_file::ParquetBytes;
pub use row::octets_digest;
pub use scan::{ScanOf, SegmentScan};
pub use summary::Summary;
pub use tail::{NOT_IN_A_SEGMENT, Tail, TailLimits, TailPiece, TailSnapshot};

pub(crate) use builder::{BuiltIndex, IndexBuilder};
pub(crate) use extracted::{ExtractedRows, TailExtraction, resume_place};
pub(crate) use packed::PackedRows;

/// Version of the columns; part of the path, so that two versions can lie side by side.
pub const INDEX_VERSION: u32 = 1;
