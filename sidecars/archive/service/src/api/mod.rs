//! The HTTP interface, version 1. `GET /openapi.json` describes it; refusals are problem documents (RFC 9457).

mod catalogue;
mod jobs;
mod keeping;
mod params;
mod replay;
mod retrieve;
mod sql;
mod tail;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use fep_kit::Problem;
use fep_kit::access::authenticate;
use fep_kit::health::Report;
use fep_kit::problem::{no_such_method, no_such_path};
use utoipa::OpenApi;

use crate::service::Service;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fep-archive",
        description = "What was received: retrieval, exports, SQL, gaps, keeping. Times are UTC in requests; TAI \
            nanoseconds since 1958-01-01 in answers, beside UTC. Refusals are application/problem+json (RFC 9457)."
    ),
    paths(
        retrieve::frames,
        retrieve::frames_manifest,
        retrieve::packets,
        retrieve::packets_manifest,
        tail::tail,
        sql::run,
        catalogue::status,
        catalogue::segments,
        catalogue::contacts,
        catalogue::channels,
        catalogue::gaps,
        catalogue::gap,
        catalogue::set_gap,
        catalogue::completeness,
        keeping::holds,
        keeping::hold,
        keeping::release,
        keeping::releases,
        keeping::approve_release,
        keeping::refuse_release,
        keeping::deletions,
        keeping::request_deletion,
        keeping::approve_deletion,
        keeping::refuse_deletion,
        keeping::withdraw_deletion,
        keeping::audit,
        jobs::jobs,
        jobs::job,
        jobs::cancel,
        jobs::scrub,
        jobs::backup,
        jobs::retention,
        replay::replays,
        replay::replay,
        replay::start,
        replay::order,
    )
)]
struct Document;

/// All paths of the service.
pub fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(catalogue::status))
        .route("/v1/frames", get(retrieve::frames))
        .route("/v1/frames/manifest", get(retrieve::frames_manifest))
        .route("/v1/packets", get(retrieve::packets))
        .route("/v1/packets/manifest", get(retrieve::packets_manifest))
        .route("/v1/tail", get(tail::tail))
        .route("/v1/sql", post(sql::run))
        .route("/v1/segments", get(catalogue::segments))
        .route("/v1/contacts", get(catalogue::contacts))
        .route("/v1/channels", get(catalogue::channels))
        .route("/v1/gaps", get(catalogue::gaps))
        .route("/v1/gaps/{id}", get(catalogue::gap))
        .route("/v1/gaps/{id}/state", post(catalogue::set_gap))
        .route("/v1/completeness", get(catalogue::completeness))
        .route("/v1/holds", get(keeping::holds).post(keeping::hold))
        .route("/v1/holds/{id}/release", post(keeping::release))
        .route("/v1/releases", get(keeping::releases))
        .route("/v1/releases/{id}/approve", post(keeping::approve_release))
        .route("/v1/releases/{id}/refuse", post(keeping::refuse_release))
        .route("/v1/deletions", get(keeping::deletions).post(keeping::request_deletion))
        .route("/v1/deletions/{id}/approve", post(keeping::approve_deletion))
        .route("/v1/deletions/{id}/refuse", post(keeping::refuse_deletion))
        .route("/v1/deletions/{id}/withdraw", post(keeping::withdraw_deletion))
        .route("/v1/audit", get(keeping::audit))
        .route("/v1/jobs", get(jobs::jobs))
        .route("/v1/jobs/{id}", get(jobs::job))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/scrub", post(jobs::scrub))
        .route("/v1/backup", post(jobs::backup))
        .route("/v1/retention", get(jobs::retention))
        .route("/v1/replays", get(replay::replays).post(replay::start))
        .route("/v1/replays/{name}", get(replay::replay))
        .route("/v1/replays/{name}/orders", post(replay::order))
        .layer(middleware::from_fn_with_state(service.access.clone(), authenticate));
    Router::new()
        .merge(guarded)
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(Document::openapi())))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(service)
}

async fn health(State(service): State<Arc<Service>>) -> Report {
    service.health.report()
}

async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    service.metrics.answer()
}

/// A mistake of the catalogue's caller, or a fault of ours.
fn catalogue_problem(doing: &str) -> impl FnOnce(fep_catalogue::Error) -> Problem {
    use fep_catalogue::Error;
    move |error| match &error {
        Error::NotFound { .. } => Problem::not_found(error.to_string()),
        Error::Refused { .. } => Problem::conflict(error.to_string()),
        Error::NotAllowed(fep_orders::Error::Refused {
            refusal: fep_orders::Refusal::OwnOrder { .. },
            ..
        }) => Problem::new(StatusCode::FORBIDDEN, "second-person-needed", error.to_string())
            .hint("another person with the role \"approve\" must"),
        Error::NotAllowed(_) => Problem::new(StatusCode::FORBIDDEN, "not-permitted", error.to_string()).hint(
            "retention.deletion_approvers and retention.release_approvers say which roles an order needs",
        ),
        Error::Name { what, given, allowed } => {
            Problem::bad_parameter(*what, format!("unknown value {given:?}"), allowed.clone())
        }
        Error::Invalid { what, problem } => Problem::bad_parameter(*what, problem.clone(), ""),
        _ => Problem::fault(doing, &error),
    }
}

/// A JSON body; what is wrong in it is told as a problem document.
struct Body<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Body<T>, Problem> {
        let octets = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::bad_parameter("body", error.body_text(), "JSON of at most 2 MiB"))?;
        // No body is none of the values.
        let octets = if octets.is_empty() { axum::body::Bytes::from_static(b"null") } else { octets };
        serde_json::from_slice(&octets).map(Body).map_err(|error| {
            let text = error.to_string();
            let (detail, allowed) =
                text.split_once(", expected ").unwrap_or((&text, "see GET /openapi.json"));
            Problem::bad_parameter("body", detail, allowed.strip_prefix("one of ").unwrap_or(allowed))
        })
    }
}
