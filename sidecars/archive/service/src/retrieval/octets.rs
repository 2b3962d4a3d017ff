//! The octets of a row: out of its segment, block by block, each block held against its checksum.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use fep_bus::{Colour as BusColour, Record};
use fep_catalogue::{Colour, Segment, Store, Tier};
use fep_segments::{Piece, ReadAt, RecordAt, SegmentName, SegmentReader, SegmentState, Stream, list};
use tokio::runtime::Handle;

use super::Error;
use super::row::{Columns, Row};

/// Segments held open: rows of several rings come in turn.
const OPEN_MAX: usize = 32;
/// As the index says of rows whose record was in no segment file when the row was made.
const NOT_IN_A_SEGMENT: i64 = -1;

/// A segment's octets: a file, or an object of the store.
enum Medium {
    File(File),
    Object { store: Store, key: String, octets: u64, runtime: Handle },
}

impl ReadAt for Medium {
    fn len(&self) -> io::Result<u64> {
        match self {
            Medium::File(file) => ReadAt::len(file),
            Medium::Object { octets, .. } => Ok(*octets),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Medium::File(file) => ReadAt::read_at(file, into, offset),
            Medium::Object { store, key, octets, runtime } => {
                let end = (*octets).min(offset + into.len() as u64);
                if offset >= end {
                    return Ok(0);
                }
                let found = runtime.block_on(store.get_range(key, offset, end)).map_err(io::Error::other)?;
                let len = found.len().min(into.len());
                into[..len].copy_from_slice(&found[..len]);
                Ok(len)
            }
        }
    }
}

struct Sealed {
    colour: Colour,
    ring: String,
    name: SegmentName,
    reader: SegmentReader<Medium>,
}

/// A segment that grows, or grew when the row was made.
struct Growing {
    colour: Colour,
    ring: String,
    series: u64,
    reader: SegmentReader<File>,
}

/// Reads payloads. Blocking: for a thread of its own.
pub struct Octets {
    archive: PathBuf,
    store: Store,
    runtime: Handle,
    segments: Vec<Segment>,
    sealed: VecDeque<Sealed>,
    growing: Vec<Growing>,
    payload: Vec<u8>,
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
    /// Of segments below `archive` or in `store`; `segments` tells which are in the store only.
    #[must_use]
    pub fn new(archive: PathBuf, store: Store, runtime: Handle, segments: Vec<Segment>) -> Octets {
        Octets {
            archive,
            store,
            runtime,
            segments,
            sealed: VecDeque::new(),
            growing: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// The octets of a row of this ring.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the segment does not hold what the index says; otherwise the disk's or the store's.
    pub fn of(
        &mut self,
        colour: Colour,
        ring: &str,
        columns: &Columns,
        row: &Row,
    ) -> Result<Payload<'_>, Error> {
        let (seq, offset) = (row.number(columns.seq) as u64, row.number(columns.offset));
        if offset == NOT_IN_A_SEGMENT {
            return self.of_tail(colour, ring, row.number(columns.series) as u64, seq);
        }
        let name = SegmentName {
            series: row.number(columns.series) as u64,
            base_pos: row.number(columns.segment) as u64,
        };
        let index = self.reader(colour, ring, name)?;
        match self.sealed[index].reader.record_at(offset as u64)? {
            RecordAt::Record(view) if view.record.seq == seq => {
                let record = view.record;
                self.payload.clear();
                self.payload.extend_from_slice(view.payload);
                Ok(Payload::Octets(&self.payload, record))
            }
            RecordAt::Record(_) | RecordAt::None => {
                Err(Error::damaged(colour, ring, name, format!("record {seq} is not at offset {offset}")))
            }
            RecordAt::Damaged(error) => Err(Error::damaged(colour, ring, name, error.to_string())),
        }
    }

    /// A record that was still in the ring when its row was made: by now, most likely, at the end of the open segment.
    fn of_tail(&mut self, colour: Colour, ring: &str, series: u64, seq: u64) -> Result<Payload<'_>, Error> {
        let holds = |growing: &Growing| {
            growing.colour == colour
                && growing.ring == ring
                && growing.series == series
                && growing.reader.header().base.seq <= seq
                && !(growing.reader.is_sealed() && growing.reader.end().seq <= seq)
        };
        let index = match self.growing.iter().position(holds) {
            Some(index) => index,
            None => {
                let Some(reader) = self.segment_of(colour, ring, series, seq)? else {
                    return Ok(Payload::NotYet);
                };
                self.growing.retain(|growing| growing.colour != colour || growing.ring != ring);
                self.growing.push(Growing { colour, ring: ring.to_owned(), series, reader });
                self.growing.len() - 1
            }
        };
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

    /// The segment of a series that begins last at or before this record.
    fn segment_of(
        &self,
        colour: Colour,
        ring: &str,
        series: u64,
        seq: u64,
    ) -> Result<Option<SegmentReader<File>>, Error> {
        let entries = list(&self.archive, &Stream::new(bus_colour(colour), ring))?;
        for entry in entries.iter().rev() {
            if entry.name.series != series || entry.state == SegmentState::Removed {
                continue;
            }
            // It may be sealed under its other name while we look: then the next look finds it.
            let Ok(reader) = SegmentReader::open_growing(&entry.path) else { continue };
            if reader.header().base.seq <= seq {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    fn reader(&mut self, colour: Colour, ring: &str, name: SegmentName) -> Result<usize, Error> {
        let here = |open: &Sealed| open.colour == colour && open.ring == ring && open.name == name;
        if let Some(index) = self.sealed.iter().position(here) {
            return Ok(index);
        }
        if self.sealed.len() == OPEN_MAX {
            self.sealed.pop_front();
        }
        let reader = self.open_segment(colour, ring, name)?;
        self.sealed.push_back(Sealed { colour, ring: ring.to_owned(), name, reader });
        Ok(self.sealed.len() - 1)
    }

    fn open_segment(
        &self,
        colour: Colour,
        ring: &str,
        name: SegmentName,
    ) -> Result<SegmentReader<Medium>, Error> {
        let facts = self.segments.iter().find(|segment| {
            let facts = &segment.facts;
            facts.colour == colour
                && facts.ring == ring
                && facts.series == name.series
                && facts.base_pos == name.base_pos
        });
        if let Some(segment) = facts
            && segment.tier == Tier::Warm
            && let Some(object) = &segment.object
        {
            let medium = Medium::Object {
                store: self.store.clone(),
                key: object.key.clone(),
                octets: object.octets,
                runtime: self.runtime.clone(),
            };
            return Ok(SegmentReader::of(medium, std::path::Path::new(&object.key))?);
        }
        let path = Stream::new(bus_colour(colour), ring).directory(&self.archive).join(name.sealed_file());
        match File::open(&path) {
            Ok(file) => Ok(SegmentReader::of(Medium::File(file), &path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::damaged(colour, ring, name, format!("{} is not there", path.display())))
            }
            Err(source) => Err(Error::Io { path, source }),
        }
    }
}

/// The same colour, as the bus has it.
#[must_use]
pub fn bus_colour(colour: Colour) -> BusColour {
    match colour {
        Colour::Black => BusColour::Black,
        Colour::Red => BusColour::Red,
    }
}
