//! Asking the catalogue: segments, contacts, channels, totals.

use fep_database::Engine;
use sqlx::any::AnyRow;

use super::Catalogue;
use super::conditions::{Bound, Conditions};
use super::rows::{self, SEGMENT_COLUMNS, int, number, text};
use crate::model::{Channel, Colour, Contact, Segment, SegmentId, SegmentState, StoredObject, Tier};
use crate::{CONTACT_SILENCE_NS, Error, hex};

/// Which segments. A field that is `None` takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentFilter {
    /// Segments with data received at or after this time.
    pub from_tai_ns: Option<i64>,
    /// Segments with data received before this time.
    pub to_tai_ns: Option<i64>,
    /// Ring.
    pub ring: Option<String>,
    /// Colour.
    pub colour: Option<Colour>,
    /// State.
    pub state: Option<SegmentState>,
    /// With frames or packets of this spacecraft.
    pub scid: Option<u16>,
    /// With frames or packets by this link.
    pub link: Option<u16>,
    /// With units of this virtual channel that have a count (`scid` narrows it down).
    pub vcid: Option<u8>,
    /// With units of this application process (`scid` narrows it down).
    pub apid: Option<u16>,
    /// At most so many; `None` for all.
    pub limit: Option<u32>,
}

/// Which contacts. A field that is `None` takes all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContactFilter {
    /// Contacts that end at or after this time.
    pub from_tai_ns: Option<i64>,
    /// Contacts that begin before this time.
    pub to_tai_ns: Option<i64>,
    /// Session number.
    pub session: Option<u8>,
    /// Spacecraft.
    pub scid: Option<u16>,
    /// Station link.
    pub link: Option<u16>,
    /// As told by packets instead of frames.
    pub by_packets: bool,
}

/// What the archive holds, in all.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
pub struct Totals {
    /// Segments, deleted ones not counted.
    pub segments: u64,
    /// Segments in quarantine.
    pub quarantined: u64,
    /// Octets of their files.
    pub octets: u64,
    /// Frames.
    pub frames: u64,
    /// Packets.
    pub packets: u64,
    /// Records that the recorder lost, by its own account.
    pub lost_records: u64,
    /// Gaps that are open.
    pub open_gaps: u64,
}

impl Catalogue {
    /// Segments in order of stream and position.
    ///
    /// # Errors
    /// The database.
    pub async fn segments(&self, filter: &SegmentFilter) -> Result<Vec<Segment>, Error> {
        let mut conditions = self.segment_conditions(filter);
        let limit = conditions.limit(filter.limit);
        // The first term is no column, so that the order is made of what was found and no index is read through for it.
        let sql = format!(
            "SELECT {SEGMENT_COLUMNS} FROM segments s WHERE {} ORDER BY colour || '', ring, series, first_seq {limit}",
            conditions.sql()
        );
        let found =
            conditions.bound_to(&sql).fetch_all(self.pool()).await.map_err(Error::sql("listing segments"))?;
        found.iter().map(rows::segment).collect()
    }

    /// Names of segments in their order as texts, those after `after`, at most `limit`: for going through all of them without
    /// holding them all.
    ///
    /// # Errors
    /// The database.
    pub async fn segment_ids(
        &self,
        filter: &SegmentFilter,
        after: Option<&SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentId>, Error> {
        let mut conditions = self.page_conditions(filter, after);
        let limit = conditions.limit(Some(limit));
        let sql = format!("SELECT id FROM segments s WHERE {} ORDER BY id {limit}", conditions.sql());
        let found = conditions
            .bound_to(&sql)
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("going through the segments"))?;
        found.iter().map(|row| rows::segment_id(row, "id")).collect()
    }

    /// As [`Catalogue::segment_ids`], whole.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn segments_by_id(
        &self,
        filter: &SegmentFilter,
        after: Option<&SegmentId>,
        limit: u32,
    ) -> Result<Vec<Segment>, Error> {
        let mut conditions = self.page_conditions(filter, after);
        let limit = conditions.limit(Some(limit));
        let sql = format!(
            "SELECT {SEGMENT_COLUMNS} FROM segments s WHERE {} ORDER BY id {limit}",
            conditions.sql()
        );
        let found = conditions
            .bound_to(&sql)
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("going through the segments"))?;
        found.iter().map(rows::segment).collect()
    }

    /// The last reception in the segments before this one.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn last_rx_before(
        &self,
        filter: &SegmentFilter,
        id: &SegmentId,
    ) -> Result<Option<i64>, Error> {
        let mut conditions = self.segment_conditions(filter);
        conditions.and("id < {}", [Bound::Text(id.0.clone())]);
        let sql = format!("SELECT MAX(last_rx) AS reached FROM segments s WHERE {}", conditions.sql());
        let row = conditions
            .bound_to(&sql)
            .fetch_one(self.pool())
            .await
            .map_err(Error::sql("looking for the last reception before a segment"))?;
        rows::opt_int(&row, "reached")
    }

    /// How many segments there are of a kind.
    ///
    /// # Errors
    /// The database.
    pub async fn count_segments(&self, filter: &SegmentFilter) -> Result<u64, Error> {
        let conditions = self.segment_conditions(filter);
        let sql = format!("SELECT COUNT(*) AS found FROM segments s WHERE {}", conditions.sql());
        let row = conditions
            .bound_to(&sql)
            .fetch_one(self.pool())
            .await
            .map_err(Error::sql("counting segments"))?;
        number(&row, "found")
    }

    /// The conditions of a page in the order of names. SQLite finds the segments of a stream by their names, which begin with it
    /// and are in the order of their octets; by its columns it would sort all of them for each page.
    fn page_conditions(&self, filter: &SegmentFilter, after: Option<&SegmentId>) -> Conditions {
        let mut conditions = match (&filter.ring, filter.colour) {
            (Some(ring), Some(colour)) if self.database.engine() == Engine::Sqlite => {
                let others = SegmentFilter { ring: None, colour: None, ..filter.clone() };
                let mut conditions = self.segment_conditions(&others);
                // The octet after '/' is '0'.
                let bounds = [format!("{colour}/{ring}/"), format!("{colour}/{ring}0")];
                conditions.and("id > {} AND id < {}", bounds.map(Bound::Text));
                conditions
            }
            _ => self.segment_conditions(filter),
        };
        if let Some(after) = after {
            conditions.and("id > {}", [Bound::Text(after.0.clone())]);
        }
        conditions
    }

    fn segment_conditions(&self, filter: &SegmentFilter) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.within("s", filter.from_tai_ns, filter.to_tai_ns);
        let text = |value: &str| [Bound::Text(value.to_owned())];
        if let Some(ring) = &filter.ring {
            conditions.and("ring = {}", text(ring));
        }
        if let Some(colour) = filter.colour {
            conditions.and("colour = {}", text(colour.name()));
        }
        if self.black_only {
            // No column alone: an index that begins with the colour would lead through everything.
            conditions.and("colour || '' = 'black'", []);
        }
        if let Some(seen) = &self.seen {
            conditions.and(&seen.segment_condition(), []);
        }
        if let Some(state) = filter.state {
            conditions.and("state = {}", text(state.name()));
        }
        let (scid, link) = (filter.scid.map(i64::from), filter.link.map(i64::from));
        if scid.is_some() || link.is_some() {
            let narrower = [("p.scid", scid), ("p.link", link)];
            conditions.exists("presences p WHERE p.segment_id = s.id", &narrower);
        }
        let (vcid, apid) = (filter.vcid.map(i64::from), filter.apid.map(i64::from));
        if vcid.is_some() || apid.is_some() {
            let narrower = [("r.scid", scid), ("r.link", link), ("r.vcid", vcid), ("r.apid", apid)];
            conditions.exists("runs r WHERE r.segment_id = s.id", &narrower);
        }
        conditions
    }

    /// One segment; `None` when the catalogue has none of that name.
    ///
    /// # Errors
    /// The database.
    pub async fn segment(&self, id: &SegmentId) -> Result<Option<Segment>, Error> {
        if self.hides(&id.0) {
            return Ok(None);
        }
        let sql = format!("SELECT {SEGMENT_COLUMNS} FROM segments WHERE id = $1");
        let found = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&id.0)
            .fetch_optional(self.pool())
            .await
            .map_err(Error::sql("looking for a segment"))?;
        found.map(|row| rows::segment(&row)).transpose()
    }

    /// Says that a segment can or cannot be used. One that was deleted stays deleted.
    ///
    /// # Errors
    /// The database.
    pub async fn set_segment_state(
        &self,
        id: &SegmentId,
        state: SegmentState,
        reason: &str,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE segments SET state = $2, state_reason = $3 WHERE id = $1 AND state <> 'deleted'")
            .bind(&id.0)
            .bind(state.name())
            .bind(reason)
            .execute(self.pool())
            .await
            .map_err(Error::sql("setting a segment's state"))?;
        Ok(())
    }

    /// Says what the index files of a segment are, after they were made again.
    ///
    /// # Errors
    /// The database.
    pub async fn set_segment_index(&self, segment: &Segment) -> Result<(), Error> {
        let (frames, packets) = (segment.frames_index.as_ref(), segment.packets_index.as_ref());
        sqlx::query(
            "UPDATE segments SET frames = $2, frames_key = $3, frames_octets = $4, frames_sha256 = $5, packets = $6, \
             packets_key = $7, packets_octets = $8, packets_sha256 = $9 WHERE id = $1 AND state <> 'deleted'",
        )
        .bind(segment.facts.id().0)
        .bind(segment.frames as i64)
        .bind(frames.map(|file| file.key.clone()))
        .bind(frames.map(|file| file.octets as i64))
        .bind(frames.map(|file| hex::text(&file.sha256)))
        .bind(segment.packets as i64)
        .bind(packets.map(|file| file.key.clone()))
        .bind(packets.map(|file| file.octets as i64))
        .bind(packets.map(|file| hex::text(&file.sha256)))
        .execute(self.pool())
        .await
        .map_err(Error::sql("setting the index files of a segment"))?;
        Ok(())
    }

    /// Says where a segment's octets are.
    ///
    /// # Errors
    /// The database.
    pub async fn set_segment_place(
        &self,
        id: &SegmentId,
        tier: Tier,
        object: Option<&StoredObject>,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE segments SET tier = $2, object_key = $3, object_octets = $4, object_sha256 = $5 WHERE id = $1",
        )
        .bind(&id.0)
        .bind(tier.name())
        .bind(object.map(|object| object.key.clone()))
        .bind(object.map(|object| object.octets as i64))
        .bind(object.map(|object| hex::text(&object.sha256)))
        .execute(self.pool())
        .await
        .map_err(Error::sql("setting a segment's place"))?;
        Ok(())
    }

    /// Every segment that is not deleted is a file of the recorder's and nothing else: after a restore.
    pub(crate) async fn forget_objects(&self) -> Result<(), Error> {
        sqlx::query(
            "UPDATE segments SET tier = 'hot', object_key = NULL, object_octets = NULL, object_sha256 = NULL \
             WHERE state <> 'deleted'",
        )
        .execute(self.pool())
        .await
        .map_err(Error::sql("forgetting the copies of segments"))?;
        Ok(())
    }

    /// Contacts in order of time: what each link received of each spacecraft without a silence of more than
    /// [`CONTACT_SILENCE_NS`], whatever segments it lies in.
    ///
    /// # Errors
    /// The database.
    pub async fn contacts(&self, filter: &ContactFilter) -> Result<Vec<Contact>, Error> {
        let before = |time: i64| time.saturating_sub(CONTACT_SILENCE_NS);
        let after = |time: i64| time.saturating_add(CONTACT_SILENCE_NS);
        let (mut from, mut to) =
            (filter.from_tai_ns.map_or(TIME_MIN, before), filter.to_tai_ns.map_or(TIME_MAX, after));
        // A contact may begin before the span and end after it: look further until it does not grow.
        loop {
            let found = self.presences(filter, from, to).await?;
            let joined = join(found.iter().map(rows::contact).collect::<Result<_, _>>()?);
            let overlaps = |contact: &&Contact| {
                filter.from_tai_ns.is_none_or(|from| contact.presence.last_rx_tai_ns >= from)
                    && filter.to_tai_ns.is_none_or(|to| contact.presence.first_rx_tai_ns < to)
            };
            let wanted: Vec<&Contact> = joined.iter().filter(overlaps).collect();
            let first = wanted.iter().map(|contact| before(contact.presence.first_rx_tai_ns)).min();
            let last = wanted.iter().map(|contact| after(contact.presence.last_rx_tai_ns)).max();
            let (wider_from, wider_to) = (from.min(first.unwrap_or(from)), to.max(last.unwrap_or(to)));
            if (wider_from, wider_to) == (from, to) {
                let mut contacts: Vec<Contact> = wanted.into_iter().cloned().collect();
                contacts.sort_by_key(|contact| (contact.presence.first_rx_tai_ns, contact.presence.link));
                return Ok(contacts);
            }
            (from, to) = (wider_from, wider_to);
        }
    }

    async fn presences(&self, filter: &ContactFilter, from: i64, to: i64) -> Result<Vec<AnyRow>, Error> {
        let mut conditions = Conditions::default();
        conditions.within("p", Some(from), Some(to.saturating_add(1)));
        for (column, value) in [
            ("p.session", filter.session.map(i64::from)),
            ("p.scid", filter.scid.map(i64::from)),
            ("p.link", filter.link.map(i64::from)),
            ("p.by_packets", Some(i64::from(filter.by_packets))),
        ] {
            conditions.equal(column, value);
        }
        if self.black_only {
            conditions.and("s.colour = 'black'", []);
        }
        if let Some(seen) = self.seen_condition("s.colour", "p.session", "p.scid") {
            conditions.and(&seen, []);
        }
        let sql = format!(
            "SELECT s.ring, s.colour, p.* FROM presences p JOIN segments s ON s.id = p.segment_id WHERE {} \
             ORDER BY s.colour || '', s.ring, p.link, p.session, p.scid, p.first_rx, p.segment_id, p.part",
            conditions.sql()
        );
        conditions.bound_to(&sql).fetch_all(self.pool()).await.map_err(Error::sql("listing contacts"))
    }

    /// Every channel that was ever received.
    ///
    /// # Errors
    /// The database.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        let seen = self.seen_condition("colour", "session", "scid").unwrap_or_else(|| "1 = 1".to_owned());
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT DISTINCT link, session, tfvn, scid, vcid, expedited, apid FROM runs WHERE \
             ($1 = 0 OR colour = 'black') AND {seen} ORDER BY link, session, scid, vcid, apid, tfvn, expedited",
        )))
        .bind(i64::from(self.black_only))
        .fetch_all(self.pool())
        .await
        .map_err(Error::sql("listing channels"))?;
        found.iter().map(rows::channel).collect()
    }

    /// What the archive holds, in all.
    ///
    /// # Errors
    /// The database.
    pub async fn totals(&self) -> Result<Totals, Error> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS segments, CAST(COALESCE(SUM(CASE WHEN state = 'quarantined' THEN 1 ELSE 0 END), 0) \
             AS BIGINT) AS quarantined, CAST(COALESCE(SUM(file_octets), 0) AS BIGINT) AS octets, \
             CAST(COALESCE(SUM(frames), 0) AS BIGINT) AS frames, CAST(COALESCE(SUM(packets), 0) AS BIGINT) AS \
             packets, CAST(COALESCE(SUM(lost_records), 0) AS BIGINT) AS lost_records, \
             (SELECT COUNT(*) FROM gaps WHERE state = 'open' AND ($1 = 0 OR colour = 'black')) AS open_gaps \
             FROM segments WHERE state <> 'deleted' AND ($1 = 0 OR colour = 'black')",
        )
        .bind(i64::from(self.black_only))
        .fetch_one(self.pool())
        .await
        .map_err(Error::sql("counting the archive"))?;
        Ok(Totals {
            segments: number(&row, "segments")?,
            quarantined: number(&row, "quarantined")?,
            octets: number(&row, "octets")?,
            frames: number(&row, "frames")?,
            packets: number(&row, "packets")?,
            lost_records: number(&row, "lost_records")?,
            open_gaps: number(&row, "open_gaps")?,
        })
    }

    /// Keeps the signed root of a day (`2026-11-26`); a second one of the same day takes its place.
    ///
    /// # Errors
    /// The database.
    pub async fn keep_root(&self, day: &str, document: &str, now_tai_ns: i64) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO roots (day, document, at) VALUES ($1, $2, $3) \
             ON CONFLICT (day) DO UPDATE SET document = excluded.document, at = excluded.at",
        )
        .bind(day)
        .bind(document)
        .bind(now_tai_ns)
        .execute(self.pool())
        .await
        .map_err(Error::sql("keeping a root"))?;
        Ok(())
    }

    /// Days that have a root, with their documents and when they were made.
    ///
    /// # Errors
    /// The database.
    pub async fn roots(&self) -> Result<Vec<(String, String, i64)>, Error> {
        let found = sqlx::query("SELECT * FROM roots ORDER BY day")
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("listing roots"))?;
        found.iter().map(|row| Ok((text(row, "day")?, text(row, "document")?, int(row, "at")?))).collect()
    }
}

/// Joins presences that no silence separates; they come in order of stream, link, session, spacecraft and time.
fn join(presences: Vec<Contact>) -> Vec<Contact> {
    let mut contacts: Vec<Contact> = Vec::new();
    for next in presences {
        if let Some(last) = contacts.last_mut() {
            let key = |contact: &Contact| {
                let presence = &contact.presence;
                (contact.colour, contact.ring.clone(), presence.link, presence.session, presence.scid)
            };
            let silence = next.presence.first_rx_tai_ns.saturating_sub(last.presence.last_rx_tai_ns);
            if key(last) == key(&next) && silence <= CONTACT_SILENCE_NS {
                last.presence.last_rx_tai_ns = last.presence.last_rx_tai_ns.max(next.presence.last_rx_tai_ns);
                last.presence.counts += next.presence.counts;
                continue;
            }
        }
        contacts.push(next);
    }
    contacts
}

/// Far from the ends of the numbers, so that the database can subtract from it.
const TIME_MIN: i64 = -4_000_000_000_000_000_000;
const TIME_MAX: i64 = i64::MAX;
