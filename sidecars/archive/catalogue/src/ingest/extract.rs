//! The index of packets of a segment of frames, where the packets themselves were not recorded.
//!
//! What ends in a segment may begin in one before it. The index of that one says how far to go back; where it does not, all of
//! it is read. So the index of a segment is the same whenever it is made, as long as the segments before it are there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use fep_segments::{Piece, ReadAt, RecordView, SegmentReader};
use tokio::runtime::Handle;

use super::build::{SegmentIndex, keep_file};
use super::{Ingest, IngestStep, TRY_AGAIN, segment_key};
use crate::Error;
use crate::index::{ExtractedRows, ParquetBytes, Record, resume_place};
use crate::model::{Segment, SegmentFacts, SegmentState, StoredObject, Tier};
use crate::object_at::ObjectAt;
use crate::packet_layout::PacketLayouts;
use crate::sql::{Catalogue, SegmentFilter};
use crate::store::Store;

/// Segments that are gone back at most: a packet that began earlier is not found.
const SEGMENTS_BACK_MAX: u32 = 64;

/// Links and spacecraft of a segment by which recorded packets are looked for.
const SOURCES_MAX: usize = 16;
/// Segments of the catalogue that are looked at in one step for packets that were not recorded.
const EXTRACTED_PAGE: u32 = 50;

/// Name of the ring of packets beside a ring of frames.
#[must_use]
pub fn packets_ring(frames_ring: &str) -> Option<String> {
    frames_ring.strip_suffix(".frames").map(|name| format!("{name}.packets"))
}

/// Where segments, their index and the catalogue are.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) archive: PathBuf,
    pub(crate) store: Store,
    pub(crate) catalogue: Catalogue,
    pub(crate) layouts: Arc<PacketLayouts>,
}

/// A segment to read, and from where on.
struct Reading {
    path: PathBuf,
    object: Option<ObjectAt>,
    base_pos: u64,
    from_seq: u64,
}

impl Reading {
    fn open(&self) -> Result<Box<dyn ReadAt>, Error> {
        match &self.object {
            Some(object) => Ok(Box::new(object.clone())),
            None => Ok(Box::new(File::open(&self.path).map_err(Error::io("open", &self.path))?)),
        }
    }
}

impl Ingest {
    pub(super) fn places(&self) -> Places {
        Places {
            archive: self.config.archive.clone(),
            store: self.store.clone(),
            catalogue: self.catalogue.clone(),
            layouts: Arc::clone(&self.layouts),
        }
    }

    /// Whether the packets of a segment have to be taken out of its frames.
    pub(super) async fn needs_packets(&self, built: &SegmentIndex) -> Result<bool, Error> {
        let Some(span) = built.summary.rx_tai_ns.filter(|_| built.frames.is_some()) else { return Ok(false) };
        let frames = built.summary.presences.iter().filter(|presence| !presence.by_packets);
        let frames: Vec<(u16, u16)> =
            frames.filter_map(|presence| Some((presence.link, presence.scid?))).collect();
        self.needs_packets_of(&built.facts, &frames, span).await
    }

    /// The same, of frames of these links and spacecraft: a mission says how packets lie in them, and no packets of the same
    /// were recorded at the time.
    async fn needs_packets_of(
        &self,
        facts: &SegmentFacts,
        frames: &[(u16, u16)],
        span: (i64, i64),
    ) -> Result<bool, Error> {
        let described = frames.iter().filter(|(_, scid)| self.layouts.fleet().has_packets_of(*scid));
        let sources: BTreeSet<(u16, u16)> = described.copied().collect();
        let sources: Vec<(u16, u16)> = sources.into_iter().take(SOURCES_MAX).collect();
        if sources.is_empty() || self.following.saw_packets(facts.colour, &sources, span) {
            return Ok(false);
        }
        let ring = packets_ring(&facts.ring).unwrap_or_default();
        Ok(!self.catalogue.has_packets(facts, &ring, &sources, span).await?)
    }

    /// Goes on through the catalogue for segments of frames that were taken in before their packets could be: by an earlier
    /// release, without the mission, or in the first step. At most one is read a step.
    pub(super) async fn extract_older(&mut self, step: &mut IngestStep) -> Result<(), Error> {
        if self.extracted.is_done {
            return self.extract_failed(step).await;
        }
        let filter = SegmentFilter::default();
        let page =
            self.catalogue.segments_by_id(&filter, self.extracted.after.as_ref(), EXTRACTED_PAGE).await?;
        self.extracted.is_done = page.is_empty();
        for segment in page {
            let was_extracted = self.extract_one(&segment, step).await;
            self.extracted.after = Some(segment.facts.id());
            if was_extracted {
                break;
            }
        }
        self.tail.set_extracted(self.extracted.clone());
        Ok(())
    }

    /// Tries again what could not be read, now and then: a disk or a store may be there again.
    async fn extract_failed(&mut self, step: &mut IngestStep) -> Result<(), Error> {
        if self.extracted.failed.is_empty() || Instant::now() < self.extract_failed_at {
            return Ok(());
        }
        self.extract_failed_at = Instant::now() + TRY_AGAIN;
        for id in Arc::clone(&self.extracted.failed).iter() {
            match self.catalogue.segment(id).await? {
                Some(segment) => drop(self.extract_one(&segment, step).await),
                None => drop(Arc::make_mut(&mut self.extracted.failed).remove(id)),
            }
        }
        self.tail.set_extracted(self.extracted.clone());
        Ok(())
    }

    /// Takes the packets out of a segment's frames, if that is needed and was not done. Whether it took something out, or tried
    /// to; what failed is noted.
    async fn extract_one(&mut self, segment: &Segment, step: &mut IngestStep) -> bool {
        let id = segment.facts.id();
        match self.extract_if_needed(segment, step).await {
            Ok(packets) => {
                if self.extracted.failed.contains(&id) {
                    Arc::make_mut(&mut self.extracted.failed).remove(&id);
                }
                if let Some(packets) = packets {
                    tracing::info!("{packets} packets were taken out of the frames of segment {id}");
                    step.extracted.push(id);
                }
                packets.is_some()
            }
            // Who asks for its packets is told; if it is damaged, a scrub says how.
            Err(error) => {
                if !self.extracted.failed.contains(&id) {
                    tracing::error!(%error, "the packets of segment {id} cannot be taken out of its frames now");
                    step.put_off.push((id.clone(), error.to_string()));
                    Arc::make_mut(&mut self.extracted.failed).insert(id);
                }
                true
            }
        }
    }

    /// How many packets were taken out; `None` where that is not needed.
    async fn extract_if_needed(
        &mut self,
        segment: &Segment,
        step: &mut IngestStep,
    ) -> Result<Option<u64>, Error> {
        let is_open =
            segment.frames > 0 && segment.packets_index.is_none() && segment.state == SegmentState::Ok;
        let Some(span) = segment.first_rx_tai_ns.zip(segment.last_rx_tai_ns).filter(|_| is_open) else {
            return Ok(None);
        };
        let id = segment.facts.id();
        let frames = self.catalogue.frames_of(&id).await?;
        if !self.needs_packets_of(&segment.facts, &frames, span).await? {
            return Ok(None);
        }
        let object = segment.object.as_ref().filter(|_| segment.tier == Tier::Warm);
        let places = self.places();
        let made = self.meanwhile(extract_packets(&places, &segment.facts, object), step).await??;
        let file = keep_file(&self.store, &segment.facts, "packets", span.0, Some(made)).await?;
        let Some(file) = file else { return Ok(None) };
        if !self.catalogue.set_packets_index(&id, &file).await? {
            // It was deleted meanwhile.
            self.store.delete(&file.key).await?;
        }
        Ok(Some(file.rows))
    }
}

/// Whether it may go by itself: a disk, a store or a database that does not answer.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Segment(error) => error.condemned().is_none(),
        error => !error.is_of_object(),
    }
}

/// Takes the packets out of a segment of frames: its index of packets, which may have no row. `object`: its octets are in the
/// object store alone.
pub(crate) async fn extract_packets(
    places: &Places,
    facts: &SegmentFacts,
    object: Option<&StoredObject>,
) -> Result<ParquetBytes, Error> {
    let own = reading(places, facts, object);
    let before = before(places, facts).await?;
    let (id, series) = (facts.id().0, facts.series);
    let layouts = Arc::clone(&places.layouts);
    tokio::task::spawn_blocking(move || {
        let mut rows = ExtractedRows::new(&id, series, own.base_pos, layouts)?;
        for earlier in &before {
            let mut read = || -> Result<(), Error> {
                let source = earlier.open()?;
                let mut reader = SegmentReader::of(&*source, &earlier.path)?;
                reader.seek(earlier.from_seq)?;
                while let Some(piece) = reader.next()? {
                    match piece {
                        Piece::Record(view) => rows.push_before(earlier.base_pos, &record_of(&view)),
                        Piece::Loss(_) => rows.interrupted(),
                    }
                }
                Ok(())
            };
            if let Err(error) = read() {
                // What cannot be read now would be missing for ever.
                if is_passing(&error) {
                    return Err(error);
                }
                tracing::warn!(%error, "packets that begin before segment {id} and end in it are not found");
                rows.interrupted();
            }
        }
        let source = own.open()?;
        let mut reader = SegmentReader::of(&*source, &own.path)?;
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Record(view) => rows.push(&record_of(&view))?,
                Piece::Loss(_) => rows.interrupted(),
            }
        }
        rows.finish()
    })
    .await?
}

/// What has to be read of the segments before this one, in order.
async fn before(places: &Places, facts: &SegmentFacts) -> Result<Vec<Reading>, Error> {
    let mut begins = facts.first_seq;
    let mut chain = Vec::new();
    for segment in places.catalogue.segments_before(facts, SEGMENTS_BACK_MAX).await? {
        if segment.facts.end_seq != begins || segment.state == SegmentState::Deleted {
            break;
        }
        begins = segment.facts.first_seq;
        chain.push(segment);
    }
    let Some(nearest) = chain.first() else { return Ok(Vec::new()) };
    let resume = match &nearest.packets_index {
        Some(index) => match places.store.get_checked(&index.object()).await {
            Ok(octets) => resume_place(octets, &index.key).unwrap_or_default(),
            // It has to be made again itself.
            Err(error) if error.is_of_object() => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let needed: Vec<Reading> = match resume {
        Some(None) => Vec::new(),
        Some(Some((base_pos, seq))) => {
            let last = chain.iter().position(|segment| segment.facts.base_pos == base_pos);
            let needed = last.map_or(chain.len(), |last| last + 1);
            let of = |segment: &Segment| Reading {
                from_seq: seq.max(segment.facts.first_seq),
                ..whole(places, segment)
            };
            chain.iter().take(needed).map(of).collect()
        }
        None => vec![whole(places, nearest)],
    };
    Ok(needed.into_iter().rev().collect())
}

fn whole(places: &Places, segment: &Segment) -> Reading {
    let object = segment.object.as_ref().filter(|_| segment.tier == Tier::Warm);
    reading(places, &segment.facts, object)
}

fn reading(places: &Places, facts: &SegmentFacts, object: Option<&StoredObject>) -> Reading {
    let id = facts.id();
    let object = object.map(|object| ObjectAt::new(places.store.clone(), object.clone(), Handle::current()));
    let path = match &object {
        Some(_) => PathBuf::from(segment_key(&id)),
        None => places.archive.join(format!("{id}.seg")),
    };
    Reading { path, object, base_pos: facts.base_pos, from_seq: facts.first_seq }
}

/// A record of a segment as the index takes it.
pub(super) fn record_of<'a>(view: &RecordView<'a>) -> Record<'a> {
    Record {
        seq: view.record.seq,
        offset: view.offset,
        kind: view.record.tag.kind,
        flags: view.record.tag.flags,
        rx_tai_ns: view.record.tag.received.0,
        words: view.record.tag.words,
        payload: view.payload,
    }
}
