//! What the last release left: its database and its backup, as `tests/golden` has them. Its code made `catalogue.jsonl`: the
//! rows of every table with segments of two colours, gaps, holds, five deletions (done, refused, withdrawn, approved, waiting)
//! and the audit trail. `0001_catalogue.sql` and `0002_spans.sql` are its migrations.

use std::collections::BTreeMap;

use super::databases::catalogue_in;
use crate::dump::dump;
use crate::orders::{actor, options_at};
use crate::support::layouts;
use fep_catalogue::{Catalogue, DeletionState, Error, GapFilter, GapState, Keeper, Store, StoreConfig};
use fep_database::Engine;
use fep_database::testing::{Place, migrates_from_every_older_version};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

const ROWS: &str = include_str!("../golden/catalogue.jsonl");
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "catalogue", include_str!("../golden/0001_catalogue.sql")),
    (2, "spans", include_str!("../golden/0002_spans.sql")),
];

/// The rows of the last release.
fn golden() -> Vec<Map<String, Value>> {
    ROWS.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a database as the last release did: by `sqlx::migrate`, and one statement a row.
async fn made_by_the_last_release(place: &Place) {
    if place.engine() == Engine::Sqlite {
        std::fs::File::create(place.directory().join("database.sqlite3")).unwrap();
    }
    let mut connection = place.connect().await;
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.to_vec()).run_direct(None, &mut connection, false).await.unwrap();
    for row in golden() {
        let given: Vec<(&String, &Value)> =
            row.iter().filter(|(column, value)| *column != "table" && !value.is_null()).collect();
        let columns: Vec<&str> = given.iter().map(|(column, _)| column.as_str()).collect();
        let places: Vec<String> = (1..=given.len()).map(|place| format!("${place}")).collect();
        let table = row["table"].as_str().unwrap();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), places.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (_, value) in given {
            query = match value {
                Value::String(text) => query.bind(text.clone()),
                number => query.bind(number.as_i64().unwrap()),
            };
        }
        query.execute(&mut connection).await.unwrap();
    }
    sqlx::Connection::close(connection).await.unwrap();
}

/// Every row of the last release is there, but for the one deletion that waited: it is withdrawn.
async fn holds_every_earlier_row(catalogue: &Catalogue) {
    let dumped = dump(catalogue).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for mut row in golden() {
        *counts.entry(row["table"].as_str().unwrap().to_owned()).or_default() += 1;
        if row["table"] == "deletions" && row["state"] == "requested" {
            row["state"] = "withdrawn".into();
        }
        let row = Value::Object(row).to_string();
        assert!(dumped.binary_search(&row).is_ok(), "missing: {row}");
    }
    let rows = catalogue.database().rows().await.unwrap();
    for (table, count) in counts {
        assert_eq!(rows[&table].rows, count as u64, "{table}");
    }
}

async fn is_taken_over(catalogue: &Catalogue) {
    holds_every_earlier_row(catalogue).await;
    let deletions = catalogue.deletions().await.unwrap();
    let states: Vec<(&str, DeletionState)> =
        deletions.iter().map(|deletion| (deletion.id.as_str(), deletion.state)).collect();
    let expected = [
        ("deletion-1", DeletionState::Done),
        ("deletion-2", DeletionState::Refused),
        ("deletion-3", DeletionState::Withdrawn),
        ("deletion-5", DeletionState::Withdrawn),
        ("deletion-4", DeletionState::Approved),
    ];
    assert_eq!(states, expected, "the order comes last");
    let order = deletions.last().unwrap();
    assert_eq!(
        (order.requester.as_str(), order.segments.len(), order.reason.as_str()),
        ("cy", 2, "old über")
    );
    assert_eq!(order.decided.as_ref().map(|(_, person)| person.as_str()), Some("bo"));
    // The earlier trail is whole and bound to the new one.
    assert_eq!(catalogue.audit_problem().await.unwrap(), None);
    assert_eq!(catalogue.earlier_audit(0, 100).await.unwrap().len(), 15);
    let first = catalogue.audit(0, 1).await.unwrap().remove(0);
    assert_eq!(first.action, "earlier trail closed");
    assert!(first.detail.starts_with("15 entries"), "{}", first.detail);
}

// REQ: FEP-ARC-153
#[tokio::test]
async fn a_database_of_the_last_release_is_migrated_backed_up_and_restored_row_by_row_on_both_engines() {
    for place in Place::both() {
        made_by_the_last_release(&place).await;
        let catalogue = catalogue_in(&place).await;
        is_taken_over(&catalogue).await;
        let rows = catalogue.database().rows().await.unwrap();
        let before = dump(&catalogue).await;
        catalogue.close().await;
        // A second start changes nothing.
        let catalogue = catalogue_in(&place).await;
        assert_eq!(catalogue.database().rows().await.unwrap(), rows);
        let backup = place.directory().join("backup");
        catalogue.database().backup(&backup).await.unwrap();
        let elsewhere = place.another();
        fep_database::restore(&backup, &elsewhere.options(), &fep_catalogue::SCHEMAS).await.unwrap();
        let restored = catalogue_in(&elsewhere).await;
        let restored_rows = restored.database().rows().await.unwrap();
        assert_eq!(fep_database::difference(&rows, &restored_rows), None);
        assert_eq!(dump(&restored).await, before);
        is_taken_over(&restored).await;
        // It works: a new name does not collide with an earlier one.
        let segment = restored.segments(&Default::default()).await.unwrap()[6].facts.id();
        let asked = restored.request_deletion(&[segment], "old", &actor("ada"), 0).await;
        assert!(matches!(&asked, Err(Error::Refused { .. })), "it is under the hold of before: {asked:?}");
        let segment = restored.segments(&Default::default()).await.unwrap()[1].facts.id();
        let asked = restored.request_deletion(&[segment], "old", &actor("ada"), 0).await.unwrap();
        assert_eq!(asked.id, "deletion-6");
        for catalogue in [catalogue, restored] {
            catalogue.close().await;
        }
    }
}

// REQ: FEP-ARC-153
#[tokio::test]
async fn the_tables_are_the_same_from_every_older_version() {
    for place in Place::both() {
        migrates_from_every_older_version(&place, fep_catalogue::SCHEMA, |database, _| async move {
            let mut writing = database.begin("filling").await?;
            let sql = "INSERT INTO roots (day, document, at) VALUES ('2026-11-26', '{}', 1)";
            sqlx::query(sql).execute(&mut *writing).await.unwrap();
            writing.commit().await
        })
        .await;
    }
}

// REQ: FEP-ARC-153
#[tokio::test]
async fn an_earlier_trail_that_was_changed_is_found_and_nothing_can_be_added_to_it_unseen() {
    let place = Place::sqlite();
    made_by_the_last_release(&place).await;
    let catalogue = catalogue_in(&place).await;
    let change = async |sql| sqlx::query(sql).execute(catalogue.database().pool()).await.unwrap();
    change("UPDATE audit SET person = 'eve' WHERE number = 3").await;
    let problem = catalogue.audit_problem().await.unwrap().unwrap();
    assert!(problem.contains("entry 3 of the earlier trail"), "{problem}");
    let person = golden().into_iter().find(|row| row["table"] == "audit" && row["number"] == 3).unwrap();
    let restore =
        format!("UPDATE audit SET person = '{}' WHERE number = 3", person["person"].as_str().unwrap());
    sqlx::query(AssertSqlSafe(restore)).execute(catalogue.database().pool()).await.unwrap();
    assert_eq!(catalogue.audit_problem().await.unwrap(), None);
    change("DELETE FROM audit WHERE number = 15").await;
    let problem = catalogue.audit_problem().await.unwrap().unwrap();
    assert!(problem.contains("does not end where it was closed"), "{problem}");
}

/// A backup as the last release made it, of the catalogue alone.
fn backup_of_the_last_release(directory: &std::path::Path, format: u32) {
    let sha256: String = Sha256::digest(ROWS).iter().map(|octet| format!("{octet:02x}")).collect();
    std::fs::write(directory.join("catalogue.jsonl"), ROWS).unwrap();
    let manifest = serde_json::json!({
        "format": format,
        "made_tai_ns": 1,
        "objects": [{"key": "catalogue.jsonl", "octets": ROWS.len(), "sha256": sha256}],
        "missing": {},
    });
    std::fs::write(directory.join("backup.json"), manifest.to_string()).unwrap();
}

// REQ: FEP-ARC-154
#[tokio::test]
async fn a_backup_of_the_last_release_is_restored_into_either_engine() {
    for place in Place::both() {
        let (old, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        backup_of_the_last_release(old.path(), 1);
        let source = Store::open(&StoreConfig::directory(old.path())).unwrap();
        let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
        let options = place.options();
        let restore = || Keeper::restore(&source, fresh.path(), &store, &options, |_| {});
        let report = restore().await.unwrap();
        assert_eq!(report.rows, golden().len() as u64);
        // The approved deletion may have been carried out or withdrawn since: nothing of it goes on by itself.
        assert_eq!(report.orders_refused, 1);
        let catalogue = catalogue_in(&place).await;
        holds_every_earlier_row(&catalogue).await;
        let states: Vec<_> =
            catalogue.deletions().await.unwrap().iter().map(|deletion| deletion.state).collect();
        assert_eq!(states.iter().filter(|state| **state == DeletionState::Refused).count(), 2, "{states:?}");
        assert_eq!(catalogue.audit_problem().await.unwrap(), None);
        let requested = GapFilter { state: Some(GapState::Requested), ..GapFilter::default() };
        assert_eq!(catalogue.gaps(&requested).await.unwrap().len(), 1);
        let keeper = Keeper::new(fresh.path(), catalogue.clone(), store.clone(), layouts());
        assert_eq!(keeper.round(&[], 1).await.unwrap().deleted, []);
        catalogue.close().await;
        let again = restore().await;
        assert!(again.is_err(), "a database that is not empty: {again:?}");
    }
}

// REQ: FEP-ARC-154
#[tokio::test]
async fn a_backup_of_a_later_release_is_refused_with_what_to_do() {
    let (later, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    backup_of_the_last_release(later.path(), 3);
    let source = Store::open(&StoreConfig::directory(later.path())).unwrap();
    let store = Store::open(&StoreConfig::directory(fresh.path())).unwrap();
    let refused = Keeper::restore(&source, fresh.path(), &store, &options_at(fresh.path()), |_| {}).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("form 3") && text.contains("use the release that made it"), "{text}");
}
