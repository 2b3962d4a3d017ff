//! Asking the real archive service, in a process of its own, over its Unix socket: the first octets of one pass out of a
//! catalogue of a terabyte, and SQL over 10^8 rows beside DuckDB on the same files.
//!
//! The terabyte is synthetic: four thousand segments are in the catalogue, and those of the pass that is asked for are
//! really there, recorded and indexed as any. The 10^8 rows are a hundred copies of an index of a million.

use fep_time::Tai;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fep_bus::{Colour, Position, Tag};
use fep_catalogue::{
    Catalogue, Channel, Ingest, IngestConfig, Presence, PresenceCounts, Run, Segment, SegmentFilter, Store,
    StoreConfig, Summary,
};
use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, FrameRecord, KIND_FRAME};
use fep_segments::{Chain, SegmentHeader, SegmentName, SegmentWriter, Stream};

use crate::processes::{Archive, text};
use crate::{Case, Measured};

const FRAME_LEN: usize = 1115;
const SECOND_NS: i64 = 1_000_000_000;
/// 2026-06-01, about, in TAI nanoseconds since 1958.
const START: i64 = 2_159_000_000 * SECOND_NS;
/// Frames of ten minutes at 10 Mbit/s.
const PASS_FRAMES: u64 = 600 * 10_000_000 / (8 * FRAME_LEN as u64);
/// Segments of 256 MiB in a terabyte.
const SEGMENTS: u64 = 4000;
const INDEX_ROWS: u64 = 1_000_000;
const INDEX_COPIES: u64 = 100;
const CHANNELS: u64 = 8;
const SQL: &str = "SELECT vcid, count(*) AS n FROM frames GROUP BY vcid ORDER BY vcid";
const THREADS: usize = 2;

type Fault = Box<dyn std::error::Error>;

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "archive/retrieval/first-octets".into(),
            unit: "ms (less is better)",
            peer_name: "",
            run: Box::new(|budget_s| told(first_octets(budget_s))),
        },
        Case {
            name: "archive/sql/count-by-vc-1e8".into(),
            unit: "s (less is better)",
            peer_name: "duckdb",
            run: Box::new(|_| told(count_by_vc())),
        },
    ]
}

fn told(result: Result<Measured, Fault>) -> Measured {
    result.unwrap_or_else(|fault| Measured { note: format!("could not run: {fault}"), ..Measured::default() })
}

/// Writes sealed segments of frames in turn on `CHANNELS` channels.
struct Recorder {
    archive: PathBuf,
    next: Position,
    chain: Chain,
    previous: Option<SegmentName>,
    number: u64,
}

impl Recorder {
    fn segment(&mut self, frames: u64, payload: &mut [u8], interval_ns: i64) -> Result<(), Fault> {
        let header = SegmentHeader {
            stream: Stream::new(Colour::Black, "bench.frames"),
            schema: "ccsds.frame.v1".to_owned(),
            id: self.number | 1 << 40,
            instance: 1,
            series: 1,
            base: self.next,
            created_unix_ns: 1,
            previous: self.previous,
        };
        let name = header.name();
        let mut writer = SegmentWriter::create(&self.archive, header)?;
        for _ in 0..frames {
            payload[..8].copy_from_slice(&self.number.to_be_bytes());
            let gvcid = Gvcid { tfvn: 1, scid: 162, vcid: (self.number % CHANNELS) as u8 };
            let frame_count = (self.number / CHANNELS) as u32 & 0xFF_FFFF;
            let record =
                FrameRecord { gvcid, frame_count, flags: FrameFlags::CODED, ..FrameRecord::default() };
            let (flags, words) = record.to_words();
            let rx_tai_ns = START + self.number as i64 * interval_ns;
            writer.record(
                Tag { kind: KIND_FRAME, flags, received: Tai(rx_tai_ns), published: Tai(rx_tai_ns), words },
                payload,
            )?;
            self.number += 1;
        }
        self.next = writer.position();
        let (_, footer) = writer.seal(self.chain)?;
        (self.chain, self.previous) = (Chain(footer.chain), Some(name));
        Ok(())
    }
}

fn recorder(root: &Path) -> Recorder {
    Recorder {
        archive: root.join("segments"),
        next: Position { seq: 1, pos: 0, payload: 0 },
        chain: Chain::default(),
        previous: None,
        number: 0,
    }
}

/// Takes in what is recorded below `root`, where an [`Archive`] will find it; the first segment.
async fn taken_in(root: &Path) -> Result<(Catalogue, Segment), Fault> {
    std::fs::create_dir_all(Archive::store(root))?;
    let catalogue = Catalogue::open(&Archive::database(root)).await?;
    let store = Store::open(&StoreConfig::directory(&Archive::store(root)))?;
    let config = IngestConfig {
        archive: Archive::segments(root),
        bus: None,
        tail: false,
        tail_limits: Default::default(),
        packets: Default::default(),
        service: String::new(),
    };
    let mut ingest = Ingest::open(config, catalogue.clone(), store).await?;
    while !ingest.step().await?.is_idle() {}
    let first = catalogue.segments(&SegmentFilter::default()).await?.into_iter().next();
    Ok((catalogue, first.ok_or("nothing was taken in")?))
}

/// A segment as the catalogue would have it, of the `number`-th pass after the one that is really there.
fn synthetic(of: &Segment, number: u64, index: Option<String>) -> (Segment, Summary) {
    let mut segment = of.clone();
    segment.facts.series = of.facts.series + 1;
    segment.facts.base_pos = number << 28;
    segment.facts.first_seq = number * 240_000 + 1;
    segment.facts.end_seq = segment.facts.first_seq + of.facts.records;
    segment.facts.content_sha256[..8].copy_from_slice(&(number + 1).to_be_bytes());
    let first = START + (number as i64 + 1) * 7200 * SECOND_NS;
    let last = first + 200 * SECOND_NS;
    (segment.first_rx_tai_ns, segment.last_rx_tai_ns) = (Some(first), Some(last));
    if let (Some(file), Some(key)) = (&mut segment.frames_index, index) {
        file.key = key;
    }
    let counts = PresenceCounts { units: of.frames, ..PresenceCounts::default() };
    let presence = Presence {
        link: 0,
        session: 0,
        scid: Some(162),
        by_packets: false,
        first_rx_tai_ns: first,
        last_rx_tai_ns: last,
        counts,
    };
    let run = |vcid: u64| Run {
        channel: Channel {
            link: 0,
            session: 0,
            tfvn: 1,
            scid: 162,
            vcid: vcid as u8,
            expedited: false,
            apid: None,
        },
        first_seq: segment.facts.first_seq,
        last_seq: segment.facts.end_seq - 1,
        first_rx_tai_ns: first,
        last_rx_tai_ns: last,
        first_count: 0,
        last_count: 29_999,
        units: 30_000,
        duplicates: 0,
        modulus: 1 << 24,
        first_flags: FrameFlags::CODED.0,
    };
    let summary = Summary {
        rx_tai_ns: Some((first, last)),
        payload_octets: of.payload_octets,
        presences: vec![presence],
        runs: (0..CHANNELS).map(run).collect(),
        breaks: Vec::new(),
    };
    (segment, summary)
}

fn first_octets(budget_s: f64) -> Result<Measured, Fault> {
    let directory = tempfile::tempdir()?;
    let mut recorder = recorder(directory.path());
    let mut payload = vec![0xA5; FRAME_LEN];
    let interval_ns = 600 * SECOND_NS / PASS_FRAMES as i64;
    for _ in 0..3 {
        recorder.segment(PASS_FRAMES / 3, &mut payload, interval_ns)?;
    }
    let filled = tokio::runtime::Runtime::new()?.block_on(async {
        let (catalogue, real) = taken_in(directory.path()).await?;
        let began = Instant::now();
        for number in 0..SEGMENTS {
            let (segment, summary) = synthetic(&real, number, None);
            catalogue.insert(&segment, &summary, START).await?;
        }
        Ok::<_, Fault>(began.elapsed())
    })?;
    let archive = Archive::start(directory.path(), "")?;
    let query = format!("from=tai:{START}&to=tai:{}&scid=162&vcid=3&format=frames", START + 600 * SECOND_NS);
    let (mut firsts, mut whole) = (Vec::new(), Duration::MAX);
    let (mut octets, until) = (0, Instant::now() + Duration::from_secs_f64(budget_s));
    let mut buffer = vec![0; 256 << 10];
    while firsts.len() < 5 || Instant::now() < until {
        let began = Instant::now();
        let mut body = archive.get(&format!("/v1/frames?{query}"))?;
        octets = body.read(&mut buffer)?;
        firsts.push(began.elapsed().as_secs_f64() * 1e3);
        loop {
            match body.read(&mut buffer)? {
                0 => break,
                more => octets += more,
            }
        }
        whole = whole.min(began.elapsed());
    }
    firsts.sort_by(f64::total_cmp);
    Ok(Measured {
        ours: firsts[firsts.len() / 2],
        peer: None,
        note: format!(
            "median of {}, worst {:.1} ms; from connecting to the first of {:.1} MB ({:.1} Gbit/s whole), one of {CHANNELS} \
             channels, out of {} segments (catalogued in {:.0} ms each); page cache warm; no peer has frames to retrieve",
            firsts.len(),
            firsts.last().copied().unwrap_or_default(),
            octets as f64 / 1e6,
            octets as f64 * 8e-9 / whole.as_secs_f64(),
            SEGMENTS + 3,
            filled.as_secs_f64() * 1e3 / SEGMENTS as f64
        ),
    })
}

fn count_by_vc() -> Result<Measured, Fault> {
    let directory = tempfile::tempdir()?;
    let mut recorder = recorder(directory.path());
    recorder.segment(INDEX_ROWS, &mut [0; 16], 1_000_000)?;
    let pattern = tokio::runtime::Runtime::new()?.block_on(async {
        let (catalogue, real) = taken_in(directory.path()).await?;
        let index = real.frames_index.as_ref().ok_or("no index")?;
        let place = |key: &str| Archive::store(directory.path()).join(key);
        let (folder, _) = index.key.rsplit_once('/').ok_or("no folder")?;
        for number in 1..INDEX_COPIES {
            let key = format!("{folder}/copy-{number}.parquet");
            std::fs::copy(place(&index.key), place(&key))?;
            let (segment, summary) = synthetic(&real, number, Some(key));
            catalogue.insert(&segment, &summary, START).await?;
        }
        Ok::<_, Fault>(place(folder).join("*.parquet"))
    })?;
    let archive = Archive::start(directory.path(), &format!("[sql]\nthreads = {THREADS}\n"))?;
    let query = serde_json::json!({ "sql": SQL, "timeout_s": 30 }).to_string();
    let mut best = f64::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let mut answer = Vec::new();
        archive.post("/v1/sql", &query)?.read_to_end(&mut answer)?;
        best = best.min(began.elapsed().as_secs_f64());
        counted(&answer)?;
    }
    let peer = duckdb(&pattern);
    let note = match &peer {
        Ok(_) => format!(
            "best of 3, {THREADS} threads each, {INDEX_COPIES} files of {INDEX_ROWS} rows; ours from connecting to the answer, \
             planning included"
        ),
        Err(why) => format!("duckdb did not run (make tools): {why}"),
    };
    Ok(Measured { ours: best, peer: peer.ok(), note })
}

/// Whether the answer counts every row once.
fn counted(answer: &[u8]) -> Result<(), Fault> {
    let answer: serde_json::Value = serde_json::from_slice(answer)?;
    let rows = answer["rows"].as_array().ok_or_else(|| text(&answer))?;
    let counts: Option<Vec<u64>> = rows.iter().map(|row| row["n"].as_u64()).collect();
    let counts = counts.ok_or_else(|| text(&answer))?;
    if counts.len() != CHANNELS as usize || counts.iter().sum::<u64>() != INDEX_ROWS * INDEX_COPIES {
        return Err(format!("not every row was counted once: {counts:?}").into());
    }
    Ok(())
}

/// The same count by DuckDB, a program of its own, on the same files: seconds, best of three.
fn duckdb(pattern: &Path) -> Result<f64, Fault> {
    let script = "import sys, time, duckdb
duckdb.sql(f'SET threads = {sys.argv[2]}')
best = 1e9
for _ in range(3):
    began = time.perf_counter()
    rows = duckdb.sql(f\"SELECT vcid, count(*) FROM read_parquet('{sys.argv[1]}') GROUP BY vcid ORDER BY vcid\").fetchall()
    best = min(best, time.perf_counter() - began)
assert sum(row[1] for row in rows) == int(sys.argv[3]), rows
print(best)";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/python");
    let rows = (INDEX_ROWS * INDEX_COPIES).to_string();
    let run =
        Command::new(python).args(["-c", script]).arg(pattern).args([THREADS.to_string(), rows]).output()?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
            .into());
    }
    Ok(String::from_utf8_lossy(&run.stdout).trim().parse()?)
}
