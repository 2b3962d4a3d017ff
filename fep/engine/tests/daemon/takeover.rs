//! A run directory that is deleted, and taken by another daemon; things that lie where the daemon wants to put its own.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fep_control::api::Status;

use crate::downlink::{CHANNEL, attach, downlink, events, read, write_config};
use crate::process::{Fepd, Station, command, config, run_dir, wait_for};

// REQ: FEP-ENG-311
#[test]
fn a_run_directory_that_another_user_has_made_is_refused_and_nothing_is_put_in_it() {
    let dir = run_dir();
    let place = dir.path().join("run");
    std::fs::create_dir(&place).expect("made");
    if let Err(error) = std::os::unix::fs::chown(&place, Some(65_534), None) {
        eprintln!("only root can give a directory away: {error}");
        return;
    }
    let file = write_config(dir.path(), &config(&[("pay", CHANNEL, 9)]));
    let log = dir.path().join("log");
    let mut child = command(&place, &file).stderr(messages(&log)).spawn().expect("started");
    assert_eq!(child.wait().expect("it ends by itself").code(), Some(1));
    let said = std::fs::read_to_string(&log).expect("its messages");
    assert!(said.contains("belongs to user 65534, neither to root nor to the user of this fepd"), "{said}");
    assert_eq!(std::fs::read_dir(&place).expect("a directory").count(), 0);
}

/// A file for the messages of a daemon.
fn messages(path: &Path) -> Stdio {
    std::fs::File::create(path).expect("a file").into()
}

// REQ: FEP-ENG-300
#[test]
fn a_daemon_whose_deleted_run_directory_another_one_has_taken_says_so_and_ends() {
    let dir = run_dir();
    let outside = run_dir();
    let station = Station::new();
    let file = write_config(outside.path(), &config(&[("pay", CHANNEL, station.port())]));
    let log = outside.path().join("first.log");
    let place = dir.path().join("run");
    let first = Fepd::start_with(&place, &file, messages(&log));
    let _first = station.accept();
    // The first one stands still meanwhile: it would make the directory anew before the second one is there.
    first.freeze();
    std::fs::rename(&place, dir.path().join("gone")).expect("moved away");
    let second = Fepd::start(&place, &file);
    first.thaw();
    let pid = second.get::<Status>("/status").pid;
    assert_eq!(pid, second.pid(), "the second one answers");
    assert_eq!(first.ends(), Some(1));
    let told = std::fs::read_to_string(&log).expect("its messages");
    let wanted = format!("another fepd (process {pid}) runs on it now: this one has ended");
    assert!(told.contains(&wanted), "{told}");
    // What the second has made is untouched, its socket too, and its link works.
    let (cadus, _) = downlink(0..50);
    loop {
        // Connections of the first, which are closed, may still be in the queue.
        let mut connection = station.accept();
        connection.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        let _ = connection.write_all(&cadus);
        let received = || second.get::<Status>("/status").links[0].ledger.counts.received == 50;
        let is_closed =
            wait_for("frames, or the end of the connection", || match connection.read(&mut [0]) {
                Ok(_) => Some(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(true),
                Err(_) => received().then_some(false),
            });
        if !is_closed {
            break;
        }
    }
    assert_eq!(read(&mut attach(&place, "pay.frames"), 50).len(), 50);
    second.stop();
}

// REQ: FEP-ENG-300
#[test]
fn a_daemon_that_cannot_make_its_deleted_directory_anew_says_so_and_ends() {
    let dir = run_dir();
    let outside = run_dir();
    let file = write_config(outside.path(), &config(&[]));
    let log = outside.path().join("fepd.log");
    let fepd = Fepd::start_with(dir.path(), &file, messages(&log));
    std::fs::remove_dir_all(dir.path().join("bus")).expect("deleted");
    std::fs::write(dir.path().join("bus"), "in the way").expect("written");
    assert_eq!(fepd.ends(), Some(1));
    let told = std::fs::read_to_string(&log).expect("its messages");
    assert!(told.contains("its rings cannot be made anew"), "{told}");
    assert_eq!(std::fs::read(dir.path().join("bus")).expect("read"), b"in the way");
}

// REQ: FEP-ENG-105
#[test]
fn that_the_run_directory_was_deleted_is_said_in_the_new_events_ring() {
    let dir = run_dir();
    let file = write_config(dir.path(), &config(&[]));
    let fepd = Fepd::start(dir.path(), &file);
    std::fs::remove_dir_all(dir.path().join("bus")).expect("deleted");
    wait_for("the event", || {
        dir.path().join("bus/black/events/ring").exists().then_some(())?;
        events(dir.path()).into_iter().find(|event| event["event"] == "run_directory_gone")
    });
    fepd.stop();
}

// REQ: FEP-ENG-301
#[test]
fn what_lies_in_the_way_of_the_control_socket_is_found_before_any_link_runs_and_stays() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[("pay", CHANNEL, station.port())]));
    let socket = dir.path().join("control.sock");
    let refused = |what: &str| {
        let output = command(dir.path(), &file).output().expect("it ran");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("control socket") && told.contains(what), "{told}");
        assert!(!dir.path().join("bus/black/pay.frames").exists(), "no link has run");
    };
    std::fs::create_dir(&socket).expect("made");
    refused("a directory of this name exists");
    std::fs::remove_dir(&socket).expect("removed");
    std::fs::write(&socket, "precious").expect("written");
    refused("a regular file of this name exists");
    assert_eq!(std::fs::read(&socket).expect("read"), b"precious");
    std::fs::remove_file(&socket).expect("removed");
    // Another program that answers there.
    let other = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    refused("another process answers under this name");
    drop(other);
    Fepd::start(dir.path(), &file).stop();
}

// REQ: FEP-ENG-301
#[test]
fn an_exporter_whose_address_is_taken_is_found_before_any_link_runs() {
    let dir = run_dir();
    let station = Station::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let text = config(&[("pay", CHANNEL, station.port())])
        .replace("[daemon]\n", &format!("[daemon]\nmetrics_address = \"{address}\"\n"));
    let file = write_config(dir.path(), &text);
    let output = command(dir.path(), &file).output().expect("it ran");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("daemon.metrics_address {address}")), "{told}");
    assert!(!dir.path().join("bus/black/pay.frames").exists(), "no link has run");
    assert!(!dir.path().join("control.sock.new").exists(), "nothing is left behind");
}
