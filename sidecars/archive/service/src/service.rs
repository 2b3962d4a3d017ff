//! What the requests share: the archive, who may do what, limits, counters.

use std::sync::Arc;

use axum::http::StatusCode;
use fep_catalogue::{Keeper, SegmentState};
use fep_identity::{Authenticator, Caller};
use fep_kit::Problem;
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_route::audit::Trail;
use fep_route::{Call, Refusal};
use fep_time::Tai;
use prometheus::IntCounterVec;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Account;
use crate::config::Config;
use crate::places::{Place, Places};
use crate::replays::Replays;
use crate::retrieval::{Archive, Error};

/// The service, shared by all requests.
pub struct Service {
    /// As configured.
    pub config: Config,
    /// Where everything is.
    pub archive: Archive,
    /// Who asks.
    pub authenticator: Arc<Authenticator>,
    /// Who did what.
    pub trail: Trail,
    /// Health of its parts.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
    /// Replays.
    pub replays: Replays,
    /// Keeping.
    pub keeper: Keeper,
    /// SQL.
    pub engine: crate::sql::Engine,
    retrievals: Places,
    tails: Places,
    queries: Arc<Semaphore>,
    counters: Counters,
    /// Takes refusals that only a handler can see.
    pub(crate) refusals: Refusals,
}

type Refusals = Box<dyn Fn(&Refusal<'_>) + Send + Sync>;

struct Counters {
    retrieved: IntCounterVec,
    retrievals: IntCounterVec,
}

impl Service {
    /// Of these parts.
    ///
    /// # Errors
    /// When a metric's name is taken (a mistake of the program).
    pub fn new(
        config: Config,
        archive: Archive,
        authenticator: Arc<Authenticator>,
        health: Health,
        metrics: Metrics,
        replays: Replays,
    ) -> Result<Service, String> {
        let text = |error: prometheus::Error| error.to_string();
        let counters = Counters {
            retrieved: metrics
                .counters(
                    "retrieved",
                    "Units and octets given out, and segments read for it from their copy because their file was damaged.",
                    &["what"],
                )
                .map_err(text)?,
            retrievals: metrics
                .counters("retrievals", "Retrievals by how they ended.", &["end"])
                .map_err(text)?,
        };
        let trail = Trail::new(archive.catalogue.database(), &health);
        Ok(Service {
            engine: crate::sql::Engine::new(
                archive.clone(),
                config.store.clone(),
                &config.sql,
                config.http.serve_red,
            ),
            queries: Arc::new(Semaphore::new(config.sql.queries_max)),
            retrievals: Places::new("retrievals", config.http.retrievals_max, config.http.retrievals_of_one),
            tails: Places::new("tails", config.http.tails_max, config.http.tails_of_one),
            refusals: Box::new(trail.refusals()),
            trail,
            authenticator,
            health,
            metrics,
            keeper: keeper(&config, &archive).taking_along(config.file.iter().cloned().collect()),
            replays,
            counters,
            config,
            archive,
        })
    }

    /// Writes into the audit trail what a caller does, before it is done.
    pub(crate) async fn note<B>(
        &self,
        call: &Call<B>,
        action: &str,
        subject: &str,
        mut detail: Value,
    ) -> Result<(), Problem> {
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("request".to_owned(), call.request_id.clone().into());
        }
        self.trail.note(Some(&call.caller()?.person), action, subject, detail).await
    }

    pub(crate) fn retrieval_place(&self, caller: &Caller) -> Result<Place, Problem> {
        self.retrievals.take(&caller.person.id)
    }

    pub(crate) fn tail_place(&self, caller: &Caller) -> Result<Place, Problem> {
        self.tails.take(&caller.person.id)
    }

    /// A query ends by itself after its time, whoever reads its answer.
    pub(crate) fn query_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let max = self.config.sql.queries_max;
        Arc::clone(&self.queries).try_acquire_owned().map_err(|_| {
            let detail = format!("{max} queries are running already");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                .hint("try again later; sql.queries_max in the configuration sets how many may run")
        })
    }

    pub(crate) fn count_retrieval(&self, account: &Account) {
        self.counters.retrievals.with_label_values(&["whole"]).inc();
        self.counters.retrieved.with_label_values(&["units"]).inc_by(account.units);
        self.counters.retrieved.with_label_values(&["octets"]).inc_by(account.octets);
        let copies = account.read_from_copy.len() as u64;
        self.counters.retrieved.with_label_values(&["segments_from_copy"]).inc_by(copies);
        if let Some((id, problem)) = account.read_from_copy.first_key_value() {
            let hint = "a scrub repairs it";
            self.health.warning("segments", format!("{id} was read from its copy: {problem}; {hint}"));
        }
    }

    /// Counts and logs it; a segment that is not what its index says goes into quarantine, so that the next answer tells
    /// what is missing instead of breaking off again.
    pub(crate) fn retrieval_failed(self: &Arc<Self>, error: Error) -> Problem {
        self.counters.retrievals.with_label_values(&["failed"]).inc();
        let Error::Damaged { id, problem } = error else {
            return Problem::fault("retrieving", &error);
        };
        self.health.warning("segments", format!("{id} is damaged: {problem}"));
        let (service, told) = (Arc::clone(self), problem.clone());
        let segment = id.clone();
        tokio::runtime::Handle::current().spawn(async move {
            let catalogue = &service.archive.catalogue;
            let done = async {
                catalogue.set_segment_state(&segment, SegmentState::Quarantined, &told).await?;
                catalogue.note(now_tai_ns(), "fep-archive", "quarantine", &segment.0, &told).await
            };
            if let Err(error) = done.await {
                tracing::error!(%error, %segment, "cannot be put into quarantine");
            }
        });
        Problem::new(StatusCode::CONFLICT, "segment-damaged", format!("segment {id} is damaged: {problem}"))
            .hint("it is in quarantine now: ask again, and the manifest will name what is missing")
    }
}

/// Now, nanoseconds of TAI since 1958-01-01.
#[must_use]
pub fn now_tai_ns() -> i64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let utc_ns = i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX);
    let leap_seconds = fep_time::LeapSeconds::builtin();
    // Near enough for the list of leap seconds, whose entries are years apart.
    let about = Tai::UNIX_EPOCH.0.saturating_add(utc_ns);
    about.saturating_add(i64::from(leap_seconds.tai_minus_utc(Tai(about))) * 1_000_000_000)
}

/// The keeper of the archive, with the key that signs its records of removal.
fn keeper(config: &Config, archive: &Archive) -> Keeper {
    let keeper = Keeper::new(
        &config.archive.segments,
        archive.catalogue.clone(),
        archive.store.clone(),
        config.packets.clone(),
    );
    let key = &config.retention.removal_key;
    if key.as_os_str().is_empty() {
        return keeper;
    }
    if fep_segments::roots::is_within(&config.archive.segments, key) {
        tracing::warn!(
            "retention.removal_key: {} lies among the segments: who has the disk has the key",
            key.display()
        );
    }
    keeper.with_removal_key(key)
}
