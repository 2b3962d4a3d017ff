//! Applying migrations: under the writer's lock, each in a transaction of its own.

use fep_time::tai_now;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

use crate::address::Address;
use crate::{Engine, Error, Schema, handle, schema};

/// Which migrations were applied. Part of every backup.
pub(crate) const SCHEMA_TABLE: &str = "CREATE TABLE IF NOT EXISTS fep_schema (module TEXT NOT NULL, version BIGINT NOT NULL, \
     name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at BIGINT NOT NULL, PRIMARY KEY (module, version))";

pub(crate) const NOTE_APPLIED: &str =
    "INSERT INTO fep_schema (module, version, name, sha256, applied_at) VALUES ($1, $2, $3, $4, $5)";

/// A migration that the database has.
pub(crate) struct Applied {
    pub(crate) module: String,
    pub(crate) version: i64,
    pub(crate) sha256: String,
}

/// Brings the tables to the latest version of each schema, on a connection of its own.
pub(crate) async fn migrate(address: &Address, schemas: &[Schema]) -> Result<(), Error> {
    schema::check(schemas)?;
    let engine = address.engine;
    let mut connection = AnyConnection::connect_with(&address.any).await.map_err(Error::sql("opening it"))?;
    if engine == Engine::Sqlite {
        // A migration may build a table again under its old name: references are checked at its end, not meanwhile.
        let settings = "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                        PRAGMA foreign_keys = OFF;";
        connection.execute(settings).await.map_err(Error::sql("preparing a migration"))?;
    }
    prepare(&mut connection, engine, schemas).await?;
    for schema in schemas {
        // Another process may have been faster: each turn asks again under the lock.
        while step(&mut connection, engine, schema).await? {}
    }
    connection.close().await.map_err(Error::sql("ending the migrations"))
}

/// Makes the table of applied migrations, takes over those of `sqlx::migrate`, and refuses tables of a later program before
/// anything is changed.
async fn prepare(connection: &mut AnyConnection, engine: Engine, schemas: &[Schema]) -> Result<(), Error> {
    const DOING: &str = "preparing a migration";
    let mut transaction = begin(connection, engine).await?;
    transaction.execute(SCHEMA_TABLE).await.map_err(Error::sql(DOING))?;
    for schema in schemas.iter().filter(|schema| schema.was_sqlx()) {
        take_over(&mut transaction, engine, schema).await?;
    }
    check(&applied(&mut transaction).await?, engine, schemas)?;
    transaction.commit().await.map_err(Error::sql(DOING))
}

/// Refuses what this program cannot stand on.
pub(crate) fn check(applied: &[Applied], engine: Engine, schemas: &[Schema]) -> Result<(), Error> {
    for schema in schemas {
        for one in applied.iter().filter(|one| one.module == schema.module()) {
            let Some(migration) = schema.migrations().iter().find(|known| known.version() == one.version)
            else {
                let (module, found) = (one.module.clone(), one.version);
                return Err(Error::Newer { module, found, known: schema.version() });
            };
            if migration.hash(engine) != one.sha256 {
                return Err(Error::Altered { module: one.module.clone(), version: one.version });
            }
        }
    }
    Ok(())
}

pub(crate) async fn applied(connection: &mut AnyConnection) -> Result<Vec<Applied>, Error> {
    const DOING: &str = "reading which migrations were applied";
    let found = sqlx::query("SELECT module, version, sha256 FROM fep_schema ORDER BY module, version")
        .fetch_all(connection)
        .await
        .map_err(Error::sql(DOING))?;
    let one = |row: &sqlx::any::AnyRow| {
        Ok(Applied {
            module: row.try_get("module")?,
            version: row.try_get("version")?,
            sha256: row.try_get("sha256")?,
        })
    };
    found.iter().map(one).collect::<Result<_, sqlx::Error>>().map_err(Error::sql(DOING))
}

/// Applies the next migration of a module; false when there is none.
async fn step(connection: &mut AnyConnection, engine: Engine, schema: &Schema) -> Result<bool, Error> {
    let mut transaction = begin(connection, engine).await?;
    let applied = applied(&mut transaction).await?;
    check(&applied, engine, std::slice::from_ref(schema))?;
    let last = applied.iter().filter(|one| one.module == schema.module()).map(|one| one.version).max();
    let next = last.unwrap_or(0) + 1;
    let Some(migration) = schema.migrations().iter().find(|known| known.version() == next) else {
        return Ok(false);
    };
    let failed = |source| Error::Migration {
        module: schema.module().to_owned(),
        version: next,
        name: migration.name(),
        source,
    };
    sqlx::raw_sql(migration.text(engine)).execute(&mut *transaction).await.map_err(failed)?;
    if engine == Engine::Sqlite {
        let dangling = sqlx::query("PRAGMA foreign_key_check")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(row) = dangling {
            let table = row.try_get(0).map_err(failed)?;
            return Err(Error::Dangling { module: schema.module().to_owned(), version: next, table });
        }
    }
    sqlx::query(NOTE_APPLIED)
        .bind(schema.module())
        .bind(next)
        .bind(migration.name())
        .bind(migration.hash(engine))
        .bind(tai_now().0)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    tracing::info!("database: module {} is at version {next} ({})", schema.module(), migration.name());
    Ok(true)
}

/// Takes over what `sqlx::migrate` has noted. Its table goes: a program of before would take the database for its own.
async fn take_over(connection: &mut AnyConnection, engine: Engine, schema: &Schema) -> Result<(), Error> {
    const DOING: &str = "taking over the migrations of sqlx";
    let find = match engine {
        Engine::Sqlite => {
            "SELECT 1 AS found FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'"
        }
        Engine::Postgres => "SELECT 1 AS found WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
    };
    if sqlx::query(find).fetch_optional(&mut *connection).await.map_err(Error::sql(DOING))?.is_none() {
        return Ok(());
    }
    // An expression has no declared type, which sqlx::Any would not know for BOOLEAN of SQLite.
    let found = sqlx::query(
        "SELECT version, checksum, CASE WHEN success THEN 1 ELSE 0 END AS done FROM _sqlx_migrations ORDER BY version",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(Error::sql(DOING))?;
    for row in found {
        let version: i64 = row.try_get("version").map_err(Error::sql(DOING))?;
        let checksum: Vec<u8> = row.try_get("checksum").map_err(Error::sql(DOING))?;
        let done: i64 = row.try_get("done").map_err(Error::sql(DOING))?;
        let module = schema.module().to_owned();
        let Some(migration) = schema.migrations().iter().find(|known| known.version() == version) else {
            return Err(Error::Newer { module, found: version, known: schema.version() });
        };
        if done == 0 || migration.sqlx_checksum(engine) != checksum {
            return Err(Error::Altered { module, version });
        }
        sqlx::query(NOTE_APPLIED)
            .bind(schema.module())
            .bind(version)
            .bind(migration.name())
            .bind(migration.hash(engine))
            .bind(tai_now().0)
            .execute(&mut *connection)
            .await
            .map_err(Error::sql(DOING))?;
    }
    connection.execute("DROP TABLE _sqlx_migrations").await.map_err(Error::sql(DOING))?;
    Ok(())
}

/// Begins a change with the writer's lock.
async fn begin(
    connection: &mut AnyConnection,
    engine: Engine,
) -> Result<sqlx::Transaction<'_, sqlx::Any>, Error> {
    const DOING: &str = "waiting for the turn to migrate";
    match engine {
        Engine::Sqlite => connection.begin_with("BEGIN IMMEDIATE").await.map_err(Error::sql(DOING)),
        Engine::Postgres => {
            let mut transaction = connection.begin().await.map_err(Error::sql(DOING))?;
            let lock = AssertSqlSafe(format!(
                "SELECT 1 AS locked FROM pg_advisory_xact_lock({})",
                handle::WRITER_LOCK
            ));
            sqlx::query(lock).execute(&mut *transaction).await.map_err(Error::sql(DOING))?;
            Ok(transaction)
        }
    }
}
