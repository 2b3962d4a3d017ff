//! Whatever a file, a record or a daemon holds, it cannot command the terminal.

mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

use fep_control::api::{ClcwStatus, Ledger};
use serde_json::{Value, json};
use support::*;

/// Clears the screen, rings, hides what follows, turns the text around.
const STEERING: &str = "\u{1b}[2J\u{7}\u{9b}8m\u{202e}";

/// Neither output holds a character that commands a terminal.
fn harmless(output: &Output) {
    for text in [stdout(output), stderr(output)] {
        let bad = |character: &char| {
            (character.is_control() && !"\n\t".contains(*character))
                || ('\u{202a}'..='\u{202e}').contains(character)
        };
        assert_eq!(text.chars().find(bad), None, "{text:?}");
    }
}

/// A service on a Unix socket that answers each request by its path, as often as it is asked.
fn service(socket: &Path, answer: impl Fn(&str) -> Value + Send + 'static) {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let body = answer(text.split(' ').nth(1).unwrap_or_default()).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
}

/// A link as the daemon reports it.
fn link(name: &str, clcws: &[ClcwStatus]) -> Value {
    json!({
        "name": name, "id": 1, "channel": "npp/hrd", "spacecraft": "npp", "session": "TEST", "transport": "tcp x",
        "enabled": true, "state": "connected", "failure": name, "sync": "lock",
        "thread": {"core": null, "realtime": false, "busy_percent": 0.0, "cpu_percent": 0.0},
        "rates": {"bits_per_s": 0.0, "frames_per_s": 0.0, "packets_per_s": 0.0},
        "transport_counters": [], "sync_counters": [], "ledger": Ledger::default(), "vcs": [], "latency": [],
        "clcws": clcws,
    })
}

fn clcw() -> ClcwStatus {
    ClcwStatus {
        scid: 157,
        vcid: 3,
        frame_vcid: 0,
        verified: true,
        live: true,
        received_tai_ns: 0,
        age_ms: 1_250,
        status: 5,
        no_rf_available: true,
        no_bit_lock: false,
        lockout: true,
        wait: false,
        retransmit: true,
        farm_b_counter: 2,
        report_value: 41,
    }
}

fn ask(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = fepctl();
    command.args(arguments).arg("--socket").arg(socket);
    command.output().expect("the program starts")
}

// REQ: FEP-CTL-106
#[test]
fn names_that_a_daemon_gives_cannot_command_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |path| match path {
        "/links" => json!([link(STEERING, &[])]),
        path if path.ends_with("able") => json!({"message": STEERING}),
        _ => link(STEERING, &[]),
    });
    for arguments in [
        &["link", "list"][..],
        &["link", "list", "--json"],
        &["link", "show", "npp"],
        &["link", "disable", "npp"],
        &["link", "disable", "npp", "--json"],
    ] {
        let output = ask(&socket, arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        harmless(&output);
        assert!(stdout(&output).contains("[2J"), "{}", stdout(&output));
    }
    for arguments in [&["link", "enable", "npp"][..], &["link", "enable", "npp", "--json"]] {
        let output = ask(&socket, arguments);
        harmless(&output);
        refuses(&output, 1, &["[2J"]);
    }
    let read_back = json(&ask(&socket, &["link", "list", "--json"]));
    assert_eq!(read_back[0]["name"], STEERING, "nothing of the JSON is lost");
}

// REQ: FEP-CTL-106
#[test]
fn names_of_files_and_mistakes_in_them_cannot_command_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| -> PathBuf { dir.path().join(format!("{STEERING}{name}")) };
    std::fs::write(at("fep.toml"), format!("[daemon]\n\"{STEERING}\" = 1\nlog = \"{STEERING}\"\n"))
        .expect("written");
    std::fs::write(at("m.toml"), "title = \"x\"\nnosuch = 1\n").expect("written");
    std::fs::write(at("s.toml"), format!("[[station]]\nname = \"{STEERING}\"\nnosuch = 1\n"))
        .expect("written");
    std::fs::write(at("data"), [0x55; 3000]).expect("written");
    let words = |words: &[&str], file: PathBuf| {
        let mut command = fepctl();
        command.args(words).arg(file);
        command.output().expect("the program starts")
    };
    for output in [
        words(&["config", "check"], at("fep.toml")),
        words(&["config", "check", "--json"], at("fep.toml")),
        words(&["config", "check"], at("m.toml")),
        words(&["config", "check"], at("absent.toml")),
        words(&["sim", "--list", "--stations"], at("s.toml")),
        words(&["decode", "-m", "npp"], at("data")),
        words(&["decode", "-m", "npp"], at("absent")),
        words(&["decode", "data", "-m"], at("m.toml")),
        words(&["encode", "-m", "npp", "absent"], at("out")),
        words(&["sim"], at("station")),
    ] {
        harmless(&output);
        assert_ne!(output.status.code(), Some(0));
    }
}

// REQ: FEP-CTL-111
#[test]
fn a_link_that_does_not_run_shows_why_and_enabling_it_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |path| match path {
        "/links/npp/enable" => json!({"message": "link npp is enabled but does not run: no such device"}),
        _ => {
            let mut link = link("no such device", &[]);
            link["retry_ms"] = json!(2500);
            link["restarts"] = json!(7);
            link
        }
    });
    let text = stdout(&ask(&socket, &["link", "show", "npp"]));
    let value = |name: &str| {
        let mut lines = text.lines().map(str::trim_start);
        let line = lines.find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line[name.len()..].trim().to_owned()
    };
    assert_eq!(value("failure"), "no such device");
    assert_eq!(value("tried again in"), "2500 ms");
    assert_eq!(value("restarts"), "7");
    refuses(&ask(&socket, &["link", "enable", "npp"]), 1, &["does not run: no such device"]);
}

// REQ: FEP-CTL-303
#[test]
fn a_link_is_shown_without_counters_that_are_0_unless_all_are_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |_| {
        let mut link = link("quiet", &[]);
        link["failure"] = Value::Null;
        link["sync_counters"] = json!([{"name": "slips", "value": 0}, {"name": "blocks", "value": 1234}]);
        link["transport_counters"] =
            json!([{"name": "bytes", "value": 7}, {"name": "half_open", "value": 0}]);
        // A bound beyond the largest value that was measured is none.
        link["latency"] = json!([{"stage": "published", "count": 1, "p50_ns": 400, "p99_ns": 131_071,
                                  "p999_ns": 131_071, "max_ns": 98_000}]);
        link
    });
    let text = stdout(&ask(&socket, &["link", "show", "quiet"]));
    for wanted in [
        "\nsynchroniser\n  blocks                         1 234\n",
        "\ntransport\n  bytes                          7\n",
        "  + uncorrectable                0\n",
        "further counters are 0: --all shows all",
        "p50 ≤ 400 ns, p99 ≤ 98.0 µs, p99.9 ≤ 98.0 µs, max 98.0 µs over 1 chunk received\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    assert!(!text.contains("slips") && !text.contains("half open"), "{text}");
    let text = stdout(&ask(&socket, &["link", "show", "quiet", "--all"]));
    assert!(text.contains("slips") && text.contains("half open") && !text.contains("--all"), "{text}");
    let whole = json(&ask(&socket, &["link", "show", "quiet", "--json"]));
    assert_eq!(whole["transport_counters"][1]["name"], "half_open");
}

// REQ: FEP-CTL-303
#[test]
fn links_are_listed_with_their_whole_names_and_a_dash_where_nothing_is_searched() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |_| {
        let mut datagrams = link("abcdefghijklmnopqrs", &[]);
        datagrams["sync"] = json!("");
        datagrams["channel"] = json!("a-mission-of-mine/a-channel-of-it");
        json!([datagrams, link("b", &[])])
    });
    let text = stdout(&ask(&socket, &["link", "list"]));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..4], ["abcdefghijklmnopqrs", "a-mission-of-mine/a-channel-of-it", "connected", "–"]);
    assert_eq!(rows[2][..4], ["b", "npp/hrd", "connected", "lock"]);
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(column(lines[0], "STATE"), column(lines[1], "connected"), "{text}");
    assert_eq!(column(lines[0], "LOCK"), column(lines[2], "lock"), "{text}");
}

/// A spacecraft with one antenna whose account holds.
fn spacecraft() -> Value {
    json!({
        "name": "leo", "id": 9, "channel": "npp/hrd", "spacecraft": "npp", "session": "TEST", "enabled": true,
        "state": "running", "failure": null, "retry_ms": null, "restarts": 0,
        "thread": {"core": null, "realtime": false, "busy_percent": 0.0, "cpu_percent": 0.0},
        "rates": {"bits_per_s": 0.0, "frames_per_s": 0.0, "packets_per_s": 0.0},
        "antennas": [{
            "link": "north", "number": 3, "heard": true, "waited_for": true, "received": 1031, "served": 1000, "duplicates": 20, "late": 5,
            "bad": 4, "pending": 2, "lost_on_bus": 6,
        }],
        "merge_counters": [], "ledger": Ledger::default(), "vcs": [], "latency": [], "clcws": [],
    })
}

// REQ: FEP-CTL-112
#[test]
fn a_spacecraft_is_listed_and_shown_with_the_account_of_each_antenna() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |path| match path {
        "/spacecraft" => json!([spacecraft()]),
        "/spacecraft/leo" => spacecraft(),
        _ => json!({"message": "no link is called leo"}),
    });
    let text = stdout(&ask(&socket, &["spacecraft", "list"]));
    let row = text.lines().find(|line| line.starts_with("leo ")).unwrap_or_else(|| panic!("{text}"));
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        cells,
        [
            "leo", "running", "north", "yes", "1.03k", "=", "1.00k", "+", "20", "+", "5", "+", "4", "+", "2",
            "6"
        ]
    );
    let page = stdout(&ask(&socket, &["spacecraft", "show", "leo"]));
    for (name, frames) in [
        ("received", "1 031"),
        ("= served", "1 000"),
        ("+ duplicates", "20"),
        ("+ late", "5"),
        ("+ bad", "4"),
        ("+ pending", "2"),
        ("lost on the bus", "6"),
    ] {
        let line = page.lines().map(str::trim).find(|line| line.starts_with(name));
        assert_eq!(line.map(|line| line[name.len()..].trim()), Some(frames), "{name}: {page}");
    }
    assert_eq!(json(&ask(&socket, &["spacecraft", "show", "leo", "--json"]))["name"], "leo");
    // Who takes it for a link is shown the way.
    refuses(&ask(&socket, &["link", "show", "leo"]), 1, &["fepctl spacecraft show leo"]);
}

// REQ: FEP-CTL-108
#[test]
fn link_show_prints_the_reports_of_the_receiver_on_board_decoded() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |_| link("npp", &[clcw()]));
    let text = stdout(&ask(&socket, &["link", "show", "npp"]));
    let row = text.lines().find(|line| line.starts_with("npp ") && line.contains("157/3"));
    let cells: Vec<&str> = row.unwrap_or_else(|| panic!("{text}")).split_whitespace().collect();
    assert_eq!(
        cells,
        ["npp", "157/3", "41", "2", "5", "1.2", "s", "no", "RF,", "lockout,", "retransmit"],
        "{text}"
    );
    let answer = json(&ask(&socket, &["link", "show", "npp", "--json"]));
    assert_eq!(answer["clcws"][0]["report_value"], 41);
}

/// What an archive with two spacecraft answers; completeness names the query in its channels.
fn archive(path: &str) -> Value {
    match path.split('?').next().unwrap_or_default() {
        "/v1/channels" => {
            let channel = |scid: u16| json!({"link": 1, "session": "OPS", "tfvn": 0, "scid": scid, "vcid": 1, "expedited": false, "apid": null});
            json!([channel(157), channel(42), channel(157)])
        }
        "/v1/gaps" => json!([{
            "id": path, "ring": "a.frames", "lost": 4, "cause": "loss", "state": "open", "start_tai_ns": 5,
            "channel": {"scid": 1, "vcid": 2, "link": 3, "apid": null},
        }]),
        "/v1/completeness" => {
            let scid: u64 =
                path.split("scid=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok()).unwrap_or(0);
            json!({
                "channels": [{
                    "link": null, "session": "OPS", "scid": scid, "vcid": 1, "apid": null, "received": 7, "lost": 0,
                    "resets": 0, "share": 1.0, "query": path,
                }],
                "silences": [], "counted_to_tai_ns": 2_000_000_000_000_000_000_i64,
            })
        }
        other => panic!("nobody should ask for {other}"),
    }
}

// REQ: FEP-CTL-102
#[test]
fn completeness_and_gaps_take_last_and_need_no_spacecraft() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("archive.sock");
    service(&socket, archive);
    let address = format!("unix:{}", socket.display());
    let ask = |arguments: &[&str]| {
        let mut command = fepctl();
        command.args(["archive"]).args(arguments).args(["--archive", &address]);
        command.output().expect("the program starts")
    };
    let found = json(&ask(&["completeness", "--last", "1h", "--json"]));
    let scids: Vec<u64> = found["channels"]
        .as_array()
        .expect("channels")
        .iter()
        .filter_map(|one| one["scid"].as_u64())
        .collect();
    assert_eq!(scids, [42, 157]);
    let query = found["channels"][0]["query"].as_str().expect("a query");
    assert!(query.contains("from=20") && query.contains("&to=20"), "{query}");
    let one = json(&ask(&["completeness", "--last", "1h", "--scid", "150-160", "--json"]));
    assert_eq!(one["channels"].as_array().map(Vec::len), Some(1));
    let text = stdout(&ask(&["completeness", "--from", "2024-12-06", "--scid", "5"]));
    assert!(text.contains("5/1"), "{text}");
    let gaps = json(&ask(&["gaps", "list", "--last", "10m", "--json"]));
    assert!(gaps[0]["id"].as_str().is_some_and(|path| path.contains("?from=20")), "{gaps}");
    refuses(&ask(&["completeness"]), 2, &["--from", "--last"]);
    refuses(&ask(&["completeness", "--last", "1h", "--from", "2024-12-06"]), 2, &["--last"]);
    refuses(&ask(&["completeness", "--last", "1h", "--scid", "x"]), 2, &["--scid"]);
    refuses(&ask(&["gaps", "list", "--last", "soon"]), 2, &["--last"]);
}

/// The status of a daemon without links.
fn status() -> Value {
    json!({
        "version": "0", "pid": 1, "started_tai_ns": 0, "uptime_s": 1.0, "config_file": null, "run_dir": "", "bus_dir": "",
        "metrics_dir": "", "reloads": 0, "warnings": [], "stopping": false, "links": [], "rings": [],
    })
}

// REQ: FEP-CTL-109
#[test]
fn a_monitor_whose_terminal_is_closed_ends() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |_| status());
    // Closed in the child: with it the window would stay open.
    let window = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&window).expect("it is ours");
    unlockpt(&window).expect("it is ours");
    let name = ptsname(&window, Vec::new()).expect("it has a name").into_string().expect("a path");
    let end = || std::fs::File::options().read(true).write(true).open(&name).expect("the other end");
    let mut command = fepctl();
    command.arg("monitor").arg("--socket").arg(&socket);
    let mut monitor = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program starts");
    // It draws, then its window is closed.
    let mut drawn = std::fs::File::from(window);
    let mut octets = [0; 256];
    assert!(drawn.read(&mut octets).expect("a picture") > 0);
    drop(drawn);
    let waited = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        monitor.try_wait().expect("a child")
    });
    if waited.is_none() {
        monitor.kill().expect("it runs");
        panic!("it goes on without a terminal");
    }
}

// REQ: FEP-CTL-320
#[test]
fn a_merged_spacecraft_is_enabled_disabled_and_reset_by_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    service(&socket, |path| json!({"message": format!("asked for {path}")}));
    for verb in ["enable", "disable", "reset"] {
        let output = ask(&socket, &["spacecraft", verb, "leo"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), format!("asked for /spacecraft/leo/{verb}\n"));
    }
}
