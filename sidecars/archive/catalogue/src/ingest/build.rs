//! From a segment's octets to its index files, and to what the catalogue keeps of it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fep_segments::{Footer, PAGE_LEN, Piece, ReadAt, SegmentReader};
use tokio::runtime::Handle;

use super::extract::{Places, extract_packets, record_of};
use super::index_key;
use crate::index::{BuiltIndex, IndexBuilder, ParquetBytes};
use crate::model::{IndexFile, Segment, SegmentFacts, SegmentState, StoredObject, Tier};
use crate::object_at::ObjectAt;
use crate::packet_layout::PacketLayouts;
use crate::store::Store;
use crate::{Error, Summary};

/// Stores the index files of a segment and says what the catalogue is to know.
pub(crate) async fn keep_index(store: &Store, built: SegmentIndex) -> Result<(Segment, Summary), Error> {
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

pub(super) async fn keep_file(
    store: &Store,
    facts: &SegmentFacts,
    table: &str,
    first_rx_tai_ns: i64,
    file: Option<ParquetBytes>,
) -> Result<Option<IndexFile>, Error> {
    let Some(ParquetBytes { octets, rows }) = file else { return Ok(None) };
    let key = index_key(facts, table, first_rx_tai_ns);
    // Something that is no file must not keep everybody from the segment.
    store.clear_the_way(&key).await?;
    let stored = store.put(&key, Bytes::from(octets)).await?;
    Ok(Some(IndexFile { key, rows, octets: stored.octets, sha256: stored.sha256 }))
}

/// Makes the index files of a segment again, from its file or its copy in the object store, stores them, and tells the
/// catalogue if they are others than before.
pub(crate) async fn index_again(places: &Places, segment: &Segment) -> Result<Segment, Error> {
    let built = build_again(places, segment).await?;
    let is_whole = built.damage.is_none();
    let (again, _) = keep_index(&places.store, built).await?;
    let same = again.frames_index == segment.frames_index && again.packets_index == segment.packets_index;
    // Another version of the libraries packs the same rows in other octets. Of a damaged segment rows are missing.
    if !same && is_whole {
        places.catalogue.set_segment_index(&again).await?;
    }
    Ok(again)
}

/// The index of a segment, from its file or its copy in the object store, whichever is whole.
pub(crate) async fn build_again(places: &Places, segment: &Segment) -> Result<SegmentIndex, Error> {
    let of_file = if segment.tier == Tier::Warm {
        None
    } else {
        let path = places.archive.join(format!("{}.seg", segment.facts.id()));
        Some((build_file(path, Arc::clone(&places.layouts)).await, None))
    };
    let usable = matches!(&of_file, Some((Ok(built), _)) if built.damage.is_none());
    let (built, object) = match (of_file, &segment.object) {
        (Some(built), _) if usable => built,
        (of_file, Some(object)) => {
            let of_object = build_object(&places.store, &object.key, Arc::clone(&places.layouts)).await;
            match (of_object, of_file) {
                (Err(_), Some(built)) => built,
                (of_object, _) => (of_object.map(|(built, _)| built), Some(object)),
            }
        }
        (Some(built), None) => built,
        (None, None) => {
            return Err(Error::refused(
                format!("segment {}", segment.facts.id()),
                "the catalogue knows neither a file nor a copy of it",
            ));
        }
    };
    let mut built = built?;
    if segment.frames > 0 && segment.packets_index.is_some() {
        // A segment before this one may have gone since, or come.
        built.packets = Some(extract_packets(places, &segment.facts, object).await?);
    }
    Ok(built)
}

pub(super) async fn build_file(path: PathBuf, layouts: Arc<PacketLayouts>) -> Result<SegmentIndex, Error> {
    tokio::task::spawn_blocking(move || build_index(fep_segments::open_file(&path)?, &path, layouts)).await?
}

pub(super) async fn build_object(
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
            Piece::Record(view) => builder.push(&record_of(&view))?,
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

pub(super) fn facts_of(footer: &Footer, file_octets: u64) -> SegmentFacts {
    SegmentFacts {
        ring: footer.stream.ring.clone(),
        colour: footer.stream.colour,
        series: footer.series,
        base_pos: footer.base.pos,
        first_seq: footer.base.seq,
        end_seq: footer.end.seq,
        records: footer.records,
        lost_records: footer.lost_records + footer.damaged_records,
        file_octets,
        content_sha256: footer.content_hash.octets,
        chain: footer.chain,
        previous_chain: footer.previous_chain,
    }
}

/// The footer that stays of a removed segment.
pub(super) fn removed_footer(path: &Path) -> Result<Footer, Error> {
    let mut page = Vec::new();
    let file = fep_segments::open_file(path)?;
    file.take(PAGE_LEN as u64 + 1).read_to_end(&mut page).map_err(Error::io("read", path))?;
    let broken = |problem: &str| Error::refused(format!("segment {}", path.display()), problem);
    let page = page
        .as_slice()
        .try_into()
        .map_err(|_| broken("what is left of a removed segment is one footer page"))?;
    Footer::parse(page).map_err(|problem| broken(&problem))
}
