//! Replacing and reading files: what is refused, what stays, what the modes are.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fep_file::{
    FileError, Replacement, create_directory, create_new, read, read_if_exists, read_text, replace,
};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

// REQ: FEP-KIT-200
#[test]
fn a_file_has_its_name_only_when_it_is_whole_and_an_abandoned_one_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    replace(&path, 0o640, b"old").expect("written");
    let mut file = Replacement::begin(&path, 0o640).expect("begun");
    file.write_all(b"new").expect("written");
    assert_eq!(fs::read(&path).expect("readable"), b"old");
    file.finish().expect("finished");
    assert_eq!(fs::read(&path).expect("readable"), b"new");
    let mut file = Replacement::begin(&path, 0o640).expect("begun");
    file.write_all(b"half").expect("written");
    drop(file);
    assert_eq!(fs::read(&path).expect("readable"), b"new");
    assert_eq!(names(directory.path()), ["state"]);
}

// REQ: FEP-KIT-201
#[test]
fn the_mode_is_the_one_asked_for_whatever_the_umask_and_nobody_else_opens_an_unfinished_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    for mode in [0o600, 0o640, 0o644, 0o400, 0o666] {
        let path = directory.path().join(format!("{mode:o}"));
        let file = Replacement::begin(&path, mode).expect("begun");
        let hidden =
            names(directory.path()).into_iter().find(|name| name.starts_with('.')).expect("it is there");
        let unfinished = fs::metadata(directory.path().join(hidden)).expect("there");
        assert_eq!(unfinished.mode() & 0o777, 0o600);
        file.finish().expect("finished");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, mode);
    }
    let inner = directory.path().join("directory");
    create_directory(&inner, 0o750).expect("made");
    rustix::process::umask(before);
    assert_eq!(fs::metadata(&inner).expect("there").mode() & 0o7777, 0o750);
    assert!(matches!(create_directory(&inner, 0o750), Err(FileError::Exists { .. })));
    assert!(matches!(replace(&inner.join("x"), 0o4755, b""), Err(FileError::Mode { mode: 0o4755, .. })));
}

// REQ: FEP-KIT-200
#[test]
fn what_is_no_regular_file_is_neither_followed_nor_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("victim"), "mine").expect("written");
    symlink(at("victim"), at("link")).expect("a link");
    symlink(at("nowhere"), at("dangling")).expect("a link");
    fs::create_dir(at("folder")).expect("a directory");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    for name in ["link", "dangling", "folder", "fifo", "socket"] {
        let refused = replace(&at(name), 0o600, b"new");
        assert!(matches!(refused, Err(FileError::NotRegular { .. })), "{name}: {refused:?}");
        let refused = read(&at(name), 100);
        assert!(matches!(refused, Err(FileError::NotRegular { .. })), "{name}: {refused:?}");
        let refused = fep_file::open(&at(name));
        assert!(matches!(refused, Err(FileError::NotRegular { .. })), "{name}: {refused:?}");
        assert!(matches!(create_new(&at(name), 0o600, b""), Err(FileError::Exists { .. })), "{name}");
    }
    assert_eq!(fs::read(at("victim")).expect("readable"), b"mine");
    assert_eq!(names(directory.path()).len(), 6, "{:?}", names(directory.path()));
    for path in ["", "/", ".."] {
        assert!(matches!(replace(Path::new(path), 0o600, b""), Err(FileError::NoName { .. })), "{path:?}");
    }
    let missing = replace(&at("no/such"), 0o600, b"").expect_err("no directory");
    assert!(missing.is_not_found(), "{missing}");
}

// REQ: FEP-KIT-200
#[test]
fn a_new_file_is_refused_when_the_name_is_taken_at_the_start_or_at_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    let late = Replacement::begin_new(&path, 0o600).expect("the name is free");
    create_new(&path, 0o600, b"first").expect("the name is free");
    assert!(matches!(late.finish(), Err(FileError::Exists { .. })));
    assert!(matches!(create_new(&path, 0o600, b"second"), Err(FileError::Exists { .. })));
    assert_eq!(fs::read(&path).expect("readable"), b"first");
    assert_eq!(names(directory.path()), ["key"]);
}

// REQ: FEP-KIT-202
#[test]
fn a_file_is_read_up_to_its_bound_and_not_an_octet_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    assert_eq!(read_if_exists(&path, 10).expect("none is no error"), None);
    fs::write(&path, [7; 10]).expect("written");
    assert_eq!(read(&path, 10).expect("fits"), [7; 10]);
    assert!(matches!(read(&path, 9), Err(FileError::TooLong { limit_octets: 9, .. })));
    // Says that it is empty and has no end.
    assert!(matches!(read(Path::new("/proc/self/status"), 3), Err(FileError::TooLong { .. })));
    fs::write(&path, b"ab\xff").expect("written");
    assert!(matches!(read_text(&path, 10), Err(FileError::NotText { at: 2, .. })));
    fs::write(&path, "ä").expect("written");
    assert_eq!(read_text(&path, 10).expect("text"), "ä");
}

// REQ: FEP-KIT-203
#[test]
fn what_a_dead_writer_left_is_removed_and_a_living_writer_is_not_disturbed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    let living = Replacement::begin(&path, 0o600).expect("begun");
    for leftover in [".state.00112233445566ff.new", ".other.00112233445566ff.new", ".state.zz.new", ".state"]
    {
        fs::write(directory.path().join(leftover), "left").expect("written");
    }
    replace(&path, 0o600, b"second").expect("written");
    let mut left = names(directory.path());
    left.retain(|name| name != ".other.00112233445566ff.new" && name != ".state.zz.new" && name != ".state");
    assert_eq!(left.len(), 2, "the new file and the one of the living writer: {left:?}");
    living.finish().expect("nobody took its file");
    assert_eq!(fs::read(&path).expect("readable"), b"");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
}

// REQ: FEP-KIT-185
#[test]
fn a_lock_file_that_is_a_link_a_fifo_or_a_directory_is_refused_without_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink(path("elsewhere"), path("link")).expect("made");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, mode, 0).expect("made");
    for name in ["link", "fifo"] {
        let refused = fep_file::hold(&path(name), "test");
        assert!(matches!(refused, Err(fep_file::FileError::NotRegular { .. })), "{name}: {refused:?}");
    }
    assert!(fep_file::hold(directory.path(), "test").is_err());
    assert!(!path("elsewhere").exists(), "nothing was made through the link");
    let held = fep_file::hold(&path("lock"), "test").expect("nobody has it");
    assert_eq!(
        std::fs::read_to_string(path("lock")).expect("text"),
        format!("test, process {}", std::process::id())
    );
    drop(held);
}

// REQ: FEP-KIT-278
#[test]
fn writers_of_one_name_that_begin_at_the_same_moment_do_not_take_each_other_for_dead() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..200 {
                    fep_file::replace(path, 0o600, &[writer; 100]).expect("it is written");
                }
            });
        }
    });
    assert_eq!(std::fs::read(&path).expect("the last").len(), 100);
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing is left over");
}
