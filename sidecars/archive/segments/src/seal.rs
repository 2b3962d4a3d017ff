//! Sealing and removing segments.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::block::BlockHeader;
use crate::error::SegmentError;
use crate::footer::{Footer, table_octets};
use crate::header::SegmentHeader;
use crate::layout::PAGE_LEN;
use crate::name::Stream;
use crate::reader::SegmentReader;
use crate::tree::{SegmentEntry, SegmentState, list};

/// The chain of a stream: the chain hash of its last sealed (or removed) segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// As the segments of a stream say; zeros when none is sealed yet.
    pub fn of(archive: &Path, stream: &Stream) -> Result<Chain, SegmentError> {
        for entry in list(archive, stream)?.iter().rev() {
            if let Some(footer) = footer_of(entry)? {
                return Ok(Chain(footer.chain));
            }
        }
        Ok(Chain::default())
    }
}

/// The footer of a sealed or removed segment; `None` for an open one.
///
/// # Errors
/// Also when the footer page is damaged: a chain must not go on as if it had ended before.
pub(crate) fn footer_of(entry: &SegmentEntry) -> Result<Option<Footer>, SegmentError> {
    if entry.state == SegmentState::Open {
        return Ok(None);
    }
    let file = File::open(&entry.path).map_err(SegmentError::io(&entry.path, "open"))?;
    let len = file.metadata().map_err(SegmentError::io(&entry.path, "read the length of"))?.len();
    let mut page = [0; PAGE_LEN];
    let offset = len
        .checked_sub(PAGE_LEN as u64)
        .ok_or_else(|| SegmentError::format(&entry.path, "it is shorter than a footer page"))?;
    file.read_exact_at(&mut page, offset).map_err(SegmentError::io(&entry.path, "read"))?;
    Footer::parse(&page).map(Some).map_err(|problem| SegmentError::format(&entry.path, problem))
}

/// Seals an open segment whose blocks and hash are known: writes table and footer, cuts the file there, makes all
/// durable, and gives the file its name. Whoever is stopped on the way does it again from the start.
pub fn seal(
    open: &Path,
    header: &SegmentHeader,
    blocks: &[BlockHeader],
    content_end: u64,
    content_sha256: [u8; 32],
    previous: Chain,
    sealed_unix_ns: u64,
) -> Result<(PathBuf, Footer), SegmentError> {
    let footer = Footer::of_blocks(header, blocks, content_end, content_sha256, previous.0, sealed_unix_ns);
    let mut tail = table_octets(header.id, blocks);
    tail.extend_from_slice(&footer.to_page());
    let file = OpenOptions::new().write(true).open(open).map_err(SegmentError::io(open, "open"))?;
    file.write_all_at(&tail, content_end).map_err(SegmentError::io(open, "write the footer of"))?;
    file.set_len(content_end + tail.len() as u64).map_err(SegmentError::io(open, "cut"))?;
    file.sync_all().map_err(SegmentError::io(open, "make durable"))?;
    let sealed = open.with_file_name(header.name().sealed_file());
    fs::rename(open, &sealed).map_err(SegmentError::io(open, "rename"))?;
    sync_directory(&sealed)?;
    Ok((sealed, footer))
}

/// SHA-256 of the first `content_end` octets of a file, read from the start.
pub(crate) fn hash_content<S: crate::ReadAt + ?Sized>(
    source: &S,
    content_end: u64,
) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut window = vec![0; 1 << 20];
    let mut at = 0;
    while at < content_end {
        let want = window.len().min(usize::try_from(content_end - at).unwrap_or(usize::MAX));
        let read = source.read_at(&mut window[..want], at)?;
        if read == 0 {
            break;
        }
        hash.update(&window[..read]);
        at += read as u64;
    }
    Ok(hash.finalize().into())
}

/// Removes a sealed segment for good and leaves its footer page, with which the chain can still be checked.
/// Who may do that, and after how many signatures, is for the caller.
pub fn remove_sealed(path: &Path) -> Result<Footer, SegmentError> {
    let reader = SegmentReader::open(path)?;
    let footer = reader
        .footer()
        .cloned()
        .ok_or_else(|| SegmentError::format(path, "it is not sealed, or its footer is damaged"))?;
    let left = path.with_file_name(footer.name().removed_file());
    let building = left.with_extension("gone-building");
    fs::write(&building, footer.to_page()).map_err(SegmentError::io(&building, "write"))?;
    File::open(&building)
        .and_then(|file| file.sync_all())
        .map_err(SegmentError::io(&building, "make durable"))?;
    fs::rename(&building, &left).map_err(SegmentError::io(&building, "rename"))?;
    sync_directory(&left)?;
    fs::remove_file(path).map_err(SegmentError::io(path, "remove"))?;
    sync_directory(&left)?;
    Ok(footer)
}

/// Makes a new or renamed entry durable.
pub(crate) fn sync_directory(file: &Path) -> Result<(), SegmentError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(SegmentError::io(directory, "make durable"))
}
