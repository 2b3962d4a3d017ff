//! The section `[identity]`.

use serde::{Deserialize, Serialize};

#[cfg(feature = "ldap")]
use crate::ldap::LdapConfig;
use crate::ticket::MAX_LIFETIME_S;
use crate::{Cost, Lockout, PeerMistake, Peers, RoleSets};

/// The section `[identity]` of a service's configuration. Every member has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Name of the installation, which every ticket carries; tickets of another one are refused.
    pub issuer: String,
    /// How long a ticket of a login is valid, 60 s to one hour.
    pub ticket_lifetime_s: u32,
    /// After how many days a new key signs.
    pub rotate_keys_days: u16,
    /// How long an API token is valid at most, in days.
    pub token_lifetime_days: u16,
    /// What a password guess costs.
    pub password: Cost,
    /// When an account is locked.
    pub lockout: Lockout,
    /// Sets of roles by name.
    pub role_sets: RoleSets,
    /// Services by the user they run as or by their certificate.
    pub peers: Peers,
    /// The directory of persons.
    #[cfg(feature = "ldap")]
    pub ldap: Option<LdapConfig>,
}

impl Default for IdentityConfig {
    fn default() -> IdentityConfig {
        IdentityConfig {
            issuer: "fep".to_owned(),
            ticket_lifetime_s: 900,
            rotate_keys_days: 7,
            token_lifetime_days: 366,
            password: Cost::default(),
            lockout: Lockout::default(),
            role_sets: RoleSets::default(),
            peers: Peers::default(),
            #[cfg(feature = "ldap")]
            ldap: None,
        }
    }
}

/// What is wrong in the section; the program reports it at its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("identity.{key}: {message} (allowed: {allowed})")]
pub struct IdentityConfigError {
    /// Key within the section.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub allowed: String,
}

pub(crate) fn mistake(
    key: &str,
    message: impl Into<String>,
    allowed: impl Into<String>,
) -> IdentityConfigError {
    IdentityConfigError { key: key.to_owned(), message: message.into(), allowed: allowed.into() }
}

impl IdentityConfig {
    /// Refuses what is not safe or makes no sense.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), IdentityConfigError> {
        if self.issuer.is_empty() || self.issuer.len() > 64 || self.issuer.chars().any(char::is_control) {
            return Err(mistake("issuer", "not a name", "1 to 64 printable characters"));
        }
        let lifetime_s = i64::from(self.ticket_lifetime_s);
        if !(60..=MAX_LIFETIME_S).contains(&lifetime_s) {
            let allowed = format!("60 to {MAX_LIFETIME_S}");
            return Err(mistake("ticket_lifetime_s", format!("{lifetime_s} s"), allowed));
        }
        for (key, days) in
            [("rotate_keys_days", self.rotate_keys_days), ("token_lifetime_days", self.token_lifetime_days)]
        {
            if !(1..=3660).contains(&days) {
                return Err(mistake(key, format!("{days} days"), "1 to 3660"));
            }
        }
        if !self.password.is_enough() {
            let (least, most) = (Cost::LEAST, Cost::MOST);
            let allowed = format!(
                "memory_kib {} to {}, passes {} to {}",
                least.memory_kib, most.memory_kib, least.passes, most.passes
            );
            return Err(mistake("password", "a guess would cost too little or too much", allowed));
        }
        if !(3..=100).contains(&self.lockout.failures) || !(60..=86_400).contains(&self.lockout.period_s) {
            let allowed = "failures 3 to 100, period_s 60 to 86400";
            return Err(mistake("lockout", "locks too early, too late or for too long", allowed));
        }
        if let Err((name, why)) = self.role_sets.check() {
            return Err(mistake(&format!("role_sets.{name}"), why, "another name and at least one role"));
        }
        if let Err(PeerMistake { key, message, allowed }) = self.peers.check() {
            return Err(mistake(&format!("peers.{key}"), message, allowed));
        }
        #[cfg(feature = "ldap")]
        if let Some(ldap) = &self.ldap {
            ldap.check(&self.role_sets)?;
        }
        Ok(())
    }

    /// Reads the files that the section names: what [`crate::Identity::open`] would refuse of them, this refuses.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check_files(&self) -> Result<(), IdentityConfigError> {
        #[cfg(feature = "ldap")]
        if let Some(ldap) = &self.ldap {
            ldap.check_files()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_good_and_what_is_not_safe_is_refused_at_its_key() {
        assert_eq!(IdentityConfig::default().check(), Ok(()));
        let refused = |config: IdentityConfig| config.check().expect_err("refused").key;
        let good = IdentityConfig::default;
        assert_eq!(refused(IdentityConfig { issuer: String::new(), ..good() }), "issuer");
        assert_eq!(refused(IdentityConfig { ticket_lifetime_s: 86_400, ..good() }), "ticket_lifetime_s");
        assert_eq!(refused(IdentityConfig { rotate_keys_days: 0, ..good() }), "rotate_keys_days");
        let cheap = Cost { memory_kib: 1024, passes: 1 };
        assert_eq!(refused(IdentityConfig { password: cheap, ..good() }), "password");
        let never = Lockout { failures: 1_000_000, period_s: 60 };
        assert_eq!(refused(IdentityConfig { lockout: never, ..good() }), "lockout");
    }
}
