//! The watchers of a role's rings: what consumers do, turned into events and status.

use std::path::Path;

use fep_bus::{BusError, GateState, RingInfo, Warden, WardenEvent, WardenSpec};
use fep_time::Monotonic;
use serde_json::{Value, json};

use crate::event::EventCode;
use fep_control::api::{GateStatus, RingStatus};

/// The wardens of some rings.
#[derive(Default)]
pub(crate) struct RingWatch {
    wardens: Vec<(String, Warden)>,
}

impl RingWatch {
    /// Watches these rings from now on. What of them cannot be opened is left out: the next life of their producer
    /// reports why.
    pub(crate) fn open(&mut self, dir: &Path, names: Vec<String>) {
        self.wardens = names
            .into_iter()
            .filter_map(|ring| match Warden::open(dir, &ring, WardenSpec::default()) {
                Ok(warden) => Some((ring, warden)),
                // Its role could not make it yet, and says so.
                Err(BusError::NotFound { .. }) => None,
                Err(error) => {
                    tracing::warn!(ring, %error, "not watched");
                    None
                }
            })
            .collect();
    }

    /// Looks at the consumers; at rings without a watched one only when `all`. Returns whether some consumer is watched.
    pub(crate) fn scan(
        &mut self,
        now: Monotonic,
        all: bool,
        news: &mut impl FnMut(EventCode, Value),
    ) -> bool {
        let mut watching = false;
        for (ring, warden) in &mut self.wardens {
            if all || warden.is_watching() {
                warden.scan(now, &mut |event| {
                    let (code, detail) = describe(ring, event);
                    news(code, detail);
                });
            }
            watching |= warden.is_watching();
        }
        watching
    }

    /// What is known of each ring.
    pub(crate) fn statuses<'w>(
        &'w self,
        infos: &'w std::collections::BTreeMap<String, RingInfo>,
    ) -> impl Iterator<Item = RingStatus> + 'w {
        self.wardens.iter().filter_map(|(ring, warden)| Some(ring_status(infos.get(ring)?, warden, false)))
    }
}

/// What is known of a ring that nobody writes any more; `None` when it cannot be opened.
pub(crate) fn orphan_status(dir: &Path, info: &RingInfo) -> Option<RingStatus> {
    let name = format!("{}/{}", info.colour.directory(), info.name);
    let warden = Warden::open(dir, &name, WardenSpec::default()).ok()?;
    Some(ring_status(info, &warden, true))
}

fn describe(ring: &str, event: WardenEvent) -> (EventCode, Value) {
    match event {
        WardenEvent::Armed { consumer } => {
            (EventCode::ConsumerArmed, json!({"ring": ring, "consumer": consumer}))
        }
        WardenEvent::Warned { consumer, credit_permille } => {
            let detail = json!({"ring": ring, "consumer": consumer, "credit_permille": credit_permille});
            (EventCode::ConsumerWarned, detail)
        }
        WardenEvent::Recovered { consumer } => {
            (EventCode::ConsumerRecovered, json!({"ring": ring, "consumer": consumer}))
        }
        WardenEvent::Evicted { consumer, at_seq } => {
            (EventCode::ConsumerEvicted, json!({"ring": ring, "consumer": consumer, "at_seq": at_seq}))
        }
        WardenEvent::CursorIgnored { consumer, problem } => {
            let problem = format!("{problem:?}");
            (EventCode::CursorIgnored, json!({"ring": ring, "consumer": consumer, "problem": problem}))
        }
        WardenEvent::CursorsLeftOut { limit } => {
            let problem = format!("more than {limit} files in the cursor directory: not all are looked at");
            (EventCode::CursorIgnored, json!({"ring": ring, "problem": problem}))
        }
    }
}

fn ring_status(info: &RingInfo, warden: &Warden, orphaned: bool) -> RingStatus {
    let gates = warden.status().unwrap_or_default();
    let now = Monotonic::now();
    RingStatus {
        name: info.name.clone(),
        colour: info.colour.directory().to_owned(),
        head_seq: info.head.seq,
        bytes: info.head.payload,
        epoch: info.epoch,
        orphaned,
        gates: gates
            .into_iter()
            .map(|gate| GateStatus {
                state: match gate.state {
                    GateState::Free => "free",
                    GateState::Absent => "absent",
                    GateState::Gated => "gated",
                    GateState::Warned => "warned",
                    GateState::Evicted => "evicted",
                    GateState::Detached => "detached",
                }
                .to_owned(),
                alive: gate.alive,
                credit_percent: f64::from(gate.credit_permille) / 10.0,
                lag_records: gate.lag_records,
                lag_bytes: gate.lag_bytes,
                evictions: gate.evictions,
                evicted_ago_s: gate.evicted.map(|at| (now.0 - at.0) as f64 / 1e9),
                consumed_records: gate.ledger.consumed_records,
                lost_records: gate.ledger.lost_records,
                consumer: gate.consumer,
            })
            .collect(),
    }
}
