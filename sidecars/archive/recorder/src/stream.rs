//! Recording of one ring: what is new is copied into blocks, blocks go to the disk in order, and the cursor follows
//! when they are there.
//!
//! ```text
//! ring --copy--> filling --(full, old, or a gap)--> queue --(a segment has room)--> in flight --written--> commit --> cursor
//! ```
//! Everything that goes wrong on the way to the disk ends in one way: the recording is opened again, reads from the
//! segments where it stands, and goes on from there as long as the ring still has it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_bus::{BusError, Consumer, Ledger, Position, Record, Resume};
use fep_segments::clock::{tai_now_ns, unix_now_ns};
use fep_segments::{
    BLOCK_HEADER_LEN, BlockBuilder, Loss, LossCause, PAGE_LEN, Place, RecorderLock, SegmentError,
    SegmentHeader, SegmentName, Stream, list, series_after,
};
use serde_json::json;

use crate::disk::{BlockBuffer, Disk, Done};
use crate::event::{Event, EventCode};
use crate::opening::{Seed, find_end, random_id, stands_at};
use crate::pending::{Failure, Filling, InFlight, Lost, Ready, StreamFigures, Uncommitted};
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
    pub(crate) _lock: RecorderLock,
    pub(crate) series: u64,
    pub(crate) previous: Option<SegmentName>,
    pub(crate) segment: Option<OpenSegment>,
    /// The segment is full or old: it is finished when everything in it is committed.
    pub(crate) finishing: bool,
    pub(crate) filling: Option<Filling>,
    pub(crate) queue: VecDeque<Ready>,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) next_number: u32,
    pub(crate) uncommitted: Uncommitted,
    /// What the commit under way will have made durable.
    pub(crate) committing: Option<Uncommitted>,
    pub(crate) durable: Position,
    /// Everything that is queued or on disk ends here: where the next block begins.
    pub(crate) taken: Position,
    pub(crate) spare: Vec<BlockBuffer>,
    /// The last thing the disk said: no room. Until then nothing is begun.
    pub(crate) full_until: Option<Instant>,
    pub(crate) failed: Option<Failure>,
    pub(crate) recreated: bool,
    pub(crate) figures: StreamFigures,
    /// Losses that are known and not on disk yet.
    pub(crate) unrecorded: Lost,
    /// Nothing more is copied.
    pub(crate) stopping: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) jobs: Vec<SealJob>,
    /// Segments of an earlier life in which nothing is.
    pub(crate) empty: Vec<PathBuf>,
}

/// Number of the completion that is a commit; blocks count from 1.
const COMMIT: u32 = 0;
/// After the disk was full: how long until it is tried again.
const RETRY_FULL: Duration = Duration::from_millis(250);

impl StreamRecorder {
    /// Begins (or goes on) to record a ring. `index` names it among its process's.
    ///
    /// # Errors
    /// Another process records it, the ring cannot be attached to, or the directory cannot be read.
    pub fn open(options: StreamOptions, stream: Stream, index: u16) -> Result<StreamRecorder, SegmentError> {
        StreamRecorder::open_after(options, stream, index, 0, StreamFigures::default(), None)
    }

    pub(crate) fn open_after(
        options: StreamOptions,
        stream: Stream,
        index: u16,
        opening: u16,
        figures: StreamFigures,
        trusted: Option<(Place, LossCause)>,
    ) -> Result<StreamRecorder, SegmentError> {
        let directory = stream.directory(&options.archive);
        let lock = RecorderLock::take(&options.archive, &stream)?.ok_or_else(|| {
            SegmentError::format(&directory, "another process records this ring; one at a time")
        })?;
        let mut events = Vec::new();
        let mut found = find_end(&options.archive, &stream, trusted.map(|(place, _)| place))?;
        let attach =
            |resume| Consumer::attach(&options.rings, &stream.to_string(), &options.consumer, resume);
        let (mut consumer, mut base) = match found.last {
            None => (attach(Resume::Oldest)?, Position::default()),
            Some((_, instance)) => {
                let mut consumer = attach(Resume::At { instance, position: found.doubt })?;
                // Whether the ring still has what is damaged on disk: otherwise the whole blocks behind it are kept.
                if found.doubt != found.end
                    && consumer.has_continued()
                    && !stands_at(&mut consumer, found.doubt)
                {
                    drop(consumer);
                    found.doubt = found.end;
                    consumer = attach(Resume::At { instance, position: found.end })?;
                }
                (consumer, found.doubt)
            }
        };
        let mut series = found.last.map_or(0, |(name, _)| name.series);
        let continued = found.last.is_some() && consumer.has_continued();
        let mut before = None;
        if !continued {
            let last = found.last.map(|(name, _)| name.series);
            series = series_after(last, consumer.created_unix_ns());
            base = consumer.first();
            found.doubt = found.end;
            let at = consumer.position();
            if at.seq > base.seq {
                before = Some(Loss { from: base, to: at, cause: LossCause::BeforeRecorder });
            } else {
                base = at;
            }
            if last.is_some() {
                let detail = json!({"stream": stream.to_string(), "series": format!("{series:016x}")});
                events.push(Event::new(EventCode::SeriesStarted, detail));
            }
        }
        let (mut jobs, mut empty) = (Vec::new(), Vec::new());
        for mut recovered in found.open {
            if continued {
                recovered.cut_before(found.doubt.seq);
            }
            let detail = json!({
                "stream": stream.to_string(),
                "segment": recovered.header.name().to_string(),
                "records_to": recovered.end().position.seq,
                "damaged": recovered.damaged.len(),
            });
            events.push(Event::new(EventCode::SegmentRecovered, detail));
            if recovered.blocks.is_empty() {
                // Nothing is in it. It stays until a new one takes its place: it says to which numbering the ring belongs.
                empty.push(recovered.path);
            } else {
                jobs.push(SealJob::Recovered(Box::new(recovered)));
            }
        }
        consumer.set_durable(base, Ledger::default());
        consumer.store_cursor()?;
        let previous = list(&options.archive, &stream)?
            .into_iter()
            .rfind(|entry| !empty.contains(&entry.path))
            .map(|entry| entry.name);
        let detail = json!({
            "stream": stream.to_string(),
            "from_seq": base.seq,
            "continued": continued,
        });
        events.push(Event::new(EventCode::RecordingStarted, detail));
        let mut recorder = StreamRecorder {
            schema: consumer.schema().to_owned(),
            options,
            stream,
            index,
            opening,
            consumer,
            _lock: lock,
            series,
            previous,
            segment: None,
            finishing: false,
            filling: None,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_number: 1,
            uncommitted: Uncommitted::default(),
            committing: None,
            durable: base,
            taken: base,
            spare: Vec::new(),
            full_until: match trusted {
                Some((_, LossCause::DiskFull)) => Some(Instant::now() + RETRY_FULL),
                _ => None,
            },
            failed: None,
            recreated: false,
            figures,
            unrecorded: Lost::default(),
            stopping: false,
            events,
            jobs,
            empty,
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
        (
            self.figures.lost_records + self.unrecorded.records,
            self.figures.lost_octets + self.unrecorded.octets,
        )
    }

    /// What was done so far.
    pub fn figures(&self) -> &StreamFigures {
        &self.figures
    }

    /// Largest latency since the last call, nanoseconds.
    pub fn take_latency_max_ns(&mut self) -> u64 {
        std::mem::take(&mut self.figures.latency_max_ns)
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

    /// Whether nothing can be begun for want of room.
    pub fn is_full(&self) -> bool {
        self.full_until.is_some()
    }

    /// Whether nothing waits and nothing is on its way.
    pub fn is_settled(&self) -> bool {
        self.filling.is_none()
            && self.queue.is_empty()
            && self.in_flight.is_empty()
            && self.committing.is_none()
            && self.uncommitted.to.is_none()
    }

    /// What there is to tell since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Segments to seal since the last call.
    pub(crate) fn take_jobs(&mut self) -> Vec<SealJob> {
        std::mem::take(&mut self.jobs)
    }

    /// One turn: copies, hands to the disk, commits. `may_begin`: whether new segments may be begun (there is room).
    /// Returns whether anything moved.
    ///
    /// # Errors
    /// What ends the recording of this ring: it cannot be attached to any more.
    pub fn turn(&mut self, now: Instant, disk: &mut Disk, may_begin: bool) -> Result<bool, SegmentError> {
        if self.failed.is_some() {
            return self.reopen_when_quiet();
        }
        let mut moved = false;
        if !self.recreated && !self.stopping {
            moved |= self.copy(now)?;
        }
        self.retire_filling(now);
        moved |= self.write(now, disk, may_begin);
        self.commit(now, disk);
        self.finish_segment(now);
        if self.recreated && self.is_settled() && self.segment.is_none() {
            self.fail(LossCause::Recreated, "the ring was laid out anew".to_owned());
        }
        Ok(moved)
    }

    /// To be called some times a second.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn heartbeat(&mut self) -> Result<(), SegmentError> {
        Ok(self.consumer.heartbeat(tai_now_ns())?)
    }

    /// Whether a completion is of this recording (of this or an earlier opening).
    pub fn owns(&self, token: u64) -> bool {
        (token >> 48) as u16 == self.index
    }

    /// Takes a completion.
    pub fn done(&mut self, done: Done) {
        let number = done.token as u32;
        if let Some(buffer) = done.buffer {
            self.give_back(buffer);
        }
        if (done.token >> 32) as u16 != self.opening {
            return;
        }
        if number == COMMIT {
            let committed = self.committing.take();
            match (done.result, committed) {
                (Ok(()), Some(committed)) => self.committed(committed),
                (Ok(()), None) => {}
                (Err(error), _) => self.fail_io("commit", &error),
            }
            return;
        }
        if let Err(error) = done.result {
            self.in_flight.retain(|block| block.number != number);
            self.fail_io("write", &error);
            return;
        }
        if let Some(block) = self.in_flight.iter_mut().find(|block| block.number == number) {
            block.written = true;
        }
        while let Some(block) = self.in_flight.pop_front_if(|block| block.written) {
            let pending = &mut self.uncommitted;
            pending.octets += block.octets;
            pending.since.get_or_insert_with(Instant::now);
            pending.to = Some((block.end, block.ledger));
            pending.lost.add(block.lost);
            pending.published_tai_ns.extend(block.published_tai_ns);
        }
    }

    fn committed(&mut self, committed: Uncommitted) {
        let now = tai_now_ns();
        for published in &committed.published_tai_ns {
            let latency = u64::try_from(now.saturating_sub(*published)).unwrap_or(0);
            self.figures.durable_latency_ns.saturating_record(latency);
            self.figures.latency_max_ns = self.figures.latency_max_ns.max(latency);
        }
        self.figures.records += committed.published_tai_ns.len() as u64;
        self.figures.lost_records += committed.lost.records;
        self.figures.lost_octets += committed.lost.octets;
        self.unrecorded.records = self.unrecorded.records.saturating_sub(committed.lost.records);
        self.unrecorded.octets = self.unrecorded.octets.saturating_sub(committed.lost.octets);
        self.figures.octets += committed.octets;
        self.figures.commits += 1;
        if let Some((position, ledger)) = committed.to {
            self.durable = position;
            self.consumer.set_durable(position, ledger);
            if let Err(error) = self.consumer.store_cursor() {
                self.fail(LossCause::DiskError, error.to_string());
            }
        }
    }

    /// Hands complete blocks to the disk as long as the segment has room.
    fn write(&mut self, now: Instant, disk: &mut Disk, may_begin: bool) -> bool {
        let mut moved = false;
        while let Some(ready) = self.queue.front() {
            let len = match ready {
                Ready::Block(block) => (BLOCK_HEADER_LEN + block.len).next_multiple_of(PAGE_LEN),
                Ready::Loss(..) => PAGE_LEN,
            };
            if self.finishing {
                break;
            }
            match &self.segment {
                Some(segment) => {
                    let full =
                        segment.offset + len as u64 > self.options.segment_len && !segment.blocks.is_empty();
                    if full || now.duration_since(segment.begun) >= self.options.seal_after {
                        self.finishing = true;
                        break;
                    }
                }
                None => {
                    if !self.begin_segment(now, may_begin) {
                        break;
                    }
                }
            }
            if let Some(ready) = self.queue.pop_front() {
                self.hand_over(ready, disk);
                moved = true;
            }
            if self.failed.is_some() {
                break;
            }
        }
        moved
    }

    fn hand_over(&mut self, ready: Ready, disk: &mut Disk) {
        let Some(segment) = &mut self.segment else { return };
        let builder =
            BlockBuilder { id: segment.header.id, offset: segment.offset, written_unix_ns: unix_now_ns() };
        let mut published_tai_ns = Vec::new();
        let (header, buffer, ledger) = match ready {
            Ready::Block(Filling { mut buffer, len: content_len, begin, end, ledger, .. }) => {
                let seen = |record: &Record| published_tai_ns.push(record.tag.pub_tai_ns);
                match builder.records(buffer.as_mut_slice(), content_len, begin, end, seen) {
                    Ok(header) => (header, buffer, ledger),
                    // A confirmed span does not hold together: only a damaged ring does that.
                    Err(_) => {
                        let loss = Loss { from: begin, to: end, cause: LossCause::CorruptRing };
                        self.unrecorded.add(Lost::from(&loss));
                        (builder.loss(buffer.as_mut_slice(), &loss), buffer, ledger)
                    }
                }
            }
            Ready::Loss(loss, ledger) => {
                let mut buffer = self.spare.pop().unwrap_or_else(|| BlockBuffer::new(PAGE_LEN));
                (builder.loss(buffer.as_mut_slice(), &loss), buffer, ledger)
            }
        };
        let lost = header.loss().map_or(Lost::default(), |loss| Lost::from(&loss));
        if header.loss().is_some() {
            published_tai_ns.clear();
        }
        let len = header.file_len() as usize;
        let offset = segment.offset;
        segment.add(header, &buffer.as_slice()[..len]);
        let file = Arc::clone(&segment.file);
        let number = self.next_number;
        self.next_number = number.checked_add(1).unwrap_or(1);
        let octets = len as u64;
        let written = false;
        self.in_flight.push_back(InFlight {
            number,
            end: header.end,
            ledger,
            octets,
            published_tai_ns,
            lost,
            written,
        });
        disk.write(self.token(number), &file, buffer, len, offset);
    }

    fn token(&self, number: u32) -> u64 {
        u64::from(self.index) << 48 | u64::from(self.opening) << 32 | u64::from(number)
    }

    fn begin_segment(&mut self, now: Instant, may_begin: bool) -> bool {
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        if !may_begin {
            self.full(now, "under the critical level");
            return false;
        }
        let base = match self.queue.front() {
            Some(Ready::Block(block)) => block.begin,
            Some(Ready::Loss(loss, _)) => loss.from,
            None => return false,
        };
        let header = SegmentHeader {
            stream: self.stream.clone(),
            schema: self.schema.clone(),
            id: random_id(),
            instance: self.consumer.instance(),
            series: self.series,
            base,
            created_unix_ns: unix_now_ns(),
            previous: self.previous,
        };
        let name = header.name();
        let directory = self.stream.directory(&self.options.archive);
        match OpenSegment::create(&directory, header, self.options.segment_len, self.options.direct) {
            Ok((segment, kind)) => {
                if self.figures.segments == 0 {
                    tracing::info!(
                        stream = %self.stream, direct = kind.direct, allocated_ahead = kind.allocated,
                        "first segment begun"
                    );
                }
                self.figures.segments += 1;
                self.previous = Some(name);
                for path in self.empty.drain(..).filter(|path| *path != segment.path) {
                    if let Err(error) = std::fs::remove_file(&path) {
                        tracing::warn!("cannot remove the empty segment {}: {error}", path.display());
                    }
                }
                self.segment = Some(segment);
                if self.full_until.take().is_some() {
                    let detail = json!({"stream": self.stream.to_string()});
                    self.events.push(Event::new(EventCode::DiskRecovered, detail));
                }
                true
            }
            Err(error) if is_full(&error) => {
                self.full(now, &error.to_string());
                false
            }
            Err(error) => {
                self.fail_io("begin a segment", &error);
                false
            }
        }
    }

    fn full(&mut self, now: Instant, text: &str) {
        if self.full_until.is_none() {
            let detail = json!({"stream": self.stream.to_string(), "reason": text});
            self.events.push(Event::new(EventCode::DiskFull, detail));
        }
        self.full_until = Some(now + RETRY_FULL);
    }

    fn commit(&mut self, now: Instant, disk: &mut Disk) {
        if self.committing.is_some() || self.uncommitted.to.is_none() {
            return;
        }
        // Blocks come full or old: what has been written waits only while more is on its way and the group is small.
        let due = self.in_flight.is_empty()
            || self.uncommitted.octets >= self.options.commit_len
            || self
                .uncommitted
                .since
                .is_some_and(|since| now.duration_since(since) >= self.options.commit_interval);
        let Some(segment) = self.segment.as_ref().filter(|_| due) else { return };
        disk.commit(self.token(COMMIT), &segment.file);
        self.committing = Some(std::mem::take(&mut self.uncommitted));
    }

    /// A segment that is full or old is handed to be sealed when all of it is committed.
    fn finish_segment(&mut self, now: Instant) {
        let old = self.segment.as_ref().is_some_and(|segment| {
            !segment.blocks.is_empty() && now.duration_since(segment.begun) >= self.options.seal_after
        });
        self.finishing |= old;
        let committed =
            self.in_flight.is_empty() && self.committing.is_none() && self.uncommitted.to.is_none();
        if !self.finishing || !committed {
            return;
        }
        self.finishing = false;
        if let Some(segment) = self.segment.take() {
            self.jobs.push(SealJob::finished(segment));
        }
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
        self.is_settled() && self.segment.is_none()
    }

    /// Tells the ring not to watch the cursor any more.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn detach(self) -> Result<(), BusError> {
        self.consumer.detach()
    }

    fn fail_io(&mut self, action: &str, error: &std::io::Error) {
        let cause = if is_full(error) { LossCause::DiskFull } else { LossCause::DiskError };
        self.fail(cause, format!("cannot {action}: {error}"));
    }

    fn fail(&mut self, cause: LossCause, text: String) {
        self.failed.get_or_insert(Failure { cause, text });
    }

    /// Opens the recording again once the disk has given everything back.
    fn reopen_when_quiet(&mut self) -> Result<bool, SegmentError> {
        if self.committing.is_some() || self.in_flight.iter().any(|block| !block.written) {
            return Ok(false);
        }
        let Some(Failure { cause, text }) = self.failed.take() else { return Ok(false) };
        if cause != LossCause::Recreated {
            let code = if cause == LossCause::DiskFull { EventCode::DiskFull } else { EventCode::DiskError };
            self.events.push(Event::new(code, json!({"stream": self.stream.to_string(), "reason": text})));
            self.figures.reopened += 1;
        }
        Err(SegmentError::format(&self.stream.directory(&self.options.archive), text))
    }

    /// After [`StreamRecorder::turn`] has failed: what a new recording of the same ring begins with.
    pub(crate) fn into_seed(mut self) -> Seed {
        let events = std::mem::take(&mut self.events);
        Seed {
            options: self.options,
            stream: self.stream,
            index: self.index,
            opening: self.opening.wrapping_add(1),
            figures: self.figures,
            trusted: (
                Place { series: self.series, position: self.durable },
                if self.full_until.is_some() { LossCause::DiskFull } else { LossCause::DiskError },
            ),
            events,
            jobs: self.jobs,
        }
    }
}
