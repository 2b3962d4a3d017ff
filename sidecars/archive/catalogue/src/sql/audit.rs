//! The audit trail ([`fep_audit`]), and the one that an earlier release wrote, which is read only.

use fep_audit::{Entry, Event, Filter, PAGE_MAX, SignedHead, Signer, Verifier};
use fep_database::Writing;
use fep_time::Tai;
use sha2::{Digest, Sha256};

use super::Catalogue;
use super::rows::{hash, int, number, text};
use crate::Error;
use crate::model::AuditEntry;

/// Who does what no person does.
pub(super) const SERVICE: &str = "service:archive";
/// The entry that binds the end of the earlier trail to this one.
const EARLIER_CLOSED: &str = "earlier trail closed";

impl Catalogue {
    /// Notes that somebody did something, in a transaction of its own.
    ///
    /// # Errors
    /// The database; texts that the trail does not take ([`fep_audit::Event`] says how long they may be).
    pub async fn note(
        &self,
        now_tai_ns: i64,
        person: &str,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), Error> {
        fep_audit::note(&self.database, event(now_tai_ns, person, action, subject, detail)).await?;
        Ok(())
    }

    /// Entries after number `after`, oldest first, at most `limit` (and at most [`PAGE_MAX`]).
    ///
    /// # Errors
    /// The database.
    pub async fn audit(&self, after: u64, limit: u32) -> Result<Vec<Entry>, Error> {
        let mut reading = self.database.read("reading the audit trail").await?;
        Ok(fep_audit::page(&mut reading, &Filter { after, limit, ..Filter::default() }).await?)
    }

    /// Entries of the trail that an earlier release wrote, after number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn earlier_audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let found = sqlx::query("SELECT * FROM audit WHERE number > $1 ORDER BY number LIMIT $2")
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("reading the earlier audit trail"))?;
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

    /// Walks both trails. `None` when every entry is bound to the one before it and the earlier trail ends where it was
    /// closed; else the first thing that is wrong, in words.
    ///
    /// # Errors
    /// The database.
    pub async fn audit_problem(&self) -> Result<Option<String>, Error> {
        let mut watch = AuditWatch::default();
        while watch.step(self).await? {}
        Ok(watch.problem)
    }

    /// Signs the end of the trail as it is now.
    ///
    /// # Errors
    /// The database; the signer.
    pub async fn sign_audit_head(
        &self,
        now_tai_ns: i64,
        signer: &(dyn Signer + Sync),
    ) -> Result<SignedHead, Error> {
        let head = {
            let mut reading = self.database.read("reading the end of the audit trail").await?;
            fep_audit::head(&mut reading).await?
        };
        Ok(head.sign(Tai(now_tai_ns), signer)?)
    }

    /// Where the earlier trail ends, by its own table: number and hash of the last entry, zeros when there is none.
    async fn earlier_end(&self) -> Result<Option<(u64, [u8; 32])>, Error> {
        let problem = Error::sql("reading the end of the earlier audit trail");
        let row = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
            .fetch_optional(self.pool())
            .await
            .map_err(problem)?;
        row.map(|row| Ok((number(&row, "number")?, hash(&row, "hash")?))).transpose()
    }

    /// Binds the end of the earlier trail to this one, once. The first entry of the trail does it.
    pub(super) async fn close_earlier_trail(&self, now: Tai) -> Result<(), Error> {
        let Some(end) = self.earlier_end().await? else { return Ok(()) };
        let mut writing = self.begin("closing the earlier audit trail").await?;
        if fep_audit::head(&mut writing).await?.number > 0 {
            return Ok(());
        }
        let detail = closing(end);
        fep_audit::append(&mut writing, event(now.0, SERVICE, EARLIER_CLOSED, "audit", &detail)).await?;
        Ok(writing.commit().await?)
    }

    /// What is wrong with the earlier trail, if anything.
    async fn earlier_problem(&self) -> Result<Option<String>, Error> {
        let (mut number, mut before) = (0, [0; 32]);
        loop {
            let entries = self.earlier_audit(number, PAGE_MAX).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                number += 1;
                if entry.number != number || entry.hash != earlier_hash(&before, &entry) {
                    return Ok(Some(format!(
                        "entry {number} of the earlier trail was altered or is missing"
                    )));
                }
                before = entry.hash;
            }
        }
        let closed = self.audit(0, 1).await?.into_iter().find(|entry| entry.action == EARLIER_CLOSED);
        let holds = match closed {
            Some(entry) => entry.detail == closing((number, before)),
            None => number == 0,
        };
        let problem = "the earlier trail does not end where it was closed";
        Ok((!holds).then(|| problem.to_owned()))
    }
}

fn closing((number, hash): (u64, [u8; 32])) -> String {
    format!("{number} entries, the last has SHA-256 {}", crate::hex::text(&hash))
}

/// Follows the trail and verifies what is added, page by page; every entry once, so that it costs little. A new one begins
/// again from the first entry.
#[derive(Debug, Default)]
pub struct AuditWatch {
    verifier: Option<Verifier>,
    last: Option<Entry>,
    problem: Option<String>,
}

impl AuditWatch {
    /// Verifies the next page; whether there may be more. What was verified before is not read again, but for the last entry.
    ///
    /// # Errors
    /// The database.
    pub async fn step(&mut self, catalogue: &Catalogue) -> Result<bool, Error> {
        if self.verifier.is_none() {
            self.problem = catalogue.earlier_problem().await?;
        }
        let verifier = self.verifier.get_or_insert_with(|| Verifier::new(&[], None));
        let number = self.last.as_ref().map_or(0, |entry| entry.number);
        // With the last one again: when the end was cut off or written anew, it is another one or none.
        let page = catalogue.audit(number.saturating_sub(1), 0).await?;
        let mut entries = page.iter();
        if let Some(last) = &self.last
            && entries.next() != Some(last)
        {
            let problem = format!("entry {number} was the end of the trail and is another one now, or none");
            self.problem.get_or_insert(problem);
            return Ok(false);
        }
        for entry in entries {
            verifier.entry(entry);
        }
        if let Some(finding) = verifier.findings().first() {
            self.problem.get_or_insert(finding.to_string());
        }
        self.last = page.last().cloned().or(self.last.take());
        Ok(page.len() == PAGE_MAX as usize)
    }

    /// What was found, in words. A problem stays until a new watch does not find it.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

fn event(now_tai_ns: i64, person: &str, action: &str, subject: &str, detail: &str) -> Event {
    Event {
        at: Tai(now_tai_ns),
        person: person.to_owned(),
        account: String::new(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    }
}

pub(super) async fn append(
    writing: &mut Writing,
    now_tai_ns: i64,
    person: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), Error> {
    fep_audit::append(writing, event(now_tai_ns, person, action, subject, detail)).await?;
    Ok(())
}

/// The hash of an entry of the earlier trail: SHA-256 over the hash before, number, time, and each text with its length before
/// it (big-endian).
fn earlier_hash(before: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
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
