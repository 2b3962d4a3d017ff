//! From a station's socket to another process's memory, through stops, kills and reloads.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::UdpSocket;

use fep_bus::{Consumer, LatestReader, Poll, Resume};
use fep_ccsds::Clcw;
use fep_control::api::{ApiError, Ledgers, LinkStatus, ReloadReport, Status};
use fep_record::{BadReason, FrameRecord};

use crate::downlink::{CHANNEL, attach, downlink, encoder, events, frame_with, read, write_config};
use crate::process::{Fepd, Station, command, config, run_dir, wait_for};

const LINK: &str = "pay";

// REQ: FEP-ENG-001
#[test]
fn frames_travel_from_the_station_to_another_process_unaltered_and_every_ledger_balances() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[(LINK, "cso/cso-2-payload", station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let mut consumer = attach(dir.path(), "pay.frames");
    let (cadus, frames) = downlink(0..2000);
    let mut connection = station.accept();
    connection.write_all(&cadus).expect("sent");
    let records = read(&mut consumer, frames.len());
    assert_eq!(records.len(), frames.len());
    for (index, ((record, octets), frame)) in records.iter().zip(&frames).enumerate() {
        assert_eq!(record.seq, index as u64 + 1);
        assert_eq!(octets, frame);
        let known = FrameRecord::from_words(record.tag.flags, record.tag.words).expect("a frame record");
        assert_eq!((known.reason, known.frame_count as usize), (BadReason::None, index));
        assert!(record.tag.received.0 > 0 && record.tag.published.0 >= record.tag.received.0);
    }
    let ledgers = wait_for("the counters", || {
        Some(fepd.get::<Ledgers>("/ledgers"))
            .filter(|ledgers| ledgers.links[0].ledger.counts.received == 2000)
    });
    assert!(ledgers.balanced);
    assert_eq!(ledgers.links[0].ledger.counts.good, 2000);
    let status: LinkStatus = fepd.get("/links/pay");
    assert_eq!((status.state.as_str(), status.sync.as_str()), ("connected", "lock"));
    assert_eq!(status.vcs.iter().map(|vc| vc.ledger.frames).sum::<u64>(), 2000);
    assert!(status.latency.iter().all(|stage| stage.count > 0));
    fepd.stop();
}

// REQ: FEP-ENG-002
#[test]
fn stopped_or_killed_a_restart_continues_the_sequence_and_counts_what_was_lost() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[(LINK, "cso/cso-2-payload", station.port())]));
    let mut next_seq = 1;
    let mut next_count = 0_u32;
    for round in 0..6_u32 {
        let fepd = Fepd::start(dir.path(), &file);
        let mut consumer =
            Consumer::attach(&dir.path().join("bus"), "pay.frames", "test", Resume::Cursor).expect("a ring");
        // While fepd was down the link lost some frames; none in the first round.
        let lost = if round == 0 { 0 } else { 10 * round };
        let first = next_count + lost;
        let (cadus, frames) = downlink(first..first + 100);
        let mut connection = station.accept();
        connection.write_all(&cadus).expect("sent");
        let records = read(&mut consumer, frames.len());
        assert_eq!(records.len(), 100);
        assert_eq!(records[0].0.seq, next_seq, "round {round}");
        consumer.store_cursor().expect("stored");
        let ledgers = wait_for("the counters", || {
            Some(fepd.get::<Ledgers>("/ledgers"))
                .filter(|ledgers| ledgers.links[0].ledger.counts.received == 100)
        });
        assert_eq!(ledgers.links[0].ledger.counts.lost, u64::from(lost), "round {round}");
        (next_seq, next_count) = (next_seq + 100, first + 100);
        if round % 2 == 0 { fepd.kill() } else { fepd.stop() }
    }
}

// REQ: FEP-ENG-003
#[test]
fn a_reload_leaves_untouched_links_running_and_a_wrong_file_changes_nothing() {
    let dir = run_dir();
    let (kept, changed, added) = (Station::new(), Station::new(), Station::new());
    let channel = "cso/cso-2-payload";
    let first = config(&[("kept", channel, kept.port()), ("changed", channel, changed.port())]);
    let file = write_config(dir.path(), &first);
    let fepd = Fepd::start(dir.path(), &file);
    let mut kept_connection = kept.accept();
    let _changed_connection = changed.accept();
    let (cadus, _) = downlink(0..400);
    kept_connection.write_all(&cadus[..cadus.len() / 2]).expect("sent");

    std::fs::write(&file, format!("{first}core = 99999\nbogus = 1\n")).expect("written");
    let (status, body) = fepd.request("POST", "/reload").expect("an answer");
    assert_eq!(status, 422, "{body}");
    let refused: ApiError = serde_json::from_str(&body).expect("an error");
    assert_eq!(refused.errors.len(), 2);
    assert!(refused.errors.iter().all(|error| error.line > 1 && error.key.starts_with("links.changed.")));

    let second =
        config(&[("kept", channel, kept.port()), ("changed", channel, added.port()), ("new", channel, 9)]);
    std::fs::write(&file, second).expect("written");
    let (status, body) = fepd.request("POST", "/reload").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let report: ReloadReport = serde_json::from_str(&body).expect("a report");
    assert_eq!(
        (report.untouched, report.restarted, report.started),
        (vec!["kept".to_owned()], vec!["changed".to_owned()], vec!["new".to_owned()],)
    );
    let _ = added.accept();
    kept_connection.write_all(&cadus[cadus.len() / 2..]).expect("the connection is the same one");
    let mut consumer = attach(dir.path(), "kept.frames");
    assert_eq!(read(&mut consumer, 400).len(), 400, "not one frame was lost");
    let names: BTreeMap<String, bool> =
        fepd.get::<Status>("/status").links.into_iter().map(|link| (link.name, link.enabled)).collect();
    assert_eq!(names.len(), 3);
    fepd.stop();
}

// REQ: FEP-ENG-303
#[test]
fn rings_of_a_link_that_a_reload_removed_are_orphaned_and_removed_at_a_start_once_they_were_read() {
    let dir = run_dir();
    let station = Station::new();
    let with = config(&[("old", "cso/cso-2-payload", station.port())]);
    let file = write_config(dir.path(), &with);
    let fepd = Fepd::start(dir.path(), &file);
    station.accept().write_all(&downlink(0..100).0).expect("sent");
    let attach =
        || Consumer::attach(&dir.path().join("bus"), "old.frames", "test", Resume::Cursor).expect("a ring");
    let mut consumer = attach();
    let mut octets = Vec::new();
    let mut read_some = |consumer: &mut Consumer, count: usize| {
        for _ in 0..count {
            wait_for("a record", || matches!(consumer.poll(&mut octets), Poll::Record(_)).then_some(()));
        }
        consumer.store_cursor().expect("stored");
    };
    read_some(&mut consumer, 60);
    std::fs::write(&file, config(&[("new", "cso/cso-2-payload", 9)])).expect("written");
    assert_eq!(fepd.request("POST", "/reload").expect("an answer").0, 200);
    let rings = fepd.get::<Status>("/status").rings;
    let old = rings.iter().find(|ring| ring.name == "old.frames").expect("it is still shown");
    let lag = old.gates.iter().find(|gate| gate.consumer == "test").map(|gate| gate.lag_records);
    assert!(old.orphaned && lag == Some(40), "{old:?}");
    assert!(rings.iter().all(|ring| ring.orphaned == ring.name.starts_with("old.")));
    fepd.stop();
    // Followed, then unread: a start keeps it whole.
    let exists = |ring: &str| dir.path().join("bus/black").join(ring).exists();
    Fepd::start(dir.path(), &file).stop();
    drop(consumer);
    Fepd::start(dir.path(), &file).stop();
    let mut consumer = attach();
    read_some(&mut consumer, 40);
    drop(consumer);
    let fepd = Fepd::start(dir.path(), &file);
    assert!(!exists("old.frames"), "everything in it was read");
    assert!(exists("old.packets"), "nobody has read it");
    let removed: Vec<_> =
        events(dir.path()).into_iter().filter(|event| event["event"] == "ring_removed").collect();
    assert_eq!((removed.len(), &removed[0]["ring"]), (1, &"old.frames".into()));
    fepd.stop();
}

// REQ: FEP-ENG-004, FEP-ENG-007
#[test]
fn links_are_commanded_and_measured_by_the_control_interface() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[(LINK, "cso/cso-2-payload", station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let first = station.accept();
    assert_eq!(fepd.request("POST", "/links/pay/disable").expect("an answer").0, 200);
    drop(first);
    assert_eq!(fepd.get::<LinkStatus>("/links/pay").state, "disabled");
    let (status, body) = fepd.request("POST", "/links/pay/reset").expect("an answer");
    assert!(status == 409 && body.contains("enable it first"), "{status} {body}");
    assert_eq!(fepd.request("POST", "/links/pay/enable").expect("an answer").0, 200);
    let mut connection = station.accept();
    connection.write_all(&downlink(0..64).0).expect("sent");
    assert_eq!(read(&mut attach(dir.path(), "pay.frames"), 64).len(), 64);
    assert_eq!(fepd.request("POST", "/links/pay/reset").expect("an answer").0, 200);
    let (status, body) = fepd.request("POST", "/links/nobody/enable").expect("an answer");
    assert!(status == 404 && body.contains("known: pay"), "{status} {body}");
    let text = wait_for("the counters", || {
        let (_, text) = fepd.request("GET", "/metrics").expect("an answer");
        text.contains("fep_chain_received_total{link=\"pay\"} 64").then_some(text)
    });
    for line in [
        "fep_vc_frames_total{link=\"pay\",vc=\"162/40\"} 64",
        "fep_bad_frames_total{link=\"pay\",reason=\"uncorrectable\"} 0",
        "fep_ring_records_total{ring=\"pay.frames\",colour=\"black\"} 64",
        "# TYPE fep_latency_seconds histogram",
    ] {
        assert!(text.contains(line), "missing {line} in\n{text}");
    }
    assert!(!text.contains("reason=\"none\""), "a good frame is not bad for no reason: {text}");
    let (status, _) = fepd.request("POST", "/stop").expect("an answer");
    assert_eq!(status, 200);
    wait_for("the end", || (!dir.path().join("control.sock").exists()).then_some(()));
}

// REQ: FEP-ENG-004
#[test]
fn a_reset_keeps_the_connection_and_every_lock_that_was_acquired_is_lost_by_reset_or_stop() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[(LINK, "cso/cso-2-payload", station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let mut frames = attach(dir.path(), "pay.frames");
    connection.write_all(&downlink(0..64).0).expect("sent");
    read(&mut frames, 64);
    assert_eq!(fepd.request("POST", "/links/pay/reset").expect("an answer").0, 200);
    // The answer comes when the command is on its way; the event says that it was followed.
    wait_for("the reset", || {
        events(dir.path()).iter().any(|event| event["event"] == "link_reset").then_some(())
    });
    connection.write_all(&downlink(100..164).0).expect("the connection is the same one");
    read(&mut frames, 64);
    let link: LinkStatus = fepd.get("/links/pay");
    assert_eq!((link.ledger.counts.lost, link.ledger.counts.resets), (0, 0), "the counters were forgotten");
    fepd.stop();
    let told = events(dir.path());
    let names = told.iter().filter_map(|event| event["event"].as_str());
    let names: Vec<&str> = names.filter(|name| name.starts_with("lock_") || *name == "link_reset").collect();
    assert_eq!(names, ["lock_acquired", "lock_lost", "link_reset", "lock_acquired", "lock_lost"]);
    assert_eq!(told.iter().filter(|event| event["event"] == "connected").count(), 1);
}

// REQ: FEP-ENG-005
#[test]
fn a_second_daemon_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[(LINK, "cso/cso-2-payload", station.port())]));
    let fepd = Fepd::start(dir.path(), &file);
    let second = command(dir.path(), &file).output().expect("it ran");
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    let status = fepd.get::<Status>("/status");
    let wanted = format!(
        "another fepd (process {}) runs on the run directory {}: stop it, or use another directory",
        status.pid,
        dir.path().display()
    );
    assert!(told.contains(&wanted), "{told}");
    assert!(!status.stopping);
    fepd.stop();
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_their_own_codes() {
    let dir = run_dir();
    let file = write_config(dir.path(), "[daemon]\nlogg = 1\n");
    let refused = command(dir.path(), &file).output().expect("it ran");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fepd.toml:2:1: daemon.logg: unknown key"));
    let usage = command(dir.path(), &file).arg("--bogus").output().expect("it ran");
    assert_eq!(usage.status.code(), Some(2));
}

// REQ: FEP-ENG-108
#[test]
fn the_newest_clcw_of_each_virtual_channel_is_shown_decoded_and_lies_in_shared_memory() {
    let dir = run_dir();
    let station = Station::new();
    let (_, text) = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "cso").expect("cso");
    let plain = "[channel.cso-2-payload.frame]\nkind = \"aos\"\nframe_len = 1115\n";
    let with_ocf = text.replace(plain, &format!("{plain}ocf = \"present\"\n"));
    assert_ne!(with_ocf, *text);
    let mission = dir.path().join("reporting.toml");
    std::fs::write(&mission, with_ocf).expect("written");
    let mission = mission.display().to_string();
    let text = config(&[(LINK, "reporting/cso-2-payload", station.port())])
        + &format!("[missions]\nreporting = {mission:?}\n");
    let file = write_config(dir.path(), &text);
    let channel =
        fep_mission::load(&mission).unwrap_or_else(|errors| panic!("{errors}")).channels["cso-2-payload"]
            .clone();
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let (mut encoder, mut cadus) = (encoder(&channel), Vec::new());
    let idle = Clcw::parse([1, 0, 0, 0]).expect("a CLCW");
    for count in 0..40_u32 {
        // Two virtual channels of the way up report by turns, on one of the way down.
        let clcw = Clcw { vcid: (count % 2) as u8, report_value: count as u8, wait: count == 39, ..idle };
        encoder.encode(&frame_with(&channel, 40, count, 1, Some(clcw.emit())), &mut cadus);
    }
    connection.write_all(&cadus).expect("sent");
    let status = wait_for("the frames", || {
        Some(fepd.get::<LinkStatus>("/links/pay")).filter(|link| link.ledger.counts.good == 40)
    });
    let shown: Vec<_> =
        status.clcws.iter().map(|c| (c.scid, c.vcid, c.frame_vcid, c.report_value, c.wait)).collect();
    assert_eq!(shown, [(162, 0, 40, 38, false), (162, 1, 40, 39, true)]);
    assert!(status.clcws.iter().all(|clcw| clcw.live && clcw.verified && !clcw.lockout));
    let page = LatestReader::open(&dir.path().join("bus"), "black/pay.ocf").expect("a page");
    let latest = page.get(162 << 8 | 1).expect("read").expect("the newest report on virtual channel 1");
    assert_eq!(latest.value()[..4], Clcw { vcid: 1, report_value: 39, wait: true, ..idle }.emit());
    let (_, text) = fepd.request("GET", "/metrics").expect("an answer");
    assert!(text.contains("fep_clcw_report_value{link=\"pay\",scid=\"162\",vcid=\"1\"} 39"), "{text}");
    assert!(text.contains("fep_ocf_clcws_total{link=\"pay\"} 40"), "{text}");
    fepd.stop();
}

// REQ: FEP-ENG-112
#[test]
fn datagrams_that_changed_places_are_published_in_order_and_none_counts_as_lost() {
    let dir = run_dir();
    // A port that was free a moment ago.
    let ground = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
    let text = config(&[])
        + &format!(
            "[links.pay]\nchannel = \"{CHANNEL}\"\nframing = \"datagram_cadu\"\nreorder_wait_us = 1000000\n\
             transport = {{ kind = \"udp\", bind = \"{ground}\" }}\n"
        );
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let (cadus, frames) = downlink(0..300);
    let mut cadus: Vec<&[u8]> = cadus.chunks(cadus.len() / 300).collect();
    // Pairs change places; one frame in a hundred is never sent.
    cadus[1..].chunks_mut(7).filter(|seven| seven.len() > 3).for_each(|seven| seven.swap(1, 3));
    let station = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut lost = 0;
    for (number, cadu) in cadus.iter().enumerate() {
        if number % 100 == 57 {
            lost += 1;
        } else {
            station.send_to(cadu, ground).expect("sent");
        }
    }
    let records = read(&mut attach(dir.path(), "pay.frames"), 300 - lost);
    let places: Vec<usize> = records
        .iter()
        .map(|(_, octets)| frames.iter().position(|frame| frame == octets).expect("a frame that was sent"))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let status = wait_for("the counters", || {
        Some(fepd.get::<LinkStatus>("/links/pay"))
            .filter(|link| link.ledger.counts.published as usize == 300 - lost)
    });
    let counts = status.ledger.counts;
    assert_eq!((counts.lost as usize, counts.resets, counts.duplicates), (lost, 0, 0), "{}", status.ledger);
    assert!(status.ledger.is_balanced());
    fepd.stop();
}
