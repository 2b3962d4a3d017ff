//! The service of identity: logins, tickets, tokens, revocations over one state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::accounts::{AccountError, Accounts, LoggedIn, LoginRefused, Profile};
use crate::config::{IdentityConfig, IdentityConfigError};
use crate::keys::{KeyError, Keys};
#[cfg(feature = "ldap")]
use crate::ldap::{Directory, LdapError};
use crate::random::random;
use crate::state::{StateDir, StateError};
use crate::ticket::{Claims, Revoked};
use crate::tokens::{MadeToken, NewToken, TokenError, TokenRefused, Tokens};
use crate::{Caller, Means, NumericDate, Person, PersonId, Role, RoleSet, RoleSets, Scope, UnknownRole};

const DAY_S: u32 = 86_400;

/// A ticket that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The ticket, for the header `Authorization: Bearer TICKET`.
    pub ticket: String,
    /// When it ends.
    pub expires: NumericDate,
    /// For whom.
    pub person: Person,
    /// With these roles.
    pub roles: RoleSet,
    /// And these scopes.
    pub scopes: Vec<Scope>,
}

/// What can go wrong beside a refusal.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The section `[identity]`.
    #[error(transparent)]
    Config(#[from] IdentityConfigError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The directory of persons.
    #[cfg(feature = "ldap")]
    #[error(transparent)]
    Ldap(#[from] LdapError),
    /// A name that is neither a role nor a configured set of roles.
    #[error(transparent)]
    Role(#[from] UnknownRole),
    /// The system gives no random octets.
    #[error(transparent)]
    Random(std::io::Error),
}

/// Everything that one installation knows of persons, over one state directory.
#[derive(Debug)]
pub struct Identity {
    config: IdentityConfig,
    accounts: Accounts,
    tokens: Arc<Tokens>,
    keys: Keys,
    #[cfg(feature = "ldap")]
    directory: Option<Directory>,
}

impl Identity {
    /// Takes a state directory for this process alone, for as long as what is returned lives: two that rotate keys and count
    /// wrong passwords beside one another would each undo what the other does. Commands that change one thing, like the
    /// adding of a first administrator, work beside the process that holds it.
    ///
    /// # Errors
    /// [`fep_file::FileError::Held`] when another process has it, and a directory that cannot be used.
    pub fn hold(dir: &Path, program: &str) -> Result<fep_file::Held, IdentityError> {
        Ok(StateDir::open(dir)?.hold(program)?)
    }

    /// Opens a state directory, or makes one with its first key.
    ///
    /// # Errors
    /// A configuration that is refused, or state that cannot be used.
    pub fn open(dir: &Path, config: IdentityConfig, now: NumericDate) -> Result<Identity, IdentityError> {
        config.check()?;
        Identity::open_unchecked(dir, config, now)
    }

    /// The same without the least cost of a password, for tests that log in often.
    #[doc(hidden)]
    pub fn open_unchecked(
        dir: &Path,
        config: IdentityConfig,
        now: NumericDate,
    ) -> Result<Identity, IdentityError> {
        let dir = StateDir::open(dir)?;
        let days_s = |days| i64::from(days) * i64::from(DAY_S);
        let rotate_every_s = days_s(config.rotate_keys_days);
        let token_life_s = days_s(config.token_lifetime_days);
        Ok(Identity {
            accounts: Accounts::new(dir.clone(), config.password, config.lockout, config.role_sets.clone()),
            tokens: Arc::new(Tokens::open(dir.clone(), token_life_s)?),
            keys: Keys::open(dir, &config.issuer, rotate_every_s, now)?,
            #[cfg(feature = "ldap")]
            directory: config.ldap.clone().map(Directory::new).transpose()?,
            config,
        })
    }

    /// The local accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The API tokens.
    #[must_use]
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// The configured sets of roles.
    #[must_use]
    pub fn role_sets(&self) -> &RoleSets {
        &self.config.role_sets
    }

    /// How long a token may be valid at most, in seconds.
    #[must_use]
    pub fn longest_token_s(&self) -> u32 {
        u32::from(self.config.token_lifetime_days).saturating_mul(DAY_S)
    }

    /// The file that services verify tickets with.
    #[must_use]
    pub fn public_file(&self) -> PathBuf {
        self.keys.public_file()
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Makes a local account whose roles and sets of roles are known.
    ///
    /// # Errors
    /// A role that is not known, and what [`Accounts::add`] refuses.
    pub fn add_account(&self, name: &str, password: &str, profile: Profile) -> Result<(), IdentityError> {
        self.config.role_sets.resolve(profile.roles.iter().map(String::as_str))?;
        Ok(self.accounts.add(name, password, profile)?)
    }

    /// Makes the account of the first administrator, whom nobody could add by logging in: refused where a local account can
    /// administer. It reaches everything and has no end.
    ///
    /// # Errors
    /// [`AccountError::HasAdministrator`], and what [`Accounts::add`] refuses.
    pub fn add_first_administrator(
        &self,
        name: &str,
        password: &str,
        now: NumericDate,
    ) -> Result<(), IdentityError> {
        let profile = Profile {
            person: PersonId(format!("local:{name}")),
            roles: vec![Role::Administrator.name().to_owned()],
            scopes: vec![Scope::ALL],
            expires: None,
            password_expires: None,
            disabled: false,
        };
        Ok(self.accounts.add_first(name, password, profile, now)?)
    }

    /// A ticket for anybody, for generated tests of who may call what.
    ///
    /// # Errors
    /// The state directory's.
    #[doc(hidden)]
    pub fn ticket_for_test(
        &self,
        roles: RoleSet,
        scopes: Vec<Scope>,
        now: NumericDate,
    ) -> Result<String, IdentityError> {
        let person = Person { id: PersonId("local:test".to_owned()), account: "test".to_owned() };
        Ok(self.issue(person, roles, scopes, None, None, now)?.ticket)
    }

    /// Logs a person in to a local account. It blocks for as long as a hash takes.
    ///
    /// # Errors
    /// The outer: faults. The inner: why the login was refused, for log and audit.
    pub fn login_local(
        &self,
        name: &str,
        password: &str,
        now: NumericDate,
    ) -> Result<Result<Issued, LoginRefused>, IdentityError> {
        match self.accounts.login(name, password, now)? {
            Ok(person) => self.admit(person, now),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Logs a person in by the directory; refused as unknown where none is configured.
    ///
    /// # Errors
    /// As [`Identity::login_local`], and a directory that does not answer.
    #[cfg(feature = "ldap")]
    pub async fn login_ldap(
        &self,
        name: &str,
        password: &str,
        now: NumericDate,
    ) -> Result<Result<Issued, LoginRefused>, IdentityError> {
        let Some(directory) = &self.directory else { return Ok(Err(LoginRefused::Unknown)) };
        match directory.login(name, password).await? {
            Ok(person) => match self.lookalike(&person.person.account)? {
                Some(why) => Ok(Err(LoginRefused::Name { account: person.person.account, why })),
                None => self.admit(person, now),
            },
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// What is wrong with the name of a directory's account, which stands in tickets and the audit: one name is one account.
    #[cfg(feature = "ldap")]
    fn lookalike(&self, account: &str) -> Result<Option<&'static str>, IdentityError> {
        if crate::ldap::is_hard_to_read(account) {
            return Ok(Some("it has invisible characters, or more than 64"));
        }
        // A directory compares names without regard to case, so what was typed may not have been the local name.
        let is_local = self.accounts.exists(&account.to_lowercase())?;
        Ok(is_local.then_some("a local account has this name"))
    }

    /// Whether a directory of persons is configured.
    #[must_use]
    pub fn has_directory(&self) -> bool {
        #[cfg(feature = "ldap")]
        return self.directory.is_some();
        #[cfg(not(feature = "ldap"))]
        false
    }

    /// A ticket for an API token, which services without access to the tokens accept.
    ///
    /// # Errors
    /// The outer: faults. The inner: why the token is refused.
    pub fn ticket_for_token(
        &self,
        token: &str,
        now: NumericDate,
    ) -> Result<Result<Issued, TokenRefused>, IdentityError> {
        let (id, token) = match self.tokens.verify(token, now) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let issued =
            self.issue(token.person, token.roles, token.scopes, Some(id), Some(token.expires), now)?;
        Ok(Ok(issued))
    }

    /// Makes an API token on behalf of a caller, who cannot give more than they have.
    ///
    /// # Errors
    /// The outer: faults, and what [`Tokens::make`] refuses. The inner: what the caller does not have.
    pub fn make_token(
        &self,
        caller: &Caller,
        new: NewToken,
        now: NumericDate,
    ) -> Result<Result<MadeToken, Excess>, IdentityError> {
        if !caller.roles.covers(new.roles) {
            return Ok(Err(Excess::Roles(caller.roles)));
        }
        if !new.scopes.iter().all(|scope| caller.scopes.iter().any(|own| own.covers(scope))) {
            return Ok(Err(Excess::Scopes));
        }
        Ok(Ok(self.tokens.make(new, now)?))
    }

    /// Ends the ticket or token that the caller came by.
    ///
    /// # Errors
    /// The state directory's.
    pub fn log_out(&self, caller: &Caller, jti: Option<&str>, now: NumericDate) -> Result<(), IdentityError> {
        match (&caller.means, jti) {
            (Means::Peer(_) | Means::Certificate(_), _) | (Means::Ticket, None) => Ok(()),
            (_, Some(jti)) => {
                let person = caller.person.id.clone();
                Ok(self.keys.revoke(Revoked::Ticket { jti: jti.to_owned(), person }, now)?)
            }
            (Means::Token(id), None) => self.revoke_token(id, now),
        }
    }

    /// Ends a token and every ticket that was issued for it.
    ///
    /// # Errors
    /// No such token, the state directory's.
    pub fn revoke_token(&self, id: &str, now: NumericDate) -> Result<(), IdentityError> {
        self.tokens.revoke(id, now)?;
        Ok(self.keys.revoke(Revoked::Token(id.to_owned()), now)?)
    }

    /// Disables an account and ends every ticket and token of its person.
    ///
    /// # Errors
    /// No such account, the last one that can administer, the state directory's.
    pub fn disable(&self, account: &str, now: NumericDate) -> Result<(), IdentityError> {
        let person = self.accounts.set_disabled(account, true, now)?;
        self.revoke_person(&person, now)
    }

    /// Enables an account again. Tickets and tokens that ended when it was disabled stay ended.
    ///
    /// # Errors
    /// No such account, the state directory's.
    pub fn enable(&self, account: &str, now: NumericDate) -> Result<(), IdentityError> {
        self.accounts.set_disabled(account, false, now)?;
        Ok(())
    }

    /// Ends every ticket and token of a person: also of one whom the directory knows.
    ///
    /// # Errors
    /// The state directory's.
    pub fn revoke_person(&self, person: &PersonId, now: NumericDate) -> Result<(), IdentityError> {
        self.tokens.revoke_all_of(person, now)?;
        Ok(self.keys.revoke(Revoked::Person(person.clone()), now)?)
    }

    fn admit(
        &self,
        person: LoggedIn,
        now: NumericDate,
    ) -> Result<Result<Issued, LoginRefused>, IdentityError> {
        let roles = match self.config.role_sets.resolve(person.roles.iter().map(String::as_str)) {
            Ok(roles) => roles,
            Err(unknown) => return Ok(Err(LoginRefused::NoRole(unknown.to_string()))),
        };
        if roles.is_empty() || person.scopes.is_empty() {
            return Ok(Err(LoginRefused::NoRole("no role or no scope is given to it".to_owned())));
        }
        self.issue(person.person, roles, person.scopes, None, person.expires, now).map(Ok)
    }

    fn issue(
        &self,
        person: Person,
        roles: RoleSet,
        scopes: Vec<Scope>,
        token: Option<String>,
        ends: Option<NumericDate>,
        now: NumericDate,
    ) -> Result<Issued, IdentityError> {
        let lifetime_s = i64::from(self.config.ticket_lifetime_s);
        let expires = ends.map_or(now.plus_s(lifetime_s), |ends| ends.min(now.plus_s(lifetime_s)));
        let jti = u128::from_be_bytes(random().map_err(IdentityError::Random)?);
        let claims = Claims {
            iss: self.config.issuer.clone(),
            sub: person.account.clone(),
            person: person.id.clone(),
            roles,
            scopes: scopes.clone(),
            iat: now,
            exp: expires,
            jti: format!("{jti:032x}"),
            token,
        };
        let ticket = self.keys.sign(&claims, now)?;
        Ok(Issued { ticket, expires, person, roles, scopes })
    }
}

/// What a caller does not have and therefore cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Roles.
    #[error("a token cannot have a role that its maker does not have (yours: {0})")]
    Roles(RoleSet),
    /// Scopes.
    #[error("a token cannot reach what its maker does not reach")]
    Scopes,
}
