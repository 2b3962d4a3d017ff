//! Gaps: asking for them, what people do about them, and noticing that their data are here.

use std::collections::HashMap;

use fep_database::Writing;

use super::rows::{self, int, name, text};
use super::{Catalogue, audit};
use crate::coverage::{ANTENNA_SPREAD_NS, covers};
use crate::model::{Channel, Colour, Gap, GapState, GapStep, Run};
use crate::{Error, Summary};

/// Whose gaps. A field that is `None` takes all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GapFilter {
    /// Gaps that end at or after this time.
    pub from_tai_ns: Option<i64>,
    /// Gaps that begin before this time.
    pub to_tai_ns: Option<i64>,
    /// Station link.
    pub link: Option<u16>,
    /// Session number.
    pub session: Option<u8>,
    /// Spacecraft.
    pub scid: Option<u16>,
    /// Virtual channel.
    pub vcid: Option<u8>,
    /// Frames only (`Some(None)`), or packets of one application process (`Some(Some(apid))`).
    pub apid: Option<Option<u16>>,
    /// State.
    pub state: Option<GapState>,
    /// At most so many; `None` for all.
    pub limit: Option<u32>,
}

/// Who fills gaps whose data came by themselves.
pub(super) const CATALOGUE: &str = "catalogue";

impl Catalogue {
    /// Gaps in order of time.
    ///
    /// # Errors
    /// The database.
    pub async fn gaps(&self, filter: &GapFilter) -> Result<Vec<Gap>, Error> {
        let seen = self.seen_condition("colour", "session", "scid").unwrap_or_else(|| "1 = 1".to_owned());
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT * FROM gaps WHERE stop_rx >= $1 AND start_rx < $2 AND ($3 = -1 OR link = $3) AND \
             ($4 = -1 OR session = $4) AND ($5 = -1 OR scid = $5) AND ($6 = -1 OR vcid = $6) AND \
             ($7 = -2 OR apid = $7) AND ($8 = '' OR state = $8) AND ($10 = 0 OR colour = 'black') AND {seen} \
             ORDER BY start_rx, id LIMIT $9",
        )))
        .bind(filter.from_tai_ns.unwrap_or(i64::MIN))
        .bind(filter.to_tai_ns.unwrap_or(i64::MAX))
        .bind(filter.link.map_or(-1, i64::from))
        .bind(filter.session.map_or(-1, i64::from))
        .bind(filter.scid.map_or(-1, i64::from))
        .bind(filter.vcid.map_or(-1, i64::from))
        .bind(filter.apid.map_or(-2, |apid| apid.map_or(-1, i64::from)))
        .bind(filter.state.map_or("", GapState::name))
        .bind(filter.limit.map_or(i64::MAX, i64::from))
        .bind(i64::from(self.black_only))
        .fetch_all(self.pool())
        .await
        .map_err(Error::sql("listing gaps"))?;
        found.iter().map(rows::gap).collect()
    }

    fn refuse_if_hidden(&self, gap: &str) -> Result<(), Error> {
        if self.hides(gap) { Err(Error::not_found("gap", gap)) } else { Ok(()) }
    }

    /// One gap.
    ///
    /// # Errors
    /// None of that name; the database.
    pub async fn gap(&self, id: &str) -> Result<Gap, Error> {
        self.refuse_if_hidden(id)?;
        let found = sqlx::query("SELECT * FROM gaps WHERE id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await
            .map_err(Error::sql("looking for a gap"))?;
        found.map_or_else(|| Err(Error::not_found("gap", id)), |row| rows::gap(&row))
    }

    /// What was done about a gap, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn gap_steps(&self, id: &str) -> Result<Vec<GapStep>, Error> {
        self.refuse_if_hidden(id)?;
        let found = sqlx::query("SELECT * FROM gap_steps WHERE gap_id = $1 ORDER BY step")
            .bind(id)
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("listing the steps of a gap"))?;
        let step = |row| {
            Ok(GapStep {
                at_tai_ns: int(row, "at")?,
                person: text(row, "person")?,
                from: name(row, "from_state")?,
                to: name(row, "to_state")?,
                note: text(row, "note")?,
            })
        };
        found.iter().map(step).collect()
    }

    /// Moves a gap to another state, with its reason, and says so in the audit trail.
    ///
    /// # Errors
    /// None of that name; a move that [`GapState::may_become`] does not allow; the database.
    pub async fn set_gap_state(
        &self,
        id: &str,
        to: GapState,
        person: &str,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<Gap, Error> {
        self.refuse_if_hidden(id)?;
        let mut transaction = self.begin("moving a gap").await?;
        let found = sqlx::query("SELECT * FROM gaps WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(Error::sql("looking for a gap"))?;
        let gap = found.map_or_else(|| Err(Error::not_found("gap", id)), |row| rows::gap(&row))?;
        if !gap.state.may_become(to) {
            return Err(Error::refused(
                format!("gap {id}"),
                format!("it is {} and cannot become {to} from there", gap.state),
            ));
        }
        let step = GapStep {
            at_tai_ns: now_tai_ns,
            person: person.to_owned(),
            from: gap.state,
            to,
            note: note.to_owned(),
        };
        move_gap(&mut transaction, id, &step).await?;
        audit::append(&mut transaction, now_tai_ns, person, &format!("gap {to}"), id, note).await?;
        transaction.commit().await?;
        Ok(Gap { state: to, ..gap })
    }
}

async fn move_gap(transaction: &mut Writing, id: &str, step: &GapStep) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO gap_steps (gap_id, step, at, person, from_state, to_state, note) \
         SELECT $1, COUNT(*), $2, $3, $4, $5, $6 FROM gap_steps WHERE gap_id = $1",
    )
    .bind(id)
    .bind(step.at_tai_ns)
    .bind(&step.person)
    .bind(step.from.name())
    .bind(step.to.name())
    .bind(&step.note)
    .execute(&mut **transaction)
    .await
    .map_err(Error::sql("noting a gap's step"))?;
    sqlx::query("UPDATE gaps SET state = $2 WHERE id = $1")
        .bind(id)
        .bind(step.to.name())
        .execute(&mut **transaction)
        .await
        .map_err(Error::sql("moving a gap"))?;
    Ok(())
}

/// Fills the gaps, near the time of a new segment, whose data came by another link or later.
pub(super) async fn fill(
    transaction: &mut Writing,
    summary: &Summary,
    first_rx: i64,
    last_rx: i64,
    now_tai_ns: i64,
) -> Result<(), Error> {
    let spacecraft: std::collections::BTreeSet<u16> =
        summary.runs.iter().map(|run| run.channel.scid).collect();
    for scid in spacecraft {
        let found = sqlx::query(
            "SELECT * FROM gaps WHERE scid = $1 AND state <> 'filled' AND stop_rx >= $2 AND start_rx <= $3 ORDER BY id",
        )
        .bind(i64::from(scid))
        .bind(first_rx.saturating_sub(ANTENNA_SPREAD_NS))
        .bind(last_rx.saturating_add(ANTENNA_SPREAD_NS))
        .fetch_all(&mut **transaction)
        .await
        .map_err(Error::sql("looking for gaps to fill"))?;
        let gaps = found.iter().map(rows::gap).collect::<Result<Vec<_>, _>>()?;
        let (Some(from), Some(to)) =
            (gaps.iter().map(|gap| gap.start_tai_ns).min(), gaps.iter().map(|gap| gap.stop_tai_ns).max())
        else {
            continue;
        };
        let runs = runs_over(transaction, scid, from, to).await?;
        for gap in gaps {
            let near = |run: &&Run| {
                run.first_rx_tai_ns <= gap.stop_tai_ns.saturating_add(ANTENNA_SPREAD_NS)
                    && run.last_rx_tai_ns >= gap.start_tai_ns.saturating_sub(ANTENNA_SPREAD_NS)
            };
            let of_channel = runs.get(&(gap.colour, anywhere(gap.channel))).into_iter().flatten();
            if covers(of_channel.filter(near), &gap) {
                let step = GapStep {
                    at_tai_ns: now_tai_ns,
                    person: CATALOGUE.to_owned(),
                    from: gap.state,
                    to: GapState::Filled,
                    note: "its data are here by another way".to_owned(),
                };
                move_gap(transaction, &gap.id, &step).await?;
            }
        }
    }
    Ok(())
}

/// A channel by whatever link.
fn anywhere(channel: Channel) -> Channel {
    Channel { link: 0, ..channel }
}

/// Runs of a spacecraft over a span of time, by any link and ring, by colour and channel.
async fn runs_over(
    transaction: &mut Writing,
    scid: u16,
    from: i64,
    to: i64,
) -> Result<HashMap<(Colour, Channel), Vec<Run>>, Error> {
    let found = sqlx::query(
        "SELECT * FROM runs WHERE scid = $1 AND first_rx <= $2 AND last_rx >= $3 ORDER BY first_rx, link, first_seq",
    )
    .bind(i64::from(scid))
    .bind(to.saturating_add(ANTENNA_SPREAD_NS))
    .bind(from.saturating_sub(ANTENNA_SPREAD_NS))
    .fetch_all(&mut **transaction)
    .await
    .map_err(Error::sql("looking for the data of gaps"))?;
    let mut runs: HashMap<_, Vec<Run>> = HashMap::new();
    for row in &found {
        let run = rows::run(row)?;
        runs.entry((name(row, "colour")?, anywhere(run.channel))).or_default().push(run);
    }
    Ok(runs)
}
