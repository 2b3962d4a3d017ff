//! The catalogue's database: SQLite or PostgreSQL, chosen by one URL, by [`fep_database`].

mod audit;
mod completeness;
mod conditions;
mod deletions;
mod earlier;
mod extraction;
mod gaps;
mod holds;
mod insert;
mod jobs;
mod orders;
mod query;
mod rows;
mod seen;

use std::sync::Arc;

use fep_database::{Database, Migration, Options, Schema, Writing};
use sqlx::AnyPool;

use crate::Error;
use crate::model::Colour;

pub use audit::AuditWatch;
pub use completeness::CompletenessQuery;
pub use gaps::GapFilter;
pub use insert::Inserted;
pub use orders::OrderRules;
pub use query::{ContactFilter, SegmentFilter, Totals};
pub use seen::{Seen, Spacecraft};

pub(crate) use earlier::load_earlier;

/// The catalogue's own tables. The first two versions were applied by `sqlx::migrate` in earlier releases.
pub const SCHEMA: Schema = Schema::new(
    "archive",
    &[
        Migration::new(1, "catalogue", include_str!("../../migrations/0001_catalogue.sql")),
        Migration::new(2, "spans", include_str!("../../migrations/0002_spans.sql")),
        Migration::new(3, "orders", include_str!("../../migrations/0003_orders.sql")),
    ],
)
.formerly_sqlx();

/// Every module of the catalogue's database.
pub const SCHEMAS: [Schema; 4] = [SCHEMA, fep_audit::SCHEMA, fep_orders::SCHEMA, fep_jobs::SCHEMA];

/// The catalogue. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    database: Database,
    rules: OrderRules,
    black_only: bool,
    /// What its lists show; `None`: all.
    seen: Option<Arc<Seen>>,
}

impl Catalogue {
    /// Opens the catalogue at `url` with the usual patience: see [`Catalogue::open_with`].
    ///
    /// # Errors
    /// As [`Catalogue::open_with`].
    pub async fn open(url: &str) -> Result<Catalogue, Error> {
        Catalogue::open_with(&Options::new(url)).await
    }

    /// Opens the catalogue, makes its tables or brings them up to date, and takes over what an earlier release left: its audit
    /// trail is closed and bound to the new one, an approved deletion becomes an order, one that waited for its approval is
    /// withdrawn.
    ///
    /// # Errors
    /// Another kind of URL, a database that cannot be reached, tables of a later version.
    pub async fn open_with(options: &Options) -> Result<Catalogue, Error> {
        let database = Database::open(options, &SCHEMAS).await?;
        let catalogue = Catalogue { database, rules: OrderRules::default(), black_only: false, seen: None };
        catalogue.take_over_earlier().await?;
        Ok(catalogue)
    }

    /// The same catalogue with other rules for orders that are asked for from now on.
    #[must_use]
    pub fn with_rules(&self, rules: OrderRules) -> Catalogue {
        Catalogue { rules, ..self.clone() }
    }

    /// The same catalogue for a service that has nothing to do with red data: through this handle red segments are neither
    /// taken in nor listed, counted or deleted, as if there were none, and a catalogue that holds any is not backed up.
    #[must_use]
    pub fn black_only(&self) -> Catalogue {
        Catalogue { black_only: true, ..self.clone() }
    }

    /// The same catalogue for somebody who may see only this: segments with something of it, and contacts, channels, gaps of
    /// it are listed, nothing else. Single things by their names, totals, holds and orders are not held to it.
    #[must_use]
    pub fn seen_by(&self, seen: Seen) -> Catalogue {
        let is_all = seen.has_all_of(Colour::Black) && (self.black_only || seen.has_all_of(Colour::Red));
        Catalogue { seen: (!is_all).then(|| Arc::new(seen)), ..self.clone() }
    }

    /// The condition for rows with these columns, for a list of what is seen.
    fn seen_condition(&self, colour: &str, session: &str, scid: &str) -> Option<String> {
        self.seen.as_ref().map(|seen| seen.condition(colour, session, scid))
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

    /// The database, for jobs, the audit trail, health and backups.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Closes all connections. What was committed is on disk.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Whether there are rows of red segments that this handle does not show.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn has_hidden_rows(&self) -> Result<bool, Error> {
        if !self.black_only {
            return Ok(false);
        }
        // Gaps outlive nothing: without a red segment there is no red gap.
        sqlx::query("SELECT 1 AS found FROM segments WHERE colour = 'red' LIMIT 1")
            .fetch_optional(self.pool())
            .await
            .map(|row| row.is_some())
            .map_err(Error::sql("looking for red rows"))
    }

    /// Whether nothing was ever taken in or decided.
    pub(crate) async fn is_new(&self) -> Result<bool, Error> {
        let sql =
            "SELECT 1 AS found WHERE EXISTS (SELECT 1 FROM segments) OR EXISTS (SELECT 1 FROM kit_audit)";
        sqlx::query(sql)
            .fetch_optional(self.pool())
            .await
            .map(|row| row.is_none())
            .map_err(Error::sql("looking whether it is new"))
    }

    fn pool(&self) -> &AnyPool {
        self.database.pool()
    }

    /// A transaction that may write, when it is its turn.
    async fn begin(&self, doing: &'static str) -> Result<Writing, Error> {
        Ok(self.database.begin(doing).await?)
    }
}
