//! Backups of both engines: one moment, back row for row, every damage found, nothing overwritten.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fep_database::testing::{Place, run};
use fep_database::{Database, Engine, Error, Migration, Schema, difference, restore, verify_backup};
use proptest::prelude::*;
use sqlx::Executor;

const ONE: Migration = Migration::of_engines(
    1,
    "tables",
    "CREATE TABLE zones (id BIGINT PRIMARY KEY, name TEXT, size DOUBLE PRECISION, image BLOB);
     CREATE TABLE areas (id BIGINT PRIMARY KEY, zone BIGINT NOT NULL REFERENCES zones (id), parent BIGINT REFERENCES areas (id));
     CREATE TABLE \"odd \"\"name\" (\"a column\" TEXT, \"order\" BIGINT);
     INSERT INTO zones (id, name) VALUES (0, 'made by the migration');",
    "CREATE TABLE zones (id BIGINT PRIMARY KEY, name TEXT, size DOUBLE PRECISION, image BYTEA);
     CREATE TABLE areas (id BIGINT PRIMARY KEY, zone BIGINT NOT NULL REFERENCES zones (id), parent BIGINT REFERENCES areas (id));
     CREATE TABLE \"odd \"\"name\" (\"a column\" TEXT, \"order\" BIGINT);
     INSERT INTO zones (id, name) VALUES (0, 'made by the migration');",
);
/// The first `ALTER TABLE`: a copy that knows the tables by the text of the first migration would lose its column.
const TWO: Migration =
    Migration::new(2, "notes", "ALTER TABLE zones ADD COLUMN note TEXT; CREATE TABLE more (id BIGINT)");
const SCHEMA: Schema = Schema::new("places", &[ONE, TWO]);

#[derive(Debug, Clone)]
struct Zone {
    name: Option<String>,
    size: Option<f64>,
    image: Option<Vec<u8>>,
    note: Option<String>,
}

fn zone() -> impl Strategy<Value = Zone> {
    // PostgreSQL has no text with NUL; everything else must come back, line ends and tabs too.
    let text = prop_oneof![
        "[^\0]{0,20}",
        Just("\\N".to_owned()),
        Just("a\tb\nc\r\\.\n\\".to_owned()),
        Just(String::new()),
    ];
    let size = prop_oneof![
        any::<f64>().prop_filter("NaN has many forms", |size| !size.is_nan()),
        Just(-0.0),
        Just(0.1)
    ];
    (
        proptest::option::of(text.clone()),
        proptest::option::of(size),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        proptest::option::of(text),
    )
        .prop_map(|(name, size, image, note)| Zone { name, size, image, note })
}

async fn fill(database: &Database, zones: &[Zone]) {
    let mut writing = database.begin("filling").await.unwrap();
    for (id, zone) in (1_i64..).zip(zones) {
        // sqlx::Any gives a NULL of 64-bit floating point the type of 32 bits: no prepared statement may keep it.
        sqlx::query("INSERT INTO zones (id, name, size, image, note) VALUES ($1, $2, $3, $4, $5)")
            .persistent(false)
            .bind(id)
            .bind(zone.name.clone())
            .bind(zone.size)
            .bind(zone.image.clone())
            .bind(zone.note.clone())
            .execute(&mut *writing)
            .await
            .unwrap();
        // A row that refers to one that comes later.
        let parent = (id > 1).then_some(id - 1);
        sqlx::query("INSERT INTO areas (id, zone, parent) VALUES ($1, $2, $3)")
            .bind(-id)
            .bind(id)
            .bind(parent.map(|parent| -parent))
            .execute(&mut *writing)
            .await
            .unwrap();
        sqlx::query("INSERT INTO \"odd \"\"name\" (\"a column\", \"order\") VALUES ($1, $2)")
            .bind(zone.name.clone())
            .bind(id / 2)
            .execute(&mut *writing)
            .await
            .unwrap();
    }
    writing.commit().await.unwrap();
}

fn some_zones(count: usize) -> Vec<Zone> {
    let zone = |number: usize| Zone {
        name: Some(format!("zone\n{number}")),
        size: Some(number as f64 / 3.0),
        image: Some(vec![number as u8; 300]),
        note: (!number.is_multiple_of(3)).then(|| "ä\\".to_owned()),
    };
    (0..count).map(zone).collect()
}

// REQ: FEP-KIT-217
#[test]
fn a_backup_comes_back_row_for_row_whatever_the_rows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // One server for all cases.
    let _server = fep_database::testing::Server::shared();
    let mut config = ProptestConfig::with_cases(12);
    config.failure_persistence = None;
    proptest!(config, |(zones in proptest::collection::vec(zone(), 0..12))| {
        runtime.block_on(async {
            for place in Place::both() {
                let database = place.open(&[SCHEMA]).await;
                fill(&database, &zones).await;
                let expected = database.rows().await.unwrap();
                let directory = place.directory().join("backup");
                let made = database.backup(&directory).await.unwrap();
                assert_eq!(made, verify_backup(&directory).await.unwrap());
                let new = place.another();
                assert_eq!(made, restore(&directory, &new.options(), &[SCHEMA]).await.unwrap());
                let restored = new.open(&[SCHEMA]).await;
                assert_eq!(difference(&expected, &restored.rows().await.unwrap()), None, "{}", place.engine());
                assert_eq!(expected["zones"].rows, zones.len() as u64 + 1);
                restored.health().await.unwrap();
                restored.close().await;
                database.close().await;
            }
        });
    });
}

// REQ: FEP-KIT-217
#[tokio::test]
async fn a_backup_of_an_older_version_is_restored_and_then_migrated() {
    for place in Place::both() {
        let old = place.open(&[SCHEMA.up_to(1)]).await;
        run(
            &place,
            "INSERT INTO zones (id, name) VALUES (1, 'one'), (2, 'two'); DELETE FROM zones WHERE id = 0;",
        )
        .await;
        let directory = place.directory().join("backup");
        let made = old.backup(&directory).await.unwrap();
        assert_eq!(made.tables["zones"].rows.rows, 2);
        let expected = old.rows().await.unwrap();
        let new = place.another();
        restore(&directory, &new.options(), &[SCHEMA]).await.unwrap();
        let restored = new.open(&[SCHEMA]).await;
        let found = restored.rows().await.unwrap();
        assert_eq!((found["zones"].rows, found["more"].rows, found["fep_schema"].rows), (2, 0, 2));
        assert_eq!(found["areas"], expected["areas"]);
        // A program of before does not know what the backup holds.
        let later = place.directory().join("later");
        restored.backup(&later).await.unwrap();
        let refused =
            restore(&later, &place.another().options(), &[SCHEMA.up_to(1)]).await.expect_err("later");
        assert!(matches!(refused, Error::Newer { found: 2, known: 1, .. }), "{refused}");
        let refused = restore(&later, &place.another().options(), &[]).await.expect_err("another program");
        assert!(matches!(refused, Error::Newer { known: 0, .. }), "{refused}");
    }
}

// REQ: FEP-KIT-217
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_made_while_others_write_is_of_one_moment() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        fill(&database, &some_zones(400)).await;
        let writer = tokio::spawn({
            let database = database.clone();
            async move {
                // Each change adds to two tables: a copy of two moments would have more rows in one of them.
                for id in 1_i64..=200 {
                    let mut writing = database.begin("adding").await.unwrap();
                    for sql in [
                        "INSERT INTO zones (id, name) VALUES ($1, 'live')",
                        "INSERT INTO areas (id, zone) VALUES ($1, 1)",
                    ] {
                        sqlx::query(sql).bind(id + 1000).execute(&mut *writing).await.unwrap();
                    }
                    writing.commit().await.unwrap();
                }
            }
        });
        for round in 0..4 {
            let directory = place.directory().join(format!("backup{round}"));
            let made = database.backup(&directory).await.unwrap();
            assert_eq!(
                made.tables["zones"].rows.rows,
                made.tables["areas"].rows.rows + 1,
                "{}",
                place.engine()
            );
            let new = place.another();
            restore(&directory, &new.options(), &[SCHEMA]).await.unwrap();
        }
        writer.await.unwrap();
    }
}

// REQ: FEP-KIT-218
#[tokio::test]
async fn a_restore_goes_into_an_empty_place_only_and_leaves_any_other_as_it_is() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        fill(&database, &some_zones(5)).await;
        let directory = place.directory().join("backup");
        database.backup(&directory).await.unwrap();
        let before = database.rows().await.unwrap();
        let refused = restore(&directory, &place.options(), &[SCHEMA]).await.expect_err("not empty");
        assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
        assert_eq!(database.rows().await.unwrap(), before);
        let again = database.backup(&directory).await.expect_err("it exists");
        assert!(again.to_string().contains("exists already"), "{again}");
        let (other, _keep) = match place.engine() {
            Engine::Sqlite => {
                let other = Place::postgres();
                (other.options(), other)
            }
            Engine::Postgres => {
                let other = Place::sqlite();
                (other.options(), other)
            }
        };
        let refused = restore(&directory, &other, &[SCHEMA]).await.expect_err("another engine");
        assert!(refused.to_string().contains("no such database"), "{refused}");
    }
    // A log left beside a missing database would be played into the copy.
    let place = Place::sqlite();
    let database = place.open(&[SCHEMA]).await;
    let directory = place.directory().join("backup");
    database.backup(&directory).await.unwrap();
    let new = place.another();
    std::fs::write(new.directory().join("database.sqlite3-wal"), b"old").unwrap();
    let refused = restore(&directory, &new.options(), &[SCHEMA]).await.expect_err("a log");
    assert!(refused.to_string().contains("database.sqlite3-wal"), "{refused}");
}

// REQ: FEP-KIT-218
#[tokio::test]
async fn every_damage_to_a_backup_is_found_before_anything_is_restored() {
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        fill(&database, &some_zones(30)).await;
        let directory = place.directory().join("backup");
        database.backup(&directory).await.unwrap();
        let mut files: Vec<String> = names(&directory);
        files.sort();
        let expected = match place.engine() {
            Engine::Sqlite => vec!["database.sqlite3", "manifest.json"],
            Engine::Postgres => {
                vec![
                    "areas.copy",
                    "fep_schema.copy",
                    "manifest.json",
                    "more.copy",
                    "odd \"name.copy",
                    "zones.copy",
                ]
            }
        };
        assert_eq!(files, expected);
        assert_eq!(mode(&directory), 0o700);
        for name in &files {
            let path = directory.join(name);
            assert_eq!(mode(&path), 0o600, "{name}");
            let whole = std::fs::read(&path).unwrap();
            let mut damages: Vec<Option<Vec<u8>>> = vec![None];
            if !whole.is_empty() {
                damages.push(Some(whole[..whole.len() - 1].to_vec()));
                let mut flipped = whole.clone();
                flipped[whole.len() / 2] ^= 0x10;
                damages.push(Some(flipped));
            }
            for damage in damages {
                match &damage {
                    None => std::fs::remove_file(&path).unwrap(),
                    Some(octets) => std::fs::write(&path, octets).unwrap(),
                }
                let new = place.another();
                let refused = restore(&directory, &new.options(), &[SCHEMA]).await;
                assert!(refused.is_err(), "{name}, {:?} octets", damage.map(|octets| octets.len()));
                assert!(!new.directory().join("database.sqlite3").exists());
                std::fs::write(&path, &whole).unwrap();
            }
        }
        verify_backup(&directory).await.expect("whole again");
    }
}

// REQ: FEP-KIT-218
#[tokio::test]
async fn a_manifest_that_was_made_to_fit_other_rows_is_found_by_what_the_database_holds() {
    let place = Place::sqlite();
    let database = place.open(&[SCHEMA]).await;
    fill(&database, &some_zones(3)).await;
    let directory = place.directory().join("backup");
    let made = database.backup(&directory).await.unwrap();
    let path = directory.join("manifest.json");
    let mut wrong = made.clone();
    wrong.tables.get_mut("zones").unwrap().rows.rows += 1;
    std::fs::write(&path, serde_json::to_vec(&wrong).unwrap()).unwrap();
    let refused = verify_backup(&directory).await.expect_err("a row is missing");
    assert!(refused.to_string().contains("table \"zones\" has 4 rows, 5 were expected"), "{refused}");
    let mut wrong = made;
    wrong.files.insert("../outside".to_owned(), wrong.files["database.sqlite3"].clone());
    std::fs::write(&path, serde_json::to_vec(&wrong).unwrap()).unwrap();
    let refused = verify_backup(&directory).await.expect_err("a name that leads elsewhere");
    assert!(refused.to_string().contains("../outside"), "{refused}");
}

// REQ: FEP-KIT-217
#[tokio::test]
async fn what_cannot_be_copied_whole_is_refused() {
    let place = Place::postgres();
    let database = place.open(&[SCHEMA]).await;
    database.pool().execute("CREATE SEQUENCE counting").await.unwrap();
    let directory = place.directory().join("backup");
    let refused = database.backup(&directory).await.expect_err("a sequence");
    assert!(refused.to_string().contains("\"counting\"") && !directory.exists(), "{refused}");
    assert!(names(place.directory()).is_empty(), "nothing is left behind");
}

// REQ: FEP-KIT-219
#[tokio::test]
async fn both_engines_with_the_same_rows_are_found_alike_and_any_other_row_is_a_difference() {
    const LIKE: Schema = Schema::new(
        "like",
        &[Migration::new(1, "x", "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, size DOUBLE PRECISION)")],
    );
    let [one, two] = Place::both();
    let (one_database, two_database) = (one.open(&[LIKE]).await, two.open(&[LIKE]).await);
    let insert = "INSERT INTO t VALUES (1, 'a', 0.5), (2, NULL, NULL), (3, '', -1)";
    run(&one, insert).await;
    run(&two, insert).await;
    let rows = async |database: &Database| {
        let mut rows = database.rows().await.unwrap();
        // It holds when a migration was applied.
        rows.remove("fep_schema");
        rows
    };
    let expected = rows(&one_database).await;
    assert_eq!(difference(&expected, &rows(&two_database).await), None);
    for (change, back) in [
        ("UPDATE t SET name = 'b' WHERE id = 1", "UPDATE t SET name = 'a' WHERE id = 1"),
        ("UPDATE t SET name = '' WHERE id = 2", "UPDATE t SET name = NULL WHERE id = 2"),
        ("UPDATE t SET id = id + 10", "UPDATE t SET id = id - 10"),
        ("DELETE FROM t WHERE id = 3", "INSERT INTO t VALUES (3, '', -1)"),
    ] {
        run(&two, change).await;
        let found = difference(&expected, &rows(&two_database).await);
        assert!(found.is_some_and(|text| text.contains("\"t\"")), "{change}");
        run(&two, back).await;
        assert_eq!(difference(&expected, &rows(&two_database).await), None, "{back}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
