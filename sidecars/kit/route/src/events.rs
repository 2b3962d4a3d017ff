//! Live data as server-sent events that resume: who comes back with `Last-Event-ID` gets what they missed, or is told how
//! much that was.
//!
//! One ring of the latest events serves all followers, each of which keeps nothing but its place: a slow one costs no
//! memory and delays nobody. Followers get the events that their scopes reach.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use fep_identity::{Caller, Target};
use fep_kit::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::body::{Answer, Schemas, with_type};
use crate::route::Call;

/// No event is larger.
pub const MAX_EVENT_BYTES: usize = 64 << 10;
/// So many octets of events are written at once at most.
const BATCH_BYTES: usize = 128 << 10;
/// After so long without an event a comment is written, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Kind of the event that says how many were missed.
pub const GAP: &str = "gap";

struct Event {
    kind: &'static str,
    target: Target,
    /// JSON on one line.
    data: String,
}

#[derive(Default)]
struct Ring {
    /// Number of the oldest event that is kept.
    first: u64,
    events: VecDeque<Arc<Event>>,
}

impl Ring {
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

/// Events of one kind of live data. Clones share it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    /// Another one after every start: numbers of before mean nothing then.
    epoch: u64,
    keep: usize,
    ring: Mutex<Ring>,
    next: watch::Sender<u64>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("keep", &self.shared.keep).finish_non_exhaustive()
    }
}

/// An event that cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It has no JSON.
    #[error("an event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is too large.
    #[error("an event of {0} octets is larger than {MAX_EVENT_BYTES}")]
    TooLarge(usize),
}

impl Feed {
    /// A feed that keeps the latest `keep` events for those who come back.
    ///
    /// # Errors
    /// When the system gives no random octets.
    pub fn new(keep: usize) -> io::Result<Feed> {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch)
            .map_err(|error| io::Error::other(format!("no random octets: {error}")))?;
        let (next, _) = watch::channel(0);
        let epoch = u64::from_be_bytes(epoch);
        Ok(Feed { shared: Arc::new(Shared { epoch, keep: keep.max(1), ring: Mutex::default(), next }) })
    }

    /// Publishes an event to all whose scopes reach its target.
    ///
    /// # Errors
    /// Data without JSON, or too much.
    pub fn publish(
        &self,
        kind: &'static str,
        target: Target,
        data: &impl Serialize,
    ) -> Result<(), EventError> {
        // serde_json writes no line feed outside of pretty printing.
        let data = serde_json::to_string(data)?;
        if data.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLarge(data.len()));
        }
        let mut ring = self.ring();
        if ring.events.len() >= self.shared.keep {
            ring.events.pop_front();
            ring.first += 1;
        }
        ring.events.push_back(Arc::new(Event { kind, target, data }));
        let next = ring.next();
        drop(ring);
        self.shared.next.send_replace(next);
        Ok(())
    }

    /// Follows the feed as the caller of a request: from the event after `Last-Event-ID` on, or from now on without it.
    ///
    /// # Errors
    /// A `Last-Event-ID` that is none, a route that is open to everybody.
    pub fn follow<B>(&self, call: &Call<B>) -> Result<Events, Problem> {
        let caller = Arc::clone(call.caller()?);
        let last = call.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
        let start = match last {
            None => Start::Now,
            Some(text) => self.start(text).ok_or_else(|| {
                Problem::new(StatusCode::BAD_REQUEST, "bad-header", "this is no event of this feed")
                    .at("Last-Event-ID")
                    .hint("leave the header out to begin with the next event")
            })?,
        };
        Ok(Events(self.stream(caller, start)))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `EPOCH.NUMBER`, both in hexadecimal digits.
    fn start(&self, text: &str) -> Option<Start> {
        let (epoch, number) = text.split_once('.')?;
        let hex = |text: &str| {
            let digits =
                (1..=16).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(text, 16).ok())?
        };
        let (epoch, number) = (hex(epoch)?, hex(number)?);
        let known = epoch == self.shared.epoch && number < self.ring().next();
        Some(if known { Start::After(number) } else { Start::OfAnotherTime })
    }

    fn stream(&self, caller: Arc<Caller>, start: Start) -> Body {
        let mut changed = self.shared.next.subscribe();
        changed.mark_unchanged();
        let ring = self.ring();
        let (next, gap) = match start {
            Start::Now => (ring.next(), None),
            Start::After(number) => (number + 1, None),
            // All that is kept is new to whoever followed before the restart; how much was missed nobody knows.
            Start::OfAnotherTime => (ring.first, Some(json!({"missed": null}))),
        };
        drop(ring);
        let follower = Follower { feed: self.clone(), caller, next, gap, changed };
        Body::from_stream(futures::stream::unfold(follower, |mut follower| async move {
            let octets = follower.next().await;
            Some((Ok::<_, std::convert::Infallible>(octets), follower))
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Now,
    After(u64),
    OfAnotherTime,
}

struct Follower {
    feed: Feed,
    caller: Arc<Caller>,
    next: u64,
    gap: Option<Value>,
    changed: watch::Receiver<u64>,
}

impl Follower {
    /// What is written next: events, or a comment after a while without any.
    async fn next(&mut self) -> Bytes {
        loop {
            self.changed.mark_unchanged();
            let text = self.batch();
            if !text.is_empty() {
                return Bytes::from(text);
            }
            // The sender lives in `feed`: the wait does not fail.
            if tokio::time::timeout(KEEP_ALIVE, self.changed.changed()).await.is_err() {
                return Bytes::from_static(b": still here\n\n");
            }
        }
    }

    fn batch(&mut self) -> String {
        let mut text = String::new();
        let ring = self.feed.ring();
        if self.next < ring.first {
            self.gap = Some(json!({"missed": ring.first - self.next}));
            self.next = ring.first;
        }
        let epoch = self.feed.shared.epoch;
        if let Some(gap) = self.gap.take() {
            // Its identifier is that of the event before the next one: whoever ends here misses nothing more. There is
            // none before the first.
            let id =
                self.next.checked_sub(1).map_or(String::new(), |id| format!("id: {epoch:016x}.{id:x}\n"));
            // Writing to a string does not fail.
            let _ = write!(text, "{id}event: {GAP}\ndata: {gap}\n\n");
        }
        while text.len() < BATCH_BYTES {
            let at = usize::try_from(self.next - ring.first).ok();
            let Some(event) = at.and_then(|at| ring.events.get(at)) else { break };
            if self.caller.may_reach(&event.target).is_ok() {
                let (kind, data) = (event.kind, &event.data);
                let _ = write!(text, "id: {epoch:016x}.{:x}\nevent: {kind}\ndata: {data}\n\n", self.next);
            }
            self.next += 1;
        }
        text
    }
}

/// Events as the answer of a route.
#[derive(Debug)]
pub struct Events(Body);

impl Answer for Events {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("text/event-stream");
    const STREAMS: bool = true;

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(with_type(self.0, "text/event-stream"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_bus::Colour;
    use fep_identity::{Colours, Means, Person, RoleSet, Scope};
    use fep_record::Session;
    use http_body_util::BodyExt;

    fn caller(scope: Scope) -> Arc<Caller> {
        Arc::new(Caller {
            person: Person::service("x"),
            roles: RoleSet::ALL,
            scopes: vec![scope],
            means: Means::Ticket,
            until: None,
        })
    }

    fn black() -> Target {
        Target::of(1, Colour::Black, Session::Ops)
    }

    async fn read(body: &mut Body) -> String {
        let frame = body.frame().await.expect("goes on").expect("no fault");
        String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
    }

    fn ids(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
    }

    // REQ: FEP-KIT-117
    #[tokio::test]
    async fn who_comes_back_gets_every_event_after_the_last_one_once() {
        let feed = Feed::new(100).expect("random octets");
        let mut first = feed.stream(caller(Scope::ALL), Start::Now);
        for number in 0..3 {
            feed.publish("pass", black(), &number).expect("published");
        }
        let text = read(&mut first).await;
        assert_eq!(text.matches("event: pass\n").count(), 3, "{text}");
        let last = ids(&text)[1].to_owned();
        let start = feed.start(&last).expect("an identifier");
        let text = read(&mut feed.stream(caller(Scope::ALL), start)).await;
        assert_eq!(text.matches("data: 2\n").count(), 1, "{text}");
        assert_eq!(ids(&text).len(), 1, "{text}");
    }

    // REQ: FEP-KIT-117
    #[tokio::test]
    async fn who_was_away_too_long_or_over_a_restart_is_told_that_events_are_missing() {
        let feed = Feed::new(2).expect("random octets");
        let mut slow = feed.stream(caller(Scope::ALL), Start::Now);
        for number in 0..5 {
            feed.publish("pass", black(), &number).expect("published");
        }
        let text = read(&mut slow).await;
        assert!(text.contains("event: gap\ndata: {\"missed\":3}\n"), "{text}");
        assert!(text.contains("data: 3\n") && text.contains("data: 4\n"), "{text}");
        let restarted = Feed::new(2).expect("random octets");
        restarted.publish("pass", black(), &9).expect("published");
        let start = restarted.start(ids(&text)[0]).expect("an identifier");
        assert_eq!(start, Start::OfAnotherTime);
        let text = read(&mut restarted.stream(caller(Scope::ALL), start)).await;
        assert!(
            text.contains("event: gap\ndata: {\"missed\":null}\n") && text.contains("data: 9\n"),
            "{text}"
        );
        for wrong in ["", "x", "1", "1.", ".1", "1.x", "+1.1", "11111111111111111.1"] {
            assert_eq!(feed.start(wrong), None, "{wrong}");
        }
    }

    // REQ: FEP-KIT-117
    #[tokio::test]
    async fn followers_get_only_what_their_scopes_reach() {
        let feed = Feed::new(10).expect("random octets");
        let scope = Scope { colours: Colours::of(&[Colour::Black]), ..Scope::ALL };
        let mut body = feed.stream(caller(scope), Start::Now);
        feed.publish("pass", Target::of(1, Colour::Red, Session::Ops), &"secret").expect("published");
        feed.publish("pass", black(), &"open").expect("published");
        let text = read(&mut body).await;
        assert!(text.contains("open") && !text.contains("secret"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_feed_is_kept_alive_and_an_event_that_is_too_large_is_refused() {
        let feed = Feed::new(10).expect("random octets");
        let mut body = feed.stream(caller(Scope::ALL), Start::Now);
        assert!(read(&mut body).await.starts_with(':'));
        let large = "x".repeat(MAX_EVENT_BYTES);
        assert!(matches!(feed.publish("pass", black(), &large), Err(EventError::TooLarge(_))));
    }
}
