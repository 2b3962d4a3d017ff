//! Places in which others may put anything: what is no regular file holds up nobody, and small files that are wrong are seen.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fep_bus::{Colour, Position, Tag};
use fep_segments::{
    Chain, SegmentError, SegmentHeader, SegmentWriter, Stream, list_aside, open_file, probe_disk, put_aside,
    roots,
};

const DAY_NS: u64 = 86_400_000_000_000;

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// Does it on another thread, so that a wait without end is a failure and not a test without end.
fn at_once<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = done.send(work());
    });
    result.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{what} waits"))
}

fn stream() -> Stream {
    Stream::new(Colour::Black, "cso-1.frames")
}

fn sealed(archive: &Path) -> PathBuf {
    let header = SegmentHeader {
        stream: stream(),
        schema: "ccsds.frame.v1".to_owned(),
        id: 7,
        instance: 1,
        series: 1,
        base: Position { seq: 1, pos: 0, payload: 0 },
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = SegmentWriter::create(archive, header).unwrap();
    writer.record(Tag::default(), b"frame").unwrap();
    writer.seal(Chain::default()).unwrap().0
}

// REQ: FEP-ARC-190
#[test]
fn what_is_no_regular_file_in_the_place_of_a_key_a_reason_a_probe_or_a_segment_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("segments");
    let segment = sealed(&archive);
    let at = |name: &str| directory.path().join(name);
    fifo(&at("fifo"));
    fs::create_dir(at("folder")).unwrap();
    symlink("/dev/zero", at("endless")).unwrap();
    for name in ["fifo", "folder", "endless"] {
        let path = at(name);
        let errors = at_once(name, move || {
            [
                open_file(&path).map(|_| ()).unwrap_err(),
                roots::signing_key(&path).map(|_| ()).unwrap_err(),
                roots::public_key(&path).map(|_| ()).unwrap_err(),
                roots::check_key(&path, &path).unwrap_err(),
            ]
        });
        for error in errors {
            assert!(matches!(error, SegmentError::Format { .. }), "{name}: {error}");
        }
    }
    fs::write(at("long"), [b'0'; 10_000]).unwrap();
    assert!(roots::public_key(&at("long")).unwrap_err().to_string().contains("more than 4096 octets"));

    // Somebody prepared the places beside a segment that is put aside.
    let beside = PathBuf::from(format!("{}.damaged.reason", segment.display()));
    fifo(&beside);
    let (of, found) = (segment.clone(), archive.clone());
    let listed = at_once("putting aside", move || {
        put_aside(&of, "a reason").unwrap();
        list_aside(&found, &stream()).unwrap()
    });
    assert_eq!((listed.len(), listed[0].reason.clone()), (1, None));
    fs::remove_file(&beside).unwrap();
    fs::write(&beside, vec![b' '; 1 << 20]).unwrap();
    assert_eq!(list_aside(&archive, &stream()).unwrap()[0].reason, None, "no reason is so long");

    let probe = stream().directory(&archive).join("disk.probe");
    fifo(&probe);
    let tried = archive.clone();
    at_once("trying the disk", move || probe_disk(&tried, &stream())).unwrap();
    assert!(!probe.exists());
    fs::create_dir_all(probe.join("somebody's")).unwrap();
    probe_disk(&archive, &stream()).unwrap();
    assert!(probe.join("somebody's").exists(), "what is not ours stays");
}

struct Signed {
    directory: tempfile::TempDir,
    key: SigningKey,
    now_ns: u64,
}

impl Signed {
    /// Three days.
    fn new() -> Signed {
        let directory = tempfile::tempdir().unwrap();
        let path = sealed(directory.path());
        let sealed_ns = fep_segments::SegmentReader::open(&path).unwrap().footer().unwrap().sealed_unix_ns;
        let site =
            Signed { directory, key: SigningKey::from_bytes(&[3; 32]), now_ns: sealed_ns + 3 * DAY_NS };
        let signed = site.sign();
        assert_eq!((signed.days, signed.head_replaced), (3, None));
        assert_eq!(site.sign(), roots::Signed::default());
        site
    }

    fn sign(&self) -> roots::Signed {
        roots::sign_past_days(self.directory.path(), self.now_ns, &self.key).unwrap()
    }

    fn head(&self) -> PathBuf {
        roots::head_file(self.directory.path())
    }
}

// REQ: FEP-SEG-161
#[test]
fn a_head_that_names_the_newest_root_and_is_wrong_in_any_other_part_is_put_aside_reported_and_written_anew() {
    let site = Signed::new();
    let good = fs::read_to_string(site.head()).unwrap();
    let head = roots::read_head(&site.head()).unwrap();
    let later = "2031-01-01";
    let other_key = "11".repeat(32);
    let entry = &head.streams[0];
    let changes = [
        (format!("\"days\": {}", head.days), "\"days\": 9".to_owned()),
        (head.day.clone(), later.to_owned()),
        (head.head.clone(), "0".repeat(64)),
        (head.key.clone(), other_key),
        (head.signature.clone(), "0".repeat(128)),
        (entry.chain.clone(), "0".repeat(64)),
        (format!("\"end_seq\": {}", entry.end_seq), "\"end_seq\": 1".to_owned()),
        (entry.stream.clone(), "black/other".to_owned()),
        ("\"format\": 1".to_owned(), "\"format\": 2".to_owned()),
        ("}".to_owned(), String::new()),
    ];
    for (number, (from, to)) in changes.iter().enumerate() {
        let wrong = good.replace(from, to);
        assert_ne!(wrong, good, "{from}");
        fs::write(site.head(), &wrong).unwrap();
        let signed = site.sign();
        let replaced = signed.head_replaced.unwrap_or_else(|| panic!("{from}: it is not seen"));
        let aside = replaced.aside.unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), wrong, "{from}: what was there is kept");
        assert_eq!(fs::read_to_string(site.head()).unwrap(), good, "{from}: {}", replaced.problem);
        assert_eq!(site.sign(), roots::Signed::default(), "{from}: reported once");
        assert_eq!(signed.days, 0, "{number}");
    }
    // Whoever has another key can make a head that holds by itself.
    let theirs = SigningKey::from_bytes(&[5; 32]);
    let copy = Signed { directory: tempfile::tempdir().unwrap(), key: theirs, now_ns: site.now_ns };
    sealed(copy.directory.path());
    copy.sign();
    fs::copy(copy.head(), site.head()).unwrap();
    assert!(site.sign().head_replaced.is_some());
    assert_eq!(fs::read_to_string(site.head()).unwrap(), good);
}

// REQ: FEP-SEG-161
#[test]
fn a_fifo_a_directory_or_a_link_in_the_place_of_the_head_is_put_aside_and_a_missing_one_is_reported() {
    let site = Signed::new();
    let good = fs::read(site.head()).unwrap();
    let elsewhere = site.directory.path().join("copy.json");
    fs::write(&elsewhere, &good).unwrap();
    for kind in ["fifo", "folder", "link", "missing"] {
        fs::remove_file(site.head()).unwrap();
        match kind {
            "fifo" => fifo(&site.head()),
            "folder" => fs::create_dir_all(site.head().join("full")).unwrap(),
            "link" => symlink(&elsewhere, site.head()).unwrap(),
            _ => {}
        }
        let (archive, now_ns, key) =
            (site.directory.path().to_owned(), site.now_ns, SigningKey::from_bytes(&[3; 32]));
        let signed = at_once(kind, move || roots::sign_past_days(&archive, now_ns, &key).unwrap());
        let replaced = signed.head_replaced.unwrap_or_else(|| panic!("{kind}: it is not seen"));
        assert_eq!(replaced.aside.is_some(), kind != "missing", "{kind}");
        assert_eq!(fs::read(site.head()).unwrap(), good, "{kind}");
        assert_eq!(site.sign(), roots::Signed::default(), "{kind}: reported once");
    }
    // A head that is only behind is no fault: the recorder was stopped before it wrote it.
    let old = fs::read(site.head()).unwrap();
    let later = Signed { now_ns: site.now_ns + DAY_NS, ..site };
    assert_eq!(later.sign().days, 1);
    fs::write(later.head(), &old).unwrap();
    assert_eq!(later.sign(), roots::Signed::default());
    assert_ne!(fs::read(later.head()).unwrap(), old);
    // The operator made another key: the head is signed with it, and that is no fault either.
    let other = Signed { key: SigningKey::from_bytes(&[9; 32]), ..later };
    assert_eq!(other.sign(), roots::Signed::default());
    let head = roots::read_head(&other.head()).unwrap();
    assert_eq!(head.key, roots::hex(other.key.verifying_key().as_bytes()));
    assert_eq!(other.sign(), roots::Signed::default());
}

// REQ: FEP-SEG-162
#[test]
fn a_missing_key_is_refused_once_days_are_signed_and_an_old_place_of_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("segments");
    let key_file = directory.path().join("keys/root.key");
    let segment = sealed(&archive);
    roots::check_key(&archive, &key_file).unwrap();
    assert!(!key_file.parent().unwrap().exists(), "looking makes nothing");
    let now_ns =
        fep_segments::SegmentReader::open(&segment).unwrap().footer().unwrap().sealed_unix_ns + DAY_NS;
    let key = roots::key_for(&archive, &key_file).unwrap();
    assert_eq!(roots::sign_past_days(&archive, now_ns, &key).unwrap().days, 1);
    for old in [directory.path().join("root.key"), archive.join("root.key")] {
        fs::rename(&key_file, &old).unwrap();
        for refused in
            [roots::check_key(&archive, &key_file), roots::key_for(&archive, &key_file).map(|_| ())]
        {
            let told = refused.unwrap_err().to_string();
            let move_it = format!("mv {} {}", old.display(), key_file.display());
            assert!(told.contains(&move_it), "{told}");
        }
        fs::rename(&old, &key_file).unwrap();
    }
    fs::remove_file(&key_file).unwrap();
    let told = roots::check_key(&archive, &key_file).unwrap_err().to_string();
    assert!(told.contains("fep-recorder key") && !told.contains("mv "), "{told}");
    fs::write(&key_file, "11".repeat(32)).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(roots::check_key(&archive, &key_file).unwrap_err().to_string().contains("600"));
}
