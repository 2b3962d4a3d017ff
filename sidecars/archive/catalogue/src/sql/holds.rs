//! Legal holds: what must not be deleted, whoever says so.

use fep_orders::{Actor, NewOrder, Order, OrderState, Step};
use fep_time::Tai;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;

use super::orders::{RELEASE, free_name, service};
use super::rows::{int, number, opt_int, opt_text, text};
use super::{Catalogue, audit};
use crate::Error;
use crate::model::{Hold, HoldRelease, Scope, SegmentId};

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
        let mut transaction = self.begin("putting a hold").await?;
        let names = "SELECT COUNT(*) AS names FROM holds";
        let id = free_name(&mut transaction, names, "hold").await?;
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
        transaction.commit().await?;
        let (scope, reason, person) = (scope.clone(), reason.to_owned(), person.to_owned());
        Ok(Hold { id, scope, reason, person, at_tai_ns: now_tai_ns, released: None })
    }

    /// Asks for the lifting of a hold. It stays in force until the persons of the rule approve.
    ///
    /// # Errors
    /// None of that name in force; who asks has not the role; the database.
    pub async fn request_release(
        &self,
        hold: &str,
        reason: &str,
        asker: &Actor,
        now_tai_ns: i64,
    ) -> Result<HoldRelease, Error> {
        let found = self.hold_in_force(hold).await?;
        let mut writing = self.begin("asking for the lifting of a hold").await?;
        let names = "SELECT COUNT(*) AS names FROM kit_orders WHERE kind = 'archive.release-hold'";
        let id = free_name(&mut writing, names, "release").await?;
        let new = NewOrder {
            id: id.clone(),
            subject: format!("lift {hold}"),
            reason: reason.to_owned(),
            content_sha256: content_of(&found)?,
        };
        fep_orders::ask(&mut writing, new, self.rules.release(), asker, Tai(now_tai_ns)).await?;
        sqlx::query("INSERT INTO order_holds (order_id, hold_id) VALUES ($1, $2)")
            .bind(&id)
            .bind(hold)
            .execute(&mut *writing)
            .await
            .map_err(Error::sql("asking for the lifting of a hold"))?;
        writing.commit().await?;
        self.release(&id).await
    }

    /// Approves the lifting of a hold. With the last person of its rule the hold is lifted, in the same transaction. `content`,
    /// where it is given, is the SHA-256 of what the person has looked at.
    ///
    /// # Errors
    /// None of that name; the rules ([`fep_orders::Refusal`]); the database.
    pub async fn approve_release(
        &self,
        id: &str,
        approver: &Actor,
        content: Option<[u8; 32]>,
        now_tai_ns: i64,
    ) -> Result<HoldRelease, Error> {
        let release = self.release(id).await?;
        let held = self.find_hold(&release.hold).await?;
        let bound = content_of(&held)?;
        let (now, step) = (Tai(now_tai_ns), Step::Approve { content_sha256: content.unwrap_or(bound) });
        let mut writing = self.begin("approving the lifting of a hold").await?;
        let order = match fep_orders::act(&mut writing, id, &step, approver, now).await {
            Err(error @ fep_orders::Error::Refused { .. }) => {
                drop(writing);
                // Again in a transaction of its own: it is refused again, and that is noted in the audit trail.
                fep_orders::perform(&self.database, id, &step, approver, now).await?;
                return Err(error.into());
            }
            order => order?,
        };
        if order.state == OrderState::Approved {
            let begin = Step::Begin { content_sha256: bound };
            fep_orders::act(&mut writing, id, &begin, &service()?, now).await?;
            let changed = sqlx::query(
                "UPDATE holds SET released_at = $2, released_by = $3 WHERE id = $1 AND released_at IS NULL",
            )
            .bind(&release.hold)
            .bind(now_tai_ns)
            .bind(approver.person.as_str())
            .execute(&mut *writing)
            .await
            .map_err(Error::sql("lifting a hold"))?;
            let end = if changed.rows_affected() == 1 {
                audit::append(&mut writing, now_tai_ns, audit::SERVICE, "hold lifted", &release.hold, id)
                    .await?;
                Step::Succeed { note: "the hold is lifted".to_owned() }
            } else {
                Step::Fail { note: "the hold was lifted already".to_owned() }
            };
            fep_orders::act(&mut writing, id, &end, &service()?, now).await?;
        }
        writing.commit().await?;
        self.release(id).await
    }

    /// Refuses the lifting of a hold; who asked for it withdraws it.
    ///
    /// # Errors
    /// None of that name; decided already, a role that is missing; the database.
    pub async fn end_release(
        &self,
        id: &str,
        actor: &Actor,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<HoldRelease, Error> {
        self.release(id).await?;
        self.end_order(id, actor, note, now_tai_ns).await?;
        self.release(id).await
    }

    /// One order to lift a hold.
    ///
    /// # Errors
    /// None of that name; the database.
    pub async fn release(&self, id: &str) -> Result<HoldRelease, Error> {
        let order = self.order(RELEASE, id).await?.ok_or_else(|| Error::not_found("release", id))?;
        self.release_of(order).await
    }

    /// Every order to lift a hold, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn releases(&self) -> Result<Vec<HoldRelease>, Error> {
        let mut releases = Vec::new();
        for order in self.orders(RELEASE, None).await? {
            releases.push(self.release_of(order).await?);
        }
        Ok(releases)
    }

    async fn release_of(&self, order: Order) -> Result<HoldRelease, Error> {
        let row = sqlx::query("SELECT hold_id FROM order_holds WHERE order_id = $1")
            .bind(&order.id)
            .fetch_one(self.pool())
            .await
            .map_err(Error::sql("looking for the hold of an order"))?;
        Ok(HoldRelease { hold: text(&row, "hold_id")?, order })
    }

    async fn find_hold(&self, id: &str) -> Result<Hold, Error> {
        let found = sqlx::query("SELECT * FROM holds WHERE id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await
            .map_err(Error::sql("looking for a hold"))?;
        found.map_or_else(|| Err(Error::not_found("hold", id)), |row| hold(&row))
    }

    async fn hold_in_force(&self, id: &str) -> Result<Hold, Error> {
        let found = self.find_hold(id).await?;
        if found.released.is_some() { Err(Error::not_found("hold in force", id)) } else { Ok(found) }
    }

    /// Every hold, lifted ones too, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn holds(&self) -> Result<Vec<Hold>, Error> {
        let found = sqlx::query("SELECT * FROM holds ORDER BY at, id")
            .fetch_all(self.pool())
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
            .fetch_all(self.pool())
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

/// What the lifting of a hold is bound to: SHA-256 over its name, its scope as JSON and its reason, each with a line end.
fn content_of(hold: &Hold) -> Result<[u8; 32], Error> {
    let scope = serde_json::to_string(&hold.scope)
        .map_err(|error| Error::Invalid { what: "scope", problem: error.to_string() })?;
    Ok(Sha256::digest(format!("{}\n{scope}\n{}\n", hold.id, hold.reason)).into())
}
