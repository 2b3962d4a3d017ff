//! The recorder's metric page, `recorder`, beside the rings: totals, and a few figures for every ring.

use std::path::Path;

use fep_bus::{BusError, MetricId, MetricPage, MetricSet};

use crate::space::{Space, SpaceLevel};
use crate::stream::StreamRecorder;

/// Figures of one ring; with the longest name of a ring a metric's name still fits its 47 octets.
const OF_RING: [&str; 7] = ["records", "octets", "lost", "lag", "p99_us", "max_us", "full"];

/// The page, laid out for a set of rings.
pub(crate) struct Figures {
    page: MetricPage,
    totals: Vec<MetricId>,
    rings: Vec<Vec<MetricId>>,
}

const TOTALS: [&str; 11] = [
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
];

impl Figures {
    /// Lays the page out anew.
    pub(crate) fn create(rings: &Path, streams: &[StreamRecorder]) -> Result<Figures, BusError> {
        let mut set = MetricSet::new();
        let totals = TOTALS
            .iter()
            .map(|name| match *name {
                "rings" | "lag_records" | "disk_free_octets" | "disk_level" => set.gauge(*name),
                _ => set.counter(*name),
            })
            .collect();
        let rings_of = streams
            .iter()
            .map(|stream| {
                let ring = stream.stream().to_string();
                OF_RING
                    .iter()
                    .map(|name| match *name {
                        "records" | "octets" | "lost" => set.counter(format!("{ring}.{name}")),
                        _ => set.gauge(format!("{ring}.{name}")),
                    })
                    .collect()
            })
            .collect();
        Ok(Figures { page: MetricPage::create(rings, "recorder", &set)?, totals, rings: rings_of })
    }

    /// Writes everything.
    pub(crate) fn update(&mut self, streams: &mut [StreamRecorder], space: Option<Space>, level: SpaceLevel) {
        let mut totals = [0; TOTALS.len()];
        totals[0] = streams.len() as u64;
        for (stream, ids) in streams.iter_mut().zip(&self.rings) {
            let max_us = stream.take_latency_max_ns() / 1000;
            let (lost_records, lost_octets) = stream.lost();
            let (lag, full) = (stream.lag_records(), u64::from(stream.is_full()));
            let figures = stream.figures();
            let p99_us = figures.durable_latency_ns.value_at_quantile(0.99) / 1000;
            let values = [figures.records, figures.octets, lost_records, lag, p99_us, max_us, full];
            for (id, value) in ids.iter().zip(values) {
                self.page.set(*id, value);
            }
            for (total, value) in totals[1..].iter_mut().zip([
                figures.records,
                figures.octets,
                lost_records,
                lost_octets,
                lag,
                figures.commits,
                figures.segments,
                figures.reopened,
            ]) {
                *total += value;
            }
        }
        totals[9] = space.map_or(0, |space| space.free_octets);
        totals[10] = level as u64;
        for (id, value) in self.totals.iter().zip(totals) {
            self.page.set(*id, value);
        }
    }
}
