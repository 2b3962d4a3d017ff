//! The section `[identity]` of a service that only verifies who asks.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::mistake;
use crate::{
    Authenticator, IdentityConfigError, PeerMistake, PeerService, Peers, Role, RoleSet, Scope, StateError,
};

/// The user that is root on every machine.
const ROOT: u32 = 0;

/// The section `[identity]` of a service that verifies tickets and knows some services as peers. Every member has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyingConfig {
    /// The file of public keys that fep-identity writes. It need not exist yet.
    pub keys: PathBuf,
    /// What root and the user of this process may do at its Unix sockets without a ticket. Both can read its files anyway.
    pub local_roles: RoleSet,
    /// Services by the user they run as or by their certificate.
    pub peers: Peers,
}

impl Default for VerifyingConfig {
    fn default() -> VerifyingConfig {
        VerifyingConfig {
            keys: PathBuf::from("/var/lib/fep/identity/ticket-keys.pub.json"),
            local_roles: RoleSet::of(&[Role::Observer, Role::Operator]),
            peers: Peers::default(),
        }
    }
}

impl VerifyingConfig {
    /// Refuses what is not safe or makes no sense.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), IdentityConfigError> {
        if self.keys.as_os_str().is_empty() {
            return Err(mistake("keys", "no path", "the file of public keys of fep-identity"));
        }
        self.peers.check().map_err(|PeerMistake { key, message, allowed }| {
            mistake(&format!("peers.{key}"), message, allowed)
        })
    }

    /// Who finds out who asks. A user that `peers` names has what stands there, and no local roles.
    ///
    /// # Errors
    /// Public keys that cannot be used.
    pub fn authenticator(&self) -> Result<Authenticator, StateError> {
        Authenticator::new(&self.keys, self.peers_and_local(own_user()))
    }

    fn peers_and_local(&self, own: Option<u32>) -> Peers {
        let mut peers = self.peers.clone();
        if self.local_roles.is_empty() {
            return peers;
        }
        let own = own.filter(|own| *own != ROOT);
        for (name, uid) in [("root", Some(ROOT)), ("own-user", own)] {
            let Some(uid) = uid else { continue };
            let local = PeerService {
                uid: Some(uid),
                certificate: None,
                roles: self.local_roles,
                scopes: vec![Scope::ALL],
            };
            peers.add_user(name, local);
        }
        peers
    }
}

/// The effective user of this process: the owner of its directory in `/proc`.
fn own_user() -> Option<u32> {
    std::fs::metadata(Path::new("/proc/self")).ok().map(|metadata| metadata.uid())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    // REQ: FEP-KIT-180
    #[test]
    fn root_and_the_own_user_have_the_local_roles_unless_they_are_named_as_peers() {
        let roles = |config: &VerifyingConfig, uid: u32| {
            config
                .peers_and_local(Some(1000))
                .of_user(uid)
                .map(|caller| (caller.roles, caller.person.account))
        };
        let config = VerifyingConfig::default();
        let local = config.local_roles;
        assert_eq!(roles(&config, 0), Some((local, "root".to_owned())));
        assert_eq!(roles(&config, 1000), Some((local, "own-user".to_owned())));
        assert_eq!(roles(&config, 1001), None);
        let none = VerifyingConfig { local_roles: RoleSet::NONE, ..config.clone() };
        assert_eq!((roles(&none, 0), roles(&none, 1000)), (None, None));
        let observer = RoleSet::of(&[Role::Observer]);
        let named =
            PeerService { uid: Some(1000), certificate: None, roles: observer, scopes: vec![Scope::ALL] };
        let peers = Peers::new(BTreeMap::from([("root".to_owned(), named)]));
        let named = VerifyingConfig { peers, ..config };
        assert_eq!(roles(&named, 1000), Some((observer, "root".to_owned())), "what is named holds");
        assert_eq!(roles(&named, 0), Some((local, "root'".to_owned())), "and takes no name of another");
        assert_eq!(named.check(), Ok(()));
    }
}
