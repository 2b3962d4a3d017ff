//! What an earlier release left: its deletions, its audit trail, and the form of its backups.

use std::collections::BTreeSet;

use fep_database::{Database, Options, Writing};
use fep_orders::{Actor, NewOrder, Step};
use fep_time::{Tai, tai_now};
use serde_json::{Map, Value};

use super::deletions::{content_of, keep_list, subject};
use super::rows::{segment_id, text};
use super::{Catalogue, OrderRules, SCHEMA, audit};
use crate::Error;
use crate::model::SegmentId;

/// The version of the tables that earlier backups were made of.
const EARLIER_VERSION: i64 = 2;
/// Its tables, in an order in which every row comes after those that it refers to.
const EARLIER_TABLES: [&str; 10] = [
    "segments",
    "presences",
    "runs",
    "gaps",
    "gap_steps",
    "holds",
    "deletions",
    "deletion_segments",
    "roots",
    "audit",
];

impl Catalogue {
    /// Closes the earlier audit trail and takes over the deletions that were not decided or not carried out. A second time
    /// there is nothing to do.
    pub(super) async fn take_over_earlier(&self) -> Result<(), Error> {
        let now = tai_now();
        self.close_earlier_trail(now).await?;
        let open = sqlx::query(
            "SELECT * FROM deletions d WHERE state IN ('requested', 'approved') AND NOT EXISTS \
             (SELECT 1 FROM kit_orders o WHERE o.id = d.id) ORDER BY requested_at, id",
        )
        .fetch_all(self.pool())
        .await
        .map_err(Error::sql("looking for earlier deletions"))?;
        for row in &open {
            let id = text(row, "id")?;
            let taken = if text(row, "state")? == "approved" {
                self.take_over_approved(&id, row, now).await
            } else {
                Err(Error::refused(&id, "who asked for it is known by the name of an earlier release only"))
            };
            match taken {
                Ok(()) => tracing::info!("{id}, which was approved, is an order now"),
                Err(error @ (Error::Refused { .. } | Error::Invalid { .. } | Error::NotAllowed(_))) => {
                    self.withdraw_earlier(&id, &error.to_string(), now).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Two persons had decided it: it becomes an order that is approved, by the same persons.
    async fn take_over_approved(&self, id: &str, row: &sqlx::any::AnyRow, now: Tai) -> Result<(), Error> {
        let mut writing = self.begin("taking over a deletion").await?;
        let found = sqlx::query(
            "SELECT segment_id FROM deletion_segments WHERE deletion_id = $1 ORDER BY segment_id || ''",
        )
        .bind(id)
        .fetch_all(&mut *writing)
        .await
        .map_err(Error::sql("listing the segments of a deletion"))?;
        let segments: Vec<SegmentId> =
            found.iter().map(|row| segment_id(row, "segment_id")).collect::<Result<_, _>>()?;
        let segments: BTreeSet<&SegmentId> = segments.iter().collect();
        let (requester, decider) = (text(row, "requester")?, text(row, "decider")?);
        let detail = format!("asked by {requester}, approved by {decider}, under an earlier release");
        let action = "deletion taken over";
        audit::append(&mut writing, now.0, audit::SERVICE, action, id, &detail).await?;
        let rule = OrderRules::default().delete();
        let content_sha256 = content_of(segments.iter().copied());
        let (id, reason) = (id.to_owned(), text(row, "reason")?);
        let new = NewOrder { id: id.clone(), subject: subject(&segments), reason, content_sha256 };
        let asker = Actor::new(&requester, "", &[&rule.ask])?;
        let seats: Vec<&str> = rule.seats.iter().map(String::as_str).collect();
        let approver = Actor::new(&decider, "", &seats)?;
        fep_orders::ask(&mut writing, new, rule.clone(), &asker, now).await?;
        keep_list(&mut writing, &id, &segments).await?;
        fep_orders::act(&mut writing, &id, &Step::Approve { content_sha256 }, &approver, now).await?;
        Ok(writing.commit().await?)
    }

    /// Nothing is deleted: it has to be asked for again.
    async fn withdraw_earlier(&self, id: &str, why: &str, now: Tai) -> Result<(), Error> {
        let mut writing: Writing = self.begin("withdrawing a deletion").await?;
        sqlx::query("UPDATE deletions SET state = 'withdrawn' WHERE id = $1")
            .bind(id)
            .execute(&mut *writing)
            .await
            .map_err(Error::sql("withdrawing a deletion"))?;
        let detail = format!("it has to be asked for again: {why}");
        audit::append(&mut writing, now.0, audit::SERVICE, "deletion withdrawn", id, &detail).await?;
        tracing::warn!("{id} is withdrawn, {detail}");
        Ok(writing.commit().await?)
    }
}

/// Loads the catalogue of an earlier backup (one JSON object a row, the table's name under `table`) into tables of its version,
/// in an empty database; [`Catalogue::open_with`] brings them up to date. The number of rows.
///
/// # Errors
/// A database that is not empty; a line that is no row of these tables; the database. Nothing is loaded then.
pub(crate) async fn load_earlier<'l>(
    options: &Options,
    lines: impl IntoIterator<Item = &'l str>,
) -> Result<u64, Error> {
    let database = Database::open(options, &[SCHEMA.up_to(EARLIER_VERSION)]).await?;
    let loaded = load(&database, lines).await;
    database.close().await;
    loaded
}

async fn load<'l>(database: &Database, lines: impl IntoIterator<Item = &'l str>) -> Result<u64, Error> {
    let mut writing = database.begin("loading an earlier backup").await?;
    for table in EARLIER_TABLES {
        let sql = format!("SELECT 1 AS found FROM {table} LIMIT 1");
        let found = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_optional(&mut *writing)
            .await
            .map_err(Error::sql("looking whether it is empty"))?;
        if found.is_some() {
            let why = format!("the table {table} has rows already");
            return Err(Error::refused("loading an earlier backup", why));
        }
    }
    let mut loaded = 0;
    for (number, line) in lines.into_iter().enumerate() {
        let bad = |problem: String| Error::Invalid {
            what: "catalogue of an earlier backup",
            problem: format!("line {}: {problem}", number + 1),
        };
        let row: Map<String, Value> = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        let name = row.get("table").and_then(Value::as_str).unwrap_or_default();
        let table = EARLIER_TABLES.into_iter().find(|table| *table == name);
        let table = table.ok_or_else(|| bad(format!("there is no table \"{name}\"")))?;
        // What is left out is NULL.
        let columns: Vec<(&String, &Value)> =
            row.iter().filter(|(column, value)| *column != "table" && !value.is_null()).collect();
        let plain = |column: &str| column.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        if let Some((column, _)) = columns.iter().find(|(column, _)| !plain(column)) {
            return Err(bad(format!("{column:?} is no name of a column")));
        }
        let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
        let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (column, value) in &columns {
            query = match value {
                Value::String(text) => query.bind(text.clone()),
                value => query.bind(value.as_i64().ok_or_else(|| bad(format!("{column} is no number")))?),
            };
        }
        query.execute(&mut *writing).await.map_err(Error::sql("loading a row"))?;
        loaded += 1;
    }
    writing.commit().await?;
    Ok(loaded)
}
