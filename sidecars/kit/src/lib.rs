//! What every sidecar shares, so that all of them are configured, watched, stopped and refused in the same way.
//!
//! | what | where |
//! |---|---|
//! | one TOML file, sections by process, errors with file, line, key and allowed values | [`Document`], [`config`] |
//! | log lines on standard error | [`trace`] |
//! | orderly stop on SIGTERM and SIGINT | [`stop`] |
//! | health of the parts of a process, as data and as `GET /health` | [`health`] |
//! | counters and gauges, as `GET /metrics` | [`metrics`] |
//! | refusals as RFC 9457 problem documents | [`problem`] |
//! | listening on TCP and Unix sockets, serving until told to stop | [`listen`] |
//!
//! The last four need the feature `http`, which is on by default.

pub mod config;
#[cfg(feature = "http")]
pub mod health;
#[cfg(feature = "http")]
pub mod listen;
#[cfg(feature = "http")]
pub mod metrics;
#[cfg(feature = "http")]
pub mod problem;
pub mod stop;
pub mod trace;

pub use fep_config::{ConfigError, ConfigErrors, Document};
#[cfg(feature = "http")]
pub use problem::Problem;
pub use stop::Stop;
