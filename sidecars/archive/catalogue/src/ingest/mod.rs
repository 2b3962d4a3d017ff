//! From the recorder's files into index and catalogue, again and again, to the same end.
//!
//! [`Ingest::step`] takes in the sealed segments that came: makes their index files, stores these, and only then puts segment
//! and index into the catalogue in one transaction. Killed anywhere, it does the unfinished segment again: the files have the
//! same names and octets, the transaction was not there. Any order, and any segment twice, gives the same catalogue.
//!
//! Segments whose octets are in the object store alone are found there at the first step, so that a new catalogue knows them
//! again without being asked.

mod build;
mod extract;
mod following;
mod found;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_segments::{Footer, SegmentEntry, SegmentError, SegmentState as FileState, SetAside, Stream};
use fep_time::tai_now;
use fep_time::{LeapSeconds, Tai};
use serde::{Deserialize, Serialize};

use crate::index::{Extracted, INDEX_VERSION, Unindexed};
use crate::model::{IndexFile, Segment, SegmentFacts, SegmentId, SegmentState, Tier};
use crate::packet_layout::PacketLayouts;
use crate::sql::{Catalogue, Inserted, SegmentFilter};
use crate::store::Store;
use crate::{Error, Summary, Tail, TailLimits};

use build::{build_file, build_object, facts_of, removed_footer};
use extract::extract_packets;
pub use extract::packets_ring;
use following::Following;
use found::{Found, News};

pub use build::{SegmentIndex, build_index};
pub(crate) use build::{build_again, index_again, keep_index};
pub(crate) use extract::Places;

/// What to take in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// The recorder's directory.
    pub archive: PathBuf,
    /// The directory of the rings, for the open tail; `None`: what is not on disk is not seen.
    #[serde(default)]
    pub bus: Option<PathBuf>,
    /// Whether rows of unsealed segments are kept in the [`Tail`].
    #[serde(default)]
    pub tail: bool,
    /// How much the [`Tail`] may take.
    #[serde(default)]
    pub tail_limits: TailLimits,
    /// What the missions say of packets.
    #[serde(default)]
    pub packets: PacketLayouts,
    /// Name of the service where several follow the same rings, at most [`SERVICE_NAME_MAX`] octets; "" for the only one.
    #[serde(default)]
    pub service: String,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestStep {
    /// Segments that are new in the catalogue.
    pub segments: Vec<SegmentId>,
    /// Segments whose missing index files were made again.
    pub repaired: Vec<SegmentId>,
    /// Segments that cannot be taken in, and why. They are looked at again when another file has their name.
    pub refused: Vec<(SegmentId, String)>,
    /// Segments that could not be read this time, and why. They are tried again by themselves.
    pub put_off: Vec<(SegmentId, String)>,
    /// Records that went into the tail.
    pub tail_records: u64,
    /// Segments of frames that were in the catalogue without their packets, and have an index of them now.
    pub extracted: Vec<SegmentId>,
}

impl IngestStep {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == IngestStep::default()
    }
}

/// Takes in segments and, on wish, the open tail.
pub struct Ingest {
    config: IngestConfig,
    layouts: Arc<PacketLayouts>,
    catalogue: Catalogue,
    store: Store,
    tail: Tail,
    found: Found,
    news: VecDeque<News>,
    /// What is to be taken in.
    waiting: BTreeMap<SegmentId, Waiting>,
    /// What cannot be taken in. It is looked at again when another file has its name.
    refused: BTreeMap<SegmentId, Refused>,
    /// Files that the recorder put aside because they are damaged.
    aside: BTreeMap<Stream, Vec<SetAside>>,
    /// Whether the object store was looked through.
    objects_listed: bool,
    /// What was found there alone.
    unknown: Vec<SegmentId>,
    /// The last question that was answered by looking.
    answered: u64,
    /// The last reception of each stream that the catalogue has.
    reached: BTreeMap<Stream, i64>,
    following: Following,
    /// Whether a first step has seen all that was there: before, nobody can say which packets were recorded.
    is_settled: bool,
    extracted: Extracted,
    /// When what could not be read is tried again.
    extract_failed_at: Instant,
}

struct Refused {
    why: String,
    file: Option<FileIdentity>,
}

/// Device, inode, octets, and seconds and nanoseconds of the last change: another file, or other contents, has another.
type FileIdentity = (u64, u64, u64, i64, i64);

fn identity_of(path: &Path) -> Option<FileIdentity> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

struct Waiting {
    stream: Stream,
    entry: SegmentEntry,
    not_before: Instant,
    /// The last reception in the catalogue before it, once it had to be put off.
    reached: i64,
}

/// Longest name of a service: with what stands before it, a ring takes it as the name of a consumer.
pub const SERVICE_NAME_MAX: usize = 13;

/// Name of the tail's cursors in the rings: different for services of different names, and for one with red data beside one
/// without. A ring has one reader of a name at a time.
fn consumer_name(service: &str, sees_red: bool) -> String {
    let red = if sees_red { "-red" } else { "" };
    let service = if service.is_empty() { String::new() } else { format!(".{service}") };
    format!("archive-index{red}{service}")
}

/// When a segment that could not be read is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Segments of the catalogue that are held at a time where all of a stream are gone through.
const PAGE: u32 = 5000;

impl Ingest {
    /// Begins. Segments whose index files are gone from the store are indexed again in the first step.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open(config: IngestConfig, catalogue: Catalogue, store: Store) -> Result<Ingest, Error> {
        // A store that does not answer is better known now than with the first segment.
        store.size("index").await?;
        let layouts = Arc::new(config.packets.clone());
        let tail = Tail::with_layouts(config.tail_limits.clone(), Arc::clone(&layouts));
        let consumer = consumer_name(&config.service, catalogue.sees_red());
        Ok(Ingest {
            found: Found::new(&config.archive, catalogue.sees_red()),
            following: Following::new(tail.clone(), Arc::clone(&layouts), consumer),
            layouts,
            config,
            catalogue,
            store,
            tail,
            news: VecDeque::new(),
            waiting: BTreeMap::new(),
            refused: BTreeMap::new(),
            aside: BTreeMap::new(),
            objects_listed: false,
            unknown: Vec::new(),
            answered: 0,
            reached: BTreeMap::new(),
            is_settled: false,
            extracted: Extracted::default(),
            extract_failed_at: Instant::now(),
        })
    }

    /// Rows of what is not sealed yet.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Segments that cannot be taken in, and why. They are tried again when another file has their name.
    pub fn refused(&self) -> impl Iterator<Item = (&SegmentId, &str)> {
        self.refused.iter().map(|(id, refused)| (id, refused.why.as_str()))
    }

    /// Files that the recorder put aside because they are damaged, and that nobody repaired or removed yet.
    pub fn set_aside(&self) -> impl Iterator<Item = &SetAside> {
        self.aside.values().flatten()
    }

    /// Streams whose open end cannot be followed, and why. They are tried again by themselves.
    pub fn unfollowed(&self) -> impl Iterator<Item = (&Stream, &str)> {
        self.following.problems()
    }

    /// Takes in every segment that was sealed since, then what is new in the tail.
    ///
    /// # Errors
    /// The database or the store: nothing is lost, the next step goes on there. A segment that cannot be read is no
    /// error but refused, a stream that cannot be followed none either.
    pub async fn step(&mut self) -> Result<IngestStep, Error> {
        let mut step = IngestStep::default();
        let began = tai_now().0;
        self.look_into(&mut step).await?;
        self.take_in_waiting(&mut step).await?;
        self.take_in_unknown(&mut step).await?;
        if self.is_settled && step.segments.is_empty() {
            self.extract_older(&mut step).await?;
        }
        self.is_settled = true;
        self.tail.set_reach(self.reach(began));
        Ok(step)
    }

    /// Looks at what exists now: what was sealed waits to be taken in, what is open is read into the tail. Takes nothing in, and
    /// answers those who wait in [`Tail::catch_up`].
    ///
    /// # Errors
    /// As [`Ingest::step`].
    pub async fn look(&mut self) -> Result<IngestStep, Error> {
        let mut step = IngestStep::default();
        self.look_into(&mut step).await?;
        Ok(step)
    }

    async fn look_into(&mut self, step: &mut IngestStep) -> Result<(), Error> {
        let question = self.tail.asked();
        self.take_news().await?;
        if self.config.tail {
            let is_asked = question != self.answered;
            for stream in self.found.streams().clone() {
                step.tail_records += self.following.read_on(&self.config, &stream, is_asked);
            }
        }
        // The tail begins behind what was sealed by then: that has to be known before anybody is answered.
        self.take_news().await?;
        if !self.objects_listed {
            self.unknown = self.unknown_objects().await?;
            self.objects_listed = true;
        }
        self.answered = question;
        self.tail.set_looked(question, self.following.unread(), self.objects_listed);
        Ok(())
    }

    /// Does something long; who asks meanwhile is not kept waiting for it.
    async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
        step: &mut IngestStep,
    ) -> Result<T, Error> {
        tokio::pin!(work);
        loop {
            let tail = self.tail.clone();
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tail.look_wanted() => {}
            }
            self.look_into(step).await?;
        }
    }

    async fn take_news(&mut self) -> Result<(), Error> {
        self.news.extend(self.found.news()?);
        // What fails here (the store, the database) is there again in the next step.
        while let Some(news) = self.news.front().cloned() {
            match news {
                News::Whole(stream) => {
                    self.compare(stream.clone()).await?;
                    self.list_aside(stream).await?;
                }
                News::Aside(stream) => self.list_aside(stream).await?,
                News::File(stream, entry) => {
                    if self.aside.contains_key(&stream) {
                        // It may have come back under its name.
                        self.list_aside(stream.clone()).await?;
                    }
                    self.following.stir(&stream, entry.state == FileState::Open);
                    let id = id_of(&stream, &entry);
                    if entry.state != FileState::Open && self.catalogue.segment(&id).await?.is_none() {
                        self.wait_for(id, stream, entry, false);
                    }
                }
            }
            self.news.pop_front();
        }
        // Somebody may have removed it.
        self.aside.retain(|_, files| {
            files.retain(|file| file.path.exists());
            !files.is_empty()
        });
        Ok(())
    }

    /// Up to when every record that was received by a round that began then is in the catalogue or in the tail: less where a
    /// segment waits to be taken in, or a stream is not read to its end.
    fn reach(&self, began: i64) -> i64 {
        let reached = |stream: &Stream| self.reached.get(stream).copied().unwrap_or(i64::MIN);
        let waiting = self.waiting.values().map(|waiting| waiting.reached);
        let behind = self.following.behind().filter(|_| self.config.tail);
        let behind = behind.map(|(stream, rx)| rx.unwrap_or(i64::MIN).max(reached(stream)));
        waiting.chain(behind).fold(began, i64::min)
    }

    /// Takes in segments that are in the object store and not in the catalogue: after [`Ingest::step`], those that are
    /// there only. The first step does this by itself.
    ///
    /// # Errors
    /// As [`Ingest::step`].
    pub async fn step_objects(&mut self) -> Result<IngestStep, Error> {
        let mut step = IngestStep::default();
        self.unknown = self.unknown_objects().await?;
        self.take_in_unknown(&mut step).await?;
        Ok(step)
    }

    fn note_reached(&mut self, stream: &Stream, last_rx_tai_ns: Option<i64>) {
        if let Some(rx) = last_rx_tai_ns {
            let reached = self.reached.entry(stream.clone()).or_insert(rx);
            *reached = rx.max(*reached);
        }
    }

    async fn list_aside(&mut self, stream: Stream) -> Result<(), Error> {
        let (archive, of) = (self.config.archive.clone(), stream.clone());
        let files = tokio::task::spawn_blocking(move || fep_segments::list_aside(&archive, &of)).await??;
        if files.is_empty() {
            self.aside.remove(&stream);
        } else {
            self.aside.insert(stream, files);
        }
        Ok(())
    }

    /// `is_known`: the catalogue has it, and something of it has to be made again.
    fn wait_for(&mut self, id: SegmentId, stream: Stream, entry: SegmentEntry, is_known: bool) {
        let same = |refused: &Refused| refused.file.is_some() && refused.file == identity_of(&entry.path);
        if !self.refused.get(&id).is_some_and(same) {
            if !is_known {
                self.tail.set_unindexed(&id, unindexed(&stream, Some(&entry), None));
            }
            self.waiting.insert(id, Waiting { stream, entry, not_before: Instant::now(), reached: i64::MIN });
        }
    }

    /// Compares what is in the directory of a stream with what the catalogue has of it: what it does not have, and what has
    /// lost its index files, waits to be taken in.
    async fn compare(&mut self, stream: Stream) -> Result<(), Error> {
        let (archive, of) = (self.config.archive.clone(), stream.clone());
        let entries = tokio::task::spawn_blocking(move || fep_segments::list(&archive, &of)).await??;
        let growing = entries.last().is_some_and(|entry| entry.state == FileState::Open);
        self.following.stir(&stream, growing);
        let mut stored = BTreeMap::new();
        for table in ["frames", "packets"] {
            let colour = stream.colour;
            let folder = format!("index/v{INDEX_VERSION}/{table}/colour={colour}/ring={}", stream.ring);
            stored.append(&mut self.store.list(&folder).await?);
        }
        let is_whole = |segment: &Segment| {
            let is_stored = |file: &Option<IndexFile>| {
                file.as_ref().is_none_or(|file| stored.get(&file.key) == Some(&file.octets))
            };
            is_stored(&segment.frames_index) && is_stored(&segment.packets_index)
        };
        // Both are in the order of the names.
        let filter = filter_of(&stream);
        let mut entries = entries.into_iter().filter(|entry| entry.state != FileState::Open).peekable();
        let mut after = None;
        loop {
            let page = self.catalogue.segments_by_id(&filter, after.as_ref(), PAGE).await?;
            for segment in &page {
                let known = segment.facts.id();
                self.note_reached(&stream, segment.last_rx_tai_ns);
                while let Some(entry) = entries.next_if(|entry| id_of(&stream, entry) < known) {
                    self.wait_for(id_of(&stream, &entry), stream.clone(), entry, false);
                }
                if let Some(entry) = entries.next_if(|entry| id_of(&stream, entry) == known)
                    && entry.state == FileState::Sealed
                    && segment.state != SegmentState::Deleted
                    && !is_whole(segment)
                {
                    self.wait_for(known, stream.clone(), entry, true);
                }
            }
            after = page.last().map(|segment| segment.facts.id());
            if after.is_none() {
                break;
            }
        }
        for entry in entries {
            self.wait_for(id_of(&stream, &entry), stream.clone(), entry, false);
        }
        Ok(())
    }

    async fn take_in_waiting(&mut self, step: &mut IngestStep) -> Result<(), Error> {
        let now = Instant::now();
        let due: Vec<SegmentId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.not_before <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let Some(waiting) = self.waiting.get(&id) else { continue };
            let (stream, entry) = (waiting.stream.clone(), waiting.entry.clone());
            match self.take_in(&stream, &entry, step).await {
                Ok(taken_in) => {
                    self.refused.remove(&id);
                    self.tail.set_indexed(&id);
                    match taken_in {
                        TakenIn::New => step.segments.push(id.clone()),
                        TakenIn::Repaired => step.repaired.push(id.clone()),
                        TakenIn::Known => {}
                    }
                }
                // A disk that fails once may not fail for ever.
                Err(error @ (Error::Io { .. } | Error::Segment(SegmentError::Io { .. }))) => {
                    tracing::error!(%error, "segment {id} cannot be read now");
                    step.put_off.push((id.clone(), error.to_string()));
                    let reached = self.catalogue.last_rx_before(&filter_of(&stream), &id).await?;
                    if let Some(waiting) = self.waiting.get_mut(&id) {
                        waiting.not_before = now + TRY_AGAIN;
                        waiting.reached = reached.unwrap_or(i64::MIN);
                    }
                    continue;
                }
                Err(error @ (Error::Segment(_) | Error::Refused { .. })) => {
                    self.refuse(&id, &error, &stream, Some(&entry), step);
                }
                Err(error) => return Err(error),
            }
            self.waiting.remove(&id);
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        id: &SegmentId,
        error: &Error,
        stream: &Stream,
        entry: Option<&SegmentEntry>,
        step: &mut IngestStep,
    ) {
        // An index that cannot be made again is missed by who reads it.
        if self.tail.backlog().segments.contains_key(id) {
            self.tail.set_unindexed(id, unindexed(stream, entry, Some(error.to_string())));
        }
        tracing::error!(%error, "segment {id} is not taken in");
        step.refused.push((id.clone(), error.to_string()));
        let file = entry.and_then(|entry| identity_of(&entry.path));
        self.refused.insert(id.clone(), Refused { why: error.to_string(), file });
    }

    /// Segments of the object store that neither catalogue nor disk know.
    async fn unknown_objects(&mut self) -> Result<Vec<SegmentId>, Error> {
        let mut streams: BTreeMap<Stream, BTreeSet<SegmentId>> = BTreeMap::new();
        for id in self.store.list(SEGMENT_FOLDER).await?.keys().filter_map(|key| id_of_key(key)) {
            let stream = id.0.rsplit_once('/').and_then(|(stream, _)| stream.parse().ok());
            let wanted = !self.catalogue.hides(&id.0)
                && !self.refused.contains_key(&id)
                && !self.waiting.contains_key(&id);
            if let Some(stream) = stream.filter(|_| wanted) {
                streams.entry(stream).or_default().insert(id);
            }
        }
        let mut found = Vec::new();
        for (stream, mut unknown) in streams {
            let filter = filter_of(&stream);
            let mut after = None;
            loop {
                let known = self.catalogue.segment_ids(&filter, after.as_ref(), PAGE).await?;
                known.iter().for_each(|id| {
                    unknown.remove(id);
                });
                after = known.last().cloned();
                if after.is_none() {
                    break;
                }
            }
            for id in unknown {
                self.tail.set_unindexed(&id, unindexed(&stream, None, None));
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Takes in the segments that the object store alone has.
    async fn take_in_unknown(&mut self, step: &mut IngestStep) -> Result<(), Error> {
        while let Some(id) = self.unknown.last().cloned() {
            match self.take_in_object(&segment_key(&id)).await {
                Ok(_) => {
                    self.tail.set_indexed(&id);
                    step.segments.push(id.clone());
                }
                // A store that does not answer says nothing of the segment: it stays for the next step.
                Err(error @ Error::Segment(SegmentError::Io { .. })) => return Err(error),
                Err(error @ (Error::Segment(_) | Error::Refused { .. })) => {
                    let stream = id.0.rsplit_once('/').and_then(|(stream, _)| stream.parse::<Stream>().ok());
                    if let Some(stream) = stream {
                        self.refuse(&id, &error, &stream, None, step);
                    }
                }
                Err(error) => return Err(error),
            }
            self.unknown.pop();
        }
        Ok(())
    }

    /// Takes in a segment whose octets are in the object store alone.
    async fn take_in_object(&mut self, key: &str) -> Result<TakenIn, Error> {
        let (mut built, object) = build_object(&self.store, key, Arc::clone(&self.layouts)).await?;
        if self.is_settled && self.needs_packets(&built).await? {
            built.packets = Some(extract_packets(&self.places(), &built.facts, Some(&object)).await?);
        }
        let (mut segment, summary) = keep_index(&self.store, built).await?;
        segment.tier = Tier::Warm;
        segment.object = Some(object);
        self.catalogue.insert(&segment, &summary, tai_now().0).await?;
        Ok(TakenIn::New)
    }

    async fn take_in(
        &mut self,
        stream: &Stream,
        entry: &SegmentEntry,
        step: &mut IngestStep,
    ) -> Result<TakenIn, Error> {
        let path = entry.path.clone();
        if entry.state == FileState::Removed {
            let footer = tokio::task::spawn_blocking(move || removed_footer(&path)).await??;
            return self.take_in_removed(&footer).await;
        }
        let known = self.catalogue.segment(&id_of(stream, entry)).await?;
        let build = build_file(path, Arc::clone(&self.layouts));
        let mut built = self.meanwhile(build, step).await??;
        let facts = built.facts.clone();
        let had_packets = known.as_ref().is_some_and(|known| known.packets_index.is_some());
        if built.frames.is_some() && had_packets || self.is_settled && self.needs_packets(&built).await? {
            let places = self.places();
            let packets = extract_packets(&places, &facts, None);
            built.packets = Some(self.meanwhile(packets, step).await??);
        }
        let (segment, summary) = keep_index(&self.store, built).await?;
        let inserted = self.catalogue.insert(&segment, &summary, tai_now().0).await?;
        self.tail.forget(facts.colour, &facts.ring, facts.series, facts.end_seq);
        self.note_reached(stream, segment.last_rx_tai_ns);
        Ok(match (inserted, known) {
            (Inserted::New, _) => TakenIn::New,
            (Inserted::Known, Some(_)) => TakenIn::Repaired,
            (Inserted::Known, None) => TakenIn::Known,
        })
    }

    /// A segment of which only the footer is left: it was deleted, or its octets are in the object store alone.
    async fn take_in_removed(&mut self, footer: &Footer) -> Result<TakenIn, Error> {
        let facts = facts_of(footer, 0);
        let id = facts.id();
        if self.catalogue.segment(&id).await?.is_some() {
            return Ok(TakenIn::Known);
        }
        let key = segment_key(&id);
        if self.store.size(&key).await?.is_some() {
            return self.take_in_object(&key).await;
        }
        let segment = Segment {
            first_rx_tai_ns: (footer.records > 0).then_some(footer.rx_min_tai_ns),
            last_rx_tai_ns: (footer.records > 0).then_some(footer.rx_max_tai_ns),
            frames: 0,
            packets: 0,
            payload_octets: footer.octets,
            state: SegmentState::Deleted,
            state_reason: "only its footer is left".to_owned(),
            tier: Tier::Hot,
            object: None,
            frames_index: None,
            packets_index: None,
            facts,
        };
        self.catalogue.insert(&segment, &Summary::default(), tai_now().0).await?;
        Ok(TakenIn::New)
    }
}

enum TakenIn {
    New,
    Repaired,
    Known,
}

/// The segments of a stream.
fn filter_of(stream: &Stream) -> SegmentFilter {
    SegmentFilter { ring: Some(stream.ring.clone()), colour: Some(stream.colour), ..SegmentFilter::default() }
}

fn unindexed(stream: &Stream, entry: Option<&SegmentEntry>, problem: Option<String>) -> Unindexed {
    let octets = entry.and_then(|entry| std::fs::metadata(&entry.path).ok()).map_or(0, |found| found.len());
    Unindexed { stream: stream.clone(), entry: entry.cloned(), octets, problem }
}

/// The name in the catalogue of a segment file.
fn id_of(stream: &Stream, entry: &SegmentEntry) -> SegmentId {
    SegmentId(format!("{stream}/{}", entry.name))
}

/// Folder of segments in the object store.
pub(crate) const SEGMENT_FOLDER: &str = "segments";

/// Key of a segment in the object store.
pub(crate) fn segment_key(id: &SegmentId) -> String {
    format!("{SEGMENT_FOLDER}/{id}.seg")
}

fn id_of_key(key: &str) -> Option<SegmentId> {
    let id = key.strip_prefix(SEGMENT_FOLDER)?.strip_prefix('/')?.strip_suffix(".seg")?;
    Some(SegmentId(id.to_owned()))
}

/// Key of an index file; see [`crate::INDEX_VERSION`].
pub(crate) fn index_key(facts: &SegmentFacts, table: &str, first_rx_tai_ns: i64) -> String {
    let day = LeapSeconds::builtin().utc(Tai(first_rx_tai_ns)).map_or_else(
        |_| "unknown".to_owned(),
        |utc| {
            let (year, month, day) = utc.date();
            format!("{year:04}-{month:02}-{day:02}")
        },
    );
    format!(
        "index/v{INDEX_VERSION}/{table}/colour={}/ring={}/date={day}/{:016x}-{:016x}.parquet",
        facts.colour, facts.ring, facts.series, facts.base_pos
    )
}
