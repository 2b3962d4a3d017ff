//! What is wrong with a segment or an archive. Findings are data: a damaged archive verifies to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_bus::Position;

use crate::aside::list_aside;
use crate::block::{BlockContent, BlockError};
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::header::SegmentHeader;
use crate::judge::{self, Expected, RootVerdict};
use crate::lock::is_recorded;
use crate::name::{SegmentName, Stream};
use crate::plain;
use crate::reader::{ReadAt, SegmentReader};
use crate::removals::Recorded;
use crate::seal::{footer_of, hash_content};
use crate::settled::{list_settled, locate, read_where_it_is};
use crate::tree::{SegmentEntry, SegmentState, streams};

/// Times that a segment is read while others change it, before what is found of it is believed.
const ATTEMPTS_MAX: usize = 8;
/// Until what a recorder writes is on its way no more.
const WRITING_PAUSE: Duration = Duration::from_millis(20);

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The file cannot be read as a segment at all.
    Unreadable(String),
    /// Its name says something else than its header.
    Misnamed {
        /// What its header says.
        name: SegmentName,
    },
    /// The footer page or the block table is damaged or missing.
    Footer(String),
    /// A block does not hold.
    Block {
        /// Where it starts in the file.
        offset: u64,
        /// Its first record.
        from_seq: u64,
        /// The first record after it.
        to_seq: u64,
        /// What is wrong.
        error: BlockError,
    },
    /// Records are missing between two blocks and no loss record says so.
    Hole {
        /// First missing record.
        from_seq: u64,
        /// First record after.
        to_seq: u64,
    },
    /// The hash of the content is not what the footer says.
    ContentHash,
    /// Totals of the footer are not those of the blocks.
    Totals,
    /// The chain hash is not that of the footer.
    ChainHash,
    /// The chain does not continue the segment before.
    ChainBroken {
        /// The segment before.
        previous: SegmentName,
    },
    /// Records between this segment and the one before are in neither.
    Missing {
        /// First missing record.
        from_seq: u64,
        /// First record of this segment.
        to_seq: u64,
    },
    /// The segment is not in the state that the records of removal say.
    Unaccounted(&'static str),
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Unreadable(problem) => out.write_str(problem),
            Finding::Misnamed { name } => write!(out, "its header says that it is segment {name}"),
            Finding::Footer(problem) => write!(out, "footer: {problem}"),
            Finding::Block { offset, from_seq, to_seq, error } => {
                write!(out, "block at octet {offset} (records {from_seq} up to {to_seq}): {error}")
            }
            Finding::Hole { from_seq, to_seq } => {
                write!(out, "records {from_seq} up to {to_seq} are missing and no loss is recorded")
            }
            Finding::ContentHash => out.write_str("the hash of the content is not what the footer says"),
            Finding::Totals => out.write_str("the totals of the footer are not those of the blocks"),
            Finding::ChainHash => out.write_str("the chain hash is not that of the footer"),
            Finding::ChainBroken { previous } => {
                write!(out, "the chain does not continue segment {previous}")
            }
            Finding::Missing { from_seq, to_seq } => {
                write!(out, "records {from_seq} up to {to_seq} before it are in no segment")
            }
            Finding::Unaccounted(problem) => out.write_str(problem),
        }
    }
}

/// What verifying one segment found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its header, if it can be read.
    pub header: Option<SegmentHeader>,
    /// Its footer, if it is sealed.
    pub footer: Option<Footer>,
    /// Where the stream stands after its whole blocks.
    pub end: Position,
    /// Whole blocks.
    pub blocks: u64,
    /// Records in whole blocks.
    pub records: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Records that loss records say are missing.
    pub lost_records: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl SegmentReport {
    fn empty(path: &Path) -> SegmentReport {
        SegmentReport {
            path: path.to_owned(),
            header: None,
            footer: None,
            end: Position::default(),
            blocks: 0,
            records: 0,
            octets: 0,
            lost_records: 0,
            findings: Vec::new(),
        }
    }

    /// Whether nothing was found wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies one segment: header, every block, every record header, totals, hash and chain hash.
pub fn verify(path: &Path) -> Result<SegmentReport, SegmentError> {
    let file = plain::open(path).map_err(SegmentError::io(path, "open"))?;
    verify_source(file, path)
}

/// As [`verify`], from any source; `path` is for the report.
pub fn verify_source<S: ReadAt>(source: S, path: &Path) -> Result<SegmentReport, SegmentError> {
    verify_with(source, path, false)
}

/// As [`verify`], of a segment that a recorder is writing: it ends before the first block that is not on the disk as a whole.
fn verify_growing(path: &Path) -> Result<SegmentReport, SegmentError> {
    let file = plain::open(path).map_err(SegmentError::io(path, "open"))?;
    verify_with(file, path, true)
}

fn verify_with<S: ReadAt>(source: S, path: &Path, grows: bool) -> Result<SegmentReport, SegmentError> {
    let mut report = SegmentReport::empty(path);
    let opened = if grows { SegmentReader::growing(&source, path) } else { SegmentReader::of(&source, path) };
    let reader = match opened {
        Ok(reader) => reader,
        Err(SegmentError::Format { problem, .. }) => {
            report.findings.push(Finding::Unreadable(problem));
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    let header = reader.header().clone();
    let mut end = header.base;
    let mut content = BlockContent::default();
    for block in reader.blocks() {
        let is_last = reader.blocks().last().is_some_and(|last| last.offset == block.offset);
        let content_of_block = reader.read_block(block, &mut content)?;
        if grows && is_last && content_of_block.is_err() && !reader.is_sealed() {
            break;
        }
        if block.begin.seq != end.seq {
            report.findings.push(Finding::Hole { from_seq: end.seq, to_seq: block.begin.seq });
        }
        end = block.end;
        if let Err(error) = content_of_block {
            report.findings.push(Finding::Block {
                offset: block.offset,
                from_seq: block.begin.seq,
                to_seq: block.end.seq,
                error,
            });
            continue;
        }
        report.blocks += 1;
        match block.loss() {
            Some(loss) => report.lost_records += loss.records(),
            None => {
                report.records += block.records();
                report.octets += block.end.payload.saturating_sub(block.begin.payload);
            }
        }
    }
    report.end = end;
    if let Some(footer) = reader.footer() {
        let hash = hash_content(&source, footer.content_end, footer.content_hash.algorithm)
            .map_err(SegmentError::io(path, "read"))?;
        if hash != footer.content_hash {
            report.findings.push(Finding::ContentHash);
        }
        let told = Footer::of_blocks(
            &header,
            reader.blocks(),
            footer.content_end,
            footer.content_hash,
            footer.previous_chain,
            footer.sealed_unix_ns,
        );
        if footer.chain != footer.chain_hash() {
            report.findings.push(Finding::ChainHash);
        }
        if (Footer { chain: footer.chain, ..told }) != *footer {
            report.findings.push(Finding::Totals);
        }
        report.footer = Some(footer.clone());
    }
    report.header = Some(header);
    Ok(report)
}

/// What verifying an archive found.
#[derive(Debug, Clone, Default)]
pub struct TreeReport {
    /// Every segment, by stream; files that were put aside come last.
    pub streams: BTreeMap<Stream, Vec<SegmentReport>>,
    /// Every daily root, in order.
    pub roots: Vec<RootVerdict>,
    /// What is wrong with the archive as a whole: days, heads and records of removal that do not fit together.
    pub problems: Vec<String>,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
    /// What had to be believed from the archive itself, for want of a key or head from elsewhere: who can write the whole
    /// archive can also have made that.
    pub unpinned: Vec<&'static str>,
    /// Sealed segments that no root names yet. Only the recorder's own state says whether more of them existed.
    pub unsigned: u64,
    /// Records of removal.
    pub removals: u64,
}

impl TreeReport {
    /// Whether nothing was found wrong: segments, roots, heads, records of removal.
    pub fn is_sound(&self) -> bool {
        self.streams.values().flatten().all(SegmentReport::is_sound)
            && self.roots.iter().all(|root| root.problems.is_empty())
            && self.problems.is_empty()
    }

    /// Whether all keys and a head came from elsewhere.
    pub fn is_pinned(&self) -> bool {
        self.unpinned.is_empty()
    }
}

/// Verifies a whole archive offline: every segment, the chain over the segments of each stream, the signed roots of all days,
/// the records of removal, and heads, against what is `expected` of them. `progress` hears of every segment before it is held
/// against the records of removal.
///
/// Recorder and service may work on it meanwhile: what is sealed, moved, brought back or deleted is judged as it is then, and what
/// is sealed after its stream was listed is left to the next run.
///
/// # Errors
/// The disk; a directory that is no archive's.
pub fn verify_tree(
    archive: &Path,
    expected: &Expected,
    mut progress: impl FnMut(&Stream, &SegmentReport),
) -> Result<TreeReport, SegmentError> {
    let mut report = TreeReport::default();
    let mut files = 0;
    let mut sealed = Vec::new();
    for stream in streams(archive)? {
        let mut previous: Option<(SegmentName, Option<[u8; 32]>, Position)> = None;
        let mut segments = Vec::new();
        for entry in list_settled(archive, &stream)? {
            let Some((entry, mut segment)) = verify_listed(archive, &stream, &entry)? else { continue };
            judge_order(&entry, previous.as_ref(), &mut segment);
            let chain = segment.footer.as_ref().map(|footer| footer.chain);
            if let Some(chain) = chain {
                sealed.push((stream.clone(), segments.len(), entry.clone(), chain));
            }
            previous =
                Some((entry.name, chain, segment.footer.as_ref().map_or(segment.end, |footer| footer.end)));
            progress(&stream, &segment);
            segments.push(segment);
        }
        for aside in list_aside(archive, &stream)? {
            let reason = aside.reason.unwrap_or_else(|| "nobody knows why".to_owned());
            let problem = format!("it was put aside and has to be repaired (fep-recorder repair): {reason}");
            let mut segment = SegmentReport::empty(&aside.path);
            segment.findings.push(Finding::Unreadable(problem));
            progress(&stream, &segment);
            segments.push(segment);
        }
        files += segments.len();
        report.streams.insert(stream, segments);
    }
    // Acts are recorded before they are done: records that are read now cover everything that was found.
    let (judged, recorded) = judge::judge(archive, expected)?;
    for (stream, at, entry, chain) in sealed {
        let (problem, note) = account(archive, expected, &recorded, &stream, &entry, &chain)?;
        let segment = report.streams.get_mut(&stream).and_then(|segments| segments.get_mut(at));
        if let (Some(segment), Some(problem)) = (segment, problem) {
            segment.findings.push(Finding::Unaccounted(problem));
        }
        report.notes.extend(note.map(|note| format!("{}: {note}", entry.path.display())));
    }
    if files == 0 && judged.roots.is_empty() && recorded.count == 0 {
        return Err(SegmentError::format(
            archive,
            "no segment, signed day or record of removal lies there: it is not the directory of the segments \
             (archive.segments), or everything was taken away",
        ));
    }
    report.roots = judged.roots;
    report.problems = judged.problems;
    report.notes.extend(judged.notes);
    report.unpinned = judged.unpinned;
    report.unsigned = judged.unsigned;
    report.removals = recorded.count;
    Ok(report)
}

/// Verifies a segment under the name that it has now; `None` when it was open and its recorder took it away, because it held
/// nothing.
fn verify_listed(
    archive: &Path,
    stream: &Stream,
    listed: &SegmentEntry,
) -> Result<Option<(SegmentEntry, SegmentReport)>, SegmentError> {
    let mut listed = listed.clone();
    for attempt in 1.. {
        let found = read_where_it_is(archive, stream, &listed, |entry| verify_entry(archive, stream, entry))?;
        let Some((entry, segment)) = found else {
            if listed.state == SegmentState::Open {
                return Ok(None);
            }
            let mut segment = SegmentReport::empty(&listed.path);
            let problem = "it was here when the archive was listed, and nothing of it is here any more";
            segment.findings.push(Finding::Unreadable(problem.to_owned()));
            return Ok(Some((listed, segment)));
        };
        // What looks damaged may have been on its way to the disk, or changed its name while it was read.
        let now = locate(archive, stream, entry.name);
        let has_moved = now.as_ref().is_some_and(|now| now.state != entry.state);
        let is_written = entry.state == SegmentState::Open && is_recorded(archive, stream);
        if segment.is_sound() || !(has_moved || is_written) || attempt == ATTEMPTS_MAX {
            return Ok(Some((entry, segment)));
        }
        if !has_moved {
            std::thread::sleep(WRITING_PAUSE);
        }
        listed = now.unwrap_or(entry);
    }
    Ok(None)
}

/// What is wrong with the state of a sealed or removed segment, and what is worth a note, by the records of removal.
fn account(
    archive: &Path,
    expected: &Expected,
    recorded: &Recorded,
    stream: &Stream,
    entry: &SegmentEntry,
    chain: &[u8; 32],
) -> Result<(Option<&'static str>, Option<&'static str>), SegmentError> {
    let mut account = judge::is_accounted_for(entry.state, recorded.act(stream, entry.name, chain));
    let mut state = entry.state;
    // It may have been moved or brought back since: then its state now has to fit its records now.
    for _ in 1..ATTEMPTS_MAX {
        if account.0.is_none() {
            break;
        }
        let recorded = Recorded::read(archive, expected.removal_key.as_ref())?;
        account = judge::is_accounted_for(state, recorded.act(stream, entry.name, chain));
        let Some(now) = locate(archive, stream, entry.name) else { break };
        if now.state == state {
            break;
        }
        state = now.state;
    }
    Ok(account)
}

fn verify_entry(
    archive: &Path,
    stream: &Stream,
    entry: &SegmentEntry,
) -> Result<SegmentReport, SegmentError> {
    if entry.state != SegmentState::Removed {
        let is_written = entry.state == SegmentState::Open && is_recorded(archive, stream);
        let mut report = if is_written { verify_growing(&entry.path)? } else { verify(&entry.path)? };
        if let Some(header) = &report.header
            && header.name() != entry.name
        {
            report.findings.push(Finding::Misnamed { name: header.name() });
        }
        if entry.state == SegmentState::Sealed && report.footer.is_none() && report.header.is_some() {
            report.findings.push(Finding::Footer("it is damaged or missing".to_owned()));
        }
        return Ok(report);
    }
    let mut report = SegmentReport::empty(&entry.path);
    match footer_of(entry) {
        Ok(footer) => {
            if footer.as_ref().is_some_and(|footer| footer.chain != footer.chain_hash()) {
                report.findings.push(Finding::ChainHash);
            }
            report.footer = footer;
        }
        Err(SegmentError::Format { problem, .. }) => report.findings.push(Finding::Footer(problem)),
        Err(error) => return Err(error),
    }
    Ok(report)
}

fn judge_order(
    entry: &SegmentEntry,
    previous: Option<&(SegmentName, Option<[u8; 32]>, Position)>,
    segment: &mut SegmentReport,
) {
    let base = match (&segment.footer, &segment.header) {
        (Some(footer), _) => footer.base,
        (None, Some(header)) => header.base,
        (None, None) => return,
    };
    match previous {
        Some((name, chain, end)) => {
            if let (Some(chain), Some(footer)) = (chain, &segment.footer)
                && footer.previous_chain != *chain
            {
                segment.findings.push(Finding::ChainBroken { previous: *name });
            }
            if name.series == entry.name.series && base.seq > end.seq {
                segment.findings.push(Finding::Missing { from_seq: end.seq, to_seq: base.seq });
            }
        }
        None => {
            // The first segment of a stream continues nothing, or what was removed without a trace.
            let continues = segment.footer.as_ref().is_some_and(|footer| footer.previous_chain != [0; 32]);
            let named = segment.header.as_ref().and_then(|header| header.previous);
            if let (true, Some(previous)) = (continues, named) {
                segment.findings.push(Finding::ChainBroken { previous });
            }
        }
    }
}
