//! Sequence counts per application process: which packets of a source are missing.

use super::{SequenceFlags, SpacePacketHeader};
use crate::counter::{Continuity, VcTracker};

/// Counters of one application process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApidCounters {
    /// Packets.
    pub packets: u64,
    /// Octets of them, headers included.
    pub octets: u64,
    /// Times the sequence count did not follow on: gaps, duplicates and resets together.
    pub gaps: u64,
    /// Packets missing in the gaps, modulo 16384 each; duplicates and resets count none.
    pub lost: u64,
    /// Same count again.
    pub duplicates: u64,
    /// Jumps backwards.
    pub resets: u64,
    /// A group (first … last) that did not run as it must: a continuation or last without a first, a first or an
    /// unsegmented packet inside a group, or a gap inside a group.
    pub broken_groups: u64,
}

#[derive(Debug, Clone)]
struct Apid {
    number: u16,
    tracker: VcTracker,
    in_group: bool,
    counters: ApidCounters,
}

/// Follows the sequence counts of the packets of one source of packets (usually one virtual channel).
///
/// The count runs modulo 16384 for each application process (133.0-B-2 4.1.3.4.3). The rule that tells gaps, duplicates
/// and resets apart is that of [`crate::counter`]. Idle packets are counted like any other; whether their count
/// means anything is the mission's affair.
#[derive(Debug, Clone, Default)]
pub struct ApidTracker {
    // Slot + 1 by application process, 0 for none: the tracker stays small for the few that a channel carries.
    index: Vec<u16>,
    apids: Vec<Apid>,
}

impl ApidTracker {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> ApidTracker {
        ApidTracker { index: vec![0; 2048], apids: Vec::new() }
    }

    /// Takes the next packet, of `packet_len` octets.
    pub fn observe(&mut self, header: &SpacePacketHeader, packet_len: usize) -> Continuity {
        if self.index.is_empty() {
            self.index.resize(2048, 0);
        }
        let number = header.apid & 0x7FF;
        let slot = &mut self.index[usize::from(number)];
        if *slot == 0 {
            let tracker = VcTracker::new(1 << 14);
            self.apids.push(Apid { number, tracker, in_group: false, counters: ApidCounters::default() });
            *slot = self.apids.len() as u16;
        }
        let apid = &mut self.apids[usize::from(*slot) - 1];
        let continuity = apid.tracker.observe(u64::from(header.sequence_count));
        let counters = &mut apid.counters;
        counters.packets += 1;
        counters.octets += packet_len as u64;
        match continuity {
            Continuity::Gap { lost, .. } => {
                counters.gaps += 1;
                counters.lost += lost;
            }
            Continuity::Duplicate => {
                counters.gaps += 1;
                counters.duplicates += 1;
            }
            Continuity::Reset => {
                counters.gaps += 1;
                counters.resets += 1;
            }
            Continuity::First | Continuity::Next | Continuity::Uncounted => {}
        }
        if !continuity.is_contiguous() && apid.in_group {
            counters.broken_groups += 1;
            apid.in_group = false;
        }
        let (needs_group, opens_group) = match header.sequence_flags {
            SequenceFlags::Unsegmented => (false, false),
            SequenceFlags::First => (false, true),
            SequenceFlags::Continuation => (true, true),
            SequenceFlags::Last => (true, false),
        };
        // What follows the very first packet, or a gap, may belong to a group whose start nobody saw.
        if apid.in_group != needs_group && continuity == Continuity::Next {
            counters.broken_groups += 1;
        }
        apid.in_group = opens_group;
        continuity
    }

    /// Counters of an application process that was seen.
    #[must_use]
    pub fn counters(&self, apid: u16) -> Option<&ApidCounters> {
        let slot = *self.index.get(usize::from(apid))?;
        (slot > 0).then(|| &self.apids[usize::from(slot) - 1].counters)
    }

    /// Every application process seen, in order of first sight.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &ApidCounters)> {
        self.apids.iter().map(|apid| (apid.number, &apid.counters))
    }

    /// Forgets counts and counters.
    pub fn reset(&mut self) {
        *self = ApidTracker::new();
    }
}
