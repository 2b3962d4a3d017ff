//! Keeping: holds, deletions by two persons, the audit trail.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use fep_catalogue::{AuditEntry, Deletion, Hold, Scope, SegmentId};
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use serde::{Deserialize, Serialize};

use super::params::Params;
use super::{Body, catalogue_problem};
use crate::service::{Service, now_tai_ns};

/// What must not be deleted, and why.
#[utoipa::path(get, path = "/v1/holds", tag = "keeping", responses((status = 200, description = "holds")))]
pub(crate) async fn holds(State(service): State<Arc<Service>>) -> Result<Json<Vec<Hold>>, Problem> {
    service.archive.catalogue.holds().await.map(Json).map_err(catalogue_problem("listing holds"))
}

/// A hold that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHold {
    scope: Scope,
    reason: String,
}

/// Holds data: `{"scope": {"scid": 157, "from_tai_ns": 0}, "reason": "inquiry 7"}`. Needs the role operate.
#[utoipa::path(post, path = "/v1/holds", tag = "keeping", responses((status = 200, description = "the hold")))]
pub(crate) async fn hold(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewHold>,
) -> Result<Json<Hold>, Problem> {
    caller.may(Role::Operate)?;
    let hold = service.archive.catalogue.hold(&new.scope, &new.reason, caller.name(), now_tai_ns()).await;
    hold.map(Json).map_err(catalogue_problem("holding data"))
}

/// Words to go with an act.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[serde(default)]
    note: String,
}

/// What was done.
#[derive(Serialize)]
pub(crate) struct Done {
    message: String,
}

/// Lifts a hold. Needs a person with the role approve: what was held can be deleted afterwards.
#[utoipa::path(post, path = "/v1/holds/{id}/release", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "done"), (status = 403, description = "no such person")))]
pub(crate) async fn release(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<Done>, Problem> {
    let person = caller.person(Role::Approve)?;
    let done = service.archive.catalogue.release_hold(&id, person, &note.note, now_tai_ns()).await;
    done.map_err(catalogue_problem("lifting a hold"))?;
    Ok(Json(Done { message: format!("hold {id} is lifted") }))
}

/// Deletions that were asked for, and where they stand.
#[utoipa::path(get, path = "/v1/deletions", tag = "keeping", responses((status = 200, description = "deletions")))]
pub(crate) async fn deletions(State(service): State<Arc<Service>>) -> Result<Json<Vec<Deletion>>, Problem> {
    service.archive.catalogue.deletions().await.map(Json).map_err(catalogue_problem("listing deletions"))
}

/// A deletion that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeletion {
    segments: Vec<SegmentId>,
    reason: String,
}

/// Asks for a deletion: the first of two persons. Needs a person with the role operate.
#[utoipa::path(post, path = "/v1/deletions", tag = "keeping",
    responses((status = 200, description = "the deletion, waiting"), (status = 409, description = "something is held")))]
pub(crate) async fn request_deletion(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewDeletion>,
) -> Result<Json<Deletion>, Problem> {
    let person = caller.person(Role::Operate)?;
    let catalogue = &service.archive.catalogue;
    let asked = catalogue.request_deletion(&new.segments, &new.reason, person, now_tai_ns()).await;
    asked.map(Json).map_err(catalogue_problem("asking for a deletion"))
}

/// Approves a deletion: the second person, who must be another one, with the role approve.
#[utoipa::path(post, path = "/v1/deletions/{id}/approve", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "approved; the octets go with the next round of keeping"),
        (status = 403, description = "the same person, or none with the role")))]
pub(crate) async fn approve_deletion(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<Json<Deletion>, Problem> {
    let catalogue = &service.archive.catalogue;
    let asked = catalogue.deletion(&id).await.map_err(catalogue_problem("looking for a deletion"))?;
    let person = caller.second_person(&asked.requester)?;
    let approved = catalogue.approve_deletion(&id, person, now_tai_ns()).await;
    approved.map(Json).map_err(catalogue_problem("approving a deletion"))
}

/// Refuses a deletion, or takes it back.
#[utoipa::path(post, path = "/v1/deletions/{id}/refuse", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "refused")))]
pub(crate) async fn refuse_deletion(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<Deletion>, Problem> {
    let catalogue = &service.archive.catalogue;
    let asked = catalogue.deletion(&id).await.map_err(catalogue_problem("looking for a deletion"))?;
    // Who asked may take it back; anybody else needs the role.
    let person = if caller.name() == asked.requester {
        caller.person(Role::Operate)?
    } else {
        caller.person(Role::Approve)?
    };
    let refused = catalogue.refuse_deletion(&id, person, &note.note, now_tai_ns()).await;
    refused.map(Json).map_err(catalogue_problem("refusing a deletion"))
}

/// Withdraws a deletion, also one that was approved: what is not gone by then stays. Who asked may do so with the role operate,
/// anybody else needs the role approve.
#[utoipa::path(post, path = "/v1/deletions/{id}/withdraw", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "withdrawn"), (status = 409, description = "refused or carried out already")))]
pub(crate) async fn withdraw_deletion(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<Deletion>, Problem> {
    let catalogue = &service.archive.catalogue;
    let asked = catalogue.deletion(&id).await.map_err(catalogue_problem("looking for a deletion"))?;
    let role = if caller.name() == asked.requester { Role::Operate } else { Role::Approve };
    let withdrawn = service.keeper.withdraw(&id, caller.person(role)?, &note.note, now_tai_ns()).await;
    withdrawn.map(Json).map_err(catalogue_problem("withdrawing a deletion"))
}

/// Who did what, in order; each entry holds the hash of the one before it.
#[utoipa::path(get, path = "/v1/audit", tag = "keeping",
    params(("after" = Option<u16>, Query, description = "entries after this number"), ("limit" = Option<u32>, Query)),
    responses((status = 200, description = "entries")))]
pub(crate) async fn audit(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<AuditEntry>>, Problem> {
    let params = Params::parse(query.as_deref(), &["after", "limit"])?;
    let after = match params.text("after") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_parameter("after", format!("{text:?}"), "the number of an entry"))?,
    };
    let entries = service.archive.catalogue.audit(after, params.limit(1000, 10_000)?).await;
    entries.map(Json).map_err(catalogue_problem("reading the audit trail"))
}
