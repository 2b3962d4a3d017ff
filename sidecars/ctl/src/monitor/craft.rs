//! A spacecraft whose links are merged, as a row beside the links.

use fep_control::api::{AntennaStatus, SpacecraftStatus};

use super::snapshot::{Health, LinkRow};
use super::source::thread_in_words;
use crate::client::words;
use crate::figures;

/// Its row: what the merge serves. The lock is that of its antennas.
pub(super) fn spacecraft_row(craft: &SpacecraftStatus) -> LinkRow {
    let (heard, all) = (craft.antennas.iter().filter(|antenna| antenna.heard).count(), craft.antennas.len());
    let (mission, _) = craft.channel.split_once('/').unwrap_or((&craft.channel, ""));
    let antennas: Vec<&str> = craft.antennas.iter().map(|antenna| antenna.link.as_str()).collect();
    LinkRow {
        name: craft.name.clone(),
        mission: mission.to_owned(),
        transport: format!("merges {}", antennas.join(", ")),
        enabled: craft.enabled,
        state: craft.state.clone(),
        state_health: match craft.state.as_str() {
            _ if !craft.enabled => Health::Off,
            "running" => Health::Good,
            "starting" => Health::Warning,
            _ => Health::Bad,
        },
        lock: if craft.enabled { format!("{heard}/{all} heard") } else { String::new() },
        lock_health: match heard {
            _ if !craft.enabled => Health::Off,
            heard if heard == all => Health::Good,
            0 => Health::Bad,
            _ => Health::Warning,
        },
        bits_per_s: 0.0,
        frames_per_s: craft.rates.frames_per_s,
        is_merge: true,
        merged_by: None,
        details: details(craft),
        ..LinkRow::counting(&craft.ledger)
    }
}

/// The account of an antenna: received = served + duplicates + late + bad + pending; and what it lost on the bus.
pub(crate) fn antenna_account(antenna: &AntennaStatus) -> [(&'static str, u64); 7] {
    let counts = &antenna.counts;
    [
        ("received", counts.received),
        ("= served", counts.served),
        ("+ duplicates", counts.duplicates),
        ("+ late", counts.late),
        ("+ bad", counts.bad),
        ("+ pending", counts.pending),
        ("lost on the bus", antenna.lost_on_bus),
    ]
}

/// Whether an antenna is heard, in words.
pub(crate) const fn heard(antenna: &AntennaStatus) -> &'static str {
    if antenna.heard { "connected and in lock" } else { "not connected, or not in lock" }
}

fn details(craft: &SpacecraftStatus) -> Vec<(String, String)> {
    let mut details: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| details.push((name.to_owned(), value));
    add("channel", craft.channel.clone());
    add("state", if craft.enabled { craft.state.clone() } else { "disabled".to_owned() });
    if let Some(failure) = &craft.failure {
        add("failure", failure.clone());
    }
    if let Some(retry_ms) = craft.retry_ms {
        add("tried again in", format!("{retry_ms} ms"));
    }
    add("thread", thread_in_words(&craft.thread));
    for antenna in &craft.antennas {
        add(&format!("antenna {}", antenna.link), heard(antenna).to_owned());
        for (name, frames) in antenna_account(antenna) {
            add(&format!("  {name}"), figures::grouped(frames));
        }
    }
    add("restarts", craft.restarts.to_string());
    add("session", craft.session.clone());
    for count in &craft.merge_counters {
        add(&words(count), figures::grouped(count.value));
    }
    details
}
