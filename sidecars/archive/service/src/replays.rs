//! Replays that run: made from a query, kept by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fep_archive_query::{Retrieval, Selection, Unit};
use fep_replay::{
    Order, Over, Played, Policy, Reel, ReelError, Replay, ReplaySpec, ReplayStatus, StartError, Unread,
};
use fep_segments::Stream;
use tokio::runtime::Handle;

use crate::retrieval::{Merge, Octets, Payload, Plan};

/// Replays that are over are kept to be looked at, the last so many.
const OVER_KEPT: usize = 32;

/// The rows of a plan with their octets, as a replay plays them. Every key of the query language works, and what was moved
/// to the object store is read from there.
pub struct PlanReel {
    plan: Plan,
    runtime: Handle,
    streams: Vec<Stream>,
    rows: Merge,
    octets: Octets,
    taken: u64,
    missing: u64,
    unread: Unread,
    /// Segments that could not be read, and when they are tried again.
    resting: BTreeMap<(usize, i64, i64), Instant>,
}

/// How long a segment that the disk or the store could not read is left alone: each of its rows would wait for the same error.
const REST: Duration = Duration::from_secs(5);

impl PlanReel {
    /// Of a plan. To be read on threads outside of the runtime only.
    #[must_use]
    pub fn new(plan: Plan, runtime: Handle) -> PlanReel {
        let stream = |source: &crate::retrieval::SourceSpec| Stream::new(source.colour, source.ring.clone());
        let streams = plan.sources.iter().map(stream).collect();
        let (rows, octets) = (plan.rows(&runtime), plan.octets(runtime.clone()));
        PlanReel {
            plan,
            runtime,
            streams,
            rows,
            octets,
            taken: 0,
            missing: 0,
            unread: Unread::default(),
            resting: BTreeMap::new(),
        }
    }
}

impl Reel for PlanReel {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn next_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Played>, ReelError> {
        while self.taken < self.plan.retrieval.limit.unwrap_or(u64::MAX) {
            let found = match self.rows.next() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                // An index that can be read neither where it lies nor in its segment: the rows of it are not known.
                Err(error) => {
                    self.unread.note(error.to_string());
                    continue;
                }
            };
            let (source, columns) = (&self.plan.sources[found.source], &self.plan.columns);
            self.taken += 1;
            let segment = (found.source, found.row.number(columns.series), found.row.number(columns.segment));
            if self.resting.get(&segment).is_some_and(|until| Instant::now() < *until) {
                self.missing += 1;
                continue;
            }
            match self.octets.of(source.colour, &source.ring, columns, &found.row) {
                Ok(Payload::Octets(octets, record)) => {
                    payload.clear();
                    payload.extend_from_slice(octets);
                    return Ok(Some(Played { stream: found.source as u16, record }));
                }
                // A replay goes on over what is damaged, and says how much it left out.
                Ok(Payload::NotYet) | Err(crate::retrieval::Error::Damaged { .. }) => self.missing += 1,
                Err(error) => {
                    self.missing += 1;
                    if self.resting.insert(segment, Instant::now() + REST).is_none() {
                        self.unread.note(error.to_string());
                    }
                }
            }
        }
        Ok(None)
    }

    fn wind(&mut self, rx_tai_ns: i64) -> Result<(), ReelError> {
        self.rows = self.plan.rows_from(rx_tai_ns, &self.runtime);
        (self.taken, self.missing) = (0, 0);
        self.unread = Unread::default();
        self.resting.clear();
        Ok(())
    }

    fn missing_records(&self) -> u64 {
        self.missing
    }

    fn unread(&self) -> &Unread {
        &self.unread
    }
}

/// What a replay is asked for with. The struct that flattens has to refuse unknown members: the flattened one never sees
/// them.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    /// `frames` or `packets`.
    pub unit: String,
    /// What is played, in the query language, without a form.
    pub query: String,
    /// Name, target, speed, …: see `docs/replay.md`.
    #[serde(flatten)]
    pub spec: ReplaySpec,
}

/// A replay and what it plays.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// How it is.
    pub status: ReplayStatus,
    /// What it plays.
    pub selection: Selection,
}

struct Running {
    replay: Replay,
    selection: Selection,
}

impl Running {
    fn shown(&self) -> Replayed {
        Replayed { status: self.replay.status(), selection: self.selection.clone() }
    }

    fn is_over(&self) -> bool {
        self.replay.status().phase.is_over()
    }
}

/// All replays of the service.
#[derive(Clone, Default)]
pub struct Replays {
    policy: Arc<Policy>,
    running: Arc<Mutex<BTreeMap<String, Arc<Running>>>>,
}

impl Replays {
    /// None yet; they go where `policy` lets them.
    #[must_use]
    pub fn new(policy: Policy) -> Replays {
        Replays { policy: Arc::new(policy), running: Arc::default() }
    }

    /// Starts one. Blocking: a receiver may have to be reached.
    ///
    /// # Errors
    /// See [`StartError`]; `None` when one of this name runs.
    pub fn start(
        &self,
        spec: ReplaySpec,
        plan: Plan,
        runtime: Handle,
    ) -> Result<Option<ReplayStatus>, StartError> {
        let name = spec.name.clone();
        let is_free = |running: &BTreeMap<String, Arc<Running>>| {
            running.get(&name).is_none_or(|running| running.is_over())
        };
        if !is_free(&self.lock()) {
            return Ok(None);
        }
        let selection = plan.retrieval.selection.clone();
        let replay = Replay::start(spec, Box::new(PlanReel::new(plan, runtime)), &self.policy)?;
        let status = replay.status();
        let started = Arc::new(Running { replay, selection });
        let mut running = self.lock();
        if !is_free(&running) {
            return Ok(None);
        }
        let over: Vec<String> =
            running.iter().filter(|(_, running)| running.is_over()).map(|(name, _)| name.clone()).collect();
        for name in over.iter().take(over.len().saturating_sub(OVER_KEPT)) {
            running.remove(name);
        }
        running.insert(name.clone(), started);
        Ok(Some(status))
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Replayed> {
        self.lock().values().map(|running| running.shown()).collect()
    }

    /// One of them.
    #[must_use]
    pub fn replayed(&self, name: &str) -> Option<Replayed> {
        self.lock().get(name).map(|running| running.shown())
    }

    /// Gives an order to one of them; `None` when there is none of this name.
    ///
    /// # Errors
    /// It is over.
    pub fn order(&self, name: &str, order: Order) -> Option<Result<ReplayStatus, Over>> {
        let running = self.lock().get(name).cloned()?;
        Some(running.replay.order(order).map(|()| running.replay.status()))
    }

    /// How many are not over.
    #[must_use]
    pub fn playing(&self) -> usize {
        self.lock().values().filter(|running| !running.is_over()).count()
    }

    /// Stops all. Blocking.
    pub fn stop(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is played, as a retrieval.
///
/// # Errors
/// The parameter that is refused.
pub fn selection(new: &NewReplay) -> Result<Retrieval, fep_archive_query::BadParameter> {
    let unit = match new.unit.as_str() {
        "frames" => Unit::Frames,
        "packets" => Unit::Packets,
        other => {
            return Err(fep_archive_query::BadParameter {
                name: "unit".to_owned(),
                detail: format!("unknown value {other:?}"),
                allowed: "frames, packets".to_owned(),
            });
        }
    };
    let retrieval = Retrieval::parse(unit, &new.query)?;
    let form = match unit {
        Unit::Frames => fep_archive_query::Format::Frames,
        Unit::Packets => fep_archive_query::Format::Packets,
    };
    // A plan for octets: what is not on disk yet is not played.
    Ok(retrieval.in_format(form))
}

#[cfg(test)]
mod tests {
    use super::NewReplay;

    fn order(more: &str) -> Result<NewReplay, String> {
        let text = format!(
            r#"{{"name": "a", "unit": "frames", "query": "", "target": {{"kind": "udp", "to": "127.0.0.1:9"}}{more}}}"#
        );
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    // REQ: FEP-ARC-160
    #[test]
    fn an_unknown_member_of_a_replay_order_is_refused_by_its_name() {
        assert!(order("").is_ok());
        assert!(order(r#", "speed": 10, "loop": true, "paused": true"#).is_ok());
        let refused = order(r#", "pause": true"#).expect_err("an unknown member");
        assert!(refused.contains("unknown field `pause`"), "{refused}");
    }
}
