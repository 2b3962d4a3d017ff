//! The control interface: HTTP/JSON on a Unix socket, and the optional Prometheus exporter on a TCP port.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::sync::Notify;

use crate::exposition;
use crate::supervisor::Supervisor;
use fep_control::api::{ApiError, Done};
use fep_control::config::DaemonConfig;

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
}

/// Requests of the control interface.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/status", get(async |State(shared): State<Shared>| Json(shared.lock().status())))
        .route("/links", get(async |State(shared): State<Shared>| Json(shared.lock().link_statuses())))
        .route("/links/{name}", get(link))
        .route("/links/{name}/{action}", post(command))
        .route("/rings", get(async |State(shared): State<Shared>| Json(shared.lock().ring_statuses())))
        .route("/ledgers", get(async |State(shared): State<Shared>| Json(shared.lock().ledgers())))
        .route("/metrics", get(metrics))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .fallback(async || {
            refusal(StatusCode::NOT_FOUND, "no such request; see docs/operations.md".to_owned())
        })
        .with_state(shared)
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
        None => refusal(StatusCode::NOT_FOUND, supervisor.unknown_link(&name)),
    }
}

async fn command(
    State(shared): State<Shared>,
    UrlPath((name, action)): UrlPath<(String, String)>,
) -> Response {
    let mut supervisor = shared.lock();
    if supervisor.link_status(&name).is_none() {
        return refusal(StatusCode::NOT_FOUND, supervisor.unknown_link(&name));
    }
    let done = match action.as_str() {
        "enable" => supervisor.enable(&name),
        "disable" => supervisor.disable(&name),
        "reset" => supervisor.reset(&name),
        _ => {
            let message = format!("a link can be told enable, disable or reset, not {action:?}");
            return refusal(StatusCode::NOT_FOUND, message);
        }
    };
    match done {
        Ok(message) => Json(Done { message }).into_response(),
        Err(message) => refusal(StatusCode::CONFLICT, message),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let text = exposition::text(&shared.lock());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn reload(State(shared): State<Shared>) -> Response {
    match shared.lock().reload() {
        Ok(report) => Json(report).into_response(),
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

/// Binds the control socket with its permissions. It appears under its name only when nobody else may use it.
pub(crate) fn bind(path: &Path, config: &DaemonConfig) -> std::io::Result<UnixListener> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    if temporary.exists() {
        std::fs::remove_file(&temporary)?;
    }
    let listener = UnixListener::bind(&temporary)?;
    if !config.control_group.is_empty() {
        let group = crate::realtime::group_number(&config.control_group)?;
        std::os::unix::fs::chown(&temporary, None, Some(group))?;
    }
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(config.control_mode))?;
    std::fs::rename(&temporary, path)?;
    Ok(listener)
}
