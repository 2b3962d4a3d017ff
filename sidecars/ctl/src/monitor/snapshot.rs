//! What the monitor shows: plain data of one moment, rates included. Where it comes from is `source`'s matter, how it
//! looks is `view`'s and `plain`'s.

use fep_downlink::Ledger;
use serde::Serialize;

use crate::clcw::ClcwRow;

/// Everything known at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    /// When, as UTC text with milliseconds.
    pub(crate) utc: String,
    /// The daemon itself.
    pub(crate) daemon: DaemonFacts,
    /// Station links in the order of the configuration.
    pub(crate) links: Vec<LinkRow>,
    /// Spacecraft whose links are merged, in the same form: the frames are those that the merge serves, the lock says how many
    /// of the antennas are heard.
    pub(crate) spacecraft: Vec<LinkRow>,
    /// Virtual channels of all links and merged spacecraft.
    pub(crate) vcs: Vec<VcRow>,
    /// Newest report of each virtual channel of the way up.
    pub(crate) clcws: Vec<ClcwRow>,
    /// The four loss ledgers, kept apart.
    pub(crate) ledgers: Ledgers,
    /// Readers of the rings.
    pub(crate) consumers: Vec<ConsumerRow>,
    /// Threads of the daemon.
    pub(crate) threads: Vec<ThreadRow>,
    /// Latency per link and stage.
    pub(crate) latencies: Vec<LatencyRow>,
    /// Latest events, newest first.
    pub(crate) events: Vec<EventRow>,
}

impl Snapshot {
    /// Everything that has a row in the table: links, then merged spacecraft.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &LinkRow> {
        self.links.iter().chain(&self.spacecraft)
    }
}

/// The daemon process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct DaemonFacts {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_s: u64,
    /// Resident memory in octets, 0 where unknown.
    pub(crate) memory_bytes: u64,
}

/// How well something is, for colour and for sorting the eye.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// As it should be.
    Good,
    /// Working, but look at it.
    Warning,
    /// Not working, or something was lost.
    Bad,
    /// Switched off or not used.
    #[default]
    Off,
}

/// One station link, or one spacecraft whose links are merged.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct LinkRow {
    pub(crate) name: String,
    pub(crate) mission: String,
    pub(crate) transport: String,
    pub(crate) enabled: bool,
    /// Connection: `connected`, `connecting`, ...
    pub(crate) state: String,
    pub(crate) state_health: Health,
    /// Frame synchroniser: `lock`, `search`, ...
    pub(crate) lock: String,
    pub(crate) lock_health: Health,
    pub(crate) bits_per_s: f64,
    pub(crate) frames_per_s: f64,
    pub(crate) received: u64,
    pub(crate) good: u64,
    pub(crate) corrected: u64,
    pub(crate) uncorrectable: u64,
    /// Uncorrectable, or decoded and refused: of another spacecraft, with a wrong FECF.
    pub(crate) bad: u64,
    pub(crate) idle: u64,
    pub(crate) symbols_corrected: u64,
    /// Frames missing by the counters of its virtual channels.
    pub(crate) vc_gaps: u64,
    pub(crate) vc_lost: u64,
    pub(crate) published: u64,
    pub(crate) packets: u64,
    /// Whether it is a spacecraft whose links are merged: it has no bits of its own.
    pub(crate) is_merge: bool,
    /// Of a link the spacecraft that merges it with others and has its packets.
    pub(crate) merged_by: Option<String>,
    /// Further counters, for the detail pane: name and value.
    pub(crate) details: Vec<(String, String)>,
}

impl LinkRow {
    /// A row with what a ledger counts, of a link or of a merged spacecraft, and nothing else yet.
    pub(super) fn counting(ledger: &Ledger) -> LinkRow {
        let counts = &ledger.counts;
        LinkRow {
            received: counts.received,
            good: counts.good,
            corrected: counts.corrected,
            uncorrectable: counts.uncorrectable,
            bad: ledger.bad.total(),
            idle: counts.idle,
            symbols_corrected: counts.symbols_corrected,
            vc_gaps: counts.gaps,
            vc_lost: counts.lost,
            published: counts.published,
            packets: counts.packets,
            ..LinkRow::default()
        }
    }
}

/// One virtual channel of one link or merged spacecraft.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct VcRow {
    pub(crate) link: String,
    /// `SCID/VCID`.
    pub(crate) gvcid: String,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) frames: u64,
    pub(crate) frames_per_s: f64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    /// Times that the counter jumped backwards.
    pub(crate) resets: u64,
    /// Frames with the count of the frame before.
    pub(crate) duplicates: u64,
    /// `None` on a link whose spacecraft has the packets.
    pub(crate) packets: Option<u64>,
}

/// One line of a ledger: an amount of something, and whether it is a loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) amount: u64,
    /// What is counted: `frames`, `octets`, ...
    pub(crate) unit: &'static str,
    pub(crate) loss: bool,
}

impl Entry {
    /// Something that arrived or went out.
    pub(crate) fn flow(name: &str, amount: u64, unit: &'static str) -> Entry {
        Entry { name: name.into(), amount, unit, loss: false }
    }

    /// Something that was lost.
    pub(crate) fn loss(name: &str, amount: u64, unit: &'static str) -> Entry {
        Entry { name: name.into(), amount, unit, loss: true }
    }
}

/// The four places where something can be lost. They are never added together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Ledgers {
    /// Between spacecraft and station: what the counters of the virtual channels miss. A frame that several antennas of a
    /// merged spacecraft received is one here.
    pub(crate) link: Vec<Entry>,
    /// Between station and frames ring: sockets, synchronisation, refused frames; the receptions of every link.
    pub(crate) reception: Vec<Entry>,
    /// Between the antennas of merged spacecraft and their rings; empty without one.
    pub(crate) merge: Vec<Entry>,
    /// Between ring and consumers.
    pub(crate) bus: Vec<Entry>,
    /// Between ring and disk; empty while no recorder is attached.
    pub(crate) disk: Vec<Entry>,
    /// Sentences about books that do not balance. Empty when they do.
    pub(crate) unbalanced: Vec<String>,
}

/// One reader of a ring.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ConsumerRow {
    pub(crate) ring: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) health: Health,
    /// Room left before the producer laps it, 0 to 100.
    pub(crate) credit_pct: f64,
    pub(crate) lag_records: u64,
    pub(crate) lag_bytes: u64,
    pub(crate) consumed: u64,
    pub(crate) lost_records: u64,
    pub(crate) evictions: u64,
    /// Since the last eviction, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evicted_ago_s: Option<f64>,
}

/// One thread of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ThreadRow {
    pub(crate) name: String,
    pub(crate) tid: u32,
    /// The core it ran on last.
    pub(crate) core: u32,
    /// Share of one core since the sample before, 0 to 100.
    pub(crate) busy_pct: f64,
    /// `fifo 50`, `other`, ...
    pub(crate) policy: String,
}

/// One latency histogram, in nanoseconds. It is measured once for each chunk: what was received at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct LatencyRow {
    pub(crate) name: String,
    /// Chunks measured.
    pub(crate) chunks: u64,
    /// Upper bounds of percentiles, none beyond the largest value.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct EventRow {
    /// When, nanoseconds of TAI since 1958.
    pub(crate) at_ns: i64,
    /// Time of day, UTC.
    pub(crate) time: String,
    pub(crate) health: Health,
    pub(crate) link: String,
    /// The newest, where it came several times.
    pub(crate) text: String,
    /// How often it came within a minute.
    pub(crate) times: u32,
}

impl EventRow {
    /// The text with the number of times where it came more than once.
    pub(crate) fn text(&self) -> String {
        match self.times {
            0 | 1 => self.text.clone(),
            times => format!("{times}× {}", self.text),
        }
    }
}
