//! The command line itself: help, wrong usage, configuration offline, and what is said when there is no daemon.

mod support;

use serde_json::json;
use support::*;

const COMMANDS: [&[&str]; 46] = [
    &[],
    &["up"],
    &["monitor"],
    &["decode"],
    &["link"],
    &["link", "list"],
    &["link", "show"],
    &["link", "enable"],
    &["link", "disable"],
    &["link", "reset"],
    &["spacecraft"],
    &["spacecraft", "list"],
    &["spacecraft", "show"],
    &["spacecraft", "enable"],
    &["spacecraft", "disable"],
    &["spacecraft", "reset"],
    &["status"],
    &["reload"],
    &["stop"],
    &["ring"],
    &["ring", "list"],
    &["ring", "tail"],
    &["ring", "dump"],
    &["ring", "follow"],
    &["config"],
    &["config", "check"],
    &["config", "show"],
    &["config", "explain"],
    &["missions"],
    &["sim"],
    &["metrics"],
    &["captures"],
    &["login"],
    &["logout"],
    &["whoami"],
    &["token"],
    &["token", "new"],
    &["token", "list"],
    &["token", "revoke"],
    &["account"],
    &["account", "add"],
    &["account", "disable"],
    &["audit"],
    &["audit", "list"],
    &["audit", "verify"],
    &["completions"],
];

// REQ: FEP-CTL-005
#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let output = run(command.iter().copied().chain(["--help"]));
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(text.contains("Usage: fepctl"), "{command:?}: {text}");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 120, "{command:?} has a line of {longest} characters");
    }
    let top = stdout(&run(["--help"]));
    assert!(top.contains("Exit codes:") && top.contains("Examples:"), "{top}");
    // Whoever adds a command adds it to the list above.
    let listed =
        top.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).filter_map(|line| {
            let word = line.split_whitespace().next()?;
            COMMANDS.iter().any(|command| *command == [word]).then_some(word)
        });
    let named: Vec<&str> =
        COMMANDS.iter().filter(|command| command.len() == 1).map(|command| command[0]).collect();
    assert_eq!(listed.collect::<Vec<_>>().len(), named.len(), "{top}");
}

// REQ: FEP-CTL-005
#[test]
fn wrong_usage_ends_with_code_two_and_a_hint() {
    for (arguments, said) in [
        (&["decoed"][..], "decode"),
        (&["decode", "--misson", "npp"], "--mission"),
        (&["up", "--no-sim", "--stations", "x"], "--stations"),
        (&["monitor", "--interval-ms", "1"], "50"),
        (&["ring", "tail"], "<RING>"),
        (&["ring", "tail", "x", "--vcid", "256"], "--vcid"),
        (&["link", "enable"], "<NAME>"),
        (&["completions", "tcsh"], "bash"),
        (&["sim", "nosuchstation"], "no station is called \"nosuchstation\""),
        (&["config", "explain", "no_such_key"], "tables:"),
        (&["config", "explain", "service.state"], "config/identity.toml"),
        (&["config", "explain", "identity.issuer"], "config/identity.toml"),
        (&["config", "explain", "recorder.segment_mib"], "config/archive.toml"),
        (&[], "Usage"),
    ] {
        refuses(&run(arguments), 2, &[said]);
    }
}

// REQ: FEP-CTL-005
#[test]
fn without_a_daemon_it_says_so_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    let said = ["no daemon", "control.sock", "fepctl up"];
    for command in [
        &["monitor", "--once"][..],
        &["status"],
        &["reload"],
        &["stop"],
        &["link", "list"],
        &["link", "enable", "npp"],
    ] {
        let output = run(command
            .iter()
            .map(|word| (*word).into())
            .chain(["--socket".into(), socket.clone().into_os_string()]));
        refuses(&output, 3, &said);
    }
    // A socket that a killed daemon left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let output = run(["status".as_ref(), "--socket".as_ref(), socket.as_os_str()]);
    refuses(&output, 3, &["nobody listens"]);
}

// REQ: FEP-CTL-005
#[test]
fn a_daemon_that_answers_nonsense_is_distinguished_from_one_that_does_not_answer() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let refusal = "{\"message\":\"no link is called \\\"npp\\\"\"}";
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"x\"".to_owned(),
        format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{refusal}", refusal.len()),
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_owned(),
        "garbage\r\n\r\n".to_owned(),
    ];
    let server = std::thread::spawn(move || {
        let mut answers = answers.iter();
        while answers.len() > 0 {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            // A name that is no link's may be a spacecraft's: that is asked for the hint, and here there is none.
            let answer = if request.starts_with(b"GET /spacecraft ") {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"
            } else {
                answers.next().expect("one is left").as_str()
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let ask =
        || run(["link".as_ref(), "show".as_ref(), "npp".as_ref(), "--socket".as_ref(), socket.as_os_str()]);
    refuses(&ask(), 1, &["does not understand", "same version"]);
    refuses(&ask(), 1, &["no link is called \"npp\""]);
    refuses(&ask(), 3, &["broke off the connection"]);
    refuses(&ask(), 3, &["broke off the connection"]);
    server.join().expect("the server ends");
}

// REQ: FEP-CTL-006
#[test]
fn every_mistake_of_a_configuration_is_reported_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad.toml");
    std::fs::write(
        &file,
        "[daemon]\nrealtime_priority = 1000\nnosuch = 1\n\n[links.x]\nchannel = \"npp/nosuch\"\n",
    )
    .expect("writable");
    let check = |more: &[&str]| {
        let mut command = fepctl();
        command.args(["config", "check"]).arg(&file).args(more);
        command.output().expect("starts")
    };
    let output = check(&[]);
    let text = stdout(&output);
    for line in [
        "bad.toml:2:21: daemon.realtime_priority",
        "bad.toml:3:1: daemon.nosuch",
        "bad.toml:6:11: links.x.channel",
    ] {
        assert!(text.contains(line), "{line} is not in: {text}");
    }
    assert!(text.contains("npp/hrd"), "what is allowed is reported: {text}");
    refuses(&output, 1, &["bad.toml has", "errors"]);
    let errors: serde_json::Value = serde_json::from_slice(&check(&["--json"]).stdout).expect("JSON");
    assert!(
        errors["errors"].as_array().is_some_and(|list| list.len() >= 3 && list[0]["line"] == 2),
        "{errors}"
    );

    std::fs::write(&file, "this is [not TOML").expect("writable");
    refuses(&check(&[]), 1, &["bad.toml has"]);
    std::fs::write(&file, "[daemon]\nrealtime_priority = 10\n").expect("writable");
    assert_eq!(check(&[]).status.code(), Some(0));
    refuses(
        &run(["config", "check", "/nonexistent/fep.toml"]),
        1,
        &["fepctl: /nonexistent/fep.toml: cannot be read: No such"],
    );
    assert_eq!(run(["config", "check"]).status.code(), Some(0), "the built-in configuration is in order");
}

// REQ: FEP-CTL-103
#[test]
fn a_mission_file_is_checked_as_a_mission_and_the_answer_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sat.toml");
    let check = |more: &[&str]| {
        let mut command = fepctl();
        command.args(["config", "check"]).arg(&file).args(more);
        command.output().expect("starts")
    };
    let good =
        fep_mission::MISSIONS.iter().find(|(name, _)| *name == "npp").map(|(_, text)| *text).expect("npp");
    std::fs::write(&file, good).expect("writable");
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("read as a mission: 1 spacecraft, 1 channel, "), "{}", stdout(&output));
    assert_eq!(json(&check(&["--json"]))["kind"], "mission");
    refuses(&check(&["--kind", "daemon"]), 1, &["read as a configuration of the daemon", "--kind mission"]);

    std::fs::write(&file, good.replace("scid = 157", "scid = 157\nnosuch = 1")).expect("writable");
    let output = check(&[]);
    assert!(stdout(&output).contains("sat.toml:7:1: spacecraft.npp.nosuch"), "{}", stdout(&output));
    refuses(&output, 1, &["sat.toml has 1 error, read as a mission"]);
    assert!(!stderr(&output).contains("--kind"), "it says what it is: {}", stderr(&output));

    std::fs::write(&file, "[daemon]\nrealtime_priority = 10\n").expect("writable");
    assert!(stdout(&check(&[])).contains("read as a configuration of the daemon"));
    refuses(&check(&["--kind", "mission"]), 1, &["read as a mission"]);
}

// REQ: FEP-CFG-351
#[test]
fn the_effective_configuration_is_shown_and_reads_back() {
    let shown = json(&run(["config", "show", "--json"]));
    assert!(
        shown["links"].as_array().is_some_and(|links| links.iter().any(|link| link["name"] == "npp")),
        "{shown}"
    );
    let toml = run(["config", "show"]);
    assert_eq!(toml.status.code(), Some(0), "{}", stderr(&toml));
    let text = stdout(&toml);
    assert!(text.contains("[daemon]") && text.contains("run_dir"), "{text}");
    // What is shown is a configuration: accepted, with the same settings.
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("shown.toml");
    std::fs::write(&file, &text).expect("writable");
    let of = |what: &str, more: &[&str]| {
        let mut command = fepctl();
        command.args(["config", what]).arg(&file).args(more).output().expect("starts")
    };
    assert_eq!(of("check", &[]).status.code(), Some(0), "{}", stdout(&of("check", &[])));
    assert_eq!(json(&of("show", &["--json"])), shown);
}

// REQ: FEP-CTL-102
#[test]
fn a_key_is_explained_by_its_own_comment_and_with_its_default() {
    let text = stdout(&run(["config", "explain", "daemon.run_dir"]));
    assert!(text.contains("memory") && text.contains("default: \"/dev/shm/fep\""), "{text}");
    // The key's own comment, not that of the keys around it.
    let wait = stdout(&run(["config", "explain", "link.wait"]));
    assert!(wait.contains("spins") && wait.contains("default: \"adaptive\""), "{wait}");
    assert!(
        !wait.contains("session") && !wait.contains("Number of the link") && wait.lines().count() < 8,
        "{wait}"
    );
    // A line that is commented out is an example, not a default.
    for (key, example) in [("link.symbols", "{ bits = 8"), ("link.id", "1; allowed: 1 to 65534)")] {
        let text = stdout(&run(["config", "explain", key]));
        assert!(text.contains(&format!("{key}  (default: none; example: {example}")), "{text}");
    }
    for (key, parts) in [
        ("channel.hrd.frame.kind", &["of a mission; required", "132.0-B"][..]),
        (
            "spacecraft.leo",
            &[
                "spacecraft.NAME.wait_us  (default: 20000; allowed: 0 to 10000000)",
                "spacecraft.NAME.scid  (of a mission; required)",
            ],
        ),
        ("links.npp.transport.silence_ms", &["default: 1000", "datagram"]),
    ] {
        let text = stdout(&run(["config", "explain", key]));
        assert!(parts.iter().all(|part| text.contains(part)), "{key}: {text}");
    }
    refuses(&run(["config", "explain", "channels.hrd.frame.kind"]), 2, &["nearest: channel.NAME.frame.kind"]);
    let of_a_link = stdout(&run(["config", "explain", "links.npp.session"]));
    assert!(of_a_link.contains("link.session") && of_a_link.contains("REPLAY"), "{of_a_link}");
}

#[test]
fn missions_stations_captures_and_completions_are_listed() {
    let missions = json(&run(["missions", "--json"]));
    let names: Vec<&str> =
        missions.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["aqua", "cso", "lab", "metopb", "noaa20", "noaa21", "npp"]);
    let stations = json(&run(["sim", "--list", "--json"]));
    assert!(stations["station"].as_array().is_some_and(|list| list.len() >= 8), "{stations}");
    let captures = json(&run(["captures", "--json"]));
    assert!(
        captures.as_array().is_some_and(|list| list.iter().any(|one| one["mission"] == "npp")),
        "{captures}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(["completions", shell]));
        assert!(script.contains("fepctl") && script.contains("decode"), "{shell}");
    }
}

// REQ: FEP-CTL-103
#[test]
fn a_stations_file_is_checked_and_of_the_archive_it_is_reported_who_checks_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("some.toml");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).expect("writable");
        let mut command = fepctl();
        command.args(["config", "check"]).arg(&file).args(more).output().expect("starts")
    };
    let output = check(fep_sim::DEFAULT_SIMULATION, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("read as simulated stations: 8 stations"), "{}", stdout(&output));
    let output = check("[[station]]\nname = 7\nrate_bps = \"x\"\n[[station]]\nnosuch = 1\n", &[]);
    for line in [
        "some.toml:2:8: station[0].name",
        "some.toml:3:12: station[0].rate_bps",
        "some.toml:5:1: station[1].nosuch",
    ] {
        assert!(stdout(&output).contains(line), "{line} is not in {}", stdout(&output));
    }
    refuses(&output, 1, &["read as simulated stations"]);
    // Where the file does not say what it is, it may be another kind.
    refuses(
        &check("nosuch = 1\n", &[]),
        1,
        &[
            "if it is another kind of file: --kind mission or --kind stations or --kind archive or --kind identity",
        ],
    );
    // What is shown is a configuration of the daemon, and nothing else.
    std::fs::write(&file, fep_mission::MISSIONS[0].1).expect("writable");
    let shown = fepctl().args(["config", "show"]).arg(&file).output().expect("starts");
    refuses(
        &shown,
        1,
        &["some.toml is a mission; what is shown is a configuration of the daemon", "config check"],
    );
    // A core that no machine has.
    let text = "[links.a]\nchannel = \"npp/hrd\"\ncore = 1023\ntransport = { kind = \"stdin\" }\n";
    let output = check(text, &[]);
    assert!(
        stdout(&output).contains("some.toml:3:1: links.a.core: this machine has no core 1023"),
        "{}",
        stdout(&output)
    );
    let output = check("[daemon]\ncores = [0, 1023]\n", &[]);
    assert!(
        stdout(&output).contains("some.toml:2:1: daemon.cores: this machine has no core 1023"),
        "{}",
        stdout(&output)
    );
    let text = "[links.a]\nchannel = \"npp/hrd\"\ntransport = { kind = \"udp\", bind = \"127.0.0.1:1\" }\n\
                [links.b]\nchannel = \"npp/hrd\"\ntransport = { kind = \"udp\", bind = \"127.0.0.1:2\" }\n\
                [spacecraft.s]\nlinks = [\"a\", \"b\"]\n";
    let output = check(text, &[]);
    assert!(
        stdout(&output).contains("2 links (2 enabled), 1 merged spacecraft, 7 missions"),
        "{}",
        stdout(&output)
    );
    // What makes no sense is reported at its station.
    let odd = fep_sim::DEFAULT_SIMULATION.replace("rate_bps = 1_500_000", "rate_bps = 0");
    let output = check(&odd, &["--json"]);
    let errors: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let aqua = odd.lines().position(|line| line == "name = \"aqua\"").expect("the station");
    assert_eq!(
        (errors["kind"].as_str(), errors["errors"][0]["line"].as_u64()),
        (Some("stations"), Some(aqua as u64))
    );
    assert!(
        errors["errors"][0]["message"].as_str().is_some_and(|text| text.contains("rate_bps = 0")),
        "{errors}"
    );

    // More mistakes than are shown are counted all the same.
    let many: String = (0..60).map(|number| format!("k{number} = 1\n")).collect();
    refuses(&check(&format!("[daemon]\n{many}"), &[]), 1, &["some.toml has 60 errors"]);
}

#[test]
fn a_stations_file_with_a_mistake_is_refused_with_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("stations.toml");
    std::fs::write(&file, "[[station]]\nname = 7\n").expect("writable");
    let output = run(["sim".as_ref(), "--list".as_ref(), "--stations".as_ref(), file.as_os_str()]);
    refuses(&output, 1, &["stations.toml", "name"]);
    refuses(&run(["sim", "--stations", "/nonexistent/stations.toml"]), 1, &["/nonexistent/stations.toml"]);
    // It never waits for what is no file.
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo exists").success());
    for arguments in [&["sim", "--list", "--stations"][..], &["config", "check"], &["decode", "x", "-m"]] {
        let mut command = fepctl();
        let path = dir.path().join(".").join("fifo");
        refuses(&command.args(arguments).arg(path).output().expect("starts"), 1, &[]);
    }
}

// REQ: FEP-SIM-320
#[test]
fn the_example_of_a_merge_is_a_configuration_and_its_stations_are_what_its_links_connect_to() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    for file in ["merge.toml", "merge-stations.toml"] {
        let output = run(["config".as_ref(), "check".as_ref(), folder.join(file).as_os_str()]);
        assert_eq!(output.status.code(), Some(0), "{file}: {}{}", stdout(&output), stderr(&output));
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("an example");
    let (links, stations) = (read("merge.toml"), read("merge-stations.toml"));
    let addresses = |text: &str, key: &str| -> Vec<String> {
        text.split(key).skip(1).filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned).collect()
    };
    let connected = addresses(&links, "address = ");
    assert_eq!((connected.len(), &connected), (2, &addresses(&stations, "bind = ")));
}

#[test]
fn stations_play_to_their_end_and_report() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, sent) = (dir.path().join("stations.toml"), dir.path().join("sent.cadu"));
    let text = "[[station]]\nname = \"tape\"\nsource = { kind = \"capture\", file = \"npp\", repeat = false }\n\
                transport = { kind = \"file\", path = \"sent.cadu\" }\n";
    std::fs::write(&file, text).expect("writable");
    let output = run(["sim".as_ref(), "--json".as_ref(), "--stations".as_ref(), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a report")).expect("JSON");
    assert_eq!((&last["name"], &last["state"]), (&json!("tape"), &json!("ended")), "{text}");
    assert_eq!(text.matches("\"ended\"").count(), 1, "the last report is printed once: {text}");
    // A recording played to its end is the recording.
    assert_eq!(std::fs::read(&sent).expect("the file"), std::fs::read(capture("npp")).expect("the capture"));
}
