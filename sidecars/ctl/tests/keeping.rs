//! Holds, deletions and approvals of the archive: what is sent, what is shown, and what is refused before it is sent. The
//! service is a socket that answers as the archive does.

mod support;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{Asked, json, refuses, serve, stderr, stdout};

const T: i64 = 2_112_289_000_000_000_000;
const FIRST: &str = "black/npp.frames/00000000000003e8-0000000000000000";
const SECOND: &str = "black/npp.frames/00000000000003e8-0000000000010000";
/// `printf '…\n…\n' | sha256sum` of the two names.
const CONTENT: &str = "5c06727a926e45b51c65e5d31fd14c90e1fdc5372c7366eae600d2a91edd5aa1";
/// `printf 'hold-1\n{"from_tai_ns":null,"to_tai_ns":null,"ring":null,"colour":null,"scid":157,"link":null}\ninquiry 7\n' |
/// sha256sum`
const HELD: &str = "e440c45efccc496eba1fa5547bb45ac6bfda38b16209646e347df3dde5580b7c";

fn deletion(id: &str, state: &str, content: &str) -> Value {
    json!({
        "id": id, "segments": [FIRST, SECOND], "content_sha256": content, "reason": "test data of the campaign",
        "requester": "local:anna", "requested_tai_ns": T, "expires_tai_ns": T + 86_400_000_000_000_i64,
        "decided": null, "state": state, "note": "", "of_a_later_version": 1,
    })
}

/// A deletion of more segments than a page lists, of which the catalogue knows nothing.
fn many() -> Value {
    let mut deletion = deletion("deletion-5", "requested", CONTENT);
    let names: Vec<String> = (0..30).map(|number| format!("black/old.frames/0-{number}")).collect();
    deletion["segments"] = json!(names);
    deletion
}

fn segment(id: &str, at: i64) -> Value {
    json!({
        "id": id, "ring": "npp.frames", "colour": "black", "series": 1000, "base_pos": 0, "records": 120_000,
        "file_octets": 268_435_456_u64, "first_rx_tai_ns": at, "last_rx_tai_ns": at + 60_000_000_000, "state": "ok",
    })
}

fn hold(released: Value) -> Value {
    let scope = json!({"from_tai_ns": null, "to_tai_ns": null, "ring": null, "colour": null, "scid": 157, "link": null});
    json!({
        "id": "hold-1", "scope": scope, "reason": "inquiry 7", "person": "local:anna", "at_tai_ns": T, "released": released,
    })
}

fn release(state: &str) -> Value {
    let rule = json!({"kind": "archive.release-hold", "ask": "operator", "seats": ["approver"], "execute": null, "valid_s": 9});
    json!({"hold": "hold-1", "order": {
        "id": "release-1", "subject": "lift hold-1", "reason": "inquiry 7 is closed", "content_sha256": HELD,
        "rule": rule, "asker": "local:anna", "asker_account": "anna", "asked_at": T, "expires_at": T + 1,
        "state": state, "approvals": [], "execution": null, "ending": null,
    }})
}

fn answer(asked: &Asked) -> (u16, String) {
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let (path, query) = asked.what.split_once('?').unwrap_or((&asked.what, ""));
    let answer = match path {
        "GET /v1/deletions" => json!([
            deletion("deletion-1", "requested", CONTENT),
            deletion("deletion-2", "requested", &"0".repeat(64)),
            deletion("deletion-3", "withdrawn", CONTENT),
            many(),
        ]),
        "GET /v1/channels" => {
            let channel = |scid: u16| json!({"link": 1, "scid": scid, "vcid": 1, "apid": null});
            json!([channel(157), channel(42)])
        }
        "GET /v1/segments" if query.contains("scid=42") => json!([]),
        "GET /v1/segments" => {
            json!([
                segment(FIRST, T),
                segment(SECOND, T + 60_000_000_000),
                segment("black/npp.frames/x-y", T)
            ])
        }
        "GET /v1/retention" => json!([
            {"segment": FIRST, "class": "housekeeping", "last_rx_tai_ns": T, "holds": []},
            {"segment": SECOND, "class": "housekeeping", "last_rx_tai_ns": T, "holds": ["hold-1"]},
        ]),
        "GET /v1/holds" => {
            let mut long = hold(json!([T, "local:bert"]));
            long["id"] = json!("hold-2");
            long["scope"] = json!({
                "from_tai_ns": T, "to_tai_ns": T, "ring": null, "colour": "red", "scid": 157, "link": null,
            });
            json!([hold(Value::Null), long])
        }
        "GET /v1/releases" => json!([release("asked")]),
        "POST /v1/holds" => {
            let mut put = hold(Value::Null);
            put["scope"] = body["scope"].clone();
            put
        }
        "POST /v1/holds/hold-1/release" => release("asked"),
        "POST /v1/releases/release-1/approve" => release("done"),
        "POST /v1/releases/release-1/refuse" => release("withdrawn"),
        "POST /v1/deletions" => deletion("deletion-4", "requested", CONTENT),
        "POST /v1/deletions/deletion-1/approve" => deletion("deletion-1", "approved", CONTENT),
        "POST /v1/deletions/deletion-1/refuse" => deletion("deletion-1", "refused", CONTENT),
        "POST /v1/deletions/deletion-1/withdraw" => deletion("deletion-1", "withdrawn", CONTENT),
        other => return (404, json!({"detail": format!("nothing at {other}")}).to_string()),
    };
    (200, answer.to_string())
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = support::fepctl();
    command.arg("archive").args(arguments);
    command.args(["--archive", &format!("unix:{}", dir.join("archive.sock").display())]);
    // Nobody is logged in.
    command.env("XDG_RUNTIME_DIR", dir);
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).stdin(Stdio::null()).output().expect("it starts")
}

/// The last request that changes something; `None` where there was none.
fn changed(asked: &std::sync::mpsc::Receiver<Asked>) -> Option<(String, Value)> {
    let last = asked.try_iter().filter(|asked| asked.what.starts_with("POST")).last()?;
    Some((last.what, serde_json::from_str(&last.body).expect("JSON")))
}

// REQ: FEP-CTL-157
#[test]
fn an_approver_sees_all_of_a_deletion_within_eighty_columns() {
    let dir = tempfile::tempdir().expect("a directory");
    let _asked = serve(&dir.path().join("archive.sock"), answer);
    let page = stdout(&run(dir.path(), &["deletions", "deletion-1"]));
    for said in [
        "deletion-1: delete 2 segments",
        "spacecraft  157\n",
        "on disk     537 MB",
        "240 000 records",
        "asked by    local:anna, 20",
        "reason      test data of the campaign",
        "state       requested, valid until 20",
        FIRST,
        SECOND,
        CONTENT,
    ] {
        assert!(page.contains(said), "{said:?} is not in: {page}");
    }
    assert!(!page.contains("npp.frames/x-y"), "another segment: {page}");
    let (list, all) = (run(dir.path(), &["deletions"]), run(dir.path(), &["deletions", "--all"]));
    assert!(!stdout(&list).contains("deletion-3") && stdout(&all).contains("deletion-3"));
    let unknown = stdout(&run(dir.path(), &["deletions", "deletion-5"]));
    assert!(unknown.contains("knows nothing but the names") && unknown.contains("black/old.frames/0-19\n"));
    assert!(unknown.contains("and 10 more: fepctl archive deletions deletion-5 --json"), "{unknown}");
    let raw = json(&run(dir.path(), &["deletions", "deletion-1", "--json"]));
    assert_eq!((&raw["of_a_later_version"], &raw["id"]), (&json!(1), &json!("deletion-1")));
    for arguments in [
        &["deletions", "deletion-1"][..],
        &["deletions", "deletion-5"],
        &["deletions", "--all"],
        &["releases"],
        &["releases", "release-1"],
        &["holds", "--all"],
        &["segments"],
        &["segments", "--due"],
    ] {
        let output = run(dir.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}

// REQ: FEP-CTL-156
#[test]
fn a_script_approves_with_the_hash_that_was_looked_at_and_with_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("archive.sock"), answer);
    let run = |arguments: &[&str]| run(dir.path(), arguments);
    refuses(
        &run(&["approve", "deletion-1"]),
        2,
        &["--yes and --sha256", "fepctl archive deletions deletion-1"],
    );
    refuses(&run(&["approve", "deletion-1", "--sha256", CONTENT]), 2, &["--yes"]);
    refuses(&run(&["approve", "deletion-1", "--yes"]), 2, &["--sha256"]);
    let other = "1".repeat(64);
    refuses(
        &run(&["approve", "deletion-1", "--yes", "--sha256", &other]),
        1,
        &["has the SHA-256", CONTENT, "nothing is approved", "look again"],
    );
    // Bound to something else than the list that is shown: whoever made the list up gets no approval.
    refuses(
        &run(&["approve", "deletion-2", "--yes", "--sha256", &"0".repeat(64)]),
        1,
        &["bound to something else than the archive shows"],
    );
    refuses(&run(&["approve", "deletion-3", "--yes", "--sha256", CONTENT]), 1, &["is withdrawn"]);
    refuses(
        &run(&["approve", "deletion-9", "--yes", "--sha256", CONTENT]),
        1,
        &["no deletion and no release"],
    );
    assert_eq!(changed(&asked), None, "nothing was sent");
    let done = run(&["approve", "deletion-1", "--yes", "--sha256", CONTENT]);
    assert!(done.status.success() && stdout(&done).contains("deletion-1 is approved"), "{}", stderr(&done));
    let sent = ("POST /v1/deletions/deletion-1/approve".to_owned(), json!({"content_sha256": CONTENT}));
    assert_eq!(changed(&asked), Some(sent));
    let lifted = run(&["approve", "release-1", "--yes", "--sha256", HELD]);
    assert!(stdout(&lifted).contains("hold-1 is lifted"), "{}", stderr(&lifted));
    let sent = ("POST /v1/releases/release-1/approve".to_owned(), json!({"content_sha256": HELD}));
    assert_eq!(changed(&asked), Some(sent));
}

// REQ: FEP-CTL-156
#[test]
fn a_person_approves_by_typing_the_name_of_what_was_shown() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("archive.sock"), answer);
    for (typed, approves) in [("yes\n", false), ("deletion-1\n", true)] {
        let window =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&window).expect("it is ours");
        unlockpt(&window).expect("it is ours");
        let name = ptsname(&window, Vec::new()).expect("it has a name").into_string().expect("a path");
        let end = std::fs::File::options().read(true).write(true).open(&name).expect("the other end");
        let mut child = command(dir.path(), &["approve", "deletion-1"])
            .stdin(end)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // What is typed before the question waits in the terminal.
        let mut window = std::fs::File::from(window);
        window.write_all(typed.as_bytes()).expect("typed");
        let mut page = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut page).expect("text");
        let output = child.wait_with_output().expect("it ends");
        assert!(page.contains(SECOND) && page.contains(CONTENT), "it is shown before: {page}");
        assert!(stderr(&output).contains("Type deletion-1 to approve it:"), "{}", stderr(&output));
        assert_eq!(output.status.success(), approves, "{}", stderr(&output));
        assert_eq!(changed(&asked).is_some(), approves);
    }
}

// REQ: FEP-CTL-158
#[test]
fn a_hold_says_what_it_covers_and_its_lifting_is_asked_for_refused_and_withdrawn() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("archive.sock"), answer);
    let run = |arguments: &[&str]| run(dir.path(), arguments);
    refuses(&run(&["hold", "--reason", "x"]), 2, &["nothing says what to hold", "--everything"]);
    refuses(&run(&["hold", "--everything", "--scid", "1", "--reason", "x"]), 2, &["--everything"]);
    refuses(&run(&["hold", "--from", "soon", "--reason", "x"]), 2, &["--from", "allowed"]);
    refuses(&run(&["hold", "--scid", "157"]), 2, &["--reason"]);
    assert_eq!(changed(&asked), None);
    let put =
        run(&["hold", "--scid", "157", "--from", "2024-12-06", "--colour", "red", "--reason", "inquiry 7"]);
    assert!(
        stdout(&put).starts_with("hold-1 holds spacecraft 157, red data, from 2024-12-06"),
        "{}",
        stderr(&put)
    );
    let (_, body) = changed(&asked).expect("a request");
    // `fep_archive_query::parse_time`: TAI of 2024-12-06T00:00:00 UTC, 37 s ahead.
    assert_eq!(body["scope"]["from_tai_ns"], 2_112_134_437_000_000_000_i64);
    assert_eq!((&body["scope"]["colour"], &body["reason"]), (&json!("red"), &json!("inquiry 7")));
    run(&["hold", "--everything", "--reason", "the court"]);
    let (_, body) = changed(&asked).expect("a request");
    assert!(body["scope"].as_object().is_some_and(|scope| scope.values().all(Value::is_null)), "{body}");
    let page = stdout(&run(&["releases", "release-1"]));
    assert!(page.contains("it covers   spacecraft 157") && page.contains(HELD), "{page}");
    let asking = run(&["release", "hold-1", "--reason", "closed"]);
    assert!(stdout(&asking).contains("fepctl archive approve release-1"), "{}", stderr(&asking));
    assert_eq!(changed(&asked).map(|(_, body)| body), Some(json!({"note": "closed"})));
    for (arguments, what, said) in [
        (["refuse", "deletion-1"], "POST /v1/deletions/deletion-1/refuse", "deletion-1 is refused"),
        (["withdraw", "deletion-1"], "POST /v1/deletions/deletion-1/withdraw", "deletion-1 is withdrawn"),
        (["withdraw", "release-1"], "POST /v1/releases/release-1/refuse", "release-1 is withdrawn"),
    ] {
        let done = run(&[&arguments[..], &["--reason", "needed"]].concat());
        assert!(stdout(&done).contains(said), "{}", stderr(&done));
        assert_eq!(changed(&asked), Some((what.to_owned(), json!({"note": "needed"}))));
    }
}

// REQ: FEP-CTL-157
#[test]
fn a_deletion_is_asked_for_by_names_or_for_what_the_rules_no_longer_keep_but_nothing_that_is_held() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("archive.sock"), answer);
    let run = |arguments: &[&str]| run(dir.path(), arguments);
    refuses(&run(&["delete", "--reason", "x"]), 2, &["SEGMENTS"]);
    refuses(&run(&["delete", FIRST]), 2, &["--reason"]);
    let done = run(&["delete", FIRST, SECOND, "--reason", "test data"]);
    assert!(stdout(&done).contains("fepctl archive approve deletion-4"), "{}", stderr(&done));
    let body = json!({"segments": [FIRST, SECOND], "reason": "test data"});
    assert_eq!(changed(&asked), Some(("POST /v1/deletions".to_owned(), body)));
    run(&["delete", "--due", "--reason", "kept long enough"]);
    let body = json!({"segments": [FIRST], "reason": "kept long enough"});
    assert_eq!(changed(&asked).map(|(_, body)| body), Some(body), "hold-1 covers the other one");
}
