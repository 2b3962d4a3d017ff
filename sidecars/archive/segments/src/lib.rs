//! Segment files of the archive: their format, reading, recovery, verification, and segments and ring as one stream.
//!
//! `docs/segments.md` is the normative description, byte by byte. A segment holds spans of a ring's byte log as they lay
//! in memory, so every record keeps its 64-octet header; around them stand blocks with checksums, loss records, and,
//! once the segment is sealed, a footer with the hash of all and of the chain. This crate knows nothing of CCSDS.
//!
//! The way through it:
//! * [`streams`] and [`list`] say what an archive directory holds; [`SegmentReader`] reads one segment, sealed or
//!   still growing, from a file, from memory, or from anything that is [`ReadAt`];
//! * [`Follow`] yields every record of one ring once, from segments and ring as if they were one;
//! * [`stream_end`] says where a stream ends, whatever lies on disk; [`put_aside`] and [`repair`] deal with files that are
//!   damaged;
//! * [`recover`] finds what a killed recorder left, [`verify`] and [`verify_tree`] say what is wrong with a segment or
//!   an archive, [`roots`] signs days, [`Removals`] records who removed what;
//! * [`SegmentWriter`] writes segments record by record where no ring is at hand: imports, back-fill, tests. The
//!   recorder uses [`BlockBuilder`], the same format without the files.

pub use aside::{SetAside, list_aside, probe_disk, put_aside, reserve_name};
pub use block::{BlockBuilder, BlockContent, BlockError, BlockHeader, BlockKind, RecordView, Records};
pub use content::{ContentAlgorithm, ContentHash, ContentHasher};
pub use end::{DamagedFile, OpenLeft, StreamEnd, stream_end};
pub use error::SegmentError;
pub use follow::{Follow, FollowSpec, Item, Moved, Source, Start, series_after};
pub use footer::Footer;
pub use header::SegmentHeader;
pub use judge::{Expected, RootVerdict};
pub use layout::{BLOCK_HEADER_LEN, FIELDS, FORMAT_VERSION, PAGE_LEN};
pub use lock::{ArchiveLock, RecorderLock, is_recorded, write_lock};
pub use loss::{Loss, LossCause};
pub use name::{Place, SegmentName, Stream};
pub use plain::open_file;
pub use reader::{Piece, ReadAt, RecordAt, SegmentReader};
pub use recover::{Recovered, recover};
pub use removals::{Act, Removal, RemovalRecord, RemovalVerdict, Removals};
pub use repair::{Repaired, repair};
pub use seal::{Chain, footer_of, remove_sealed, seal};
pub use settled::{footer_listed, open_listed};
pub use tree::{SegmentEntry, SegmentState, is_name_taken, list, streams};
pub use verify::{Finding, SegmentReport, TreeReport, verify, verify_source, verify_tree};
pub use writer::SegmentWriter;

mod aside;
mod audit;
mod block;
mod content;
mod correct;
mod end;
mod error;
mod follow;
mod footer;
mod head;
mod header;
mod judge;
mod keys;
mod layout;
mod lock;
mod loss;
mod name;
mod plain;
mod reader;
mod recover;
mod removals;
mod repair;
pub mod roots;
mod seal;
mod settled;
mod tree;
mod verify;
mod writer;
