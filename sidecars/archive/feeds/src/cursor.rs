//! Where a client stands, kept over the death of either side: one small JSON file a client, replaced as a whole.
//!
//! For each source it holds the first record that is not confirmed, and a bound above everything that may have been
//! sent. The bound is written *before* anything beyond the old one is sent, so that after a `kill -9` no record comes a
//! second time without being marked as repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fep_bus::Position;
use fep_segments::Place;
use serde::{Deserialize, Serialize};

/// How far ahead of what is sent the bound is written, in records.
pub(crate) const STRIDE: u64 = 16_384;

/// Where a client stands in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stand {
    /// Numbering that the sequence numbers belong to.
    pub series: u64,
    /// First record not confirmed: where the client goes on.
    pub next_seq: u64,
    /// Where that record starts in the log.
    pub next_pos: u64,
    /// Payload octets of all records before it.
    pub next_payload: u64,
    /// No record at or after this one was ever sent.
    pub sent_before_seq: u64,
}

impl Stand {
    /// Going on at `place`, with nothing sent at or after `sent_before_seq`.
    pub(crate) fn new(place: Place, sent_before_seq: u64) -> Stand {
        let Place { series, position } = place;
        let (next_seq, next_pos, next_payload) = (position.seq, position.pos, position.payload);
        Stand { series, next_seq, next_pos, next_payload, sent_before_seq }
    }

    /// Where to go on.
    pub(crate) fn place(&self) -> Place {
        let position = Position { seq: self.next_seq, pos: self.next_pos, payload: self.next_payload };
        Place { series: self.series, position }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    format: u32,
    sources: BTreeMap<String, Stand>,
}

const FORMAT: u32 = 1;

/// The cursor file of one client.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    stored: BTreeMap<String, Stand>,
}

impl CursorFile {
    /// Opens the cursor of `client` of `feed`; there may be none yet. What cannot be understood is set aside under
    /// another name and counts as none, which the caller tells by the second value.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(dir: &Path, feed: &str, client: &str) -> io::Result<(CursorFile, Option<String>)> {
        let dir = dir.join(feed);
        make_directory(&dir)?;
        let path = dir.join(format!("{client}.json"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((CursorFile { path, stored: BTreeMap::new() }, None));
            }
            Err(error) => return Err(error),
        };
        let problem = match serde_json::from_str::<Form>(&text) {
            Ok(form) if form.format == FORMAT => {
                return Ok((CursorFile { path, stored: form.sources }, None));
            }
            Ok(form) => format!("format {}, this program knows {FORMAT}", form.format),
            Err(error) => error.to_string(),
        };
        let aside = path.with_extension("unreadable");
        std::fs::rename(&path, &aside)?;
        let problem = format!("{}: {problem}; set aside as {}", path.display(), aside.display());
        Ok((CursorFile { path, stored: BTreeMap::new() }, Some(problem)))
    }

    /// Where the client stands in a source, if it ever was there.
    pub(crate) fn stand(&self, source: &str) -> Option<Stand> {
        self.stored.get(source).copied()
    }

    /// Stores where the client stands in some sources; the others stay. Writes nothing when nothing has changed.
    ///
    /// # Errors
    /// The system's; the file is then as before.
    pub(crate) fn store<'a>(&mut self, stands: impl Iterator<Item = (&'a str, Stand)>) -> io::Result<()> {
        let mut sources = self.stored.clone();
        sources.extend(stands.map(|(source, stand)| (source.to_owned(), stand)));
        if sources == self.stored {
            return Ok(());
        }
        let form = Form { format: FORMAT, sources };
        // On disk before it has its name, and its name on disk before anything goes on: after a power cut it is the old cursor
        // or the new one, and no record that was beyond the bound was sent.
        let temporary = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec(&form)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.stored = form.sources;
        Ok(())
    }

    /// Names of the clients of `feed` that have a cursor, readable or not.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn names(dir: &Path, feed: &str) -> io::Result<BTreeSet<String>> {
        let entries = match std::fs::read_dir(dir.join(feed)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            let is_cursor = path.extension().is_some_and(|end| end == "json" || end == "unreadable");
            if let (true, Some(name)) = (is_cursor, path.file_stem()) {
                names.insert(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }
}

/// Makes a directory of cursors, and those above it, for the owner alone. One that exists stays as it is.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Stand =
        Stand { series: 3, next_seq: 7, next_pos: 640, next_payload: 600, sent_before_seq: 9 };

    #[test]
    fn a_stand_is_kept_by_feed_client_and_source() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (mut cursor, problem) = CursorFile::open(dir.path(), "f", "a")?;
        assert_eq!((cursor.stand("x.frames"), problem), (None, None));
        cursor.store([("x.frames", HERE)].into_iter())?;
        cursor.store([("y.frames", Stand { next_seq: 1, ..HERE })].into_iter())?;
        let (again, _) = CursorFile::open(dir.path(), "f", "a")?;
        assert_eq!(again.stand("x.frames"), Some(HERE), "another source's does not disturb it");
        assert_eq!(CursorFile::open(dir.path(), "f", "b")?.0.stand("x.frames"), None);
        assert_eq!(CursorFile::open(dir.path(), "g", "a")?.0.stand("x.frames"), None);
        Ok(())
    }

    // REQ: FEP-FEED-009
    #[test]
    fn a_cursor_that_cannot_be_understood_is_told_and_set_aside() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        for text in ["", "{\"format\":1,\"sources\":{\"x\":{\"next", "{\"format\":2,\"sources\":{}}"] {
            std::fs::create_dir_all(dir.path().join("f"))?;
            std::fs::write(dir.path().join("f/a.json"), text)?;
            let (cursor, problem) = CursorFile::open(dir.path(), "f", "a")?;
            assert_eq!(cursor.stand("x"), None);
            assert!(problem.is_some_and(|problem| problem.contains("a.json")));
            assert_eq!(std::fs::read_to_string(dir.path().join("f/a.unreadable"))?, text);
        }
        Ok(())
    }
}
