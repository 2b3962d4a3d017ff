//! The archive service.
