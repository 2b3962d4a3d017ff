//! What is reported to operators: events of roles, from the hot thread to the control thread and into the events ring.
//!
//! A hot thread never reports one event for each damaged frame: it adds up and reports at most every
//! [`REPORT_EVERY_NS`] what has come together since. The first of a kind is reported at once. The pause is measured on the
//! monotonic clock: a step of the wall clock neither silences a link nor makes it talk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use fep_events::event_codes;
use fep_net::Refusal;
use fep_record::BadReason;
use fep_time::{Monotonic, Tai};
use serde_json::{Value, json};

use fep_ccsds::Gvcid;
use fep_downlink::ChainEvent;

/// Shortest time between two events of the same kind from one link.
pub const REPORT_EVERY_NS: i64 = 250_000_000;

event_codes! {
    /// What an event says, as in the record.
    pub enum EventCode {
        /// The synchroniser is sure of the markers.
        LockAcquired = 1, "lock_acquired", Normal, "nothing";
        /// It is not any more.
        LockLost = 2, "lock_lost", Warning, "look at the station's signal; at the end of a pass it is normal";
        /// The station delivers.
        Connected = 3, "connected", Normal, "nothing";
        /// The connection is gone.
        Disconnected = 4, "disconnected", Warning, "nothing, it connects again by itself; `fepctl link disable NAME`, then `enable NAME`, tries at once";
        /// Frames of a virtual channel are missing.
        Gap = 5, "gap", Warning, "note the time; ask the station for its record";
        /// A frame counter jumped backwards.
        CounterReset = 6, "counter_reset", Warning, "expected after an on-board reset; otherwise two sources feed one link: look at the stations";
        /// Frames came twice.
        Duplicates = 7, "duplicates", Warning, "a station sends twice, or two stations feed one link: look at the stations";
        /// Frames are bad.
        BadFrames = 8, "bad_frames", Warning, "with a reason `unknown_…` the link names the wrong channel or spacecraft; else look at the signal";
        /// Packets longer than the packets ring takes.
        PacketsDropped = 9, "packets_dropped", Warning, "raise `rings.packet_max`";
        /// The thread of a link runs.
        LinkStarted = 10, "link_started", Normal, "nothing";
        /// It has stopped as commanded.
        LinkStopped = 11, "link_stopped", Normal, "nothing";
        /// It has stopped by itself, or could not start; it is tried again.
        LinkFailed = 12, "link_failed", Distress, "remove the cause that the event names (`fepctl link show NAME` has it too); it is tried again by itself";
        /// The data has ended: end of a file or of standard input.
        LinkEnded = 13, "link_ended", Normal, "nothing";
        /// The chain was reset as commanded: synchronisation, frame counters and packets begun are forgotten, the connection stays.
        LinkReset = 14, "link_reset", Normal, "nothing";
        /// A convolutional decoder has found its phase.
        PhaseFound = 15, "phase_found", Normal, "nothing";
        /// It has lost it.
        PhaseLost = 16, "phase_lost", Warning, "look at the signal; if `phase_found` has another hypothesis each time, the code or rate of the channel is configured wrongly";
        /// A packet has an APID that the mission file does not name, the first of its virtual channel.
        UndeclaredApid = 17, "undeclared_apid", Warning, "if the APID is right, add it to the mission file";
        /// TM frames have a data field status of packet telemetry (102.0-B), first seen on their virtual channel.
        LegacyStatus = 18, "legacy_status", Normal, "nothing";
        /// The thread of a role does not stop: it was abandoned, and its rings are not used again before it has ended.
        Abandoned = 19, "abandoned", Distress, "wait: it starts again when its thread has ended; if it never does, restart `fepd`";
        /// A link of datagrams has had none for its `silence_ms`.
        Silent = 50, "silent", Normal, "nothing";
        /// A server refused a connection: another station is connected, or the newcomer is not allowed.
        StationRefused = 52, "station_refused", Warning, "if the wrong station is connected, `fepctl link disable NAME`, then `enable NAME`, ends its connection; set `allowed_peers`, and `takeover_silence_ms` or `idle_timeout_ms` for silent ones";
        /// The link tries to connect, or to open its device, in vain.
        ConnectFailed = 53, "connect_failed", Warning, "no such file or no permission: look at the device and its group; refused or no answer: the station is off, or its address is wrong. It is tried again by itself";
        /// Records of an antenna were overwritten before its spacecraft read them.
        AntennaLapped = 51, "antenna_lapped", Distress, "give the links larger frames rings (`rings.frames_data_mib`), or the spacecraft's thread a core";
        /// The configuration was read again.
        Reloaded = 20, "reloaded", Normal, "nothing";
        /// It was refused.
        ReloadRefused = 21, "reload_refused", Warning, "correct the file (`fepctl config check FILE` lists its mistakes), then reload again; the old configuration stays";
        /// A consumer is watched.
        ConsumerArmed = 30, "consumer_armed", Normal, "nothing";
        /// It is about to lose records.
        ConsumerWarned = 31, "consumer_warned", Warning, "find what holds the consumer up: its processor, disk or network";
        /// It has caught up.
        ConsumerRecovered = 32, "consumer_recovered", Normal, "nothing";
        /// It was given up.
        ConsumerEvicted = 33, "consumer_evicted", Distress, "find what holds the consumer up; what it lost is in its ledger, and what the recorder lost is a gap of the archive";
        /// Its cursor file says nothing that can be believed.
        CursorIgnored = 34, "cursor_ignored", Warning, "delete the cursor file; its owner starts at the oldest record";
        /// `fepd` runs.
        Started = 40, "started", Normal, "nothing";
        /// `fepd` stops.
        Stopping = 41, "stopping", Normal, "nothing";
        /// A ring of a link that is configured no more was removed: everything in it had been read.
        RingRemoved = 43, "ring_removed", Normal, "nothing";
        /// The run directory has been deleted or replaced: nobody can find the rings any more.
        RunDirectoryGone = 42, "run_directory_gone", Critical, "start consumers again that do not attach by themselves; find out who deleted the directory";
    }
}

/// Number of no link, in events of the process as a whole.
pub const NO_LINK: u16 = u16::MAX;

/// An event on its way to the events ring.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What.
    pub code: EventCode,
    /// Number of the link, or [`NO_LINK`].
    pub link_id: u16,
    /// When.
    pub at: Tai,
    /// Figures, by name.
    pub detail: Value,
}

/// Where hot threads put their events: bounded, never waiting.
pub type EventQueue = Arc<ArrayQueue<Event>>;

/// Adds up what one link has to report.
pub(crate) struct LinkEvents {
    queue: EventQueue,
    link_id: u16,
    now: Monotonic,
    reported: Monotonic,
    pending: bool,
    vcs: BTreeMap<Gvcid, VcNews>,
    bad: [u64; BadReason::ALL.len()],
    too_long: u64,
    refused: Option<Refused>,
    overflowed: u64,
}

/// Connections refused since the last report, and the newest of them.
#[derive(Debug, Clone, Copy)]
struct Refused {
    times: u64,
    peer: Option<SocketAddr>,
    reason: Refusal,
}

#[derive(Debug, Clone, Copy, Default)]
struct VcNews {
    gaps: u64,
    gaps_at_least: u64,
    lost: u64,
    resets: u64,
    duplicates: u64,
    count: u64,
}

impl LinkEvents {
    pub(crate) fn new(queue: EventQueue, link_id: u16) -> LinkEvents {
        LinkEvents {
            queue,
            link_id,
            now: Monotonic::PAST,
            reported: Monotonic::PAST,
            pending: false,
            vcs: BTreeMap::new(),
            bad: [0; BadReason::ALL.len()],
            too_long: 0,
            refused: None,
            overflowed: 0,
        }
    }

    /// Events that found the queue full.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    pub(crate) fn report(&mut self, code: EventCode, detail: Value) {
        let event = Event { code, link_id: self.link_id, at: fep_time::tai_now(), detail };
        self.overflowed += u64::from(self.queue.push(event).is_err());
    }

    pub(crate) fn packet_too_long(&mut self) {
        self.too_long += 1;
        self.pending = true;
    }

    /// A server refused a connection. Anybody who reaches the port can cause this as often as they like: it is added up.
    #[cold]
    pub(crate) fn refused(&mut self, peer: Option<SocketAddr>, reason: Refusal) {
        let times = self.refused.map_or(0, |refused| refused.times) + 1;
        self.refused = Some(Refused { times, peer, reason });
        self.pending = true;
    }

    #[cold]
    pub(crate) fn chain_event(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::LockAcquired { times } => {
                self.report(EventCode::LockAcquired, json!({"times": times}));
            }
            ChainEvent::LockLost { times } => self.report(EventCode::LockLost, json!({"times": times})),
            ChainEvent::PhaseFound { hypothesis, errors } => {
                self.report(EventCode::PhaseFound, json!({"hypothesis": hypothesis, "errors": errors}));
            }
            ChainEvent::PhaseLost { errors } => self.report(EventCode::PhaseLost, json!({"errors": errors})),
            ChainEvent::Gap { gvcid, lost, at_least, count } => self.vc(gvcid, count, |news| {
                news.gaps += 1;
                news.gaps_at_least += u64::from(at_least);
                news.lost += lost;
            }),
            ChainEvent::Reset { gvcid, count } => self.vc(gvcid, count, |news| news.resets += 1),
            ChainEvent::Duplicate { gvcid, count } => self.vc(gvcid, count, |news| news.duplicates += 1),
            ChainEvent::LegacyStatus { gvcid } => {
                self.report(EventCode::LegacyStatus, json!({"vc": gvcid.to_string()}));
            }
            ChainEvent::UndeclaredApid { gvcid, apid } => {
                let detail = json!({"vc": gvcid.to_string(), "apid": apid});
                self.report(EventCode::UndeclaredApid, detail);
            }
            ChainEvent::Bad { reason } => {
                self.bad[reason as usize] += 1;
                self.pending = true;
            }
        }
    }

    fn vc(&mut self, gvcid: Gvcid, count: u64, add: impl FnOnce(&mut VcNews)) {
        // At most one for each virtual channel of the configuration: the chain reports no other.
        let news = self.vcs.entry(gvcid).or_default();
        news.count = count;
        add(news);
        self.pending = true;
    }

    /// To be called in housekeeping: reports what has come together, if it is time.
    pub(crate) fn housekeep(&mut self, now: Monotonic) {
        self.now = now;
        if self.pending && now.ns_since(self.reported) >= REPORT_EVERY_NS {
            self.flush();
        }
    }

    /// Reports what has come together.
    #[cold]
    pub(crate) fn flush(&mut self) {
        self.reported = self.now;
        self.pending = false;
        for (gvcid, news) in std::mem::take(&mut self.vcs) {
            let VcNews { gaps, gaps_at_least, lost, resets, duplicates, count } = news;
            let vc = gvcid.to_string();
            if gaps > 0 {
                let at_least = gaps_at_least > 0;
                let detail =
                    json!({"vc": vc, "gaps": gaps, "lost": lost, "at_least": at_least, "count": count});
                self.report(EventCode::Gap, detail);
            }
            if resets > 0 {
                self.report(EventCode::CounterReset, json!({"vc": vc, "resets": resets, "count": count}));
            }
            if duplicates > 0 {
                self.report(EventCode::Duplicates, json!({"vc": vc, "frames": duplicates, "count": count}));
            }
        }
        for reason in BadReason::ALL {
            let frames = std::mem::take(&mut self.bad[*reason as usize]);
            if frames > 0 {
                self.report(EventCode::BadFrames, json!({"reason": reason.name(), "frames": frames}));
            }
        }
        if let Some(Refused { times, peer, reason }) = self.refused.take() {
            let text = |address: SocketAddr| address.to_string();
            let mut detail = json!({"times": times, "peer": peer.map(text), "reason": reason.to_string()});
            if let Refusal::Occupied { by, silent_ms } = reason {
                detail["connected"] = by.map(text).into();
                detail["silent_ms"] = silent_ms.into();
            }
            self.report(EventCode::StationRefused, detail);
        }
        let packets = std::mem::take(&mut self.too_long);
        if packets > 0 {
            self.report(
                EventCode::PacketsDropped,
                json!({"reason": "longer than rings.packet_max", "packets": packets}),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_events::EventCode as _;

    // REQ: FEP-KIT-251
    #[test]
    fn every_event_stands_in_the_operations_manual_with_its_severity_and_what_to_do() {
        let manual = include_str!("../../../docs/operations.md");
        for code in EventCode::ALL {
            let first = format!("| `{}` | {} | ", code.name(), code.severity().name());
            let rows: Vec<&str> = manual.lines().filter(|row| row.starts_with(&first)).collect();
            assert_eq!(rows.len(), 1, "{first}");
            assert!(rows[0].ends_with(&format!(" | {} |", code.advice())), "{}", rows[0]);
        }
    }

    // REQ: FEP-ENG-006
    #[test]
    fn a_burst_of_bad_frames_is_one_event_with_its_number() {
        let queue = Arc::new(ArrayQueue::new(16));
        let mut events = LinkEvents::new(queue.clone(), 7);
        events.housekeep(Monotonic(1));
        for _ in 0..10_000 {
            events.chain_event(ChainEvent::Bad { reason: BadReason::Uncorrectable });
        }
        events.housekeep(Monotonic(2));
        events.chain_event(ChainEvent::Bad { reason: BadReason::Uncorrectable });
        events.housekeep(Monotonic(3));
        let reported = queue.pop().unwrap();
        assert_eq!((reported.code, reported.link_id), (EventCode::BadFrames, 7));
        assert_eq!(reported.detail, json!({"reason": "uncorrectable", "frames": 10_000}));
        assert_eq!(queue.pop(), None, "the next waits for its time");
        events.housekeep(Monotonic(2 + REPORT_EVERY_NS));
        assert_eq!(queue.pop().unwrap().detail["frames"], 1);
    }

    // REQ: FEP-ENG-104
    #[test]
    fn a_clock_that_is_set_back_by_an_hour_silences_no_event() {
        let queue = Arc::new(ArrayQueue::new(16));
        let mut events = LinkEvents::new(queue.clone(), 7);
        for (turn, step_ns) in
            [3_600_000_000_000, -7_200_000_000_000, 3_600_000_000_000].into_iter().enumerate()
        {
            fep_time::clock::step_for_test(step_ns).unwrap();
            events.chain_event(ChainEvent::Bad { reason: BadReason::FecfFailed });
            events.housekeep(Monotonic((turn as i64 + 1) * REPORT_EVERY_NS));
            assert_eq!(
                queue.pop().map(|event| event.code),
                Some(EventCode::BadFrames),
                "after a step of {step_ns}"
            );
        }
    }

    #[test]
    fn a_full_queue_is_counted_not_waited_for() {
        let queue = Arc::new(ArrayQueue::new(1));
        let mut events = LinkEvents::new(queue, 1);
        events.chain_event(ChainEvent::LockAcquired { times: 1 });
        events.chain_event(ChainEvent::LockLost { times: 1 });
        assert_eq!(events.overflowed(), 1);
    }
}
