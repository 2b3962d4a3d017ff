//! Where a client stands, kept over the death of either side: one small JSON file a client, replaced as a whole.
//!
//! For each source it holds the first record that is not confirmed, and a bound above everything that may have been
//! sent. The bound is written *before* anything beyond the old one is sent, so that after a `kill -9` no record comes a
//! second time without being marked as repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fep_bus::Position;
use fep_file::FileError;
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
    /// Whose the name is: the identifier of a person or service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    sources: BTreeMap<String, Stand>,
}

/// Format 1 had no owner.
const FORMAT: u32 = 2;
const FORMATS: std::ops::RangeInclusive<u32> = 1..=FORMAT;

/// Longest cursor file that is read: many times what as many sources as a feed may have need.
const FILE_MAX: u64 = 1 << 20;

/// The cursor file of one client.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    owner: Option<String>,
    stored: BTreeMap<String, Stand>,
}

impl CursorFile {
    /// Opens the cursor of `client` of `feed`; there may be none yet. What cannot be understood is set aside under
    /// another name and counts as none, which the caller tells by the second value.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(
        dir: &Path,
        feed: &str,
        client: &str,
    ) -> Result<(CursorFile, Option<String>), FileError> {
        let dir = dir.join(feed);
        make_directory(&dir)?;
        let path = dir.join(format!("{client}.json"));
        let problem = match fep_file::read_if_exists(&path, FILE_MAX) {
            Ok(None) => return Ok((CursorFile { path, owner: None, stored: BTreeMap::new() }, None)),
            Ok(Some(text)) => match understand(&text) {
                Ok(Form { owner, sources, .. }) => {
                    return Ok((CursorFile { path, owner, stored: sources }, None));
                }
                Err(problem) => problem,
            },
            Err(error @ FileError::TooLong { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        let aside = path.with_extension("unreadable");
        std::fs::rename(&path, &aside).map_err(io_error("set aside", &path))?;
        let problem = format!("{}: {problem}; set aside as {}", path.display(), aside.display());
        Ok((CursorFile { path, owner: None, stored: BTreeMap::new() }, Some(problem)))
    }

    /// Whose the name of a client is, as its cursor says; `None` for nobody's, and where there is no cursor that can be
    /// understood.
    ///
    /// # Errors
    /// The system's: then nobody can say.
    pub(crate) fn owner(dir: &Path, feed: &str, client: &str) -> Result<Option<String>, FileError> {
        let path = dir.join(feed).join(format!("{client}.json"));
        match fep_file::read_if_exists(&path, FILE_MAX) {
            Ok(text) => Ok(text.and_then(|text| understand(&text).ok()).and_then(|form| form.owner)),
            Err(FileError::TooLong { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says whose the name is, on the disk, before anything is sent; whether anything was written.
    ///
    /// # Errors
    /// The system's; the file is then as before.
    pub(crate) fn own(&mut self, person: &str) -> Result<bool, FileError> {
        if self.owner.as_deref() == Some(person) {
            return Ok(false);
        }
        self.write(Some(person.to_owned()), self.stored.clone()).map(|()| true)
    }

    /// Where the client stands in a source, if it ever was there.
    pub(crate) fn stand(&self, source: &str) -> Option<Stand> {
        self.stored.get(source).copied()
    }

    /// Stores where the client stands in some sources; the others stay. Writes nothing when nothing has changed; whether it
    /// has.
    ///
    /// # Errors
    /// The system's; the file is then as before.
    pub(crate) fn store<'a>(
        &mut self,
        stands: impl Iterator<Item = (&'a str, Stand)>,
    ) -> Result<bool, FileError> {
        let mut sources = self.stored.clone();
        sources.extend(stands.map(|(source, stand)| (source.to_owned(), stand)));
        if sources == self.stored {
            return Ok(false);
        }
        self.write(self.owner.clone(), sources).map(|()| true)
    }

    fn write(&mut self, owner: Option<String>, sources: BTreeMap<String, Stand>) -> Result<(), FileError> {
        let form = Form { format: FORMAT, owner, sources };
        // On disk before anything goes on: after a power cut it is the old cursor or the new one, and no record that was
        // beyond the bound was sent.
        let text = serde_json::to_vec(&form).map_err(|error| io_error("write", &self.path)(error.into()))?;
        fep_file::replace(&self.path, 0o600, &text)?;
        self.owner = form.owner;
        self.stored = form.sources;
        Ok(())
    }

    /// Names of the clients of `feed` that have a cursor, readable or not.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn names(dir: &Path, feed: &str) -> Result<BTreeSet<String>, FileError> {
        let dir = dir.join(feed);
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(io_error("list", &dir))?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(io_error("list", &dir))?.path();
            let is_cursor = path.extension().is_some_and(|end| end == "json" || end == "unreadable");
            if let (true, Some(name)) = (is_cursor, path.file_stem()) {
                names.insert(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }
}

fn understand(text: &[u8]) -> Result<Form, String> {
    let form: Form = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if !FORMATS.contains(&form.format) {
        return Err(format!("format {}, this program knows {FORMAT}", form.format));
    }
    Ok(form)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { action, path, source }
}

/// Makes a directory of cursors, and those above it, for the owner alone. One that exists stays as it is.
fn make_directory(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    match fep_file::create_directory(dir, 0o700) {
        // Another client of the feed was faster.
        Err(FileError::Exists { .. }) if dir.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes the directory of the cursors if need be and takes it for this process alone: each needs one
/// (`feeding.cursors`) of its own.
///
/// # Errors
/// The system's; [`FileError::Held`] when another process has it.
pub(crate) fn hold(dir: &Path) -> Result<fep_file::Held, FileError> {
    make_directory(dir)?;
    // No feed has a name that begins with a dot.
    fep_file::hold(&dir.join(".lock"), "fep-feeds")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Stand =
        Stand { series: 3, next_seq: 7, next_pos: 640, next_payload: 600, sent_before_seq: 9 };

    #[test]
    fn a_stand_is_kept_by_feed_client_and_source() -> Result<(), Box<dyn std::error::Error>> {
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
    fn a_cursor_that_cannot_be_understood_is_reported_and_set_aside() -> Result<(), Box<dyn std::error::Error>>
    {
        let dir = tempfile::tempdir()?;
        for text in ["", "{\"format\":1,\"sources\":{\"x\":{\"next", "{\"format\":3,\"sources\":{}}"] {
            std::fs::create_dir_all(dir.path().join("f"))?;
            std::fs::write(dir.path().join("f/a.json"), text)?;
            let (cursor, problem) = CursorFile::open(dir.path(), "f", "a")?;
            assert_eq!(cursor.stand("x"), None);
            assert!(problem.is_some_and(|problem| problem.contains("a.json")));
            assert_eq!(std::fs::read_to_string(dir.path().join("f/a.unreadable"))?, text);
        }
        Ok(())
    }

    // REQ: FEP-FEED-163
    #[test]
    fn whose_a_cursor_is_stays_beside_where_it_stands_and_one_of_the_release_before_is_nobodys()
    -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let (mut cursor, _) = CursorFile::open(dir.path(), "f", "a")?;
        cursor.own("service:archive")?;
        cursor.store([("x.frames", HERE)].into_iter())?;
        assert_eq!(CursorFile::owner(dir.path(), "f", "a")?.as_deref(), Some("service:archive"));
        let (again, _) = CursorFile::open(dir.path(), "f", "a")?;
        assert_eq!(again.stand("x.frames"), Some(HERE));
        let text = "{\"format\":1,\"sources\":{\"x.frames\":{\"series\":3,\"next_seq\":7,\"next_pos\":640,\
                    \"next_payload\":600,\"sent_before_seq\":9}}}";
        std::fs::write(dir.path().join("f/b.json"), text)?;
        assert_eq!(CursorFile::owner(dir.path(), "f", "b")?, None);
        assert_eq!(CursorFile::open(dir.path(), "f", "b")?.0.stand("x.frames"), Some(HERE));
        assert_eq!(CursorFile::owner(dir.path(), "f", "none")?, None);
        Ok(())
    }

    // REQ: FEP-FEED-152
    #[test]
    fn a_cursor_is_replaced_whole_for_its_owner_alone_and_never_through_a_link()
    -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir()?;
        let (mut cursor, _) = CursorFile::open(dir.path(), "f", "a")?;
        cursor.store([("x.frames", HERE)].into_iter())?;
        let file = dir.path().join("f/a.json");
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path().join("f"))?.count(), 1, "nothing is left beside it");
        let other = dir.path().join("other");
        std::fs::write(&other, "not ours")?;
        std::fs::remove_file(&file)?;
        std::os::unix::fs::symlink(&other, &file)?;
        assert!(CursorFile::open(dir.path(), "f", "a").is_err(), "read through a link");
        assert!(cursor.store([("y.frames", HERE)].into_iter()).is_err(), "written through a link");
        assert_eq!(std::fs::read_to_string(&other)?, "not ours");
        std::fs::remove_file(&file)?;
        std::fs::write(&file, vec![b' '; FILE_MAX as usize + 1])?;
        let (_, problem) = CursorFile::open(dir.path(), "f", "a")?;
        assert!(problem.is_some_and(|problem| problem.contains("a.json")), "too long to be one");
        Ok(())
    }

    // REQ: FEP-FEED-153
    #[test]
    fn two_processes_never_keep_their_cursors_in_one_directory() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let below = dir.path().join("made/as/needed");
        let first = hold(&below)?;
        let refused = hold(&below).map(drop).expect_err("it is held").to_string();
        assert!(refused.contains("as/needed/.lock is held by fep-feeds, process "), "{refused}");
        drop(first);
        hold(&below)?;
        Ok(())
    }
}
