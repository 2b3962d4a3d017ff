//! The client against services of the kit, and against what no decent service does.

#[path = "../../../route/tests/support/mod.rs"]
mod support;

mod hostile;
mod services;
mod tls;
