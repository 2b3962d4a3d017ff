//! Long work in the background: scrubs and backups, by [`fep_jobs`]. They are in the catalogue's database: a job that was
//! interrupted by a kill is done again, from its beginning, at the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fep_catalogue::{BackupReport, Keeper, ScrubReport, SegmentFilter, Store, StoreConfig};
use fep_jobs::{JobState, Progress, Runner, Running};
use fep_kit::Stop;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::events::{ArchiveEvent, Events};
use crate::service::{Service, now_tai_ns};

/// Kind of the jobs that scrub.
pub const SCRUB: &str = "archive.scrub";
/// Kind of the jobs that back up.
pub const BACKUP: &str = "archive.backup";

/// How often a job notes how far it is, and looks whether somebody cancelled it.
const NOTE_EVERY: Duration = Duration::from_millis(500);
/// An outcome is no longer than this, so that the database keeps all of it.
const OUTCOME_LIMIT_OCTETS: usize = 4000;
/// Findings that an outcome lists; the log has all of them, the catalogue what is in quarantine.
const LISTED: usize = 20;

/// What a scrub is asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScrubArguments {
    /// Only segments of this ring.
    pub ring: Option<String>,
}

/// What a backup is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupArguments {
    /// One of `retention.backups`.
    pub place: String,
}

/// A job as shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Job {
    /// Its number.
    pub id: Value,
    /// `scrub` or `backup`.
    pub kind: String,
    /// Who asked for it.
    pub person: String,
    /// When.
    pub created_tai_ns: i64,
    /// When it was started for the last time.
    pub started_tai_ns: Option<i64>,
    /// When it came to its end.
    pub ended_tai_ns: Option<i64>,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: JobState,
    /// Whether somebody wants it to stop.
    pub cancel_asked: bool,
    /// How often it was started: more than once after a kill.
    pub attempts: u32,
    /// Segments to do, as known at its start.
    pub segments: Option<u64>,
    /// Segments done.
    pub segments_done: u64,
    /// What it has found or done so far.
    pub report: Value,
    /// Why it failed.
    pub problem: Option<String>,
}

impl From<fep_jobs::Job> for Job {
    fn from(job: fep_jobs::Job) -> Job {
        let is = |state| job.state == state;
        let report = if is(JobState::Done) { &job.outcome } else { &job.progress.note };
        Job {
            id: job.id.parse::<u64>().map_or_else(|_| job.id.clone().into(), Value::from),
            kind: job.kind.strip_prefix("archive.").unwrap_or(&job.kind).to_owned(),
            report: serde_json::from_str(report).unwrap_or_default(),
            problem: is(JobState::Failed).then(|| job.outcome.clone()),
            person: job.person,
            created_tai_ns: job.created_at.0,
            started_tai_ns: job.started_at.map(|at| at.0),
            ended_tai_ns: job.ended_at.map(|at| at.0),
            state: job.state,
            cancel_asked: job.cancel_asked,
            attempts: job.attempts,
            segments: job.progress.total,
            segments_done: job.progress.done,
        }
    }
}

/// Does scrubs and backups until `stop`. What a former process left running is begun again.
///
/// # Errors
/// The database, when it does not answer at the start.
pub(crate) async fn run(service: Arc<Service>, events: Events, stop: Stop) -> Result<(), fep_jobs::Error> {
    let database = service.archive.catalogue.database().clone();
    let (scrubs, backups) = (Arc::clone(&service), service);
    // One of each kind: more of a kind are not taken.
    Runner::new(database, 2)
        .kind(SCRUB, move |running| scrub(Arc::clone(&scrubs), running))
        .kind(BACKUP, move |running| {
            let (service, events) = (Arc::clone(&backups), events.clone());
            async move {
                let done = back_up(service, running).await;
                if let Err(reason) = &done {
                    events.report(ArchiveEvent::BackupFailed, json!({"reason": reason}));
                }
                done
            }
        })
        .run(stop.wait())
        .await
}

async fn scrub(service: Arc<Service>, running: Running) -> Result<String, String> {
    let arguments: ScrubArguments =
        serde_json::from_str(&running.job().arguments).map_err(|error| error.to_string())?;
    let filter = SegmentFilter { ring: arguments.ring, ..SegmentFilter::default() };
    watched(&service, &running, &filter, async |keeper, told| {
        let report =
            keeper.scrub(&filter, now_tai_ns(), |report| told.segment(brief_scrub(report, 0))).await?;
        for finding in &report.findings {
            let end = if finding.repaired { "repaired" } else { "not repaired" };
            tracing::warn!("scrub: {}: {}: {} ({end})", finding.segment, finding.place, finding.problem);
        }
        Ok(fitting(|listed| brief_scrub(&report, listed)))
    })
    .await
}

async fn back_up(service: Arc<Service>, running: Running) -> Result<String, String> {
    let arguments: BackupArguments =
        serde_json::from_str(&running.job().arguments).map_err(|error| error.to_string())?;
    // The configuration may be another one than when it was asked for.
    if !service.config.retention.backups.contains(&arguments.place) {
        return Err(format!("{} is none of retention.backups", arguments.place));
    }
    let config = StoreConfig { url: arguments.place, ..service.config.store.clone() };
    let target = Store::open(&config).map_err(|error| error.to_string())?;
    watched(&service, &running, &SegmentFilter::default(), async |keeper, told| {
        let report =
            keeper.backup(&target, now_tai_ns(), |report| told.segment(brief_backup(report, 0))).await?;
        for (segment, why) in &report.missing {
            tracing::error!("backup: {segment} is not in it: {why}");
        }
        Ok(fitting(|listed| brief_backup(&report, listed)))
    })
    .await
}

/// How the work of a job says how far it is.
struct Told(watch::Sender<Progress>);

impl Told {
    fn segment(&self, report: Value) {
        self.0.send_modify(|progress| {
            progress.done += 1;
            progress.note = report.to_string();
        });
    }
}

/// Does the work, notes its progress, and stops it before its next segment when it is cancelled.
async fn watched(
    service: &Service,
    running: &Running,
    filter: &SegmentFilter,
    work: impl AsyncFnOnce(Keeper, Told) -> Result<String, fep_catalogue::Error>,
) -> Result<String, String> {
    let text = |error: fep_catalogue::Error| error.to_string();
    let total = service.archive.catalogue.count_segments(filter).await.map_err(text)?;
    let (told, seen) = watch::channel(Progress { total: Some(total), ..Progress::default() });
    let stop = Arc::new(AtomicBool::new(false));
    let work = work(service.keeper.until(Arc::clone(&stop)), Told(told));
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                let last = seen.borrow().clone();
                // It is over: whether somebody cancelled it meanwhile does not matter any more.
                let _ = running.progress(last).await;
                return result.map_err(text);
            }
            () = tokio::time::sleep(NOTE_EVERY) => {}
        }
        let now = seen.borrow().clone();
        if running.progress(now).await.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

/// A report with so many findings that the database keeps all of the text.
fn fitting(report: impl Fn(usize) -> Value) -> String {
    let mut listed = LISTED;
    loop {
        let text = report(listed).to_string();
        if text.len() <= OUTCOME_LIMIT_OCTETS || listed == 0 {
            return text;
        }
        listed /= 2;
    }
}

fn brief_scrub(report: &ScrubReport, listed: usize) -> Value {
    let first = |ids: &[fep_catalogue::SegmentId]| ids.iter().take(listed).cloned().collect::<Vec<_>>();
    json!({
        "segments": report.segments,
        "octets": report.octets,
        "findings_in_all": report.findings.len(),
        "findings": report.findings.iter().take(listed).collect::<Vec<_>>(),
        "quarantined_in_all": report.quarantined.len(),
        "quarantined": first(&report.quarantined),
        "released_in_all": report.released.len(),
        "released": first(&report.released),
    })
}

fn brief_backup(report: &BackupReport, listed: usize) -> Value {
    json!({
        "objects": report.objects,
        "copied": report.copied,
        "octets": report.octets,
        "read_again": report.read_again,
        "replaced_in_all": report.replaced.len(),
        "replaced": report.replaced.iter().take(listed).collect::<Vec<_>>(),
        "missing_in_all": report.missing.len(),
        "missing": report.missing.iter().take(listed).collect::<std::collections::BTreeMap<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_catalogue::{ScrubFinding, SegmentId};

    // REQ: FEP-ARC-158
    #[test]
    fn an_outcome_with_many_findings_is_cut_to_whole_json_that_says_how_many_there_are() {
        let finding = ScrubFinding {
            segment: SegmentId("black/one.frames/0000000000000001-0000000000000000".to_owned()),
            place: "/var/lib/fep/archive/segments/".repeat(10),
            problem: "it is missing".to_owned(),
            repaired: false,
        };
        let report = ScrubReport { findings: vec![finding; 1000], ..ScrubReport::default() };
        let text = fitting(|listed| brief_scrub(&report, listed));
        assert!(text.len() <= OUTCOME_LIMIT_OCTETS);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["findings_in_all"], 1000);
        assert!(value["findings"].as_array().is_some_and(|listed| (1..LISTED).contains(&listed.len())));
    }
}
