//! The catalogue's database: SQLite or PostgreSQL, chosen by one URL.
//!
//! One text of SQL for both: `$1` parameters, 64-bit integers and texts, `ON CONFLICT`, and sums cast to `BIGINT`.

mod audit;
mod completeness;
mod conditions;
mod deletions;
mod dump;
mod gaps;
mod holds;
mod insert;
mod query;
mod rows;

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyPool, ConnectOptions, Executor, SqlSafeStr, Transaction};

use crate::Error;

pub use completeness::CompletenessQuery;
pub use gaps::GapFilter;
pub use insert::Inserted;
pub use query::{ContactFilter, SegmentFilter, Totals};

/// The tables.
const SCHEMA: &str = include_str!("../../migrations/0001_catalogue.sql");
/// An index.
const SPANS: &str = include_str!("../../migrations/0002_spans.sql");

/// The catalogue. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pool: AnyPool,
    backend: Backend,
    black_only: bool,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Catalogue {
    /// Opens the catalogue at `url`, and makes or brings up to date its tables.
    ///
    /// `sqlite:///var/lib/fep/catalogue.sqlite3` (the file is made when it is not there) or
    /// `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// Another kind of URL, a database that cannot be reached, tables of a later version.
    pub async fn open(url: &str) -> Result<Catalogue, Error> {
        let backend = Backend::of(url)?;
        sqlx::any::install_default_drivers();
        let url = match backend {
            Backend::Sqlite if !url.contains("mode=") => {
                format!("{url}{}mode=rwc", if url.contains('?') { '&' } else { '?' })
            }
            _ => url.to_owned(),
        };
        if backend == Backend::Sqlite {
            make_private(&url)?;
        }
        let options = AnyConnectOptions::from_str(&url)
            .map_err(Error::sql("reading its URL"))?
            .disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if backend == Backend::Sqlite {
                        // The log makes readers and the writer independent; a commit is on disk when it returns.
                        connection
                            .execute(
                                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                                 PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 30000;",
                            )
                            .await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(Error::sql("opening it"))?;
        migrations().run(&pool).await?;
        Ok(Catalogue { pool, backend, black_only: false })
    }

    /// The same catalogue for a service that has nothing to do with red data: through this handle red segments are neither
    /// taken in nor listed, counted, dumped or deleted, as if there were none.
    #[must_use]
    pub fn black_only(&self) -> Catalogue {
        Catalogue { black_only: true, ..self.clone() }
    }

    /// Whether red segments exist for this handle.
    #[must_use]
    pub fn sees_red(&self) -> bool {
        !self.black_only
    }

    /// Whether a segment, or a gap, of this name does not exist for this handle: both names begin with the colour.
    pub(crate) fn hides(&self, id: &str) -> bool {
        self.black_only && id.starts_with("red/")
    }

    /// Which database it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Closes all connections; what was committed is on disk.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that will write. One writes at a time and the others wait, instead of failing half-way: SQLite by
    /// its write lock, PostgreSQL by a lock of ours that ends with the transaction.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, Error> {
        const WRITER_LOCK: i64 = 0x6665_702D_6361_7400; // "fep-cat"
        let begin = async {
            if self.backend == Backend::Sqlite {
                return self.pool.begin_with("BEGIN IMMEDIATE").await;
            }
            let mut transaction = self.pool.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(WRITER_LOCK)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction)
        };
        begin.await.map_err(Error::sql("beginning a change"))
    }
}

/// Makes the file of an SQLite catalogue for its owner alone, and takes from others what an older version let them read: the
/// catalogue describes red data and who did what. SQLite gives its log the permissions of the file.
fn make_private(url: &str) -> Result<(), Error> {
    let options = SqliteConnectOptions::from_str(url).map_err(Error::sql("reading its URL"))?;
    let path = options.get_filename();
    if url.contains(":memory:") || !url.contains("mode=rwc") {
        return Ok(());
    }
    let mut create = OpenOptions::new();
    create.write(true).create(true).truncate(false).mode(PRIVATE);
    let file = create.open(path).map_err(Error::io("open", path))?;
    let mode = file.metadata().map_err(Error::io("look at", path))?.mode() & 0o777;
    if mode & !PRIVATE != 0 {
        tracing::warn!(
            "{} could be read by others (mode {mode:o}): it is for its owner alone now",
            path.display()
        );
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            match std::fs::set_permissions(&name, Permissions::from_mode(mode & PRIVATE)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("set the permissions of", Path::new(&name))(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Permissions of a catalogue's file.
const PRIVATE: u32 = 0o600;

impl Backend {
    fn of(url: &str) -> Result<Backend, Error> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Backend::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Backend::Postgres),
            _ => Err(Error::Invalid {
                what: "catalogue URL",
                problem: "it begins with neither sqlite: nor postgres:".to_owned(),
            }),
        }
    }
}

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![migration(1, "catalogue", SCHEMA), migration(2, "spans", SPANS)])
}
