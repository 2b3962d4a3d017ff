//! Long work in the background: scrubs and backups, one of a kind at a time, with progress.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::service::now_tai_ns;

/// Jobs that are over are kept to be looked at, the last so many.
const OVER_KEPT: usize = 32;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// At work.
    Running,
    /// At its end; what it found is in its report.
    Done,
    /// It could not go on.
    Failed,
}

/// A job as shown.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// `scrub` or `backup`.
    pub kind: &'static str,
    /// Who started it.
    pub person: String,
    /// When.
    pub started_tai_ns: i64,
    /// When it came to its end.
    pub ended_tai_ns: Option<i64>,
    /// Where it stands.
    pub state: JobState,
    /// Segments to do, as known at its start.
    pub segments: u64,
    /// Segments done.
    pub segments_done: u64,
    /// What it has found or done so far.
    pub report: Value,
    /// Why it failed.
    pub problem: Option<String>,
}

/// All jobs. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    jobs: Arc<Mutex<BTreeMap<u64, Job>>>,
}

/// How a running job tells how far it is.
#[derive(Debug, Clone)]
pub struct Progress {
    jobs: Jobs,
    id: u64,
}

impl Progress {
    /// One segment more is done; the report as it is now.
    pub fn segment(&self, report: &impl Serialize) {
        self.jobs.change(self.id, |job| {
            job.segments_done += 1;
            job.report = serde_json::to_value(report).unwrap_or_default();
        });
    }
}

impl Jobs {
    /// Starts `work`; `None` when one of this kind is running.
    pub fn start<R, E, F>(
        &self,
        kind: &'static str,
        person: &str,
        segments: u64,
        work: impl FnOnce(Progress) -> F,
    ) -> Option<Job>
    where
        R: Serialize + Send + 'static,
        E: std::fmt::Display,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let job = {
            let mut jobs = self.lock();
            if jobs.values().any(|job| job.kind == kind && job.state == JobState::Running) {
                return None;
            }
            let over: Vec<u64> =
                jobs.values().filter(|job| job.state != JobState::Running).map(|job| job.id).collect();
            for id in over.iter().take(over.len().saturating_sub(OVER_KEPT)) {
                jobs.remove(id);
            }
            let job = Job {
                id: jobs.keys().last().map_or(1, |last| last + 1),
                kind,
                person: person.to_owned(),
                started_tai_ns: now_tai_ns(),
                ended_tai_ns: None,
                state: JobState::Running,
                segments,
                segments_done: 0,
                report: Value::Null,
                problem: None,
            };
            jobs.insert(job.id, job.clone());
            job
        };
        let (jobs, id) = (self.clone(), job.id);
        let work = work(Progress { jobs: self.clone(), id });
        // A task of its own within: what panics is a failed job, not one that runs for ever.
        let work = tokio::spawn(async move { work.await.map_err(|error| error.to_string()) });
        tokio::spawn(async move {
            let result = work.await.unwrap_or_else(|error| Err(format!("it ended early: {error}")));
            jobs.change(id, |job| {
                job.ended_tai_ns = Some(now_tai_ns());
                match result {
                    Ok(report) => {
                        job.state = JobState::Done;
                        job.report = serde_json::to_value(report).unwrap_or_default();
                    }
                    Err(problem) => {
                        job.state = JobState::Failed;
                        job.problem = Some(problem);
                    }
                }
            });
        });
        Some(job)
    }

    /// All jobs, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Job> {
        self.lock().values().cloned().collect()
    }

    /// One job.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Job> {
        self.lock().get(&id).cloned()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().get_mut(&id) {
            change(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ended(jobs: &Jobs, id: u64) -> Job {
        loop {
            match jobs.get(id) {
                Some(job) if job.state != JobState::Running => return job,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn one_job_of_a_kind_runs_at_a_time_and_its_end_is_kept() {
        let jobs = Jobs::default();
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let first = jobs.start("scrub", "anna", 2, |progress| async move {
            progress.segment(&"half");
            wait.await.map(|()| "whole")
        });
        let first = first.expect("nothing runs yet");
        let refused = jobs.start("scrub", "bert", 2, |_| async { Ok::<_, String>(()) });
        assert!(refused.is_none());
        let other =
            jobs.start("backup", "bert", 0, |_| async { Err::<(), _>("no room") }).expect("another kind");
        assert_eq!(ended(&jobs, other.id).await.problem.as_deref(), Some("no room"));
        release.send(()).expect("it waits");
        let done = ended(&jobs, first.id).await;
        assert_eq!((done.state, done.segments_done, done.report), (JobState::Done, 1, Value::from("whole")));
        assert!(jobs.start("scrub", "bert", 0, |_| async { Ok::<_, String>(()) }).is_some());
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let jobs = Jobs::default();
        let work = |_| async {
            assert!(std::hint::black_box(false), "a mistake");
            Ok::<_, String>(())
        };
        let job = jobs.start("scrub", "anna", 0, work).expect("nothing runs yet");
        assert_eq!(ended(&jobs, job.id).await.state, JobState::Failed);
    }
}
