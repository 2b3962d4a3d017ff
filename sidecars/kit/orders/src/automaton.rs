//! The one function that changes an order.

use std::collections::BTreeSet;
use std::fmt;

use fep_database::hex;
use fep_time::Tai;

use crate::order::{Actor, Approval, Ending, Execution, Order, OrderState, PersonId, check_note};
use crate::seats;

/// What somebody does to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Approve what has this hash.
    Approve {
        /// SHA-256 of what the person has looked at.
        content_sha256: [u8; 32],
    },
    /// Refuse it, or take an approval back: whoever could approve, before it is begun.
    Refuse {
        /// Why.
        note: String,
    },
    /// Take it back: who asked, by whatever account, before it is begun.
    Withdraw {
        /// Why.
        note: String,
    },
    /// Note that its time is over.
    Expire,
    /// Begin to execute what has this hash. Done once.
    Begin {
        /// SHA-256 of what will be executed.
        content_sha256: [u8; 32],
    },
    /// It succeeded.
    Succeed {
        /// What came of it.
        note: String,
    },
    /// It did not.
    Fail {
        /// Why.
        note: String,
    },
}

impl Step {
    /// Its name, as the audit trail has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Step::Approve { .. } => "approve",
            Step::Refuse { .. } => "refuse",
            Step::Withdraw { .. } => "withdraw",
            Step::Expire => "expire",
            Step::Begin { .. } => "begin",
            Step::Succeed { .. } => "succeed",
            Step::Fail { .. } => "fail",
        }
    }

    pub(crate) fn note(&self) -> &str {
        match self {
            Step::Refuse { note }
            | Step::Withdraw { note }
            | Step::Succeed { note }
            | Step::Fail { note } => note,
            Step::Approve { .. } | Step::Expire | Step::Begin { .. } => "",
        }
    }
}

/// Why a step is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not in this state.
    State {
        /// Where it stands.
        state: OrderState,
        /// What was tried.
        step: &'static str,
    },
    /// Its time is over.
    Expired {
        /// Since when.
        since: Tai,
    },
    /// Its time is not over.
    NotYetExpired {
        /// When it will be.
        at: Tai,
    },
    /// Who asked may not approve as well, whatever the account.
    OwnOrder {
        /// Who.
        person: PersonId,
    },
    /// One approval a person.
    ApprovedAlready {
        /// Who.
        person: PersonId,
    },
    /// The role is missing.
    Role {
        /// Who.
        person: PersonId,
        /// One of these is needed.
        needed: BTreeSet<String>,
    },
    /// The seats that are left need other roles.
    NoSeat {
        /// Who.
        person: PersonId,
    },
    /// Only who asked may take it back.
    NotAsker {
        /// Who asked.
        asker: PersonId,
    },
    /// It is bound to something else.
    OtherContent {
        /// What was approved, or is to be.
        bound: [u8; 32],
        /// What was given.
        given: [u8; 32],
    },
    /// The note cannot be kept.
    Note {
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::State { state, step } => write!(f, "it is {state}: there is nothing to {step}"),
            Refusal::Expired { .. } => f.write_str("its time is over: ask again"),
            Refusal::NotYetExpired { .. } => f.write_str("its time is not over"),
            Refusal::OwnOrder { person } => {
                write!(f, "{person} asked for it and cannot approve it as well: another person must")
            }
            Refusal::ApprovedAlready { person } => {
                write!(f, "{person} has approved it already: another person must as well")
            }
            Refusal::Role { person, needed } => {
                let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
                write!(f, "{person} has none of the roles that this needs: {}", needed.join(", "))
            }
            Refusal::NoSeat { person } => {
                write!(f, "the approvals that are missing need other roles than {person} has")
            }
            Refusal::NotAsker { asker } => write!(f, "only {asker}, who asked for it, can take it back"),
            Refusal::OtherContent { bound, given } => {
                write!(f, "it is bound to SHA-256 {}, not to {}", hex::text(bound), hex::text(given))
            }
            Refusal::Note { problem } => write!(f, "the note: {problem}"),
        }
    }
}

impl Order {
    /// The order after this step, or why the step is not allowed. The order itself does not change.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn step(&self, step: &Step, actor: &Actor, now: Tai) -> Result<Order, Refusal> {
        check_note("note", step.note()).map_err(|error| Refusal::Note { problem: error.to_string() })?;
        let mut next = self.clone();
        match step {
            Step::Approve { content_sha256 } => {
                self.expect(step, &[OrderState::Asked], now)?;
                self.same_content(content_sha256)?;
                next.approvals.push(self.approval(actor, now)?);
                if seats::filled(&self.rule.seats, &roles(&next.approvals)) == self.rule.seats.len() {
                    next.state = OrderState::Approved;
                }
            }
            Step::Refuse { note } => {
                self.expect(step, &[OrderState::Asked, OrderState::Approved], now)?;
                self.seats_of(actor)?;
                next.end(OrderState::Refused, Some(actor), note, now);
            }
            Step::Withdraw { note } => {
                self.expect(step, &[OrderState::Asked, OrderState::Approved], now)?;
                if actor.person != self.asker {
                    return Err(Refusal::NotAsker { asker: self.asker.clone() });
                }
                next.end(OrderState::Withdrawn, Some(actor), note, now);
            }
            Step::Expire => {
                self.expect_state(step, &[OrderState::Asked, OrderState::Approved])?;
                if now < self.expires_at {
                    return Err(Refusal::NotYetExpired { at: self.expires_at });
                }
                next.end(OrderState::Expired, None, "", now);
            }
            Step::Begin { content_sha256 } => {
                self.expect(step, &[OrderState::Approved], now)?;
                self.may_execute(actor)?;
                self.same_content(content_sha256)?;
                next.state = OrderState::Executing;
                let (person, account) = (actor.person.clone(), actor.account.clone());
                next.execution = Some(Execution { person, account, at: now });
            }
            Step::Succeed { note } | Step::Fail { note } => {
                // What was begun comes to its end however long it takes.
                self.expect_state(step, &[OrderState::Executing])?;
                self.may_execute(actor)?;
                let succeeded = matches!(step, Step::Succeed { .. });
                let state = if succeeded { OrderState::Done } else { OrderState::Failed };
                next.end(state, Some(actor), note, now);
            }
        }
        Ok(next)
    }

    fn expect_state(&self, step: &Step, states: &[OrderState]) -> Result<(), Refusal> {
        if states.contains(&self.state) {
            return Ok(());
        }
        Err(Refusal::State { state: self.state, step: step.name() })
    }

    fn expect(&self, step: &Step, states: &[OrderState], now: Tai) -> Result<(), Refusal> {
        self.expect_state(step, states)?;
        if now >= self.expires_at {
            return Err(Refusal::Expired { since: self.expires_at });
        }
        Ok(())
    }

    fn same_content(&self, given: &[u8; 32]) -> Result<(), Refusal> {
        if *given == self.content_sha256 {
            return Ok(());
        }
        Err(Refusal::OtherContent { bound: self.content_sha256, given: *given })
    }

    fn may_execute(&self, actor: &Actor) -> Result<(), Refusal> {
        match &self.rule.execute {
            Some(role) if !actor.roles.contains(role) => {
                Err(Refusal::Role { person: actor.person.clone(), needed: BTreeSet::from([role.clone()]) })
            }
            _ => Ok(()),
        }
    }

    /// The roles of this person that there is a seat for.
    fn seats_of(&self, actor: &Actor) -> Result<BTreeSet<String>, Refusal> {
        let needed: BTreeSet<String> = self.rule.seats.iter().cloned().collect();
        let has: BTreeSet<String> = needed.intersection(&actor.roles).cloned().collect();
        if has.is_empty() { Err(Refusal::Role { person: actor.person.clone(), needed }) } else { Ok(has) }
    }

    fn approval(&self, actor: &Actor, now: Tai) -> Result<Approval, Refusal> {
        let person = actor.person.clone();
        if person == self.asker {
            return Err(Refusal::OwnOrder { person });
        }
        if self.approvals.iter().any(|approval| approval.person == person) {
            return Err(Refusal::ApprovedAlready { person });
        }
        let approval =
            Approval { roles: self.seats_of(actor)?, account: actor.account.clone(), at: now, person };
        let mut persons = roles(&self.approvals);
        let before = seats::filled(&self.rule.seats, &persons);
        persons.push(&approval.roles);
        if seats::filled(&self.rule.seats, &persons) == before {
            return Err(Refusal::NoSeat { person: approval.person });
        }
        Ok(approval)
    }

    fn end(&mut self, state: OrderState, actor: Option<&Actor>, note: &str, now: Tai) {
        self.state = state;
        let person = actor.map(|actor| actor.person.clone());
        self.ending = Some(Ending { person, note: note.to_owned(), at: now });
    }
}

fn roles(approvals: &[Approval]) -> Vec<&BTreeSet<String>> {
    approvals.iter().map(|approval| &approval.roles).collect()
}
