//! Where a stream ends, read from everything that lies on disk: sealed segments, open ones, what is left of removed ones,
//! and files that are damaged. This is the one place that decides where a recorder goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use fep_bus::Position;

use crate::aside::list_aside;
use crate::block::BlockHeader;
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::header::SegmentHeader;
use crate::layout::{BLOCK_HEADER_LEN, PAGE_LEN};
use crate::name::{SegmentName, Stream};
use crate::plain;
use crate::reader::{ReadAt, SegmentReader};
use crate::recover::recover_reader;
use crate::seal::{last_page, removed_header};
use crate::tree::{Files, SegmentEntry, SegmentState};

/// Where the segments of a stream end, and what has to be done before it can go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamEnd {
    /// Numbering of the newest segment; `None` when nothing of the stream is on disk.
    pub series: Option<u64>,
    /// The ring file that it was copied from; `None` when nothing on disk says that.
    pub instance: Option<u64>,
    /// Everything before it is on disk, was removed on purpose, or is recorded as lost, apart from damage.
    pub end: Position,
    /// The first damage in what was never sealed, or `end`: what the ring still holds from here on should be read again.
    pub doubt: Position,
    /// The newest segment that holds something.
    pub previous: Option<SegmentName>,
    /// Segments that were never sealed, in order.
    pub open: Vec<OpenLeft>,
    /// Files that cannot be used.
    pub damaged: Vec<DamagedFile>,
    /// What is left of the newest segment, which was removed on purpose, cannot be read: the stream may end later than
    /// `end` says, and in a later numbering.
    pub removed_unreadable: Option<SegmentName>,
}

/// A segment that its recorder left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLeft {
    /// Its file.
    pub path: PathBuf,
    /// Its name.
    pub name: SegmentName,
    /// Where the stream stands after its last whole block.
    pub end: Position,
    /// Whether no whole block of it holds a record or says that one was lost. The first block may say that none was: a
    /// segment whose name was taken begins an octet earlier.
    pub is_empty: bool,
    /// Stretches that are damaged.
    pub damaged: usize,
}

/// A file that cannot be used as what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// The file.
    pub path: PathBuf,
    /// The segment it is named after.
    pub name: SegmentName,
    /// What is wrong with it.
    pub problem: String,
    /// It has to stay where it is: it is what shows that a segment was removed on purpose.
    pub stays: bool,
}

/// What one file says of the end of the stream.
struct Told {
    end: Position,
    doubt: Position,
    instance: Option<u64>,
    open: Option<OpenLeft>,
}

enum Verdict {
    Sound(Told),
    /// It cannot be used; where it ends may be known all the same.
    Damaged {
        problem: String,
        told: Option<Told>,
    },
    /// Renamed in this moment.
    Vanished,
}

/// Looks through the files of a stream. Changes nothing. Of sealed segments only the newest are opened, so that this takes
/// as long with a thousand segments as with one; older damage is for `verify` and the scrub to find.
///
/// # Errors
/// The directory cannot be listed, or the system is short of something. Damage is no error: see [`StreamEnd::damaged`].
pub fn stream_end(archive: &Path, stream: &Stream) -> Result<StreamEnd, SegmentError> {
    let files = Files::of(archive, stream)?;
    let mut found = StreamEnd::default();
    for (name, path, problem) in files.foreign {
        found.damaged.push(DamagedFile { path, name, problem: problem.to_owned(), stays: false });
    }
    let mut entries: Vec<(SegmentEntry, bool)> =
        files.segments.into_iter().map(|entry| (entry, false)).collect();
    // What was put aside still says where the stream ends, if it says anything.
    entries.extend(list_aside(archive, stream)?.into_iter().map(|aside| (aside.as_segment(), true)));
    // Stable: of one name, what is in place comes first, and of these the file that counts.
    entries.sort_by_key(|(entry, is_aside)| (entry.name, *is_aside));
    for (index, (entry, is_aside)) in entries.iter().enumerate().rev() {
        let is_hidden = index.checked_sub(1).is_some_and(|before| entries[before].0.name == entry.name);
        if is_hidden {
            if entry.state == SegmentState::Open && !is_aside {
                let problem = "another segment of this name is sealed or was removed".to_owned();
                found.damaged.push(damaged(entry, problem));
            }
            continue;
        }
        let is_open = entry.state == SegmentState::Open && !is_aside;
        // Older segments say nothing of the end; only which ring it was, if the newer ones do not.
        let asked = found.series.is_none()
            || is_open
            || (found.instance.is_none() && found.series == Some(entry.name.series));
        if !asked {
            continue;
        }
        let told = match judge(entry, stream)? {
            Verdict::Vanished => continue,
            Verdict::Sound(told) => Some(told),
            Verdict::Damaged { problem, told } => {
                if !is_aside && (is_open || found.series.is_none()) {
                    if entry.state == SegmentState::Removed && told.is_none() {
                        found.removed_unreadable.get_or_insert(entry.name);
                    }
                    found.damaged.push(damaged(entry, problem));
                }
                told
            }
        };
        if let Some(mut told) = told {
            told.open = told.open.filter(|_| !is_aside);
            found.take(entry.name, told);
        }
    }
    found.open.reverse();
    Ok(found)
}

impl StreamEnd {
    /// Takes in the next older file.
    fn take(&mut self, name: SegmentName, told: Told) {
        let holds_something = told.open.as_ref().is_none_or(|open| !open.is_empty);
        if holds_something {
            self.previous = self.previous.or(Some(name));
        }
        match self.series {
            None => {
                self.series = Some(name.series);
                self.end = told.end;
                self.doubt = told.doubt;
            }
            // One that a newer segment reads again in part, because it is damaged.
            Some(series) if series == name.series && told.end.seq > self.end.seq => self.end = told.end,
            Some(_) => {}
        }
        if self.series == Some(name.series) {
            self.instance = self.instance.or(told.instance);
        }
        self.open.extend(told.open);
    }
}

fn damaged(entry: &SegmentEntry, problem: String) -> DamagedFile {
    let stays = entry.state == SegmentState::Removed;
    DamagedFile { path: entry.path.clone(), name: entry.name, problem, stays }
}

/// Opens a file and says what it tells of the stream.
fn judge(entry: &SegmentEntry, stream: &Stream) -> Result<Verdict, SegmentError> {
    let judged = match plain::open(&entry.path) {
        Ok(file) => match entry.state {
            SegmentState::Removed => judge_removed(&file, entry, stream),
            SegmentState::Sealed | SegmentState::Open => judge_segment(&file, entry, stream),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Verdict::Vanished),
        Err(error) => Err(SegmentError::io(&entry.path, "open")(error)),
    };
    match judged {
        Err(error) => match error.condemned() {
            Some((_, problem)) => Ok(Verdict::Damaged { problem, told: None }),
            None => Err(error),
        },
        judged => judged,
    }
}

fn judge_removed(file: &File, entry: &SegmentEntry, stream: &Stream) -> Result<Verdict, SegmentError> {
    let page = last_page(file, &entry.path)?;
    let problem = match Footer::parse(&page) {
        Ok(footer) => misnamed(&footer.stream, footer.name(), entry, stream),
        Err(problem) => Some(problem),
    };
    let told = Footer::legible(&page, stream, entry.name).map(|(_, footer)| Told {
        end: footer.end,
        doubt: footer.end,
        instance: removed_header(&page).filter(|header| header.id == footer.id).map(|header| header.instance),
        open: None,
    });
    Ok(match (problem, told) {
        (None, Some(told)) => Verdict::Sound(told),
        (problem, told) => Verdict::Damaged { problem: problem.unwrap_or_default(), told },
    })
}

fn judge_segment(file: &File, entry: &SegmentEntry, stream: &Stream) -> Result<Verdict, SegmentError> {
    let page = first_page(file, &entry.path)?;
    let parsed = SegmentHeader::parse(&page);
    if let Ok(header) = &parsed
        && let Some(problem) = misnamed(&header.stream, header.name(), entry, stream)
    {
        // It was copied here from elsewhere, and says nothing of this stream.
        return Ok(Verdict::Damaged { problem, told: None });
    }
    let header_problem = parsed.as_ref().err().cloned();
    let header = parsed.ok().or_else(|| SegmentHeader::legible(&page, stream, entry.name));
    let instance = header.as_ref().map(|header| header.instance).filter(|instance| *instance != 0);
    let is_sealed = entry.state == SegmentState::Sealed;
    let mut footer_problem = None;
    if is_sealed {
        let page = last_page(file, &entry.path)?;
        let parsed = Footer::parse(&page);
        if let Ok(footer) = &parsed
            && let Some(problem) = misnamed(&footer.stream, footer.name(), entry, stream)
        {
            return Ok(Verdict::Damaged { problem, told: None });
        }
        footer_problem = parsed.err();
        let footer = Footer::legible(&page, stream, entry.name).map(|(_, footer)| footer);
        if let Some(footer) = footer.filter(|footer| header.as_ref().is_none_or(|head| head.id == footer.id))
        {
            let told = Told { end: footer.end, doubt: footer.end, instance, open: None };
            return Ok(match header_problem.or(footer_problem) {
                None => Verdict::Sound(told),
                Some(problem) => Verdict::Damaged { problem, told: Some(told) },
            });
        }
        footer_problem.get_or_insert_with(|| "the footer is of another segment".to_owned());
    }
    // Only the blocks still say where it ends.
    let Some(header) =
        header.map_or_else(|| header_from_blocks(file, entry, stream), |header| Ok(Some(header)))?
    else {
        let problem = header_problem.unwrap_or_else(|| "it holds nothing".to_owned());
        return Ok(Verdict::Damaged { problem, told: None });
    };
    let base_seq = header.base.seq;
    let recovered = recover_reader(SegmentReader::under_header(file, &entry.path, header)?)?;
    let is_usable = header_problem.is_none() && !is_sealed;
    let told = Told {
        end: recovered.end().position,
        doubt: recovered.first_doubt().position,
        instance,
        open: is_usable.then(|| OpenLeft {
            path: entry.path.clone(),
            name: entry.name,
            end: recovered.end().position,
            is_empty: recovered.end().position.seq == base_seq,
            damaged: recovered.damaged.len(),
        }),
    };
    if is_usable {
        return Ok(Verdict::Sound(told));
    }
    let problem = header_problem.or(footer_problem).unwrap_or_default();
    let told = (!recovered.blocks.is_empty()).then_some(told);
    Ok(Verdict::Damaged { problem, told })
}

/// Whether it says that it is another segment than its name and place say.
fn misnamed(is_of: &Stream, is_named: SegmentName, entry: &SegmentEntry, stream: &Stream) -> Option<String> {
    (is_of != stream || is_named != entry.name)
        .then(|| format!("it says that it is segment {is_named} of {is_of}"))
}

pub(crate) fn first_page<S: ReadAt + ?Sized>(
    source: &S,
    path: &Path,
) -> Result<[u8; PAGE_LEN], SegmentError> {
    let mut page = [0; PAGE_LEN];
    let read = source.read_at(&mut page, 0).map_err(SegmentError::io(path, "read"))?;
    if read < PAGE_LEN {
        return Err(SegmentError::format(
            path,
            format!("{read} octets are no segment: the header has {PAGE_LEN}"),
        ));
    }
    Ok(page)
}

/// What the header page of a segment must have said, as far as its first block shows: schema, ring file and times are not
/// known. `None` when no block can be found.
pub(crate) fn header_from_blocks<S: ReadAt + ?Sized>(
    source: &S,
    entry: &SegmentEntry,
    stream: &Stream,
) -> Result<Option<SegmentHeader>, SegmentError> {
    let Some(first) = first_block(source, &entry.path)? else { return Ok(None) };
    let base_pos = entry.name.base_pos;
    if first.begin.pos < base_pos {
        return Ok(None);
    }
    Ok(Some(SegmentHeader {
        stream: stream.clone(),
        schema: String::new(),
        id: first.id,
        instance: 0,
        series: entry.name.series,
        base: Position { pos: base_pos, ..first.begin },
        created_unix_ns: 0,
        previous: None,
    }))
}

/// The first block in a file whose header page does not say which ones are its own.
fn first_block<S: ReadAt + ?Sized>(source: &S, path: &Path) -> Result<Option<BlockHeader>, SegmentError> {
    let mut window = vec![0; 64 * PAGE_LEN];
    let mut from = PAGE_LEN as u64;
    loop {
        let read = source.read_at(&mut window, from).map_err(SegmentError::io(path, "read"))?;
        for at in (0..read).step_by(PAGE_LEN) {
            let block = BlockHeader::parse(&window[at..read.min(at + BLOCK_HEADER_LEN)]);
            if let Some(block) = block.filter(|block| block.offset == from + at as u64) {
                return Ok(Some(block));
            }
        }
        if read < window.len() {
            return Ok(None);
        }
        from += read as u64;
    }
}
