//! The real recorder beside the real `fepd`: everything that reached the ring is on disk or counted, whoever is killed,
//! however full the disk is.
//!
//! `FEP_KILL_ROUNDS` says how many rounds of kills (20 if not set), `FEP_KILL_SEED` at which moments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fep_bus::Colour;
use fep_segments::{
    LossCause, Piece, SegmentReader, SegmentState, Stream, TreeReport, list, recover, verify_tree,
};
use fep_sim::{DEFAULT_SIMULATION, Simulation, Station, StationSpec, TransportSpec, Unconnected, frame_hash};
use fep_tests::journal::{self, Line};
use fep_tests::{Daemon, Follower, Recorder, RunDirectory, program, tcp_link, wait_until};

const RING: &str = "cso-2.frames";
const LIFE_MAX_MS: u64 = 250;

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: a number")),
        Err(_) => default,
    }
}

/// Numbers that look random, the same again from the same seed.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        // Xorshift of Marsaglia, 64 bits.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn sleep(&mut self) {
        std::thread::sleep(Duration::from_millis(self.below(LIFE_MAX_MS)));
    }
}

/// cso-2 at `rate_bps`, which goes on whether anybody hears it or not.
fn station(rate_bps: u64) -> StationSpec {
    let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in").expect("the built-in set is valid");
    let mut spec =
        simulation.station.into_iter().find(|spec| spec.name == "cso-2").expect("a built-in station");
    spec.transport = TransportSpec::TcpServer { bind: "127.0.0.1:0".parse().expect("an address") };
    spec.rate_bps = Some(rate_bps);
    spec.unconnected = Unconnected::Lose;
    spec
}

/// A disk directory for segments: not on a memory file system, where there is nothing to write past.
fn disk_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("fep-test-").tempdir().expect("a directory")
}

/// Everything in the segments of a stream, in order: lines as a consumer of the ring would have written them.
/// Segments may overlap after a death; the records are then the same.
fn recorded(archive: &Path, stream: &Stream) -> (BTreeMap<u64, Line>, Vec<fep_segments::Loss>) {
    let (mut records, mut losses) = (BTreeMap::new(), Vec::new());
    for entry in list(archive, stream).expect("it can be listed") {
        if entry.state == SegmentState::Removed {
            continue;
        }
        let mut reader = SegmentReader::open(&entry.path).expect("a segment");
        while let Some(piece) = reader.next().expect("it can be read") {
            match piece {
                Piece::Record(view) => {
                    let (kind, flags, words) =
                        (view.record.tag.kind, view.record.tag.flags, view.record.tag.words);
                    let (seq, len, hash) = (view.record.seq, view.record.len, frame_hash(view.payload));
                    let line = Line::Record { seq, kind, flags, len, words, hash };
                    if let Some(before) = records.insert(seq, line) {
                        assert_eq!(before, line, "record {seq} is there twice and differs");
                    }
                }
                Piece::Loss(loss) => losses.push(loss),
            }
        }
    }
    (records, losses)
}

/// Holds what is on disk against what a consumer of the ring saw. The recorder's first record is the first of the ring.
fn compare(journal: &[Line], records: &BTreeMap<u64, Line>) {
    let (seen, gaps) = journal::settle(journal);
    assert!(gaps.is_empty(), "the test's own consumer kept up: {gaps:?}");
    for line in &seen {
        let Line::Record { seq, .. } = line else { panic!("{line:?}") };
        assert_eq!(records.get(seq), Some(line), "record {seq}");
    }
    assert_eq!(records.len(), seen.len());
}

fn verified(archive: &Path) -> TreeReport {
    let report = verify_tree(archive, None, |_, _| {}).expect("it can be read");
    assert!(report.is_sound(), "{report:#?}");
    report
}

/// The stand-alone reader in Python, written from docs/segments.md.
fn python(paths: &[PathBuf]) -> Vec<serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("segments_reader.py");
    let output = Command::new("python3").arg(script).args(paths).output().expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn segment_files(archive: &Path, stream: &Stream) -> Vec<PathBuf> {
    list(archive, stream).expect("it can be listed").into_iter().map(|entry| entry.path).collect()
}

/// Until the recorder has everything the daemon published.
fn caught_up(daemon: &Daemon, recorder: &Recorder, link: &str, ring: &str) -> u64 {
    wait_until("the recorder has everything", || {
        let published = daemon.link(link)?.ledger.counts.published;
        let recorded = recorder.figure(&format!("{ring}.records"))?;
        let lag = recorder.figure(&format!("{ring}.lag"))?;
        if recorded >= published && lag == 0 {
            Ok(recorded)
        } else {
            Err(format!("{recorded} of {published}, lag {lag}"))
        }
    })
}

// REQ: FEP-REC-001
// REQ: FEP-SEG-006
#[test]
fn every_frame_of_the_synthetic_mission_is_on_disk_octet_for_octet() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let synthetic = Station::start(&station(40_000_000)).expect("it starts");
    let config =
        directory.configure(&tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens")));
    let daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&rings, RING, "witness", directory.path());
    let settings =
        Recorder::configure(directory.path(), &rings, &archive, "segment_mib = 4\nblock_kib = 256\n");
    let recorder = Recorder::start(&settings, &rings);
    wait_until("some frames are on disk", || {
        let records = recorder.figure(&format!("black/{RING}.records"))?;
        if records > 20_000 { Ok(()) } else { Err(format!("{records}")) }
    });
    synthetic.stop();
    let _ = synthetic.join();
    caught_up(&daemon, &recorder, "cso-2", &format!("black/{RING}"));
    assert_eq!(recorder.figure("lost_records"), Ok(0));
    assert!(recorder.stop().success());
    let lines = follower.finish();
    let stream = Stream::new(Colour::Black, RING);
    let (records, losses) = recorded(&archive, &stream);
    assert!(losses.is_empty(), "{losses:?}");
    compare(&lines, &records);

    let report = verified(&archive);
    let segments = &report.streams[&stream];
    assert!(segments.len() > 3 && segments.iter().all(|segment| segment.footer.is_some()), "sealed in order");
    let told = python(&segment_files(&archive, &stream));
    assert_eq!(told.len(), segments.len());
    for (told, segment) in told.iter().zip(segments) {
        assert_eq!(told["problems"], serde_json::json!([]), "{told}");
        assert_eq!(told["records"], segment.records);
        assert_eq!(told["octets"], segment.octets);
    }
    assert!(daemon.stop().success());
}

/// Cuts the newest segment within its last block, as a power cut within a write would.
fn tear(archive: &Path, stream: &Stream, moments: &mut Moments) -> bool {
    let Some(entry) = list(archive, stream).expect("it can be listed").pop() else { return false };
    if entry.state != SegmentState::Open {
        return false;
    }
    let Some(last) = recover(&entry.path).expect("it can be read").blocks.pop() else { return false };
    let file = std::fs::OpenOptions::new().write(true).open(&entry.path).expect("it is there");
    file.set_len(last.offset + moments.below(last.file_len())).expect("it can be cut");
    true
}

// REQ: FEP-REC-008
// REQ: FEP-SEG-004
#[test]
fn killed_at_any_moment_with_torn_segments_nothing_that_reached_the_ring_is_lost() {
    let rounds = variable("FEP_KILL_ROUNDS", 20);
    let seed = variable("FEP_KILL_SEED", 0x5EED).max(1);
    println!("FEP_KILL_ROUNDS={rounds} FEP_KILL_SEED={seed}");
    let mut moments = Moments(seed);
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&station(40_000_000)).expect("it starts");
    let config =
        directory.configure(&tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens")));
    let mut daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&rings, RING, "witness", directory.path());
    let settings =
        Recorder::configure(directory.path(), &rings, &archive, "segment_mib = 2\nblock_kib = 64\n");
    let mut recorder = Some(Recorder::start(&settings, &rings));
    wait_until("it records", || recorder.as_ref().expect("it runs").figure(&format!("black/{RING}.records")));
    let mut torn = 0;
    for _ in 0..rounds {
        moments.sleep();
        let victim = moments.below(3);
        if victim != 1 {
            recorder.take().expect("it runs").kill();
            torn += u64::from(moments.below(2) == 0 && tear(&archive, &stream, &mut moments));
        }
        if victim != 0 {
            daemon.kill();
            daemon = Daemon::launch(&directory, &config);
        }
        moments.sleep();
        recorder.get_or_insert_with(|| Recorder::start(&settings, &rings));
    }
    let recorder = recorder.expect("it runs");
    wait_until("the last life receives", || {
        let received = daemon.link("cso-2")?.ledger.counts.received;
        if received > 500 { Ok(()) } else { Err(received.to_string()) }
    });
    synthetic.stop();
    let _ = synthetic.join();
    wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(()) }
    });
    wait_until("the recorder has everything", || {
        match (
            recorder.figure(&format!("black/{RING}.lag")),
            recorder.figure(&format!("black/{RING}.records")),
        ) {
            (Ok(0), Ok(1..)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(recorder.stop().success());
    let lines = follower.finish();
    let (records, losses) = recorded(&archive, &stream);
    println!("{} records, {torn} times torn, losses {losses:?}", records.len());
    assert!(losses.is_empty(), "the recorder was away for less than a ring: {losses:?}");
    compare(&lines, &records);
    let report = verified(&archive);
    assert!(report.streams[&stream].iter().all(|segment| segment.footer.is_some()), "everything is sealed");
    assert!(daemon.stop().success());
}

/// A mount namespace of its own with a small file system, alive as long as this value.
struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    fn new(mount_point: &Path, mebibytes: u64) -> SmallDisk {
        let script = format!(
            "mount -t tmpfs -o size={mebibytes}m none '{0}' && echo ready && exec sleep 100000",
            mount_point.display()
        );
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        let out = holder.stdout.take().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("it can be read");
        assert_eq!(line.trim(), "ready", "this test needs user namespaces, or root");
        SmallDisk { holder }
    }

    /// A command that executes what follows in the namespace.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "-t", &self.holder.id().to_string()]);
        command
    }

    /// The file system's contents, seen from outside.
    fn see(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

// REQ: FEP-REC-006
#[test]
fn at_a_full_disk_fepd_goes_on_and_every_refused_frame_is_counted_and_recorded_when_there_is_room() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let small = SmallDisk::new(disk.path(), 24);
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&station(80_000_000)).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens"));
    // A small ring, so that it is soon overwritten.
    let config = directory.configure(&format!("{link}[rings]\nframes_data_mib = 8\nframes_desc_log2 = 13\n"));
    let daemon = Daemon::start(&directory, &config);
    let settings = Recorder::configure(
        directory.path(),
        &rings,
        &archive,
        "segment_mib = 4\nblock_kib = 256\nblocks_waiting = 2\nwarning_free_percent = 50.0\ncritical_free_percent = 0.0\n",
    );
    let mut command = small.command();
    command.arg(program("fep-recorder"));
    let recorder = Recorder::start_by(command, &settings, &rings);
    let lost = wait_until("the disk is full and frames are refused", || {
        let (full, lost) =
            (recorder.figure(&format!("black/{RING}.full"))?, recorder.figure("lost_records")?);
        if full == 1 && lost > 2000 { Ok(lost) } else { Err(format!("full {full}, lost {lost}")) }
    });
    let outside = small.see(&archive);
    let before = daemon.link("cso-2").expect("it answers").ledger.counts.published;
    wait_until("fepd publishes as if nothing were", || {
        let published = daemon.link("cso-2")?.ledger.counts.published;
        if published > before + 2000 { Ok(()) } else { Err(published.to_string()) }
    });
    // Room: the oldest sealed segments go.
    let sealed: Vec<_> = list(&outside, &stream)
        .expect("it can be listed")
        .into_iter()
        .filter(|entry| entry.state == SegmentState::Sealed)
        .take(3)
        .collect();
    assert!(!sealed.is_empty());
    let removed: u64 = sealed
        .iter()
        .map(|entry| fep_segments::remove_sealed(&entry.path).expect("it can be removed").records)
        .sum();
    wait_until("it records again", || {
        let full = recorder.figure(&format!("black/{RING}.full"))?;
        if full == 0 { Ok(()) } else { Err("full".to_owned()) }
    });
    synthetic.stop();
    let _ = synthetic.join();
    let published = wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(link.ledger.counts.published) }
    });
    wait_until("the recorder has taken all or says that it is full", || {
        let lag = recorder.figure(&format!("black/{RING}.lag"))?;
        if lag == 0 { Ok(()) } else { Err(lag.to_string()) }
    });
    assert!(recorder.stop().success());
    let (records, losses) = recorded(&outside, &stream);
    let refused: u64 =
        losses.iter().filter(|loss| loss.cause == LossCause::DiskFull).map(fep_segments::Loss::records).sum();
    let all: u64 = losses.iter().map(fep_segments::Loss::records).sum();
    println!("published {published}, on disk {}, removed {removed}, {losses:?}", records.len());
    assert!(refused >= lost, "{refused} recorded as refused, {lost} were counted");
    assert_eq!(records.len() as u64 + removed + all, published, "every frame is on disk or counted");
    assert!(daemon.stop().success());
}
