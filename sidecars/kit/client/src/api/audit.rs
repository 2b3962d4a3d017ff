//! `/v1/audit` of every service on the kit that keeps a trail.

use crate::call::{Call, Octets, Query};
use crate::model::audit::{Entry, Report};

/// Entries after this number, at most `limit` of them.
#[must_use]
pub fn list(after: u64, limit: u32) -> Call<Vec<Entry>> {
    Call::get(format!("/v1/audit{}", Query::new().with("after", Some(after)).with("limit", Some(limit))))
}

/// Verifies the whole trail.
#[must_use]
pub fn verify() -> Call<Report> {
    Call::get("/v1/audit/verify")
}

/// The whole trail as lines of JSON.
#[must_use]
pub fn export() -> Call<Octets> {
    Call::get("/v1/audit/export")
}
