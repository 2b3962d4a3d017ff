//! Red virtual channels through the real daemon. That nothing of them lies among the black is a test of the whole system.

use std::io::Write;
use std::path::{Path, PathBuf};

use fep_mission::ChannelConfig;

use crate::downlink::{encoder, frame, write_config};
use crate::process::{Fepd, Station, config, run_dir, wait_for};

const FILL: u8 = 0xD5;

/// The mission of the other tests, with one of its virtual channels red.
fn red_mission(dir: &Path) -> PathBuf {
    let (_, text) = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "cso").expect("cso");
    let path = dir.join("secret.toml");
    let red = text.replace("id = 41\n", "id = 41\ncolour = \"red\"\n");
    assert_ne!(red, *text, "virtual channel 41 is in the file");
    std::fs::write(&path, red).expect("written");
    path
}

/// CADUs of one virtual channel with these counts.
fn frames_of(channel: &ChannelConfig, vcid: u8, counts: std::ops::Range<u32>) -> Vec<u8> {
    let (mut encoder, mut cadus) = (encoder(channel), Vec::new());
    for count in counts {
        encoder.encode(&frame(channel, vcid, count, FILL), &mut cadus);
    }
    cadus
}

// REQ: FEP-ENG-002
#[test]
fn a_kill_before_the_page_knew_the_last_frames_which_were_red_is_made_up_for_from_the_red_ring() {
    let dir = run_dir();
    let station = Station::new();
    let mission = red_mission(dir.path()).display().to_string();
    let text = config(&[("pay", "secret/cso-2-payload", station.port())])
        + &format!("[missions]\nsecret = {mission:?}\n");
    let file = write_config(dir.path(), &text);
    let channel =
        fep_mission::load(&mission).unwrap_or_else(|errors| panic!("{errors}")).channels["cso-2-payload"]
            .clone();
    let page = dir.path().join("bus/metrics/pay.counters");
    let received = |fepd: &Fepd, frames: u64| {
        wait_for("the counters", || {
            Some(fepd.get::<fep_control::api::LinkStatus>("/links/pay"))
                .filter(|link| link.ledger.counts.received == frames)
        })
    };
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    connection.write_all(&frames_of(&channel, 40, 0..20)).expect("sent");
    connection.write_all(&frames_of(&channel, 41, 0..20)).expect("sent");
    received(&fepd, 40);
    let known = std::fs::read(&page).expect("the page");
    connection.write_all(&frames_of(&channel, 41, 20..50)).expect("sent");
    received(&fepd, 70);
    fepd.kill();
    // As a kill leaves it that comes after the ring has a frame, and before the page has: here of thirty frames.
    std::fs::write(&page, known).expect("written");
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    // Three red frames and two black ones were lost while it was down.
    connection.write_all(&frames_of(&channel, 41, 53..60)).expect("sent");
    connection.write_all(&frames_of(&channel, 40, 22..30)).expect("sent");
    let link = received(&fepd, 15);
    let lost = |vc: &str| {
        let vc = link.vcs.iter().find(|one| one.gvcid == vc).expect("a virtual channel");
        (vc.ledger.gaps, vc.ledger.lost)
    };
    assert_eq!((lost("162/41"), lost("162/40")), ((1, 3), (1, 2)));
    assert_eq!(link.ledger.counts.resets + link.ledger.counts.duplicates, 0);
    fepd.stop();
}
