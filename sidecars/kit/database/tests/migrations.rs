//! Migrations on both engines: from every older version, after a failure, against a later program, after `sqlx::migrate`.

use fep_database::testing::{Place, migrates_from_every_older_version, run};
use fep_database::{Database, Engine, Error, Migration, Schema};
use sqlx::migrate::{Migration as SqlxMigration, MigrationType, Migrator};
use sqlx::{Row, SqlSafeStr};

const ONE: Migration = Migration::new(
    1,
    "tables",
    "CREATE TABLE boxes (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
     CREATE TABLE things (id BIGINT PRIMARY KEY, box BIGINT NOT NULL REFERENCES boxes (id), weight BIGINT);
     CREATE TABLE untouched (id BIGINT PRIMARY KEY, text TEXT);",
);
const TWO: Migration =
    Migration::new(2, "colours", "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'black'");
/// SQLite changes a column only by a new table under the old name, while other rows refer to it.
const THREE: Migration = Migration::of_engines(
    3,
    "boxes without names",
    "CREATE TABLE boxes_new (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO boxes_new SELECT id, name FROM boxes;
     DROP TABLE boxes; ALTER TABLE boxes_new RENAME TO boxes;",
    "ALTER TABLE boxes ALTER COLUMN name DROP NOT NULL",
);
const SCHEMA: Schema = Schema::new("store", &[ONE, TWO, THREE]);

async fn fill(database: Database, version: i64) -> Result<(), Error> {
    let mut writing = database.begin("filling").await?;
    for id in 0..20_i64 {
        let boxed =
            sqlx::query("INSERT INTO boxes (id, name) VALUES ($1, $2)").bind(id).bind(format!("box {id}"));
        boxed.execute(&mut *writing).await.map_err(Error::sql("filling"))?;
        let thing = sqlx::query("INSERT INTO things (id, box, weight) VALUES ($1, $2, $3)");
        let thing = thing.bind(id).bind(id).bind((id % 3 > 0).then_some(id * 7));
        thing.execute(&mut *writing).await.map_err(Error::sql("filling"))?;
        let other = sqlx::query("INSERT INTO untouched (id, text) VALUES ($1, $2)")
            .bind(id)
            .bind(version.to_string());
        other.execute(&mut *writing).await.map_err(Error::sql("filling"))?;
    }
    writing.commit().await
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(database.pool()).await.expect("it counts").get(0)
}

// REQ: FEP-KIT-215
#[tokio::test]
async fn tables_of_every_older_version_become_those_of_the_latest_and_keep_their_rows() {
    for place in Place::both() {
        migrates_from_every_older_version(&place, SCHEMA, fill).await;
        // By hand, what the general test does not know.
        let old = place.open(&[SCHEMA.up_to(1)]).await;
        fill(old.clone(), 1).await.unwrap();
        old.close().await;
        let new = place.open(&[SCHEMA]).await;
        assert_eq!(count(&new, "SELECT count(*) FROM things WHERE colour = 'black'").await, 20);
        assert_eq!(count(&new, "SELECT count(*) FROM boxes b JOIN things t ON t.box = b.id").await, 20);
        let dangling = sqlx::query("INSERT INTO things (id, box) VALUES (99, 99)").execute(new.pool()).await;
        dangling.expect_err("references are still checked");
        new.close().await;
        // Opened again, nothing is applied twice.
        assert_eq!(count(&place.open(&[SCHEMA]).await, "SELECT count(*) FROM fep_schema").await, 3);
    }
}

// REQ: FEP-KIT-216
#[tokio::test]
async fn tables_of_a_later_program_and_migrations_of_another_text_are_refused_and_left_as_they_are() {
    const OTHER: Schema = Schema::new("store", &[ONE, Migration::new(2, "colours", "SELECT 1"), THREE]);
    const WRONG: Schema = Schema::new("store", &[ONE, THREE]);
    for place in Place::both() {
        let database = place.open(&[SCHEMA]).await;
        let before = database.rows().await.unwrap();
        let refused = Database::open(&place.options(), &[SCHEMA.up_to(2)]).await.expect_err("later");
        assert!(matches!(refused, Error::Newer { found: 3, known: 2, .. }), "{refused}");
        let refused = Database::open(&place.options(), &[OTHER]).await.expect_err("another text");
        assert!(matches!(refused, Error::Altered { version: 2, .. }), "{refused}");
        for wrong in [&[WRONG][..], &[SCHEMA, SCHEMA]] {
            assert!(matches!(Database::open(&place.options(), wrong).await, Err(Error::Schema { .. })));
        }
        assert_eq!(database.rows().await.unwrap(), before);
    }
}

// REQ: FEP-KIT-216
#[tokio::test]
async fn a_migration_that_fails_in_its_middle_changes_nothing_and_those_before_it_stay() {
    const FAILS: Migration = Migration::new(
        2,
        "fails",
        "CREATE TABLE half (id BIGINT); INSERT INTO untouched (id) VALUES (7); SELECT no_such();",
    );
    const DANGLES: Migration = Migration::of_engines(
        2,
        "dangles",
        "INSERT INTO things (id, box) VALUES (1, 99)",
        "INSERT INTO things (id, box) VALUES (1, 99)",
    );
    const FAILING: Schema = Schema::new("store", &[ONE, FAILS]);
    const DANGLING: Schema = Schema::new("store", &[ONE, DANGLES]);
    for place in Place::both() {
        for schema in [FAILING, DANGLING] {
            let refused = Database::open(&place.options(), &[schema]).await.expect_err("fails");
            assert!(refused.to_string().contains("migration 2"), "{refused}");
            if place.engine() == Engine::Sqlite && schema == DANGLING {
                assert!(matches!(&refused, Error::Dangling { table, .. } if table == "things"), "{refused}");
            }
            let database = place.open(&[SCHEMA.up_to(1)]).await;
            let rows = database.rows().await.unwrap();
            assert!(!rows.contains_key("half"));
            assert_eq!((rows["untouched"].rows, rows["things"].rows, rows["fep_schema"].rows), (0, 0, 1));
            database.close().await;
        }
        place.open(&[SCHEMA]).await;
    }
}

// REQ: FEP-KIT-215
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_that_open_at_once_apply_every_migration_once() {
    const OTHER: Schema = Schema::new("other", &[Migration::new(1, "x", "CREATE TABLE other (id BIGINT)")]);
    for place in Place::both() {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let options = place.options();
            tasks.spawn(async move {
                Database::open(&options, &[SCHEMA, OTHER]).await.map(|database| database.engine())
            });
        }
        while let Some(opened) = tasks.join_next().await {
            opened.unwrap().expect("it opens");
        }
        assert_eq!(place.open(&[SCHEMA, OTHER]).await.rows().await.unwrap()["fep_schema"].rows, 4);
    }
}

// REQ: FEP-KIT-215
#[tokio::test]
async fn a_database_that_sqlx_migrated_is_taken_over_with_its_rows() {
    let sqlx_schema = |text: &'static str| {
        Migrator::with_migrations(vec![SqlxMigration::new(
            1,
            "tables".into(),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )])
    };
    const TEXT: &str = "CREATE TABLE boxes (id BIGINT PRIMARY KEY, name TEXT NOT NULL);";
    const FIRST: Migration = Migration::new(1, "tables", TEXT);
    const NEXT: Migration = Migration::new(2, "more", "ALTER TABLE boxes ADD COLUMN size BIGINT");
    const TAKEN: Schema = Schema::new("store", &[FIRST, NEXT]).formerly_sqlx();
    for place in Place::both() {
        if place.engine() == Engine::Sqlite {
            std::fs::write(place.directory().join("database.sqlite3"), b"").unwrap();
        }
        let mut connection = place.connect().await;
        sqlx_schema(TEXT).run_direct(None, &mut connection, false).await.expect("sqlx migrates");
        run(&place, "INSERT INTO boxes (id, name) VALUES (1, 'one'), (2, 'two')").await;
        let database = place.open(&[TAKEN]).await;
        assert_eq!(count(&database, "SELECT count(*) FROM boxes WHERE size IS NULL").await, 2);
        let rows = database.rows().await.unwrap();
        assert_eq!(rows["fep_schema"].rows, 2);
        assert!(!rows.contains_key("_sqlx_migrations"));
        // A program of before must not take it for its own.
        let refused = sqlx_schema(TEXT).run_direct(None, &mut connection, false).await;
        refused.expect_err("its tables exist already");

        // What sqlx applied from another text is not taken over.
        let other = place.another();
        if other.engine() == Engine::Sqlite {
            std::fs::write(other.directory().join("database.sqlite3"), b"").unwrap();
        }
        let mut connection = other.connect().await;
        let text = "CREATE TABLE boxes (id BIGINT PRIMARY KEY);";
        sqlx_schema(text).run_direct(None, &mut connection, false).await.expect("sqlx migrates");
        let refused = Database::open(&other.options(), &[TAKEN]).await.expect_err("another text");
        assert!(matches!(refused, Error::Altered { version: 1, .. }), "{refused}");
    }
}
