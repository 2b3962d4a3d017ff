//! Writing the metric page of a role.

use std::path::Path;

use fep_bus::{Access, BusError, MetricId, MetricPage, MetricSet};
use fep_ccsds::Gvcid;
use fep_coding::{SyncCounters, SyncState};
use fep_downlink::{AntennaCounts, Chain, Counts, Ledger, MergeLedger, VcLedger};
use fep_mission::ChannelConfig;
use fep_net::{LinkCounters, LinkState};
use fep_record::BadReason;

use super::{ANTENNA_GAUGES, ANTENNA_NAMES, MERGE_NAMES, OCF_NAMES, STAGES, STATE_DISABLED, STATE_FAILED};
use crate::ocf::OcfCounts;

/// Names the counters of a synchroniser once: for the page, and to read their values in the same order.
macro_rules! sync_counters {
    ($($field:ident)*) => {
        pub(super) const SYNC_NAMES: &[&str] = &[$(stringify!($field)),*];

        fn sync_values(counters: SyncCounters) -> [u64; SYNC_NAMES.len()] {
            let SyncCounters { $($field),* } = counters;
            [$($field),*]
        }
    };
}

sync_counters! {
    blocks flywheel_blocks marker_bit_errors slips lock_acquired lock_lost inversions bits_in bits_discarded bits_shared
    bits_held
}

/// Numbers among the counters that go down again.
const GAUGES: [(&str, &str); 2] = [("sync", "bits_held"), ("antenna", "pending")];

/// `antenna` of `antenna.north`.
fn prefix_group(prefix: &str) -> &str {
    prefix.split('.').next().unwrap_or(prefix)
}

/// Why a frame can be bad.
fn bad_reasons() -> impl Iterator<Item = BadReason> {
    BadReason::ALL.iter().copied().filter(|reason| *reason != BadReason::None)
}

/// No frame takes so long from the socket to a ring: a difference this large is a step of the wall clock.
const CLOCK_SET_NS: i64 = 60_000_000_000;

/// What the thread itself reports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadFigures {
    pub(crate) cpu_ns: u64,
    pub(crate) work_ns: u64,
    pub(crate) turns: u64,
    pub(crate) events_overflowed: u64,
    pub(crate) packets_too_long: u64,
}

impl ThreadFigures {
    pub(super) const NAMES: [&str; 5] =
        ["cpu_ns", "work_ns", "turns", "events_overflowed", "packets_too_long"];

    fn values(&self) -> [u64; 5] {
        [self.cpu_ns, self.work_ns, self.turns, self.events_overflowed, self.packets_too_long]
    }
}

/// Which numbers a role has beside those of frames and of its thread.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MetricPlan<'p> {
    /// Those of transport and synchroniser.
    Link,
    /// Those of a merge of these links.
    Merge(&'p [String]),
}

/// The page of a role, held by its thread.
pub(crate) struct RoleMetrics {
    page: MetricPage,
    thread: Vec<MetricId>,
    frames: Vec<MetricId>,
    bad: Vec<MetricId>,
    vcs: Vec<Vec<MetricId>>,
    ocf: Vec<MetricId>,
    latency: [(MetricId, MetricId); STAGES.len()],
    latency_max_ns: [u64; STAGES.len()],
    kind: Kind,
}

enum Kind {
    Link {
        state: MetricId,
        sync_state: MetricId,
        link: Vec<MetricId>,
        sync: Vec<MetricId>,
    },
    /// By antenna: whether it is heard, and its counts.
    Merge {
        antennas: Vec<([MetricId; ANTENNA_GAUGES.len()], Vec<MetricId>)>,
        merge: Vec<MetricId>,
    },
}

/// Index into the stages of latency.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    Decoded = 0,
    Published = 1,
}

impl RoleMetrics {
    pub(crate) fn create(
        dir: &Path,
        role: &str,
        channel: &ChannelConfig,
        plan: MetricPlan<'_>,
        access: &Access,
    ) -> Result<RoleMetrics, BusError> {
        let set = &mut MetricSet::new();
        fn counters(set: &mut MetricSet, prefix: &str, names: &[&str]) -> Vec<MetricId> {
            let add = |name: &&str| match GAUGES.contains(&(prefix_group(prefix), *name)) {
                true => set.gauge(format!("{prefix}.{name}")),
                false => set.counter(format!("{prefix}.{name}")),
            };
            names.iter().map(add).collect()
        }
        let thread = counters(set, "thread", &ThreadFigures::NAMES);
        let frames = counters(set, "chain", Counts::NAMES);
        let reasons: Vec<&str> = bad_reasons().map(BadReason::name).collect();
        let bad = counters(set, "bad", &reasons);
        let vcs = channel
            .vcs
            .iter()
            .map(|vc| counters(set, &format!("vc.{}.{}", vc.scid, vc.id), VcLedger::NAMES))
            .collect();
        let ocf = counters(set, "ocf", &OCF_NAMES);
        let latency = STAGES.map(|stage| {
            (set.histogram(format!("latency.{stage}_ns")), set.gauge(format!("latency.{stage}_max_ns")))
        });
        let kind = match plan {
            MetricPlan::Link => Kind::Link {
                state: set.gauge("link.state"),
                sync_state: set.gauge("sync.state"),
                link: counters(set, "link", LinkCounters::NAMES),
                sync: counters(set, "sync", SYNC_NAMES),
            },
            MetricPlan::Merge(links) => {
                let antenna = |link: &String| {
                    let prefix = format!("antenna.{link}");
                    (
                        ANTENNA_GAUGES.map(|name| set.gauge(format!("{prefix}.{name}"))),
                        counters(set, &prefix, &ANTENNA_NAMES),
                    )
                };
                let antennas = links.iter().map(antenna).collect();
                Kind::Merge { antennas, merge: counters(set, "merge", &MERGE_NAMES) }
            }
        };
        let page = MetricPage::create(dir, role, set, access)?;
        let latency_max_ns = [0; STAGES.len()];
        let mut metrics = RoleMetrics { page, thread, frames, bad, vcs, ocf, latency, latency_max_ns, kind };
        metrics.set_state(STATE_DISABLED);
        Ok(metrics)
    }

    /// One sample a batch of frames: from the socket until now. Both ends are of the wall clock, because the kernel
    /// stamps datagrams with it; a sample that says that somebody set the clock in between is left out.
    #[inline]
    pub(crate) fn latency(&mut self, stage: Stage, ns: i64) {
        if !(-CLOCK_SET_NS..CLOCK_SET_NS).contains(&ns) {
            return;
        }
        let ns = ns.max(0).cast_unsigned();
        let (histogram, max) = self.latency[stage as usize];
        self.page.record(histogram, ns);
        if ns > self.latency_max_ns[stage as usize] {
            self.latency_max_ns[stage as usize] = ns;
            self.page.set(max, ns);
        }
    }

    /// The state of a link's transport; of another role there is none to be set.
    pub(crate) fn set_state(&mut self, value: u64) {
        if let Kind::Link { state, .. } = self.kind {
            self.page.set(state, value);
        }
    }

    /// Copies what the thread counts, and what became of the frames.
    pub(crate) fn update<'v>(
        &mut self,
        thread: &ThreadFigures,
        ocf: &OcfCounts,
        ledger: &Ledger,
        vcs: impl Iterator<Item = (Gvcid, &'v VcLedger)>,
    ) {
        copy(&mut self.page, &self.thread, &thread.values());
        copy(&mut self.page, &self.ocf, &ocf.values());
        copy(&mut self.page, &self.frames, &ledger.counts.values());
        for (reason, id) in bad_reasons().zip(&self.bad) {
            self.page.set(*id, ledger.bad.of(reason));
        }
        for (ids, (_, counts)) in self.vcs.iter().zip(vcs) {
            copy(&mut self.page, ids, &counts.values());
        }
    }

    /// Copies what transport and synchroniser count.
    pub(crate) fn update_link(&mut self, chain: &Chain, counters: &LinkCounters, transport: &LinkState) {
        let Kind::Link { state, sync_state, link, sync } = &self.kind else { return };
        let transport = match transport {
            LinkState::Idle => 0,
            LinkState::Connecting => 1,
            LinkState::Connected => 2,
            LinkState::Listening => 3,
            LinkState::Ended => 4,
            LinkState::Failed(_) => STATE_FAILED,
        };
        self.page.set(*state, transport);
        let synchroniser = chain.sync_state().map_or(0, |state| match state {
            SyncState::Search => 1,
            SyncState::Check => 2,
            SyncState::Lock => 3,
            SyncState::Flywheel => 4,
        });
        self.page.set(*sync_state, synchroniser);
        copy(&mut self.page, link, &counters.values());
        copy(&mut self.page, sync, &sync_values(chain.sync_counters().copied().unwrap_or_default()));
    }

    /// Copies what a merge counts: by antenna whether it is heard, its counts, and the records that the bus lost of it.
    pub(crate) fn update_merge(
        &mut self,
        ledger: &MergeLedger,
        antennas: impl Iterator<Item = (bool, bool, AntennaCounts, u64)>,
    ) {
        let Kind::Merge { antennas: ids, merge } = &self.kind else { return };
        for ((gauges, ids), (heard, live, counts, lost)) in ids.iter().zip(antennas) {
            let AntennaCounts { received, served, duplicates, late, bad, pending } = counts;
            copy(&mut self.page, gauges, &[u64::from(heard), u64::from(live)]);
            copy(&mut self.page, ids, &[received, served, duplicates, late, bad, pending, lost]);
        }
        let MergeLedger { strangers, waits_over, overflowed, placed_by_time, unplaced, .. } = *ledger;
        copy(&mut self.page, merge, &[strangers, waits_over, overflowed, placed_by_time, unplaced]);
    }
}

fn copy(page: &mut MetricPage, ids: &[MetricId], values: &[u64]) {
    debug_assert_eq!(ids.len(), values.len());
    ids.iter().zip(values).for_each(|(id, value)| page.set(*id, *value));
}
