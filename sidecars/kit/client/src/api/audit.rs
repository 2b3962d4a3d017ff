//! `/v1/audit` of every service on the kit that keeps a trail.

use crate::call::{Call, Octets, Query};
use crate::model::audit::{Entry, Filter, Report};

/// Entries in their order.
#[must_use]
pub fn list(filter: &Filter) -> Call<Vec<Entry>> {
    let Filter { after, limit, person, action, subject } = filter;
    let query = Query::new()
        .with("after", Some(after))
        .with("limit", Some(limit))
        .with("person", person.as_ref())
        .with("action", action.as_ref())
        .with("subject", subject.as_ref());
    Call::get(format!("/v1/audit{query}"))
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
