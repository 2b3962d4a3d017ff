//! Connections of a link that came, went or could not be made, on their way to being reported.

use std::net::SocketAddr;

use fep_net::EndReason;
use fep_time::Monotonic;
use serde_json::json;

use crate::event::{EventCode, LinkEvents, REPORT_EVERY_NS};

/// Between two reports of attempts that fail for the same cause: a station may be away for hours.
const SAME_CAUSE_EVERY_NS: i64 = 60_000_000_000;

/// Adds up what happens to the connections of one link, and reports it.
pub(super) struct Connections {
    /// Kind and address or path of the transport.
    transport: String,
    up: u64,
    down: u64,
    reason: Option<EndReason>,
    /// The other end of the newest connection; it outlives a report.
    peer: Option<SocketAddr>,
    /// The end of the connection that is reported as over.
    gone: Option<SocketAddr>,
    failed: Option<Failed>,
    /// The cause that was reported last and when, until the link connects.
    failed_reported: Option<(String, Monotonic)>,
    reported: Monotonic,
}

/// Attempts that failed since the last report.
struct Failed {
    times: u64,
    /// Of the newest.
    cause: String,
    /// No connection came after the newest.
    is_last: bool,
}

impl Connections {
    pub(super) fn new(transport: String) -> Connections {
        Connections {
            transport,
            up: 0,
            down: 0,
            reason: None,
            peer: None,
            gone: None,
            failed: None,
            failed_reported: None,
            reported: Monotonic::PAST,
        }
    }

    pub(super) fn connected(&mut self, peer: Option<SocketAddr>) {
        (self.up, self.peer) = (self.up + 1, peer);
        if let Some(failed) = &mut self.failed {
            failed.is_last = false;
        }
    }

    pub(super) fn disconnected(&mut self, reason: EndReason) {
        (self.down, self.reason, self.gone) = (self.down + 1, Some(reason), self.peer);
    }

    pub(super) fn failed(&mut self, cause: &str) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times) + 1;
        self.failed = Some(Failed { times, cause: cause.to_owned(), is_last: true });
    }

    /// Reports what has come together since the last time: a station that connects a thousand times a second is one event.
    pub(super) fn report(&mut self, now: Monotonic, events: &mut LinkEvents) {
        let nothing = self.up + self.down == 0 && self.failed.is_none();
        if nothing || now.ns_since(self.reported) < REPORT_EVERY_NS {
            return;
        }
        self.report_now(now, events);
    }

    fn report_now(&mut self, now: Monotonic, events: &mut LinkEvents) {
        if self.failed.as_ref().is_some_and(|failed| !failed.is_last) {
            self.report_failed(now, events);
        }
        let text = |address: SocketAddr| address.to_string();
        if self.down > 0 {
            let reason = self.reason.take().map(|reason| reason.to_string());
            let peer = self.gone.take().map(text);
            let detail = json!({"times": self.down, "reason": reason, "peer": peer});
            events.report(EventCode::Disconnected, detail);
        }
        if self.up > 0 {
            let detail = json!({"times": self.up, "peer": self.peer.map(text)});
            events.report(EventCode::Connected, detail);
        }
        if self.up + self.down > 0 {
            (self.up, self.down, self.failed_reported) = (0, 0, None);
            self.reported = now;
        }
        self.report_failed(now, events);
    }

    fn report_failed(&mut self, now: Monotonic, events: &mut LinkEvents) {
        let Some(Failed { times, cause, .. }) = &self.failed else { return };
        if let Some((reported, at)) = &self.failed_reported
            && reported == cause
            && now.ns_since(*at) < SAME_CAUSE_EVERY_NS
        {
            return;
        }
        let detail = json!({"times": times, "transport": self.transport, "reason": cause});
        events.report(EventCode::ConnectFailed, detail);
        self.failed_reported = self.failed.take().map(|failed| (failed.cause, now));
        self.reported = now;
    }

    /// Reports what has come together, whenever the last report was.
    pub(super) fn flush(&mut self, now: Monotonic, events: &mut LinkEvents) {
        self.report_now(now, events);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam::queue::ArrayQueue;
    use serde_json::Value;

    use super::*;
    use crate::event::EventQueue;

    const MS: i64 = 1_000_000;

    fn bench() -> (Connections, LinkEvents, EventQueue) {
        let queue: EventQueue = Arc::new(ArrayQueue::new(64));
        (Connections::new("serial /dev/ttyS77".to_owned()), LinkEvents::new(queue.clone(), 7), queue)
    }

    fn reported(queue: &EventQueue) -> Vec<(EventCode, Value)> {
        std::iter::from_fn(|| queue.pop()).map(|event| (event.code, event.detail)).collect()
    }

    fn failed(times: u64, reason: &str) -> (EventCode, Value) {
        let detail = json!({"times": times, "transport": "serial /dev/ttyS77", "reason": reason});
        (EventCode::ConnectFailed, detail)
    }

    // REQ: FEP-ENG-310
    #[test]
    fn the_first_failed_attempt_and_each_new_cause_is_reported_and_the_same_cause_once_a_minute() {
        let (mut connections, mut events, queue) = bench();
        // Ten attempts a second, for two minutes and a half.
        for turn in 0..1500 {
            connections.failed(if turn < 1000 { "no such file" } else { "permission denied" });
            connections.report(Monotonic(turn * 100 * MS), &mut events);
        }
        let all = reported(&queue);
        assert_eq!(all[..2], [failed(1, "no such file"), failed(600, "no such file")]);
        // The attempts of the cause before that were not reported yet are added.
        assert_eq!(all[2..], [failed(400, "permission denied")]);
    }

    // REQ: FEP-ENG-310
    #[test]
    fn causes_that_alternate_are_four_events_a_second_with_every_attempt_counted() {
        let (mut connections, mut events, queue) = bench();
        for turn in 0..1000 {
            connections.failed(if turn % 2 == 0 { "refused" } else { "no route" });
            connections.report(Monotonic(turn * MS), &mut events);
        }
        connections.flush(Monotonic(1000 * MS), &mut events);
        let all = reported(&queue);
        assert!(all.len() <= 6, "{} events", all.len());
        let times = all.iter().filter_map(|(_, detail)| detail["times"].as_u64()).sum::<u64>();
        let held = connections.failed.map_or(0, |failed| failed.times);
        assert_eq!(times + held, 1000);
    }

    // REQ: FEP-ENG-310
    #[test]
    fn what_failed_before_a_connection_is_reported_before_it_and_what_failed_after_it_behind() {
        let codes =
            |events: Vec<(EventCode, Value)>| events.into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        let (mut connections, mut events, queue) = bench();
        connections.failed("refused");
        connections.connected(None);
        connections.report(Monotonic(0), &mut events);
        assert_eq!(codes(reported(&queue)), [EventCode::ConnectFailed, EventCode::Connected]);
        connections.disconnected(EndReason::Peer);
        connections.failed("refused");
        connections.report(Monotonic(REPORT_EVERY_NS), &mut events);
        // The same cause, but a connection lies between.
        assert_eq!(codes(reported(&queue)), [EventCode::Disconnected, EventCode::ConnectFailed]);
    }
}
