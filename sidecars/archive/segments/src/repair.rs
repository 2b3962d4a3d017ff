//! Repairing a damaged segment: from itself as far as that goes, and from nothing else.
//!
//! One wrong octet in the header or footer page is put right, and the hash in the footer proves it. A footer that is worse
//! off is made again from the blocks, up to the last whole one. The file as it was stays beside, as `….original`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fep_bus::Colour;

use crate::aside::{DAMAGED, ORIGINAL, forget_reason, is_numbered, rename_with};
use crate::block::BlockContent;
use crate::content::ContentAlgorithm;
use crate::end::{first_page, header_from_blocks};
use crate::error::SegmentError;
use crate::footer::{Footer, table_octets};
use crate::header::SegmentHeader;
use crate::layout::PAGE_LEN;
use crate::lock::is_recorded;
use crate::name::{SegmentName, Stream};
use crate::plain;
use crate::reader::{ReadAt, SegmentReader};
use crate::recover::Recovered;
use crate::seal::{Chain, hash_content, last_page, sync_directory};
use crate::tree::{SegmentEntry, SegmentState, list};

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The segment, sealed and under its name again.
    pub path: PathBuf,
    /// The damaged file as it was.
    pub original: PathBuf,
    /// The segment is, octet for octet, what was sealed: the hash in its footer holds.
    pub is_exact: bool,
    /// The footer is the one that was sealed; otherwise it was made again from the blocks, and the segment behind this one
    /// may not continue its chain.
    pub keeps_chain: bool,
    /// Records in whole blocks.
    pub records: u64,
    /// Records in blocks that are damaged: the repair cannot bring them back.
    pub damaged_records: u64,
}

/// Repairs the segment in `path`: a file that was put aside (`….damaged`), or one that still has its name (`.seg`), in the
/// directory of its stream. Needs as much room on disk as the segment takes.
///
/// # Errors
/// Nothing can be made of it; it is not in the directory of a stream; its name is taken; it is open and its recorder lives;
/// the disk. The damaged file is still there in every case.
pub fn repair(path: &Path) -> Result<Repaired, SegmentError> {
    let site = Site::of(path)?;
    site.check_name_is_free()?;
    let file = plain::open(&site.path).map_err(SegmentError::io(&site.path, "open"))?;
    let mut source = Repair::of(&file, &site)?;
    let building = site.path.with_file_name(format!("{}.repairing", site.entry.name));
    let _ = fs::remove_file(&building);
    let made = source.write(&file, &building, &site);
    if let Err(error) = made {
        let _ = fs::remove_file(&building);
        return Err(error);
    }
    drop(file);
    // From here on the damaged file and the repaired one are both whole; whoever is stopped repairs `….original` again.
    let original = if site.is_original { site.path.clone() } else { rename_with(&site.path, ORIGINAL)? };
    let target = site.path.with_file_name(site.entry.name.sealed_file());
    plain::rename_new(&building, &target).map_err(SegmentError::io(&target, "put in place"))?;
    sync_directory(&target)?;
    forget_reason(&site.path);
    let verified = crate::verify(&target)?;
    Ok(Repaired {
        path: target,
        original,
        is_exact: verified.is_sound() && source.keeps_chain && source.is_exact,
        keeps_chain: source.keeps_chain,
        records: verified.records,
        damaged_records: source.damaged_records,
    })
}

/// What the place and the name of a damaged file say.
struct Site {
    path: PathBuf,
    archive: PathBuf,
    stream: Stream,
    /// As the file was before it was put aside.
    entry: SegmentEntry,
    /// It is left of an earlier repair.
    is_original: bool,
}

impl Site {
    fn of(path: &Path) -> Result<Site, SegmentError> {
        let refused = |problem: &str| SegmentError::format(path, problem);
        let file_name =
            path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refused("it names no file"))?;
        let place = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = fs::canonicalize(place).map_err(SegmentError::io(place, "find"))?;
        let parts = directory.parent().and_then(|colour| {
            let stream = format!("{}/{}", colour.file_name()?.to_str()?, directory.file_name()?.to_str()?);
            Some((colour.parent()?.to_owned(), stream.parse::<Stream>().ok()?))
        });
        let (archive, stream) = parts.ok_or_else(|| {
            refused("it does not lie in the directory of a stream, <archive>/black/<ring> or <archive>/red/<ring>")
        })?;
        let mut parts = file_name.split('.');
        let name = parts.next().and_then(|stem| stem.parse::<SegmentName>().ok());
        let state = match parts.next() {
            Some("seg") => Some(SegmentState::Sealed),
            Some("open") => Some(SegmentState::Open),
            _ => None,
        };
        let (Some(name), Some(state)) = (name, state) else {
            return Err(refused("the name of a segment is expected: ….seg, ….seg.damaged or ….open.damaged"));
        };
        let rest: Vec<&str> = parts.collect();
        let path = directory.join(file_name);
        let is_original = match rest.as_slice() {
            [] => false,
            [part] if is_numbered(part, DAMAGED) => false,
            [part] if is_numbered(part, ORIGINAL) => true,
            _ => {
                return Err(refused("it is no segment that was put aside: its name ends with .damaged then"));
            }
        };
        if rest.is_empty() && state == SegmentState::Open && is_recorded(&archive, &stream) {
            return Err(refused("its recorder lives and writes it"));
        }
        Ok(Site {
            entry: SegmentEntry { name, state, path: path.clone() },
            path,
            archive,
            stream,
            is_original,
        })
    }

    /// No other segment may have the name that the repaired one gets.
    fn check_name_is_free(&self) -> Result<(), SegmentError> {
        let taken = list(&self.archive, &self.stream)?
            .into_iter()
            .find(|entry| entry.name == self.entry.name && entry.path != self.path);
        match taken {
            Some(taken) => Err(SegmentError::format(
                &self.path,
                format!("{} has its name; it cannot be put in its place", taken.path.display()),
            )),
            None => Ok(()),
        }
    }

    /// What neighbours in the stream say where the header page is beyond repair: schema, and ring file.
    fn complete(&self, header: &mut SegmentHeader) {
        let Ok(entries) = list(&self.archive, &self.stream) else { return };
        let before = entries.iter().rev().filter(|entry| entry.name < self.entry.name);
        let after = entries.iter().filter(|entry| entry.name > self.entry.name);
        let neighbours = before.chain(after).filter(|entry| entry.state != SegmentState::Removed);
        let known =
            neighbours.filter_map(|entry| Some(SegmentReader::open(&entry.path).ok()?.header().clone()));
        for neighbour in known.take(1) {
            header.schema = neighbour.schema;
            if neighbour.series == header.series {
                header.instance = neighbour.instance;
            }
        }
        header.previous = entries.iter().rev().map(|entry| entry.name).find(|name| *name < self.entry.name);
    }
}

/// What can be said of the damaged segment.
struct Repair {
    header: SegmentHeader,
    /// The file's last page, put right; `None` when it has to be made again.
    footer: Option<([u8; PAGE_LEN], Footer)>,
    blocks: Recovered,
    sealed_unix_ns: u64,
    is_exact: bool,
    keeps_chain: bool,
    damaged_records: u64,
}

impl Repair {
    fn of(file: &File, site: &Site) -> Result<Repair, SegmentError> {
        let Site { path, stream, entry, .. } = site;
        let page = first_page(file, path)?;
        let last = last_page(file, path)?;
        let header = SegmentHeader::parse(&page).map(|header| (header.name(), header.stream));
        let footer = Footer::parse(&last).map(|footer| (footer.name(), footer.stream));
        for (name, of) in header.into_iter().chain(footer) {
            if name != entry.name || of != *stream {
                let problem =
                    format!("it is segment {name} of {of}: it belongs elsewhere, and nothing of it here");
                return Err(SegmentError::format(path, problem));
            }
        }
        let header = match SegmentHeader::legible(&page, stream, entry.name) {
            Some(header) => header,
            None => {
                let mut header = header_from_blocks(file, entry, stream)?.ok_or_else(|| {
                    SegmentError::format(path, "no block of it can be found: nothing can be made of it")
                })?;
                site.complete(&mut header);
                header
            }
        };
        let footer = Footer::legible(&last, stream, entry.name).filter(|(_, footer)| footer.id == header.id);
        let blocks = whole_blocks(file, path, &header)?;
        let end = footer.as_ref().map_or(blocks.end().position, |(_, footer)| footer.end);
        let whole: u64 = blocks.blocks.iter().map(|block| block.end.seq - block.begin.seq).sum();
        if footer.is_none() && blocks.blocks.is_empty() {
            return Err(SegmentError::format(path, "it has no whole block: nothing can be made of it"));
        }
        Ok(Repair {
            damaged_records: end.seq.saturating_sub(header.base.seq).saturating_sub(whole),
            sealed_unix_ns: fep_time::clock::unix_now_ns(),
            keeps_chain: footer.is_some(),
            is_exact: false,
            header,
            footer,
            blocks,
        })
    }

    /// Writes the repaired segment and makes it durable.
    fn write(&mut self, file: &File, building: &Path, site: &Site) -> Result<(), SegmentError> {
        let problem = |action| SegmentError::io(building, action);
        let mode = match site.stream.colour {
            Colour::Black => file.metadata().map_or(0o640, |metadata| metadata.mode() & 0o640),
            Colour::Red => 0o600,
        };
        let target = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(building)
            .map_err(problem("create"))?;
        let len = match &self.footer {
            Some(_) => ReadAt::len(file).map_err(SegmentError::io(&site.path, "read the length of"))?,
            None => self.blocks.content_end,
        };
        copy(file, &target, len, &site.path, building)?;
        target.write_all_at(&self.header.to_page(), 0).map_err(problem("write"))?;
        match &self.footer {
            Some((page, footer)) => {
                target.write_all_at(page, len - PAGE_LEN as u64).map_err(problem("write"))?;
                let content_end = footer.content_end.min(len);
                let hash = hash_content(&target, content_end, footer.content_hash.algorithm)
                    .map_err(problem("read"))?;
                self.is_exact = hash == footer.content_hash;
            }
            None => {
                let hash = hash_content(&target, len, ContentAlgorithm::Blake3).map_err(problem("read"))?;
                let previous = Chain::before(&site.archive, &site.stream, Some(site.entry.name))?;
                let blocks = &self.blocks.blocks;
                let footer =
                    Footer::of_blocks(&self.header, blocks, len, hash, previous.0, self.sealed_unix_ns);
                let mut tail = table_octets(self.header.id, blocks);
                tail.extend_from_slice(&footer.to_page());
                target.write_all_at(&tail, len).map_err(problem("write"))?;
            }
        }
        target.sync_all().map_err(problem("make durable"))
    }
}

/// The blocks that hold, every one of them read, and where the last one ends.
fn whole_blocks(file: &File, path: &Path, header: &SegmentHeader) -> Result<Recovered, SegmentError> {
    let reader = SegmentReader::under_header(file, path, header.clone())?;
    let mut content = BlockContent::default();
    let mut blocks = Vec::with_capacity(reader.blocks().len());
    for block in reader.blocks() {
        if reader.read_block(block, &mut content)?.is_ok() {
            blocks.push(*block);
        }
    }
    let content_end = blocks.last().map_or(PAGE_LEN as u64, |block| block.offset + block.file_len());
    Ok(Recovered { path: path.to_owned(), header: header.clone(), blocks, content_end, damaged: Vec::new() })
}

fn copy(file: &File, target: &File, len: u64, from: &Path, to: &Path) -> Result<(), SegmentError> {
    let mut window = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let want = window.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let read = ReadAt::read_at(file, &mut window[..want], at).map_err(SegmentError::io(from, "read"))?;
        if read == 0 {
            return Err(SegmentError::io(from, "read")(io::ErrorKind::UnexpectedEof.into()));
        }
        target.write_all_at(&window[..read], at).map_err(SegmentError::io(to, "write"))?;
        at += read as u64;
    }
    Ok(())
}
