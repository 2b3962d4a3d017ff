//! Key files: private keys that sign days and removals, public keys that verifiers are given.
//!
//! A private key belongs apart from what it signs: who has the disk with the segments must not have it.

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::error::SegmentError;
use crate::plain;

/// The longest file that may be one of a key.
const KEY_FILE_MAX: u64 = 4096;

/// The private key in `path` (32 octets, hexadecimal). Made at random when there is no such file, readable by the
/// owner only, in a directory that is made for the owner only. The public key lies beside it as `<path>.pub` wherever that
/// can be written.
///
/// # Errors
/// The file can be read by others, or holds something else.
pub fn signing_key(path: &Path) -> Result<SigningKey, SegmentError> {
    let key = match find_key(path)? {
        Some(key) => key,
        None => made(path)?,
    };
    let public = public_file(path);
    if !public.exists() {
        // The directory of a key may be one that this process only reads: then the operator copies the key from a root.
        let _ = fep_file::create_new(&public, 0o644, hex(key.verifying_key().as_bytes()).as_bytes());
    }
    Ok(key)
}

/// As [`signing_key`], and changes nothing; `None` when there is no such file.
///
/// # Errors
/// As [`signing_key`].
pub fn find_key(path: &Path) -> Result<Option<SigningKey>, SegmentError> {
    let file = match plain::open_file(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode = file.metadata().map_err(SegmentError::io(path, "look at"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SegmentError::format(
            path,
            format!("a private key that others may read (mode {:o}); 600 is allowed", mode & 0o777),
        ));
    }
    let text = plain::contents(file, path, KEY_FILE_MAX)?;
    let seed =
        digits(&text).ok_or_else(|| SegmentError::format(path, "a private key has 64 hexadecimal digits"))?;
    Ok(Some(SigningKey::from_bytes(&seed)))
}

fn made(path: &Path) -> Result<SigningKey, SegmentError> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(SegmentError::io(directory, "create"))?;
    }
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(SegmentError::io(Path::new("/dev/urandom"), "read"))?;
    fep_file::create_new(path, 0o600, hex(&seed).as_bytes())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Where the public key of a private one lies: `<path>.pub`.
pub fn public_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// The public key in `path`: 64 hexadecimal digits.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn public_key(path: &Path) -> Result<[u8; 32], SegmentError> {
    let text = plain::read(path, KEY_FILE_MAX)?;
    digits(&text).ok_or_else(|| SegmentError::format(path, "a public key has 64 hexadecimal digits"))
}

/// The 32 octets that the text of a key file stands for.
fn digits(text: &[u8]) -> Option<[u8; 32]> {
    std::str::from_utf8(text).ok().and_then(|text| unhex(text.trim()))
}

/// Whether the file of a key lies in the tree of the archive, where whoever has the disk has the key, too.
pub fn is_within(archive: &Path, key: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = key.parent().unwrap_or(Path::new("."));
    let archive = whole(archive);
    whole(directory).starts_with(&archive) || whole(key).starts_with(archive)
}

/// A text with its hash and who signed it, hexadecimal throughout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seal {
    /// SHA-256 of the text.
    pub(crate) hash: String,
    /// Ed25519 public key.
    pub(crate) key: String,
    /// Ed25519 signature of the 32 octets of the hash.
    pub(crate) signature: String,
}

impl Seal {
    pub(crate) fn of(text: &str, key: &SigningKey) -> Seal {
        let digest: [u8; 32] = Sha256::digest(text).into();
        Seal {
            hash: hex(&digest),
            key: hex(key.verifying_key().as_bytes()),
            signature: hex(&key.sign(&digest).to_bytes()),
        }
    }

    /// What is wrong with it. `what` names the hash; `known` is the key that must have signed, if the verifier has one.
    pub(crate) fn problems(&self, text: &str, what: &str, known: Option<&[u8; 32]>) -> Vec<String> {
        let mut problems = Vec::new();
        let digest: [u8; 32] = Sha256::digest(text).into();
        if self.hash != hex(&digest) {
            problems.push(format!("its {what} is not the SHA-256 of its text"));
        }
        let named = unhex::<32>(&self.key);
        if known.is_some() && named.as_ref() != known {
            problems.push("it is signed with another key than the one given".to_owned());
        }
        let signature = unhex::<64>(&self.signature).map(|octets| Signature::from_bytes(&octets));
        let holds = known
            .copied()
            .or(named)
            .and_then(|key| VerifyingKey::from_bytes(&key).ok())
            .zip(signature)
            .is_some_and(|(key, signature)| key.verify_strict(&digest, &signature).is_ok());
        if !holds {
            problems.push("its signature does not hold".to_owned());
        }
        problems
    }
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
