//! Segments whose octets were moved to an object store, and segments that the disk cannot read at the moment: a follower
//! reads the one where it can, and waits for the other. Neither is a gap as long as somebody may still have the records.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Follow, Item, Segment};
use crate::error::SegmentError;
use crate::plain;
use crate::tree::{SegmentEntry, SegmentState};

/// What becomes of segments whose octets were moved to an object store. Beside what is left of such a segment lies a file of
/// its name that ends in `.stored`: its line is the object's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Moved {
    /// They count as removed: a gap.
    #[default]
    Gap,
    /// They are read below this directory of objects. Where there is none, or an object cannot be read, the follower waits.
    Read(Option<PathBuf>),
}

/// How long a disk may fail to read a segment before that counts as damage of the segment.
const FAILING_MAX: Duration = Duration::from_secs(60);
/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Longest file beside a segment that is read: a key of an object has at most 1024 octets.
const MARK_MAX: u64 = 2048;

/// A segment that the disk fails to read.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    path: PathBuf,
    since: Instant,
    tried: Instant,
}

/// Where the octets of a segment are.
pub(super) enum Whereabouts {
    /// In this file.
    Here(SegmentEntry),
    /// Nowhere: they were removed.
    Removed,
    /// In an object store, and they cannot be read there: why.
    Away(String),
}

impl Follow {
    /// Why it waits, while [`Item::Empty`] does not mean that there is nothing: what comes next was moved to an object store that
    /// cannot be read here, or the disk fails to read it at the moment.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    /// Where the octets of a segment are.
    pub(super) fn whereabouts(&self, entry: &SegmentEntry) -> Result<Whereabouts, SegmentError> {
        if entry.state != SegmentState::Removed {
            return Ok(Whereabouts::Here(entry.clone()));
        }
        let Moved::Read(objects) = &self.moved else { return Ok(Whereabouts::Removed) };
        let Some(key) = key_of(&entry.path.with_file_name(format!("{}.stored", entry.name)))? else {
            return Ok(Whereabouts::Removed);
        };
        let away = |why: String| {
            let name = entry.name;
            Whereabouts::Away(format!("segment {name} was moved to the object store (key {key}), and {why}"))
        };
        let Some(objects) = objects else {
            return Ok(away("no directory is known in which its objects can be read".to_owned()));
        };
        if !Path::new(&key).components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(away("that is no key of an object".to_owned()));
        }
        let path = objects.join(&key);
        Ok(match std::fs::metadata(&path) {
            Ok(_) => Whereabouts::Here(SegmentEntry { name: entry.name, state: SegmentState::Sealed, path }),
            Err(error) => away(format!("{}: {error}", path.display())),
        })
    }

    /// The segments that can be read, those in the object store included.
    pub(super) fn readable(&self, entries: Vec<SegmentEntry>) -> Result<Vec<SegmentEntry>, SegmentError> {
        if self.moved == Moved::Gap {
            return Ok(entries);
        }
        let mut readable = Vec::with_capacity(entries.len());
        for entry in entries {
            readable.push(match self.whereabouts(&entry)? {
                Whereabouts::Here(entry) => entry,
                Whereabouts::Removed | Whereabouts::Away(_) => entry,
            });
        }
        Ok(readable)
    }

    /// Waits, and says for what.
    pub(super) fn wait_for(&mut self, what: String) -> Option<Item> {
        self.waits_for = Some(what);
        Some(Item::Empty)
    }

    /// Opens a segment. `Err` with an item: the disk cannot read it at the moment, and it is waited for.
    pub(super) fn open_patiently(
        &mut self,
        entry: &SegmentEntry,
    ) -> Result<Result<Option<Segment>, Option<Item>>, SegmentError> {
        if let Some(failing) = &self.failing
            && failing.path == entry.path
            && failing.tried.elapsed() < TRY_EVERY
        {
            return Ok(Err(Some(Item::Empty)));
        }
        match Segment::try_open(entry) {
            Ok(opened) => Ok(Ok(opened)),
            Err(error) => match self.tolerate(&entry.path, &error) {
                Some(item) => Ok(Err(Some(item))),
                None if is_condemned(&error) => Ok(Ok(None)),
                None => Err(error),
            },
        }
    }

    /// What to do about an error while a segment was read: for a while the follower waits and tries again.
    pub(super) fn tolerate(&mut self, path: &Path, error: &SegmentError) -> Option<Item> {
        let SegmentError::Io { source, .. } = error else { return None };
        if source.raw_os_error() != Some(Errno::IO.raw_os_error()) {
            return None;
        }
        let now = Instant::now();
        let since = match &self.failing {
            Some(failing) if failing.path == path => failing.since,
            _ => now,
        };
        self.failing = Some(Failing { path: path.to_owned(), since, tried: now });
        if now.duration_since(since) >= FAILING_MAX {
            return None;
        }
        self.wait_for(format!("{error}; it is tried again"))
    }
}

fn is_condemned(error: &SegmentError) -> bool {
    matches!(error, SegmentError::Io { source, .. } if plain::condemns(source))
}

/// The key of the object that a mark names; `None` when there is no mark.
fn key_of(mark: &Path) -> Result<Option<String>, SegmentError> {
    use std::io::Read;
    let failed = |action| SegmentError::io(mark, action);
    let file = match plain::open(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let mut text = String::new();
    file.take(MARK_MAX).read_to_string(&mut text).map_err(failed("read"))?;
    Ok(Some(text.trim_end().to_owned()))
}
