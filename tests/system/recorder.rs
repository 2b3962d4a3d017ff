//! The real recorder beside the real `fepd`: everything that reached the ring is on disk or counted, whoever is killed or
//! stands still. What disks do to it is in `disk.rs`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use fep_bus::Colour;
use fep_segments::{LossCause, SegmentState, Stream, TreeReport, list, recover, verify_tree};
use fep_sim::{Station, Unconnected};
use fep_tests::{
    Daemon, Follower, Moments, Recorded, Recorder, RunDirectory, cso_2, disk_directory, kill_rounds,
    tcp_link, wait_until,
};

const RING: &str = "cso-2.frames";
/// Octets of a frame of cso-2.
const FRAME_LEN: u64 = 1115;
/// Lives between two kills.
const LIFE_MS: Range<u64> = 0..150;

fn verified(archive: &Path) -> TreeReport {
    let report = verify_tree(archive, &fep_segments::Expected::default(), |_, _| {}).expect("it can be read");
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

/// Until all that the daemon published is on disk or counted as lost.
fn caught_up(daemon: &Daemon, recorder: &Recorder, link: &str, ring: &str) -> u64 {
    wait_until("the recorder has everything", || {
        let published = daemon.link(link)?.ledger.counts.published;
        let recorded = recorder.figure(&format!("{ring}.records"))?;
        let lost = recorder.figure(&format!("{ring}.lost"))?;
        let lag = recorder.figure(&format!("{ring}.lag"))?;
        if recorded + lost >= published && lag == 0 {
            Ok(published)
        } else {
            Err(format!("{recorded} and {lost} lost of {published}, lag {lag}"))
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
    let synthetic = Station::start(&cso_2(Some(40_000_000), Unconnected::Lose)).expect("it starts");
    let config =
        directory.configure(&tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens")));
    let daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&rings, RING, "witness", directory.path());
    let settings =
        Recorder::configure(directory.path(), &rings, &archive, "segment_mib = 1\nblock_kib = 256\n");
    let recorder = Recorder::start(&settings, &rings);
    wait_until("some frames are on disk", || {
        let records = recorder.figure(&format!("black/{RING}.records"))?;
        if records > 5_000 { Ok(()) } else { Err(format!("{records}")) }
    });
    synthetic.stop();
    let _ = synthetic.join();
    caught_up(&daemon, &recorder, "cso-2", &format!("black/{RING}"));
    assert_eq!(recorder.figure("lost_records"), Ok(0));
    assert!(recorder.stop().success());
    let lines = follower.finish();
    let stream = Stream::new(Colour::Black, RING);
    let recorded = Recorded::read(&archive, &stream);
    assert_eq!(recorded.losses, []);
    recorded.assert_accounts_for_all_of(&lines);

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
    let rounds = kill_rounds();
    let mut moments = Moments::from_environment();
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&cso_2(Some(40_000_000), Unconnected::Lose)).expect("it starts");
    let config =
        directory.configure(&tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens")));
    let mut daemon = Daemon::start(&directory, &config);
    let follower = Follower::start(&rings, RING, "witness", directory.path());
    let settings =
        Recorder::configure(directory.path(), &rings, &archive, "segment_mib = 2\nblock_kib = 64\n");
    let mut recorder = Some(Recorder::start(&settings, &rings));
    wait_until("it records", || recorder.as_ref().expect("it runs").figure(&format!("black/{RING}.records")));
    let (mut torn, mut recorder_kills, mut daemon_kills) = (0, 0, 0);
    while recorder_kills < rounds || daemon_kills < rounds {
        moments.sleep_ms(LIFE_MS);
        let victim = moments.below(3);
        if victim != 1 {
            recorder.take().expect("it runs").kill();
            recorder_kills += 1;
            torn += u64::from(moments.below(2) == 0 && tear(&archive, &stream, &mut moments));
        }
        if victim != 0 {
            daemon.kill();
            daemon_kills += 1;
            daemon = Daemon::launch(&directory, &config);
        }
        moments.sleep_ms(LIFE_MS);
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
    let recorded = Recorded::read(&archive, &stream);
    println!("{} records, {torn} times torn", recorded.records.len());
    assert_eq!(recorded.losses, [], "the recorder was away for less than a ring");
    recorded.assert_accounts_for_all_of(&lines);
    let report = verified(&archive);
    assert!(report.streams[&stream].iter().all(|segment| segment.footer.is_some()), "everything is sealed");
    assert!(daemon.stop().success());
}

// REQ: FEP-REC-004
#[test]
fn a_recorder_that_stands_still_until_it_is_lapped_counts_what_it_lost_and_records_that_in_its_place() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&cso_2(Some(80_000_000), Unconnected::Lose)).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens"));
    let config = directory.configure(&format!("{link}[rings]\nframes_data_mib = 8\nframes_desc_log2 = 13\n"));
    let settings =
        Recorder::configure(directory.path(), &rings, &archive, "segment_mib = 4\nblock_kib = 256\n");
    let recorder = Recorder::start(&settings, &rings);
    let daemon = Daemon::start(&directory, &config);
    let published = |more_than: u64| {
        wait_until("fepd publishes", || match daemon.link("cso-2")?.ledger.counts.published {
            published if published > more_than => Ok(published),
            published => Err(format!("{published} of {more_than} frames")),
        })
    };
    // Twice: a loss in the middle of what is on disk, and another behind it.
    for _ in 0..2 {
        let before = recorder.figure("lost_records").unwrap_or(0);
        wait_until("it records", || match recorder.figure(&format!("black/{RING}.lag")) {
            Ok(lag) if lag < 1000 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        recorder.freeze();
        // Over twice what the ring holds, and nobody waits for the recorder.
        published(published(0) + 18_000);
        recorder.thaw();
        wait_until("the loss is counted", || match recorder.figure("lost_records")? {
            lost if lost > before + 5_000 => Ok(()),
            lost => Err(lost.to_string()),
        });
    }
    synthetic.stop();
    let _ = synthetic.join();
    wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(()) }
    });
    let published = caught_up(&daemon, &recorder, "cso-2", &format!("black/{RING}"));
    let counted = (recorder.figure("lost_records"), recorder.figure("lost_octets"));
    assert!(recorder.stop().success());
    let recorded = Recorded::read(&archive, &stream);
    println!("{published} published, {} on disk, {:?}", recorded.records.len(), recorded.losses);
    recorded.assert_accounts_for(1..=published);
    assert_eq!(counted.0, Ok(recorded.lost()), "what was told live is what is on disk");
    assert_eq!(counted.1, Ok(recorded.lost() * FRAME_LEN), "to the octet");
    assert!(recorded.losses.len() >= 2, "{:?}", recorded.losses);
    for loss in &recorded.losses {
        assert!(matches!(loss.cause, LossCause::Lapped | LossCause::Evicted), "{loss:?}");
        assert_eq!(loss.octets(), loss.records() * FRAME_LEN, "{loss:?}");
    }
    verified(&archive);
    assert!(daemon.stop().success());
}
