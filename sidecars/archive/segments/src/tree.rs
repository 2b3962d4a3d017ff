//! What an archive directory holds.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fep_bus::Colour;

use crate::aside::{DAMAGED, MISSING, ORIGINAL};
use crate::error::SegmentError;
use crate::name::{SegmentName, Stream};

/// In which state a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// It grows, or its recorder died and it waits to be sealed.
    Open,
    /// It never changes again.
    Sealed,
    /// It was removed on purpose; its footer page is left.
    Removed,
}

/// One segment of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Its name.
    pub name: SegmentName,
    /// Its state.
    pub state: SegmentState,
    /// Its file.
    pub path: PathBuf,
}

/// All streams below `archive`, black ones first, by name. An archive that does not exist yet has none.
pub fn streams(archive: &Path) -> Result<Vec<Stream>, SegmentError> {
    let mut streams = Vec::new();
    for colour in [Colour::Black, Colour::Red] {
        let directory = archive.join(colour.directory());
        for entry in directory_entries(&directory)? {
            if let Ok(stream) = format!("{}/{}", colour.directory(), entry.name).parse::<Stream>()
                && directory.join(&entry.name).is_dir()
            {
                streams.push(stream);
            }
        }
    }
    streams.sort();
    Ok(streams)
}

/// All segments of a stream in order, each once: one that is being sealed or removed shows the later state. Files of
/// other names are not looked at, and what is no regular file is none of ours (a link to a sealed segment is).
pub fn list(archive: &Path, stream: &Stream) -> Result<Vec<SegmentEntry>, SegmentError> {
    let mut entries = Files::of(archive, stream)?.segments;
    entries.dedup_by_key(|entry| entry.name);
    Ok(entries)
}

/// Whether a file has this name of a segment, whatever has become of the segment and whatever the file is: such a name may
/// not be used for another one. Looks for files by name, so that it takes as long with a million segments as with one.
pub fn is_name_taken(archive: &Path, stream: &Stream, name: SegmentName) -> Result<bool, SegmentError> {
    let directory = stream.directory(archive);
    let put_aside = [name.sealed_file(), name.open_file()]
        .into_iter()
        .flat_map(|file| [DAMAGED, ORIGINAL].map(|ending| format!("{file}.{ending}")));
    let in_place = [name.sealed_file(), name.removed_file(), name.open_file(), format!("{name}.{MISSING}")];
    for file in in_place.into_iter().chain(put_aside) {
        let path = directory.join(file);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SegmentError::io(&path, "look at")(error)),
        }
    }
    Ok(false)
}

/// What lies in the directory of a stream under names of segments.
pub(crate) struct Files {
    /// In order of names; of one name the sealed file comes first, then what is left of a removed one, then the open one.
    pub(crate) segments: Vec<SegmentEntry>,
    /// Named like a segment and no regular file, with what is wrong.
    pub(crate) foreign: Vec<(SegmentName, PathBuf, &'static str)>,
}

impl Files {
    pub(crate) fn of(archive: &Path, stream: &Stream) -> Result<Files, SegmentError> {
        let directory = stream.directory(archive);
        let mut files = Files { segments: Vec::new(), foreign: Vec::new() };
        for entry in directory_entries(&directory)? {
            let Some((stem, extension)) = entry.name.split_once('.') else { continue };
            let state = match extension {
                "open" => SegmentState::Open,
                "seg" => SegmentState::Sealed,
                "gone" => SegmentState::Removed,
                _ => continue,
            };
            let Ok(name) = stem.parse::<SegmentName>() else { continue };
            let path = directory.join(&entry.name);
            // A link to an open segment would lead its sealing to another file.
            let is_link = entry.file_type.is_symlink() && state == SegmentState::Sealed;
            if entry.file_type.is_file()
                || is_link && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file())
            {
                files.segments.push(SegmentEntry { name, state, path });
            } else {
                files.foreign.push((name, path, kind_of(entry.file_type)));
            }
        }
        let rank = |state| match state {
            SegmentState::Sealed => 0,
            SegmentState::Removed => 1,
            SegmentState::Open => 2,
        };
        files.segments.sort_by_key(|entry| (entry.name, rank(entry.state)));
        Ok(files)
    }
}

fn kind_of(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "it is a directory"
    } else if file_type.is_symlink() {
        "it is a symbolic link"
    } else if file_type.is_fifo() {
        "it is a FIFO"
    } else {
        "it is no regular file"
    }
}

/// An entry of a directory.
pub(crate) struct DirectoryEntry {
    pub(crate) name: String,
    pub(crate) file_type: FileType,
}

/// All entries with names that are text, by name. A directory that does not exist has none.
pub(crate) fn directory_entries(directory: &Path) -> Result<Vec<DirectoryEntry>, SegmentError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SegmentError::io(directory, "list")(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SegmentError::io(directory, "list"))?;
        // One that was renamed in this moment shows up under its new name, or not at all.
        let Ok(file_type) = entry.file_type() else { continue };
        if let Ok(name) = entry.file_name().into_string() {
            found.push(DirectoryEntry { name, file_type });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
