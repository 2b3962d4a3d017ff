//! What deletions and the lifting of holds have in common: orders of several persons ([`fep_orders`]).

use fep_database::Writing;
use fep_orders::{Actor, Filter, Order, OrderState, PAGE_MAX, Rule, Step};
use fep_time::Tai;

use super::{Catalogue, audit};
use crate::Error;

/// Kind of order that deletes segments.
pub(super) const DELETE: &str = "archive.delete";
/// Kind of order that lifts a hold.
pub(super) const RELEASE: &str = "archive.release-hold";

/// What the two kinds of orders need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRules {
    delete: Rule,
    release: Rule,
}

impl Default for OrderRules {
    /// Role `operator` asks, another person with the role `approver` approves, within 30 days.
    fn default() -> OrderRules {
        let approver = || vec!["approver".to_owned()];
        OrderRules::build(approver(), approver(), 30 * 86_400)
    }
}

impl OrderRules {
    /// One role for each person who must approve a deletion, and the lifting of a hold. `valid_s`: how long an order waits for
    /// approvals and for its execution to begin.
    ///
    /// # Errors
    /// A rule that cannot be: see [`Rule::check`].
    pub fn new(delete: Vec<String>, release: Vec<String>, valid_s: u64) -> Result<OrderRules, Error> {
        let rules = OrderRules::build(delete, release, valid_s);
        rules.delete.check()?;
        rules.release.check()?;
        Ok(rules)
    }

    fn build(delete: Vec<String>, release: Vec<String>, valid_s: u64) -> OrderRules {
        let rule = |kind: &str, seats| Rule {
            kind: kind.to_owned(),
            ask: "operator".to_owned(),
            seats,
            execute: None,
            valid_s,
        };
        OrderRules { delete: rule(DELETE, delete), release: rule(RELEASE, release) }
    }

    pub(super) fn delete(&self) -> Rule {
        self.delete.clone()
    }

    pub(super) fn release(&self) -> Rule {
        self.release.clone()
    }
}

/// Who executes orders, and notes what happens without a person.
pub(super) fn service() -> Result<Actor, Error> {
    Ok(Actor::new(audit::SERVICE, "", &[])?)
}

impl Catalogue {
    /// Orders of a kind, the oldest first.
    pub(super) async fn orders(&self, kind: &str, state: Option<OrderState>) -> Result<Vec<Order>, Error> {
        let mut reading = self.database.read("listing orders").await?;
        let mut filter = Filter { state, kind: Some(kind.to_owned()), ..Filter::default() };
        let mut orders = Vec::new();
        loop {
            let page = fep_orders::list(&mut reading, &filter).await?;
            let is_last = page.len() < PAGE_MAX as usize;
            filter.after = page.last().map(|order| (order.asked_at, order.id.clone()));
            orders.extend(page);
            if is_last {
                return Ok(orders);
            }
        }
    }

    /// One order of a kind; `None` when there is none of that name.
    pub(super) async fn order(&self, kind: &str, id: &str) -> Result<Option<Order>, Error> {
        let mut reading = self.database.read("looking for an order").await?;
        match fep_orders::get(&mut reading, id).await {
            Ok(order) => Ok((order.rule.kind == kind).then_some(order)),
            Err(fep_orders::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends an order that was not begun: who asked withdraws it, anybody else refuses it, which needs a role of its rule.
    pub(super) async fn end_order(
        &self,
        id: &str,
        actor: &Actor,
        note: &str,
        now_tai_ns: i64,
    ) -> Result<(), Error> {
        let order = {
            let mut reading = self.database.read("looking for an order").await?;
            fep_orders::get(&mut reading, id).await?
        };
        let note = note.to_owned();
        let step = if order.asker == actor.person { Step::Withdraw { note } } else { Step::Refuse { note } };
        fep_orders::perform(&self.database, id, &step, actor, Tai(now_tai_ns)).await?;
        Ok(())
    }

    /// Notes of orders whose time is over that it is.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn expire_orders(&self, now_tai_ns: i64) -> Result<u64, Error> {
        let mut writing = self.begin("looking for orders whose time is over").await?;
        let expired = fep_orders::expire_due(&mut writing, Tai(now_tai_ns)).await?;
        writing.commit().await?;
        Ok(expired)
    }

    /// After a restore: orders that were not begun are refused. Somebody may have withdrawn one since the backup was made.
    pub(crate) async fn refuse_open_orders(&self, note: &str, now_tai_ns: i64) -> Result<usize, Error> {
        let mut ended = 0;
        for kind in [DELETE, RELEASE] {
            for state in [OrderState::Asked, OrderState::Approved] {
                for order in self.orders(kind, Some(state)).await? {
                    let seats: Vec<&str> = order.rule.seats.iter().map(String::as_str).collect();
                    let actor = Actor::new(audit::SERVICE, "", &seats)?;
                    let now = Tai(now_tai_ns);
                    let step = match order.state_at(now) {
                        OrderState::Expired => Step::Expire,
                        _ => Step::Refuse { note: note.to_owned() },
                    };
                    fep_orders::perform(&self.database, &order.id, &step, &actor, now).await?;
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }
}

/// A name that no order and no row of an earlier release has: `PREFIX-1`, `PREFIX-2`, … Nothing is ever removed, so the number
/// of names counts them.
pub(super) async fn free_name(
    writing: &mut Writing,
    sql: &'static str,
    prefix: &str,
) -> Result<String, Error> {
    let row = sqlx::query(sql).fetch_one(&mut **writing).await.map_err(Error::sql("finding a free name"))?;
    Ok(format!("{prefix}-{}", super::rows::int(&row, "names")? + 1))
}
