//! Why a change of a service's data failed, and what its caller is answered.

use axum::http::StatusCode;
use fep_database::Transient;
use fep_kit::Problem;

#[cfg(feature = "orders")]
use crate::service::ROLE_MISSING;

/// Why a change was not made. Everything that a change is made of becomes one by `?`.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The database.
    #[error(transparent)]
    Database(#[from] fep_database::Error),
    /// The audit trail, without which nothing is done.
    #[error(transparent)]
    Audit(#[from] fep_audit::Error),
    /// An order.
    #[cfg(feature = "orders")]
    #[error(transparent)]
    Order(#[from] fep_orders::Error),
    /// A job.
    #[cfg(feature = "jobs")]
    #[error(transparent)]
    Job(#[from] fep_jobs::Error),
    /// What the service itself answers.
    #[error("{0}")]
    Answer(Problem),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed::Answer(problem)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(source: sqlx::Error) -> Failed {
        Failed::Database(fep_database::Error::Sql { doing: "a statement of the service", source })
    }
}

impl Transient for Failed {
    fn is_transient(&self) -> bool {
        match self {
            Failed::Database(error) => error.is_transient(),
            Failed::Audit(error) => error.is_transient(),
            #[cfg(feature = "orders")]
            Failed::Order(error) => error.is_transient(),
            #[cfg(feature = "jobs")]
            Failed::Job(error) => error.is_transient(),
            Failed::Answer(_) => false,
        }
    }
}

impl Failed {
    /// The answer to the caller. `doing` is what failed, in words. Causes within the service go to the log alone.
    #[must_use]
    pub fn problem(self, doing: &str) -> Problem {
        if self.is_transient() {
            tracing::warn!("{doing}: {self}");
            return away("the database does not answer now", "ask again later");
        }
        let database = |error: &fep_database::Error| match error {
            fep_database::Error::CommitUnknown { .. } | fep_database::Error::TimedOut { .. } => {
                tracing::warn!("{doing}: {error}");
                away("whether it was done is not known", "ask again: what was done is not done twice")
            }
            error => Problem::fault(doing, error),
        };
        match &self {
            Failed::Answer(problem) => problem.clone(),
            Failed::Database(error) => database(error),
            Failed::Audit(fep_audit::Error::Database(error)) => database(error),
            #[cfg(feature = "orders")]
            Failed::Order(error) => of_order(error).unwrap_or_else(|| match error {
                fep_orders::Error::Database(error) => database(error),
                error => Problem::fault(doing, error),
            }),
            #[cfg(feature = "jobs")]
            Failed::Job(error) => of_job(error).unwrap_or_else(|| match error {
                fep_jobs::Error::Database(error) => database(error),
                error => Problem::fault(doing, error),
            }),
            Failed::Audit(error) => Problem::fault(doing, error),
        }
    }
}

fn away(detail: &str, hint: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "database-away", detail).hint(hint)
}

/// What the rules of orders refuse; `None` for a fault of the service.
#[cfg(feature = "orders")]
fn of_order(error: &fep_orders::Error) -> Option<Problem> {
    use fep_orders::{Error, Refusal};
    let text = error.to_string();
    Some(match error {
        Error::Field { field, .. } => bad_member(field, text),
        Error::NotFound { .. } => Problem::not_found(text),
        Error::Taken { .. } => Problem::conflict(text),
        Error::MayNotAsk { .. }
        | Error::Refused { refusal: Refusal::Role { .. } | Refusal::NoSeat { .. }, .. } => {
            Problem::new(StatusCode::FORBIDDEN, ROLE_MISSING, text).hint("an administrator gives roles")
        }
        Error::Refused { refusal: Refusal::Note { .. }, .. } => bad_member("note", text),
        Error::Refused { .. } => Problem::new(StatusCode::CONFLICT, "order-refused", text),
        Error::Row { .. } | Error::Audit(_) | Error::Database(_) => return None,
    })
}

/// What the rules of jobs refuse; `None` for a fault of the service.
#[cfg(feature = "jobs")]
fn of_job(error: &fep_jobs::Error) -> Option<Problem> {
    use fep_jobs::Error;
    let text = error.to_string();
    Some(match error {
        Error::Field { field, .. } => bad_member(field, text),
        Error::NotFound { .. } => Problem::not_found(text),
        Error::Taken { .. } | Error::Over { .. } | Error::NotRunning { .. } => Problem::conflict(text),
        Error::Row { .. } | Error::Database(_) => return None,
    })
}

#[cfg(any(feature = "orders", feature = "jobs"))]
fn bad_member(member: &str, text: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-body", text).at(member)
}
