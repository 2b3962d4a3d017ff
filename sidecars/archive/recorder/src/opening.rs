//! Where a recording begins or goes on: what the segments say, what the ring still has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_bus::{Consumer, Poll, Position, Resume};
use fep_segments::{
    DamagedFile, RecorderLock, SegmentError, SegmentName, Stream, StreamEnd, put_aside, reserve_name,
    series_after, stream_end,
};
use fep_time::clock::unix_now_ns;
use serde_json::json;

use crate::event::{Event, EventCode};
use crate::figures::RingFigures;
use crate::naming::unused;
use crate::pending::{Lost, Standstill, StreamFigures};
use crate::sealer::SealJob;
use crate::stream::{StreamOptions, StreamRecorder};

/// A numbering is raised at most so often within the life of one ring: a millisecond in nanoseconds, in which no ring is laid
/// out twice.
const RAISED_MAX: u64 = 1_000_000;

/// Where a recording goes on, and what was found on the way there.
pub(crate) struct Beginning {
    pub(crate) consumer: Consumer,
    /// Numbering of the newest segment, if one is on disk.
    pub(crate) series: Option<u64>,
    /// What is on disk for certain ends here.
    pub(crate) durable: Position,
    pub(crate) previous: Option<SegmentName>,
    /// Segments of an earlier life in which nothing is.
    pub(crate) empty: Vec<PathBuf>,
    pub(crate) held: Held,
    pub(crate) events: Vec<Event>,
}

/// Segments to seal, and what they wait for.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) jobs: Vec<SealJob>,
    pub(crate) reread: Option<Reread>,
}

/// Records are read from the ring again because a segment of an earlier life is damaged. Its whole blocks behind the damage
/// are given up only when the same records are on disk a second time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reread {
    pub(crate) from: Position,
    /// Where the damaged segments end.
    pub(crate) until_seq: u64,
    /// The ring has lost some of it meanwhile: nothing is given up.
    pub(crate) keeps_all: bool,
}

impl Held {
    /// What can be sealed now that everything before `durable_seq` is on disk.
    pub(crate) fn take(&mut self, durable_seq: u64) -> Vec<SealJob> {
        if let Some(reread) = self.reread {
            if durable_seq < reread.until_seq {
                return Vec::new();
            }
            self.reread = None;
            if !reread.keeps_all {
                self.jobs.iter_mut().for_each(|job| job.give_up_from(reread.from.seq));
            }
        }
        std::mem::take(&mut self.jobs)
    }

    /// Records from `seq` on are lost.
    pub(crate) fn lose(&mut self, seq: u64) {
        if let Some(reread) = self.reread.as_mut().filter(|reread| seq < reread.until_seq) {
            reread.keeps_all = true;
        }
    }
}

impl Beginning {
    /// Looks at everything that is on disk of a stream and at its ring.
    ///
    /// # Errors
    /// The ring cannot be attached to, or the directory cannot be read.
    pub(crate) fn find(options: &StreamOptions, stream: &Stream) -> Result<Beginning, SegmentError> {
        let attach =
            |resume| Consumer::attach(&options.rings, &stream.to_string(), &options.consumer, resume);
        // The ring first: a ring that cannot be recorded changes nothing on disk.
        let asked = attach(Resume::Cursor)?;
        let mut ended = stream_end(&options.archive, stream)?;
        let mut events: Vec<Event> = ended.damaged.iter().map(|file| deal_with(file, stream)).collect();
        // A ring that was not recorded before has a cursor at its first record, which says nothing.
        let cursor = asked.has_continued().then(|| asked.position()).filter(|at| at.seq > asked.first().seq);
        let is_of_ring = |series: u64| {
            series.checked_sub(asked.created_unix_ns()).is_some_and(|raised| raised < RAISED_MAX)
        };
        if let (Some(name), Some(cursor)) = (ended.removed_unreadable, cursor)
            && is_of_ring(name.series)
            && ended.series != Some(name.series)
        {
            // The first segment of this ring's numbering, and what is left of it cannot be read.
            (ended.series, ended.instance) = (Some(name.series), None);
            (ended.end, ended.doubt) = (cursor, cursor);
        }
        // Where no header is left to say which ring it was: the numbering began with this very ring (names that were in
        // use raise it by one each), or the cursor stands where the disk ends.
        if ended.series.is_some_and(is_of_ring) || cursor == Some(ended.end) {
            ended.instance = ended.instance.or(Some(asked.instance()));
        }
        drop(asked);
        let is_missing = heed_cursor(&mut ended, cursor, stream, &mut events);
        let StreamEnd { series, instance, end, mut doubt, previous, open, .. } = ended;
        let consumer = match instance.filter(|_| series.is_some()) {
            None => attach(Resume::Oldest)?,
            Some(instance) => {
                let mut consumer = attach(Resume::At { instance, position: doubt })?;
                // Whether the ring still has what is damaged on disk: otherwise the whole blocks behind it are kept.
                if doubt != end && consumer.has_continued() && !stands_at(&mut consumer, doubt) {
                    drop(consumer);
                    doubt = end;
                    consumer = attach(Resume::At { instance, position: end })?;
                }
                consumer
            }
        };
        if is_missing {
            // The cursor says it but once, because recording goes on before it.
            let wanted = match series.filter(|_| consumer.has_continued()) {
                Some(series) => SegmentName { series, base_pos: doubt.pos },
                None => SegmentName {
                    series: series_after(series, consumer.created_unix_ns()),
                    base_pos: consumer.first().pos,
                },
            };
            // An empty segment of that name is the one.
            let is_here = open.iter().any(|open| open.is_empty && open.name == wanted);
            if !is_here && let Some(lost) = unused(&options.archive, stream, wanted, previous, &[])? {
                reserve_name(&options.archive, stream, lost)?;
            }
        }
        let (mut held, mut empty) = (Held::default(), Vec::new());
        let until_seq = open.iter().map(|open| open.end.seq).max().unwrap_or(0);
        if series.is_some() && consumer.has_continued() && until_seq > doubt.seq {
            held.reread = Some(Reread { from: doubt, until_seq, keeps_all: false });
        }
        for open in open {
            let detail = json!({
                "stream": stream.to_string(),
                "segment": open.name.to_string(),
                "records_to": open.end.seq,
                "damaged": open.damaged,
            });
            events.push(Event::new(EventCode::SegmentRecovered, detail));
            if open.is_empty {
                // Nothing is in it. It stays until a new one takes its place: it says to which numbering the ring belongs.
                empty.push(open.path);
            } else {
                held.jobs.push(SealJob::left_open(open.path, stream.clone()));
            }
        }
        Ok(Beginning { consumer, series, durable: doubt, previous, empty, held, events })
    }
}

/// What the cursor in the ring adds to what the disk says: it stands where records were on disk once. Returns whether a
/// segment is missing whose name nothing on disk shows any more.
fn heed_cursor(
    ended: &mut StreamEnd,
    cursor: Option<Position>,
    stream: &Stream,
    events: &mut Vec<Event>,
) -> bool {
    let Some(cursor) = cursor.filter(|cursor| cursor.seq > ended.end.seq) else { return false };
    if ended.removed_unreadable.is_some() {
        // What was removed on purpose is not recorded again.
        (ended.end, ended.doubt) = (cursor, cursor);
        return false;
    }
    let detail = json!({
        "stream": stream.to_string(),
        "from_seq": ended.end.seq,
        "to_seq": cursor.seq,
        "hint": "these records were on disk and are in no segment now; what the ring still holds of them is recorded \
                 again. Look for the segments elsewhere, or restore them from a backup",
    });
    events.push(Event::new(EventCode::SegmentsMissing, detail));
    true
}

/// A file that cannot be used is put aside, never removed: it may be repaired. Where that is impossible, recording goes on
/// all the same. Returns what there is to report.
fn deal_with(file: &DamagedFile, stream: &Stream) -> Event {
    let report =
        |aside: Option<&Path>, problem: &str| Event::damaged(stream, file.name, &file.path, aside, problem);
    if file.stays {
        return report(None, &file.problem);
    }
    match put_aside(&file.path, &file.problem) {
        Ok(aside) => report(Some(&aside), &file.problem),
        Err(error) => report(None, &format!("{}; {error}", file.problem)),
    }
}

/// What is left of a recording that has to be opened again.
pub(crate) struct Seed {
    pub(crate) options: StreamOptions,
    pub(crate) stream: Stream,
    pub(crate) index: u16,
    pub(crate) opening: u16,
    pub(crate) figures: StreamFigures,
    pub(crate) lock: Arc<RecorderLock>,
    pub(crate) file_system: u64,
    /// The numbering so far, if there is one.
    pub(crate) series: Option<u64>,
    /// Of the ring.
    pub(crate) instance: u64,
    /// What is on disk for certain ends here. Nothing after it is believed: a disk that has refused one thing may have lost
    /// others.
    pub(crate) durable: Position,
    pub(crate) previous: Option<SegmentName>,
    /// Segments in which nothing is for certain.
    pub(crate) empty: Vec<PathBuf>,
    pub(crate) held: Held,
    pub(crate) standstill: Option<Standstill>,
    /// As it was when the recording ended: not on disk, and on no disk yet.
    pub(crate) unrecorded: Lost,
    pub(crate) lag_records: u64,
    pub(crate) events: Vec<Event>,
}

impl Seed {
    /// What there is to report of the ring meanwhile.
    pub(crate) fn told(&self) -> RingFigures<'_> {
        let mut lost = self.figures.lost();
        lost.add(self.unrecorded);
        RingFigures {
            ring: self.stream.to_string(),
            figures: &self.figures,
            lost,
            lag_records: self.lag_records,
            latency_max_ns: 0,
            standstill: self.standstill.map(|standstill| standstill.cause),
        }
    }

    /// Opens it again. What waits to be sealed goes over to the recording that was opened.
    pub(crate) fn open(&mut self) -> Result<StreamRecorder, SegmentError> {
        StreamRecorder::reopen(self)
    }
}

/// Whether the ring still has the record at `position`, or has not come to it yet.
fn stands_at(consumer: &mut Consumer, position: Position) -> bool {
    !matches!(consumer.peek(), Poll::Gap(_)) && consumer.position().seq == position.seq
}

pub(crate) fn random_id() -> u64 {
    let mut octets = [0; 8];
    // The numbers only have to differ between segments: where the system gives none, the clock does.
    match rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_le_bytes(octets) | 1,
        _ => unix_now_ns() | 1,
    }
}
