//! What callers get whose scope is not everything, red data, and what of it stands in the audit trail.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use fep_bus::Colour;
use fep_identity::{Colours, Role, Scope, Sessions, Spacecraft};
use fep_record::Session;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use served::{Answer, Served};
use support::{MS, Recorder, SCID, START, TestFrame, tm_frame};

const OTHER: u16 = SCID + 1;

/// Frames of a spacecraft, with a gap in the middle.
fn frames(scid: u16, link: u16) -> Vec<TestFrame> {
    let counts = (0..40).filter(|count| !(10..20).contains(count));
    counts
        .map(|count| {
            let mut frame = tm_frame(link, 0, count, START + count as i64 * MS);
            frame.record.gvcid.scid = scid;
            frame
        })
        .collect()
}

/// An archive of two spacecraft, each with a ring of its own, and red data of the first.
async fn two_spacecraft(more: &str) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    Recorder::new(&root, "one.frames").frames(&frames(SCID, 1));
    Recorder::new(&root, "two.frames").frames(&frames(OTHER, 2));
    Recorder::of(&root, Colour::Red, "one.red.frames").frames(&frames(SCID, 1));
    let red = u64::from(more.contains("serve_red = true"));
    Served::start(directory, more, 2 + red).await
}

fn scope(scids: &[u16], colours: &[Colour], sessions: &[Session]) -> Scope {
    Scope {
        spacecraft: Spacecraft::these(scids.iter().copied()),
        colours: Colours::of(colours),
        sessions: Sessions::of(sessions),
    }
}

async fn get(served: &Served, ticket: &str, path: &str) -> Answer {
    served.as_person(ticket, Method::GET, path, &Value::Null).await
}

fn kind(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned();
    (answer.status.as_u16(), kind)
}

fn out_of_scope() -> (u16, String) {
    (403, "out-of-scope".to_owned())
}

/// Every spacecraft that a list names, at this member.
fn spacecraft(list: &Value, at: &str) -> Vec<u64> {
    let mut found: Vec<u64> =
        list.as_array().unwrap().iter().map(|one| one.pointer(at).and_then(Value::as_u64).unwrap()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Entries of the trail with this action, once there are so many.
async fn entries(served: &Served, action: &str, count: usize) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = served.get(&format!("/v1/audit?action={}", action.replace(' ', "%20"))).await.json();
        let found = found.as_array().unwrap().clone();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < until, "{action}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// REQ: FEP-ARC-170, FEP-ARC-171
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_what_its_scope_reaches_and_nothing_else() {
    let served = two_spacecraft("").await;
    let own = scope(&[SCID], &[Colour::Black], &[Session::Ops]);
    let ticket = served.ticket_of(&[Role::Observer, Role::Operator], vec![own]);
    let all = served.get("/v1/frames").await;
    assert_eq!(all.lines().len(), 60, "who reaches everything gets both");
    let rows = get(&served, &ticket, "/v1/frames").await;
    assert_eq!((rows.status, rows.lines().len()), (StatusCode::OK, 30), "{}", rows.text());
    assert!(rows.lines().iter().all(|row| row["scid"] == SCID), "{}", rows.text());
    // The answer names the query that it really answers, and is no other's.
    assert!(rows.header("link").contains(&format!("scid={SCID}")), "{}", rows.header("link"));
    assert_ne!(rows.header("etag"), all.header("etag"));
    let manifest = get(&served, &ticket, "/v1/frames/manifest?format=frames").await.json();
    assert_eq!(
        (manifest["units"].as_u64(), manifest["query"].as_str()),
        (Some(30), Some(&*format!("scid={SCID}&format=frames")))
    );

    for (path, at) in [("/v1/contacts", "/scid"), ("/v1/channels", "/scid"), ("/v1/gaps", "/channel/scid")] {
        let both = [u64::from(SCID), u64::from(OTHER)];
        assert_eq!(spacecraft(&served.get(path).await.json(), at), both, "{path}");
        assert_eq!(spacecraft(&get(&served, &ticket, path).await.json(), at), both[..1], "{path}");
    }
    let segments = get(&served, &ticket, "/v1/segments").await.json();
    assert_eq!(segments.as_array().map(Vec::len), Some(1), "{segments}");
    assert_eq!(segments[0]["ring"], "one.frames");

    let gaps = served.get("/v1/gaps").await.json();
    let of = |scid: u16| {
        let gap = gaps.as_array().unwrap().iter().find(|gap| gap["channel"]["scid"] == scid);
        gap.unwrap()["id"].as_str().unwrap().replace('/', "%2F")
    };
    assert_eq!(get(&served, &ticket, &format!("/v1/gaps/{}", of(SCID))).await.status, StatusCode::OK);
    let span = "from=2026-01-01&to=2027-01-01";
    for path in [
        format!("/v1/frames?scid={OTHER}"),
        format!("/v1/frames?scid={SCID}-{OTHER}"),
        format!("/v1/frames/manifest?scid={OTHER}"),
        "/v1/frames?session=test".to_owned(),
        "/v1/frames?session=ops,test".to_owned(),
        "/v1/frames?colour=red".to_owned(),
        "/v1/packets?session=replay".to_owned(),
        format!("/v1/tail?scid={OTHER}"),
        format!("/v1/segments?scid={OTHER}"),
        format!("/v1/gaps?scid={OTHER}"),
        format!("/v1/gaps/{}", of(OTHER)),
        format!("/v1/contacts?scid={OTHER}"),
        format!("/v1/completeness?scid={OTHER}&{span}"),
        "/v1/jobs".to_owned(),
        "/v1/retention".to_owned(),
        "/v1/deletions".to_owned(),
    ] {
        let refused = get(&served, &ticket, &path).await;
        assert_eq!(kind(&refused), out_of_scope(), "{path}: {}", refused.text());
    }
    let post = async |path: &str, body: Value| served.as_person(&ticket, Method::POST, path, &body).await;
    for (path, body) in [
        ("/v1/sql", json!({"sql": "SELECT 1"})),
        ("/v1/scrub", json!({})),
        ("/v1/holds", json!({"scope": {"scid": OTHER}, "reason": "x"})),
        ("/v1/holds", json!({"scope": {}, "everything": true, "reason": "x"})),
        (&*format!("/v1/gaps/{}/state", of(OTHER)), json!({"state": "requested"})),
    ] {
        let refused = post(path, body).await;
        assert_eq!(kind(&refused), out_of_scope(), "{path}: {}", refused.text());
    }
    let target = json!({"kind": "udp", "to": "127.0.0.1:9"});
    let replay = json!({"name": "a", "unit": "frames", "query": format!("scid={OTHER}"), "target": target});
    assert_eq!(kind(&post("/v1/replays", replay).await), out_of_scope());
    // Refusals that only a handler can see are in the trail as all others are.
    let refused = entries(&served, "refused", 20).await;
    for subject in
        ["GET /v1/frames", "GET /v1/gaps/{id}", "POST /v1/holds", "POST /v1/replays", "POST /v1/sql"]
    {
        assert!(refused.iter().any(|entry| entry["subject"] == subject), "{subject}: {refused:?}");
    }
}

// REQ: FEP-ARC-170
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_and_a_replay_are_seen_by_those_whose_scope_reaches_what_they_are_of() {
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    let served = two_spacecraft(&format!("[replay]\nreceivers = [\"{address}\"]\n")).await;
    let everywhere = |scid: u16| Scope { spacecraft: Spacecraft::these([scid]), ..Scope::ALL };
    let roles = [Role::Observer, Role::Operator];
    let first = served.ticket_of(&roles, vec![everywhere(SCID)]);
    let second = served.ticket_of(&roles, vec![everywhere(OTHER)]);
    let hold = json!({"scope": {"scid": SCID}, "reason": "inquiry"});
    let held = served.as_person(&first, Method::POST, "/v1/holds", &hold).await;
    assert_eq!(held.status, StatusCode::OK, "{}", held.text());
    let target = json!({"kind": "tcp_client", "address": address});
    // It names no spacecraft, and plays those of its caller.
    let new = json!({"name": "own", "unit": "frames", "query": "", "target": target, "paused": true});
    let started = served.as_person(&first, Method::POST, "/v1/replays", &new).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text());
    for path in ["/v1/holds", "/v1/replays"] {
        assert_eq!(get(&served, &first, path).await.json().as_array().map(Vec::len), Some(1), "{path}");
        assert_eq!(get(&served, &second, path).await.json(), json!([]), "{path}");
        assert_eq!(served.get(path).await.json().as_array().map(Vec::len), Some(1), "{path}");
    }
    assert_eq!(kind(&get(&served, &second, "/v1/replays/own").await), out_of_scope());
    let stop = json!({"order": "stop"});
    let refused = served.as_person(&second, Method::POST, "/v1/replays/own/orders", &stop).await;
    assert_eq!(kind(&refused), out_of_scope());
    let stopped = served.as_person(&first, Method::POST, "/v1/replays/own/orders", &stop).await;
    assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text());
    let noted = entries(&served, "replay", 1).await;
    assert!(noted[0]["detail"].as_str().unwrap().contains(&format!("scid={SCID}")), "{noted:?}");
}

// REQ: FEP-ARC-172
#[tokio::test(flavor = "multi_thread")]
async fn red_data_needs_a_red_scope_and_every_read_of_it_is_in_the_trail() {
    let served = two_spacecraft("serve_red = true\n").await;
    let of = |colours: &[Colour]| Scope { colours: Colours::of(colours), ..Scope::ALL };
    let black = served.ticket_of(&[Role::Observer], vec![of(&[Colour::Black])]);
    let red = served.ticket_of(&[Role::Observer], vec![of(&[Colour::Red])]);
    for path in [
        "/v1/frames?colour=red",
        "/v1/frames/manifest?colour=red",
        "/v1/tail?colour=red",
        "/v1/segments?colour=red",
    ] {
        assert_eq!(kind(&get(&served, &black, path).await), out_of_scope(), "{path}");
    }
    let rings = async |ticket: &str, path: &str| -> Vec<String> {
        let listed = get(&served, ticket, path).await.json();
        let mut rings: Vec<String> =
            listed.as_array().unwrap().iter().map(|one| one["ring"].as_str().unwrap().to_owned()).collect();
        rings.sort_unstable();
        rings.dedup();
        rings
    };
    for path in ["/v1/segments", "/v1/contacts", "/v1/gaps"] {
        assert_eq!(rings(&black, path).await, ["one.frames", "two.frames"], "{path}");
        assert_eq!(rings(&red, path).await, ["one.red.frames"], "{path}");
    }
    assert_eq!(kind(&get(&served, &red, "/v1/frames").await), out_of_scope(), "black is what is asked for");
    assert_eq!(get(&served, &black, "/v1/frames").await.lines().len(), 60);
    let read = get(&served, &red, "/v1/frames?colour=red").await;
    assert_eq!((read.status, read.lines().len()), (StatusCode::OK, 30), "{}", read.text());
    assert_eq!(get(&served, &red, "/v1/frames/manifest?colour=red").await.status, StatusCode::OK);
    let noted = entries(&served, "red data read", 2).await;
    let subjects: Vec<&str> = noted.iter().map(|entry| entry["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["/v1/frames", "/v1/frames/manifest"]);
    let entry = &noted[0];
    assert_eq!((entry["person"].as_str(), entry["account"].as_str()), (Some("local:test"), Some("test")));
    assert!(entry["detail"].as_str().unwrap().contains("colour=red"), "{entry}");
}

// REQ: FEP-ARC-175
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_in_the_trail_which_verifies_and_what_is_looked_at_is_not() {
    let served = two_spacecraft("").await;
    for path in [
        "/v1/frames",
        "/v1/frames?format=csv",
        "/v1/frames?format=parquet",
        "/v1/frames?octets=yes",
        "/v1/frames/manifest?format=frames",
    ] {
        assert_eq!(served.get(path).await.status, StatusCode::OK, "{path}");
    }
    let head = served.ask(Method::HEAD, "/v1/frames?format=frames", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "5760"));
    let noted = entries(&served, "data exported", 3).await;
    let queries: Vec<String> = noted
        .iter()
        .map(|entry| {
            let detail: Value = serde_json::from_str(entry["detail"].as_str().unwrap()).unwrap();
            detail["query"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(queries, ["format=parquet", "octets=yes&format=jsonl", "format=frames"]);
    let report = served.get("/v1/audit/verify").await.json();
    assert_eq!(report["holds"], true, "{report}");
    let lines = served.get("/v1/audit/export").await;
    let report = fep_audit::verify_lines(lines.body.as_ref(), &[], None).unwrap();
    assert!(report.holds() && report.entries >= 4, "{report:?}");
    // The trail is not for those who only observe.
    let observer = served.ticket_of(&[Role::Observer], vec![Scope::ALL]);
    for path in ["/v1/audit", "/v1/audit/export", "/v1/audit/verify", "/v1/audit/earlier"] {
        assert_eq!(kind(&get(&served, &observer, path).await), (403, "role-missing".to_owned()), "{path}");
    }
    assert_eq!(served.get("/v1/audit/earlier").await.json(), json!([]));
}

// REQ: FEP-ARC-176
#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_another_name_or_of_another_origin_is_refused_at_both_doors() {
    let served = two_spacecraft("origins = [\"https://console.example\"]\n").await;
    let status =
        async |headers: &[(&str, &str)]| served.get_with("/v1/status", headers).await.status.as_u16();
    assert_eq!(status(&[]).await, 200);
    assert_eq!(status(&[("origin", "https://console.example")]).await, 200);
    assert_eq!(status(&[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&[("host", "evil.example")]).await, 400, "two names");
    let socket = served.socket.clone();
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream
            .write_all(b"GET /v1/status HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}
