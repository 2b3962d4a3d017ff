//! What another user of the group can put into the shared directories, and what comes of it: nothing.
//!
//! Most of it can be planted by the very user who runs the tests. What takes another user is done by a child process as
//! `nobody`, only when the tests run as root; devices are made where `mknod` is allowed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use fep_bus::{
    Access, BusError, Consumer, CursorProblem, LatestPage, LatestReader, LatestSpec, MetricPage,
    MetricReader, MetricSet, OnFull, Poll, Producer, Resume, RingSpec, Tag, Warden, WardenEvent, WardenSpec,
    list,
};
use fep_time::{Monotonic, Tai};
use tempfile::TempDir;

/// User and group of `nobody` on Linux.
const NOBODY: u32 = 65_534;

fn spec(name: &str) -> RingSpec {
    RingSpec {
        desc_log2: 6,
        data_len: 64 << 10,
        extent_len: 16 << 10,
        payload_max: 1000,
        gates: vec!["recorder".to_owned()],
        ..RingSpec::new(name, "test.v1")
    }
}

/// A ring that the group of `nobody` may read, below a directory it may enter.
fn shared() -> (TempDir, Producer) {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let group = is_root().then(|| NOBODY.to_string());
    let producer = Producer::create_or_attach(dir.path(), &RingSpec { group, ..spec("frames") }).unwrap();
    (dir, producer)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a script as `nobody`; it must succeed.
fn as_nobody(script: &str, directory: &Path) {
    let status =
        Command::new("sh").args(["-ec", script]).current_dir(directory).uid(NOBODY).gid(NOBODY).status();
    assert!(status.unwrap().success(), "{script}");
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().unwrap().success()
}

/// Runs what must not block on a thread of its own: a hang becomes a failure of this test alone.
fn at_once<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel();
        scope.spawn(move || done.send(work()));
        match wait.recv_timeout(Duration::from_secs(60)) {
            Ok(result) => result,
            Err(_) => {
                eprintln!("blocked by what lies in a shared directory");
                std::process::exit(1);
            }
        }
    })
}

fn scan(warden: &mut Warden, now_ns: i64) -> Vec<WardenEvent> {
    let mut events = Vec::new();
    at_once(|| warden.scan(Monotonic(now_ns), &mut |event| events.push(event)));
    events
}

/// Puts something where it does not belong.
type Plant = Box<dyn Fn()>;

/// What somebody does to a run directory; the second path is a place beside it.
type Deed = fn(&Path, &Path);

/// Ways to plant something under `name`; each has the word by which a refusal calls it.
fn plants(directory: &Path, name: &str) -> Vec<(&'static str, Plant)> {
    let path = directory.join(name);
    let with = |make: fn(&Path)| {
        let path = path.clone();
        Box::new(move || make(&path)) as Plant
    };
    let mut plants = vec![
        ("a FIFO", with(|path| assert!(succeeds("mkfifo", &[path.to_str().unwrap()])))),
        ("a directory", with(|path| fs::create_dir(path).unwrap())),
        ("a symbolic link", with(|path| symlink("nowhere", path).unwrap())),
        ("a symbolic link", with(|path| symlink("/dev/zero", path).unwrap())),
        ("a socket", with(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()))),
        ("hard links", {
            let (path, other) = (path.clone(), directory.with_file_name("other"));
            Box::new(move || {
                fs::write(&other, b"precious").unwrap();
                fs::hard_link(&other, &path).unwrap();
            })
        }),
    ];
    // Not even root may do so in every container.
    if make_device(&path) {
        fs::remove_file(&path).unwrap();
        plants.push(("a device", with(|path| assert!(make_device(path)))));
    }
    plants
}

/// `/dev/zero` by another name: it reads for ever.
fn make_device(path: &Path) -> bool {
    succeeds("mknod", &[path.to_str().unwrap(), "c", "1", "5"])
}

fn remove(path: &Path) {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

// REQ: FEP-BUS-101
#[test]
fn what_is_planted_under_a_gates_name_neither_blocks_the_warden_nor_stops_the_ring() {
    let (dir, mut producer) = shared();
    let cursors = dir.path().join("black/frames/cursors");
    let mut warden = Warden::open(dir.path(), "frames", WardenSpec::default()).unwrap();
    let mut witness = Consumer::attach(dir.path(), "frames", "witness", Resume::Oldest).unwrap();
    for (what, plant) in plants(&cursors, "recorder") {
        plant();
        let ignored = WardenEvent::CursorIgnored {
            consumer: "recorder".to_owned(),
            problem: CursorProblem::NotARegularFile,
        };
        assert_eq!(scan(&mut warden, 1), [ignored], "{what}");
        assert_eq!(scan(&mut warden, 2), [], "{what}: once");
        let statuses = at_once(|| warden.status()).unwrap();
        let planted = statuses.iter().find(|status| status.consumer == "recorder").unwrap();
        assert_eq!((planted.problem, planted.alive), (Some(CursorProblem::NotARegularFile), false), "{what}");
        let infos = at_once(|| list(dir.path())).unwrap();
        assert!(infos.iter().all(Result::is_ok), "{what}: {infos:?}");
        producer.publish(Tag::default(), b"goes on").unwrap();
        assert!(matches!(witness.poll(&mut Vec::new()), Poll::Record(_)), "{what}");
        remove(&cursors.join("recorder"));
        assert_eq!(scan(&mut warden, 3), [], "{what}");
    }
    assert_eq!(witness.ledger().lost_records, 0);
}

// REQ: FEP-BUS-102
#[test]
fn a_consumer_refuses_what_is_planted_under_its_name_and_overwrites_nothing() {
    let (dir, _producer) = shared();
    let cursors = dir.path().join("black/frames/cursors");
    for (what, plant) in plants(&cursors, "recorder") {
        plant();
        let attached =
            at_once(|| Consumer::attach(dir.path(), "frames", "recorder", Resume::Cursor).map(drop));
        let error = attached.unwrap_err();
        assert!(matches!(error, BusError::Foreign { .. }), "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
        remove(&cursors.join("recorder"));
    }
    assert_eq!(fs::read(dir.path().join("black/frames/other")).unwrap(), b"precious");
    // A link to a file that exists, and one that would be made.
    let target = dir.path().join("target");
    for exists in [true, false] {
        let _ = fs::remove_file(&target);
        if exists {
            fs::write(&target, b"precious").unwrap();
        }
        symlink(&target, cursors.join("recorder")).unwrap();
        assert!(Consumer::attach(dir.path(), "frames", "recorder", Resume::Cursor).is_err());
        assert_eq!(fs::read(&target).ok().as_deref(), exists.then_some(b"precious".as_slice()));
        fs::remove_file(cursors.join("recorder")).unwrap();
    }
    Consumer::attach(dir.path(), "frames", "recorder", Resume::Cursor).unwrap();
}

// REQ: FEP-BUS-102
#[test]
fn ring_lock_and_directories_are_not_taken_through_links_either() {
    let elsewhere = TempDir::new().unwrap();
    drop(Producer::create_or_attach(elsewhere.path(), &spec("frames")).unwrap());
    let there = elsewhere.path().join("black/frames");
    let attach = |dir: &TempDir| Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).map(drop);
    for linked in ["black", "black/frames", "black/frames/cursors", "black/frames/ring", "black/frames/lock"]
    {
        let dir = TempDir::new().unwrap();
        drop(Producer::create_or_attach(dir.path(), &spec("frames")).unwrap());
        let path = dir.path().join(linked);
        fs::rename(&path, dir.path().join("aside")).unwrap();
        let target = elsewhere.path().join(linked);
        let before = fs::read(there.join("lock")).unwrap();
        symlink(&target, &path).unwrap();
        if linked.ends_with("lock") {
            attach(&dir).unwrap();
        } else {
            assert!(matches!(attach(&dir), Err(BusError::Foreign { .. })), "{linked}");
        }
        let produced = Producer::create_or_attach(dir.path(), &spec("frames")).map(|producer| {
            assert!(!path.symlink_metadata().unwrap().is_symlink(), "the link was replaced by a ring");
            drop(producer);
        });
        assert_eq!(produced.is_ok(), linked.ends_with("/ring"), "{linked}: {produced:?}");
        assert_eq!(fs::read(there.join("lock")).unwrap(), before);
        assert!(!there.join("cursors/reader").exists());
    }
}

// REQ: FEP-BUS-104
#[test]
fn a_hundred_thousand_files_are_reported_once_and_cost_neither_gates_nor_lists() {
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = TempDir::new_in(base).unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec("frames")).unwrap();
    let mut warden = Warden::open(dir.path(), "frames", WardenSpec::default()).unwrap();
    let mut recorder = Consumer::attach(dir.path(), "frames", "recorder", Resume::Oldest).unwrap();
    scan(&mut warden, 1);
    let cursors = dir.path().join("black/frames/cursors");
    for number in 0..100_000 {
        File::create(cursors.join(format!("junk{number}"))).unwrap();
    }
    let ten_seconds = 10_000_000_000;
    let crowded = [WardenEvent::CursorsLeftOut { limit: 256 }];
    assert_eq!(scan(&mut warden, ten_seconds + 1), crowded);
    assert_eq!(scan(&mut warden, 2 * ten_seconds + 1), [], "once");
    for _ in 0..40 {
        producer.publish(Tag::default(), b"goes on").unwrap();
        assert!(matches!(recorder.poll(&mut Vec::new()), Poll::Record(_)));
    }
    recorder.store_cursor().unwrap();
    producer.housekeep(Monotonic(1));
    scan(&mut warden, 2 * ten_seconds + 2);
    let statuses = warden.status().unwrap();
    assert!(statuses.len() <= 257, "{} statuses", statuses.len());
    let watched = statuses.iter().find(|status| status.consumer == "recorder").unwrap();
    assert_eq!((watched.ledger.consumed_records, watched.lag_records), (40, 0));
    let infos = list(dir.path()).unwrap();
    let info = infos[0].as_ref().unwrap();
    assert!(info.more_consumers && info.consumers.len() <= 256);
    // Another ring beside it, and one whose name would write on a terminal.
    for number in 0..5000 {
        fs::create_dir(dir.path().join(format!("black/junk{number}"))).unwrap();
    }
    fs::create_dir(dir.path().join("black/\u{1b}[2J")).unwrap();
    let infos = list(dir.path()).unwrap();
    assert!(infos.iter().any(|info| matches!(info, Err(BusError::TooMany { limit: 4096, .. }))));
    assert!(infos.iter().flatten().all(|info| info.name == "frames"));
    fs::remove_dir_all(&cursors).unwrap();
    fs::create_dir(&cursors).unwrap();
    assert_eq!(scan(&mut warden, 3 * ten_seconds + 3), []);
}

// REQ: FEP-BUS-105
#[test]
fn rings_pages_and_cursors_are_closed_to_others_from_their_first_moment() {
    let (dir, producer) = shared();
    let consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let access = Access { mode: 0o640, group: is_root().then(|| NOBODY.to_string()) };
    let mut set = MetricSet::new();
    set.counter("one");
    let page = MetricPage::create(dir.path(), "link", &set, &access).unwrap();
    let latest = LatestPage::create(
        dir.path(),
        &LatestSpec { access: access.clone(), ..LatestSpec::new("link.clcw", 16) },
    )
    .unwrap();
    let files = [
        producer.path().to_owned(),
        producer.path().with_file_name("lock"),
        page.path().to_owned(),
        latest.path().to_owned(),
        dir.path().join("black/frames/cursors/reader"),
    ];
    for path in &files {
        let found = fs::metadata(path).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640, "{}", path.display());
        assert!(!is_root() || found.gid() == NOBODY, "{}", path.display());
    }
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("black/frames"), mode("black/frames/cursors")), (0o750, 0o3770));
    for bad in [0o666, 0o644 | 0o1000, 0o440] {
        let access = Access { mode: bad, group: None };
        let error = MetricPage::create(dir.path(), "bad", &set, &access).map(drop).unwrap_err();
        assert!(error.to_string().contains("mode"), "{error}");
    }
    // No builder leaves anything behind, and what a killed one left is removed by the next.
    let left = dir.path().join("metrics/.link.0123456789abcdef.building");
    fs::write(&left, b"half").unwrap();
    MetricPage::create(dir.path(), "link", &set, &access).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("metrics")).unwrap().count(), 1);
    drop(consumer);
}

// REQ: FEP-BUS-102
#[test]
fn what_another_user_owns_is_neither_mapped_nor_written() {
    if !is_root() {
        eprintln!("not root: no other user can be played");
        return;
    }
    let (dir, producer) = shared();
    let cursors = dir.path().join("black/frames/cursors");
    as_nobody("echo planted > recorder; mkfifo fifo; ln -s /etc/passwd link", &cursors);
    let attached = at_once(|| Consumer::attach(dir.path(), "frames", "recorder", Resume::Cursor).map(drop));
    let error = attached.unwrap_err().to_string();
    assert!(error.contains("belongs to user 65534"), "{error}");
    assert_eq!(fs::read(cursors.join("recorder")).unwrap(), b"planted\n");
    // The warden reads whoever's cursor it is; nonsense is nonsense.
    let mut warden = Warden::open(dir.path(), "frames", WardenSpec::default()).unwrap();
    let ignored =
        WardenEvent::CursorIgnored { consumer: "recorder".to_owned(), problem: CursorProblem::Unreadable };
    assert_eq!(scan(&mut warden, 1), [ignored]);
    assert_eq!(at_once(|| warden.status()).unwrap().len(), 3);
    // A ring, a page or a directory of another user's could be cut short under whoever maps it.
    let set = {
        let mut set = MetricSet::new();
        set.counter("one");
        set
    };
    let page = MetricPage::create(dir.path(), "link", &set, &Access::default()).unwrap();
    let latest = LatestPage::create(dir.path(), &LatestSpec::new("clcw", 16)).unwrap();
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), None).unwrap();
    let ring = producer.path().to_owned();
    drop(producer);
    [page.path(), latest.path(), &ring].into_iter().for_each(give);
    let refused = |error: BusError| assert!(matches!(error, BusError::Foreign { .. }), "{error}");
    refused(MetricReader::open(page.path()).map(drop).unwrap_err());
    refused(LatestReader::open(dir.path(), "clcw").map(drop).unwrap_err());
    refused(Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).map(drop).unwrap_err());
    refused(Warden::open(dir.path(), "frames", WardenSpec::default()).map(drop).unwrap_err());
    assert!(list(dir.path()).unwrap().iter().all(Result::is_err));
    // The owner of the run directory may be trusted: it is he who is asked to come here.
    give(dir.path());
    MetricReader::open(page.path()).unwrap();
    Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
}

// REQ: FEP-BUS-102
#[test]
fn a_consumer_of_another_user_in_the_group_is_watched_and_may_cut_its_cursor_short() {
    if !is_root() {
        eprintln!("not root: no other user can be played");
        return;
    }
    let (dir, mut producer) = shared();
    let cursors = dir.path().join("black/frames/cursors");
    // What a consumer of the user `nobody` leaves: its file is the group's to read, by the directory's setgid bit.
    let cursor = cursors.join("recorder");
    drop(Consumer::attach(dir.path(), "frames", "recorder", Resume::Oldest).unwrap());
    assert_eq!(fs::metadata(&cursor).unwrap().gid(), NOBODY);
    std::os::unix::fs::chown(&cursor, Some(NOBODY), None).unwrap();
    let mut warden = Warden::open(dir.path(), "frames", WardenSpec::default()).unwrap();
    assert_eq!(scan(&mut warden, 1), [WardenEvent::Armed { consumer: "recorder".to_owned() }]);
    as_nobody("truncate -s 0 recorder", &cursors);
    let ignored =
        WardenEvent::CursorIgnored { consumer: "recorder".to_owned(), problem: CursorProblem::Unreadable };
    assert_eq!(scan(&mut warden, 2), [ignored]);
    producer.publish(Tag { received: Tai(1), ..Tag::default() }, b"goes on").unwrap();
}

// REQ: FEP-BUS-106
#[test]
fn a_deleted_moved_or_replaced_run_directory_is_noticed() {
    let aside = TempDir::new().unwrap();
    let deeds: [(&str, Deed); 5] = [
        ("all deleted", |dir, _| fs::remove_dir_all(dir.join("black")).unwrap()),
        ("ring deleted", |dir, _| fs::remove_file(dir.join("black/frames/ring")).unwrap()),
        ("lock deleted", |dir, _| fs::remove_file(dir.join("black/frames/lock")).unwrap()),
        ("moved", |dir, aside| fs::rename(dir.join("black"), aside.join("black")).unwrap()),
        ("replaced", |dir, _| {
            fs::remove_dir_all(dir.join("black")).unwrap();
            drop(Producer::create_or_attach(dir, &spec("frames")).unwrap());
        }),
    ];
    for (what, deed) in deeds {
        let dir = TempDir::new().unwrap();
        let mut producer = Producer::create_or_attach(dir.path(), &spec("frames")).unwrap();
        assert!(producer.is_still_linked());
        deed(dir.path(), aside.path());
        assert!(!producer.is_still_linked(), "{what}");
        // It goes on for those who have it mapped.
        producer.publish(Tag::default(), b"goes on").unwrap();
    }
    let wait = RingSpec { on_full: OnFull::Wait, ..spec("waits") };
    let dir = TempDir::new().unwrap();
    assert!(Producer::create_or_attach(dir.path(), &wait).unwrap().is_still_linked());
}
