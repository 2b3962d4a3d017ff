//! The real archive service killed at random moments while two antennas receive the same spacecraft: at the end every record
//! that reached a ring is in it once, every frame of the merged view once, and it is to the octet what an archive holds that
//! was left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fep_bus::Colour;
use fep_segments::{SegmentState, Stream, list};
use fep_sim::{FrameOracle, Station, Unconnected, frame_hash};
use fep_tests::journal::{self, Line};
use fep_tests::{
    Archive, Daemon, Follower, Moments, Recorder, RunDirectory, cso_2, disk_directory, downlink, kill_rounds,
    tcp_link, wait_until,
};
use serde_json::Value;

/// About 800 frames a second from each antenna: a segment of one mebibyte every second.
const RATE_BPS: u64 = 8_000_000;
/// Frames of the downlink for each round of kills: it lasts about as long as the kills.
const FRAMES_A_ROUND: u64 = 200;
/// Lives of the archive: shorter than its start takes, and long enough to take in segments, by turns.
const LIFE_MS: Range<u64> = 20..300;
const LINKS: [&str; 2] = ["north", "south"];
/// Every record, or every unit that either antenna received.
const UNMERGED: [&str; 5] = ["--session", "test", "--quality", "any", "--every-copy"];
const MERGED: [&str; 4] = ["--session", "test", "--quality", "any"];

/// A row of an answer: ring, sequence number, octets.
fn rows(lines: &[u8]) -> Vec<(String, u64, usize)> {
    let text = std::str::from_utf8(lines).expect("JSON lines");
    text.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {line}"));
            (row["ring"].as_str().expect("a ring").to_owned(), number("seq"), number("len") as usize)
        })
        .collect()
}

// REQ: FEP-SYS-021
// REQ: FEP-ARC-059
#[test]
fn the_archive_killed_at_any_moment_ends_with_every_record_once_as_if_it_had_been_left_alone() {
    let rounds = kill_rounds();
    let mut moments = Moments::from_environment();
    let frames = rounds * FRAMES_A_ROUND;
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (segments, rings) = (disk.path().join("segments"), directory.rings());
    let mut spec = cso_2(Some(RATE_BPS), Unconnected::Hold);
    spec.channel = fep_sim::ChannelSpec::default();
    downlink(&mut spec).frames = Some(frames);
    let spacecraft = downlink(&mut spec).spacecraft.clone();
    let antennas = LINKS.map(|_| Station::start(&spec).expect("it starts"));
    let links = LINKS
        .iter()
        .zip(&antennas)
        .map(|(link, antenna)| tcp_link(link, "cso/cso-2", antenna.address().expect("it listens")));
    let config = directory.configure(&links.collect::<String>());
    let settings =
        Recorder::configure(directory.path(), &rings, &segments, "segment_mib = 1\nblock_kib = 64\n");
    let text = std::fs::read_to_string(&settings).expect("it was written");
    std::fs::write(&settings, text.replace("[\"*.frames\"]", "[\"*.frames\", \"*.packets\"]"))
        .expect("writable");
    // The recorder first: it is to see every record from the first on.
    let recorder = Recorder::start(&settings, &rings);
    let witnesses =
        LINKS.map(|link| Follower::start(&rings, &format!("{link}.frames"), "witness", directory.path()));
    let mut killed = Archive::start(disk.path().join("killed"), &segments, &rings, "");
    let daemon = Daemon::start(&directory, &config);

    let (mut lives_that_got_on, mut indexed) = (0, 0);
    for _ in 0..rounds {
        moments.sleep_ms(LIFE_MS);
        killed.kill();
        let now = killed.index().len();
        lives_that_got_on += u64::from(now > indexed);
        indexed = now;
        killed.restart();
    }
    println!("killed {rounds} times; {lives_that_got_on} lives stored {indexed} index files");
    assert!(
        lives_that_got_on > rounds / 20,
        "{lives_that_got_on}: these kills were in the middle of nothing"
    );
    for antenna in antennas {
        let (report, _) = antenna.join();
        assert_eq!(report.cadus_sent, frames);
    }
    let published = LINKS.map(|link| {
        wait_until("every frame is received and on disk", || {
            let counts = daemon.link(link)?.ledger.counts;
            let (lag_frames, lag_packets) = (
                recorder.figure(&format!("black/{link}.frames.lag"))?,
                recorder.figure(&format!("black/{link}.packets.lag"))?,
            );
            if counts.received == frames && lag_frames == 0 && lag_packets == 0 {
                Ok(counts)
            } else {
                Err(format!("{counts:?}, lag {lag_frames} and {lag_packets}"))
            }
        })
    });
    assert_eq!(recorder.figure("lost_records"), Ok(0));
    assert!(daemon.stop().success());
    assert!(recorder.stop().success());
    let sealed: usize = LINKS
        .iter()
        .flat_map(|link| {
            ["frames", "packets"].map(|unit| Stream::new(Colour::Black, format!("{link}.{unit}")))
        })
        .map(|stream| {
            let entries = list(&segments, &stream).expect("it can be listed");
            assert!(entries.iter().all(|entry| entry.state == SegmentState::Sealed), "{entries:?}");
            entries.len()
        })
        .sum();
    killed.has_taken_in(sealed);

    // Every record of every ring once, octet for octet as the consumers of the rings saw it.
    let (rows_of_all, octets) = (
        rows(&killed.retrieve("frames", "jsonl", &UNMERGED)),
        killed.retrieve("frames", "frames", &UNMERGED),
    );
    let mut seen: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for (link, witness) in LINKS.iter().zip(witnesses) {
        let (records, gaps) = journal::settle(&witness.finish());
        assert_eq!(gaps, [], "the test's own consumer kept up");
        seen.extend(records.iter().map(|line| match line {
            Line::Record { seq, hash, .. } => ((format!("{link}.frames"), *seq), *hash),
            Line::Gap { .. } => unreachable!("settled apart"),
        }));
    }
    let mut rest = &octets[..];
    for (ring, seq, len) in &rows_of_all {
        let (frame, behind) = rest.split_at(*len);
        rest = behind;
        let known = seen.remove(&(ring.clone(), *seq));
        assert_eq!(known, Some(frame_hash(frame)), "{ring} {seq}: there twice, or not as it was");
    }
    assert!(seen.is_empty() && rest.is_empty(), "{} records are not in the archive", seen.len());
    let packets = rows(&killed.retrieve("packets", "jsonl", &UNMERGED));
    let names: BTreeSet<_> = packets.iter().map(|(ring, seq, _)| (ring, seq)).collect();
    assert_eq!(packets.len(), names.len(), "no packet twice");
    assert_eq!(packets.len() as u64, published.iter().map(|counts| counts.packets).sum::<u64>());

    // Merged: every frame that was sent, once.
    let oracle = FrameOracle::new(spacecraft, spec.seed, frames).expect("valid");
    let (merged, octets) =
        (rows(&killed.retrieve("frames", "jsonl", &MERGED)), killed.retrieve("frames", "frames", &MERGED));
    let (mut rest, mut numbers) = (&octets[..], BTreeSet::new());
    for (ring, seq, len) in &merged {
        let (frame, behind) = rest.split_at(*len);
        rest = behind;
        let identity = oracle.identify(frame).unwrap_or_else(|| panic!("{ring} {seq}: never sent"));
        assert!(numbers.insert(identity.number), "frame {} twice", identity.number);
    }
    assert_eq!(numbers.len() as u64, frames);

    // The oracle for all that the catalogue derived: an archive that nobody killed.
    let undisturbed = Archive::start(disk.path().join("undisturbed"), &segments, &rings, "");
    undisturbed.has_taken_in(sealed);
    for path in ["/v1/segments", "/v1/channels", "/v1/contacts", "/v1/gaps"] {
        assert_eq!(killed.ask(path), undisturbed.ask(path), "{path}");
    }
    let (index, expected) = (killed.index(), undisturbed.index());
    assert_eq!(index.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, octets) in &index {
        assert!(*octets == expected[name], "{} differs", name.display());
    }
    assert!(killed.stop().success());
    assert!(undisturbed.stop().success());
}
