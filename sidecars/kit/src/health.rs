//! Health of the parts of a process: each part says how it is, `GET /health` tells all and the worst.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does its work.
    Well,
    /// It works, and somebody should look: behind, nearly full, a retry under way.
    Warning,
    /// It does not do its work.
    Ill,
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How it is.
    pub state: State,
    /// Why, in words; empty when well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The process and its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worst of its parts.
    pub state: State,
    /// Name and version of the program.
    pub program: String,
    /// Part by part.
    pub parts: BTreeMap<String, Part>,
}

/// The health of a process. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    program: Arc<str>,
    parts: Arc<Mutex<BTreeMap<String, Part>>>,
}

impl Health {
    /// Of a program without parts yet; `program` is its name and version.
    #[must_use]
    pub fn new(program: &str) -> Health {
        Health { program: program.into(), parts: Arc::default() }
    }

    /// A part is well.
    pub fn well(&self, part: &str) {
        self.set(part, State::Well, String::new());
    }

    /// A part works and warns.
    pub fn warning(&self, part: &str, reason: impl Into<String>) {
        self.set(part, State::Warning, reason.into());
    }

    /// A part does not work.
    pub fn ill(&self, part: &str, reason: impl Into<String>) {
        self.set(part, State::Ill, reason.into());
    }

    /// Everything.
    #[must_use]
    pub fn report(&self) -> Report {
        let parts = self.lock().clone();
        let state = parts.values().map(|part| part.state).max().unwrap_or(State::Well);
        Report { state, program: self.program.to_string(), parts }
    }

    fn set(&self, part: &str, state: State, reason: String) {
        let now = Part { state, reason };
        let before = self.lock().insert(part.to_owned(), now.clone());
        // Only a change is worth a line of the log.
        if before.as_ref() != Some(&now) {
            match state {
                State::Well => tracing::info!("{part} is well"),
                State::Warning => tracing::warn!("{part}: {}", now.reason),
                State::Ill => tracing::error!("{part}: {}", now.reason),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IntoResponse for Report {
    /// 200, or 503 when a part is ill: what a load balancer or a supervisor asks for.
    fn into_response(self) -> Response {
        let status = if self.state == State::Ill { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-004
    #[test]
    fn a_process_is_as_ill_as_its_worst_part_and_recovers_with_it() {
        let health = Health::new("x 1");
        assert_eq!(health.report().into_response().status(), StatusCode::OK);
        health.well("a");
        health.warning("b", "behind by 3 segments");
        assert_eq!(health.report().state, State::Warning);
        assert_eq!(health.report().into_response().status(), StatusCode::OK);
        health.ill("a", "database away");
        assert_eq!(health.report().state, State::Ill);
        assert_eq!(health.report().into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        health.well("a");
        health.well("b");
        assert_eq!(health.report().state, State::Well);
    }
}
