//! From a segment's octets to its index files, and to what the catalogue keeps of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fep_segments::{Footer, Piece, ReadAt, SegmentReader};
use tokio::runtime::Handle;

use super::extract::{Places, extract_packets, record_of};
use super::index_key;
use crate::index::{BuiltIndex, IndexBuilder, ParquetBytes};
use crate::model::{IndexFile, Segment, SegmentFacts, SegmentState, StoredObject, Tier};
use crate::object_at::ObjectAt;
use crate::packet_layout::PacketLayouts;
use crate::sql::Catalogue;
use crate::store::Store;
use crate::{Error, Summary};

/// Stores the index files of a segment and says what the catalogue is to know.
pub(super) async fn keep_index(store: &Store, built: SegmentIndex) -> Result<(Segment, Summary), Error> {
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
    let stored = store.put(&key, Bytes::from(octets)).await?;
    Ok(Some(IndexFile { key, rows, octets: stored.octets, sha256: stored.sha256 }))
}

/// Makes the index files of a segment again, from its file or its copy in the object store.
pub(crate) async fn index_again(
    archive: &Path,
    store: &Store,
    catalogue: &Catalogue,
    layouts: &Arc<PacketLayouts>,
    segment: &Segment,
) -> Result<(), Error> {
    let path = archive.join(format!("{}.seg", segment.facts.id()));
    let warm = segment.object.as_ref().filter(|_| segment.tier == Tier::Warm);
    let mut built = match warm {
        Some(object) => build_object(store, &object.key, Arc::clone(layouts)).await?.0,
        None => build_file(path, Arc::clone(layouts)).await?,
    };
    if segment.frames > 0 && segment.packets_index.is_some() {
        let places = Places { archive, store, catalogue, layouts };
        built.packets = Some(extract_packets(places, &segment.facts, warm).await?);
    }
    let (made, _) = keep_index(store, built).await?;
    match &made.packets_index {
        // A segment before this one may have gone since, or come.
        Some(file) if made.packets_index != segment.packets_index => {
            catalogue.set_packets_index(&segment.facts.id(), file).await.map(drop)
        }
        _ => Ok(()),
    }
}

pub(super) async fn build_file(path: PathBuf, layouts: Arc<PacketLayouts>) -> Result<SegmentIndex, Error> {
    tokio::task::spawn_blocking(move || {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        build_index(file, &path, layouts)
    })
    .await?
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
    let page = std::fs::read(path).map_err(Error::io("read", path))?;
    let broken = |problem: &str| Error::refused(format!("segment {}", path.display()), problem);
    let page = page
        .as_slice()
        .try_into()
        .map_err(|_| broken("what is left of a removed segment is one footer page"))?;
    Footer::parse(page).map_err(|problem| broken(&problem))
}
