//! Where acts on identity are recorded.

use fep_identity::Person;
use fep_kit::Problem;
use futures::future::BoxFuture;
use serde_json::Value;

/// Something that was done to accounts, tokens or tickets, or refused.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Identifier of the request.
    pub request_id: &'a str,
    /// Who; `None` where nobody is known.
    pub person: Option<&'a Person>,
    /// The account that was named.
    pub account: &'a str,
    /// What: `login`, `account added`.
    pub action: &'a str,
    /// To what: the name of an account, the identifier of a token.
    pub subject: &'a str,
    /// Everything else, an object.
    pub detail: Value,
}

/// Where acts on identity are recorded.
///
/// What gives something (a ticket, a token, an account, a password) is done only where it can be recorded. What takes
/// something away (log-out, revocation, disabling) is done in any case.
pub trait Journal: Send + Sync {
    /// Records an act: one that gives something before it is done, one that takes something away after that.
    ///
    /// # Errors
    /// The answer to the caller where it cannot be recorded.
    fn record<'a>(&'a self, act: Act<'a>) -> BoxFuture<'a, Result<(), Problem>>;

    /// Learns that an act is done, whatever was recorded of it before: only now may others be notified of it.
    fn done(&self, act: &Act<'_>) {
        let _ = act;
    }

    /// Records a refusal, within bounds: anybody can cause one.
    fn refused(&self, act: &Act<'_>);

    /// Learns that the directory of persons does not answer, and why.
    fn directory_away(&self, reason: &str) {
        let _ = reason;
    }
}

/// Records nothing, for tests that have no audit trail.
#[derive(Debug, Clone, Copy)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn record<'a>(&'a self, _: Act<'a>) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn refused(&self, _: &Act<'_>) {}
}
