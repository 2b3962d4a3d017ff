use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fep_net::{EndReason, Link, LinkSpec, LinkState};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{Received, assert_balanced, pattern};

/// The system gives the name of a line that was closed to the next one that is opened: one test at a time has lines.
static LINES: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The master side of a pseudo-terminal and the path of its line.
fn pty() -> (File, PathBuf) {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let line = PathBuf::from(ptsname(&master, Vec::new()).unwrap().to_str().unwrap());
    (File::from(master), line)
}

fn open(line: &std::path::Path) -> Link {
    let mut spec = LinkSpec::serial(line, 115_200);
    (spec.reconnect_min_ms, spec.reconnect_max_ms) = (5, 20);
    Link::open(spec).unwrap()
}

// REQ: FEP-NET-016
#[test]
fn a_raw_line_delivers_every_octet_value_unchanged_and_echoes_nothing() {
    let _alone = alone();
    let (mut master, line) = pty();
    let mut link = open(&line);
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let mut sent: Vec<u8> = (0..=255).collect();
    sent.extend(pattern(200_000));
    let to_send = sent.clone();
    let sender = std::thread::spawn(move || {
        master.write_all(&to_send).unwrap();
        master
    });
    received.until(&mut link, |received, _| received.bytes.len() >= sent.len());
    assert!(received.bytes == sent, "the octets differ");
    assert_eq!(received.starts, [0]);
    let mut master = sender.join().unwrap();
    rustix::io::ioctl_fionbio(&master, true).unwrap();
    assert_eq!(master.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

// REQ: FEP-NET-016
#[test]
fn a_line_that_hangs_up_is_counted_and_opened_again_in_vain() {
    let _alone = alone();
    let (mut master, line) = pty();
    let mut link = open(&line);
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    master.write_all(b"last words").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"last words");
    drop(master);
    received.until(&mut link, |_, link| {
        link.counters().disconnects_by_peer == 1 && link.counters().connect_errors >= 2
    });
    assert_eq!(*link.state(), LinkState::Connecting);
    assert!(link.last_fault().unwrap().contains(line.to_str().unwrap()), "{:?}", link.last_fault());
    assert_balanced(&link);
}

#[test]
fn a_device_that_is_not_a_terminal_is_refused_at_every_attempt() {
    let mut link = open(std::path::Path::new("/dev/null"));
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().connect_errors >= 2);
    assert_eq!(link.counters().connections, 0);
    let cause = "reading the settings of a serial line: Inappropriate ioctl for device (os error 25)";
    assert_eq!(received.connect_faults[0], cause);
}

// REQ: FEP-NET-310
#[test]
fn every_attempt_to_open_a_line_that_does_not_exist_or_may_not_be_opened_is_reported_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let loop_to_itself = dir.path().join("loop");
    std::os::unix::fs::symlink(&loop_to_itself, &loop_to_itself).unwrap();
    let paths = [
        (dir.path().join("ttyS77"), "opening the device: No such file or directory (os error 2)"),
        (dir.path().to_owned(), "opening the device: Is a directory (os error 21)"),
        (loop_to_itself, "opening the device: Too many levels of symbolic links (os error 40)"),
    ];
    for (path, cause) in paths {
        let mut link = open(&path);
        let mut received = Received::default();
        received.until(&mut link, |_, link| link.counters().connect_errors >= 2);
        assert_eq!(received.connect_faults, [cause, cause]);
        assert_eq!(link.last_fault().unwrap(), format!("{}: {cause}", path.display()));
    }
}

// REQ: FEP-NET-118, FEP-NET-104
#[test]
fn a_line_carries_units_out_at_the_speed_of_its_reader_while_octets_come_in() {
    let _alone = alone();
    let (mut master, line) = pty();
    let mut link = open(&line);
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let octets = pattern(300_000);
    let expected = octets.clone();
    let mut other = master.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; expected.len()];
        for piece in read.chunks_mut(1000) {
            master.read_exact(piece).unwrap();
        }
        assert!(read == expected, "the octets differ");
        master
    });
    let mut units = octets.chunks(7_001).enumerate().peekable();
    let writer = std::thread::spawn(move || {
        for _ in 0..100 {
            other.write_all(&[b't'; 100]).unwrap();
        }
    });
    let count = octets.len().div_ceil(7_001);
    let start = std::time::Instant::now();
    while received.transmitted.len() < count || received.bytes.len() < 10_000 {
        while units.peek().is_some_and(|(token, unit)| link.transmit(unit, *token as u64).is_ok()) {
            units.next();
        }
        received.turn(&mut link);
        assert!(start.elapsed() < crate::PATIENCE, "{:?}", link.counters());
    }
    assert_eq!(received.transmitted, (0..count as u64).collect::<Vec<_>>());
    writer.join().unwrap();
    drop(reader.join().unwrap());
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(received.ends, [(10_000, EndReason::Peer)]);
    assert_balanced(&link);
}

// REQ: FEP-NET-118, FEP-NET-103
#[test]
fn units_for_a_line_whose_reader_stopped_and_hung_up_fail() {
    let _alone = alone();
    let (master, line) = pty();
    let mut link = open(&line);
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    for token in 0..20 {
        link.transmit(&[5; 4_000], token).unwrap();
    }
    for _ in 0..100 {
        received.turn(&mut link);
    }
    drop(master);
    received.until(&mut link, |received, _| !received.ends.is_empty());
    let failed = received.failed.iter().map(|failed| failed.0);
    let tokens: Vec<u64> = received.transmitted.iter().copied().chain(failed).collect();
    assert_eq!(tokens, (0..20).collect::<Vec<_>>());
    let of_failed: usize = received.failed.iter().map(|failed| failed.1).sum();
    assert_eq!(link.counters().transmitted_bytes as usize, received.transmitted.len() * 4_000 + of_failed);
    assert_balanced(&link);
}
