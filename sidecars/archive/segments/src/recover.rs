//! What a recorder that died left behind: where its last segment ends, and how to seal it.

use std::path::{Path, PathBuf};

use crate::block::{BlockContent, BlockHeader};
use crate::content::ContentAlgorithm;
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::header::SegmentHeader;
use crate::layout::PAGE_LEN;
use crate::loss::{Loss, LossCause};
use crate::name::Place;
use crate::plain;
use crate::reader::{ReadAt, SegmentReader};
use crate::seal::{Chain, hash_content, seal};

/// Content at the end of an open segment that is checked octet by octet before the recorder goes on; what lies before
/// it had been made durable long ago, and is checked when the segment is sealed.
const TAIL_LEN: u64 = 64 << 20;

/// An open segment as it was found.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is.
    pub header: SegmentHeader,
    /// Heads of its blocks, in order; no block after the last whole one.
    pub blocks: Vec<BlockHeader>,
    /// Where the content ends in the file.
    pub content_end: u64,
    /// Stretches between whole blocks where one is damaged. What they held may still be in the ring.
    pub damaged: Vec<Loss>,
}

impl Recovered {
    /// Where the stream stands after it.
    pub fn end(&self) -> Place {
        let position = self.blocks.last().map_or(self.header.base, |block| block.end);
        Place { series: self.header.series, position }
    }

    /// Where the first damage is, or the end.
    pub fn first_doubt(&self) -> Place {
        let position = self.damaged.first().map_or(self.end().position, |loss| loss.from);
        Place { series: self.header.series, position }
    }

    /// Seals it: reads it once for its hash.
    pub fn seal(&self, previous: Chain, sealed_unix_ns: u64) -> Result<(PathBuf, Footer), SegmentError> {
        let file = plain::open(&self.path).map_err(SegmentError::io(&self.path, "open"))?;
        let hash = hash_content(&file, self.content_end, ContentAlgorithm::Blake3)
            .map_err(SegmentError::io(&self.path, "read"))?;
        drop(file);
        seal(&self.path, &self.header, &self.blocks, self.content_end, hash, previous, sealed_unix_ns)
    }

    /// Gives up every block from the one that begins at record `seq` on, because the ring still has what they hold and
    /// it will be written again.
    pub fn cut_before(&mut self, seq: u64) {
        self.blocks.retain(|block| block.begin.seq < seq || (block.begin.seq == seq && block.end.seq <= seq));
        self.content_end =
            self.blocks.last().map_or(PAGE_LEN as u64, |block| block.offset + block.file_len());
        self.damaged.retain(|loss| loss.from.seq < seq);
    }
}

/// Looks at an open segment that nobody writes any more: finds its last whole block. Heads of all blocks are checked,
/// contents within the last 64 MiB. Changes nothing.
pub fn recover(path: &Path) -> Result<Recovered, SegmentError> {
    recover_reader(SegmentReader::open(path)?)
}

/// As [`recover`], from any source.
pub(crate) fn recover_reader<S: ReadAt>(reader: SegmentReader<S>) -> Result<Recovered, SegmentError> {
    let last = reader.blocks().last();
    let known_end = last.map_or(PAGE_LEN as u64, |block| block.offset + block.file_len());
    let checked_from = known_end.saturating_sub(TAIL_LEN);
    let mut content = BlockContent::default();
    let mut blocks = Vec::with_capacity(reader.blocks().len());
    for block in reader.blocks() {
        if block.offset < checked_from || reader.read_block(block, &mut content)?.is_ok() {
            blocks.push(*block);
        }
    }
    let mut damaged = Vec::new();
    let mut end = reader.header().base;
    for block in &blocks {
        if block.begin.seq > end.seq {
            damaged.push(Loss { from: end, to: block.begin, cause: LossCause::DamagedBlock });
        }
        end = block.end;
    }
    let content_end = blocks.last().map_or(PAGE_LEN as u64, |block| block.offset + block.file_len());
    Ok(Recovered {
        path: reader.path().to_owned(),
        header: reader.header().clone(),
        blocks,
        content_end,
        damaged,
    })
}
