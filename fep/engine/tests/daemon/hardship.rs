//! Clocks that are set, strangers in shared directories, a run directory that is deleted, a pass that is cut.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use fep_control::api::{LinkStatus, Status};
use fep_mission::ChannelConfig;

use crate::downlink::{CHANNEL, attach, channel, downlink, encoder, events, frame, read, write_config};
use crate::process::{Fepd, Station, command, config, run_dir, wait_for};

fn link(fepd: &Fepd, name: &str) -> LinkStatus {
    fepd.get(&format!("/links/{name}"))
}

/// A CADU that no code can put right.
fn damaged(channel: &ChannelConfig, count: u32) -> Vec<u8> {
    let mut cadu = Vec::new();
    encoder(channel).encode(&frame(channel, 40, count, 0), &mut cadu);
    let marker = cadu.len() - channel.block_len();
    // Every other octet: the same change to every third would be a codeword of the Reed-Solomon code.
    cadu[marker..].iter_mut().step_by(2).for_each(|octet| *octet ^= 0xFF);
    cadu
}

// REQ: FEP-ENG-104
#[test]
fn steps_of_the_clock_by_an_hour_disturb_no_link_and_silence_no_event() {
    let dir = run_dir();
    let station = Station::new();
    let text =
        config(&[("pay", CHANNEL, station.port())]).replace("[link]\n", "[link]\nidle_timeout_ms = 60000\n");
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let channel = channel();
    let mut consumer = attach(dir.path(), "pay.frames");
    let hour_ns = 3_600_000_000_000_i64;
    for (round, step_ns) in [hour_ns, -2 * hour_ns, hour_ns, 0].into_iter().enumerate() {
        let first = 100 * round as u32;
        let (mut cadus, _) = downlink(first..first + 99);
        cadus.extend(damaged(&channel, first + 99));
        connection.write_all(&cadus).expect("sent");
        assert_eq!(read(&mut consumer, 100).len(), 100);
        let bad = || events(dir.path()).iter().filter(|event| event["event"] == "bad_frames").count();
        wait_for("the event of this round", || (bad() > round).then_some(()));
        consumer.heartbeat(fep_time::Monotonic::now()).expect("stored");
        let (status, body) =
            fepd.post("/test/clock-step", &format!("{{\"step_ns\": {step_ns}}}")).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    // One that no clock can show changes nothing.
    for step_ns in [i64::MAX, i64::MIN] {
        let (status, body) =
            fepd.post("/test/clock-step", &format!("{{\"step_ns\": {step_ns}}}")).expect("an answer");
        assert!(status == 422 && body.contains("100 years"), "{status} {body}");
    }
    let pay =
        wait_for("the counters", || Some(link(&fepd, "pay")).filter(|l| l.ledger.counts.received == 400));
    assert_eq!((pay.ledger.counts.good, pay.ledger.counts.uncorrectable, pay.restarts), (396, 4, 0));
    assert_eq!(pay.state, "connected");
    assert!(pay.latency.iter().all(|stage| stage.max_ns < 60_000_000_000), "{:?}", pay.latency);
    fepd.stop();
}

#[test]
fn without_the_switch_there_are_no_requests_for_tests() {
    let dir = run_dir();
    let file = write_config(dir.path(), &config(&[]));
    let mut child = command(dir.path(), &file).env_remove("FEP_TEST_SWITCHES").spawn().expect("fepd starts");
    let socket = dir.path().join("control.sock");
    wait_for("the socket", || socket.exists().then_some(()));
    let fepd = Fepd::of(dir.path());
    let (status, _) = fepd.post("/test/clock-step", "{\"step_ns\": 1}").expect("an answer");
    assert_eq!(status, 404);
    assert_eq!(fepd.request("POST", "/test/panic/pay").expect("an answer").0, 404);
    child.kill().expect("killed");
    child.wait().expect("a child");
}

// REQ: FEP-ENG-109
#[test]
fn strangers_in_a_cursor_directory_hold_up_neither_the_control_thread_nor_any_link() {
    let dir = run_dir();
    let (first, second) = (Station::new(), Station::new());
    let text = config(&[("first", CHANNEL, first.port()), ("second", CHANNEL, second.port())]);
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let (mut to_first, mut to_second) = (first.accept(), second.accept());
    let cursors = dir.path().join("bus/black/first.frames/cursors");
    // The gate of the rings is called so.
    let fifo = Command::new("mkfifo").arg(cursors.join("recorder")).status().expect("mkfifo");
    assert!(fifo.success());
    symlink("/dev/zero", cursors.join("link")).expect("a link");
    for number in 0..100_000 {
        std::fs::File::create(cursors.join(format!("f{number}"))).expect("a file");
    }
    let (cadus, frames) = downlink(0..1000);
    for connection in [&mut to_first, &mut to_second] {
        connection.write_all(&cadus).expect("sent");
    }
    for name in ["first", "second"] {
        assert_eq!(read(&mut attach(dir.path(), &format!("{name}.frames")), 1000).len(), frames.len());
        let status = wait_for("the counters", || {
            Some(link(&fepd, name)).filter(|link| link.ledger.counts.received == 1000)
        });
        assert_eq!((status.ledger.counts.good, status.ledger.counts.lost), (1000, 0));
    }
    wait_for("the event", || {
        events(dir.path()).iter().any(|event| event["event"] == "cursor_ignored").then_some(())
    });
    assert!(!fepd.get::<Status>("/status").rings.is_empty());
    fepd.stop();
}

// REQ: FEP-ENG-105
#[test]
fn a_deleted_run_directory_is_reported_and_the_rings_are_made_anew() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[("pay", CHANNEL, station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let _first = station.accept();
    assert!(fepd.get::<Status>("/status").warnings.iter().all(|warning| !warning.contains("deleted")));
    std::fs::remove_dir_all(dir.path().join("bus")).expect("deleted");
    // The link starts again with new rings, and connects again.
    let mut connection = station.accept();
    let (cadus, frames) = downlink(0..100);
    connection.write_all(&cadus).expect("sent");
    assert_eq!(read(&mut attach(dir.path(), "pay.frames"), 100).len(), frames.len());
    let warned =
        |status: &Status| status.warnings.iter().any(|warning| warning.contains("was deleted or replaced"));
    wait_for("the warning", || Some(fepd.get::<Status>("/status")).filter(warned));
    wait_for("the event", || {
        let ring = dir.path().join("bus/black/events/ring");
        ring.exists().then(|| events(dir.path()))?.iter().find(|e| e["event"] == "link_started").cloned()
    });
    fepd.stop();
}

// REQ: FEP-ENG-110
#[test]
fn a_pass_that_is_cut_in_the_middle_of_a_frame_is_over_at_once_and_shows_no_lock() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[("pay", CHANNEL, station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let (cadus, frames) = downlink(0..50);
    connection.write_all(&cadus[..cadus.len() - 300]).expect("sent");
    wait_for("lock", || (link(&fepd, "pay").sync == "lock").then_some(()));
    drop(connection);
    // Nobody connects: what was received must come out without the next connection.
    let records = read(&mut attach(dir.path(), "pay.frames"), 49);
    assert!(records.iter().zip(&frames).all(|((_, octets), frame)| octets == frame));
    let over = wait_for("search", || Some(link(&fepd, "pay")).filter(|link| link.sync == "search"));
    let counter = |name| over.sync_counters.iter().find(|one| one.name == name).map(|one| one.value);
    assert_eq!(
        (counter("lock_acquired"), counter("lock_lost")),
        (Some(1), Some(1)),
        "counter and event agree"
    );
    let told: Vec<String> = wait_for("the events", || {
        let told: Vec<String> =
            events(dir.path()).iter().map(|event| event["event"].as_str().unwrap_or("").to_owned()).collect();
        told.iter().any(|event| event == "disconnected").then_some(told)
    });
    assert!(told.iter().any(|event| event == "lock_lost"), "{told:?}");
    fepd.stop();
}
