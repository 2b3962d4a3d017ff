//! Daily signed roots: one file a day names every segment that was sealed on it by its chain hash, names the root
//! before it, and is signed. Who keeps the public key can tell later that nothing was altered, added or taken away.
//!
//! `<archive>/roots/<day>.json`; what is signed is not the JSON but the text that `docs/segments.md` gives.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::SegmentError;
use crate::footer::Footer;
use crate::name::{SegmentName, Stream};
use crate::seal::{footer_of, sync_directory};
use crate::tree::{SegmentState, list, streams};

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

/// A daily root as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Version of this file: 1.
    pub format: u32,
    /// The day, UTC, as `2026-11-26`.
    pub day: String,
    /// Segments sealed on that day, sorted by stream and name.
    pub segments: Vec<RootEntry>,
    /// The `root` of the file before this one in order of days; empty for the first.
    pub previous: String,
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
        let mut text =
            format!("fep daily root {}\nday {}\nprevious {}\n", self.format, self.day, self.previous);
        for entry in &self.segments {
            text.push_str(&format!("segment {} {} {}\n", entry.stream, entry.segment, entry.chain));
        }
        text
    }
}

/// What verifying one root found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVerdict {
    /// The file.
    pub path: PathBuf,
    /// Its day, if it can be read.
    pub day: Option<String>,
    /// Segments it names.
    pub segments: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// The private key in `path` (32 octets, hexadecimal). Made at random when there is no such file, readable by the
/// owner only.
///
/// # Errors
/// The file can be read by others, or holds something else.
pub fn signing_key(path: &Path) -> Result<SigningKey, SegmentError> {
    let mut text = String::new();
    match OpenOptions::new().read(true).open(path) {
        Ok(mut file) => {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &file.metadata().map_err(SegmentError::io(path, "look at"))?.permissions(),
            );
            if mode & 0o077 != 0 {
                return Err(SegmentError::format(
                    path,
                    format!("a private key that others may read (mode {:o}); 600 is allowed", mode & 0o777),
                ));
            }
            file.read_to_string(&mut text).map_err(SegmentError::io(path, "read"))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            fs::File::open("/dev/urandom")
                .and_then(|mut random| random.read_exact(&mut seed))
                .map_err(SegmentError::io(Path::new("/dev/urandom"), "read"))?;
            text = hex(&seed);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(SegmentError::io(path, "create"))?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(SegmentError::io(path, "write"))?;
            sync_directory(path)?;
        }
        Err(error) => return Err(SegmentError::io(path, "open")(error)),
    }
    let seed = unhex(text.trim())
        .ok_or_else(|| SegmentError::format(path, "a private key has 64 hexadecimal digits"))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Where the root of a day lies.
pub fn root_file(archive: &Path, day: NaiveDate) -> PathBuf {
    archive.join("roots").join(format!("{day}.json"))
}

/// The day of a time, UTC.
pub fn day_of(unix_ns: u64) -> NaiveDate {
    DateTime::from_timestamp_nanos(i64::try_from(unix_ns).unwrap_or(i64::MAX)).date_naive()
}

/// Signs `day`, which must be over. A day that was signed before stays as it is; a day on which nothing was sealed is
/// signed too, so that an absent one shows.
pub fn sign_day(archive: &Path, day: NaiveDate, key: &SigningKey) -> Result<Root, SegmentError> {
    let path = root_file(archive, day);
    if path.exists() {
        return read_root(&path);
    }
    let mut segments = Vec::new();
    for (stream, footer) in sealed(archive)? {
        if day_of(footer.sealed_unix_ns) == day {
            segments.push(RootEntry {
                stream: stream.to_string(),
                segment: footer.name(),
                chain: hex(&footer.chain),
            });
        }
    }
    let previous = root_files(archive)?
        .into_iter()
        .rfind(|before| *before < path)
        .map(|before| read_root(&before).map(|root| root.root))
        .transpose()?
        .unwrap_or_default();
    let mut root = Root {
        format: 1,
        day: day.to_string(),
        segments,
        previous,
        root: String::new(),
        key: hex(key.verifying_key().as_bytes()),
        signature: String::new(),
    };
    let digest: [u8; 32] = Sha256::digest(root.text()).into();
    root.root = hex(&digest);
    root.signature = hex(&key.sign(&digest).to_bytes());
    let directory = archive.join("roots");
    fs::create_dir_all(&directory).map_err(SegmentError::io(&directory, "create"))?;
    let building = path.with_extension("building");
    let text = serde_json::to_string_pretty(&root)
        .map_err(|error| SegmentError::format(&building, error.to_string()))?;
    fs::File::create(&building)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(SegmentError::io(&building, "write"))?;
    fs::rename(&building, &path).map_err(SegmentError::io(&building, "rename"))?;
    sync_directory(&path)?;
    Ok(root)
}

/// Signs every day that is over and not signed yet, from the last signed day (or the first day on which a segment was
/// sealed) up to the day before `now_unix_ns`. Returns how many.
pub fn sign_past_days(archive: &Path, now_unix_ns: u64, key: &SigningKey) -> Result<usize, SegmentError> {
    let today = day_of(now_unix_ns);
    let last = match root_files(archive)?.last() {
        Some(path) => read_root(path)?.day.parse::<NaiveDate>().ok(),
        None => None,
    };
    let first = match last {
        Some(last) => last.checked_add_days(Days::new(1)),
        None => sealed(archive)?.iter().map(|(_, footer)| day_of(footer.sealed_unix_ns)).min(),
    };
    let mut signed = 0;
    let mut next = first;
    while let Some(day) = next.filter(|day| *day < today) {
        sign_day(archive, day, key)?;
        signed += 1;
        next = day.checked_add_days(Days::new(1));
    }
    Ok(signed)
}

/// Verifies all roots of an archive: text, signature, order, and that every segment they name is there (or was removed
/// leaving its footer) with the same chain hash, and that every segment sealed on a signed day is named.
pub fn verify_roots(archive: &Path, public_key: Option<&[u8; 32]>) -> Result<Vec<RootVerdict>, SegmentError> {
    let sealed = sealed(archive)?;
    let mut verdicts = Vec::new();
    let mut previous = String::new();
    for path in root_files(archive)? {
        let mut verdict = RootVerdict { path: path.clone(), day: None, segments: 0, problems: Vec::new() };
        match read_root(&path) {
            Ok(root) => {
                judge_root(&root, &path, public_key, &sealed, &previous, &mut verdict.problems);
                verdict.segments = root.segments.len();
                verdict.day = Some(root.day.clone());
                previous = root.root;
            }
            Err(SegmentError::Format { problem, .. }) => verdict.problems.push(problem),
            Err(error) => return Err(error),
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn judge_root(
    root: &Root,
    path: &Path,
    public_key: Option<&[u8; 32]>,
    sealed: &[(Stream, Footer)],
    previous: &str,
    problems: &mut Vec<String>,
) {
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(root.day.as_str()) {
        problems.push(format!("the file is named for another day than {}", root.day));
    }
    if root.previous != previous {
        problems.push("it does not continue the root before it".to_owned());
    }
    let digest: [u8; 32] = Sha256::digest(root.text()).into();
    if root.root != hex(&digest) {
        problems.push("its root is not the SHA-256 of its text".to_owned());
    }
    let key = match public_key {
        Some(known) if unhex::<32>(&root.key).as_ref() != Some(known) => {
            problems.push("it is signed with another key than the one given".to_owned());
            Some(*known)
        }
        Some(known) => Some(*known),
        None => unhex::<32>(&root.key),
    };
    let signature = unhex::<64>(&root.signature).map(|octets| Signature::from_bytes(&octets));
    let holds = key
        .and_then(|key| VerifyingKey::from_bytes(&key).ok())
        .zip(signature)
        .is_some_and(|(key, signature)| key.verify_strict(&digest, &signature).is_ok());
    if !holds {
        problems.push("its signature does not hold".to_owned());
    }
    for entry in &root.segments {
        let found = sealed
            .iter()
            .find(|(stream, footer)| stream.to_string() == entry.stream && footer.name() == entry.segment);
        match found {
            Some((_, footer)) if hex(&footer.chain) == entry.chain => {}
            Some(_) => {
                problems.push(format!("segment {} of {} has another chain hash", entry.segment, entry.stream))
            }
            None => problems.push(format!("segment {} of {} is gone", entry.segment, entry.stream)),
        }
    }
    for (stream, footer) in
        sealed.iter().filter(|(_, footer)| day_of(footer.sealed_unix_ns).to_string() == root.day)
    {
        let name = footer.name();
        if !root.segments.iter().any(|entry| entry.segment == name && entry.stream == stream.to_string()) {
            problems.push(format!("segment {name} of {stream} was sealed on that day and is not named"));
        }
    }
}

/// All sealed or removed segments, sorted by stream and name. Unreadable footers are left out: `verify` tells of them.
fn sealed(archive: &Path) -> Result<Vec<(Stream, Footer)>, SegmentError> {
    let mut found = Vec::new();
    for stream in streams(archive)? {
        for entry in list(archive, &stream)? {
            if entry.state == SegmentState::Open {
                continue;
            }
            match footer_of(&entry) {
                Ok(Some(footer)) => found.push((stream.clone(), footer)),
                Ok(None) | Err(SegmentError::Format { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Files of all roots, in order of days.
fn root_files(archive: &Path) -> Result<Vec<PathBuf>, SegmentError> {
    let directory = archive.join("roots");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SegmentError::io(&directory, "list")(error)),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    Ok(files)
}

/// Reads the file of a root; judges nothing.
pub fn read_root(path: &Path) -> Result<Root, SegmentError> {
    let text = fs::read_to_string(path).map_err(SegmentError::io(path, "read"))?;
    serde_json::from_str(&text).map_err(|error| SegmentError::format(path, error.to_string()))
}

/// Lower-case hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads exactly `N` octets of hexadecimal.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut octets = [0; N];
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(octets)
}
