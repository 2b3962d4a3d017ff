//! Work that takes longer than a request: exports, scrubs, restores.
//!
//! | what | where |
//! |---|---|
//! | the table | [`SCHEMA`], for [`fep_database::Database::open`] |
//! | ask for work, look at it, cancel it | [`add`], [`get`], [`list`], [`cancel`] |
//! | do it | [`Runner`] with a handler for each kind; the handler reports by [`Running::progress`] |
//! | the steps that a runner does | [`recover`], [`claim`], [`report`], [`finish`] |
//!
//! A job is in the database before its work begins and after it ended. One that was running when the process died is, at the
//! next start, put in the queue again or failed with that cause, as its kind says ([`Restart`]); one that was interrupted
//! [`ATTEMPTS_MAX`] times fails, so that a job that kills its process does not do so for ever. Each start of a job is an
//! attempt of its own number: what a former attempt still reports changes nothing.
//!
//! The jobs of some kinds belong to one process: two that run the same kinds on one database take away each other's.

mod error;
mod job;
mod runner;
mod table;

pub use error::Error;
pub use job::{Job, JobState, NewJob, Outcome, Progress, Restart};
pub use runner::{Runner, Running, Stopped};
pub use table::{
    ATTEMPTS_MAX, Filter, PAGE_MAX, SCHEMA, add, cancel, claim, finish, get, list, recover, report,
};
