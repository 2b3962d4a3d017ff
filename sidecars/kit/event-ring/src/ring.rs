//! The events ring of a process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use fep_bus::{BusError, Producer, RingSpec, Tag};
use fep_events::{EventCode, Severity};
use fep_record::{KIND_EVENT, Session};
use fep_time::{Monotonic, tai_now};
use serde_json::{Value, json};

use crate::{EVENT_MAX, SCHEMA};

/// Events that wait to be published.
const WAITING_MAX: usize = 1024;
/// How often the thread shows that it lives, and looks whether its ring still has its name.
const HOUSEKEEPING: Duration = Duration::from_millis(200);
/// Pause before a ring that lost its name is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a process has no events ring.
#[derive(Debug, thiserror::Error)]
pub enum EventRingError {
    /// The ring: another process of this name lives ([`BusError::Held`]), or it cannot be made.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The thread that publishes cannot be started.
    #[error("no thread for the events ring: {0}")]
    Thread(std::io::Error),
}

/// The events ring of this process. With it ends the thread that publishes, after everything that waits is published.
#[derive(Debug)]
pub struct EventRing {
    sender: EventSender,
    thread: Option<JoinHandle<()>>,
}

/// Reports events from any thread: it never waits and opens no file.
#[derive(Debug, Clone)]
pub struct EventSender {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    waiting: ArrayQueue<Waiting>,
    unpublished: AtomicU64,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Waiting {
    tag: Tag,
    payload: Vec<u8>,
}

impl EventRing {
    /// Makes the ring `PROCESS.events`, or goes on in that of an earlier life of the process.
    ///
    /// # Errors
    /// [`BusError::Held`] when a live process has the ring; else why it cannot be made.
    pub fn open(rings: &Path, process: &str) -> Result<EventRing, EventRingError> {
        let spec = spec_of(process);
        let producer = Producer::create_or_attach(rings, &spec)?;
        EventRing::start(rings, spec, Some(producer))
    }

    /// As [`EventRing::open`] for a process that does its work without a ring, too: where there is none yet, because the
    /// directory does not exist, or may not be written, or another process has the ring, it is said once and tried again for
    /// as long as the process lives. Events wait meanwhile, as many as have room; what has none is counted
    /// ([`EventSender::unpublished`]). All are log lines in any case.
    ///
    /// # Errors
    /// [`EventRingError::Thread`].
    pub fn open_or_wait(rings: &Path, process: &str) -> Result<EventRing, EventRingError> {
        let spec = spec_of(process);
        let producer = Producer::create_or_attach(rings, &spec);
        let producer = producer
            .inspect_err(|error| tracing::warn!("{error}: events are log lines only until the ring exists"));
        EventRing::start(rings, spec, producer.ok())
    }

    fn start(rings: &Path, spec: RingSpec, producer: Option<Producer>) -> Result<EventRing, EventRingError> {
        let shared = Arc::new(Shared {
            waiting: ArrayQueue::new(WAITING_MAX),
            unpublished: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let publisher = Publisher { shared: Arc::clone(&shared), rings: rings.to_owned(), spec, producer };
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || publisher.run())
            .map_err(EventRingError::Thread)?;
        let sender = EventSender { shared, thread: thread.thread().clone() };
        Ok(EventRing { sender, thread: Some(thread) })
    }

    /// What threads report with.
    #[must_use]
    pub fn sender(&self) -> &EventSender {
        &self.sender
    }
}

fn spec_of(process: &str) -> RingSpec {
    RingSpec {
        desc_log2: 10,
        data_len: 2 << 20,
        extent_len: 1 << 20,
        payload_max: EVENT_MAX,
        prefault: false,
        ..RingSpec::new(format!("{process}.events"), SCHEMA)
    }
}

impl Drop for EventRing {
    fn drop(&mut self) {
        self.sender.shared.stop.store(true, Ordering::Release);
        self.sender.thread.unpark();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so; events are log lines then.
            let _ = thread.join();
        }
    }
}

impl EventSender {
    /// Logs an event and publishes it. `link_id` is `u16::MAX` when it concerns no link; `detail` is an object.
    pub fn report(&self, code: impl EventCode, link_id: u16, session: Session, mut detail: Value) {
        code.describe(&mut detail);
        log_described(code, &detail);
        let (flags, words) = code.record(link_id, session).to_words();
        let now = tai_now();
        let tag = Tag { kind: KIND_EVENT, flags, received: now, published: now, words };
        let mut payload = detail.to_string().into_bytes();
        if payload.len() > EVENT_MAX as usize {
            payload =
                json!({"event": code.name(), "advice": code.advice(), "detail": "too long, see the log"})
                    .to_string()
                    .into_bytes();
        }
        if self.shared.waiting.push(Waiting { tag, payload }).is_err() {
            self.shared.unpublished.fetch_add(1, Ordering::Relaxed);
        }
        self.thread.unpark();
    }

    /// Events that could not be published, because too many waited or the ring refused them. They are log lines all the same.
    #[must_use]
    pub fn unpublished(&self) -> u64 {
        self.shared.unpublished.load(Ordering::Relaxed)
    }
}

/// Logs an event of a process that has no ring (yet).
pub fn log(code: impl EventCode, mut detail: Value) {
    code.describe(&mut detail);
    log_described(code, &detail);
}

fn log_described(code: impl EventCode, detail: &Value) {
    match code.severity() {
        Severity::Normal => tracing::info!("{detail}"),
        Severity::Warning => tracing::warn!("{detail}"),
        Severity::Distress | Severity::Critical => tracing::error!("{detail}"),
    }
}

/// The thread that has the ring.
struct Publisher {
    shared: Arc<Shared>,
    rings: PathBuf,
    spec: RingSpec,
    /// Missing while the ring cannot be made again after somebody removed it.
    producer: Option<Producer>,
}

impl Publisher {
    fn run(mut self) {
        let mut next_housekeeping = Instant::now();
        let mut retry_at = Instant::now();
        loop {
            // Looked at first: what was reported before the end is published.
            let stops = self.shared.stop.load(Ordering::Acquire);
            let now = Instant::now();
            if now >= next_housekeeping {
                next_housekeeping = now + HOUSEKEEPING;
                self.keep_house(now, &mut retry_at);
            }
            self.publish_waiting(stops);
            if stops {
                return;
            }
            std::thread::park_timeout(HOUSEKEEPING);
        }
    }

    fn keep_house(&mut self, now: Instant, retry_at: &mut Instant) {
        if let Some(producer) = &mut self.producer {
            producer.housekeep(Monotonic::now());
            if producer.is_still_linked() {
                return;
            }
            tracing::warn!("{}: the events ring was removed; it is made again", producer.path().display());
            self.producer = None;
        }
        if now >= *retry_at {
            *retry_at = now + RETRY;
            match Producer::create_or_attach(&self.rings, &self.spec) {
                Ok(producer) => {
                    tracing::info!("{}: the events ring exists", producer.path().display());
                    self.producer = Some(producer);
                }
                // Said when it was lost; every second again would drown what is worth reading.
                Err(error) => tracing::debug!("{error}: events are log lines only"),
            }
        }
    }

    /// Without a ring events wait for it, as many as have room; at the end they are counted.
    fn publish_waiting(&mut self, stops: bool) {
        let Some(producer) = &mut self.producer else {
            if stops {
                self.shared.unpublished.fetch_add(self.shared.waiting.len() as u64, Ordering::Relaxed);
            }
            return;
        };
        while let Some(Waiting { tag, payload }) = self.shared.waiting.pop() {
            if let Err(error) = producer.publish(tag, &payload) {
                self.shared.unpublished.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "event not published");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fep_bus::{Consumer, Poll, Resume};

    use super::*;

    fep_events::event_codes! {
        /// Of these tests.
        enum TestEvent {
            /// Good.
            Good = 1, "good", Normal, "nothing";
            /// Bad.
            Bad = 2, "bad", Distress, "look";
        }
    }

    fn records(rings: &Path, ring: &str) -> Vec<(u64, String)> {
        let mut consumer = Consumer::attach(rings, ring, "test", Resume::Oldest).unwrap();
        let mut payload = Vec::new();
        let mut found = Vec::new();
        while let Poll::Record(record) = consumer.poll(&mut payload) {
            found.push((record.seq, String::from_utf8(payload.clone()).unwrap()));
        }
        found
    }

    // REQ: FEP-KIT-252
    #[test]
    fn no_second_process_takes_the_name_of_a_living_one_and_a_restart_goes_on_in_the_same_ring() {
        let directory = tempfile::tempdir().unwrap();
        let first = EventRing::open(directory.path(), "planner").unwrap();
        first.sender().report(TestEvent::Good, u16::MAX, Session::Ops, json!({}));
        let second = EventRing::open(directory.path(), "planner");
        assert!(matches!(second, Err(EventRingError::Bus(BusError::Held { .. }))), "{second:?}");
        EventRing::open(directory.path(), "other").unwrap();
        drop(first);
        let again = EventRing::open(directory.path(), "planner").unwrap();
        again.sender().report(TestEvent::Bad, u16::MAX, Session::Ops, json!({"n": 2}));
        drop(again);
        let found = records(directory.path(), "planner.events");
        let payloads: Vec<_> = found.iter().map(|(_, payload)| payload.as_str()).collect();
        assert_eq!(payloads, [r#"{"event":"good"}"#, r#"{"advice":"look","event":"bad","n":2}"#]);
        assert_eq!(found[1].0, found[0].0 + 1, "the numbers go on");
    }

    // REQ: FEP-KIT-255
    #[test]
    fn a_process_begins_without_a_ring_and_what_it_reported_is_published_when_the_ring_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let rings = directory.path().join("bus");
        // A file where the directory should be: no ring can be made, by whatever user.
        std::fs::write(&rings, "").unwrap();
        let ring = EventRing::open_or_wait(&rings, "planner").unwrap();
        let began = Instant::now();
        for n in 0..WAITING_MAX + 10 {
            ring.sender().report(TestEvent::Good, u16::MAX, Session::Ops, json!({"n": n}));
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nobody waits for a ring");
        assert_eq!(ring.sender().unpublished(), 10);
        std::fs::remove_file(&rings).unwrap();
        std::fs::create_dir(&rings).unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        while !ring.sender().shared.waiting.is_empty() {
            assert!(Instant::now() < give_up, "the ring is not made");
            std::thread::sleep(Duration::from_millis(10));
        }
        let sender = ring.sender().clone();
        drop(ring);
        let mut consumer = Consumer::attach(&rings, "planner.events", "test", Resume::Oldest).unwrap();
        // The oldest of them the ring has overwritten meanwhile: its numbers count them.
        let mut last = 0;
        while let Poll::Record(record) = consumer.poll(&mut Vec::new()) {
            last = record.seq;
        }
        assert_eq!(last, WAITING_MAX as u64);
        assert_eq!(sender.unpublished(), 10);
    }

    // REQ: FEP-KIT-252
    #[test]
    fn what_many_threads_report_is_published_or_counted_to_the_unit() {
        let directory = tempfile::tempdir().unwrap();
        let ring = EventRing::open(directory.path(), "planner").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sender = ring.sender().clone();
                scope.spawn(move || {
                    for n in 0..500 {
                        let detail = json!({"thread": thread, "n": n});
                        sender.report(TestEvent::Good, u16::MAX, Session::Test, detail);
                    }
                });
            }
        });
        let sender = ring.sender().clone();
        drop(ring);
        let mut consumer =
            Consumer::attach(directory.path(), "planner.events", "test", Resume::Oldest).unwrap();
        let mut records = 0;
        let mut payload = Vec::new();
        loop {
            match consumer.poll(&mut payload) {
                Poll::Record(_) => records += 1,
                // What the ring has overwritten was published, too.
                Poll::Gap(gap) => records += gap.records,
                Poll::Restarted { .. } => {}
                _ => break,
            }
        }
        // An attachment at the oldest record does not count what was overwritten before it.
        let overwritten = consumer.position().seq - consumer.first().seq - records;
        assert_eq!(overwritten + records + sender.unpublished(), 2000);
    }

    // REQ: FEP-KIT-252
    #[test]
    fn a_payload_that_is_too_long_is_published_as_its_name_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let ring = EventRing::open(directory.path(), "planner").unwrap();
        let long = "x".repeat(EVENT_MAX as usize);
        ring.sender().report(TestEvent::Bad, u16::MAX, Session::Ops, json!({"text": long}));
        let sender = ring.sender().clone();
        drop(ring);
        let found = records(directory.path(), "planner.events");
        assert_eq!(found[0].1, r#"{"advice":"look","detail":"too long, see the log","event":"bad"}"#);
        assert_eq!(sender.unpublished(), 0);
    }
}
