//! Signed heads of the audit trail, which the archive's service writes into the tree day by day: a root names the newest by its
//! SHA-256, so that none can be taken away or exchanged later without the key of the roots. What is in them is the service's.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use crate::error::SegmentError;
use crate::keys::hex;
use crate::roots::{AuditAnchor, day_of_file};
use crate::tree::directory_entries;

/// The longest file of a signed head.
const HEAD_OCTETS_MAX: u64 = 1 << 20;

fn directory(archive: &Path) -> PathBuf {
    archive.join("roots/audit")
}

fn file(archive: &Path, day: NaiveDate) -> PathBuf {
    directory(archive).join(format!("{day}.json"))
}

/// The newest signed head that can be read; `None` when there is none. One that cannot be read keeps no day from being signed.
pub(crate) fn newest(archive: &Path) -> Result<Option<AuditAnchor>, SegmentError> {
    let directory = directory(archive);
    let entries = directory_entries(&directory)?.into_iter();
    let mut days: Vec<NaiveDate> =
        entries.filter_map(|entry| day_of_file(&directory.join(entry.name))).collect();
    days.sort();
    let newest = days.into_iter().rev().find_map(|day| {
        let sha256 = hash(&file(archive, day)).ok()?;
        Some(AuditAnchor { day: day.to_string(), sha256 })
    });
    Ok(newest)
}

fn hash(path: &Path) -> Result<String, fep_file::FileError> {
    Ok(hex(&Sha256::digest(fep_file::read(path, HEAD_OCTETS_MAX)?)))
}

/// What is wrong with what a root says of the audit trail, given the root before it.
pub(crate) fn problem(
    archive: &Path,
    anchor: Option<&AuditAnchor>,
    previous: Option<&AuditAnchor>,
) -> Option<String> {
    let Some(anchor) = anchor else {
        return previous.map(|previous| {
            format!(
                "it names no signed head of the audit trail, and the root before it names that of {}",
                previous.day
            )
        });
    };
    let day: NaiveDate = match anchor.day.parse() {
        Ok(day) => day,
        Err(_) => return Some(format!("\"{}\" is no day of a signed head of the audit trail", anchor.day)),
    };
    if previous
        .and_then(|previous| previous.day.parse().ok())
        .is_some_and(|previous: NaiveDate| day < previous)
    {
        return Some("it names an older signed head of the audit trail than the root before it".to_owned());
    }
    let what = format!("the signed head of the audit trail of {day}");
    match hash(&file(archive, day)) {
        Ok(sha256) if sha256 == anchor.sha256 => None,
        Ok(_) => Some(format!("{what} is another one than when it was signed")),
        Err(error) if error.is_not_found() => Some(format!("{what} is gone")),
        Err(error) => Some(format!("{what}: {error}")),
    }
}
