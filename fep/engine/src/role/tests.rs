use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::plan::{Class, Seat};
use fep_net::WaitMode;

/// What a life of the job under test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Runs until it is stopped.
    Obey,
    /// Fails, and keeps what it has.
    Fail,
    Panic,
    /// Does not look at its commands until it is released.
    Hang,
}

#[derive(Clone)]
struct TestJob {
    number: u32,
    acts: Arc<Mutex<Vec<Act>>>,
    released: Arc<AtomicU32>,
    /// What each life was given: what the one before kept.
    given: Arc<Mutex<Vec<Option<u32>>>>,
}

impl PartialEq for TestJob {
    fn eq(&self, other: &TestJob) -> bool {
        self.number == other.number
    }
}

impl TestJob {
    /// `acts` are done in turn; the last one for ever.
    fn new(number: u32, acts: &[Act]) -> TestJob {
        TestJob {
            number,
            acts: Arc::new(Mutex::new(acts.iter().rev().copied().collect())),
            released: Arc::default(),
            given: Arc::default(),
        }
    }
}

impl Job for TestJob {
    type Kept = u32;

    fn name(&self) -> &str {
        "test"
    }

    fn run(self, kept: Option<u32>, _seat: Seat, line: &Line) -> Ended<u32> {
        self.given.lock().unwrap().push(kept);
        let act = {
            let mut acts = self.acts.lock().unwrap();
            if acts.len() > 1 { acts.pop().unwrap() } else { acts[0] }
        };
        match act {
            Act::Fail => {
                return Ended { kept: Some(self.number), failure: Some("the bind failed".to_owned()) };
            }
            Act::Panic => panic!("number {}", self.number),
            Act::Hang => {
                line.report_ready();
                while self.released.load(Ordering::Relaxed) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Act::Obey => {
                line.report_ready();
                while line.next() != Some(Command::Stop) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ended { kept: Some(self.number), failure: None }
    }

    fn keep_alive(_kept: &mut u32, _now: Monotonic) {}
}

const PATIENCE: Patience = Patience { restart_min_ms: 100, restart_max_ms: 1000, stop_timeout_ms: 50 };

fn seat() -> Seat {
    Seat { core: None, class: Class::Normal, wait: WaitMode::Wait }
}

/// A role and a clock that stands until a test moves it.
struct World {
    role: Role<TestJob>,
    now: Monotonic,
}

impl World {
    fn new(job: &TestJob) -> World {
        World { role: Role::new(job.clone(), true, PATIENCE), now: Monotonic(1) }
    }

    /// Looks after the role, with time standing still, until there is news.
    fn news(&mut self) -> News {
        for _ in 0..30_000 {
            if self.role.is_due(self.now) {
                assert_eq!(self.role.start(seat(), self.now), None);
            }
            if let Some(news) = self.role.look_after(self.now) {
                return news;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("nothing happened");
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ns(ms as i64 * 1_000_000);
    }
}

fn is_failure(news: &News, what: &str) -> u64 {
    let News::Failed { cause, retry_ms: Some(retry_ms) } = news else { panic!("{news:?}") };
    assert!(cause.contains(what), "{cause}");
    *retry_ms
}

// REQ: FEP-ENG-101
#[test]
fn a_role_that_fails_is_tried_again_after_its_pause_with_what_it_kept() {
    let job = TestJob::new(7, &[Act::Fail, Act::Fail, Act::Obey]);
    let mut world = World::new(&job);
    let pause = is_failure(&world.news(), "the bind failed");
    assert!(!world.role.is_due(world.now), "it waits");
    assert!(world.role.is_settled(world.now), "nobody waits for it");
    assert!(world.role.retry_ms(world.now).is_some_and(|left| left <= pause));
    world.pass_ms(100);
    is_failure(&world.news(), "the bind failed");
    world.pass_ms(200);
    assert_eq!(world.news(), News::Ready);
    assert_eq!(*job.given.lock().unwrap(), [None, Some(7), Some(7)]);
    assert_eq!(world.role.restarts(), 2);
}

// REQ: FEP-ENG-101
#[test]
fn a_panic_is_a_failure_with_its_words_and_the_next_life_builds_everything_anew() {
    let job = TestJob::new(3, &[Act::Panic, Act::Obey]);
    let mut world = World::new(&job);
    is_failure(&world.news(), "panic: number 3");
    world.pass_ms(100);
    assert_eq!(world.news(), News::Ready);
    assert_eq!(*job.given.lock().unwrap(), [None, None]);
}

// REQ: FEP-ENG-102
#[test]
fn a_thread_that_does_not_stop_is_abandoned_and_nothing_of_it_is_used_before_it_has_ended() {
    let job = TestJob::new(1, &[Act::Hang, Act::Obey]);
    let mut world = World::new(&job);
    assert_eq!(world.news(), News::Ready);
    let successor = TestJob { number: 2, ..job.clone() };
    world.role.replace(successor, true, world.now);
    assert!(!world.role.is_settled(world.now) && world.role.look_after(world.now).is_none());
    world.pass_ms(50);
    assert_eq!(world.news(), News::Abandoned { after_ms: 50 });
    assert!(world.role.is_settled(world.now) && world.role.failure().is_some());
    world.pass_ms(10_000);
    assert!(!world.role.is_due(world.now), "the old thread still has the rings");
    job.released.store(1, Ordering::Relaxed);
    assert_eq!(world.news(), News::Stopped);
    assert_eq!(world.news(), News::Ready);
    assert_eq!(world.role.job().number, 2);
    assert_eq!(*job.given.lock().unwrap(), [None, None], "another job starts without what the old one kept");
}

// REQ: FEP-ENG-102
#[test]
fn a_role_is_disabled_enabled_and_removed_while_its_thread_comes_and_goes() {
    let job = TestJob::new(5, &[Act::Obey]);
    let mut world = World::new(&job);
    assert_eq!(world.news(), News::Ready);
    world.role.disable(world.now);
    assert!(world.role.is_running());
    assert_eq!(world.news(), News::Stopped);
    assert!(!world.role.is_due(world.now) && !world.role.is_running());
    world.role.enable();
    assert_eq!(world.news(), News::Ready);
    assert_eq!(*job.given.lock().unwrap(), [None, Some(5)]);
    world.role.remove(world.now);
    assert_eq!(world.news(), News::Stopped);
    assert_eq!(world.news(), News::Removed);
}

// REQ: FEP-ENG-101
#[test]
fn a_long_life_begins_again_with_the_shortest_pause() {
    let job = TestJob::new(1, &[Act::Fail, Act::Fail, Act::Fail, Act::Hang, Act::Fail]);
    let mut world = World::new(&job);
    for _ in 0..3 {
        is_failure(&world.news(), "the bind failed");
        world.pass_ms(1000);
    }
    assert_eq!(world.news(), News::Ready);
    world.pass_ms(5000);
    job.released.store(1, Ordering::Relaxed);
    assert!(is_failure(&world.news(), "without a reason") <= 100);
}
