//! Legal holds: what must not be deleted, whoever says so.

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::rows::{int, number, opt_int, opt_text, text};
use super::{Catalogue, audit};
use crate::Error;
use crate::model::{Hold, Scope, SegmentId};

/// SQL that is true for a segment `s` within the scope of the row `h`.
pub(super) const SEGMENT_IN_HOLD: &str = "(h.from_rx IS NULL OR s.last_rx >= h.from_rx) AND \
     (h.to_rx IS NULL OR s.first_rx < h.to_rx) AND (h.ring IS NULL OR s.ring = h.ring) AND \
     (h.colour IS NULL OR s.colour = h.colour) AND ((h.scid IS NULL AND h.link IS NULL) OR EXISTS \
     (SELECT 1 FROM presences p WHERE p.segment_id = s.id AND (h.scid IS NULL OR p.scid = h.scid) AND \
     (h.link IS NULL OR p.link = h.link)))";

impl Catalogue {
    /// Puts a hold on everything in `scope`, now and later.
    ///
    /// # Errors
    /// A scope without any limit is allowed; the database may fail.
    pub async fn hold(
        &self,
        scope: &Scope,
        reason: &str,
        person: &str,
        now_tai_ns: i64,
    ) -> Result<Hold, Error> {
        let mut transaction = self.begin().await?;
        let id = next_id(&mut transaction, NextId::Hold).await?;
        sqlx::query(
            "INSERT INTO holds (id, from_rx, to_rx, ring, colour, scid, link, reason, person, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&id)
        .bind(scope.from_tai_ns)
        .bind(scope.to_tai_ns)
        .bind(scope.ring.clone())
        .bind(scope.colour.map(|colour| colour.name().to_owned()))
        .bind(scope.scid.map(i64::from))
        .bind(scope.link.map(i64::from))
        .bind(reason)
        .bind(person)
        .bind(now_tai_ns)
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("putting a hold"))?;
        audit::append(&mut transaction, now_tai_ns, person, "hold", &id, reason).await?;
        transaction.commit().await.map_err(Error::sql("committing a hold"))?;
        let (scope, reason, person) = (scope.clone(), reason.to_owned(), person.to_owned());
        Ok(Hold { id, scope, reason, person, at_tai_ns: now_tai_ns, released: None })
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// None of that name, or lifted already; the database.
    pub async fn release_hold(
        &self,
        id: &str,
        person: &str,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE holds SET released_at = $2, released_by = $3 WHERE id = $1 AND released_at IS NULL",
        )
        .bind(id)
        .bind(now_tai_ns)
        .bind(person)
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("lifting a hold"))?;
        if changed.rows_affected() == 0 {
            return Err(Error::not_found("hold in force", id));
        }
        audit::append(&mut transaction, now_tai_ns, person, "hold lifted", id, note).await?;
        transaction.commit().await.map_err(Error::sql("committing a hold"))
    }

    /// Every hold, lifted ones too, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn holds(&self) -> Result<Vec<Hold>, Error> {
        let found = sqlx::query("SELECT * FROM holds ORDER BY at, id")
            .fetch_all(&self.pool)
            .await
            .map_err(Error::sql("listing holds"))?;
        found.iter().map(hold).collect()
    }

    /// Names of the holds in force on a segment.
    ///
    /// # Errors
    /// The database.
    pub async fn holds_on(&self, segment: &SegmentId) -> Result<Vec<String>, Error> {
        if self.hides(&segment.0) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT h.id FROM holds h, segments s WHERE s.id = $1 AND h.released_at IS NULL AND {SEGMENT_IN_HOLD} \
             ORDER BY h.id"
        );
        let found = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&segment.0)
            .fetch_all(&self.pool)
            .await
            .map_err(Error::sql("looking for holds"))?;
        found.iter().map(|row| text(row, "id")).collect()
    }
}

fn hold(row: &AnyRow) -> Result<Hold, Error> {
    let released = match (opt_int(row, "released_at")?, opt_text(row, "released_by")?) {
        (Some(at), Some(person)) => Some((at, person)),
        _ => None,
    };
    let narrow = |column| -> Result<Option<u16>, Error> {
        opt_int(row, column)?.map(|_| number(row, column)).transpose()
    };
    Ok(Hold {
        id: text(row, "id")?,
        scope: Scope {
            from_tai_ns: opt_int(row, "from_rx")?,
            to_tai_ns: opt_int(row, "to_rx")?,
            ring: opt_text(row, "ring")?,
            colour: opt_text(row, "colour")?.map(|colour| colour.parse()).transpose()?,
            scid: narrow("scid")?,
            link: narrow("link")?,
        },
        reason: text(row, "reason")?,
        person: text(row, "person")?,
        at_tai_ns: int(row, "at")?,
        released,
    })
}

/// What is to be named.
#[derive(Clone, Copy)]
pub(super) enum NextId {
    Hold,
    Deletion,
}

/// The next free name: `hold-1`, `deletion-1`, … Rows are never removed, so their number counts names.
pub(super) async fn next_id(
    transaction: &mut Transaction<'static, Any>,
    of: NextId,
) -> Result<String, Error> {
    let (sql, prefix) = match of {
        NextId::Hold => ("SELECT COUNT(*) AS rows_so_far FROM holds", "hold"),
        NextId::Deletion => ("SELECT COUNT(*) AS rows_so_far FROM deletions", "deletion"),
    };
    let row =
        sqlx::query(sql).fetch_one(&mut **transaction).await.map_err(Error::sql("finding a free name"))?;
    Ok(format!("{prefix}-{}", int(&row, "rows_so_far")? + 1))
}
