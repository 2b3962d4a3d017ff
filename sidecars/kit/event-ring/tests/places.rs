//! Events of processes that each have a user of their own, in places that root has made for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use fep_bus::BusError;
use fep_event_ring::{EventFollow, EventFollowSpec, EventItem, EventRing, EventRingError};
use fep_record::Session;
use fep_segments::Start;
use rustix::process::{Gid, Uid};
use serde_json::json;

fep_events::event_codes! {
    /// Of this test.
    enum TestEvent {
        /// Something.
        Happened = 901, "happened", Warning, "look at it";
    }
}

const GROUP: u32 = 60_100;
const RECORDER: u32 = 60_002;
const FEEDS: u32 = 60_003;
const OPERATOR: u32 = 60_004;

/// Does something as a user of the group: the kernel keeps credentials by thread, and new threads inherit them.
fn as_user<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(GROUP));
            rustix::thread::set_thread_groups(&[]).expect("no other groups");
            rustix::thread::set_thread_res_gid(gid, gid, gid).expect("the group");
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("the user");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

// REQ: FEP-BUS-160
#[test]
fn events_of_processes_with_users_of_their_own_are_followed_by_any_user_of_the_group() {
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        eprintln!("not root: no other user can be played");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let rings = directory.path();
    fs::set_permissions(rings, Permissions::from_mode(0o755)).expect("open");
    for (process, user) in [("recorder", RECORDER), ("feeds", FEEDS)] {
        let place = rings.join("services/black").join(process);
        fs::create_dir_all(&place).expect("made");
        chown(&place, Some(user), Some(GROUP)).expect("given");
    }
    // fepd's, made by root here.
    fs::create_dir(rings.join("black")).expect("made");
    for (user, process) in [(RECORDER, "recorder"), (FEEDS, "feeds")] {
        as_user(user, || {
            let ring = EventRing::open(rings, process).expect("a ring in its place");
            ring.sender().report(TestEvent::Happened, u16::MAX, Session::Test, json!({"by": process}));
        });
    }
    // Nobody takes the name of another, and a process without a place is told which one is missing.
    for process in ["recorder", "planner"] {
        let error = as_user(FEEDS, || EventRing::open(rings, process).map(drop)).expect_err("no place");
        let place = rings.join("services/black").join(process);
        let named =
            matches!(&error, EventRingError::Bus(BusError::NoPlace { place: named, .. }) if *named == place);
        assert!(named, "{error}");
    }
    let mut found = as_user(OPERATOR, || {
        let mut follow = EventFollow::open(EventFollowSpec {
            rings: rings.to_owned(),
            archive: None,
            cursors: None,
            consumer: "console".to_owned(),
            start: Start::Oldest,
            patience: Duration::ZERO,
        })
        .expect("it follows");
        let mut found = Vec::new();
        let started = Instant::now();
        while found.len() < 2 && started.elapsed() < Duration::from_secs(60) {
            match follow.next_item() {
                Some(EventItem::Event(event)) => {
                    found.push((event.stream.to_string(), String::from_utf8(event.payload).expect("text")));
                }
                Some(other) => panic!("{other:?}"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        found
    });
    found.sort();
    let names: Vec<_> = found.iter().map(|(stream, _)| stream.as_str()).collect();
    assert_eq!(names, ["black/feeds.events", "black/recorder.events"]);
    assert!(found[0].1.contains(r#""by":"feeds""#) && found[1].1.contains(r#""by":"recorder""#), "{found:?}");
}
