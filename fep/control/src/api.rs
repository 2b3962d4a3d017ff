//! What the control interface says and hears: the JSON bodies of HTTP over the Unix socket, the same types both ways.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`Status`] |
//! | `GET /links` | `Vec<LinkStatus>` |
//! | `GET /links/{name}` | [`LinkStatus`] |
//! | `GET /rings` | `Vec<RingStatus>` |
//! | `GET /ledgers` | [`Ledgers`] |
//! | `GET /metrics` | Prometheus text |
//! | `POST /links/{name}/enable`, `disable`, `reset` | [`Done`] |
//! | `POST /reload` | [`ReloadReport`] |
//! | `POST /stop` | [`Done`] |
//!
//! Anything refused answers with a 4xx or 5xx status and an [`ApiError`]. Times are nanoseconds of TAI since 1970-01-01.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
pub use fep_downlink::{Ledger, VcLedger};

/// The process as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// When it started.
    pub started_tai_ns: i64,
    /// For how long it has run.
    pub uptime_s: f64,
    /// Configuration file; `None` for the built-in configuration alone.
    pub config_file: Option<String>,
    /// Directory of everything shared.
    pub run_dir: String,
    /// Directory of the rings.
    pub bus_dir: String,
    /// Directory of the metric pages.
    pub metrics_dir: String,
    /// How often the configuration was read again with success.
    pub reloads: u64,
    /// What could not be had on this machine and what it costs, e.g. no real-time priority.
    pub warnings: Vec<String>,
    /// Whether it is on its way down.
    pub stopping: bool,
    /// Every link, in the order of names.
    pub links: Vec<LinkStatus>,
    /// Every ring.
    pub rings: Vec<RingStatus>,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Name.
    pub name: String,
    /// Number in ring records.
    pub id: u16,
    /// `mission/channel`.
    pub channel: String,
    /// Name of the spacecraft.
    pub spacecraft: String,
    /// OPS, TEST or REPLAY.
    pub session: String,
    /// Kind and address of the transport.
    pub transport: String,
    /// Whether a thread runs for it.
    pub enabled: bool,
    /// `idle`, `connecting`, `connected`, `listening`, `ended`, `failed`, `disabled`.
    pub state: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// `search`, `check`, `lock`, `flywheel`; empty for datagrams, where there is nothing to search.
    pub sync: String,
    /// The thread.
    pub thread: ThreadStatus,
    /// Rates over the last second or so.
    pub rates: Rates,
    /// Counters of the transport, named as in the metrics.
    pub transport_counters: Vec<NamedCount>,
    /// Counters of the synchroniser, named as in the metrics.
    pub sync_counters: Vec<NamedCount>,
    /// What became of the frames.
    pub ledger: Ledger,
    /// Virtual channels of the configuration.
    pub vcs: Vec<VcStatus>,
    /// Latency from the socket, by stage.
    pub latency: Vec<LatencyStatus>,
}

/// The thread of a link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Whether it runs under SCHED_FIFO.
    pub realtime: bool,
    /// Part of the last second or so that it spent on data, from receiving to publishing, 0 to 100.
    pub busy_percent: f64,
    /// Processor time of the last second or so, 0 to 100; near 100 for a thread that spins while it waits.
    pub cpu_percent: f64,
}

/// Rates over the last second or so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Bits received a second.
    pub bits_per_s: f64,
    /// Frames received a second.
    pub frames_per_s: f64,
    /// Packets published a second.
    pub packets_per_s: f64,
}

/// A counter and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCount {
    /// Name.
    pub name: String,
    /// Value.
    pub value: u64,
}

/// One virtual channel of a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VcStatus {
    /// `SCID/VCID`.
    pub gvcid: String,
    /// What people call it.
    pub name: String,
    /// What it carries.
    pub service: String,
    /// Its counts.
    pub ledger: VcLedger,
    /// Count of the last good frame.
    pub last_count: Option<u32>,
}

/// Distribution of a latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// `decoded` (from the socket to the verdict) or `published` (from the socket to the ring).
    pub stage: String,
    /// How many were measured.
    pub count: u64,
    /// Percentiles in nanoseconds: 50, 99, 99.9 and the largest.
    pub p50_ns: u64,
    /// 99 of 100 are below.
    pub p99_ns: u64,
    /// 999 of 1000 are below.
    pub p999_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// One ring and its consumers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Name.
    pub name: String,
    /// `black` or `red`.
    pub colour: String,
    /// Sequence number of the next record.
    pub head_seq: u64,
    /// Octets of payload published since the ring was made.
    pub bytes: u64,
    /// Number of the producer's life, growing by one with every restart.
    pub epoch: u64,
    /// Every consumer that has a cursor or a gate.
    pub gates: Vec<GateStatus>,
}

/// One consumer of a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateStatus {
    /// Name of the consumer.
    pub consumer: String,
    /// `free` (not watched), `absent` (never seen), `gated`, `warned`, `evicted` or `detached`.
    pub state: String,
    /// Whether a live process holds its cursor.
    pub alive: bool,
    /// Room left before it loses records, 0 to 100.
    pub credit_percent: f64,
    /// Records it has not read.
    pub lag_records: u64,
    /// Their octets.
    pub lag_bytes: u64,
    /// How often it was evicted.
    pub evictions: u64,
    /// Records it read, as it counts them itself.
    pub consumed_records: u64,
    /// Records it lost, as it counts them itself.
    pub lost_records: u64,
}

/// The loss ledgers that `fepd` knows: link, reception, bus. The fourth, on disk, is the recorder's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledgers {
    /// Link by link.
    pub links: Vec<LinkLedgers>,
    /// Per watched consumer of each ring.
    pub bus: Vec<RingStatus>,
    /// Whether every identity holds: received = published + dropped, for every link.
    pub balanced: bool,
}

/// Two ledgers of a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkLedgers {
    /// Name of the link.
    pub link: String,
    /// Lost between spacecraft and us: virtual channel counters.
    pub vcs: Vec<VcStatus>,
    /// Lost at reception: datagrams the kernel dropped or cut, octets of dropped connections.
    pub reception: Vec<NamedCount>,
    /// What became of what was received.
    pub ledger: Ledger,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub message: String,
}

/// What a reload did, by link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Links that are new or enabled now.
    pub started: Vec<String>,
    /// Links that are gone or disabled now.
    pub stopped: Vec<String>,
    /// Links whose configuration changed: stopped and started again.
    pub restarted: Vec<String>,
    /// Links that never noticed.
    pub untouched: Vec<String>,
    /// Keys that changed but are only read at start.
    pub needs_restart: Vec<String>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What and what to do.
    pub message: String,
    /// The mistakes of a configuration that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ConfigError>,
}
