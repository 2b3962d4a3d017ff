//! The ring beside its peers, and latest-value pages. One writing process, one or six reading processes, records of a frame's size.
//!
//! What is compared: each bus publishes as fast as it can for the given time, filling every octet of every record from
//! the writer's own memory; readers take what they can get. Figures are records *received* a second, summed over
//! readers; losses stand in the note (both buses drop the oldest when a reader is too slow; iceoryx2 with safe
//! overflow, its documented way for that). `copy` readers copy each payload out, `in-place` readers look at its first
//! and last word where they lie. crossbeam and rtrb are queues inside one process that never drop (the writer spins
//! when full) and have one reader: they show what a hand-over costs without processes, retention or many readers.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{LatestPage, LatestReader, LatestSpec, RingSpec};
use fep_time::Tai;

use crate::{Case, Measured};

/// Samples a subscriber of the peer may fall behind: of the order of what the ring of the benchmark holds.
pub const ICEORYX_BUFFER: usize = 1024;

/// The ring of the benchmark: 2^11 descriptors and 2 MiB of log, small enough to stay in the second-level cache;
/// `FEP_BENCH_DESC_LOG2` and `FEP_BENCH_DATA_LOG2` change it.
pub fn ring_spec(len: usize) -> RingSpec {
    let number = |name: &str, default: u32| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    RingSpec {
        desc_log2: number("FEP_BENCH_DESC_LOG2", 11),
        data_len: 1 << number("FEP_BENCH_DATA_LOG2", 21),
        extent_len: 1 << 19,
        payload_max: len as u32,
        ..RingSpec::new("bench", "bench.v1")
    }
}

/// All cases of the bus.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, len, readers, way) in [
        ("ring/1115/1to1", 1115, 1, "copy"),
        ("ring/1115/1to1/in-place", 1115, 1, "in-place"),
        ("ring/1115/1to6", 1115, 6, "copy"),
        ("ring/1115/1to6/in-place", 1115, 6, "in-place"),
        ("ring/64/1to1", 64, 1, "copy"),
    ] {
        cases.push(Case {
            name: name.to_owned(),
            unit: "Mrec/s",
            peer_name: "iceoryx2",
            run: Box::new(move |budget_s| beside_iceoryx(len, readers, way, budget_s)),
        });
    }
    for (name, peer_name, run) in [
        ("ring/1115/1to1/crossbeam", "crossbeam", crossbeam_rate as fn(f64) -> f64),
        ("ring/1115/1to1/rtrb", "rtrb", rtrb_rate),
    ] {
        cases.push(Case {
            name: name.to_owned(),
            unit: "Mrec/s",
            peer_name,
            run: Box::new(move |budget_s| {
                let ours = processes("fep", 1115, 1, "copy", budget_s / 2.0);
                let peer = run(budget_s / 2.0);
                let note = format!(
                    "ours between processes, lossy: {}; the peer inside one process, lossless",
                    ours.as_ref().map_or_else(Clone::clone, Outcome::note)
                );
                Measured { ours: ours.map_or(0.0, |ours| ours.rate()), peer: Some(peer), note }
            }),
        });
    }
    cases.push(Case {
        name: "latest/64keys".to_owned(),
        unit: "Mset/s",
        peer_name: "Mutex<HashMap>",
        run: Box::new(latest_values),
    });
    cases
}

fn beside_iceoryx(len: usize, readers: usize, way: &str, budget_s: f64) -> Measured {
    let ours = processes("fep", len, readers, way, budget_s / 2.0);
    let peer = processes("iceoryx2", len, readers, way, budget_s / 2.0);
    let note = |who: &str, outcome: &Result<Outcome, String>| match outcome {
        Ok(outcome) => format!("{who}: {}", outcome.note()),
        Err(problem) => format!("{who} did not run: {problem}"),
    };
    Measured {
        note: format!(
            "{}; {}; {readers} reader(s) on one core, {way}",
            note("ours", &ours),
            note("iceoryx2", &peer)
        ),
        ours: ours.map_or(0.0, |outcome| outcome.rate()),
        peer: peer.ok().map(|outcome| outcome.rate()),
    }
}

/// One run: what the writer published and what each reader got.
struct Outcome {
    written: Figures,
    read: Vec<Figures>,
}

/// What a process prints at its end.
struct Figures {
    records: f64,
    lost: f64,
    seconds: f64,
}

impl Figures {
    fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.records / self.seconds / 1e6 } else { 0.0 }
    }
}

impl Outcome {
    /// Millions of records received a second, all readers together.
    fn rate(&self) -> f64 {
        self.read.iter().map(Figures::rate).sum()
    }

    fn note(&self) -> String {
        let received: f64 = self.read.iter().map(|reader| reader.records).sum();
        let lost: f64 = self.read.iter().map(|reader| reader.lost).sum();
        format!(
            "published {:.2} M/s, lost {:.1} %",
            self.written.rate(),
            100.0 * lost / (received + lost).max(1.0)
        )
    }
}

fn processes(bus: &str, len: usize, readers: usize, way: &str, seconds: f64) -> Result<Outcome, String> {
    let dir = tempfile::Builder::new()
        .prefix("fep-bench")
        .tempdir_in("/dev/shm")
        .map_err(|error| error.to_string())?;
    let place = match bus {
        "fep" => dir.path().to_string_lossy().into_owned(),
        _ => format!("fep-bench-{}", dir.path().file_name().unwrap_or_default().to_string_lossy()),
    };
    let start = |role: &str, cpu: usize| {
        Process::start(&[bus, role, &cpu.to_string(), &len.to_string(), &seconds.to_string(), &place, way])
    };
    // The writer lays out the ring and waits for our word, so that no reader misses the start.
    let mut writer = start("writer", 0)?;
    writer.expect_ready()?;
    let mut reading = Vec::new();
    for reader in 0..readers {
        let mut process = start(&format!("reader{reader}"), 1)?;
        process.expect_ready()?;
        reading.push(process);
    }
    writer.go()?;
    let written = writer.figures()?;
    let read = reading.into_iter().map(|mut process| process.figures()).collect::<Result<_, _>>()?;
    Ok(Outcome { written, read })
}

/// A helper process; killed when dropped, so that a failed run leaves nothing behind.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Process, String> {
        let path = helper()?;
        let mut child = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", path.display()))?;
        let out = child.stdout.take().ok_or("no output")?;
        Ok(Process { child, lines: BufReader::new(out).lines() })
    }

    fn line(&mut self) -> Result<String, String> {
        match self.lines.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("a benchmark process ended early".to_owned()),
        }
    }

    fn expect_ready(&mut self) -> Result<(), String> {
        let line = self.line()?;
        if line == "ready" { Ok(()) } else { Err(format!("expected \"ready\", found \"{line}\"")) }
    }

    fn go(&mut self) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"go\n").map_err(|error| error.to_string())
    }

    fn figures(&mut self) -> Result<Figures, String> {
        let line = self.line()?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [records, lost, seconds] = numbers.as_slice() else {
            return Err(format!("expected three numbers, found \"{line}\""));
        };
        Ok(Figures { records: *records, lost: *lost, seconds: *seconds })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn helper() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name("ring_process");
    if path.exists() {
        Ok(path)
    } else {
        Err("ring_process is not built: build fep-benches with --bins".to_owned())
    }
}

/// One record of a frame's size, as an inline value.
type Inline = [u8; 1115];

/// One thread sets the values of 64 keys (four octets each, as a CLCW has) in turn, nobody reads. The peer shares a map
/// behind a lock inside one process. The note has what reading back costs.
fn latest_values(budget_s: f64) -> Measured {
    const KEYS: u64 = 64;
    let time = Duration::from_secs_f64(budget_s / 3.0);
    let rate = |mut turn: Box<dyn FnMut(u64)>| {
        let (start, mut turns) = (Instant::now(), 0_u64);
        while start.elapsed() < time {
            (0..1000).for_each(|_| {
                turns += 1;
                turn(turns);
            });
        }
        turns as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    let measure = || -> Result<Measured, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let spec = LatestSpec::new("bench", KEYS as usize);
        let mut page = LatestPage::create(dir.path(), &spec).map_err(|error| error.to_string())?;
        let reader = LatestReader::open(dir.path(), "bench").map_err(|error| error.to_string())?;
        let ours = rate(Box::new(move |turn| {
            let stored = page.set(turn % KEYS, &(turn as u32).to_be_bytes(), Tai(turn as i64));
            assert!(stored.is_ok(), "64 keys fit");
        }));
        let read = rate(Box::new(move |turn| {
            let _ = std::hint::black_box(reader.get(turn % KEYS));
        }));
        let map = std::sync::Mutex::new(std::collections::HashMap::new());
        let peer = rate(Box::new(move |turn| {
            let mut map = map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            map.insert(turn % KEYS, ((turn as u32).to_be_bytes(), Tai(turn as i64)));
        }));
        let note = format!("set {:.1} ns, get {:.1} ns", 1000.0 / ours, 1000.0 / read);
        Ok(Measured { ours, peer: Some(peer), note })
    };
    measure().unwrap_or_else(|note| Measured { note, ..Measured::default() })
}

fn crossbeam_rate(seconds: f64) -> f64 {
    let queue = crossbeam::queue::ArrayQueue::<Inline>::new(4096);
    threads_rate(seconds, |record| queue.push(record).is_ok(), || queue.pop())
}

fn rtrb_rate(seconds: f64) -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Inline>::new(4096);
    threads_rate(seconds, move |record| producer.push(record).is_ok(), move || consumer.pop().ok())
}

/// Millions of records a second from one thread to another.
fn threads_rate(
    seconds: f64,
    mut push: impl FnMut(Inline) -> bool + Send,
    mut pop: impl FnMut() -> Option<Inline> + Send,
) -> f64 {
    const LAST: u64 = u64::MAX;
    let time = Duration::from_secs_f64(seconds);
    let send = move || {
        let (start, mut seq, mut record) = (Instant::now(), 0_u64, [0x5A; 1115]);
        loop {
            seq += 1;
            let ended = seq.is_multiple_of(1000) && start.elapsed() >= time;
            record[..8].copy_from_slice(&if ended { LAST } else { seq }.to_le_bytes());
            while !push(record) {
                std::hint::spin_loop();
            }
            if ended {
                return;
            }
        }
    };
    let receive = move || {
        let (start, mut received) = (Instant::now(), 0_u64);
        loop {
            match pop() {
                Some(record) => {
                    std::hint::black_box(&record);
                    received += 1;
                    if record[..8] == LAST.to_le_bytes() {
                        return received as f64 / start.elapsed().as_secs_f64() / 1e6;
                    }
                }
                None => std::hint::spin_loop(),
            }
        }
    };
    std::thread::scope(|scope| {
        let receiver = scope.spawn(receive);
        scope.spawn(send);
        receiver.join().unwrap_or(0.0)
    })
}
