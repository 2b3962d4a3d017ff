//! Who asks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NumericDate, Role, RoleSet, Scope, Target};

/// One human being or one service, whatever account or token it comes by. Two accounts of one person have the same
/// identifier, so that nobody is the second person beside themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub String);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person or service, and the account it came by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who it is: `local:anna`, `ldap:` and the directory's identifier, `service:recorder`.
    pub id: PersonId,
    /// Name for people and the audit.
    pub account: String,
}

impl Person {
    /// The service of this name.
    #[must_use]
    pub fn service(name: &str) -> Person {
        Person { id: PersonId(format!("service:{name}")), account: name.to_owned() }
    }
}

/// How a caller proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// By a ticket of a login by password.
    Ticket,
    /// By an API token, or a ticket that was issued for one: its identifier.
    Token(String),
    /// By the credentials that the kernel reports of a Unix socket's peer: its user identifier.
    Peer(u32),
    /// By a certificate under an authority of the door: its name as configured.
    Certificate(String),
}

/// Who asks, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub person: Person,
    /// What it may do.
    pub roles: RoleSet,
    /// Where it may do that.
    pub scopes: Vec<Scope>,
    /// How it proved who it is.
    pub means: Means,
    /// Until when this holds; a stream ends then. `None` for a peer, who proves who it is at every connection.
    pub until: Option<NumericDate>,
}

impl Caller {
    /// Holds the caller to at least one of these roles.
    ///
    /// # Errors
    /// [`Denied::Role`].
    pub fn may(&self, roles: RoleSet) -> Result<(), Denied> {
        if self.roles.meets(roles) {
            return Ok(());
        }
        Err(Denied::Role { account: self.person.account.clone(), needed: roles })
    }

    /// Holds the caller to one role.
    ///
    /// # Errors
    /// [`Denied::Role`].
    pub fn may_as(&self, role: Role) -> Result<(), Denied> {
        self.may(RoleSet::of(&[role]))
    }

    /// Holds the caller to its scopes: one of them must reach all of the target.
    ///
    /// # Errors
    /// [`Denied::Scope`].
    pub fn may_reach(&self, target: &Target) -> Result<(), Denied> {
        // A caller without a scope reaches not even what touches no data: an account that nobody gave anything.
        if self.scopes.iter().any(|scope| scope.reaches(target)) {
            return Ok(());
        }
        Err(Denied::Scope { account: self.person.account.clone() })
    }

    /// Whether both are the same person, by whatever accounts.
    #[must_use]
    pub fn is_same_person(&self, other: &PersonId) -> bool {
        self.person.id == *other
    }
}

/// Why a known caller may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// None of the roles that are needed.
    #[error("{account} has none of the roles that this needs: {needed}")]
    Role {
        /// Who asked.
        account: String,
        /// Any of these would do.
        needed: RoleSet,
    },
    /// No scope reaches what was asked for.
    #[error("no scope of {account} reaches this spacecraft, colour and session")]
    Scope {
        /// Who asked.
        account: String,
    },
}
