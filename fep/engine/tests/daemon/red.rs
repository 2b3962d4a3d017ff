//! Red virtual channels through the real daemon: no octet of red payload lies in a file that is not red.

use std::io::Write;
use std::path::{Path, PathBuf};

use fep_mission::ChannelConfig;

use crate::downlink::{attach, encoder, frame, read, write_config};
use crate::process::{Fepd, Station, config, run_dir, wait_for};

/// What red frames are filled with, and nothing black is.
const RED: u8 = 0xD5;
const BLACK: u8 = 0x1A;

/// The mission of the other tests, with one of its virtual channels red.
fn red_mission(dir: &Path) -> PathBuf {
    let (_, text) = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "cso").expect("cso");
    let path = dir.join("secret.toml");
    let red = text.replace("id = 41\n", "id = 41\ncolour = \"red\"\n");
    assert_ne!(red, *text, "virtual channel 41 is in the file");
    std::fs::write(&path, red).expect("written");
    path
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            match entry.file_type().expect("it has a type") {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Whether a file holds sixteen octets of red payload in a row, as they are or as they were before decoding.
fn holds_red(path: &Path, marks: &[Vec<u8>]) -> bool {
    let octets = std::fs::read(path).expect("it can be read");
    marks.iter().any(|mark| octets.windows(mark.len()).any(|window| window == mark))
}

/// Good frames, frames with a pointer that cannot be, frames that no code can put right: of both colours.
fn downlink(channel: &ChannelConfig, marks: &mut Vec<Vec<u8>>) -> (Vec<u8>, usize) {
    let mut encoder = encoder(channel);
    let mut cadus = Vec::new();
    let mut sent = 0;
    for count in 0..60 {
        for (vcid, fill) in [(40, BLACK), (41, RED)] {
            let mut octets = frame(channel, vcid, count, fill);
            if count % 5 == 1 {
                // A first header pointer behind the end of the zone.
                octets[6..8].copy_from_slice(&0x07F0_u16.to_be_bytes());
            }
            let start = cadus.len();
            encoder.encode(&octets, &mut cadus);
            if count % 5 == 2 {
                let block = cadus.len() - channel.block_len();
                // Enough for every codeword; what is left between is payload as it was sent.
                cadus[block + 200..].iter_mut().step_by(2).for_each(|octet| *octet ^= 0xFF);
            }
            if fill == RED {
                // As received: randomised, in the middle of the frame where nothing was damaged.
                marks.push(cadus[start + 60..start + 76].to_vec());
            }
            sent += 1;
        }
    }
    (cadus, sent)
}

/// CADUs of one virtual channel with these counts.
fn frames_of(channel: &ChannelConfig, vcid: u8, counts: std::ops::Range<u32>) -> Vec<u8> {
    let (mut encoder, mut cadus) = (encoder(channel), Vec::new());
    for count in counts {
        encoder.encode(&frame(channel, vcid, count, RED), &mut cadus);
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

// REQ: FEP-ENG-111
#[test]
fn no_octet_of_red_payload_lies_in_a_black_file_be_the_frame_good_bad_or_uncorrectable() {
    let dir = run_dir();
    let station = Station::new();
    let mission = red_mission(dir.path());
    let text = config(&[("pay", "secret/cso-2-payload", station.port())])
        + &format!("[missions]\nsecret = {:?}\n", mission.display().to_string());
    let file = write_config(dir.path(), &text);
    let channel = fep_mission::load(&mission.display().to_string())
        .unwrap_or_else(|errors| panic!("{errors}"))
        .channels["cso-2-payload"]
        .clone();
    let fepd = Fepd::start(dir.path(), &file);
    let mut connection = station.accept();
    let mut marks = vec![vec![RED; 16]];
    let (cadus, sent) = downlink(&channel, &mut marks);
    connection.write_all(&cadus).expect("sent");
    let status = wait_for("the counters", || {
        Some(fepd.get::<fep_control::api::LinkStatus>("/links/pay"))
            .filter(|link| link.ledger.counts.received as usize == sent)
    });
    assert!(status.ledger.counts.uncorrectable >= 20, "{}", status.ledger);
    assert!(status.ledger.is_balanced());
    let red = read(&mut attach(dir.path(), "pay.red.frames"), 70);
    assert!(red.iter().any(|(_, octets)| octets[20..36] == [RED; 16]), "else this proves nothing");
    let run_dir = dir.path();
    let (red_files, black_files): (Vec<_>, Vec<_>) =
        files(&run_dir.join("bus")).into_iter().partition(|path| path.starts_with(run_dir.join("bus/red")));
    assert!(red_files.iter().any(|path| holds_red(path, &marks)), "else this proves nothing");
    let leaks: Vec<_> = black_files.iter().filter(|path| holds_red(path, &marks)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    // Uncorrectable black frames of a link with a red channel cannot be told from red ones: they are red as well.
    let black = read(&mut attach(run_dir, "pay.frames"), 1);
    assert!(black.iter().all(|(_, octets)| !octets.windows(16).any(|w| w == [RED; 16])));
    fepd.stop();
}
