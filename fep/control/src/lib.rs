//! What `fepd` is configured with, and what its control interface says.
//!
//! * [`config`]: the daemon's configuration from TOML, refused with file, line, key and allowed values.
//! * [`api`]: the bodies of the control interface, the same types on both ends.
//! * [`metrics`]: what each metric counts, in a line.
//!
//! Values only: whoever configures the daemon or asks it needs neither its threads nor its sockets.

pub mod api;
pub mod config;
pub mod metrics;
