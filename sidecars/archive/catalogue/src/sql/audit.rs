//! The audit trail: who did what, each entry bound to the one before it.

use sha2::{Digest, Sha256};
use sqlx::{Any, Row, Transaction};

use super::Catalogue;
use super::rows::{self, hash, int, number, text};
use crate::model::AuditEntry;
use crate::{Error, hex};

impl Catalogue {
    /// Notes that somebody did something.
    ///
    /// # Errors
    /// The database.
    pub async fn note(
        &self,
        now_tai_ns: i64,
        person: &str,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        append(&mut transaction, now_tai_ns, person, action, subject, detail).await?;
        transaction.commit().await.map_err(Error::sql("committing the audit trail"))
    }

    /// Entries after number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let found = sqlx::query("SELECT * FROM audit WHERE number > $1 ORDER BY number LIMIT $2")
            .bind(after as i64)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(Error::sql("reading the audit trail"))?;
        let entry = |row| {
            Ok(AuditEntry {
                number: number(row, "number")?,
                at_tai_ns: int(row, "at")?,
                person: text(row, "person")?,
                action: text(row, "action")?,
                subject: text(row, "subject")?,
                detail: text(row, "detail")?,
                hash: hash(row, "hash")?,
            })
        };
        found.iter().map(entry).collect()
    }

    /// Walks the whole trail. `None` when every entry is bound to the one before it; else the number of the first that
    /// is not, or that is missing.
    ///
    /// # Errors
    /// The database.
    pub async fn audit_broken_at(&self) -> Result<Option<u64>, Error> {
        const PAGE: u32 = 1000;
        let (mut number, mut before) = (0, [0; 32]);
        loop {
            let entries = self.audit(number, PAGE).await?;
            if entries.is_empty() {
                return Ok(None);
            }
            for entry in entries {
                number += 1;
                if entry.number != number || entry.hash != hash_of(&before, &entry) {
                    return Ok(Some(number));
                }
                before = entry.hash;
            }
        }
    }
}

pub(super) async fn append(
    transaction: &mut Transaction<'static, Any>,
    now_tai_ns: i64,
    person: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), Error> {
    let last = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
        .fetch_optional(&mut **transaction)
        .await
        .map_err(Error::sql("reading the end of the audit trail"))?;
    let (number, before) = match &last {
        None => (0, [0; 32]),
        Some(row) => {
            let text: String = row.try_get("hash").map_err(Error::sql("reading a text"))?;
            (number::<u64>(row, "number")?, rows::hash_of(&text, "audit.hash")?)
        }
    };
    let mut entry = AuditEntry {
        number: number + 1,
        at_tai_ns: now_tai_ns,
        person: person.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
        hash: [0; 32],
    };
    entry.hash = hash_of(&before, &entry);
    sqlx::query(
        "INSERT INTO audit (number, at, person, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry.number as i64)
    .bind(entry.at_tai_ns)
    .bind(&entry.person)
    .bind(&entry.action)
    .bind(&entry.subject)
    .bind(&entry.detail)
    .bind(hex::text(&entry.hash))
    .execute(&mut **transaction)
    .await
    .map_err(Error::sql("writing the audit trail"))?;
    Ok(())
}

/// SHA-256 over the hash before, number, time, and each text with its length before it (big-endian).
fn hash_of(before: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(entry.number.to_be_bytes());
    hasher.update(entry.at_tai_ns.to_be_bytes());
    for text in [&entry.person, &entry.action, &entry.subject, &entry.detail] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}
