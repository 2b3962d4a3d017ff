use std::io::Write;
use std::process::{Command, Stdio};

use fep_net::{FileSpec, Link, LinkSpec, LinkState, Polled, TransportSpec, WaitMode};

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
fn a_file_is_played_as_often_as_told_and_each_pass_starts_anew() {
    let sent = pattern(200_000);
    let (mut link, _file) = file(&sent, None, 3);
    let mut received = Received::default();
    received.until(&mut link, ended);
    assert!(received.bytes == sent.repeat(3), "the octets differ");
    assert_eq!(received.starts, [0, 200_000, 400_000]);
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
fn a_path_that_is_no_regular_file_is_an_error_that_names_it() {
    for path in ["/nonexistent/capture.cadu", "/dev/null", "/"] {
        let error = Link::open(LinkSpec::file(path)).err().unwrap().to_string();
        assert!(error.contains(path), "{error}");
    }
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
