//! Keeping: holds, orders to lift them and to delete, the audit trail of an earlier release.

use std::sync::Arc;

use axum::http::StatusCode;
use fep_catalogue::{AuditEntry, Colour, Deletion, Hold, HoldRelease, Scope, SegmentId};
use fep_identity::{Asked, Caller, Means, Role, Target};
use fep_kit::Problem;
use fep_orders::Actor;
use fep_route::{Call, Declared, Form, Json, List, MaybeJson, Reach, Route};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::params::ID;
use super::reach::{self, IN_SCOPE, Of};
use super::{ACTORS, WATCHERS, catalogue_problem};
use crate::service::{Service, now_tai_ns};

const HOLD: Of = ("POST", "/v1/holds");
/// Entries of a page.
const PAGE: u32 = 1000;

pub(super) fn routes(service: &Arc<Service>) -> Vec<Declared> {
    // Segments mix spacecraft and sessions: who deletes, or lets others delete, must reach everything.
    let everything = reach::everything(&service.config);
    let list = |path, text| Route::get(path, text).roles(WATCHERS).reaches(everything);
    let act = |path, text| {
        Route::post(path, text).roles(ACTORS).reaches(everything).path_parameter("id", ID, "Its name.")
    };
    vec![
        Route::get("/v1/holds", "What must not be deleted, and why.")
            .roles(WATCHERS)
            .reaches(IN_SCOPE)
            .to(service, holds),
        Route::post(HOLD.1, "Holds data, now and later.")
            .role(Role::Operator)
            .reaches(IN_SCOPE)
            .to(service, hold),
        act("/v1/holds/{id}/release", "Asks for the lifting of a hold: an order that other persons approve.")
            .to(service, release),
        list("/v1/releases", "Orders to lift holds, and where they stand.").to(service, releases),
        act(
            "/v1/releases/{id}/approve",
            "Approves the lifting of a hold; it is lifted with the last approval.",
        )
        .to(service, approve_release),
        act("/v1/releases/{id}/refuse", "Refuses the lifting of a hold; who asked for it withdraws it.")
            .to(service, refuse_release),
        list("/v1/deletions", "Deletions that were asked for, and where they stand.").to(service, deletions),
        Route::post("/v1/deletions", "Asks for a deletion: an order that other persons approve.")
            .roles(ACTORS)
            .reaches(everything)
            .to(service, request_deletion),
        act(
            "/v1/deletions/{id}/approve",
            "Approves a deletion; the octets go with the next round of keeping.",
        )
        .to(service, approve_deletion),
        act(
            "/v1/deletions/{id}/refuse",
            "Refuses a deletion that was not begun, also an approved one; who asked for it withdraws it.",
        )
        .to(service, end_deletion),
        act("/v1/deletions/{id}/withdraw", "The same as refuse: who asked withdraws, others refuse.")
            .to(service, end_deletion),
        Route::get(
            "/v1/audit/earlier",
            "The audit trail that an earlier release wrote; the first entry of the trail binds its end.",
        )
        .roles(&[Role::SecurityOfficer, Role::Administrator])
        .reaches(Reach::EVERYTHING)
        .query("after", Form::Integer(0, i64::MAX as u64), "Only after this number.")
        .query("limit", Form::Integer(1, PAGE as u64), "At most so many; 1000 where nothing is said.")
        .to(service, earlier_audit),
    ]
}

fn id<B>(call: &Call<B>) -> &str {
    call.values.get("id").unwrap_or_default()
}

/// What a scope of the catalogue reaches for.
fn target(service: &Service, scope: &Scope) -> Target {
    let all = if service.config.http.serve_red { Asked::Everything } else { Asked::One(Colour::Black) };
    Target {
        scid: scope.scid.map_or(Asked::Everything, Asked::One),
        colour: scope.colour.map_or(all, Asked::One),
        session: Asked::Everything,
    }
}

async fn holds(service: Arc<Service>, call: Call<()>) -> Result<List<Hold>, Problem> {
    let caller = call.caller()?;
    let mut holds = service.archive.catalogue.holds().await.map_err(catalogue_problem("listing holds"))?;
    holds.retain(|hold| caller.may_reach(&target(&service, &hold.scope)).is_ok());
    Ok(List(holds))
}

/// A hold that is asked for: `{"scope": {"scid": 157, "from_tai_ns": 0}, "reason": "inquiry 7"}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHold {
    #[serde(deserialize_with = "object")]
    scope: Scope,
    reason: String,
    /// Says expressly that an empty scope is meant.
    #[serde(default)]
    everything: bool,
}

/// An object, and no list of its values without their names.
fn object<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let members = serde_json::Map::deserialize(deserializer)?;
    Scope::deserialize(Value::Object(members)).map_err(D::Error::custom)
}

async fn hold(service: Arc<Service>, call: Call<Json<NewHold>>) -> Result<Json<Hold>, Problem> {
    let NewHold { scope, reason, everything } = &call.body.0;
    // A name that was left out or misspelt would stop every deletion, and only two persons can lift it again.
    if (*scope == Scope::default()) != *everything {
        let said = if *everything { "says what is held beside \"everything\"" } else { "says nothing" };
        let allowed =
            "one or more of from_tai_ns, to_tai_ns, ring, colour, scid, link; or \"everything\": true";
        return Err(Problem::bad_parameter("scope", said, allowed));
    }
    reach::reach_target(&service, &call, HOLD, &target(&service, scope))?;
    let person = &call.caller()?.person.id.0;
    let hold = service.archive.catalogue.hold(scope, reason, person, now_tai_ns()).await;
    hold.map(Json).map_err(catalogue_problem("holding data"))
}

/// Words to go with an act.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    #[serde(default)]
    note: String,
}

/// What somebody approves: the SHA-256 that they have looked at; left out, what the order is bound to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approval {
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

/// Who acts in an order: a person, who came with a ticket or a token of theirs. The user of a process or a certificate is
/// whoever has the machine, and is nobody's second person.
fn actor(caller: &Caller) -> Result<Actor, Problem> {
    if matches!(caller.means, Means::Peer(_) | Means::Certificate(_)) {
        let detail = "what destroys data is done by persons with a ticket only";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-permitted", detail)
            .hint("log in (fepctl login), and ask with the ticket"));
    }
    fep_route::orders::actor(caller).map_err(|error| Problem::fault("finding out who asks", &error))
}

async fn release(service: Arc<Service>, call: Call<Json<Note>>) -> Result<Json<HoldRelease>, Problem> {
    let (actor, note) = (actor(call.caller()?)?, &call.body.0.note);
    let asked = service.archive.catalogue.request_release(id(&call), note, &actor, now_tai_ns()).await;
    asked.map(Json).map_err(catalogue_problem("asking for the lifting of a hold"))
}

async fn releases(service: Arc<Service>, _: Call<()>) -> Result<List<HoldRelease>, Problem> {
    service.archive.catalogue.releases().await.map(List).map_err(catalogue_problem("listing orders"))
}

async fn approve_release(
    service: Arc<Service>,
    call: Call<MaybeJson<Approval>>,
) -> Result<Json<HoldRelease>, Problem> {
    let content = call.body.0.as_ref().map_or(Ok(None), Approval::content)?;
    let actor = actor(call.caller()?)?;
    let done = service.archive.catalogue.approve_release(id(&call), &actor, content, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("approving the lifting of a hold"))
}

async fn refuse_release(service: Arc<Service>, call: Call<Json<Note>>) -> Result<Json<HoldRelease>, Problem> {
    let (actor, note) = (actor(call.caller()?)?, &call.body.0.note);
    let done = service.archive.catalogue.end_release(id(&call), &actor, note, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("refusing the lifting of a hold"))
}

async fn deletions(service: Arc<Service>, _: Call<()>) -> Result<List<Deletion>, Problem> {
    service.archive.catalogue.deletions().await.map(List).map_err(catalogue_problem("listing deletions"))
}

/// A deletion that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDeletion {
    segments: Vec<SegmentId>,
    reason: String,
}

async fn request_deletion(
    service: Arc<Service>,
    call: Call<Json<NewDeletion>>,
) -> Result<Json<Deletion>, Problem> {
    let (actor, NewDeletion { segments, reason }) = (actor(call.caller()?)?, &call.body.0);
    let asked = service.archive.catalogue.request_deletion(segments, reason, &actor, now_tai_ns()).await;
    asked.map(Json).map_err(catalogue_problem("asking for a deletion"))
}

async fn approve_deletion(
    service: Arc<Service>,
    call: Call<MaybeJson<Approval>>,
) -> Result<Json<Deletion>, Problem> {
    let content = call.body.0.as_ref().map_or(Ok(None), Approval::content)?;
    let actor = actor(call.caller()?)?;
    let done = service.archive.catalogue.approve_deletion(id(&call), &actor, content, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("approving a deletion"))
}

async fn end_deletion(service: Arc<Service>, call: Call<Json<Note>>) -> Result<Json<Deletion>, Problem> {
    let (actor, note) = (actor(call.caller()?)?, &call.body.0.note);
    let done = service.archive.catalogue.end_deletion(id(&call), &actor, note, now_tai_ns()).await;
    done.map(Json).map_err(catalogue_problem("refusing a deletion"))
}

/// An entry of the trail of an earlier release. Each holds the hash of the one before it.
#[derive(Serialize, ToSchema)]
struct EarlierEntry {
    number: u64,
    at_tai_ns: i64,
    person: String,
    action: String,
    subject: String,
    detail: String,
    /// SHA-256 of this entry and the hash before it, 64 hexadecimal digits.
    hash: String,
}

impl From<AuditEntry> for EarlierEntry {
    fn from(entry: AuditEntry) -> EarlierEntry {
        let AuditEntry { number, at_tai_ns, person, action, subject, detail, hash } = entry;
        EarlierEntry {
            number,
            at_tai_ns,
            person,
            action,
            subject,
            detail,
            hash: fep_database::hex::text(&hash),
        }
    }
}

async fn earlier_audit(service: Arc<Service>, call: Call<()>) -> Result<List<EarlierEntry>, Problem> {
    let after = call.values.number("after").unwrap_or(0);
    let limit = call.values.number("limit").unwrap_or(PAGE);
    let entries = service.archive.catalogue.earlier_audit(after, limit).await;
    let entries = entries.map_err(catalogue_problem("reading the audit trail"))?;
    Ok(List(entries.into_iter().map(EarlierEntry::from).collect()))
}
