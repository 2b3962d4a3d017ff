//! Recording of one ring: what is new is copied into blocks, blocks go to the disk in order, and the cursor follows
//! when they are there.
//!
//! ```text
//! ring --copy--> filling --(full, old, or a gap)--> queue --(a segment has room)--> in flight --written--> commit --> cursor
//! ```
//! Everything that goes wrong on the way to the disk ends in one way: the recording is opened again, reads from the
//! segments where it stands, and goes on from there as long as the ring still has it.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_bus::{BusError, Consumer, Ledger, Position, Resume};
use fep_segments::{Loss, LossCause, RecorderLock, SegmentError, SegmentName, Stream, series_after};
use fep_time::Monotonic;
use serde_json::json;

use crate::buffer::BlockBuffer;
use crate::disk::Disk;
use crate::event::{Event, EventCode};
use crate::figures::RingFigures;
use crate::opening::{Beginning, Held, Seed};
use crate::pending::{Failure, Filling, InFlight, Lost, Ready, Room, Standstill, StreamFigures, Uncommitted};
use crate::sealer::SealJob;
use crate::segment::{OpenSegment, is_full};

/// What a recording does, and how.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Directory of the segments.
    pub archive: PathBuf,
    /// Directory of the rings.
    pub rings: PathBuf,
    /// Name of the cursor.
    pub consumer: String,
    /// Octets of a segment.
    pub segment_len: u64,
    /// Age at which a segment is finished, full or not.
    pub seal_after: Duration,
    /// Octets of a block.
    pub block_len: usize,
    /// Blocks that may wait for the disk.
    pub blocks_waiting: usize,
    /// Longest time until a commit.
    pub commit_interval: Duration,
    /// Octets after which a commit comes earlier.
    pub commit_len: u64,
    /// Writes past the page cache where the file system allows.
    pub direct: bool,
}

/// Records one ring.
pub struct StreamRecorder {
    pub(crate) options: StreamOptions,
    pub(crate) stream: Stream,
    pub(crate) schema: String,
    /// Which recording a completion belongs to: number of the ring, then of its opening.
    pub(crate) index: u16,
    pub(crate) opening: u16,
    pub(crate) consumer: Consumer,
    pub(crate) lock: Arc<RecorderLock>,
    /// Number of the file system that it writes to.
    pub(crate) file_system: u64,
    pub(crate) series: u64,
    pub(crate) previous: Option<SegmentName>,
    pub(crate) segment: Option<OpenSegment>,
    /// The segment is full or old: it is left when everything in it is written.
    pub(crate) finishing: bool,
    /// Segments that were left and are not committed to their end.
    pub(crate) finished: VecDeque<OpenSegment>,
    pub(crate) filling: Option<Filling>,
    pub(crate) queue: VecDeque<Ready>,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) next_number: u32,
    /// By segment, in order.
    pub(crate) uncommitted: VecDeque<Uncommitted>,
    /// What the commit under way will have made durable.
    pub(crate) committing: Option<Uncommitted>,
    pub(crate) durable: Position,
    /// Everything that is queued or on disk ends here: where the next block begins.
    pub(crate) taken: Position,
    pub(crate) spare: Vec<BlockBuffer>,
    /// The disk takes nothing.
    pub(crate) standstill: Option<Standstill>,
    pub(crate) failed: Option<Failure>,
    pub(crate) recreated: bool,
    pub(crate) figures: StreamFigures,
    /// Losses that are known and not on disk yet.
    pub(crate) unrecorded: Lost,
    /// Nothing more is copied.
    pub(crate) stopping: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) held: Held,
    /// Of the consumer, when it stood at `durable`.
    pub(crate) ledger: Ledger,
    /// Segments of an earlier life in which nothing is.
    pub(crate) empty: Vec<PathBuf>,
}

impl StreamRecorder {
    /// Begins (or goes on) to record a ring. `index` names it among its process's.
    ///
    /// # Errors
    /// Another process records it, the ring cannot be attached to, or the directory cannot be read.
    pub fn open(options: StreamOptions, stream: Stream, index: u16) -> Result<StreamRecorder, SegmentError> {
        let lock = RecorderLock::take(&options.archive, &stream)?;
        let directory = stream.directory(&options.archive);
        let file_system =
            std::fs::metadata(&directory).map_err(SegmentError::io(&directory, "look at"))?.dev();
        let Beginning { consumer, series, durable, previous, empty, held, events } =
            Beginning::find(&options, &stream)?;
        let mut seed = Seed {
            options,
            stream,
            index,
            opening: 0,
            figures: StreamFigures::default(),
            lock: Arc::new(lock),
            file_system,
            series,
            instance: consumer.instance(),
            durable,
            previous,
            empty,
            held,
            standstill: None,
            unrecorded: Lost::default(),
            lag_records: 0,
            events,
        };
        StreamRecorder::attached(&mut seed, consumer)
    }

    /// Goes on after an error of the disk, from what this process knows: the disk need not be able to read.
    pub(crate) fn reopen(seed: &mut Seed) -> Result<StreamRecorder, SegmentError> {
        let Seed { options, stream, instance, durable, .. } = &*seed;
        let resume = Resume::At { instance: *instance, position: *durable };
        let consumer = Consumer::attach(&options.rings, &stream.to_string(), &options.consumer, resume)?;
        let mut recorder = StreamRecorder::attached(seed, consumer)?;
        // What the ring has overwritten meanwhile is counted from now on, as it was before.
        if let Err(error) = recorder.copy(Instant::now()) {
            seed.held = std::mem::take(&mut recorder.held);
            return Err(error);
        }
        Ok(recorder)
    }

    /// A recording that goes on where the consumer stands.
    fn attached(seed: &mut Seed, mut consumer: Consumer) -> Result<StreamRecorder, SegmentError> {
        let stream = &seed.stream;
        let continued = seed.series.is_some() && consumer.has_continued();
        let mut events = seed.events.clone();
        let (mut series, mut base, mut before) = (seed.series.unwrap_or_default(), seed.durable, None);
        if !continued {
            series = series_after(seed.series, consumer.created_unix_ns());
            base = consumer.first();
            let at = consumer.position();
            if at.seq > base.seq {
                before = Some(Loss { from: base, to: at, cause: LossCause::BeforeRecorder });
            } else {
                base = at;
            }
            if seed.series.is_some() {
                let detail = json!({"stream": stream.to_string(), "series": format!("{series:016x}")});
                events.push(Event::new(EventCode::SeriesStarted, detail));
            }
        }
        consumer.set_durable(base, Ledger::default());
        consumer.store_cursor()?;
        let detail = json!({
            "stream": stream.to_string(),
            "from_seq": base.seq,
            "continued": continued,
        });
        events.push(Event::new(EventCode::RecordingStarted, detail));
        let mut recorder = StreamRecorder {
            schema: consumer.schema().to_owned(),
            options: seed.options.clone(),
            stream: stream.clone(),
            index: seed.index,
            opening: seed.opening,
            consumer,
            lock: Arc::clone(&seed.lock),
            file_system: seed.file_system,
            series,
            previous: seed.previous,
            segment: None,
            finishing: false,
            finished: VecDeque::new(),
            filling: None,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_number: 1,
            uncommitted: VecDeque::new(),
            committing: None,
            durable: base,
            taken: base,
            spare: Vec::new(),
            standstill: seed.standstill,
            failed: None,
            recreated: false,
            figures: seed.figures.clone(),
            unrecorded: Lost::default(),
            stopping: false,
            events,
            held: std::mem::take(&mut seed.held),
            ledger: Ledger::default(),
            empty: seed.empty.clone(),
        };
        if let Some(loss) = before {
            recorder.lose(loss);
        }
        Ok(recorder)
    }

    /// The ring.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Records that are known to be lost, recorded on disk or not yet; their payload octets.
    pub fn lost(&self) -> (u64, u64) {
        let mut lost = self.figures.lost();
        lost.add(self.unrecorded);
        (lost.records, lost.octets)
    }

    /// What was done so far.
    pub fn figures(&self) -> &StreamFigures {
        &self.figures
    }

    /// What there is to tell since the last call.
    pub(crate) fn told(&mut self) -> RingFigures<'_> {
        let latency_max_ns = std::mem::take(&mut self.figures.latency_max_ns);
        let (records, octets) = self.lost();
        RingFigures {
            ring: self.stream.to_string(),
            figures: &self.figures,
            lost: Lost { records, octets },
            lag_records: self.lag_records(),
            latency_max_ns,
            standstill: self.standstill(),
        }
    }

    /// Everything before it is on disk.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Records published and not on disk yet, as far as the ring tells.
    pub fn lag_records(&self) -> u64 {
        let head = self.consumer.position().seq.saturating_add(self.consumer.lag_records());
        head.saturating_sub(self.durable.seq)
    }

    /// Why the disk takes nothing, if it does not: it is full, or refuses otherwise.
    pub fn standstill(&self) -> Option<LossCause> {
        self.standstill.map(|standstill| standstill.cause)
    }

    /// Whether something waits until a segment can be begun.
    pub(crate) fn waits(&self) -> bool {
        self.standstill.is_some() && self.segment.is_none() && !self.queue.is_empty()
    }

    /// On which file system something waits for room, and since when, if it does.
    pub(crate) fn waits_for_room(&self) -> Option<(u64, Instant)> {
        let standstill = self.standstill.filter(|standstill| standstill.cause == LossCause::DiskFull)?;
        self.waits().then_some((self.file_system, standstill.since))
    }

    /// Whether nothing waits and nothing is on its way.
    pub fn is_settled(&self) -> bool {
        self.filling.is_none()
            && self.queue.is_empty()
            && self.in_flight.is_empty()
            && self.committing.is_none()
            && self.uncommitted.is_empty()
    }

    /// What there is to tell since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Segments to seal since the last call.
    pub(crate) fn take_jobs(&mut self) -> Vec<SealJob> {
        self.held.take(self.durable.seq)
    }

    /// One turn: copies, hands to the disk, commits. `room`: whether a new segment may be begun.
    /// Returns whether anything moved.
    ///
    /// # Errors
    /// What ends the recording of this ring: it cannot be attached to any more.
    pub fn turn(&mut self, now: Instant, disk: &mut Disk, room: Room) -> Result<bool, SegmentError> {
        if self.failed.is_some() {
            return self.reopen_when_quiet();
        }
        let mut moved = false;
        if !self.recreated && !self.stopping {
            moved |= self.copy(now)?;
        }
        self.retire_filling(now);
        moved |= self.write(now, disk, room);
        self.commit(now, disk);
        self.finish_segment(now);
        if self.recreated && self.is_finished() {
            self.fail(LossCause::Recreated, "the ring was laid out anew".to_owned());
        }
        Ok(moved)
    }

    /// To be called some times a second.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn heartbeat(&mut self) -> Result<(), SegmentError> {
        Ok(self.consumer.heartbeat(Monotonic::now())?)
    }

    /// Whether a completion is of this recording (of this or an earlier opening).
    pub fn owns(&self, token: u64) -> bool {
        (token >> 48) as u16 == self.index
    }

    /// Everything that has been copied shall go to disk and the segment be sealed: for an orderly stop. To be followed by
    /// turns until [`StreamRecorder::is_finished`].
    pub fn finish(&mut self) {
        self.stopping = true;
        self.retire();
        if self.queue.is_empty() {
            self.finishing = self.segment.is_some();
        }
    }

    /// Whether an orderly stop has come to its end.
    pub fn is_finished(&self) -> bool {
        self.is_settled() && self.segment.is_none() && self.finished.is_empty()
    }

    /// Tells the ring not to watch the cursor any more.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn detach(self) -> Result<(), BusError> {
        self.consumer.detach()
    }

    pub(crate) fn fail_io(&mut self, action: &str, error: &std::io::Error) {
        let cause = if is_full(error) { LossCause::DiskFull } else { LossCause::DiskError };
        self.fail(cause, format!("cannot {action}: {error}"));
    }

    pub(crate) fn fail(&mut self, cause: LossCause, text: String) {
        self.failed.get_or_insert(Failure { cause, text });
    }

    /// Opens the recording again once the disk has given everything back.
    fn reopen_when_quiet(&mut self) -> Result<bool, SegmentError> {
        if self.committing.is_some() || self.in_flight.iter().any(|block| !block.written) {
            return Ok(false);
        }
        let Some(Failure { cause, text }) = self.failed.take() else { return Ok(false) };
        if cause != LossCause::Recreated {
            self.refuse(Instant::now(), cause, &text);
            self.figures.reopened += 1;
        }
        Err(SegmentError::format(&self.stream.directory(&self.options.archive), text))
    }

    /// After [`StreamRecorder::turn`] has failed: what a new recording of the same ring begins with, and what is left to seal.
    pub(crate) fn into_seed(mut self) -> (Seed, Vec<SealJob>) {
        let events = self.take_events();
        let (mut previous, mut empty) = (self.previous, std::mem::take(&mut self.empty));
        let lag_records = self.lag_records();
        let mut uncommitted = Vec::new();
        for segment in self.finished.drain(..).chain(self.segment.take()) {
            if segment.header.base.seq < self.durable.seq {
                self.held.jobs.push(SealJob::abandoned(segment, self.durable.seq));
            } else {
                // Behind one in which nothing is committed there is none with anything: the first says what they follow.
                previous = if uncommitted.is_empty() { segment.header.previous } else { previous };
                uncommitted.push(segment.path);
            }
        }
        empty.extend(uncommitted);
        let jobs = self.held.take(self.durable.seq);
        let seed = Seed {
            options: self.options,
            stream: self.stream,
            index: self.index,
            opening: self.opening.wrapping_add(1),
            figures: self.figures,
            lock: self.lock,
            file_system: self.file_system,
            series: Some(self.series),
            instance: self.consumer.instance(),
            durable: self.durable,
            previous,
            empty,
            held: self.held,
            standstill: self.standstill,
            unrecorded: self.unrecorded,
            lag_records,
            events,
        };
        (seed, jobs)
    }
}
