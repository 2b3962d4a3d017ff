//! What every service has around its routes: the section `[http]`, health and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_kit::{Problem, Stop};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::{Answer, Schemas};
use crate::limits::Limits;
use crate::route::{Call, Declared, Route};
use crate::serve::{Door, DoorConfig, DoorError, serve};
use crate::service::Service;

/// The section `[http]`: doors and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where the service is reached.
    pub doors: Vec<DoorConfig>,
    /// What callers may take.
    pub limits: Limits,
    /// How long requests that run may take after a stop was asked for.
    pub stop_grace_s: u16,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig { doors: Vec::new(), limits: Limits::default(), stop_grace_s: 10 }
    }
}

impl HttpConfig {
    /// Refuses what cannot be; files of certificates are read, and nothing is changed.
    ///
    /// # Errors
    /// The key within the section, what is wrong, what is allowed.
    pub fn check(&self) -> Result<(), (String, String, String)> {
        if self.doors.is_empty() {
            let allowed = "one door or more: [[http.doors]]".to_owned();
            return Err(("doors".to_owned(), "nobody could reach the service".to_owned(), allowed));
        }
        for (number, door) in self.doors.iter().enumerate() {
            if let Err(error) = door.check() {
                let allowed = match &error {
                    DoorError::Tls(_) => {
                        "PEM files that this user can read: a certificate, its key, an authority"
                    }
                    _ => "unix:PATH, a loopback IP:PORT, or IP:PORT with certificate and key",
                };
                return Err((format!("doors[{number}]"), error.to_string(), allowed.to_owned()));
            }
        }
        self.limits.check().map_err(|(key, allowed)| {
            (format!("limits.{key}"), "cannot be worked with".to_owned(), allowed.to_owned())
        })
    }

    /// Opens the doors and serves until `stop`; `ready` is called once all are open.
    ///
    /// # Errors
    /// Routes that contradict one another, a door that cannot be opened, a fault of the program.
    pub async fn serve(&self, service: &Service, stop: Stop, ready: impl FnOnce()) -> Result<(), String> {
        let router = service.router().map_err(|mistake| mistake.to_string())?;
        let mut doors = Vec::new();
        for config in &self.doors {
            let door = Door::open(config).await.map_err(|error| error.to_string())?;
            tracing::info!("listening on {}", door.address());
            doors.push(door);
        }
        ready();
        let grace = Duration::from_secs(u64::from(self.stop_grace_s));
        serve(doors, router, service.limits().clone(), stop, grace).await.map_err(|error| error.to_string())
    }
}

struct Watched {
    health: Health,
    metrics: Metrics,
}

/// `GET /health` and `GET /metrics`, for supervisors that have no ticket.
#[must_use]
pub fn status_routes(health: &Health, metrics: &Metrics) -> Vec<Declared> {
    let state = Arc::new(Watched { health: health.clone(), metrics: metrics.clone() });
    vec![
        Route::get("/health", "How the service and its parts are; 503 when one is ill.")
            .open_to_everybody("supervisors and load balancers have no ticket")
            .to(&state, health_of),
        Route::get("/metrics", "Counters and gauges as Prometheus text.")
            .open_to_everybody("the collector of metrics has no ticket, and they hold no data of spacecraft")
            .to(&state, metrics_of),
    ]
}

struct Report(Response);

impl Answer for Report {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(self.0)
    }
}

struct Text(Response);

impl Answer for Text {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("text/plain");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(self.0)
    }
}

async fn health_of(state: Arc<Watched>, _call: Call<()>) -> Result<Report, Problem> {
    Ok(Report(state.health.report().into_response()))
}

async fn metrics_of(state: Arc<Watched>, _call: Call<()>) -> Result<Text, Problem> {
    state.metrics.answer().map(Text)
}
