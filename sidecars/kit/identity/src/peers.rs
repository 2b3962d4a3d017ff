//! Services that are known without a ticket: by the user that they run as, or by their certificate.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Caller, Means, Person, RoleSet, Scope};

/// How a configured name says that a certificate is known by a DNS name in it.
const DNS: &str = "dns:";
/// How a configured name says that a certificate is known by its public key.
const SPKI: &str = "spki-sha256:";

/// Which certificate is meant: `dns:archive.example` (a subjectAltName of it), or `spki-sha256:` and 64 hexadecimal digits
/// (SHA-256 of its SubjectPublicKeyInfo, RFC 5280 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CertificateName {
    /// By a DNS name, in lower case: the authority must give each name to one service alone.
    Dns(String),
    /// By its public key, whatever the authority says.
    Spki([u8; 32]),
}

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<CertificateName, String> {
        let refused = || {
            format!("{text:?} names no certificate (allowed: {DNS}NAME, {SPKI} and 64 hexadecimal digits)")
        };
        if let Some(name) = text.strip_prefix(DNS) {
            // A name with a wildcard would be the name of many.
            let good = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
            let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(good);
            return if is_name {
                Ok(CertificateName::Dns(name.to_ascii_lowercase()))
            } else {
                Err(refused())
            };
        }
        let digits = text.strip_prefix(SPKI).filter(|digits| digits.len() == 64 && digits.is_ascii());
        let digits = digits.ok_or_else(refused)?;
        let mut octets = [0; 32];
        for (at, octet) in octets.iter_mut().enumerate() {
            let pair = &digits[2 * at..2 * at + 2];
            let digit = |at: usize| pair.as_bytes()[at].is_ascii_hexdigit();
            let read = u8::from_str_radix(pair, 16).ok().filter(|_| digit(0) && digit(1));
            *octet = read.ok_or_else(refused)?;
        }
        Ok(CertificateName::Spki(octets))
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateName::Dns(name) => write!(f, "{DNS}{name}"),
            CertificateName::Spki(octets) => {
                f.write_str(SPKI)?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl TryFrom<String> for CertificateName {
    type Error = String;

    fn try_from(text: String) -> Result<CertificateName, String> {
        text.parse()
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> String {
        name.to_string()
    }
}

/// A certificate that the other end has proved to have, under an authority of the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Its DNS names.
    pub dns_names: Vec<String>,
}

impl PeerCertificate {
    fn has(&self, name: &CertificateName) -> bool {
        match name {
            CertificateName::Dns(name) => self.dns_names.iter().any(|own| own.eq_ignore_ascii_case(name)),
            CertificateName::Spki(octets) => self.spki_sha256 == *octets,
        }
    }
}

/// A service that is known without a ticket. It has a user, a certificate, or both; each is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerService {
    /// The identifier of the user it runs as, at Unix sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its certificate, at doors with `client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateName>,
    /// What it may do.
    pub roles: RoleSet,
    /// Where.
    pub scopes: Vec<Scope>,
}

/// Services by name: `[identity.peers.recorder]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Peers(BTreeMap<String, PeerService>);

/// What is wrong with a peer, at its key below `identity.peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMistake {
    /// `NAME`, `NAME.uid` or `NAME.certificate`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub allowed: &'static str,
}

impl Peers {
    /// These services.
    #[must_use]
    pub fn new(services: BTreeMap<String, PeerService>) -> Peers {
        Peers(services)
    }

    /// Refuses a service that nothing proves, and two that nobody could tell apart.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), PeerMistake> {
        let (mut users, mut certificates) = (BTreeMap::new(), BTreeMap::new());
        for (name, service) in &self.0 {
            if service.uid.is_none() && service.certificate.is_none() {
                let message = "nothing proves that it is this service".to_owned();
                return Err(PeerMistake {
                    key: name.clone(),
                    message,
                    allowed: "a uid, a certificate, or both",
                });
            }
            if let Some(other) = service.uid.and_then(|uid| users.insert(uid, name)) {
                let message = format!("{other} runs as the same user: nobody could tell them apart");
                return Err(PeerMistake {
                    key: format!("{name}.uid"),
                    message,
                    allowed: "a user of its own",
                });
            }
            let certificate = service.certificate.as_ref();
            if let Some(other) = certificate.and_then(|certificate| certificates.insert(certificate, name)) {
                let message = format!("{other} has the same certificate: nobody could tell them apart");
                let (key, allowed) = (format!("{name}.certificate"), "a certificate of its own");
                return Err(PeerMistake { key, message, allowed });
            }
        }
        Ok(())
    }

    /// One more, unless its user is known already; under another name, where its own is taken.
    pub(crate) fn add_user(&mut self, name: &str, service: PeerService) {
        if self.0.values().any(|known| known.uid == service.uid) {
            return;
        }
        let mut free = name.to_owned();
        while self.0.contains_key(&free) {
            free.push('\'');
        }
        self.0.insert(free, service);
    }

    pub(crate) fn of_user(&self, uid: u32) -> Option<Caller> {
        let (name, service) = self.0.iter().find(|(_, service)| service.uid == Some(uid))?;
        Some(caller(name, service, Means::Peer(uid)))
    }

    /// The one service that has this certificate. `None` also where two have it, one by its name and one by its key.
    pub(crate) fn of_certificate(&self, certificate: &Arc<PeerCertificate>) -> Option<Caller> {
        let mut having = self.0.iter().filter_map(|(name, service)| {
            let known = service.certificate.as_ref().filter(|known| certificate.has(known))?;
            Some((name, service, known))
        });
        let (name, service, known) = having.next()?;
        having.next().is_none().then(|| caller(name, service, Means::Certificate(known.to_string())))
    }
}

fn caller(name: &str, service: &PeerService, means: Means) -> Caller {
    Caller {
        person: Person::service(name),
        roles: service.roles,
        scopes: service.scopes.clone(),
        means,
        until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn service(uid: Option<u32>, certificate: Option<&str>) -> PeerService {
        PeerService {
            uid,
            certificate: certificate.map(|name| name.parse().expect("a name")),
            roles: RoleSet::of(&[Role::Observer]),
            scopes: vec![Scope::ALL],
        }
    }

    fn peers(services: &[(&str, PeerService)]) -> Peers {
        Peers::new(services.iter().map(|(name, service)| ((*name).to_owned(), service.clone())).collect())
    }

    const KEY: &str = "spki-sha256:0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn services_that_nothing_proves_or_nobody_could_tell_apart_are_refused_at_their_key() {
        let refused = |services: &[(&str, PeerService)]| peers(services).check().expect_err("refused").key;
        let by_name = || service(None, Some("dns:A.example"));
        assert_eq!(refused(&[("a", service(None, None))]), "a");
        assert_eq!(refused(&[("a", service(Some(1), None)), ("b", service(Some(1), None))]), "b.uid");
        assert_eq!(
            refused(&[("a", by_name()), ("b", service(None, Some("dns:a.example")))]),
            "b.certificate"
        );
        let good = [("a", service(Some(1), Some(KEY))), ("b", by_name()), ("c", service(Some(2), None))];
        assert_eq!(peers(&good).check(), Ok(()));
    }

    // REQ: FEP-KIT-300
    #[test]
    fn a_certificate_is_one_service_by_a_name_or_by_its_key_and_nobody_where_two_have_it() {
        let known =
            peers(&[("by-name", service(None, Some("dns:a.example"))), ("by-key", service(None, Some(KEY)))]);
        let found = |spki: u8, names: &[&str]| {
            let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
            let certificate = Arc::new(PeerCertificate { spki_sha256: [spki; 32], dns_names });
            known.of_certificate(&certificate).map(|caller| caller.person.account)
        };
        assert_eq!(found(2, &["b.example", "A.EXAMPLE"]).as_deref(), Some("by-name"));
        assert_eq!(found(1, &[]).as_deref(), Some("by-key"));
        assert_eq!(found(2, &["b.example", "a.example.b.example", "*.example"]), None);
        assert_eq!(found(1, &["a.example"]), None, "two services have it");
    }

    #[test]
    fn names_of_certificates_are_read_strictly_and_written_as_they_are_read() {
        for good in ["dns:archive.example", KEY] {
            assert_eq!(good.parse::<CertificateName>().expect("good").to_string(), good);
        }
        let odd = KEY.replace("0101", "+1+1");
        let wide = format!("spki-sha256:{}", "é".repeat(32));
        for bad in ["", "archive.example", "dns:", "dns:*.example", "dns:a b", "spki-sha256:01", &odd, &wide]
        {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad}");
        }
    }
}
