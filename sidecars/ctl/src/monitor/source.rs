//! Where snapshots come from: the daemon's status, the events ring, `/proc`.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fep_bus::{Consumer, Poll, Resume};
use fep_control::api::{GateStatus, LinkStatus, RingStatus, Status};
use fep_record::EventRecord;

use super::snapshot::{
    ConsumerRow, DaemonFacts, Entry, EventRow, Health, LatencyRow, Ledgers, LinkRow, Snapshot, VcRow,
};
use super::threads::{ThreadWatch, resident_bytes};
use crate::clcw;
use crate::client::{published, words};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::ring::{event_spacecraft, event_text};
use crate::{figures, times};

/// Name of the ring that carries the events of all links.
const EVENTS_RING: &str = "events";
/// The watched reader that copies the rings to disk.
const RECORDER: &str = "recorder";
/// Events kept for showing.
const EVENTS_KEPT: usize = 200;
/// The same event of a link within this time of the first is one row.
const FOLDED_WITHIN_NS: i64 = 60_000_000_000;
/// Counters of a transport that count losses at reception.
const RECEPTION_LOSSES: [&str; 3] = ["kernel_drops", "truncated", "discarded_bytes"];

/// Takes snapshots.
pub(crate) struct Sampler {
    daemon: Daemon,
    threads: ThreadWatch,
    events: EventTail,
    vc_before: HashMap<(String, String), (u64, Instant)>,
    /// Frames not accounted for, per link, in the sample before: counters are read while they move, so only a
    /// difference that stays is an imbalance.
    missing_before: HashMap<String, i128>,
}

impl Sampler {
    pub(crate) fn new(daemon: Daemon) -> Sampler {
        Sampler {
            daemon,
            threads: ThreadWatch::default(),
            events: EventTail::default(),
            vc_before: HashMap::new(),
            missing_before: HashMap::new(),
        }
    }

    /// The daemon this samples.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Everything as it is now.
    pub(crate) fn sample(&mut self) -> Result<Snapshot, Failure> {
        let status: Status = self.daemon.get("/status")?;
        let now = Instant::now();
        self.events.read(Path::new(&status.bus_dir), &status.links);
        let mut vc_now = HashMap::new();
        let mut vcs = Vec::new();
        for link in &status.links {
            for vc in &link.vcs {
                let key = (link.name.clone(), vc.gvcid.clone());
                let before = self.vc_before.get(&key);
                let frames_per_s = before.map_or(0.0, |(frames, at)| {
                    vc.ledger.frames.saturating_sub(*frames) as f64
                        / now.duration_since(*at).as_secs_f64().max(1e-3)
                });
                vc_now.insert(key, (vc.ledger.frames, now));
                vcs.push(VcRow {
                    link: link.name.clone(),
                    gvcid: vc.gvcid.clone(),
                    name: vc.name.clone(),
                    frames: vc.ledger.frames,
                    frames_per_s,
                    gaps: vc.ledger.gaps,
                    lost: vc.ledger.lost,
                    packets: vc.ledger.packets,
                });
            }
        }
        self.vc_before = vc_now;
        Ok(Snapshot {
            utc: times::utc_now(),
            daemon: DaemonFacts {
                version: status.version.clone(),
                pid: status.pid,
                uptime_s: status.uptime_s.max(0.0) as u64,
                memory_bytes: resident_bytes(status.pid),
            },
            links: status.links.iter().map(link_row).collect(),
            vcs,
            clcws: clcw::rows(&status),
            ledgers: self.ledgers(&status),
            consumers: status.rings.iter().flat_map(consumer_rows).collect(),
            threads: self.threads.sample(status.pid),
            latencies: status.links.iter().flat_map(latency_rows).collect(),
            events: self.events.rows(),
        })
    }

    fn ledgers(&mut self, status: &Status) -> Ledgers {
        let sum = |value: fn(&LinkStatus) -> u64| status.links.iter().map(value).sum::<u64>();
        let counter = |name: &str| -> u64 {
            let all = status.links.iter().flat_map(|link| &link.transport_counters);
            all.filter(|count| count.name == name).map(|count| count.value).sum()
        };
        let mut reception = vec![
            Entry::flow("received", sum(|link| link.ledger.counts.received)),
            Entry::flow("published", sum(|link| link.ledger.counts.published)),
            Entry::flow("idle dropped", sum(|link| link.ledger.counts.dropped_idle)),
            Entry::loss("bad, published", sum(|link| link.ledger.bad.total())),
        ];
        reception.extend(RECEPTION_LOSSES.map(|name| Entry::loss(&name.replace('_', " "), counter(name))));
        let readers = status.rings.iter().flat_map(|ring| &ring.gates);
        let (mut bus, mut disk) = (Vec::new(), Vec::new());
        let mut lost: Vec<(&str, u64)> = Vec::new();
        for reader in readers.filter(|reader| !is_hidden(reader)) {
            match lost.iter_mut().find(|(name, _)| *name == reader.consumer) {
                Some((_, amount)) => *amount += reader.lost_records,
                None => lost.push((&reader.consumer, reader.lost_records)),
            }
        }
        if !lost.is_empty() {
            bus.push(Entry::flow("published", status.rings.iter().map(published).sum()));
        }
        for (name, amount) in lost {
            bus.push(Entry::loss(name, amount));
            if name == RECORDER {
                disk.push(Entry::loss("not recorded", amount));
            }
        }
        Ledgers {
            link: vec![
                Entry::flow("accepted", sum(|link| link.ledger.accepted())),
                Entry::loss("lost", sum(|link| link.ledger.counts.lost)),
                Entry::loss("gaps", sum(|link| link.ledger.counts.gaps)),
                Entry::flow("duplicates", sum(|link| link.ledger.counts.duplicates)),
                Entry::flow("resets", sum(|link| link.ledger.counts.resets)),
            ],
            reception,
            bus,
            disk,
            unbalanced: self.unbalanced(status),
        }
    }

    fn unbalanced(&mut self, status: &Status) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut missing_now = HashMap::new();
        for link in &status.links {
            let counts = &link.ledger.counts;
            let missing =
                i128::from(counts.received) - i128::from(counts.published) - i128::from(counts.dropped_idle);
            if missing != 0 && self.missing_before.get(&link.name) == Some(&missing) {
                sentences.push(format!(
                    "{}: received {}, but published {} + dropped {}",
                    link.name, counts.received, counts.published, counts.dropped_idle
                ));
            }
            missing_now.insert(link.name.clone(), missing);
        }
        self.missing_before = missing_now;
        sentences
    }
}

fn link_row(link: &LinkStatus) -> LinkRow {
    let counts = &link.ledger.counts;
    let state_health = match link.state.as_str() {
        _ if !link.enabled => Health::Off,
        "connected" | "listening" => Health::Good,
        "connecting" | "idle" | "ended" => Health::Warning,
        _ => Health::Bad,
    };
    let lock_health = match link.sync.as_str() {
        _ if !link.enabled => Health::Off,
        "lock" => Health::Good,
        "check" | "flywheel" => Health::Warning,
        // Datagrams have nothing to search: a link that receives is as good as locked.
        "" if link.rates.frames_per_s > 0.0 => Health::Good,
        "" => Health::Warning,
        _ => Health::Bad,
    };
    let (mission, _) = link.channel.split_once('/').unwrap_or((&link.channel, ""));
    LinkRow {
        name: link.name.clone(),
        mission: mission.to_owned(),
        transport: link.transport.clone(),
        enabled: link.enabled,
        state: link.state.clone(),
        state_health,
        lock: match link.sync.as_str() {
            _ if !link.enabled => String::new(),
            state => figures::lock(state).to_owned(),
        },
        lock_health,
        bits_per_s: link.rates.bits_per_s,
        frames_per_s: link.rates.frames_per_s,
        received: counts.received,
        good: counts.good,
        corrected: counts.corrected,
        uncorrectable: counts.uncorrectable,
        idle: counts.idle,
        symbols_corrected: counts.symbols_corrected,
        vc_gaps: counts.gaps,
        vc_lost: counts.lost,
        published: counts.published,
        packets: counts.packets,
        details: link_details(link).into_iter().map(|detail| (detail.name, detail.value)).collect(),
    }
}

/// Something about a link that is not in a table.
pub(crate) struct Detail {
    /// What it belongs to: `link`, `frames`, `packets`, `synchroniser` or `transport`.
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether it is a counter of something that has not happened.
    pub(crate) is_zero: bool,
}

/// Everything about a link that is not a table, group by group.
pub(crate) fn link_details(link: &LinkStatus) -> Vec<Detail> {
    let mut details: Vec<Detail> = Vec::new();
    let mut add = |group: &'static str, name: &str, value: String, is_zero: bool| {
        details.push(Detail { group, name: name.to_owned(), value, is_zero });
    };
    let mut state = |name: &str, value: String| add("link", name, value, false);
    state("channel", link.channel.clone());
    state("spacecraft", link.spacecraft.clone());
    state("session", link.session.clone());
    state("transport", link.transport.clone());
    state("state", if link.enabled { link.state.clone() } else { "disabled".to_owned() });
    if let Some(failure) = &link.failure {
        state("failure", failure.clone());
    }
    if let Some(cause) = &link.connect_error {
        state("does not connect", cause.clone());
    }
    if let Some(retry_ms) = link.retry_ms {
        state("tried again in", format!("{retry_ms} ms"));
    }
    state("lock", figures::lock(&link.sync).to_owned());
    state("restarts", link.restarts.to_string());
    let core = link.thread.core.map_or_else(|| "not pinned".to_owned(), |core| format!("core {core}"));
    let class = match link.thread.class.as_str() {
        "fifo" => "SCHED_FIFO",
        "rr" => "SCHED_RR",
        // A daemon that does not name the class yet.
        "" if link.thread.realtime => "real-time class",
        _ => "normal class",
    };
    state("thread", format!("{core}, {class}, {:.0} % busy", link.thread.busy_percent));
    state("bit rate", figures::bit_rate(link.rates.bits_per_s));
    let counts = &link.ledger.counts;
    // The account is shown whole: it is to be added up.
    for (name, frames) in [
        ("received", counts.received),
        ("= good", counts.good),
        ("+ corrected", counts.corrected),
        ("+ uncorrectable", counts.uncorrectable),
        ("= published", counts.published),
        ("+ idle, dropped", counts.dropped_idle),
    ] {
        add("frames", name, figures::grouped(frames), false);
    }
    let mut count = |group, name: &str, value| add(group, name, figures::grouped(value), value == 0);
    count("frames", "idle among them", counts.idle);
    count("frames", "symbols corrected", counts.symbols_corrected);
    count("frames", "codewords decoded by iteration", counts.codewords);
    count("frames", "iterations", counts.iterations);
    for (reason, frames) in link.ledger.bad.iter().filter(|(_, frames)| *frames > 0) {
        count("frames", &format!("bad: {}", reason.name().replace('_', " ")), frames);
    }
    count("packets", "packets", counts.packets);
    count("packets", "octets", counts.packet_bytes);
    count("packets", "octets discarded", counts.packet_bytes_discarded);
    link.sync_counters.iter().for_each(|counter| count("synchroniser", &words(counter), counter.value));
    link.transport_counters.iter().for_each(|counter| count("transport", &words(counter), counter.value));
    details
}

fn latency_rows(link: &LinkStatus) -> impl Iterator<Item = LatencyRow> {
    link.latency.iter().filter(|stage| stage.count > 0).map(|stage| {
        let [p50_ns, p99_ns, p999_ns] = stage.bounds_ns();
        LatencyRow {
            name: format!("{}: {}", link.name, stage.stage),
            samples: stage.count,
            p50_ns,
            p99_ns,
            p999_ns,
            max_ns: stage.max_ns,
        }
    })
}

/// The name under which this view reads the events.
fn own_name() -> String {
    format!("fepctl-monitor-{}", std::process::id())
}

/// Not to be shown: named in the configuration and never seen, or this view itself.
fn is_hidden(reader: &GateStatus) -> bool {
    reader.state == "absent" || reader.consumer == own_name()
}

fn consumer_rows(ring: &RingStatus) -> impl Iterator<Item = ConsumerRow> {
    ring.gates.iter().filter(|reader| !is_hidden(reader)).map(|reader| ConsumerRow {
        ring: ring.name.clone(),
        name: reader.consumer.clone(),
        state: if reader.alive || reader.state == "detached" {
            reader.state.clone()
        } else {
            "dead".to_owned()
        },
        health: match reader.state.as_str() {
            "evicted" => Health::Bad,
            "warned" => Health::Warning,
            "detached" => Health::Off,
            _ if !reader.alive => Health::Warning,
            _ => Health::Good,
        },
        credit_pct: reader.credit_percent,
        lag_records: reader.lag_records,
        lag_bytes: reader.lag_bytes,
        consumed: reader.consumed_records,
        lost_records: reader.lost_records,
    })
}

/// Follows the events ring as one more reader.
#[derive(Default)]
struct EventTail {
    attached: Option<(Consumer, PathBuf)>,
    rows: EventRows,
}

impl EventTail {
    /// Reads what is new. That the ring cannot be read only costs the pane of events.
    fn read(&mut self, bus_dir: &Path, links: &[LinkStatus]) {
        if self.attached.is_none() {
            let name = own_name();
            let Ok(consumer) = Consumer::attach(bus_dir, EVENTS_RING, &name, Resume::Oldest) else { return };
            let file = crate::ring::cursor_file(bus_dir, EVENTS_RING, &name).unwrap_or_default();
            self.attached = Some((consumer, file));
        }
        let Some((consumer, _)) = &mut self.attached else { return };
        let mut payload = Vec::new();
        loop {
            match consumer.poll(&mut payload) {
                Poll::Record(record) => {
                    let Some(event) = EventRecord::from_words(record.tag.words) else { continue };
                    let link = links.iter().find(|link| link.id == event.link_id);
                    let at_ns = record.tag.received.0.max(record.tag.published.0);
                    self.rows.add(
                        (event.link_id, event.code),
                        at_ns,
                        EventRow {
                            time: times::time_of_day(at_ns),
                            health: match event.severity {
                                0 => Health::Off,
                                1 => Health::Good,
                                2 => Health::Warning,
                                _ => Health::Bad,
                            },
                            link: link
                                .map(|link| link.name.clone())
                                .or_else(|| event_spacecraft(&payload))
                                .unwrap_or_default(),
                            text: event_text(&payload),
                            times: 1,
                        },
                    );
                }
                Poll::Gap(_) | Poll::Restarted { .. } => {}
                Poll::Recreated => {
                    if consumer.reattach().is_err() {
                        break;
                    }
                }
                Poll::Empty | Poll::Closed => break,
            }
        }
        // Only a reader with a sign of life sees that a producer has gone and another ring has come.
        let _ = consumer.heartbeat(fep_time::Monotonic::now());
    }

    fn rows(&self) -> Vec<EventRow> {
        self.rows.0.iter().map(|kept| kept.row.clone()).collect()
    }
}

/// The latest events, newest first.
#[derive(Default)]
struct EventRows(VecDeque<Kept>);

impl EventRows {
    /// One more. What a link reports again and again, as counters that jump with every virtual channel of a recording that
    /// begins anew, takes one row, with the newest text and how often it came: other events would scroll away.
    fn add(&mut self, what: (u16, u16), at_ns: i64, row: EventRow) {
        let same = |kept: &Kept| kept.what == what && at_ns - kept.first_ns < FOLDED_WITHIN_NS;
        let (mut row, mut first_ns) = (row, at_ns);
        if let Some(before) = self.0.iter().position(same).and_then(|index| self.0.remove(index)) {
            row.times += before.row.times;
            first_ns = before.first_ns;
        }
        self.0.push_front(Kept { what, first_ns, row });
        self.0.truncate(EVENTS_KEPT);
    }
}

/// An event that is shown, with what tells whether another is the same again.
struct Kept {
    /// Number of the link, and of the event.
    what: (u16, u16),
    /// When it came first.
    first_ns: i64,
    row: EventRow,
}

impl Drop for EventTail {
    fn drop(&mut self) {
        if let Some((consumer, file)) = self.attached.take() {
            drop(consumer);
            // The view is not to be remembered as a reader.
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-301
    #[test]
    fn an_event_that_a_link_repeats_within_a_minute_takes_one_row_with_the_number_of_times() {
        let mut tail = EventTail::default();
        let mut add = |link: u16, code, at_s: i64, text: &str| {
            tail.rows.add(
                (link, code),
                at_s * 1_000_000_000,
                EventRow { text: text.into(), times: 1, ..EventRow::default() },
            );
            tail.rows().into_iter().map(|row| (row.text, row.times)).collect::<Vec<_>>()
        };
        let row = |text: &str, times| (text.to_owned(), times);
        add(1, 5, 0, "first");
        add(2, 5, 1, "of another link");
        add(1, 6, 2, "another event");
        assert_eq!(
            add(1, 5, 59, "again"),
            [row("again", 2), row("another event", 1), row("of another link", 1)]
        );
        // A minute after the first it is a row of its own, so that the time of the older ones stays to be seen.
        assert_eq!(add(1, 5, 60, "later")[..2], [row("later", 1), row("again", 2)]);
        assert_eq!(add(1, 5, 61, "later still")[..2], [row("later still", 2), row("again", 2)]);
        for number in 0..10_000 {
            add(number, 9, 70, "flood");
        }
        assert_eq!(tail.rows().len(), EVENTS_KEPT);
    }
}
