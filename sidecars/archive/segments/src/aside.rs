//! Files that cannot be read as segments are put aside under another name, never removed: nothing takes them for segments
//! any more, and somebody can repair them.
//!
//! `<name>.seg` becomes `<name>.seg.damaged` (or `.damaged-2`, …), and `<name>.seg.damaged.reason` says why.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::SegmentError;
use crate::name::{SegmentName, Stream};
use crate::plain;
use crate::seal::sync_directory;
use crate::tree::{SegmentEntry, SegmentState, directory_entries};

/// Last part of the name of a file that was put aside; a number may follow.
pub(crate) const DAMAGED: &str = "damaged";
/// Last part of the name of a file that was repaired: as it was before.
pub(crate) const ORIGINAL: &str = "original";
/// Last part of the name of a marker: nothing is known of the segment but its name.
pub(crate) const MISSING: &str = "missing";
const REASON: &str = "reason";
/// A reason is for whoever may read the segments; it holds nothing of them.
const REASON_MODE: u32 = 0o640;
/// The longest file of a reason that is read.
const REASON_MAX: u64 = 64 << 10;
/// Tries at a free name.
const NAMES_MAX: usize = 1000;

/// A file that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The segment whose name it had.
    pub name: SegmentName,
    /// Where it is now.
    pub path: PathBuf,
    /// Why, as far as that is known.
    pub reason: Option<String>,
}

impl SetAside {
    /// As it was before.
    pub(crate) fn as_segment(&self) -> SegmentEntry {
        let file = self.path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let is_open = file.split('.').nth(1) == Some("open");
        let state = if is_open { SegmentState::Open } else { SegmentState::Sealed };
        SegmentEntry { name: self.name, state, path: self.path.clone() }
    }
}

/// What stands beside a file that was put aside.
#[derive(Serialize, Deserialize)]
struct Reason {
    reason: String,
    set_aside_unix_ns: u64,
}

/// Puts a file aside for `reason`, durably. Returns where it is now.
///
/// The reason is written beside it if it can be: on a full disk only the name lasts.
///
/// # Errors
/// It cannot be renamed durably. It has its name still, or again as far as the disk obeys.
pub fn put_aside(path: &Path, reason: &str) -> Result<PathBuf, SegmentError> {
    let aside = rename_with(path, DAMAGED)?;
    let text = Reason { reason: reason.to_owned(), set_aside_unix_ns: fep_time::clock::unix_now_ns() };
    let beside = appended(&aside, REASON);
    if let Ok(text) = serde_json::to_string(&text) {
        // Best effort: see above. What has the name and is no file is neither written to nor waited for.
        let _ = fep_file::replace(&beside, REASON_MODE, text.as_bytes());
    }
    if let Err(error) = sync_directory(&aside) {
        // A disk that refuses everything says nothing of this file.
        let _ = fs::remove_file(&beside);
        let _ = plain::rename_new(&aside, path);
        return Err(error);
    }
    Ok(aside)
}

/// Names under which a disk is tried.
const PROBES: [&str; 3] = ["disk.probe", "disk.probe-2", "disk.probe-3"];

/// Whether the directory of a stream takes what is written to it, durably: a small file, made and removed. Where it does not, an
/// error of a segment there is one of the disk.
///
/// # Errors
/// What the disk says.
pub fn probe_disk(archive: &Path, stream: &Stream) -> Result<(), SegmentError> {
    let mut tried = PROBES.map(|name| stream.directory(archive).join(name)).into_iter();
    let path = loop {
        let Some(path) = tried.next() else {
            let problem = "neither this nor its siblings can be removed: remove them";
            return Err(SegmentError::format(&stream.directory(archive).join(PROBES[0]), problem));
        };
        // One of an earlier life, or anything else that has the name: it is never opened.
        let _ = fs::remove_file(&path);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.sync_all()));
        match written {
            // A directory, say.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => {
                let removed = fs::remove_file(&path);
                written.and(removed).map_err(SegmentError::io(&path, "write"))?;
                break path;
            }
        }
    };
    sync_directory(&path)
}

/// Takes the name of a segment that is missing out of use, durably: the segment may come back one day, so no other one may
/// have its name.
///
/// # Errors
/// The marker, `<name>.missing`, cannot be written.
pub fn reserve_name(archive: &Path, stream: &Stream, name: SegmentName) -> Result<(), SegmentError> {
    let marker = stream.directory(archive).join(format!("{name}.{MISSING}"));
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(&marker) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(SegmentError::io(&marker, "create")(error)),
    }
    sync_directory(&marker)
}

/// Renames `path` to itself with `.<ending>`, or `.<ending>-2` and so on, whichever is free.
pub(crate) fn rename_with(path: &Path, ending: &str) -> Result<PathBuf, SegmentError> {
    for number in 1..=NAMES_MAX {
        let target =
            if number == 1 { appended(path, ending) } else { appended(path, &format!("{ending}-{number}")) };
        match plain::rename_new(path, &target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SegmentError::io(path, "put aside")(error)),
        }
    }
    Err(SegmentError::format(
        path,
        format!("{NAMES_MAX} files of this name were put aside before; remove those that nobody needs"),
    ))
}

/// After a repair: the reason of a file that was put aside holds no longer.
pub(crate) fn forget_reason(aside: &Path) {
    // A reason that stays behind says nothing of any file.
    let _ = fs::remove_file(appended(aside, REASON));
}

/// All files of a stream that were put aside and not repaired, by name.
pub fn list_aside(archive: &Path, stream: &Stream) -> Result<Vec<SetAside>, SegmentError> {
    let directory = stream.directory(archive);
    let mut found = Vec::new();
    for entry in directory_entries(&directory)? {
        let Some((stem, rest)) = entry.name.split_once('.') else { continue };
        let Ok(name) = stem.parse::<SegmentName>() else { continue };
        let last = rest.rsplit('.').next().unwrap_or_default();
        if !is_numbered(last, DAMAGED) {
            continue;
        }
        let path = directory.join(&entry.name);
        let reason = plain::read(&appended(&path, REASON), REASON_MAX)
            .ok()
            .and_then(|text| serde_json::from_slice::<Reason>(&text).ok())
            .map(|reason| reason.reason);
        found.push(SetAside { name, path, reason });
    }
    found.sort_by(|a, b| (a.name, &a.path).cmp(&(b.name, &b.path)));
    Ok(found)
}

/// Whether `part` is `ending`, or `ending-<number>`.
pub(crate) fn is_numbered(part: &str, ending: &str) -> bool {
    part.strip_prefix(ending).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
            })
    })
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
