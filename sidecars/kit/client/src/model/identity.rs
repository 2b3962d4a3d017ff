//! Identity: logins, tickets, accounts, tokens. Dates are seconds since 1970-01-01T00:00:00 UTC.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name and password of a login.
#[derive(Clone, Serialize)]
pub struct Login {
    /// Name of the account.
    pub account: String,
    /// Its password.
    pub password: String,
}

/// A ticket, for the header `Authorization`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Ticket {
    /// The ticket itself.
    pub ticket: String,
    /// When it ends.
    pub expires: i64,
    /// Name of the account.
    pub account: String,
    /// The person it belongs to.
    pub person: String,
    /// What they may do.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The ticket itself is not shown.
        write!(f, "Ticket of {}", self.account)
    }
}

/// Spacecraft × colours × sessions that roles reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Which spacecraft.
    pub spacecraft: Spacecraft,
    /// `black`, `red`.
    pub colours: Vec<String>,
    /// `ops`, `test`, `replay`.
    pub sessions: Vec<String>,
}

/// Which spacecraft a scope reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spacecraft {
    /// Every one, also those that are added later.
    All(All),
    /// These, by their SCID.
    These(Vec<u16>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Everything.
    All,
}

impl fmt::Display for Spacecraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spacecraft::All(_) => f.write_str("all"),
            Spacecraft::These(scids) => {
                let scids: Vec<String> = scids.iter().map(u16::to_string).collect();
                f.write_str(&scids.join(", "))
            }
        }
    }
}

/// Who asks, as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// Name of the account, or of the service.
    pub account: String,
    /// The person.
    pub person: String,
    /// What they may do.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When that ends; `None` where it does not end by itself.
    #[serde(default)]
    pub until: Option<i64>,
}

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
    /// How long it shall be valid.
    pub lifetime_s: u32,
}

/// A new token. It is shown this once.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct TokenMade {
    /// Its identifier.
    pub id: String,
    /// The token itself.
    pub token: String,
}

impl fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token itself is not shown.
        write!(f, "TokenMade {}", self.id)
    }
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its identifier.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Of which account.
    pub account: String,
    /// Of which person.
    pub person: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub made: i64,
    /// When it ends.
    pub expires: i64,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

/// An account that is added.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// The person it belongs to; a person of its own where it is missing.
    pub person: Option<String>,
    /// Roles and configured sets of roles.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it ends.
    pub expires: Option<i64>,
}

/// A local account as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The person it belongs to.
    pub person: String,
    /// Roles and configured sets of roles.
    pub roles: Vec<String>,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it ends.
    pub expires: Option<i64>,
    /// Whether it can be used no more.
    pub disabled: bool,
    /// Until when it is locked after wrong passwords.
    pub locked_until: Option<i64>,
}

/// A new password.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct NewPassword {
    /// The password.
    pub password: String,
    /// When it ends.
    pub expires: Option<i64>,
}
