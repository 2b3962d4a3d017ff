//! Replay as fast as possible over loopback TCP, beside the kernel copying the same segment file into a socket.
//!
//! Ours reads the segment, verifies its checksums, marks every record as replayed and sends it; the peer (`sendfile`) looks at
//! nothing: it is what the socket and its reader can take at best. Both readers throw the octets away.

use fep_time::Tai;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use fep_bus::{Colour, Position, Tag};
use fep_ccsds::Gvcid;
use fep_record::{FrameRecord, KIND_FRAME};
use fep_replay::{Form, Policy, Replay, ReplaySpec, SegmentReel, Speed, Target};
use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};

use crate::{Case, Measured};

const FRAME_LEN: usize = 1115;
const FRAMES: u64 = 100_000;
/// Ours and the peer take turns so often; the best of each counts.
const ROUNDS: u32 = 3;

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, form: Form| Case {
        name: name.into(),
        unit: "Gbit/s",
        peer_name: "sendfile",
        run: Box::new(move |budget_s| fastest(form, budget_s)),
    };
    vec![case("replay/tcp/raw", Form::Raw), case("replay/tcp/framed", Form::Framed)]
}

fn stream() -> Stream {
    Stream::new(Colour::Black, "bench.frames")
}

/// Writes one sealed segment; returns its file.
fn write_segment(archive: &Path) -> Result<std::path::PathBuf, fep_segments::SegmentError> {
    let header = SegmentHeader {
        stream: stream(),
        schema: "ccsds.frame.v1".to_owned(),
        id: 1,
        instance: 1,
        series: 1,
        base: Position { seq: 1, pos: 0, payload: 0 },
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = SegmentWriter::create(archive, header)?;
    let mut payload = vec![0; FRAME_LEN];
    for number in 0..FRAMES {
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let gvcid = Gvcid { tfvn: 1, scid: 162, vcid: (number % 3) as u8 };
        let (flags, words) = FrameRecord { gvcid, ..FrameRecord::default() }.to_words();
        let rx_tai_ns = number as i64 * 9_000;
        writer.record(
            Tag { kind: KIND_FRAME, flags, received: Tai(rx_tai_ns), published: Tai(rx_tai_ns), words },
            &payload,
        )?;
    }
    writer.seal(Chain::default()).map(|(path, _)| path)
}

/// A reader that throws away what one connection brings, and tells how much that was.
fn sink() -> (SocketAddr, std::thread::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    let address = listener.local_addr().expect("it is bound");
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the sender connects");
        let mut octets = vec![0; 256 << 10];
        let mut taken = 0;
        loop {
            match stream.read(&mut octets) {
                Ok(0) | Err(_) => return taken,
                Ok(more) => taken += more as u64,
            }
        }
    });
    (address, thread)
}

/// Gbit/s of payload.
fn ours(archive: &Path, form: Form) -> f64 {
    let (address, sink) = sink();
    let spec = ReplaySpec {
        name: "bench".to_owned(),
        target: Target::TcpClient { address, form },
        speed: Speed::Fastest,
        looping: false,
        paused: false,
        idle_max_ms: None,
    };
    let began = Instant::now();
    let reel =
        SegmentReel::open(archive, vec![stream()], i64::MIN, i64::MAX).expect("the segment is readable");
    let policy = Policy { raw_targets: vec![address], ..Policy::default() };
    let replay = Replay::start(spec, Box::new(reel), &policy).expect("the sink listens");
    let status = replay.wait(Duration::from_secs(60));
    sink.join().expect("the sink does not panic");
    assert_eq!(status.sent, FRAMES, "{status:?}");
    status.sent_octets as f64 * 8e-9 / began.elapsed().as_secs_f64()
}

/// Gbit/s of file.
fn sendfile(file: &Path) -> f64 {
    let (address, sink) = sink();
    let began = Instant::now();
    let mut file = std::fs::File::open(file).expect("it was written");
    let mut stream = TcpStream::connect(address).expect("the sink listens");
    let sent = std::io::copy(&mut file, &mut stream).expect("loopback takes it");
    drop(stream);
    sink.join().expect("the sink does not panic");
    sent as f64 * 8e-9 / began.elapsed().as_secs_f64()
}

fn fastest(form: Form, budget_s: f64) -> Measured {
    let archive = tempfile::tempdir().expect("a directory");
    let file = write_segment(archive.path()).expect("there is room for 120 MiB");
    let began = Instant::now();
    let (mut best, mut peer) = (0.0_f64, 0.0_f64);
    for round in 0.. {
        best = best.max(ours(archive.path(), form));
        peer = peer.max(sendfile(&file));
        if round + 1 >= ROUNDS && began.elapsed().as_secs_f64() > budget_s {
            break;
        }
    }
    let note =
        format!("{FRAMES} frames of {FRAME_LEN} octets a replay, checksums verified, best of the rounds");
    Measured { ours: best, peer: Some(peer), note }
}
