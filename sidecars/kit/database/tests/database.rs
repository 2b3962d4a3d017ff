//! The handle on both engines: one writer, retries, time-outs, health, TLS.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fep_database::testing::{Place, Server, ServerPort, cut, interfere, run};
use fep_database::{Database, Engine, Error, Migration, Options, Schema, Transient};
use sqlx::{Executor, Row};

const COUNTER: Schema = Schema::new(
    "counter",
    &[Migration::new(
        1,
        "a counter",
        "CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT NOT NULL); INSERT INTO counter VALUES (1, 0); \
         CREATE TABLE notes (value BIGINT PRIMARY KEY, text TEXT);",
    )],
);

/// Reads, waits, writes what it has read plus one, and notes it: two at a time would lose one of them.
async fn count_one(database: &Database) -> Result<i64, Error> {
    let mut writing = database.begin("counting").await?;
    let row = sqlx::query("SELECT value FROM counter WHERE id = 1")
        .fetch_one(&mut *writing)
        .await
        .map_err(Error::sql("reading"))?;
    let next = row.get::<i64, _>(0) + 1;
    tokio::task::yield_now().await;
    sqlx::query("UPDATE counter SET value = $1 WHERE id = 1")
        .bind(next)
        .execute(&mut *writing)
        .await
        .map_err(Error::sql("writing"))?;
    sqlx::query("INSERT INTO notes (value, text) VALUES ($1, $2)")
        .bind(next)
        .bind(Some("counted"))
        .execute(&mut *writing)
        .await
        .map_err(Error::sql("noting"))?;
    writing.commit().await?;
    Ok(next)
}

/// How far it has counted. Looks when nobody writes: a commit that was cut may still be under way.
async fn whole(database: &Database) -> i64 {
    database.retry("looking", || look(database)).await.expect("the database answers")
}

async fn look(database: &Database) -> Result<i64, Error> {
    let mut writing = database.begin("looking").await?;
    let row = sqlx::query(
        "SELECT count(*), coalesce(max(value), 0), (SELECT value FROM counter WHERE id = 1) FROM notes",
    )
    .fetch_one(&mut *writing)
    .await
    .map_err(Error::sql("looking"))?;
    let (notes, last, counter): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((notes, last), (counter, counter), "a change is there by half");
    Ok(notes)
}

// REQ: FEP-KIT-210
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_take_turns_in_a_process_and_among_handles_and_none_of_them_fails() {
    for place in Place::both() {
        let handles = [place.open(&[COUNTER]).await, place.open(&[COUNTER]).await];
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let database = handles[number % 2].clone();
            tasks.spawn(async move { database.retry("counting", || count_one(&database)).await });
        }
        while let Some(counted) = tasks.join_next().await {
            counted.expect("the task ends").expect("it counts");
        }
        assert_eq!(whole(&handles[0]).await, 40, "{}", place.engine());
    }
}

// REQ: FEP-KIT-211
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_cut_anywhere_is_there_whole_or_not_at_all() {
    for place in Place::both() {
        let database = place.open(&[COUNTER]).await;
        let (mut before, mut cuts) = (0, 0);
        for polls in 0.. {
            let ended = cut(polls, count_one(&database)).await;
            let after = whole(&database).await;
            match &ended {
                Some(counted) => assert_eq!(*counted.as_ref().expect("it counts"), after),
                // Cut within its commit, it may have been done.
                None => assert!(after == before || after == before + 1, "{before} became {after}"),
            }
            before = after;
            cuts += 1;
            if ended.is_some() {
                break;
            }
        }
        // How often it waits depends on how fast the engine answers; it waits for some of its statements at least.
        assert!(cuts > 1, "{}: it never waited", place.engine());
    }
}

// REQ: FEP-KIT-211, FEP-KIT-212
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_anywhere_is_tried_again_and_counts_once_unless_it_says_unknown() {
    let place = Place::postgres();
    let database = place.open(&[COUNTER]).await;
    let (mut before, mut lost, mut tried) = (0, 0, 0);
    // How many of the polls of a change wait for the server, and so can lose it, depends on how busy the machine is.
    while lost < 4 && tried < 1000 {
        let polls = tried % 40;
        tried += 1;
        let attempts = AtomicU32::new(0);
        let counting = database.retry("counting", || {
            attempts.fetch_add(1, Ordering::Relaxed);
            count_one(&database)
        });
        let counted = interfere(polls, counting, place.end_connections()).await;
        lost += u32::from(attempts.load(Ordering::Relaxed) > 1 || counted.is_err());
        let after = whole(&database).await;
        match counted {
            Ok(counted) => assert_eq!((counted, after), (before + 1, before + 1), "cut {polls}"),
            Err(Error::CommitUnknown { .. }) => assert!(after == before || after == before + 1),
            Err(error) => panic!("cut {polls}: {error}"),
        }
        before = after;
    }
    assert!(lost > 3, "connections were lost {lost} times only in {tried} changes");
}

// REQ: FEP-KIT-212
#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let place = Place::postgres();
    let options = Options { patience_ms: 200, ..place.options() };
    let database = Database::open(&options, &[COUNTER]).await.unwrap();
    for (state, again) in
        [("40001", true), ("40P01", true), ("55P03", true), ("23505", false), ("22012", false)]
    {
        let attempts = AtomicU32::new(0);
        let failed = database
            .retry("failing", || async {
                attempts.fetch_add(1, Ordering::Relaxed);
                let mut writing = database.begin("failing").await?;
                let sql = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$");
                writing.execute(sqlx::AssertSqlSafe(sql)).await.map_err(Error::sql("failing"))?;
                writing.commit().await
            })
            .await
            .expect_err("it fails always");
        assert_eq!(failed.is_transient(), again, "{state}");
        assert_eq!(
            attempts.load(Ordering::Relaxed) > 1,
            again,
            "{state}: {} attempts",
            attempts.into_inner()
        );
    }
}

// REQ: FEP-KIT-212
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_never_ends_lets_others_fail_in_time_and_a_long_statement_is_stopped() {
    for place in Place::both() {
        let options = Options { statement_timeout_ms: 300, patience_ms: 0, ..place.options() };
        let database = Database::open(&options, &[COUNTER]).await.unwrap();
        // Another process.
        let other = place.open(&[COUNTER]).await;
        let holding = other.begin("holding").await.unwrap();
        let refused = database.begin("waiting").await.expect_err("it is not its turn");
        assert!(refused.is_transient(), "{}: {refused}", place.engine());
        drop(holding);
        database.retry("counting", || count_one(&database)).await.expect("the turn came");
        // In this process.
        let holding = database.begin("holding").await.unwrap();
        let refused = database.begin("waiting").await.expect_err("it is not its turn");
        assert!(refused.is_transient(), "{refused}");
        drop(holding);
        if place.engine() == Engine::Postgres {
            let stopped = sqlx::query("SELECT 1 FROM pg_sleep(60)").execute(database.pool()).await;
            let code = stopped
                .expect_err("stopped")
                .into_database_error()
                .and_then(|error| error.code().map(|code| code.into_owned()));
            assert_eq!(code.as_deref(), Some("57014"));
        }
        let options = Options { operation_timeout_ms: 300, ..options };
        let database = Database::open(&options, &[COUNTER]).await.unwrap();
        let never = database.retry("waiting for ever", || async {
            let mut writing = database.begin("waiting for ever").await?;
            writing.execute("UPDATE counter SET value = -1").await.map_err(Error::sql("writing"))?;
            std::future::pending::<()>().await;
            writing.commit().await
        });
        assert!(matches!(never.await, Err(Error::TimedOut { limit_ms: 300, .. })));
        database.retry("counting", || count_one(&database)).await.expect("its turn is free again");
        assert_eq!(whole(&database).await, 2);
    }
}

// REQ: FEP-KIT-214
#[tokio::test]
async fn health_names_a_file_that_is_gone_tables_of_another_version_and_a_server_that_is_away() {
    let place = Place::sqlite();
    let database = place.open(&[COUNTER]).await;
    database.health().await.expect("well");
    run(&place, "UPDATE fep_schema SET sha256 = 'other'").await;
    assert!(matches!(database.health().await, Err(Error::Altered { version: 1, .. })));
    run(&place, "DELETE FROM fep_schema").await;
    let text = database.health().await.expect_err("not this database").to_string();
    assert!(text.contains("0 migrations of module \"counter\""), "{text}");
    let file = place.directory().join("database.sqlite3");
    std::fs::rename(&file, place.directory().join("away")).unwrap();
    let text = database.health().await.expect_err("gone").to_string();
    assert!(text.contains("was removed"), "{text}");
    std::fs::write(&file, b"").unwrap();
    let text = database.health().await.expect_err("another").to_string();
    assert!(text.contains("replaced by another file"), "{text}");

    let server = Arc::new(Server::start(None));
    let options = Options { statement_timeout_ms: 2000, ..Options::new(&server.database("x")) };
    let database = Database::open(&options, &[COUNTER]).await.unwrap();
    database.health().await.expect("well");
    drop(server);
    database.health().await.expect_err("away");
}

// REQ: FEP-KIT-214
#[tokio::test]
async fn a_new_database_file_is_readable_by_nobody_else_and_a_damaged_one_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::sqlite();
    let database = place.open(&[COUNTER]).await;
    count_one(&database).await.unwrap();
    for entry in std::fs::read_dir(place.directory()).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    database.close().await;
    std::fs::write(place.directory().join("database.sqlite3"), [b'x'; 8192]).unwrap();
    let refused = Database::open(&place.options(), &[COUNTER]).await.expect_err("no database");
    assert!(refused.to_string().contains("not a database"), "{refused}");
}

// REQ: FEP-KIT-213
#[tokio::test]
async fn a_server_is_reached_by_tls_and_one_with_a_certificate_of_others_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(directory.path(), "ours"), authority(directory.path(), "other"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = ServerPort {
        port,
        certificate: directory.path().join("ours-server.pem"),
        key: directory.path().join("ours-server.key"),
    };
    let server = Server::start(Some(&port));
    let port = port.port;
    let url = |authority: &Path| {
        let authority = authority.display();
        format!("postgres://fep@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={authority}")
    };
    let database = Database::open(&Options::new(&url(&ours)), &[COUNTER]).await.expect("verified");
    let row = sqlx::query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(database.pool())
        .await;
    assert!(row.unwrap().get::<bool, _>(0), "the connection is not encrypted");
    assert_eq!(count_one(&database).await.unwrap(), 1);
    let refused =
        Database::open(&Options::new(&url(&other)), &[COUNTER]).await.expect_err("another authority");
    assert!(refused.to_string().to_lowercase().contains("certificate"), "{refused}");
    drop(server);
}

/// Makes an authority and a certificate of 127.0.0.1 by it, with the `openssl` program; the authority's certificate.
fn authority(directory: &Path, name: &str) -> std::path::PathBuf {
    let openssl = |arguments: &[&str]| {
        let made =
            Command::new("openssl").args(arguments).current_dir(directory).output().expect("openssl starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let file = |ending: &str| format!("{name}{ending}");
    let subject = format!("/CN={name}");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &subject,
        "-keyout",
        &file(".key"),
        "-out",
        &file(".pem"),
    ]);
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
        "-keyout",
        &file("-server.key"),
        "-out",
        &file("-server.csr"),
    ]);
    std::fs::write(directory.join(file(".ext")), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &file("-server.csr"),
        "-CA",
        &file(".pem"),
        "-CAkey",
        &file(".key"),
        "-CAcreateserial",
        "-extfile",
        &file(".ext"),
        "-out",
        &file("-server.pem"),
    ]);
    directory.join(file(".pem"))
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_and_a_password_comes_from_its_file() {
    let place = Place::sqlite();
    for (key, options) in [
        ("connections", Options { connections: 1, ..place.options() }),
        ("statement_timeout_ms", Options { statement_timeout_ms: 0, ..place.options() }),
        ("operation_timeout_ms", Options { operation_timeout_ms: 0, ..place.options() }),
        ("patience_ms", Options { patience_ms: u64::MAX, ..place.options() }),
    ] {
        let refused = Database::open(&options, &[]).await.expect_err("refused");
        assert!(refused.to_string().contains(key), "{refused}");
    }
    let postgres = Place::postgres();
    let file = postgres.directory().join("password");
    let options = Options { password_file: Some(file.clone()), ..postgres.options() };
    assert!(matches!(Database::open(&options, &[]).await, Err(Error::File(_))), "no such file");
    std::fs::write(&file, "s3cret\n").unwrap();
    Database::open(&options, &[COUNTER]).await.expect("a server that trusts everybody takes any password");
}
