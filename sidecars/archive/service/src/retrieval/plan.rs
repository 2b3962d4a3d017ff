//! What a query yields, fixed at one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_archive_query::{Format, Numbers, Retrieval, Unit};
use fep_catalogue::{
    Catalogue, Colour, Indexes, PacketLayouts, Segment, SegmentFilter, SegmentId, SegmentState, Store, Tail,
    TailPiece,
};
use fep_mission::Fleet;
use fep_record::Session;
use fep_segments::{SegmentError, Stream};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::Error;
use super::filter::RowFilter;
use super::merge::Merge;
use super::octets::Octets;
use super::row::Columns;
use super::source::{IndexOf, Source, SourceSpec};
use super::unindexed::{self, CATCH_UP_WITHIN};

/// Changes when the octets of any form change for the same rows.
const FORMS_VERSION: u32 = 1;
/// The virtual channel of idle frames, whose count means nothing and is in no run (732.0-B-4 4.1.2.3, 732.1-B-2 4.1.2.2.5).
const IDLE_VCID: u16 = 63;
/// The application process of idle packets (133.0-B-2 4.1.3.3.4.4).
const IDLE_APID: u16 = 2047;
/// Protocol identifiers of encapsulation packets are below; they have no sequence count and are in no run.
const ENCAPSULATION_MAX: u16 = 7;

/// Where everything is. Clones share it.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Directory of the recorder's segments.
    pub segments: PathBuf,
    /// What was recorded.
    pub catalogue: Catalogue,
    /// Index files, and segments that were moved.
    pub store: Store,
    /// What is not in a sealed segment yet.
    pub tail: Tail,
    /// Index files as they are read.
    pub indexes: Indexes,
    /// What the missions say: how packets lie in frames.
    pub fleet: Arc<Fleet>,
}

/// What a query yields.
#[derive(Debug, Clone)]
pub struct Plan {
    archive: Archive,
    /// The query.
    pub retrieval: Retrieval,
    /// Columns of its rows.
    pub columns: Columns,
    /// Rings that are read.
    pub sources: Vec<SourceSpec>,
    /// Segments that would have been read and cannot be: quarantined.
    pub missing: Vec<SegmentId>,
    /// What else is missing, in words: what exists and can be read neither through an index nor without one yet.
    pub incomplete: Vec<String>,
    layouts: Arc<PacketLayouts>,
    segments: Vec<Segment>,
    tag: String,
}

impl Plan {
    /// Makes a plan: asks the catalogue, takes a snapshot of the tail. Reads no index file.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn make(archive: &Archive, retrieval: Retrieval) -> Result<Plan, Error> {
        let caught_up = archive.tail.catch_up(CATCH_UP_WITHIN).await;
        // The snapshot first: what is sealed in between is then in both, and dropped from the snapshot below.
        let mut tail = archive.tail.snapshot();
        let selection = &retrieval.selection;
        let colour = selection.colour;
        let single = |numbers: &Option<Numbers>| numbers.as_ref().and_then(Numbers::single);
        let filter = SegmentFilter {
            from_tai_ns: selection.from_tai_ns,
            to_tai_ns: selection.to_tai_ns,
            ring: match selection.ring.as_slice() {
                [ring] => Some(ring.clone()),
                _ => None,
            },
            colour: Some(colour),
            scid: single(&selection.scid),
            link: single(&selection.link),
            vcid: single(&selection.vcid).filter(|vcid| *vcid != IDLE_VCID).map(|vcid| vcid as u8),
            apid: single(&selection.apid).filter(|apid| *apid != IDLE_APID && *apid > ENCAPSULATION_MAX),
            ..SegmentFilter::default()
        };
        let wanted_ring =
            |ring: &str| selection.ring.is_empty() || selection.ring.iter().any(|name| name == ring);
        let mut segments = archive.catalogue.segments(&filter).await?;
        for segment in &segments {
            tail.set_indexed(&segment.facts.id());
        }
        if retrieval.unit == Unit::Packets && filter.apid.is_some() {
            // Packets that were taken out of recorded frames are in no run of the catalogue.
            let all = archive.catalogue.segments(&SegmentFilter { apid: None, ..filter }).await?;
            let of_frames = |segment: &Segment| segment.frames > 0;
            segments.retain(|segment| !of_frames(segment));
            segments.extend(all.into_iter().filter(of_frames));
            segments.sort_by(|one, other| place(one).cmp(&place(other)));
        }
        segments.retain(|segment| wanted_ring(&segment.facts.ring) && segment.state != SegmentState::Deleted);
        let mut rings: BTreeMap<String, SourceSpec> = BTreeMap::new();
        let source = |ring: &str| SourceSpec {
            colour,
            ring: ring.to_owned(),
            files: Vec::new(),
            scans: Vec::new(),
            tail: Vec::new(),
            of_frames: false,
        };
        let mut indexed: BTreeMap<String, Vec<SegmentId>> = BTreeMap::new();
        let mut missing = Vec::new();
        let mut frames_alone = Vec::new();
        for segment in &segments {
            let facts = &segment.facts;
            let of_frames = retrieval.unit == Unit::Packets && segment.frames > 0;
            if of_frames && segment.packets_index.is_none() {
                // Its packets may be in the tail still.
                frames_alone.push(segment);
                continue;
            }
            tail.drop_before(colour, &facts.ring, facts.series, facts.end_seq);
            let index = match retrieval.unit {
                Unit::Frames => &segment.frames_index,
                Unit::Packets => &segment.packets_index,
            };
            let Some(index) = index else { continue };
            if segment.state == SegmentState::Quarantined {
                missing.push(facts.id());
                continue;
            }
            let file = IndexOf { segment: facts.id(), file: index.clone() };
            let ring = rings.entry(facts.ring.clone()).or_insert_with(|| source(&facts.ring));
            ring.files.push(file);
            ring.of_frames |= of_frames;
            indexed.entry(facts.ring.clone()).or_default().push(facts.id());
        }
        let (rest, remainder) = {
            let (directory, rings) = (archive.segments.clone(), selection.ring.clone());
            let (unit, times) = (retrieval.unit, [selection.from_tai_ns, selection.to_tai_ns]);
            let look = move || {
                let wanted = |stream: &Stream| {
                    stream.colour == colour && (rings.is_empty() || rings.contains(&stream.ring))
                };
                let remainder = unindexed::look(&directory, &mut tail, caught_up, wanted, unit, times)?;
                Ok::<_, Error>((tail, remainder))
            };
            tokio::task::spawn_blocking(look).await.map_err(fep_catalogue::Error::from)??
        };
        let tail = rest;
        let mut incomplete = remainder.missing;
        incomplete.extend(unindexed::not_extracted(&tail, &frames_alone, &segments));
        for mut scan in remainder.scans {
            let ring = scan.stream.ring.clone();
            let files = indexed.get(&ring).map_or(&[][..], Vec::as_slice);
            scan.files_before = files.partition_point(|id| *id < scan.id);
            rings.entry(ring.clone()).or_insert_with(|| source(&ring)).scans.push(scan);
        }
        let pieces: Vec<(Colour, &str, TailPiece)> = match retrieval.unit {
            Unit::Frames => tail.frames().collect(),
            Unit::Packets => tail.packets().collect(),
        };
        for (of, ring, piece) in pieces {
            if of == colour && wanted_ring(ring) {
                rings.entry(ring.to_owned()).or_insert_with(|| source(ring)).tail.push(piece);
            }
        }
        let mut sources: Vec<SourceSpec> = rings.into_values().collect();
        let octets = !matches!(retrieval.format, Format::JsonLines | Format::Csv) || retrieval.octets;
        if octets && sources.iter().any(|source| !source.tail.is_empty()) {
            let segments = archive.segments.clone();
            sources = tokio::task::spawn_blocking(move || on_disk(&segments, sources))
                .await
                .map_err(fep_catalogue::Error::from)??;
        }
        let tag = tag(&retrieval, &sources)?;
        let columns = Columns::of(retrieval.unit);
        Ok(Plan {
            archive: archive.clone(),
            retrieval,
            columns,
            sources,
            missing,
            incomplete,
            layouts: tail.layouts(),
            segments,
            tag,
        })
    }

    /// A name of exactly what this plan yields (an entity tag without its quotes): equal tags, equal octets.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Begins to read the rows; for a blocking thread.
    #[must_use]
    pub fn rows(&self, runtime: &Handle) -> Merge {
        let selection = &self.retrieval.selection;
        let filter = RowFilter::new(selection, &self.columns);
        let open = |spec: &SourceSpec| {
            Source::new(&self.archive, runtime.clone(), &self.columns, &filter, spec.clone())
                .with_segments(Arc::clone(&self.layouts), self.retrieval.unit)
        };
        Merge::new(&self.columns, self.sources.iter().map(open).collect(), selection.merged)
    }

    /// As [`Plan::rows`], from a later time of reception on.
    #[must_use]
    pub fn rows_from(&self, rx_tai_ns: i64, runtime: &Handle) -> Merge {
        let mut later = self.clone();
        let from = &mut later.retrieval.selection.from_tai_ns;
        *from = Some(from.map_or(rx_tai_ns, |from| from.max(rx_tai_ns)));
        later.rows(runtime)
    }

    /// The same units of another session: what is read is the same, what is taken of it is not.
    pub(crate) fn in_session(&self, session: Session) -> Plan {
        let mut other = self.clone();
        other.retrieval.selection.session = vec![session];
        other
    }

    /// Segments that are read record by record, because they are in no index yet.
    pub fn read_without_index(&self) -> impl Iterator<Item = &SegmentId> {
        self.sources.iter().flat_map(|source| &source.scans).map(|scan| &scan.id)
    }

    /// Begins to read octets; for a blocking thread.
    #[must_use]
    pub fn octets(&self, runtime: Handle) -> Octets {
        Octets::new(self.archive.clone(), runtime, self.segments.clone())
    }
}

/// Order of the segments of a plan.
fn place(segment: &Segment) -> (&str, u64, u64) {
    (&segment.facts.ring, segment.facts.series, segment.facts.first_seq)
}

/// Leaves of each open tail what the recorder has written already: octets can be had of nothing else.
fn on_disk(archive: &Path, mut sources: Vec<SourceSpec>) -> Result<Vec<SourceSpec>, Error> {
    for source in &mut sources {
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        let stream = Stream::new(source.colour, source.ring.clone());
        for entry in fep_segments::list(archive, &stream)?.into_iter().rev() {
            let series = entry.name.series;
            if source.tail.iter().all(|piece| piece.series() != series) {
                continue;
            }
            // The last segment of a series that is no damaged file ends it. It may be sealed under another name meanwhile.
            if let std::collections::btree_map::Entry::Vacant(end) = ends.entry(series) {
                match fep_segments::open_listed(archive, &stream, &entry) {
                    Ok(Some(reader)) => drop(end.insert(reader.end().seq)),
                    Ok(None) | Err(SegmentError::Format { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let mut written = Vec::new();
        for piece in std::mem::take(&mut source.tail) {
            if let Some(end) = ends.get(&piece.series()) {
                written.extend(piece.before(*end)?);
            }
        }
        source.tail = written;
    }
    Ok(sources)
}

fn tag(retrieval: &Retrieval, sources: &[SourceSpec]) -> Result<String, Error> {
    let mut digest = Sha256::new();
    digest.update(format!("{FORMS_VERSION} {} {retrieval}\n", retrieval.unit));
    for source in sources {
        digest.update(format!("{}/{}\n", source.colour, source.ring));
        for file in &source.files {
            digest.update(file.file.key.as_bytes());
            digest.update(file.file.sha256);
        }
        for scan in &source.scans {
            digest.update(format!("{} {}\n", scan.id, scan.octets));
        }
        for piece in &source.tail {
            digest.update(format!("{} {} {}\n", piece.series(), piece.last_seq()?, piece.rows()));
        }
    }
    let digest = digest.finalize();
    Ok(digest.iter().take(16).map(|octet| format!("{octet:02x}")).collect())
}
