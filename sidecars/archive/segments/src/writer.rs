//! Writes segments record by record, without a ring: imports, back-fill, tests. The recorder does not use it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fep_bus::{Colour, Position, Record, Tag};

use crate::block::{BlockBuilder, BlockHeader};
use crate::content::ContentHasher;
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::header::SegmentHeader;
use crate::layout::{BLOCK_HEADER_LEN, PAGE_LEN, RECORD_HEADER_LEN, pages, record_len};
use crate::loss::Loss;
use crate::name::Stream;
use crate::seal::{Chain, seal, sync_directory};

/// A segment being written. Records are collected into blocks; [`SegmentWriter::flush`] makes them durable.
#[derive(Debug)]
pub struct SegmentWriter {
    file: File,
    path: PathBuf,
    header: SegmentHeader,
    blocks: Vec<BlockHeader>,
    hash: ContentHasher,
    offset: u64,
    begin: Position,
    next: Position,
    block: Vec<u8>,
    block_len: usize,
}

impl SegmentWriter {
    /// Octets of content after which a block is written by itself.
    const BLOCK_LEN: usize = 1 << 20;

    /// Begins the segment of `header` below `archive`; its directory is made if need be (red ones for the owner only).
    pub fn create(archive: &Path, header: SegmentHeader) -> Result<SegmentWriter, SegmentError> {
        let directory = header.stream.directory(archive);
        make_directory(&directory, &header.stream)?;
        let path = directory.join(header.name().open_file());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(SegmentError::io(&path, "create"))?;
        let page = header.to_page();
        file.write_all_at(&page, 0).map_err(SegmentError::io(&path, "write"))?;
        let mut hash = ContentHasher::default();
        hash.update(&page);
        let next = header.base;
        Ok(SegmentWriter {
            file,
            path,
            header,
            blocks: Vec::new(),
            hash,
            offset: PAGE_LEN as u64,
            begin: next,
            next,
            block: vec![0; BLOCK_HEADER_LEN],
            block_len: Self::BLOCK_LEN,
        })
    }

    /// Octets of content after which a block is written; 1 MiB at first.
    pub fn set_block_len(&mut self, octets: usize) {
        self.block_len = octets.clamp(1, 1 << 30);
    }

    /// Adds a record as the next in the stream; returns the offset of its header in the file.
    ///
    /// # Errors
    /// When a full block had to be written and could not.
    pub fn record(&mut self, tag: Tag, payload: &[u8]) -> Result<u64, SegmentError> {
        if self.block.len() - BLOCK_HEADER_LEN >= self.block_len {
            self.write_block()?;
        }
        let len = u32::try_from(payload.len())
            .map_err(|_| SegmentError::format(&self.path, "a record is shorter than 4 GiB"))?;
        let record =
            Record { seq: self.next.seq, pos: self.next.pos, len, tag, payload_before: self.next.payload };
        let offset = self.offset + self.block.len() as u64;
        let taken = record_len(u64::from(len));
        let end = self.block.len() + taken as usize;
        self.block.extend_from_slice(&record.to_header());
        self.block.extend_from_slice(payload);
        self.block.resize(end, 0);
        debug_assert!(taken >= RECORD_HEADER_LEN as u64);
        self.next = Position {
            seq: self.next.seq + 1,
            pos: self.next.pos + taken,
            payload: self.next.payload + u64::from(len),
        };
        Ok(offset)
    }

    /// Records that the stream goes on at `loss.to`; `loss.from` must be where it stands.
    pub fn loss(&mut self, loss: &Loss) -> Result<(), SegmentError> {
        self.write_block()?;
        if loss.from != self.next || loss.to.seq < loss.from.seq || loss.to.pos < loss.from.pos {
            return Err(SegmentError::format(
                &self.path,
                format!("{loss:?} does not continue {:?}", self.next),
            ));
        }
        let builder = self.builder();
        let mut page = vec![0; PAGE_LEN];
        let header = builder.loss(&mut page, loss);
        self.append(&page, header)?;
        self.next = loss.to;
        self.begin = loss.to;
        Ok(())
    }

    /// Where the stream stands after all records added so far.
    pub fn position(&self) -> Position {
        self.next
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what was added and makes it durable.
    pub fn flush(&mut self) -> Result<(), SegmentError> {
        self.write_block()?;
        self.file.sync_data().map_err(SegmentError::io(&self.path, "make durable"))?;
        sync_directory(&self.path)
    }

    /// Writes what was added and seals the segment. `previous` is the chain of its stream before it.
    pub fn seal(mut self, previous: Chain) -> Result<(PathBuf, Footer), SegmentError> {
        self.write_block()?;
        let hash = self.hash.hash();
        seal(
            &self.path,
            &self.header,
            &self.blocks,
            self.offset,
            hash,
            previous,
            fep_time::clock::unix_now_ns(),
        )
    }

    fn builder(&self) -> BlockBuilder {
        BlockBuilder {
            id: self.header.id,
            offset: self.offset,
            written_unix_ns: fep_time::clock::unix_now_ns(),
        }
    }

    fn write_block(&mut self) -> Result<(), SegmentError> {
        let content_len = self.block.len() - BLOCK_HEADER_LEN;
        if content_len == 0 {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(pages(block.len() as u64) as usize, 0);
        let header = self
            .builder()
            .records(&mut block, content_len, self.begin, self.next, |_| {})
            .map_err(|error| SegmentError::format(&self.path, error.to_string()))?;
        self.append(&block, header)?;
        block.clear();
        block.resize(BLOCK_HEADER_LEN, 0);
        self.block = block;
        self.begin = self.next;
        Ok(())
    }

    fn append(&mut self, octets: &[u8], header: BlockHeader) -> Result<(), SegmentError> {
        self.file.write_all_at(octets, self.offset).map_err(SegmentError::io(&self.path, "write"))?;
        self.hash.update(octets);
        self.offset += octets.len() as u64;
        self.blocks.push(header);
        Ok(())
    }
}

/// Makes the directory of a stream: black for owner and group, red for the owner only. An existing one stays as it is.
pub(crate) fn make_directory(directory: &Path, stream: &Stream) -> Result<(), SegmentError> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = match stream.colour {
        Colour::Black => 0o750,
        Colour::Red => 0o700,
    };
    let parent = directory.parent().unwrap_or(Path::new("."));
    if let Some(archive) = parent.parent() {
        std::fs::create_dir_all(archive).map_err(SegmentError::io(archive, "create"))?;
    }
    for level in [parent, directory] {
        match std::fs::DirBuilder::new().mode(mode).create(level) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SegmentError::io(level, "create")(error)),
        }
    }
    Ok(())
}
