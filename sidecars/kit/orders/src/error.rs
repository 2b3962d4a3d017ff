use fep_database::Transient;

use crate::Refusal;

/// Why an order was not made, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of an order, a rule or an actor that cannot be.
    #[error("order: {field}: {problem}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The rules do not allow the step. The order is as before.
    #[error("order {id}: {refusal}")]
    Refused {
        /// Which order.
        id: String,
        /// The rule.
        refusal: Refusal,
    },
    /// Who asks does not have the role that this kind of act asks for.
    #[error("order of kind \"{kind}\": {person} does not have the role \"{role}\", which asking needs")]
    MayNotAsk {
        /// Of which kind.
        kind: String,
        /// Who.
        person: String,
        /// The role.
        role: String,
    },
    /// An order of that name is there, and is another one.
    #[error("order {id} exists already and is another one: choose another name")]
    Taken {
        /// The name.
        id: String,
    },
    /// No order of that name.
    #[error("there is no order \"{id}\"")]
    NotFound {
        /// The name.
        id: String,
    },
    /// A row holds what cannot be.
    #[error("order {id}: the database holds {problem}")]
    Row {
        /// Which order.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// The audit trail.
    #[error(transparent)]
    Audit(fep_audit::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] fep_database::Error),
}

impl Error {
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |source| Error::Database(fep_database::Error::Sql { doing, source })
    }
}

impl From<fep_audit::Error> for Error {
    fn from(error: fep_audit::Error) -> Error {
        match error {
            fep_audit::Error::Database(error) => Error::Database(error),
            error => Error::Audit(error),
        }
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Error::Database(error) => error.is_transient(),
            Error::Audit(error) => error.is_transient(),
            _ => false,
        }
    }
}
