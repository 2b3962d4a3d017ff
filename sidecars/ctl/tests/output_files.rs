//! Result files have their names once they are whole: whatever ends the command before, nothing half-written is left.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Waits until this holds; fails the test when it never does.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process of this test.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.expect("kill exists").success());
}

// REQ: FEP-CTL-105
#[test]
fn a_decode_that_a_signal_ends_leaves_no_part_and_the_old_file() {
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("frames");
        std::fs::write(&out, "old").expect("written");
        let mut command = fepctl();
        command.args(["decode", "-m", "npp", "-", "--frames"]).arg(&out);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(&std::fs::read(golden("cadu/npp_errors.dat")).expect("golden data")).expect("taken");
        // The input stays open: the command is in the middle of its work.
        until("the file is never begun", || names(dir.path()).len() == 2);
        signal(&child, name);
        let ended = child.wait().expect("the program ends");
        assert_eq!(ended.code(), Some(130), "{name}");
        drop(stdin);
        assert_eq!(names(dir.path()), ["frames"], "{name}");
        assert_eq!(std::fs::read(&out).expect("readable"), b"old", "{name}");
    }
}

// REQ: FEP-CTL-105
#[test]
fn a_command_that_fails_leaves_no_part() {
    let dir = tempfile::tempdir().expect("a directory");
    let (frames, out) = (dir.path().join("frames"), dir.path().join("out"));
    // One frame and a piece of another.
    std::fs::write(&frames, vec![0; 892 + 10]).expect("written");
    let mut command = fepctl();
    command.args(["encode", "-m", "npp"]).arg(&frames).arg(&out);
    refuses(&command.output().expect("starts"), 1, &["no whole frame"]);
    assert_eq!(names(dir.path()), ["frames"]);
}

// REQ: FEP-CTL-105
#[test]
fn a_planted_link_is_replaced_and_what_it_names_is_not_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (victim, out) = (dir.path().join("victim"), dir.path().join("frames"));
    std::fs::write(&victim, "mine").expect("written");
    symlink(&victim, &out).expect("a link");
    let mut command = fepctl();
    command.args(["decode", "-m", "npp"]).arg(golden("cadu/npp_errors.dat")).arg("--frames").arg(&out);
    let output = command.output().expect("starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read(&victim).expect("readable"), b"mine");
    assert!(std::fs::symlink_metadata(&out).expect("there").len() > 892);
    assert_eq!(names(dir.path()), ["frames", "victim"]);
}

// REQ: FEP-CTL-105
#[test]
fn a_dash_is_no_file_of_that_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = fepctl();
    command.args(["decode", "-m", "npp"]).arg(golden("cadu/npp_errors.dat")).args(["--frames", "-"]);
    let output = command.current_dir(dir.path()).output().expect("starts");
    refuses(&output, 2, &["--frames -: standard output carries the report"]);
    assert!(names(dir.path()).is_empty());
}

// REQ: FEP-CTL-105
#[test]
fn a_pipe_is_written_as_it_comes() {
    let mut command = fepctl();
    command.args(["decode", "-m", "npp"]).arg(golden("cadu/npp_errors.dat"));
    command.args(["--frames", "/dev/stderr"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut octets = Vec::new();
    child.stderr.take().expect("piped").read_to_end(&mut octets).expect("readable");
    assert!(child.wait().expect("ends").success());
    assert_eq!(octets.len(), 213 * 892, "the frames of the vector that decoded");
}

// REQ: FEP-CTL-105
#[test]
fn a_station_that_is_stopped_leaves_no_part_of_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (stations, sent) = (dir.path().join("stations.toml"), dir.path().join("sent"));
    let text = format!(
        "[[station]]\nname = \"tape\"\nrate_bps = 1000\n\
         source = {{ kind = \"capture\", file = \"npp\", repeat = false }}\n\
         transport = {{ kind = \"file\", path = {sent:?} }}\n"
    );
    std::fs::write(&stations, text).expect("written");
    let mut command = fepctl();
    command.args(["sim", "--stations"]).arg(&stations).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    until("the file is never begun", || names(dir.path()).len() == 2);
    signal(&child, "INT");
    let _ = child.wait().expect("the program ends");
    assert_eq!(names(dir.path()), ["stations.toml"]);
}
