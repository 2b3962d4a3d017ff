//! How much came: per link and channel, and over all links together.

use std::collections::BTreeMap;

use super::conditions::{Bound, Conditions};
use super::{Catalogue, rows};
use crate::coverage::{Count, count_merged};
use crate::model::{Channel, Completeness, Contact, Run, Silence};
use crate::{CONTACT_SILENCE_NS, Error};

use super::query::ContactFilter;

/// Of what, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletenessQuery {
    /// From this time.
    pub from_tai_ns: i64,
    /// To before this time.
    pub to_tai_ns: i64,
    /// Session number.
    pub session: u8,
    /// Spacecraft.
    pub scid: u16,
    /// Only what this link received; `None`: every link, and all of them together.
    pub link: Option<u16>,
    /// Packets by application process instead of frames.
    pub packets: bool,
}

/// A channel without its link.
type Merged = (u8, u8, bool, Option<u16>);

impl Catalogue {
    /// How much of each channel came in a span of time: one entry a link and channel, and, unless one link was asked for,
    /// one a channel with `link` `None`, in which every unit counts once however many antennas received it.
    ///
    /// A run of counts that reaches out of the span counts with the share of its time that lies within.
    ///
    /// # Errors
    /// The database.
    pub async fn completeness(&self, query: &CompletenessQuery) -> Result<Vec<Completeness>, Error> {
        // The segments of the span first, then their runs: a spacecraft has runs of years.
        let mut conditions = Conditions::default();
        conditions.within("s", Some(query.from_tai_ns), Some(query.to_tai_ns));
        conditions.and(
            "r.last_rx >= {} AND r.first_rx < {}",
            [query.from_tai_ns, query.to_tai_ns].map(Bound::Number),
        );
        conditions.equal("r.scid", Some(i64::from(query.scid)));
        conditions.equal("r.session", Some(i64::from(query.session)));
        conditions.equal("r.link", query.link.map(i64::from));
        conditions.and(if query.packets { "r.apid <> -1" } else { "r.apid = -1" }, []);
        if !self.sees_red() {
            conditions.and("s.colour = 'black'", []);
        }
        let sql = format!(
            "SELECT r.* FROM segments s CROSS JOIN runs r WHERE r.segment_id = s.id AND {} ORDER BY r.series, r.first_seq",
            conditions.sql()
        );
        let found = conditions
            .bound_to(&sql)
            .fetch_all(self.pool())
            .await
            .map_err(Error::sql("counting what came"))?;
        let mut by_link: BTreeMap<Channel, Vec<Run>> = BTreeMap::new();
        let mut merged: BTreeMap<Merged, Vec<Run>> = BTreeMap::new();
        for row in &found {
            let run = clip(rows::run(row)?, query);
            let channel = run.channel;
            merged
                .entry((channel.tfvn, channel.vcid, channel.expedited, channel.apid))
                .or_default()
                .push(run.clone());
            by_link.entry(channel).or_default().push(run);
        }
        let contacts = self.contacts_of(query).await?;
        let entry = |link, vcid, apid, count: Count| Completeness {
            link,
            session: query.session,
            scid: query.scid,
            vcid,
            apid,
            received: count.received,
            lost: count.lost,
            resets: count.resets,
        };
        let mut all = Vec::new();
        for (channel, mut runs) in by_link {
            let count =
                count_merged(&mut runs, |from, to| in_contact(&contacts, Some(channel.link), from, to));
            all.push(entry(Some(channel.link), channel.vcid, channel.apid, count));
        }
        if query.link.is_none() {
            for ((_, vcid, _, apid), mut runs) in merged {
                let count = count_merged(&mut runs, |from, to| in_contact(&contacts, None, from, to));
                all.push(entry(None, vcid, apid, count));
            }
        }
        Ok(all)
    }

    /// Where nothing was received in a span of time for more than [`CONTACT_SILENCE_NS`]: by each link that received
    /// something, and, unless one link was asked for, by all of them together (`link` `None`). Between two contacts that is
    /// as it should be; within one that was planned, it is a loss that no counter tells. A span in which nothing at all was
    /// received is one silence, however short.
    ///
    /// # Errors
    /// The database.
    pub async fn silences(&self, query: &CompletenessQuery) -> Result<Vec<Silence>, Error> {
        let mut heard: BTreeMap<Option<u16>, Vec<(i64, i64)>> = BTreeMap::new();
        heard.insert(query.link, Vec::new());
        for contact in self.contacts_of(query).await? {
            let presence = contact.presence;
            let span = (presence.first_rx_tai_ns, presence.last_rx_tai_ns);
            heard.entry(Some(presence.link)).or_default().push(span);
            if query.link.is_none() {
                heard.entry(None).or_default().push(span);
            }
        }
        Ok(heard.into_iter().flat_map(|(link, spans)| between(link, spans, query)).collect())
    }

    async fn contacts_of(&self, query: &CompletenessQuery) -> Result<Vec<Contact>, Error> {
        self.contacts(&ContactFilter {
            from_tai_ns: Some(query.from_tai_ns),
            to_tai_ns: Some(query.to_tai_ns),
            session: Some(query.session),
            scid: Some(query.scid),
            link: query.link,
            by_packets: query.packets,
        })
        .await
    }
}

/// The silences of a span that these receptions leave.
fn between(link: Option<u16>, mut heard: Vec<(i64, i64)>, query: &CompletenessQuery) -> Vec<Silence> {
    let silence = |from_tai_ns, to_tai_ns| Silence { link, from_tai_ns, to_tai_ns };
    if heard.is_empty() {
        return vec![silence(query.from_tai_ns, query.to_tai_ns)];
    }
    heard.sort_unstable();
    heard.push((query.to_tai_ns, query.to_tai_ns));
    let (mut silences, mut reached) = (Vec::new(), query.from_tai_ns);
    for (first, last) in heard {
        if first.saturating_sub(reached) > CONTACT_SILENCE_NS {
            silences.push(silence(reached, first));
        }
        reached = reached.max(last);
    }
    silences
}

/// Whether the spacecraft was in contact from one time to the other, by one link or by any.
fn in_contact(contacts: &[Contact], link: Option<u16>, from: i64, to: i64) -> bool {
    to.saturating_sub(from) <= CONTACT_SILENCE_NS
        || contacts.iter().map(|contact| &contact.presence).any(|presence| {
            link.is_none_or(|link| link == presence.link)
                && presence.first_rx_tai_ns <= from
                && presence.last_rx_tai_ns >= to
        })
}

/// The part of a run within the span, by time.
fn clip(mut run: Run, query: &CompletenessQuery) -> Run {
    let (first, last) = (run.first_rx_tai_ns, run.last_rx_tai_ns);
    let (from, to) = (first.max(query.from_tai_ns), last.min(query.to_tai_ns));
    if (from, to) == (first, last) || last <= first {
        return run;
    }
    let share = |until: i64| {
        let part = (until - first) as f64 / (last - first) as f64;
        (part * (run.units - 1) as f64).round() as u64
    };
    let (skipped, end) = (share(from), share(to));
    run.first_count = (run.first_count + skipped) % run.modulus;
    run.last_count = (run.first_count + (end - skipped)) % run.modulus;
    run.units = end - skipped + 1;
    run.first_rx_tai_ns = from;
    run.last_rx_tai_ns = to;
    run
}
