//! What fep-identity says to operators: log lines, and records of the ring `identity.events`.

use std::time::Instant;

use fep_event_ring::{EventSender, Seldom};
use fep_events::event_codes;
use fep_identity::{Role, RoleSets};
use fep_kit::health::{Health, State};
use fep_record::Session;
use fep_route::login::Act;
use serde_json::{Value, json};

event_codes! {
    /// What an event of fep-identity says. Their numbers start at 400.
    pub enum IdentityEvent {
        /// A part does its work again.
        PartRecovered = 400, "part_recovered", Normal, "nothing";
        /// The public keys of tickets cannot be read.
        KeysUnreadable = 401, "keys_unreadable", Critical, "restore `ticket-keys.pub.json` of the state directory and its permissions: until then no service learns of new keys and revocations";
        /// The database of the audit trail is away.
        DatabaseLost = 402, "database_lost", Critical, "bring the database back: until then nobody logs in, because a log-in is recorded before it is answered";
        /// The audit trail cannot be written.
        AuditUnwritable = 403, "audit_unwritable", Critical, "mend what the event names: until then nobody logs in, because a log-in is recorded before it is answered";
        /// An entry of the audit trail was changed or removed, or the chain cannot be verified.
        AuditBroken = 404, "audit_broken", Critical, "keep a copy of the database as it is, and compare it with the last backup; find out who wrote to it";
        /// Log-ins of an account that is locked were refused.
        AccountLocked = 410, "account_locked", Warning, "ask whose account it is; unlock it (`fepctl account unlock`) if it was a mistake; else somebody guesses passwords: find out who";
        /// Somebody was made an administrator.
        AdministratorMade = 411, "administrator_made", Warning, "nothing, if it was meant: an administrator gives every role";
        /// An account was disabled: its tickets and tokens end.
        AccountDisabled = 412, "account_disabled", Normal, "nothing";
        /// An API token was revoked.
        TokenRevoked = 413, "token_revoked", Normal, "nothing";
        /// The directory of persons does not answer.
        DirectoryAway = 420, "directory_away", Distress, "bring the directory back, or mend `[identity.ldap]`; local accounts can log in meanwhile";
    }
}

/// Where events go.
#[derive(Debug, Default)]
pub(crate) struct Events {
    sender: Option<EventSender>,
    /// Accounts have roles by these names, too.
    role_sets: RoleSets,
    /// What anybody can cause, as often as they like.
    locked: Seldom,
    away: Seldom,
}

impl Events {
    /// Of this ring; what `health` says of its parts are events from now on.
    pub(crate) fn new(sender: &EventSender, health: &Health, role_sets: &RoleSets) -> Events {
        let of_health = sender.clone();
        health.observe(move |part, now| {
            if let Some(code) = of_part(part, now.state) {
                let detail = json!({"part": part, "reason": now.reason});
                of_health.report(code, u16::MAX, Session::Ops, detail);
            }
        });
        Events { sender: Some(sender.clone()), role_sets: role_sets.clone(), ..Events::default() }
    }

    /// An act that is done, or a refusal, that operators may have to know of.
    pub(crate) fn note(&self, act: &Act<'_>) {
        let person = act.person.map(|person| person.account.as_str());
        let code = match act.action {
            "account added" if self.is_administrator(&act.detail) => IdentityEvent::AdministratorMade,
            "account disabled" => IdentityEvent::AccountDisabled,
            "token revoked" => IdentityEvent::TokenRevoked,
            "login refused" if is_locked(&act.detail) => {
                if let Some(times) = self.locked.note(Instant::now()) {
                    let detail = json!({"account": act.account, "times": times});
                    self.report(IdentityEvent::AccountLocked, detail);
                }
                return;
            }
            _ => return,
        };
        self.report(code, json!({"subject": act.subject, "account": person}));
    }

    /// Whether the roles of a new account, of which some are names of sets, make an administrator of it.
    fn is_administrator(&self, detail: &Value) -> bool {
        let names = detail["roles"].as_array().map_or(&[][..], Vec::as_slice);
        let roles = self.role_sets.resolve(names.iter().filter_map(Value::as_str));
        roles.is_ok_and(|roles| roles.has(Role::Administrator))
    }

    /// The directory of persons does not answer.
    pub(crate) fn directory_away(&self, reason: &str) {
        if let Some(times) = self.away.note(Instant::now()) {
            self.report(IdentityEvent::DirectoryAway, json!({"reason": reason, "times": times}));
        }
    }

    /// Logs and publishes; without a ring it logs. It never waits.
    fn report(&self, code: IdentityEvent, detail: Value) {
        match &self.sender {
            Some(sender) => sender.report(code, u16::MAX, Session::Ops, detail),
            None => fep_event_ring::log(code, detail),
        }
    }
}

/// What a change of a part's state is.
fn of_part(part: &str, state: State) -> Option<IdentityEvent> {
    let code = match (part, state) {
        (_, State::Well) => IdentityEvent::PartRecovered,
        ("keys", _) => IdentityEvent::KeysUnreadable,
        ("database", _) => IdentityEvent::DatabaseLost,
        ("audit", _) => IdentityEvent::AuditUnwritable,
        // Not verified yet is no news.
        ("audit chain", State::Ill) => IdentityEvent::AuditBroken,
        _ => return None,
    };
    Some(code)
}

/// Whether a log-in was refused because the account is locked, as [`fep_identity::LoginRefused`] words it.
fn is_locked(detail: &Value) -> bool {
    detail["reason"].as_str().is_some_and(|reason| reason.starts_with("the account is locked"))
}

#[cfg(test)]
mod tests {
    use fep_event_ring::EventRing;
    use fep_events::EventCode as _;
    use fep_identity::{LoginRefused, NumericDate};

    use super::*;

    // REQ: FEP-KIT-259
    #[test]
    fn every_event_stands_in_the_manual_with_its_severity_and_what_to_do() {
        let manual = include_str!("../../../docs/events.md");
        for code in IdentityEvent::ALL {
            let first = format!("| {} | `{}` | {} | ", code.number(), code.name(), code.severity().name());
            let rows: Vec<&str> = manual.lines().filter(|row| row.starts_with(&first)).collect();
            assert_eq!(rows.len(), 1, "{first}");
            assert!(rows[0].ends_with(&format!(" | {} |", code.advice())), "{}", rows[0]);
        }
    }

    // REQ: FEP-KIT-259, FEP-IDN-170
    #[test]
    fn locks_administrators_and_a_directory_that_is_away_are_events_and_a_flood_is_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let ring = EventRing::open(directory.path(), "identity").expect("a ring");
        let health = Health::new("x 1");
        let sets = json!({"head": ["observer", "administrator"], "watch": ["observer"]});
        let sets: RoleSets = serde_json::from_value(sets).expect("sets of roles");
        let events = Events::new(ring.sender(), &health, &sets);
        let act = |action: &'static str, detail: Value| Act {
            request_id: "1",
            person: None,
            account: "anna",
            action,
            subject: "bert",
            detail,
        };
        events.note(&act("account added", json!({"roles": ["observer"]})));
        events.note(&act("account added", json!({"roles": ["watch"]})));
        events.note(&act("account added", json!({"roles": ["observer", "administrator"]})));
        events.note(&act("account added", json!({"roles": ["head"]})));
        let locked = LoginRefused::Locked { until: NumericDate(0) }.to_string();
        for _ in 0..1000 {
            events.note(&act("login refused", json!({"reason": locked})));
            events.note(&act("login refused", json!({"reason": LoginRefused::WrongPassword.to_string()})));
            events.directory_away("connection refused");
        }
        health.warning("audit chain", "the chain is being verified for the first time");
        health.ill("audit chain", "entry 3");
        drop(ring);
        let mut consumer =
            fep_bus::Consumer::attach(directory.path(), "identity.events", "test", fep_bus::Resume::Oldest)
                .expect("a ring");
        let (mut names, mut payload) = (Vec::new(), Vec::new());
        while let fep_bus::Poll::Record(_) = consumer.poll(&mut payload) {
            let event: Value = serde_json::from_slice(&payload).expect("JSON");
            names.push(event["event"].as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(
            names,
            ["administrator_made", "administrator_made", "account_locked", "directory_away", "audit_broken"]
        );
    }
}
