//! The process: it ends, and says why, when it cannot do its work; and `--check` refuses what a start refuses.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{Colour, Producer, RingSpec, Tag};
use fep_event_ring::{EventFollow, EventFollowSpec, EventItem, EventRing};
use fep_record::Session;
use fep_segments::{ArchiveLock, Follow, FollowSpec, Item, Start, Stream};

struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a configuration with these segments and keys of `[recorder]`.
    fn configure(&self, name: &str, segments: &Path, keys: &str) -> PathBuf {
        let path = self.path(name);
        let text = format!(
            "[archive]\nrings = {:?}\nsegments = {segments:?}\nlog = \"warn\"\n\n[recorder]\nroot_key = \"\"\n\
             scan_interval_ms = 20\n{keys}",
            self.path("bus")
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn recorder(arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fep-recorder"));
    command.args(arguments).env_remove("FEP_LOG").stdin(Stdio::null());
    command
}

fn run(config: &Path, check: bool) -> Output {
    let mut command = recorder(&[Path::new("--config"), config]);
    if check {
        command.arg("--check");
    }
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A recorder that is killed with this value.
struct Running(Child);

impl Running {
    fn start(config: &Path) -> Running {
        Running(recorder(&[Path::new("--config"), config]).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// REQ: FEP-REC-403
#[test]
fn a_second_recorder_on_one_directory_says_which_process_has_it_and_ends() {
    let site = Site::new();
    let segments = site.path("segments");
    let config = site.configure("one.toml", &segments, "");
    let first = Running::start(&config);
    until("the first one has the directory", || ArchiveLock::is_held(&segments));
    let output = run(&config, false);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("held by the live process {}", first.0.id());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    let check = run(&config, true);
    assert_eq!(check.status.code(), Some(0), "the configuration is good all the same");
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(told.contains("a recorder works on it now"), "{told}");
    drop(first);
    until("the directory is free again", || !ArchiveLock::is_held(&segments));
}

// REQ: FEP-REC-403
#[test]
fn a_recorder_whose_every_ring_is_held_by_another_consumer_of_its_name_says_so_and_ends() {
    let site = Site::new();
    let spec = RingSpec {
        desc_log2: 8,
        data_len: 128 << 10,
        extent_len: 64 << 10,
        payload_max: 1000,
        prefault: false,
        ..RingSpec::new("cso-1.frames", "ccsds.frame.v1")
    };
    let mut producer = Producer::create_or_attach(&site.path("bus"), &spec).unwrap();
    producer.publish(Tag::default(), b"one").unwrap();
    let one = site.path("one");
    let first = Running::start(&site.configure("one.toml", &one, ""));
    let directory = one.join("black/cso-1.frames");
    until("the first one records", || {
        std::fs::read_dir(&directory).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".open"))
        })
    });
    let output = run(&site.configure("two.toml", &site.path("two"), ""), false);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("consumer of this name"), "{told}");
    assert!(told.contains(&first.0.id().to_string()), "{told}");
}

// REQ: FEP-REC-403
#[test]
fn check_refuses_what_a_start_refuses_with_the_same_reason() {
    let site = Site::new();
    std::fs::write(site.path("file"), b"").unwrap();
    let good = site.path("segments");
    let cases = [
        (site.configure("consumer.toml", &good, "consumer = \"../etc\"\n"), "recorder.consumer"),
        (site.configure("file.toml", &site.path("file"), ""), "a directory is expected"),
        (site.configure("below.toml", &site.path("file/segments"), ""), "file"),
    ];
    let refuses = |config: &Path, reason: &str| {
        let told = [true, false].map(|check| {
            let output = run(config, check);
            assert_eq!(output.status.code(), Some(1), "{} {check}", config.display());
            stderr(&output)
        });
        assert_eq!(told[0], told[1]);
        assert!(told[0].contains(reason), "{}", told[0]);
    };
    for (config, reason) in cases {
        refuses(&config, reason);
    }
    let config = site.configure("log.toml", &good, "");
    let text = std::fs::read_to_string(&config).unwrap().replace("\"warn\"", "\"fep=loud\"");
    std::fs::write(&config, text).unwrap();
    refuses(&config, "log: \"fep=loud\" is not a log filter");
    assert_eq!(run(&site.configure("good.toml", &good, ""), true).status.code(), Some(0));
    assert!(!good.exists(), "a check changes nothing");
    std::fs::write(site.path("bus"), b"").unwrap();
    refuses(&site.configure("rings.toml", &good, ""), "archive.rings");
}

// REQ: FEP-ARC-194
#[test]
fn check_says_that_no_day_will_be_signed_where_the_key_of_signed_days_is_missing_and_the_start_says_the_same()
{
    use fep_segments::{Chain, SegmentHeader, SegmentWriter, roots};
    let site = Site::new();
    let (segments, key) = (site.path("segments"), site.path("keys/root.key"));
    let header = SegmentHeader {
        stream: Stream::new(Colour::Black, "cso-1.frames"),
        schema: "ccsds.frame.v1".to_owned(),
        id: 7,
        instance: 1,
        series: 1,
        base: fep_bus::Position { seq: 1, pos: 0, payload: 0 },
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = SegmentWriter::create(&segments, header).unwrap();
    writer.record(Tag::default(), b"frame").unwrap();
    let (_, footer) = writer.seal(Chain::default()).unwrap();
    let config = site.configure("key.toml", &segments, "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("root_key = \"\"", &format!("root_key = {key:?}"))).unwrap();
    let note = || {
        let output = run(&config, true);
        assert_eq!(output.status.code(), Some(0), "recording can begin: {}", stderr(&output));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        told.lines().find(|line| line.contains("days will not be signed")).map(str::to_owned)
    };
    assert_eq!(note(), None, "the first key is made by the start");
    assert!(!key.exists(), "and not by the check");
    let signer = roots::key_for(&segments, &key).unwrap();
    roots::sign_past_days(&segments, footer.sealed_unix_ns + 86_400_000_000_000, &signer).unwrap();
    assert_eq!(note(), None);
    let old = site.path("root.key");
    std::fs::rename(&key, &old).unwrap();
    let told = note().expect("the key is missing");
    assert!(told.contains(&format!("mv {} {}", old.display(), key.display())), "{told}");
    let reason = roots::key_for(&segments, &key).unwrap_err().to_string();
    assert!(told.contains(&reason), "what the start meets: {told}");
    std::fs::remove_file(&old).unwrap();
    assert!(note().expect("the key is missing").contains("restore it"));
}

// REQ: FEP-SEG-404
#[test]
fn repair_says_what_it_did_and_fails_where_nothing_can_be_made_of_a_file() {
    let site = Site::new();
    let place = site.path("segments/black/cso-1.frames");
    std::fs::create_dir_all(&place).unwrap();
    let file = place.join("0000000000000001-0000000000000000.seg.damaged");
    std::fs::write(&file, vec![0; 20_000]).unwrap();
    let output = recorder(&[Path::new("repair"), &file]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nothing can be made of it"), "{}", stderr(&output));
    assert_eq!(recorder(&[Path::new("repair")]).output().unwrap().status.code(), Some(2));
}

fep_events::event_codes! {
    /// Of this test.
    enum TestEvent {
        /// One of many.
        Counted = 900, "counted", Normal, "nothing";
    }
}

// REQ: FEP-KIT-253
#[test]
fn events_rings_are_recorded_and_a_follower_reads_from_segments_what_a_ring_has_overwritten() {
    let site = Site::new();
    let segments = site.path("segments");
    let ring = EventRing::open(&site.path("bus"), "planner").unwrap();
    let _recorder = Running::start(&site.configure("one.toml", &segments, ""));
    let stream = Stream::new(Colour::Black, "planner.events");
    let spec = FollowSpec {
        archive: Some(segments.clone()),
        bus: None,
        stream,
        consumer: "disk".to_owned(),
        patience: Duration::ZERO,
    };
    // The ring holds 1024 events; each batch is on disk before the next comes.
    for batch in 0..4u64 {
        for n in 0..400u64 {
            let detail = serde_json::json!({"n": 400 * batch + n});
            ring.sender().report(TestEvent::Counted, u16::MAX, Session::Test, detail);
        }
        until("the batch is on disk", || {
            let Ok(mut disk) = Follow::open(spec.clone(), Start::Oldest) else { return false };
            let mut payload = Vec::new();
            let mut records = 0;
            while let Ok(Item::Record(_)) = disk.next(&mut payload) {
                records += 1;
            }
            records == 400 * (batch + 1)
        });
    }
    assert_eq!(ring.sender().unpublished(), 0);
    let mut follow = EventFollow::open(EventFollowSpec {
        rings: site.path("bus"),
        archive: Some(segments),
        cursors: None,
        consumer: "follower".to_owned(),
        start: Start::Oldest,
        patience: Duration::from_secs(10),
    })
    .unwrap();
    let mut next = 0u64;
    until("every event came", || {
        while let Some(item) = follow.next_item() {
            match item {
                // The recorder has events of its own.
                EventItem::Event(event) if event.event.code == 900 => {
                    assert_eq!(event.payload, format!(r#"{{"event":"counted","n":{next}}}"#).as_bytes());
                    next += 1;
                }
                EventItem::Event(event) => assert_eq!(event.stream.ring, "recorder.events"),
                other => panic!("{other:?}"),
            }
        }
        next == 1600
    });
}
