//! The recorder: copies spans of the rings to segment files, and moves its cursors only when they are on disk.
//!
//! One thread goes round all rings. For each it copies what is new into blocks of memory ([`stream`]), hands them to the
//! disk ([`disk`]: io_uring and `O_DIRECT` where the system has them), and commits them in groups. A second thread seals
//! finished segments and signs the days ([`sealer`]). It never makes the producer of a ring wait: what it cannot take is
//! overwritten there, and becomes a loss record with exact numbers.
//!
//! Where it goes on after a death is read from the segments themselves ([`fep_segments::stream_end`]). Its cursor in the ring
//! only says whether one of them is missing.

pub use buffer::BlockBuffer;
pub use config::{Config, RecorderConfig, SECTIONS};
pub use daemon::{Recorder, check, run};
pub use disk::{Disk, Done};
pub use event::{Event, EventCode};
pub use pending::{Room, StreamFigures};
pub use space::{Space, SpaceLevel};
pub use stream::{StreamOptions, StreamRecorder};

mod buffer;
mod config;
mod copying;
mod daemon;
mod disk;
mod event;
mod figures;
mod naming;
mod opening;
mod pending;
mod sealer;
mod segment;
mod signing;
mod space;
mod stream;
mod writing;
