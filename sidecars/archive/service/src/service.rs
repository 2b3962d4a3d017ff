//! What the requests share: the archive, who may do what, limits, counters.

use std::sync::Arc;

use axum::http::StatusCode;
use fep_catalogue::{Keeper, SegmentState};
use fep_kit::Problem;
use fep_kit::access::Access;
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_time::Tai;
use prometheus::IntCounterVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Account;
use crate::config::Config;
use crate::replays::Replays;
use crate::retrieval::{Archive, Error};

/// The service, shared by all requests.
pub struct Service {
    /// As configured.
    pub config: Config,
    /// Where everything is.
    pub archive: Archive,
    /// Users.
    pub access: Access,
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
    retrievals: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    queries: Arc<Semaphore>,
    counters: Counters,
}

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
        access: Access,
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
        Ok(Service {
            engine: crate::sql::Engine::new(
                archive.clone(),
                config.store.clone(),
                &config.sql,
                config.http.serve_red,
            ),
            queries: Arc::new(Semaphore::new(config.sql.queries_max)),
            retrievals: Arc::new(Semaphore::new(config.http.retrievals_max)),
            tails: Arc::new(Semaphore::new(config.http.tails_max)),
            access,
            health,
            metrics,
            keeper: keeper(&config, &archive).taking_along(config.file.iter().cloned().collect()),
            replays,
            counters,
            config,
            archive,
        })
    }

    pub(crate) fn retrieval_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        permit(&self.retrievals, "retrievals", "http.retrievals_max", self.config.http.retrievals_max)
    }

    pub(crate) fn tail_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        permit(&self.tails, "live tails", "http.tails_max", self.config.http.tails_max)
    }

    pub(crate) fn query_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        permit(&self.queries, "queries", "sql.queries_max", self.config.sql.queries_max)
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

fn permit(of: &Arc<Semaphore>, what: &str, key: &str, max: usize) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(of).try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{max} {what} are running already"))
            .hint(format!("try again later; {key} in the configuration sets how many may run"))
    })
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
