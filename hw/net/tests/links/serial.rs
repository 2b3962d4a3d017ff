use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use fep_net::{Link, LinkSpec, LinkState};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{Received, assert_balanced, pattern};

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
    Received::default().until(&mut link, |_, link| link.counters().connect_errors >= 2);
    assert_eq!(link.counters().connections, 0);
}
