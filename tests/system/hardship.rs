//! What goes wrong around `fepd`: stations that vanish, consumers that stand still, cursor files that are damaged. Each time
//! it is nobody's loss but the culprit's, and the ledgers say how much.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_coding::{CodeSpec, Randomizer};
use fep_sim::{DownlinkSpec, Encoder, FrameOracle, Spacecraft, Station, StationSpec, Unconnected};
use fep_tests::journal::{self, Line};
use fep_tests::{Daemon, Follower, RunDirectory, cso_2, downlink, tcp_link, wait_until};

const FRAME_LEN: u64 = 1115;

/// cso-2, `frames` frames and then the end.
fn station(frames: u64) -> (StationSpec, DownlinkSpec) {
    let mut spec = cso_2(None, Unconnected::Hold);
    let downlink = downlink(&mut spec);
    downlink.frames = Some(frames);
    let downlink = downlink.clone();
    (spec, downlink)
}

/// The CADUs of cso-2, one after the other, without a station.
fn cadus(downlink: &DownlinkSpec, seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut spacecraft = Spacecraft::new(downlink.spacecraft.clone(), seed).expect("valid");
    let code: &CodeSpec = &downlink.code;
    let randomizer: Randomizer = downlink.randomizer;
    let mut encoder = Encoder::new(downlink.marker(), code, randomizer).expect("valid");
    (0..count)
        .map(|_| {
            let (mut frame, mut cadu) = (Vec::new(), Vec::new());
            spacecraft.next_frame(&mut frame);
            encoder.encode(&frame, &mut cadu);
            cadu
        })
        .collect()
}

/// The records are the frames 0, 1, 2 and so on, octet for octet.
fn assert_whole(records: &[Line], oracle: &FrameOracle) {
    for (number, line) in (0_u64..).zip(records) {
        let Line::Record { hash, .. } = line else { panic!("{line:?} is no record") };
        assert_eq!(oracle.identify_hash(*hash).map(|frame| frame.number), Some(number));
    }
}

fn wait_for_frames(daemon: &Daemon, link: &str, frames: u64) {
    wait_until("the frames are received", || {
        let received = daemon.link(link)?.ledger.counts.received;
        if received == frames { Ok(()) } else { Err(format!("{received} of {frames} frames")) }
    });
}

// REQ: FEP-SYS-007
#[test]
fn a_half_open_connection_to_a_station_is_given_up_and_made_anew_without_losing_a_frame() {
    let (spec, downlink) = station(0);
    let cadus = cadus(&downlink, spec.seed, 200);
    let oracle = FrameOracle::new(downlink.spacecraft, spec.seed, 200).expect("valid");
    let directory = RunDirectory::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let link = tcp_link("cso-2", "cso/cso-2", address).trim_end().to_owned() + "\nidle_timeout_ms = 300\n";
    let config = directory.configure(&link);
    let daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&directory.rings(), "cso-2.frames", "half-open", directory.path());
    let (mut vanished, _) = listener.accept().expect("fepd connects");
    vanished.write_all(&cadus[..100].concat()).expect("it reads");
    wait_for_frames(&daemon, "cso-2", 100);
    // Not a word more, and no end either: to fepd this is a peer that lost its power. It must come again by itself.
    let (mut again, _) = listener.accept().expect("fepd connects anew");
    again.write_all(&cadus[100..].concat()).expect("it reads");
    wait_for_frames(&daemon, "cso-2", 200);
    let counts = daemon.link("cso-2").expect("it answers").ledger.counts;
    assert_eq!((counts.good, counts.lost, counts.duplicates), (200, 0, 0));
    let (records, gaps) = journal::settle(&follower.finish());
    assert_eq!((records.len(), gaps.len()), (200, 0));
    assert_whole(&records, &oracle);
    drop((vanished, again));
}

// REQ: FEP-SYS-007
#[test]
fn a_station_that_comes_back_while_its_old_connection_hangs_half_open_is_served() {
    let (spec, downlink) = station(0);
    let cadus = cadus(&downlink, spec.seed, 200);
    let directory = RunDirectory::new();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("bound");
    let link = format!(
        "[links.cso-2]\nchannel = \"cso/cso-2\"\n\
         transport = {{ kind = \"tcp_server\", bind = \"{address}\", takeover_silence_ms = 200 }}\n"
    );
    let config = directory.configure(&link);
    let daemon = Daemon::start(&directory, &config);
    let connect =
        || wait_until("fepd listens", || TcpStream::connect(address).map_err(|error| error.to_string()));
    let mut vanished = connect();
    vanished.write_all(&cadus[..100].concat()).expect("it reads");
    wait_for_frames(&daemon, "cso-2", 100);
    // While the first has only just been heard the second is refused; a station tries again, as this one does.
    let mut again = wait_until("the second connection is taken", || {
        let mut stream = connect();
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        match stream.read(&mut [0]) {
            // Nothing to read, and not closed either: it was taken.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(stream),
            other => Err(format!("{other:?}")),
        }
    });
    again.write_all(&cadus[100..].concat()).expect("it reads");
    wait_for_frames(&daemon, "cso-2", 200);
    let counts = daemon.link("cso-2").expect("it answers").ledger.counts;
    assert_eq!((counts.good, counts.lost, counts.duplicates), (200, 0, 0));
    drop(vanished);
}

// REQ: FEP-SYS-008
#[test]
fn a_consumer_that_stops_reading_holds_up_nobody_and_learns_exactly_what_it_lost() {
    // Eight times what the ring holds.
    const FRAMES: u64 = 60_000;
    let (mut spec, downlink) = station(FRAMES);
    // Slow enough to stop the consumer long before the end.
    spec.rate_bps = Some(200_000_000);
    let oracle = FrameOracle::new(downlink.spacecraft, spec.seed, FRAMES).expect("valid");
    let directory = RunDirectory::new();
    let station = Station::start(&spec).expect("it starts");
    let rings =
        "[rings]\nframes_desc_log2 = 13\nframes_data_mib = 8\nextent_mib = 1\ngates = [\"stuck\"]\n\n";
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let config = directory.configure(&format!("{rings}{link}"));
    let daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&directory.rings(), "cso-2.frames", "stuck", directory.path());
    wait_until("it reads", || {
        let read = follower.lines().len();
        if read > 0 { Ok(()) } else { Err(format!("{read} records")) }
    });
    follower.freeze();
    wait_for_frames(&daemon, "cso-2", FRAMES);
    let published = daemon.link("cso-2").expect("it answers").ledger.counts.published;
    assert_eq!(published, FRAMES, "nobody was held up");
    wait_until("the consumer is given up", || {
        let status = daemon.status()?;
        let rings = status.rings.iter().filter(|ring| ring.name == "cso-2.frames");
        let gates: Vec<_> =
            rings.flat_map(|ring| &ring.gates).filter(|gate| gate.consumer == "stuck").collect();
        if gates.iter().any(|gate| gate.state == "evicted") { Ok(()) } else { Err(format!("{gates:?}")) }
    });
    follower.thaw();
    let (records, gaps) = journal::settle(&follower.finish());
    let lost = journal::lost(&gaps);
    assert!(lost > FRAMES / 2, "the ring holds an eighth: {lost} lost");
    assert_eq!(records.len() as u64 + lost, published, "published = consumed + lost");
    for gap in &gaps {
        let Line::Gap { from_seq, to_seq, bytes } = gap else { panic!("{gap:?} is no gap") };
        assert_eq!(*bytes, (to_seq - from_seq) * FRAME_LEN);
    }
    for line in &records {
        let Line::Record { seq, hash, .. } = line else { panic!("{line:?} is no record") };
        // Records number from 1, frames from 0, and nothing was lost before the ring.
        assert_eq!(oracle.identify_hash(*hash).map(|frame| frame.number + 1), Some(*seq));
    }
}

/// The cursor file of a consumer below the rings' directory.
fn cursor_file(directory: &Path, consumer: &str) -> PathBuf {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with(Path::new("cursors").join(consumer)) {
                return path;
            }
        }
    }
    panic!("consumer {consumer} has no cursor file below {}", directory.display());
}

// REQ: FEP-SYS-009
#[test]
fn a_truncated_cursor_file_hurts_nobody_but_its_owner_who_starts_anew_at_the_oldest_record() {
    const FRAMES: u64 = 2_000;
    for keep in [0, 1, 100, u64::MAX] {
        let (spec, downlink) = station(FRAMES);
        let oracle = FrameOracle::new(downlink.spacecraft, spec.seed, FRAMES).expect("valid");
        let directory = RunDirectory::new();
        let station = Station::start(&spec).expect("it starts");
        let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
        let config = directory.configure(&format!("[rings]\ngates = [\"damaged\"]\n\n{link}"));
        let daemon = Daemon::start(&directory, &config);
        let mut follower = Follower::start(&directory.rings(), "cso-2.frames", "damaged", directory.path());
        wait_for_frames(&daemon, "cso-2", FRAMES);
        wait_until("it has read everything", || match follower.lines().len() as u64 {
            FRAMES => Ok(()),
            read => Err(format!("{read} records")),
        });
        follower.kill();
        let cursor = cursor_file(&directory.rings(), "damaged");
        let file = std::fs::OpenOptions::new().write(true).open(&cursor).expect("there");
        let len = file.metadata().expect("there").len();
        match keep {
            // Not cut but overwritten: a page of noise.
            u64::MAX => (&file).write_all(&vec![0xA5; len as usize]).expect("written"),
            keep => file.set_len(keep.min(len / 2)).expect("cut"),
        }
        follower.restart();
        let read_again = wait_until("it reads from the oldest record on", || {
            let lines = follower.lines();
            if lines.len() as u64 == 2 * FRAMES { Ok(lines) } else { Err(format!("{} records", lines.len())) }
        });
        assert_eq!(read_again[FRAMES as usize..], read_again[..FRAMES as usize]);
        let (records, gaps) = journal::settle(&follower.finish());
        assert_eq!((records.len() as u64, gaps.len()), (FRAMES, 0));
        assert_whole(&records, &oracle);
        let link = daemon.link("cso-2").expect("fepd has not noticed");
        assert_eq!(link.ledger.counts.published, FRAMES);
        assert!(daemon.stop().success());
    }
}
