//! Records of removal: whoever deletes, moves or brings back segments leaves a signed, numbered, chained record of it in the
//! archive's own tree. Without one, a segment that is gone was taken away.
//!
//! `<archive>/roots/removals/<colour>/<number>.json`; what is signed is the text that `docs/segments.md` gives.

use std::collections::{BTreeMap, HashMap};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ed25519_dalek::SigningKey;
use fep_bus::Colour;
use serde::{Deserialize, Serialize};

use crate::error::SegmentError;
use crate::footer::Footer;
use crate::keys::{Seal, hex};
use crate::name::{SegmentName, Stream};
use crate::roots::RootEntry;
use crate::seal::footer_of;
use crate::settled::{directory_entries_settled, list_settled};
use crate::tree::{SegmentState, streams};

/// Segments that one record names at most; more become several records.
const SEGMENTS_MAX: usize = 4096;
/// The longest file of a record.
const RECORD_OCTETS_MAX: u64 = 8 << 20;
/// How often a number is tried that another process takes first.
const TRIES: usize = 16;

/// What was done to segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Their octets were deleted for good.
    Deleted,
    /// Their octets are in an object store and not here.
    Moved,
    /// They were brought back from there, and must be here.
    Recalled,
    /// They were gone before such records were kept: nobody knows on whose word.
    Found,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Act::Deleted => "deleted",
            Act::Moved => "moved",
            Act::Recalled => "recalled",
            Act::Found => "found",
        }
    }
}

/// One act, to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// What.
    pub act: Act,
    /// When, nanoseconds of UTC since 1970.
    pub at_unix_ns: u64,
    /// The order it carries out, where there is one.
    pub order: Option<&'a str>,
    /// Who: the persons of the order, or the service itself.
    pub by: &'a [String],
    /// The footers of the segments.
    pub segments: &'a [Footer],
}

/// A record as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalRecord {
    /// Version of this file: 1.
    pub format: u32,
    /// `black` or `red`: each colour has a chain of its own.
    pub colour: String,
    /// Number in the chain, from 1.
    pub number: u64,
    /// The `record` of the one before; empty for the first.
    pub previous: String,
    /// When, nanoseconds of UTC since 1970.
    pub at_unix_ns: u64,
    /// What was done.
    pub act: Act,
    /// The order that was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Who.
    pub by: Vec<String>,
    /// To which segments.
    pub segments: Vec<RootEntry>,
    /// SHA-256 of the signed text, hexadecimal.
    pub record: String,
    /// Ed25519 public key, hexadecimal.
    pub key: String,
    /// Ed25519 signature of the 32 octets of `record`, hexadecimal.
    pub signature: String,
}

impl RemovalRecord {
    /// The text whose SHA-256 is `record`. Names of persons and orders stand in it as JSON strings, so that none can look like
    /// another line.
    pub fn text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "fep removal {}\ncolour {}\nnumber {}\nprevious {}\nat {}\nact {}\n",
            self.format,
            self.colour,
            self.number,
            self.previous,
            self.at_unix_ns,
            self.act.name()
        );
        if let Some(order) = &self.order {
            text.push_str(&format!("order {}\n", quoted(order)));
        }
        for person in &self.by {
            text.push_str(&format!("by {}\n", quoted(person)));
        }
        for entry in &self.segments {
            text.push_str(&entry.line());
        }
        text
    }

    fn seal(&self) -> Seal {
        Seal { hash: self.record.clone(), key: self.key.clone(), signature: self.signature.clone() }
    }
}

/// Where a chain of records ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalEnd {
    /// Records so far.
    pub count: u64,
    /// `record` of the last one; empty when there is none.
    pub last: String,
}

/// Writes records of one archive. One process does that at a time.
#[derive(Debug)]
pub struct Removals {
    archive: PathBuf,
    key: SigningKey,
    ends: Mutex<BTreeMap<&'static str, RemovalEnd>>,
}

impl Removals {
    /// Of the archive, signed with `key`.
    pub fn new(archive: &Path, key: SigningKey) -> Removals {
        Removals { archive: archive.to_owned(), key, ends: Mutex::default() }
    }

    /// Records an act, durably. It has to be recorded before an octet goes; who is killed in between does it again, and a
    /// second record of the same act harms nothing.
    ///
    /// # Errors
    /// The disk; a last record that cannot be read.
    pub fn record(&self, removal: &Removal<'_>) -> Result<(), SegmentError> {
        for colour in [Colour::Black, Colour::Red] {
            let entries: Vec<RootEntry> = removal
                .segments
                .iter()
                .filter(|footer| footer.stream.colour == colour)
                .map(RootEntry::of)
                .collect();
            for entries in entries.chunks(SEGMENTS_MAX) {
                self.append(colour, removal, entries)?;
            }
        }
        Ok(())
    }

    /// Records what was removed before such records were kept: every footer that is left without its segment, unless there is
    /// any record already. Returns how many segments these are.
    ///
    /// # Errors
    /// As [`Removals::record`].
    pub fn adopt(&self, at_unix_ns: u64) -> Result<usize, SegmentError> {
        let mut adopted = 0;
        for colour in [Colour::Black, Colour::Red] {
            let is_anchored = crate::roots::anchored(&self.archive, colour)?.is_some_and(|end| end.count > 0);
            if is_anchored || !files(&self.archive, colour)?.is_empty() {
                continue;
            }
            let mut gone = Vec::new();
            for stream in streams(&self.archive)?.into_iter().filter(|stream| stream.colour == colour) {
                for entry in list_settled(&self.archive, &stream)? {
                    if entry.state == SegmentState::Removed
                        && let Ok(Some(footer)) = footer_of(&entry)
                    {
                        gone.push(footer);
                    }
                }
            }
            let removal = Removal { act: Act::Found, at_unix_ns, order: None, by: &[], segments: &gone };
            self.record(&removal)?;
            adopted += gone.len();
        }
        Ok(adopted)
    }

    fn append(
        &self,
        colour: Colour,
        removal: &Removal<'_>,
        segments: &[RootEntry],
    ) -> Result<(), SegmentError> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = directory(&self.archive, colour);
        make_directories(&self.archive, &directory, colour)?;
        for _ in 0..TRIES {
            let end = match ends.get(colour.directory()) {
                Some(end) => end.clone(),
                None => end(&self.archive, colour)?,
            };
            let mut record = RemovalRecord {
                format: 1,
                colour: colour.directory().to_owned(),
                number: end.count + 1,
                previous: end.last,
                at_unix_ns: removal.at_unix_ns,
                act: removal.act,
                order: removal.order.map(str::to_owned),
                by: removal.by.to_vec(),
                segments: segments.to_vec(),
                record: String::new(),
                key: String::new(),
                signature: String::new(),
            };
            let seal = Seal::of(&record.text(), &self.key);
            (record.record, record.key, record.signature) = (seal.hash, seal.key, seal.signature);
            let path = directory.join(file_name(record.number));
            let text = serde_json::to_vec_pretty(&record)
                .map_err(|error| SegmentError::format(&path, error.to_string()))?;
            let mode = if colour == Colour::Red { 0o600 } else { 0o640 };
            match fep_file::create_new(&path, mode, &text) {
                Ok(()) => {
                    let end = RemovalEnd { count: record.number, last: record.record };
                    ends.insert(colour.directory(), end);
                    return Ok(());
                }
                // Another process was faster.
                Err(fep_file::FileError::Exists { .. }) => {
                    ends.remove(colour.directory());
                }
                Err(error) => {
                    // It may have its name nevertheless.
                    ends.remove(colour.directory());
                    return Err(error.into());
                }
            }
        }
        Err(SegmentError::format(&directory, "other processes keep writing records of removal into it"))
    }
}

/// What verifying one record found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalVerdict {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// All records of an archive, verified.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Every record of which something is wrong.
    pub(crate) verdicts: Vec<RemovalVerdict>,
    /// How many there are.
    pub(crate) count: u64,
    /// What was last done to a segment, and its chain hash. Records that do not hold say nothing.
    acts: HashMap<(String, SegmentName), (Act, String)>,
    /// `record` of every record, by colour, in order.
    hashes: BTreeMap<&'static str, Vec<String>>,
}

impl Recorded {
    pub(crate) fn read(archive: &Path, key: Option<&[u8; 32]>) -> Result<Recorded, SegmentError> {
        let mut recorded = Recorded::default();
        for colour in [Colour::Black, Colour::Red] {
            let mut previous = String::new();
            let mut hashes = Vec::new();
            for (number, path) in files(archive, colour)? {
                recorded.count += 1;
                let expected = hashes.len() as u64 + 1;
                let mut problems = Vec::new();
                match read_record(&path) {
                    Ok(record) => {
                        if number != expected {
                            problems.push(format!("record {expected} is missing before it"));
                        }
                        if record.number != number || record.colour != colour.directory() {
                            problems.push("the file is named for another record".to_owned());
                        }
                        if record.previous != previous {
                            problems.push("it does not continue the record before it".to_owned());
                        }
                        if record.format != 1 {
                            problems.push(format!("format {} is not known; 1 is", record.format));
                        }
                        problems.extend(record.seal().problems(&record.text(), "record", key));
                        if problems.is_empty() {
                            for entry in record.segments {
                                let name = (entry.stream, entry.segment);
                                recorded.acts.insert(name, (record.act, entry.chain));
                            }
                        }
                        previous = record.record;
                    }
                    Err(error) => match error.condemned() {
                        Some((_, problem)) => problems.push(problem),
                        None => return Err(error),
                    },
                }
                hashes.push(previous.clone());
                if !problems.is_empty() {
                    recorded.verdicts.push(RemovalVerdict { path, problems });
                }
            }
            recorded.hashes.insert(colour.directory(), hashes);
        }
        Ok(recorded)
    }

    /// What was last done to a segment with this chain hash, according to a record that holds.
    pub(crate) fn act(&self, stream: &Stream, name: SegmentName, chain: &[u8; 32]) -> Option<Act> {
        let (act, recorded) = self.acts.get(&(stream.to_string(), name))?;
        (*recorded == hex(chain)).then_some(*act)
    }

    /// Whether the chain of this colour goes at least as far as `end`, and says the same there.
    pub(crate) fn reaches(&self, colour: Colour, end: &RemovalEnd) -> bool {
        let Some(last) = end.count.checked_sub(1) else { return true };
        let hashes = self.hashes.get(colour.directory());
        usize::try_from(last).ok().and_then(|last| hashes?.get(last)).is_some_and(|hash| *hash == end.last)
    }
}

/// Where the chain of this colour ends now.
pub(crate) fn end(archive: &Path, colour: Colour) -> Result<RemovalEnd, SegmentError> {
    match files(archive, colour)?.pop() {
        Some((count, path)) => Ok(RemovalEnd { count, last: read_record(&path)?.record }),
        None => Ok(RemovalEnd::default()),
    }
}

fn read_record(path: &Path) -> Result<RemovalRecord, SegmentError> {
    crate::roots::read_json(path, RECORD_OCTETS_MAX)
}

fn directory(archive: &Path, colour: Colour) -> PathBuf {
    archive.join("roots/removals").join(colour.directory())
}

fn file_name(number: u64) -> String {
    format!("{number:012}.json")
}

/// Files of all records of a colour, in order of numbers. Files of other names are none of ours.
fn files(archive: &Path, colour: Colour) -> Result<Vec<(u64, PathBuf)>, SegmentError> {
    let directory = directory(archive, colour);
    let mut found = Vec::new();
    for entry in directory_entries_settled(&directory)? {
        let number = entry.name.strip_suffix(".json").and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|number| file_name(*number) == entry.name) {
            found.push((number, directory.join(&entry.name)));
        }
    }
    found.sort();
    Ok(found)
}

fn make_directories(archive: &Path, directory: &Path, colour: Colour) -> Result<(), SegmentError> {
    let modes = [("roots", 0o750), ("roots/removals", 0o750)];
    let own = if colour == Colour::Red { 0o700 } else { 0o750 };
    let places = modes.map(|(place, mode)| (archive.join(place), mode)).into_iter();
    for (place, mode) in places.chain([(directory.to_owned(), own)]) {
        match DirBuilder::new().mode(mode).create(&place) {
            Ok(()) => crate::seal::sync_directory(&place)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SegmentError::io(&place, "create")(error)),
        }
    }
    Ok(())
}
