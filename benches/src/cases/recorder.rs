//! The recorder beside a writer of a ring, and beside the real daemon: what reaches the disk, what is lost, how long a
//! record takes until it is durable. Peer: the raw sequential write speed of the same disk, by the same queue, measured
//! in the same run.
//!
//! Segments are written below `FEP_BENCH_DISK` (the system's directory for temporary files if not set), rings to the
//! memory file system.

use fep_time::Tai;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fep_bus::{Colour, Producer, RingSpec, Tag};
use fep_control::api::Ledgers;
use fep_recorder::{BlockBuffer, Disk, Room, StreamOptions, StreamRecorder};
use fep_segments::Stream;
use fep_time::tai_now;
use rustix::fs::{FallocateFlags, fallocate};

use super::chain::{MADE_FRAMES, made};
use super::engine::CADU;
use crate::processes::{Daemon, RING, Recorder, text, wait_for};
use crate::{Case, Measured};

/// The rate and frame.
const RATE_BPS: f64 = 2e9;
const FRAME: usize = 1115;
/// Records published at a stretch between two looks at the clock.
const BURST: u64 = 32;
/// Two seconds of [`RATE_BPS`]: how long the recorder may be kept from its work.
const RINGS: &str = "frames_desc_log2 = 19\nframes_data_mib = 512";
/// Where the rate is the recorder's: records in the ring that are not on disk yet, at most; two thirds of the ring.
const AHEAD: u64 = 80_000;
/// Octets of a segment.
const SEGMENT_LEN: u64 = 256 << 20;

/// `recorder/...`
pub fn cases() -> Vec<Case> {
    let case = |name: &str, unit, run: fn(f64) -> Result<Measured, String>| Case {
        name: name.into(),
        unit,
        peer_name: "raw sequential write",
        run: Box::new(move |budget_s| {
            run(budget_s).unwrap_or_else(|reason| Measured {
                note: format!("not measured: {reason}"),
                ..Measured::default()
            })
        }),
    };
    vec![
        case("recorder/2gbit", "Gbit/s", |budget_s| record(budget_s, Some(RATE_BPS)).map(|told| told.rate())),
        case("recorder/fastest", "Gbit/s", |budget_s| record(budget_s, None).map(|told| told.rate())),
        case("recorder/beside-fepd/2gbit", "Gbit/s", |budget_s| {
            beside_fepd(budget_s.clamp(1.0, 60.0), &mut |_| {}).map(|told| told.measured())
        }),
        case("recorder/durable-latency/200mbit", "ms p99 (less is better)", |budget_s| {
            record(budget_s, Some(200e6)).map(|told| told.latency())
        }),
    ]
}

struct Told {
    seconds: f64,
    published: u64,
    records: u64,
    lost: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    raw_gigabits_per_s: f64,
    new_gigabits_per_s: f64,
}

impl Told {
    fn note(&self) -> String {
        let Told { published, records, lost, p50_ms, p99_ms, max_ms, seconds, .. } = self;
        let (raw, new) = (self.raw_gigabits_per_s, self.new_gigabits_per_s);
        format!(
            "{published} published in {seconds:.1} s, {records} on disk, {lost} lost and counted; durable after p50 \
             {p50_ms:.1} p99 {p99_ms:.1} max {max_ms:.1} ms; raw disk {raw:.2} Gbit/s where it is written again, {new:.2} Gbit/s \
             into new files, as segments are"
        )
    }

    fn rate(&self) -> Measured {
        let ours = 8.0 * self.records as f64 * FRAME as f64 / self.seconds / 1e9;
        Measured { ours, peer: Some(self.raw_gigabits_per_s), note: self.note() }
    }

    fn latency(&self) -> Measured {
        Measured { ours: self.p99_ms, peer: None, note: self.note() }
    }
}

/// What became of frames that were sent to a station link of the real daemon, with the real recorder beside it.
pub struct Recorded {
    /// From the first octet sent until the last frame was on disk.
    pub seconds: f64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that the daemon received.
    pub received: u64,
    /// Records on disk, as the recorder says.
    pub records: u64,
    /// Records lost, as the recorder says.
    pub lost: u64,
    /// From published until on disk, the worst but one in a hundred.
    pub durable_p99_ms: f64,
    /// What the disk takes, written to without anything else.
    pub raw_gigabits_per_s: f64,
}

impl Recorded {
    /// Whether every frame sent is on disk.
    pub fn is_lossless(&self) -> bool {
        self.sent == self.received && self.sent == self.records && self.lost == 0
    }

    /// The figures in words.
    pub fn note(&self) -> String {
        let Recorded { seconds, sent, received, records, lost, durable_p99_ms, raw_gigabits_per_s } = self;
        format!(
            "{sent} frames sent in {seconds:.1} s, {received} received, {records} on disk, {lost} lost and counted{}; durable \
             after p99 {durable_p99_ms:.1} ms; raw disk {raw_gigabits_per_s:.2} Gbit/s",
            if self.is_lossless() { "" } else { " (LOSS)" },
        )
    }

    fn measured(&self) -> Measured {
        let ours = 8.0 * self.records as f64 * FRAME as f64 / self.seconds / 1e9;
        Measured { ours, peer: Some(self.raw_gigabits_per_s), note: self.note() }
    }
}

/// Sends frames at 2 Gbit/s to `fepd` for `seconds` while `fep-recorder` records them; `tell` hears of every second.
///
/// # Errors
/// A process does not start, does not answer or does not finish.
pub fn beside_fepd(seconds: f64, tell: &mut dyn FnMut(&str)) -> Result<Recorded, String> {
    let stream = made(0)?;
    let disk = disk_directory()?;
    let raw_gigabits_per_s = raw(disk.path(), 2.0)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let daemon = Daemon::start(&listener, "adaptive", RINGS)?;
    let recorder = Recorder::start(&daemon, disk.path())?;
    let (mut connection, _) = listener.accept().map_err(text)?;
    let burst = BURST as usize * CADU;
    debug_assert_eq!(MADE_FRAMES as u64 % BURST, 0);
    let started = Instant::now();
    let (mut sent, mut told) = (0, 0);
    for cadus in stream.bytes.chunks(burst).cycle() {
        let due = Duration::from_secs_f64(sent as f64 * 8.0 * FRAME as f64 / RATE_BPS);
        if let Some(early) = due.checked_sub(started.elapsed()) {
            std::thread::sleep(early);
        }
        let elapsed = started.elapsed();
        if elapsed.as_secs() > told {
            told = elapsed.as_secs();
            let (records, lost) = (recorder.figure("records"), recorder.figure("lost_records"));
            tell(&format!(
                "{told:>4} s  {sent} frames sent, {} on disk, {} lost",
                records.unwrap_or(0),
                lost.unwrap_or(0)
            ));
        }
        if elapsed.as_secs_f64() >= seconds {
            break;
        }
        connection.write_all(cadus).map_err(text)?;
        sent += BURST;
    }
    let (records, lost) = wait_for("the last frame on disk", || {
        let (records, lost) = (recorder.figure("records")?, recorder.figure("lost_records")?);
        (records + lost >= sent).then_some((records, lost))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let ledgers: Ledgers = daemon.get("/ledgers")?;
    let received = ledgers.links.first().ok_or("no link")?.ledger.counts.received;
    let stream = Stream::new(Colour::Black, RING);
    let p99_us = recorder.figure(&format!("{stream}.p99_us")).ok_or("the recorder tells no latency")?;
    let durable_p99_ms = p99_us as f64 / 1e3;
    Ok(Recorded { seconds, sent, received, records, lost, durable_p99_ms, raw_gigabits_per_s })
}

fn disk_directory() -> Result<tempfile::TempDir, String> {
    let parent = std::env::var_os("FEP_BENCH_DISK").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("fep-bench-").tempdir_in(parent).map_err(text)
}

/// Publishes at a rate, or as fast as the recorder takes it.
fn record(budget_s: f64, rate_bps: Option<f64>) -> Result<Told, String> {
    let memory = tempfile::Builder::new().prefix("fep-bench-").tempdir_in("/dev/shm").map_err(text)?;
    let disk_directory = disk_directory()?;
    let raw_s = budget_s.clamp(0.5, 3.0);
    let raw_gigabits_per_s = raw(disk_directory.path(), raw_s)?;
    let new_gigabits_per_s = raw_new(disk_directory.path(), raw_s)?;
    let spec = RingSpec {
        desc_log2: 17,
        gates: vec!["recorder".to_owned()],
        ..RingSpec::new(RING, "ccsds.frame.v1")
    };
    let mut producer = Producer::create_or_attach(memory.path(), &spec).map_err(text)?;
    let options = StreamOptions {
        archive: disk_directory.path().join("segments"),
        rings: memory.path().to_owned(),
        consumer: "recorder".to_owned(),
        segment_len: SEGMENT_LEN,
        seal_after: Duration::from_secs(600),
        block_len: 1 << 20,
        blocks_waiting: 16,
        commit_interval: Duration::from_millis(20),
        commit_len: 32 << 20,
        direct: true,
    };
    let (stop, durable) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopping, reached) = (Arc::clone(&stop), Arc::clone(&durable));
    let recorder = std::thread::spawn(move || run_recorder(options, &stopping, &reached));
    let frame = [0x1A; FRAME];
    let started = Instant::now();
    let mut published = 0;
    while started.elapsed().as_secs_f64() < budget_s.clamp(1.0, 60.0) {
        let due = match rate_bps {
            Some(rate_bps) => (started.elapsed().as_secs_f64() * rate_bps / 8.0 / FRAME as f64) as u64,
            None => durable.load(Ordering::Acquire) + AHEAD,
        };
        if due < published + BURST {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        let now = tai_now().0;
        for _ in 0..BURST {
            let tag = Tag { kind: 1, received: Tai(now), published: Tai(now), ..Tag::default() };
            producer.publish(tag, &frame).map_err(text)?;
            published += 1;
        }
        producer.housekeep(fep_time::Monotonic::now());
    }
    stop.store(true, Ordering::Release);
    let recorder = recorder.join().map_err(|_| "the recorder's thread failed".to_owned())??;
    let seconds = started.elapsed().as_secs_f64();
    let figures = recorder.figures();
    let ms = |quantile: f64| figures.durable_latency_ns.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Told {
        seconds,
        published,
        records: figures.records,
        lost: recorder.lost().0,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        max_ms: ms(1.0),
        raw_gigabits_per_s,
        new_gigabits_per_s,
    })
}

/// Records until told to stop and everything is on disk; `durable` counts the records there.
fn run_recorder(
    options: StreamOptions,
    stop: &AtomicBool,
    durable: &AtomicU64,
) -> Result<StreamRecorder, String> {
    let (mut disk, _) = Disk::new(true);
    let stream = Stream::new(Colour::Black, RING);
    let mut recorder = StreamRecorder::open(options, stream, 0).map_err(text)?;
    loop {
        let mut moved = false;
        while let Some(done) = disk.next_done() {
            recorder.done(done);
            durable.store(recorder.figures().records, Ordering::Release);
            moved = true;
        }
        moved |= recorder.turn(Instant::now(), &mut disk, Room::Free).map_err(text)?;
        if moved {
            continue;
        }
        if stop.load(Ordering::Acquire) && recorder.is_settled() {
            return Ok(recorder);
        }
        if disk.in_flight() > 0 {
            disk.wait(Duration::from_millis(1));
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sequential writes of one mebibyte, eight in flight, again and again over the same gibibyte of one file; a commit at the end.
fn raw(directory: &Path, seconds: f64) -> Result<f64, String> {
    let path = directory.join("raw");
    let file = open_raw(&path)?;
    let rate = write_raw(seconds, |offset| Ok((Arc::clone(&file), offset % (1 << 30))))?;
    std::fs::remove_file(&path).map_err(text)?;
    Ok(rate)
}

/// As [`raw`], into new files of the length of segments, allocated ahead: what a recorder that costs nothing would reach. A
/// disk that is not real (of a virtual machine) may be much slower where it has not been written before.
fn raw_new(directory: &Path, seconds: f64) -> Result<f64, String> {
    let (mut files, mut paths): (Vec<Arc<File>>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    let rate = write_raw(seconds, |offset| {
        let index = (offset / SEGMENT_LEN) as usize;
        if index == files.len() {
            let path = directory.join(format!("raw-{index}"));
            let file = open_raw(&path)?;
            // Where the file system cannot, it does without.
            let _ = fallocate(&*file, FallocateFlags::empty(), 0, SEGMENT_LEN);
            files.push(file);
            paths.push(path);
        }
        Ok((Arc::clone(&files[index]), offset % SEGMENT_LEN))
    })?;
    paths.iter().try_for_each(std::fs::remove_file).map_err(text)?;
    Ok(rate)
}

fn open_raw(path: &Path) -> Result<Arc<File>, String> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = |flags| {
        std::fs::File::options().create(true).write(true).truncate(false).custom_flags(flags).open(path)
    };
    open(libc::O_DIRECT).or_else(|_| open(0)).map(Arc::new).map_err(text)
}

/// Writes for some time; `place` says where the next mebibyte goes. Gigabits a second, the commit of the last file included.
fn write_raw(
    seconds: f64,
    mut place: impl FnMut(u64) -> Result<(Arc<File>, u64), String>,
) -> Result<f64, String> {
    let (mut disk, _) = Disk::new(true);
    let (mut offset, mut written, mut last) = (0_u64, 0_u64, None);
    let mut spare: Vec<BlockBuffer> = (0..8).map(|_| BlockBuffer::new(1 << 20)).collect();
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds {
        while let Some(buffer) = spare.pop() {
            let (file, at) = place(offset)?;
            disk.write(1, &file, buffer, 1 << 20, at);
            last = Some(file);
            offset += 1 << 20;
        }
        disk.wait(Duration::from_millis(10));
        while let Some(done) = disk.next_done() {
            done.result.map_err(text)?;
            spare.extend(done.buffer);
            written += 1 << 20;
        }
    }
    if let Some(file) = last {
        file.sync_data().map_err(text)?;
    }
    Ok(8.0 * written as f64 / started.elapsed().as_secs_f64() / 1e9)
}
