use std::fmt;

use fep_time::Tai;
use serde::Serialize;

use crate::Error;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is worked on.
    Running,
    /// It succeeded.
    Done,
    /// It did not.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const ALL: [JobState; 5] =
        [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a job that was running when its process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// It is put in the queue again: its work may be done twice, or goes on where its own files say.
    Resume,
    /// It has failed: its work must not be done twice.
    Fail,
}

impl Restart {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Restart::Resume => "resume",
            Restart::Fail => "fail",
        }
    }
}

/// Work that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its name, chosen by the caller: asking for the same again is no second job. At most 64 octets.
    pub id: String,
    /// Which kind of work. At most 64 octets.
    pub kind: String,
    /// What the kind needs to know, usually JSON. At most 65 536 octets.
    pub arguments: String,
    /// Who asks. At most 256 octets.
    pub person: String,
    /// What becomes of it after a kill.
    pub restart: Restart,
}

impl NewJob {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_text("id", &self.id, 1, 64)?;
        check_text("kind", &self.kind, 1, 64)?;
        check_text("arguments", &self.arguments, 0, 65_536)?;
        check_text("person", &self.person, 1, 256)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Units of work done; the kind says what a unit is.
    pub done: u64,
    /// All units, when that is known.
    pub total: Option<u64>,
    /// What it is at, in words. Cut at 1024 octets.
    pub note: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded, and what came of it.
    Done(String),
    /// It did not, and why.
    Failed(String),
    /// It stopped because it was cancelled.
    Cancelled,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// Which kind of work.
    pub kind: String,
    /// What the kind needs to know.
    pub arguments: String,
    /// Who asked.
    pub person: String,
    /// What becomes of it after a kill.
    pub restart: Restart,
    /// Where it stands.
    pub state: JobState,
    /// How far it is, or was when it ended.
    pub progress: Progress,
    /// Whether somebody wants it to stop.
    pub cancel_asked: bool,
    /// How often it was started.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: Tai,
    /// When it was started for the last time.
    pub started_at: Option<Tai>,
    /// When it ended.
    pub ended_at: Option<Tai>,
    /// What came of it, or why it failed; empty until it ended.
    pub outcome: String,
}

fn check_text(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), Error> {
    if !(least..=most).contains(&text.len()) {
        let problem = format!("it has {} octets, allowed are {least} to {most}", text.len());
        return Err(Error::Field { field, problem });
    }
    if text.contains('\0') {
        return Err(Error::Field { field, problem: "it holds a character NUL".to_owned() });
    }
    Ok(())
}

/// A text of a handler, cut at a character and without what the database does not take.
pub(crate) fn fitting(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "")
}
