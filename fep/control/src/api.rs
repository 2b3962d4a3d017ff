//! What is asked and answered over the control interface: the JSON bodies of HTTP over the Unix socket, the same types both ways.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`Status`] |
//! | `GET /links` | `Vec<LinkStatus>` |
//! | `GET /links/{name}` | [`LinkStatus`] |
//! | `GET /spacecraft` | `Vec<SpacecraftStatus>`: those whose links are merged |
//! | `GET /spacecraft/{name}` | [`SpacecraftStatus`] |
//! | `GET /rings` | `Vec<RingStatus>` |
//! | `GET /ledgers` | [`Ledgers`] |
//! | `GET /metrics` | Prometheus text |
//! | `POST /links/{name}/enable`, `disable`, `reset`; the same of `/spacecraft/{name}` | [`Done`] |
//! | `POST /reload` | [`ReloadReport`] |
//! | `POST /stop` | [`Done`] |
//!
//! Anything refused answers with a 4xx or 5xx status and an [`ApiError`]. Times are nanoseconds of TAI since 1958-01-01.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
pub use fep_downlink::{AntennaCounts, Ledger, VcLedger};

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
    /// Every spacecraft whose links are merged, in the order of names.
    #[serde(default)]
    pub spacecraft: Vec<SpacecraftStatus>,
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
    /// Whether it shall run.
    pub enabled: bool,
    /// `starting`, `idle`, `connecting`, `connected`, `listening`, `ended`, `failed` (and tried again when it is enabled),
    /// `stopping`, `abandoned` (its thread does not stop), `disabled`.
    pub state: String,
    /// Why it does not run although it shall, or why its thread does not stop.
    pub failure: Option<String>,
    /// Why the last attempt to connect, or to open the device, failed, in words; `None` when it is not `connecting`.
    #[serde(default)]
    pub connect_error: Option<String>,
    /// How long until it is tried again.
    #[serde(default)]
    pub retry_ms: Option<u64>,
    /// How often it was started again after a failure.
    #[serde(default)]
    pub restarts: u64,
    /// `search`, `check`, `lock`, `flywheel`; empty for datagrams, where nothing is searched.
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
    /// The spacecraft that merges this link with others; `None` for one that publishes its packets itself.
    #[serde(default)]
    pub merged_by: Option<String>,
    /// Newest report of each virtual channel of the way up; of black frames only.
    #[serde(default)]
    pub clcws: Vec<ClcwStatus>,
}

/// One spacecraft whose links are merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpacecraftStatus {
    /// Name: that of its rings.
    pub name: String,
    /// Number in event records.
    pub id: u16,
    /// `mission/channel`.
    pub channel: String,
    /// Names of the spacecraft on the channel.
    pub spacecraft: String,
    /// OPS, TEST or REPLAY.
    pub session: String,
    /// Whether it shall run.
    pub enabled: bool,
    /// `starting`, `running`, `failed` (and tried again when it is enabled), `stopping`, `abandoned`, `disabled`.
    pub state: String,
    /// Why it does not run although it shall, or why its thread does not stop.
    pub failure: Option<String>,
    /// How long until it is tried again.
    pub retry_ms: Option<u64>,
    /// How often it was started again after a failure.
    pub restarts: u64,
    /// The thread.
    pub thread: ThreadStatus,
    /// Rates over the last second or so; of bits it has none.
    pub rates: Rates,
    /// The antennas, in the order of the configuration.
    pub antennas: Vec<AntennaStatus>,
    /// Counters of the merge as a whole, named as in the metrics.
    pub merge_counters: Vec<NamedCount>,
    /// What became of the frames that the merge served.
    pub ledger: Ledger,
    /// Virtual channels of the configuration.
    pub vcs: Vec<VcStatus>,
    /// Latency from the socket, by stage.
    pub latency: Vec<LatencyStatus>,
    /// Newest report of each virtual channel of the way up; of black frames only.
    pub clcws: Vec<ClcwStatus>,
}

/// One antenna of a spacecraft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AntennaStatus {
    /// Its link.
    pub link: String,
    /// Number of the link in ring records.
    pub number: u16,
    /// Whether it is connected and in lock.
    pub heard: bool,
    /// Whether the merge waits for its frames: it is heard, or what its link published has not been read to the end.
    pub waited_for: bool,
    /// What became of its frames.
    #[serde(flatten)]
    pub counts: AntennaCounts,
    /// Records of its rings that were overwritten before the spacecraft read them.
    pub lost_on_bus: u64,
}

impl AntennaStatus {
    /// Whether every frame has become something: received = served + duplicates + late + bad + pending.
    pub fn is_balanced(&self) -> bool {
        let AntennaCounts { received, served, duplicates, late, bad, pending } = self.counts;
        received == served + duplicates + late + bad + pending
    }
}

/// A communications link control word, the newest on its virtual channel (232.0-B-4 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClcwStatus {
    /// Spacecraft.
    pub scid: u16,
    /// Virtual channel of the way up that it reports on.
    pub vcid: u8,
    /// Virtual channel of the frame that brought it.
    pub frame_vcid: u8,
    /// Whether a code or a FECF has verified that frame.
    pub verified: bool,
    /// Whether its role still gives signs of life.
    pub live: bool,
    /// When it was received, nanoseconds of TAI since 1958.
    pub received_tai_ns: i64,
    /// How long ago that was, by the wall clock.
    pub age_ms: i64,
    /// Status field: of the mission.
    pub status: u8,
    /// No radio signal.
    pub no_rf_available: bool,
    /// No bit lock.
    pub no_bit_lock: bool,
    /// FARM-1 is in lockout.
    pub lockout: bool,
    /// FARM-1 takes no further frames for now.
    pub wait: bool,
    /// Frames are to be sent again.
    pub retransmit: bool,
    /// FARM-B counter.
    pub farm_b_counter: u8,
    /// Next expected frame sequence number, V(R).
    pub report_value: u8,
}

/// The thread of a link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Whether it has real-time priority.
    pub realtime: bool,
    /// Its scheduling class, as the kernel says: `fifo` (SCHED_FIFO, on a core of its own), `rr` (SCHED_RR, on one that links
    /// share) or `other` (the normal class); empty while no thread runs.
    #[serde(default)]
    pub class: String,
    /// How it waits for data now, `busy`, `wait` or `adaptive`: on a shared core a link sleeps whatever it is configured to.
    #[serde(default)]
    pub wait: String,
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
    /// Upper bound of the median, nanoseconds: latencies are counted by powers of two, so the value lies between half of
    /// this and this.
    pub p50_ns: u64,
    /// Upper bound of what 99 of 100 stay below.
    pub p99_ns: u64,
    /// Upper bound of what 999 of 1000 stay below.
    pub p999_ns: u64,
    /// The largest, exactly.
    pub max_ns: u64,
}

impl LatencyStatus {
    /// Upper bounds of the 50th, 99th and 99.9th percentile, nanoseconds; none beyond the largest that was measured.
    pub fn bounds_ns(&self) -> [u64; 3] {
        [self.p50_ns, self.p99_ns, self.p999_ns].map(|bound| bound.min(self.max_ns))
    }
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
    /// Nobody writes it: its link or spacecraft is configured no more. It stays for its consumers, until a start of `fepd`
    /// finds that they have read everything.
    #[serde(default)]
    pub orphaned: bool,
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
    /// Seconds since it was evicted last, if this `fepd` did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_ago_s: Option<f64>,
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
    /// Spacecraft by spacecraft, of those whose links are merged.
    #[serde(default)]
    pub spacecraft: Vec<SpacecraftLedgers>,
    /// Per watched consumer of each ring.
    pub bus: Vec<RingStatus>,
    /// Whether every identity holds: received = published + dropped, for every link and spacecraft; and of every antenna of
    /// a merge received = served + duplicates + late + bad + pending.
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

/// The ledgers of a spacecraft whose links are merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpacecraftLedgers {
    /// Name.
    pub spacecraft: String,
    /// Lost between spacecraft and us, on all antennas at once: virtual channel counters.
    pub vcs: Vec<VcStatus>,
    /// What became of the frames of each antenna.
    pub antennas: Vec<AntennaStatus>,
    /// What became of the frames that the merge served.
    pub ledger: Ledger,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub message: String,
}

/// What a reload did, by link or merged spacecraft.
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
