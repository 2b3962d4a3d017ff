//! The ledgers of losses, made of the daemon's status, and whether they balance.

use std::collections::HashMap;

use fep_control::api::{AntennaStatus, Ledger, LinkStatus, Status};

use super::snapshot::{Entry, Ledgers};
use super::source::is_hidden;
use crate::client::published;

/// The watched reader that copies the rings to disk.
const RECORDER: &str = "recorder";

/// Keeps the books from one sample to the next.
#[derive(Default)]
pub(super) struct Books {
    /// Frames not accounted for, by what is said of them, in the sample before: counters are read while they move, so only a
    /// difference that stays is an imbalance.
    missing_before: HashMap<String, i128>,
}

impl Books {
    /// The ledgers of this moment.
    pub(super) fn ledgers(&mut self, status: &Status) -> Ledgers {
        let (bus, disk) = bus_and_disk(status);
        Ledgers {
            link: link(status),
            reception: reception(status),
            merge: merge(status),
            bus,
            disk,
            unbalanced: self.unbalanced(status),
        }
    }

    fn unbalanced(&mut self, status: &Status) -> Vec<String> {
        let links = status.links.iter().map(|link| (&link.name, &link.ledger));
        let crafts = status.spacecraft.iter().map(|craft| (&craft.name, &craft.ledger));
        let mut found: Vec<(String, i128, String)> = Vec::new();
        for (name, ledger) in links.chain(crafts) {
            let counts = &ledger.counts;
            let (received, published, dropped) = (counts.received, counts.published, counts.dropped_idle);
            found.push((
                name.clone(),
                i128::from(received) - i128::from(published) - i128::from(dropped),
                format!("{name}: received {received}, but published {published} + dropped {dropped}"),
            ));
        }
        for craft in &status.spacecraft {
            for AntennaStatus { link, counts, .. } in &craft.antennas {
                let parts = [counts.served, counts.duplicates, counts.late, counts.bad, counts.pending];
                let sum: u64 = parts.iter().sum();
                found.push((
                    format!("{} of {}", link, craft.name),
                    i128::from(counts.received) - i128::from(sum),
                    format!(
                        "{}: {} received by {link}, but {sum} accounted for",
                        craft.name, counts.received
                    ),
                ));
            }
        }
        let stays = |(key, missing, _): &&(String, i128, String)| {
            *missing != 0 && self.missing_before.get(key) == Some(missing)
        };
        let sentences = found.iter().filter(stays).map(|(.., sentence)| sentence.clone()).collect();
        self.missing_before = found.into_iter().map(|(key, missing, _)| (key, missing)).collect();
        sentences
    }
}

/// The ledgers of what was received from each spacecraft: of one whose links are merged once, not once for each antenna.
fn once(status: &Status) -> impl Iterator<Item = &Ledger> {
    let links = status.links.iter().filter(|link| link.merged_by.is_none()).map(|link| &link.ledger);
    links.chain(status.spacecraft.iter().map(|craft| &craft.ledger))
}

fn link(status: &Status) -> Vec<Entry> {
    let sum = |value: fn(&Ledger) -> u64| once(status).map(value).sum::<u64>();
    vec![
        Entry::flow("accepted", sum(Ledger::accepted), "frames"),
        Entry::loss("lost", sum(|ledger| ledger.counts.lost), "frames"),
        Entry::loss("gaps", sum(|ledger| ledger.counts.gaps), "times"),
        Entry::flow("duplicates", sum(|ledger| ledger.counts.duplicates), "frames"),
        Entry::flow("counter resets", sum(|ledger| ledger.counts.resets), "times"),
        Entry::loss("of packets not whole", sum(|ledger| ledger.counts.packet_bytes_discarded), "octets"),
    ]
}

fn reception(status: &Status) -> Vec<Entry> {
    let sum = |value: fn(&LinkStatus) -> u64| status.links.iter().map(value).sum::<u64>();
    let counted = |name: &str| -> u64 {
        let all =
            status.links.iter().flat_map(|link| link.transport_counters.iter().chain(&link.sync_counters));
        all.filter(|count| count.name == name).map(|count| count.value).sum()
    };
    vec![
        Entry::flow("received", sum(|link| link.ledger.counts.received), "frames"),
        Entry::flow("published", sum(|link| link.ledger.counts.published), "frames"),
        Entry::flow("idle, dropped", sum(|link| link.ledger.counts.dropped_idle), "frames"),
        Entry::loss("bad, published", sum(|link| link.ledger.bad.total()), "frames"),
        Entry::loss("outside of blocks", counted("bits_discarded"), "bits"),
        Entry::loss("dropped by the kernel", counted("kernel_drops"), "datagrams"),
        Entry::loss("longer than the buffer", counted("truncated"), "datagrams"),
        Entry::loss("of dropped connections", counted("discarded_bytes"), "octets"),
    ]
}

fn merge(status: &Status) -> Vec<Entry> {
    if status.spacecraft.is_empty() {
        return Vec::new();
    }
    let antennas = || status.spacecraft.iter().flat_map(|craft| &craft.antennas);
    let sum = |value: fn(&AntennaStatus) -> u64| antennas().map(value).sum::<u64>();
    vec![
        Entry::flow("of all antennas", sum(|antenna| antenna.counts.received), "frames"),
        Entry::flow("served", sum(|antenna| antenna.counts.served), "frames"),
        Entry::flow("duplicates", sum(|antenna| antenna.counts.duplicates), "frames"),
        Entry::loss("late", sum(|antenna| antenna.counts.late), "frames"),
        Entry::flow("bad", sum(|antenna| antenna.counts.bad), "frames"),
        Entry::flow("pending", sum(|antenna| antenna.counts.pending), "frames"),
        Entry::loss("lost on the bus", sum(|antenna| antenna.lost_on_bus), "records"),
    ]
}

fn bus_and_disk(status: &Status) -> (Vec<Entry>, Vec<Entry>) {
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
        bus.push(Entry::flow("published", status.rings.iter().map(published).sum(), "records"));
    }
    for (name, amount) in lost {
        bus.push(Entry::loss(&format!("lost by {name}"), amount, "records"));
        if name == RECORDER {
            disk.push(Entry::loss("not recorded", amount, "records"));
        }
    }
    (bus, disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_control::api::{SpacecraftStatus, Status};
    use serde_json::json;

    fn ledger(received: u64) -> Ledger {
        let mut ledger = Ledger::default();
        (ledger.counts.received, ledger.counts.published, ledger.counts.good) =
            (received, received, received);
        ledger
    }

    /// Two links, each with so many frames, that one spacecraft merges.
    fn merged(received: u64, served: u64) -> Status {
        let thread = json!({"core": null, "realtime": false, "busy_percent": 0.0, "cpu_percent": 0.0});
        let rates = json!({"bits_per_s": 0.0, "frames_per_s": 0.0, "packets_per_s": 0.0});
        let link = |name: &str| {
            let link: LinkStatus = serde_json::from_value(json!({
                "name": name, "id": 1, "channel": "cso/cso-2", "spacecraft": "cso-2", "session": "TEST",
                "transport": "tcp", "enabled": true, "state": "connected", "failure": null, "sync": "lock",
                "thread": thread, "rates": rates,
                "transport_counters": [{"name": "discarded_bytes", "value": 5}],
                "sync_counters": [{"name": "bits_discarded", "value": 9}],
                "ledger": ledger(received), "vcs": [], "latency": [], "merged_by": "leo",
            }))
            .expect("a link");
            link
        };
        let antenna = |name: &str, served: u64| {
            json!({"link": name, "number": 1, "heard": true, "waited_for": true, "received": received, "served": served,
                "duplicates": received - served, "late": 0, "bad": 0, "pending": 0, "lost_on_bus": 0})
        };
        let leo: SpacecraftStatus = serde_json::from_value(json!({
            "name": "leo", "id": 3, "channel": "cso/cso-2", "spacecraft": "cso-2", "session": "TEST",
            "enabled": true, "state": "running", "failure": null, "retry_ms": null, "restarts": 0,
            "thread": thread, "rates": rates, "antennas": [antenna("north", received), antenna("south", served - received)],
            "merge_counters": [], "ledger": ledger(served), "vcs": [], "latency": [], "clcws": [],
        }))
        .expect("a spacecraft");
        let mut status: Status = serde_json::from_value(json!({
            "version": "0", "pid": 1, "started_tai_ns": 0, "uptime_s": 0.0, "config_file": null, "run_dir": "",
            "bus_dir": "", "metrics_dir": "", "reloads": 0, "warnings": [], "stopping": false,
            "links": [], "rings": [],
        }))
        .expect("a status");
        status.links = vec![link("north"), link("south")];
        status.spacecraft = vec![leo];
        status
    }

    fn amount(entries: &[Entry], name: &str) -> (u64, &'static str) {
        let entry = entries.iter().find(|entry| entry.name == name);
        entry.map(|entry| (entry.amount, entry.unit)).unwrap_or_else(|| panic!("no {name}: {entries:?}"))
    }

    // REQ: FEP-CTL-320
    #[test]
    fn a_frame_that_two_antennas_received_is_one_of_the_spacecraft_and_two_receptions() {
        let ledgers = Books::default().ledgers(&merged(100, 110));
        assert_eq!(amount(&ledgers.link, "accepted"), (110, "frames"));
        assert_eq!(amount(&ledgers.reception, "received"), (200, "frames"));
        assert_eq!(amount(&ledgers.merge, "of all antennas"), (200, "frames"));
        assert_eq!(amount(&ledgers.merge, "served"), (110, "frames"));
        assert_eq!(amount(&ledgers.merge, "duplicates"), (90, "frames"));
        assert_eq!(Books::default().ledgers(&Status { spacecraft: vec![], ..merged(1, 1) }).merge, []);
    }

    // REQ: FEP-CTL-321
    #[test]
    fn bits_outside_of_blocks_and_octets_of_dropped_connections_are_entries_of_their_own() {
        let ledgers = Books::default().ledgers(&merged(100, 110));
        assert_eq!(amount(&ledgers.reception, "outside of blocks"), (18, "bits"));
        assert_eq!(amount(&ledgers.reception, "of dropped connections"), (10, "octets"));
    }

    #[test]
    fn an_antenna_whose_frames_stay_unaccounted_for_is_named() {
        let mut books = Books::default();
        let mut status = merged(100, 110);
        status.spacecraft[0].antennas[0].counts.served -= 7;
        assert!(books.ledgers(&status).unbalanced.is_empty(), "counters are read while they move");
        let unbalanced = books.ledgers(&status).unbalanced;
        assert_eq!(unbalanced, ["leo: 100 received by north, but 93 accounted for"]);
    }
}
