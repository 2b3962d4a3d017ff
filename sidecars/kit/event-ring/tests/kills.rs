//! Followers and producers that are killed at any moment: what a follower has had, and what it says was lost, are together
//! every event of every ring. This program is producer and follower, too, in other roles.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{Consumer, Poll, Resume};
use fep_event_ring::{EventFollow, EventFollowSpec, EventItem, EventRing};
use fep_record::Session;
use fep_segments::Start;
use serde_json::json;

fep_events::event_codes! {
    /// Of this test.
    enum TestEvent {
        /// One of many.
        Counted = 900, "counted", Warning, "count it";
    }
}

/// Records that an events ring holds.
const RING: u64 = 1024;
/// What a follower writes down between two commits: octets, and how many lines that can be at most.
const BATCH: usize = 500;
const BATCH_EVENTS: usize = BATCH / "event black/first.events 1\n".len() + 1;

fn main() -> ExitCode {
    let place = std::env::var_os("PLACE").map(PathBuf::from);
    match (std::env::var("ROLE").as_deref(), place) {
        (Ok("produce"), Some(place)) => produce(&place, &std::env::var("NAME").expect("a name")),
        (Ok("follow"), Some(place)) => follow(&place),
        _ => {
            nothing_is_missed_and_what_is_lost_is_counted_exactly_over_kills_of_follower_and_producers();
            println!("it holds");
        }
    }
    ExitCode::SUCCESS
}

/// Publishes until it is killed.
fn produce(place: &Path, name: &str) {
    let ring = EventRing::open(&place.join("bus"), name).expect("a ring");
    for n in 0u64.. {
        ring.sender().report(TestEvent::Counted, u16::MAX, Session::Test, json!({"n": n}));
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn spec(place: &Path) -> EventFollowSpec {
    EventFollowSpec {
        rings: place.join("bus"),
        archive: None,
        cursors: Some(place.join("cursors.json")),
        consumer: "follower".to_owned(),
        start: Start::Oldest,
        patience: Duration::ZERO,
    }
}

/// Writes down what it has, and then commits, until it is killed.
fn follow(place: &Path) {
    let mut follow = EventFollow::open(spec(place)).expect("it follows");
    let mut log = std::fs::File::options().append(true).create(true).open(place.join("log")).expect("a log");
    log.write_all(b"life\n").expect("written");
    loop {
        let mut lines = String::new();
        while let Some(item) = follow.next_item() {
            match item {
                EventItem::Event(event) => {
                    assert_eq!((event.event.code, event.event.severity), (900, 2));
                    assert!(event.payload.starts_with(br#"{"advice":"count it","event":"counted","n":"#));
                    lines += &format!("event {} {}\n", event.stream, event.record.seq);
                }
                EventItem::Lost { stream, loss } => {
                    lines += &format!("lost {stream} {} {}\n", loss.from.seq, loss.to.seq);
                }
                EventItem::Series { stream } => lines += &format!("series {stream} 0\n"),
            }
            if lines.len() > BATCH {
                break;
            }
        }
        // First what was to be done with them, then the cursors: the kill may come between the two.
        log.write_all(lines.as_bytes()).expect("written");
        follow.commit().expect("kept");
        if lines.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Killed with this value, by SIGKILL.
struct Running(Child);

impl Running {
    fn start(place: &Path, role: &str, name: &str) -> Running {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env("ROLE", role).env("PLACE", place).env("NAME", name).stdin(Stdio::null());
        Running(command.spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn heads(place: &Path) -> BTreeMap<String, (u64, u64)> {
    let rings = fep_bus::list(&place.join("bus")).expect("rings");
    rings
        .into_iter()
        .flatten()
        .map(|ring| (format!("black/{}", ring.name), (ring.start.seq, ring.head.seq)))
        .collect()
}

fn head(place: &Path, ring: &str) -> u64 {
    heads(place).get(ring).map_or(0, |(_, head)| *head)
}

/// The number of the next record of a ring whose producer is dead.
fn end(place: &Path, ring: &str) -> u64 {
    let mut consumer =
        Consumer::attach(&place.join("bus"), ring, "oracle", Resume::Oldest).expect("the ring is whole");
    let mut payload = Vec::new();
    while !matches!(consumer.poll(&mut payload), Poll::Empty | Poll::Closed) {}
    consumer.position().seq
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a follower wrote down of one ring.
#[derive(Default)]
struct Had {
    /// How often each event came.
    seen: BTreeMap<u64, u64>,
    lost: BTreeMap<u64, u64>,
    last_in_life: Option<u64>,
}

fn written(place: &Path) -> BTreeMap<String, Had> {
    let mut had: BTreeMap<String, Had> = BTreeMap::new();
    // A line that the kill cut short is not done: its event comes again.
    let text = std::fs::read_to_string(place.join("log")).unwrap_or_default();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["event", stream, seq] => {
                let had = had.entry(stream.to_owned()).or_default();
                let seq = seq.parse().expect("a number");
                assert!(had.last_in_life.is_none_or(|last| seq > last), "in order: {line}");
                had.last_in_life = Some(seq);
                *had.seen.entry(seq).or_default() += 1;
            }
            ["lost", stream, from, to] => {
                let range = from.parse().expect("a number")..to.parse().expect("a number");
                let lost = &mut had.entry(stream.to_owned()).or_default().lost;
                range.for_each(|seq| *lost.entry(seq).or_default() += 1);
            }
            ["life"] => had.values_mut().for_each(|had| had.last_in_life = None),
            _ => panic!("{line}"),
        }
    }
    had
}

// REQ: FEP-KIT-253
fn nothing_is_missed_and_what_is_lost_is_counted_exactly_over_kills_of_follower_and_producers() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let mut first = Running::start(place, "produce", "first");
    until("the first ring", || head(place, "black/first.events") > 0);
    let mut second = None;
    for round in 0..8 {
        let follower = Running::start(place, "follow", "");
        if round == 2 {
            // A ring that appears while the follower runs.
            second = Some(Running::start(place, "produce", "second"));
        }
        let length = || std::fs::metadata(place.join("log")).map_or(0, |metadata| metadata.len());
        let before = length();
        until("the follower works", || length() > before + 3_000);
        if round % 2 == 1 {
            first = restarted(first, place, "first");
        }
        drop(follower);
        if round == 4 {
            // More than the ring holds comes while nobody follows.
            let from = head(place, "black/first.events");
            until("it is lapped", || head(place, "black/first.events") > from + RING + 300);
        }
    }
    drop(first);
    drop(second);
    // The head that a listing shows is a hint that a killed producer left behind: the end is where a reader finds nothing more.
    let mut heads = heads(place);
    heads.iter_mut().for_each(|(ring, (_, head))| *head = end(place, ring.trim_start_matches("black/")));
    assert_eq!(heads.keys().collect::<Vec<_>>(), ["black/first.events", "black/second.events"]);
    let follower = Running::start(place, "follow", "");
    let is_complete = |had: &BTreeMap<String, Had>| {
        heads.iter().all(|(ring, (start, head))| {
            had.get(ring).is_some_and(|had| {
                (*start..*head).all(|seq| had.seen.contains_key(&seq) || had.lost.contains_key(&seq))
            })
        })
    };
    until("every event is had or said to be lost", || is_complete(&written(place)));
    drop(follower);
    let had = written(place);
    let mut lost = 0;
    for (ring, had) in &had {
        lost += had.lost.len() as u64;
        // What was had and not committed when the follower was killed may be overwritten before the next one begins: it counts
        // as lost then. The one lap of this test can do that to one batch.
        let both = had.lost.keys().filter(|seq| had.seen.contains_key(seq)).count();
        assert!(both <= BATCH_EVENTS, "{ring}: lost is what nobody had and committed: {both}");
        let beyond = had.seen.keys().chain(had.lost.keys()).find(|seq| **seq >= heads[ring].1);
        assert_eq!(beyond, None, "{ring}: nothing is made up");
    }
    assert!(lost >= 300, "the ring was lapped: {lost}");
    // What the cursors count, each event once, is what was published.
    let follow = EventFollow::open(spec(place)).expect("it follows");
    for (ring, events, lost) in follow.counts() {
        let (start, head) = heads[ring];
        assert_eq!(events + lost, head - start, "{ring}");
        assert_eq!(lost, had[ring].lost.len() as u64, "{ring}");
    }
}

fn restarted(running: Running, place: &Path, name: &str) -> Running {
    drop(running);
    Running::start(place, "produce", name)
}
