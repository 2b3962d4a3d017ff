//! Harness of the whole-system tests: starts the real processes on loopback and reads their ledgers.
//!
//! It holds no knowledge of what the right answer is; that is in the tests. The programs under test are those beside the
//! test's own executable, built in the same profile.

#![warn(missing_docs)]

mod control;
mod daemon;
mod follower;
pub mod journal;
mod programs;
mod recorder;
mod sidecar;

pub use control::{get, request};
pub use daemon::{Daemon, RunDirectory, tcp_link};
pub use follower::Follower;
pub use programs::{program, wait_until};
pub use recorder::Recorder;
pub use sidecar::Sidecar;
