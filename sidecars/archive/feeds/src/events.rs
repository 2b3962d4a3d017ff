//! What the feeds say to operators: log lines, and records of the ring `feeds.events`.

use fep_event_ring::EventSender;
use fep_events::event_codes;
use fep_record::Session;
use serde_json::{Value, json};

event_codes! {
    /// What an event of the feeds says. Their numbers start at 300.
    pub enum FeedEvent {
        /// A feed does not work.
        FeedFailed = 300, "feed_failed", Distress, "remove the reason that the event names; it is tried again by itself";
        /// It works again.
        FeedRecovered = 301, "feed_recovered", Normal, "nothing";
        /// Somebody enabled a feed.
        FeedEnabled = 302, "feed_enabled", Normal, "nothing";
        /// Somebody disabled a feed: its clients get nothing.
        FeedDisabled = 303, "feed_disabled", Warning, "enable it when the work is done; its clients go on where they stopped";
        /// Connections were refused.
        ClientRefused = 310, "client_refused", Warning, "if the client is one of ours: give it what the event says is allowed; else find out who tries, and close the way";
        /// A client took nothing for too long, and was disconnected. Its cursor stays.
        ClientDropped = 311, "client_dropped", Warning, "look at the client and the way to it; it goes on where it stopped when it comes again";
        /// A client was disconnected because its ticket ended or was revoked, or it may do something else now.
        ClientExpired = 312, "client_expired", Normal, "nothing";
        /// Records that a client wanted will never come: neither ring nor archive has them, or they do not fit.
        RecordsLost = 313, "client_records_lost", Distress, "`source`: run a recorder, and look at its losses; `damaged`: restore the segment; `length`, `refused`: make the feed fit its client";
        /// A client waits for records that exist and cannot be read at the moment.
        SourceAway = 320, "source_away", Warning, "make the store or the disk that the event names readable; the client goes on by itself";
        /// They can be read again.
        SourceBack = 321, "source_back", Normal, "nothing";
        /// A cursor could not be understood: its client began as if it were new.
        CursorLost = 330, "cursor_lost", Distress, "look at the file that was set aside, and at the disk; the client lacks, or has twice, what lies between";
        /// A cursor cannot be opened or stored: its client is not served until it can.
        CursorRefused = 331, "cursor_refused", Distress, "make room on the disk of `feeding.cursors`, or mend its permissions; nothing is lost meanwhile that the archive keeps";
        /// The public keys of tickets cannot be read: those known before stay in force.
        KeysUnreadable = 340, "keys_unreadable", Distress, "restore the file (`identity.keys`) and its permissions: until then neither new keys nor revocations are known";
        /// They can be read again.
        KeysRead = 341, "keys_read", Normal, "nothing";
    }
}

/// Where events go. Clones share the ring.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Option<EventSender>);

impl Events {
    pub(crate) fn new(sender: &EventSender) -> Events {
        Events(Some(sender.clone()))
    }

    /// Logs and publishes; without a ring it logs. It never waits.
    pub(crate) fn report(&self, code: FeedEvent, session: Session, detail: Value) {
        match &self.0 {
            Some(sender) => sender.report(code, u16::MAX, session, detail),
            None => fep_event_ring::log(code, detail),
        }
    }
}

/// What an event about a feed holds in any case.
pub(crate) fn of_feed(feed: &str, spacecraft: &[u16]) -> Value {
    let mut detail = json!({"feed": feed});
    if !spacecraft.is_empty() {
        detail["scids"] = spacecraft.into();
    }
    detail
}

#[cfg(test)]
mod tests {
    use fep_events::EventCode as _;

    use super::*;

    // REQ: FEP-FEED-170
    #[test]
    fn every_event_stands_in_the_operations_manual_with_its_severity_and_what_to_do() {
        let manual = include_str!("../../../../docs/events.md");
        for code in FeedEvent::ALL {
            let first = format!("| {} | `{}` | {} | ", code.number(), code.name(), code.severity().name());
            let rows: Vec<&str> = manual.lines().filter(|row| row.starts_with(&first)).collect();
            assert_eq!(rows.len(), 1, "{first}");
            assert!(rows[0].ends_with(&format!(" | {} |", code.advice())), "{}", rows[0]);
        }
    }
}
