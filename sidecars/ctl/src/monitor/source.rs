//! Where snapshots come from: the daemon's status, the events ring, `/proc`.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fep_bus::{Consumer, Poll, Resume};
use fep_control::api::{GateStatus, LatencyStatus, LinkStatus, RingStatus, Status, ThreadStatus};
use fep_events::Severity;
use fep_record::EventRecord;

use super::books::Books;
use super::craft::spacecraft_row;
use super::snapshot::{ConsumerRow, DaemonFacts, EventRow, Health, LatencyRow, LinkRow, Snapshot, VcRow};
use super::threads::{ThreadWatch, resident_bytes};
use crate::clcw;
use crate::client::words;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::ring::{event_spacecraft, event_text};
use crate::{figures, times};

/// Name of the ring that carries the events of all links.
const EVENTS_RING: &str = "events";
/// Events kept for showing.
const EVENTS_KEPT: usize = 200;
/// The same event of a link within this time of the first is one row.
const FOLDED_WITHIN_NS: i64 = 60_000_000_000;

/// Takes snapshots.
pub(crate) struct Sampler {
    daemon: Daemon,
    threads: ThreadWatch,
    events: EventTail,
    vc_before: HashMap<(String, String), (u64, Instant)>,
    books: Books,
}

impl Sampler {
    pub(crate) fn new(daemon: Daemon) -> Sampler {
        Sampler {
            daemon,
            threads: ThreadWatch::default(),
            events: EventTail::default(),
            vc_before: HashMap::new(),
            books: Books::default(),
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
        let links = status.links.iter().map(|link| (&link.name, &link.vcs, link.merged_by.is_none()));
        let crafts = status.spacecraft.iter().map(|craft| (&craft.name, &craft.vcs, true));
        for (name, own_vcs, has_packets) in links.chain(crafts) {
            for vc in own_vcs {
                let key = (name.clone(), vc.gvcid.clone());
                let before = self.vc_before.get(&key);
                let frames_per_s = before.map_or(0.0, |(frames, at)| {
                    vc.ledger.frames.saturating_sub(*frames) as f64
                        / now.duration_since(*at).as_secs_f64().max(1e-3)
                });
                vc_now.insert(key, (vc.ledger.frames, now));
                vcs.push(VcRow {
                    link: name.clone(),
                    gvcid: vc.gvcid.clone(),
                    name: vc.name.clone(),
                    frames: vc.ledger.frames,
                    frames_per_s,
                    gaps: vc.ledger.gaps,
                    lost: vc.ledger.lost,
                    resets: vc.ledger.resets,
                    duplicates: vc.ledger.duplicates,
                    packets: has_packets.then_some(vc.ledger.packets),
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
            spacecraft: status.spacecraft.iter().map(spacecraft_row).collect(),
            vcs,
            clcws: clcw::rows(&status),
            ledgers: self.books.ledgers(&status),
            consumers: status.rings.iter().flat_map(consumer_rows).collect(),
            threads: self.threads.sample(status.pid, &role_names(&status)),
            latencies: (status.links.iter().map(|link| (&link.name, &link.latency)))
                .chain(status.spacecraft.iter().map(|craft| (&craft.name, &craft.latency)))
                .flat_map(|(name, stages)| latency_rows(name, stages))
                .collect(),
            events: self.events.rows(),
        })
    }
}

fn link_row(link: &LinkStatus) -> LinkRow {
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
        is_merge: false,
        merged_by: link.merged_by.clone(),
        details: link_details(link).into_iter().map(|detail| (detail.name, detail.value)).collect(),
        ..LinkRow::counting(&link.ledger)
    }
}

/// Where a thread runs and how busy it is; a dash where none runs.
pub(crate) fn thread_in_words(thread: &ThreadStatus) -> String {
    let class = match thread.class.as_str() {
        "" => return "–".to_owned(),
        "fifo" => "SCHED_FIFO",
        "rr" => "SCHED_RR",
        _ => "normal class",
    };
    let core = thread.core.map_or_else(|| "not pinned".to_owned(), |core| format!("core {core}"));
    format!("{core}, {class}, {:.0} % busy", thread.busy_percent)
}

/// Names of everything that has a thread.
fn role_names(status: &Status) -> Vec<&str> {
    let links = status.links.iter().map(|link| link.name.as_str());
    links.chain(status.spacecraft.iter().map(|craft| craft.name.as_str())).collect()
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
    if let Some(spacecraft) = &link.merged_by {
        state("merged by", format!("{spacecraft}, which has the packets"));
    }
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
    state("thread", thread_in_words(&link.thread));
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
    if link.merged_by.is_none() {
        count("packets", "packets", counts.packets);
        count("packets", "octets of packets", counts.packet_bytes);
        count("packets", "octets of incomplete packets", counts.packet_bytes_discarded);
    }
    link.sync_counters.iter().for_each(|counter| count("synchroniser", &words(counter), counter.value));
    link.transport_counters.iter().for_each(|counter| count("transport", &words(counter), counter.value));
    details
}

fn latency_rows<'s>(
    name: &'s str,
    stages: &'s [LatencyStatus],
) -> impl Iterator<Item = LatencyRow> + use<'s> {
    stages.iter().filter(|stage| stage.count > 0).map(move |stage| {
        let [p50_ns, p99_ns, p999_ns] = stage.bounds_ns();
        LatencyRow {
            name: format!("{name}: {}", stage.stage),
            chunks: stage.count,
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
pub(super) fn is_hidden(reader: &GateStatus) -> bool {
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
        evictions: reader.evictions,
        evicted_ago_s: reader.evicted_ago_s,
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
                            at_ns,
                            time: times::time_of_day(at_ns),
                            health: match Severity::of_number(event.severity) {
                                None => Health::Off,
                                Some(Severity::Normal) => Health::Good,
                                Some(Severity::Warning) => Health::Warning,
                                Some(Severity::Distress | Severity::Critical) => Health::Bad,
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
