//! The ring tools on rings that the tests fill themselves: what a consumer process prints is held to what was published.

mod support;

use fep_time::Tai;
use std::path::Path;
use std::process::{Child, Stdio};

use fep_bus::{Access, MetricPage, MetricSet, Producer, RingSpec, Tag};
use fep_ccsds::Gvcid;
use fep_record::{
    BadReason, EventRecord, FrameFlags, FrameRecord, KIND_EVENT, KIND_FRAME, KIND_PACKET, PacketRecord,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::*;

/// 2017-01-01T00:00:00 UTC in nanoseconds of TAI since 1958: 59 years with 15 leap days, and 37 s.
const NEW_YEAR_2017: i64 = ((59 * 365 + 15) * 86_400 + 37) * 1_000_000_000;

fn ring(dir: &Path, name: &str) -> Producer {
    let spec =
        RingSpec { desc_log2: 10, data_len: 8 << 20, extent_len: 1 << 20, ..RingSpec::new(name, "test") };
    Producer::create_or_attach(dir, &spec).expect("a ring")
}

fn publish(producer: &mut Producer, kind: u16, (flags, words): (u16, [u64; 2]), payload: &[u8]) {
    let tag = Tag { kind, flags, words, received: Tai(NEW_YEAR_2017), published: Tai(NEW_YEAR_2017 + 1) };
    producer.publish(tag, payload).expect("it fits");
}

fn frame(vcid: u8, count: u32, flags: FrameFlags) -> FrameRecord {
    let bad = flags.contains(FrameFlags::UNCORRECTABLE);
    FrameRecord {
        gvcid: if bad { Gvcid::default() } else { Gvcid { tfvn: 1, scid: 157, vcid } },
        frame_count: count,
        flags,
        link_id: 7,
        symbols_corrected: if flags.contains(FrameFlags::CORRECTED) { 4 } else { 0 },
        reason: if bad { BadReason::Uncorrectable } else { BadReason::None },
        ..FrameRecord::default()
    }
}

fn packet(apid: u16, count: u16) -> PacketRecord {
    let gvcid = Gvcid { tfvn: 1, scid: 157, vcid: 16 };
    PacketRecord { gvcid, apid, sequence: 0xC000 | count, link_id: 7, ..PacketRecord::default() }
}

fn ring_command(dir: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = fepctl();
    command.arg("ring").args(arguments).arg("--directory").arg(dir).stdin(Stdio::null());
    command
}

fn ring_run(dir: &Path, arguments: &[&str]) -> std::process::Output {
    ring_command(dir, arguments).output().expect("the program starts")
}

fn hash(payloads: &[Vec<u8>]) -> String {
    Sha256::digest(payloads.concat()).iter().map(|octet| format!("{octet:02x}")).collect()
}

fn payload(seed: u16) -> Vec<u8> {
    (0..40 + seed % 300).map(|octet| (octet ^ seed) as u8).collect()
}

// REQ: FEP-CTL-007
#[test]
fn a_consumer_of_frames_reports_what_was_published() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = ring(dir.path(), "npp.frames");
    let frames = [
        frame(16, 10, FrameFlags::empty()),
        frame(16, 11, FrameFlags::CORRECTED),
        frame(0, 0, FrameFlags::UNCORRECTABLE),
        frame(16, 15, FrameFlags::GAP),
        frame(63, 0, FrameFlags::IDLE),
        FrameRecord { reason: BadReason::UnknownVc, ..frame(9, 0, FrameFlags::empty()) },
    ];
    for record in &frames {
        publish(&mut producer, KIND_FRAME, record.to_words(), &[0x5a; 892]);
    }
    let report = json(&ring_run(dir.path(), &["follow", "npp.frames", "--until-idle", "200", "--json"]));
    let want = json!({
        "frames": {"received": 6, "good": 4, "corrected": 1, "uncorrectable": 1, "idle": 1},
        "symbols_corrected": 4,
        "vcs": {"157/16": {"frames": 3, "gaps": 1, "lost": 3}, "157/63": {"frames": 1, "gaps": 0, "lost": 0}},
        "apids": {},
        "refused": {
            "frames": 1, "reasons": {"unknown_vc": 1}, "other_channels": 0,
            "channels": {"157/9": {"frames": 1, "reason": "unknown_vc"}},
        },
        "ledger": {"published": 6, "consumed": 6, "lost_records": 0, "lost_bytes": 0},
        "restarts": 0,
    });
    assert_eq!(report, want);
}

// REQ: FEP-CTL-007
#[test]
fn a_consumer_of_packets_hashes_each_apid_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = ring(dir.path(), "npp.packets");
    let mut by_apid = [Vec::new(), Vec::new()];
    for count in 0..300u16 {
        let which = usize::from(count % 3 == 0);
        let bytes = payload(count);
        publish(&mut producer, KIND_PACKET, packet([800, 2047][which], count).to_words(), &bytes);
        by_apid[which].push(bytes);
    }
    let report = json(&ring_run(dir.path(), &["follow", "npp.packets", "--count", "300", "--json"]));
    for (apid, payloads) in ["157/16/800", "157/16/2047"].into_iter().zip(&by_apid) {
        let counts = &report["apids"][apid];
        assert_eq!(counts["packets"], payloads.len(), "{report}");
        assert_eq!(counts["bytes"], payloads.iter().map(Vec::len).sum::<usize>());
        assert_eq!(counts["sha256"], hash(payloads));
    }
    assert_eq!(report["ledger"]["consumed"], 300);
}

// REQ: FEP-CTL-007
#[test]
fn a_consumer_that_was_lapped_accounts_for_every_record_it_missed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = ring(dir.path(), "npp.packets");
    publish(&mut producer, KIND_PACKET, packet(1, 0).to_words(), &payload(0));
    let first =
        json(&ring_run(dir.path(), &["follow", "npp.packets", "--name", "slow", "--count", "1", "--json"]));
    assert_eq!(first["ledger"]["consumed"], 1);
    // The ring holds 1024 records: most of these are overwritten before anybody looks.
    let mut octets = payload(0).len();
    for count in 1..=5000u16 {
        octets += payload(count).len();
        publish(&mut producer, KIND_PACKET, packet(1, count).to_words(), &payload(count));
    }
    producer.housekeep(fep_time::Monotonic::now());
    let report = json(&ring_run(
        dir.path(),
        &["follow", "npp.packets", "--name", "slow", "--until-idle", "200", "--json"],
    ));
    let number = |key: &str| report["ledger"][key].as_u64().expect("a count");
    assert_eq!(number("published"), 5001, "{report}");
    assert_eq!(number("published"), number("consumed") + number("lost_records"), "{report}");
    assert!(number("lost_records") > 3900 && number("consumed") > 500, "{report}");
    let seen = report["apids"]["157/16/1"]["bytes"].as_u64().expect("octets") + payload(0).len() as u64;
    assert_eq!(seen + number("lost_bytes"), octets as u64, "{report}");
}

fn spawn_follow(dir: &Path, more: &[&str]) -> Child {
    let mut command = ring_command(dir, &["follow", "npp.packets", "--json"]);
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

// REQ: FEP-CTL-008
#[test]
fn a_consumer_waits_for_its_ring_and_survives_a_restart_of_the_producer() {
    let dir = tempfile::tempdir().expect("a directory");
    let child = spawn_follow(dir.path(), &["--count", "20", "--wait-ms", "60000"]);
    let mut payloads = Vec::new();
    for life in 0..2u16 {
        let mut producer = ring(dir.path(), "npp.packets");
        for count in 10 * life..10 * life + 10 {
            publish(&mut producer, KIND_PACKET, packet(5, count).to_words(), &payload(count));
            payloads.push(payload(count));
        }
        producer.housekeep(fep_time::Monotonic::now());
    }
    let report = json(&child.wait_with_output().expect("it ends by itself"));
    assert_eq!(report["apids"]["157/16/5"]["sha256"], hash(&payloads), "{report}");
    assert_eq!(report["apids"]["157/16/5"]["gaps"], 0);
    assert_eq!(
        report["ledger"],
        json!({"published": 20, "consumed": 20, "lost_records": 0, "lost_bytes": 0})
    );
}

// REQ: FEP-CTL-008
#[test]
fn a_consumer_started_again_under_its_name_goes_on_at_its_cursor() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = ring(dir.path(), "npp.packets");
    for count in 0..100u16 {
        publish(&mut producer, KIND_PACKET, packet(5, count).to_words(), &payload(count));
    }
    let follow = |more: &[&str]| {
        let mut arguments = vec!["follow", "npp.packets", "--json", "--name", "check"];
        arguments.extend(more);
        json(&ring_run(dir.path(), &arguments))
    };
    assert_eq!(follow(&["--count", "30"])["apids"]["157/16/5"]["packets"], 30);
    let rest = follow(&["--until-idle", "100"]);
    assert_eq!(rest["apids"]["157/16/5"]["packets"], 70, "{rest}");
    assert_eq!(rest["ledger"]["consumed"], 100, "the ledger is the name's, not the process's");
    assert_eq!(follow(&["--fresh", "--until-idle", "100"])["apids"]["157/16/5"]["packets"], 100);
}

// REQ: FEP-CTL-013
#[test]
fn records_are_shown_decoded_and_filtered() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut frames = ring(dir.path(), "npp.frames");
    publish(
        &mut frames,
        KIND_FRAME,
        frame(16, 77, FrameFlags::CORRECTED | FrameFlags::GAP).to_words(),
        &[1; 892],
    );
    publish(&mut frames, KIND_FRAME, frame(63, 1, FrameFlags::IDLE).to_words(), &[2; 892]);
    publish(&mut frames, KIND_FRAME, frame(0, 0, FrameFlags::UNCORRECTABLE).to_words(), &[3; 892]);
    publish(&mut frames, 999, (0, [0; 2]), b"from the future");
    let tail = |ring: &str, more: &[&str]| {
        let mut arguments = vec!["tail", ring, "--oldest", "--until-idle", "100"];
        arguments.extend(more);
        let output = ring_run(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let all = tail("npp.frames", &[]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 4, "{all}");
    for word in
        ["2017-01-01T00:00:00.000000Z", "157/16", "count 77", "892 B", "corrected", "gap", "4 symbols"]
    {
        assert!(lines[0].contains(word), "{word:?} is not in {}", lines[0]);
    }
    assert!(lines[2].contains("BAD uncorrectable"), "{}", lines[2]);
    assert!(lines[3].contains("kind 999 of another version"), "{}", lines[3]);
    assert_eq!(tail("npp.frames", &["--vcid", "63"]).lines().count(), 1);
    assert_eq!(tail("npp.frames", &["--bad"]).lines().count(), 1);
    assert_eq!(tail("npp.frames", &["--kind", "packet"]), "");
    assert_eq!(tail("npp.frames", &["--count", "2"]).lines().count(), 2);
    let object: Value =
        serde_json::from_str(&tail("npp.frames", &["--json", "--count", "1", "--hex", "3"])).expect("JSON");
    assert_eq!(
        (&object["vcid"], &object["frame_count"], &object["flags"], &object["hex"]),
        (&json!(16), &json!(77), &json!(["corrected", "gap"]), &json!("010101"))
    );

    let mut events = ring(dir.path(), "events");
    let event = EventRecord { code: 5, severity: 2, link_id: 7, ..EventRecord::default() };
    publish(&mut events, KIND_EVENT, event.to_words(), br#"{"event":"gap","vc":"157/16","lost":3}"#);
    let text = tail("events", &[]);
    assert!(text.contains("WARNING") && text.contains("gap lost=3 vc=157/16"), "{text}");

    let listed = json(&ring_run(dir.path(), &["list", "--json"]));
    let names: Vec<&Value> = listed.as_array().expect("a list").iter().map(|ring| &ring["name"]).collect();
    assert_eq!(names, [&json!("events"), &json!("npp.frames")]);
    assert!(
        listed.as_array().expect("a list").iter().all(|ring| ring["consumers"] == json!([])),
        "passing readers leave no cursor: {listed}"
    );
    assert!(stdout(&ring_run(dir.path(), &["list"])).contains("npp.frames"));
}

// REQ: FEP-CTL-013
#[test]
fn payloads_are_dumped_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = ring(dir.path(), "npp.packets");
    for count in 0..50u16 {
        publish(&mut producer, KIND_PACKET, packet(500 + count % 2, count).to_words(), &payload(count));
    }
    let out = dir.path().join("out.bin");
    let name = out.to_str().expect("UTF-8");
    let output =
        ring_run(dir.path(), &["dump", "npp.packets", "--apid", "501", "--until-idle", "100", "--out", name]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let want: Vec<u8> = (0..50u16).filter(|count| count % 2 == 1).flat_map(payload).collect();
    assert_eq!(std::fs::read(&out).expect("the file"), want);
    let output = ring_run(dir.path(), &["dump", "npp.packets", "--count", "1", "--out", "-"]);
    assert_eq!(output.stdout, payload(0));
}

// REQ: FEP-CTL-005
#[test]
fn rings_and_names_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    refuses(&ring_run(dir.path(), &["list"]), 1, &["there is no ring", "fepctl up"]);
    refuses(&ring_run(dir.path(), &["tail", "nosuch"]), 1, &["nosuch", "ring list"]);
    refuses(&ring_run(dir.path(), &["follow", "nosuch", "--wait-ms", "50"]), 1, &["nosuch"]);
    let producer = ring(dir.path(), "npp.packets");
    refuses(&ring_run(dir.path(), &["follow", "npp.packets", "--name", "../x"]), 1, &["../x"]);
    // Cutting a file short that somebody has mapped would kill him: only fepd owns it, and here it has gone.
    drop(producer);
    std::fs::write(dir.path().join("black/npp.packets/ring"), b"no ring at all").expect("writable");
    refuses(&ring_run(dir.path(), &["tail", "npp.packets"]), 1, &["npp.packets"]);
    assert!(stdout(&ring_run(dir.path(), &["list"])).contains("unusable"));
}

// REQ: FEP-CTL-012
#[test]
fn metrics_of_a_dead_daemon_are_read_from_its_pages() {
    let dir = tempfile::tempdir().expect("a directory");
    let metrics = |more: &[&str]| {
        let mut command = fepctl();
        command.arg("metrics").args(more).arg("--socket").arg(dir.path().join("control.sock"));
        command.arg("--run-dir").arg(dir.path()).output().expect("starts")
    };
    refuses(&metrics(&[]), 3, &["no metric page"]);
    // Where the daemon keeps them.
    let bus = dir.path().join("bus");
    std::fs::create_dir(&bus).expect("a directory");
    let mut set = MetricSet::new();
    let good = set.counter("chain.good");
    let lost = set.counter("vc.157.16.lost");
    let state = set.gauge("link.state");
    let latency = set.histogram("latency.published_ns");
    let mut page = MetricPage::create(&bus, "npp", &set, &Access::default()).expect("a page");
    page.add(good, 1234);
    page.add(lost, 5);
    page.set(state, 2);
    page.record(latency, 5_000);
    page.record(latency, 2_000_000);
    drop(page);
    let output = metrics(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("last figures"), "{}", stderr(&output));
    let text = stdout(&output);
    for line in [
        "# TYPE fep_chain_good_total counter\nfep_chain_good_total{link=\"npp\"} 1234\n",
        "fep_vc_lost_total{link=\"npp\",vc=\"157/16\"} 5\n",
        "fep_link_state{link=\"npp\"} 2\n",
        "fep_latency_seconds_bucket{link=\"npp\",stage=\"published\",le=\"0.000008191\"} 1\n",
        "fep_latency_seconds_count{link=\"npp\",stage=\"published\"} 2\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in: {text}");
    }
}
