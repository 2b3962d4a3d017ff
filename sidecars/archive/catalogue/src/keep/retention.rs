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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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

    /// Segments whose class gives up their files for the copy in the object store.
    pub(super) async fn to_be_moved(
        &self,
        rules: &[RetentionRule],
        now_tai_ns: i64,
    ) -> Result<Vec<SegmentId>, Error> {
        let aged = self.aged(rules, now_tai_ns, |rule| rule.hot_days).await?;
        let movable = |segment: &Segment| segment.tier != Tier::Warm && segment.state == SegmentState::Ok;
        Ok(aged
            .into_iter()
            .filter(|(segment, ..)| movable(segment))
            .map(|(segment, ..)| segment.facts.id())
            .collect())
    }

    async fn aged<'r>(
        &self,
        rules: &'r [RetentionRule],
        now_tai_ns: i64,
        days: impl Fn(&RetentionRule) -> Option<u32>,
    ) -> Result<Vec<(Segment, &'r RetentionRule, i64)>, Error> {
        let age_ns = |rule: &RetentionRule| days(rule).map(|days| i64::from(days).saturating_mul(DAY_NS));
        // Nothing younger than the shortest time of any rule can be due: the catalogue is asked for nothing else.
        let Some(least_ns) = rules.iter().filter_map(&age_ns).min() else { return Ok(Vec::new()) };
        let before = SegmentFilter {
            to_tai_ns: Some(now_tai_ns.saturating_sub(least_ns)),
            ..SegmentFilter::default()
        };
        let mut aged = Vec::new();
        for segment in self.catalogue.segments(&before).await? {
            let Some(rule) = rules.iter().find(|rule| rule.fits(&segment)) else { continue };
            let (Some(age_ns), Some(last_rx)) = (age_ns(rule), segment.last_rx_tai_ns) else { continue };
            if segment.state != SegmentState::Deleted && now_tai_ns.saturating_sub(last_rx) > age_ns {
                aged.push((segment, rule, last_rx));
            }
        }
        Ok(aged)
    }
}
