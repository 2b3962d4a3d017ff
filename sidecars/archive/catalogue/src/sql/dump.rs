//! The whole catalogue as text, one JSON object a row: for backups, for moving from one database to the other, and for
//! comparing two catalogues.

use serde_json::{Map, Value};
use sqlx::any::AnyRow;

use super::rows::{opt_int, opt_text};
use super::{Catalogue, SCHEMA};
use crate::Error;

/// A table as the schema declares it.
struct Table {
    name: &'static str,
    columns: Vec<(&'static str, Kind)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
}

/// Tables in an order in which every row comes after those that it refers to: that of their declaration.
fn tables() -> Vec<Table> {
    SCHEMA
        .split("CREATE TABLE ")
        .skip(1)
        .filter_map(|declaration| {
            let (name, body) = declaration.split_once(" (")?;
            let columns = body
                .lines()
                .take_while(|line| !line.starts_with(')'))
                .filter_map(|line| {
                    let mut words = line.split_whitespace();
                    let (column, kind) = (words.next()?, words.next()?);
                    match kind.trim_end_matches(',') {
                        "BIGINT" => Some((column, Kind::Integer)),
                        "TEXT" => Some((column, Kind::Text)),
                        _ => None,
                    }
                })
                .collect();
            Some(Table { name, columns })
        })
        .collect()
}

impl Catalogue {
    /// All rows of all tables, one JSON object a line with the table's name under `table`, in an order that depends on the
    /// rows alone.
    ///
    /// # Errors
    /// The database.
    pub async fn dump(&self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        // One snapshot for all tables: a dump belongs to one moment.
        let mut transaction = self.begin().await?;
        for table in tables() {
            let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
            let found = sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut *transaction)
                .await
                .map_err(Error::sql("dumping a table"))?;
            let mut rows = Vec::with_capacity(found.len());
            for row in &found {
                let object = object(&table, row)?;
                if !self.hides_row(&object) {
                    rows.push(Value::Object(object).to_string());
                }
            }
            rows.sort_unstable();
            lines.append(&mut rows);
        }
        transaction.rollback().await.map_err(Error::sql("ending a dump"))?;
        Ok(lines)
    }

    /// Whether a row is of a segment or gap that does not exist for this handle.
    fn hides_row(&self, row: &Map<String, Value>) -> bool {
        let names = ["id", "segment_id", "gap_id"].into_iter().filter_map(|column| row.get(column)?.as_str());
        names.into_iter().any(|name| self.hides(name))
    }

    /// Loads a dump into a catalogue that is empty.
    ///
    /// # Errors
    /// A catalogue that is not empty; a line that is no row of these tables; the database. Nothing is loaded then.
    pub async fn load(&self, lines: impl IntoIterator<Item = &str>) -> Result<u64, Error> {
        let tables = tables();
        let mut transaction = self.begin().await?;
        for table in &tables {
            let sql = format!("SELECT 1 AS found FROM {} LIMIT 1", table.name);
            let found = sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_optional(&mut *transaction)
                .await
                .map_err(Error::sql("looking whether it is empty"))?;
            if found.is_some() {
                return Err(Error::refused(
                    "loading a dump",
                    format!("the table {} has rows already", table.name),
                ));
            }
        }
        let mut loaded = 0;
        for (number, text) in lines.into_iter().enumerate() {
            let bad = |problem: String| Error::Invalid {
                what: "dump",
                problem: format!("line {}: {problem}", number + 1),
            };
            let row: Map<String, Value> =
                serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
            let name = row.get("table").and_then(Value::as_str).unwrap_or_default();
            let table = tables
                .iter()
                .find(|table| table.name == name)
                .ok_or_else(|| bad(format!("there is no table \"{name}\"")))?;
            let places: Vec<String> = (1..=table.columns.len()).map(|at| format!("${at}")).collect();
            let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            let sql =
                format!("INSERT INTO {} ({}) VALUES ({})", table.name, columns.join(", "), places.join(", "));
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (column, kind) in &table.columns {
                let value = row.get(*column).ok_or_else(|| bad(format!("{column} is missing")))?;
                query = match (kind, value) {
                    (Kind::Integer, Value::Null) => query.bind(None::<i64>),
                    (Kind::Text, Value::Null) => query.bind(None::<String>),
                    (Kind::Integer, value) => {
                        query.bind(value.as_i64().ok_or_else(|| bad(format!("{column} is no number")))?)
                    }
                    (Kind::Text, Value::String(text)) => query.bind(text.clone()),
                    (Kind::Text, _) => return Err(bad(format!("{column} is no text"))),
                };
            }
            query.execute(&mut *transaction).await.map_err(Error::sql("loading a row"))?;
            loaded += 1;
        }
        transaction.commit().await.map_err(Error::sql("committing a load"))?;
        Ok(loaded)
    }
}

fn object(table: &Table, row: &AnyRow) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    object.insert("table".to_owned(), table.name.into());
    for (column, kind) in &table.columns {
        let value = match kind {
            Kind::Integer => opt_int(row, column)?.into(),
            Kind::Text => opt_text(row, column)?.into(),
        };
        object.insert((*column).to_owned(), value);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_column_is_dumped() {
        let tables = tables();
        let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
        let expected = [
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
        assert_eq!(names, expected);
        let declared = SCHEMA.matches(" BIGINT").count() + SCHEMA.matches(" TEXT").count();
        assert_eq!(tables.iter().map(|table| table.columns.len()).sum::<usize>(), declared);
    }
}
