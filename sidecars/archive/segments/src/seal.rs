//! Sealing and removing segments.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::aside::list_aside;
use crate::block::BlockHeader;
use crate::content::{ContentAlgorithm, ContentHash, ContentHasher};
use crate::error::SegmentError;
use crate::footer::{Footer, table_octets};
use crate::header::SegmentHeader;
use crate::layout::{PAGE_LEN, gone, head};
use crate::name::{SegmentName, Stream};
use crate::plain;
use crate::reader::SegmentReader;
use crate::settled::{list_settled, read_where_it_is};
use crate::tree::{SegmentEntry, SegmentState};

/// The chain of a stream: the chain hash of its last sealed (or removed) segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// As the segments of a stream say; zeros when none is sealed yet. A segment that was put aside and whose footer can
    /// still be read (or made out) goes on counting: its successor continues it.
    ///
    /// # Errors
    /// Also when the footer of the newest sealed segment is damaged: a chain must not go on as if it had ended before. It
    /// has to be put aside first ([`crate::put_aside`]).
    pub fn of(archive: &Path, stream: &Stream) -> Result<Chain, SegmentError> {
        Chain::before(archive, stream, None)
    }

    /// As [`Chain::of`], as it stood before the segment `name` was sealed.
    pub(crate) fn before(
        archive: &Path,
        stream: &Stream,
        name: Option<SegmentName>,
    ) -> Result<Chain, SegmentError> {
        let mut entries = list_settled(archive, stream)?;
        entries.retain(|entry| entry.state != SegmentState::Open);
        let mut candidates: Vec<(SegmentName, Candidate)> =
            entries.into_iter().map(|entry| (entry.name, Candidate::Listed(entry))).collect();
        let aside = list_aside(archive, stream)?;
        candidates.extend(aside.into_iter().map(|aside| (aside.name, Candidate::Aside(aside.path))));
        candidates.retain(|(candidate, _)| name.is_none_or(|name| *candidate < name));
        candidates.sort_by_key(|(name, _)| *name);
        for (name, candidate) in candidates.into_iter().rev() {
            let found = match candidate {
                Candidate::Listed(entry) => match read_where_it_is(archive, stream, &entry, footer_of) {
                    // What is left of a removed segment is never put aside: `verify` names the damage, and the chain
                    // shows a break behind it.
                    Err(SegmentError::Format { path, .. }) if is_left_of_removed(&path) => {
                        legible_footer(&path, stream, name)
                    }
                    footer => footer?.and_then(|(_, footer)| footer),
                },
                Candidate::Aside(path) => legible_footer(&path, stream, name),
            };
            if let Some(footer) = found {
                return Ok(Chain(footer.chain));
            }
        }
        Ok(Chain::default())
    }
}

/// Where a footer may be read.
enum Candidate {
    Listed(SegmentEntry),
    Aside(PathBuf),
}

fn is_left_of_removed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gone")
}

/// The footer of a sealed or removed segment; `None` for an open one.
///
/// # Errors
/// Also when the footer page is damaged: a chain must not go on as if it had ended before.
pub fn footer_of(entry: &SegmentEntry) -> Result<Option<Footer>, SegmentError> {
    if entry.state == SegmentState::Open {
        return Ok(None);
    }
    let file = plain::open(&entry.path).map_err(SegmentError::io(&entry.path, "open"))?;
    let page = last_page(&file, &entry.path)?;
    Footer::parse(&page).map(Some).map_err(|problem| SegmentError::format(&entry.path, problem))
}

/// The footer of segment `name` in this file, if it can be read or made out: one wrong octet can.
fn legible_footer(path: &Path, stream: &Stream, name: SegmentName) -> Option<Footer> {
    let page = last_page(&plain::open(path).ok()?, path).ok()?;
    Some(Footer::legible(&page, stream, name)?.1)
}

/// The last page of a file.
pub(crate) fn last_page<S: crate::ReadAt + ?Sized>(
    source: &S,
    path: &Path,
) -> Result<[u8; PAGE_LEN], SegmentError> {
    let len = source.len().map_err(SegmentError::io(path, "read the length of"))?;
    let offset = len
        .checked_sub(PAGE_LEN as u64)
        .ok_or_else(|| SegmentError::format(path, "it is shorter than a footer page"))?;
    let mut page = [0; PAGE_LEN];
    let read = source.read_at(&mut page, offset).map_err(SegmentError::io(path, "read"))?;
    if read < PAGE_LEN {
        return Err(SegmentError::format(path, "it became shorter while it was read"));
    }
    Ok(page)
}

/// Seals an open segment whose blocks and hash are known: writes table and footer, cuts the file there, makes all
/// durable, and gives the file its name. Whoever is stopped on the way does it again from the start.
pub fn seal(
    open: &Path,
    header: &SegmentHeader,
    blocks: &[BlockHeader],
    content_end: u64,
    content_hash: ContentHash,
    previous: Chain,
    sealed_unix_ns: u64,
) -> Result<(PathBuf, Footer), SegmentError> {
    let footer = Footer::of_blocks(header, blocks, content_end, content_hash, previous.0, sealed_unix_ns);
    let mut tail = table_octets(header.id, blocks);
    tail.extend_from_slice(&footer.to_page());
    let file = plain::open_writable(open).map_err(SegmentError::io(open, "open"))?;
    file.write_all_at(&tail, content_end).map_err(SegmentError::io(open, "write the footer of"))?;
    file.set_len(content_end + tail.len() as u64).map_err(SegmentError::io(open, "cut"))?;
    file.sync_all().map_err(SegmentError::io(open, "make durable"))?;
    let sealed = open.with_file_name(header.name().sealed_file());
    plain::rename_new(open, &sealed).map_err(SegmentError::io(open, "rename"))?;
    sync_directory(&sealed)?;
    Ok((sealed, footer))
}

/// Hash of the first `content_end` octets of a file, read from the start.
pub(crate) fn hash_content<S: crate::ReadAt + ?Sized>(
    source: &S,
    content_end: u64,
    algorithm: ContentAlgorithm,
) -> std::io::Result<ContentHash> {
    let mut hash = ContentHasher::of(algorithm);
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
    Ok(hash.hash())
}

/// Removes a sealed segment for good and leaves its footer page, with which the chain can still be checked, and in the
/// same page what its header said: a recorder that starts reads there where the stream ends.
/// Who may do that, and after how many signatures, is for the caller.
pub fn remove_sealed(path: &Path) -> Result<Footer, SegmentError> {
    let reader = SegmentReader::open(path)?;
    let footer = reader
        .footer()
        .cloned()
        .ok_or_else(|| SegmentError::format(path, "it is not sealed, or its footer is damaged"))?;
    let left = path.with_file_name(footer.name().removed_file());
    let building = left.with_extension("gone-building");
    let page = removed_page(&footer, reader.header());
    // What an earlier attempt left behind.
    match fs::remove_file(&building) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SegmentError::io(&building, "remove")(error));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&building)
        .and_then(|mut file| file.write_all(&page).and_then(|()| file.sync_all()))
        .map_err(SegmentError::io(&building, "write"))?;
    fs::rename(&building, &left).map_err(SegmentError::io(&building, "rename"))?;
    sync_directory(&left)?;
    fs::remove_file(path).map_err(SegmentError::io(path, "remove"))?;
    sync_directory(&left)?;
    Ok(footer)
}

/// What is left of a removed segment: its footer page, and in what is free there the fields of its header page.
fn removed_page(footer: &Footer, header: &SegmentHeader) -> [u8; PAGE_LEN] {
    let mut page = footer.to_page();
    page[gone::HEADER..gone::END].copy_from_slice(&header.to_page()[..head::END]);
    page
}

/// The ring file that a removed segment was copied from, if what is left of it says that.
pub(crate) fn instance_of_removed(entry: &SegmentEntry) -> Option<u64> {
    let page = last_page(&plain::open(&entry.path).ok()?, &entry.path).ok()?;
    Some(removed_header(&page)?.instance)
}

/// What the header of a removed segment said; `None` when an earlier version removed it, which did not keep that.
pub(crate) fn removed_header(page: &[u8; PAGE_LEN]) -> Option<SegmentHeader> {
    let mut header = [0; PAGE_LEN];
    header[..head::END].copy_from_slice(&page[gone::HEADER..gone::END]);
    SegmentHeader::parse(&header).ok()
}

/// Makes a new or renamed entry durable.
pub(crate) fn sync_directory(file: &Path) -> Result<(), SegmentError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(SegmentError::io(directory, "make durable"))
}
