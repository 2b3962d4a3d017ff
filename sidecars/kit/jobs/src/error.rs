use fep_database::Transient;

use crate::JobState;

/// Why a job was not made, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of a job that cannot be.
    #[error("job: {field}: {problem}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A job of that name is there, and is another one.
    #[error("job {id} exists already and is another one: choose another name")]
    Taken {
        /// The name.
        id: String,
    },
    /// No job of that name.
    #[error("there is no job \"{id}\"")]
    NotFound {
        /// The name.
        id: String,
    },
    /// It is over: nothing is left to cancel.
    #[error("job {id} is {state}: there is nothing to cancel")]
    Over {
        /// The name.
        id: String,
        /// How it ended.
        state: JobState,
    },
    /// The attempt is not the one that runs: the job was ended, or started again.
    #[error("job {id}: attempt {attempt} does not run any more")]
    NotRunning {
        /// The name.
        id: String,
        /// Which attempt.
        attempt: u32,
    },
    /// A row holds what cannot be.
    #[error("job {id}: the database holds {problem}")]
    Row {
        /// Which job.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] fep_database::Error),
}

impl Error {
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |source| Error::Database(fep_database::Error::Sql { doing, source })
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Error::Database(error) if error.is_transient())
    }
}
