//! Local accounts: persons whom the service itself knows, with password, lock-out and expiry.
//!
//! An attempt is counted before its password is tried, so that guesses made side by side cannot exceed the limit. An
//! account that does not exist costs the same time as one that does, and the answer is the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::password::{Cost, PasswordError, PasswordHash};
use crate::state::{StateDir, StateError};
use crate::{NumericDate, Person, PersonId, Scope};

const FILE: &str = "accounts.json";
/// No site has more persons.
const MAX_ACCOUNTS: usize = 10_000;
/// Hashes made at the same time: each takes [`Cost::memory_kib`] of memory.
const MAX_HASHING: usize = 4;

/// When an account is locked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lockout {
    /// So many wrong passwords in a row lock it.
    pub failures: u32,
    /// So long in seconds. After this time without a failure, earlier ones are forgotten too.
    pub period_s: u32,
}

impl Default for Lockout {
    fn default() -> Lockout {
        Lockout { failures: 5, period_s: 900 }
    }
}

/// What an administrator says of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Who it belongs to. Two accounts of one human being have the same; `local:NAME` is a person of its own.
    pub person: PersonId,
    /// Names of roles and of configured sets of roles.
    pub roles: Vec<String>,
    /// Where they hold.
    pub scopes: Vec<Scope>,
    /// When the account ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<NumericDate>,
    /// When its password ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_expires: Option<NumericDate>,
    /// Whether nobody can log in to it now.
    #[serde(default)]
    pub disabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    profile: Profile,
    password: PasswordHash,
    #[serde(default)]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked_until: Option<NumericDate>,
}

impl Account {
    /// Counts an attempt; an error when the account is locked.
    fn count(&mut self, lockout: Lockout, now: NumericDate) -> Result<(), LoginRefused> {
        let period_s = i64::from(lockout.period_s);
        if let Some(until) = self.locked_until {
            // A clock that was set back must not lock for longer than the period.
            let until = until.min(now.plus_s(period_s));
            if now < until {
                self.locked_until = Some(until);
                return Err(LoginRefused::Locked { until });
            }
            self.locked_until = None;
            self.failures = 0;
        }
        if self.last_failure.is_some_and(|last| now.s_since(last) >= period_s) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        if self.failures >= lockout.failures {
            self.locked_until = Some(now.plus_s(period_s));
        }
        Ok(())
    }
}

/// Why nobody was logged in. For the log and the audit: the caller is only told that it did not work, so that nobody
/// learns which accounts exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// No account has this name.
    #[error("no account has this name")]
    Unknown,
    /// It has another password.
    #[error("the password is wrong")]
    WrongPassword,
    /// Too many wrong passwords.
    #[error("the account is locked until {until}")]
    Locked {
        /// Until then.
        until: NumericDate,
    },
    /// The account has ended.
    #[error("the account ended at {at}")]
    Expired {
        /// When.
        at: NumericDate,
    },
    /// The password has ended.
    #[error("the password ended at {at}; an administrator sets a new one")]
    PasswordExpired {
        /// When.
        at: NumericDate,
    },
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The account exists and has no role or no scope, or a role that is not configured any more.
    #[error("the account gives no role: {0}")]
    NoRole(String),
    /// Too many logins run now.
    #[error("too many logins run at the same time")]
    Busy,
}

/// A person who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who.
    pub person: Person,
    /// Names of roles and sets of roles.
    pub roles: Vec<String>,
    /// Where they hold.
    pub scopes: Vec<Scope>,
    /// When the account ends: no ticket is valid for longer.
    pub expires: Option<NumericDate>,
}

/// An account that cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name is taken.
    #[error("the account {0:?} exists already")]
    Exists(String),
    /// There is no such account.
    #[error("no account has the name {0:?}")]
    Unknown(String),
    /// Not a name.
    #[error(
        "{0:?} is not an account name: 1 to 64 of a-z, 0-9, '.', '-' and '_', beginning with a letter or digit"
    )]
    Name(String),
    /// Too many.
    #[error("{MAX_ACCOUNTS} accounts are the most")]
    TooMany,
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// An account as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// What it gives.
    pub profile: Profile,
    /// Until when it is locked.
    pub locked_until: Option<NumericDate>,
}

type Book = BTreeMap<String, Account>;

/// The local accounts of a state directory.
#[derive(Debug)]
pub struct Accounts {
    dir: StateDir,
    cost: Cost,
    lockout: Lockout,
    hashing: AtomicUsize,
}

impl Accounts {
    pub(crate) fn new(dir: StateDir, cost: Cost, lockout: Lockout) -> Accounts {
        Accounts { dir, cost, lockout, hashing: AtomicUsize::new(0) }
    }

    /// Whether an account has this name.
    ///
    /// # Errors
    /// The state directory's.
    pub fn exists(&self, name: &str) -> Result<bool, StateError> {
        Ok(self.read()?.contains_key(name))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// A name that is taken or none, a password that is refused, the state directory's.
    pub fn add(&self, name: &str, password: &str, profile: Profile) -> Result<(), AccountError> {
        check_name(name)?;
        let password = PasswordHash::of_new(password, name, self.cost)?;
        self.change(|book| {
            if book.contains_key(name) {
                return Err(AccountError::Exists(name.to_owned()));
            }
            if book.len() >= MAX_ACCOUNTS {
                return Err(AccountError::TooMany);
            }
            let account = Account { profile, password, failures: 0, last_failure: None, locked_until: None };
            book.insert(name.to_owned(), account);
            Ok(())
        })
    }

    /// Sets a new password, which unlocks the account too.
    ///
    /// # Errors
    /// No such account, a password that is refused, the state directory's.
    pub fn set_password(
        &self,
        name: &str,
        password: &str,
        expires: Option<NumericDate>,
    ) -> Result<(), AccountError> {
        let password = PasswordHash::of_new(password, name, self.cost)?;
        self.change_one(name, |account| {
            account.password = password;
            account.profile.password_expires = expires;
            (account.failures, account.last_failure, account.locked_until) = (0, None, None);
        })
    }

    /// Sets what an account gives.
    ///
    /// # Errors
    /// No such account, the state directory's.
    pub fn set_profile(&self, name: &str, profile: Profile) -> Result<(), AccountError> {
        self.change_one(name, |account| account.profile = profile)
    }

    /// Ends a lock before its time.
    ///
    /// # Errors
    /// No such account, the state directory's.
    pub fn unlock(&self, name: &str) -> Result<(), AccountError> {
        self.change_one(name, |account| {
            (account.failures, account.last_failure, account.locked_until) = (0, None, None);
        })
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// The state directory's.
    pub fn list(&self) -> Result<Vec<AccountView>, StateError> {
        let view = |(name, account): (String, Account)| AccountView {
            name,
            profile: account.profile,
            locked_until: account.locked_until,
        };
        Ok(self.read()?.into_iter().map(view).collect())
    }

    /// Logs a person in. It takes as long as a hash, whether the account exists or not.
    ///
    /// # Errors
    /// Why it was refused, or what the state directory said.
    pub fn login(
        &self,
        name: &str,
        password: &str,
        now: NumericDate,
    ) -> Result<Result<LoggedIn, LoginRefused>, StateError> {
        let Some(_slot) = Slot::take(&self.hashing) else { return Ok(Err(LoginRefused::Busy)) };
        let (hash, counted) = self.count(name, now)?;
        let right = hash.verify(password);
        if let Err(refused) = counted {
            return Ok(Err(refused));
        }
        if !right {
            return Ok(Err(LoginRefused::WrongPassword));
        }
        let mut found = None;
        let unlocked = self.change(|book| {
            let Some(account) = book.get_mut(name) else {
                return Err(AccountError::Unknown(name.to_owned()));
            };
            // Only for the password that was tried: it may have been changed meanwhile.
            if account.password == hash {
                (account.failures, account.last_failure, account.locked_until) = (0, None, None);
                found = Some(account.profile.clone());
            }
            Ok(())
        });
        // An account that was removed meanwhile is not found, which is answered below.
        if let Err(AccountError::State(error)) = unlocked {
            return Err(error);
        }
        let Some(profile) = found else { return Ok(Err(LoginRefused::WrongPassword)) };
        Ok(admit(name, profile, now))
    }

    /// Counts the attempt and returns the hash to try; for an account that is unknown or locked, one of nobody.
    fn count(
        &self,
        name: &str,
        now: NumericDate,
    ) -> Result<(PasswordHash, Result<(), LoginRefused>), StateError> {
        let _lock = self.dir.lock()?;
        let mut book = self.read()?;
        let Some(account) = book.get_mut(name) else {
            return Ok((PasswordHash::of_nobody(self.cost), Err(LoginRefused::Unknown)));
        };
        let counted = account.count(self.lockout, now);
        let hash = match counted {
            Ok(()) => account.password.clone(),
            Err(_) => PasswordHash::of_nobody(account.password.cost()),
        };
        if counted.is_ok() {
            self.dir.replace(FILE, 0o600, &book)?;
        }
        Ok((hash, counted))
    }

    fn read(&self) -> Result<Book, StateError> {
        Ok(self.dir.read_secret(FILE)?.unwrap_or_default())
    }

    fn change(&self, change: impl FnOnce(&mut Book) -> Result<(), AccountError>) -> Result<(), AccountError> {
        let _lock = self.dir.lock()?;
        let mut book = self.read()?;
        change(&mut book)?;
        Ok(self.dir.replace(FILE, 0o600, &book)?)
    }

    fn change_one(&self, name: &str, change: impl FnOnce(&mut Account)) -> Result<(), AccountError> {
        self.change(|book| {
            change(book.get_mut(name).ok_or_else(|| AccountError::Unknown(name.to_owned()))?);
            Ok(())
        })
    }
}

fn admit(name: &str, profile: Profile, now: NumericDate) -> Result<LoggedIn, LoginRefused> {
    if profile.disabled {
        return Err(LoginRefused::Disabled);
    }
    if let Some(at) = profile.expires.filter(|at| *at <= now) {
        return Err(LoginRefused::Expired { at });
    }
    if let Some(at) = profile.password_expires.filter(|at| *at <= now) {
        return Err(LoginRefused::PasswordExpired { at });
    }
    Ok(LoggedIn {
        person: Person { id: profile.person, account: name.to_owned() },
        roles: profile.roles,
        scopes: profile.scopes,
        expires: profile.expires,
    })
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let good = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b".-_".contains(&octet);
    let first = name.bytes().next().is_some_and(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit());
    if first && name.len() <= 64 && name.bytes().all(good) {
        return Ok(());
    }
    Err(AccountError::Name(name.chars().take(64).collect()))
}

/// The right to make one hash.
struct Slot<'a>(&'a AtomicUsize);

impl Slot<'_> {
    fn take(count: &AtomicUsize) -> Option<Slot<'_>> {
        let taken =
            count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MAX_HASHING).then_some(n + 1));
        taken.ok().map(|_| Slot(count))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };
    const PASSWORD: &str = "correct horse battery";
    const NOW: NumericDate = NumericDate(1_780_000_000);

    fn profile() -> Profile {
        Profile {
            person: PersonId("local:anna".to_owned()),
            roles: vec!["observer".to_owned()],
            scopes: vec![Scope::ALL],
            expires: None,
            password_expires: None,
            disabled: false,
        }
    }

    fn accounts(dir: &tempfile::TempDir) -> Accounts {
        let lockout = Lockout { failures: 3, period_s: 60 };
        let accounts = Accounts::new(StateDir::open(dir.path()).expect("a state directory"), CHEAP, lockout);
        if !accounts.exists("anna").expect("readable") {
            accounts.add("anna", PASSWORD, profile()).expect("added");
        }
        accounts
    }

    fn login(accounts: &Accounts, password: &str, now: NumericDate) -> Result<LoggedIn, LoginRefused> {
        accounts.login("anna", password, now).expect("a usable state")
    }

    // REQ: FEP-KIT-105
    #[test]
    fn wrong_passwords_in_a_row_lock_an_account_for_a_period_that_a_restart_does_not_shorten() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = accounts(&dir);
        for _ in 0..3 {
            assert_eq!(login(&first, "wrong", NOW), Err(LoginRefused::WrongPassword));
        }
        let until = NOW.plus_s(60);
        assert_eq!(login(&first, PASSWORD, NOW.plus_s(1)), Err(LoginRefused::Locked { until }));
        let restarted = accounts(&dir);
        assert_eq!(login(&restarted, PASSWORD, NOW.plus_s(59)), Err(LoginRefused::Locked { until }));
        assert!(login(&restarted, PASSWORD, until).is_ok());
        // A success forgets failures: two more do not lock.
        for _ in 0..2 {
            assert_eq!(login(&restarted, "wrong", until), Err(LoginRefused::WrongPassword));
        }
        assert!(login(&restarted, PASSWORD, until).is_ok());
    }

    // REQ: FEP-KIT-105
    #[test]
    fn a_clock_that_is_set_back_locks_for_no_longer_than_the_period_and_an_administrator_unlocks() {
        let dir = tempfile::tempdir().expect("a directory");
        let accounts = accounts(&dir);
        for _ in 0..3 {
            assert!(login(&accounts, "wrong", NOW).is_err());
        }
        let back = NOW.plus_s(-1_000_000);
        assert_eq!(login(&accounts, PASSWORD, back), Err(LoginRefused::Locked { until: back.plus_s(60) }));
        accounts.unlock("anna").expect("unlocked");
        assert!(login(&accounts, PASSWORD, back).is_ok());
    }

    // REQ: FEP-KIT-105
    #[test]
    fn guesses_made_side_by_side_do_not_exceed_the_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let accounts = accounts(&dir);
        let tried = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    if login(&accounts, "wrong", NOW) == Err(LoginRefused::WrongPassword) {
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(tried.load(Ordering::Relaxed) <= 3, "{tried:?} passwords were tried, 3 are allowed");
    }

    // REQ: FEP-KIT-105
    #[test]
    fn accounts_and_passwords_end_when_they_are_said_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let accounts = accounts(&dir);
        let at = NOW.plus_s(10);
        accounts.set_profile("anna", Profile { expires: Some(at), ..profile() }).expect("set");
        assert!(login(&accounts, PASSWORD, NOW.plus_s(9)).is_ok());
        assert_eq!(login(&accounts, PASSWORD, at), Err(LoginRefused::Expired { at }));
        accounts.set_profile("anna", Profile { disabled: true, ..profile() }).expect("set");
        assert_eq!(login(&accounts, PASSWORD, NOW), Err(LoginRefused::Disabled));
        accounts.set_profile("anna", profile()).expect("set");
        accounts.set_password("anna", "another horse battery", Some(at)).expect("set");
        assert_eq!(login(&accounts, PASSWORD, NOW), Err(LoginRefused::WrongPassword));
        assert!(login(&accounts, "another horse battery", NOW).is_ok());
        assert_eq!(login(&accounts, "another horse battery", at), Err(LoginRefused::PasswordExpired { at }));
        assert_eq!(accounts.login("bert", PASSWORD, NOW).expect("usable"), Err(LoginRefused::Unknown));
    }

    #[test]
    fn names_that_could_be_mistaken_for_others_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let accounts = accounts(&dir);
        for name in ["", "Anna", "anna ", "../x", "-x", "änna", "a\0b", &"a".repeat(65)] {
            let added = accounts.add(name, PASSWORD, profile());
            assert!(matches!(added, Err(AccountError::Name(_))), "{name:?}");
        }
        assert!(matches!(accounts.add("anna", PASSWORD, profile()), Err(AccountError::Exists(_))));
        assert!(matches!(accounts.unlock("bert"), Err(AccountError::Unknown(_))));
        assert_eq!(accounts.list().expect("readable").len(), 1);
    }
}
