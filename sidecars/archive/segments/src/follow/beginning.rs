//! Where a follower begins: in the segments, in the ring, and which numbering the ring belongs to.

use std::time::Instant;

use fep_bus::{BusError, Consumer, Position, Resume};

use super::{Follow, HOUSEKEEPING, Ring, Segment, Source, Start, legible};
use crate::error::SegmentError;
use crate::name::Place;
use crate::seal::{footer_of, instance_of_removed};
use crate::tree::{SegmentEntry, SegmentState};

/// The ring as it was found.
struct Probe {
    instance: u64,
    first: Position,
    series: u64,
}

impl Follow {
    /// Finds the first place; `false` when there is nothing yet to start at.
    pub(super) fn decide(&mut self) -> Result<bool, SegmentError> {
        let Some(start) = self.undecided else { return Ok(true) };
        let segments = self.segments()?;
        match start {
            Start::At(place) => {
                self.place = place;
                // The ring first: who was away for a moment goes on at once.
                self.source = if self.attach()? { Source::Ring } else { Source::Segments };
            }
            Start::Oldest | Start::Time(_) => {
                let segments = self.readable(segments)?;
                let first = match start {
                    Start::Time(from) => {
                        self.not_before = Some(from);
                        self.first_received_from(&segments, from)?
                    }
                    _ => 0,
                };
                if let Some(segment) = first_readable(segments.iter().skip(first))? {
                    self.place =
                        Place { series: segment.name.series, position: segment.reader.header().base };
                    let segment = self.segment.insert(segment);
                    if let Start::Time(from) = start {
                        segment.reader.seek_time(from)?;
                        self.place.position = segment.reader.position();
                    }
                } else if !self.attach_at(Resume::Oldest, &segments)? {
                    return Ok(false);
                }
            }
            Start::Latest => {
                if !self.attach_at(Resume::Latest, &segments)? {
                    let Some(mut segment) = first_readable(segments.iter().rev())? else { return Ok(false) };
                    let end = segment.reader.end();
                    segment.reader.seek(end.seq)?;
                    self.place = Place { series: segment.name.series, position: end };
                    self.segment = Some(segment);
                }
            }
        }
        self.undecided = None;
        Ok(true)
    }

    /// Index of the first segment that may hold a record received at `from` or later; of the last one when none does.
    fn first_received_from(&self, segments: &[SegmentEntry], from: i64) -> Result<usize, SegmentError> {
        for (index, entry) in segments.iter().enumerate() {
            let late_enough = match entry.state {
                SegmentState::Removed => false,
                SegmentState::Open => true,
                SegmentState::Sealed => legible(footer_of(entry))?
                    .is_none_or(|footer| footer.records > 0 && footer.rx_max_tai_ns >= from),
            };
            if late_enough {
                return Ok(index);
            }
        }
        Ok(segments.iter().rposition(|entry| entry.state != SegmentState::Removed).unwrap_or(0))
    }

    /// Attaches without knowing a place: the ring says where.
    fn attach_at(&mut self, resume: Resume, segments: &[SegmentEntry]) -> Result<bool, SegmentError> {
        let Some(probe) = self.probe(segments)? else { return Ok(false) };
        let Some(consumer) = self.consumer(resume)? else { return Ok(false) };
        if consumer.instance() != probe.instance {
            return Ok(false);
        }
        self.place = Place { series: probe.series, position: consumer.position() };
        self.ring = Some(Ring { consumer, series: probe.series });
        self.source = Source::Ring;
        Ok(true)
    }

    /// Which ring there is, and of which series. Nothing stays attached: a name has one consumer at a time.
    fn probe(&self, segments: &[SegmentEntry]) -> Result<Option<Probe>, SegmentError> {
        let Some(consumer) = self.consumer(Resume::Latest)? else { return Ok(None) };
        let (instance, first) = (consumer.instance(), consumer.first());
        let created_unix_ns = consumer.created_unix_ns();
        drop(consumer);
        let mut series = series_after(None, created_unix_ns);
        for entry in segments.iter().rev() {
            let Some((of_segment, end)) = stands_at(entry)? else { continue };
            // What an earlier version removed does not say of which ring it was.
            let Some(of_segment) = of_segment else { continue };
            let resume = Resume::At { instance: of_segment, position: end };
            let continues = of_segment == instance
                || self.consumer(resume)?.is_some_and(|consumer| consumer.has_continued());
            let last = entry.name.series;
            series = if continues { last } else { series_after(Some(last), created_unix_ns) };
            break;
        }
        Ok(Some(Probe { instance, first, series }))
    }

    fn consumer(&self, resume: Resume) -> Result<Option<Consumer>, SegmentError> {
        let Some(bus) = &self.spec.bus else { return Ok(None) };
        match Consumer::attach(bus, &self.ring_name(), &self.spec.consumer, resume) {
            Ok(consumer) => Ok(Some(consumer)),
            Err(BusError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Attaches to the ring, if it is there, so that it stands at or after the place. `true`: the ring is of the
    /// place's series.
    pub(super) fn attach(&mut self) -> Result<bool, SegmentError> {
        let now = Instant::now();
        if now < self.attach_after {
            return Ok(false);
        }
        self.attach_after = now + HOUSEKEEPING;
        let segments = self.segments()?;
        let Some(probe) = self.probe(&segments)? else { return Ok(false) };
        let position = self.place.position;
        let resume = if probe.series != self.place.series {
            Resume::Oldest
        } else if position.seq >= probe.first.seq && position.pos >= probe.first.pos {
            Resume::At { instance: probe.instance, position }
        } else {
            // A ring before this one: its numbers go on in this one.
            Resume::At { instance: !probe.instance, position }
        };
        let Some(consumer) = self.consumer(resume)? else { return Ok(false) };
        if consumer.instance() != probe.instance {
            return Ok(false);
        }
        self.ring = Some(Ring { consumer, series: probe.series });
        Ok(probe.series == self.place.series)
    }
}

/// The first of these segments that can be read.
fn first_readable<'e>(
    entries: impl Iterator<Item = &'e SegmentEntry>,
) -> Result<Option<Segment>, SegmentError> {
    for entry in entries.filter(|entry| entry.state != SegmentState::Removed) {
        if let Some(segment) = Segment::open(entry)? {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// The ring file that a segment was copied from, if it says that, and where the stream stands after it; `None` when it
/// cannot be read.
fn stands_at(entry: &SegmentEntry) -> Result<Option<(Option<u64>, Position)>, SegmentError> {
    if entry.state == SegmentState::Removed {
        let footer = legible(footer_of(entry))?;
        return Ok(footer.map(|footer| (instance_of_removed(entry), footer.end)));
    }
    let segment = Segment::open(entry)?;
    Ok(segment.map(|segment| (Some(segment.reader.header().instance), segment.reader.end())))
}

/// The series of a numbering that begins anew in a ring laid out at `created_unix_ns`, after series `last`.
pub fn series_after(last: Option<u64>, created_unix_ns: u64) -> u64 {
    last.map_or(created_unix_ns, |last| created_unix_ns.max(last.saturating_add(1)))
}
