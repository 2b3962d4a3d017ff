//! Keeping: holds, orders to lift them and to delete, the audit trail.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use fep_catalogue::{Deletion, Hold, HoldRelease, Scope, SegmentId};
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use fep_orders::Actor;
use serde::Deserialize;

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

/// What somebody approves: the SHA-256 that they have looked at; left out, what the order is bound to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    #[serde(default)]
    content_sha256: Option<String>,
}

impl Approval {
    fn content(&self) -> Result<Option<[u8; 32]>, Problem> {
        let text = self.content_sha256.as_deref();
        text.map(|text| {
            fep_database::hex::octets(text).ok_or_else(|| {
                Problem::bad_parameter("content_sha256", format!("{text:?}"), "64 hexadecimal digits")
            })
        })
        .transpose()
    }
}

/// Who acts in an order: a person with a token. The rules of the order say which roles it needs.
fn actor(caller: &Caller) -> Result<Actor, Problem> {
    let roles = [(Role::Operate, "operator"), (Role::Approve, "approver")];
    let has: Vec<&str> =
        roles.iter().filter(|(role, _)| caller.may(*role).is_ok()).map(|(_, name)| *name).collect();
    let person = caller.person(if has.contains(&"operator") { Role::Operate } else { Role::Approve })?;
    Actor::new(person, person, &has).map_err(|error| Problem::fault("finding out who asks", &error))
}

/// Asks for the lifting of a hold: an order that another person approves. Needs a person with the role operate.
#[utoipa::path(post, path = "/v1/holds/{id}/release", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "the order, waiting"), (status = 403, description = "no such person")))]
pub(crate) async fn release(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<HoldRelease>, Problem> {
    let asked =
        service.archive.catalogue.request_release(&id, &note.note, &actor(&caller)?, now_tai_ns()).await;
    asked.map(Json).map_err(catalogue_problem("asking for the lifting of a hold"))
}

/// Orders to lift holds, and where they stand.
#[utoipa::path(get, path = "/v1/releases", tag = "keeping", responses((status = 200, description = "orders")))]
pub(crate) async fn releases(State(service): State<Arc<Service>>) -> Result<Json<Vec<HoldRelease>>, Problem> {
    service.archive.catalogue.releases().await.map(Json).map_err(catalogue_problem("listing orders"))
}

/// Approves the lifting of a hold: another person than the one who asked, with the role approve. It is lifted with the last
/// approval.
#[utoipa::path(post, path = "/v1/releases/{id}/approve", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "approved"), (status = 403, description = "the same person, or none with the role")))]
pub(crate) async fn approve_release(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(approval): Body<Option<Approval>>,
) -> Result<Json<HoldRelease>, Problem> {
    let content = approval.unwrap_or_default().content()?;
    let done = service.archive.catalogue.approve_release(&id, &actor(&caller)?, content, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("approving the lifting of a hold"))
}

/// Refuses the lifting of a hold; who asked for it withdraws it.
#[utoipa::path(post, path = "/v1/releases/{id}/refuse", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "refused or withdrawn")))]
pub(crate) async fn refuse_release(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<HoldRelease>, Problem> {
    let done = service.archive.catalogue.end_release(&id, &actor(&caller)?, &note.note, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("refusing the lifting of a hold"))
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
    let catalogue = &service.archive.catalogue;
    let asked = catalogue.request_deletion(&new.segments, &new.reason, &actor(&caller)?, now_tai_ns()).await;
    asked.map(Json).map_err(catalogue_problem("asking for a deletion"))
}

/// Approves a deletion: another person than the one who asked, with the role approve.
#[utoipa::path(post, path = "/v1/deletions/{id}/approve", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "approved; the octets go with the next round of keeping"),
        (status = 403, description = "the same person, or none with the role")))]
pub(crate) async fn approve_deletion(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(approval): Body<Option<Approval>>,
) -> Result<Json<Deletion>, Problem> {
    let content = approval.unwrap_or_default().content()?;
    let done = service.archive.catalogue.approve_deletion(&id, &actor(&caller)?, content, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("approving a deletion"))
}

/// Refuses a deletion that was not begun, also an approved one: anybody who could approve. Who asked for it withdraws it.
#[utoipa::path(post, path = "/v1/deletions/{id}/refuse", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "refused or withdrawn"), (status = 409, description = "begun or decided already")))]
pub(crate) async fn refuse_deletion(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(note): Body<Note>,
) -> Result<Json<Deletion>, Problem> {
    let done = service.archive.catalogue.end_deletion(&id, &actor(&caller)?, &note.note, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("refusing a deletion"))
}

/// The same as `refuse`: who asked withdraws, anybody else who could approve refuses.
#[utoipa::path(post, path = "/v1/deletions/{id}/withdraw", tag = "keeping", params(("id" = String, Path)),
    responses((status = 200, description = "withdrawn or refused"), (status = 409, description = "begun or decided already")))]
pub(crate) async fn withdraw_deletion(
    state: State<Arc<Service>>,
    id: Path<String>,
    caller: Caller,
    note: Body<Note>,
) -> Result<Json<Deletion>, Problem> {
    refuse_deletion(state, id, caller, note).await
}

/// Who did what, in order; each entry holds the hash of the one before it. `trail=earlier`: what an earlier release wrote.
#[utoipa::path(get, path = "/v1/audit", tag = "keeping",
    params(("after" = Option<u64>, Query, description = "entries after this number"), ("limit" = Option<u32>, Query),
        ("trail" = Option<String>, Query)),
    responses((status = 200, description = "entries")))]
pub(crate) async fn audit(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &["after", "limit", "trail"])?;
    let after = match params.text("after") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_parameter("after", format!("{text:?}"), "the number of an entry"))?,
    };
    let limit = params.limit(1000, 1000)?;
    let (catalogue, doing) = (&service.archive.catalogue, "reading the audit trail");
    match params.text("trail") {
        None => {
            let entries = catalogue.audit(after, limit).await.map_err(catalogue_problem(doing))?;
            Ok(Json(entries).into_response())
        }
        Some("earlier") => {
            let entries = catalogue.earlier_audit(after, limit).await.map_err(catalogue_problem(doing))?;
            Ok(Json(entries).into_response())
        }
        Some(other) => Err(Problem::bad_parameter("trail", format!("{other:?}"), "earlier, or left out")),
    }
}
