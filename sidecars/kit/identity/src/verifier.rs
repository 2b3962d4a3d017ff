//! Tickets verified off-line, with the public file alone, and remembered until they end or the file changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::state::{StateError, Version, read, version};
use crate::ticket::{Claims, Published, TicketKeys, TicketRefused, check_times};
use crate::{Caller, NumericDate};

/// So many verified tickets are remembered; then all are forgotten and verified again as they come.
const MAX_REMEMBERED: usize = 4096;

/// A ticket that was verified.
#[derive(Debug)]
struct Verified {
    claims: Claims,
    caller: Arc<Caller>,
}

#[derive(Debug, Default)]
struct Known {
    version: Option<Version>,
    keys: Arc<TicketKeys>,
    /// By SHA-256 of the ticket: a look-up must not compare the tickets of others octet by octet.
    remembered: HashMap<[u8; 32], Verified>,
}

/// Verifies tickets with the public keys of one file, `ticket-keys.pub.json`.
#[derive(Debug)]
pub struct Verifier {
    path: PathBuf,
    known: RwLock<Known>,
}

impl Verifier {
    /// Reads the public keys. Where the file does not exist yet no ticket is accepted until it does.
    ///
    /// # Errors
    /// A file that others than its owner may write, or that is damaged.
    pub fn open(path: &Path) -> Result<Verifier, StateError> {
        let verifier = Verifier { path: path.to_owned(), known: RwLock::default() };
        verifier.refresh()?;
        Ok(verifier)
    }

    /// Reads the file again when it has changed: new keys, revocations.
    ///
    /// # Errors
    /// As [`Verifier::open`], and a file that has vanished. The keys and revocations known so far stay in force.
    pub fn refresh(&self) -> Result<(), StateError> {
        // Looked at before reading: a change in between is read again the next time.
        let now = version(&self.path);
        let before = self.known.read().unwrap_or_else(PoisonError::into_inner).version;
        if now == before && now.is_some() {
            return Ok(());
        }
        let damaged = |why: &str| StateError::Damaged { path: self.path.clone(), why: why.to_owned() };
        let Some(published) = read::<Published>(&self.path, 0o644)? else {
            return if before.is_some() { Err(damaged("it has vanished")) } else { Ok(()) };
        };
        let keys = TicketKeys::new(published).map_err(|why| damaged(&why))?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { version: now, keys: Arc::new(keys), remembered: HashMap::new() };
        Ok(())
    }

    /// Who brings this ticket.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn caller(&self, ticket: &str, now: NumericDate) -> Result<Arc<Caller>, TicketRefused> {
        self.with(ticket, now, |verified| Arc::clone(&verified.caller))
    }

    /// What a ticket says.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn claims(&self, ticket: &str, now: NumericDate) -> Result<Claims, TicketRefused> {
        self.with(ticket, now, |verified| verified.claims.clone())
    }

    fn with<T>(
        &self,
        ticket: &str,
        now: NumericDate,
        take: impl Fn(&Verified) -> T,
    ) -> Result<T, TicketRefused> {
        let digest: [u8; 32] = Sha256::digest(ticket.as_bytes()).into();
        let (keys, version) = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(verified) = known.remembered.get(&digest) {
                check_times(&verified.claims, now)?;
                return Ok(take(verified));
            }
            (Arc::clone(&known.keys), known.version)
        };
        // The signature is verified without the lock; what it was verified with may have been replaced meanwhile.
        let claims = keys.verify(ticket, now)?;
        let verified = Verified { caller: Arc::new(claims.caller()), claims };
        let taken = take(&verified);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.version == version {
            if known.remembered.len() >= MAX_REMEMBERED {
                known.remembered.clear();
            }
            known.remembered.insert(digest, verified);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::state::StateDir;
    use crate::ticket::Revoked;
    use crate::{PersonId, RoleSet, Scope};

    const NOW: NumericDate = NumericDate(1_780_000_000);

    fn keys(dir: &tempfile::TempDir) -> Keys {
        Keys::open(StateDir::open(dir.path()).expect("a state directory"), "fep", 86_400, NOW).expect("keys")
    }

    fn ticket(keys: &Keys, jti: usize) -> String {
        let claims = Claims {
            iss: "fep".to_owned(),
            sub: "anna".to_owned(),
            person: PersonId("local:anna".to_owned()),
            roles: RoleSet::ALL,
            scopes: vec![Scope::ALL],
            iat: NOW,
            exp: NOW.plus_s(900),
            jti: jti.to_string(),
            token: None,
        };
        keys.sign(&claims, NOW).expect("signed")
    }

    // REQ: FEP-KIT-107
    #[test]
    fn a_remembered_ticket_still_ends_in_time_and_is_refused_once_it_is_revoked() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = keys(&dir);
        let verifier = Verifier::open(&keys.public_file()).expect("keys");
        let ticket = ticket(&keys, 1);
        for _ in 0..2 {
            assert_eq!(verifier.caller(&ticket, NOW).expect("valid").person.account, "anna");
        }
        assert_eq!(verifier.caller(&ticket, NOW.plus_s(900)).err(), Some(TicketRefused::Expired));
        assert_eq!(verifier.caller(&ticket, NOW.plus_s(-1000)).err(), Some(TicketRefused::Times));
        keys.revoke(Revoked::Person(PersonId("local:anna".to_owned())), NOW).expect("revoked");
        verifier.refresh().expect("readable");
        assert_eq!(verifier.caller(&ticket, NOW).err(), Some(TicketRefused::Revoked));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_refused_tickets_are_not_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = keys(&dir);
        let verifier = Verifier::open(&keys.public_file()).expect("keys");
        let remembered = || verifier.known.read().expect("whole").remembered.len();
        for jti in 0..MAX_REMEMBERED + 5 {
            verifier.caller(&ticket(&keys, jti), NOW).expect("valid");
        }
        assert_eq!(remembered(), 5);
        for number in 0..10 {
            assert!(verifier.caller(&format!("a.b.{number}"), NOW).is_err());
        }
        assert_eq!(remembered(), 5);
    }

    #[test]
    fn a_public_file_that_vanishes_or_is_damaged_is_reported_and_the_known_keys_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = keys(&dir);
        let verifier = Verifier::open(&keys.public_file()).expect("keys");
        let ticket = ticket(&keys, 1);
        std::fs::write(keys.public_file(), "nonsense").expect("written");
        assert!(verifier.refresh().expect_err("damaged").to_string().contains("ticket-keys.pub.json"));
        std::fs::remove_file(keys.public_file()).expect("removed");
        assert!(verifier.refresh().expect_err("gone").to_string().contains("vanished"));
        assert!(verifier.caller(&ticket, NOW).is_ok());
        let late = Verifier::open(&keys.public_file()).expect("no file yet");
        assert_eq!(late.caller(&ticket, NOW).err(), Some(TicketRefused::Key));
        keys.step(NOW).expect("published again");
        late.refresh().expect("readable");
        assert!(late.caller(&ticket, NOW).is_ok());
    }
}
