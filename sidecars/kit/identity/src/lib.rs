//! Who asks, and what they may.
//!
//! | what | where |
//! |---|---|
//! | roles and the named sets of a site | [`Role`], [`RoleSet`], [`RoleSets`] |
//! | scopes: spacecraft × colour × session | [`Scope`], [`Target`] |
//! | who asks | [`Caller`], [`Person`] |
//! | local accounts: argon2id, lock-out, expiry | [`accounts`] |
//! | persons of an LDAP directory (feature `ldap`) | `ldap` |
//! | API tokens: hashed, named, scoped, ending, revocable | [`tokens`] |
//! | tickets: short-lived, signed, verified off-line | [`ticket`], [`keys`], [`Verifier`] |
//! | services by the user they run as or by their certificate | [`Peers`] |
//! | who a request comes from | [`Authenticator`] |
//! | the section `[identity]` of a service that only verifies | [`VerifyingConfig`] |
//! | all of it over one state directory | [`Identity`] |
//!
//! Time is an argument everywhere; only [`NumericDate::now`] asks the clock. A service that verifies tickets needs the
//! public file of the state directory and [`Authenticator`], nothing else, and leaves the feature `ldap` out.

pub mod accounts;
mod authenticator;
mod caller;
mod config;
mod date;
mod identity;
pub mod keys;
#[cfg(feature = "ldap")]
pub mod ldap;
mod password;
mod peers;
mod random;
mod role;
mod scope;
mod state;
pub mod ticket;
pub mod tokens;
mod verifier;
mod verifying;

pub use accounts::{Lockout, LoginRefused, Profile};
pub use authenticator::{Authenticator, Credentials, Unauthenticated};
pub use caller::{Caller, Denied, Means, Person, PersonId};
pub use config::{IdentityConfig, IdentityConfigError};
pub use date::NumericDate;
pub use identity::{Excess, Identity, IdentityError, Issued};
pub use password::{Cost, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordError, PasswordHash};
pub use peers::{CertificateName, PeerCertificate, PeerMistake, PeerService, Peers};
pub use role::{Role, RoleSet, RoleSets, UnknownRole};
pub use scope::{All, Asked, Colours, Scope, Sessions, Spacecraft, Target};
pub use state::StateError;
pub use verifier::Verifier;
pub use verifying::VerifyingConfig;
