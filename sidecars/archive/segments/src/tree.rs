//! What an archive directory holds.

use std::fs;
use std::path::{Path, PathBuf};

use fep_bus::Colour;

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
        for name in names_in(&directory)? {
            if let Ok(stream) = format!("{}/{name}", colour.directory()).parse::<Stream>()
                && directory.join(&name).is_dir()
            {
                streams.push(stream);
            }
        }
    }
    streams.sort();
    Ok(streams)
}

/// All segments of a stream in order, each once: one that is being sealed or removed shows the later state. Files of
/// other names are not looked at.
pub fn list(archive: &Path, stream: &Stream) -> Result<Vec<SegmentEntry>, SegmentError> {
    let directory = stream.directory(archive);
    let mut entries: Vec<SegmentEntry> = names_in(&directory)?
        .into_iter()
        .filter_map(|file| {
            let (stem, extension) = file.split_once('.')?;
            let state = match extension {
                "open" => SegmentState::Open,
                "seg" => SegmentState::Sealed,
                "gone" => SegmentState::Removed,
                _ => return None,
            };
            Some(SegmentEntry { name: stem.parse().ok()?, state, path: directory.join(&file) })
        })
        .collect();
    let rank = |state| match state {
        SegmentState::Sealed => 0,
        SegmentState::Removed => 1,
        SegmentState::Open => 2,
    };
    entries.sort_by_key(|entry| (entry.name, rank(entry.state)));
    entries.dedup_by_key(|entry| entry.name);
    Ok(entries)
}

fn names_in(directory: &Path) -> Result<Vec<String>, SegmentError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SegmentError::io(directory, "list")(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SegmentError::io(directory, "list"))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
