//! All events rings as one stream, followed with cursors that outlive the follower.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fep_bus::Record;
use fep_record::{EventRecord, KIND_EVENT};
use fep_segments::{Follow, FollowSpec, Item, Loss, SegmentError, Start, Stream};

use crate::SCHEMA;
use crate::cursors::{self, CursorError, Stand};

/// How often new rings are looked for.
const SCAN: Duration = Duration::from_millis(500);

/// What to follow.
#[derive(Debug, Clone)]
pub struct EventFollowSpec {
    /// Directory of the rings.
    pub rings: PathBuf,
    /// Directory of the recorder's segments, for what the rings have overwritten; `None` follows the rings alone.
    pub archive: Option<PathBuf>,
    /// File of the cursors; `None` forgets them with the follower.
    pub cursors: Option<PathBuf>,
    /// Name of the cursors in the rings; only one process at a time may use it.
    pub consumer: String,
    /// Where rings begin that exist when a follower without cursors begins. Rings that appear later begin with their oldest
    /// record.
    pub start: Start,
    /// As [`FollowSpec::patience`].
    pub patience: Duration,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its ring.
    pub stream: Stream,
    /// Number and times.
    pub record: Record,
    /// Code, severity, link and session.
    pub event: EventRecord,
    /// A JSON object, as a rule.
    pub payload: Vec<u8>,
}

/// What a follower found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventItem {
    /// An event.
    Event(Event),
    /// Events that are neither in the ring nor in the segments: [`Loss::records`] is their exact number.
    Lost {
        /// Of this ring.
        stream: Stream,
        /// Which.
        loss: Loss,
    },
    /// The numbering of a ring begins anew: it was removed, with an unknown number of events that no recorder had taken.
    Series {
        /// Of this ring.
        stream: Stream,
    },
}

/// Follows every events ring. What it yields is taken for done at the next [`EventFollow::commit`]: after a kill it goes on
/// behind the last one, so that an event may come again but none is missed.
pub struct EventFollow {
    spec: EventFollowSpec,
    followed: BTreeMap<String, (Stream, Follow)>,
    /// Whose turn it is: each ring in its turn, so that a busy one does not silence the others.
    turns: VecDeque<String>,
    stands: BTreeMap<String, Stand>,
    stored: BTreeMap<String, Stand>,
    /// Whether rings that are found begin with their oldest record.
    from_oldest: bool,
    scan_at: Instant,
    payload: Vec<u8>,
}

impl EventFollow {
    /// Begins to follow, where the cursors say. Neither rings nor segments need exist yet.
    ///
    /// # Errors
    /// The file of the cursors.
    pub fn open(spec: EventFollowSpec) -> Result<EventFollow, CursorError> {
        let stored = spec.cursors.as_deref().map(cursors::read).transpose()?.flatten();
        let from_oldest = stored.is_some();
        let stored = stored.unwrap_or_default();
        let mut follow = EventFollow {
            spec,
            followed: BTreeMap::new(),
            turns: VecDeque::new(),
            stands: stored.clone(),
            stored,
            from_oldest,
            scan_at: Instant::now(),
            payload: Vec::new(),
        };
        follow.scan();
        follow.from_oldest = true;
        Ok(follow)
    }

    /// The next item of any ring; `None` when there is nothing new now. A ring that cannot be read is logged and tried again;
    /// the others go on.
    pub fn next_item(&mut self) -> Option<EventItem> {
        if Instant::now() >= self.scan_at {
            self.scan();
        }
        for _ in 0..self.turns.len() {
            self.turns.rotate_left(1);
            let name = self.turns.back()?.clone();
            let Some((stream, follow)) = self.followed.get_mut(&name) else { continue };
            // Records of other kinds are passed over.
            let found = loop {
                match follow.next(&mut self.payload) {
                    Ok(Item::Record(record)) if event_of(&record).is_none() => {}
                    found => break found,
                }
            };
            let stand = self.stands.entry(name.clone()).or_default();
            stand.place = follow.place();
            match found {
                Ok(Item::Empty) => {}
                Ok(Item::Record(record)) => {
                    let Some(event) = event_of(&record) else { continue };
                    stand.events += 1;
                    let payload = self.payload.clone();
                    return Some(EventItem::Event(Event { stream: stream.clone(), record, event, payload }));
                }
                Ok(Item::Gap(loss)) => {
                    stand.lost += loss.records();
                    return Some(EventItem::Lost { stream: stream.clone(), loss });
                }
                Ok(Item::Series(_)) => return Some(EventItem::Series { stream: stream.clone() }),
                Err(error) => {
                    tracing::warn!("{name}: {error}: tried again");
                    self.followed.remove(&name);
                    self.turns.retain(|turn| *turn != name);
                }
            }
        }
        None
    }

    /// Makes what was yielded so far done, durably.
    ///
    /// # Errors
    /// The file of the cursors; it is as before then.
    pub fn commit(&mut self) -> Result<(), CursorError> {
        let Some(path) = &self.spec.cursors else { return Ok(()) };
        // A ring whose beginning is not known yet has no place.
        let mut stands = self.stands.clone();
        stands.retain(|_, stand| *stand != Stand::default());
        if stands != self.stored {
            cursors::write(path, &stands)?;
            self.stored = stands;
        }
        Ok(())
    }

    /// Events had of every ring and events lost of them, since the cursors began: by the ring's name with its colour.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.stands.iter().map(|(name, stand)| (name.as_str(), stand.events, stand.lost))
    }

    /// The rings that are followed now.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.followed.values().map(|(stream, _)| stream)
    }

    /// Takes up what is new.
    fn scan(&mut self) {
        self.scan_at = Instant::now() + SCAN;
        let mut found = Vec::new();
        match fep_bus::list(&self.spec.rings) {
            Ok(rings) => {
                let rings = rings.into_iter().flatten().filter(|ring| ring.schema == SCHEMA);
                found.extend(rings.map(|ring| Stream::new(ring.colour, ring.name)));
            }
            Err(error) => tracing::debug!("{error}"),
        }
        if let Some(archive) = &self.spec.archive {
            match fep_segments::streams(archive) {
                // A ring that has gone: what was recorded of it is followed all the same.
                Ok(streams) => found.extend(streams.into_iter().filter(|stream| is_events(&stream.ring))),
                Err(error) => tracing::debug!("{error}"),
            }
        }
        for stream in found {
            let name = stream.to_string();
            if self.followed.contains_key(&name) {
                continue;
            }
            match self.begin(stream.clone()) {
                Ok(follow) => {
                    self.turns.push_back(name.clone());
                    self.followed.insert(name, (stream, follow));
                }
                Err(error) => tracing::warn!("{name}: {error}: tried again"),
            }
        }
    }

    fn begin(&self, stream: Stream) -> Result<Follow, SegmentError> {
        let start = match self.stands.get(&stream.to_string()) {
            Some(stand) if *stand != Stand::default() => Start::At(stand.place),
            _ if self.from_oldest => Start::Oldest,
            _ => self.spec.start,
        };
        let spec = FollowSpec {
            archive: self.spec.archive.clone(),
            bus: Some(self.spec.rings.clone()),
            stream,
            consumer: self.spec.consumer.clone(),
            patience: self.spec.patience,
        };
        Follow::open(spec, start)
    }
}

fn event_of(record: &Record) -> Option<EventRecord> {
    (record.tag.kind == KIND_EVENT).then(|| EventRecord::from_words(record.tag.words)).flatten()
}

/// Whether a ring of this name is one of events, where nothing says its schema.
fn is_events(ring: &str) -> bool {
    ring == "events" || ring.ends_with(".events")
}
