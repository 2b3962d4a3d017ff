//! What changes something: who may, two persons, replays, SQL limits, the description of the interface.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fep_identity::Role;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use served::{Answer, Served};
use support::{MS, Recorder, START, TestFrame, tm_frame};

fn frames(count: u64) -> Vec<TestFrame> {
    (0..count).map(|count| tm_frame(1, (count % 2) as u8, count, START + count as i64 * MS)).collect()
}

async fn one_ring(frames: &[TestFrame], more: &str) -> Served {
    let directory = tempfile::tempdir().unwrap();
    Recorder::new(&directory.path().join("segments"), "one.frames").frames(frames);
    Served::start(directory, more, 1).await
}

const ALL: [Role; 3] = [Role::Observer, Role::Operator, Role::Approver];
const APPROVES: [Role; 2] = [Role::Observer, Role::Approver];

fn kind(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned();
    (answer.status.as_u16(), kind)
}

// REQ: FEP-ARCS-010, FEP-ARC-173
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_needs_two_different_persons_with_their_roles() {
    let served = one_ring(&frames(10), "").await;
    let anna = served.log_in("anna", "anna", &ALL);
    let second_account = served.log_in("anna-2", "anna", &APPROVES);
    let bert = served.log_in("bert", "bert", &APPROVES);
    let post = async |ticket: &str, path: &str, body: &Value| {
        served.as_person(ticket, Method::POST, path, body).await
    };
    let segments = served.get("/v1/segments").await.json();
    let facts = &segments[0];
    let id = facts["id"].as_str().unwrap();
    // The numbers are exact in JSON text; a reader that keeps them as doubles has the name as text.
    let of_numbers = format!(
        "{}/{}/{:016x}-{:016x}",
        facts["colour"].as_str().unwrap(),
        facts["ring"].as_str().unwrap(),
        facts["series"].as_u64().unwrap(),
        facts["base_pos"].as_u64().unwrap()
    );
    assert_eq!(id, of_numbers);
    let asked = json!({"segments": [id], "reason": "test data"});
    let refused = post(&bert, "/v1/deletions", &asked).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "bert may not operate");
    // One that is taken back can be approved no more.
    let first = post(&anna, "/v1/deletions", &asked).await.json();
    assert_eq!(first["requester"], "local:anna", "{first}");
    let path = |act: &str| format!("/v1/deletions/{}/{act}", first["id"].as_str().unwrap());
    let note = json!({"note": "still needed"});
    let withdrawn = post(&anna, &path("withdraw"), &note).await;
    assert_eq!(withdrawn.json()["state"], "withdrawn", "{}", withdrawn.text());
    let late = post(&bert, &path("approve"), &Value::Null).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    let deletion = post(&anna, "/v1/deletions", &asked).await;
    assert_eq!(deletion.status, StatusCode::OK, "{}", deletion.text());
    let approve = format!("/v1/deletions/{}/approve", deletion.json()["id"].as_str().unwrap());
    for own in [&anna, &second_account] {
        let own = post(own, &approve, &Value::Null).await;
        assert_eq!(kind(&own), (403, "second-person-needed".to_owned()));
    }
    let approved = post(&bert, &approve, &Value::Null).await;
    assert_eq!(approved.json()["state"], "approved", "{}", approved.text());
    let again = post(&bert, &approve, &Value::Null).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "it is decided");
}

// REQ: FEP-ARC-151, FEP-ARC-173
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_lifted_by_an_order_that_another_person_approves() {
    let served = one_ring(&frames(10), "").await;
    let anna = served.log_in("anna", "anna", &ALL);
    let bert = served.log_in("bert", "bert", &APPROVES);
    let post = async |ticket: &str, path: &str, body: Value| {
        served.as_person(ticket, Method::POST, path, &body).await
    };
    let hold = post(&anna, "/v1/holds", json!({"scope": {"scid": 673}, "reason": "inquiry"})).await.json();
    // A misspelt or empty scope would hold everything.
    for (scope, everything) in [
        (json!({"spacecraft": 673}), false),
        (json!({}), false),
        (json!({"scid": 673}), true),
        (json!([null, null]), true),
    ] {
        let body = json!({"scope": scope, "everything": everything, "reason": "inquiry"});
        let refused = post(&anna, "/v1/holds", body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{scope}: {}", refused.text());
    }
    let release = format!("/v1/holds/{}/release", hold["id"].as_str().unwrap());
    let refused = post(&bert, &release, json!({"note": "over"})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "bert may not ask: {}", refused.text());
    let nobody = served.post_local(&release, json!({"note": "over"})).await;
    assert_eq!(nobody.status, StatusCode::FORBIDDEN, "the user of a process is no person: {}", nobody.text());
    let asked = post(&anna, &release, json!({"note": "over"})).await.json();
    assert_eq!((asked["order"]["state"].as_str(), &asked["hold"]), (Some("asked"), &hold["id"]), "{asked}");
    let approve = format!("/v1/releases/{}/approve", asked["order"]["id"].as_str().unwrap());
    let own = post(&anna, &approve, Value::Null).await;
    assert_eq!(kind(&own), (403, "second-person-needed".to_owned()));
    let other = json!({"content_sha256": "00".repeat(32)});
    assert_eq!(post(&bert, &approve, other).await.status, StatusCode::CONFLICT, "not what was asked for");
    let looked_at = json!({"content_sha256": asked["order"]["content_sha256"]});
    let lifted = post(&bert, &approve, looked_at).await;
    assert_eq!(lifted.json()["order"]["state"], "done", "{}", lifted.text());
    let holds = served.get("/v1/holds").await.json();
    assert!(holds[0]["released"].is_array(), "{holds}");
}

// REQ: FEP-ARCS-011, FEP-ARC-172
#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_without_a_ticket_but_the_services_own_user_at_its_unix_socket() {
    let served = one_ring(&frames(10), "").await;
    let hold = json!({"scope": {"scid": 673}, "reason": "inquiry"});
    let nobody = served.ask(Method::GET, "/v1/segments", &[("authorization", "")], "").await;
    assert_eq!(kind(&nobody), (401, "not-authenticated".to_owned()));
    let health = served.ask(Method::GET, "/health", &[("authorization", "")], "").await;
    assert_eq!(health.status, StatusCode::OK);
    let observer = served.ask(Method::POST, "/v1/holds", &[], &hold.to_string()).await;
    assert_eq!(kind(&observer), (403, "role-missing".to_owned()));
    let local = served.post_local("/v1/holds", hold.clone()).await;
    assert_eq!(local.status, StatusCode::OK, "{}", local.text());
    assert_eq!(served.get("/v1/holds").await.json().as_array().map(Vec::len), Some(1));

    let closed = one_ring(&frames(10), "[identity]\nlocal_roles = []\n").await;
    let local = closed.ask_local(Method::GET, "/v1/segments", "").await;
    assert_eq!(kind(&local), (401, "not-authenticated".to_owned()), "where the configuration says so");
}

// REQ: FEP-ARCS-012
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_plays_what_the_query_selects_to_where_it_may_go() {
    let recorded = frames(40);
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    let served = one_ring(&recorded, &format!("[replay]\nraw_targets = [\"{address}\"]\n")).await;
    let target = json!({"kind": "tcp_client", "address": address, "form": "raw"});
    let new =
        json!({"name": "pass-7", "unit": "frames", "query": "vcid=1", "target": target, "speed": "fastest"});
    let over_tcp = served.ask(Method::POST, "/v1/replays", &[], &new.to_string()).await;
    assert_eq!(over_tcp.status, StatusCode::FORBIDDEN);
    let started = served.post_local("/v1/replays", new).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text());
    let received = tokio::task::spawn_blocking(move || {
        let mut octets = Vec::new();
        receiver.accept().unwrap().0.read_to_end(&mut octets).unwrap();
        octets
    })
    .await
    .unwrap();
    let expected: Vec<u8> = recorded
        .iter()
        .filter(|frame| frame.record.gvcid.vcid == 1)
        .flat_map(|frame| frame.octets.clone())
        .collect();
    assert_eq!(received, expected);
    // The receiver sees the end of the connection before the replay has written down that it is over.
    while served.get("/v1/replays/pass-7").await.json()["phase"] != "ended" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let order = served.post_local("/v1/replays/pass-7/orders", json!({"order": "pause"})).await;
    assert_eq!(order.status, StatusCode::CONFLICT, "it is over");
    let unnamed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for elsewhere in [
        json!({"kind": "udp", "to": "192.0.2.7:5000"}),
        json!({"kind": "udp", "to": unnamed.local_addr().unwrap(), "form": "raw"}),
        json!({"kind": "tcp_client", "address": "127.0.0.1:9", "form": "raw"}),
        json!({"kind": "tcp_server", "bind": "127.0.0.1:0", "form": "raw"}),
    ] {
        let new = json!({"name": "away", "unit": "frames", "query": "", "target": elsewhere});
        let refused = served.post_local("/v1/replays", new).await;
        let place = refused.json()["where"].as_str().map(str::to_owned);
        assert_eq!(
            (refused.status, place.as_deref()),
            (StatusCode::FORBIDDEN, Some("target")),
            "{elsewhere}"
        );
    }
    let new = json!({"name": "bad", "unit": "frames", "query": "vc=1", "target": {"kind": "udp", "to": "127.0.0.1:9"}});
    let refused = served.post_local("/v1/replays", new).await;
    assert_eq!(
        (refused.status, refused.json()["where"].as_str()),
        (StatusCode::BAD_REQUEST, Some("query: vc"))
    );
}

// REQ: FEP-ARC-161
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_in_the_audit_trail_before_it_starts_and_does_not_start_without() {
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    let served = one_ring(&frames(3), &format!("[replay]\nreceivers = [\"{address}\"]\n")).await;
    let new = |name: &str| {
        let target = json!({"kind": "tcp_client", "address": address});
        json!({"name": name, "unit": "frames", "query": "", "target": target, "paused": true})
    };
    // The trail takes no entries.
    let url = format!("sqlite://{}/catalogue.sqlite3", served.root().display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON kit_audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    sqlx::query(full).execute(&database).await.unwrap();
    let refused = served.post_local("/v1/replays", new("unrecorded")).await;
    assert!(refused.status.is_server_error(), "{}", refused.text());
    assert_eq!(served.get("/v1/replays").await.json(), json!([]));
    sqlx::query("DROP TRIGGER full").execute(&database).await.unwrap();
    receiver.set_nonblocking(true).unwrap();
    assert!(receiver.accept().is_err(), "nobody connected");

    let started = served.post_local("/v1/replays", new("pass-7")).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text());
    let stopped = served.post_local("/v1/replays/pass-7/orders", json!({"order": "stop"})).await;
    assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text());
    let elsewhere = json!({"kind": "udp", "to": "192.0.2.7:5000"});
    let away = json!({"name": "away", "unit": "frames", "query": "", "target": elsewhere});
    assert_eq!(served.post_local("/v1/replays", away).await.status, StatusCode::FORBIDDEN);
    let entries = served.get("/v1/audit").await.json();
    let acts: Vec<_> = entries
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| Some((entry["action"].as_str()?, entry["subject"].as_str()?)))
        .filter(|(action, _)| action.starts_with("replay"))
        .collect();
    let expected = [
        ("replay", "pass-7"),
        ("replay started", "pass-7"),
        ("replay order", "pass-7"),
        ("replay", "away"),
        ("replay failed", "away"),
    ];
    assert_eq!(acts, expected);
}

/// Asks over the Unix socket until the answer has this status.
async fn until_local(served: &Served, status: StatusCode) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let answer = served.ask_local(Method::GET, "/v1/frames?limit=5", "").await;
        if answer.status == status {
            return;
        }
        assert!(std::time::Instant::now() < until, "not {status}: {} {}", answer.status, answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

// REQ: FEP-ARC-164, FEP-ARC-165
#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_that_never_read_leave_room_for_others_and_lose_their_connections() {
    let served = one_ring(&frames(20_000), "[http.limits]\nwrite_timeout_s = 20\n").await;
    let silent: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&served.socket).unwrap();
            stream.write_all(b"GET /v1/frames HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            // Before the next one asks, this one has its place, or is refused.
            let mut status = [0; 12];
            tokio::task::block_in_place(|| stream.read_exact(&mut status)).unwrap();
            (stream, String::from_utf8_lossy(&status).into_owned())
        })
        .collect();
    let answered = silent.iter().filter(|(_, status)| status == "HTTP/1.1 200").count();
    let refused = silent.iter().filter(|(_, status)| status == "HTTP/1.1 429").count();
    assert_eq!((answered, refused), (4, 4), "one caller has four places");
    until_local(&served, StatusCode::TOO_MANY_REQUESTS).await;
    let other = served.get("/v1/frames?limit=5").await;
    assert_eq!((other.status, other.lines().len()), (StatusCode::OK, 5), "{}", other.text());
    // They read nothing and close nothing: the service ends them.
    until_local(&served, StatusCode::OK).await;
    drop(silent);
}

// REQ: FEP-ARC-164
#[tokio::test(flavor = "multi_thread")]
async fn the_preface_of_http_2_ends_a_connection() {
    let served = one_ring(&frames(2), "").await;
    let address = served.tcp().to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
                panic!("it is kept: {error}")
            }
            _ => answer,
        }
    })
    .await
    .unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(served.get("/health").await.status, StatusCode::OK);
}

// REQ: FEP-ARCS-013
#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_interface_has_every_path_that_answers() {
    let served = one_ring(&frames(2), "").await;
    let document = served.get("/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert!(paths.len() >= 30, "{paths:?}");
    for path in paths {
        let concrete = path.replace("{id}", "none").replace("{name}", "none");
        let methods = document["paths"][path.as_str()].as_object().unwrap();
        for method in methods.keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            if path == "/v1/tail" {
                continue; // It does not end.
            }
            let answer = served.ask(method, &concrete, &[], "{}").await;
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert!(!answer.text().contains("there is nothing at"), "{path}");
        }
    }
}

mod sql {
    use super::*;

    /// The program that answers. Cargo builds for a test only the programs of its own package; this one must have been built
    /// before, as `make test` does.
    fn program() -> PathBuf {
        let own = std::env::current_exe().expect("a test has a program");
        let program = own.parent().and_then(Path::parent).expect("deps").join("fep-archive-sql");
        assert!(program.is_file(), "{} is missing: `cargo build -p fep-archive-sql`", program.display());
        program
    }

    /// An archive with one ring of so many frames.
    async fn archive(frames_sent: u64, limits: &str) -> Served {
        one_ring(&frames(frames_sent), &format!("[sql]\nprogram = {:?}\n{limits}", program())).await
    }

    /// Children of this process that answer queries.
    fn processes() -> usize {
        let own = std::process::id().to_string();
        let is_ours = |entry: std::fs::DirEntry| -> Option<()> {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = stat.rsplit_once(')')?;
            let mut rest = rest.split_whitespace();
            let (state, parent) = (rest.next()?, rest.next()?);
            (name.contains("(fep-archive-sql") && state != "Z" && parent == own).then_some(())
        };
        let all = std::fs::read_dir("/proc").expect("proc");
        all.filter_map(|entry| is_ours(entry.ok()?)).count()
    }

    async fn run(served: &Served, body: Value) -> Answer {
        served.ask(Method::POST, "/v1/sql", &[], &body.to_string()).await
    }

    // REQ: FEP-ARCS-020
    #[tokio::test(flavor = "multi_thread")]
    async fn sql_sees_every_row_of_the_index_and_where_it_came_from() {
        let served = archive(301, "").await;
        let sql =
            "SELECT colour, ring, vcid, count(*) AS n FROM frames GROUP BY colour, ring, vcid ORDER BY vcid";
        let answer = run(&served, json!({"sql": sql})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(
            answer.json()["rows"],
            json!([
                {"colour": "black", "ring": "one.frames", "vcid": 0, "n": 151},
                {"colour": "black", "ring": "one.frames", "vcid": 1, "n": 150},
            ])
        );
        let sql =
            format!("SELECT count(*) AS n FROM frames WHERE rx_tai_ns >= {} AND vcid = 1", START + 200 * MS);
        assert_eq!(run(&served, json!({"sql": sql})).await.json()["rows"], json!([{"n": 50}]));
        let csv = run(&served, json!({"sql": "SELECT count(*) AS n FROM packets", "format": "csv"})).await;
        assert_eq!(csv.text(), "n\n0\n");
    }

    // REQ: FEP-ARCS-021
    #[tokio::test(flavor = "multi_thread")]
    async fn sql_changes_nothing_and_keeps_to_its_limits() {
        let served = archive(301, "rows_max = 100\ntimeout_s = 20\nmemory_mib = 64\n").await;
        let all = run(&served, json!({"sql": "SELECT * FROM frames"})).await.json();
        assert_eq!(
            (all["rows"].as_array().map(Vec::len), all["truncated"].as_bool()),
            (Some(100), Some(true))
        );
        let few = run(&served, json!({"sql": "SELECT * FROM frames", "rows_max": 7})).await.json();
        assert_eq!(few["rows"].as_array().map(Vec::len), Some(7));
        let more = run(&served, json!({"sql": "SELECT 1", "rows_max": 101})).await;
        assert_eq!((more.status, more.json()["where"].as_str()), (StatusCode::BAD_REQUEST, Some("rows_max")));
        for sql in [
            "CREATE TABLE x (y INT)",
            "DROP TABLE frames",
            "INSERT INTO frames SELECT * FROM frames",
            "COPY (SELECT 1) TO '/tmp/fep-sql-must-not-write.csv'",
            "CREATE EXTERNAL TABLE passwd STORED AS CSV LOCATION '/etc/passwd'",
            "SET datafusion.execution.batch_size = 1",
        ] {
            let answer = run(&served, json!({"sql": sql})).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{sql}: {}", answer.text());
        }
        assert!(!std::path::Path::new("/tmp/fep-sql-must-not-write.csv").exists());
        let wrong = run(&served, json!({"sql": "SELECT nothing FROM frames"})).await;
        assert_eq!(wrong.json()["type"], "/problems/bad-query", "{}", wrong.text());
        let endless =
            "SELECT sum(a.seq * b.seq + c.seq * d.seq % 7) FROM frames a, frames b, frames c, frames d";
        let cancelled = run(&served, json!({"sql": endless, "timeout_s": 1})).await;
        assert_eq!(cancelled.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", cancelled.text());
        assert_eq!(cancelled.json()["type"], "/problems/query-timed-out");
        // Its process is gone; the next order waits for nobody.
        while processes() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let large = "SELECT a.seq, b.seq, c.seq FROM frames a, frames b, frames c ORDER BY 3, 2, 1";
        let large = run(&served, json!({"sql": large})).await;
        assert_eq!(large.json()["type"], "/problems/query-too-large", "{}", large.text());
        assert_eq!(run(&served, json!({"sql": "SELECT 1 AS one"})).await.json()["rows"], json!([{"one": 1}]));
    }

    // REQ: FEP-ARCS-451
    #[tokio::test(flavor = "multi_thread")]
    async fn where_the_program_is_not_installed_the_answer_says_how_to_get_it() {
        let served = one_ring(&frames(3), "[sql]\nprogram = \"/nonexistent/fep-archive-sql\"\n").await;
        assert_eq!(served.get("/v1/status").await.json()["sql"], false);
        let answer = run(&served, json!({"sql": "SELECT 1"})).await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert!(answer.text().contains("make sql"), "{}", answer.text());
    }
}
