//! Looking after index files: health and metrics say which were damaged, and what could not be made again is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_catalogue::{IndexFigures, Indexes};
use fep_kit::Stop;
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use prometheus::{IntCounterVec, IntGaugeVec};

use crate::service::Service;

/// How often health and metrics follow.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what could not be made is tried again.
const MEND_EVERY: Duration = Duration::from_secs(60);
/// How long health speaks of a damaged file that is made again: where one was, a disk may be going.
const SPEAK_OF_IT: Duration = Duration::from_secs(3600);

/// Counters of index files.
pub(crate) struct Counts {
    files: IntCounterVec,
    damaged: IntGaugeVec,
}

impl Counts {
    pub(crate) fn new(metrics: &Metrics) -> Result<Counts, prometheus::Error> {
        let help = "Damaged index files that were met, and that were made again from their segments.";
        let files = metrics.counters("index_files", help, &["what"])?;
        let help = "Index files that are damaged and not made again yet.";
        let damaged = metrics.gauges("index_files_damaged", help, &[])?;
        for what in ["found_damaged", "made_again"] {
            files.with_label_values(&[what]).inc_by(0);
        }
        damaged.with_label_values::<&str>(&[]).set(0);
        Ok(Counts { files, damaged })
    }
}

/// Looks until `stop`.
pub(crate) async fn run(service: Arc<Service>, counts: Counts, stop: Stop) {
    let indexes = &service.archive.indexes;
    let mut watch = Watch { seen: IndexFigures::default(), last: None };
    let mut mended = Instant::now();
    while !stop.is_stopping() {
        watch.look(indexes, &service.health, &counts);
        if mended.elapsed() >= MEND_EVERY {
            mended = Instant::now();
            if let Err(error) = indexes.mend().await {
                tracing::warn!(%error, "damaged index files cannot be made again now");
            }
        }
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

struct Watch {
    seen: IndexFigures,
    /// When the last one was met.
    last: Option<Instant>,
}

impl Watch {
    fn look(&mut self, indexes: &Indexes, health: &Health, counts: &Counts) {
        let now = indexes.figures();
        let count = |what: &str, number: u64| counts.files.with_label_values(&[what]).inc_by(number);
        count("found_damaged", now.found - self.seen.found);
        count("made_again", now.made - self.seen.made);
        counts.damaged.with_label_values::<&str>(&[]).set(now.damaged as i64);
        if now.found > self.seen.found {
            self.last = Some(Instant::now());
        }
        let damaged = indexes.damaged();
        let hint = "answers come from the segments meanwhile";
        match (damaged.first(), &now.last) {
            (Some(first), _) => {
                let others = damaged.len() - 1;
                let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
                let why = first.not_made.as_ref().map_or_else(
                    || "it is being made again".to_owned(),
                    |why| format!("it cannot be made again: {why}; that is tried every minute"),
                );
                let detail = format!("{}: {}{more}; {why}; {hint}", first.file.key, first.problem);
                health.warning("index", detail);
            }
            (None, Some(last)) if self.last.is_some_and(|at| at.elapsed() < SPEAK_OF_IT) => {
                health.warning("index", format!("{last}; it is made again: look at the disk of the store"));
            }
            _ => health.well("index"),
        }
        self.seen = now;
    }
}
