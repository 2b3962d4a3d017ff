//! Status and orders over HTTP: `GET /feeds`, `GET /feeds/{feed}`, `POST /feeds/{feed}/enable|disable`, `GET /health`,
//! `GET /metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use fep_kit::Problem;
use fep_kit::access::{Access, Caller, Role, authenticate};
use fep_kit::health::{Health, Report};
use fep_kit::problem::{no_such_method, no_such_path};

use crate::feed::Feed;
use crate::status::FeedStatus;

/// All feeds, by name.
pub(crate) type Feeds = Arc<BTreeMap<String, Arc<Feed>>>;

/// The service's paths. `/health` and `/metrics` are open to whoever reaches the address.
pub(crate) fn router(feeds: Feeds, access: Access) -> Router {
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
        .with_state(feeds)
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
        match feed.state.status().problem {
            Some(problem) => health.warning(name, problem),
            None => health.well(name),
        }
    }
    health.report()
}

/// Prometheus text, made from the same numbers as the status.
async fn metrics(State(feeds): State<Feeds>) -> Response {
    let mut text = String::from(
        "# HELP fep_feeds_records_total Records of the sources by what became of them; the sum over \"what\" is what was \
         followed.\n# TYPE fep_feeds_records_total counter\n",
    );
    for feed in feeds.values() {
        let status = feed.state.status();
        for client in &status.clients {
            let labels = format!("feed=\"{}\",client=\"{}\"", status.name, client.name);
            let mut line = |what: &str, reason: &str, count: u64| {
                let labels = format!("{labels},what=\"{what}\",reason=\"{reason}\"");
                text.push_str(&format!("fep_feeds_records_total{{{labels}}} {count}\n"));
            };
            line("sent", "", client.counts.sent);
            client.counts.filtered.iter().for_each(|(reason, count)| line("filtered", reason, *count));
            client.counts.lost.iter().for_each(|(reason, count)| line("lost", reason, *count));
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
