//! Red (deciphered) data through the real daemon, recorder and archive: in a tree of its own that only its owner reads, never
//! among the black, and served only by a service that is meant for it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fep_bus::{Colour, Producer, RingSpec, Tag};
use fep_ccsds::{AosHeader, Fhp, FrameParts, Gvcid, Header};
use fep_mission::ChannelConfig;
use fep_record::{FrameFlags, FrameRecord, KIND_FRAME, Session};
use fep_segments::{Stream, streams};
use fep_sim::Encoder;
use fep_tests::{
    Archive, Daemon, Recorded, Recorder, RunDirectory, disk_directory, tcp_link, tool_python, wait_until,
};
use fep_time::Tai;
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
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            match entry.file_type().expect("it has a type") {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                // Sockets have no contents.
                _ => {}
            }
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
    // What does not serve red data takes in none of it.
    for (archive, taken) in [(&usual, sealed[0]), (&cleared, sealed.iter().sum())] {
        archive.has_taken_in(taken);
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

/// The built-in mission with one of its virtual channels red.
fn red_mission(directory: &Path) -> PathBuf {
    let (_, text) = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "cso").expect("cso");
    let red = text.replace("id = 41\n", "id = 41\ncolour = \"red\"\n");
    assert_ne!(red, *text, "virtual channel 41 is in the file");
    let path = directory.join("secret.toml");
    std::fs::write(&path, red).expect("writable");
    path
}

/// A frame with one packet, filled with an octet.
fn frame(channel: &ChannelConfig, vcid: u8, count: u32, fill: u8) -> Vec<u8> {
    let mut zone = vec![fill; channel.frame.frame_len - 6];
    let packet_len = zone.len() - 2;
    let apid = 0x100 | u16::from(vcid);
    zone[..2].copy_from_slice(&Fhp::At(0).to_11_bits().to_be_bytes());
    zone[2..4].copy_from_slice(&apid.to_be_bytes());
    zone[4..6].copy_from_slice(&(0xC000 | count as u16).to_be_bytes());
    zone[6..8].copy_from_slice(&((packet_len - 7) as u16).to_be_bytes());
    let header = AosHeader {
        scid: 162,
        vcid,
        vc_count: count,
        replay: false,
        vc_count_cycle_used: false,
        reserved: 0,
        vc_count_cycle: 0,
    };
    let mut octets = Vec::new();
    FrameParts::new(Header::Aos(header), &zone).build(&channel.frame, &mut octets).expect("a frame");
    octets
}

/// Rounds of the downlink: in each a frame of either colour.
const ROUNDS: u32 = 60;

/// Good frames, frames with a pointer that cannot be, frames that no code can put right: of both colours. What must not be
/// found among the black is added to `marks`.
fn two_colours(channel: &ChannelConfig, marks: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut encoder =
        Encoder::new(channel.sync.marker, &channel.code, channel.randomizer).expect("an encoder");
    let mut cadus = Vec::new();
    for count in 0..ROUNDS {
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
        }
    }
    cadus
}

/// Whether any of these lies in octets, as it is or as hexadecimal.
fn any_lies_in(marks: &[Vec<u8>], octets: &[u8]) -> bool {
    let lower = octets.to_ascii_lowercase();
    let hexadecimal = |mark: &[u8]| mark.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let lies = |octets: &[u8], mark: &[u8]| octets.windows(mark.len()).any(|window| window == mark);
    marks.iter().any(|mark| lies(octets, mark) || lies(&lower, hexadecimal(mark).as_bytes()))
}

/// The column of octets of a Parquet file, one value behind the other.
fn parquet_octets(file: &[u8], directory: &Path) -> Vec<u8> {
    let (from, to) = (directory.join("export.parquet"), directory.join("export.octets"));
    std::fs::write(&from, file).expect("writable");
    let script = "import pyarrow.parquet as p, sys\n\
                  open(sys.argv[2], 'wb').write(b''.join(p.read_table(sys.argv[1])['octets'].to_pylist()))";
    tool_python(script, &[&from, &to]);
    std::fs::read(&to).expect("it was written")
}

/// Every kind of export, with all that an order without the colour red can ask for.
fn exports(archive: &Archive, directory: &Path) -> Vec<(String, Vec<u8>)> {
    let kinds = [
        ("frames", ["frames", "cadu", "pcapng", "parquet", "csv", "jsonl"].as_slice()),
        ("packets", &["packets", "pcapng", "parquet", "csv", "jsonl"]),
    ];
    let mut files = Vec::new();
    for (unit, formats) in kinds {
        for format in formats {
            let mut options = vec!["--session", "test", "--quality", "any", "--every-copy"];
            if ["csv", "jsonl"].contains(format) {
                options.push("--octets");
            }
            let file = archive.retrieve(unit, format, &options);
            let file = if *format == "parquet" { parquet_octets(&file, directory) } else { file };
            files.push((format!("{unit} as {format}"), file));
        }
    }
    files
}

// REQ: FEP-ENG-111
// REQ: FEP-SYS-022
#[test]
fn no_octet_of_red_payload_lies_in_a_black_ring_segment_index_or_export_be_the_frame_good_bad_or_uncorrectable()
 {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (segments, rings) = (disk.path().join("segments"), directory.rings());
    let mission = red_mission(directory.path());
    let channel = fep_mission::load(&mission.display().to_string())
        .unwrap_or_else(|errors| panic!("{errors}"))
        .channels["cso-2-payload"]
        .clone();
    let antenna = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = antenna.local_addr().expect("an address");
    let config = directory.configure(&format!(
        "{}[missions]\nsecret = {:?}\n",
        tcp_link("pay", "secret/cso-2-payload", address),
        mission.display().to_string()
    ));
    let keys = "segment_mib = 1\nblock_kib = 64\n";
    let settings = Recorder::configure(directory.path(), &rings, &segments, keys);
    let text = std::fs::read_to_string(&settings).expect("it was written");
    std::fs::write(&settings, text.replace("[\"*.frames\"]", "[\"*\"]")).expect("writable");
    let recorder = Recorder::start(&settings, &rings);
    let usual = Archive::start(disk.path().join("usual"), &segments, &rings, "");
    let daemon = Daemon::start(&directory, &config);

    let (mut connection, _) = antenna.accept().expect("fepd connects");
    let mut marks = vec![vec![RED; 16]];
    connection.write_all(&two_colours(&channel, &mut marks)).expect("sent");
    let counts = wait_until("everything is received and on disk", || {
        let ledger = daemon.link("pay")?.ledger;
        let recorded = recorder.figure("records")?;
        let counts = ledger.counts;
        if counts.received == u64::from(2 * ROUNDS) && ledger.is_balanced() && recorded >= counts.received {
            Ok(counts)
        } else {
            Err(format!("{ledger}, {recorded} recorded"))
        }
    });
    assert!(counts.uncorrectable >= u64::from(ROUNDS) / 5, "{counts:?}");
    // While they live: what is in the rings, the pages and the tail of the archive.
    let leaks = |root: &Path| -> Vec<PathBuf> {
        let black =
            files(root).into_iter().filter(|file| !file.components().any(|part| part.as_os_str() == "red"));
        black.filter(|file| any_lies_in(&marks, &std::fs::read(file).expect("it can be read"))).collect()
    };
    assert_eq!(leaks(&rings), Vec::<PathBuf>::new(), "of the rings");
    let red = |root: &Path| files(&root.join("red")).iter().any(|file| holds(file, RED));
    assert!(red(&rings), "else this proves nothing");
    assert!(daemon.stop().success() && recorder.stop().success());

    let sealed_of = |red: bool| -> usize {
        let found = streams(&segments).expect("it can be listed");
        found
            .iter()
            .filter(|stream| red || stream.colour == Colour::Black)
            .map(|stream| fep_segments::list(&segments, stream).expect("it can be listed").len())
            .sum()
    };
    usual.has_taken_in(sealed_of(false));
    assert!(red(&segments), "else this proves nothing");
    for (what, file) in exports(&usual, disk.path()) {
        assert!(!any_lies_in(&marks, &file), "{what}");
        assert!(any_lies_in(&[vec![BLACK; 16]], &file), "{what} holds nothing");
    }
    assert!(usual.stop().success());
    assert_eq!(leaks(disk.path()), Vec::<PathBuf>::new(), "of segments, index and catalogue");
    let cleared = Archive::start(disk.path().join("cleared"), &segments, &rings, "serve_red = true\n");
    cleared.has_taken_in(sealed_of(true));
    let options = ["--session", "test", "--quality", "any", "--every-copy", "--colour", "red"];
    assert!(
        any_lies_in(&marks[..1], &cleared.retrieve("frames", "frames", &options)),
        "else this proves nothing"
    );
    assert!(cleared.stop().success());
}
