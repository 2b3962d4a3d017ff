//! One client's way from its sources to octets: sources, delivery, cursor.

use std::time::{Duration, Instant};

use fep_file::FileError;
use fep_segments::SegmentError;

use crate::cursor::{CursorFile, Stand};
use crate::delivery::Delivery;
use crate::events::FeedEvent;
use crate::ledger::Lost;
use crate::sources::{Event, Sources};
use crate::status::ClientState;
use fep_feed_wire::control::FromFeed;

/// How often a cursor is stored while records go out: each time the disk has to confirm it.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How often it is shown where a client is.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// How often losses are reported at most.
const LOSSES_EVERY: Duration = Duration::from_secs(10);

/// Why a client's delivery cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    #[error("its cursor cannot be stored: {0}")]
    Cursor(FileError),
    #[error(transparent)]
    Source(#[from] SegmentError),
}

/// One client's way.
pub(crate) struct Pipe {
    sources: Sources,
    pub(crate) delivery: Delivery,
    cursor: CursorFile,
    rings: Vec<String>,
    stored_at: Instant,
    shown_at: Instant,
    losses: Losses,
    /// In each source: whether it is waited for, as was reported last.
    away: Vec<bool>,
}

/// Losses that are reported as few events: the first at once.
struct Losses {
    reported: [u64; Lost::ALL.len()],
    next: Instant,
}

impl Pipe {
    pub(crate) fn new(
        sources: Sources,
        delivery: Delivery,
        cursor: CursorFile,
        rings: Vec<String>,
        client: &ClientState,
    ) -> Pipe {
        let now = Instant::now();
        // What this client lost on an earlier connection was reported then.
        let losses = Losses { reported: client.ledger.lost_so_far(), next: now };
        let away = vec![false; rings.len()];
        Pipe { sources, delivery, cursor, rings, stored_at: now, shown_at: now, losses, away }
    }

    /// Names of the sources, in order.
    pub(crate) fn rings(&self) -> &[String] {
        &self.rings
    }

    /// Takes the next thing from the sources and appends what of it is to be sent. `false`: there is nothing now.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Result<bool, PipeError> {
        if !self.delivery.has_room() {
            return Ok(false);
        }
        // Before a source counts anew, everything sent must have arrived.
        let settled = self.delivery.on_the_way() == 0;
        match self.sources.next_event(settled)? {
            Event::Nothing => return Ok(false),
            Event::State { source, live, place } => self.delivery.state(source, live, place, out),
            Event::Lost { source, from_seq, after, reason } => {
                self.delivery.lost(source, from_seq, after.position.seq, reason, after, out);
            }
            Event::Record { source, live, record, payload, after } => {
                if self.delivery.must_store_before(source, record.seq) {
                    let stands = self.delivery.stands();
                    keep(&mut self.cursor, &self.rings, stands)?;
                }
                self.delivery.record(source, live, &record, payload, after, out);
            }
        }
        Ok(true)
    }

    /// To be called at least some times a second: stores the cursor and shows where the client is.
    pub(crate) fn attend(&mut self, client: &ClientState) -> Result<(), PipeError> {
        if self.shown_at.elapsed() < SHOW_EVERY {
            return Ok(());
        }
        self.shown_at = Instant::now();
        self.show(client);
        self.report(client, self.shown_at);
        if self.stored_at.elapsed() >= STORE_EVERY {
            self.stored_at = self.shown_at;
            if self.store()? {
                client.set_problem(None);
            }
        }
        Ok(())
    }

    /// Stores the cursor.
    fn store(&mut self) -> Result<bool, PipeError> {
        keep(&mut self.cursor, &self.rings, self.delivery.stands())
    }

    /// Nothing more will be sent: stores the cursor for good.
    pub(crate) fn finish(mut self, client: &ClientState) -> Result<(), PipeError> {
        self.show(client);
        // Whatever was reported a moment ago: there is no later.
        self.report(client, self.losses.next.max(Instant::now()));
        if keep(&mut self.cursor, &self.rings, self.delivery.final_stands())? {
            client.set_problem(None);
        }
        Ok(())
    }

    /// Shows where the client is.
    pub(crate) fn show(&self, client: &ClientState) {
        let places = self.delivery.stands();
        client.show(self.sources.places(&self.rings, &places), self.delivery.on_the_way());
    }

    /// Reports what was lost since the last report, and sources that cannot be read or can be again.
    fn report(&mut self, client: &ClientState, now: Instant) {
        let lost = client.ledger.lost_so_far();
        if lost != self.losses.reported && now >= self.losses.next {
            let since = |why: &Lost| lost[*why as usize].saturating_sub(self.losses.reported[*why as usize]);
            let records: serde_json::Map<String, serde_json::Value> = Lost::ALL
                .iter()
                .filter(|why| since(why) > 0)
                .map(|why| (why.name().to_owned(), since(why).into()))
                .collect();
            client.report(FeedEvent::RecordsLost, &[("lost", records.into())]);
            self.losses = Losses { reported: lost, next: now + LOSSES_EVERY };
        }
        for (at, (ring, why)) in self.rings.iter().zip(self.sources.waited_for()).enumerate() {
            if self.away[at] == why.is_some() {
                continue;
            }
            self.away[at] = why.is_some();
            let source = ("source", ring.as_str().into());
            match why {
                Some(why) => client.report(FeedEvent::SourceAway, &[source, ("reason", why.into())]),
                None => client.report(FeedEvent::SourceBack, &[source]),
            }
        }
    }

    /// Appends a sign of life.
    pub(crate) fn alive(&mut self, out: &mut Vec<u8>) {
        self.delivery.say(&FromFeed::Alive { waiting: self.sources.waiting() }, out);
    }
}

/// Stores where the client stands, but for sources of which nothing is known yet: going on from there would mean to begin.
/// Whether anything was written.
fn keep(cursor: &mut CursorFile, rings: &[String], stands: Vec<Stand>) -> Result<bool, PipeError> {
    let known = rings.iter().map(String::as_str).zip(stands).filter(|(_, stand)| stand.series != 0);
    cursor.store(known).map_err(PipeError::Cursor)
}
