//! Status and orders over HTTP: `GET /feeds`, `GET /feeds/{feed}`, `POST /feeds/{feed}/enable|disable`, `GET /health`,
//! `GET /metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRef, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use fep_kit::Problem;
use fep_kit::access::{Access, Caller, Role, authenticate};
use fep_kit::health::{Health, Report};
use fep_kit::metrics::Metrics;
use fep_kit::problem::{no_such_method, no_such_path};
use prometheus::IntCounterVec;

use crate::feed::Feed;
use crate::status::FeedStatus;

/// All feeds, by name.
pub(crate) type Feeds = Arc<BTreeMap<String, Arc<Feed>>>;

/// What is served.
#[derive(Clone)]
pub(crate) struct Served {
    feeds: Feeds,
    metrics: Metrics,
    records: IntCounterVec,
    /// What the counters have been raised to: two readers at a time must not raise them twice.
    noting: Arc<Mutex<()>>,
}

impl Served {
    /// # Errors
    /// When a metric's name is taken, which would be a mistake of the program.
    pub(crate) fn new(feeds: Feeds) -> Result<Served, prometheus::Error> {
        let metrics = Metrics::new("fep_feeds");
        let help =
            "Records of the sources by what became of them; the sum over \"what\" is what was followed.";
        let records = metrics.counters("records", help, &["feed", "client", "what", "reason"])?;
        Ok(Served { feeds, metrics, records, noting: Arc::default() })
    }

    /// Raises the metrics to the ledgers of the clients. A ledger counts a record that the system refused as sent until it is
    /// refused; the metric never falls and is right again with the next record sent.
    fn take_note(&self) {
        let _one_at_a_time = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        for feed in self.feeds.values() {
            let status = feed.state.status();
            for client in &status.clients {
                let raise = |what: &str, reason: &str, count: u64| {
                    let labels = [status.name.as_str(), client.name.as_str(), what, reason];
                    let counter = self.records.with_label_values(&labels);
                    counter.inc_by(count.saturating_sub(counter.get()));
                };
                raise("sent", "", client.counts.sent);
                client.counts.filtered.iter().for_each(|(reason, count)| raise("filtered", reason, *count));
                client.counts.lost.iter().for_each(|(reason, count)| raise("lost", reason, *count));
            }
        }
    }
}

impl FromRef<Served> for Feeds {
    fn from_ref(served: &Served) -> Feeds {
        Arc::clone(&served.feeds)
    }
}

/// The service's paths. `/health` and `/metrics` are open to whoever reaches the address.
pub(crate) fn router(served: Served, access: Access) -> Router {
    let guarded = Router::new()
        .route("/feeds", get(all))
        .route("/feeds/{feed}", get(one))
        .route("/feeds/{feed}/enable", post(enable))
        .route("/feeds/{feed}/disable", post(disable))
        .layer(middleware::from_fn_with_state(access, authenticate));
    Router::new()
        .merge(guarded)
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(served)
}

fn find<'a>(feeds: &'a Feeds, name: &str) -> Result<&'a Arc<Feed>, Problem> {
    feeds.get(name).ok_or_else(|| {
        let names: Vec<&str> = feeds.keys().map(String::as_str).collect();
        Problem::not_found(format!("there is no feed {name:?}")).at("feed").allowed(names.join(", "))
    })
}

async fn all(State(feeds): State<Feeds>) -> Json<Vec<FeedStatus>> {
    Json(feeds.values().map(|feed| feed.state.status()).collect())
}

async fn one(State(feeds): State<Feeds>, Path(name): Path<String>) -> Result<Json<FeedStatus>, Problem> {
    Ok(Json(find(&feeds, &name)?.state.status()))
}

async fn enable(
    State(feeds): State<Feeds>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Json<FeedStatus>, Problem> {
    order(&feeds, &name, &caller, true)
}

async fn disable(
    State(feeds): State<Feeds>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<Json<FeedStatus>, Problem> {
    order(&feeds, &name, &caller, false)
}

fn order(feeds: &Feeds, name: &str, caller: &Caller, enabled: bool) -> Result<Json<FeedStatus>, Problem> {
    caller.may(Role::Operate)?;
    let feed = find(feeds, name)?;
    if feed.state.enabled.swap(enabled, Ordering::Relaxed) != enabled {
        let what = if enabled { "enabled" } else { "disabled" };
        tracing::info!(feed = name, "{what} by {}", caller.name());
    }
    Ok(Json(feed.state.status()))
}

async fn health(State(feeds): State<Feeds>) -> Report {
    let health = Health::new(concat!("fep-feeds ", env!("CARGO_PKG_VERSION")));
    for (name, feed) in feeds.iter() {
        let status = feed.state.status();
        let waits = status.clients.iter().find_map(|client| {
            let source = client.sources.iter().find(|source| source.waits_for.is_some())?;
            let what = source.waits_for.as_deref()?;
            Some(format!("client {} waits in {}: {what}", client.name, source.ring))
        });
        match status.problem.or(waits) {
            Some(problem) => health.warning(name, problem),
            None => health.well(name),
        }
    }
    health.report()
}

/// The counters of all clients as of now.
async fn metrics(State(served): State<Served>) -> Result<Response, Problem> {
    served.take_note();
    served.metrics.answer()
}
