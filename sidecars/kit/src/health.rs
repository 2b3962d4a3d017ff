//! Health of the parts of a process: each part says how it is, `GET /health` tells all and the worst.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
#[derive(Clone)]
pub struct Health {
    program: Arc<str>,
    parts: Arc<Mutex<BTreeMap<String, Part>>>,
    observer: Arc<OnceLock<Observer>>,
}

/// Learns that a part is in another state than before.
type Observer = Box<dyn Fn(&str, &Part) + Send + Sync>;

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("program", &self.program).field("parts", &self.parts).finish()
    }
}

impl Health {
    /// Of a program without parts yet; `program` is its name and version.
    #[must_use]
    pub fn new(program: &str) -> Health {
        Health { program: program.into(), parts: Arc::default(), observer: Arc::default() }
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

    /// Calls `observer` with the name of a part whenever its state is another one: for events. A part that is well from the
    /// beginning is none, and neither is another reason for the same state. There is one observer, the first.
    pub fn observe(&self, observer: impl Fn(&str, &Part) + Send + Sync + 'static) {
        if self.observer.set(Box::new(observer)).is_err() {
            tracing::error!("the health has an observer already: the second learns nothing");
        }
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
        let was = before.map_or(State::Well, |before| before.state);
        if let Some(observer) = self.observer.get().filter(|_| was != now.state) {
            observer(part, &now);
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

    // REQ: FEP-KIT-257
    #[test]
    fn an_observer_learns_of_every_change_of_state_once_and_of_no_other_reason() {
        let (health, seen) = (Health::new("x 1"), Arc::new(Mutex::new(Vec::new())));
        let to = Arc::clone(&seen);
        health.observe(move |part, now| to.lock().expect("whole").push((part.to_owned(), now.state)));
        health.well("a");
        health.clone().warning("a", "9 % are free");
        health.warning("a", "8 % are free");
        health.ill("a", "none is free");
        health.ill("b", "away");
        health.well("a");
        let expected = [("a", State::Warning), ("a", State::Ill), ("b", State::Ill), ("a", State::Well)];
        let seen = seen.lock().expect("whole");
        let seen: Vec<(&str, State)> = seen.iter().map(|(part, state)| (part.as_str(), *state)).collect();
        assert_eq!(seen, expected);
    }

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
