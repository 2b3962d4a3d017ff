//! Deletion: one person asks, another agrees, and no hold speaks against it, at the time of asking, agreeing and deleting.

use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::holds::{NextId, SEGMENT_IN_HOLD, next_id};
use super::rows::{int, opt_int, opt_text, segment_id, text};
use super::{Catalogue, audit, rows};
use crate::Error;
use crate::model::{Deletion, DeletionState, SegmentId, SegmentState};

impl Catalogue {
    /// Asks for the deletion of segments. Nothing is deleted until a second person approves.
    ///
    /// # Errors
    /// No segment given, a segment that is not there or deleted already, a hold; the database.
    pub async fn request_deletion(
        &self,
        segments: &[SegmentId],
        reason: &str,
        requester: &str,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        if segments.is_empty() || requester.trim().is_empty() {
            return Err(Error::Invalid {
                what: "deletion",
                problem: "it needs at least one segment and the name of who asks".to_owned(),
            });
        }
        let mut transaction = self.begin().await?;
        let id = next_id(&mut transaction, NextId::Deletion).await?;
        sqlx::query(
            "INSERT INTO deletions (id, reason, requester, requested_at, state) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&id)
        .bind(reason)
        .bind(requester)
        .bind(now_tai_ns)
        .bind(DeletionState::Requested.name())
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("asking for a deletion"))?;
        for segment in segments {
            if self.hides(&segment.0) {
                return Err(Error::not_found("segment", &segment.0));
            }
            let found = sqlx::query("SELECT state FROM segments WHERE id = $1")
                .bind(&segment.0)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(Error::sql("looking for a segment"))?;
            let row = found.ok_or_else(|| Error::not_found("segment", &segment.0))?;
            if rows::name::<SegmentState>(&row, "state")? == SegmentState::Deleted {
                return Err(Error::refused(format!("deletion of {segment}"), "it is deleted already"));
            }
            sqlx::query(
                "INSERT INTO deletion_segments (deletion_id, segment_id) VALUES ($1, $2) \
                 ON CONFLICT (deletion_id, segment_id) DO NOTHING",
            )
            .bind(&id)
            .bind(&segment.0)
            .execute(&mut *transaction)
            .await
            .map_err(Error::sql("asking for a deletion"))?;
        }
        refuse_if_held(&mut transaction, &id).await?;
        let detail = format!("{} segments: {reason}", segments.len());
        audit::append(&mut transaction, now_tai_ns, requester, "deletion requested", &id, &detail).await?;
        transaction.commit().await.map_err(Error::sql("committing a deletion request"))?;
        self.deletion(&id).await
    }

    /// Agrees to a deletion, as the second person. The octets may go from then on; `Keeper::carry_out` deletes them.
    ///
    /// # Errors
    /// None of that name; not waiting for a decision; the same person; a hold; the database.
    pub async fn approve_deletion(
        &self,
        id: &str,
        approver: &str,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        // A deletion that names what does not exist for this handle does not exist either.
        self.deletion(id).await?;
        let mut transaction = self.begin().await?;
        let asked = waiting(&mut transaction, id).await?;
        if approver.trim().is_empty() || same_person(&asked, approver) {
            return Err(Error::refused(
                format!("approval of {id} by \"{approver}\""),
                "the approver must be another person than the requester",
            ));
        }
        refuse_if_held(&mut transaction, id).await?;
        decide(&mut transaction, id, DeletionState::Approved, approver, now_tai_ns).await?;
        audit::append(&mut transaction, now_tai_ns, approver, "deletion approved", id, "").await?;
        transaction.commit().await.map_err(Error::sql("committing an approval"))?;
        self.deletion(id).await
    }

    /// Refuses a deletion, or takes it back.
    ///
    /// # Errors
    /// None of that name; not waiting for a decision; the database.
    pub async fn refuse_deletion(
        &self,
        id: &str,
        person: &str,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        self.deletion(id).await?;
        let mut transaction = self.begin().await?;
        waiting(&mut transaction, id).await?;
        decide(&mut transaction, id, DeletionState::Refused, person, now_tai_ns).await?;
        audit::append(&mut transaction, now_tai_ns, person, "deletion refused", id, note).await?;
        transaction.commit().await.map_err(Error::sql("committing a refusal"))?;
        self.deletion(id).await
    }

    /// Takes back a deletion that was asked for or approved. What of it is deleted by now stays deleted; nothing more goes.
    /// `Keeper::withdraw` also removes what such segments may have left on the disk.
    ///
    /// # Errors
    /// None of that name; decided otherwise, or carried out; the database.
    pub async fn withdraw_deletion(
        &self,
        id: &str,
        person: &str,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        self.deletion(id).await?;
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE deletions SET state = 'withdrawn' WHERE id = $1 AND state IN ('requested', 'approved')",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("withdrawing a deletion"))?;
        if changed.rows_affected() == 0 {
            drop(transaction);
            let state = self.deletion(id).await?.state;
            return Err(Error::refused(
                id,
                format!("it is {state}: only what waits or is approved can be withdrawn"),
            ));
        }
        audit::append(&mut transaction, now_tai_ns, person, "deletion withdrawn", id, note).await?;
        transaction.commit().await.map_err(Error::sql("committing a withdrawal"))?;
        self.deletion(id).await
    }

    /// One deletion.
    ///
    /// # Errors
    /// None of that name; the database.
    pub async fn deletion(&self, id: &str) -> Result<Deletion, Error> {
        let found = sqlx::query("SELECT * FROM deletions WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(Error::sql("looking for a deletion"))?;
        let row = found.ok_or_else(|| Error::not_found("deletion", id))?;
        self.with_segments(&row).await?.ok_or_else(|| Error::not_found("deletion", id))
    }

    /// Every deletion, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn deletions(&self) -> Result<Vec<Deletion>, Error> {
        self.deletions_in(None).await
    }

    /// Deletions that are in this state (`None`: in any), oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn deletions_in(&self, state: Option<DeletionState>) -> Result<Vec<Deletion>, Error> {
        let found =
            sqlx::query("SELECT * FROM deletions WHERE $1 = '' OR state = $1 ORDER BY requested_at, id")
                .bind(state.map_or("", DeletionState::name))
                .fetch_all(&self.pool)
                .await
                .map_err(Error::sql("listing deletions"))?;
        let mut deletions = Vec::with_capacity(found.len());
        for row in &found {
            deletions.extend(self.with_segments(row).await?);
        }
        Ok(deletions)
    }

    /// `None` when it names a segment that does not exist for this handle.
    async fn with_segments(&self, row: &AnyRow) -> Result<Option<Deletion>, Error> {
        let id = text(row, "id")?;
        let found = sqlx::query(
            "SELECT segment_id FROM deletion_segments WHERE deletion_id = $1 ORDER BY segment_id",
        )
        .bind(&id)
        .fetch_all(&self.pool)
        .await
        .map_err(Error::sql("listing the segments of a deletion"))?;
        let segments: Vec<SegmentId> =
            found.iter().map(|row| segment_id(row, "segment_id")).collect::<Result<_, _>>()?;
        if segments.iter().any(|segment| self.hides(&segment.0)) {
            return Ok(None);
        }
        let decided = match (opt_int(row, "decided_at")?, opt_text(row, "decider")?) {
            (Some(at), Some(person)) => Some((at, person)),
            _ => None,
        };
        Ok(Some(Deletion {
            id,
            segments,
            reason: text(row, "reason")?,
            requester: text(row, "requester")?,
            requested_tai_ns: int(row, "requested_at")?,
            decided,
            state: rows::name(row, "state")?,
        }))
    }

    /// Marks one segment of an approved deletion as deleted: before its octets go, so that nothing is served from a file
    /// that is half gone. Checks approval and holds again, in the same transaction.
    pub(crate) async fn mark_deleted(
        &self,
        id: &str,
        segment: &SegmentId,
        now_tai_ns: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        refuse_if_held(&mut transaction, id).await?;
        let changed = sqlx::query(
            "UPDATE segments SET state = 'deleted', state_reason = $3 WHERE id = $2 AND EXISTS (SELECT 1 FROM \
             deletions d JOIN deletion_segments m ON m.deletion_id = d.id WHERE d.id = $1 AND m.segment_id = $2 AND \
             d.state = 'approved' AND d.decider <> d.requester)",
        )
        .bind(id)
        .bind(&segment.0)
        .bind(format!("deleted by {id}"))
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("marking a segment as deleted"))?;
        if changed.rows_affected() == 0 {
            return Err(Error::refused(
                format!("deletion of {segment}"),
                format!("{id} does not approve it"),
            ));
        }
        audit::append(&mut transaction, now_tai_ns, "catalogue", "segment deleted", &segment.0, id).await?;
        transaction.commit().await.map_err(Error::sql("committing a deletion"))
    }

    /// All its segments are gone.
    pub(crate) async fn finish_deletion(&self, id: &str) -> Result<(), Error> {
        sqlx::query("UPDATE deletions SET state = 'done' WHERE id = $1 AND state = 'approved'")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(Error::sql("finishing a deletion"))?;
        Ok(())
    }
}

/// Names that differ in case or blanks only are one person's.
fn same_person(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// Who asked for a deletion that waits for a decision.
async fn waiting(transaction: &mut Transaction<'static, Any>, id: &str) -> Result<String, Error> {
    let found = sqlx::query("SELECT requester, state FROM deletions WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(Error::sql("looking for a deletion"))?;
    let row = found.ok_or_else(|| Error::not_found("deletion", id))?;
    let state: DeletionState = rows::name(&row, "state")?;
    if state != DeletionState::Requested {
        return Err(Error::refused(id, format!("it is {state}, it waits for no decision")));
    }
    row.try_get("requester").map_err(Error::sql("reading a text"))
}

async fn decide(
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    state: DeletionState,
    person: &str,
    now_tai_ns: i64,
) -> Result<(), Error> {
    sqlx::query("UPDATE deletions SET state = $2, decider = $3, decided_at = $4 WHERE id = $1")
        .bind(id)
        .bind(state.name())
        .bind(person)
        .bind(now_tai_ns)
        .execute(&mut **transaction)
        .await
        .map_err(Error::sql("deciding a deletion"))?;
    Ok(())
}

async fn refuse_if_held(transaction: &mut Transaction<'static, Any>, deletion: &str) -> Result<(), Error> {
    let sql = format!(
        "SELECT h.id AS hold, s.id AS segment FROM holds h, segments s JOIN deletion_segments m ON m.segment_id = s.id \
         WHERE m.deletion_id = $1 AND h.released_at IS NULL AND {SEGMENT_IN_HOLD} ORDER BY h.id, s.id LIMIT 1"
    );
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(deletion)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(Error::sql("looking for holds"))?;
    match found {
        None => Ok(()),
        Some(row) => Err(Error::refused(
            format!("deletion of {}", text(&row, "segment")?),
            format!("it is under {}", text(&row, "hold")?),
        )),
    }
}
