//! Retention by class: what is old enough to move to the object store, and what to propose for deletion. Nothing is deleted
//! here: a proposal becomes a deletion request of one person, which another approves.

use serde::{Deserialize, Serialize};

use super::Keeper;
use crate::Error;
use crate::model::{Colour, Segment, SegmentId, SegmentState, Tier};
use crate::sql::SegmentFilter;

const DAY_NS: i64 = 86_400_000_000_000;

/// A class of segments and how long it is kept. The first rule that fits a segment holds for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Its name.
    pub class: String,
    /// Rings: a name, or the front of names and `*`; left out, every ring.
    #[serde(default)]
    pub ring: Option<String>,
    /// Colour; left out, both.
    #[serde(default)]
    pub colour: Option<Colour>,
    /// Days after the last reception until deletion is proposed; left out, never.
    #[serde(default)]
    pub keep_days: Option<u32>,
    /// Days until the recorder's file is given up for the copy in the object store; left out, never.
    #[serde(default)]
    pub hot_days: Option<u32>,
}

impl RetentionRule {
    fn fits(&self, segment: &Segment) -> bool {
        let ring = &segment.facts.ring;
        let ring_fits = self.ring.as_ref().is_none_or(|pattern| match pattern.strip_suffix('*') {
            Some(front) => ring.starts_with(front),
            None => ring == pattern,
        });
        ring_fits && self.colour.is_none_or(|colour| colour == segment.facts.colour)
    }
}

/// A segment whose time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Segment.
    pub segment: SegmentId,
    /// Class by which it is due.
    pub class: String,
    /// Its last reception.
    pub last_rx_tai_ns: i64,
    /// Holds that keep it nevertheless.
    pub holds: Vec<String>,
}

impl Keeper {
    /// Segments that their class does not keep any longer, with the holds that keep them nevertheless.
    ///
    /// # Errors
    /// The database.
    pub async fn due_for_deletion(
        &self,
        rules: &[RetentionRule],
        now_tai_ns: i64,
    ) -> Result<Vec<Due>, Error> {
        let mut due = Vec::new();
        for (segment, rule, last_rx_tai_ns) in self.aged(rules, now_tai_ns, |rule| rule.keep_days).await? {
            let id = segment.facts.id();
            let holds = self.catalogue.holds_on(&id).await?;
            due.push(Due { segment: id, class: rule.class.clone(), last_rx_tai_ns, holds });
        }
        Ok(due)
    }

    /// Moves the segments whose class says so to the object store: copies, reads back, then gives up the file. Gives the
    /// segments that moved.
    ///
    /// # Errors
    /// The first segment that cannot be moved; those before it have.
    pub async fn move_to_store(
        &self,
        rules: &[RetentionRule],
        now_tai_ns: i64,
    ) -> Result<Vec<SegmentId>, Error> {
        let mut moved = Vec::new();
        for (segment, ..) in self.aged(rules, now_tai_ns, |rule| rule.hot_days).await? {
            if segment.tier == Tier::Warm || segment.state != SegmentState::Ok {
                continue;
            }
            let id = segment.facts.id();
            self.store_segment(&id).await?;
            self.release_file(&id).await?;
            moved.push(id);
        }
        Ok(moved)
    }

    async fn aged<'r>(
        &self,
        rules: &'r [RetentionRule],
        now_tai_ns: i64,
        days: impl Fn(&RetentionRule) -> Option<u32>,
    ) -> Result<Vec<(Segment, &'r RetentionRule, i64)>, Error> {
        let mut aged = Vec::new();
        for segment in self.catalogue.segments(&SegmentFilter::default()).await? {
            let Some(rule) = rules.iter().find(|rule| rule.fits(&segment)) else { continue };
            let (Some(days), Some(last_rx)) = (days(rule), segment.last_rx_tai_ns) else { continue };
            let age_ns = now_tai_ns.saturating_sub(last_rx);
            if segment.state != SegmentState::Deleted && age_ns > i64::from(days) * DAY_NS {
                aged.push((segment, rule, last_rx));
            }
        }
        Ok(aged)
    }
}
