//! What only PostgreSQL has: how it describes its tables, and `COPY`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::address::Address;
use crate::backup::{self, FILE_MODE, FileCopy, Manifest, PART_OCTETS, TableCopy};
use crate::migrating::SCHEMA_TABLE;
use crate::rows::{Sum, Table, TableRows, in_order, quoted};
use crate::{Engine, Error, Schema, hex};

/// A line of `COPY` longer than this is none that this program wrote.
const LINE_LIMIT_OCTETS: u64 = 1 << 30;

const LIST_TABLES: &str = "SELECT c.relname::text AS name, c.relkind::text AS kind FROM pg_class c JOIN pg_namespace n \
     ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind NOT IN ('i', 'I', 'v', 'c', 't') \
     ORDER BY c.relname";
const LIST_COLUMNS: &str = "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod)::text AS kind FROM \
     pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE \
     n.nspname = current_schema() AND c.relname = $1::text AND a.attnum > 0 AND NOT a.attisdropped AND \
     a.attgenerated = '' ORDER BY a.attnum";
const LIST_REFERENCES: &str = "SELECT DISTINCT r.relname::text AS name FROM pg_constraint o JOIN pg_class c ON \
     c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class r ON r.oid = o.confrelid WHERE \
     o.contype = 'f' AND n.nspname = current_schema() AND c.relname = $1::text";

/// Text of a value does not depend on the server's configuration.
const SETTINGS: &str = "SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; \
     SET bytea_output = 'hex'; SET extra_float_digits = 1; SET client_encoding = 'UTF8'; SET statement_timeout = 0;";

macro_rules! describe {
    ($connection:expr) => {{
        const DOING: &str = "asking which tables there are";
        let found = sqlx::query(LIST_TABLES).fetch_all(&mut *$connection).await.map_err(Error::sql(DOING))?;
        let mut tables = Vec::with_capacity(found.len());
        for row in found {
            let name: String = row.try_get(0).map_err(Error::sql(DOING))?;
            let kind: String = row.try_get(1).map_err(Error::sql(DOING))?;
            if kind != "r" {
                return Err(Error::Row {
                    place: "this database",
                    problem: format!(
                        "\"{name}\", which is no plain table (kind {kind}: S a sequence, p a partitioned table, m a \
                         materialised view, f a foreign table): it cannot be copied"
                    ),
                });
            }
            let columns = sqlx::query(LIST_COLUMNS)
                .bind(&name)
                .fetch_all(&mut *$connection)
                .await
                .and_then(|rows| rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect())
                .map_err(Error::sql(DOING))?;
            let refers_to = sqlx::query(LIST_REFERENCES)
                .bind(&name)
                .fetch_all(&mut *$connection)
                .await
                .and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
                .map_err(Error::sql(DOING))?;
            tables.push(Table { name, columns, refers_to });
        }
        Ok(tables)
    }};
}

pub(crate) async fn tables_any(connection: &mut AnyConnection) -> Result<Vec<Table>, Error> {
    describe!(connection)
}

async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>, Error> {
    describe!(connection)
}

/// Copies one moment of the database into a directory.
pub(crate) async fn copy_out(address: &Address, directory: &Path) -> Result<Manifest, Error> {
    const DOING: &str = "copying the database";
    let mut connection = connect(address).await?;
    let mut transaction = connection
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(Error::sql(DOING))?;
    let ordered =
        in_order(tables(&mut transaction).await?).map_err(|problem| Error::backup(directory, problem))?;
    let (mut copies, mut files) = (BTreeMap::new(), BTreeMap::new());
    for table in &ordered {
        let file = file_name(&table.name);
        if file.starts_with('.') || file.contains('/') {
            return Err(Error::backup(directory, format!("table \"{}\" cannot name a file", table.name)));
        }
        let mut target = fep_file::Replacement::begin_new(&directory.join(&file), FILE_MODE)?;
        let (mut hasher, mut octets) = (Sha256::new(), 0);
        let rows = copy_table(&mut transaction, table, |part| {
            hasher.update(part);
            octets += part.len() as u64;
            target.write_all(part).map_err(|error| Error::backup(directory, format!("{file}: {error}")))
        })
        .await?;
        target.finish()?;
        files.insert(file, FileCopy { octets, sha256: hex::text(&hasher.finalize()) });
        copies.insert(table.name.clone(), TableCopy { columns: column_names(table), rows });
    }
    let migrations = sqlx::query("SELECT module, version, sha256 FROM fep_schema ORDER BY module, version")
        .fetch_all(&mut *transaction)
        .await
        .and_then(|rows| {
            let one = |row: &sqlx::postgres::PgRow| {
                Ok(backup::AppliedMigration {
                    module: row.try_get(0)?,
                    version: row.try_get(1)?,
                    sha256: row.try_get(2)?,
                })
            };
            rows.iter().map(one).collect()
        })
        .map_err(Error::sql(DOING))?;
    transaction.rollback().await.map_err(Error::sql(DOING))?;
    connection.close().await.map_err(Error::sql(DOING))?;
    Ok(Manifest {
        format: backup::FORMAT,
        engine: Engine::Postgres,
        made_at: fep_time::tai_now(),
        migrations,
        order: ordered.into_iter().map(|table| table.name).collect(),
        tables: copies,
        files,
    })
}

/// Whether the lines of the files are as many, and those, that the manifest says.
pub(crate) fn verify(directory: &Path, manifest: &Manifest) -> Result<(), Error> {
    let named: std::collections::BTreeSet<&String> = manifest.order.iter().collect();
    if named.len() != manifest.order.len() || named.into_iter().ne(manifest.tables.keys()) {
        return Err(Error::backup(
            directory,
            "the order of its tables names others than its manifest describes",
        ));
    }
    for (name, table) in &manifest.tables {
        let file = file_name(name);
        if !manifest.files.contains_key(&file) {
            return Err(Error::backup(directory, format!("its manifest names no file {file}")));
        }
        let path = directory.join(&file);
        let failed = |error: std::io::Error| Error::backup(&path, error.to_string());
        let mut lines = Lines::default();
        let mut reader = BufReader::with_capacity(PART_OCTETS, File::open(&path).map_err(failed)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LINE_LIMIT_OCTETS).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            lines.add(&line);
        }
        compare(directory, name, &table.rows, &lines.rows())?;
    }
    Ok(())
}

/// Puts a backup, which was verified, into an empty database, in one transaction.
pub(crate) async fn copy_in(
    directory: &Path,
    manifest: &Manifest,
    address: &Address,
    schemas: &[Schema],
) -> Result<(), Error> {
    const DOING: &str = "restoring the database";
    let mut connection = connect(address).await?;
    let mut transaction = connection.begin().await.map_err(Error::sql(DOING))?;
    let there = tables(&mut transaction).await?;
    if let Some(table) = there.first() {
        let problem = format!("it has a table \"{}\"; restore into a new database", table.name);
        return Err(Error::NotEmpty { place: address.shown.clone(), problem });
    }
    transaction.execute(SCHEMA_TABLE).await.map_err(Error::sql(DOING))?;
    for schema in schemas {
        let has = |version| {
            manifest.migrations.iter().any(|one| one.module == schema.module() && one.version == version)
        };
        for migration in schema.migrations().iter().filter(|migration| has(migration.version())) {
            sqlx::raw_sql(migration.text(Engine::Postgres)).execute(&mut *transaction).await.map_err(
                |source| Error::Migration {
                    module: schema.module().to_owned(),
                    version: migration.version(),
                    name: migration.name(),
                    source,
                },
            )?;
        }
    }
    let made = tables(&mut transaction).await?;
    if made.len() != manifest.tables.len() {
        let problem = format!("it has {} tables, its migrations make {}", manifest.tables.len(), made.len());
        return Err(Error::backup(directory, problem));
    }
    // Migrations may have put rows there; those of the backup are the ones that count.
    for name in manifest.order.iter().rev() {
        let Some(table) = made.iter().find(|table| table.name == *name) else {
            return Err(Error::backup(directory, format!("its migrations make no table \"{name}\"")));
        };
        let mut columns = column_names(table);
        columns.sort_unstable();
        let mut expected = manifest.tables[name].columns.clone();
        expected.sort_unstable();
        if columns != expected {
            return Err(Error::backup(
                directory,
                format!("its migrations make other columns of table \"{name}\""),
            ));
        }
        let sql = AssertSqlSafe(format!("DELETE FROM {}", quoted(name)));
        transaction.execute(sql).await.map_err(Error::sql(DOING))?;
    }
    for name in &manifest.order {
        let copy = &manifest.tables[name];
        fill_table(&mut transaction, directory, name, copy).await?;
        let table = Table {
            name: name.clone(),
            columns: copy.columns.iter().map(|column| (column.clone(), String::new())).collect(),
            refers_to: Vec::new(),
        };
        // What the database itself says it holds now.
        let found = copy_table(&mut transaction, &table, |_| Ok(())).await?;
        compare(directory, name, &copy.rows, &found)?;
    }
    transaction.commit().await.map_err(Error::sql(DOING))?;
    connection.close().await.map_err(Error::sql(DOING))
}

fn compare(directory: &Path, table: &str, expected: &TableRows, found: &TableRows) -> Result<(), Error> {
    let of = |rows: &TableRows| BTreeMap::from([(table.to_owned(), rows.clone())]);
    match crate::difference(&of(expected), &of(found)) {
        None => Ok(()),
        Some(problem) => Err(Error::backup(directory, problem)),
    }
}

async fn connect(address: &Address) -> Result<PgConnection, Error> {
    let mut connection =
        PgConnection::connect_with(&address.postgres()?).await.map_err(Error::sql("opening it"))?;
    connection.execute(SETTINGS).await.map_err(Error::sql("opening it"))?;
    Ok(connection)
}

async fn copy_table(
    connection: &mut PgConnection,
    table: &Table,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<TableRows, Error> {
    const DOING: &str = "copying a table";
    let sql = format!("COPY {} TO STDOUT", with_columns(&table.name, &column_names(table)));
    let mut lines = Lines::default();
    let mut parts = connection.copy_out_raw(&sql).await.map_err(Error::sql(DOING))?;
    while let Some(part) = parts.try_next().await.map_err(Error::sql(DOING))? {
        lines.add(&part);
        each(&part)?;
    }
    Ok(lines.rows())
}

async fn fill_table(
    connection: &mut PgConnection,
    directory: &Path,
    name: &str,
    copy: &TableCopy,
) -> Result<(), Error> {
    const DOING: &str = "restoring a table";
    let path = directory.join(file_name(name));
    let mut file = File::open(&path).map_err(|error| Error::backup(&path, error.to_string()))?;
    let sql = format!("COPY {} FROM STDIN", with_columns(name, &copy.columns));
    let mut copying = connection.copy_in_raw(&sql).await.map_err(Error::sql(DOING))?;
    let mut part = vec![0; PART_OCTETS];
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(read) => {
                copying.send(&part[..read]).await.map_err(Error::sql(DOING))?;
            }
            Err(error) => {
                let problem = error.to_string();
                copying.abort(problem.clone()).await.map_err(Error::sql(DOING))?;
                return Err(Error::backup(&path, problem));
            }
        }
    }
    copying.finish().await.map_err(Error::sql(DOING))?;
    Ok(())
}

fn file_name(table: &str) -> String {
    format!("{table}.copy")
}

fn column_names(table: &Table) -> Vec<String> {
    table.columns.iter().map(|(name, _)| name.clone()).collect()
}

fn with_columns(table: &str, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    format!("{} ({})", quoted(table), columns.join(", "))
}

/// Counts and hashes lines that come in parts. A line end within a value is escaped by `COPY`: a line is a row.
#[derive(Default)]
struct Lines {
    sum: Sum,
    begun: Vec<u8>,
}

impl Lines {
    fn add(&mut self, part: &[u8]) {
        for line in part.split_inclusive(|octet| *octet == b'\n') {
            if line.last() == Some(&b'\n') && self.begun.is_empty() {
                self.sum.add(&Sha256::digest(line).into());
                continue;
            }
            self.begun.extend_from_slice(line);
            if line.last() == Some(&b'\n') {
                self.sum.add(&Sha256::digest(&self.begun).into());
                self.begun.clear();
            }
        }
    }

    /// A line without its end is one more, and no row that anybody wrote.
    fn rows(mut self) -> TableRows {
        if !self.begun.is_empty() {
            self.sum.add(&Sha256::digest(&self.begun).into());
        }
        self.sum.rows()
    }
}
