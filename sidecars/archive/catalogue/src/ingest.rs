//! From the recorder's files into index and catalogue, again and again, to the same end.
//!
//! [`Ingest::step`] looks for sealed segments that the catalogue does not have, makes their index files, stores these, and
//! only then puts segment and index into the catalogue in one transaction. Killed anywhere, it does the unfinished segment
//! again: the files have the same names and octets, the transaction was not there. Any order, and any segment twice, gives
//! the same catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fep_segments::{
    Follow, FollowSpec, Footer, Item, Piece, ReadAt, SegmentEntry, SegmentError, SegmentReader,
    SegmentState as FileState, Start, Stream,
};
use fep_time::tai_now;
use fep_time::{LeapSeconds, Tai};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::index::{BuiltIndex, INDEX_VERSION, IndexBuilder, ParquetBytes, Record, TailRows};
use crate::model::{Colour, IndexFile, Segment, SegmentFacts, SegmentId, SegmentState, StoredObject, Tier};
use crate::object_at::ObjectAt;
use crate::packet_layout::PacketLayouts;
use crate::sql::{Catalogue, Inserted, SegmentFilter};
use crate::store::Store;
use crate::{Error, Summary, Tail};

/// What to take in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Secondary headers by spacecraft.
    #[serde(default)]
    pub packets: PacketLayouts,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestStep {
    /// Segments that are new in the catalogue.
    pub segments: Vec<SegmentId>,
    /// Segments whose missing index files were made again.
    pub repaired: Vec<SegmentId>,
    /// Segments that cannot be taken in, and why. They are looked at again at the next start.
    pub refused: Vec<(SegmentId, String)>,
    /// Records that went into the tail.
    pub tail_records: u64,
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
    /// In the catalogue with their index, or refused: not looked at again.
    settled: BTreeSet<SegmentId>,
    followed: BTreeMap<Stream, Followed>,
}

struct Followed {
    follow: Follow,
    rows: Option<TailRows>,
    payload: Vec<u8>,
}

/// Name of the tail's cursor in the rings.
const CONSUMER: &str = "archive-index";
/// Records of one stream in one step, so that segments and streams take turns.
const TAIL_RECORDS_PER_STEP: usize = 50_000;
/// How long the tail waits for records that the ring has lost to turn up in a segment.
const TAIL_PATIENCE: Duration = Duration::from_secs(5);

impl Ingest {
    /// Begins. Segments whose index files are gone from the store are indexed again in the first step.
    ///
    /// # Errors
    /// The configuration, the database, the store.
    pub async fn open(config: IngestConfig, catalogue: Catalogue, store: Store) -> Result<Ingest, Error> {
        let stored = store.list(&format!("index/v{INDEX_VERSION}")).await?;
        let is_whole = |segment: &Segment| {
            let there = |file: &Option<IndexFile>| {
                file.as_ref().is_none_or(|file| stored.get(&file.key) == Some(&file.octets))
            };
            there(&segment.frames_index) && there(&segment.packets_index)
        };
        let known = catalogue.segments(&SegmentFilter::default()).await?;
        let settled = known
            .iter()
            .filter(|segment| segment.state == SegmentState::Deleted || is_whole(segment))
            .map(|segment| segment.facts.id())
            .collect();
        Ok(Ingest {
            layouts: Arc::new(config.packets.clone()),
            config,
            catalogue,
            store,
            tail: Tail::default(),
            settled,
            followed: BTreeMap::new(),
        })
    }

    /// Rows of what is not sealed yet.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Takes in every segment that was sealed since, then what is new in the tail.
    ///
    /// # Errors
    /// The database or the store: nothing is lost, the next step goes on there. A segment that cannot be read is no
    /// error but refused.
    pub async fn step(&mut self) -> Result<IngestStep, Error> {
        let mut step = IngestStep::default();
        let archive = self.config.archive.clone();
        let (streams, entries) = tokio::task::spawn_blocking(move || entries(&archive)).await??;
        for (stream, entry) in entries {
            let id = SegmentId(format!("{stream}/{}", entry.name));
            if entry.state == FileState::Open || self.settled.contains(&id) {
                continue;
            }
            match self.take_in(&entry).await {
                Ok(TakenIn::New) => step.segments.push(id.clone()),
                Ok(TakenIn::Repaired) => step.repaired.push(id.clone()),
                Ok(TakenIn::Known) => {}
                // Its octets are in the object store: `step_objects` takes it in from there.
                Ok(TakenIn::Elsewhere) => continue,
                Err(error @ (Error::Segment(_) | Error::Refused { .. })) => {
                    tracing::error!(%error, "segment {id} is not taken in");
                    step.refused.push((id.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            self.settled.insert(id);
        }
        if self.config.tail {
            for stream in streams {
                step.tail_records += self.follow(stream)?;
            }
        }
        Ok(step)
    }

    /// Takes in segments that are in the object store and not in the catalogue: after [`Ingest::step`], those that are
    /// there only. For making a lost catalogue again.
    ///
    /// # Errors
    /// As [`Ingest::step`].
    pub async fn step_objects(&mut self) -> Result<IngestStep, Error> {
        let mut step = IngestStep::default();
        for key in self.store.list(SEGMENT_FOLDER).await?.into_keys() {
            let Some(id) = id_of_key(&key) else { continue };
            if self.settled.contains(&id) {
                continue;
            }
            match build_object(&self.store, &key, Arc::clone(&self.layouts)).await {
                Ok((built, object)) => {
                    let (mut segment, summary) = keep_index(&self.store, built).await?;
                    segment.tier = Tier::Warm;
                    segment.object = Some(object);
                    self.catalogue.insert(&segment, &summary, tai_now().0).await?;
                    step.segments.push(id.clone());
                }
                // A store that does not answer says nothing of the segment.
                Err(error @ Error::Segment(SegmentError::Io { .. })) => return Err(error),
                Err(error @ (Error::Segment(_) | Error::Refused { .. })) => {
                    step.refused.push((id.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            self.settled.insert(id);
        }
        Ok(step)
    }

    async fn take_in(&mut self, entry: &SegmentEntry) -> Result<TakenIn, Error> {
        let path = entry.path.clone();
        if entry.state == FileState::Removed {
            let footer = tokio::task::spawn_blocking(move || removed_footer(&path)).await??;
            return self.take_in_removed(&footer).await;
        }
        let built = build_file(path, Arc::clone(&self.layouts)).await?;
        let facts = built.facts.clone();
        let id = facts.id();
        let known = self.catalogue.segment(&id).await?;
        let (segment, summary) = keep_index(&self.store, built).await?;
        let inserted = self.catalogue.insert(&segment, &summary, tai_now().0).await?;
        self.tail.forget(facts.colour, &facts.ring, facts.series, facts.end_seq);
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
        if self.store.size(&segment_key(&id)).await?.is_some() {
            return Ok(TakenIn::Elsewhere);
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

    /// Reads on in a stream, for the tail.
    fn follow(&mut self, stream: Stream) -> Result<u64, Error> {
        let colour = colour_of(&stream);
        let ring = stream.ring.clone();
        let followed = match self.followed.entry(stream) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let spec = FollowSpec {
                    archive: Some(self.config.archive.clone()),
                    bus: self.config.bus.clone(),
                    stream: entry.key().clone(),
                    consumer: CONSUMER.to_owned(),
                    patience: TAIL_PATIENCE,
                };
                let start = unsealed_start(&self.config.archive, entry.key())?;
                let follow = Follow::open(spec, start)?;
                entry.insert(Followed { follow, rows: None, payload: Vec::new() })
            }
        };
        let mut taken = 0;
        while taken < TAIL_RECORDS_PER_STEP {
            match followed.follow.next(&mut followed.payload)? {
                Item::Record(record) => {
                    let series = followed.follow.place().series;
                    let rows = match &mut followed.rows {
                        Some(rows) if rows.series() == series => rows,
                        old => {
                            if let Some(mut rows) = old.take() {
                                self.tail.add(colour, &ring, rows.series(), rows.take()?);
                            }
                            old.insert(TailRows::new(series, Arc::clone(&self.layouts)))
                        }
                    };
                    rows.push(&Record {
                        seq: record.seq,
                        offset: crate::index::NOT_IN_A_SEGMENT,
                        kind: record.tag.kind,
                        flags: record.tag.flags,
                        rx_tai_ns: record.tag.received.0,
                        words: record.tag.words,
                        payload: &followed.payload,
                    });
                    taken += 1;
                }
                // What is missing shows in the catalogue when the segment is sealed.
                Item::Gap(_) | Item::Series(_) => {}
                Item::Empty => break,
            }
        }
        if let Some(rows) = &mut followed.rows
            && rows.len() > 0
        {
            self.tail.add(colour, &ring, rows.series(), rows.take()?);
        }
        Ok(taken as u64)
    }
}

enum TakenIn {
    New,
    Repaired,
    Known,
    Elsewhere,
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

pub(crate) fn colour_of(stream: &Stream) -> Colour {
    match stream.colour {
        fep_bus::Colour::Black => Colour::Black,
        fep_bus::Colour::Red => Colour::Red,
    }
}

type Entries = (Vec<Stream>, Vec<(Stream, SegmentEntry)>);

/// Streams, and the segments of each.
fn entries(archive: &Path) -> Result<Entries, Error> {
    let streams = fep_segments::streams(archive)?;
    let mut entries = Vec::new();
    for stream in &streams {
        let list = fep_segments::list(archive, stream)?;
        entries.extend(list.into_iter().map(|entry| (stream.clone(), entry)));
    }
    Ok((streams, entries))
}

/// The first record that is in no sealed segment.
fn unsealed_start(archive: &Path, stream: &Stream) -> Result<Start, Error> {
    let list = fep_segments::list(archive, stream)?;
    let Some(last) = list.iter().rfind(|entry| entry.state == FileState::Sealed) else {
        return Ok(Start::Oldest);
    };
    let reader = SegmentReader::open(&last.path)?;
    let position = reader.footer().map_or(reader.end(), |footer| footer.end);
    Ok(Start::At(fep_segments::Place { series: last.name.series, position }))
}

/// Stores the index files of a segment and says what the catalogue is to know.
async fn keep_index(store: &Store, built: SegmentIndex) -> Result<(Segment, Summary), Error> {
    let SegmentIndex { facts, frames, packets, summary, damage } = built;
    let first_rx = summary.rx_tai_ns.map_or(0, |(first, _)| first);
    let frames_index = keep_file(store, &facts, "frames", first_rx, frames).await?;
    let packets_index = keep_file(store, &facts, "packets", first_rx, packets).await?;
    let rows = |file: &Option<IndexFile>| file.as_ref().map_or(0, |file| file.rows);
    let segment = Segment {
        first_rx_tai_ns: summary.rx_tai_ns.map(|(first, _)| first),
        last_rx_tai_ns: summary.rx_tai_ns.map(|(_, last)| last),
        frames: rows(&frames_index),
        packets: rows(&packets_index),
        payload_octets: summary.payload_octets,
        state: if damage.is_some() { SegmentState::Quarantined } else { SegmentState::Ok },
        state_reason: damage.unwrap_or_default(),
        tier: Tier::Hot,
        object: None,
        frames_index,
        packets_index,
        facts,
    };
    Ok((segment, summary))
}

async fn keep_file(
    store: &Store,
    facts: &SegmentFacts,
    table: &str,
    first_rx_tai_ns: i64,
    file: Option<ParquetBytes>,
) -> Result<Option<IndexFile>, Error> {
    let Some(ParquetBytes { octets, rows }) = file else { return Ok(None) };
    let key = index_key(facts, table, first_rx_tai_ns);
    let stored = store.put(&key, Bytes::from(octets)).await?;
    Ok(Some(IndexFile { key, rows, octets: stored.octets, sha256: stored.sha256 }))
}

/// Makes the index files of a segment again, from its file or its copy in the object store.
pub(crate) async fn index_again(
    archive: &Path,
    store: &Store,
    layouts: &Arc<PacketLayouts>,
    segment: &Segment,
) -> Result<(), Error> {
    let path = archive.join(format!("{}.seg", segment.facts.id()));
    let layouts = Arc::clone(layouts);
    let built = match &segment.object {
        Some(object) if segment.tier == Tier::Warm => build_object(store, &object.key, layouts).await?.0,
        _ => build_file(path, layouts).await?,
    };
    keep_index(store, built).await.map(|_| ())
}

async fn build_file(path: PathBuf, layouts: Arc<PacketLayouts>) -> Result<SegmentIndex, Error> {
    tokio::task::spawn_blocking(move || {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        build_index(file, &path, layouts)
    })
    .await?
}

async fn build_object(
    store: &Store,
    key: &str,
    layouts: Arc<PacketLayouts>,
) -> Result<(SegmentIndex, StoredObject), Error> {
    let object = store.look_at(key).await?;
    let source = ObjectAt::new(store.clone(), object.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let built = build_index(source, Path::new(&object.key), layouts)?;
        Ok((built, object))
    })
    .await?
}

/// Index and summary of one sealed segment, made and not yet stored.
#[derive(Debug)]
pub struct SegmentIndex {
    /// What its footer says.
    pub facts: SegmentFacts,
    /// Parquet file of frames and its rows; `None` without a frame.
    pub frames: Option<ParquetBytes>,
    /// Parquet file of packets and its rows; `None` without a packet.
    pub packets: Option<ParquetBytes>,
    /// What the catalogue keeps of it.
    pub summary: Summary,
    /// What does not hold its checksum, if anything.
    pub damage: Option<String>,
}

/// Makes the index of a sealed segment. `path` is for messages.
///
/// # Errors
/// Not a sealed segment; the file. What is damaged in it is left out and said in [`SegmentIndex::damage`].
pub fn build_index<S: ReadAt>(
    source: S,
    path: &Path,
    layouts: Arc<PacketLayouts>,
) -> Result<SegmentIndex, Error> {
    let octets = source.len().map_err(Error::io("read the length of", path))?;
    let mut reader = SegmentReader::of(source, path)?;
    let Some(footer) = reader.footer().cloned() else {
        return Err(Error::refused(
            format!("segment {}", path.display()),
            "it has no footer that can be read, though its name says that it is sealed",
        ));
    };
    let facts = facts_of(&footer, octets);
    let mut builder = IndexBuilder::new(&facts.id().0, facts.series, facts.base_pos, layouts);
    let mut damaged_records = 0;
    while let Some(piece) = reader.next()? {
        match piece {
            Piece::Record(view) => builder.push(&Record {
                seq: view.record.seq,
                offset: view.offset,
                kind: view.record.tag.kind,
                flags: view.record.tag.flags,
                rx_tai_ns: view.record.tag.received.0,
                words: view.record.tag.words,
                payload: view.payload,
            })?,
            Piece::Loss(loss) if loss.cause == fep_segments::LossCause::DamagedBlock => {
                damaged_records += loss.records();
            }
            Piece::Loss(_) => {}
        }
    }
    // What was damaged before it was sealed is in the footer, and is no change since.
    let damage = (damaged_records > footer.damaged_records).then(|| {
        format!("{} records are in blocks that do not hold", damaged_records - footer.damaged_records)
    });
    let BuiltIndex { frames, packets, summary, skipped } = builder.finish()?;
    if skipped > 0 {
        tracing::warn!(
            "segment {}: {skipped} records are no frames, packets or events of this version",
            facts.id()
        );
    }
    Ok(SegmentIndex { facts, frames, packets, summary, damage })
}

fn facts_of(footer: &Footer, file_octets: u64) -> SegmentFacts {
    SegmentFacts {
        ring: footer.stream.ring.clone(),
        colour: colour_of(&footer.stream),
        series: footer.series,
        base_pos: footer.base.pos,
        first_seq: footer.base.seq,
        end_seq: footer.end.seq,
        records: footer.records,
        lost_records: footer.lost_records + footer.damaged_records,
        file_octets,
        content_sha256: footer.content_sha256,
        chain: footer.chain,
        previous_chain: footer.previous_chain,
    }
}

/// The footer that stays of a removed segment.
fn removed_footer(path: &Path) -> Result<Footer, Error> {
    let page = std::fs::read(path).map_err(Error::io("read", path))?;
    let broken = |problem: &str| Error::refused(format!("segment {}", path.display()), problem);
    let page = page
        .as_slice()
        .try_into()
        .map_err(|_| broken("what is left of a removed segment is one footer page"))?;
    Footer::parse(page).map_err(|problem| broken(&problem))
}
