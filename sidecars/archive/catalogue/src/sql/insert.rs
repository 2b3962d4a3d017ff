//! A segment into the catalogue: one transaction, the same result however often and in whatever order.
//!
//! What a segment holds by itself (facts, presences, runs, breaks within it) is inserted once. What depends on its
//! neighbours is derived again from what is there: the gaps between the last run of a channel before it and the first run
//! after it. So any order of segments ends in the same rows.

use fep_database::Writing;
use futures::TryStreamExt;
use sqlx::Any;

use super::Catalogue;
use super::gaps::CATALOGUE;
use super::rows::{self, number};
use crate::continuity::{Rates, Step, judge};
use crate::model::{Break, Channel, GapState, Run, Segment};
use crate::{CONTACT_SILENCE_NS, Error, Summary, hex};

/// What came of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    New,
    /// It was there already, the same.
    Known,
}

impl Catalogue {
    /// Puts a sealed segment and what was found in it into the catalogue. A second time changes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] when a segment of that name but with other contents is there; the database.
    pub async fn insert(
        &self,
        segment: &Segment,
        summary: &Summary,
        now_tai_ns: i64,
    ) -> Result<Inserted, Error> {
        let id = segment.facts.id().0;
        if self.hides(&id) {
            return Err(Error::refused(
                format!("segment {id}"),
                "this service has nothing to do with red data",
            ));
        }
        let mut transaction = self.begin("inserting a segment").await?;
        if let Some(known) = content_of(&mut transaction, &id).await? {
            if known == segment.facts.content_sha256 {
                return Ok(Inserted::Known);
            }
            return Err(Error::refused(
                format!("segment {id}"),
                format!(
                    "the catalogue has one of that name with contents {}, this one has {}",
                    hex::text(&known),
                    hex::text(&segment.facts.content_sha256)
                ),
            ));
        }
        insert_segment(&mut transaction, segment).await?;
        insert_presences(&mut transaction, &id, summary).await?;
        insert_runs(&mut transaction, segment, summary).await?;
        upsert_gaps(&mut transaction, segment, segment.facts.series, &summary.breaks).await?;
        join_neighbours(&mut transaction, segment, summary).await?;
        if let Some((from, to)) = summary.rx_tai_ns {
            super::gaps::fill(&mut transaction, summary, from, to, now_tai_ns).await?;
        }
        transaction.commit().await?;
        Ok(Inserted::New)
    }
}

async fn content_of(transaction: &mut Writing, id: &str) -> Result<Option<[u8; 32]>, Error> {
    let row = sqlx::query("SELECT content_sha256 FROM segments WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(Error::sql("looking for a segment"))?;
    row.map(|row| rows::hash(&row, "content_sha256")).transpose()
}

async fn insert_segment(transaction: &mut Writing, segment: &Segment) -> Result<(), Error> {
    let facts = &segment.facts;
    let object = segment.object.as_ref();
    let (frames, packets) = (segment.frames_index.as_ref(), segment.packets_index.as_ref());
    sqlx::query(
        "INSERT INTO segments (id, ring, colour, series, base_pos, first_seq, end_seq, records, lost_records, \
         file_octets, content_sha256, chain, previous_chain, first_rx, last_rx, frames, packets, \
         payload_octets, state, state_reason, tier, object_key, object_octets, object_sha256, frames_key, \
         frames_octets, frames_sha256, packets_key, packets_octets, packets_sha256) VALUES ($1, $2, $3, $4, \
         $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, \
         $26, $27, $28, $29, $30)",
    )
    .bind(facts.id().0)
    .bind(&facts.ring)
    .bind(facts.colour.name())
    .bind(facts.series as i64)
    .bind(facts.base_pos as i64)
    .bind(facts.first_seq as i64)
    .bind(facts.end_seq as i64)
    .bind(facts.records as i64)
    .bind(facts.lost_records as i64)
    .bind(facts.file_octets as i64)
    .bind(hex::text(&facts.content_sha256))
    .bind(hex::text(&facts.chain))
    .bind(hex::text(&facts.previous_chain))
    .bind(segment.first_rx_tai_ns)
    .bind(segment.last_rx_tai_ns)
    .bind(segment.frames as i64)
    .bind(segment.packets as i64)
    .bind(segment.payload_octets as i64)
    .bind(segment.state.name())
    .bind(&segment.state_reason)
    .bind(segment.tier.name())
    .bind(object.map(|object| object.key.clone()))
    .bind(object.map(|object| object.octets as i64))
    .bind(object.map(|object| hex::text(&object.sha256)))
    .bind(frames.map(|file| file.key.clone()))
    .bind(frames.map(|file| file.octets as i64))
    .bind(frames.map(|file| hex::text(&file.sha256)))
    .bind(packets.map(|file| file.key.clone()))
    .bind(packets.map(|file| file.octets as i64))
    .bind(packets.map(|file| hex::text(&file.sha256)))
    .execute(&mut **transaction)
    .await
    .map_err(Error::sql("inserting a segment"))?;
    Ok(())
}

async fn insert_presences(transaction: &mut Writing, id: &str, summary: &Summary) -> Result<(), Error> {
    for (part, presence) in summary.presences.iter().enumerate() {
        let counts = presence.counts;
        sqlx::query(
            "INSERT INTO presences (segment_id, part, link, session, scid, by_packets, first_rx, last_rx, \
             units, bad, corrected, idle, octets) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(id)
        .bind(part as i64)
        .bind(i64::from(presence.link))
        .bind(i64::from(presence.session))
        .bind(presence.scid.map_or(-1, i64::from))
        .bind(i64::from(presence.by_packets))
        .bind(presence.first_rx_tai_ns)
        .bind(presence.last_rx_tai_ns)
        .bind(counts.units as i64)
        .bind(counts.bad as i64)
        .bind(counts.corrected as i64)
        .bind(counts.idle as i64)
        .bind(counts.octets as i64)
        .execute(&mut **transaction)
        .await
        .map_err(Error::sql("inserting a presence"))?;
    }
    Ok(())
}

async fn insert_runs(transaction: &mut Writing, segment: &Segment, summary: &Summary) -> Result<(), Error> {
    const COLUMNS: usize = 21;
    let facts = &segment.facts;
    let id = facts.id().0;
    for runs in summary.runs.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO runs (segment_id, ring, colour, series, link, session, tfvn, scid, vcid, expedited, apid, \
             first_seq, last_seq, first_rx, last_rx, first_count, last_count, units, duplicates, modulus, \
             first_flags) VALUES {}",
            places(runs.len(), COLUMNS)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for run in runs {
            query = query.bind(&id).bind(&facts.ring).bind(facts.colour.name()).bind(facts.series as i64);
            query = bind_channel(query, &run.channel)
                .bind(run.first_seq as i64)
                .bind(run.last_seq as i64)
                .bind(run.first_rx_tai_ns)
                .bind(run.last_rx_tai_ns)
                .bind(run.first_count as i64)
                .bind(run.last_count as i64)
                .bind(run.units as i64)
                .bind(run.duplicates as i64)
                .bind(run.modulus as i64)
                .bind(i64::from(run.first_flags));
        }
        query.execute(&mut **transaction).await.map_err(Error::sql("inserting runs"))?;
    }
    Ok(())
}

/// Rows of one statement: a round trip for each would take longer than all the rest.
const ROWS_PER_STATEMENT: usize = 64;

/// `($1, $2, …), ($n, …)` for so many rows and columns.
fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> =
            (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

/// Link, session, tfvn, scid, vcid, expedited, apid, in the order of the columns of `runs` and `gaps`.
fn bind_channel<'q>(query: Query<'q>, channel: &Channel) -> Query<'q> {
    query
        .bind(i64::from(channel.link))
        .bind(i64::from(channel.session))
        .bind(i64::from(channel.tfvn))
        .bind(i64::from(channel.scid))
        .bind(i64::from(channel.vcid))
        .bind(i64::from(channel.expedited))
        .bind(channel.apid.map_or(-1, i64::from))
}

/// Derives again the gaps that lead into and out of a new segment, and those that lead over it.
async fn join_neighbours(
    transaction: &mut Writing,
    segment: &Segment,
    summary: &Summary,
) -> Result<(), Error> {
    let facts = &segment.facts;
    let mut channels: Vec<Channel> = summary.runs.iter().map(|run| run.channel).collect();
    channels.dedup();
    let (first, last) = (facts.first_seq, facts.end_seq);
    if has_later_segment(transaction, segment).await? {
        // A gap that was seen from before this segment to after it is judged anew: who was received in between matters.
        channels.extend(channels_of_ring(transaction, segment).await?);
        channels.sort_unstable();
        channels.dedup();
    }
    for channel in channels {
        let own = || summary.runs.iter().filter(|run| run.channel == channel);
        let before = neighbour(transaction, segment, &channel, Side::Before, first).await?;
        let after = neighbour(transaction, segment, &channel, Side::After, last).await?;
        let series = facts.series;
        let own_first = own().next().map(|run| (series, run.clone()));
        let own_last = own().next_back().map(|run| (series, run.clone()));
        match (own_first, own_last) {
            (Some(own_first), Some(own_last)) => {
                join(transaction, segment, before.as_ref(), Some(&own_first)).await?;
                join(transaction, segment, Some(&own_last), after.as_ref()).await?;
            }
            _ => join(transaction, segment, before.as_ref(), after.as_ref()).await?,
        }
    }
    Ok(())
}

async fn has_later_segment(transaction: &mut Writing, segment: &Segment) -> Result<bool, Error> {
    let facts = &segment.facts;
    sqlx::query(
        "SELECT 1 AS found FROM segments WHERE colour = $1 AND ring = $2 AND \
         (series > $3 OR (series = $3 AND first_seq > $4)) LIMIT 1",
    )
    .bind(facts.colour.name())
    .bind(&facts.ring)
    .bind(facts.series as i64)
    .bind(facts.first_seq as i64)
    .fetch_optional(&mut **transaction)
    .await
    .map(|row| row.is_some())
    .map_err(Error::sql("looking for later segments"))
}

async fn channels_of_ring(transaction: &mut Writing, segment: &Segment) -> Result<Vec<Channel>, Error> {
    let found = sqlx::query(
        "SELECT DISTINCT link, session, tfvn, scid, vcid, expedited, apid FROM runs WHERE colour = $1 AND ring = $2",
    )
    .bind(segment.facts.colour.name())
    .bind(&segment.facts.ring)
    .fetch_all(&mut **transaction)
    .await
    .map_err(Error::sql("listing channels"))?;
    found.iter().map(rows::channel).collect()
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The channel's last run before, or first run at or after, a sequence number of the segment's series.
async fn neighbour(
    transaction: &mut Writing,
    segment: &Segment,
    channel: &Channel,
    side: Side,
    seq: u64,
) -> Result<Option<(u64, Run)>, Error> {
    let sql = match side {
        Side::Before => {
            "SELECT * FROM runs WHERE colour = $1 AND ring = $2 AND link = $3 AND session = $4 AND scid = $5 AND \
             vcid = $6 AND tfvn = $7 AND expedited = $8 AND apid = $9 AND \
             (series < $10 OR (series = $10 AND first_seq < $11)) ORDER BY series DESC, first_seq DESC LIMIT 1"
        }
        Side::After => {
            "SELECT * FROM runs WHERE colour = $1 AND ring = $2 AND link = $3 AND session = $4 AND scid = $5 AND \
             vcid = $6 AND tfvn = $7 AND expedited = $8 AND apid = $9 AND \
             (series > $10 OR (series = $10 AND first_seq >= $11)) ORDER BY series, first_seq LIMIT 1"
        }
    };
    let row = sqlx::query(sql)
        .bind(segment.facts.colour.name())
        .bind(&segment.facts.ring)
        .bind(i64::from(channel.link))
        .bind(i64::from(channel.session))
        .bind(i64::from(channel.scid))
        .bind(i64::from(channel.vcid))
        .bind(i64::from(channel.tfvn))
        .bind(i64::from(channel.expedited))
        .bind(channel.apid.map_or(-1, i64::from))
        .bind(segment.facts.series as i64)
        .bind(seq as i64)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(Error::sql("looking for a channel's neighbouring run"))?;
    row.map(|row| Ok((number(&row, "series")?, rows::run(&row)?))).transpose()
}

/// Judges the boundary between two runs of a channel and keeps, or takes away, the gap there.
async fn join(
    transaction: &mut Writing,
    segment: &Segment,
    before: Option<&(u64, Run)>,
    after: Option<&(u64, Run)>,
) -> Result<(), Error> {
    let (Some((before_series, before)), Some((series, after))) = (before, after) else { return Ok(()) };
    let facts = &segment.facts;
    let comparable =
        before.modulus == after.modulus && same_contact(transaction, segment, before, after).await?;
    // Sequence numbers of two series have nothing to do with each other: then the counters alone judge.
    let rates = if before_series == series { Rates::of(before) } else { Rates::default() };
    let (last, next) = (before.last_unit(), after.first_unit());
    let step = if comparable { judge(after.modulus, last, next, rates) } else { Step::Next };
    match step {
        Step::Gap { lost, cause } => {
            let found = Break { channel: after.channel, modulus: after.modulus, last, next, lost, cause };
            upsert_gaps(transaction, segment, *series, &[found]).await
        }
        Step::Next | Step::Duplicate => {
            // What was taken for a gap while this segment was missing. A gap that somebody worked on stays, as filled.
            let id = gap_id(facts.colour.name(), &facts.ring, *series, next.seq);
            for sql in [
                "DELETE FROM gap_steps WHERE gap_id = $1 AND NOT EXISTS (SELECT 1 FROM gap_steps s WHERE \
                 s.gap_id = $1 AND s.person <> $2)",
                "DELETE FROM gaps WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM gap_steps s WHERE s.gap_id = $1 \
                 AND s.person <> $2)",
            ] {
                sqlx::query(sql)
                    .bind(&id)
                    .bind(CATALOGUE)
                    .execute(&mut **transaction)
                    .await
                    .map_err(Error::sql("taking away a gap that is none"))?;
            }
            sqlx::query("UPDATE gaps SET state = $2, lost = 0 WHERE id = $1")
                .bind(&id)
                .bind(GapState::Filled.name())
                .execute(&mut **transaction)
                .await
                .map_err(Error::sql("marking a gap as filled"))?;
            Ok(())
        }
    }
}

/// Whether there was no silence of the link between two runs: then what is missing between them was lost.
async fn same_contact(
    transaction: &mut Writing,
    segment: &Segment,
    before: &Run,
    after: &Run,
) -> Result<bool, Error> {
    let (from, to) = (before.last_rx_tai_ns, after.first_rx_tai_ns);
    if to.saturating_sub(from) <= CONTACT_SILENCE_NS {
        return Ok(true);
    }
    // Taken as they come, since the first silence ends the search: between two runs there may be years of presences.
    let mut found = sqlx::query(
        "SELECT p.first_rx, p.last_rx FROM presences p JOIN segments s ON s.id = p.segment_id WHERE s.ring = $1 AND \
         s.colour = $2 AND p.link = $3 AND p.session = $4 AND p.first_rx <= $5 AND p.last_rx >= $6 \
         ORDER BY p.first_rx",
    )
    .bind(&segment.facts.ring)
    .bind(segment.facts.colour.name())
    .bind(i64::from(before.channel.link))
    .bind(i64::from(before.channel.session))
    .bind(to)
    .bind(from)
    .fetch(&mut **transaction);
    let mut reached = from;
    while let Some(row) = found.try_next().await.map_err(Error::sql("looking for a silence"))? {
        if rows::int(&row, "first_rx")?.saturating_sub(reached) > CONTACT_SILENCE_NS {
            return Ok(false);
        }
        reached = reached.max(rows::int(&row, "last_rx")?);
    }
    Ok(to.saturating_sub(reached) <= CONTACT_SILENCE_NS)
}

/// A gap is named for the unit after it: a record has one channel, so no two gaps have the same name.
fn gap_id(colour: &str, ring: &str, series: u64, before_seq: u64) -> String {
    format!("{colour}/{ring}/{series:016x}-{before_seq}")
}

async fn upsert_gaps(
    transaction: &mut Writing,
    segment: &Segment,
    series: u64,
    breaks: &[Break],
) -> Result<(), Error> {
    const COLUMNS: usize = 21;
    let (ring, colour) = (segment.facts.ring.as_str(), segment.facts.colour.name());
    for breaks in breaks.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO gaps (id, ring, colour, series, link, session, tfvn, scid, vcid, expedited, apid, \
             from_count, to_count, lost, modulus, cause, after_seq, before_seq, start_rx, stop_rx, state) VALUES {} \
             ON CONFLICT (id) DO UPDATE SET from_count = excluded.from_count, to_count = excluded.to_count, \
             lost = excluded.lost, modulus = excluded.modulus, cause = excluded.cause, \
             after_seq = excluded.after_seq, start_rx = excluded.start_rx, stop_rx = excluded.stop_rx",
            places(breaks.len(), COLUMNS)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for Break { channel, modulus, last, next, lost, cause } in breaks {
            query = query
                .bind(gap_id(colour, ring, series, next.seq))
                .bind(ring)
                .bind(colour)
                .bind(series as i64);
            query = bind_channel(query, channel)
                .bind(((last.count + 1) % modulus) as i64)
                .bind(((next.count + modulus - 1) % modulus) as i64)
                .bind(*lost as i64)
                .bind(*modulus as i64)
                .bind(cause.name())
                .bind(last.seq as i64)
                .bind(next.seq as i64)
                .bind(last.rx_tai_ns)
                .bind(next.rx_tai_ns)
                .bind(GapState::Open.name());
        }
        query.execute(&mut **transaction).await.map_err(Error::sql("inserting gaps"))?;
    }
    Ok(())
}
