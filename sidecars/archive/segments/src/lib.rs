//! Segment files of the archive.
