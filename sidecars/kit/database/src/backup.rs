//! A copy of one moment of a database in a directory of its own, made by the engine, and put back row for row.
//!
//! | engine | how it is copied | files |
//! |---|---|---|
//! | SQLite | `VACUUM INTO` | `database.sqlite3` |
//! | PostgreSQL | `COPY … TO STDOUT` of every table in one `REPEATABLE READ` transaction | `TABLE.copy`, in the text format of `COPY` |
//!
//! Which tables and columns there are is what the engine says of itself. `manifest.json` is written last: octets and SHA-256
//! of every file, the number of rows of every table with a digest, and the migrations that led to the tables. The directory
//! has mode 0700 and its files 0600, and it has its name only when it is whole and on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fep_time::Tai;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::migrating::Applied;
use crate::rows::TableRows;
use crate::{Database, Engine, Error, Options, Schema, hex, postgres, schema, sqlite};

pub(crate) const FORMAT: u32 = 1;
pub(crate) const FILE_MODE: u32 = 0o600;
pub(crate) const PART_OCTETS: usize = 256 << 10;
const MANIFEST: &str = "manifest.json";
const MANIFEST_LIMIT_OCTETS: u64 = 16 << 20;

/// What a backup holds: `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form, 1.
    pub format: u32,
    /// Engine of the database that was copied. A backup goes back into the same kind.
    pub engine: Engine,
    /// When it was made.
    pub made_at: Tai,
    /// Migrations that the database had.
    pub migrations: Vec<AppliedMigration>,
    /// Tables in an order in which each comes after those that it refers to.
    pub order: Vec<String>,
    /// What each table held.
    pub tables: BTreeMap<String, TableCopy>,
    /// The files of the backup.
    pub files: BTreeMap<String, FileCopy>,
}

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedMigration {
    /// Of which module.
    pub module: String,
    /// Its number.
    pub version: i64,
    /// SHA-256 of its text.
    pub sha256: String,
}

impl From<Applied> for AppliedMigration {
    fn from(applied: Applied) -> AppliedMigration {
        AppliedMigration { module: applied.module, version: applied.version, sha256: applied.sha256 }
    }
}

/// A table of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableCopy {
    /// Its columns, in the order of the copy.
    pub columns: Vec<String>,
    /// Its rows. The digest of SQLite is over values, that of PostgreSQL over the lines of `COPY`.
    #[serde(flatten)]
    pub rows: TableRows,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCopy {
    /// Its length.
    pub octets: u64,
    /// Its SHA-256.
    pub sha256: String,
}

impl Database {
    /// Copies one moment of the database into a directory that does not exist yet. Others read and write meanwhile.
    ///
    /// # Errors
    /// A directory that exists; what the engine or the system says. Nothing has the name then; a directory `NAME.building`
    /// may be left when the process is killed, and the next backup of that name replaces it.
    pub async fn backup(&self, directory: &Path) -> Result<Manifest, Error> {
        if std::fs::symlink_metadata(directory).is_ok() {
            return Err(Error::backup(
                directory,
                "it exists already: every backup has a directory of its own",
            ));
        }
        let building = Building::begin(directory)?;
        let manifest = match self.engine() {
            Engine::Sqlite => sqlite::copy_out(self, &building.path).await?,
            Engine::Postgres => postgres::copy_out(self.address(), &building.path).await?,
        };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::backup(directory, error.to_string()))?;
        fep_file::create_new(&building.path.join(MANIFEST), FILE_MODE, &text)?;
        building.finish()?;
        Ok(manifest)
    }
}

/// Reads a whole backup and compares it with its manifest: every file, and the number and digest of the rows of every table.
///
/// # Errors
/// [`Error::Backup`] with the first difference; what the system says.
pub async fn verify_backup(directory: &Path) -> Result<Manifest, Error> {
    let manifest = read_manifest(directory)?;
    for (name, expected) in &manifest.files {
        // Names come from a file: they must not lead elsewhere.
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(Error::backup(directory, format!("its manifest names a file \"{name}\"")));
        }
        let found = describe_file(&directory.join(name)).await?;
        if found != *expected {
            let problem = format!(
                "{name} has {} octets and SHA-256 {}, its manifest says {} and {}",
                found.octets, found.sha256, expected.octets, expected.sha256
            );
            return Err(Error::backup(directory, problem));
        }
    }
    match manifest.engine {
        Engine::Sqlite => sqlite::verify(directory, &manifest).await?,
        Engine::Postgres => postgres::verify(directory, &manifest)?,
    }
    Ok(manifest)
}

/// Puts a backup, after [`verify_backup`], into an empty place of the same engine, and compares what is there then with the
/// manifest before anything of it can be seen. [`Database::open`] afterwards brings the tables to the latest versions.
///
/// # Errors
/// A place that is not empty ([`Error::NotEmpty`]); another engine; a backup of a later program or of other migrations; a
/// difference; what the engine or the system says. The place then is as before.
pub async fn restore(directory: &Path, options: &Options, schemas: &[Schema]) -> Result<Manifest, Error> {
    schema::check(schemas)?;
    let address = Address::of(options)?;
    let manifest = verify_backup(directory).await?;
    if manifest.engine != address.engine {
        let problem =
            format!("it was made of {}, and {} is no such database", manifest.engine, address.shown);
        return Err(Error::backup(directory, problem));
    }
    for applied in &manifest.migrations {
        let schema = schemas.iter().find(|schema| schema.module() == applied.module);
        let migrations = schema.map_or(&[][..], |schema| schema.migrations());
        let Some(migration) = migrations.iter().find(|known| known.version() == applied.version) else {
            let known = schema.map_or(0, Schema::version);
            return Err(Error::Newer { module: applied.module.clone(), found: applied.version, known });
        };
        if migration.hash(manifest.engine) != applied.sha256 {
            return Err(Error::Altered { module: applied.module.clone(), version: applied.version });
        }
    }
    match &address.file {
        Some(file) => sqlite::copy_in(directory, &manifest, file).await?,
        None => postgres::copy_in(directory, &manifest, &address, schemas).await?,
    }
    Ok(manifest)
}

fn read_manifest(directory: &Path) -> Result<Manifest, Error> {
    let path = directory.join(MANIFEST);
    let text = fep_file::read(&path, MANIFEST_LIMIT_OCTETS)?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| Error::backup(&path, format!("not a manifest: {error}")))?;
    if manifest.format != FORMAT {
        return Err(Error::backup(
            &path,
            format!("it has form {}, this program knows {FORMAT}", manifest.format),
        ));
    }
    Ok(manifest)
}

/// A directory that has its name only when it is whole.
struct Building {
    path: PathBuf,
    name: PathBuf,
}

impl Building {
    fn begin(name: &Path) -> Result<Building, Error> {
        let mut path = name.as_os_str().to_owned();
        path.push(".building");
        let path = PathBuf::from(path);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::backup(&path, format!("it cannot be removed: {error}")));
            }
            _ => {}
        }
        fep_file::create_directory(&path, 0o700)?;
        Ok(Building { path, name: name.to_owned() })
    }

    fn finish(self) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::backup(&self.name, format!("it cannot get its name: {error}"));
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(failed)?;
        std::fs::rename(&self.path, &self.name).map_err(failed)?;
        let parent = self.name.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(failed)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // When it is finished, there is none of this name any more.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs what waits for a disk away from the threads that serve others.
async fn aside<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || work(&owned))
        .await
        .map_err(|error| Error::backup(path, format!("the work on it ended early: {error}")))?
}

fn system(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| fep_file::FileError::Io { action, path, source }.into()
}

pub(crate) async fn make_durable(path: &Path) -> Result<(), Error> {
    aside(path, |path| {
        File::open(path).and_then(|file| file.sync_all()).map_err(system("make durable", path))
    })
    .await
}

pub(crate) async fn describe_file(path: &Path) -> Result<FileCopy, Error> {
    aside(path, |path| {
        let mut file = File::open(path).map_err(system("open", path))?;
        let (mut hasher, mut octets) = (Sha256::new(), 0);
        let mut part = vec![0; PART_OCTETS];
        loop {
            let read = file.read(&mut part).map_err(system("read", path))?;
            if read == 0 {
                return Ok(FileCopy { octets, sha256: hex::text(&hasher.finalize()) });
            }
            hasher.update(&part[..read]);
            octets += read as u64;
        }
    })
    .await
}

/// Copies a file to a name that must not exist; it gets the name only when it is what was expected.
pub(crate) async fn copy_file(from: &Path, expected: &FileCopy, to: &Path) -> Result<(), Error> {
    let (from, expected) = (from.to_owned(), expected.clone());
    aside(to, move |to| {
        let mut source = File::open(&from).map_err(system("open", &from))?;
        let mut target = fep_file::Replacement::begin_new(to, FILE_MODE)?;
        let (mut hasher, mut octets) = (Sha256::new(), 0);
        let mut part = vec![0; PART_OCTETS];
        loop {
            let read = source.read(&mut part).map_err(system("read", &from))?;
            if read == 0 {
                break;
            }
            hasher.update(&part[..read]);
            octets += read as u64;
            target.write_all(&part[..read]).map_err(system("write", to))?;
        }
        if octets != expected.octets || hex::text(&hasher.finalize()) != expected.sha256 {
            return Err(Error::backup(&from, "it changed while it was read"));
        }
        Ok(target.finish()?)
    })
    .await
}
