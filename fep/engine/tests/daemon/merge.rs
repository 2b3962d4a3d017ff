//! Several links of one spacecraft: every frame that either has, once and in order, through kills and panics.

use std::io::Write;

use fep_control::api::{Ledgers, LinkStatus, SpacecraftStatus};

use crate::downlink::{CHANNEL, attach, downlink, read, read_present, write_config};
use crate::process::{Fepd, Station, config, run_dir, wait_for};

/// Two links and the spacecraft that merges them. The wait is long because a test machine may be: where both antennas have
/// passed a gap nobody waits.
fn two_antennas(north: &Station, south: &Station) -> String {
    config(&[("north", CHANNEL, north.port()), ("south", CHANNEL, south.port())])
        + "[spacecraft.leo]\nlinks = [\"north\", \"south\"]\nwait_us = 5000000\n"
}

fn craft(fepd: &Fepd) -> SpacecraftStatus {
    fepd.get("/spacecraft/leo")
}

fn received(fepd: &Fepd, link: &str) -> u64 {
    fepd.get::<LinkStatus>(&format!("/links/{link}")).ledger.counts.received
}

/// What the antennas miss.
fn north_has(count: &u32) -> bool {
    !count.is_multiple_of(7) || *count == 0
}

fn south_has(count: &u32) -> bool {
    !count.is_multiple_of(11) || *count == 0
}

fn counts(records: &[(fep_bus::Record, Vec<u8>)]) -> Vec<u32> {
    records
        .iter()
        .map(|(record, _)| {
            fep_record::FrameRecord::from_words(record.tag.flags, record.tag.words)
                .expect("a frame")
                .frame_count
        })
        .collect()
}

fn expected(counts: std::ops::Range<u32>) -> Vec<u32> {
    counts.filter(|count| north_has(count) || south_has(count)).collect()
}

/// Whether two lists are the same; says where they part instead of printing both.
fn assert_same(found: &[u32], wanted: &[u32]) {
    let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let at = at.unwrap_or(found.len().min(wanted.len()));
    let around = |list: &[u32]| list[at.saturating_sub(3).min(list.len())..(at + 8).min(list.len())].to_vec();
    assert!(
        found == wanted,
        "{} found, {} wanted; they part at {at}: {:?} is not {:?}",
        found.len(),
        wanted.len(),
        around(found),
        around(wanted)
    );
}

// REQ: FEP-ENG-106
#[test]
fn frames_that_either_antenna_has_are_published_once_and_in_order_and_the_ledgers_balance() {
    let dir = run_dir();
    let (north, south) = (Station::new(), Station::new());
    let file = write_config(dir.path(), &two_antennas(&north, &south));
    let fepd = Fepd::start(dir.path(), &file);
    let (mut to_north, mut to_south) = (north.accept(), south.accept());
    for round in 0..8 {
        let range = 100 * round..100 * (round + 1);
        to_north.write_all(&downlink(range.clone().filter(north_has)).0).expect("sent");
        to_south.write_all(&downlink(range.filter(south_has)).0).expect("sent");
    }
    let wanted = expected(0..800);
    let mut consumer = attach(dir.path(), "leo.frames");
    let records = read(&mut consumer, wanted.len());
    assert_same(&counts(&records), &wanted);
    let (_, frames) = downlink(wanted.iter().copied());
    assert!(records.iter().zip(&frames).all(|((_, octets), frame)| octets == frame));
    let own = counts(&read(&mut attach(dir.path(), "north.frames"), (0..800).filter(north_has).count()));
    // Each link's own frames are on its ring.
    assert_same(&own, &(0..800).filter(north_has).collect::<Vec<_>>());
    let status = wait_for("the counters", || {
        Some(craft(&fepd))
            .filter(|craft| craft.antennas.iter().all(|a| a.counts.pending == 0 && a.counts.received > 680))
    });
    assert_eq!(status.ledger.counts.lost, 800 - wanted.len() as u64);
    assert!(status.antennas.iter().all(|antenna| antenna.is_balanced() && antenna.lost_on_bus == 0));
    let served: u64 = status.antennas.iter().map(|antenna| antenna.counts.served).sum();
    assert_eq!(served, wanted.len() as u64, "{status:?}");
    assert!(fepd.get::<Ledgers>("/ledgers").balanced);
    let names: Vec<String> =
        fepd.get::<Vec<fep_control::api::RingStatus>>("/rings").into_iter().map(|ring| ring.name).collect();
    assert!(
        names.contains(&"leo.packets".to_owned()) && !names.contains(&"north.packets".to_owned()),
        "{names:?}"
    );
    let (_, text) = fepd.request("GET", "/metrics").expect("an answer");
    assert!(text.contains("fep_antenna_served_total{spacecraft=\"leo\",antenna=\"north\"}"), "{text}");
    for gauge in ["antenna_pending", "antenna_heard", "antenna_waited_for", "sync_bits_held"] {
        assert!(text.contains(&format!("\n# TYPE fep_{gauge} gauge\n")), "{gauge} is no gauge in\n{text}");
    }
    assert!(!text.contains("reason=\"none\""), "a frame is bad for a reason");
    fepd.stop();
}

// REQ: FEP-ENG-106
#[test]
fn a_kill_a_panic_and_a_stop_of_the_merge_lose_nothing_and_serve_nothing_twice() {
    let dir = run_dir();
    let (north, south) = (Station::new(), Station::new());
    let file = write_config(dir.path(), &two_antennas(&north, &south));
    let mut fepd = Fepd::start(dir.path(), &file);
    let (mut to_north, mut to_south) = (north.accept(), south.accept());
    // What each link was sent in its present life.
    let mut sent = (0, 0);
    let mut panics = 0;
    for round in 0..6_u32 {
        // South is 50 frames behind: whatever happens, happens while frames of north wait for those of south.
        let ahead = 200 * round..200 * (round + 1);
        let behind = (200 * round).saturating_sub(50)..200 * (round + 1) - 50;
        to_north.write_all(&downlink(ahead.clone().filter(north_has)).0).expect("sent");
        to_south.write_all(&downlink(behind.clone().filter(south_has)).0).expect("sent");
        sent.0 += ahead.filter(north_has).count() as u64;
        sent.1 += behind.filter(south_has).count() as u64;
        wait_for("everything", || {
            ((received(&fepd, "north"), received(&fepd, "south")) == sent).then_some(())
        });
        if round % 3 == 2 {
            // Its links go on.
            for verb in ["disable", "enable"] {
                let (status, body) =
                    fepd.request("POST", &format!("/spacecraft/leo/{verb}")).expect("an answer");
                assert_eq!(status, 200, "{body}");
            }
        } else if round % 3 == 0 {
            fepd.kill();
            fepd = Fepd::start(dir.path(), &file);
            (to_north, to_south) = (north.accept(), south.accept());
            (sent, panics) = ((0, 0), 0);
        } else {
            assert_eq!(fepd.request("POST", "/test/panic/leo").expect("an answer").0, 200);
            panics += 1;
            wait_for("the next life", || (craft(&fepd).restarts == panics).then_some(()));
        }
    }
    to_south.write_all(&downlink((1150..1200).filter(south_has)).0).expect("sent");
    let mut consumer = attach(dir.path(), "leo.frames");
    let wanted = expected(0..1200);
    let mut found = counts(&read(&mut consumer, wanted.len()));
    fepd.stop();
    found.extend(counts(&read_present(&mut consumer)));
    assert_same(&found, &wanted);
}

// REQ: FEP-ENG-107
#[test]
fn what_is_overwritten_before_the_merge_reads_it_is_counted_and_reported() {
    let dir = run_dir();
    let (north, south) = (Station::new(), Station::new());
    let text = two_antennas(&north, &south).replace("frames_desc_log2 = 13", "frames_desc_log2 = 6");
    let file = write_config(dir.path(), &text);
    let fepd = Fepd::start(dir.path(), &file);
    let (mut to_north, _to_south) = (north.accept(), south.accept());
    to_north.write_all(&downlink(0..10).0).expect("sent");
    wait_for("the first frames", || (craft(&fepd).antennas[0].counts.received == 10).then_some(()));
    assert_eq!(fepd.request("POST", "/spacecraft/leo/disable").expect("an answer").0, 200);
    to_north.write_all(&downlink(10..1000).0).expect("sent");
    wait_for("the other frames", || (received(&fepd, "north") == 1000).then_some(()));
    assert_eq!(fepd.request("POST", "/spacecraft/leo/enable").expect("an answer").0, 200);
    let antenna = wait_for("the account", || {
        let antenna = craft(&fepd).antennas[0].clone();
        (antenna.counts.received + antenna.lost_on_bus >= 1000).then_some(antenna)
    });
    // The first ten were held when it was disabled, for the other antenna: they would have been read again.
    assert_eq!(antenna.counts.received + antenna.lost_on_bus, 1000, "published = read + lost: {antenna:?}");
    assert!(antenna.lost_on_bus > 900 && antenna.is_balanced(), "{antenna:?}");
    let lapped = wait_for("the event", || {
        crate::downlink::events(dir.path()).into_iter().find(|event| event["event"] == "antenna_lapped")
    });
    assert_eq!((lapped["antenna"].as_str(), lapped["spacecraft"].as_str()), (Some("north"), Some("leo")));
    assert_eq!(lapped["records"].as_u64(), Some(antenna.lost_on_bus));
    fepd.stop();
}

// REQ: FEP-ENG-106
#[test]
fn a_merge_that_is_stopped_over_a_backlog_of_silent_antennas_gives_up_nothing_that_is_on_their_rings() {
    let dir = run_dir();
    let (north, south) = (Station::new(), Station::new());
    let file = write_config(dir.path(), &two_antennas(&north, &south));
    let fepd = Fepd::start(dir.path(), &file);
    let request = |act: &str| {
        let (status, body) = fepd.request("POST", &format!("/spacecraft/leo/{act}")).expect("an answer");
        assert_eq!(status, 200, "{act}: {body}");
    };
    // In its first life it makes its cursors.
    let (mut to_north, mut to_south) = (north.accept(), south.accept());
    let begin = downlink(0..10).0;
    to_north.write_all(&begin).expect("sent");
    to_south.write_all(&begin).expect("sent");
    wait_for("both antennas", || craft(&fepd).antennas.iter().all(|a| a.counts.received == 10).then_some(()));
    request("disable");
    // North misses two of three, so that its records reach far ahead of the same number of south's.
    let north_has = |count: &u32| count.is_multiple_of(3);
    to_north.write_all(&downlink((10..3000).filter(north_has)).0).expect("sent");
    to_south.write_all(&downlink(10..3000).0).expect("sent");
    let links = || (received(&fepd, "north"), received(&fepd, "south"));
    let wanted = (10 + (10..3000).filter(north_has).count() as u64, 3000);
    wait_for("the links", || (links() == wanted).then_some(()));
    drop((to_north, to_south, north, south));
    wait_for("silence", || {
        let down = |link: &str| fepd.get::<LinkStatus>(&format!("/links/{link}")).state != "connected";
        (down("north") && down("south")).then_some(())
    });
    for pause_us in (0..3000).step_by(100) {
        request("enable");
        std::thread::sleep(std::time::Duration::from_micros(pause_us));
        request("disable");
        wait_for("its end", || (craft(&fepd).state == "disabled").then_some(()));
    }
    request("enable");
    let mut consumer = attach(dir.path(), "leo.frames");
    assert_same(&counts(&read(&mut consumer, 3000)), &(0..3000).collect::<Vec<_>>());
    let leo = wait_for("the end of the backlog", || {
        Some(craft(&fepd)).filter(|leo| leo.antennas.iter().all(|antenna| !antenna.waited_for))
    });
    assert!(
        leo.antennas.iter().all(|antenna| antenna.counts.late == 0 && antenna.counts.pending == 0),
        "{leo:?}"
    );
    assert_eq!(leo.ledger.counts.lost, 0);
    fepd.stop();
}

// REQ: FEP-ENG-106
#[test]
fn frames_that_lie_on_the_rings_after_a_standstill_have_not_been_waited_for_in_vain() {
    let dir = run_dir();
    let (north, south) = (Station::new(), Station::new());
    let config = two_antennas(&north, &south).replace("wait_us = 5000000", "wait_us = 2000000");
    let file = write_config(dir.path(), &config);
    let fepd = Fepd::start(dir.path(), &file);
    let (mut to_north, mut to_south) = (north.accept(), south.accept());
    let begin = downlink(0..10).0;
    to_north.write_all(&begin).expect("sent");
    to_south.write_all(&begin).expect("sent");
    wait_for("both antennas", || craft(&fepd).antennas.iter().all(|a| a.counts.received == 10).then_some(()));
    // North has a gap, and its frames behind it wait for south's when everything stands still for longer than the wait.
    to_north.write_all(&downlink((10..100).filter(|count| *count != 50)).0).expect("sent");
    wait_for("frames that wait", || (craft(&fepd).antennas[0].counts.pending == 49).then_some(()));
    fepd.freeze();
    to_south.write_all(&downlink(10..100).0).expect("sent");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    fepd.thaw();
    let mut consumer = attach(dir.path(), "leo.frames");
    assert_same(&counts(&read(&mut consumer, 100)), &(0..100).collect::<Vec<_>>());
    fepd.stop();
}

// REQ: FEP-ENG-106
#[test]
fn a_pass_that_is_played_once_more_after_an_orderly_end_is_served_once_more() {
    let dir = run_dir();
    for round in 1..=2 {
        let (north, south) = (Station::new(), Station::new());
        let file = write_config(dir.path(), &two_antennas(&north, &south));
        let fepd = Fepd::start(dir.path(), &file);
        let (mut to_north, mut to_south) = (north.accept(), south.accept());
        to_north.write_all(&downlink((0..500).filter(north_has)).0).expect("sent");
        to_south.write_all(&downlink((0..500).filter(south_has)).0).expect("sent");
        wait_for("everything", || {
            let wanted =
                ((0..500).filter(north_has).count() as u64, (0..500).filter(south_has).count() as u64);
            ((received(&fepd, "north"), received(&fepd, "south")) == wanted).then_some(())
        });
        drop((to_north, to_south));
        wait_for("the end of the pass", || {
            craft(&fepd).antennas.iter().all(|antenna| !antenna.waited_for).then_some(())
        });
        let mut consumer = attach(dir.path(), "leo.frames");
        let wanted: Vec<u32> = (0..round).flat_map(|_| expected(0..500)).collect();
        assert_same(&counts(&read(&mut consumer, wanted.len())), &wanted);
        fepd.stop();
    }
}
