//! One ring recorded in this process, turn by turn: what is on disk, what a follower sees, and what a death costs.

use fep_time::Tai;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fep_bus::{Colour, OnFull, Producer, RingSpec, Tag};
use fep_recorder::{Disk, Room, StreamOptions, StreamRecorder};
use fep_segments::{
    Follow, FollowSpec, Item, LossCause, Place, SegmentError, SegmentState, Start, Stream, list, verify_tree,
};
use proptest::prelude::*;

#[path = "recording/restart.rs"]
mod restart;

const RING: &str = "cso-1.frames";

fn stream() -> Stream {
    Stream::new(Colour::Black, RING)
}

/// Directories of rings and segments, gone with this value.
struct Site {
    _directory: tempfile::TempDir,
    rings: PathBuf,
    archive: PathBuf,
}

impl Site {
    fn new() -> Site {
        Site::within(tempfile::tempdir().unwrap())
    }

    /// Where commits cost nothing, for tests of many lives.
    fn in_memory() -> Site {
        let memory = Path::new("/dev/shm");
        Site::within(
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap(),
        )
    }

    fn within(directory: tempfile::TempDir) -> Site {
        let (rings, archive) = (directory.path().join("bus"), directory.path().join("archive"));
        Site { _directory: directory, rings, archive }
    }

    fn options(&self) -> StreamOptions {
        StreamOptions {
            archive: self.archive.clone(),
            rings: self.rings.clone(),
            consumer: "recorder".to_owned(),
            segment_len: 256 << 10,
            seal_after: Duration::from_secs(600),
            block_len: 16 << 10,
            blocks_waiting: 8,
            commit_interval: Duration::ZERO,
            commit_len: 64 << 10,
            direct: true,
        }
    }

    /// A ring that holds about 400 records of the test.
    fn producer(&self, data_len: u64) -> Producer {
        let spec = RingSpec {
            desc_log2: 9,
            data_len,
            extent_len: 64 << 10,
            payload_max: 4 << 10,
            gates: vec!["recorder".to_owned()],
            on_full: OnFull::Evict,
            prefault: false,
            ..RingSpec::new(RING, "ccsds.frame.v1")
        };
        Producer::create_or_attach(&self.rings, &spec).unwrap()
    }

    fn follow(&self, start: Start) -> Follow {
        let spec = FollowSpec {
            archive: Some(self.archive.clone()),
            bus: Some(self.rings.clone()),
            stream: stream(),
            consumer: "follower".to_owned(),
            patience: Duration::ZERO,
        };
        Follow::open(spec, start).unwrap()
    }
}

fn payload(number: u64) -> Vec<u8> {
    let len = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize % 700 + 8;
    let mut octets: Vec<u8> = (0..len).map(|index| (number as usize * 7 + index) as u8).collect();
    octets[..8].copy_from_slice(&number.to_le_bytes());
    octets
}

fn publish(producer: &mut Producer, number: u64) {
    let now = fep_time::tai_now().0;
    let tag =
        Tag { kind: 1, flags: 0, received: Tai(number as i64), published: Tai(now), words: [number, 0] };
    producer.publish(tag, &payload(number)).unwrap();
}

/// A recorder with its disk: dropping both is what a death leaves, as far as files can show it.
struct Recording {
    recorder: StreamRecorder,
    disk: Disk,
}

impl Recording {
    fn open(options: StreamOptions) -> Recording {
        let recorder = StreamRecorder::open(options, stream(), 3).unwrap();
        Recording { recorder, disk: Disk::new(true).0 }
    }

    fn turn(&mut self) -> Result<bool, SegmentError> {
        while let Some(done) = self.disk.next_done() {
            self.recorder.done(done);
        }
        self.recorder.turn(Instant::now(), &mut self.disk, Room::Free)
    }

    /// Until everything there is is on disk.
    fn settle(&mut self) {
        loop {
            let moved = self.turn().unwrap();
            self.disk.wait(Duration::from_millis(5));
            if !moved && self.recorder.is_settled() {
                return;
            }
        }
    }
}

/// Everything a follower has to say until it has nothing more; payloads are checked.
fn drain(follow: &mut Follow) -> Vec<Item> {
    let (mut items, mut payload_read) = (Vec::new(), Vec::new());
    loop {
        let item = follow.next(&mut payload_read).unwrap();
        match item {
            Item::Empty => return items,
            Item::Record(record) => {
                assert_eq!(payload_read, payload(record.tag.words[0]), "record {}", record.seq);
            }
            Item::Gap(_) | Item::Series(_) => {}
        }
        items.push(item);
    }
}

fn numbers(items: &[Item]) -> Vec<u64> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Record(record) => Some(record.tag.words[0]),
            _ => None,
        })
        .collect()
}

fn seal_leftovers(archive: &Path) {
    for entry in list(archive, &stream()).unwrap() {
        if entry.state == SegmentState::Open {
            let chain = fep_segments::Chain::of(archive, &stream()).unwrap();
            let recovered = fep_segments::recover(&entry.path).unwrap();
            if !recovered.blocks.is_empty() {
                recovered.seal(chain, 1).unwrap();
            }
        }
    }
}

// REQ: FEP-REC-001
// REQ: FEP-REC-002
#[test]
fn every_record_is_on_disk_in_order_over_many_segments_and_laps_of_the_ring() {
    let site = Site::new();
    let mut producer = site.producer(256 << 10);
    let mut recording = Recording::open(site.options());
    for number in 1..=5000 {
        publish(&mut producer, number);
        if number % 50 == 0 {
            recording.settle();
        }
    }
    recording.settle();
    assert_eq!(recording.recorder.figures().records, 5000);
    assert_eq!(recording.recorder.lost(), (0, 0));
    assert_eq!(recording.recorder.durable().seq, 5001);
    assert_eq!(recording.recorder.lag_records(), 0);
    assert_eq!(recording.recorder.figures().durable_latency_ns.len(), 5000);
    drop(recording);
    seal_leftovers(&site.archive);
    let report = verify_tree(&site.archive, &fep_segments::Expected::default(), |_, _| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert!(report.streams[&stream()].len() > 3);
    assert_eq!(report.streams[&stream()].iter().map(|segment| segment.records).sum::<u64>(), 5000);
    let items = drain(&mut site.follow(Start::Oldest));
    assert_eq!(numbers(&items), (1..=5000).collect::<Vec<_>>());
    // From any time on, over any number of segments.
    for from in [1, 777, 2500, 4999, 5000] {
        let items = drain(&mut site.follow(Start::Time(from)));
        assert_eq!(numbers(&items), (from as u64..=5000).collect::<Vec<_>>(), "from {from}");
    }
}

// REQ: FEP-REC-003
#[test]
fn the_cursor_never_says_more_than_what_is_on_disk() {
    let site = Site::new();
    let mut producer = site.producer(256 << 10);
    // Nothing is ever committed by itself: the interval is an hour.
    let options = StreamOptions { commit_interval: Duration::from_secs(3600), ..site.options() };
    let mut recording = Recording::open(options);
    (1..=5).for_each(|number| publish(&mut producer, number));
    for _ in 0..20 {
        recording.turn().unwrap();
    }
    recording.recorder.heartbeat().unwrap();
    assert_eq!(recording.recorder.durable().seq, 1, "copied and not on disk");
    drop(recording);
    // A new life reads them again from the ring.
    let mut recording = Recording::open(site.options());
    recording.settle();
    assert_eq!(recording.recorder.figures().records, 5);
    assert_eq!(recording.recorder.durable().seq, 6);
}

// REQ: FEP-REC-004
#[test]
fn what_was_overwritten_while_the_recorder_was_away_is_one_exact_loss_record() {
    let site = Site::new();
    let mut producer = site.producer(128 << 10);
    let mut recording = Recording::open(site.options());
    (1..=100).for_each(|number| publish(&mut producer, number));
    recording.settle();
    drop(recording);
    (101..=2000).for_each(|number| publish(&mut producer, number));
    let mut recording = Recording::open(site.options());
    recording.settle();
    let (lost, lost_octets) = recording.recorder.lost();
    assert!(lost > 500);
    assert_eq!(recording.recorder.figures().records + lost, 1900);
    let octets: u64 = (101..101 + lost).map(|number| payload(number).len() as u64).sum();
    assert_eq!(lost_octets, octets);
    let items = drain(&mut site.follow(Start::Oldest));
    let gaps: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Gap(loss) => Some((loss.from.seq, loss.records(), loss.octets())),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [(101, lost, lost_octets)]);
    assert_eq!(numbers(&items).len() as u64, 2000 - lost);
}

// REQ: FEP-REC-004
#[test]
fn what_was_overwritten_before_the_recorder_came_is_a_loss_record_too() {
    let site = Site::new();
    let mut producer = site.producer(128 << 10);
    (1..=2000).for_each(|number| publish(&mut producer, number));
    let mut recording = Recording::open(site.options());
    recording.settle();
    let items = drain(&mut site.follow(Start::Oldest));
    let Item::Gap(loss) = items[0] else { panic!("{:?}", items[0]) };
    assert_eq!((loss.from.seq, loss.cause), (1, LossCause::BeforeRecorder));
    assert_eq!(loss.records() + numbers(&items).len() as u64, 2000);
}

// REQ: FEP-REC-005
#[test]
fn a_reboot_begins_a_series_and_a_new_layout_continues_one() {
    let site = Site::new();
    let mut recording = {
        let mut producer = site.producer(256 << 10);
        let mut recording = Recording::open(site.options());
        (1..=100).for_each(|number| publish(&mut producer, number));
        recording.settle();
        recording
    };
    // Laid out anew by an orderly producer: the numbers go on.
    let mut producer = site.producer(512 << 10);
    (101..=150).for_each(|number| publish(&mut producer, number));
    // The recorder only notices in its heartbeat, and opens itself again.
    recording.recorder.heartbeat().unwrap();
    for _ in 0..1000 {
        recording.disk.wait(Duration::from_millis(1));
        if recording.turn().is_err() {
            break;
        }
    }
    drop(recording);
    let mut recording = Recording::open(site.options());
    recording.settle();
    assert_eq!(recording.recorder.durable().seq, 151);
    drop(recording);
    drop(producer);
    // A reboot: the memory file system is empty, numbering begins again.
    std::fs::remove_dir_all(&site.rings).unwrap();
    let mut producer = site.producer(256 << 10);
    (1001..=1010).for_each(|number| publish(&mut producer, number));
    let mut recording = Recording::open(site.options());
    recording.settle();
    let items = drain(&mut site.follow(Start::Oldest));
    let expected: Vec<u64> = (1..=150).chain(1001..=1010).collect();
    assert_eq!(numbers(&items), expected);
    let series = items.iter().filter(|item| matches!(item, Item::Series(_))).count();
    assert_eq!(series, 1);
    assert!(!items.iter().any(|item| matches!(item, Item::Gap(_))));
}

// REQ: FEP-REC-007
#[test]
fn one_process_records_a_ring_and_another_is_told_so() {
    let site = Site::new();
    let _producer = site.producer(256 << 10);
    let _recording = Recording::open(site.options());
    let error = StreamRecorder::open(site.options(), stream(), 4).err().unwrap().to_string();
    let this = format!("held by the live process {}: one recorder of a ring at a time", std::process::id());
    assert!(error.contains(&this), "{error}");
}

#[derive(Debug, Clone)]
enum Act {
    Publish(u16),
    Turns(u8),
    Settle,
    KillRecorder,
    StartRecorder,
    TearTail(u16),
    Follow(u8),
    RestartFollower,
    RestartProducer(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..400_u16).prop_map(Act::Publish),
        3 => (1..20_u8).prop_map(Act::Turns),
        2 => Just(Act::Settle),
        2 => Just(Act::KillRecorder),
        3 => Just(Act::StartRecorder),
        1 => any::<u16>().prop_map(Act::TearTail),
        3 => any::<u8>().prop_map(Act::Follow),
        2 => Just(Act::RestartFollower),
        1 => any::<bool>().prop_map(Act::RestartProducer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 30, ..ProptestConfig::default() })]

    // REQ: FEP-REC-008
    // REQ: FEP-SEG-008
    #[test]
    fn a_follower_sees_every_record_once_whoever_dies_and_every_gap_once(acts in prop::collection::vec(act(), 1..60)) {
        let site = Site::in_memory();
        let mut producer = Some(site.producer(128 << 10));
        // The recorder has seen the ring once: its first segment ties every later layout of the ring to the numbering.
        let mut published = 1_u64;
        publish(producer.as_mut().unwrap(), published);
        let mut recording = Some(Recording::open(site.options()));
        recording.as_mut().unwrap().settle();
        let mut follow: Option<Follow> = None;
        let mut place: Option<Place> = None;
        // Where it begins without a place is the oldest record there is.
        let mut next = None;
        let mut told = |items: Vec<Item>, published: u64| {
            for item in items {
                let begins = match item {
                    Item::Record(record) => record.seq,
                    Item::Gap(loss) => loss.from.seq,
                    Item::Series(_) | Item::Empty => 1,
                };
                let next = next.get_or_insert(begins);
                match item {
                    Item::Record(record) => {
                        assert_eq!(record.seq, *next, "neither twice nor missing");
                        assert_eq!(record.tag.words[0], record.seq);
                        *next += 1;
                    }
                    Item::Gap(loss) => {
                        assert_eq!(loss.from.seq, *next, "{loss:?}");
                        let octets: u64 = (loss.from.seq..loss.to.seq).map(|seq| payload(seq).len() as u64).sum();
                        assert_eq!(loss.octets(), octets, "{loss:?}");
                        *next = loss.to.seq;
                    }
                    Item::Series(place) => panic!("the numbering never begins anew here: {place}"),
                    Item::Empty => {}
                }
            }
            let next = next.unwrap_or(1);
            assert!(next <= published + 1);
            next
        };
        for act in acts {
            match act {
                Act::Publish(count) => {
                    for _ in 0..count {
                        published += 1;
                        publish(producer.as_mut().unwrap(), published);
                    }
                }
                Act::Turns(count) => {
                    if let Some(recording) = &mut recording {
                        let recording: &mut Recording = recording;
                        for _ in 0..count {
                            if recording.turn().is_err() {
                                break;
                            }
                        }
                    }
                }
                Act::Settle => {
                    if let Some(recording) = &mut recording {
                        let recording: &mut Recording = recording;
                        // It stops by itself when the ring was laid out anew.
                        for _ in 0..200 {
                            let Ok(moved) = recording.turn() else { break };
                            recording.disk.wait(Duration::from_millis(2));
                            if !moved && recording.recorder.is_settled() { break; }
                        }
                    }
                }
                Act::KillRecorder => recording = None,
                Act::StartRecorder => {
                    // The one before must have let go.
                    drop(recording.take());
                    recording = Some(Recording::open(site.options()));
                }
                Act::TearTail(octets) => {
                    // Only what a dead recorder left can be torn: within its last block.
                    if recording.is_none()
                        && let Some(entry) = list(&site.archive, &stream()).unwrap().last()
                        && entry.state == SegmentState::Open
                    {
                        let recovered = fep_segments::recover(&entry.path).unwrap();
                        if let Some(last) = recovered.blocks.last() {
                            let file = std::fs::OpenOptions::new().write(true).open(&entry.path).unwrap();
                            file.set_len(last.offset + u64::from(octets) % last.file_len()).unwrap();
                        }
                    }
                }
                Act::Follow(limit) => {
                    let follower = follow.get_or_insert_with(|| site.follow(place.map_or(Start::Oldest, Start::At)));
                    let (mut items, mut octets) = (Vec::new(), Vec::new());
                    for _ in 0..usize::from(limit) * 4 {
                        let item = follower.next(&mut octets).unwrap();
                        if item == Item::Empty { break; }
                        if let Item::Record(record) = item {
                            assert_eq!(octets, payload(record.seq));
                        }
                        items.push(item);
                    }
                    if !items.is_empty() {
                        place = Some(follower.place());
                    }
                    told(items, published);
                }
                Act::RestartFollower => drop(follow.take()),
                Act::RestartProducer(other_layout) => {
                    drop(producer.take());
                    producer = Some(site.producer(if other_layout { 256 << 10 } else { 128 << 10 }));
                }
            }
        }
        // A ring tells of a loss with the record behind it: one more, so that every loss has its other end.
        published += 1;
        publish(producer.as_mut().unwrap(), published);
        // At the end a recorder takes what there is, and the follower reads to the end.
        drop(recording.take());
        let mut recording = Recording::open(site.options());
        for _ in 0..2000 {
            let Ok(moved) = recording.turn() else { break };
            recording.disk.wait(Duration::from_millis(2));
            if !moved && recording.recorder.is_settled() { break; }
        }
        if published > 0 && place.is_some() {
            drop(follow.take());
            let mut follower = site.follow(place.map_or(Start::Oldest, Start::At));
            let mut end = told(drain(&mut follower), published);
            let started = Instant::now();
            while end <= published && started.elapsed() < Duration::from_secs(3) {
                std::thread::sleep(Duration::from_millis(20));
                end = told(drain(&mut follower), published);
            }
            let segments = list(&site.archive, &stream()).unwrap();
            prop_assert_eq!(
                end,
                published + 1,
                "everything is a record or a gap; {} {:?} durable {:?} {:?}",
                follower.place(),
                follower.source(),
                recording.recorder.durable(),
                segments
            );
        }
        drop(recording);
        seal_leftovers(&site.archive);
        let report = verify_tree(&site.archive, &fep_segments::Expected::default(), |_, _| {}).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report);
    }
}
