//! The trail in the database.

use std::io::Write;

use fep_database::{Database, Migration, Schema, Writing, hex};
use fep_time::Tai;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::Error;
use crate::chain::{Report, Verifier};
use crate::entry::{Entry, Event};
use crate::signing::{Head, SignedHead};

/// The trail's table: a module of the service's database.
pub const SCHEMA: Schema = Schema::new(
    "audit",
    &[Migration::new(
        1,
        "trail",
        "CREATE TABLE kit_audit (
            number BIGINT PRIMARY KEY CHECK (number > 0),
            at BIGINT NOT NULL, -- TAI nanoseconds since 1958-01-01
            person TEXT NOT NULL,
            account TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            previous TEXT NOT NULL, -- hash of the entry before, 64 hexadecimal digits
            hash TEXT NOT NULL
        );
        CREATE INDEX kit_audit_by_subject ON kit_audit (subject, number);
        CREATE INDEX kit_audit_by_person ON kit_audit (person, number);",
    )],
);

/// Most entries of one page.
pub const PAGE_MAX: u32 = 1000;

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only after this number.
    pub after: u64,
    /// At most so many; 0 or more than [`PAGE_MAX`]: [`PAGE_MAX`].
    pub limit: u32,
    /// Only of this person.
    pub person: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only of this subject.
    pub subject: Option<String>,
}

/// Adds an entry in the caller's transaction: it is there when, and only when, what it says is there.
///
/// # Errors
/// [`Error::Field`]; the database. Give up the transaction then.
pub async fn append(writing: &mut Writing, event: Event) -> Result<Head, Error> {
    event.check()?;
    let last = head(writing).await?;
    let entry = Entry::new(last.number + 1, last.hash, event);
    sqlx::query(
        "INSERT INTO kit_audit (number, at, person, account, action, subject, detail, previous, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(entry.number as i64)
    .bind(entry.at.0)
    .bind(entry.person)
    .bind(entry.account)
    .bind(entry.action)
    .bind(entry.subject)
    .bind(entry.detail)
    .bind(hex::text(&entry.previous))
    .bind(hex::text(&entry.hash))
    .execute(&mut **writing)
    .await
    .map_err(Error::sql("writing the audit trail"))?;
    Ok(Head { number: entry.number, hash: entry.hash })
}

/// Adds an entry in a transaction of its own, for what changes nothing in the database: a refusal, a read, a login.
///
/// # Errors
/// As [`append`].
pub async fn note(database: &Database, event: Event) -> Result<Head, Error> {
    const DOING: &str = "writing the audit trail";
    database
        .retry(DOING, || async {
            let mut writing = database.begin(DOING).await?;
            let head = append(&mut writing, event.clone()).await?;
            writing.commit().await?;
            Ok(head)
        })
        .await
}

/// The last entry's number and hash.
///
/// # Errors
/// The database; a last row that is no entry.
pub async fn head(connection: &mut AnyConnection) -> Result<Head, Error> {
    let last = sqlx::query("SELECT number, hash FROM kit_audit ORDER BY number DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .map_err(Error::sql("reading the end of the audit trail"))?;
    match last {
        None => Ok(Head { number: 0, hash: [0; 32] }),
        Some(row) => Ok(Head { number: number_of(&row)?, hash: hash_of(&row, "hash")? }),
    }
}

/// Entries in their order, at most [`PAGE_MAX`]; the next page is after the last of them.
///
/// # Errors
/// The database; a row that is no entry.
pub async fn page(connection: &mut AnyConnection, filter: &Filter) -> Result<Vec<Entry>, Error> {
    let wanted = [("person", &filter.person), ("action", &filter.action), ("subject", &filter.subject)];
    let mut conditions = vec!["number > $1".to_owned()];
    let mut texts = Vec::new();
    for (column, text) in wanted {
        if let Some(text) = text {
            texts.push(text.clone());
            conditions.push(format!("{column} = ${}", texts.len() + 1));
        }
    }
    let limit = if filter.limit == 0 { PAGE_MAX } else { filter.limit.min(PAGE_MAX) };
    let sql = format!(
        "SELECT number, at, person, account, action, subject, detail, previous, hash FROM kit_audit WHERE {} \
         ORDER BY number LIMIT {limit}",
        conditions.join(" AND ")
    );
    // A number that no entry has: no page follows it.
    let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after);
    for text in texts {
        query = query.bind(text);
    }
    let rows = query.fetch_all(connection).await.map_err(Error::sql("reading the audit trail"))?;
    rows.iter().map(entry_of).collect()
}

/// Writes all entries of one moment as lines of JSON, and says where they end.
///
/// # Errors
/// The database; a row that is no entry; [`Error::Output`].
pub async fn export(database: &Database, to: &mut (impl Write + Send)) -> Result<Head, Error> {
    let mut reading = database.read("exporting the audit trail").await?;
    let mut filter = Filter::default();
    let mut last = Head { number: 0, hash: [0; 32] };
    loop {
        let entries = page(&mut reading, &filter).await?;
        for entry in &entries {
            writeln!(to, "{}", entry.to_line()).map_err(Error::Output)?;
            last = Head { number: entry.number, hash: entry.hash };
        }
        if entries.len() < PAGE_MAX as usize {
            return Ok(last);
        }
        filter.after = last.number;
    }
}

/// Walks the whole trail of one moment. `heads` and `key` as for [`Verifier::new`].
///
/// # Errors
/// The database; a row that is no entry.
pub async fn verify(
    database: &Database,
    heads: &[SignedHead],
    key: Option<&[u8; 32]>,
) -> Result<Report, Error> {
    let mut reading = database.read("verifying the audit trail").await?;
    let mut verifier = Verifier::new(heads, key);
    let mut filter = Filter::default();
    loop {
        let entries = page(&mut reading, &filter).await?;
        for entry in &entries {
            verifier.entry(entry);
            filter.after = entry.number;
        }
        if entries.len() < PAGE_MAX as usize {
            return Ok(verifier.end());
        }
    }
}

fn entry_of(row: &AnyRow) -> Result<Entry, Error> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(Error::sql("reading the audit trail"));
    Ok(Entry {
        number: number_of(row)?,
        at: Tai(row.try_get("at").map_err(Error::sql("reading the audit trail"))?),
        person: text("person")?,
        account: text("account")?,
        action: text("action")?,
        subject: text("subject")?,
        detail: text("detail")?,
        previous: hash_of(row, "previous")?,
        hash: hash_of(row, "hash")?,
    })
}

fn number_of(row: &AnyRow) -> Result<u64, Error> {
    let number: i64 = row.try_get("number").map_err(Error::sql("reading the audit trail"))?;
    u64::try_from(number).map_err(|_| Error::NotAnEntry {
        place: format!("row {number}"),
        problem: "its number is negative".to_owned(),
    })
}

/// A text that is no hash can only have been put there: a hash of zeros, which binds to nothing, lets a verification find it.
fn hash_of(row: &AnyRow, column: &str) -> Result<[u8; 32], Error> {
    let text: String = row.try_get(column).map_err(Error::sql("reading the audit trail"))?;
    Ok(hex::octets(&text).unwrap_or([0; 32]))
}
