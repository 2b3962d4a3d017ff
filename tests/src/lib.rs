//! Harness of the whole-system tests: starts the real processes on loopback and reads their ledgers.
//!
//! It holds no knowledge of what the right answer is but what the simulator knows ([`Reception`]); that is in the tests. The programs under test are those beside the
//! test's own executable, built in the same profile.

#![warn(missing_docs)]

mod archive;
mod control;
mod daemon;
mod disk;
mod follower;
pub mod journal;
mod moments;
mod programs;
mod reception;
mod recorded;
mod recorder;
mod sidecar;
mod station;

pub use archive::Archive;
pub use control::{get, request};
pub use daemon::{Daemon, RunDirectory, tcp_link};
pub use disk::{OwnDisk, disk_directory};
pub use follower::Follower;
pub use moments::{Moments, kill_rounds};
pub use programs::{program, tool_python, wait_until};
pub use reception::Reception;
pub use recorded::Recorded;
pub use recorder::Recorder;
pub use sidecar::Sidecar;
pub use station::{built_in, cso_2, downlink, every_fault};
