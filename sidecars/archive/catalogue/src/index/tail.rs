//! Rows of records that are in no sealed segment yet: recent data can be asked for before their segment is sealed.
//!
//! They are made from the same records by the same code as the index files, and go when the segment that holds them is in the
//! catalogue. A reader takes a [`TailSnapshot`] first, asks the catalogue then, and drops from the snapshot what the catalogue
//! has: so it sees every row once. Who wants to see them come takes [`Arrivals`]: every row passes by there, however soon its
//! segment is sealed.
//!
//! They take at most so much memory ([`TailLimits`]); what has no room there waits on the disk, and what has none there either
//! is left out, counted and reported until its segment is sealed.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use fep_segments::Stream;
use serde::{Deserialize, Serialize};

use super::arrivals::{Arrival, Arrivals, Watcher};
use super::backlog::{Backlog, Behind, Extracted, Signals, Unindexed};
use super::chunk::{CHUNK_OCTETS, Chunk};
use super::packed::{PackedRows, Table};
use super::spill::Spill;
use crate::Error;
use crate::model::{Colour, SegmentId};
use crate::packet_layout::PacketLayouts;

/// `segment` and `offset` of a row whose record was read from the ring: it has no place in a file yet.
pub const NOT_IN_A_SEGMENT: u64 = u64::MAX;

/// How much the open tails of all streams may take together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailLimits {
    /// Octets of memory.
    pub memory_octets: usize,
    /// Octets on the disk for what has no room in memory.
    pub disk_octets: u64,
    /// Where on the disk: in a file without a name. `None`: nothing is spilled.
    pub directory: Option<PathBuf>,
}

impl Default for TailLimits {
    fn default() -> TailLimits {
        TailLimits { memory_octets: 256 << 20, disk_octets: 0, directory: None }
    }
}

type StreamKey = (Colour, String);

/// Rows that had no room anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LeftOut {
    rows: u64,
    /// All of them are before this sequence number of this series.
    before: (u64, u64),
    earliest_rx: i64,
}

#[derive(Debug, Clone, Default)]
struct StreamTail {
    frames: VecDeque<Chunk>,
    packets: VecDeque<Chunk>,
    /// Series, and the sequence number before which the catalogue has everything.
    catalogued: (u64, u64),
    /// From where to where, in series and sequence number, every record was read without a break.
    read: Option<[(u64, u64); 2]>,
    left_out: Option<LeftOut>,
}

/// The open tails of all streams; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    inner: Arc<Mutex<Inner>>,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct Inner {
    limits: TailLimits,
    spill: Option<Arc<Spill>>,
    streams: BTreeMap<StreamKey, StreamTail>,
    watchers: Vec<Watcher>,
    reach: Option<i64>,
    backlog: Backlog,
    layouts: Arc<PacketLayouts>,
}

/// The open tails at one moment, and what is in neither them nor the catalogue.
#[derive(Debug, Clone, Default)]
pub struct TailSnapshot {
    backlog: Backlog,
    layouts: Arc<PacketLayouts>,
    streams: BTreeMap<StreamKey, StreamTail>,
}

/// A stretch of rows of one stream, in order. They are rows of the index once [`TailPiece::batch`] makes them.
#[derive(Debug, Clone)]
pub struct TailPiece {
    chunk: Chunk,
}

impl TailPiece {
    /// Rows in it; never none.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.chunk.len()
    }

    /// Numbering of the ring that they belong to.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.chunk.series()
    }

    /// Sequence number of the last row.
    ///
    /// # Errors
    /// The disk, where they were spilled.
    pub fn last_seq(&self) -> Result<u64, Error> {
        self.chunk.last_seq()
    }

    /// Those before a sequence number; `None` when there are none.
    ///
    /// # Errors
    /// The disk, where they were spilled.
    pub fn before(mut self, seq: u64) -> Result<Option<TailPiece>, Error> {
        self.chunk.drop_from(seq)?;
        Ok((self.chunk.len() > 0).then_some(self))
    }

    /// The rows, with the schema of [`crate::FrameRow`] or [`crate::PacketRow`].
    ///
    /// # Errors
    /// The disk, where they were spilled.
    pub fn batch(&self) -> Result<RecordBatch, Error> {
        self.chunk.batch()
    }
}

impl Tail {
    /// An empty one.
    #[must_use]
    pub fn new(limits: TailLimits) -> Tail {
        Tail::with_layouts(limits, Arc::default())
    }

    /// As [`Tail::new`]; `layouts` are for segments that are read without their index.
    pub(crate) fn with_layouts(limits: TailLimits, layouts: Arc<PacketLayouts>) -> Tail {
        let inner = Inner { limits, layouts, ..Inner::default() };
        Tail { inner: Arc::new(Mutex::new(inner)), signals: Arc::default() }
    }

    /// From now on somebody takes in: questions wait for it ([`Tail::catch_up`]).
    pub fn attend(&self) {
        self.lock().backlog.is_attended = true;
    }

    /// What is neither in the catalogue nor in the tail.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.lock().backlog.clone()
    }

    /// Has the taking in look at what exists now, and waits until it did, at most so long. Whether it did.
    pub async fn catch_up(&self, within: Duration) -> bool {
        let (question, mut looks) = {
            let mut inner = self.lock();
            if !inner.backlog.is_attended {
                return true;
            }
            inner.backlog.asked += 1;
            (inner.backlog.asked, self.signals.looked.subscribe())
        };
        self.signals.wanted.notify_one();
        let caught_up = async {
            while !self.lock().backlog.answers(question) {
                if looks.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(within, caught_up).await.is_ok()
    }

    /// Until somebody asks.
    pub async fn look_wanted(&self) {
        self.signals.wanted.notified().await;
    }

    /// The last question that was asked: a look that begins now answers it.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().backlog.asked
    }

    /// A look is over that began when so many questions were asked.
    pub(crate) fn set_looked(&self, question: u64, behind: BTreeMap<Stream, Behind>, has_begun: bool) {
        {
            let mut inner = self.lock();
            let backlog = &mut inner.backlog;
            backlog.behind = behind;
            backlog.looked = question;
            backlog.has_begun = has_begun;
        }
        self.signals.looked.send_modify(|looks| *looks += 1);
    }

    pub(crate) fn set_extracted(&self, extraction: Extracted) {
        self.lock().backlog.extraction = extraction;
    }

    pub(crate) fn set_unindexed(&self, id: &SegmentId, segment: Unindexed) {
        Arc::make_mut(&mut self.lock().backlog.segments).insert(id.clone(), segment);
    }

    pub(crate) fn set_indexed(&self, id: &SegmentId) {
        let mut inner = self.lock();
        if inner.backlog.segments.contains_key(id) {
            Arc::make_mut(&mut inner.backlog.segments).remove(id);
        }
    }

    /// Every record between these places, in series and sequence number, was read and added.
    pub(crate) fn set_read(&self, colour: Colour, ring: &str, from: (u64, u64), to: (u64, u64)) {
        let mut inner = self.lock();
        inner.streams.entry((colour, ring.to_owned())).or_default().read = Some([from, to]);
    }

    /// What is read from now on does not continue what was.
    pub(crate) fn set_unread(&self, colour: Colour, ring: &str) {
        if let Some(stream) = self.lock().streams.get_mut(&(colour, ring.to_owned())) {
            stream.read = None;
        }
    }

    /// What is there now. Cheap: the rows are shared, not copied.
    #[must_use]
    pub fn snapshot(&self) -> TailSnapshot {
        let inner = self.lock();
        let (backlog, layouts) = (inner.backlog.clone(), Arc::clone(&inner.layouts));
        TailSnapshot { backlog, layouts, streams: inner.streams.clone() }
    }

    /// Rows as they come from now on.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        let (watcher, arrivals) = Watcher::new();
        self.lock().watchers.push(watcher);
        arrivals
    }

    /// Rows that are held, frames and packets together.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lock().streams.values().flat_map(StreamTail::chunks).map(Chunk::len).sum()
    }

    /// Octets of memory that the rows take, room for more included.
    #[must_use]
    pub fn memory_octets(&self) -> usize {
        self.lock().streams.values().map(StreamTail::memory).sum()
    }

    /// Rows that had no room in memory or on the disk: queries do not see them before their segment is in the catalogue.
    #[must_use]
    pub fn left_out_rows(&self) -> u64 {
        self.lock().streams.values().filter_map(|stream| stream.left_out).map(|left_out| left_out.rows).sum()
    }

    /// When the first of the rows that are in no sealed segment was received, if there is one: the catalogue knows everything
    /// before it.
    #[must_use]
    pub fn earliest_rx_tai_ns(&self) -> Option<i64> {
        let inner = self.lock();
        let held = inner.streams.values().flat_map(StreamTail::chunks).map(Chunk::earliest_rx);
        let left_out = inner.streams.values().filter_map(|stream| stream.left_out);
        held.chain(left_out.map(|left_out| left_out.earliest_rx)).min()
    }

    /// Up to before when everything that was received is in the catalogue, in sealed segments: what came later may be in the
    /// tail, or was not read yet. `None`: nothing is known before the first round of taking in is over.
    #[must_use]
    pub fn indexed_to_tai_ns(&self) -> Option<i64> {
        let reach = self.lock().reach?;
        Some(self.earliest_rx_tai_ns().map_or(reach, |earliest| earliest.min(reach)))
    }

    pub(crate) fn set_reach(&self, reach: i64) {
        self.lock().reach = Some(reach);
    }

    pub(crate) fn add(&self, colour: Colour, ring: &str, series: u64, rows: &PackedRows) {
        if !self.lock().watchers.is_empty() {
            match Arrival::of(colour, ring, series, rows) {
                Ok(arrival) => self.lock().watchers.retain(|watcher| watcher.hand(&arrival)),
                Err(error) => tracing::error!(%error, "rows of {colour}/{ring} cannot be shown as they come"),
            }
        }
        let mut inner = self.lock();
        let stream = inner.streams.entry((colour, ring.to_owned())).or_default();
        for table in Table::BOTH {
            push(stream.table(table), table, series, rows.of(table));
        }
        // A segment may be in the catalogue before its last records have come by here.
        let (series, end_seq) = stream.catalogued;
        stream.drop_before(series, end_seq);
        inner.make_room();
    }

    pub(crate) fn forget(&self, colour: Colour, ring: &str, series: u64, end_seq: u64) {
        let mut inner = self.lock();
        let stream = inner.streams.entry((colour, ring.to_owned())).or_default();
        stream.catalogued = stream.catalogued.max((series, end_seq));
        stream.drop_before(series, end_seq);
    }

    // A thread that panicked while it held the lock left whole chunks behind: they can be used.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(chunks: &mut VecDeque<Chunk>, table: Table, series: u64, mut octets: &[u8]) {
    while !octets.is_empty() {
        if !chunks.back().is_some_and(|last| last.has_room(series)) {
            if let Some(last) = chunks.back_mut() {
                last.close();
            }
            chunks.push_back(Chunk::new(table, series));
        }
        let Some(last) = chunks.back_mut() else { return };
        octets = last.take(octets);
    }
}

impl Inner {
    /// Spills, or leaves out, the oldest rows of the largest streams until the rest has room.
    fn make_room(&mut self) {
        loop {
            let memory = |stream: &StreamTail| stream.memory();
            let held: usize = self.streams.values().map(memory).sum();
            if held <= self.limits.memory_octets {
                return;
            }
            let Some(largest) = self.streams.values().map(memory).max() else { return };
            let spill = self.spill_file();
            let Some((key, stream)) = self.streams.iter_mut().find(|(_, stream)| stream.memory() == largest)
            else {
                return;
            };
            if let Err(error) = stream.spill_oldest(spill.as_ref()) {
                tracing::error!(%error, "the open end of {}/{} cannot be spilled: its oldest rows are left out", key.0, key.1);
            }
        }
    }

    /// The file to spill into, made when it is needed first.
    fn spill_file(&mut self) -> Option<Arc<Spill>> {
        let directory = self.limits.directory.as_ref()?;
        if self.spill.is_none() {
            match Spill::create(directory, CHUNK_OCTETS, self.limits.disk_octets) {
                Ok(spill) => self.spill = Some(Arc::new(spill)),
                Err(error) => {
                    tracing::error!(%error, "the open tail has no place on the disk");
                    self.limits.directory = None;
                }
            }
        }
        self.spill.clone()
    }
}

impl StreamTail {
    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.frames.iter().chain(&self.packets)
    }

    fn table(&mut self, table: Table) -> &mut VecDeque<Chunk> {
        match table {
            Table::Frames => &mut self.frames,
            Table::Packets => &mut self.packets,
        }
    }

    fn memory(&self) -> usize {
        self.chunks().map(Chunk::memory).sum()
    }

    /// Moves the oldest chunk that is in memory to the disk. Where that is full, the oldest rows of all are left out for it.
    ///
    /// # Errors
    /// The disk's; the chunk is left out then.
    fn spill_oldest(&mut self, spill: Option<&Arc<Spill>>) -> Result<(), Error> {
        let memory = |chunks: &VecDeque<Chunk>| chunks.iter().map(Chunk::memory).sum::<usize>();
        let table =
            if memory(&self.frames) >= memory(&self.packets) { Table::Frames } else { Table::Packets };
        let Some(mut at) = self.table(table).iter().position(|chunk| chunk.memory() > 0) else {
            return Ok(());
        };
        let mut spilled = match spill {
            Some(spill) => self.table(table)[at].spill(spill),
            None => Ok(false),
        };
        if let (Ok(false), Some(spill)) = (&spilled, spill)
            && at > 0
        {
            self.leave_out(table, 0);
            at -= 1;
            spilled = self.table(table)[at].spill(spill);
        }
        if !matches!(spilled, Ok(true)) {
            self.leave_out(table, at);
        }
        spilled.map(drop)
    }

    fn leave_out(&mut self, table: Table, at: usize) {
        let Some(chunk) = self.table(table).remove(at) else { return };
        let before = (chunk.series(), chunk.last_seq().map_or(u64::MAX, |seq| seq.saturating_add(1)));
        let known = self.left_out.unwrap_or(LeftOut { rows: 0, before, earliest_rx: i64::MAX });
        self.left_out = Some(LeftOut {
            rows: known.rows + chunk.len() as u64,
            before: known.before.max(before),
            earliest_rx: known.earliest_rx.min(chunk.earliest_rx()),
        });
    }

    fn drop_before(&mut self, series: u64, end_seq: u64) {
        if self.left_out.is_some_and(|left_out| left_out.before <= (series, end_seq)) {
            self.left_out = None;
        }
        let mut lost: Option<LeftOut> = None;
        for chunks in [&mut self.frames, &mut self.packets] {
            while let Some(first) = chunks.front_mut().filter(|first| first.series() <= series) {
                if first.series() == series {
                    match first.drop_before(end_seq) {
                        Ok(()) if first.len() > 0 => break,
                        Ok(()) => {}
                        // Better too few rows than some twice.
                        Err(error) => {
                            tracing::error!(%error, "{} rows of the open tail are lost", first.len());
                            lost.get_or_insert(LeftOut {
                                rows: 0,
                                before: (series, u64::MAX),
                                earliest_rx: first.earliest_rx(),
                            })
                            .rows += first.len() as u64;
                        }
                    }
                }
                chunks.pop_front();
            }
        }
        if let Some(lost) = lost {
            let known = self.left_out.unwrap_or(LeftOut { rows: 0, ..lost });
            self.left_out = Some(LeftOut { rows: known.rows + lost.rows, ..lost });
        }
    }
}

impl TailSnapshot {
    /// What is neither in the catalogue nor in the tail.
    #[must_use]
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// How packets are read that are in no index.
    #[must_use]
    pub fn layouts(&self) -> Arc<PacketLayouts> {
        Arc::clone(&self.layouts)
    }

    /// The catalogue has this segment by now.
    pub fn set_indexed(&mut self, id: &SegmentId) {
        if self.backlog.segments.contains_key(id) {
            Arc::make_mut(&mut self.backlog.segments).remove(id);
        }
    }

    /// Whether the rows of all records from `base_seq` up to `end_seq` of a series are here.
    #[must_use]
    pub fn holds(&self, colour: Colour, ring: &str, series: u64, base_seq: u64, end_seq: u64) -> bool {
        let Some(stream) = self.streams.get(&(colour, ring.to_owned())) else { return false };
        let left_out = stream.left_out.map_or((0, 0), |left_out| left_out.before);
        stream.read.is_some_and(|[from, to]| {
            (series, base_seq) >= from.max(stream.catalogued).max(left_out) && (series, end_seq) <= to
        })
    }

    /// Rings of which rows have no room here and are in no index yet.
    pub fn left_out(&self) -> impl Iterator<Item = (Colour, &str, u64)> {
        let rows = |stream: &StreamTail| stream.left_out.map(|left_out| left_out.rows);
        self.streams
            .iter()
            .filter_map(move |((colour, ring), stream)| Some((*colour, ring.as_str(), rows(stream)?)))
    }

    /// Drops the rows of a stream that the catalogue has: those before `end_seq` of `series`, and older series.
    pub fn drop_before(&mut self, colour: Colour, ring: &str, series: u64, end_seq: u64) {
        if let Some(stream) = self.streams.get_mut(&(colour, ring.to_owned())) {
            stream.catalogued = stream.catalogued.max((series, end_seq));
            stream.drop_before(series, end_seq);
        }
    }

    /// Rows of frames in order: colour, ring, and a stretch of rows.
    pub fn frames(&self) -> impl Iterator<Item = (Colour, &str, TailPiece)> {
        self.pieces(|stream| &stream.frames)
    }

    /// Rows of packets in order: colour, ring, and a stretch of rows.
    pub fn packets(&self) -> impl Iterator<Item = (Colour, &str, TailPiece)> {
        self.pieces(|stream| &stream.packets)
    }

    fn pieces(
        &self,
        of: fn(&StreamTail) -> &VecDeque<Chunk>,
    ) -> impl Iterator<Item = (Colour, &str, TailPiece)> {
        self.streams.iter().flat_map(move |((colour, ring), stream)| {
            of(stream).iter().map(move |chunk| (*colour, ring.as_str(), TailPiece { chunk: chunk.clone() }))
        })
    }
}

#[cfg(test)]
mod tests;
