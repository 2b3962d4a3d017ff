//! Retrieval: from a query to rows in order, and from rows to octets.
//!
//! A [`Plan`] fixes what a query yields: which index files, which part of the open tail. It is the same for the answer,
//! for its manifest and for a later request that resumes it, as long as its [`Plan::tag`] is the same. [`Plan::rows`] reads
//! the rows in the order of reception, [`Octets`] what they stand for; memory is bounded by a batch of rows for each
//! ring and one block of a segment for each that is open.

mod extracted;
mod filter;
mod index_object;
mod merge;
mod octets;
mod plan;
mod row;
mod source;
pub(crate) mod unindexed;

use std::path::PathBuf;

use fep_catalogue::{Colour, SegmentId};
pub use filter::RowFilter;
pub use merge::{Found, Merge};
pub use octets::{Octets, Payload};
pub use plan::{Archive, Plan};
pub use row::{Columns, Kind, PacketPlaces, Row};
pub use source::{IndexOf, Source, SourceSpec, object_path};
pub use unindexed::Scan;

/// Why a retrieval could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A segment does not hold what its index says.
    #[error("segment {id}: {problem}")]
    Damaged {
        /// Its name in the catalogue.
        id: SegmentId,
        /// What was found.
        problem: String,
    },
    /// An index file is not of this version.
    #[error("an index file has no column {0:?} of this version's type: build the index again")]
    IndexColumn(String),
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] fep_catalogue::Error),
    /// A segment file.
    #[error(transparent)]
    Segment(#[from] fep_segments::SegmentError),
    /// A file.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An index file.
    #[error("index: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Rows.
    #[error("index: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The answer could not be written in its form.
    #[error("writing {form}: {problem}")]
    Form {
        /// Name of the form.
        form: &'static str,
        /// What went wrong.
        problem: String,
    },
}

impl Error {
    fn index_column(name: &str) -> Error {
        Error::IndexColumn(name.to_owned())
    }

    pub(crate) fn gone(colour: Colour, ring: &str, seq: i64) -> Error {
        let id = SegmentId(format!("{colour}/{ring}"));
        Error::Damaged { id, problem: format!("record {seq} was there and is not there any more") }
    }
}
