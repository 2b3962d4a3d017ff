//! What disks do to the real recorder: they are full, for one ring or for several, or they refuse altogether. fepd notices
//! nothing; everything that could not be recorded is an alarm, counted, and a loss record when the disk is back.

use fep_time::Tai;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fep_bus::{Colour, Consumer, Poll, Producer, Resume, RingSpec, Tag};
use fep_segments::{LossCause, SegmentState, Stream, list};
use fep_sim::{Station, Unconnected};
use fep_tests::{
    Daemon, OwnDisk, Recorded, Recorder, RunDirectory, cso_2, disk_directory, program, tcp_link, wait_until,
};

const RING: &str = "cso-2.frames";

/// The recorder, to be started where it sees this disk.
fn on(disk: &OwnDisk) -> Command {
    let mut command = disk.command();
    command.arg(program("fep-recorder"));
    command
}

/// The recorder's events so far that are named one of these.
fn told(rings: &Path, names: &[&str]) -> Vec<serde_json::Value> {
    let mut consumer =
        Consumer::attach(rings, "recorder.events", "test", Resume::Oldest).expect("the recorder has made it");
    let (mut events, mut payload) = (Vec::new(), Vec::new());
    while let Poll::Record(_) = consumer.poll(&mut payload) {
        let event: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        if names.iter().any(|name| event["event"] == *name) {
            events.push(event);
        }
    }
    events
}

// REQ: FEP-REC-006
#[test]
fn at_a_full_disk_fepd_goes_on_and_every_refused_frame_is_counted_and_recorded_when_there_is_room() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let small = OwnDisk::small(disk.path(), 24);
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&cso_2(Some(80_000_000), Unconnected::Lose)).expect("it starts");
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
    let recorder = Recorder::start_by(on(&small), &settings, &rings);
    let lost = wait_until("the disk is full and frames are refused", || {
        let (full, lost) =
            (recorder.figure(&format!("black/{RING}.stalled"))?, recorder.figure("lost_records")?);
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
        let full = recorder.figure(&format!("black/{RING}.stalled"))?;
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
    let recorded = Recorded::read(&outside, &stream);
    let (on_disk, refused) = (recorded.records.len() as u64, recorded.lost_to(LossCause::DiskFull));
    println!("published {published}, on disk {on_disk}, removed {removed}, {:?}", recorded.losses);
    assert!(refused >= lost, "{refused} recorded as refused, {lost} were counted");
    assert_eq!(on_disk + removed + recorded.lost(), published, "every frame is on disk or counted");
    assert!(daemon.stop().success());
}

/// Publishes into rings, as fepd would, as long as this value lives.
struct Publishing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publishing {
    fn start(rings: &Path, names: &[&str]) -> Publishing {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let mut producers: Vec<Producer> = names
            .iter()
            .map(|name| {
                let spec = RingSpec {
                    desc_log2: 12,
                    data_len: 8 << 20,
                    extent_len: 1 << 20,
                    ..RingSpec::new(*name, "ccsds.frame.v1")
                };
                Producer::create_or_attach(rings, &spec).expect("a ring")
            })
            .collect();
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                for producer in &mut producers {
                    let now = fep_time::tai_now().0;
                    let tag = Tag { kind: 1, received: Tai(now), published: Tai(now), ..Tag::default() };
                    for _ in 0..8 {
                        producer.publish(tag, &[0x1A; 1115]).expect("it takes everything");
                    }
                    producer.housekeep(fep_time::Monotonic::now());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Publishing { stop, thread: Some(thread) }
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, is printed already.
            let _ = thread.join();
        }
    }
}

// REQ: FEP-REC-012
#[test]
fn room_that_comes_back_to_a_full_disk_goes_by_turns_to_the_rings_that_wait_for_it() {
    const RINGS: [&str; 3] = ["one.frames", "two.frames", "three.frames"];
    const SEGMENT: u64 = 4 << 20;
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let small = OwnDisk::small(disk.path(), 48);
    let (archive, rings) = (disk.path().join("segments"), directory.rings());
    let outside = small.see(&archive);
    let settings = Recorder::configure(
        directory.path(),
        &rings,
        &archive,
        "segment_mib = 4\nblock_kib = 256\nblocks_waiting = 2\nwarning_free_percent = 0.0\ncritical_free_percent = 0.0\n",
    );
    let publishing = Publishing::start(&rings, &RINGS);
    let recorder = Recorder::start_by(on(&small), &settings, &rings);
    let segments = |ring: &str| list(&outside, &Stream::new(Colour::Black, ring)).unwrap_or_default();
    let begun = || RINGS.map(|ring| segments(ring).len());
    let all_wait = || {
        wait_until("no ring has room any more", || {
            let stalled = RINGS.map(|ring| recorder.figure(&format!("black/{ring}.stalled")));
            // A ring that was given room counts as stalled until something is committed there: it waits again when the
            // segment is sealed.
            let sealed =
                RINGS.iter().flat_map(|ring| segments(ring)).all(|entry| entry.state != SegmentState::Open);
            let wait = sealed && stalled.iter().all(|stalled| *stalled == Ok(1));
            if wait { Ok(()) } else { Err(format!("{stalled:?}, all sealed: {sealed}")) }
        });
    };
    all_wait();
    let mut turns = Vec::new();
    for _ in 0..9 {
        let before = begun();
        // Room for one segment.
        while free_octets(&outside) < SEGMENT + (64 << 10) {
            let sealed = RINGS.iter().flat_map(|ring| segments(ring));
            let oldest = sealed
                .filter(|entry| entry.state == SegmentState::Sealed)
                .min_by_key(|entry| entry.name)
                .expect("there are sealed ones");
            fep_segments::remove_sealed(&oldest.path).expect("it can be removed");
        }
        let after = wait_until("a ring has taken the room", || match begun() {
            after if after != before => Ok(after),
            after => Err(format!("{after:?}")),
        });
        turns.extend((0..RINGS.len()).filter(|ring| after[*ring] > before[*ring]));
        all_wait();
    }
    drop(publishing);
    println!("{turns:?}");
    // Whoever had room last waits for all others.
    assert_eq!(turns.len(), 9, "one segment each time: {turns:?}");
    for round in turns.windows(RINGS.len()) {
        assert!((0..RINGS.len()).all(|ring| round.contains(&ring)), "{turns:?}");
    }
    assert!(recorder.stop().success());
}

/// Octets that may still be written there.
fn free_octets(directory: &Path) -> u64 {
    let told = rustix::fs::statvfs(directory).expect("a file system");
    told.f_bavail * told.f_frsize
}

// REQ: FEP-REC-013
#[test]
fn a_disk_that_answers_with_errors_is_an_alarm_and_when_it_is_back_every_frame_is_on_it_or_counted() {
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let mount_point = disk.path().join("disk");
    let Some(failing) = OwnDisk::failing(&mount_point) else { return };
    let (archive, rings) = (mount_point.join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let synthetic = Station::start(&cso_2(Some(20_000_000), Unconnected::Lose)).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", synthetic.address().expect("it listens"));
    let config = directory.configure(&format!("{link}[rings]\nframes_data_mib = 8\nframes_desc_log2 = 12\n"));
    let settings = Recorder::configure(
        directory.path(),
        &rings,
        &archive,
        "segment_mib = 4\nblock_kib = 256\nwarning_free_percent = 0.0\ncritical_free_percent = 0.0\n",
    );
    let recorder = Recorder::start_by(on(&failing), &settings, &rings);
    let daemon = Daemon::start(&directory, &config);
    let figure = |name: &str| recorder.figure(&format!("black/{RING}.{name}"));
    // Two failures: short of what the ring holds (4096 records, two seconds), and longer.
    for lost_at_least in [0, 2000] {
        let before = wait_until("it records", || match (figure("stalled")?, figure("records")?) {
            (0, records @ 3000..) => Ok(records),
            other => Err(format!("{other:?}")),
        });
        failing.break_down();
        wait_until("the failure is noticed, and what is lost is counted", || {
            let (stalled, lost) = (figure("stalled")?, recorder.figure("lost_records")?);
            if stalled == 2 && lost >= lost_at_least {
                Ok(())
            } else {
                Err(format!("{stalled}, {lost} lost"))
            }
        });
        let published = daemon.link("cso-2").expect("it answers").ledger.counts.published;
        wait_until("fepd publishes as if nothing were", || {
            let now = daemon.link("cso-2")?.ledger.counts.published;
            if now > published + 500 { Ok(()) } else { Err(now.to_string()) }
        });
        failing.mend();
        wait_until("it records again", || match (figure("stalled")?, figure("records")?) {
            (0, records) if records > before => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    synthetic.stop();
    let _ = synthetic.join();
    let published = wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(link.ledger.counts.published) }
    });
    wait_until("the recorder has everything", || match (figure("lag")?, figure("stalled")?) {
        (0, 0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let alarms = told(&rings, &["disk_error", "disk_full"]);
    let ends = told(&rings, &["disk_recovered"]);
    let counted = recorder.figure("lost_records").expect("a figure");
    assert!(recorder.stop().success());
    // Once each time, not once for each attempt.
    assert_eq!((alarms.len(), ends.len()), (2, 2), "{alarms:?} {ends:?}");
    for alarm in &alarms {
        let reason = alarm["reason"].as_str().unwrap_or_default();
        assert!(alarm["event"] == "disk_error" && reason.contains("Input/output error"), "{alarm}");
    }
    let recorded = Recorded::read(&failing.see(&archive), &stream);
    println!("{published} published, {} on disk, {:?}", recorded.records.len(), recorded.losses);
    recorded.assert_accounts_for(1..=published);
    assert!(
        recorded.lost() >= 2000 && recorded.lost() == counted,
        "{} on disk, {counted} counted",
        recorded.lost()
    );
    assert_eq!(recorded.lost_to(LossCause::DiskError), recorded.lost(), "{:?}", recorded.losses);
    assert!(daemon.stop().success());
}
