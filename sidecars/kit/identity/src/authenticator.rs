//! Who a request comes from: by ticket, by token, by the peer of a Unix socket, or by the certificate of the other end.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fep_time::Monotonic;

use crate::state::StateError;
use crate::ticket::TicketRefused;
use crate::tokens::{self, TokenRefused, Tokens};
use crate::verifier::Verifier;
use crate::{Caller, Means, NumericDate, PeerCertificate, Peers};

/// How often the files of keys and tokens are looked at for changes: a revocation is known everywhere after this time.
const LOOK_EVERY_NS: i64 = fep_time::NS_PER_SECOND;

/// What is known of the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The kernel reports this user, and the socket is one whose peers are trusted.
    TrustedPeer(u32),
    /// The other end has this certificate, verified against the authority of the door.
    Certificate(Arc<PeerCertificate>),
    /// Nothing that proves anything: TCP, or a Unix socket behind which a proxy speaks for others.
    None,
}

/// Why nobody is known. For the log and the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Neither ticket nor token, and no peer that is known.
    #[error("neither a ticket nor a token, and the peer is no known service")]
    Nothing,
    /// The ticket is refused.
    #[error(transparent)]
    Ticket(#[from] TicketRefused),
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenRefused),
}

/// Finds out who asks. One a process; requests share it.
#[derive(Debug)]
pub struct Authenticator {
    verifier: Verifier,
    tokens: Option<Arc<Tokens>>,
    peers: Peers,
    looked_at_ns: AtomicI64,
    /// What the last look at the files said.
    fault: Mutex<Option<String>>,
}

impl Authenticator {
    /// Of tickets, and of services that are known as peers.
    ///
    /// # Errors
    /// A public file that cannot be used.
    pub fn new(public_file: &Path, peers: Peers) -> Result<Authenticator, StateError> {
        Ok(Authenticator {
            verifier: Verifier::open(public_file)?,
            tokens: None,
            peers,
            looked_at_ns: AtomicI64::new(i64::MIN),
            fault: Mutex::new(None),
        })
    }

    /// Accepts API tokens too, which a process with access to the state directory can.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Arc<Tokens>) -> Authenticator {
        self.tokens = Some(tokens);
        self
    }

    /// Who asks. `bearer` is what follows `Bearer ` in the header `Authorization`. A ticket or token that is refused is
    /// not replaced by the peer's own rights.
    ///
    /// # Errors
    /// Why nobody is known.
    pub fn caller(
        &self,
        bearer: Option<&str>,
        credentials: Credentials,
        now: NumericDate,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        let Some(bearer) = bearer else {
            let caller = match credentials {
                Credentials::TrustedPeer(uid) => self.peers.of_user(uid),
                Credentials::Certificate(certificate) => self.peers.of_certificate(&certificate),
                Credentials::None => None,
            };
            return caller.map(Arc::new).ok_or(Unauthenticated::Nothing);
        };
        if !bearer.starts_with(tokens::PREFIX) {
            return Ok(self.verifier.caller(bearer, now)?);
        }
        let Some(tokens) = &self.tokens else { return Err(TokenRefused::Unknown.into()) };
        let (id, token) = tokens.verify(bearer, now)?;
        Ok(Arc::new(Caller {
            person: token.person,
            roles: token.roles,
            scopes: token.scopes,
            means: Means::Token(id),
            until: Some(token.expires),
        }))
    }

    /// The verifier of tickets.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Looks at the files of keys and tokens when a second has passed since the last look. Called at every request.
    pub fn look(&self, now: Monotonic) {
        let last_ns = self.looked_at_ns.load(Ordering::Relaxed);
        if now.0.saturating_sub(last_ns) < LOOK_EVERY_NS {
            return;
        }
        // One request looks, the others go on.
        if self.looked_at_ns.compare_exchange(last_ns, now.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.look_now();
        }
    }

    /// Looks at the files at once: what this very process has changed holds from now on.
    pub fn look_now(&self) {
        let keys = self.verifier.refresh();
        let tokens = self.tokens.as_ref().map_or(Ok(()), |tokens| tokens.refresh());
        let fault = keys.err().or(tokens.err()).map(|error| error.to_string());
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// What is wrong with the files, for the health of the process: keys and tokens known before stay in force meanwhile.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{PeerService, Person, Role, RoleSet, Scope};

    fn peers() -> Peers {
        let recorder = PeerService {
            uid: Some(990),
            certificate: None,
            roles: RoleSet::of(&[Role::Observer]),
            scopes: vec![Scope::ALL],
        };
        Peers::new(BTreeMap::from([("recorder".to_owned(), recorder)]))
    }

    // REQ: FEP-KIT-109
    #[test]
    fn a_peer_is_known_by_its_user_only_on_a_socket_that_is_trusted_and_only_without_a_ticket() {
        let dir = tempfile::tempdir().expect("a directory");
        let authenticator = Authenticator::new(&dir.path().join("none"), peers()).expect("no keys yet");
        let now = NumericDate(1_780_000_000);
        let caller = authenticator.caller(None, Credentials::TrustedPeer(990), now).expect("known");
        assert_eq!((caller.person.clone(), &caller.means), (Person::service("recorder"), &Means::Peer(990)));
        for credentials in [Credentials::None, Credentials::TrustedPeer(0), Credentials::TrustedPeer(991)] {
            assert_eq!(authenticator.caller(None, credentials, now).err(), Some(Unauthenticated::Nothing));
        }
        for bearer in ["", "a.b.c", "fep_0123456789abcdef_0000000000000000000000000000000000000000000"] {
            let refused = authenticator.caller(Some(bearer), Credentials::TrustedPeer(990), now);
            assert!(refused.is_err(), "{bearer:?} must not fall back to the peer");
        }
    }
}
