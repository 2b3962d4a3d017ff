//! Files that other programs, or this one after a power cut, must find whole.
//!
//! | what | how |
//! |---|---|
//! | [`replace`], [`Replacement`] | a new file is written beside the old one and takes its name when it is whole and on disk |
//! | [`create_new`] | the same, for a file that must not exist yet |
//! | [`create_directory`] | a directory that is on disk when the call returns |
//! | [`read`], [`read_if_exists`], [`read_text`] | a regular file up to a bound, never through a symbolic link |
//! | [`open`] | the same file, for who reads parts of it |
//! | [`hold`] | a lock file: what one process alone works on, while it runs |
//!
//! The mode of a file is set at its creation: it is never wider than asked for, not even for a moment, and the umask of the
//! process does not change it. A writer that is killed leaves a hidden file behind, which the next writer of the same name
//! removes; it knows a living writer's by its lock.

mod error;
mod holding;
mod reading;
mod replacing;

pub use error::FileError;
pub use holding::{Held, hold};
pub use reading::{open, read, read_if_exists, read_text};
pub use replacing::{Replacement, create_directory, create_new, replace};
