//! The control interface: HTTP/JSON on a Unix socket, and the optional Prometheus exporter on a TCP port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::Notify;

use crate::exposition;
use crate::supervisor::{Kind, Supervisor, Verb};
use fep_control::api::{ApiError, Done};

/// How long a request waits for what it asked for to happen, beyond the time a thread may take to stop.
const SETTLE_FOR: Duration = Duration::from_secs(5);
const SETTLE_TICK: Duration = Duration::from_millis(1);

/// What handlers share. Everything runs on one thread: the lock is never waited for.
#[derive(Clone)]
pub(crate) struct Shared {
    supervisor: Arc<Mutex<Supervisor>>,
    pub(crate) stop: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(supervisor: Supervisor) -> Shared {
        Shared { supervisor: Arc::new(Mutex::new(supervisor)), stop: Arc::new(Notify::new()) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the supervisor work until a condition holds, or for a bounded time. Other requests are answered meanwhile.
    pub(crate) async fn until(&self, done: impl Fn(&mut Supervisor) -> bool) {
        let patience = SETTLE_FOR + self.lock().stop_timeout();
        let start = Instant::now();
        loop {
            let finished = {
                let mut supervisor = self.lock();
                supervisor.tick();
                done(&mut supervisor)
            };
            if finished || start.elapsed() > patience {
                return;
            }
            tokio::time::sleep(SETTLE_TICK).await;
        }
    }
}

/// Requests of the control interface.
pub(crate) fn router(shared: Shared) -> Router {
    let router = if test_switches() { test_router() } else { Router::new() };
    router
        .route("/status", get(async |State(shared): State<Shared>| Json(shared.lock().status())))
        .route("/links", get(async |State(shared): State<Shared>| Json(shared.lock().link_statuses())))
        .route("/links/{name}", get(link))
        .route(
            "/links/{name}/{action}",
            post(async |state: State<Shared>, path: UrlPath<(String, String)>| {
                command(Kind::Link, state, path).await
            }),
        )
        .route(
            "/spacecraft",
            get(async |State(shared): State<Shared>| Json(shared.lock().spacecraft_statuses())),
        )
        .route("/spacecraft/{name}", get(spacecraft))
        .route(
            "/spacecraft/{name}/{action}",
            post(async |state: State<Shared>, path: UrlPath<(String, String)>| {
                command(Kind::Spacecraft, state, path).await
            }),
        )
        .route("/rings", get(async |State(shared): State<Shared>| Json(shared.lock().ring_statuses())))
        .route("/ledgers", get(async |State(shared): State<Shared>| Json(shared.lock().ledgers())))
        .route("/metrics", get(metrics))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "no such request; docs/operations.md lists them under \"The control interface\"".to_owned(),
            )
        })
        .with_state(shared)
}

/// Whether this process was started for tests of faults that nobody can cause from outside.
fn test_switches() -> bool {
    std::env::var_os("FEP_TEST_SWITCHES").is_some_and(|value| value == "1")
}

/// Requests that only tests may make.
fn test_router() -> Router<Shared> {
    #[derive(serde::Deserialize)]
    struct ClockStep {
        step_ns: i64,
    }
    Router::new()
        .route(
            "/test/clock-step",
            post(async |Json(ClockStep { step_ns }): Json<ClockStep>| {
                match fep_time::clock::step_for_test(step_ns) {
                    Ok(()) => Json(Done { message: format!("the clock was stepped by {step_ns} ns") })
                        .into_response(),
                    Err(error) => refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
                }
            }),
        )
        .route(
            "/test/panic/{role}",
            post(async |State(shared): State<Shared>, UrlPath(role): UrlPath<String>| {
                let asked = shared.lock().panic_for_test(&role);
                match asked {
                    Ok(()) => Json(Done { message: format!("{role} panics") }).into_response(),
                    Err(message) => refusal(StatusCode::CONFLICT, message),
                }
            }),
        )
}

/// The exporter: metrics and nothing else.
pub(crate) fn exporter(shared: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(shared)
}

fn refusal(status: StatusCode, message: String) -> Response {
    (status, Json(ApiError { message, errors: Vec::new() })).into_response()
}

async fn link(State(shared): State<Shared>, UrlPath(name): UrlPath<String>) -> Response {
    let supervisor = shared.lock();
    match supervisor.link_status(&name) {
        Some(status) => Json(status).into_response(),
        None => unknown(&supervisor, Kind::Link, &name),
    }
}

async fn spacecraft(State(shared): State<Shared>, UrlPath(name): UrlPath<String>) -> Response {
    let supervisor = shared.lock();
    match supervisor.spacecraft_status(&name) {
        Some(status) => Json(status).into_response(),
        None => unknown(&supervisor, Kind::Spacecraft, &name),
    }
}

fn unknown(supervisor: &Supervisor, kind: Kind, name: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, supervisor.unknown(kind, name).unwrap_or_default())
}

async fn command(
    kind: Kind,
    State(shared): State<Shared>,
    UrlPath((name, action)): UrlPath<(String, String)>,
) -> Response {
    let verb = match action.as_str() {
        "enable" => Verb::Enable,
        "disable" => Verb::Disable,
        "reset" => Verb::Reset,
        _ => {
            let message = format!("it can be asked to enable, disable or reset, not {action:?}");
            return refusal(StatusCode::NOT_FOUND, message);
        }
    };
    let asked = {
        let mut supervisor = shared.lock();
        if let Some(message) = supervisor.unknown(kind, &name) {
            return refusal(StatusCode::NOT_FOUND, message);
        }
        supervisor.ask(&name, verb)
    };
    if let Err(message) = asked {
        return refusal(StatusCode::CONFLICT, message);
    }
    shared.until(|supervisor| supervisor.is_settled(Some(&name))).await;
    let message = shared.lock().outcome(&name, verb);
    Json(Done { message }).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let text = exposition::text(&shared.lock());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn reload(State(shared): State<Shared>) -> Response {
    let reloaded = shared.lock().reload();
    match reloaded {
        Ok(report) => {
            shared.until(|supervisor| supervisor.is_settled(None)).await;
            Json(report).into_response()
        }
        Err(errors) => {
            let message = format!("the configuration is refused, nothing was changed:\n{errors}");
            (StatusCode::UNPROCESSABLE_ENTITY, Json(ApiError { message, errors: errors.0 })).into_response()
        }
    }
}

async fn stop(State(shared): State<Shared>) -> Response {
    shared.lock().stopping = true;
    shared.stop.notify_one();
    Json(Done { message: "fepd stops".to_owned() }).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_request_stands_in_the_operations_manual() {
        let manual = include_str!("../../../docs/operations.md");
        let source = include_str!("server.rs");
        let code = source.split_once("#[cfg(test)]").map_or(source, |(code, _)| code);
        // Of every route its path, and the method behind it.
        let mut routes = 0;
        for route in code.split(".route(").skip(1) {
            let path = route.split('"').nth(1).expect("a path");
            let handler = route.split_once(path).map_or("", |(_, after)| after);
            let handler = handler.trim_start_matches(['"', ',', ' ', '\n']);
            routes += 1;
            let request = format!("`{} {path}`", if handler.starts_with("get(") { "GET" } else { "POST" });
            assert!(manual.contains(&request), "{request} is not in the manual");
        }
        assert!(routes > 10, "the routes were not found");
    }
}
