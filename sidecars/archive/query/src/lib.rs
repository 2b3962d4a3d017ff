//! The query language of the archive.
