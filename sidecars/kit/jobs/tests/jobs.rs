//! Jobs on both engines: done, failed, cancelled, killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fep_database::Database;
use fep_database::testing::{Place, cut};
use fep_jobs::{
    ATTEMPTS_MAX, Error, Filter, Job, JobState, NewJob, Outcome, Progress, Restart, Runner, SCHEMA, add,
    cancel, claim, finish, get, list, recover, report,
};
use fep_time::Tai;
use tokio::sync::Notify;

const NOW: Tai = Tai(2_000_000_000_000_000_000);

fn new(id: &str, kind: &str, restart: Restart) -> NewJob {
    NewJob {
        id: id.to_owned(),
        kind: kind.to_owned(),
        arguments: "{}".to_owned(),
        person: "anna".to_owned(),
        restart,
    }
}

async fn put(database: &Database, job: NewJob) -> Job {
    let mut writing = database.begin("adding").await.unwrap();
    let job = add(&mut writing, job, NOW).await.unwrap();
    writing.commit().await.unwrap();
    job
}

async fn look(database: &Database, id: &str) -> Job {
    let mut writing = database.begin("looking").await.unwrap();
    get(&mut writing, id).await.unwrap()
}

/// Waits until a job is as wanted; a test that waits in vain is ended by its harness.
async fn until(database: &Database, id: &str, wanted: impl Fn(&Job) -> bool) -> Job {
    loop {
        let job = look(database, id).await;
        if wanted(&job) {
            return job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

// REQ: FEP-KIT-240
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_done_with_their_progress_and_one_that_fails_or_panics_says_why() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        for (id, kind) in [("good", "good"), ("bad", "bad"), ("panics", "panics"), ("other", "nobody's")] {
            put(&database, new(id, kind, Restart::Fail)).await;
        }
        let stop = Arc::new(Notify::new());
        let runner = Runner::new(database.clone(), 2)
            .kind("good", |running| async move {
                let progress = Progress { done: 3, total: Some(7), note: "half\0way".to_owned() };
                running.progress(progress).await.map_err(|stopped| stopped.to_string())?;
                Ok(format!("{} is done", running.job().id))
            })
            .kind("bad", |_| async { Err("no room on the disk".to_owned()) })
            .kind("panics", |_| async { panic!("on purpose") });
        let task = tokio::spawn(runner.run({
            let stop = stop.clone();
            async move { stop.notified().await }
        }));
        let ended = |job: &Job| job.ended_at.is_some();
        let good = until(&database, "good", ended).await;
        assert_eq!((good.state, good.outcome.as_str(), good.attempts), (JobState::Done, "good is done", 1));
        assert_eq!(good.progress, Progress { done: 3, total: Some(7), note: "halfway".to_owned() });
        let bad = until(&database, "bad", ended).await;
        assert_eq!((bad.state, bad.outcome.as_str()), (JobState::Failed, "no room on the disk"));
        let panics = until(&database, "panics", ended).await;
        assert_eq!(panics.state, JobState::Failed);
        assert!(panics.outcome.starts_with("a fault of the program"), "{panics:?}");
        assert_eq!(look(&database, "other").await.state, JobState::Queued);
        stop.notify_one();
        task.await.unwrap().unwrap();
    }
}

// REQ: FEP-KIT-241
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_running_when_its_process_died_is_resumed_or_failed_by_its_kind() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        put(&database, new("again", "work", Restart::Resume)).await;
        put(&database, new("once", "work", Restart::Fail)).await;
        // The first process never ends its jobs, and dies.
        let never = Runner::new(database.clone(), 2).kind("work", |_| std::future::pending());
        let task = tokio::spawn(never.run(std::future::pending()));
        for id in ["again", "once"] {
            until(&database, id, |job| job.state == JobState::Running).await;
        }
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        database.close().await;
        // The next one.
        let database = place.open(&[SCHEMA]).await;
        let starts = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(Notify::new());
        let runner = Runner::new(database.clone(), 2).kind("work", {
            let starts = starts.clone();
            move |running| {
                starts.fetch_add(1, Ordering::Relaxed);
                async move { Ok(format!("attempt {}", running.job().attempts)) }
            }
        });
        let task = tokio::spawn(runner.run({
            let stop = stop.clone();
            async move { stop.notified().await }
        }));
        let again = until(&database, "again", |job| job.ended_at.is_some()).await;
        assert_eq!((again.state, again.outcome.as_str()), (JobState::Done, "attempt 2"));
        let once = look(&database, "once").await;
        assert_eq!((once.state, once.attempts), (JobState::Failed, 1));
        assert!(once.outcome.contains("the service ended while it ran"), "{once:?}");
        stop.notify_one();
        task.await.unwrap().unwrap();
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }
}

// REQ: FEP-KIT-241
#[tokio::test]
async fn a_job_that_kills_its_process_again_and_again_is_given_up_and_a_former_attempt_changes_nothing() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        put(&database, new("deadly", "work", Restart::Resume)).await;
        for attempt in 1..=ATTEMPTS_MAX {
            let mut writing = database.begin("running").await.unwrap();
            let job = claim(&mut writing, &["work"], NOW).await.unwrap().expect("it is in the queue");
            assert_eq!(job.attempts, attempt);
            if attempt > 1 {
                let late = report(&mut writing, "deadly", attempt - 1, &Progress::default()).await;
                assert!(matches!(late, Err(Error::NotRunning { .. })), "{late:?}");
                let done = Outcome::Done(String::new());
                let late = finish(&mut writing, "deadly", attempt - 1, &done, NOW).await;
                assert!(matches!(late, Err(Error::NotRunning { .. })), "{late:?}");
            }
            assert!(recover(&mut writing, &["other"], NOW).await.unwrap().is_empty());
            assert_eq!(recover(&mut writing, &["work"], NOW).await.unwrap().len(), 1);
            writing.commit().await.unwrap();
        }
        let job = look(&database, "deadly").await;
        assert_eq!(job.state, JobState::Failed);
        assert!(job.outcome.contains("5 times"), "{job:?}");
    }
}

// REQ: FEP-KIT-242
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_cancelled_while_it_waits_while_it_runs_and_when_its_process_died_meanwhile() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        let cancel_it = async |id: &str| {
            let mut writing = database.begin("cancelling").await.unwrap();
            let cancelled = cancel(&mut writing, id, NOW).await;
            writing.commit().await.unwrap();
            cancelled
        };
        put(&database, new("waits", "work", Restart::Fail)).await;
        assert_eq!(cancel_it("waits").await.unwrap().state, JobState::Cancelled);
        assert!(matches!(cancel_it("waits").await, Err(Error::Over { .. })));
        assert!(matches!(cancel_it("nothing").await, Err(Error::NotFound { .. })));

        put(&database, new("runs", "work", Restart::Resume)).await;
        let runner = Runner::new(database.clone(), 1).kind("work", |running| async move {
            for done in 0.. {
                let progress = Progress { done, ..Progress::default() };
                running.progress(progress).await.map_err(|stopped| stopped.to_string())?;
            }
            Ok(String::new())
        });
        let task = tokio::spawn(runner.run(std::future::pending()));
        until(&database, "runs", |job| job.progress.done > 2).await;
        assert!(cancel_it("runs").await.unwrap().cancel_asked);
        let job = until(&database, "runs", |job| job.ended_at.is_some()).await;
        assert_eq!(job.state, JobState::Cancelled);
        task.abort();

        put(&database, new("killed", "other", Restart::Resume)).await;
        let mut writing = database.begin("running").await.unwrap();
        claim(&mut writing, &["other"], NOW).await.unwrap().expect("it is in the queue");
        cancel(&mut writing, "killed", NOW).await.unwrap();
        assert_eq!(recover(&mut writing, &["other"], NOW).await.unwrap()[0].state, JobState::Cancelled);
    }
}

// REQ: FEP-KIT-240, FEP-KIT-241
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_step_of_a_job_is_cut_it_is_done_whole_or_not_at_all() {
    async fn step(database: &Database, number: usize) -> Result<(), Error> {
        let mut writing = database.begin("a step").await?;
        match number {
            0 => drop(add(&mut writing, new("J", "work", Restart::Resume), NOW).await?),
            1 => drop(claim(&mut writing, &["work"], NOW).await?),
            2 => drop(recover(&mut writing, &["work"], NOW).await?),
            3 => drop(claim(&mut writing, &["work"], NOW).await?),
            _ => drop(finish(&mut writing, "J", 2, &Outcome::Done("x".to_owned()), NOW).await?),
        }
        Ok(writing.commit().await?)
    }
    let states = [JobState::Queued, JobState::Running, JobState::Queued, JobState::Running, JobState::Done];
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        for (number, wanted) in states.into_iter().enumerate() {
            for polls in 0.. {
                let ended = cut(polls, step(&database, number)).await;
                let mut writing = database.begin("looking").await.unwrap();
                let jobs = list(&mut writing, &Filter::default()).await.unwrap();
                let state = jobs.first().map(|job| (job.state, job.attempts, job.outcome.as_str()));
                let attempts = [0, 1, 1, 2, 2][number];
                let after = Some((wanted, attempts, if number == 4 { "x" } else { "" }));
                if state == after {
                    break;
                }
                assert!(ended.is_none(), "step {number} ended: {state:?}");
                let before =
                    number.checked_sub(1).map(|before| (states[before], [0, 1, 1, 2, 2][before], ""));
                assert_eq!(state, before, "step {number}, cut at {polls}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_of_another_is_not_taken_for_ones_own_and_what_cannot_be_is_refused() {
    let place = Place::sqlite();
    let database = place.open(&[SCHEMA]).await;
    put(&database, new("J", "work", Restart::Fail)).await;
    assert_eq!(put(&database, new("J", "work", Restart::Fail)).await.id, "J");
    let mut writing = database.begin("adding").await.unwrap();
    let other = NewJob { person: "bert".to_owned(), ..new("J", "work", Restart::Fail) };
    assert!(matches!(add(&mut writing, other, NOW).await, Err(Error::Taken { .. })));
    for (field, bad) in [
        ("id", new("", "work", Restart::Fail)),
        ("kind", new("x", &"k".repeat(65), Restart::Fail)),
        ("person", NewJob { person: String::new(), ..new("x", "work", Restart::Fail) }),
        ("arguments", NewJob { arguments: "\0".to_owned(), ..new("x", "work", Restart::Fail) }),
    ] {
        let refused = add(&mut writing, bad, NOW).await.expect_err("refused").to_string();
        assert!(refused.starts_with(&format!("job: {field}: ")), "{refused}");
    }
    let filter = Filter { state: Some(JobState::Queued), kind: Some("work".to_owned()), ..Filter::default() };
    assert_eq!(list(&mut writing, &filter).await.unwrap().len(), 1);
    assert!(list(&mut writing, &Filter { state: Some(JobState::Done), ..filter }).await.unwrap().is_empty());
}
