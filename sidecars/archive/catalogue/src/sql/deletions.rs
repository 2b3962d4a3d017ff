//! Deletion: an order of several persons, and no hold speaks against it, at the time of asking, approving and executing.
//!
//! The execution begins with one transaction: the order is begun, no hold lies on any of its segments, and all of them are
//! marked as deleted. Their octets go after it, as often as it takes; then the order is done. So a kill leaves either nothing
//! done, or an order that is being executed and is finished at the next round.

use std::collections::BTreeSet;

use fep_database::Writing;
use fep_orders::{Actor, NewOrder, Order, OrderState, Step};
use fep_time::Tai;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;

use super::holds::SEGMENT_IN_HOLD;
use super::orders::{DELETE, free_name, service};
use super::rows::{int, opt_int, opt_text, segment_id, text};
use super::{Catalogue, audit, rows};
use crate::model::{Deletion, DeletionState, SegmentId, SegmentState};
use crate::{Error, hex};

/// Names of segments in the subject of an order; more are counted.
const NAMED: usize = 3;

impl Catalogue {
    /// Asks for the deletion of segments. Nothing is deleted until the persons of the rule approve.
    ///
    /// # Errors
    /// No segment given, a segment that does not exist or is deleted already, a hold; who asks has not the role; the database.
    pub async fn request_deletion(
        &self,
        segments: &[SegmentId],
        reason: &str,
        asker: &Actor,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        if segments.is_empty() {
            let problem = "it needs at least one segment".to_owned();
            return Err(Error::Invalid { what: "deletion", problem });
        }
        let segments: BTreeSet<&SegmentId> = segments.iter().collect();
        let mut writing = self.begin("asking for a deletion").await?;
        for segment in &segments {
            if self.hides(&segment.0) {
                return Err(Error::not_found("segment", &segment.0));
            }
            let found = sqlx::query("SELECT state FROM segments WHERE id = $1")
                .bind(&segment.0)
                .fetch_optional(&mut *writing)
                .await
                .map_err(Error::sql("looking for a segment"))?;
            let row = found.ok_or_else(|| Error::not_found("segment", &segment.0))?;
            if rows::name::<SegmentState>(&row, "state")? == SegmentState::Deleted {
                return Err(Error::refused(format!("deletion of {segment}"), "it is deleted already"));
            }
        }
        let id = free_name(
            &mut writing,
            "SELECT COUNT(*) AS names FROM (SELECT id FROM deletions UNION SELECT id FROM kit_orders WHERE \
             kind = 'archive.delete') AS named",
            "deletion",
        )
        .await?;
        let new = NewOrder {
            id: id.clone(),
            subject: subject(&segments),
            reason: reason.to_owned(),
            content_sha256: content_of(segments.iter().copied()),
        };
        fep_orders::ask(&mut writing, new, self.rules.delete(), asker, Tai(now_tai_ns)).await?;
        keep_list(&mut writing, &id, &segments).await?;
        refuse_if_held(&mut writing, &id).await?;
        writing.commit().await?;
        self.deletion(&id).await
    }

    /// Approves a deletion. With the last person of its rule the octets may go; `Keeper::carry_out` deletes them. `content`,
    /// where it is given, is the SHA-256 of the list that the person has looked at.
    ///
    /// # Errors
    /// None of that name; the rules ([`fep_orders::Refusal`]); a hold; the database.
    pub async fn approve_deletion(
        &self,
        id: &str,
        approver: &Actor,
        content: Option<[u8; 32]>,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        // A deletion that names what does not exist for this handle does not exist either.
        let deletion = self.deletion(id).await?;
        let mut writing = self.begin("approving a deletion").await?;
        refuse_if_held(&mut writing, id).await?;
        drop(writing);
        let content_sha256 = content.unwrap_or_else(|| content_of(&deletion.segments));
        let step = Step::Approve { content_sha256 };
        fep_orders::perform(&self.database, id, &step, approver, Tai(now_tai_ns)).await?;
        self.deletion(id).await
    }

    /// Refuses a deletion that was not begun, also an approved one; who asked for it withdraws it.
    ///
    /// # Errors
    /// None of that name; begun or decided otherwise, a role that is missing; the database.
    pub async fn end_deletion(
        &self,
        id: &str,
        actor: &Actor,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<Deletion, Error> {
        self.deletion(id).await?;
        self.end_order(id, actor, note, now_tai_ns).await?;
        self.deletion(id).await
    }

    /// One deletion.
    ///
    /// # Errors
    /// None of that name; the database.
    pub async fn deletion(&self, id: &str) -> Result<Deletion, Error> {
        if let Some(order) = self.order(DELETE, id).await? {
            let found = self.of_order(order).await?;
            return found.ok_or_else(|| Error::not_found("deletion", id));
        }
        let found = sqlx::query("SELECT * FROM deletions WHERE id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await
            .map_err(Error::sql("looking for a deletion"))?;
        let row = found.ok_or_else(|| Error::not_found("deletion", id))?;
        self.of_row(&row).await?.ok_or_else(|| Error::not_found("deletion", id))
    }

    /// Every deletion: those of an earlier release, then orders, each oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn deletions(&self) -> Result<Vec<Deletion>, Error> {
        let found = sqlx::query(
            "SELECT * FROM deletions d WHERE NOT EXISTS (SELECT 1 FROM kit_orders o WHERE o.id = d.id) \
             ORDER BY requested_at, id",
        )
        .fetch_all(self.pool())
        .await
        .map_err(Error::sql("listing deletions"))?;
        let mut deletions = Vec::with_capacity(found.len());
        for row in &found {
            deletions.extend(self.of_row(row).await?);
        }
        for order in self.orders(DELETE, None).await? {
            deletions.extend(self.of_order(order).await?);
        }
        Ok(deletions)
    }

    /// Deletions to carry out: those that are being executed, then those that are approved, oldest first.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn deletions_to_do(&self) -> Result<Vec<Deletion>, Error> {
        let mut deletions = Vec::new();
        for state in [OrderState::Executing, OrderState::Approved] {
            for order in self.orders(DELETE, Some(state)).await? {
                deletions.extend(self.of_order(order).await?);
            }
        }
        Ok(deletions)
    }

    /// `None` when it names a segment that does not exist for this handle.
    async fn of_order(&self, order: Order) -> Result<Option<Deletion>, Error> {
        let sql = "SELECT segment_id FROM order_segments WHERE order_id = $1 ORDER BY segment_id || ''";
        let Some(segments) = self.list_of(sql, &order.id).await? else { return Ok(None) };
        let ending = order.ending.as_ref();
        let decided = match (order.approvals.last(), ending) {
            (Some(approval), _) => Some((approval.at.0, approval.person.to_string())),
            (None, Some(ending)) => ending.person.as_ref().map(|person| (ending.at.0, person.to_string())),
            (None, None) => None,
        };
        Ok(Some(Deletion {
            segments,
            content_sha256: Some(hex::text(&order.content_sha256)),
            requester: order.asker.to_string(),
            requested_tai_ns: order.asked_at.0,
            expires_tai_ns: Some(order.expires_at.0),
            decided,
            state: order.state.into(),
            note: ending.map(|ending| ending.note.clone()).unwrap_or_default(),
            reason: order.reason,
            id: order.id,
        }))
    }

    async fn of_row(&self, row: &AnyRow) -> Result<Option<Deletion>, Error> {
        let id = text(row, "id")?;
        let sql = "SELECT segment_id FROM deletion_segments WHERE deletion_id = $1 ORDER BY segment_id || ''";
        let Some(segments) = self.list_of(sql, &id).await? else { return Ok(None) };
        let decided = match (opt_int(row, "decided_at")?, opt_text(row, "decider")?) {
            (Some(at), Some(person)) => Some((at, person)),
            _ => None,
        };
        Ok(Some(Deletion {
            id,
            segments,
            content_sha256: None,
            reason: text(row, "reason")?,
            requester: text(row, "requester")?,
            requested_tai_ns: int(row, "requested_at")?,
            expires_tai_ns: None,
            decided,
            state: rows::name(row, "state")?,
            note: String::new(),
        }))
    }

    async fn list_of(&self, sql: &'static str, id: &str) -> Result<Option<Vec<SegmentId>>, Error> {
        let found = sqlx::query(sql)
            .bind(id)
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("listing the segments of a deletion"))?;
        let segments: Vec<SegmentId> =
            found.iter().map(|row| segment_id(row, "segment_id")).collect::<Result<_, _>>()?;
        Ok((!segments.iter().any(|segment| self.hides(&segment.0))).then_some(segments))
    }

    /// Begins the execution of an approved deletion: marks all its segments as deleted, so that nothing is served from files
    /// that are half gone. The list must still be the one that was approved, and no hold may lie on it. How many are marked.
    pub(crate) async fn begin_deletion(&self, id: &str, now_tai_ns: i64) -> Result<usize, Error> {
        let segments = self.deletion(id).await?.segments;
        let mut writing = self.begin("beginning a deletion").await?;
        refuse_if_held(&mut writing, id).await?;
        let begin = Step::Begin { content_sha256: content_of(&segments) };
        fep_orders::act(&mut writing, id, &begin, &service()?, Tai(now_tai_ns)).await?;
        let mut marked = 0;
        for segment in &segments {
            let changed = sqlx::query(
                "UPDATE segments SET state = 'deleted', state_reason = $3 WHERE id = $2 AND state <> 'deleted' AND \
                 EXISTS (SELECT 1 FROM order_segments m WHERE m.order_id = $1 AND m.segment_id = $2)",
            )
            .bind(id)
            .bind(&segment.0)
            .bind(format!("deleted by {id}"))
            .execute(&mut *writing)
            .await
            .map_err(Error::sql("marking a segment as deleted"))?;
            if changed.rows_affected() > 0 {
                marked += 1;
                audit::append(&mut writing, now_tai_ns, audit::SERVICE, "segment deleted", &segment.0, id)
                    .await?;
            }
        }
        writing.commit().await?;
        Ok(marked)
    }

    /// All its segments are gone.
    pub(crate) async fn finish_deletion(&self, id: &str, now_tai_ns: i64) -> Result<(), Error> {
        let note = "all its octets are gone".to_owned();
        let step = Step::Succeed { note };
        fep_orders::perform(&self.database, id, &step, &service()?, Tai(now_tai_ns)).await?;
        Ok(())
    }
}

impl From<OrderState> for DeletionState {
    fn from(state: OrderState) -> DeletionState {
        match state {
            OrderState::Asked => DeletionState::Requested,
            OrderState::Approved => DeletionState::Approved,
            OrderState::Refused => DeletionState::Refused,
            OrderState::Withdrawn => DeletionState::Withdrawn,
            OrderState::Expired => DeletionState::Expired,
            OrderState::Executing => DeletionState::Executing,
            OrderState::Done => DeletionState::Done,
            OrderState::Failed => DeletionState::Failed,
        }
    }
}

/// What a deletion is bound to: SHA-256 over the names of its segments in their order, each with a line end, as
/// `printf '%s\n' NAMES | LC_ALL=C sort | sha256sum` has it. The names must be sorted.
pub(super) fn content_of<'s>(sorted: impl IntoIterator<Item = &'s SegmentId>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for segment in sorted {
        hasher.update(segment.0.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().into()
}

/// What is deleted, in words.
pub(super) fn subject(segments: &BTreeSet<&SegmentId>) -> String {
    let names: Vec<&str> = segments.iter().take(NAMED).map(|segment| segment.0.as_str()).collect();
    let names = names.join(", ");
    let text = match segments.len() - names.matches(", ").count() - 1 {
        0 => format!("delete {names}"),
        more => format!("delete {} segments: {names} and {more} more", segments.len()),
    };
    // Names of rings are short; if not, the list itself has them.
    if text.len() <= 1024 { text } else { format!("delete {} segments", segments.len()) }
}

pub(super) async fn keep_list(
    writing: &mut Writing,
    order: &str,
    segments: &BTreeSet<&SegmentId>,
) -> Result<(), Error> {
    for segment in segments {
        sqlx::query("INSERT INTO order_segments (order_id, segment_id) VALUES ($1, $2)")
            .bind(order)
            .bind(&segment.0)
            .execute(&mut **writing)
            .await
            .map_err(Error::sql("keeping the list of a deletion"))?;
    }
    Ok(())
}

async fn refuse_if_held(writing: &mut Writing, order: &str) -> Result<(), Error> {
    let sql = format!(
        "SELECT h.id AS hold, s.id AS segment FROM holds h, segments s JOIN order_segments m ON m.segment_id = s.id \
         WHERE m.order_id = $1 AND h.released_at IS NULL AND {SEGMENT_IN_HOLD} ORDER BY h.id, s.id LIMIT 1"
    );
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(order)
        .fetch_optional(&mut **writing)
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
