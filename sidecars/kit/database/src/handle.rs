//! The handle: connections, one writer, time-outs, retries, health.

use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Executor, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::address::Address;
use crate::migrating;
use crate::{Engine, Error, Schema, Transient};

/// The lock of PostgreSQL that a writer holds until its transaction ends: "fep-kit" in ASCII.
pub(crate) const WRITER_LOCK: i64 = 0x6665_702D_6B69_7400;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Which database, and how patient to be with it: a section of a service's configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// `sqlite:///var/lib/fep/service.sqlite3` (made with mode 0600 when it is not there), or
    /// `postgres://user@host/database`. A server on another machine is reached by TLS only, and verified (`sslmode`
    /// `verify-full`, `sslrootcert` the file of its authority, else the system's).
    pub url: String,
    /// File that holds the password, instead of the URL.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Connections at most.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Longest time for one statement, and for waiting for the turn to write. PostgreSQL stops the statement itself.
    /// SQLite's statements are bounded by `operation_timeout_ms` alone.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// Longest time for one attempt of [`Database::retry`], waiting included.
    #[serde(default = "default_operation_timeout_ms")]
    pub operation_timeout_ms: u64,
    /// How long [`Database::retry`] begins new attempts.
    #[serde(default = "default_patience_ms")]
    pub patience_ms: u64,
}

const fn default_connections() -> u32 {
    8
}
const fn default_statement_timeout_ms() -> u64 {
    30_000
}
const fn default_operation_timeout_ms() -> u64 {
    60_000
}
const fn default_patience_ms() -> u64 {
    30_000
}

impl Options {
    /// A database at this address, with the usual patience.
    #[must_use]
    pub fn new(url: &str) -> Options {
        Options {
            url: url.to_owned(),
            password_file: None,
            connections: default_connections(),
            statement_timeout_ms: default_statement_timeout_ms(),
            operation_timeout_ms: default_operation_timeout_ms(),
            patience_ms: default_patience_ms(),
        }
    }

    /// Refuses what [`Database::open`] would refuse before it touches anything; the file of the password is read.
    ///
    /// # Errors
    /// The option that cannot be, or a file that cannot be read.
    pub fn check(&self) -> Result<(), Error> {
        self.address().map(drop)
    }

    fn address(&self) -> Result<Address, Error> {
        let bad = |key, problem: &str| Err(Error::Option { key, problem: problem.to_owned() });
        if !(2..=1000).contains(&self.connections) {
            return bad("connections", "allowed are 2 to 1000");
        }
        // PostgreSQL takes a number of 31 bits, and 0 would be no limit.
        if !(1..=86_400_000).contains(&self.statement_timeout_ms) {
            return bad("statement_timeout_ms", "allowed are 1 to 86400000");
        }
        if !(1..=86_400_000).contains(&self.operation_timeout_ms) {
            return bad("operation_timeout_ms", "allowed are 1 to 86400000");
        }
        if self.patience_ms > 86_400_000 {
            return bad("patience_ms", "allowed are 0 to 86400000");
        }
        Address::of(self)
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        let shown = Address::of(self).map_or_else(|_| "(not valid)".to_owned(), |address| address.shown);
        f.debug_struct("Options")
            .field("database", &shown)
            .field("connections", &self.connections)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("operation_timeout_ms", &self.operation_timeout_ms)
            .field("patience_ms", &self.patience_ms)
            .finish_non_exhaustive()
    }
}

/// A database. Clones share its connections and its turn to write.
#[derive(Clone)]
pub struct Database {
    pool: AnyPool,
    address: Address,
    schemas: Arc<[Schema]>,
    turn: Arc<Mutex<()>>,
    options: Arc<Options>,
    /// SQLite: device and inode of the file that is open.
    identity: Option<(u64, u64)>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.address.shown)
    }
}

impl Database {
    /// Opens a database, makes or brings up to date the tables of these modules, and checks that it answers.
    ///
    /// # Errors
    /// Options that cannot be; a database that cannot be reached; tables of a later program ([`Error::Newer`]), or made by
    /// another text ([`Error::Altered`]); a migration that fails: everything before it stays applied.
    pub async fn open(options: &Options, schemas: &[Schema]) -> Result<Database, Error> {
        let address = options.address()?;
        sqlx::any::install_default_drivers();
        if let Some(file) = &address.file {
            match fep_file::create_new(file, 0o600, b"") {
                Ok(()) => {}
                Err(fep_file::FileError::Exists { .. }) => make_private(file)?,
                Err(error) => return Err(error.into()),
            }
        }
        // Whoever opens at the same moment may hold what a migration needs.
        let patience = Duration::from_millis(options.patience_ms);
        again("migrating", patience, || migrating::migrate(&address, schemas)).await?;
        let identity = match &address.file {
            Some(file) => Some(identity_of(file)?),
            None => None,
        };
        let pool = connect(&address, options).await?;
        Ok(Database {
            pool,
            address,
            schemas: schemas.into(),
            turn: Arc::default(),
            options: Arc::new(options.clone()),
            identity,
        })
    }

    /// Which engine it has.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.address.engine
    }

    /// For one statement that only reads.
    #[must_use]
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Closes all connections. What was committed is on disk.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that may write, when it is its turn. `doing` is what for, in messages. Dropped without
    /// [`Writing::commit`] it changes nothing.
    ///
    /// # Errors
    /// The engine's. A turn that does not come within `statement_timeout_ms` is a transient error.
    pub async fn begin(&self, doing: &'static str) -> Result<Writing, Error> {
        // In this process the wait is here and fair: those who wait hold no connection.
        let wait = Duration::from_millis(self.options.statement_timeout_ms);
        let turn = tokio::time::timeout(wait, self.turn.clone().lock_owned())
            .await
            .map_err(|_| Error::Sql { doing, source: sqlx::Error::PoolTimedOut })?;
        let begin = async {
            if self.engine() == Engine::Sqlite {
                return self.pool.begin_with("BEGIN IMMEDIATE").await;
            }
            let mut transaction = self.pool.begin().await?;
            let lock = AssertSqlSafe(format!("SELECT 1 AS locked FROM pg_advisory_xact_lock({WRITER_LOCK})"));
            sqlx::query(lock).execute(&mut *transaction).await?;
            Ok(transaction)
        };
        let transaction = begin.await.map_err(Error::sql(doing))?;
        Ok(Writing { transaction, _turn: turn, doing })
    }

    /// A transaction that only reads, and sees one moment of the database from its first statement on.
    ///
    /// # Errors
    /// The engine's.
    pub async fn read(&self, doing: &'static str) -> Result<Reading, Error> {
        let statement = match self.engine() {
            Engine::Sqlite => "BEGIN DEFERRED",
            Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let transaction = self.pool.begin_with(statement).await.map_err(Error::sql(doing))?;
        Ok(Reading { transaction })
    }

    /// Runs an operation, from its [`Database::begin`] to its [`Writing::commit`], and runs it again with growing pauses
    /// while it fails with what may pass by itself, as long as `patience_ms`. An operation whose commit may or may not have
    /// been done is not run again.
    ///
    /// # Errors
    /// The operation's last one; [`Error::TimedOut`] when one attempt takes longer than `operation_timeout_ms`: it is
    /// dropped then. What it had not committed is not done; when it stood in its commit, look whether it was done. SQLite
    /// goes on with the statement that it is at, up to its next row or its end, before others can write.
    pub async fn retry<T, E, F>(&self, doing: &'static str, mut operation: impl FnMut() -> F) -> Result<T, E>
    where
        E: Transient + From<Error> + std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let limit_ms = self.options.operation_timeout_ms;
        let limit = Duration::from_millis(limit_ms);
        again(doing, Duration::from_millis(self.options.patience_ms), || {
            let attempt = tokio::time::timeout(limit, operation());
            async move { attempt.await.unwrap_or_else(|_| Err(Error::TimedOut { doing, limit_ms }.into())) }
        })
        .await
    }

    /// Asks whether the database does its work: it answers in time, its tables have the versions that this program opened,
    /// and the file of SQLite is still the one that is open.
    ///
    /// # Errors
    /// What is wrong, in words for an operator.
    pub async fn health(&self) -> Result<Health, Error> {
        const DOING: &str = "asking for its health";
        let started = Instant::now();
        if let (Some(file), Some(identity)) = (&self.address.file, self.identity) {
            let gone = |problem| Error::Gone { path: file.clone(), problem };
            match identity_of(file) {
                Ok(found) if found == identity => {}
                Ok(_) => {
                    return Err(gone(
                        "it was replaced by another file: what is written now is lost; restart the service",
                    ));
                }
                Err(_) => {
                    return Err(gone(
                        "it was removed: what is written now is lost; stop the service and restore a backup",
                    ));
                }
            }
        }
        let ask = async {
            let mut connection = self.pool.acquire().await.map_err(Error::sql(DOING))?;
            migrating::applied(&mut connection).await
        };
        let limit_ms = self.options.statement_timeout_ms;
        let applied = tokio::time::timeout(Duration::from_millis(limit_ms), ask)
            .await
            .map_err(|_| Error::TimedOut { doing: DOING, limit_ms })??;
        migrating::check(&applied, self.engine(), &self.schemas)?;
        for schema in &*self.schemas {
            let found = applied.iter().filter(|one| one.module == schema.module()).count() as i64;
            if found != schema.version() {
                let problem = format!("{found} migrations of module \"{}\"", schema.module());
                return Err(Error::Row { place: "fep_schema", problem });
            }
        }
        Ok(Health {
            answered_in_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            connections: self.pool.size(),
            idle: self.pool.num_idle(),
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

/// How the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// How long it took to answer.
    pub answered_in_us: u64,
    /// Connections that are open.
    pub connections: u32,
    /// Those of them that nobody uses.
    pub idle: usize,
}

/// A transaction that may write. Statements run on it as on a connection: `.execute(&mut *writing)`.
#[derive(Debug)]
pub struct Writing {
    // First, so that it is rolled back before the next one has its turn.
    transaction: Transaction<'static, Any>,
    _turn: OwnedMutexGuard<()>,
    doing: &'static str,
}

impl Writing {
    /// Makes everything durable, whole or not at all.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when the connection was lost; otherwise nothing was changed.
    pub async fn commit(self) -> Result<(), Error> {
        let doing = self.doing;
        self.transaction.commit().await.map_err(|source| match source {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
                Error::CommitUnknown { doing, source }
            }
            // A server that is stopped says so, and may have written the commit before.
            sqlx::Error::Database(error) if error.code().is_some_and(|code| code.starts_with("57P")) => {
                Error::CommitUnknown { doing, source: sqlx::Error::Database(error) }
            }
            source => Error::Sql { doing, source },
        })
    }
}

impl Deref for Writing {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// A transaction that only reads. Statements run on it as on a connection: `.fetch_all(&mut *reading)`.
#[derive(Debug)]
pub struct Reading {
    transaction: Transaction<'static, Any>,
}

impl Deref for Reading {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// Runs an operation again with growing pauses while it fails with what may pass by itself.
async fn again<T, E, F>(
    doing: &'static str,
    patience: Duration,
    mut operation: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Transient + std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match operation().await {
            Err(error) if error.is_transient() && started.elapsed() + pause < patience => {
                tracing::debug!(%error, "database, while {doing}: again in {} ms", pause.as_millis());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

async fn connect(address: &Address, options: &Options) -> Result<AnyPool, Error> {
    let settings = match address.engine {
        // The log makes readers and the writer independent; a commit is on disk when it returns.
        Engine::Sqlite => format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
            options.statement_timeout_ms
        ),
        Engine::Postgres => format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {idle};",
            limit = options.statement_timeout_ms,
            // Sooner: who waited in vain may try again, what took too long itself may not.
            lock = (options.statement_timeout_ms * 9 / 10).max(1),
            idle = options.operation_timeout_ms.max(options.statement_timeout_ms),
        ),
    };
    AnyPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(Duration::from_millis(options.statement_timeout_ms))
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                connection.execute(AssertSqlSafe(settings)).await?;
                Ok(())
            })
        })
        .connect_with(address.any.clone())
        .await
        .map_err(Error::sql("opening it"))
}

/// Takes from a file that exists what an older program, or a umask, let others do: it is for its owner alone. SQLite gives its
/// log the permissions of the file.
fn make_private(file: &std::path::Path) -> Result<(), Error> {
    let failed = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| Error::File(fep_file::FileError::Io { action: "set the permissions of", path, source })
    };
    let mode = std::fs::metadata(file).map_err(failed(file))?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(
        "{} could be read by others (mode {mode:o}): it is for its owner alone now",
        file.display()
    );
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

fn identity_of(file: &std::path::Path) -> Result<(u64, u64), Error> {
    let found = std::fs::metadata(file).map_err(|source| fep_file::FileError::Io {
        action: "look at",
        path: file.to_owned(),
        source,
    })?;
    Ok((found.dev(), found.ino()))
}
