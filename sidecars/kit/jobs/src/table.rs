//! Jobs in the database.

use fep_database::{Migration, Schema, Writing};
use fep_time::Tai;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::Error;
use crate::job::{Job, JobState, NewJob, Outcome, Progress, Restart, fitting};

/// The table of jobs: a module of the service's database.
pub const SCHEMA: Schema = Schema::new(
    "jobs",
    &[Migration::new(
        1,
        "jobs",
        "CREATE TABLE kit_jobs (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            arguments TEXT NOT NULL,
            person TEXT NOT NULL,
            restart TEXT NOT NULL CHECK (restart IN ('resume', 'fail')),
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            done BIGINT NOT NULL,
            total BIGINT,
            note TEXT NOT NULL,
            cancel_asked BIGINT NOT NULL,
            attempts BIGINT NOT NULL,
            created_at BIGINT NOT NULL, -- TAI nanoseconds since 1958-01-01
            started_at BIGINT,
            ended_at BIGINT,
            outcome TEXT NOT NULL,
            CHECK ((ended_at IS NULL) = (state IN ('queued', 'running')))
        );
        CREATE INDEX kit_jobs_by_state ON kit_jobs (state, created_at);",
    )],
);

/// Most jobs of one page.
pub const PAGE_MAX: u32 = 1000;

/// Starts of one job, at most, that may end by a kill.
pub const ATTEMPTS_MAX: u32 = 5;

const OUTCOME_LIMIT_OCTETS: usize = 4096;
const NOTE_LIMIT_OCTETS: usize = 1024;

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that stand here.
    pub state: Option<JobState>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those after this one, for the next page: when it was asked for and its name.
    pub after: Option<(Tai, String)>,
    /// At most so many; 0 or more than [`PAGE_MAX`]: [`PAGE_MAX`].
    pub limit: u32,
}

/// Puts work in the queue, in the caller's transaction. A job of the same name, kind, arguments and person that is there
/// already is the answer to the same question.
///
/// # Errors
/// [`Error::Field`], [`Error::Taken`]; the database.
pub async fn add(writing: &mut Writing, new: NewJob, now: Tai) -> Result<Job, Error> {
    new.check()?;
    if let Some(known) = find(writing, &new.id).await? {
        let same = known.kind == new.kind && known.arguments == new.arguments && known.person == new.person;
        return if same { Ok(known) } else { Err(Error::Taken { id: new.id }) };
    }
    sqlx::query(
        "INSERT INTO kit_jobs (id, kind, arguments, person, restart, state, done, note, cancel_asked, attempts, \
         created_at, outcome) VALUES ($1, $2, $3, $4, $5, 'queued', 0, '', 0, 0, $6, '')",
    )
    .bind(&new.id)
    .bind(&new.kind)
    .bind(&new.arguments)
    .bind(&new.person)
    .bind(new.restart.name())
    .bind(now.0)
    .execute(&mut **writing)
    .await
    .map_err(Error::sql("adding a job"))?;
    get(writing, &new.id).await
}

/// One job.
///
/// # Errors
/// [`Error::NotFound`]; the database.
pub async fn get(connection: &mut AnyConnection, id: &str) -> Result<Job, Error> {
    find(connection, id).await?.ok_or_else(|| Error::NotFound { id: id.to_owned() })
}

/// Jobs by the time of asking, the oldest first.
///
/// # Errors
/// The database.
pub async fn list(connection: &mut AnyConnection, filter: &Filter) -> Result<Vec<Job>, Error> {
    let (after_at, after_id) = filter.after.clone().unwrap_or((Tai(i64::MIN), String::new()));
    let limit = if filter.limit == 0 { PAGE_MAX } else { filter.limit.min(PAGE_MAX) };
    let mut sql =
        "SELECT * FROM kit_jobs WHERE (created_at > $1 OR (created_at = $1 AND id > $2))".to_owned();
    let mut texts = Vec::new();
    let wanted =
        [("state", filter.state.map(|state| state.name().to_owned())), ("kind", filter.kind.clone())];
    for (column, text) in wanted {
        if let Some(text) = text {
            texts.push(text);
            sql.push_str(&format!(" AND {column} = ${}", texts.len() + 2));
        }
    }
    sql.push_str(&format!(" ORDER BY created_at, id LIMIT {limit}"));
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after_at.0).bind(after_id);
    for text in texts {
        query = query.bind(text);
    }
    let rows = query.fetch_all(connection).await.map_err(Error::sql("listing jobs"))?;
    rows.iter().map(job_of).collect()
}

/// Cancels a job: one that waits is over, one that runs is asked to stop.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Over`]; the database.
pub async fn cancel(writing: &mut Writing, id: &str, now: Tai) -> Result<Job, Error> {
    const DOING: &str = "cancelling a job";
    match get(writing, id).await?.state {
        JobState::Queued => end(writing, id, &Outcome::Cancelled, now).await?,
        JobState::Running => {
            sqlx::query("UPDATE kit_jobs SET cancel_asked = 1 WHERE id = $1")
                .bind(id)
                .execute(&mut **writing)
                .await
                .map_err(Error::sql(DOING))?;
        }
        state => return Err(Error::Over { id: id.to_owned(), state }),
    }
    get(writing, id).await
}

/// At the start of a process: what became of its jobs of these kinds that were running when the last one died. Those to
/// resume are in the queue again, the others have failed with the cause.
///
/// # Errors
/// The database.
pub async fn recover(writing: &mut Writing, kinds: &[&str], now: Tai) -> Result<Vec<Job>, Error> {
    const DOING: &str = "recovering jobs";
    let found = sqlx::query("SELECT * FROM kit_jobs WHERE state = 'running' ORDER BY created_at, id")
        .fetch_all(&mut **writing)
        .await
        .map_err(Error::sql(DOING))?;
    let mut recovered = Vec::new();
    for row in &found {
        let job = job_of(row)?;
        if !kinds.contains(&job.kind.as_str()) {
            continue;
        }
        let outcome = match job.restart {
            _ if job.cancel_asked => Some(Outcome::Cancelled),
            Restart::Fail => Some(Outcome::Failed(
                "the service ended while it ran; look what was done, and ask again".to_owned(),
            )),
            Restart::Resume if job.attempts >= ATTEMPTS_MAX => Some(Outcome::Failed(format!(
                "the service ended {ATTEMPTS_MAX} times while it ran: it is not tried again"
            ))),
            Restart::Resume => None,
        };
        match outcome {
            Some(outcome) => end(writing, &job.id, &outcome, now).await?,
            None => {
                sqlx::query("UPDATE kit_jobs SET state = 'queued' WHERE id = $1")
                    .bind(&job.id)
                    .execute(&mut **writing)
                    .await
                    .map_err(Error::sql(DOING))?;
            }
        }
        recovered.push(get(writing, &job.id).await?);
    }
    Ok(recovered)
}

/// Takes the oldest job of these kinds from the queue; it runs from now on.
///
/// # Errors
/// The database.
pub async fn claim(writing: &mut Writing, kinds: &[&str], now: Tai) -> Result<Option<Job>, Error> {
    const DOING: &str = "taking a job from the queue";
    if kinds.is_empty() {
        return Ok(None);
    }
    let places: Vec<String> = (1..=kinds.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT id FROM kit_jobs WHERE state = 'queued' AND kind IN ({}) ORDER BY created_at, id LIMIT 1",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for kind in kinds {
        query = query.bind((*kind).to_owned());
    }
    let Some(row) = query.fetch_optional(&mut **writing).await.map_err(Error::sql(DOING))? else {
        return Ok(None);
    };
    let id: String = row.try_get(0).map_err(Error::sql(DOING))?;
    sqlx::query(
        "UPDATE kit_jobs SET state = 'running', attempts = attempts + 1, started_at = $2 WHERE id = $1",
    )
    .bind(&id)
    .bind(now.0)
    .execute(&mut **writing)
    .await
    .map_err(Error::sql(DOING))?;
    get(writing, &id).await.map(Some)
}

/// Notes how far an attempt is; whether somebody wants it to stop.
///
/// # Errors
/// [`Error::NotRunning`]; the database.
pub async fn report(
    writing: &mut Writing,
    id: &str,
    attempt: u32,
    progress: &Progress,
) -> Result<bool, Error> {
    let job = running(writing, id, attempt).await?;
    let octets = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query("UPDATE kit_jobs SET done = $2, total = $3, note = $4 WHERE id = $1")
        .bind(id)
        .bind(octets(progress.done))
        .bind(progress.total.map(octets))
        .bind(fitting(&progress.note, NOTE_LIMIT_OCTETS))
        .execute(&mut **writing)
        .await
        .map_err(Error::sql("noting the progress of a job"))?;
    Ok(job.cancel_asked)
}

/// Notes how an attempt ended.
///
/// # Errors
/// [`Error::NotRunning`]; the database.
pub async fn finish(
    writing: &mut Writing,
    id: &str,
    attempt: u32,
    outcome: &Outcome,
    now: Tai,
) -> Result<Job, Error> {
    running(writing, id, attempt).await?;
    end(writing, id, outcome, now).await?;
    get(writing, id).await
}

async fn running(writing: &mut Writing, id: &str, attempt: u32) -> Result<Job, Error> {
    let job = get(writing, id).await?;
    if job.state == JobState::Running && job.attempts == attempt {
        return Ok(job);
    }
    Err(Error::NotRunning { id: id.to_owned(), attempt })
}

async fn end(writing: &mut Writing, id: &str, outcome: &Outcome, now: Tai) -> Result<(), Error> {
    let (state, text) = match outcome {
        Outcome::Done(text) => (JobState::Done, text.as_str()),
        Outcome::Failed(text) => (JobState::Failed, text.as_str()),
        Outcome::Cancelled => (JobState::Cancelled, ""),
    };
    sqlx::query("UPDATE kit_jobs SET state = $2, outcome = $3, ended_at = $4 WHERE id = $1")
        .bind(id)
        .bind(state.name())
        .bind(fitting(text, OUTCOME_LIMIT_OCTETS))
        .bind(now.0)
        .execute(&mut **writing)
        .await
        .map_err(Error::sql("ending a job"))?;
    Ok(())
}

async fn find(connection: &mut AnyConnection, id: &str) -> Result<Option<Job>, Error> {
    let row = sqlx::query("SELECT * FROM kit_jobs WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(Error::sql("looking for a job"))?;
    row.as_ref().map(job_of).transpose()
}

fn job_of(row: &AnyRow) -> Result<Job, Error> {
    const DOING: &str = "reading a job";
    let text = |column: &str| row.try_get::<String, _>(column).map_err(Error::sql(DOING));
    let number = |column: &str| row.try_get::<i64, _>(column).map_err(Error::sql(DOING));
    let optional = |column: &str| row.try_get::<Option<i64>, _>(column).map_err(Error::sql(DOING));
    let id = text("id")?;
    let bad = |problem: String| Error::Row { id: id.clone(), problem };
    let state = text("state")?;
    let state = JobState::ALL.into_iter().find(|known| known.name() == state);
    let restart = text("restart")?;
    let restart = [Restart::Resume, Restart::Fail].into_iter().find(|known| known.name() == restart);
    let count = |number: i64| u64::try_from(number).map_err(|_| bad(format!("a count of {number}")));
    Ok(Job {
        kind: text("kind")?,
        arguments: text("arguments")?,
        person: text("person")?,
        restart: restart.ok_or_else(|| bad("an unknown rule for restarts".to_owned()))?,
        state: state.ok_or_else(|| bad("an unknown state".to_owned()))?,
        progress: Progress {
            done: count(number("done")?)?,
            total: optional("total")?.map(count).transpose()?,
            note: text("note")?,
        },
        cancel_asked: number("cancel_asked")? != 0,
        attempts: u32::try_from(number("attempts")?)
            .map_err(|_| bad("an impossible number of attempts".to_owned()))?,
        created_at: Tai(number("created_at")?),
        started_at: optional("started_at")?.map(Tai),
        ended_at: optional("ended_at")?.map(Tai),
        outcome: text("outcome")?,
        id,
    })
}
