//! API tokens: long random strings for programs, kept as SHA-256 only; named, scoped, ending, revocable.
//!
//! A token reads `fep_ID_SECRET`: the identifier (16 hexadecimal digits) is public and stands in lists and the audit, the
//! secret is 256 random bits. No slow hash is needed for a secret that nobody can guess.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::random::random;
use crate::state::{StateDir, StateError, Version, version};
use crate::{NumericDate, Person, PersonId, RoleSet, Scope};

const FILE: &str = "tokens.json";
const MAX_TOKENS: usize = 10_000;
/// Tokens of one person: nobody takes the room of all others.
const MAX_TOKENS_OF_ONE: usize = 100;
/// How every token begins, so that scanners for secrets in texts find them.
pub const PREFIX: &str = "fep_";
/// Characters of a token's identifier.
const ID_CHARS: usize = 16;
/// Characters of a whole token: the prefix, the identifier, `_` and 32 octets in base64url.
const TOKEN_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + 43;

/// A token as it is stored and listed: all but the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is for.
    pub name: String,
    /// Who acts with it.
    pub person: Person,
    /// What may be done with it.
    pub roles: RoleSet,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub made: NumericDate,
    /// When it ends.
    pub expires: NumericDate,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<NumericDate>,
    /// SHA-256 of the whole token, 64 hexadecimal digits.
    sha256: String,
}

/// What a new token shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is for: 1 to 64 printable characters.
    pub name: String,
    /// Who acts with it.
    pub person: Person,
    /// What may be done with it.
    pub roles: RoleSet,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it ends.
    pub expires: NumericDate,
}

/// A token that was just made. Its text is shown once and stored nowhere.
pub struct MadeToken {
    /// Its identifier.
    pub id: String,
    /// The token.
    pub text: String,
}

/// A token that cannot be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name.
    #[error("the name of a token has 1 to 64 printable characters")]
    Name,
    /// Without a role or scope it opens nothing.
    #[error("a token needs a role and a scope")]
    Empty,
    /// It would never end, or has ended.
    #[error("a token ends later than now and {max_s} s from now at the latest")]
    Expiry {
        /// The longest life in seconds.
        max_s: i64,
    },
    /// Too many.
    #[error("{MAX_TOKENS} tokens are the most; those that ended are removed first")]
    TooMany,
    /// Too many of one person.
    #[error(
        "{MAX_TOKENS_OF_ONE} tokens of one person are the most: revoke those that are not needed any more"
    )]
    TooManyOfOne,
    /// No such token.
    #[error("no token has the identifier {0:?}")]
    Unknown(String),
    /// The system gives no random octets.
    #[error(transparent)]
    Random(io::Error),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why a token is refused. For the log and the audit: the caller is only told that it is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It does not have the form of a token.
    #[error("not a token")]
    Form,
    /// No token is this.
    #[error("nobody has this token")]
    Unknown,
    /// It has ended.
    #[error("the token has ended")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
}

type Book = BTreeMap<String, Token>;

/// The tokens of a state directory. What another process changes is seen by [`Tokens::refresh`].
#[derive(Debug)]
pub struct Tokens {
    dir: StateDir,
    max_life_s: i64,
    known: RwLock<(Option<Version>, Arc<Book>)>,
}

impl Tokens {
    pub(crate) fn open(dir: StateDir, max_life_s: i64) -> Result<Tokens, StateError> {
        let tokens = Tokens { dir, max_life_s, known: RwLock::default() };
        tokens.refresh()?;
        Ok(tokens)
    }

    /// Makes a token.
    ///
    /// # Errors
    /// A name, roles, scopes or an end that are refused; the state directory's.
    pub fn make(&self, new: NewToken, now: NumericDate) -> Result<MadeToken, TokenError> {
        let printable = !new.name.is_empty() && !new.name.chars().any(char::is_control);
        if !printable || new.name.chars().count() > 64 {
            return Err(TokenError::Name);
        }
        if new.roles.is_empty() || new.scopes.is_empty() {
            return Err(TokenError::Empty);
        }
        if new.expires <= now || new.expires.s_since(now) > self.max_life_s {
            return Err(TokenError::Expiry { max_s: self.max_life_s });
        }
        let id = hex(&random::<{ ID_CHARS / 2 }>().map_err(TokenError::Random)?);
        let secret: [u8; 32] = random().map_err(TokenError::Random)?;
        let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let token = Token {
            name: new.name,
            person: new.person,
            roles: new.roles,
            scopes: new.scopes,
            made: now,
            expires: new.expires,
            revoked: None,
            sha256: hex(&Sha256::digest(text.as_bytes())),
        };
        self.change(|book| {
            let own = |other: &Token| other.person.id == token.person.id;
            if book.values().filter(|other| own(other)).count() >= MAX_TOKENS_OF_ONE {
                // What opens nothing any more makes room; the audit trail keeps it.
                book.retain(|_, other| !own(other) || (other.revoked.is_none() && other.expires > now));
            }
            if book.values().filter(|other| own(other)).count() >= MAX_TOKENS_OF_ONE {
                return Err(TokenError::TooManyOfOne);
            }
            if book.len() >= MAX_TOKENS {
                book.retain(|_, token| token.expires > now);
            }
            if book.len() >= MAX_TOKENS {
                return Err(TokenError::TooMany);
            }
            book.insert(id.clone(), token);
            Ok(())
        })?;
        Ok(MadeToken { id, text })
    }

    /// Ends a token now. It stays in the list until the time at which it would have ended, or until its person needs the room.
    ///
    /// # Errors
    /// No such token, the state directory's.
    pub fn revoke(&self, id: &str, now: NumericDate) -> Result<(), TokenError> {
        self.change(|book| {
            let token = book.get_mut(id).ok_or_else(|| TokenError::Unknown(id.chars().take(64).collect()))?;
            token.revoked.get_or_insert(now);
            Ok(())
        })
    }

    /// Ends every token of a person now.
    ///
    /// # Errors
    /// The state directory's.
    pub fn revoke_all_of(&self, person: &PersonId, now: NumericDate) -> Result<(), TokenError> {
        self.change(|book| {
            for token in book.values_mut().filter(|token| token.person.id == *person) {
                token.revoked.get_or_insert(now);
            }
            Ok(())
        })
    }

    /// Every token by its identifier.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Token)> {
        let book = self.book();
        book.iter().map(|(id, token)| (id.clone(), token.clone())).collect()
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, text: &str, now: NumericDate) -> Result<(String, Token), TokenRefused> {
        let id = id_of(text).ok_or(TokenRefused::Form)?;
        let book = self.book();
        let token = book.get(id).ok_or(TokenRefused::Unknown)?;
        let digest = hex(&Sha256::digest(text.as_bytes()));
        if !bool::from(digest.as_bytes().ct_eq(token.sha256.as_bytes())) {
            return Err(TokenRefused::Unknown);
        }
        if token.revoked.is_some() {
            return Err(TokenRefused::Revoked);
        }
        if token.expires <= now {
            return Err(TokenRefused::Expired);
        }
        Ok((id.to_owned(), token.clone()))
    }

    /// Reads the file again when another process has changed it.
    ///
    /// # Errors
    /// The state directory's. What was known stays in force.
    pub fn refresh(&self) -> Result<(), StateError> {
        let now = version(&self.dir.file(FILE));
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).0;
        if now.is_some() && now == known {
            return Ok(());
        }
        let book: Book = self.dir.read_secret(FILE)?.unwrap_or_default();
        // The version was looked at before reading: a change in between is read again the next time.
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = (now, Arc::new(book));
        Ok(())
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    fn change(&self, change: impl FnOnce(&mut Book) -> Result<(), TokenError>) -> Result<(), TokenError> {
        let _lock = self.dir.lock()?;
        let mut book: Book = self.dir.read_secret(FILE)?.unwrap_or_default();
        change(&mut book)?;
        self.dir.replace(FILE, 0o600, &book)?;
        Ok(self.refresh()?)
    }
}

/// The identifier of a text that has the form of a token.
#[must_use]
pub fn id_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(PREFIX).filter(|_| text.len() == TOKEN_CHARS)?;
    let (id, secret) = rest.split_at_checked(ID_CHARS)?;
    let well_formed = id.bytes().all(|octet| octet.is_ascii_hexdigit()) && secret.starts_with('_');
    well_formed.then_some(id)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    const NOW: NumericDate = NumericDate(1_780_000_000);

    fn tokens(dir: &tempfile::TempDir) -> Tokens {
        Tokens::open(StateDir::open(dir.path()).expect("a state directory"), 86_400).expect("tokens")
    }

    fn new() -> NewToken {
        NewToken {
            name: "nightly export".to_owned(),
            person: Person::service("export"),
            roles: RoleSet::of(&[Role::Observer]),
            scopes: vec![Scope::ALL],
            expires: NOW.plus_s(3600),
        }
    }

    // REQ: FEP-KIT-106
    #[test]
    fn a_token_opens_until_it_ends_and_only_its_sha_256_is_stored() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens = tokens(&dir);
        let made = tokens.make(new(), NOW).expect("made");
        let (id, token) = tokens.verify(&made.text, NOW.plus_s(3599)).expect("known");
        assert_eq!((id, token.person), (made.id.clone(), Person::service("export")));
        assert_eq!(tokens.verify(&made.text, NOW.plus_s(3600)), Err(TokenRefused::Expired));
        let stored = std::fs::read_to_string(dir.path().join(FILE)).expect("a file");
        let secret = &made.text[PREFIX.len() + ID_CHARS + 1..];
        assert!(!stored.contains(secret) && stored.contains(&made.id));
        let other = tokens.make(new(), NOW).expect("made");
        assert_ne!(other.text, made.text);
    }

    // REQ: FEP-KIT-106
    #[test]
    fn a_stolen_token_replayed_after_it_was_revoked_is_refused_by_processes_that_run_already() {
        let dir = tempfile::tempdir().expect("a directory");
        let (identity, service) = (tokens(&dir), tokens(&dir));
        let made = identity.make(new(), NOW).expect("made");
        service.refresh().expect("readable");
        assert!(service.verify(&made.text, NOW).is_ok());
        identity.revoke(&made.id, NOW).expect("revoked");
        service.refresh().expect("readable");
        for now in [NOW, NOW.plus_s(10), NOW.plus_s(-10)] {
            assert_eq!(service.verify(&made.text, now), Err(TokenRefused::Revoked));
        }
        let other = identity.make(new(), NOW).expect("made");
        identity.revoke_all_of(&Person::service("export").id, NOW).expect("revoked");
        assert_eq!(identity.verify(&other.text, NOW), Err(TokenRefused::Revoked));
    }

    // REQ: FEP-KIT-106
    #[test]
    fn a_token_changed_in_any_one_character_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens = tokens(&dir);
        let made = tokens.make(new(), NOW).expect("made");
        for at in 0..made.text.len() {
            let mut changed = made.text.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(tokens.verify(&changed, NOW).is_err(), "character {at}");
        }
        for text in
            ["", "fep_", &made.text[1..], &format!("{} ", made.text), &made.text.to_uppercase(), "fep_ä"]
        {
            assert!(tokens.verify(text, NOW).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_without_name_role_scope_or_end_is_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens = tokens(&dir);
        let refused = |new: NewToken| tokens.make(new, NOW).err();
        assert!(matches!(refused(NewToken { name: String::new(), ..new() }), Some(TokenError::Name)));
        assert!(matches!(refused(NewToken { name: "a\nb".to_owned(), ..new() }), Some(TokenError::Name)));
        assert!(matches!(refused(NewToken { roles: RoleSet::NONE, ..new() }), Some(TokenError::Empty)));
        assert!(matches!(refused(NewToken { scopes: vec![], ..new() }), Some(TokenError::Empty)));
        for expires in [NOW, NOW.plus_s(86_401)] {
            assert!(matches!(refused(NewToken { expires, ..new() }), Some(TokenError::Expiry { .. })));
        }
        assert!(matches!(tokens.revoke("0000000000000000", NOW), Err(TokenError::Unknown(_))));
    }

    // REQ: FEP-KIT-191
    #[test]
    fn one_person_cannot_take_the_room_of_all_tokens_and_revoked_ones_make_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens = tokens(&dir);
        let of = |name: &str| NewToken { person: Person::service(name), ..new() };
        let mut made = Vec::new();
        for _ in 0..MAX_TOKENS_OF_ONE {
            made.push(tokens.make(of("greedy"), NOW).expect("made"));
        }
        assert!(matches!(tokens.make(of("greedy"), NOW), Err(TokenError::TooManyOfOne)));
        tokens.make(of("modest"), NOW).expect("others have room");
        tokens.revoke(&made[0].id, NOW).expect("revoked");
        tokens.make(of("greedy"), NOW).expect("a revoked one makes room");
        assert!(tokens.verify(&made[0].text, NOW).is_err());
        assert!(tokens.verify(&made[1].text, NOW).is_ok());
        for _ in 0..3 * MAX_TOKENS_OF_ONE {
            let next = tokens.make(of("modest"), NOW).expect("made");
            tokens.revoke(&next.id, NOW).expect("revoked");
        }
        assert!(tokens.list().len() <= 2 * MAX_TOKENS_OF_ONE + 1, "{}", tokens.list().len());
    }
}
