//! What the taking out of packets from recorded frames asks and tells the catalogue.

use super::Catalogue;
use super::conditions::{Bound, Conditions};
use super::rows::{self, SEGMENT_COLUMNS};
use crate::model::{IndexFile, Segment, SegmentFacts, SegmentId};
use crate::{CONTACT_SILENCE_NS, Error, hex};

impl Catalogue {
    /// Whether packets by one of these links from its spacecraft were recorded as such in a span of time, give or take the
    /// longest silence within a contact; `ring` is the ring of packets beside that of the frames.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn has_packets(
        &self,
        facts: &SegmentFacts,
        ring: &str,
        sources: &[(u16, u16)],
        (first, last): (i64, i64),
    ) -> Result<bool, Error> {
        let mut conditions = Conditions::default();
        let (from, to) =
            (first.saturating_sub(CONTACT_SILENCE_NS), last.saturating_add(CONTACT_SILENCE_NS + 1));
        conditions.within("s", Some(from), Some(to));
        conditions.and("s.colour = {}", [Bound::Text(facts.colour.name().to_owned())]);
        conditions.and("s.packets > 0 AND s.frames = 0", []);
        let of_source = "OR EXISTS (SELECT 1 FROM presences p WHERE p.segment_id = s.id AND p.by_packets = 1 AND \
                         p.link = {} AND p.scid = {})";
        let any = format!("(s.ring = {{}} {})", vec![of_source; sources.len()].join(" "));
        let numbers = sources.iter().flat_map(|(link, scid)| [*link, *scid]);
        let numbers = numbers.map(|number| Bound::Number(i64::from(number)));
        conditions.and(&any, std::iter::once(Bound::Text(ring.to_owned())).chain(numbers));
        let sql = format!("SELECT 1 AS found FROM segments s WHERE {} LIMIT 1", conditions.sql());
        conditions
            .bound_to(&sql)
            .fetch_optional(self.pool())
            .await
            .map(|row| row.is_some())
            .map_err(Error::sql("looking for recorded packets"))
    }

    /// Links and spacecraft of the frames of a segment.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn frames_of(&self, id: &SegmentId) -> Result<Vec<(u16, u16)>, Error> {
        let found = sqlx::query(
            "SELECT DISTINCT link, scid FROM presences WHERE segment_id = $1 AND by_packets = 0 AND scid >= 0",
        )
        .bind(&id.0)
        .fetch_all(self.pool())
        .await
        .map_err(Error::sql("listing the spacecraft of a segment"))?;
        let pair = |row| Ok((rows::int(row, "link")? as u16, rows::int(row, "scid")? as u16));
        found.iter().map(pair).collect()
    }

    /// Segments of the same ring and series before this one, the nearest first.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn segments_before(
        &self,
        facts: &SegmentFacts,
        limit: u32,
    ) -> Result<Vec<Segment>, Error> {
        let sql = format!(
            "SELECT {SEGMENT_COLUMNS} FROM segments s WHERE colour = $1 AND ring = $2 AND series = $3 AND \
             first_seq < $4 ORDER BY first_seq DESC LIMIT $5"
        );
        let found = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(facts.colour.name())
            .bind(&facts.ring)
            .bind(facts.series as i64)
            .bind(facts.first_seq as i64)
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("listing the segments before one"))?;
        found.iter().map(rows::segment).collect()
    }

    /// A segment of frames has an index of packets from now on; `false` where it has been deleted meanwhile.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn set_packets_index(&self, id: &SegmentId, file: &IndexFile) -> Result<bool, Error> {
        let mut transaction = self.begin("noting an index of packets").await?;
        let done = sqlx::query(
            "UPDATE segments SET packets = $2, packets_key = $3, packets_octets = $4, packets_sha256 = $5 \
             WHERE id = $1 AND state <> 'deleted'",
        )
        .bind(&id.0)
        .bind(file.rows as i64)
        .bind(&file.key)
        .bind(file.octets as i64)
        .bind(hex::text(&file.sha256))
        .execute(&mut *transaction)
        .await
        .map_err(Error::sql("noting an index of packets"))?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
