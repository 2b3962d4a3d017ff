//! The tables of a module, as the steps that lead to them.

use sha2::{Digest, Sha256, Sha384};

use crate::{Engine, Error, hex};

/// One step of the tables. It is applied once, in a transaction, and never changed after a release: the database keeps the
/// hash of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Migration {
    /// A step that both engines understand. `version` is 1 for the first of a module and one more for each that follows.
    #[must_use]
    pub const fn new(version: i64, name: &'static str, sql: &'static str) -> Migration {
        Migration { version, name, sqlite: sql, postgres: sql }
    }

    /// A step that each engine must be told in its own words.
    #[must_use]
    pub const fn of_engines(
        version: i64,
        name: &'static str,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Migration {
        Migration { version, name, sqlite, postgres }
    }

    pub(crate) const fn version(&self) -> i64 {
        self.version
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn text(&self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }

    pub(crate) fn hash(&self, engine: Engine) -> String {
        hex::text(&Sha256::digest(self.text(engine).as_bytes()))
    }

    /// The checksum by which `sqlx::migrate` knows the text.
    pub(crate) fn sqlx_checksum(&self, engine: Engine) -> Vec<u8> {
        Sha384::digest(self.text(engine).as_bytes()).to_vec()
    }
}

/// The migrations of one module. Several modules (the service's own tables, audit, orders, jobs) share a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    module: &'static str,
    migrations: &'static [Migration],
    sqlx: bool,
}

impl Schema {
    /// Module and its migrations, numbered from 1 without a hole.
    #[must_use]
    pub const fn new(module: &'static str, migrations: &'static [Migration]) -> Schema {
        Schema { module, migrations, sqlx: false }
    }

    /// Its first versions may have been applied by `sqlx::migrate`, with the same numbers and texts: they are taken over.
    #[must_use]
    pub const fn formerly_sqlx(self) -> Schema {
        Schema { sqlx: true, ..self }
    }

    /// The same module when it had only the versions up to this one: for tests of migrations.
    #[must_use]
    pub fn up_to(&self, version: i64) -> Schema {
        let kept = self.migrations.iter().take_while(|migration| migration.version <= version).count();
        Schema { migrations: &self.migrations[..kept], ..*self }
    }

    /// Name of the module.
    #[must_use]
    pub const fn module(&self) -> &'static str {
        self.module
    }

    /// Its latest version; 0 when it has none.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.migrations.last().map_or(0, Migration::version)
    }

    pub(crate) const fn migrations(&self) -> &'static [Migration] {
        self.migrations
    }

    pub(crate) const fn was_sqlx(&self) -> bool {
        self.sqlx
    }
}

/// Refuses migrations that are not numbered 1, 2, 3 …, and two modules of one name.
pub(crate) fn check(schemas: &[Schema]) -> Result<(), Error> {
    for (at, schema) in schemas.iter().enumerate() {
        let bad = |problem: String| Error::Schema { module: schema.module.to_owned(), problem };
        if schemas[..at].iter().any(|other| other.module == schema.module) {
            return Err(bad("it is given twice".to_owned()));
        }
        for (expected, migration) in (1..).zip(schema.migrations) {
            if migration.version != expected {
                return Err(bad(format!("number {} stands where {expected} belongs", migration.version)));
            }
        }
    }
    if schemas.iter().filter(|schema| schema.sqlx).count() > 1 {
        let problem = "only one module of a database can have been under sqlx::migrate".to_owned();
        return Err(Error::Schema { module: schemas[0].module.to_owned(), problem });
    }
    Ok(())
}
