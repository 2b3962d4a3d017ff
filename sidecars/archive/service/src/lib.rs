//! The archive service as a library: what the daemon `fep-archive` runs, and what its tests and benchmarks call.
//!
//! | what | where |
//! |---|---|
//! | from a query to rows and octets | [`retrieval`] |
//! | the forms of an answer | [`form`] |
//! | answers whole, in part, with manifest | [`answer`] |
//! | scrubs and backups in the background | [`jobs`] |
//! | replays made from queries | [`replays`] |
//! | SQL over the indexes, by a process of its own | [`sql`] |
//! | the HTTP interface | [`api`], [`service`] |
//! | what the process is told | [`config`] |

pub mod answer;
pub mod api;
pub mod config;
mod events;
pub mod form;
mod indexes;
pub mod jobs;
mod places;
pub mod process;
pub mod replays;
pub mod retrieval;
pub mod service;
pub mod sql;
mod watch;
