use std::collections::BTreeSet;
use std::fmt;

use fep_database::hex;
use fep_time::Tai;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Most seats of a rule: more persons never agree in time.
const SEATS_MAX: usize = 8;
/// Longest time an order may wait: 90 days.
const VALID_MAX_S: u64 = 90 * 86_400;

/// A person, whatever the account: the employee number, or the unique identifier of the directory. Two that differ in case
/// or in blanks at the ends are the same person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(String);

impl PersonId {
    /// # Errors
    /// [`Error::Field`]: nothing but blanks, more than 256 octets, or control characters.
    pub fn new(text: &str) -> Result<PersonId, Error> {
        let text = text.trim().to_lowercase();
        check_text("person", &text, 1, 256)?;
        Ok(PersonId(text))
    }

    /// The name as it is compared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PersonId {
    type Error = Error;

    fn try_from(text: String) -> Result<PersonId, Error> {
        PersonId::new(&text)
    }
}

impl From<PersonId> for String {
    fn from(person: PersonId) -> String {
        person.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who acts: a person, the account that was used, and the roles that this account has now. A program that executes orders
/// is an actor as well, with a name that no person has (`service:archive`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub person: PersonId,
    /// By which account; for the audit.
    pub account: String,
    /// What the person may do.
    pub roles: BTreeSet<String>,
}

impl Actor {
    /// # Errors
    /// As [`PersonId::new`].
    pub fn new(person: &str, account: &str, roles: &[&str]) -> Result<Actor, Error> {
        check_text("account", account, 0, 256)?;
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Ok(Actor { person: PersonId::new(person)?, account: account.to_owned(), roles })
    }
}

/// What a kind of act needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Kind of act: `deletion`, `lifting of a hold`. It is part of the order.
    pub kind: String,
    /// Role of who asks.
    pub ask: String,
    /// One role for each person who must approve, other than the one who asked: `["approver", "security officer"]` needs two.
    pub seats: Vec<String>,
    /// Role of who executes; anybody whom the service lets when `None`.
    #[serde(default)]
    pub execute: Option<String>,
    /// How long it waits for approvals and for its execution to begin.
    pub valid_s: u64,
}

impl Rule {
    /// A rule whose orders anybody executes whom the service lets; [`Rule::check`] is called when it is asked by.
    #[must_use]
    pub fn new(kind: &str, ask: &str, seats: &[&str], valid_s: u64) -> Rule {
        let seats = seats.iter().map(|role| (*role).to_owned()).collect();
        Rule { kind: kind.to_owned(), ask: ask.to_owned(), seats, execute: None, valid_s }
    }

    /// # Errors
    /// [`Error::Field`]: no seat, or more than 8; a name that is empty or too long; a time of 0 or more than 90 days.
    pub fn check(&self) -> Result<(), Error> {
        check_text("kind", &self.kind, 1, 128)?;
        if self.seats.is_empty() || self.seats.len() > SEATS_MAX {
            let problem = format!("{} persons must approve, allowed are 1 to {SEATS_MAX}", self.seats.len());
            return Err(Error::Field { field: "seats", problem });
        }
        for role in self.seats.iter().chain([&self.ask]).chain(&self.execute) {
            check_text("role", role, 1, 64)?;
        }
        if !(1..=VALID_MAX_S).contains(&self.valid_s) {
            let problem = format!("{} s, allowed are 1 to {VALID_MAX_S}", self.valid_s);
            return Err(Error::Field { field: "valid_s", problem });
        }
        Ok(())
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Its name, chosen by the caller: asking for the same again is no second order. At most 64 octets.
    pub id: String,
    /// What, in words for those who approve. At most 1024 octets.
    pub subject: String,
    /// Why. At most 4096 octets.
    pub reason: String,
    /// SHA-256 of what is approved: of the list of segments, the image, the command.
    pub content_sha256: [u8; 32],
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderState {
    /// It waits for approvals.
    Asked,
    /// Every seat is filled; it may be executed.
    Approved,
    /// Somebody who could have approved did not want it.
    Refused,
    /// Who asked does not want it any more.
    Withdrawn,
    /// Its time was over before it was begun.
    Expired,
    /// It was begun.
    Executing,
    /// It succeeded.
    Done,
    /// It did not.
    Failed,
}

impl OrderState {
    /// All of them.
    pub const ALL: [OrderState; 8] = [
        OrderState::Asked,
        OrderState::Approved,
        OrderState::Refused,
        OrderState::Withdrawn,
        OrderState::Expired,
        OrderState::Executing,
        OrderState::Done,
        OrderState::Failed,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OrderState::Asked => "asked",
            OrderState::Approved => "approved",
            OrderState::Refused => "refused",
            OrderState::Withdrawn => "withdrawn",
            OrderState::Expired => "expired",
            OrderState::Executing => "executing",
            OrderState::Done => "done",
            OrderState::Failed => "failed",
        }
    }

    /// Whether nothing happens any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, OrderState::Asked | OrderState::Approved | OrderState::Executing)
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub person: PersonId,
    /// By which account.
    pub account: String,
    /// The roles of this person that the rule has a seat for, at that moment.
    pub roles: BTreeSet<String>,
    /// When.
    pub at: Tai,
}

/// The beginning of the execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Who.
    pub person: PersonId,
    /// By which account.
    pub account: String,
    /// When.
    pub at: Tai,
}

/// How and when it came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Who; `None` when its time was over.
    pub person: Option<PersonId>,
    /// Why, or what came of it.
    pub note: String,
    /// When.
    pub at: Tai,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// What, in words.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// SHA-256 of what is approved.
    #[serde(with = "hex")]
    pub content_sha256: [u8; 32],
    /// The rule of the moment of asking.
    pub rule: Rule,
    /// Who asked.
    pub asker: PersonId,
    /// By which account.
    pub asker_account: String,
    /// When.
    pub asked_at: Tai,
    /// From then on it can neither be approved nor begun.
    pub expires_at: Tai,
    /// Where it stands.
    pub state: OrderState,
    /// Who approved, in their order.
    pub approvals: Vec<Approval>,
    /// Once it was begun.
    pub execution: Option<Execution>,
    /// Once it is over.
    pub ending: Option<Ending>,
}

impl Order {
    /// An order as it is asked for.
    ///
    /// # Errors
    /// [`Error::Field`], [`Error::MayNotAsk`].
    pub fn ask(new: NewOrder, rule: Rule, asker: &Actor, now: Tai) -> Result<Order, Error> {
        rule.check()?;
        check_text("id", &new.id, 1, 64)?;
        check_text("subject", &new.subject, 1, 1024)?;
        check_note("reason", &new.reason)?;
        if !asker.roles.contains(&rule.ask) {
            return Err(Error::MayNotAsk {
                kind: rule.kind,
                person: asker.person.to_string(),
                role: rule.ask,
            });
        }
        // `check` has bounded it.
        let valid_ns = rule.valid_s as i64 * fep_time::NS_PER_SECOND;
        Ok(Order {
            id: new.id,
            subject: new.subject,
            reason: new.reason,
            content_sha256: new.content_sha256,
            asker: asker.person.clone(),
            asker_account: asker.account.clone(),
            asked_at: now,
            expires_at: now.saturating_add_ns(valid_ns),
            state: OrderState::Asked,
            approvals: Vec::new(),
            execution: None,
            ending: None,
            rule,
        })
    }

    /// Where it stands at this moment: an order whose time is over counts as expired before anybody has noted it.
    #[must_use]
    pub fn state_at(&self, now: Tai) -> OrderState {
        match self.state {
            OrderState::Asked | OrderState::Approved if now >= self.expires_at => OrderState::Expired,
            state => state,
        }
    }
}

/// A text of one line.
pub(crate) fn check_text(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), Error> {
    if !(least..=most).contains(&text.len()) {
        let problem = format!("it has {} octets, allowed are {least} to {most}", text.len());
        return Err(Error::Field { field, problem });
    }
    if text.chars().any(char::is_control) {
        return Err(Error::Field { field, problem: "it holds a control character".to_owned() });
    }
    Ok(())
}

/// A text of several lines.
pub(crate) fn check_note(field: &'static str, text: &str) -> Result<(), Error> {
    if text.len() > 4096 {
        let problem = format!("it has {} octets, allowed are 0 to 4096", text.len());
        return Err(Error::Field { field, problem });
    }
    if text.contains('\0') {
        return Err(Error::Field { field, problem: "it holds a character NUL".to_owned() });
    }
    Ok(())
}
