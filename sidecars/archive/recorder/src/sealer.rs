//! The second thread: seals finished segments, in order for each ring, and signs the days that are over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fep_segments::{
    BlockHeader, Chain, ContentHash, Footer, SegmentError, SegmentHeader, Stream, list_aside, recover, seal,
    streams,
};
use fep_time::clock::unix_now_ns;
use serde_json::json;

use crate::event::{Event, EventCode};
use crate::segment::OpenSegment;
use crate::signing::{Clocks, Signing};
use crate::writing::BLOCKS_MAX;

/// How often the day is looked at, and failed jobs are tried again.
const ROUND: Duration = Duration::from_secs(1);

/// Block headers that finished segments may hold in memory until they are sealed. What comes when they are more is sealed
/// from its file: a disk on which nothing can be sealed costs time, not memory.
const BLOCKS_HELD_MAX: usize = 4 * BLOCKS_MAX;
/// Rounds in which a file must turn out to be unusable before it is put aside: it may be in work only at the first.
const LOOKS: u32 = 2;
/// How often files that were put aside are counted.
const COUNT: Duration = Duration::from_secs(30);

/// One segment to seal.
pub(crate) enum SealJob {
    /// Written by this process: everything is known.
    Finished(Box<Finished>),
    /// To be read from its file first: left by a recorder that died, or given up after an error of the disk, which may have
    /// to be mended before anything can be read.
    FromFile {
        /// Its file.
        path: PathBuf,
        /// Its stream.
        stream: Stream,
        /// Only what comes before this record counts; the rest is in later segments. `None`: all of it.
        end_seq: Option<u64>,
    },
}

/// A segment that is committed to its end.
pub(crate) struct Finished {
    path: PathBuf,
    header: SegmentHeader,
    blocks: Vec<BlockHeader>,
    content_end: u64,
    content_hash: ContentHash,
}

impl SealJob {
    pub(crate) fn finished(segment: OpenSegment) -> SealJob {
        SealJob::Finished(Box::new(Finished {
            content_hash: segment.content_hash(),
            content_end: segment.offset,
            path: segment.path,
            header: segment.header,
            blocks: segment.blocks,
        }))
    }

    pub(crate) fn left_open(path: PathBuf, stream: Stream) -> SealJob {
        SealJob::FromFile { path, stream, end_seq: None }
    }

    pub(crate) fn abandoned(segment: OpenSegment, end_seq: u64) -> SealJob {
        SealJob::FromFile { path: segment.path, stream: segment.header.stream, end_seq: Some(end_seq) }
    }

    /// What was left open gives up its records from `seq` on: they are on disk a second time.
    pub(crate) fn give_up_from(&mut self, seq: u64) {
        if let SealJob::FromFile { end_seq, .. } = self {
            end_seq.get_or_insert(seq);
        }
    }

    /// Block headers that it keeps in memory.
    fn blocks_held(&self) -> usize {
        match self {
            SealJob::Finished(finished) => finished.blocks.capacity(),
            SealJob::FromFile { .. } => 0,
        }
    }

    /// The same job, done from the file.
    fn without_blocks(self) -> SealJob {
        match self {
            SealJob::Finished(finished) => SealJob::left_open(finished.path, finished.header.stream),
            SealJob::FromFile { .. } => self,
        }
    }

    fn stream(&self) -> &Stream {
        match self {
            SealJob::Finished(finished) => &finished.header.stream,
            SealJob::FromFile { stream, .. } => stream,
        }
    }

    fn path(&self) -> &Path {
        match self {
            SealJob::Finished(finished) => &finished.path,
            SealJob::FromFile { path, .. } => path,
        }
    }

    fn seal(&self, chain: Chain) -> Result<(PathBuf, Footer), SegmentError> {
        match self {
            SealJob::Finished(finished) => {
                let Finished { path, header, blocks, content_end, content_hash } = &**finished;
                seal(path, header, blocks, *content_end, *content_hash, chain, unix_now_ns())
            }
            SealJob::FromFile { path, end_seq, .. } => {
                let mut recovered = recover(path)?;
                if let Some(end_seq) = end_seq {
                    recovered.cut_before(*end_seq);
                }
                recovered.seal(chain, unix_now_ns())
            }
        }
    }
}

/// What the thread has before it, for others to see.
#[derive(Debug, Default)]
pub(crate) struct SealerFigures {
    /// Segments that wait to be sealed.
    pub(crate) waiting: AtomicU64,
    /// Files that were put aside because they are damaged, and are not repaired.
    pub(crate) damaged: AtomicU64,
    /// 1 while days that are over cannot be signed.
    pub(crate) signing_failed: AtomicU64,
}

/// Handle of the thread.
pub(crate) struct Sealer {
    jobs: Option<Sender<SealJob>>,
    events: Receiver<Event>,
    figures: Arc<SealerFigures>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Starts the thread. `root_key`: file of the key that signs the days, if they are signed.
    pub(crate) fn start(archive: PathBuf, root_key: Option<PathBuf>) -> std::io::Result<Sealer> {
        let (jobs, inbox) = channel();
        let (outbox, events) = channel();
        let figures = Arc::<SealerFigures>::default();
        let told = Arc::clone(&figures);
        let thread = std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            Work::new(archive, root_key, outbox, told).run(&inbox);
        })?;
        Ok(Sealer { jobs: Some(jobs), events, figures, thread: Some(thread) })
    }

    /// What the thread has before it.
    pub(crate) fn figures(&self) -> &SealerFigures {
        &self.figures
    }

    pub(crate) fn add(&self, job: SealJob) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when this sender is gone.
            let _ = jobs.send(job);
        }
    }

    pub(crate) fn next_event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Lets it do what it has, at most for `limit`; what is left is done by the next life of the recorder.
    pub(crate) fn stop(&mut self, limit: Duration) {
        self.jobs = None;
        let started = Instant::now();
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && started.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

struct Work {
    archive: PathBuf,
    waiting: BTreeMap<Stream, VecDeque<SealJob>>,
    outbox: Sender<Event>,
    figures: Arc<SealerFigures>,
    /// Files that were found unusable, and in how many rounds.
    suspects: BTreeMap<PathBuf, u32>,
    /// What was put aside and may still have a job.
    aside: BTreeSet<PathBuf>,
    count_after: Instant,
    signing: Option<Signing>,
    failing: bool,
}

impl Work {
    fn new(
        archive: PathBuf,
        root_key: Option<PathBuf>,
        outbox: Sender<Event>,
        figures: Arc<SealerFigures>,
    ) -> Work {
        Work {
            signing: root_key.map(|key| Signing::new(&archive, key)),
            archive,
            waiting: BTreeMap::new(),
            outbox,
            figures,
            suspects: BTreeMap::new(),
            aside: BTreeSet::new(),
            count_after: Instant::now(),
            failing: false,
        }
    }

    fn run(&mut self, inbox: &Receiver<SealJob>) {
        let mut next_round = Instant::now();
        loop {
            match inbox.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    self.take(job);
                    // What failed is tried again once a round, however many jobs come.
                    if self.failing {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.round();
                    return;
                }
            }
            self.round();
            if let Some(signing) = &mut self.signing {
                signing.turn(Clocks::now(), &self.outbox, &self.figures);
            }
            self.count();
            next_round = Instant::now() + ROUND;
        }
    }

    fn take(&mut self, job: SealJob) {
        let held: usize = self.waiting.values().flatten().map(SealJob::blocks_held).sum();
        let job = if held + job.blocks_held() > BLOCKS_HELD_MAX { job.without_blocks() } else { job };
        self.waiting.entry(job.stream().clone()).or_default().push_back(job);
    }

    /// Seals what can be sealed; a job that fails keeps its place before the later ones of its ring.
    fn round(&mut self) {
        let mut failed = None;
        let mut unusable = Vec::new();
        for jobs in self.waiting.values_mut() {
            while let Some(job) = jobs.front() {
                // Found twice: by the recording that finished it and by one that was opened again meanwhile. Or somebody
                // has removed it, with all it held.
                if is_missing(job.path()) {
                    let is_known = self.aside.remove(job.path());
                    if !is_known && !job.path().with_extension("seg").exists() {
                        let detail = json!({
                            "stream": job.stream().to_string(),
                            "file": job.path().display().to_string(),
                            "hint": "it was removed before it was sealed: restore it from a backup",
                        });
                        tell(&self.outbox, EventCode::SegmentsMissing, detail);
                    }
                    jobs.pop_front();
                    continue;
                }
                match Chain::of(&self.archive, job.stream()).and_then(|chain| job.seal(chain)) {
                    Ok((_, footer)) => {
                        let detail = json!({
                            "stream": footer.stream.to_string(),
                            "segment": footer.name().to_string(),
                            "records": footer.records,
                            "octets": footer.octets,
                            "lost_records": footer.lost_records,
                            "end_seq": footer.end.seq,
                        });
                        tell(&self.outbox, EventCode::SegmentSealed, detail);
                        jobs.pop_front();
                    }
                    Err(error) => {
                        if let Some((path, problem)) = condemned(&error) {
                            unusable.push((job.stream().clone(), path, problem));
                        }
                        failed = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        self.waiting.retain(|_, jobs| !jobs.is_empty());
        self.put_aside(unusable);
        let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
        self.figures.waiting.store(waiting as u64, Ordering::Relaxed);
        match (&failed, self.failing) {
            (Some(reason), false) => {
                let detail = json!({"reason": reason, "segments_waiting": waiting});
                tell(&self.outbox, EventCode::SealingFailed, detail);
            }
            (None, true) => tell(&self.outbox, EventCode::SealingRecovered, json!({})),
            _ => {}
        }
        self.failing = failed.is_some();
    }

    /// Puts files aside that stand in the way of sealing and were found unusable before: the newest sealed segment, whose
    /// footer the chain goes on from, or the one that is to be sealed.
    fn put_aside(&mut self, unusable: Vec<(Stream, PathBuf, String)>) {
        let mut suspects = BTreeMap::new();
        for (stream, path, problem) in unusable {
            // While the disk obeys nothing it says nothing of this file either: such a look does not count.
            if fep_segments::probe_disk(&self.archive, &stream).is_err() {
                continue;
            }
            let looks = self.suspects.get(&path).copied().unwrap_or(0) + 1;
            let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let Some(name) = name.filter(|_| path.parent() == Some(&stream.directory(&self.archive))) else {
                continue;
            };
            if looks < LOOKS {
                suspects.insert(path, looks);
                continue;
            }
            match fep_segments::put_aside(&path, &problem) {
                Ok(aside) => {
                    let event = Event::damaged(&stream, name, &path, Some(&aside), &problem);
                    // Nobody listens any more only when the process ends.
                    let _ = self.outbox.send(event);
                    if self
                        .waiting
                        .get(&stream)
                        .and_then(VecDeque::front)
                        .is_some_and(|job| job.path() == path)
                    {
                        self.aside.insert(path);
                    }
                    self.count_after = Instant::now();
                }
                Err(_) => {
                    suspects.insert(path, looks);
                }
            }
        }
        self.suspects = suspects;
    }

    /// Counts the files that were put aside.
    fn count(&mut self) {
        let now = Instant::now();
        if now < self.count_after {
            return;
        }
        self.count_after = now + COUNT;
        let streams = streams(&self.archive).unwrap_or_default();
        let damaged =
            streams.iter().map(|stream| list_aside(&self.archive, stream).map_or(0, |files| files.len()));
        self.figures.damaged.store(damaged.sum::<usize>() as u64, Ordering::Relaxed);
    }
}

/// Whether nothing has this name. What cannot be found out is no reason to give a segment up.
fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The file that keeps a segment from being sealed, if it is one that cannot be used.
fn condemned(error: &SegmentError) -> Option<(PathBuf, String)> {
    match error {
        SegmentError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Some((path.clone(), "another segment has its name".to_owned()))
        }
        error => error.condemned().map(|(path, problem)| (path.to_owned(), problem)),
    }
}

pub(crate) fn tell(outbox: &Sender<Event>, code: EventCode, detail: serde_json::Value) {
    // Nobody listens any more only when the process ends.
    let _ = outbox.send(Event::new(code, detail));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_bus::{Colour, Position, Tag};
    use fep_segments::{ContentHasher, Expected, SegmentState, SegmentWriter, list, put_aside, verify_tree};

    fn stream() -> Stream {
        Stream::new(Colour::Black, "cso-1.frames")
    }

    /// A segment that is committed and not sealed, as the recording leaves it; it begins at record `seq`.
    fn finished(archive: &Path, seq: u64, room_for_blocks: usize) -> SealJob {
        let header = SegmentHeader {
            stream: stream(),
            schema: "ccsds.frame.v1".to_owned(),
            id: seq,
            instance: 7,
            series: 1000,
            base: Position { seq, pos: (seq - 1) * 128, payload: (seq - 1) * 50 },
            created_unix_ns: 1,
            previous: None,
        };
        let mut writer = SegmentWriter::create(archive, header).unwrap();
        for _ in 0..10 {
            writer.record(Tag::default(), &[1; 50]).unwrap();
        }
        writer.flush().unwrap();
        let recovered = recover(writer.path()).unwrap();
        let octets = std::fs::read(writer.path()).unwrap();
        let mut hasher = ContentHasher::default();
        hasher.update(&octets[..recovered.content_end as usize]);
        let mut blocks = Vec::with_capacity(room_for_blocks);
        blocks.extend_from_slice(&recovered.blocks);
        SealJob::Finished(Box::new(Finished {
            path: recovered.path,
            header: recovered.header,
            blocks,
            content_end: recovered.content_end,
            content_hash: hasher.hash(),
        }))
    }

    fn work(archive: &Path) -> (Work, Receiver<Event>) {
        let (outbox, events) = channel();
        (Work::new(archive.to_owned(), None, outbox, Arc::default()), events)
    }

    fn codes(events: &Receiver<Event>) -> Vec<EventCode> {
        events.try_iter().map(|event| event.code).collect()
    }

    fn newest_sealed(archive: &Path) -> PathBuf {
        let entries = list(archive, &stream()).unwrap();
        entries.into_iter().rfind(|entry| entry.state == SegmentState::Sealed).unwrap().path
    }

    // REQ: FEP-REC-404
    #[test]
    fn segments_that_cannot_be_sealed_hold_a_bounded_number_of_block_headers_and_are_sealed_later() {
        let directory = tempfile::tempdir().unwrap();
        let (mut work, events) = work(directory.path());
        for number in 0..24 {
            work.take(finished(directory.path(), 1 + 10 * number, BLOCKS_MAX / 2));
            let held: usize = work.waiting.values().flatten().map(SealJob::blocks_held).sum();
            assert!(held <= BLOCKS_HELD_MAX, "{held} block headers after {number} segments");
        }
        let from_file = work.waiting[&stream()].iter().filter(|job| matches!(job, SealJob::FromFile { .. }));
        assert_eq!(from_file.count(), 24 - 2 * BLOCKS_HELD_MAX / BLOCKS_MAX);
        work.round();
        assert_eq!(codes(&events), [EventCode::SegmentSealed; 24]);
        let report = verify_tree(directory.path(), &Expected::default(), |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.streams[&stream()].iter().map(|segment| segment.records).sum::<u64>(), 240);
    }

    // REQ: FEP-REC-401
    // REQ: FEP-REC-404
    #[test]
    fn a_footer_that_is_damaged_while_the_recorder_runs_delays_sealing_and_does_not_end_it() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path();
        let (mut work, events) = work(archive);
        work.take(finished(archive, 1, 1));
        work.round();
        let sealed = newest_sealed(archive);
        let len = std::fs::metadata(&sealed).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(&sealed).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 300], len - 4096).unwrap();
        for seq in [11, 21] {
            work.take(finished(archive, seq, 1));
        }
        assert_eq!(codes(&events), [EventCode::SegmentSealed]);
        work.round();
        assert_eq!(work.figures.waiting.load(Ordering::Relaxed), 2);
        assert_eq!(
            codes(&events),
            [EventCode::SealingFailed],
            "it may be in work: it is looked at once more"
        );
        work.round();
        assert_eq!(codes(&events), [EventCode::SegmentDamaged]);
        work.round();
        let sealed = [EventCode::SegmentSealed, EventCode::SegmentSealed, EventCode::SealingRecovered];
        assert_eq!(codes(&events), sealed);
        work.count();
        let figures = &work.figures;
        assert_eq!(
            (figures.waiting.load(Ordering::Relaxed), figures.damaged.load(Ordering::Relaxed)),
            (0, 1)
        );
    }

    // REQ: FEP-REC-401
    #[test]
    fn a_segment_that_cannot_be_sealed_itself_is_put_aside_and_those_behind_it_are_sealed() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path();
        let (mut work, events) = work(archive);
        let damaged = finished(archive, 1, 1).without_blocks();
        std::fs::write(damaged.path(), [0; 9000]).unwrap();
        let taken_away = finished(archive, 11, 1);
        std::fs::remove_file(taken_away.path()).unwrap();
        let known = finished(archive, 21, 1);
        put_aside(known.path(), "by hand").unwrap();
        for job in [damaged, taken_away, known, finished(archive, 31, 1)] {
            work.take(job);
        }
        (0..3).for_each(|_| work.round());
        let expected = [
            EventCode::SealingFailed,
            EventCode::SegmentDamaged,
            EventCode::SegmentsMissing,
            EventCode::SegmentsMissing,
            EventCode::SegmentSealed,
            EventCode::SealingRecovered,
        ];
        assert_eq!(codes(&events), expected);
        assert!(work.waiting.is_empty() && work.aside.is_empty());
    }
}
