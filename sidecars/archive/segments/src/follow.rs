//! Segments and ring as one stream of records: each once, in order, and every gap once.
//!
//! A follower reads the ring while it keeps up, and the segments when it is behind, or was away. Where the ring has
//! overwritten what it wants, it looks for that in the segments, and waits for it as long as a recorder lives that may
//! still bring it there. A gap is only told when the records are in neither.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fep_bus::{Consumer, Poll, Record};

use crate::error::SegmentError;
use crate::footer::Footer;
use crate::lock::is_recorded;
use crate::loss::{Loss, LossCause};
use crate::name::{Place, SegmentName, Stream};
use crate::plain;
use crate::reader::{Piece, SegmentReader};
use crate::seal::footer_of;
use crate::tree::{SegmentEntry, SegmentState, list};
use fep_time::Monotonic;

pub use beginning::series_after;
pub use moved::Moved;

use moved::{Failing, Whereabouts};

mod beginning;
mod moved;

/// What to follow.
#[derive(Debug, Clone)]
pub struct FollowSpec {
    /// The archive's directory; `None` follows the ring alone.
    pub archive: Option<PathBuf>,
    /// The directory of the rings; `None` follows the segments alone.
    pub bus: Option<PathBuf>,
    /// Which ring.
    pub stream: Stream,
    /// Name of the cursor in the ring; only one process at a time may use it.
    pub consumer: String,
    /// How long records that the ring has overwritten may take to turn up in the segments when no recorder lives
    /// (it may just be starting again). With one that lives there is no limit but the records themselves.
    pub patience: Duration,
}

/// Where a follower starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    Oldest,
    /// At the next record to come.
    Latest,
    /// Where [`Follow::place`] once said: nothing is missed and nothing seen twice.
    At(Place),
    /// At the first record received at this time or later, nanoseconds of TAI since 1958.
    Time(i64),
}

/// Where a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In shared memory: it is live.
    Ring,
    /// On disk: the follower is behind.
    Segments,
}

/// What a follower found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A record; its payload is in the caller's buffer.
    Record(Record),
    /// Records that are neither in the ring nor in the segments. Told once; the next item comes after it.
    Gap(Loss),
    /// The numbering starts anew at this place: the ring was lost (a reboot), and with it an unknown number of records
    /// that no recorder had taken. Told once.
    Series(Place),
    /// Nothing new now.
    Empty,
}

/// Follows one ring over segments and shared memory.
pub struct Follow {
    spec: FollowSpec,
    place: Place,
    /// The ring, once attached; kept while segments are read.
    ring: Option<Ring>,
    segment: Option<Segment>,
    source: Source,
    /// What the ring has overwritten and the segments have not shown yet.
    wanted: Option<Wanted>,
    /// Records received before this are passed over until the first that is not.
    not_before: Option<i64>,
    /// Set until the first place is known.
    undecided: Option<Start>,
    /// What becomes of segments that were moved to an object store.
    moved: Moved,
    /// Why it waits although something may be there.
    waits_for: Option<String>,
    failing: Option<Failing>,
    attach_after: Instant,
    heartbeat_after: Instant,
}

struct Ring {
    consumer: Consumer,
    series: u64,
}

struct Segment {
    name: SegmentName,
    reader: SegmentReader,
    /// Number of its file: a recorder that lives again may put another file in the place of one without whole blocks.
    inode: u64,
}

impl Segment {
    /// Opens a segment that may be growing; `None` when it was sealed or removed in this very moment, or when it is damaged: what
    /// it holds is a gap then, and the stream goes on behind it.
    fn open(entry: &SegmentEntry) -> Result<Option<Segment>, SegmentError> {
        match Segment::try_open(entry) {
            Err(SegmentError::Io { source, .. }) if plain::condemns(&source) => Ok(None),
            opened => opened,
        }
    }

    /// As [`Segment::open`], but what the disk fails to read is an error: it may read it the next time.
    fn try_open(entry: &SegmentEntry) -> Result<Option<Segment>, SegmentError> {
        let reader = match SegmentReader::open_growing(&entry.path) {
            Ok(reader) => reader,
            Err(SegmentError::Format { .. }) => return Ok(None),
            Err(SegmentError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let inode = reader.inode()?;
        Ok(Some(Segment { name: entry.name, reader, inode }))
    }

    /// Whether the file that has its name now is another one.
    fn is_replaced(&self, entry: &SegmentEntry) -> bool {
        std::fs::metadata(&entry.path).is_ok_and(|metadata| metadata.ino() != self.inode)
    }
}

/// A footer that is damaged says nothing; what else goes wrong is an error.
fn legible(footer: Result<Option<Footer>, SegmentError>) -> Result<Option<Footer>, SegmentError> {
    match footer {
        Err(SegmentError::Format { .. }) => Ok(None),
        footer => footer,
    }
}

/// Whether a segment holds the place.
enum Opened {
    Yes,
    /// None does (yet).
    No,
    /// One does, and cannot be read at the moment.
    Waits,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    cause: LossCause,
    since: Instant,
}

/// How often a ring that is not there is looked for, and how often the cursor is kept.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

impl Follow {
    /// Begins to follow. Neither segments nor ring need be there yet.
    pub fn open(spec: FollowSpec, start: Start) -> Result<Follow, SegmentError> {
        Follow::open_with(spec, Moved::Gap, start)
    }

    /// As [`Follow::open`], and says what becomes of segments that were moved to an object store.
    pub fn open_with(spec: FollowSpec, moved: Moved, start: Start) -> Result<Follow, SegmentError> {
        let now = Instant::now();
        let mut follow = Follow {
            spec,
            place: Place::default(),
            ring: None,
            segment: None,
            source: Source::Segments,
            wanted: None,
            not_before: None,
            undecided: Some(start),
            moved,
            waits_for: None,
            failing: None,
            attach_after: now,
            heartbeat_after: now + HOUSEKEEPING,
        };
        follow.decide()?;
        Ok(follow)
    }

    /// Everything before it has been yielded: where a later [`Start::At`] goes on.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the last record came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.spec.stream
    }

    /// Whether there is something before the next item that it waits for: records that the ring has overwritten, or a segment that
    /// is elsewhere. Then [`Item::Empty`] does not mean that everything was read.
    pub fn is_waiting(&self) -> bool {
        self.wanted.is_some() || self.waits_for.is_some()
    }

    /// What the records are, once something was found.
    pub fn schema(&self) -> Option<&str> {
        match (&self.ring, &self.segment) {
            (Some(ring), _) => Some(ring.consumer.schema()),
            (None, Some(segment)) => Some(&segment.reader.header().schema),
            (None, None) => None,
        }
    }

    /// Records published after [`Follow::place`], as far as the ring tells; `None` without a ring.
    pub fn lag_records(&self) -> Option<u64> {
        let ring = self.ring.as_ref().filter(|ring| ring.series == self.place.series)?;
        let head = ring.consumer.position().seq.saturating_add(ring.consumer.lag_records());
        Some(head.saturating_sub(self.place.position.seq))
    }

    /// The next item; with [`Item::Empty`], [`Follow::waits_for`] says whether something is waited for. A record's payload is put into `payload`, which then holds exactly it.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Result<Item, SegmentError> {
        if self.undecided.is_some() && !self.decide()? {
            return Ok(Item::Empty);
        }
        // Each turn moves between ring and segments or ends; the bound only guards against files that change under us.
        for _ in 0..64 {
            let step = match self.source {
                Source::Ring => self.step_ring(payload)?,
                Source::Segments => self.step_segments(payload)?,
            };
            if let Some(item) = step {
                if let (Item::Record(record), Some(from)) = (&item, self.not_before) {
                    if record.tag.received.0 < from {
                        continue;
                    }
                    self.not_before = None;
                }
                if item == Item::Empty {
                    self.keep_house()?;
                } else {
                    self.waits_for = None;
                }
                return Ok(item);
            }
        }
        Ok(Item::Empty)
    }

    fn keep_house(&mut self) -> Result<(), SegmentError> {
        let now = Instant::now();
        if now >= self.heartbeat_after {
            self.heartbeat_after = now + HOUSEKEEPING;
            if let Some(ring) = &mut self.ring {
                ring.consumer.heartbeat(Monotonic::now())?;
            }
        }
        Ok(())
    }

    fn segments(&self) -> Result<Vec<SegmentEntry>, SegmentError> {
        match &self.spec.archive {
            Some(archive) => list(archive, &self.spec.stream),
            None => Ok(Vec::new()),
        }
    }

    fn ring_name(&self) -> String {
        self.spec.stream.to_string()
    }

    fn step_ring(&mut self, payload: &mut Vec<u8>) -> Result<Option<Item>, SegmentError> {
        let Some(ring) = &mut self.ring else {
            self.source = Source::Segments;
            return Ok(None);
        };
        loop {
            match ring.consumer.peek() {
                Poll::Record(record) if record.seq < self.place.position.seq => ring.consumer.skip(),
                Poll::Record(record) if record.seq == self.place.position.seq => {
                    if let Poll::Record(record) = ring.consumer.poll(payload) {
                        self.place.position = ring.consumer.position();
                        self.wanted = None;
                        return Ok(Some(Item::Record(record)));
                    }
                    // Torn under our hands: the next look says what is missing.
                }
                Poll::Record(_) => {
                    self.want(LossCause::Lapped);
                    return Ok(None);
                }
                Poll::Gap(gap) => {
                    if gap.to_seq > self.place.position.seq {
                        self.want(gap.cause.into());
                        return Ok(None);
                    }
                }
                Poll::Restarted { .. } => {}
                Poll::Recreated => {
                    ring.consumer.reattach()?;
                    if !ring.consumer.has_continued() {
                        let series = series_after(Some(ring.series), ring.consumer.created_unix_ns());
                        ring.series = series;
                        // What the old ring still held may be in the segments.
                        self.source = Source::Segments;
                        return Ok(None);
                    }
                }
                // A ring laid out anew tells of what its predecessor held only with its first record; the segments
                // may have that by now.
                Poll::Empty | Poll::Closed if self.place.position.seq < ring.consumer.first().seq => {
                    self.source = Source::Segments;
                    return Ok(None);
                }
                Poll::Empty | Poll::Closed => return Ok(Some(Item::Empty)),
            }
        }
    }

    fn want(&mut self, cause: LossCause) {
        self.wanted.get_or_insert(Wanted { cause, since: Instant::now() });
        self.source = Source::Segments;
    }

    fn step_segments(&mut self, payload: &mut Vec<u8>) -> Result<Option<Item>, SegmentError> {
        if self.segment.is_none() {
            match self.open_segment()? {
                Opened::Yes => {}
                Opened::No => return self.beyond_segments(),
                Opened::Waits => return Ok(Some(Item::Empty)),
            }
        }
        let Some(segment) = &mut self.segment else { return Ok(None) };
        loop {
            let piece = match segment.reader.next() {
                Ok(piece) => piece,
                Err(error) => {
                    // What was read is behind us: the file is opened again at this place.
                    let path = segment.reader.path().to_owned();
                    self.segment = None;
                    return self.tolerate(&path, &error).map(Some).ok_or(error);
                }
            };
            match piece {
                Some(Piece::Record(view)) => {
                    let record = view.record;
                    if record.seq < self.place.position.seq {
                        continue;
                    }
                    payload.clear();
                    payload.extend_from_slice(view.payload);
                    self.place.position = segment.reader.position();
                    self.wanted = None;
                    return Ok(Some(Item::Record(record)));
                }
                Some(Piece::Loss(loss)) => {
                    if loss.to.seq <= self.place.position.seq {
                        continue;
                    }
                    let from = self.place.position;
                    self.place.position = loss.to;
                    self.wanted = None;
                    return Ok(Some(Item::Gap(Loss { from, ..loss })));
                }
                None => return self.after_segment(),
            }
        }
    }

    /// The segment has no more to say for now: another one follows, or the ring.
    fn after_segment(&mut self) -> Result<Option<Item>, SegmentError> {
        let Some(name) = self.segment.as_ref().map(|segment| segment.name) else { return Ok(None) };
        let segments = self.segments()?;
        let here = match segments.iter().find(|entry| entry.name == name) {
            Some(entry) => match self.whereabouts(entry)? {
                Whereabouts::Here(entry) => Some(entry),
                // Read to its end and moved or removed meanwhile: nothing has come in its place.
                Whereabouts::Removed | Whereabouts::Away(_) => None,
            },
            None => None,
        };
        let Some(segment) = &mut self.segment else { return Ok(None) };
        if here.is_some_and(|entry| segment.is_replaced(&entry)) {
            self.segment = None;
            return Ok(None);
        }
        let Some(newer) = segments.iter().find(|entry| entry.name > name).cloned() else {
            return self.beyond_segments();
        };
        // Whoever began the newer one had ended this one: what does not hold in it by now never will.
        if !segment.reader.is_sealed() {
            segment.reader.settle()?;
            if segment.reader.position().seq < segment.reader.end().seq {
                return Ok(None);
            }
        }
        self.segment = None;
        if newer.name.series != self.place.series {
            return self.enter_series(&newer);
        }
        self.enter(&newer)
    }

    /// Goes into a segment that begins where we are, or before, or after a hole.
    fn enter(&mut self, entry: &SegmentEntry) -> Result<Option<Item>, SegmentError> {
        let was_moved = entry.state == SegmentState::Removed;
        let whereabouts = self.whereabouts(entry)?;
        let readable = match &whereabouts {
            Whereabouts::Here(entry) => Some(entry),
            Whereabouts::Removed | Whereabouts::Away(_) => None,
        };
        let Some(entry) = readable else {
            let end = legible(footer_of(entry))?.map_or(self.place.position, |footer| footer.end);
            // Later segments are looked for after it, by name.
            let next = self.segments()?.into_iter().find(|later| later.name > entry.name);
            let from = self.place.position;
            if end.seq > from.seq {
                if let Whereabouts::Away(why) = whereabouts {
                    return Ok(self.wait_for(why));
                }
                self.place.position = end;
                return Ok(Some(Item::Gap(Loss { from, to: end, cause: LossCause::Removed })));
            }
            return match next {
                Some(next) if next.name.series == self.place.series => self.enter(&next),
                Some(next) => self.enter_series(&next),
                None => self.beyond_segments(),
            };
        };
        let mut segment = match self.open_patiently(entry)? {
            Ok(Some(segment)) => segment,
            Ok(None) => return Ok(None),
            Err(waits) => return Ok(waits),
        };
        let header = segment.reader.header();
        let found = (header.series, header.base.pos, &header.stream);
        if was_moved && found != (entry.name.series, entry.name.base_pos, &self.spec.stream) {
            let what = format!("{} holds another segment than its name says", entry.path.display());
            return Ok(self.wait_for(what));
        }
        let base = header.base;
        let from = self.place.position;
        let hole = base.seq > from.seq;
        if !hole {
            segment.reader.seek(from.seq)?;
        }
        self.segment = Some(segment);
        if hole {
            self.place.position = base;
            self.wanted = None;
            return Ok(Some(Item::Gap(Loss { from, to: base, cause: LossCause::MissingSegment })));
        }
        Ok(None)
    }

    fn enter_series(&mut self, entry: &SegmentEntry) -> Result<Option<Item>, SegmentError> {
        // Where the first segment is damaged, the numbering begins with the first one that says where it stands.
        let mut base = None;
        let series = entry.name.series;
        for entry in self.segments()?.iter().filter(|later| later.name >= entry.name) {
            if base.is_some() || entry.name.series != series {
                break;
            }
            base = match entry.state {
                SegmentState::Removed => legible(footer_of(entry))?.map(|footer| footer.base),
                SegmentState::Open | SegmentState::Sealed => match self.open_patiently(entry)? {
                    Ok(segment) => segment.map(|segment| segment.reader.header().base),
                    Err(waits) => return Ok(waits),
                },
            };
        }
        let Some(base) = base else { return Ok(Some(Item::Empty)) };
        self.place = Place { series: entry.name.series, position: base };
        self.wanted = None;
        Ok(Some(Item::Series(self.place)))
    }

    /// Opens the segment that holds the place.
    fn open_segment(&mut self) -> Result<Opened, SegmentError> {
        let segments = self.segments()?;
        let here = segments
            .iter()
            .rfind(|entry| {
                entry.name.series == self.place.series && entry.name.base_pos <= self.place.position.pos
            })
            .cloned();
        let Some(entry) = here else { return Ok(Opened::No) };
        if !matches!(self.whereabouts(&entry)?, Whereabouts::Here(_)) {
            return Ok(Opened::No);
        }
        let entered = self.enter(&entry)?;
        Ok(match (&self.segment, entered) {
            (Some(_), _) => Opened::Yes,
            (None, Some(Item::Empty)) => Opened::Waits,
            (None, _) => Opened::No,
        })
    }

    /// No segment has what we want: the ring, a later segment, a gap, or nothing yet.
    fn beyond_segments(&mut self) -> Result<Option<Item>, SegmentError> {
        if self.segment.is_none() {
            // A removed segment here, or a hole before the next one, that the ring cannot fill either.
            let segments = self.segments()?;
            let here = segments.iter().rfind(|entry| {
                entry.name.series == self.place.series && entry.name.base_pos <= self.place.position.pos
            });
            if let Some(entry) = here.filter(|entry| entry.state == SegmentState::Removed) {
                let end = legible(footer_of(entry))?.map_or(self.place.position, |footer| footer.end);
                if end.seq > self.place.position.seq {
                    return self.enter(&entry.clone());
                }
            }
            let place = self.place;
            let later = segments.iter().find(|entry| {
                entry.name.series > place.series
                    || (entry.name.series == place.series && entry.name.base_pos > place.position.pos)
            });
            if let Some(entry) = later.cloned() {
                return if entry.name.series == place.series {
                    self.enter(&entry)
                } else {
                    self.enter_series(&entry)
                };
            }
        }
        if self.ring.is_none() && !self.attach()? && self.ring.is_none() {
            return Ok(Some(Item::Empty));
        }
        let Some(ring) = &mut self.ring else { return Ok(Some(Item::Empty)) };
        if ring.series != self.place.series {
            // The place's ring is gone; once no recorder can bring the rest of it any more, the new one begins.
            if ring.series > self.place.series && self.give_up_waiting() {
                let Some(ring) = &self.ring else { return Ok(Some(Item::Empty)) };
                self.place = Place { series: ring.series, position: ring.consumer.position() };
                self.segment = None;
                self.wanted = None;
                self.source = Source::Ring;
                return Ok(Some(Item::Series(self.place)));
            }
            return Ok(Some(Item::Empty));
        }
        // Lets a consumer that was lapped while segments were read notice it.
        let mut lapped = None;
        while ring.consumer.position().seq < self.place.position.seq {
            match ring.consumer.peek() {
                Poll::Record(_) => ring.consumer.skip(),
                Poll::Gap(gap) => lapped = Some(gap.cause),
                _ => break,
            }
        }
        if ring.consumer.position().seq <= self.place.position.seq {
            match ring.consumer.peek() {
                Poll::Gap(gap) => lapped = Some(gap.cause),
                Poll::Empty | Poll::Closed if self.place.position.seq < ring.consumer.first().seq => {
                    return Ok(Some(Item::Empty));
                }
                _ => {
                    self.source = Source::Ring;
                    return Ok(None);
                }
            }
        }
        let to = ring.consumer.position();
        if to.seq <= self.place.position.seq {
            self.source = Source::Ring;
            return Ok(None);
        }
        let cause = lapped.map(LossCause::from);
        let wanted = *self
            .wanted
            .get_or_insert(Wanted { cause: cause.unwrap_or(LossCause::Lapped), since: Instant::now() });
        if !self.give_up_waiting() {
            return Ok(Some(Item::Empty));
        }
        let from = self.place.position;
        self.place.position = to;
        self.wanted = None;
        self.segment = None;
        self.source = Source::Ring;
        Ok(Some(Item::Gap(Loss { from, to, cause: wanted.cause })))
    }

    /// Whether what is neither in the ring nor in the segments will not come any more.
    fn give_up_waiting(&mut self) -> bool {
        let wanted =
            *self.wanted.get_or_insert(Wanted { cause: LossCause::Recreated, since: Instant::now() });
        match &self.spec.archive {
            None => true,
            Some(archive) => {
                !is_recorded(archive, &self.spec.stream) && wanted.since.elapsed() >= self.spec.patience
            }
        }
    }
}
