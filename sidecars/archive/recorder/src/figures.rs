//! The recorder's metric page, `recorder`, beside the rings: totals, and a few figures for every ring.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use fep_bus::{Access, BusError, MetricId, MetricPage, MetricSet};
use fep_segments::LossCause;

use crate::pending::{Lost, StreamFigures};
use crate::sealer::SealerFigures;
use crate::space::{Space, SpaceLevel};

/// Figures of one ring; with the longest name of a ring a metric's name still fits its 47 octets. `stalled`: 1 the disk is
/// full, 2 it refuses otherwise, 0 neither.
const OF_RING: [&str; 7] = ["records", "octets", "lost", "lag", "p99_us", "max_us", "stalled"];

/// The page, laid out for a set of rings.
pub(crate) struct Figures {
    page: MetricPage,
    totals: Vec<MetricId>,
    rings: BTreeMap<String, Vec<MetricId>>,
}

/// What there is to tell of one ring.
pub(crate) struct RingFigures<'r> {
    pub(crate) ring: String,
    pub(crate) figures: &'r StreamFigures,
    /// Known to be lost, recorded on disk or not yet.
    pub(crate) lost: Lost,
    pub(crate) lag_records: u64,
    /// Since it was last told.
    pub(crate) latency_max_ns: u64,
    pub(crate) standstill: Option<LossCause>,
}

const TOTALS: [&str; 14] = [
    "rings",
    "records",
    "octets",
    "lost_records",
    "lost_octets",
    "lag_records",
    "commits",
    "segments",
    "reopened",
    "disk_free_octets",
    "disk_level",
    "unsealed_segments",
    "damaged_segments",
    "signing_failed",
];

impl Figures {
    /// Lays the page out anew for these rings.
    pub(crate) fn create(directory: &Path, rings: &BTreeSet<String>) -> Result<Figures, BusError> {
        let mut set = MetricSet::new();
        let totals = TOTALS
            .iter()
            .map(|name| match *name {
                "rings" | "lag_records" | "disk_free_octets" | "disk_level" | "unsealed_segments"
                | "damaged_segments" | "signing_failed" => set.gauge(*name),
                _ => set.counter(*name),
            })
            .collect();
        let mut of_ring = |ring: &String| {
            let ids = OF_RING.iter().map(|name| match *name {
                "records" | "octets" | "lost" => set.counter(format!("{ring}.{name}")),
                _ => set.gauge(format!("{ring}.{name}")),
            });
            (ring.clone(), ids.collect())
        };
        let rings = rings.iter().map(&mut of_ring).collect();
        Ok(Figures {
            page: MetricPage::create(directory, "recorder", &set, &Access::default())?,
            totals,
            rings,
        })
    }

    /// Writes everything.
    pub(crate) fn update(
        &mut self,
        told: &[RingFigures<'_>],
        space: Option<Space>,
        level: SpaceLevel,
        sealer: &SealerFigures,
    ) {
        let mut totals = [0; TOTALS.len()];
        totals[0] = told.len() as u64;
        for RingFigures { ring, figures, lost, lag_records, latency_max_ns, standstill } in told {
            let p99_us = figures.durable_latency_ns.value_at_quantile(0.99) / 1000;
            let stalled = match standstill {
                None => 0,
                Some(LossCause::DiskFull) => 1,
                Some(_) => 2,
            };
            let values = [
                figures.records,
                figures.octets,
                lost.records,
                *lag_records,
                p99_us,
                latency_max_ns / 1000,
                stalled,
            ];
            for (id, value) in self.rings.get(ring).into_iter().flatten().zip(values) {
                self.page.set(*id, value);
            }
            for (total, value) in totals[1..].iter_mut().zip([
                figures.records,
                figures.octets,
                lost.records,
                lost.octets,
                *lag_records,
                figures.commits,
                figures.segments,
                figures.reopened,
            ]) {
                *total += value;
            }
        }
        totals[9] = space.map_or(0, |space| space.free_octets);
        totals[10] = level as u64;
        totals[11] = sealer.waiting.load(Ordering::Relaxed);
        totals[12] = sealer.damaged.load(Ordering::Relaxed);
        totals[13] = sealer.signing_failed.load(Ordering::Relaxed);
        for (id, value) in self.totals.iter().zip(totals) {
            self.page.set(*id, value);
        }
    }
}
