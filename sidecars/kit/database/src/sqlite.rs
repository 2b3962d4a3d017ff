//! What only SQLite has: how it describes its tables, `VACUUM INTO`, and the file put back.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};

use crate::backup::{self, FILE_MODE, Manifest, TableCopy};
use crate::rows::{self, Table};
use crate::{Database, Engine, Error, migrating};

/// Name of the copy within a backup.
const COPY: &str = "database.sqlite3";

pub(crate) async fn tables(connection: &mut AnyConnection) -> Result<Vec<Table>, Error> {
    const DOING: &str = "asking which tables there are";
    let found = sqlx::query(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(Error::sql(DOING))?;
    let mut tables = Vec::with_capacity(found.len());
    for row in found {
        let name: String = row.try_get(0).map_err(Error::sql(DOING))?;
        let columns = sqlx::query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
            .bind(&name)
            .fetch_all(&mut *connection)
            .await
            .and_then(|rows| rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect())
            .map_err(Error::sql(DOING))?;
        let refers_to = sqlx::query("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)")
            .bind(&name)
            .fetch_all(&mut *connection)
            .await
            .and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
            .map_err(Error::sql(DOING))?;
        tables.push(Table { name, columns, refers_to });
    }
    Ok(tables)
}

/// Copies one moment of the database into a directory, and describes what the copy holds.
pub(crate) async fn copy_out(database: &Database, directory: &Path) -> Result<Manifest, Error> {
    let path = directory.join(COPY);
    let text = path.to_str().ok_or_else(|| Error::backup(&path, "its path is no text"))?.to_owned();
    // It may be an empty file: so it has its mode before it has any contents.
    fep_file::create_new(&path, FILE_MODE, b"")?;
    sqlx::query("VACUUM INTO $1")
        .bind(text)
        .execute(database.pool())
        .await
        .map_err(Error::sql("copying the database"))?;
    backup::make_durable(&path).await?;
    let file = backup::describe_file(&path).await?;
    let (tables, migrations) = look_into(&path).await?;
    Ok(Manifest {
        format: backup::FORMAT,
        engine: Engine::Sqlite,
        made_at: fep_time::tai_now(),
        migrations,
        order: tables.keys().cloned().collect(),
        tables,
        files: BTreeMap::from([(COPY.to_owned(), file)]),
    })
}

/// Whether a copy is what its manifest says.
pub(crate) async fn verify(directory: &Path, manifest: &Manifest) -> Result<(), Error> {
    if !manifest.files.contains_key(COPY) {
        return Err(Error::backup(directory, format!("its manifest names no {COPY}")));
    }
    let (tables, migrations) = look_into(&directory.join(COPY)).await?;
    if tables != manifest.tables || migrations != manifest.migrations {
        let of = |tables: &BTreeMap<String, TableCopy>| {
            tables.iter().map(|(name, table)| (name.clone(), table.rows.clone())).collect()
        };
        let what = rows::difference(&of(&manifest.tables), &of(&tables));
        let what = what.unwrap_or_else(|| "columns or migrations differ from the manifest".to_owned());
        return Err(Error::backup(directory, what));
    }
    Ok(())
}

/// Puts the copy, which was verified, into the place of a database that does not exist.
pub(crate) async fn copy_in(directory: &Path, manifest: &Manifest, file: &Path) -> Result<(), Error> {
    // A log that belongs to no database would be played into the copy.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut other = file.as_os_str().to_owned();
        other.push(suffix);
        if std::fs::symlink_metadata(Path::new(&other)).is_ok() {
            let problem = format!("{} exists; move it away first", Path::new(&other).display());
            return Err(Error::NotEmpty { place: format!("SQLite, {}", file.display()), problem });
        }
    }
    let expected = &manifest.files[COPY];
    backup::copy_file(&directory.join(COPY), expected, file).await
}

async fn look_into(
    path: &Path,
) -> Result<(BTreeMap<String, TableCopy>, Vec<backup::AppliedMigration>), Error> {
    const DOING: &str = "reading the copy of a database";
    sqlx::any::install_default_drivers();
    let bad = |problem: String| Error::backup(path, problem);
    let mut options: AnyConnectOptions =
        "sqlite:///".parse().map_err(|error: sqlx::Error| bad(error.to_string()))?;
    options.database_url.set_path(path.to_str().ok_or_else(|| bad("its path is no text".to_owned()))?);
    // Read only: no log is made beside it, and nothing is changed.
    options.database_url.set_query(Some("mode=ro&immutable=true"));
    let mut connection = options
        .disable_statement_logging()
        .connect()
        .await
        .map_err(Error::sql("opening the copy of a database"))?;
    let verdict: String = sqlx::query("PRAGMA integrity_check(1)")
        .fetch_one(&mut connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(Error::sql(DOING))?;
    if verdict != "ok" {
        return Err(bad(format!("SQLite finds it damaged: {verdict}")));
    }
    let described = tables(&mut connection).await?;
    let mut counted = rows::of_all_tables(&mut connection, Engine::Sqlite).await?;
    let mut copies = BTreeMap::new();
    for table in described {
        let Some(rows) = counted.remove(&table.name) else { continue };
        let columns = table.columns.into_iter().map(|(name, _)| name).collect();
        copies.insert(table.name, TableCopy { columns, rows });
    }
    let migrations = migrating::applied(&mut connection).await?;
    connection.close().await.map_err(Error::sql(DOING))?;
    Ok((copies, migrations.into_iter().map(Into::into).collect()))
}
