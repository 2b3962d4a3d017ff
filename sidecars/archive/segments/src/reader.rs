//! Reading one segment: in order, by place, by time, by offset; sealed, still growing, or damaged.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use fep_bus::{Position, Record};

use crate::block::{BlockContent, BlockError, BlockHeader, BlockKind, RecordView, Records};
use crate::error::SegmentError;
use crate::footer::{Footer, parse_table};
use crate::header::SegmentHeader;
use crate::layout::{BLOCK_HEADER_LEN, PAGE_LEN, RECORD_HEADER_LEN};
use crate::loss::{Loss, LossCause};
use crate::plain;

/// Where a segment's octets come from.
pub trait ReadAt {
    /// Octets there are now.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `into.len()` octets at `offset`; fewer only at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Whether there are none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl ReadAt for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match FileExt::read_at(self, &mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or(&[]);
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(into, offset)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(into, offset)
    }
}

/// A record found by its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordAt<'a> {
    /// There, in a block whose checksum holds.
    Record(RecordView<'a>),
    /// No record begins at this offset.
    None,
    /// The block that holds this offset is damaged.
    Damaged(BlockError),
}

/// What comes next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// Records are missing here: recorded so, or their block is damaged.
    Loss(Loss),
}

/// What the reader does with a block that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It is damaged; what follows is searched page by page.
    Settled,
    /// It may be on its way to the disk: nothing yet.
    Growing,
}

/// As [`Piece`], with the payload as a range of the loaded content.
enum Advance {
    Record { record: Record, offset: u64, payload: Range<usize> },
    Loss(Loss),
}

/// Where reading stands: a block, and an octet of its content.
#[derive(Debug, Clone, Copy)]
struct Walk {
    block: usize,
    at: usize,
}

/// Reads one segment. `S` is a file, octets in memory, or anything that is [`ReadAt`].
///
/// Every block's checksum is held against its content before a record of it is shown.
#[derive(Debug)]
pub struct SegmentReader<S = File> {
    source: S,
    path: PathBuf,
    header: SegmentHeader,
    footer: Option<Footer>,
    mode: Mode,
    blocks: Vec<BlockHeader>,
    /// Where the next block would start, while there is no footer.
    scanned_to: u64,
    walk: Walk,
    next: Position,
    content: BlockContent,
    loaded: Option<usize>,
}

impl SegmentReader<File> {
    /// Opens a segment file that nobody writes any more, sealed or not: damaged blocks are losses, and what follows
    /// them is searched.
    pub fn open(path: &Path) -> Result<SegmentReader<File>, SegmentError> {
        let file = plain::open(path).map_err(SegmentError::io(path, "open"))?;
        SegmentReader::of(file, path)
    }

    /// Opens a segment that a recorder may be writing: where a block does not hold, the reader waits before it.
    pub fn open_growing(path: &Path) -> Result<SegmentReader<File>, SegmentError> {
        let file = plain::open(path).map_err(SegmentError::io(path, "open"))?;
        SegmentReader::with_mode(file, path, Mode::Growing)
    }

    /// Number of the file within its file system.
    pub(crate) fn inode(&self) -> Result<u64, SegmentError> {
        let metadata = self.source.metadata().map_err(SegmentError::io(&self.path, "look at"))?;
        Ok(metadata.ino())
    }
}

impl<S: ReadAt> SegmentReader<S> {
    /// Reads a segment from `source`; `path` is only for messages. As [`SegmentReader::open`].
    pub fn of(source: S, path: &Path) -> Result<SegmentReader<S>, SegmentError> {
        SegmentReader::with_mode(source, path, Mode::Settled)
    }

    /// As [`SegmentReader::of`], of a segment that a recorder may be writing; see [`SegmentReader::open_growing`].
    pub(crate) fn growing(source: S, path: &Path) -> Result<SegmentReader<S>, SegmentError> {
        SegmentReader::with_mode(source, path, Mode::Growing)
    }

    fn with_mode(source: S, path: &Path, mode: Mode) -> Result<SegmentReader<S>, SegmentError> {
        let mut page = [0; PAGE_LEN];
        let read = source.read_at(&mut page, 0).map_err(SegmentError::io(path, "read"))?;
        if read < PAGE_LEN {
            return Err(SegmentError::format(
                path,
                format!("{read} octets are no segment: the header has {PAGE_LEN}"),
            ));
        }
        let header = SegmentHeader::parse(&page).map_err(|problem| SegmentError::format(path, problem))?;
        SegmentReader::with_header(source, path, header, mode)
    }

    /// Reads a settled segment whose header page does not say what `header` says.
    pub(crate) fn under_header(
        source: S,
        path: &Path,
        header: SegmentHeader,
    ) -> Result<SegmentReader<S>, SegmentError> {
        SegmentReader::with_header(source, path, header, Mode::Settled)
    }

    fn with_header(
        source: S,
        path: &Path,
        header: SegmentHeader,
        mode: Mode,
    ) -> Result<SegmentReader<S>, SegmentError> {
        let mut reader = SegmentReader {
            source,
            path: path.to_owned(),
            next: header.base,
            header,
            footer: None,
            mode,
            blocks: Vec::new(),
            scanned_to: PAGE_LEN as u64,
            walk: Walk { block: 0, at: 0 },
            content: BlockContent::default(),
            loaded: None,
        };
        reader.refresh()?;
        Ok(reader)
    }

    /// What the header page says.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// What the footer says; `None` while the segment grows, or when the footer is damaged.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// Whether nothing will be added any more.
    pub fn is_sealed(&self) -> bool {
        self.footer.is_some()
    }

    /// The file, or what it was called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Heads of all blocks known so far, in order.
    pub fn blocks(&self) -> &[BlockHeader] {
        &self.blocks
    }

    /// Where reading stands in the stream.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Where the known content ends in the stream.
    pub fn end(&self) -> Position {
        self.blocks.last().map_or(self.header.base, |block| block.end)
    }

    /// Where the known content ends in the file.
    pub fn content_end(&self) -> u64 {
        self.footer.as_ref().map_or(self.scanned_to, |footer| footer.content_end)
    }

    /// Nobody writes this segment any more: blocks that do not hold are damaged from now on, and what follows them is
    /// searched.
    pub fn settle(&mut self) -> Result<(), SegmentError> {
        self.mode = Mode::Settled;
        self.refresh()
    }

    /// Looks for blocks (and the footer) that have come since. Does nothing on a sealed segment.
    pub fn refresh(&mut self) -> Result<(), SegmentError> {
        if self.footer.is_some() {
            return Ok(());
        }
        let len = self.source.len().map_err(SegmentError::io(&self.path, "read the length of"))?;
        if self.read_footer(len)? {
            return Ok(());
        }
        self.scan(len)
    }

    /// Adds the blocks from `scanned_to` up to octet `len` of the file.
    fn scan(&mut self, len: u64) -> Result<(), SegmentError> {
        let mut octets = [0; BLOCK_HEADER_LEN];
        while self.scanned_to < len {
            let read = self
                .source
                .read_at(&mut octets, self.scanned_to)
                .map_err(SegmentError::io(&self.path, "read"))?;
            match BlockHeader::parse(&octets[..read]) {
                Some(block) if self.belongs(&block, self.scanned_to, len) => {
                    self.scanned_to += block.file_len();
                    self.blocks.push(block);
                }
                _ if self.mode == Mode::Growing => break,
                // A torn or damaged head: blocks start on pages, so the next whole one is found by trying each.
                _ => match self.search(len)? {
                    Some(offset) => self.scanned_to = offset,
                    None => break,
                },
            }
        }
        Ok(())
    }

    /// Whether a head found at `offset` can be the next block of this segment.
    fn belongs(&self, block: &BlockHeader, offset: u64, len: u64) -> bool {
        block.id == self.header.id
            && block.offset == offset
            && block.file_len() <= len - offset
            && block.begin.seq >= self.end().seq
            && block.begin.pos >= self.end().pos
    }

    /// The first page after `scanned_to` on which a block of this segment starts.
    fn search(&self, len: u64) -> Result<Option<u64>, SegmentError> {
        const STEP: usize = 64 * PAGE_LEN;
        let mut window = vec![0; STEP];
        let mut from = self.scanned_to + PAGE_LEN as u64;
        while from < len {
            let read =
                self.source.read_at(&mut window, from).map_err(SegmentError::io(&self.path, "read"))?;
            for at in (0..read).step_by(PAGE_LEN) {
                let offset = from + at as u64;
                let found = BlockHeader::parse(&window[at..read.min(at + BLOCK_HEADER_LEN)]);
                if found.is_some_and(|block| self.belongs(&block, offset, len)) {
                    return Ok(Some(offset));
                }
            }
            if read < STEP {
                break;
            }
            from += STEP as u64;
        }
        Ok(None)
    }

    fn read_footer(&mut self, len: u64) -> Result<bool, SegmentError> {
        if len < 3 * PAGE_LEN as u64 || !len.is_multiple_of(PAGE_LEN as u64) {
            return Ok(false);
        }
        let mut page = [0; PAGE_LEN];
        let offset = len - PAGE_LEN as u64;
        let read = self.source.read_at(&mut page, offset).map_err(SegmentError::io(&self.path, "read"))?;
        let Ok(footer) = Footer::parse(&page) else { return Ok(false) };
        if read < PAGE_LEN || footer.id != self.header.id || footer.content_end < PAGE_LEN as u64 {
            return Ok(false);
        }
        let Some(table_len) = offset.checked_sub(footer.content_end) else { return Ok(false) };
        let mut octets = vec![0; table_len as usize];
        let read = self
            .source
            .read_at(&mut octets, footer.content_end)
            .map_err(SegmentError::io(&self.path, "read"))?;
        match parse_table(&octets[..read], self.header.id) {
            Some(blocks) if self.is_sound(&blocks, footer.content_end) => self.blocks = blocks,
            // Only the table is damaged: the blocks speak for themselves.
            _ => {
                self.mode = Mode::Settled;
                self.scan(footer.content_end)?;
            }
        }
        self.footer = Some(footer);
        Ok(true)
    }

    /// A table may only say what could have been found by scanning.
    fn is_sound(&self, blocks: &[BlockHeader], content_end: u64) -> bool {
        let mut offset = PAGE_LEN as u64;
        let mut end = self.header.base;
        blocks.iter().all(|block| {
            let sound = block.id == self.header.id
                && block.offset >= offset
                && block.offset.is_multiple_of(PAGE_LEN as u64)
                && block.offset <= content_end
                && block.file_len() <= content_end - block.offset
                && block.begin.seq >= end.seq
                && block.begin.pos >= end.pos;
            offset = block.offset.saturating_add(block.file_len());
            end = block.end;
            sound
        })
    }

    /// Reads one block and holds its checksum and its record headers against it. The inner result is the verdict.
    pub fn read_block(
        &self,
        block: &BlockHeader,
        into: &mut BlockContent,
    ) -> Result<Result<(), BlockError>, SegmentError> {
        into.header = None;
        // A header that was believed promised no more than the file holds.
        into.octets.resize(block.content_len as usize, 0);
        let read = self
            .source
            .read_at(&mut into.octets, block.content_offset())
            .map_err(SegmentError::io(&self.path, "read"))?;
        if read < into.octets.len() {
            return Ok(Err(BlockError::Short));
        }
        if crc32c::crc32c(&into.octets) != block.content_crc {
            return Ok(Err(BlockError::Checksum));
        }
        into.header = Some(*block);
        let mut records = into.records();
        records.by_ref().for_each(drop);
        let verdict = match records.error() {
            Some(error) => Err(error),
            None if block.kind == BlockKind::Records && records.position() != block.end => {
                Err(BlockError::Records { at: into.octets.len() })
            }
            None => Ok(()),
        };
        if verdict.is_err() {
            into.header = None;
        }
        Ok(verdict)
    }

    /// The next piece in order; `None` at the end of what is there (call again after more was written, unless
    /// [`SegmentReader::is_sealed`]).
    #[expect(
        clippy::should_implement_trait,
        reason = "a piece borrows from the reader, which no Iterator allows"
    )]
    pub fn next(&mut self) -> Result<Option<Piece<'_>>, SegmentError> {
        Ok(match self.advance()? {
            None => None,
            Some(Advance::Loss(loss)) => Some(Piece::Loss(loss)),
            Some(Advance::Record { record, offset, payload }) => {
                Some(Piece::Record(RecordView { record, offset, payload: &self.content.octets[payload] }))
            }
        })
    }

    fn advance(&mut self) -> Result<Option<Advance>, SegmentError> {
        loop {
            if self.walk.block >= self.blocks.len() {
                self.refresh()?;
                if self.walk.block >= self.blocks.len() {
                    return Ok(self.tail_loss().map(Advance::Loss));
                }
            }
            let block = self.blocks[self.walk.block];
            if block.begin.seq > self.next.seq {
                // What lay between was in a block whose head is gone.
                let loss = Loss { from: self.next, to: block.begin, cause: LossCause::DamagedBlock };
                self.next = block.begin;
                return Ok(Some(Advance::Loss(loss)));
            }
            if let Some(loss) = block.loss() {
                let from = self.next;
                self.finish_block(&block);
                if loss.to.seq <= from.seq {
                    continue;
                }
                return Ok(Some(Advance::Loss(Loss { from, ..loss })));
            }
            if self.loaded != Some(self.walk.block)
                && let Err(_damage) = self.load(self.walk.block)?
            {
                if self.mode == Mode::Growing && self.footer.is_none() {
                    return Ok(None);
                }
                let from = self.next;
                self.finish_block(&block);
                if block.end.seq <= from.seq {
                    continue;
                }
                return Ok(Some(Advance::Loss(Loss { from, to: block.end, cause: LossCause::DamagedBlock })));
            }
            let begin = if self.walk.at == 0 { block.begin } else { self.next };
            let mut records = Records::new(&self.content.octets, block.begin, block.content_offset())
                .resume(self.walk.at, begin);
            if let Some(RecordView { record, offset, payload }) = records.next() {
                self.walk.at = records.at();
                self.next = records.position();
                let start = (offset - block.content_offset()) as usize + RECORD_HEADER_LEN;
                return Ok(Some(Advance::Record { record, offset, payload: start..start + payload.len() }));
            }
            self.finish_block(&block);
        }
    }

    fn finish_block(&mut self, block: &BlockHeader) {
        self.next = block.end;
        self.walk = Walk { block: self.walk.block + 1, at: 0 };
    }

    /// Blocks at the very end whose heads are gone: only the footer still knows of them.
    fn tail_loss(&mut self) -> Option<Loss> {
        let end = self.footer.as_ref()?.end;
        if end.seq <= self.next.seq {
            return None;
        }
        let loss = Loss { from: self.next, to: end, cause: LossCause::DamagedBlock };
        self.next = end;
        Some(loss)
    }

    fn load(&mut self, index: usize) -> Result<Result<(), BlockError>, SegmentError> {
        let mut content = std::mem::take(&mut self.content);
        self.loaded = None;
        let verdict = self.read_block(&self.blocks[index], &mut content);
        self.content = content;
        let verdict = verdict?;
        if verdict.is_ok() {
            self.loaded = Some(index);
        }
        Ok(verdict)
    }

    /// Goes on with record `seq`, or with the first one after it that is there (losses from `seq` on are told).
    pub fn seek(&mut self, seq: u64) -> Result<(), SegmentError> {
        self.refresh()?;
        let block = self.blocks.partition_point(|block| block.end.seq <= seq);
        self.walk = Walk { block, at: 0 };
        self.next = match block.checked_sub(1) {
            Some(before) => self.blocks[before].end,
            None => self.header.base,
        };
        let Some(found) = self.blocks.get(block).copied() else { return Ok(()) };
        if seq <= found.begin.seq {
            if seq == found.begin.seq {
                self.next = found.begin;
            }
            return Ok(());
        }
        if found.kind != BlockKind::Records || self.load(block)?.is_err() {
            // Inside a loss only the number is known; the octets stay those of the whole.
            self.next = Position { seq, ..found.begin };
            return Ok(());
        }
        let mut records = Records::new(&self.content.octets, found.begin, found.content_offset());
        let (mut at, mut next) = (0, found.begin);
        while next.seq < seq && records.next().is_some() {
            (at, next) = (records.at(), records.position());
        }
        self.walk.at = at;
        self.next = next;
        Ok(())
    }

    /// Goes on with the first record received at `rx_tai_ns` or later: the first in the stream's order, times of
    /// reception being as the records say. To the end when there is none.
    pub fn seek_time(&mut self, rx_tai_ns: i64) -> Result<(), SegmentError> {
        self.refresh()?;
        let mut index = 0;
        while let Some(block) = self.blocks.get(index).copied() {
            if block.records() > 0 && block.rx_max_tai_ns >= rx_tai_ns {
                let seq = match self.load(index)? {
                    Ok(()) => self
                        .content
                        .records()
                        .find(|view| view.record.tag.received.0 >= rx_tai_ns)
                        .map(|view| view.record.seq),
                    Err(_) => Some(block.begin.seq),
                };
                if let Some(seq) = seq {
                    return self.seek(seq);
                }
            }
            index += 1;
        }
        self.seek(self.end().seq)
    }

    /// The record whose header starts at `offset` of the file, as [`RecordView::offset`] said. The block it lies in is
    /// read whole, checked, and kept, so that neighbours cost nothing.
    pub fn record_at(&mut self, offset: u64) -> Result<RecordAt<'_>, SegmentError> {
        let after = self.blocks.partition_point(|block| block.content_offset() <= offset);
        let Some(index) = after.checked_sub(1) else { return Ok(RecordAt::None) };
        let block = self.blocks[index];
        if offset >= block.content_offset() + u64::from(block.content_len) {
            return Ok(RecordAt::None);
        }
        if self.loaded != Some(index)
            && let Err(error) = self.load(index)?
        {
            return Ok(RecordAt::Damaged(error));
        }
        let within = (offset - block.content_offset()) as usize;
        let header = self.content.octets[within..].first_chunk().map(Record::from_header);
        // The block was walked when it was read: a record is where its own position says that it is.
        let found = header.filter(|record| {
            record.pos == block.begin.pos.wrapping_add(within as u64)
                && record.tag.kind != fep_bus::KIND_PAD
                && (block.begin.seq..block.end.seq).contains(&record.seq)
        });
        Ok(match found {
            Some(record) => {
                let start = within + RECORD_HEADER_LEN;
                match self.content.octets.get(start..start + record.len as usize) {
                    Some(payload) => RecordAt::Record(RecordView { record, offset, payload }),
                    None => RecordAt::None,
                }
            }
            None => RecordAt::None,
        })
    }
}
