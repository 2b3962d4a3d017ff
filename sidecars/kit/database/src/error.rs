use std::path::PathBuf;

use fep_file::FileError;

/// Why the database did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address or another option cannot be.
    #[error("database: {key}: {problem}")]
    Option {
        /// Which option.
        key: &'static str,
        /// What is wrong and what is allowed. Never holds a password.
        problem: String,
    },
    /// A statement, a connection, or the beginning of a transaction.
    #[error("database, while {doing}: {source}")]
    Sql {
        /// What was attempted.
        doing: &'static str,
        /// The engine's reason.
        source: sqlx::Error,
    },
    /// The connection was lost during a commit: the change is either whole in the database or not at all, and which of the
    /// two is not known. Look before trying again.
    #[error(
        "database, while {doing}: the connection was lost during the commit, look whether it was done: {source}"
    )]
    CommitUnknown {
        /// What was attempted.
        doing: &'static str,
        /// The engine's reason.
        source: sqlx::Error,
    },
    /// It took longer than allowed.
    #[error("database, while {doing}: not done within {limit_ms} ms")]
    TimedOut {
        /// What was attempted.
        doing: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// Migrations that cannot be: not numbered 1, 2, 3 …, or two modules of one name. A mistake of the program.
    #[error("migrations of module \"{module}\": {problem}")]
    Schema {
        /// Of which module.
        module: String,
        /// What is wrong.
        problem: String,
    },
    /// The tables were made by a later version of the program.
    #[error(
        "database: module \"{module}\" is at version {found}, this program knows {known}: start the later program, or \
         restore a backup made before"
    )]
    Newer {
        /// Which module.
        module: String,
        /// Version of the tables.
        found: i64,
        /// Latest version of this program; 0 when it does not know the module.
        known: i64,
    },
    /// A migration that was applied is not the one of this number that the program has.
    #[error(
        "database: migration {version} of module \"{module}\" was applied with another text than this program has"
    )]
    Altered {
        /// Which module.
        module: String,
        /// Which migration.
        version: i64,
    },
    /// A migration failed. The tables are as before it.
    #[error("database: migration {version} ({name}) of module \"{module}\": {source}")]
    Migration {
        /// Which module.
        module: String,
        /// Its number.
        version: i64,
        /// Its name.
        name: &'static str,
        /// The engine's reason.
        source: sqlx::Error,
    },
    /// A migration left rows that refer to nothing. The tables are as before it.
    #[error(
        "database: migration {version} of module \"{module}\" leaves rows of table \"{table}\" that refer to nothing"
    )]
    Dangling {
        /// Which module.
        module: String,
        /// Its number.
        version: i64,
        /// Table of the rows.
        table: String,
    },
    /// A row holds what cannot be.
    #[error("database: {place} holds {problem}")]
    Row {
        /// Table and column.
        place: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The file of the database has gone, or is another one.
    #[error("database file {}: {problem}", path.display())]
    Gone {
        /// Its path.
        path: PathBuf,
        /// What happened to it and what to do.
        problem: &'static str,
    },
    /// A database, a table or a backup cannot be copied, or is not what its manifest says.
    #[error("backup {}: {problem}", path.display())]
    Backup {
        /// Directory or file of the backup.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A backup is put into an empty place only.
    #[error("restore: {place} is not empty: {problem}")]
    NotEmpty {
        /// Which database.
        place: String,
        /// What is there, and what to do.
        problem: String,
    },
    /// Another process works on it.
    #[error("{place} is held by {holder}: end that one first, or give this one a database of its own")]
    Held {
        /// Which database.
        place: String,
        /// Who, as the server says.
        holder: String,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether the same attempt may succeed later.
pub trait Transient {
    /// Whether what failed may pass by itself and has certainly changed nothing.
    fn is_transient(&self) -> bool;
}

impl Error {
    /// Names what was attempted; for `map_err`.
    pub fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |source| Error::Sql { doing, source }
    }

    pub(crate) fn backup(path: &std::path::Path, problem: impl Into<String>) -> Error {
        Error::Backup { path: path.to_owned(), problem: problem.into() }
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Error::Sql { source, .. } => may_pass(source),
            _ => false,
        }
    }
}

/// Busy, serialisation failure, deadlock, lost connection, a server that starts or stops. Before a commit none of them has
/// changed anything: the transaction is rolled back.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // SQLSTATE has five characters, SQLite's codes are decimal numbers below 10000.
            if code.len() == 5 {
                const PASSING: [&str; 7] = ["40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300"];
                return PASSING.contains(&code.as_ref()) || code.starts_with("08");
            }
            // The primary code is the low octet: SQLITE_BUSY, SQLITE_LOCKED.
            matches!(code.parse::<u32>().map(|code| code & 0xFF), Ok(5 | 6))
        }
        _ => false,
    }
}
