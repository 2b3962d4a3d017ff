//! `fepctl up` with the real daemon: the set starts, is seen, is commanded, dies and stops as it should.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use support::*;

/// Cargo builds for a test only the programs of its own package; the daemon must have been built before, as `make test` does.
fn assert_fepd_is_built() {
    let fepd = Path::new(env!("CARGO_BIN_EXE_fepctl")).with_file_name("fepd");
    assert!(fepd.is_file(), "{} is missing: `cargo build --workspace --bins` builds it", fepd.display());
}

/// A workstation of its own: directories, ports, one link, one station.
struct Workstation {
    dir: tempfile::TempDir,
}

impl Workstation {
    fn new() -> Workstation {
        assert_fepd_is_built();
        let dir = tempfile::tempdir().expect("a directory");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port")
            .port();
        let config = format!(
            "[daemon]\nrun_dir = {:?}\nrealtime_priority = 0\nlock_memory = false\n\
             [rings]\nframes_desc_log2 = 12\npackets_desc_log2 = 12\nframes_data_mib = 8\npackets_data_mib = 8\n\
             [links.tape]\nchannel = \"npp/hrd\"\ntransport = {{ kind = \"tcp_client\", address = \"127.0.0.1:{port}\" }}\n",
            dir.path().join("run")
        );
        std::fs::write(dir.path().join("fep.toml"), config).expect("writable");
        let stations = format!(
            "[[station]]\nname = \"tape\"\nrate_bps = 8_000_000\nsource = {{ kind = \"capture\", file = \"npp\", repeat = true }}\n\
             transport = {{ kind = \"tcp_server\", bind = \"127.0.0.1:{port}\" }}\n"
        );
        std::fs::write(dir.path().join("stations.toml"), stations).expect("writable");
        Workstation { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn up(&self, more: &[&str]) -> Command {
        let mut command = fepctl();
        command.args(["up", "--no-monitor", "--config"]).arg(self.path("fep.toml"));
        command.arg("--stations").arg(self.path("stations.toml")).args(more);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = fepctl();
        command.args(arguments).arg("--config").arg(self.path("fep.toml")).stdin(Stdio::null());
        command.output().expect("the program starts")
    }

    /// The status of the daemon once it answers and `ready` holds.
    fn status_when(&self, child: &mut Child, ready: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let output = self.ask(&["status", "--json"]);
            if output.status.success() {
                let status = json(&output);
                if ready(&status) {
                    return status;
                }
            }
            assert!(child.try_wait().expect("a child").is_none(), "fepctl up ended");
            assert!(
                Instant::now() < deadline,
                "the set never became ready: {}{}",
                stdout(&output),
                stderr(&output)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn frames_flow(status: &Value) -> bool {
    status["links"][0]["ledger"]["good"].as_u64() > Some(500) && status["links"][0]["sync"] == "lock"
}

fn is_alive(pid: u64) -> bool {
    // A killed child that nobody has waited for yet is a zombie, not alive.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

fn signal(name: &str, pid: u64) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill runs").success());
}

// REQ: FEP-CTL-014
#[test]
fn the_set_starts_is_seen_and_commanded_and_stops_in_order() {
    let workstation = Workstation::new();
    let mut up = workstation.up(&[]).spawn().expect("the program starts");
    let status = workstation.status_when(&mut up, frames_flow);
    let fepd = status["pid"].as_u64().expect("a process");

    let second = workstation.up(&[]).output().expect("the program starts");
    refuses(&second, 1, &["already running", "fepctl stop"]);

    let screen = workstation.ask(&["monitor", "--once"]);
    assert_eq!(screen.status.code(), Some(0), "{}", stderr(&screen));
    let text = stdout(&screen);
    for word in ["tape", "connected", "lock", "157/16", "received = published + dropped: holds", "core"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let snapshot = json(&workstation.ask(&["monitor", "--once", "--json"]));
    assert!(snapshot["threads"].as_array().is_some_and(|threads| !threads.is_empty()), "{snapshot}");
    assert_eq!(snapshot["ledgers"]["unbalanced"], serde_json::json!([]));

    // A consumer process sees the same packets as offline decoding sees in the recording.
    let packets = json(&workstation.ask(&["ring", "follow", "tape.packets", "--count", "200", "--json"]));
    assert_eq!(packets["ledger"]["lost_records"], 0, "{packets}");
    assert!(stdout(&workstation.ask(&["metrics"])).contains("fep_chain_good_total{link=\"tape\"}"));

    let done = workstation.ask(&["link", "disable", "tape"]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    workstation.status_when(&mut up, |status| status["links"][0]["enabled"] == false);
    refuses(&workstation.ask(&["link", "disable", "nosuch"]), 1, &["nosuch"]);
    assert_eq!(workstation.ask(&["link", "enable", "tape"]).status.code(), Some(0));
    let before = status["links"][0]["ledger"]["good"].as_u64();
    workstation.status_when(&mut up, |status| {
        status["links"][0]["sync"] == "lock" && status["links"][0]["ledger"]["good"].as_u64() > before
    });

    signal("-INT", u64::from(up.id()));
    let ended = up.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("1 simulated station on the air"), "{}", stderr(&ended));
    assert!(!is_alive(fepd), "the daemon is gone");
    refuses(&workstation.ask(&["status"]), 3, &["no daemon"]);
}

// REQ: FEP-CTL-014
#[test]
fn the_death_of_the_daemon_is_reported_with_its_last_words() {
    let workstation = Workstation::new();
    let mut up = workstation.up(&[]).spawn().expect("the program starts");
    let status = workstation.status_when(&mut up, |_| true);
    signal("-KILL", status["pid"].as_u64().expect("a process"));
    let ended = up.wait_with_output().expect("it ends");
    refuses(&ended, 1, &["the daemon has died", "signal: 9", "its last words"]);
}

// REQ: FEP-CTL-111
#[test]
fn a_daemon_that_is_stopped_ends_the_set_in_order() {
    let workstation = Workstation::new();
    let mut up = workstation.up(&["--no-archive"]).spawn().expect("the program starts");
    workstation.status_when(&mut up, |_| true);
    assert_eq!(workstation.ask(&["stop"]).status.code(), Some(0));
    let ended = up.wait_with_output().expect("it ends");
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("the daemon was stopped") && !said.contains("last words"), "{said}");
}

// REQ: FEP-CTL-014
#[test]
fn a_daemon_that_does_not_answer_for_a_while_is_reported_and_the_set_runs_on() {
    let workstation = Workstation::new();
    let mut up = workstation.up(&["--no-archive"]).spawn().expect("the program starts");
    let pid = workstation.status_when(&mut up, |_| true)["pid"].as_u64().expect("a number");
    let mut said = BufReader::new(up.stderr.take().expect("piped"));
    let mut until_said = |words: &str| {
        let mut all = String::new();
        while !all.lines().last().is_some_and(|line| line.contains(words)) {
            assert_ne!(said.read_line(&mut all).expect("text"), 0, "fepctl up ended: {all}");
        }
    };
    // A daemon that stops answering before the set has seen it healthy never starts: another matter.
    until_said("runs as pid");
    signal("-STOP", pid);
    until_said("it runs all the same, and is asked again");
    signal("-CONT", pid);
    workstation.status_when(&mut up, frames_flow);
    assert_eq!(workstation.ask(&["stop"]).status.code(), Some(0));
    assert_eq!(up.wait().expect("it ends").code(), Some(0));
}

// REQ: FEP-CTL-180
#[test]
fn a_key_acts_at_once_after_the_window_has_changed_its_size() {
    let workstation = Workstation::new();
    let mut up = workstation.up(&["--no-archive"]).spawn().expect("the program starts");
    workstation.status_when(&mut up, |_| true);

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("granted");
    let name = ptsname(&ours, Vec::new()).expect("a name").into_string().expect("text");
    let theirs = std::fs::File::options().read(true).write(true).open(name).expect("its other end");
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).expect("sized");
    let end = || Stdio::from(theirs.try_clone().expect("a copy"));
    let mut monitor = fepctl();
    monitor.args(["monitor", "--config"]).arg(workstation.path("fep.toml"));
    let mut monitor = monitor.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program starts");
    let mut ours = std::fs::File::from(ours);
    // What it draws is read all the time: a full terminal would stop it.
    let (shown, seen) = std::sync::mpsc::channel();
    let mut screen = ours.try_clone().expect("a copy");
    std::thread::spawn(move || {
        let mut octets = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut octets) {
            let _ = shown.send(String::from_utf8_lossy(&octets[..count]).into_owned());
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let until_shown = |words: &str| {
        let mut text = String::new();
        while !text.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            text.push_str(&seen.recv_timeout(left).unwrap_or_else(|_| panic!("no {words:?} in {text}")));
        }
    };
    until_shown("tape");
    // Whoever reads keys begins with the first one to look at the window's size too.
    ours.write_all(b"?").expect("typed");
    until_shown("scroll");
    signal("-WINCH", u64::from(monitor.id()));
    ours.write_all(b"q").expect("typed");
    while monitor.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < deadline, "the key waits for another one");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(workstation.ask(&["stop"]).status.code(), Some(0));
    assert_eq!(up.wait().expect("it ends").code(), Some(0));
}

// REQ: FEP-CTL-014
#[test]
fn a_time_limit_ends_the_set_with_figures() {
    let workstation = Workstation::new();
    let output = workstation.up(&["--run-for", "4"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("tape") && text.contains("good"), "{text}");
}

// REQ: FEP-CTL-152
#[test]
fn the_set_has_an_identity_service_and_says_how_to_make_the_first_administrator_who_can_then_log_in() {
    const PASSWORD: &str = "correct horse battery";
    let workstation = Workstation::new();
    let built = Path::new(env!("CARGO_BIN_EXE_fepctl"));
    // Programs of a directory of its own: no recorder stands beside.
    let bin = workstation.path("bin");
    std::fs::create_dir(&bin).expect("made");
    std::fs::copy(built, bin.join("fepctl")).expect("copied");
    for name in ["fepd", "fep-identity", "fep-archive"] {
        let program = built.with_file_name(name);
        assert!(program.is_file(), "{name} is missing: `cargo build --workspace --bins` builds it");
        std::os::unix::fs::symlink(program, bin.join(name)).expect("made");
    }
    let mut up = Command::new(bin.join("fepctl"));
    up.args(["up", "--no-monitor", "--no-sim", "--config"]).arg(workstation.path("fep.toml"));
    up.arg("--archive-dir").arg(workstation.path("kept"));
    up.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut up = up.spawn().expect("the program starts");
    let mut said = BufReader::new(up.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("nobody can log in yet") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("text"), 0, "fepctl up ended");
    }
    let door = format!("unix:{}", workstation.path("run/identity.sock").display());
    let file = workstation.path("run/identity.toml");
    let command = format!("fep-identity --config {} add-administrator NAME", file.display());
    assert!(line.contains(&command) && line.contains(&format!("login --server {door}")), "{line}");
    // Whatever else is said is of no interest, and must not fill the pipe.
    let reader = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));

    let with_password = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(bin.join(program));
        command.args(arguments).env("XDG_RUNTIME_DIR", workstation.path("session")).env_remove("FEP_TICKET");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // It may refuse before it reads.
        let _ = writeln!(child.stdin.take().expect("an input"), "{PASSWORD}");
        child.wait_with_output().expect("it ends")
    };
    let added = with_password(
        "fep-identity",
        &["--config", &file.display().to_string(), "add-administrator", "anna"],
    );
    assert!(added.status.success(), "{}", stderr(&added));
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let login = with_password("fepctl", &["login", "--server", &door, "--account", "anna"]);
        if login.status.success() {
            break;
        }
        assert!(Instant::now() < until, "{}", stderr(&login));
        std::thread::sleep(Duration::from_millis(50));
    }
    let me = with_password("fepctl", &["whoami", "--server", &door]);
    assert!(stdout(&me).contains("administrator"), "{}{}", stdout(&me), stderr(&me));
    // The archive of the set takes the tickets of the set: the trail is for administrators, not for whoever is local.
    let archive = format!("unix:{}", workstation.path("run/archive.sock").display());
    let trail = with_password("fepctl", &["archive", "audit", "list", "--archive", &archive]);
    assert!(trail.status.success(), "{}", stderr(&trail));
    signal("-INT", u64::from(up.id()));
    assert_eq!(up.wait().expect("it ends").code(), Some(0));
    reader.join().expect("no panic").expect("read");
    assert!(workstation.path("kept/identity/accounts.json").exists(), "it outlives the run");
}

#[test]
fn a_configuration_that_is_refused_starts_nothing() {
    let workstation = Workstation::new();
    std::fs::write(workstation.path("fep.toml"), "[daemon]\nnosuch = 1\n").expect("writable");
    let output = workstation.up(&[]).output().expect("the program starts");
    refuses(&output, 1, &["fep.toml:2:1: daemon.nosuch"]);
    assert!(!workstation.path("run").exists());
}
