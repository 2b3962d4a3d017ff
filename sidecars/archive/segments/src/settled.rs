//! Walks over an archive that others work on meanwhile: segments are sealed, moved, brought back and deleted between the moment a
//! directory was listed and the moment a file is opened.
//!
//! A segment never has no file while that happens: `.open` is renamed to `.seg`, `.gone` exists before `.seg` goes, and `.seg`
//! before `.gone` goes. So a name whose file is gone is looked for again under the other endings.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::SegmentError;
use crate::footer::Footer;
use crate::name::{SegmentName, Stream};
use crate::reader::SegmentReader;
use crate::seal::footer_of;
use crate::tree::{DirectoryEntry, SegmentEntry, SegmentState, directory_entries, list};

/// Readings of a directory until two in a row show the same.
const READINGS_MAX: usize = 8;
/// Times that a segment is looked for under all its names.
const LOOKS_MAX: usize = 8;

/// As [`list`], and whole although files are renamed meanwhile: a directory that is read while a file changes its name may show
/// neither the old nor the new one. What appears after the first reading may be missing.
pub(crate) fn list_settled(archive: &Path, stream: &Stream) -> Result<Vec<SegmentEntry>, SegmentError> {
    let mut known: BTreeMap<SegmentName, SegmentEntry> = BTreeMap::new();
    for reading in 0..READINGS_MAX {
        let mut new = 0;
        for entry in list(archive, stream)? {
            new += usize::from(known.insert(entry.name, entry).is_none());
        }
        if reading > 0 && new == 0 {
            break;
        }
    }
    Ok(known.into_values().collect())
}

/// As [`directory_entries`] of a directory in which files appear and none goes: whole up to the last one that is shown.
pub(crate) fn directory_entries_settled(directory: &Path) -> Result<Vec<DirectoryEntry>, SegmentError> {
    let mut known = directory_entries(directory)?;
    for _ in 1..READINGS_MAX {
        let again = directory_entries(directory)?;
        let same = again.len() == known.len();
        known = again;
        if same {
            break;
        }
    }
    Ok(known)
}

/// The file that a segment has now; `None` when it has none under any of its names.
pub(crate) fn locate(archive: &Path, stream: &Stream, name: SegmentName) -> Option<SegmentEntry> {
    let directory = stream.directory(archive);
    let files = [
        (SegmentState::Sealed, name.sealed_file()),
        (SegmentState::Removed, name.removed_file()),
        (SegmentState::Open, name.open_file()),
    ];
    for _ in 0..LOOKS_MAX {
        for (state, file) in &files {
            let path = directory.join(file);
            let is_link = *state == SegmentState::Sealed;
            let found = if is_link { std::fs::metadata(&path) } else { std::fs::symlink_metadata(&path) };
            if found.is_ok_and(|metadata| metadata.is_file()) {
                return Some(SegmentEntry { name, state: *state, path });
            }
        }
    }
    None
}

/// What `read` makes of a segment that was listed. Where its file went to another name meanwhile, it is read there. `None`: it is
/// under none of its names any more.
///
/// # Errors
/// As `read`; also when the file goes to another name each time.
pub(crate) fn read_where_it_is<T>(
    archive: &Path,
    stream: &Stream,
    listed: &SegmentEntry,
    mut read: impl FnMut(&SegmentEntry) -> Result<T, SegmentError>,
) -> Result<Option<(SegmentEntry, T)>, SegmentError> {
    let mut entry = listed.clone();
    let mut looks = 0;
    loop {
        match read(&entry) {
            Ok(found) => return Ok(Some((entry, found))),
            Err(error) if error.is_not_found() && looks < LOOKS_MAX => {
                looks += 1;
                match locate(archive, stream, entry.name) {
                    Some(now) => entry = now,
                    None => return Ok(None),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens a segment that was listed, under the name that it has now, for reading while it may grow
/// ([`SegmentReader::open_growing`]). `None`: it was removed since, on purpose, or held nothing.
///
/// # Errors
/// The disk's; [`SegmentError::Format`] of a file that is no segment.
pub fn open_listed(
    archive: &Path,
    stream: &Stream,
    listed: &SegmentEntry,
) -> Result<Option<SegmentReader>, SegmentError> {
    let opened = read_where_it_is(archive, stream, listed, |entry| match entry.state {
        SegmentState::Removed => Ok(None),
        SegmentState::Open | SegmentState::Sealed => SegmentReader::open_growing(&entry.path).map(Some),
    })?;
    Ok(opened.and_then(|(_, reader)| reader))
}

/// The footer of a segment that was listed, and the file that it has now; no footer while it is open. `None`: it is under none of
/// its names any more.
///
/// # Errors
/// The disk's; [`SegmentError::Format`] of a footer that cannot be read.
pub fn footer_listed(
    archive: &Path,
    stream: &Stream,
    listed: &SegmentEntry,
) -> Result<Option<(SegmentEntry, Option<Footer>)>, SegmentError> {
    read_where_it_is(archive, stream, listed, footer_of)
}
