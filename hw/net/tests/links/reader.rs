use std::io::Write;
use std::process::{Command, Stdio};

use fep_net::{EndReason, FileSpec, Link, LinkSpec, LinkState, Polled, TransportSpec, WaitMode};

use crate::{Received, pattern};

fn file(bytes: &[u8], pace_bps: Option<u64>, repeat: u32) -> (Link, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let path = file.path().to_owned();
    let spec = LinkSpec::new(TransportSpec::File(FileSpec { path, pace_bps, repeat }));
    (Link::open(spec).unwrap(), file)
}

fn ended(_: &Received, link: &Link) -> bool {
    *link.state() == LinkState::Ended
}

// REQ: FEP-NET-017
#[test]
fn a_file_is_read_whole_and_then_the_link_ends() {
    let sent = pattern(3_000_001);
    let (mut link, _file) = file(&sent, None, 1);
    let mut received = Received::default();
    received.until(&mut link, ended);
    assert!(received.bytes == sent, "the octets differ");
    assert_eq!(received.starts, [0]);
    assert_eq!(received.turn(&mut link), Polled::Ended);
}

// REQ: FEP-NET-017
#[test]
fn a_file_is_played_as_often_as_configured_and_each_pass_starts_and_ends() {
    let sent = pattern(200_000);
    let (mut link, _file) = file(&sent, None, 3);
    let mut received = Received::default();
    received.until(&mut link, ended);
    assert!(received.bytes == sent.repeat(3), "the octets differ");
    assert_eq!(received.starts, [0, 200_000, 400_000]);
    let ends = [200_000, 400_000, 600_000].map(|at| (at, EndReason::EndOfData));
    assert_eq!(received.ends, ends);
    assert_eq!(link.counters().repeats, 2);
}

// REQ: FEP-NET-017
#[test]
fn a_file_played_for_ever_goes_on_and_an_empty_one_ends_at_once() {
    let (mut link, _file) = file(b"abc", None, 0);
    let mut received = Received::default();
    received.until(&mut link, |received, _| received.bytes.len() >= 3000);
    assert_eq!(&received.bytes[..6], b"abcabc");
    let (mut link, _file) = file(b"", None, 0);
    Received::default().until(&mut link, ended);
}

// REQ: FEP-NET-013
#[test]
fn a_paced_file_arrives_whole_in_releases_of_about_a_millisecond() {
    let sent = pattern(100_000);
    let (mut link, _file) = file(&sent, Some(8_000_000), 1);
    let mut received = Received::default();
    received.until(&mut link, ended);
    assert!(received.bytes == sent, "the octets differ");
    // 1000 octets a release when on time; a late turn releases more at once, never an octet too early.
    let stamps = received.stamps.iter().map(|stamp| stamp - received.stamps[0]);
    let mut before = 0;
    for (elapsed_ns, size) in stamps.zip(&received.sizes) {
        // The first release comes when its own octets are due, one size after the origin.
        let allowed = received.sizes[0] as i64 + elapsed_ns / 1000 + 1;
        before += *size as i64;
        assert!(before <= allowed, "{before} octets after {elapsed_ns} ns");
    }
    assert!(received.sizes.len() > 1);
}

// REQ: FEP-NET-018
#[test]
fn every_way_of_waiting_delivers_the_same() {
    let sent = pattern(500_000);
    for wait in [WaitMode::Busy, WaitMode::Wait, WaitMode::Adaptive] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&sent).unwrap();
        let mut spec = LinkSpec::file(file.path());
        spec.wait = wait;
        let mut link = Link::open(spec).unwrap();
        let mut received = Received::default();
        received.until(&mut link, ended);
        assert!(received.bytes == sent, "{wait:?}");
    }
}

// REQ: FEP-NET-012
#[test]
fn a_path_that_is_neither_file_nor_fifo_is_an_error_that_names_it() {
    for (path, why) in [("/nonexistent/capture.cadu", "No such"), ("/dev/null", "FIFO"), ("/", "FIFO")] {
        let error = Link::open(LinkSpec::file(path)).err().unwrap();
        let text = error.to_string();
        assert!(text.contains(path) && text.contains(why) && text.contains("path"), "{text}");
        // A file may be there tomorrow, and a device be replaced by one.
        assert!(!error.is_permanent());
    }
}

fn fifo(repeat: u32) -> (Link, std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut file = FileSpec::new(path.clone());
    file.repeat = repeat;
    (Link::open(LinkSpec::new(TransportSpec::File(file))).unwrap(), path, folder)
}

// REQ: FEP-NET-109
#[test]
fn a_fifo_is_opened_without_a_writer_and_read_until_the_last_one_closes() {
    let sent = pattern(1_000_003);
    let (mut link, path, _folder) = fifo(1);
    let mut received = Received::default();
    for _ in 0..5 {
        assert_eq!(received.turn(&mut link), Polled::Idle);
    }
    assert_eq!(*link.state(), LinkState::Listening);
    let octets = sent.clone();
    let writer = std::thread::spawn(move || {
        let mut writer = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        octets.chunks(70_001).for_each(|piece| writer.write_all(piece).unwrap());
    });
    received.until(&mut link, ended);
    writer.join().unwrap();
    assert!(received.bytes == sent, "the octets differ");
    assert_eq!(received.ends, [(sent.len(), EndReason::EndOfData)]);
}

// REQ: FEP-NET-109
#[test]
fn each_run_of_a_fifos_writers_is_a_pass_and_one_without_octets_is_none() {
    let (mut link, path, _folder) = fifo(3);
    let mut received = Received::default();
    received.turn(&mut link);
    let open = || std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for round in 1..=3usize {
        // Comes and goes without an octet.
        drop(open());
        for _ in 0..3 {
            received.turn(&mut link);
        }
        let (mut first, mut second) = (open(), open());
        first.write_all(b"ab").unwrap();
        drop(first);
        second.write_all(b"cd").unwrap();
        received.until(&mut link, |received, _| received.bytes.len() == 4 * round);
        assert_eq!(received.ends.len(), round - 1, "a writer is left");
        drop(second);
        received.until(&mut link, |received, _| received.ends.len() == round);
    }
    received.until(&mut link, ended);
    assert_eq!(received.bytes, b"abcdabcdabcd");
    assert_eq!(received.starts, [0, 4, 8]);
    assert_eq!(link.counters().repeats, 2);
}

/// Set for the copy of this test program whose standard input is a pipe.
const CHILD: &str = "FEP_NET_STDIN_CHILD";

// REQ: FEP-NET-017
#[test]
fn standard_input_through_a_pipe_arrives_whole() {
    let sent = pattern(1_000_003);
    if std::env::var_os(CHILD).is_some() {
        let mut link = Link::open(LinkSpec::stdin()).unwrap();
        let mut received = Received::default();
        received.until(&mut link, ended);
        assert!(received.bytes == sent, "the octets differ: {} of {}", received.bytes.len(), sent.len());
        return;
    }
    let name = "reader::standard_input_through_a_pipe_arrives_whole";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in sent.chunks(70_001) {
        pipe.write_all(piece).unwrap();
    }
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
