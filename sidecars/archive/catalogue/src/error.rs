//! What can go wrong. Damaged data are no errors: they are findings, states and reports.

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is none of an enumeration.
    #[error("{what}: \"{given}\" is none of {allowed}")]
    Name {
        /// Of what.
        what: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A configuration or argument that cannot be.
    #[error("{what}: {problem}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Nothing of that name.
    #[error("there is no {what} \"{id}\"")]
    NotFound {
        /// Of what kind.
        what: &'static str,
        /// The name.
        id: String,
    },
    /// The rules do not allow it.
    #[error("{what}: {why}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The rule.
        why: String,
    },
    /// The database.
    #[error("catalogue: {0}")]
    Database(#[from] fep_database::Error),
    /// Who asks has not the role, or the rules of the order do not let this person do the step.
    #[error(transparent)]
    NotAllowed(fep_orders::Error),
    /// An order.
    #[error(transparent)]
    Order(fep_orders::Error),
    /// The audit trail.
    #[error(transparent)]
    Audit(fep_audit::Error),
    /// A job.
    #[error(transparent)]
    Job(fep_jobs::Error),
    /// A file that something else than a regular file stands in the way of.
    #[error(transparent)]
    File(fep_file::FileError),
    /// It was asked to stop.
    #[error("it was stopped on request")]
    Stopped,
    /// A row of the catalogue cannot be.
    #[error("catalogue: {column} holds {problem}")]
    Row {
        /// Table and column.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The object store.
    #[error("object store, while {action} {key}: {source}")]
    Store {
        /// What was attempted.
        action: &'static str,
        /// Key of the object.
        key: String,
        /// Its reason.
        source: object_store::Error,
    },
    /// What was read back from the object store is not what was put there.
    #[error("object {key} is not what was stored: SHA-256 is {found}, {expected} was expected")]
    ObjectDiffers {
        /// Key of the object.
        key: String,
        /// SHA-256 expected.
        expected: String,
        /// SHA-256 found.
        found: String,
    },
    /// A segment file or ring.
    #[error(transparent)]
    Segment(#[from] fep_segments::SegmentError),
    /// Parquet.
    #[error("index {key}: {source}")]
    Parquet {
        /// Its key.
        key: String,
        /// The library's reason.
        source: parquet::errors::ParquetError,
    },
    /// A file.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// File or directory.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A task of this program did not come back.
    #[error("a background task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |source| Error::Database(fep_database::Error::Sql { doing, source })
    }

    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn store(action: &'static str, key: &str) -> impl FnOnce(object_store::Error) -> Error {
        let key = key.to_owned();
        move |source| Error::Store { action, key, source }
    }

    /// Whether another try may succeed: the store was busy, slow or gave back something broken.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Error::Store { source, .. } => !matches!(
                source,
                object_store::Error::NotFound { .. }
                    | object_store::Error::InvalidPath { .. }
                    | object_store::Error::NotSupported { .. }
                    | object_store::Error::NotImplemented { .. }
                    | object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. }
            ),
            Error::ObjectDiffers { .. } => true,
            _ => false,
        }
    }

    /// Whether the next thing will fail of it as well: the database or the store is away, or the program is in trouble.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Error::Database(_) | Error::Task(_) | Error::Stopped => true,
            Error::Store { source, .. } => !matches!(source, object_store::Error::NotFound { .. }),
            _ => false,
        }
    }

    /// Whether it says of one object that it is not what was stored, or is not there: the store itself may be well.
    #[must_use]
    pub fn is_of_object(&self) -> bool {
        matches!(
            self,
            Error::ObjectDiffers { .. }
                | Error::File(fep_file::FileError::NotRegular { .. })
                | Error::Store { source: object_store::Error::NotFound { .. }, .. }
        )
    }

    pub(crate) fn parquet(key: &str) -> impl FnOnce(parquet::errors::ParquetError) -> Error {
        let key = key.to_owned();
        move |source| Error::Parquet { key, source }
    }

    pub(crate) fn not_found(what: &'static str, id: &str) -> Error {
        Error::NotFound { what, id: id.to_owned() }
    }

    pub(crate) fn refused(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Refused { what: what.into(), why: why.into() }
    }
}

impl From<fep_file::FileError> for Error {
    fn from(error: fep_file::FileError) -> Error {
        match error {
            fep_file::FileError::Io { action, path, source } => Error::Io { action, path, source },
            error => Error::File(error),
        }
    }
}

impl From<fep_orders::Error> for Error {
    fn from(error: fep_orders::Error) -> Error {
        use fep_orders::{Error as Orders, Refusal};
        match error {
            Orders::Database(error) => Error::Database(error),
            Orders::Audit(error) => error.into(),
            Orders::NotFound { id } => Error::NotFound { what: "order", id },
            Orders::Field { field, problem } => Error::Invalid { what: field, problem },
            Orders::Refused { id, refusal: Refusal::Note { problem } } => {
                Error::Invalid { what: "note", problem: format!("order {id}: {problem}") }
            }
            Orders::MayNotAsk { .. } => Error::NotAllowed(error),
            Orders::Refused {
                refusal:
                    Refusal::OwnOrder { .. }
                    | Refusal::Role { .. }
                    | Refusal::NoSeat { .. }
                    | Refusal::NotAsker { .. },
                ..
            } => Error::NotAllowed(error),
            Orders::Refused { id, refusal } => Error::refused(format!("order {id}"), refusal.to_string()),
            error => Error::Order(error),
        }
    }
}

impl From<fep_audit::Error> for Error {
    fn from(error: fep_audit::Error) -> Error {
        match error {
            fep_audit::Error::Database(error) => Error::Database(error),
            fep_audit::Error::Field { field, problem } => Error::Invalid { what: field, problem },
            error => Error::Audit(error),
        }
    }
}

impl From<fep_jobs::Error> for Error {
    fn from(error: fep_jobs::Error) -> Error {
        match error {
            fep_jobs::Error::Database(error) => Error::Database(error),
            fep_jobs::Error::NotFound { id } => Error::NotFound { what: "job", id },
            fep_jobs::Error::Over { .. } => Error::refused("cancelling a job", error.to_string()),
            fep_jobs::Error::Field { field, problem } => Error::Invalid { what: field, problem },
            error => Error::Job(error),
        }
    }
}
