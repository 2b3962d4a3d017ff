//! What became of every record that a client follows: *followed = sent + filtered + lost*, at every moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use fep_feed_wire::filter::Filtered;

pub use fep_feed_wire::control::Lost;

/// Counters of one client, since the process started. Written by the client's thread, read by the status.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: AtomicU64,
    sent_octets: AtomicU64,
    repeated: AtomicU64,
    filtered: [AtomicU64; Filtered::ALL.len()],
    lost: [AtomicU64; Lost::ALL.len()],
}

impl Ledger {
    pub(crate) fn sent(&self, payload_octets: usize, repeated: bool) {
        add(&self.sent, 1);
        add(&self.sent_octets, payload_octets as u64);
        add(&self.repeated, u64::from(repeated));
    }

    /// What counted as sent was not.
    pub(crate) fn refused(&self, payload_octets: usize, repeated: bool) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
        self.sent_octets.fetch_sub(payload_octets as u64, Ordering::Relaxed);
        self.repeated.fetch_sub(u64::from(repeated), Ordering::Relaxed);
        self.lost(Lost::Refused, 1);
    }

    pub(crate) fn filtered(&self, why: Filtered) {
        add(&self.filtered[why as usize], 1);
    }

    pub(crate) fn lost(&self, why: Lost, records: u64) {
        add(&self.lost[why as usize], records);
    }

    /// Records lost so far, in the order of [`Lost::ALL`].
    pub(crate) fn lost_so_far(&self) -> [u64; Lost::ALL.len()] {
        Lost::ALL.map(|why| get(&self.lost[why as usize]))
    }

    /// All counters as of now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let named = |counters: &[AtomicU64], names: Vec<&str>| -> BTreeMap<String, u64> {
            names.into_iter().map(str::to_owned).zip(counters.iter().map(get)).collect()
        };
        let filtered = named(&self.filtered, Filtered::ALL.map(Filtered::name).to_vec());
        let lost = named(&self.lost, Lost::ALL.map(Lost::name).to_vec());
        let sent = get(&self.sent);
        let followed = sent + filtered.values().sum::<u64>() + lost.values().sum::<u64>();
        Counts {
            followed,
            sent,
            sent_octets: get(&self.sent_octets),
            repeated: get(&self.repeated),
            filtered,
            lost,
        }
    }
}

/// A client's counters as reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Records of the sources that the client's cursor passed.
    pub followed: u64,
    /// Records given to its connection.
    pub sent: u64,
    /// Their payload octets.
    pub sent_octets: u64,
    /// Those of them that may have been sent before, on an earlier connection.
    pub repeated: u64,
    /// Records not wanted, by reason.
    pub filtered: BTreeMap<String, u64>,
    /// Records wanted and not to be had, by reason.
    pub lost: BTreeMap<String, u64>,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
