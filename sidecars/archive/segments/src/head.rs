//! The head: what the newest signed day is, in one small signed file. A copy of it elsewhere shows that newest days, newest
//! segments and newest records of removal are still all there; the tree alone cannot show that.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::aside::{self, DAMAGED};
use crate::error::SegmentError;
use crate::keys::{Seal, hex};
use crate::name::SegmentName;
use crate::roots::{future_roots, newest_of_streams, read_json, read_root, root_file, root_files};

/// The longest file of a head.
const HEAD_OCTETS_MAX: u64 = 16 << 20;

/// The newest sealed segment of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadEntry {
    /// The stream, as `black/RING`.
    pub stream: String,
    /// Name of the segment.
    pub segment: SegmentName,
    /// Its chain hash, hexadecimal.
    pub chain: String,
    /// The first record after it.
    pub end_seq: u64,
}

/// A head as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Version of this file: 1.
    pub format: u32,
    /// The newest signed day.
    pub day: String,
    /// How many days are signed.
    pub days: u64,
    /// `root` of that day.
    pub root: String,
    /// The newest sealed segment of every stream, sorted by stream.
    pub streams: Vec<HeadEntry>,
    /// SHA-256 of the signed text, hexadecimal.
    pub head: String,
    /// Ed25519 public key, hexadecimal.
    pub key: String,
    /// Ed25519 signature of the 32 octets of `head`, hexadecimal.
    pub signature: String,
}

impl Head {
    /// The text whose SHA-256 is `head`.
    pub fn text(&self) -> String {
        let mut text =
            format!("fep head {}\nday {}\ndays {}\nroot {}\n", self.format, self.day, self.days, self.root);
        for entry in &self.streams {
            text.push_str(&format!(
                "newest {} {} {} {}\n",
                entry.stream, entry.segment, entry.chain, entry.end_seq
            ));
        }
        text
    }

    /// What is wrong with it by itself.
    pub(crate) fn problems(&self, key: Option<&[u8; 32]>) -> Vec<String> {
        let seal = Seal { hash: self.head.clone(), key: self.key.clone(), signature: self.signature.clone() };
        let mut problems = seal.problems(&self.text(), "head", key);
        if self.format != 1 {
            problems.push(format!("format {} is not known; 1 is", self.format));
        }
        problems
    }
}

/// Where the recorder writes the head of an archive.
pub fn head_file(archive: &Path) -> PathBuf {
    archive.join("roots/head.json")
}

/// Reads a head, in the archive or a copy elsewhere; judges nothing.
///
/// # Errors
/// The file cannot be read, or is no head.
pub fn read_head(path: &Path) -> Result<Head, SegmentError> {
    read_json(path, HEAD_OCTETS_MAX)
}

/// A head that was wrong or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadReplaced {
    /// What was wrong with it.
    pub problem: String,
    /// Where it is now; `None` when there was none.
    pub aside: Option<PathBuf>,
}

/// Writes the head anew where it does not speak of the newest root. One that does not hold, whatever it speaks of, is put
/// aside first, and what was wrong is returned. `is_first`: no root was signed before this round, so that no head is missing.
pub(crate) fn keep_up(
    archive: &Path,
    key: &SigningKey,
    is_first: bool,
) -> Result<Option<HeadReplaced>, SegmentError> {
    let files = root_files(archive)?;
    let Some(newest) = files.last() else { return Ok(None) };
    let root = read_root(newest)?;
    let path = head_file(archive);
    let mut replaced = None;
    match read_head(&path) {
        Ok(head) => {
            let problems = problems_of(&head, archive, &files, key)?;
            // One that an earlier key signed holds, and is signed anew all the same.
            let is_ours = head.key == hex(key.verifying_key().as_bytes());
            if problems.is_empty() && head.root == root.root && is_ours {
                return Ok(None);
            }
            if !problems.is_empty() {
                let aside = Some(aside::rename_with(&path, DAMAGED)?);
                replaced = Some(HeadReplaced { problem: problems.join("; "), aside });
            }
        }
        Err(error) if error.is_not_found() => {
            if !is_first {
                replaced = Some(HeadReplaced { problem: "it was missing".to_owned(), aside: None });
            }
        }
        // Whatever it is: a directory, a FIFO, some other text.
        Err(error) => {
            let aside = Some(aside::rename_with(&path, DAMAGED)?);
            replaced = Some(HeadReplaced { problem: error.to_string(), aside });
        }
    }
    let mut head = Head {
        format: 1,
        day: root.day,
        days: files.len() as u64,
        root: root.root,
        streams: newest_of_streams(archive)?,
        head: String::new(),
        key: String::new(),
        signature: String::new(),
    };
    let seal = Seal::of(&head.text(), key);
    (head.head, head.key, head.signature) = (seal.hash, seal.key, seal.signature);
    let text =
        serde_json::to_vec_pretty(&head).map_err(|error| SegmentError::format(&path, error.to_string()))?;
    fep_file::replace(&path, 0o640, &text)?;
    Ok(replaced)
}

/// What is wrong with the head in the archive: by itself, and beside the root that it names.
fn problems_of(
    head: &Head,
    archive: &Path,
    files: &[PathBuf],
    key: &SigningKey,
) -> Result<Vec<String>, SegmentError> {
    let mut problems = head.problems(None);
    let day = &head.day;
    let named = day.parse().ok().map(|day| root_file(archive, day));
    let place = named.and_then(|named| files.iter().position(|path| *path == named));
    let Some(place) = place else {
        // One of a day that had not come was put aside.
        let aside = future_roots(archive)?;
        if !aside.iter().any(|path| read_root(path).is_ok_and(|root| root.root == head.root)) {
            problems.push(format!("it names {day:?} as the newest day, which has no root"));
        }
        return Ok(problems);
    };
    let root = read_root(&files[place])?;
    if root.root != head.root {
        problems.push(format!("the root of {day} is another one than it says"));
    }
    if head.days != place as u64 + 1 {
        problems.push(format!("it says that {} days are signed up to {day}; {} are", head.days, place + 1));
    }
    if head.key != root.key && head.key != hex(key.verifying_key().as_bytes()) {
        problems.push("it is signed with another key than the days".to_owned());
    }
    Ok(problems)
}
