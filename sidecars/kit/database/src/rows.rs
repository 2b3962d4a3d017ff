//! How many rows each table has, and a digest of them that does not depend on their order: what two databases are compared
//! by.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AnyConnection, AssertSqlSafe, Row, ValueRef};

use crate::{Database, Engine, Error, hex, postgres, sqlite};

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRows {
    /// Number of rows.
    pub rows: u64,
    /// Sum of the SHA-256 of all rows, modulo 2²⁵⁶, 64 hexadecimal digits. It finds every loss, change and doubling that
    /// happens by accident; it is no proof against somebody who chooses rows to deceive it.
    pub digest: String,
}

/// A table as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// Names and types, in the engine's order.
    pub(crate) columns: Vec<(String, String)>,
    /// Other tables that its rows refer to.
    pub(crate) refers_to: Vec<String>,
}

impl Database {
    /// What every table holds, of one moment. Tables of the two engines with the same rows give the same.
    ///
    /// # Errors
    /// The engine's.
    pub async fn rows(&self) -> Result<BTreeMap<String, TableRows>, Error> {
        let mut reading = self.read("counting all rows").await?;
        of_all_tables(&mut reading, self.engine()).await
    }
}

/// The first table that two databases do not hold alike, in words; `None` when there is none.
#[must_use]
pub fn difference(
    expected: &BTreeMap<String, TableRows>,
    found: &BTreeMap<String, TableRows>,
) -> Option<String> {
    for (table, rows) in expected {
        match found.get(table) {
            None => return Some(format!("table \"{table}\" is missing")),
            Some(other) if other.rows != rows.rows => {
                return Some(format!(
                    "table \"{table}\" has {} rows, {} were expected",
                    other.rows, rows.rows
                ));
            }
            Some(other) if other != rows => {
                return Some(format!("table \"{table}\" has {} rows as expected, but other ones", rows.rows));
            }
            Some(_) => {}
        }
    }
    found.keys().find(|table| !expected.contains_key(*table)).map(|table| format!("table \"{table}\" is new"))
}

pub(crate) async fn of_all_tables(
    connection: &mut AnyConnection,
    engine: Engine,
) -> Result<BTreeMap<String, TableRows>, Error> {
    let tables = match engine {
        Engine::Sqlite => sqlite::tables(connection).await?,
        Engine::Postgres => postgres::tables_any(connection).await?,
    };
    let mut found = BTreeMap::new();
    for table in tables {
        let rows = of_table(connection, engine, &table).await?;
        found.insert(table.name, rows);
    }
    Ok(found)
}

async fn of_table(connection: &mut AnyConnection, engine: Engine, table: &Table) -> Result<TableRows, Error> {
    const DOING: &str = "reading all rows of a table";
    let mut names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let kind_of =
        |name: &str| table.columns.iter().find(|(other, _)| other == name).map_or("", |(_, kind)| kind);
    let columns: Vec<String> = names.iter().map(|name| readable(engine, name, kind_of(name))).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(&table.name));
    let mut sum = Sum::default();
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(Error::sql(DOING))? {
        sum.add(&hash_of(&row, &names).map_err(Error::sql(DOING))?);
    }
    Ok(sum.rows())
}

/// An expression for a column that [`sqlx::Any`] can read, whatever the type.
fn readable(engine: Engine, name: &str, kind: &str) -> String {
    const PLAIN: [&str; 8] =
        ["bigint", "integer", "smallint", "text", "bytea", "boolean", "double precision", "real"];
    match engine {
        // An expression has no declared type: the value alone says what it is.
        Engine::Sqlite => format!("+{}", quoted(name)),
        Engine::Postgres if PLAIN.contains(&kind) => quoted(name),
        Engine::Postgres => format!("{}::text", quoted(name)),
    }
}

/// SHA-256 of names and values, each with its length; alike for both engines.
fn hash_of(row: &AnyRow, names: &[&str]) -> Result<[u8; 32], sqlx::Error> {
    let mut hasher = Sha256::new();
    let mut part = |octets: &[u8]| {
        hasher.update((octets.len() as u64).to_be_bytes());
        hasher.update(octets);
    };
    for (at, name) in names.iter().enumerate() {
        part(name.as_bytes());
        let kind = {
            let value = row.try_get_raw(at)?;
            if value.is_null() { AnyTypeInfoKind::Null } else { value.type_info().kind() }
        };
        match kind {
            AnyTypeInfoKind::Null => part(b"n"),
            AnyTypeInfoKind::Bool => part(&[b'i', u8::from(row.try_get::<bool, _>(at)?)]),
            AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
                part(b"i");
                part(&row.try_get::<i64, _>(at)?.to_be_bytes());
            }
            AnyTypeInfoKind::Real => {
                part(b"f");
                part(&f64::from(row.try_get::<f32, _>(at)?).to_bits().to_be_bytes());
            }
            AnyTypeInfoKind::Double => {
                part(b"f");
                part(&row.try_get::<f64, _>(at)?.to_bits().to_be_bytes());
            }
            AnyTypeInfoKind::Text => {
                part(b"t");
                part(row.try_get::<String, _>(at)?.as_bytes());
            }
            AnyTypeInfoKind::Blob => {
                part(b"b");
                part(&row.try_get::<Vec<u8>, _>(at)?);
            }
        }
    }
    Ok(hasher.finalize().into())
}

/// Adds up hashes as numbers of 256 bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    rows: u64,
    words: [u64; 4],
}

impl Sum {
    pub(crate) fn add(&mut self, hash: &[u8; 32]) {
        self.rows += 1;
        let mut carry = false;
        for (word, octets) in self.words.iter_mut().zip(hash.chunks_exact(8)) {
            let added = octets.iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet));
            let (sum, over) = word.overflowing_add(added);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over || over_by_carry;
        }
    }

    pub(crate) fn rows(&self) -> TableRows {
        let octets: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        TableRows { rows: self.rows, digest: hex::text(&octets) }
    }
}

/// A name in quotation marks.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables in an order in which every one comes after those that it refers to.
pub(crate) fn in_order(tables: Vec<Table>) -> Result<Vec<Table>, String> {
    let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
    let mut left = tables;
    while !left.is_empty() {
        let waits = |table: &Table, left: &[Table]| {
            // A table that refers to itself is filled by one statement, and checked at its end.
            table
                .refers_to
                .iter()
                .any(|other| *other != table.name && left.iter().any(|table| table.name == *other))
        };
        let Some(next) = left.iter().position(|table| !waits(table, &left)) else {
            let names: Vec<&str> = left.iter().map(|table| table.name.as_str()).collect();
            return Err(format!("tables refer to one another in a circle: {}", names.join(", ")));
        };
        ordered.push(left.remove(next));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, refers_to: &[&str]) -> Table {
        let refers_to = refers_to.iter().map(|name| (*name).to_owned()).collect();
        Table { name: name.to_owned(), columns: Vec::new(), refers_to }
    }

    #[test]
    fn a_table_comes_after_those_it_refers_to_and_a_circle_is_refused() {
        let tables = vec![table("c", &["b", "a"]), table("b", &["a", "b"]), table("a", &[])];
        let names: Vec<String> =
            in_order(tables).expect("no circle").into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let problem = in_order(vec![table("a", &["b"]), table("b", &["a"])]).expect_err("a circle");
        assert!(problem.contains("a, b"), "{problem}");
    }

    #[test]
    fn the_sum_carries_through_all_words_and_does_not_depend_on_the_order() {
        let mut sum = Sum::default();
        sum.add(&[0xFF; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        sum.add(&one);
        assert_eq!(sum.rows(), TableRows { rows: 2, digest: "00".repeat(32) });
        let mut other = Sum::default();
        other.add(&one);
        other.add(&[0xFF; 32]);
        assert_eq!(other.rows(), sum.rows());
    }
}
