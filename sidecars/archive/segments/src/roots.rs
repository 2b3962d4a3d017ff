//! Daily signed roots: one file a day names every segment that was sealed on it by its chain hash, names the root
//! before it and where the records of removal end, and is signed. Who keeps the public key and a head ([`Head`]) can tell
//! later that nothing was altered, added or taken away.
//!
//! `<archive>/roots/<day>.json`; what is signed is not the JSON but the text that `docs/segments.md` gives.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate};
use ed25519_dalek::SigningKey;
use fep_bus::Colour;
use serde::{Deserialize, Serialize};

pub use crate::head::{Head, HeadEntry, HeadReplaced, head_file, read_head};
pub use crate::keys::{find_key, hex, is_within, public_file, public_key, signing_key, unhex};

use crate::aside;
use crate::audit;
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::head;
use crate::keys::Seal;
use crate::name::{SegmentName, Stream};
use crate::removals::{self, RemovalEnd};
use crate::seal::footer_of;
use crate::settled::{directory_entries_settled, list_settled, read_where_it_is};
use crate::tree::{SegmentState, directory_entries, streams};

/// The longest file of a root.
const ROOT_OCTETS_MAX: u64 = 256 << 20;
/// Ending of roots of days that had not come.
const FUTURE: &str = "future";
/// What is written now. Format 1 has no number and says nothing of removals, format 2 nothing of the audit trail.
pub(crate) const FORMAT: u32 = 3;

/// One segment in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootEntry {
    /// Its stream, as `black/RING`.
    pub stream: String,
    /// Its name.
    pub segment: SegmentName,
    /// Its chain hash, hexadecimal.
    pub chain: String,
}

impl RootEntry {
    pub(crate) fn of(footer: &Footer) -> RootEntry {
        RootEntry { stream: footer.stream.to_string(), segment: footer.name(), chain: hex(&footer.chain) }
    }

    /// Its line in a signed text.
    pub(crate) fn line(&self) -> String {
        format!("segment {} {} {}\n", self.stream, self.segment, self.chain)
    }
}

/// Where the records of removal ended when a day was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalEnds {
    /// Those of black segments.
    pub black: RemovalEnd,
    /// Those of red segments.
    pub red: RemovalEnd,
}

/// The newest signed head of the audit trail that lay in the archive when a day was signed: `roots/audit/<day>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAnchor {
    /// The day that the file is named for.
    pub day: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// A daily root as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Version of this file: 3, or 1 or 2 as earlier versions wrote it.
    pub format: u32,
    /// The day, UTC, as `2026-11-26`.
    pub day: String,
    /// Number of the day, from 1 without a hole. Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Segments sealed on that day, or before and in no earlier root, sorted by stream and name. A segment counts as sealed not
    /// later than those behind it in its stream.
    pub segments: Vec<RootEntry>,
    /// The `root` of the file before this one in order of days; empty for the first.
    pub previous: String,
    /// Records of removal by then. Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<RemovalEnds>,
    /// The newest signed head of the audit trail by then, if there was one. Since format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditAnchor>,
    /// SHA-256 of the signed text, hexadecimal.
    pub root: String,
    /// Ed25519 public key, hexadecimal.
    pub key: String,
    /// Ed25519 signature of the 32 octets of `root`, hexadecimal.
    pub signature: String,
}

impl Root {
    /// The text whose SHA-256 is `root`.
    pub fn text(&self) -> String {
        let mut text = format!("fep daily root {}\nday {}\n", self.format, self.day);
        if let Some(number) = self.number {
            text.push_str(&format!("number {number}\n"));
        }
        text.push_str(&format!("previous {}\n", self.previous));
        if let Some(RemovalEnds { black, red }) = &self.removals {
            text.push_str(&format!("removals black {} {}\n", black.count, black.last));
            text.push_str(&format!("removals red {} {}\n", red.count, red.last));
        }
        if let Some(AuditAnchor { day, sha256 }) = &self.audit {
            text.push_str(&format!("audit {day} {sha256}\n"));
        }
        self.segments.iter().for_each(|entry| text.push_str(&entry.line()));
        text
    }

    pub(crate) fn seal(&self) -> Seal {
        Seal { hash: self.root.clone(), key: self.key.clone(), signature: self.signature.clone() }
    }

    /// The day, if the file says one.
    pub(crate) fn date(&self) -> Option<NaiveDate> {
        self.day.parse().ok()
    }
}

/// What signing did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signed {
    /// Days signed now.
    pub days: usize,
    /// Roots of days that have not come, which were put aside: a clock was wrong.
    pub set_aside: Vec<PathBuf>,
    /// The head was wrong or missing, and is written anew.
    pub head_replaced: Option<HeadReplaced>,
}

/// Where the root of a day lies.
pub fn root_file(archive: &Path, day: NaiveDate) -> PathBuf {
    archive.join("roots").join(format!("{day}.json"))
}

/// The day of a time, UTC.
pub fn day_of(unix_ns: u64) -> NaiveDate {
    DateTime::from_timestamp_nanos(i64::try_from(unix_ns).unwrap_or(i64::MAX)).date_naive()
}

/// The key in `path`, for the days of this archive. It is made when there is none, unless days were signed already: then
/// another key must not take its place unseen.
///
/// # Errors
/// As [`check_key`].
pub fn key_for(archive: &Path, path: &Path) -> Result<SigningKey, SegmentError> {
    check_key(archive, path)?;
    signing_key(path)
}

/// Whether [`key_for`] has a key, or may make one. Changes nothing.
///
/// # Errors
/// As [`signing_key`]; the key with which days were signed is missing. The message says where it lies, if it lies where
/// earlier releases kept it.
pub fn check_key(archive: &Path, path: &Path) -> Result<(), SegmentError> {
    if find_key(path)?.is_some() || root_files(archive)?.is_empty() {
        return Ok(());
    }
    let old = old_key_files(archive).into_iter().find(|old| old != path && old.is_file());
    Err(SegmentError::format(
        path,
        match old {
            Some(old) => format!(
                "the key that signed the days before is missing; earlier releases kept it in {0}, where a file lies: move it \
                 here (mv {0} {1}; docs/runbooks/upgrade.md)",
                old.display(),
                path.display()
            ),
            None => "the key that signed the days before is missing: restore it, or make another one (fep-recorder key FILE) \
                     and give its public key to whoever verifies"
                .to_owned(),
        },
    ))
}

/// Where releases before kept the key: beside the directory of the segments, or in it.
fn old_key_files(archive: &Path) -> Vec<PathBuf> {
    let beside = archive.parent().map(|parent| parent.join("root.key"));
    beside.into_iter().chain([archive.join("root.key")]).collect()
}

/// Signs every day that is over and not signed yet, from the last signed day (or the first day on which a segment was
/// sealed) up to the day before `now_unix_ns`, and writes the head. A day on which nothing was sealed is signed too, so that
/// an absent one shows. Roots of days that have not come are put aside first; what they named is named by the root of its day,
/// or of the next one. A head that does not hold in every part is put aside and written anew.
///
/// # Errors
/// The disk; a last root that cannot be read.
pub fn sign_past_days(archive: &Path, now_unix_ns: u64, key: &SigningKey) -> Result<Signed, SegmentError> {
    let today = day_of(now_unix_ns);
    let mut signed = Signed { set_aside: set_future_aside(archive, today)?, ..Signed::default() };
    let files = root_files(archive)?;
    let newest = files.last().map(|path| read_root(path)).transpose()?;
    let yesterday = today.checked_sub_days(Days::new(1));
    let is_due = newest.as_ref().and_then(Root::date).is_none_or(|last| Some(last) < yesterday);
    if is_due {
        let sealed = sealed(archive)?;
        let mut named = HashSet::new();
        for path in &files {
            let entries = read_root(path)?.segments;
            named.extend(entries.into_iter().map(|entry| (entry.stream, entry.segment)));
        }
        let mut unnamed: Vec<(NaiveDate, &Footer)> = sealing_days(&sealed)
            .into_iter()
            .zip(&sealed)
            .filter(|(_, footer)| !named.contains(&(footer.stream.to_string(), footer.name())))
            .collect();
        let mut previous = newest;
        let mut number = files.len() as u64;
        let mut next = match previous.as_ref().and_then(Root::date) {
            Some(last) => last.checked_add_days(Days::new(1)),
            None => unnamed.iter().map(|(day, _)| *day).min(),
        };
        while let Some(day) = next.filter(|day| *day < today) {
            let (of_day, later): (Vec<_>, Vec<_>) =
                unnamed.into_iter().partition(|(sealed, _)| *sealed <= day);
            unnamed = later;
            number += 1;
            let root = sign_day(archive, day, number, previous.as_ref(), &of_day, key)?;
            previous = Some(root);
            signed.days += 1;
            next = day.checked_add_days(Days::new(1));
        }
    }
    signed.head_replaced = head::keep_up(archive, key, files.is_empty())?;
    Ok(signed)
}

fn sign_day(
    archive: &Path,
    day: NaiveDate,
    number: u64,
    previous: Option<&Root>,
    segments: &[(NaiveDate, &Footer)],
    key: &SigningKey,
) -> Result<Root, SegmentError> {
    let mut root = Root {
        format: FORMAT,
        day: day.to_string(),
        number: Some(number),
        segments: segments.iter().map(|(_, footer)| RootEntry::of(footer)).collect(),
        previous: previous.map(|root| root.root.clone()).unwrap_or_default(),
        removals: Some(RemovalEnds {
            black: removals::end(archive, Colour::Black)?,
            red: removals::end(archive, Colour::Red)?,
        }),
        audit: audit::newest(archive)?,
        root: String::new(),
        key: String::new(),
        signature: String::new(),
    };
    let seal = Seal::of(&root.text(), key);
    (root.root, root.key, root.signature) = (seal.hash, seal.key, seal.signature);
    let directory = archive.join("roots");
    std::fs::create_dir_all(&directory).map_err(SegmentError::io(&directory, "create"))?;
    let path = root_file(archive, day);
    let text =
        serde_json::to_vec_pretty(&root).map_err(|error| SegmentError::format(&path, error.to_string()))?;
    fep_file::create_new(&path, 0o640, &text)?;
    Ok(root)
}

/// Puts the roots of `today` and later days aside: no such day is over, so a clock was wrong when they were signed.
fn set_future_aside(archive: &Path, today: NaiveDate) -> Result<Vec<PathBuf>, SegmentError> {
    let mut set_aside = Vec::new();
    for path in root_files(archive)? {
        if day_of_file(&path).is_some_and(|day| day >= today) {
            set_aside.push(aside::rename_with(&path, FUTURE)?);
        }
    }
    if let Some(path) = set_aside.first() {
        crate::seal::sync_directory(path)?;
    }
    Ok(set_aside)
}

/// Roots that were put aside because their day had not come.
pub(crate) fn future_roots(archive: &Path) -> Result<Vec<PathBuf>, SegmentError> {
    let directory = archive.join("roots");
    let is_future = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(stem, ending)| stem.ends_with(".json") && aside::is_numbered(ending, FUTURE))
    };
    let entries = directory_entries(&directory)?.into_iter();
    Ok(entries.filter(|entry| is_future(&entry.name)).map(|entry| directory.join(entry.name)).collect())
}

/// Where the newest root says that the records of removal end; `None` when no root says so.
pub(crate) fn anchored(archive: &Path, colour: Colour) -> Result<Option<RemovalEnd>, SegmentError> {
    let Some(path) = root_files(archive)?.pop() else { return Ok(None) };
    Ok(read_root(&path)?.removals.map(|ends| match colour {
        Colour::Black => ends.black,
        Colour::Red => ends.red,
    }))
}

/// All sealed or removed segments, sorted by stream and name. Unreadable footers are left out: `verify` reports them.
pub(crate) fn sealed(archive: &Path) -> Result<Vec<Footer>, SegmentError> {
    let mut found = Vec::new();
    for stream in streams(archive)? {
        for entry in list_settled(archive, &stream)? {
            if entry.state == SegmentState::Open {
                continue;
            }
            match read_where_it_is(archive, &stream, &entry, footer_of) {
                Ok(Some((_, Some(footer)))) => found.push(footer),
                Ok(Some((_, None)) | None) | Err(SegmentError::Format { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// On which day each segment counts as sealed, of segments sorted by stream and name: not later than any segment that
/// follows it in its stream. Where the clock was in the future for a while, the segments behind say when that was.
pub(crate) fn sealing_days<'a>(
    sorted: impl IntoIterator<Item = &'a Footer, IntoIter: DoubleEndedIterator>,
) -> Vec<NaiveDate> {
    let mut days = Vec::new();
    let mut behind: Option<(&Stream, NaiveDate)> = None;
    for footer in sorted.into_iter().rev() {
        let own = day_of(footer.sealed_unix_ns);
        let day = match behind {
            Some((stream, day)) if *stream == footer.stream => own.min(day),
            _ => own,
        };
        behind = Some((&footer.stream, day));
        days.push(day);
    }
    days.reverse();
    days
}

/// The newest time at which a segment was sealed; 0 when none is.
///
/// # Errors
/// The disk.
pub fn newest_sealing(archive: &Path) -> Result<u64, SegmentError> {
    Ok(sealed(archive)?.iter().map(|footer| footer.sealed_unix_ns).max().unwrap_or(0))
}

/// Files of all roots, in order of days. Files that are named for no day are none of ours.
///
/// # Errors
/// The disk.
pub fn root_files(archive: &Path) -> Result<Vec<PathBuf>, SegmentError> {
    let directory = archive.join("roots");
    let entries = directory_entries_settled(&directory)?.into_iter();
    let mut files: Vec<PathBuf> = entries.map(|entry| directory.join(entry.name)).collect();
    files.retain(|path| day_of_file(path).is_some());
    files.sort();
    Ok(files)
}

pub(crate) fn day_of_file(path: &Path) -> Option<NaiveDate> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

/// Reads the file of a root; judges nothing.
pub fn read_root(path: &Path) -> Result<Root, SegmentError> {
    read_json(path, ROOT_OCTETS_MAX)
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, limit: u64) -> Result<T, SegmentError> {
    let octets = match fep_file::read(path, limit) {
        Ok(octets) => octets,
        Err(error @ (fep_file::FileError::NotRegular { .. } | fep_file::FileError::TooLong { .. })) => {
            return Err(SegmentError::format(path, error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    serde_json::from_slice(&octets).map_err(|error| SegmentError::format(path, error.to_string()))
}

/// Of the newest sealed segment of each stream , what a head says of it.
pub(crate) fn newest_of_streams(archive: &Path) -> Result<Vec<HeadEntry>, SegmentError> {
    let mut newest: HashMap<String, HeadEntry> = HashMap::new();
    for footer in sealed(archive)? {
        // In order of names: the last one of a stream is the newest.
        let RootEntry { stream, segment, chain } = RootEntry::of(&footer);
        newest.insert(stream.clone(), HeadEntry { stream, segment, chain, end_seq: footer.end.seq });
    }
    let mut entries: Vec<HeadEntry> = newest.into_values().collect();
    entries.sort_by(|a, b| a.stream.cmp(&b.stream));
    Ok(entries)
}
