//! Red (deciphered) rings through the real recorder and the real archive: in a tree of their own that only their owner reads,
//! never among the black, and given out only by a service that is there for it.

use fep_time::Tai;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fep_bus::{Colour, Producer, RingSpec, Tag};
use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, FrameRecord, KIND_FRAME, Session};
use fep_segments::{Stream, streams};
use fep_tests::{Archive, Recorded, Recorder, RunDirectory, disk_directory, wait_until};
use serde_json::Value;

const FRAMES: u64 = 2000;
/// What red frames are filled with, and nothing black is.
const RED: u8 = 0xD5;
const BLACK: u8 = 0x1A;

fn publish(rings: &Path, name: &str, colour: Colour, fill: u8) {
    let spec = RingSpec { colour, prefault: false, ..RingSpec::new(name, "ccsds.frame.v1") };
    let mut producer = Producer::create_or_attach(rings, &spec).expect("a ring");
    for number in 0..FRAMES {
        let record = FrameRecord {
            gvcid: Gvcid { tfvn: 0, scid: 673, vcid: 1 },
            frame_count: number as u32,
            flags: FrameFlags::CODED,
            link_id: u16::from(fill),
            session: Session::Ops,
            ..FrameRecord::default()
        };
        let now = fep_time::tai_now().0;
        let (flags, words) = record.to_words();
        let tag = Tag { kind: KIND_FRAME, flags, received: Tai(now), published: Tai(now), words };
        producer.publish(tag, &[fill; 1115]).expect("it takes everything");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

fn holds(path: &Path, fill: u8) -> bool {
    std::fs::read(path)
        .expect("it can be read")
        .windows(64)
        .any(|octets| octets.iter().all(|octet| *octet == fill))
}

// REQ: FEP-REC-014
// REQ: FEP-SYS-022
#[test]
fn red_data_lies_in_a_tree_of_its_own_and_comes_out_only_where_it_is_meant_to() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (segments, rings) = (disk.path().join("segments"), directory.rings());
    // The same name in both colours is not the same ring.
    publish(&rings, "dual.frames", Colour::Black, BLACK);
    publish(&rings, "dual.frames", Colour::Red, RED);
    publish(&rings, "secret.frames", Colour::Red, RED);
    let settings =
        Recorder::configure(directory.path(), &rings, &segments, "segment_mib = 1\nblock_kib = 64\n");
    let recorder = Recorder::start(&settings, &rings);
    wait_until("everything is on disk", || match recorder.figure("records")? {
        records if records == 3 * FRAMES => Ok(()),
        records => Err(records.to_string()),
    });
    assert!(recorder.stop().success());
    let [black, red, secret] = [
        Stream::new(Colour::Black, "dual.frames"),
        Stream::new(Colour::Red, "dual.frames"),
        Stream::new(Colour::Red, "secret.frames"),
    ];
    let found: BTreeSet<Stream> = streams(&segments).expect("it can be listed").into_iter().collect();
    assert_eq!(found, BTreeSet::from([black.clone(), red.clone(), secret.clone()]));
    for stream in [&black, &red, &secret] {
        Recorded::read(&segments, stream).assert_accounts_for(1..=FRAMES);
    }
    assert!(
        files(&segments.join("black")).iter().all(|file| !holds(file, RED)),
        "red octets among the black"
    );
    assert!(files(&segments.join("red")).iter().any(|file| holds(file, RED)), "else this proves nothing");
    // Whatever umask and modes are: nobody but the owner gets past these.
    for closed in [segments.join("red"), red.directory(&segments), secret.directory(&segments)] {
        assert_eq!(mode(&closed), 0o700, "{}", closed.display());
    }
    assert_eq!(mode(&black.directory(&segments)) & 0o007, 0, "and black is not for everybody either");

    let usual = Archive::start(disk.path().join("usual"), &segments, &rings, "");
    let cleared = Archive::start(disk.path().join("cleared"), &segments, &rings, "serve_red = true\n");
    let sealed = [&black, &red, &secret]
        .map(|stream| fep_segments::list(&segments, stream).expect("it can be listed").len());
    for archive in [&usual, &cleared] {
        archive.has_taken_in(sealed.iter().sum());
        let units = archive.retrieve("frames", "frames", &[]);
        assert_eq!(units, vec![BLACK; FRAMES as usize * 1115], "who asks for nothing gets black");
    }
    let refused = usual.try_retrieve("frames", "frames", &["--colour", "red"]).expect_err("it is refused");
    assert!(refused.contains("does not give out red data"), "{refused}");
    let units = cleared.retrieve("frames", "frames", &["--colour", "red", "--ring", "dual.frames"]);
    assert_eq!(units, vec![RED; FRAMES as usize * 1115], "who is cleared gets red, and nothing else with it");
    let rows = cleared.retrieve("frames", "jsonl", &["--colour", "red", "--every-copy"]);
    let rows: Vec<Value> = std::str::from_utf8(&rows)
        .expect("JSON lines")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len() as u64, 2 * FRAMES);
    assert!(rows.iter().all(|row| row["colour"] == "red"));
    // The index holds no octets of frames, so it may know of both; it keeps them apart by name.
    for file in cleared.index().keys() {
        let name = file.to_string_lossy();
        assert!(name.contains("red") != name.contains("black"), "{name}");
    }
    assert!(usual.stop().success() && cleared.stop().success());
}
