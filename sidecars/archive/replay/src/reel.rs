//! What is played: records in order, from any source that can be wound to a time.

use std::fs::File;
use std::path::Path;

use fep_bus::{Colour, Record};
use fep_segments::{
    Footer, Piece, ReadAt, SegmentEntry, SegmentError, SegmentReader, SegmentState, Stream, footer_of, list,
};

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

    /// Records that should be here and are not: lost, damaged, or in what cannot be read.
    fn missing_records(&self) -> u64;

    /// What could not be read since it was wound last.
    fn unread(&self) -> &Unread;
}

/// What a reel could not read and went on behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unread {
    /// Segments, or parts of them.
    pub count: u64,
    /// The first one, and why.
    pub first: Option<String>,
}

/// How many of them are logged; the others are counted.
const LOGGED: u64 = 16;

impl Unread {
    /// Counts one more.
    pub fn note(&mut self, what: String) {
        self.count += 1;
        if self.count <= LOGGED {
            tracing::warn!("{what}: the replay goes on behind it");
        }
        self.first.get_or_insert(what);
    }
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
    unread: Unread,
}

impl Shelf {
    /// These records, as if they came from these streams.
    #[must_use]
    pub fn new(streams: Vec<Stream>, records: Vec<(Played, Vec<u8>)>) -> Shelf {
        Shelf { streams, records, next: 0, unread: Unread::default() }
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

    fn unread(&self) -> &Unread {
        &self.unread
    }
}

/// Whether a record is wanted.
pub type Wanted = Box<dyn FnMut(&Record) -> bool + Send>;

/// A span of time of one or several recorded streams, merged by time of reception. What the disk cannot read, and what was
/// moved or taken away since it was listed, is left out and counted; it is tried again whenever the reel is wound.
pub struct SegmentReel {
    streams: Vec<Stream>,
    tapes: Vec<Tape>,
    from_tai_ns: i64,
    until_tai_ns: i64,
    wanted: Option<Wanted>,
    lacks: Lacks,
}

/// What a reel lacks.
#[derive(Default)]
struct Lacks {
    records: u64,
    unread: Unread,
}

/// One stream of a [`SegmentReel`].
struct Tape<S = File> {
    entries: Vec<SegmentEntry>,
    next_entry: usize,
    reader: Option<SegmentReader<S>>,
    /// Series and number of the record that would come next, behind a segment of which nothing is known but its name.
    unknown_from: Option<(u64, u64)>,
    /// Series and number of the record after the last segment.
    end: Option<(u64, u64)>,
    /// Records before the first one of this time or later are left out.
    not_before_tai_ns: Option<i64>,
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
        let lacks = Lacks::default();
        let mut reel = SegmentReel { streams, tapes, from_tai_ns, until_tai_ns, wanted: None, lacks };
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
    fn read(&mut self, index: usize, payload: &mut Vec<u8>) -> Option<Record> {
        let time = (self.from_tai_ns, self.until_tai_ns);
        let tape = &mut self.tapes[index];
        loop {
            if let Some(record) = tape.read(time, self.wanted.as_mut(), payload, &mut self.lacks) {
                return Some(record);
            }
            if !tape.open_next(time, &mut self.lacks) {
                return None;
            }
        }
    }

    /// Fills the head of every stream that has none and has not ended.
    fn fill_heads(&mut self) {
        for index in 0..self.tapes.len() {
            if self.tapes[index].head.is_none() && !self.tapes[index].ended {
                let mut payload = std::mem::take(&mut self.tapes[index].payload);
                let head = self.read(index, &mut payload);
                let tape = &mut self.tapes[index];
                tape.ended = head.is_none();
                tape.head = head;
                tape.payload = payload;
            }
        }
    }
}

impl Reel for SegmentReel {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn next_record(&mut self, payload: &mut Vec<u8>) -> Result<Option<Played>, ReelError> {
        if self.tapes.len() == 1 {
            let record = self.read(0, payload);
            return Ok(record.map(|record| Played { stream: 0, record }));
        }
        self.fill_heads();
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
        self.lacks = Lacks::default();
        for tape in &mut self.tapes {
            *tape = Tape { entries: std::mem::take(&mut tape.entries), ..Tape::empty() };
            if tape.open_next((from, self.until_tai_ns), &mut self.lacks) {
                tape.seek_time(from);
            }
        }
        Ok(())
    }

    fn missing_records(&self) -> u64 {
        self.lacks.records
    }

    fn unread(&self) -> &Unread {
        &self.lacks.unread
    }
}

impl Tape {
    fn open(archive: &Path, stream: &Stream) -> Result<Tape, ReelError> {
        let mut entries = list(archive, stream)?;
        // What was deleted is not missed; what was moved is.
        entries.retain(|entry| entry.state != SegmentState::Removed || is_stored(entry));
        Ok(Tape { entries, ..Tape::empty() })
    }

    /// Opens the next segment that can be read and may hold something of the time; `false` when there is none.
    fn open_next(&mut self, time: (i64, i64), lacks: &mut Lacks) -> bool {
        while let Some(entry) = self.entries.get(self.next_entry).cloned() {
            self.next_entry += 1;
            let reader = match open(&entry) {
                Ok(reader) => reader,
                Err(why) => {
                    self.pass(&entry, time, why, lacks);
                    continue;
                }
            };
            let (header, footer) = (reader.header(), reader.footer());
            let within = footer.is_none_or(|footer| is_within(footer, time));
            self.settle_unknown(header.series, header.base.seq, within, lacks);
            self.end = Some((header.series, footer.map_or(reader.end().seq, |footer| footer.end.seq)));
            if within {
                self.reader = Some(reader);
                return true;
            }
        }
        false
    }

    /// Goes on behind a segment that cannot be opened. How many records are missing says its footer; where that cannot be read
    /// either, the numbers of its neighbours.
    fn pass(&mut self, entry: &SegmentEntry, time: (i64, i64), why: String, lacks: &mut Lacks) {
        match footer_left(entry) {
            Some(footer) => {
                let within = is_within(&footer, time);
                self.settle_unknown(footer.series, footer.base.seq, within, lacks);
                self.end = Some((footer.series, footer.end.seq));
                if !within {
                    return;
                }
                lacks.records += footer.end.seq.saturating_sub(footer.base.seq);
            }
            None => self.unknown_from = self.unknown_from.or(self.end),
        }
        lacks.unread.note(why);
    }

    /// A segment begins with record `seq`: what lies between it and the last one that is known is missing, if the time goes on
    /// so far.
    fn settle_unknown(&mut self, series: u64, seq: u64, within: bool, lacks: &mut Lacks) {
        if let Some((of, from)) = self.unknown_from.take()
            && of == series
            && within
        {
            lacks.records += seq.saturating_sub(from);
        }
    }
}

impl<S: ReadAt> Tape<S> {
    fn empty() -> Tape<S> {
        Tape {
            entries: Vec::new(),
            next_entry: 0,
            reader: None,
            unknown_from: None,
            end: None,
            not_before_tai_ns: None,
            head: None,
            payload: Vec::new(),
            ended: false,
        }
    }

    /// Reads on in the open segment until a record is wanted; `None` when none is open any more.
    fn read(
        &mut self,
        (from, until): (i64, i64),
        mut wanted: Option<&mut Wanted>,
        payload: &mut Vec<u8>,
        lacks: &mut Lacks,
    ) -> Option<Record> {
        loop {
            match self.reader.as_mut()?.next() {
                Err(error) => self.skip_block((from, until), &error, lacks),
                Ok(None) => self.close(),
                Ok(Some(Piece::Loss(loss))) => lacks.records += loss.records(),
                Ok(Some(Piece::Record(view))) => {
                    let record = view.record;
                    let received = record.tag.received.0;
                    if self.not_before_tai_ns.is_some_and(|not_before| received < not_before) {
                        continue;
                    }
                    self.not_before_tai_ns = None;
                    // Times of reception need not grow: a station's clock was set back.
                    let within = (from..until).contains(&received);
                    if within && wanted.as_mut().is_none_or(|wanted| wanted(&record)) {
                        payload.clear();
                        payload.extend_from_slice(view.payload);
                        return Some(record);
                    }
                }
            }
        }
    }

    /// The segment is read to its end, as far as it is there.
    fn close(&mut self) {
        if let Some(reader) = self.reader.take() {
            // One that grew has another end by now.
            self.end = Some((reader.header().series, reader.position().seq));
        }
    }

    /// Goes on behind the block that the disk cannot read, or behind the segment.
    fn skip_block(&mut self, (from, until): (i64, i64), error: &SegmentError, lacks: &mut Lacks) {
        let Some(reader) = &mut self.reader else { return };
        lacks.unread.note(error.to_string());
        let at = reader.position().seq;
        let index = reader.blocks().partition_point(|block| block.end.seq <= at);
        let next = reader.blocks().get(index).map(|block| {
            let is_within = block.records() > 0 && block.rx_max_tai_ns >= from && block.rx_min_tai_ns < until;
            (block.end.seq, if is_within { block.end.seq.saturating_sub(at) } else { 0 })
        });
        if let Some((seq, records)) = next {
            lacks.records += records;
            if reader.seek(seq).is_ok() && reader.position().seq > at {
                return;
            }
        }
        // What comes behind is not known to the numbers of blocks.
        let behind = next.map_or(at, |(seq, _)| seq);
        lacks.records += self.end.map_or(0, |(_, end)| end.saturating_sub(behind));
        self.reader = None;
    }

    /// Winds the segment to the first record of this time or later.
    fn seek_time(&mut self, from_tai_ns: i64) {
        let Some(reader) = &mut self.reader else { return };
        if reader.seek_time(from_tai_ns).is_ok() {
            return;
        }
        // The block in which it would be cannot be read: it is passed when it comes.
        let found =
            reader.blocks().iter().find(|block| block.records() > 0 && block.rx_max_tai_ns >= from_tai_ns);
        let seq = found.map_or(reader.header().base.seq, |block| block.begin.seq);
        self.not_before_tai_ns = Some(from_tai_ns);
        // A position at the beginning of a block needs nothing of the disk.
        if reader.seek(seq).is_err() {
            self.reader = None;
        }
    }
}

/// Opens a segment; one that was still growing when it was listed may be sealed by now, under another name. Else why not.
fn open(entry: &SegmentEntry) -> Result<SegmentReader, String> {
    let opened = match entry.state {
        SegmentState::Removed => {
            return Err(format!("{}: its octets were moved to the object store", entry.path.display()));
        }
        SegmentState::Sealed => SegmentReader::open(&entry.path),
        SegmentState::Open => match SegmentReader::open_growing(&entry.path) {
            Err(error) if error.is_not_found() => {
                SegmentReader::open(&entry.path.with_file_name(entry.name.sealed_file()))
            }
            opened => opened,
        },
    };
    opened.map_err(|error| error.to_string())
}

/// The footer of a segment that cannot be opened, as far as there is one.
fn footer_left(entry: &SegmentEntry) -> Option<Footer> {
    let at =
        |file: String, state| SegmentEntry { name: entry.name, state, path: entry.path.with_file_name(file) };
    let sealed = at(entry.name.sealed_file(), SegmentState::Sealed);
    let removed = at(entry.name.removed_file(), SegmentState::Removed);
    [sealed, removed].iter().find_map(|entry| footer_of(entry).ok().flatten())
}

/// Whether what is left of a segment says that its octets are in an object store.
fn is_stored(entry: &SegmentEntry) -> bool {
    entry.path.with_file_name(format!("{}.stored", entry.name)).is_file()
}

fn is_within(footer: &Footer, (from, until): (i64, i64)) -> bool {
    footer.records == 0 || (footer.rx_max_tai_ns >= from && footer.rx_min_tai_ns < until)
}

fn refused(what: &str) -> ReelError {
    ReelError(what.into())
}

/// The colour that all streams of a reel have; black for a reel without any.
pub(crate) fn colour_of(reel: &dyn Reel) -> Colour {
    reel.streams().first().map_or(Colour::Black, |stream| stream.colour)
}

#[cfg(test)]
mod tests {
    use std::io;

    use fep_bus::{Position, Tag};
    use fep_record::KIND_FRAME;
    use fep_segments::{Chain, SegmentHeader, SegmentWriter};
    use fep_time::Tai;

    use super::*;

    /// A disk that cannot read these octets.
    struct Failing {
        octets: Vec<u8>,
        from: u64,
        to: u64,
    }

    impl ReadAt for Failing {
        fn len(&self) -> io::Result<u64> {
            Ok(self.octets.len() as u64)
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset < self.to && offset + into.len() as u64 > self.from {
                return Err(io::Error::from_raw_os_error(5));
            }
            ReadAt::read_at(self.octets.as_slice(), into, offset)
        }
    }

    /// One sealed segment of 400 records, one every 10 ns from 0 on.
    fn segment() -> Vec<u8> {
        let archive = tempfile::tempdir().expect("a directory");
        let header = SegmentHeader {
            stream: Stream::new(Colour::Black, "a.frames"),
            schema: "ccsds.frame.v1".to_owned(),
            id: 7,
            instance: 1,
            series: 1,
            base: Position { seq: 1, pos: 0, payload: 0 },
            created_unix_ns: 1,
            previous: None,
        };
        let mut writer = SegmentWriter::create(archive.path(), header).expect("a segment");
        writer.set_block_len(4096);
        for number in 0..400 {
            let received = Tai(number * 10);
            let tag = Tag { kind: KIND_FRAME, received, published: received, ..Tag::default() };
            writer.record(tag, &[1; 100]).expect("written");
        }
        let (path, _) = writer.seal(Chain::default()).expect("sealed");
        std::fs::read(path).expect("readable")
    }

    fn numbers(tape: &mut Tape<Failing>, lacks: &mut Lacks) -> Vec<u64> {
        let mut payload = Vec::new();
        let next = || tape.read((0, i64::MAX), None, &mut payload, lacks).map(|record| record.seq);
        std::iter::from_fn(next).collect()
    }

    // REQ: FEP-ARC-196
    #[test]
    fn a_block_that_the_disk_cannot_read_is_passed_wherever_it_lies_and_its_records_are_counted() {
        let octets = segment();
        let open = |from, to| {
            let source = Failing { octets: octets.clone(), from, to };
            SegmentReader::of(source, Path::new("a.seg")).expect("header and footer can be read")
        };
        let blocks = open(0, 0).blocks().to_vec();
        assert!(blocks.len() > 4);
        for bad in &blocks {
            let from = bad.content_offset();
            let reader = || Tape { reader: Some(open(from, from + 1)), ..Tape::empty() };
            let (mut tape, mut lacks) = (reader(), Lacks::default());
            let expected: Vec<u64> =
                (1..=400).filter(|seq| !(bad.begin.seq..bad.end.seq).contains(seq)).collect();
            assert_eq!(numbers(&mut tape, &mut lacks), expected);
            assert_eq!((lacks.records, lacks.unread.count), (bad.end.seq - bad.begin.seq, 1));
            assert!(lacks.unread.first.is_some_and(|first| first.contains("a.seg")));
            // Wound into it, and right behind it.
            for seq in [bad.begin.seq + 1, bad.end.seq] {
                let (mut tape, mut lacks) = (reader(), Lacks::default());
                tape.seek_time((seq as i64 - 1) * 10);
                let expected: Vec<u64> = (seq.max(bad.end.seq)..=400).collect();
                assert_eq!(numbers(&mut tape, &mut lacks), expected, "from {seq}");
            }
        }
    }
}
