//! Passwords, kept as argon2id (RFC 9106) in PHC string format: `$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH`.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::random::random;

/// Octets of a hash.
const HASH_BYTES: usize = 32;
/// A longer password is refused instead of hashed, so that nobody makes the service hash megabytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// A longer one is refused when it is set: in UTF-8 it has no more than [`MAX_PASSWORD_BYTES`].
pub const MAX_PASSWORD_CHARS: usize = MAX_PASSWORD_BYTES / 4;
/// A name of fewer characters is in many a password by chance.
const SHORTEST_NAME_CHARS: usize = 4;
/// A shorter one is refused when it is set (NIST SP 800-63B-4 section 3.1.1.2 for a password that is the only factor).
pub const MIN_PASSWORD_CHARS: usize = 15;

/// What one guess costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cost {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for Cost {
    /// 64 MiB and 3 passes: the second recommended option of RFC 9106 section 4 with one lane.
    fn default() -> Cost {
        Cost { memory_kib: 64 * 1024, passes: 3 }
    }
}

impl Cost {
    /// The least that a service may be configured with (OWASP's: 19 MiB, 2 passes).
    pub const LEAST: Cost = Cost { memory_kib: 19 * 1024, passes: 2 };
    /// The most that is taken from a stored hash: a changed file must not take the machine's memory.
    pub const MOST: Cost = Cost { memory_kib: 1024 * 1024, passes: 64 };

    fn is_within(self, least: Cost, most: Cost) -> bool {
        (least.memory_kib..=most.memory_kib).contains(&self.memory_kib)
            && (least.passes..=most.passes).contains(&self.passes)
    }

    /// Whether a service may be configured with it.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.is_within(Cost::LEAST, Cost::MOST)
    }

    fn hasher(self) -> Result<Argon2<'static>, PasswordError> {
        let params = Params::new(self.memory_kib, self.passes, 1, Some(HASH_BYTES));
        let params = params.map_err(|_| PasswordError::Cost(self))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A password that is refused, or a stored hash that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")]
    Length,
    /// It holds the name of its account.
    #[error("a password must not hold the name of its account")]
    HoldsName,
    /// Not a hash in PHC string format that this program writes.
    #[error("not an argon2id hash in PHC string format: {0}")]
    Form(&'static str),
    /// Costs that argon2 does not have or that are too large.
    #[error("argon2id cannot be had with {} KiB and {} passes", .0.memory_kib, .0.passes)]
    Cost(Cost),
    /// The system gives no random octets.
    #[error("the system gives no random octets")]
    Random,
}

/// A hash as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl PasswordHash {
    /// Hashes a new password for this account. It takes as long as a login.
    ///
    /// # Errors
    /// A password that is too short or too long or holds the account's name.
    pub fn of_new(password: &str, account: &str, cost: Cost) -> Result<PasswordHash, PasswordError> {
        if !(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&password.chars().count()) {
            return Err(PasswordError::Length);
        }
        if account.chars().count() >= SHORTEST_NAME_CHARS
            && password.to_lowercase().contains(&account.to_lowercase())
        {
            return Err(PasswordError::HoldsName);
        }
        let salt: [u8; 16] = random().map_err(|_| PasswordError::Random)?;
        PasswordHash::with_salt(password, &salt, cost)
    }

    /// A hash that no password has, to spend the same time on an account that does not exist.
    pub(crate) fn of_nobody(cost: Cost) -> PasswordHash {
        PasswordHash { cost, salt: vec![0; 16], hash: [0; HASH_BYTES] }
    }

    fn with_salt(password: &str, salt: &[u8], cost: Cost) -> Result<PasswordHash, PasswordError> {
        let mut hash = [0; HASH_BYTES];
        let made = cost.hasher()?.hash_password_into(password.as_bytes(), salt, &mut hash);
        made.map_err(|_| PasswordError::Cost(cost))?;
        Ok(PasswordHash { cost, salt: salt.to_vec(), hash })
    }

    /// Whether this is the password. It takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        match PasswordHash::with_salt(password, &self.salt, self.cost) {
            Ok(made) => made.hash.ct_eq(&self.hash).into(),
            Err(_) => false,
        }
    }

    /// What it costs to try a password.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${hash}")
    }
}

impl fmt::Debug for PasswordHash {
    /// Not the hash: it would end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<PasswordHash, PasswordError> {
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "argon2id", "v=19", costs, salt, hash] = parts[..] else {
            return Err(PasswordError::Form("not $argon2id$v=19$COSTS$SALT$HASH"));
        };
        let mut costs = costs.split(',');
        let mut cost = |name: &str| -> Result<u32, PasswordError> {
            let value = costs.next().and_then(|cost| cost.strip_prefix(name)?.parse().ok());
            value.ok_or(PasswordError::Form("the costs are not m=KIB,t=PASSES,p=1"))
        };
        let (memory_kib, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        if lanes != 1 || costs.next().is_some() {
            return Err(PasswordError::Form("the costs are not m=KIB,t=PASSES,p=1"));
        }
        let cost = Cost { memory_kib, passes };
        if !cost.is_within(Cost { memory_kib: 8, passes: 1 }, Cost::MOST) {
            return Err(PasswordError::Cost(cost));
        }
        let octets = |text| STANDARD_NO_PAD.decode(text).map_err(|_| PasswordError::Form("not base64"));
        let salt = octets(salt)?;
        if !(8..=64).contains(&salt.len()) {
            return Err(PasswordError::Form("the salt has not 8 to 64 octets"));
        }
        let hash = octets(hash)?.try_into().map_err(|_| PasswordError::Form("the hash has not 32 octets"))?;
        Ok(PasswordHash { cost, salt, hash })
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<PasswordHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

    // REQ: FEP-KIT-103
    #[test]
    fn hashes_of_the_reference_implementation_of_argon2_are_verified() {
        // As libargon2, the reference implementation, encodes them: 2 passes, 1 lane, "password", salt "somesalt".
        for hash in [
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ] {
            let parsed: PasswordHash = hash.parse().expect("a hash");
            assert_eq!(parsed.to_string(), hash);
            assert!(parsed.verify("password"));
            assert!(!parsed.verify("Password") && !parsed.verify("") && !parsed.verify("password\0"));
        }
    }

    // REQ: FEP-KIT-103
    #[test]
    fn a_new_password_is_salted_and_one_that_is_short_endless_or_holds_the_name_is_refused() {
        let make = |password: &str| PasswordHash::of_new(password, "Anna", CHEAP);
        let (one, two) =
            (make("correct horse battery").expect("good"), make("correct horse battery").expect("good"));
        assert_ne!(one.to_string(), two.to_string());
        assert!(one.verify("correct horse battery") && two.verify("correct horse battery"));
        assert_eq!(make("fourteen chars"), Err(PasswordError::Length));
        assert_eq!(make(&"🛰".repeat(MAX_PASSWORD_CHARS + 1)), Err(PasswordError::Length));
        assert!(make(&"🛰".repeat(MAX_PASSWORD_CHARS)).expect("good").verify(&"🛰".repeat(MAX_PASSWORD_CHARS)));
        assert_eq!(make("my name is anna, really"), Err(PasswordError::HoldsName));
        assert!(!format!("{one:?}").contains('$'));
    }

    #[test]
    fn a_stored_hash_that_is_none_or_would_take_the_machine_is_refused() {
        let good = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("m=256", "m=4294967295"),
            ("t=2", "t=4000000"),
            ("p=1", "p=2"),
            ("p=1", "p=1,x=2"),
            ("c29tZXNhbHQ", "c29t"),
            ("Gi/4", "Gi"),
            ("Gi/4", "Gi/5"),
        ] {
            assert!(good.replace(from, to).parse::<PasswordHash>().is_err(), "{from} as {to}");
        }
    }
}
