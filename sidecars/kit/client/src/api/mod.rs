//! What can be asked of services. Each function is one request; a client sends it.

pub mod archive;
pub mod audit;
pub mod identity;
