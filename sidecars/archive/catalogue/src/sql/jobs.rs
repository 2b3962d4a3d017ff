//! Jobs ([`fep_jobs`]): scrubs and backups.

use fep_jobs::{Filter, Job, JobState, NewJob, PAGE_MAX, Restart};
use fep_time::Tai;

use super::Catalogue;
use super::rows::int;
use crate::Error;

impl Catalogue {
    /// Asks for work of a kind, unless such work waits or runs already. It is done again from its beginning after a kill.
    ///
    /// # Errors
    /// [`Error::Refused`] while one of the kind is not over; the database.
    pub async fn add_job(
        &self,
        kind: &str,
        arguments: &str,
        person: &str,
        now_tai_ns: i64,
    ) -> Result<Job, Error> {
        let mut writing = self.begin("adding a job").await?;
        for state in [JobState::Queued, JobState::Running] {
            let filter =
                Filter { state: Some(state), kind: Some(kind.to_owned()), limit: 1, ..Filter::default() };
            if let Some(job) = fep_jobs::list(&mut writing, &filter).await?.first() {
                return Err(Error::refused(kind, format!("job {} of this kind is {state}", job.id)));
            }
        }
        // Jobs are never removed: their number counts their names.
        let row = sqlx::query("SELECT COUNT(*) AS names FROM kit_jobs")
            .fetch_one(&mut *writing)
            .await
            .map_err(Error::sql("finding a free name"))?;
        let new = NewJob {
            id: (int(&row, "names")? + 1).to_string(),
            kind: kind.to_owned(),
            arguments: arguments.to_owned(),
            person: person.to_owned(),
            restart: Restart::Resume,
        };
        let job = fep_jobs::add(&mut writing, new, Tai(now_tai_ns)).await?;
        writing.commit().await?;
        Ok(job)
    }

    /// All jobs, the oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        let mut reading = self.database.read("listing jobs").await?;
        let mut filter = Filter::default();
        let mut jobs = Vec::new();
        loop {
            let page = fep_jobs::list(&mut reading, &filter).await?;
            let is_last = page.len() < PAGE_MAX as usize;
            filter.after = page.last().map(|job| (job.created_at, job.id.clone()));
            jobs.extend(page);
            if is_last {
                return Ok(jobs);
            }
        }
    }

    /// One job.
    ///
    /// # Errors
    /// None of that name; the database.
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        let mut reading = self.database.read("looking for a job").await?;
        Ok(fep_jobs::get(&mut reading, id).await?)
    }

    /// Cancels a job: one that waits is over, one that runs ends before its next segment.
    ///
    /// # Errors
    /// None of that name; over already; the database.
    pub async fn cancel_job(&self, id: &str, now_tai_ns: i64) -> Result<Job, Error> {
        let mut writing = self.begin("cancelling a job").await?;
        let job = fep_jobs::cancel(&mut writing, id, Tai(now_tai_ns)).await?;
        writing.commit().await?;
        Ok(job)
    }

    /// After a restore: jobs that were waiting or running when the backup was made (the backup itself) are over.
    pub(crate) async fn cancel_jobs(&self, now_tai_ns: i64) -> Result<(), Error> {
        let mut writing = self.begin("cancelling jobs").await?;
        let mut kinds = Vec::new();
        for state in [JobState::Queued, JobState::Running] {
            let filter = Filter { state: Some(state), ..Filter::default() };
            for job in fep_jobs::list(&mut writing, &filter).await? {
                fep_jobs::cancel(&mut writing, &job.id, Tai(now_tai_ns)).await?;
                kinds.push(job.kind);
            }
        }
        // Nobody runs them: what is asked to stop has stopped.
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        fep_jobs::recover(&mut writing, &kinds, Tai(now_tai_ns)).await?;
        Ok(writing.commit().await?)
    }
}
