//! Local accounts: persons whom the service itself knows, with password, lock-out and expiry.
//!
//! An attempt is counted before its password is tried, so that guesses made side by side cannot exceed the limit. An
//! account that does not exist costs the same time as one that does, and the answer is the same.
//!
//! No change leaves an installation without an account that can administer, where there was one. Such an account has the
//! role administrator and a scope, is enabled and has not ended, and neither has its password. One that is locked counts: a
//! lock ends by itself. Persons of a directory do not count: nobody knows whether it answers tomorrow, or who is in which
//! group.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::password::{Cost, PasswordError, PasswordHash};
use crate::state::{StateDir, StateError};
use crate::{NumericDate, Person, PersonId, Role, RoleSets, Scope};

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
    /// The directory gives it a name that looks like another one, or that a local account has.
    #[error("the directory calls the account {account:?}: {why}")]
    Name {
        /// The name.
        account: String,
        /// What is wrong with it.
        why: &'static str,
    },
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
    /// Nobody could administer after the change, or not for as long as before it.
    #[error(
        "{name:?} is the last account that can administer{}: add another administrator, or enable one, first",
        lasting.words()
    )]
    LastAdministrator {
        /// The account.
        name: String,
        /// For how long it can.
        lasting: Lasting,
    },
    /// An account that can administer exists already.
    #[error("{0} is an administrator already: administrators add others with `fepctl account add`")]
    HasAdministrator(String),
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// For how long somebody can administer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasting {
    /// Nobody can now.
    Never,
    /// Somebody can now, and each account that can will end.
    ForATime,
    /// Somebody can, and neither the account nor its password has an end.
    WithoutEnd,
}

impl Lasting {
    fn words(self) -> &'static str {
        if self == Lasting::WithoutEnd { " and has no end" } else { "" }
    }
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
    role_sets: RoleSets,
    hashing: AtomicUsize,
}

impl Accounts {
    pub(crate) fn new(dir: StateDir, cost: Cost, lockout: Lockout, role_sets: RoleSets) -> Accounts {
        Accounts { dir, cost, lockout, role_sets, hashing: AtomicUsize::new(0) }
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
        self.add_where(name, password, profile, |_| Ok(()))
    }

    /// Makes an account, unless one exists that can administer.
    ///
    /// # Errors
    /// [`AccountError::HasAdministrator`], and what [`Accounts::add`] says.
    pub(crate) fn add_first(
        &self,
        name: &str,
        password: &str,
        profile: Profile,
        now: NumericDate,
    ) -> Result<(), AccountError> {
        self.add_where(name, password, profile, |book| match self.administrator_of(book, now) {
            Some((other, _)) => Err(AccountError::HasAdministrator(other.clone())),
            None => Ok(()),
        })
    }

    /// An account that can administer now; one that will not end, where there is one.
    ///
    /// # Errors
    /// The state directory's.
    pub fn administrator(&self, now: NumericDate) -> Result<Option<String>, StateError> {
        Ok(self.administrator_of(&self.read()?, now).map(|(name, _)| name.clone()))
    }

    fn administrator_of<'a>(&self, book: &'a Book, now: NumericDate) -> Option<(&'a String, Lasting)> {
        let lasting = |account: &Account| {
            let profile = &account.profile;
            let roles = self.role_sets.resolve(profile.roles.iter().map(String::as_str));
            let administers = roles.is_ok_and(|roles| roles.has(Role::Administrator));
            if !administers || profile.scopes.is_empty() || refused(profile, now).is_some() {
                return Lasting::Never;
            }
            let ends = profile.expires.is_some() || profile.password_expires.is_some();
            if ends { Lasting::ForATime } else { Lasting::WithoutEnd }
        };
        let known = book.iter().map(|(name, account)| (name, lasting(account)));
        known.filter(|(_, lasting)| *lasting != Lasting::Never).max_by_key(|(_, lasting)| *lasting)
    }

    fn add_where(
        &self,
        name: &str,
        password: &str,
        profile: Profile,
        check: impl FnOnce(&Book) -> Result<(), AccountError>,
    ) -> Result<(), AccountError> {
        check_name(name)?;
        let password = PasswordHash::of_new(password, name, self.cost)?;
        self.change(|book| {
            check(book)?;
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
    /// No such account, a password that is refused, an end that would leave nobody to administer, the state directory's.
    pub fn set_password(
        &self,
        name: &str,
        password: &str,
        expires: Option<NumericDate>,
        now: NumericDate,
    ) -> Result<(), AccountError> {
        // Whether there is such an account is answered first: a password is only held against the name of one.
        if !self.exists(name)? {
            return Err(AccountError::Unknown(name.chars().take(64).collect()));
        }
        let password = PasswordHash::of_new(password, name, self.cost)?;
        self.change_one(name, now, |account| {
            account.password = password;
            account.profile.password_expires = expires;
            (account.failures, account.last_failure, account.locked_until) = (0, None, None);
        })
    }

    /// Sets what an account gives.
    ///
    /// # Errors
    /// No such account, a profile that would leave nobody to administer, the state directory's.
    pub fn set_profile(&self, name: &str, profile: Profile, now: NumericDate) -> Result<(), AccountError> {
        self.change_one(name, now, |account| account.profile = profile)
    }

    /// Disables or enables an account. Whose it is.
    ///
    /// # Errors
    /// No such account, the last one that can administer, the state directory's.
    pub(crate) fn set_disabled(
        &self,
        name: &str,
        disabled: bool,
        now: NumericDate,
    ) -> Result<PersonId, AccountError> {
        self.change_one(name, now, |account| {
            account.profile.disabled = disabled;
            account.profile.person.clone()
        })
    }

    /// Ends a lock before its time.
    ///
    /// # Errors
    /// No such account, the state directory's.
    pub fn unlock(&self, name: &str, now: NumericDate) -> Result<(), AccountError> {
        self.change_one(name, now, |account| {
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

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let _lock = self.dir.lock()?;
        let mut book = self.read()?;
        let changed = change(&mut book)?;
        self.dir.replace(FILE, 0o600, &book)?;
        Ok(changed)
    }

    fn change_one<T>(
        &self,
        name: &str,
        now: NumericDate,
        change: impl FnOnce(&mut Account) -> T,
    ) -> Result<T, AccountError> {
        let lasting =
            |book: &Book| self.administrator_of(book, now).map_or(Lasting::Never, |(_, lasting)| lasting);
        self.change(|book| {
            let before = lasting(book);
            let unknown = || AccountError::Unknown(name.chars().take(64).collect());
            let changed = change(book.get_mut(name).ok_or_else(unknown)?);
            // Two administrators who disable one another at the same time come one after the other: this is under the lock.
            if lasting(book) < before {
                return Err(AccountError::LastAdministrator { name: name.to_owned(), lasting: before });
            }
            Ok(changed)
        })
    }
}

/// Why an account does not let its person in now.
fn refused(profile: &Profile, now: NumericDate) -> Option<LoginRefused> {
    let ended = |at: Option<NumericDate>| at.filter(|at| *at <= now);
    if profile.disabled {
        return Some(LoginRefused::Disabled);
    }
    if let Some(at) = ended(profile.expires) {
        return Some(LoginRefused::Expired { at });
    }
    ended(profile.password_expires).map(|at| LoginRefused::PasswordExpired { at })
}

fn admit(name: &str, profile: Profile, now: NumericDate) -> Result<LoggedIn, LoginRefused> {
    if let Some(refused) = refused(&profile, now) {
        return Err(refused);
    }
    Ok(LoggedIn {
        person: Person { id: profile.person, account: name.to_owned() },
        roles: profile.roles,
        scopes: profile.scopes,
        expires: profile.expires,
    })
}

/// Whether a local account may have this name: nothing that could be taken for another name by its case, by white space, or by
/// letters of another script that look alike.
#[must_use]
pub fn is_account_name(name: &str) -> bool {
    let good = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b".-_".contains(&octet);
    let first = name.bytes().next().is_some_and(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit());
    first && name.len() <= 64 && name.bytes().all(good)
}

fn check_name(name: &str) -> Result<(), AccountError> {
    if is_account_name(name) { Ok(()) } else { Err(AccountError::Name(name.chars().take(64).collect())) }
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
mod tests;
