//! Roles that fail, panic, hang together on a core: everything else goes on, and nothing needs a restart.

use std::io::Write;
use std::net::TcpListener;

use fep_control::api::{Ledgers, LinkStatus, ReloadReport, Status};

use crate::downlink::{CHANNEL, attach, downlink, events, read, write_config};
use crate::process::{Fepd, Station, config, run_dir, wait_for};

fn link(fepd: &Fepd, name: &str) -> LinkStatus {
    fepd.get(&format!("/links/{name}"))
}

fn server(name: &str, port: u16) -> String {
    format!(
        "[links.{name}]\nchannel = \"{CHANNEL}\"\ntransport = {{ kind = \"tcp_server\", bind = \"127.0.0.1:{port}\" }}\n"
    )
}

// REQ: FEP-ENG-101
#[test]
fn a_bind_that_fails_at_boot_heals_by_itself_and_the_other_link_never_notices() {
    let dir = run_dir();
    let station = Station::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let text = config(&[("good", CHANNEL, station.port())]) + &server("late", port);
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let (cadus, frames) = downlink(0..600);
    connection.write_all(&cadus[..cadus.len() / 2]).expect("sent");
    let late = wait_for("the second failure", || Some(link(&fepd, "late")).filter(|late| late.restarts > 1));
    assert!(late.enabled, "it stays enabled and visible");
    wait_for("the cause", || {
        let cause = link(&fepd, "late").failure?;
        (cause.contains(&format!("127.0.0.1:{port}")) && cause.contains("in use")).then_some(())
    });
    drop(taken);
    wait_for("the link", || (link(&fepd, "late").state == "listening").then_some(()));
    assert_eq!(link(&fepd, "late").failure, None);
    connection.write_all(&cadus[cadus.len() / 2..]).expect("sent");
    assert_eq!(read(&mut attach(dir.path(), "good.frames"), 600).len(), frames.len());
    let good =
        wait_for("the counters", || Some(link(&fepd, "good")).filter(|l| l.ledger.counts.received == 600));
    assert_eq!((good.ledger.counts.lost, good.ledger.counts.uncorrectable, good.restarts), (0, 0, 0));
    let told = events(dir.path());
    let failed = |event: &&serde_json::Value| event["event"] == "link_failed" && event["link"] == "late";
    assert!(told.iter().filter(failed).all(|event| event["retry_ms"].is_u64()));
    assert!(told.iter().filter(failed).count() > 1);
    fepd.stop();
}

// REQ: FEP-ENG-101
#[test]
fn a_panic_of_one_link_is_its_own_affair_and_its_rings_go_on_where_they_stood() {
    let dir = run_dir();
    let (broken, whole) = (Station::new(), Station::new());
    let text = config(&[("broken", CHANNEL, broken.port()), ("whole", CHANNEL, whole.port())]);
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let (mut to_broken, mut to_whole) = (broken.accept(), whole.accept());
    let (first, second) = (downlink(0..200), downlink(250..400));
    let (all, _) = downlink(0..400);
    to_broken.write_all(&first.0).expect("sent");
    to_whole.write_all(&all[..all.len() / 2]).expect("sent");
    let mut consumer = attach(dir.path(), "broken.frames");
    read(&mut consumer, 200);
    let (status, body) = fepd.request("POST", "/test/panic/broken").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let mut again = broken.accept();
    again.write_all(&second.0).expect("sent");
    let records = read(&mut consumer, 150);
    assert_eq!(records[0].0.seq, 201, "the sequence goes on");
    assert!(records.iter().zip(&second.1).all(|((_, octets), frame)| octets == frame));
    let status = wait_for("the counters", || {
        Some(link(&fepd, "broken")).filter(|link| link.ledger.counts.received == 150)
    });
    assert_eq!((status.restarts, status.failure), (1, None));
    assert_eq!(status.ledger.counts.lost, 50, "what was not sent is a gap, and nothing else is");
    to_whole.write_all(&all[all.len() / 2..]).expect("the connection is the same one");
    let ledgers = wait_for("the counters", || {
        let ledgers: Ledgers = fepd.get("/ledgers");
        let done = ledgers.links.iter().any(|l| l.link == "whole" && l.ledger.counts.received == 400);
        done.then_some(ledgers)
    });
    assert!(ledgers.balanced);
    assert_eq!((link(&fepd, "whole").ledger.counts.lost, link(&fepd, "whole").restarts), (0, 0));
    let reason =
        events(dir.path()).into_iter().find(|event| event["event"] == "link_failed").expect("an event");
    assert!(reason["reason"].as_str().is_some_and(|reason| reason.contains("panic")), "{reason}");
    fepd.stop();
}

// REQ: FEP-ENG-103, FEP-ENG-102
#[test]
fn a_link_that_comes_to_the_core_of_a_busy_polling_one_hangs_nobody_and_both_sleep() {
    let dir = run_dir();
    let stations = [Station::new(), Station::new()];
    let cores = fepd::realtime::allowed_cores();
    let core = cores[cores.len() - 1];
    // The control thread's core is not one to spin on.
    let alone = if cores.len() > 1 { "busy" } else { "wait" };
    let text = config(&[("first", CHANNEL, stations[0].port()), ("second", CHANNEL, stations[1].port())])
        .replace("realtime_priority = 0", "realtime_priority = 50")
        .replace("[link]\n", &format!("[link]\ncore = {core}\nwait = \"busy\"\n"))
        .replace("[links.second]\n", "[links.second]\nenabled = false\n");
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let mut first = stations[0].accept();
    assert_eq!(link(&fepd, "first").thread.wait, alone);
    let shared = format!("first, second share core {core}:");
    let is_warned = || fepd.get::<Status>("/status").warnings.iter().any(|one| one.starts_with(&shared));
    assert!(!is_warned());
    assert_eq!(fepd.request("POST", "/links/second/enable").expect("an answer").0, 200);
    let mut second = stations[1].accept();
    for name in ["first", "second"] {
        let thread = link(&fepd, name).thread;
        assert_eq!(thread.wait, "wait", "{name}");
        assert_ne!(thread.class, "fifo", "{name} would run until it sleeps on a core that it shares");
        assert_eq!(thread.realtime, thread.class == "rr", "{name}");
    }
    assert!(is_warned());
    let (cadus, frames) = downlink(0..500);
    for connection in [&mut first, &mut second] {
        connection.write_all(&cadus).expect("sent");
    }
    for ring in ["first.frames", "second.frames"] {
        assert_eq!(read(&mut attach(dir.path(), ring), 500).len(), frames.len());
    }
    assert_eq!(fepd.request("POST", "/links/second/disable").expect("an answer").0, 200);
    assert_eq!(link(&fepd, "first").thread.wait, alone, "it may spin again");
    assert!(!is_warned(), "the sharing has ended");
    fepd.stop();
}

// REQ: FEP-ENG-101
#[test]
fn a_link_that_cannot_be_made_on_reload_stays_visible_with_its_cause_and_is_tried_again() {
    let dir = run_dir();
    let station = Station::new();
    let good = config(&[("good", CHANNEL, station.port())]);
    let file = write_config(dir.path(), &good);
    let fepd = Fepd::start(dir.path(), &file);
    let _connection = station.accept();
    // Somebody else's ring: its lock is held by this process.
    let spec =
        fep_bus::RingSpec { prefault: false, ..fep_bus::RingSpec::new("added.frames", "ccsds.frame.v1") };
    let held = fep_bus::Producer::create_or_attach(&dir.path().join("bus"), &spec).expect("a ring");
    let added = Station::new();
    std::fs::write(
        &file,
        good + &config(&[("added", CHANNEL, added.port())])
            .split_once("[links.")
            .map(|(_, l)| format!("[links.{l}"))
            .expect("a link"),
    )
    .expect("written");
    let (status, body) = fepd.request("POST", "/reload").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let report: ReloadReport = serde_json::from_str(&body).expect("a report");
    assert_eq!((report.started, report.untouched), (vec!["added".to_owned()], vec!["good".to_owned()]));
    let refused = link(&fepd, "added");
    assert_eq!(refused.state, "failed");
    assert!(refused.failure.is_some_and(|cause| cause.contains("held by the live process")));
    drop(held);
    let _added = added.accept();
    wait_for("the link", || (link(&fepd, "added").state == "connected").then_some(()));
    fepd.stop();
}

#[test]
fn a_link_whose_name_has_the_greatest_length_starts_and_starts_again() {
    let dir = run_dir();
    let station = Station::new();
    let name = "n".repeat(19);
    let file = write_config(dir.path(), &config(&[(&name, CHANNEL, station.port())]));
    for round in 0..2 {
        let fepd = Fepd::start(dir.path(), &file);
        let mut connection = station.accept();
        connection.write_all(&downlink(100 * round..100 * round + 100).0).expect("sent");
        wait_for("frames", || (link(&fepd, &name).ledger.counts.received == 100).then_some(()));
        assert_eq!(link(&fepd, &name).ledger.counts.lost, 0);
        fepd.stop();
    }
}
