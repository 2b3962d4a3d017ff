use fep_database::Transient;

/// Why the audit trail was not written, read or signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of an entry that cannot be written.
    #[error("audit: {field}: {problem}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A row or a line that is no entry.
    #[error("audit: {place}: {problem}")]
    NotAnEntry {
        /// Row or line.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The signer did not sign.
    #[error("audit: the head cannot be signed: {0}")]
    Signer(String),
    /// Whoever takes an export did not take it.
    #[error("audit: the export cannot be written: {0}")]
    Output(std::io::Error),
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
