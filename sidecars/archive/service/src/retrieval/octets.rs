//! The octets of a row: out of its segment, block by block, each block held against its checksum.
//!
//! Where the recorder's file is damaged or gone, the segment's copy in the object store is read instead, and
//! [`Octets::from_copies`] says so.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;

use fep_archive_query::Unit;
use fep_bus::Record;
use fep_catalogue::{Colour, ObjectAt, Segment, SegmentId, StoredObject, Tier};
use fep_segments::{
    Piece, ReadAt, RecordAt, SegmentError, SegmentName, SegmentReader, SegmentState, Stream, list,
    open_listed,
};
use tokio::runtime::Handle;

use super::Error;
use super::extracted::Taking;
use super::plan::Archive;
use super::row::{Columns, Row};

/// Segments held open: rows of several rings come in turn.
const OPEN_MAX: usize = 32;
/// As the index says of rows whose record was in no segment file when the row was made.
pub(super) const NOT_IN_A_SEGMENT: i64 = -1;

/// A segment's octets: a file, or an object of the store.
pub(super) enum Medium {
    File(File),
    Object(ObjectAt),
}

impl ReadAt for Medium {
    fn len(&self) -> io::Result<u64> {
        match self {
            Medium::File(file) => ReadAt::len(file),
            Medium::Object(object) => object.len(),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Medium::File(file) => ReadAt::read_at(file, into, offset),
            Medium::Object(object) => object.read_at(into, offset),
        }
    }
}

pub(super) struct Sealed {
    pub(super) colour: Colour,
    pub(super) ring: String,
    pub(super) name: SegmentName,
    pub(super) reader: SegmentReader<Medium>,
    /// Whether the object store is read: there is nothing else left then.
    pub(super) is_copy: bool,
}

impl Sealed {
    pub(super) fn id(&self) -> SegmentId {
        id_of(self.colour, &self.ring, self.name)
    }
}

/// A segment that grows, or grew when the row was made.
pub(super) struct Growing {
    colour: Colour,
    ring: String,
    series: u64,
    pub(super) reader: SegmentReader<File>,
}

/// Reads payloads. Blocking: for a thread of its own.
pub struct Octets {
    pub(super) archive: Archive,
    runtime: Handle,
    segments: Vec<Segment>,
    pub(super) sealed: VecDeque<Sealed>,
    pub(super) growing: Vec<Growing>,
    /// Extraction of packets from rings of frames.
    pub(super) takings: Vec<Taking>,
    payload: Vec<u8>,
    from_copies: BTreeMap<SegmentId, String>,
    /// Rings of which it is known whether packets lie in frames.
    kinds: Vec<(Colour, String, bool)>,
}

/// What became of a request for octets.
#[derive(Debug)]
pub enum Payload<'a> {
    /// Here, with the record's header.
    Octets(&'a [u8], Record),
    /// The record is not in a file yet.
    NotYet,
}

impl Octets {
    /// Of the segments of an archive; `segments` tells which are in the store only.
    #[must_use]
    pub fn new(archive: Archive, runtime: Handle, segments: Vec<Segment>) -> Octets {
        Octets {
            archive,
            runtime,
            segments,
            sealed: VecDeque::new(),
            growing: Vec::new(),
            takings: Vec::new(),
            payload: Vec::new(),
            from_copies: BTreeMap::new(),
            kinds: Vec::new(),
        }
    }

    /// Segments that were read from their copy in the object store because their file could not be used, and why.
    #[must_use]
    pub fn from_copies(&self) -> &BTreeMap<SegmentId, String> {
        &self.from_copies
    }

    /// The octets of a row of this ring.
    ///
    /// # Errors
    /// [`Error::Damaged`] where neither the segment's file nor its copy holds what the index says; otherwise the disk's or
    /// the store's.
    pub fn of(
        &mut self,
        colour: Colour,
        ring: &str,
        columns: &Columns,
        row: &Row,
    ) -> Result<Payload<'_>, Error> {
        let (seq, offset) = (row.number(columns.seq) as u64, row.number(columns.offset));
        if columns.unit == Unit::Packets && self.is_of_frames(colour, ring, columns, row)? {
            return match self.of_frames(colour, ring, columns, row)? {
                Some(payload) => Ok(payload),
                None => Err(Error::gone(colour, ring, seq as i64)),
            };
        }
        if offset == NOT_IN_A_SEGMENT {
            return self.of_tail(colour, ring, row.number(columns.series) as u64, seq);
        }
        let name = SegmentName {
            series: row.number(columns.series) as u64,
            base_pos: row.number(columns.segment) as u64,
        };
        let index = self.reader(colour, ring, name)?;
        let record = match self.record(index, seq, offset as u64) {
            Err(error) if !self.sealed[index].is_copy => {
                self.turn_to_copy(index, error)?;
                self.record(index, seq, offset as u64)?
            }
            found => found?,
        };
        Ok(Payload::Octets(&self.payload, record))
    }

    /// Whether a row of packets stands for a packet that lies in recorded frames.
    fn is_of_frames(
        &mut self,
        colour: Colour,
        ring: &str,
        columns: &Columns,
        row: &Row,
    ) -> Result<bool, Error> {
        // A ring has one kind of records for as long as it has a name.
        if let Some((.., is_of_frames)) =
            self.kinds.iter().find(|(of, name, _)| *of == colour && name == ring)
        {
            return Ok(*is_of_frames);
        }
        let series = row.number(columns.series) as u64;
        let begin = (row.number(columns.segment), row.number(columns.offset));
        let is_of_frames = match self.frame_at(colour, ring, series, begin) {
            Ok(frame) => frame.is_some(),
            // What is wrong comes up again when the record itself is read.
            Err(Error::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.kinds.push((colour, ring.to_owned(), is_of_frames));
        Ok(is_of_frames)
    }

    /// Reads a record into `payload`.
    fn record(&mut self, index: usize, seq: u64, offset: u64) -> Result<Record, Error> {
        let open = &mut self.sealed[index];
        let place = if open.is_copy { "its copy" } else { "its file" };
        let problem = match open.reader.record_at(offset)? {
            RecordAt::Record(view) if view.record.seq == seq => {
                self.payload.clear();
                self.payload.extend_from_slice(view.payload);
                return Ok(view.record);
            }
            RecordAt::Record(_) | RecordAt::None => format!("record {seq} is not at offset {offset}"),
            RecordAt::Damaged(error) => error.to_string(),
        };
        Err(Error::Damaged { id: open.id(), problem: format!("{place}: {problem}") })
    }

    /// A record that was still in the ring when its row was made: by now, most likely, at the end of the open segment.
    fn of_tail(&mut self, colour: Colour, ring: &str, series: u64, seq: u64) -> Result<Payload<'_>, Error> {
        let Some(index) = self.growing(colour, ring, series, seq)? else { return Ok(Payload::NotYet) };
        let reader = &mut self.growing[index].reader;
        if reader.position().seq != seq {
            reader.seek(seq)?;
        }
        match reader.next()? {
            Some(Piece::Record(view)) if view.record.seq == seq => {
                let record = view.record;
                self.payload.clear();
                self.payload.extend_from_slice(view.payload);
                Ok(Payload::Octets(&self.payload, record))
            }
            _ => Ok(Payload::NotYet),
        }
    }

    /// The open segment that holds a record, or will.
    pub(super) fn growing(
        &mut self,
        colour: Colour,
        ring: &str,
        series: u64,
        seq: u64,
    ) -> Result<Option<usize>, Error> {
        let holds = |growing: &Growing| {
            growing.colour == colour
                && growing.ring == ring
                && growing.series == series
                && growing.reader.header().base.seq <= seq
                && !(growing.reader.is_sealed() && growing.reader.end().seq <= seq)
        };
        if let Some(index) = self.growing.iter().position(holds) {
            return Ok(Some(index));
        }
        let Some(reader) = self.segment_of(colour, ring, series, seq)? else { return Ok(None) };
        self.growing.retain(|growing| growing.colour != colour || growing.ring != ring);
        self.growing.push(Growing { colour, ring: ring.to_owned(), series, reader });
        Ok(Some(self.growing.len() - 1))
    }

    /// The segment of a series that begins last at or before this record.
    fn segment_of(
        &self,
        colour: Colour,
        ring: &str,
        series: u64,
        seq: u64,
    ) -> Result<Option<SegmentReader<File>>, Error> {
        let stream = Stream::new(colour, ring);
        let entries = list(&self.archive.segments, &stream)?;
        for entry in entries.iter().rev() {
            if entry.name.series != series || entry.state == SegmentState::Removed {
                continue;
            }
            // It may be sealed while we look: it has another name then. What is damaged holds nothing for us.
            let opened = match open_listed(&self.archive.segments, &stream, entry) {
                Err(SegmentError::Format { .. }) => None,
                opened => opened?,
            };
            let Some(reader) = opened else { continue };
            if reader.header().base.seq <= seq {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    pub(super) fn reader(&mut self, colour: Colour, ring: &str, name: SegmentName) -> Result<usize, Error> {
        let here = |open: &Sealed| open.colour == colour && open.ring == ring && open.name == name;
        if let Some(index) = self.sealed.iter().position(here) {
            return Ok(index);
        }
        if self.sealed.len() == OPEN_MAX {
            self.sealed.pop_front();
        }
        let (reader, is_copy) = self.open_segment(colour, ring, name)?;
        self.sealed.push_back(Sealed { colour, ring: ring.to_owned(), name, reader, is_copy });
        Ok(self.sealed.len() - 1)
    }

    fn open_segment(
        &mut self,
        colour: Colour,
        ring: &str,
        name: SegmentName,
    ) -> Result<(SegmentReader<Medium>, bool), Error> {
        let id = id_of(colour, ring, name);
        let known = self.segments.iter().find(|segment| segment.facts.id() == id);
        if let Some(segment) = known
            && segment.tier == Tier::Warm
            && let Some(object) = &segment.object
        {
            return Ok((self.open_object(object.clone())?, true));
        }
        let directory = Stream::new(colour, ring).directory(&self.archive.segments);
        match open_file(&directory.join(name.sealed_file())) {
            Ok(reader) => Ok((reader, false)),
            Err(error) => Ok((self.open_copy(&id, of_file(&id, error))?, true)),
        }
    }

    /// Reads on in the copy of a segment whose file turned out not to hold what it should.
    pub(super) fn turn_to_copy(&mut self, index: usize, error: Error) -> Result<(), Error> {
        let id = self.sealed[index].id();
        let reader = self.open_copy(&id, error)?;
        (self.sealed[index].reader, self.sealed[index].is_copy) = (reader, true);
        Ok(())
    }

    /// The copy of a segment whose file cannot be used; without one, what is wrong with the file. The catalogue is asked
    /// anew: a file that is gone may have been given up for its copy since the plan was made.
    fn open_copy(&mut self, id: &SegmentId, error: Error) -> Result<SegmentReader<Medium>, Error> {
        let segment = self.runtime.block_on(self.archive.catalogue.segment(id))?;
        let Some((tier, object)) = segment.and_then(|segment| Some((segment.tier, segment.object?))) else {
            return Err(error);
        };
        let reader = self.open_object(object)?;
        if tier != Tier::Warm {
            let problem = match error {
                Error::Damaged { problem, .. } => problem,
                other => other.to_string(),
            };
            tracing::warn!("segment {id} is read from its copy in the object store: {problem}");
            self.from_copies.insert(id.clone(), problem);
        }
        Ok(reader)
    }

    fn open_object(&self, object: StoredObject) -> Result<SegmentReader<Medium>, Error> {
        let key = object.key.clone();
        let object = ObjectAt::new(self.archive.store.clone(), object, self.runtime.clone());
        Ok(SegmentReader::of(Medium::Object(object), Path::new(&key))?)
    }
}

fn open_file(path: &Path) -> Result<SegmentReader<Medium>, SegmentError> {
    SegmentReader::of(Medium::File(fep_segments::open_file(path)?), path)
}

/// A file that is missing or no segment is damage; one that cannot be opened for another reason is not.
fn of_file(id: &SegmentId, error: SegmentError) -> Error {
    match &error {
        SegmentError::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => error.into(),
        _ => Error::Damaged { id: id.clone(), problem: format!("its file: {error}") },
    }
}

pub(super) fn id_of(colour: Colour, ring: &str, name: SegmentName) -> SegmentId {
    SegmentId(format!("{colour}/{ring}/{name}"))
}
