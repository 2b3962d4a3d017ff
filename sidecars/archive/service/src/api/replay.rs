//! Replays: made, listed, and told what to do.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::StatusCode;
use fep_identity::{Caller, Role};
use fep_kit::Problem;
use fep_replay::{NAME_MAX, Order, ReplayStatus, StartError};
use fep_route::{Call, Declared, Json, List, Route};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::params::{self, ID};
use super::reach::{self, IN_SCOPE, Of};
use crate::replays::{NewReplay, Replayed, selection};
use crate::retrieval::Plan;
use crate::service::Service;

const WATCHERS: &[Role] = &[Role::Observer, Role::Operator];
const ONE: Of = ("GET", "/v1/replays/{name}");
const START: Of = ("POST", "/v1/replays");
const ORDER: Of = ("POST", "/v1/replays/{name}/orders");

pub(super) fn routes(service: &Arc<Service>) -> Vec<Declared> {
    let get = |path, text| Route::get(path, text).roles(WATCHERS).reaches(IN_SCOPE);
    let post = |path, text| Route::post(path, text).role(Role::Operator).reaches(IN_SCOPE);
    vec![
        get(
            "/v1/replays",
            "Replays of what is in the caller's scopes, those that are over included (the last 32).",
        )
        .to(service, list),
        get(ONE.1, "One replay.").path_parameter("name", ID, "Its name.").to(service, one),
        post(START.1, "Starts a replay. Everything that is played is marked REPLAY.").to(service, start),
        post(ORDER.1, "Tells a replay what to do.")
            .path_parameter("name", ID, "Its name.")
            .to(service, order),
    ]
}

/// What a JSON schema in words says.
macro_rules! described {
    ($type:ident, $name:literal, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                // A mistake in the text below would be seen by the test of this module.
                serde_json::from_value($schema).unwrap_or_default()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

/// A replay that is asked for.
#[derive(Deserialize)]
#[serde(transparent)]
struct Asked(NewReplay);

/// What a replay is told.
#[derive(Deserialize)]
#[serde(transparent)]
struct Told(Order);

/// A replay as shown.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(ReplayStatus);

fn target() -> Value {
    json!({
        "type": "object",
        "description": "Where it goes: tcp_client with address, tcp_server with bind, udp with to, ring with consumers.",
        "required": ["kind"],
        "properties": {
            "kind": {"type": "string", "enum": ["tcp_client", "tcp_server", "udp", "ring"]},
            "address": {"type": "string"}, "bind": {"type": "string"}, "to": {"type": "string"},
            "form": {"type": "string", "enum": ["raw", "framed"]},
            "consumers": {"type": "array", "items": {"type": "string"}},
        },
    })
}

fn speed() -> Value {
    json!({"oneOf": [
        {"type": "number", "minimum": 0.1, "maximum": 1000.0},
        {"type": "string", "enum": ["fastest"]},
    ]})
}

fn integer() -> Value {
    json!({"type": "integer"})
}

described!(
    Asked,
    "NewReplay",
    json!({
        "type": "object",
        "required": ["name", "unit", "query", "target"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "description": "a-z 0-9 - _ ., no dot first."},
            "unit": {"type": "string", "enum": ["frames", "packets"]},
            "query": {"type": "string", "description": "What is played, in the query language, without a form."},
            "target": target(),
            "speed": speed(),
            "loop": {"type": "boolean"},
            "paused": {"type": "boolean", "description": "Whether it waits for an order before its first record."},
            "idle_max_ms": {"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX, "description": "Longest silence."},
        },
    })
);

described!(
    Told,
    "ReplayOrder",
    json!({
        "type": "object",
        "required": ["order"],
        "additionalProperties": false,
        "properties": {
            "order": {"type": "string", "enum": ["pause", "resume", "step", "speed", "seek", "loop", "stop"]},
            "records": {"type": "integer", "minimum": 0, "maximum": u32::MAX, "description": "With step."},
            "speed": speed(),
            "rx_tai_ns": {"type": "integer", "description": "With seek: TAI nanoseconds since 1958-01-01."},
            "looping": {"type": "boolean", "description": "With loop."},
        },
    })
);

described!(
    Shown,
    "Replay",
    json!({
        "type": "object",
        "required": ["name", "target", "phase", "speed", "looping", "laps", "sent", "sent_octets"],
        "properties": {
            "name": {"type": "string"}, "target": target(), "address": {"type": ["string", "null"]},
            "phase": {"type": "string", "enum": ["playing", "paused", "draining", "ended", "stopped", "failed"]},
            "problem": {"type": ["string", "null"]}, "speed": speed(), "looping": {"type": "boolean"},
            "laps": integer(), "sent": integer(), "sent_octets": integer(), "unfit": integer(), "missing": integer(),
            "position_tai_ns": {"type": ["integer", "null"]}, "slipped_ns": integer(),
        },
    })
);

fn name<B>(call: &Call<B>) -> &str {
    call.values.get("name").unwrap_or_default()
}

fn reaches(caller: &Caller, replayed: &Replayed) -> bool {
    let seen = reach::seen(caller);
    let selection = &replayed.selection;
    selection.session.iter().all(|session| {
        let Some(spacecraft) = seen.spacecraft(selection.colour, *session) else { return false };
        match &selection.scid {
            None => *spacecraft == fep_catalogue::Spacecraft::All,
            Some(scids) => scids.ranges().flatten().all(|scid| spacecraft.has(Some(scid))),
        }
    })
}

/// The replay of a request, when what it plays is in the caller's scopes.
fn own<B>(service: &Service, call: &Call<B>, of: Of) -> Result<Replayed, Problem> {
    let replayed = service.replays.replayed(name(call)).ok_or_else(|| no_such(name(call)))?;
    let caller = call.caller()?;
    if reaches(caller, &replayed) {
        Ok(replayed)
    } else {
        Err(reach::out_of_scope(service, call, of, caller))
    }
}

async fn list(service: Arc<Service>, call: Call<()>) -> Result<List<Shown>, Problem> {
    let caller = call.caller()?;
    let own = service.replays.list().into_iter().filter(|replayed| reaches(caller, replayed));
    Ok(List(own.map(|replayed| Shown(replayed.status)).collect()))
}

async fn one(service: Arc<Service>, call: Call<()>) -> Result<Json<Shown>, Problem> {
    own(&service, &call, ONE).map(|replayed| Json(Shown(replayed.status)))
}

/// To its end, also where the caller goes away: whether a replay started is recorded.
async fn start(service: Arc<Service>, call: Call<Json<Asked>>) -> Result<Json<Shown>, Problem> {
    let begun = tokio::spawn(begin(service, call)).await;
    begun.map_err(|error| Problem::fault("starting the replay", &error))?
}

async fn begin(service: Arc<Service>, call: Call<Json<Asked>>) -> Result<Json<Shown>, Problem> {
    let Asked(new) = &call.body.0;
    let retrieval = selection(new).map_err(|mut bad| {
        bad.name = format!("query: {}", bad.name);
        params::problem(bad)
    })?;
    service.may_serve(retrieval.selection.colour)?;
    let retrieval = reach::narrow(&service, &call, START, retrieval)?;
    let query = retrieval.to_string();
    let plan = Plan::make(&service.archive, retrieval).await;
    let plan = plan.map_err(|error| Problem::fault("planning the replay", &error))?;
    let (replays, runtime, spec) = (service.replays.clone(), Handle::current(), new.spec.clone());
    let name = spec.name.clone();
    // The entry is there before the first record leaves: what cannot be recorded is not done.
    let detail = json!({"query": query, "unit": new.unit, "target": spec.target});
    note(&service, &call, "replay", &name, detail).await?;
    let started = tokio::task::spawn_blocking(move || replays.start(spec, plan, runtime)).await;
    let started = match started {
        Ok(Ok(Some(status))) => Ok(status),
        Ok(Ok(None)) => Err(Problem::conflict(format!("a replay called {name} plays already"))
            .at("name")
            .hint("stop it, or take another name")),
        Ok(Err(error)) => Err(problem_of(&error)),
        Err(error) => Err(Problem::fault("starting the replay", &error)),
    };
    match &started {
        // It plays, and the entry before says that it was asked for: the caller learns of it in any case.
        Ok(_) => {
            if let Err(problem) = note(&service, &call, "replay started", &name, json!({})).await {
                tracing::error!(request = %call.request_id, "replay {name} started: not recorded: {problem}");
            }
        }
        Err(problem) => note(&service, &call, "replay failed", &name, json!({"why": problem.detail})).await?,
    }
    started.map(|status| Json(Shown(status)))
}

async fn note<B>(
    service: &Service,
    call: &Call<B>,
    action: &str,
    name: &str,
    detail: Value,
) -> Result<(), Problem> {
    // A name that no replay can have may be anything; it is refused only when the replay starts.
    let name: String = name.chars().filter(|one| !one.is_control()).take(NAME_MAX).collect();
    service.note(call, action, &name, detail).await
}

fn problem_of(error: &StartError) -> Problem {
    match error {
        StartError::Name { name, allowed } => {
            Problem::bad_parameter("name", format!("{name:?} is no name of a replay"), *allowed)
        }
        StartError::NotAllowed(refused) => {
            Problem::new(StatusCode::FORBIDDEN, "not-permitted", refused.what.clone())
                .at("target")
                .allowed(refused.allowed.clone())
                .hint("the section [replay] of the configuration names receivers by address and port")
        }
        StartError::Receiver(_) => Problem::conflict(error.to_string()).at("target"),
        StartError::Ring(_) => Problem::fault("making the replay ring", error),
    }
}

async fn order(service: Arc<Service>, call: Call<Json<Told>>) -> Result<Json<Shown>, Problem> {
    let (name, Told(order)) = (name(&call), &call.body.0);
    own(&service, &call, ORDER)?;
    let detail = serde_json::to_value(order).map_err(|error| Problem::fault("reading the order", &error))?;
    note(&service, &call, "replay order", name, detail).await?;
    let told = service.replays.order(name, *order).ok_or_else(|| no_such(name))?;
    told.map(|status| Json(Shown(status))).map_err(|over| Problem::conflict(format!("{name}: {over}")))
}

fn no_such(name: &str) -> Problem {
    Problem::not_found(format!("there is no replay called {name:?}")).hint("GET /v1/replays lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ARC-174
    #[test]
    fn the_schemas_in_words_are_schemas() {
        for schema in [Asked::schema(), Told::schema(), Shown::schema()] {
            let schema = serde_json::to_value(schema).expect("JSON");
            assert!(schema["properties"].as_object().is_some_and(|members| members.len() > 3), "{schema}");
        }
    }
}
