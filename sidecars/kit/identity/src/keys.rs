//! The keys that tickets are signed with: made, published, rotated with overlap, and what was revoked.
//!
//! | file of the state directory | mode | what |
//! |---|---|---|
//! | `ticket-keys.json` | 0600 from the moment it is made | private keys and revocations |
//! | `ticket-keys.pub.json` | 0644 | public keys and revocations: all that a service needs |
//!
//! A new key is published first and signs [`PUBLISH_AHEAD_S`] later, when every service has seen it; the old one verifies
//! until its last ticket has ended.
//!
//! A revocation holds for what was issued until its time, and is forgotten with the last ticket that it could concern. A
//! clock that is set back by more than [`CLOCK_SKEW_S`] would break both: a ticket of before the step would be younger than
//! a revocation made after it, and one that had ended would be valid again. So every key is replaced then, which ends every
//! ticket; whoever works logs in again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::random::random;
use crate::state::{StateDir, StateError};
use crate::ticket::{
    CLOCK_SKEW_S, Claims, MAX_LIFETIME_S, MAX_TICKET_BYTES, PublicKey, Published, Revocation, Revoked, sign,
};
use crate::{NumericDate, PersonId};

const SECRET_FILE: &str = "ticket-keys.json";
/// Name of the file with the public keys in the state directory.
pub const PUBLIC_FILE: &str = "ticket-keys.pub.json";
/// How long a new key is published before it signs.
pub const PUBLISH_AHEAD_S: i64 = 30;
/// After so many single tickets of one person, all of the person's are revoked instead.
const MAX_TICKETS_OF_ONE: usize = 32;
/// After so many tokens, the tickets that were issued for any token are revoked instead: tokens go on and get new ones.
const MAX_TOKENS: usize = 256;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    /// 32 octets in base64url.
    seed: String,
    signs_from: NumericDate,
}

impl Key {
    fn made(signs_from: NumericDate) -> Result<Key, KeyError> {
        let seed: [u8; 32] = random().map_err(KeyError::Random)?;
        Ok(Key { seed: URL_SAFE_NO_PAD.encode(seed), signs_from })
    }

    fn signing(&self) -> Option<SigningKey> {
        let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(&self.seed).ok()?.try_into().ok()?;
        Some(SigningKey::from_bytes(&seed))
    }
}

#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    keys: Vec<Key>,
    revoked: Vec<Revocation>,
}

/// Keys that cannot be used, or a ticket that cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gives no random octets.
    #[error(transparent)]
    Random(std::io::Error),
    /// A ticket with these roles and scopes would be too long.
    #[error(
        "a ticket with so many scopes has more than {MAX_TICKET_BYTES} octets: give the account fewer scopes"
    )]
    TooLong,
}

/// The private keys of an installation.
#[derive(Debug)]
pub struct Keys {
    dir: StateDir,
    issuer: String,
    rotate_every_s: i64,
    /// The latest time that this process was given, in seconds since 1970: an earlier one shows a clock that was set back.
    latest: AtomicI64,
}

impl Keys {
    /// Opens the keys of a state directory; makes the first one where there is none, and publishes.
    pub(crate) fn open(
        dir: StateDir,
        issuer: &str,
        rotate_every_s: i64,
        now: NumericDate,
    ) -> Result<Keys, KeyError> {
        let latest = AtomicI64::new(i64::MIN);
        let keys = Keys { dir, issuer: issuer.to_owned(), rotate_every_s, latest };
        keys.step(now)?;
        Ok(keys)
    }

    /// The file that services verify with.
    #[must_use]
    pub fn public_file(&self) -> PathBuf {
        self.dir.file(PUBLIC_FILE)
    }

    /// Rotates when it is time, and forgets keys and revocations that no valid ticket needs. Called every minute or so.
    ///
    /// # Errors
    /// The state directory's.
    pub fn step(&self, now: NumericDate) -> Result<(), KeyError> {
        self.change(now, |ring| {
            let newest = ring.keys.iter().map(|key| key.signs_from).max();
            if newest.is_some_and(|newest| now.s_since(newest) >= self.rotate_every_s) {
                ring.keys.push(Key::made(now.plus_s(PUBLISH_AHEAD_S))?);
            }
            Ok(())
        })
    }

    /// Rotates now.
    ///
    /// # Errors
    /// The state directory's.
    pub fn rotate(&self, now: NumericDate) -> Result<(), KeyError> {
        self.change(now, |ring| {
            ring.keys.push(Key::made(now.plus_s(PUBLISH_AHEAD_S))?);
            Ok(())
        })
    }

    /// Replaces every key at once: for keys that somebody may have read. Every ticket ends with it.
    ///
    /// # Errors
    /// The state directory's.
    pub fn replace_all(&self, now: NumericDate) -> Result<(), KeyError> {
        self.change(now, |ring| {
            ring.keys = vec![Key::made(now)?];
            Ok(())
        })
    }

    /// Revokes tickets; every service refuses them as soon as it looks at the public file again.
    ///
    /// # Errors
    /// The state directory's.
    pub fn revoke(&self, what: Revoked, now: NumericDate) -> Result<(), KeyError> {
        self.change(now, |ring| {
            let mut what = what;
            if let Revoked::Ticket { person, .. } = &what {
                let person: PersonId = person.clone();
                let of_person = |revocation: &Revocation| {
                    matches!(&revocation.what, Revoked::Ticket { person: other, .. } if *other == person)
                };
                // What one person revokes must not grow without bound.
                if ring.revoked.iter().filter(|revocation| of_person(revocation)).count() >= MAX_TICKETS_OF_ONE {
                    ring.revoked.retain(|revocation| !of_person(revocation));
                    what = Revoked::Person(person);
                }
            }
            let of_token = |revocation: &Revocation| matches!(revocation.what, Revoked::Token(_));
            if matches!(what, Revoked::Token(_))
                && ring.revoked.iter().filter(|revocation| of_token(revocation)).count() >= MAX_TOKENS
            {
                ring.revoked.retain(|revocation| !of_token(revocation));
                what = Revoked::TicketsOfTokens;
            }
            ring.revoked.retain(|revocation| revocation.what != what);
            // A clock that was set back by less than the skew: what was issued just before the step is concerned too.
            let at = NumericDate(self.latest.load(Ordering::Acquire).max(now.0));
            ring.revoked.push(Revocation { what, at });
            Ok(())
        })
    }

    /// Signs claims with the key that signs now.
    ///
    /// # Errors
    /// The state directory's, or a ticket that would be too long.
    pub fn sign(&self, claims: &Claims, now: NumericDate) -> Result<String, KeyError> {
        let mut ring = self.read()?;
        if self.was_set_back(&ring, now) {
            self.step(now)?;
            ring = self.read()?;
        }
        self.latest.fetch_max(now.0, Ordering::AcqRel);
        let signing = ring.keys.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from);
        // After a clock was set back by less than the skew no key may sign yet: the oldest is the one that everybody knows.
        let signing = signing.or_else(|| ring.keys.iter().min_by_key(|key| key.signs_from));
        let damaged =
            || StateError::Damaged { path: self.dir.file(SECRET_FILE), why: "no usable key".to_owned() };
        let key = signing.and_then(Key::signing).ok_or_else(damaged)?;
        let ticket = sign(&key, claims).map_err(|_| KeyError::TooLong)?;
        if ticket.len() > MAX_TICKET_BYTES {
            return Err(KeyError::TooLong);
        }
        Ok(ticket)
    }

    fn read(&self) -> Result<Ring, StateError> {
        Ok(self.dir.read_secret(SECRET_FILE)?.unwrap_or_default())
    }

    /// Whether the clock was set back by more than the skew since this process, or the last one, looked at it.
    fn was_set_back(&self, ring: &Ring, now: NumericDate) -> bool {
        let latest = NumericDate(self.latest.load(Ordering::Acquire));
        latest.s_since(now) > CLOCK_SKEW_S || ring.is_ahead_of(now)
    }

    /// Changes the ring and writes both files where they then differ.
    fn change(
        &self,
        now: NumericDate,
        change: impl FnOnce(&mut Ring) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        let _lock = self.dir.lock()?;
        let before: Option<Ring> = self.dir.read_secret(SECRET_FILE)?;
        let mut ring = before.clone().unwrap_or_default();
        if ring.keys.is_empty() {
            ring.keys.push(Key::made(now)?);
        } else if self.was_set_back(&ring, now) {
            tracing::warn!(
                "the clock was set back to {now}: all keys of tickets are replaced, and everybody logs in again"
            );
            ring = Ring { keys: vec![Key::made(now)?], revoked: Vec::new() };
            self.latest.store(now.0, Ordering::Release);
        }
        self.latest.fetch_max(now.0, Ordering::AcqRel);
        change(&mut ring)?;
        ring.forget(now);
        let public = ring
            .publish(&self.issuer)
            .map_err(|why| StateError::Damaged { path: self.dir.file(SECRET_FILE), why })?;
        // A key is published before it is kept: after a crash in between, a public key without its private one is harmless.
        let path = self.public_file();
        if crate::state::read::<Published>(&path, 0o644).ok().flatten().as_ref() != Some(&public) {
            self.dir.replace(PUBLIC_FILE, 0o644, &public)?;
        }
        if before.as_ref() != Some(&ring) {
            self.dir.replace(SECRET_FILE, 0o600, &ring)?;
        }
        Ok(())
    }
}

impl Ring {
    /// Drops what no valid ticket needs.
    fn forget(&mut self, now: NumericDate) {
        let last_ticket_s = MAX_LIFETIME_S + CLOCK_SKEW_S;
        let starts: Vec<NumericDate> = self.keys.iter().map(|key| key.signs_from).collect();
        self.keys.retain(|key| {
            let succeeded = starts.iter().filter(|other| **other > key.signs_from).min();
            succeeded.is_none_or(|successor| now.s_since(*successor) < last_ticket_s)
        });
        // Tokens themselves stay revoked in their own file; these are the tickets that were issued for them.
        self.revoked.retain(|revocation| now.s_since(revocation.at) < last_ticket_s);
    }

    /// Whether it has something that was written later than now, beyond the skew.
    fn is_ahead_of(&self, now: NumericDate) -> bool {
        self.keys.iter().any(|key| key.signs_from.s_since(now) > PUBLISH_AHEAD_S + CLOCK_SKEW_S)
            || self.revoked.iter().any(|revocation| revocation.at.s_since(now) > CLOCK_SKEW_S)
    }

    fn publish(&self, issuer: &str) -> Result<Published, String> {
        let key = |key: &Key| key.signing().map(|key| PublicKey::of(&key.verifying_key()));
        let keys: Option<Vec<PublicKey>> = self.keys.iter().map(key).collect();
        let keys = keys.ok_or_else(|| "a key is not 32 octets in base64url".to_owned())?;
        Ok(Published { issuer: issuer.to_owned(), keys, revoked: self.revoked.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::{TicketKeys, TicketRefused};
    use crate::{RoleSet, Scope};
    use std::os::unix::fs::PermissionsExt;

    const NOW: NumericDate = NumericDate(1_780_000_000);
    const DAY_S: i64 = 86_400;

    fn open(dir: &tempfile::TempDir) -> Keys {
        let state = StateDir::open(dir.path()).expect("a state directory");
        Keys::open(state, "fep", 7 * DAY_S, NOW).expect("keys")
    }

    fn published(keys: &Keys) -> Published {
        crate::state::read(&keys.public_file(), 0o644).expect("readable").expect("published")
    }

    fn verify(keys: &Keys, ticket: &str, now: NumericDate) -> Result<(), TicketRefused> {
        TicketKeys::new(published(keys)).expect("keys").verify(ticket, now).map(drop)
    }

    fn claims(now: NumericDate) -> Claims {
        Claims {
            iss: "fep".to_owned(),
            sub: "anna".to_owned(),
            person: PersonId("local:anna".to_owned()),
            roles: RoleSet::ALL,
            scopes: vec![Scope::ALL],
            iat: now,
            exp: now.plus_s(900),
            jti: "j".to_owned(),
            token: None,
        }
    }

    // REQ: FEP-KIT-108
    #[test]
    fn the_private_key_is_for_its_owner_alone_and_the_public_file_for_everybody() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let mode = |name: &str| {
            std::fs::metadata(dir.path().join(name)).expect("a file").permissions().mode() & 0o7777
        };
        assert_eq!((mode(SECRET_FILE), mode(PUBLIC_FILE)), (0o600, 0o644));
        let public = std::fs::read_to_string(keys.public_file()).expect("readable");
        assert!(!public.contains(&keys.read().expect("readable").keys[0].seed));
    }

    // REQ: FEP-KIT-108
    #[test]
    fn a_rotation_publishes_the_new_key_before_it_signs_and_keeps_the_old_one_until_its_last_ticket_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let first = published(&keys);
        let old_ticket = keys.sign(&claims(NOW), NOW).expect("signed");
        keys.step(NOW.plus_s(7 * DAY_S - 1)).expect("stepped");
        assert_eq!(published(&keys), first, "not yet");
        let rotated = NOW.plus_s(7 * DAY_S);
        keys.step(rotated).expect("stepped");
        keys.step(rotated).expect("a second step changes nothing");
        assert_eq!(published(&keys).keys.len(), 2);
        // What a service that has not seen the new key verifies: all that is signed before the new key signs.
        let unaware = TicketKeys::new(first.clone()).expect("keys");
        let last_s = PUBLISH_AHEAD_S - 1;
        let last = rotated.plus_s(last_s);
        let last_ticket = keys.sign(&claims(last), last).expect("signed");
        assert!(unaware.verify(&last_ticket, last).is_ok());
        let next = rotated.plus_s(PUBLISH_AHEAD_S);
        let new_ticket = keys.sign(&claims(next), next).expect("signed");
        assert_eq!(unaware.verify(&new_ticket, next).map(drop), Err(TicketRefused::Key));
        assert_eq!(verify(&keys, &new_ticket, next), Ok(()));
        assert_eq!(verify(&keys, &last_ticket, last.plus_s(899)), Ok(()), "the old key still verifies");
        keys.step(next.plus_s(MAX_LIFETIME_S + CLOCK_SKEW_S)).expect("stepped");
        assert_eq!(published(&keys).keys.len(), 1, "the old key is forgotten");
        assert_eq!(verify(&keys, &old_ticket, NOW), Err(TicketRefused::Key));
    }

    // REQ: FEP-KIT-108
    #[test]
    fn keys_survive_a_restart_and_replacing_all_of_them_ends_every_ticket() {
        let dir = tempfile::tempdir().expect("a directory");
        let ticket = open(&dir).sign(&claims(NOW), NOW).expect("signed");
        let keys = open(&dir);
        assert_eq!(verify(&keys, &ticket, NOW), Ok(()));
        keys.replace_all(NOW).expect("replaced");
        assert_eq!(verify(&keys, &ticket, NOW), Err(TicketRefused::Key));
        assert_eq!(verify(&keys, &keys.sign(&claims(NOW), NOW).expect("signed"), NOW), Ok(()));
    }

    // REQ: FEP-KIT-108
    #[test]
    fn revocations_are_published_do_not_grow_without_bound_and_are_forgotten_with_the_tickets() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let person = PersonId("local:anna".to_owned());
        for number in 0..=MAX_TICKETS_OF_ONE {
            let what = Revoked::Ticket { jti: format!("j{number}"), person: person.clone() };
            keys.revoke(what, NOW).expect("revoked");
        }
        assert_eq!(published(&keys).revoked, [Revocation { what: Revoked::Person(person), at: NOW }]);
        let ticket = keys.sign(&claims(NOW), NOW).expect("signed");
        assert_eq!(verify(&keys, &ticket, NOW), Err(TicketRefused::Revoked));
        keys.step(NOW.plus_s(MAX_LIFETIME_S + CLOCK_SKEW_S)).expect("stepped");
        assert_eq!(published(&keys).revoked, []);
    }

    #[test]
    fn a_public_file_that_was_lost_or_changed_is_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let good = published(&keys);
        for text in [None, Some("{}"), Some("nonsense")] {
            match text {
                None => std::fs::remove_file(keys.public_file()).expect("removed"),
                Some(text) => std::fs::write(keys.public_file(), text).expect("written"),
            }
            keys.step(NOW).expect("stepped");
            assert_eq!(published(&keys), good);
        }
    }

    #[test]
    fn a_ticket_that_no_service_would_read_is_not_issued() {
        let dir = tempfile::tempdir().expect("a directory");
        let scopes = vec![Scope::ALL; 200];
        let signed = open(&dir).sign(&Claims { scopes, ..claims(NOW) }, NOW);
        assert!(matches!(signed, Err(KeyError::TooLong)));
    }

    // REQ: FEP-KIT-190
    #[test]
    fn a_clock_that_is_set_back_ends_every_ticket_so_that_none_outlives_its_revocation() {
        let revoked = || Revoked::Person(PersonId("local:anna".to_owned()));
        for back_s in [1, CLOCK_SKEW_S, CLOCK_SKEW_S + 1, 600, 10 * DAY_S] {
            let dir = tempfile::tempdir().expect("a directory");
            let keys = open(&dir);
            let later = NOW.plus_s(1000);
            let ticket = keys.sign(&claims(later), later).expect("signed");
            let now = later.plus_s(-back_s);
            keys.revoke(revoked(), now).expect("revoked");
            // At every later instant of the wrong clock and of the right one.
            for after_s in 0..back_s + 900 {
                let refused = verify(&keys, &ticket, now.plus_s(after_s.min(20 * DAY_S)));
                assert!(refused.is_err(), "set back by {back_s} s, {after_s} s after the revocation");
                if after_s > 2000 {
                    break;
                }
            }
            // Who logs in after that is not concerned.
            let next = now.plus_s(CLOCK_SKEW_S + 1);
            let new = keys.sign(&claims(next), next).expect("signed");
            assert_eq!(verify(&keys, &new, next), Ok(()), "set back by {back_s} s");
        }
    }

    // REQ: FEP-KIT-190
    #[test]
    fn a_ticket_that_was_revoked_is_not_valid_again_after_a_clock_was_in_the_future_for_a_while() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let ticket = keys.sign(&claims(NOW), NOW).expect("signed");
        keys.revoke(Revoked::Ticket { jti: "j".to_owned(), person: PersonId("local:anna".to_owned()) }, NOW)
            .expect("revoked");
        // Two weeks ahead: the revocation is forgotten, and the key is rotated.
        keys.step(NOW.plus_s(14 * DAY_S)).expect("stepped");
        assert_eq!(published(&keys).revoked, []);
        // Another process, which has not seen the other time.
        let restarted = Keys::open(keys.dir.clone(), "fep", 7 * DAY_S, NOW.plus_s(60)).expect("keys");
        assert!(verify(&restarted, &ticket, NOW.plus_s(60)).is_err());
        let new = restarted.sign(&claims(NOW.plus_s(60)), NOW.plus_s(60)).expect("signed");
        assert_eq!(verify(&restarted, &new, NOW.plus_s(60)), Ok(()));
        restarted.step(NOW.plus_s(61)).expect("stepped");
        assert_eq!(verify(&restarted, &new, NOW.plus_s(61)), Ok(()), "once is enough");
    }

    // REQ: FEP-KIT-108
    #[test]
    fn a_rotation_that_is_killed_between_its_two_files_leaves_keys_that_sign_and_verify() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let old_ticket = keys.sign(&claims(NOW), NOW).expect("signed");
        let secret = dir.path().join(SECRET_FILE);
        let before = std::fs::read(&secret).expect("readable");
        keys.rotate(NOW.plus_s(1)).expect("rotated");
        // The public file has the new key; the private one was not written.
        std::fs::write(&secret, &before).expect("written");
        assert_eq!(published(&keys).keys.len(), 2);
        let now = NOW.plus_s(2);
        let restarted = Keys::open(keys.dir.clone(), "fep", 7 * DAY_S, now).expect("keys");
        let ticket = restarted.sign(&claims(now), now).expect("signed");
        assert_eq!(
            published(&restarted).keys.len(),
            1,
            "a public key that nobody can sign with is withdrawn"
        );
        assert_eq!(
            (verify(&restarted, &ticket, now), verify(&restarted, &old_ticket, now)),
            (Ok(()), Ok(()))
        );
        restarted.rotate(now).expect("rotated");
        let next = now.plus_s(PUBLISH_AHEAD_S);
        let ticket = restarted.sign(&claims(next), next).expect("signed");
        assert_eq!(
            (verify(&restarted, &ticket, next), verify(&restarted, &old_ticket, next)),
            (Ok(()), Ok(()))
        );
    }

    // REQ: FEP-KIT-191
    #[test]
    fn tokens_that_are_revoked_without_end_take_no_more_room_and_stay_revoked() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir);
        let of_token = |id: usize, now| {
            keys.sign(&Claims { token: Some(format!("t{id}")), ..claims(now) }, now).expect("signed")
        };
        let ticket = of_token(0, NOW);
        for id in 0..MAX_TOKENS + 50 {
            keys.revoke(Revoked::Token(format!("t{id}")), NOW).expect("revoked");
            assert!(published(&keys).revoked.len() <= MAX_TOKENS + 1, "{id}");
        }
        assert_eq!(verify(&keys, &ticket, NOW), Err(TicketRefused::Revoked));
        let later = NOW.plus_s(1);
        assert_eq!(
            verify(&keys, &of_token(MAX_TOKENS + 500, later), later),
            Ok(()),
            "others get new tickets"
        );
        let person = keys.sign(&claims(NOW), NOW).expect("signed");
        assert_eq!(verify(&keys, &person, NOW), Ok(()), "persons are not concerned");
    }
}
