//! Every row of a catalogue, for comparing two.

use fep_catalogue::Catalogue;
use serde_json::{Map, Value};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column, Row, ValueRef};

/// The rows of all tables but that of migrations, as JSON with the table's name under `table`, sorted.
pub(crate) async fn dump(catalogue: &Catalogue) -> Vec<String> {
    let mut dumped = Vec::new();
    for table in catalogue.database().rows().await.unwrap().into_keys().filter(|table| table != "fep_schema")
    {
        let sql = AssertSqlSafe(format!("SELECT * FROM {table}"));
        for row in sqlx::query(sql).fetch_all(catalogue.database().pool()).await.unwrap() {
            dumped.push(object(&table, &row).to_string());
        }
    }
    dumped.sort_unstable();
    dumped
}

fn object(table: &str, row: &AnyRow) -> Value {
    let mut object = Map::from_iter([("table".to_owned(), table.into())]);
    for (at, column) in row.columns().iter().enumerate() {
        let kind = {
            let value = row.try_get_raw(at).unwrap();
            if value.is_null() { AnyTypeInfoKind::Null } else { value.type_info().kind() }
        };
        let value = match kind {
            AnyTypeInfoKind::Null => Value::Null,
            AnyTypeInfoKind::Text => row.get::<String, _>(at).into(),
            _ => row.get::<i64, _>(at).into(),
        };
        object.insert(column.name().to_owned(), value);
    }
    Value::Object(object)
}
