//! Where a follower stands in every events ring: one small file, replaced as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fep_file::FileError;
use fep_segments::Place;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;
/// Longest cursor file that is read, in octets: some thousand rings.
const LENGTH_MAX: u64 = 4 << 20;

/// Where a follower stands in one ring, and what it has had of it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stand {
    pub(crate) place: Place,
    pub(crate) events: u64,
    pub(crate) lost: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    format: u32,
    streams: BTreeMap<String, Stand>,
}

/// Why cursors cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It says nothing that can be believed.
    #[error(
        "{}: {problem}: it is no cursor file of a follower of events; remove it to begin anew, at the oldest event",
        .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Reads the file; `None` when there is none yet.
pub(crate) fn read(path: &Path) -> Result<Option<BTreeMap<String, Stand>>, CursorError> {
    let Some(octets) = fep_file::read_if_exists(path, LENGTH_MAX)? else { return Ok(None) };
    let bad = |problem: String| CursorError::Format { path: path.to_owned(), problem };
    let form: Form = serde_json::from_slice(&octets).map_err(|error| bad(error.to_string()))?;
    if form.format != FORMAT {
        return Err(bad(format!("format {}, this program knows {FORMAT}", form.format)));
    }
    Ok(Some(form.streams))
}

/// Replaces the file, durably: after a power cut it is the old one or the new one.
pub(crate) fn write(path: &Path, streams: &BTreeMap<String, Stand>) -> Result<(), CursorError> {
    let form = Form { format: FORMAT, streams: streams.clone() };
    let text = serde_json::to_vec(&form)
        .map_err(|error| CursorError::Format { path: path.to_owned(), problem: error.to_string() })?;
    Ok(fep_file::replace(path, 0o600, &text)?)
}
