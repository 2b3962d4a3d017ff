//! The octets of packets that were not recorded as such: taken out of the recorded frames again, from the frame in which the
//! wanted one begins to that in which it ends.
//!
//! Rows that follow on one another go on where the one before ended, so that a whole pass reads its frames once.

use std::ops::Range;
use std::sync::Arc;

use fep_bus::{Record, Tag};
use fep_catalogue::{Colour, octets_digest};
use fep_downlink::{Extraction, RecordedFrame};
use fep_mission::Fleet;
use fep_record::{FrameRecord, KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_segments::{Piece, RecordAt, SegmentName};

use super::Error;
use super::octets::{NOT_IN_A_SEGMENT, Octets, Payload};
use super::row::{Columns, Row};

/// Frames that are read over to the next wanted packet; beyond, extraction begins again where that one begins.
const FRAMES_OVER_MAX: u64 = 512;
/// Rings that are followed at a time: rows of several come in turn.
const RINGS_MAX: usize = 8;

/// Where a packet begins: base position of the segment and octets in its file, or for what is in no sealed segment that mark
/// and a sequence number. In the order of the ring.
type Begin = (i64, i64);

/// Extraction from one ring of frames, as far as it has come.
pub(super) struct Taking {
    colour: Colour,
    ring: String,
    series: u64,
    begun: Begin,
    /// The sealed segment that is read; `None`: those that grow.
    segment: Option<SegmentName>,
    next_seq: u64,
    extraction: Extraction<()>,
    /// The frame read last, and the packets that ended in it.
    last: Option<Record>,
    packets: Vec<(PacketRecord, Range<usize>)>,
    octets: Vec<u8>,
}

/// What became of reading on.
enum Read {
    /// The frame is read.
    There,
    /// It is not in a file yet.
    NotYet,
    /// It cannot be had, or something before it could not.
    Broken(String),
}

impl Taking {
    fn new(fleet: &Arc<Fleet>, colour: Colour, ring: &str, series: u64, begun: Begin, seq: u64) -> Taking {
        let segment =
            (begun.0 != NOT_IN_A_SEGMENT).then_some(SegmentName { series, base_pos: begun.0 as u64 });
        Taking {
            colour,
            ring: ring.to_owned(),
            series,
            begun,
            segment,
            next_seq: seq,
            extraction: Extraction::new(Arc::clone(fleet)),
            last: None,
            packets: Vec::new(),
            octets: Vec::new(),
        }
    }

    /// Whether it has seen a packet's beginning, and is not far before its end.
    fn leads_to(&self, begin: Begin, end_seq: u64) -> bool {
        let is_alike = (begin.0 == NOT_IN_A_SEGMENT) == (self.begun.0 == NOT_IN_A_SEGMENT);
        let at = self.last.map_or(self.next_seq, |last| last.seq);
        is_alike && begin >= self.begun && (at..=at.saturating_add(FRAMES_OVER_MAX)).contains(&end_seq)
    }

    /// Takes a frame. Packets are kept of the frame `end_seq` alone.
    fn push(&mut self, record: &Record, octets: &[u8], end_seq: u64) {
        let Taking { extraction, packets, octets: kept, .. } = self;
        packets.clear();
        kept.clear();
        (self.last, self.next_seq) = (Some(*record), record.seq + 1);
        let tag = &record.tag;
        if tag.kind != KIND_FRAME {
            return;
        }
        let Some(frame) = FrameRecord::from_words(tag.flags, tag.words) else { return };
        let frame = RecordedFrame { octets, record: frame, received: tag.received, place: () };
        extraction.frame(&frame, &mut |packet| {
            if record.seq == end_seq {
                let from = kept.len();
                kept.extend_from_slice(packet.octets);
                packets.push((packet.record, from..kept.len()));
            }
        });
    }

    /// The packet of a row among those that ended in the frame read last.
    fn find(&self, columns: &Columns, row: &Row) -> Option<(PacketRecord, Range<usize>)> {
        let number = |column| row.number(column);
        let is_wanted = |(record, range): &&(PacketRecord, Range<usize>)| {
            i64::from(record.gvcid.vcid) == number(columns.vcid)
                && i64::from(record.gvcid.scid) == number(columns.scid)
                && range.len() as i64 == number(columns.len)
                && octets_digest(&self.octets[range.clone()]) == number(columns.digest)
        };
        self.packets.iter().find(is_wanted).cloned()
    }
}

impl Octets {
    /// The octets of a packet that a row of a ring of frames stands for; `None` where the row stands for a record of its own.
    pub(super) fn of_frames(
        &mut self,
        colour: Colour,
        ring: &str,
        columns: &Columns,
        row: &Row,
    ) -> Result<Option<Payload<'_>>, Error> {
        let series = row.number(columns.series) as u64;
        let begin = (row.number(columns.segment), row.number(columns.offset));
        let end_seq = row.number(columns.seq) as u64;
        let here =
            |taking: &Taking| taking.colour == colour && taking.ring == ring && taking.series == series;
        // Extraction that is under way goes on where it stands. What lies between may be gone, which does not matter to a packet
        // that begins behind it: then extraction begins again where the packet does.
        let known = self.takings.iter().position(here).map(|at| self.takings.remove(at));
        let mut going_on = None;
        if let Some(mut taking) = known.filter(|taking| taking.leads_to(begin, end_seq)) {
            match self.read_on(&mut taking, end_seq) {
                Ok(read) => {
                    going_on = taking.find(columns, row).map(|found| (taking, read, Some(found)));
                }
                Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let (mut taking, mut read, mut found) = match going_on {
            Some(going_on) => going_on,
            None => {
                let Some(seq) = self.frame_at(colour, ring, series, begin)? else { return Ok(None) };
                let mut taking = Taking::new(&self.archive.fleet, colour, ring, series, begin, seq);
                let read = self.read_on(&mut taking, end_seq)?;
                let found = taking.find(columns, row);
                (taking, read, found)
            }
        };
        if found.is_none()
            && matches!(read, Read::Broken(_))
            && let Some(seq) = self.use_copies(colour, ring, series, begin, &read)?
        {
            taking = Taking::new(&self.archive.fleet, colour, ring, series, begin, seq);
            read = self.read_on(&mut taking, end_seq)?;
            found = taking.find(columns, row);
        }
        if self.takings.len() == RINGS_MAX {
            self.takings.remove(0);
        }
        let last = taking.last;
        self.takings.push(taking);
        let Some(taking) = self.takings.last() else { return Ok(None) };
        match (found, last, read) {
            (Some((packet, range)), Some(last), _) => {
                let record = PacketRecord { frame_seq: end_seq as u32, ..packet };
                let (flags, words) = record.to_words();
                let tag = Tag { kind: KIND_PACKET, flags, words, ..last.tag };
                let record = Record { len: range.len() as u32, tag, ..last };
                Ok(Some(Payload::Octets(&taking.octets[range], record)))
            }
            (_, _, Read::NotYet) => Ok(Some(Payload::NotYet)),
            (_, _, Read::Broken(problem)) => Err(self.no_packet(colour, ring, series, begin, &problem)),
            (_, _, Read::There) => {
                let problem = format!("no such packet ends in frame {end_seq}");
                Err(self.no_packet(colour, ring, series, begin, &problem))
            }
        }
    }

    fn no_packet(&self, colour: Colour, ring: &str, series: u64, begin: Begin, problem: &str) -> Error {
        if begin.0 == NOT_IN_A_SEGMENT {
            return Error::gone(colour, ring, begin.1);
        }
        let name = SegmentName { series, base_pos: begin.0 as u64 };
        let id = super::octets::id_of(colour, ring, name);
        Error::Damaged { id, problem: format!("a packet that begins in it cannot be taken out: {problem}") }
    }

    /// Sequence number of the frame at a place; `None` where there is another kind of record.
    pub(super) fn frame_at(
        &mut self,
        colour: Colour,
        ring: &str,
        series: u64,
        begin: Begin,
    ) -> Result<Option<u64>, Error> {
        if begin.0 == NOT_IN_A_SEGMENT {
            return Ok((begin.1 != NOT_IN_A_SEGMENT).then_some(begin.1 as u64));
        }
        let name = SegmentName { series, base_pos: begin.0 as u64 };
        let index = self.reader(colour, ring, name)?;
        for is_second in [false, true] {
            let problem = match self.sealed[index].reader.record_at(begin.1 as u64)? {
                RecordAt::Record(view) => {
                    return Ok((view.record.tag.kind == KIND_FRAME).then_some(view.record.seq));
                }
                RecordAt::None => format!("no record is at offset {}", begin.1),
                RecordAt::Damaged(error) => error.to_string(),
            };
            if is_second || self.sealed[index].is_copy {
                return Err(self.no_packet(colour, ring, series, begin, &problem));
            }
            let error = self.no_packet(colour, ring, series, begin, &problem);
            self.turn_to_copy(index, error)?;
        }
        Ok(None)
    }

    /// Reads frames up to `end_seq`.
    fn read_on(&mut self, taking: &mut Taking, end_seq: u64) -> Result<Read, Error> {
        let mut broken = None;
        while taking.last.is_none_or(|last| last.seq < end_seq) {
            let piece = match taking.segment {
                Some(name) => {
                    let index = self.reader(taking.colour, &taking.ring, name)?;
                    let reader = &mut self.sealed[index].reader;
                    if reader.position().seq != taking.next_seq {
                        reader.seek(taking.next_seq)?;
                    }
                    if taking.next_seq >= reader.end().seq {
                        // What begins there goes on in the segment behind it.
                        let behind = SegmentName { base_pos: reader.end().pos, ..name };
                        if behind == name {
                            return Ok(Read::Broken(format!("segment {name} is empty")));
                        }
                        taking.segment = Some(behind);
                        continue;
                    }
                    reader.next()?
                }
                None => {
                    let (colour, ring) = (taking.colour, taking.ring.as_str());
                    let Some(index) = self.growing(colour, ring, taking.series, taking.next_seq)? else {
                        return Ok(Read::NotYet);
                    };
                    let reader = &mut self.growing[index].reader;
                    if reader.position().seq != taking.next_seq {
                        reader.seek(taking.next_seq)?;
                    }
                    reader.next()?
                }
            };
            match piece {
                Some(Piece::Record(view)) if view.record.seq > end_seq => {
                    return Ok(Read::Broken(format!("frame {end_seq} is not there")));
                }
                Some(Piece::Record(view)) => taking.push(&view.record, view.payload, end_seq),
                Some(Piece::Loss(loss)) => {
                    taking.extraction.interrupted();
                    taking.next_seq = loss.to.seq;
                    broken = Some(format!("frames {} to {} are not there", loss.from.seq, loss.to.seq));
                    if loss.to.seq > end_seq {
                        break;
                    }
                }
                None if taking.segment.is_none() => return Ok(Read::NotYet),
                None => return Ok(Read::Broken(format!("frame {} is not there", taking.next_seq))),
            }
        }
        Ok(broken.map_or(Read::There, Read::Broken))
    }

    /// After a file turned out to be damaged: turns to the copies of the open segments of a ring. Where extraction has to begin
    /// again; `None` where no other segment can be read than before.
    fn use_copies(
        &mut self,
        colour: Colour,
        ring: &str,
        series: u64,
        begin: Begin,
        read: &Read,
    ) -> Result<Option<u64>, Error> {
        let Read::Broken(problem) = read else { return Ok(None) };
        let mut has_turned = false;
        for index in 0..self.sealed.len() {
            let open = &self.sealed[index];
            let is_of_ring = open.colour == colour && open.ring == ring && open.name.series == series;
            if is_of_ring && !open.is_copy {
                let error = Error::Damaged { id: open.id(), problem: problem.clone() };
                has_turned |= self.turn_to_copy(index, error).is_ok();
            }
        }
        if has_turned { self.frame_at(colour, ring, series, begin) } else { Ok(None) }
    }
}
