//! Rings of processes that have users of their own: each in a place that root has made, readable by the group, and out of reach of
//! every other user.
//!
//! Users are played by threads: the kernel keeps credentials by thread, and `setresuid` as a plain system call changes those of the
//! calling one alone. That takes root; without it these tests say so and end.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fep_bus::{
    Access, BusError, Consumer, MetricPage, MetricReader, MetricSet, MetricValue, Poll, Producer, Resume,
    RingSpec, Tag, list,
};
use fep_time::Monotonic;
use rustix::process::{Gid, Uid};
use tempfile::TempDir;

const FEPD: u32 = 60_001;
const ARCHIVE: u32 = 60_002;
const FEEDS: u32 = 60_003;
/// In the group of all of them.
const OPERATOR: u32 = 60_004;
/// In no group of ours.
const STRANGER: u32 = 60_005;
const GROUP: u32 = 60_100;

fn spec(name: &str) -> RingSpec {
    RingSpec {
        desc_log2: 6,
        data_len: 64 << 10,
        extent_len: 16 << 10,
        payload_max: 1000,
        ..RingSpec::new(name, "test.v1")
    }
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        eprintln!("not root: no other user can be played");
    }
    root
}

/// Does something as a user of the group (the stranger: of none of ours).
fn as_user<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let group = if user == STRANGER { STRANGER } else { GROUP };
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::thread::set_thread_groups(&[]).expect("no other groups");
            rustix::thread::set_thread_res_gid(gid, gid, gid).expect("the group");
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("the user");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A run directory as `tmpfiles.d` makes it.
fn run_directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    let make = |path: &str, user: u32, mode: u32| {
        let path = dir.path().join(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(user), Some(GROUP)).unwrap();
    };
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    for own in ["black", "red", "metrics", "latest"] {
        make(own, FEPD, 0o755);
    }
    for kind in ["services", "services/black", "services/red", "services/metrics"] {
        make(kind, 0, 0o755);
    }
    make("services/black/recorder", ARCHIVE, 0o755);
    make("services/metrics/recorder", ARCHIVE, 0o755);
    make("services/black/feeds", FEEDS, 0o755);
    dir
}

fn produce(dir: &Path, ring: &str) -> Result<Producer, BusError> {
    let mut producer = Producer::create_or_attach(dir, &spec(ring))?;
    producer.publish(Tag::default(), ring.as_bytes()).expect("room");
    producer.housekeep(Monotonic(1));
    Ok(producer)
}

fn first(dir: &Path, ring: &str, consumer: &str) -> Result<Vec<u8>, BusError> {
    let mut consumer = Consumer::attach(dir, ring, consumer, Resume::Oldest)?;
    let mut payload = Vec::new();
    assert!(matches!(consumer.poll(&mut payload), Poll::Record(_)));
    Ok(payload)
}

fn names(dir: &Path) -> Vec<String> {
    list(dir).unwrap().into_iter().map(|ring| ring.unwrap().name).collect()
}

fn refusals(dir: &Path) -> Vec<String> {
    list(dir).unwrap().into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
}

// REQ: FEP-BUS-160
#[test]
fn a_process_of_another_user_has_its_rings_in_its_place_and_everybody_in_the_group_follows_them() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let frames = as_user(FEPD, || produce(dir.path(), "npp.frames")).unwrap();
    let events = as_user(ARCHIVE, || produce(dir.path(), "recorder.events")).unwrap();
    assert_eq!(frames.path(), dir.path().join("black/npp.frames/ring"));
    assert_eq!(events.path(), dir.path().join("services/black/recorder/recorder.events/ring"));
    for reader in [0, FEPD, ARCHIVE, FEEDS, OPERATOR] {
        let name = format!("reader{reader}");
        as_user(reader, || {
            for ring in ["npp.frames", "recorder.events", "black/recorder.events"] {
                assert_eq!(
                    first(dir.path(), ring, &name).unwrap(),
                    ring.trim_start_matches("black/").as_bytes()
                );
            }
            assert_eq!(names(dir.path()), ["npp.frames", "recorder.events"]);
        });
    }
    // A restart goes on in the same ring.
    drop(events);
    let again = as_user(ARCHIVE, || produce(dir.path(), "recorder.events")).unwrap();
    assert_eq!(again.head().seq, 3);
    // Who is not in the group reads none of them.
    for ring in ["npp.frames", "recorder.events"] {
        let refused = as_user(STRANGER, || first(dir.path(), ring, "stranger")).unwrap_err();
        assert!(
            matches!(&refused, BusError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied),
            "{refused}"
        );
    }
}

// REQ: FEP-BUS-161
#[test]
fn nobody_else_makes_writes_replaces_or_removes_a_ring_in_a_place() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let events = as_user(ARCHIVE, || produce(dir.path(), "recorder.events")).unwrap();
    as_user(OPERATOR, || first(dir.path(), "recorder.events", "console")).unwrap();
    let ring = events.path().to_owned();
    let place = dir.path().join("services/black/recorder");
    for other in [FEPD, FEEDS, OPERATOR, STRANGER] {
        as_user(other, || {
            let refused = |done: std::io::Result<()>, what: &str| {
                let error = done.expect_err(what);
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{other} {what}: {error}");
            };
            refused(fs::remove_file(&ring), "removes the ring");
            refused(fs::rename(&ring, ring.with_file_name("aside")), "moves the ring");
            refused(fs::rename(place.join("recorder.events"), place.join("aside")), "moves the directory");
            refused(fs::rename(&place, dir.path().join("services/black/aside")), "moves the place");
            refused(fs::create_dir(place.join("recorder.frames")), "makes a ring");
            refused(fs::create_dir(dir.path().join("services/black/other")), "makes a place");
            refused(fs::File::options().write(true).open(&ring).map(drop), "writes");
            refused(fs::write(ring.with_file_name("lock"), b"1"), "writes the lock");
            if other != OPERATOR {
                refused(fs::remove_file(ring.with_file_name("cursors").join("console")), "removes a cursor");
            }
        });
    }
    // Whoever has no place of this name is told what is missing.
    for (other, ring) in [(FEEDS, "recorder.events"), (OPERATOR, "console.events")] {
        let error = as_user(other, || produce(dir.path(), ring).map(drop)).unwrap_err();
        let missing = dir.path().join("services/black").join(ring.trim_end_matches(".events"));
        assert!(matches!(&error, BusError::NoPlace { place, .. } if *place == missing), "{error}");
    }
    assert!(events.is_still_linked());
}

// REQ: FEP-BUS-162
#[test]
fn a_hostile_user_plants_no_ring_in_anothers_name() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let frames = as_user(FEPD, || produce(dir.path(), "npp.frames")).unwrap();
    let events = as_user(ARCHIVE, || produce(dir.path(), "recorder.events")).unwrap();
    let own = dir.path().join("services/black/feeds");
    // A whole ring of another name, made by the bus itself elsewhere, in the place of the wrong process.
    let elsewhere = TempDir::new().unwrap();
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o777)).unwrap();
    let plant = |made: &str, as_name: &str| {
        as_user(FEEDS, || {
            drop(produce(elsewhere.path(), made).unwrap());
            fs::create_dir(own.join(as_name)).unwrap();
            let from: PathBuf = elsewhere.path().join("black").join(made);
            fs::create_dir(own.join(as_name).join("cursors")).unwrap();
            for file in ["ring", "lock"] {
                fs::copy(from.join(file), own.join(as_name).join(file)).unwrap();
            }
        });
    };
    let followed = |ring: &str, payload: &str| {
        as_user(OPERATOR, || {
            assert_eq!(first(dir.path(), ring, "console").unwrap(), payload.as_bytes(), "{ring}");
        });
    };
    for (made, as_name, expected) in [
        ("recorder.events", "recorder.events", "holds only what is named feeds."),
        ("npp.frames", "npp.frames", "holds only what is named feeds."),
        ("npp.frames", "feeds.events", "it says that it is the ring black/npp.frames"),
    ] {
        plant(made, as_name);
        let refused = refusals(dir.path());
        assert!(refused.len() == 1 && refused[0].contains(expected), "{made} as {as_name}: {refused:?}");
        followed("npp.frames", "npp.frames");
        followed("recorder.events", "recorder.events");
        let attached = as_user(OPERATOR, || first(dir.path(), "feeds.events", "console"));
        assert!(attached.is_err(), "{made} as {as_name}");
        fs::remove_dir_all(own.join(as_name)).unwrap();
    }
    // Links to what others have.
    for target in [events.path().parent().unwrap(), frames.path().parent().unwrap()] {
        as_user(FEEDS, || symlink(target, own.join("feeds.events")).unwrap());
        let refused = refusals(dir.path());
        assert!(refused.len() == 1 && refused[0].contains("symbolic link"), "{refused:?}");
        assert!(first(dir.path(), "feeds.events", "console").is_err());
        fs::remove_file(own.join("feeds.events")).unwrap();
    }
    // What the run directory has of this name is what is read; and the service is told instead of writing for nobody.
    let theirs = as_user(FEEDS, || produce(dir.path(), "feeds.events")).unwrap();
    let mut owned = as_user(FEPD, || Producer::create_or_attach(dir.path(), &spec("feeds.events")).unwrap());
    owned.publish(Tag::default(), b"the real one").unwrap();
    followed("feeds.events", "the real one");
    let refused = refusals(dir.path());
    assert!(refused.len() == 1 && refused[0].contains("the one that is read"), "{refused:?}");
    drop(theirs);
    let error = as_user(FEEDS, || produce(dir.path(), "feeds.events").map(drop)).unwrap_err();
    assert!(matches!(error, BusError::Foreign { .. }), "{error}");
}

// REQ: FEP-BUS-162
#[test]
fn a_place_that_somebody_else_than_root_may_have_put_there_is_refused() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let events = as_user(ARCHIVE, || produce(dir.path(), "recorder.events")).unwrap();
    // The group may write into the directory of the places: a place proves nothing any more.
    let places = dir.path().join("services/black");
    fs::set_permissions(&places, Permissions::from_mode(0o1775)).unwrap();
    let attached = as_user(OPERATOR, || first(dir.path(), "recorder.events", "console"));
    assert!(matches!(attached, Err(BusError::Foreign { .. })), "{attached:?}");
    assert_eq!(refusals(dir.path()).len(), 2, "both places");
    fs::set_permissions(&places, Permissions::from_mode(0o755)).unwrap();
    as_user(OPERATOR, || first(dir.path(), "recorder.events", "console")).unwrap();
    // A ring of a third user in a place, or a directory of one.
    for given in [events.path(), events.path().parent().unwrap()] {
        chown(given, Some(FEEDS), None).unwrap();
        let attached = as_user(OPERATOR, || first(dir.path(), "recorder.events", "console"));
        assert!(matches!(attached, Err(BusError::Foreign { .. })), "{attached:?}");
        chown(given, Some(ARCHIVE), None).unwrap();
    }
    // The directory of the places itself.
    chown(&places, Some(FEEDS), None).unwrap();
    let attached = as_user(OPERATOR, || first(dir.path(), "recorder.events", "console"));
    assert!(matches!(attached, Err(BusError::Foreign { .. })), "{attached:?}");
    // None of it concerns the rings of fepd.
    drop(as_user(FEPD, || produce(dir.path(), "npp.frames")).unwrap());
    as_user(OPERATOR, || first(dir.path(), "npp.frames", "console")).unwrap();
    let listed = as_user(OPERATOR, || list(dir.path()).unwrap());
    assert!(listed.iter().flatten().any(|ring| ring.name == "npp.frames"), "{listed:?}");
}

// REQ: FEP-BUS-160
#[test]
fn red_places_are_apart_from_black_ones() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let red = dir.path().join("services/red");
    fs::create_dir(red.join("decipher")).unwrap();
    chown(red.join("decipher"), Some(ARCHIVE), Some(GROUP)).unwrap();
    let spec = RingSpec { colour: fep_bus::Colour::Red, ..spec("decipher.events") };
    let ring = as_user(ARCHIVE, || Producer::create_or_attach(dir.path(), &spec)).unwrap();
    assert_eq!(ring.path(), red.join("decipher/decipher.events/ring"));
    let black = as_user(ARCHIVE, || {
        Consumer::attach(dir.path(), "black/decipher.events", "x", Resume::Oldest).map(drop)
    });
    assert!(matches!(black, Err(BusError::NotFound { .. })), "{black:?}");
    as_user(ARCHIVE, || Consumer::attach(dir.path(), "red/decipher.events", "x", Resume::Oldest)).unwrap();
    // The directory that the unit of a black service does not see.
    fs::set_permissions(&red, Permissions::from_mode(0o000)).unwrap();
    let hidden =
        as_user(FEEDS, || Consumer::attach(dir.path(), "decipher.events", "x", Resume::Oldest).map(drop));
    assert!(hidden.is_err());
    // A black place makes no red ring.
    fs::set_permissions(&red, Permissions::from_mode(0o755)).unwrap();
    let error = as_user(FEEDS, || {
        let spec = RingSpec { colour: fep_bus::Colour::Red, ..self::spec("feeds.events") };
        Producer::create_or_attach(dir.path(), &spec).map(drop)
    });
    assert!(matches!(error, Err(BusError::NoPlace { .. })), "{error:?}");
}

// REQ: FEP-BUS-163
#[test]
fn metric_pages_of_such_a_process_lie_in_its_place_and_are_found_beside_the_others() {
    if !is_root() {
        return;
    }
    let dir = run_directory();
    let mut set = MetricSet::new();
    let id = set.counter("one");
    let make = |user: u32, name: &str| {
        as_user(user, || MetricPage::create(dir.path(), name, &set, &Access::default()))
    };
    let mut page = make(FEPD, "npp").unwrap();
    let mut own = make(ARCHIVE, "recorder").unwrap();
    assert_eq!(own.path(), dir.path().join("services/metrics/recorder/recorder"));
    page.add(id, 1);
    own.add(id, 2);
    as_user(OPERATOR, || {
        let pages = MetricReader::open_all(dir.path()).unwrap();
        let pages: Vec<_> = pages.into_iter().map(Result::unwrap).collect();
        let names: Vec<_> = pages.iter().map(MetricReader::name).collect();
        assert_eq!(names, ["npp", "recorder"]);
        let one = MetricReader::open(&dir.path().join("metrics/recorder")).unwrap();
        assert_eq!(one.value("one"), Some(MetricValue::Counter(2)));
    });
    // Nobody else has the name, and a place holds no other one.
    assert!(make(FEEDS, "recorder").is_err());
    fs::copy(page.path(), dir.path().join("services/metrics/recorder/npp")).unwrap();
    assert_eq!(MetricReader::open_all(dir.path()).unwrap().len(), 2);
}

// REQ: FEP-BUS-164
#[test]
fn a_ring_that_its_owner_cuts_short_harms_nobody_who_reads_it() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec("feeds.events")).unwrap();
    producer.publish(Tag::default(), b"first").unwrap();
    let mut consumer = Consumer::attach(dir.path(), "feeds.events", "console", Resume::Oldest).unwrap();
    let path = producer.path().to_owned();
    let mut payload = Vec::new();
    assert!(matches!(consumer.poll(&mut payload), Poll::Record(_)));
    let mut set = MetricSet::new();
    set.counter("one");
    let page = MetricPage::create(dir.path(), "feeds", &set, &Access::default()).unwrap();
    let reader = MetricReader::open(page.path()).unwrap();
    for file in [&path, &page.path().to_owned()] {
        fs::File::options().write(true).open(file).unwrap().set_len(0).unwrap();
    }
    // Its end would write where nothing is any more.
    std::mem::forget(producer);
    // Every word is read from several threads at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(reader.value("one"), Some(MetricValue::Counter(0))));
        }
    });
    assert_eq!(consumer.poll(&mut payload), Poll::Empty);
    consumer.heartbeat(Monotonic(2)).unwrap();
    assert_eq!(consumer.poll(&mut payload), Poll::Recreated, "somebody else's turn to look");
    assert!(matches!(consumer.reattach(), Err(BusError::Layout { .. })), "it says why");
    // Once there is a ring again, it goes on there.
    fs::remove_dir_all(dir.path().join("black")).unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec("feeds.events")).unwrap();
    producer.publish(Tag::default(), b"second").unwrap();
    let mut again = Consumer::attach(dir.path(), "feeds.events", "console", Resume::Oldest).unwrap();
    assert!(matches!(again.poll(&mut payload), Poll::Record(_)));
    assert_eq!(payload, b"second");
}

// REQ: FEP-BUS-164
#[test]
fn a_process_that_cuts_its_own_ring_short_ends_as_it_always_did() {
    const NAME: &str = "a_process_that_cuts_its_own_ring_short_ends_as_it_always_did";
    if std::env::var_os("FEP_BUS_CUTS_ITSELF").is_some() {
        let dir = TempDir::new().unwrap();
        let mut producer = Producer::create_or_attach(dir.path(), &spec("own")).unwrap();
        // The handler is there: a reader is.
        let _consumer = Consumer::attach(dir.path(), "own", "reader", Resume::Oldest).unwrap();
        let file = fs::File::options().write(true).open(producer.path()).unwrap();
        file.set_len(0).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        let _ = producer.publish(Tag::default(), b"into nothing");
        std::process::exit(0);
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env("FEP_BUS_CUTS_ITSELF", "1")
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(7), "SIGBUS: {status}");
}
