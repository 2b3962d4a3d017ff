//! Status and orders over HTTP: `GET /feeds`, `GET /feeds/{feed}`, `POST /feeds/{feed}/enable|disable`, `GET /health`,
//! `GET /metrics`, `GET /openapi.json`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fep_identity::{Asked, Authenticator, Caller, Role, Target};
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_kit::{Problem, Stop};
use fep_record::Session;
use fep_route::{Call, Declared, Form, Json, Limits, List, Route, Service, status_routes};
use prometheus::{IntCounterVec, IntGaugeVec};

use crate::events::FeedEvent;
use crate::feed::Feed;
use crate::identities::{Identities, colour};
use crate::status::FeedStatus;

/// How often metrics and health are raised to what the feeds say.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// All feeds, by name.
pub(crate) type Feeds = Arc<BTreeMap<String, Arc<Feed>>>;

/// What is served.
pub(crate) struct Served {
    feeds: Feeds,
    identities: Arc<Identities>,
    health: Health,
    metrics: Metrics,
    records: IntCounterVec,
    unpublished: IntGaugeVec,
    /// What the counters have been raised to: two at a time must not raise them twice.
    noting: Mutex<()>,
}

impl Served {
    /// # Errors
    /// When a metric's name is taken, which would be a mistake of the program.
    pub(crate) fn new(feeds: Feeds, identities: Arc<Identities>) -> Result<Served, prometheus::Error> {
        let metrics = Metrics::new("fep_feeds");
        let help =
            "Records of the sources by what became of them; the sum over \"what\" is what was followed.";
        let records = metrics.counters("records", help, &["feed", "client", "what", "reason"])?;
        let help = "Events that are log lines only: the events ring took them not, or does not exist.";
        let unpublished = metrics.gauges("events_unpublished", help, &[])?;
        let health = Health::new(concat!("fep-feeds ", env!("CARGO_PKG_VERSION")));
        Ok(Served { feeds, identities, health, metrics, records, unpublished, noting: Mutex::default() })
    }

    /// The routes of the process.
    ///
    /// # Errors
    /// When the system gives no random octets.
    pub(crate) fn service(self: &Arc<Served>, authenticator: Arc<Authenticator>) -> std::io::Result<Service> {
        let service = Service::new("fep-feeds", env!("CARGO_PKG_VERSION"), authenticator, Limits::default())?;
        Ok(service.with(self.routes()).with(status_routes(&self.health, &self.metrics)))
    }

    fn routes(self: &Arc<Served>) -> [Declared; 4] {
        let named = |route: Route<_>| route.path_parameter("feed", Form::Name, "Name of the feed.");
        let observer = |route: Route<_>| route.role(Role::Observer).touches_no_data();
        let operator = |route: Route<_>| route.role(Role::Operator).touches_no_data();
        let about = "All feeds that the caller's scopes reach, their clients and counts.";
        let enable = "Lets a feed run: its clients go on where they stopped.";
        let disable = "Stops a feed and disconnects its clients; their cursors stay.";
        [
            observer(Route::get("/feeds", about)).to(self, all),
            observer(named(Route::get("/feeds/{feed}", "One feed."))).to(self, one),
            operator(named(Route::post("/feeds/{feed}/enable", enable)))
                .to(self, |served, call| order(served, call, true)),
            operator(named(Route::post("/feeds/{feed}/disable", disable)))
                .to(self, |served, call| order(served, call, false)),
        ]
    }

    /// Keeps metrics and health until `stop`; `unpublished` counts events without a record.
    pub(crate) async fn keep(&self, stop: Stop, unpublished: impl Fn() -> u64) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                _ = look.tick() => {}
            }
            self.take_note();
            self.judge();
            self.unpublished
                .with_label_values::<&str>(&[])
                .set(i64::try_from(unpublished()).unwrap_or(i64::MAX));
        }
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

    fn judge(&self) {
        match self.identities.fault() {
            Some(fault) => self.health.ill("public keys", fault),
            None => self.health.well("public keys"),
        }
        for (name, feed) in self.feeds.iter() {
            let status = feed.state.status();
            let of_clients = status.clients.iter().find_map(|client| {
                if client.problem.is_some() {
                    return client.problem.clone();
                }
                let source = client.sources.iter().find(|source| source.waits_for.is_some())?;
                let what = source.waits_for.as_deref()?;
                Some(format!("client {} waits in {}: {what}", client.name, source.ring))
            });
            match status.problem.or(of_clients) {
                Some(problem) => self.health.warning(name, problem),
                None => self.health.well(name),
            }
        }
    }

    /// The feed of this name, where the caller's scopes reach its colour and its session: others do not exist for it.
    fn find(&self, call: &Call<()>) -> Result<&Arc<Feed>, Problem> {
        let name = call.values.get("feed").unwrap_or_default();
        let caller = call.caller()?;
        self.feeds.get(name).filter(|feed| reaches(caller, feed)).ok_or_else(|| {
            let reached = self.feeds.iter().filter(|(_, feed)| reaches(caller, feed));
            let names: Vec<&str> = reached.map(|(name, _)| name.as_str()).collect();
            Problem::not_found(format!("there is no feed {name:?}")).at("feed").allowed(names.join(", "))
        })
    }
}

fn reaches(caller: &Caller, feed: &Feed) -> bool {
    let (colour, session) = (colour(&feed.spec), Session::from(feed.spec.session));
    let target = Target { scid: Asked::Nothing, colour: Asked::One(colour), session: Asked::One(session) };
    caller.may_reach(&target).is_ok()
}

async fn all(served: Arc<Served>, call: Call<()>) -> Result<List<FeedStatus>, Problem> {
    let caller = call.caller()?;
    let reached = served.feeds.values().filter(|feed| reaches(caller, feed));
    Ok(List(reached.map(|feed| feed.state.status()).collect()))
}

async fn one(served: Arc<Served>, call: Call<()>) -> Result<Json<FeedStatus>, Problem> {
    Ok(Json(served.find(&call)?.state.status()))
}

async fn order(served: Arc<Served>, call: Call<()>, enabled: bool) -> Result<Json<FeedStatus>, Problem> {
    let feed = served.find(&call)?;
    if feed.state.enabled.swap(enabled, Ordering::Relaxed) != enabled {
        let code = if enabled { FeedEvent::FeedEnabled } else { FeedEvent::FeedDisabled };
        let person = &call.caller()?.person;
        feed.state.report(code, &[("account", person.account.as_str().into())]);
    }
    Ok(Json(feed.state.status()))
}
