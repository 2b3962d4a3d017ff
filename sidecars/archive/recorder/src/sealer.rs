//! The second thread: seals finished segments, in order for each ring, and signs the days that are over.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fep_segments::{
    BlockHeader, Chain, Footer, Recovered, SegmentError, SegmentHeader, Stream, recover, roots, seal,
};
use fep_time::clock::unix_now_ns;
use serde_json::json;

use crate::event::{Event, EventCode};
use crate::segment::OpenSegment;

/// How often the day is looked at, and failed jobs are tried again.
const ROUND: Duration = Duration::from_secs(1);

/// One segment to seal.
pub(crate) enum SealJob {
    /// Written by this process: everything is known.
    Finished(Box<Finished>),
    /// Left by one that died.
    Recovered(Box<Recovered>),
    /// Given up after an error of the disk, which may have to be mended before anything can be read.
    Abandoned {
        /// Its file.
        path: PathBuf,
        /// Its stream.
        stream: Stream,
        /// Only what comes before this record is committed; the rest is in the next segment.
        end_seq: u64,
    },
}

/// A segment that is committed to its end.
pub(crate) struct Finished {
    path: PathBuf,
    header: SegmentHeader,
    blocks: Vec<BlockHeader>,
    content_end: u64,
    content_sha256: [u8; 32],
}

impl SealJob {
    pub(crate) fn finished(segment: OpenSegment) -> SealJob {
        SealJob::Finished(Box::new(Finished {
            content_sha256: segment.content_hash(),
            content_end: segment.offset,
            path: segment.path,
            header: segment.header,
            blocks: segment.blocks,
        }))
    }

    pub(crate) fn abandoned(segment: OpenSegment, end_seq: u64) -> SealJob {
        SealJob::Abandoned { path: segment.path, stream: segment.header.stream, end_seq }
    }

    fn stream(&self) -> &Stream {
        match self {
            SealJob::Finished(finished) => &finished.header.stream,
            SealJob::Recovered(recovered) => &recovered.header.stream,
            SealJob::Abandoned { stream, .. } => stream,
        }
    }

    fn path(&self) -> &Path {
        match self {
            SealJob::Finished(finished) => &finished.path,
            SealJob::Recovered(recovered) => &recovered.path,
            SealJob::Abandoned { path, .. } => path,
        }
    }

    fn seal(&self, chain: Chain) -> Result<(PathBuf, Footer), SegmentError> {
        match self {
            SealJob::Finished(finished) => {
                let Finished { path, header, blocks, content_end, content_sha256 } = &**finished;
                seal(path, header, blocks, *content_end, *content_sha256, chain, unix_now_ns())
            }
            SealJob::Recovered(recovered) => recovered.seal(chain, unix_now_ns()),
            SealJob::Abandoned { path, end_seq, .. } => {
                let mut recovered = recover(path)?;
                recovered.cut_before(*end_seq);
                recovered.seal(chain, unix_now_ns())
            }
        }
    }
}

/// Handle of the thread.
pub(crate) struct Sealer {
    jobs: Option<Sender<SealJob>>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Starts the thread. `root_key`: file of the key that signs the days, if they are signed.
    pub(crate) fn start(archive: PathBuf, root_key: Option<PathBuf>) -> std::io::Result<Sealer> {
        let (jobs, inbox) = channel();
        let (outbox, events) = channel();
        let thread = std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            let mut work =
                Work { archive, root_key, waiting: BTreeMap::new(), outbox, signed: None, failing: false };
            work.run(&inbox);
        })?;
        Ok(Sealer { jobs: Some(jobs), events, thread: Some(thread) })
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
    root_key: Option<PathBuf>,
    waiting: BTreeMap<Stream, VecDeque<SealJob>>,
    outbox: Sender<Event>,
    /// The last day on which past days were looked at.
    signed: Option<String>,
    failing: bool,
}

impl Work {
    fn run(&mut self, inbox: &Receiver<SealJob>) {
        loop {
            match inbox.recv_timeout(ROUND) {
                Ok(job) => self.waiting.entry(job.stream().clone()).or_default().push_back(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.round();
                    return;
                }
            }
            self.round();
            self.sign();
        }
    }

    /// Seals what can be sealed; a job that fails keeps its place before the later ones of its ring.
    fn round(&mut self) {
        let mut failed = None;
        for jobs in self.waiting.values_mut() {
            while let Some(job) = jobs.front() {
                // Found twice: by the recording that finished it and by one that was opened again meanwhile.
                if !job.path().exists() {
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
                        failed = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        self.waiting.retain(|_, jobs| !jobs.is_empty());
        if let (Some(reason), false) = (&failed, self.failing) {
            tell(&self.outbox, EventCode::SealingFailed, json!({"reason": reason}));
        }
        self.failing = failed.is_some();
    }

    fn sign(&mut self) {
        let Some(key_file) = &self.root_key else { return };
        let now = unix_now_ns();
        let today = roots::day_of(now).to_string();
        if self.signed.as_deref() == Some(&today) {
            return;
        }
        match roots::signing_key(key_file).and_then(|key| roots::sign_past_days(&self.archive, now, &key)) {
            Ok(days) => {
                if days > 0 {
                    tell(&self.outbox, EventCode::DaySigned, json!({"days": days}));
                }
            }
            Err(error) => tell(&self.outbox, EventCode::SealingFailed, json!({"reason": error.to_string()})),
        }
        // Told once a day, tried again tomorrow: the days add up.
        self.signed = Some(today);
    }
}

fn tell(outbox: &Sender<Event>, code: EventCode, detail: serde_json::Value) {
    // Nobody listens any more only when the process ends.
    let _ = outbox.send(Event::new(code, detail));
}
