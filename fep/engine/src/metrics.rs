//! The metric page of a link: which numbers there are, how the hot thread writes them, how anybody reads them back.
//!
//! Counters are kept where they arise (chain, link, synchroniser) and copied into the page in housekeeping; only
//! latencies are recorded as they happen.

use std::path::Path;

use fep_bus::{
    Access, BusError, Log2Hist, MetricId, MetricPage, MetricReader, MetricSet, MetricValue, bucket_end,
};
use fep_coding::{SyncCounters, SyncState};
use fep_net::{LinkCounters, LinkState};
use fep_record::BadReason;
use hdrhistogram::Histogram;

use fep_control::api::{LatencyStatus, NamedCount, VcStatus};
use fep_downlink::{Chain, Counts, Ledger, VcLedger};
use fep_mission::ChannelConfig;

/// Names of the states of a transport, by number in the page.
pub(crate) const LINK_STATES: [&str; 7] =
    ["idle", "connecting", "connected", "listening", "ended", "failed", "disabled"];
pub(crate) const STATE_FAILED: u64 = 5;
pub(crate) const STATE_DISABLED: u64 = 6;
/// Names of the states of the synchroniser; the first for links without one.
const SYNC_STATES: [&str; 5] = ["", "search", "check", "lock", "flywheel"];

/// Names the counters of a synchroniser once: for the page, and to read their values in the same order.
macro_rules! sync_counters {
    ($($field:ident)*) => {
        const SYNC_NAMES: &[&str] = &[$(stringify!($field)),*];

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

/// Stages whose latency from the socket is measured.
const STAGES: [&str; 2] = ["decoded", "published"];

/// What the thread itself tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadFigures {
    pub(crate) cpu_ns: u64,
    pub(crate) work_ns: u64,
    pub(crate) turns: u64,
    pub(crate) events_overflowed: u64,
    pub(crate) packets_too_long: u64,
}

impl ThreadFigures {
    const NAMES: [&str; 5] = ["cpu_ns", "work_ns", "turns", "events_overflowed", "packets_too_long"];

    fn values(&self) -> [u64; 5] {
        [self.cpu_ns, self.work_ns, self.turns, self.events_overflowed, self.packets_too_long]
    }
}

/// The page of a link, held by its thread.
pub(crate) struct LinkMetrics {
    page: MetricPage,
    state: MetricId,
    sync_state: MetricId,
    thread: Vec<MetricId>,
    link: Vec<MetricId>,
    sync: Vec<MetricId>,
    frames: Vec<MetricId>,
    bad: Vec<MetricId>,
    vcs: Vec<Vec<MetricId>>,
    latency: [(MetricId, MetricId); STAGES.len()],
    latency_max_ns: [u64; STAGES.len()],
}

/// Index into the stages of latency.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    Decoded = 0,
    Published = 1,
}

impl LinkMetrics {
    pub(crate) fn create(
        dir: &Path,
        link: &str,
        channel: &ChannelConfig,
        access: &Access,
    ) -> Result<LinkMetrics, BusError> {
        let mut set = MetricSet::new();
        let state = set.gauge("link.state");
        let sync_state = set.gauge("sync.state");
        let mut counters = |prefix: &str, names: &[&str]| -> Vec<MetricId> {
            names.iter().map(|name| set.counter(format!("{prefix}.{name}"))).collect()
        };
        let thread = counters("thread", &ThreadFigures::NAMES);
        let link_counters = counters("link", LinkCounters::NAMES);
        let sync = counters("sync", SYNC_NAMES);
        let frames = counters("chain", Counts::NAMES);
        let reasons: Vec<&str> = BadReason::ALL.iter().map(|reason| reason.name()).collect();
        let bad = counters("bad", &reasons);
        let vcs = channel
            .vcs
            .iter()
            .map(|vc| counters(&format!("vc.{}.{}", channel.scid, vc.id), VcLedger::NAMES))
            .collect();
        let latency = STAGES.map(|stage| {
            (set.histogram(format!("latency.{stage}_ns")), set.gauge(format!("latency.{stage}_max_ns")))
        });
        let mut page = MetricPage::create(dir, link, &set, access)?;
        page.set(state, STATE_DISABLED);
        let latency_max_ns = [0; STAGES.len()];
        Ok(LinkMetrics {
            page,
            state,
            sync_state,
            thread,
            link: link_counters,
            sync,
            frames,
            bad,
            vcs,
            latency,
            latency_max_ns,
        })
    }

    /// One sample a batch of frames: from the socket until now.
    #[inline]
    pub(crate) fn latency(&mut self, stage: Stage, ns: i64) {
        let ns = ns.max(0).cast_unsigned();
        let (histogram, max) = self.latency[stage as usize];
        self.page.record(histogram, ns);
        if ns > self.latency_max_ns[stage as usize] {
            self.latency_max_ns[stage as usize] = ns;
            self.page.set(max, ns);
        }
    }

    pub(crate) fn set_state(&mut self, state: u64) {
        self.page.set(self.state, state);
    }

    /// Copies every counter into the page.
    pub(crate) fn update(
        &mut self,
        chain: &Chain,
        link: &LinkCounters,
        state: &LinkState,
        thread: &ThreadFigures,
    ) {
        let state = match state {
            LinkState::Idle => 0,
            LinkState::Connecting => 1,
            LinkState::Connected => 2,
            LinkState::Listening => 3,
            LinkState::Ended => 4,
            LinkState::Failed(_) => STATE_FAILED,
        };
        self.page.set(self.state, state);
        let sync_state = chain.sync_state().map_or(0, |state| match state {
            SyncState::Search => 1,
            SyncState::Check => 2,
            SyncState::Lock => 3,
            SyncState::Flywheel => 4,
        });
        self.page.set(self.sync_state, sync_state);
        let sync = sync_values(chain.sync_counters().copied().unwrap_or_default());
        let ledger = chain.ledger();
        let LinkMetrics { page, .. } = self;
        let mut copy = |ids: &[MetricId], values: &[u64]| {
            debug_assert_eq!(ids.len(), values.len());
            ids.iter().zip(values).for_each(|(id, value)| page.set(*id, *value));
        };
        copy(&self.thread, &thread.values());
        copy(&self.link, &link.values());
        copy(&self.sync, &sync);
        copy(&self.frames, &ledger.counts.values());
        copy(
            &self.bad,
            &BadReason::ALL.iter().map(|reason| ledger.bad.of(*reason)).collect::<ReasonCounts>().0,
        );
        for (ids, (_, counts)) in self.vcs.iter().zip(chain.vcs()) {
            copy(ids, &counts.values());
        }
    }
}

/// Collects without allocating.
struct ReasonCounts([u64; BadReason::ALL.len()]);

impl FromIterator<u64> for ReasonCounts {
    fn from_iter<I: IntoIterator<Item = u64>>(counts: I) -> ReasonCounts {
        let mut array = [0; BadReason::ALL.len()];
        array.iter_mut().zip(counts).for_each(|(slot, count)| *slot = count);
        ReasonCounts(array)
    }
}

/// Everything a page says at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkReading {
    values: Vec<(String, MetricValue)>,
}

impl LinkReading {
    pub(crate) fn of(reader: &MetricReader) -> LinkReading {
        LinkReading { values: reader.iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.values.iter().find(|(found, _)| found == name) {
            Some((_, MetricValue::Counter(value) | MetricValue::Gauge(value))) => *value,
            _ => 0,
        }
    }

    pub(crate) fn values(&self) -> &[(String, MetricValue)] {
        &self.values
    }

    pub(crate) fn state(&self) -> &'static str {
        LINK_STATES.get(self.number("link.state") as usize).copied().unwrap_or("unknown")
    }

    pub(crate) fn sync_state(&self) -> &'static str {
        SYNC_STATES.get(self.number("sync.state") as usize).copied().unwrap_or("unknown")
    }

    /// Counters whose name begins with `prefix` and a dot, without it.
    pub(crate) fn named(&self, prefix: &str) -> Vec<NamedCount> {
        let counters = self.values.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?.strip_prefix('.')?;
            match value {
                MetricValue::Counter(value) => Some(NamedCount { name: name.to_owned(), value: *value }),
                MetricValue::Gauge(_) | MetricValue::Histogram(_) => None,
            }
        });
        counters.collect()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let counts =
            Counts::from_values(Counts::NAMES.iter().map(|name| self.number(&format!("chain.{name}"))));
        let mut ledger = Ledger { counts, ..Ledger::default() };
        for reason in BadReason::ALL {
            ledger.bad.set(*reason, self.number(&format!("bad.{}", reason.name())));
        }
        ledger
    }

    pub(crate) fn vcs(&self, channel: &ChannelConfig, counts: &CounterReading) -> Vec<VcStatus> {
        let statuses = channel.vcs.iter().map(|vc| {
            let prefix = format!("vc.{}.{}", channel.scid, vc.id);
            let numbers = VcLedger::NAMES.iter().map(|name| self.number(&format!("{prefix}.{name}")));
            VcStatus {
                gvcid: format!("{}/{}", channel.scid, vc.id),
                name: vc.name.clone(),
                service: serde_json::to_value(vc.service)
                    .ok()
                    .and_then(|service| service.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                ledger: VcLedger::from_values(numbers),
                last_count: counts.last(channel.scid, vc.id),
            }
        });
        statuses.collect()
    }

    pub(crate) fn latency(&self) -> Vec<LatencyStatus> {
        let statuses = STAGES.iter().filter_map(|stage| {
            let (_, MetricValue::Histogram(histogram)) =
                self.values.iter().find(|(name, _)| *name == format!("latency.{stage}_ns"))?
            else {
                return None;
            };
            let max_ns = self.number(&format!("latency.{stage}_max_ns"));
            let fine = to_hdr(histogram, max_ns);
            Some(LatencyStatus {
                stage: (*stage).to_owned(),
                count: histogram.count,
                p50_ns: fine.value_at_quantile(0.5),
                p99_ns: fine.value_at_quantile(0.99),
                p999_ns: fine.value_at_quantile(0.999),
                max_ns,
            })
        });
        statuses.collect()
    }
}

/// Every value at the upper end of its power of two, none above the largest ever seen: percentiles err upwards.
fn to_hdr(histogram: &Log2Hist, max_ns: u64) -> Histogram<u64> {
    // 0 to 2^62 ns with two digits always makes a histogram; if it ever did not, an empty one is told.
    let Ok(mut fine) = Histogram::<u64>::new_with_bounds(1, 1 << 62, 2) else {
        return Histogram::new(1).unwrap_or_else(|_| unreachable!("one digit is always accepted"));
    };
    for (bucket, count) in histogram.buckets.iter().enumerate() {
        if *count > 0 {
            fine.saturating_record_n(bucket_end(bucket).min(max_ns).clamp(1, 1 << 62), *count);
        }
    }
    fine
}

/// Last counts of the virtual channels, out of the page that survives a restart.
#[derive(Debug, Clone, Default)]
pub(crate) struct CounterReading(LinkReading);

impl CounterReading {
    pub(crate) fn of(reader: &MetricReader) -> CounterReading {
        CounterReading(LinkReading::of(reader))
    }

    fn last(&self, scid: u16, vcid: u8) -> Option<u32> {
        self.0.number(&format!("next.{scid}.{vcid}")).checked_sub(1).map(|count| count as u32)
    }
}
