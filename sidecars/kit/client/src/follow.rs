//! Server-sent events (the event stream of the HTML standard, section 9.2) that resume after a lost connection: the
//! request names the last event that arrived, and the answer has what came after it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::{Call, Octets};
use crate::client::Reply;
use crate::{Client, Error, header};

/// Header that names the last event.
const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");
/// No event is longer. The kit's services send at most 64 KiB.
const EVENT_OCTETS_MAX: usize = 1 << 20;
/// The first wait before another connection; it doubles.
const RETRY: Duration = Duration::from_millis(250);
/// The shortest wait before another connection that a service can ask for.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest wait before another connection.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a service may be away before whoever follows it learns of that.
const PATIENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its kind; `message` where the service gives none, `gap` where a service of the kit says that events were missed.
    pub kind: String,
    /// The last name of an event that was given, by this event or one before it; empty before the first.
    pub id: String,
    /// What it says: JSON, of services of the kit.
    pub data: String,
}

/// The events of one path, over as many connections as it takes.
pub struct Follow {
    client: Client,
    path: String,
    patience: Duration,
    reply: Option<Reply>,
    parser: Parser,
    /// Since when there is no connection that brought something.
    away_since: Option<Instant>,
    retry: Duration,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Follow {} of {:?}", self.path, self.client)
    }
}

impl Follow {
    pub(crate) fn new(client: Client, path: &str) -> Follow {
        Follow {
            client,
            path: path.to_owned(),
            patience: PATIENCE,
            reply: None,
            parser: Parser::default(),
            away_since: None,
            retry: RETRY,
        }
    }

    /// Goes on after this event, which an earlier follower saw last.
    #[must_use]
    pub fn after(mut self, id: &str) -> Follow {
        id.clone_into(&mut self.parser.id);
        self
    }

    /// How long the service may be away before [`Follow::event`] fails; 60 s where nothing is said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Follow {
        self.patience = patience;
        self
    }

    /// Name of the last event, for [`Follow::after`].
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.parser.id
    }

    /// The next event. A connection that is lost is made again; nothing is lost if the call is dropped while it waits.
    ///
    /// # Errors
    /// The service refuses; it has been away for longer than the patience; an event that is too long, an answer that is no
    /// stream of events. After an error it may be called again.
    pub async fn event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.parser.events.pop_front() {
                return Ok(event);
            }
            let failed = match self.step().await {
                Ok(()) => continue,
                Err(error) => error,
            };
            self.reply = None;
            self.parser.begin();
            if !failed.is_away() {
                return Err(failed);
            }
            let since = *self.away_since.get_or_insert_with(Instant::now);
            if since.elapsed() + self.retry > self.patience {
                self.away_since = None;
                self.retry = RETRY;
                return Err(failed);
            }
            let wait = self.retry;
            self.retry = (self.retry * 2).min(RETRY_MAX);
            tokio::time::sleep(wait).await;
        }
    }

    /// Connects, or takes what arrives next.
    async fn step(&mut self) -> Result<(), Error> {
        let Some(reply) = &mut self.reply else {
            self.reply = Some(self.connect().await?);
            return Ok(());
        };
        let Some(octets) = reply.chunk().await? else {
            // A service that stops ends its streams.
            let service = self.client.address().clone();
            return Err(Error::Broken { service, during: "its events", why: "they ended".to_owned() });
        };
        (self.away_since, self.retry) = (None, self.parser.retry.unwrap_or(RETRY));
        self.parser.take(&octets).map_err(|TooLong| self.client.too_long(&self.path, EVENT_OCTETS_MAX))
    }

    async fn connect(&self) -> Result<Reply, Error> {
        let mut call: Call<Octets> =
            Call::get(self.path.clone()).header(header::ACCEPT, "text/event-stream")?;
        if !self.parser.id.is_empty() {
            call = call.header(LAST_EVENT_ID, &self.parser.id)?;
        }
        let reply = self.client.begin(&call).await?;
        let media_type = reply.header(&header::CONTENT_TYPE);
        if media_type.split(';').next().map(str::trim) == Some("text/event-stream") {
            return Ok(reply);
        }
        Err(self.client.malformed(&self.path, format!("it is {media_type:?}, no stream of events")))
    }
}

struct TooLong;

/// Takes a stream of events apart, however it is cut into pieces.
#[derive(Default)]
struct Parser {
    /// Survives a connection.
    id: String,
    retry: Option<Duration>,
    events: VecDeque<Event>,
    line: Vec<u8>,
    kind: String,
    data: String,
    has_data: bool,
    /// The last octet was a carriage return: a line feed after it belongs to the same end of line.
    after_return: bool,
    has_begun: bool,
}

impl Parser {
    /// A new connection: what was not complete will be sent again.
    fn begin(&mut self) {
        self.line.clear();
        self.kind.clear();
        self.data.clear();
        (self.has_data, self.after_return, self.has_begun) = (false, false, false);
    }

    fn take(&mut self, octets: &[u8]) -> Result<(), TooLong> {
        for octet in octets {
            let was_return = std::mem::replace(&mut self.after_return, *octet == b'\r');
            match octet {
                b'\n' if was_return => {}
                b'\n' | b'\r' => self.end_line(),
                _ => self.line.push(*octet),
            }
            if self.line.len() + self.data.len() > EVENT_OCTETS_MAX {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        // A byte order mark may stand before everything.
        let line = if self.has_begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.has_begun = true;
        if line.is_empty() {
            self.end_event();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            // One that cannot stand in a header could not be sent back.
            "id" if value.bytes().all(|octet| octet.is_ascii_graphic()) => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) => {
                let ms = value.parse().unwrap_or(u64::MAX);
                self.retry = Some(Duration::from_millis(ms).clamp(RETRY_MIN, RETRY_MAX));
            }
            // A comment, or a field that is not known.
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        if std::mem::take(&mut self.has_data) {
            let kind = if kind.is_empty() { "message".to_owned() } else { kind };
            self.events.push_back(Event { kind, id: self.id.clone(), data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        for piece in pieces {
            assert!(parser.take(piece).is_ok());
        }
        parser.events.into()
    }

    fn event(kind: &str, id: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), id: id.to_owned(), data: data.to_owned() }
    }

    // REQ: FEP-KIT-208
    #[test]
    fn a_stream_of_events_is_read_as_the_html_standard_says() {
        // The examples of section 9.2.6 of the standard, and the ends of lines it allows.
        let text =
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let read = parsed(&[text.as_bytes()]);
        assert_eq!(
            read,
            [
                event("message", "1", "first event"),
                event("message", "", "second event"),
                event("message", "", " third event")
            ]
        );
        let text = "data\n\ndata\ndata\n\ndata:";
        assert_eq!(parsed(&[text.as_bytes()]), [event("message", "", ""), event("message", "", "\n")]);
        let text = "\u{feff}event: add\rdata: 73857293\r\rdata: YHOO\r\ndata: +2\r\n\r\nevent: none\n\n";
        assert_eq!(
            parsed(&[text.as_bytes()]),
            [event("add", "", "73857293"), event("message", "", "YHOO\n+2")]
        );
        let mut endless = Parser::default();
        let piece = vec![b'x'; EVENT_OCTETS_MAX / 2 + 1];
        assert!(endless.take(&piece).is_ok() && endless.take(&piece).is_err());
        let mut lines = Parser::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!(lines.take(&line).is_ok() && lines.take(&line).is_err(), "lines of one event count together");
    }

    proptest! {
        // REQ: FEP-KIT-208
        #[test]
        fn events_are_the_same_however_the_stream_is_cut(
            text in "((event|data|id|retry|x)?:? ?[a-z:]{0,4}(\n|\r|\r\n)){0,12}", cut in 0..200_usize, other in 0..200_usize
        ) {
            let octets = text.as_bytes();
            let (a, b) = (cut.min(octets.len()), other.min(octets.len()));
            let (a, b) = (a.min(b), a.max(b));
            prop_assert_eq!(parsed(&[octets]), parsed(&[&octets[..a], &octets[a..b], &octets[b..]]));
        }
    }
}
