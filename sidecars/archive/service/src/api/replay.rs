//! Replays: made, listed, and told what to do.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use fep_replay::{NAME_MAX, Order, ReplayStatus, StartError};
use tokio::runtime::Handle;

use super::{Body, params};
use crate::replays::{NewReplay, selection};
use crate::retrieval::Plan;
use crate::service::{Service, now_tai_ns};

/// Replays, those that are over included (the last 32).
#[utoipa::path(get, path = "/v1/replays", tag = "replay", responses((status = 200, description = "replays")))]
pub(crate) async fn replays(State(service): State<Arc<Service>>) -> Json<Vec<ReplayStatus>> {
    Json(service.replays.list())
}

/// One replay.
#[utoipa::path(get, path = "/v1/replays/{name}", tag = "replay", params(("name" = String, Path)),
    responses((status = 200, description = "the replay"), (status = 404, description = "no such replay")))]
pub(crate) async fn replay(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<ReplayStatus>, Problem> {
    service.replays.status(&name).map(Json).ok_or_else(|| no_such(&name))
}

/// Starts a replay: `{"name": "pass-7", "unit": "frames", "query": "from=…&to=…&scid=157", "target": {"kind":
/// "tcp_client", "address": "127.0.0.1:10015", "form": "framed"}, "speed": 10, "loop": false, "paused": false}`. Everything
/// that is played is marked REPLAY. Needs the role operate.
#[utoipa::path(post, path = "/v1/replays", tag = "replay",
    responses((status = 200, description = "it plays"), (status = 403, description = "it may not go there"),
        (status = 409, description = "one of this name plays")))]
pub(crate) async fn start(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewReplay>,
) -> Result<Json<ReplayStatus>, Problem> {
    caller.may(Role::Operate)?;
    let retrieval = selection(&new).map_err(|mut bad| {
        bad.name = format!("query: {}", bad.name);
        params::problem(bad)
    })?;
    service.may_serve(retrieval.selection.colour)?;
    let query = retrieval.to_string();
    let plan = Plan::make(&service.archive, retrieval).await;
    let plan = plan.map_err(|error| Problem::fault("planning the replay", &error))?;
    let (replays, runtime, spec) = (service.replays.clone(), Handle::current(), new.spec);
    let (name, target) = (spec.name.clone(), format!("{:?}", spec.target));
    // The entry is there before the first record leaves: what cannot be recorded is not done.
    note(&service, caller.name(), "replay", &name, &format!("{query} to {target}")).await?;
    let started = tokio::task::spawn_blocking(move || replays.start(spec, plan, runtime)).await;
    let started = match started {
        Ok(Ok(Some(status))) => Ok(status),
        Ok(Ok(None)) => Err(Problem::conflict(format!("a replay called {name} plays already"))
            .at("name")
            .hint("stop it, or take another name")),
        Ok(Err(error)) => Err(problem_of(&error)),
        Err(error) => Err(Problem::fault("starting the replay", &error)),
    };
    if let Err(problem) = &started {
        note(&service, caller.name(), "replay failed", &name, &problem.detail).await?;
    }
    started.map(Json)
}

async fn note(
    service: &Service,
    person: &str,
    action: &str,
    name: &str,
    detail: &str,
) -> Result<(), Problem> {
    // A name that no replay can have may be anything; it is refused only when the replay starts.
    let name: String = name.chars().filter(|one| !one.is_control()).take(NAME_MAX).collect();
    let noted = service.archive.catalogue.note(now_tai_ns(), person, action, &name, detail).await;
    noted.map_err(super::catalogue_problem("recording the replay in the audit trail"))
}

fn problem_of(error: &StartError) -> Problem {
    match error {
        StartError::Name { allowed, .. } => Problem::bad_parameter("name", error.to_string(), *allowed),
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

/// Tells a replay what to do: `{"order": "pause"}`, `resume`, `step` with `records`, `speed` with `speed`, `seek` with
/// `rx_tai_ns`, `loop` with `looping`, `stop`. Needs the role operate.
#[utoipa::path(post, path = "/v1/replays/{name}/orders", tag = "replay", params(("name" = String, Path)),
    responses((status = 200, description = "told"), (status = 409, description = "it is over")))]
pub(crate) async fn order(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    caller: Caller,
    Body(order): Body<Order>,
) -> Result<Json<ReplayStatus>, Problem> {
    caller.may(Role::Operate)?;
    service.replays.status(&name).ok_or_else(|| no_such(&name))?;
    let text = serde_json::to_string(&order).map_err(|error| Problem::fault("reading the order", &error))?;
    note(&service, caller.name(), "replay order", &name, &text).await?;
    let told = service.replays.order(&name, order).ok_or_else(|| no_such(&name))?;
    told.map(Json).map_err(|over| Problem::conflict(format!("{name}: {over}")))
}

fn no_such(name: &str) -> Problem {
    Problem::not_found(format!("there is no replay called {name:?}")).hint("GET /v1/replays lists them")
}
