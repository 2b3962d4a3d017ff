//! What is played: records in order, from any source that can be wound to a time.

use std::path::{Path, PathBuf};

use fep_bus::{Colour, Record};
use fep_segments::{Piece, SegmentEntry, SegmentError, SegmentReader, SegmentState, Stream, list};

/// A record to be played, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Index of its stream in [`Reel::streams`].
    pub stream: u16,
    /// Sequence number, tag, length, as recorded.
    pub record: Record,
}

/// Records to be played, in the order in which they shall come.
pub trait Reel: Send {
    /// The streams they come from. All of one colour: red and black data are never played together.
    fn streams(&self) -> &[Stream];

    /// The next record; its payload is put into `payload`, which then holds exactly it. `None` at the end.
    ///
    /// # Errors
    /// When the source cannot be read any more; what is damaged or missing in it is left out and counted.
    fn next_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Played>, ReelError>;

    /// Goes on with the first record received at this time or later, nanoseconds of TAI since 1958.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn wind(&mut self, rx_tai_ns: i64) -> Result<(), ReelError>;

    /// Records that should be here and are not: lost, or damaged.
    fn missing_records(&self) -> u64;
}

/// A source cannot be read any more.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReelError(#[from] Box<dyn std::error::Error + Send + Sync>);

impl From<SegmentError> for ReelError {
    fn from(error: SegmentError) -> ReelError {
        ReelError(error.into())
    }
}

/// Records in memory: a handful, or a test's.
#[derive(Debug, Clone)]
pub struct Shelf {
    streams: Vec<Stream>,
    records: Vec<(Played, Vec<u8>)>,
    next: usize,
}

impl Shelf {
    /// These records, as if they came from these streams.
    #[must_use]
    pub fn new(streams: Vec<Stream>, records: Vec<(Played, Vec<u8>)>) -> Shelf {
        Shelf { streams, records, next: 0 }
    }
}

impl Reel for Shelf {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn next_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Played>, ReelError> {
        let Some((played, octets)) = self.records.get(self.next) else { return Ok(None) };
        self.next += 1;
        payload.clone_from(octets);
        Ok(Some(*played))
    }

    fn wind(&mut self, rx_tai_ns: i64) -> Result<(), ReelError> {
        let found = self.records.iter().position(|(played, _)| played.record.tag.received.0 >= rx_tai_ns);
        self.next = found.unwrap_or(self.records.len());
        Ok(())
    }

    fn missing_records(&self) -> u64 {
        0
    }
}

/// Whether a record is wanted.
pub type Wanted = Box<dyn FnMut(&Record) -> bool + Send>;

/// A span of time of one or several recorded streams, merged by time of reception.
pub struct SegmentReel {
    streams: Vec<Stream>,
    tapes: Vec<Tape>,
    from_tai_ns: i64,
    until_tai_ns: i64,
    wanted: Option<Wanted>,
    missing_records: u64,
}

/// One stream of a [`SegmentReel`].
struct Tape {
    entries: Vec<SegmentEntry>,
    next_entry: usize,
    reader: Option<SegmentReader>,
    /// The record that comes next from here, when several streams are merged.
    head: Option<Record>,
    payload: Vec<u8>,
    ended: bool,
}

impl SegmentReel {
    /// Everything that these streams hold of the time from `from_tai_ns` on and before `until_tai_ns`.
    ///
    /// # Errors
    /// When the archive cannot be read, no stream is named, or red and black ones are.
    pub fn open(
        archive: &Path,
        streams: Vec<Stream>,
        from_tai_ns: i64,
        until_tai_ns: i64,
    ) -> Result<SegmentReel, ReelError> {
        let Some(first) = streams.first() else { return Err(refused("no stream is named")) };
        if streams.iter().any(|stream| stream.colour != first.colour) {
            return Err(refused("red and black streams are never played together"));
        }
        if streams.len() > usize::from(u16::MAX) {
            return Err(refused("more streams than 65535"));
        }
        let tapes = streams.iter().map(|stream| Tape::open(archive, stream)).collect::<Result<_, _>>()?;
        let mut reel =
            SegmentReel { streams, tapes, from_tai_ns, until_tai_ns, wanted: None, missing_records: 0 };
        reel.wind(from_tai_ns)?;
        Ok(reel)
    }

    /// Leaves out what `wanted` does not want.
    #[must_use]
    pub fn with(mut self, wanted: Wanted) -> SegmentReel {
        self.wanted = Some(wanted);
        self
    }

    /// Reads on in one stream until a record is wanted; `None` at its end.
    fn read(&mut self, index: usize, payload: &mut Vec<u8>) -> Result<Option<Record>, ReelError> {
        let (from, until) = (self.from_tai_ns, self.until_tai_ns);
        loop {
            let tape = &mut self.tapes[index];
            let Some(reader) = &mut tape.reader else {
                if !tape.open_next(from, until)? {
                    return Ok(None);
                }
                continue;
            };
            match reader.next()? {
                None => tape.reader = None,
                Some(Piece::Loss(loss)) => self.missing_records += loss.records(),
                Some(Piece::Record(view)) => {
                    let record = view.record;
                    // Times of reception need not grow: a station's clock was set back.
                    let within = (from..until).contains(&record.tag.received.0);
                    if within && self.wanted.as_mut().is_none_or(|wanted| wanted(&record)) {
                        payload.clear();
                        payload.extend_from_slice(view.payload);
                        return Ok(Some(record));
                    }
                }
            }
        }
    }

    /// Fills the head of every stream that has none and has not ended.
    fn fill_heads(&mut self) -> Result<(), ReelError> {
        for index in 0..self.tapes.len() {
            if self.tapes[index].head.is_none() && !self.tapes[index].ended {
                let mut payload = std::mem::take(&mut self.tapes[index].payload);
                let head = self.read(index, &mut payload)?;
                let tape = &mut self.tapes[index];
                tape.ended = head.is_none();
                tape.head = head;
                tape.payload = payload;
            }
        }
        Ok(())
    }
}

impl Reel for SegmentReel {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn next_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Played>, ReelError> {
        if self.tapes.len() == 1 {
            let record = self.read(0, payload)?;
            return Ok(record.map(|record| Played { stream: 0, record }));
        }
        self.fill_heads()?;
        let heads = self.tapes.iter().enumerate();
        let first = heads
            .filter_map(|(index, tape)| Some((tape.head?.tag.received.0, index)))
            .min()
            .map(|(_, index)| index);
        let Some(index) = first else { return Ok(None) };
        let tape = &mut self.tapes[index];
        std::mem::swap(payload, &mut tape.payload);
        Ok(tape.head.take().map(|record| Played { stream: index as u16, record }))
    }

    fn wind(&mut self, rx_tai_ns: i64) -> Result<(), ReelError> {
        let from = rx_tai_ns.max(self.from_tai_ns);
        self.missing_records = 0;
        for tape in &mut self.tapes {
            *tape = Tape { entries: std::mem::take(&mut tape.entries), ..Tape::empty() };
            if tape.open_next(from, self.until_tai_ns)?
                && let Some(reader) = &mut tape.reader
            {
                reader.seek_time(from)?;
            }
        }
        Ok(())
    }

    fn missing_records(&self) -> u64 {
        self.missing_records
    }
}

impl Tape {
    fn empty() -> Tape {
        Tape {
            entries: Vec::new(),
            next_entry: 0,
            reader: None,
            head: None,
            payload: Vec::new(),
            ended: false,
        }
    }

    fn open(archive: &Path, stream: &Stream) -> Result<Tape, ReelError> {
        let mut entries = list(archive, stream)?;
        entries.retain(|entry| entry.state != SegmentState::Removed);
        Ok(Tape { entries, ..Tape::empty() })
    }

    /// Opens the next segment that may hold something of the time; `false` when there is none.
    fn open_next(&mut self, from_tai_ns: i64, until_tai_ns: i64) -> Result<bool, ReelError> {
        while let Some(entry) = self.entries.get(self.next_entry) {
            self.next_entry += 1;
            let reader = open(entry)?;
            let within = reader.footer().is_none_or(|footer| {
                footer.records == 0
                    || (footer.rx_max_tai_ns >= from_tai_ns && footer.rx_min_tai_ns < until_tai_ns)
            });
            if within {
                self.reader = Some(reader);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Opens a segment; one that was still growing when it was listed may be sealed by now, under another name.
fn open(entry: &SegmentEntry) -> Result<SegmentReader, ReelError> {
    if entry.state == SegmentState::Sealed {
        return Ok(SegmentReader::open(&entry.path)?);
    }
    match SegmentReader::open_growing(&entry.path) {
        Err(SegmentError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let sealed: PathBuf = entry.path.with_file_name(entry.name.sealed_file());
            Ok(SegmentReader::open(&sealed)?)
        }
        opened => Ok(opened?),
    }
}

fn refused(what: &str) -> ReelError {
    ReelError(what.into())
}

/// The colour that all streams of a reel have; black for a reel without any.
pub(crate) fn colour_of(reel: &dyn Reel) -> Colour {
    reel.streams().first().map_or(Colour::Black, |stream| stream.colour)
}
