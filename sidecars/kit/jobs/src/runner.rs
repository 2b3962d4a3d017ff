//! The part of a process that does the jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fep_database::{Database, Transient};
use fep_time::tai_now;
use futures::future::BoxFuture;
use tokio::task::{Id, JoinSet};

use crate::job::{Job, Outcome, Progress};
use crate::{Error, table};

/// How often the queue is looked at while nothing else happens.
const LOOK_EVERY: Duration = Duration::from_millis(250);

type Handler = Arc<dyn Fn(Running) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Does the jobs of some kinds, a bounded number at once.
pub struct Runner {
    database: Database,
    at_once: usize,
    handlers: BTreeMap<&'static str, Handler>,
}

/// A job that a handler works on.
#[derive(Debug, Clone)]
pub struct Running {
    database: Database,
    job: Job,
}

/// The handler shall stop: return an error soon, whatever its text. What it leaves behind is its affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was cancelled")]
pub struct Stopped;

impl Running {
    /// The job, as it was when it was started.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Notes how far it is. A database that does not answer does not stop the work.
    ///
    /// # Errors
    /// [`Stopped`]: somebody cancelled it, or the attempt is not the one that runs any more.
    pub async fn progress(&self, progress: Progress) -> Result<(), Stopped> {
        const DOING: &str = "noting the progress of a job";
        let noted = self
            .database
            .retry(DOING, || async {
                let mut writing = self.database.begin(DOING).await?;
                let cancel = table::report(&mut writing, &self.job.id, self.job.attempts, &progress).await?;
                writing.commit().await?;
                Ok::<_, Error>(cancel)
            })
            .await;
        match noted {
            Ok(false) => Ok(()),
            Ok(true) | Err(Error::NotRunning { .. } | Error::NotFound { .. }) => Err(Stopped),
            Err(error) => {
                tracing::warn!(%error, "job {}: its progress is not noted", self.job.id);
                Ok(())
            }
        }
    }
}

impl Runner {
    /// A runner without kinds yet. At least one job is done at a time.
    #[must_use]
    pub fn new(database: Database, at_once: usize) -> Runner {
        Runner { database, at_once: at_once.max(1), handlers: BTreeMap::new() }
    }

    /// Jobs of this kind are done by this handler: its text is what came of it, or why it failed. A handler that panics has
    /// failed.
    #[must_use]
    pub fn kind<F>(
        mut self,
        kind: &'static str,
        handler: impl Fn(Running) -> F + Send + Sync + 'static,
    ) -> Runner
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.handlers.insert(kind, Arc::new(move |running| Box::pin(handler(running))));
        self
    }

    /// Recovers what a former process left, and does jobs until `stop`. Handlers that run then are dropped where they wait;
    /// their jobs stay `running`, and the next start recovers them.
    ///
    /// # Errors
    /// The database, when it fails for longer than its patience at the start. Later it is waited for.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let kinds: Vec<&str> = self.handlers.keys().copied().collect();
        self.recover(&kinds).await?;
        let mut tasks: JoinSet<Result<String, String>> = JoinSet::new();
        let mut jobs: BTreeMap<Id, Job> = BTreeMap::new();
        tokio::pin!(stop);
        loop {
            while jobs.len() < self.at_once {
                match self.claim(&kinds).await {
                    Ok(Some(job)) => {
                        let Some(handler) = self.handlers.get(job.kind.as_str()) else { break };
                        let work = handler(Running { database: self.database.clone(), job: job.clone() });
                        jobs.insert(tasks.spawn(work).id(), job);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "no job can be taken from the queue; it is tried again");
                        break;
                    }
                }
            }
            tokio::select! {
                () = &mut stop => {
                    tasks.shutdown().await;
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    let (id, result) = match ended {
                        Ok((id, result)) => (id, result),
                        Err(error) => (error.id(), Err(format!("a fault of the program: {error}"))),
                    };
                    if let Some(job) = jobs.remove(&id) {
                        self.finish(&job, result).await;
                    }
                }
            }
        }
    }

    async fn recover(&self, kinds: &[&str]) -> Result<(), Error> {
        const DOING: &str = "recovering jobs";
        let recovered = self
            .database
            .retry(DOING, || async {
                let mut writing = self.database.begin(DOING).await?;
                let recovered = table::recover(&mut writing, kinds, tai_now()).await?;
                writing.commit().await?;
                Ok::<_, Error>(recovered)
            })
            .await?;
        for job in recovered {
            tracing::warn!(
                "job {} ({}) was interrupted; it is {} now. {}",
                job.id,
                job.kind,
                job.state,
                job.outcome
            );
        }
        Ok(())
    }

    async fn claim(&self, kinds: &[&str]) -> Result<Option<Job>, Error> {
        const DOING: &str = "taking a job from the queue";
        self.database
            .retry(DOING, || async {
                let mut writing = self.database.begin(DOING).await?;
                let job = table::claim(&mut writing, kinds, tai_now()).await?;
                writing.commit().await?;
                Ok(job)
            })
            .await
    }

    /// Notes the end, for as long as the database may come back: otherwise the job would seem to run for ever.
    async fn finish(&self, job: &Job, result: Result<String, String>) {
        const DOING: &str = "ending a job";
        loop {
            let noted = self
                .database
                .retry(DOING, || async {
                    let mut writing = self.database.begin(DOING).await?;
                    let cancelled = table::get(&mut writing, &job.id).await?.cancel_asked;
                    let outcome = match &result {
                        Ok(text) => Outcome::Done(text.clone()),
                        Err(_) if cancelled => Outcome::Cancelled,
                        Err(text) => Outcome::Failed(text.clone()),
                    };
                    table::finish(&mut writing, &job.id, job.attempts, &outcome, tai_now()).await?;
                    writing.commit().await?;
                    Ok::<_, Error>(())
                })
                .await;
            match noted {
                Err(error) if error.is_transient() => {
                    tracing::error!(%error, "job {}: its end is not noted yet; it is tried again", job.id);
                }
                // After a commit whose outcome is not known, the next turn finds it noted, or notes it.
                Err(Error::Database(fep_database::Error::CommitUnknown { .. })) => {}
                Err(Error::NotRunning { .. }) | Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "job {}: its end cannot be noted", job.id);
                    return;
                }
            }
        }
    }
}
