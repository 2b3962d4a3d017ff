//! Tickets: what a login answers with, and what every service verifies off-line.
//!
//! A ticket is a JWT (RFC 7519) signed with Ed25519 as RFC 8037 section 3.1 says: `HEADER.CLAIMS.SIGNATURE`. Only this one
//! algorithm is accepted, the header carries nothing but it and the key's name, and unknown claims are refused, so that a
//! claim which narrows a ticket is never passed over.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Caller, Means, NumericDate, Person, PersonId, RoleSet, Scope};

/// A longer ticket is refused before anything is decoded.
pub const MAX_TICKET_BYTES: usize = 8192;
/// No ticket is valid for longer.
pub const MAX_LIFETIME_S: i64 = 3600;
/// By how much the clocks of two machines may differ.
pub const CLOCK_SKEW_S: i64 = 30;

/// The protected header (RFC 7515 section 4).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Who issued it: the name of the installation.
    pub iss: String,
    /// The account.
    pub sub: String,
    /// The person behind the account.
    pub person: PersonId,
    /// What may be done with it.
    pub roles: RoleSet,
    /// Where.
    pub scopes: Vec<Scope>,
    /// When it was issued.
    pub iat: NumericDate,
    /// When it ends.
    pub exp: NumericDate,
    /// Its identifier.
    pub jti: String,
    /// Identifier of the API token that it was issued for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Claims {
    /// The caller who brings it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            person: Person { id: self.person.clone(), account: self.sub.clone() },
            roles: self.roles,
            scopes: self.scopes.clone(),
            means: self.token.clone().map_or(Means::Ticket, Means::Token),
            until: Some(self.exp),
        }
    }
}

/// Why a ticket is refused. For the log and the audit: the caller is only told that it is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefused {
    /// Not three parts of base64url with a header and claims of this version.
    #[error("not a ticket")]
    Form,
    /// Another algorithm than Ed25519, `none` among them.
    #[error("a ticket is signed with EdDSA")]
    Algorithm,
    /// A key that is not published (any more).
    #[error("the key of the ticket is not known here")]
    Key,
    /// Changed, or signed by somebody else.
    #[error("the signature does not hold")]
    Signature,
    /// From another installation.
    #[error("the ticket is from another issuer")]
    Issuer,
    /// It has ended.
    #[error("the ticket has ended")]
    Expired,
    /// It says that it was issued later than now, or is valid for longer than any ticket.
    #[error("the ticket is not valid yet or for too long")]
    Times,
    /// It, its person or its token was revoked.
    #[error("the ticket was revoked")]
    Revoked,
}

/// What was revoked before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Revoked {
    /// One ticket (log-out): its identifier and whose it was.
    Ticket {
        /// Identifier.
        jti: String,
        /// Whose.
        person: PersonId,
    },
    /// Every ticket of a person that was issued until then.
    Person(PersonId),
    /// Every ticket that was issued for this API token.
    Token(String),
    /// Every ticket that was issued for any API token until then: instead of a list of tokens without end.
    TicketsOfTokens,
}

/// A revocation and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// What.
    pub what: Revoked,
    /// When.
    pub at: NumericDate,
}

/// One public key as a JSON Web Key (RFC 8037 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    kty: String,
    crv: String,
    x: String,
    kid: String,
}

impl PublicKey {
    /// The key that belongs to a private key; its name is its thumbprint (RFC 7638).
    #[must_use]
    pub fn of(key: &VerifyingKey) -> PublicKey {
        let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
        // RFC 7638 section 3: the required members in lexicographic order, without white space.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()));
        PublicKey { kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), x, kid }
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    fn verifying(&self) -> Option<VerifyingKey> {
        if self.kty != "OKP" || self.crv != "Ed25519" {
            return None;
        }
        let octets: [u8; 32] = URL_SAFE_NO_PAD.decode(&self.x).ok()?.try_into().ok()?;
        let key = VerifyingKey::from_bytes(&octets).ok()?;
        // The name must be the key's own, and a weak key would let anybody sign.
        (!key.is_weak() && PublicKey::of(&key).kid == self.kid).then_some(key)
    }
}

/// What is published for services: the file `ticket-keys.pub.json`, a JSON Web Key Set with two members more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The issuer that tickets must name.
    pub issuer: String,
    /// Keys that tickets may be signed with.
    pub keys: Vec<PublicKey>,
    /// Tickets that are refused before their time.
    pub revoked: Vec<Revocation>,
}

/// The public keys, ready to verify with.
#[derive(Debug, Clone, Default)]
pub struct TicketKeys {
    issuer: String,
    keys: BTreeMap<String, VerifyingKey>,
    revoked: Vec<Revocation>,
}

impl TicketKeys {
    /// Takes what is published.
    ///
    /// # Errors
    /// The name of a key that is none.
    pub fn new(published: Published) -> Result<TicketKeys, String> {
        let mut keys = BTreeMap::new();
        for key in published.keys {
            let verifying = key
                .verifying()
                .ok_or_else(|| format!("key {:?} is not an Ed25519 key of this name", key.kid))?;
            keys.insert(key.kid, verifying);
        }
        Ok(TicketKeys { issuer: published.issuer, keys, revoked: published.revoked })
    }

    /// Verifies a ticket: signature, issuer, times, revocations.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, ticket: &str, now: NumericDate) -> Result<Claims, TicketRefused> {
        if ticket.len() > MAX_TICKET_BYTES {
            return Err(TicketRefused::Form);
        }
        let (signed, signature) = ticket.rsplit_once('.').ok_or(TicketRefused::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TicketRefused::Form)?;
        let octets = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| TicketRefused::Form);
        let header: Header = serde_json::from_slice(&octets(header)?).map_err(|_| TicketRefused::Form)?;
        if header.alg != "EdDSA" {
            return Err(TicketRefused::Algorithm);
        }
        let key = self.keys.get(&header.kid).ok_or(TicketRefused::Key)?;
        let signature = Signature::from_slice(&octets(signature)?).map_err(|_| TicketRefused::Form)?;
        key.verify_strict(signed.as_bytes(), &signature).map_err(|_| TicketRefused::Signature)?;
        let claims: Claims = serde_json::from_slice(&octets(claims)?).map_err(|_| TicketRefused::Form)?;
        if claims.iss != self.issuer {
            return Err(TicketRefused::Issuer);
        }
        check_times(&claims, now)?;
        if self.revoked.iter().any(|revocation| revocation.concerns(&claims)) {
            return Err(TicketRefused::Revoked);
        }
        Ok(claims)
    }
}

/// Whether a ticket whose signature holds is valid now.
pub(crate) fn check_times(claims: &Claims, now: NumericDate) -> Result<(), TicketRefused> {
    if claims.exp <= now {
        return Err(TicketRefused::Expired);
    }
    if claims.iat.s_since(now) > CLOCK_SKEW_S || claims.exp.s_since(claims.iat) > MAX_LIFETIME_S {
        return Err(TicketRefused::Times);
    }
    Ok(())
}

impl Revocation {
    fn concerns(&self, claims: &Claims) -> bool {
        match &self.what {
            Revoked::Ticket { jti, .. } => *jti == claims.jti,
            Revoked::Person(person) => *person == claims.person && claims.iat <= self.at,
            Revoked::Token(id) => claims.token.as_ref() == Some(id),
            Revoked::TicketsOfTokens => claims.token.is_some() && claims.iat <= self.at,
        }
    }
}

/// Signs claims.
pub(crate) fn sign(key: &SigningKey, claims: &Claims) -> Result<String, serde_json::Error> {
    let kid = PublicKey::of(&key.verifying_key()).kid;
    let header = Header { alg: "EdDSA".to_owned(), typ: "JWT".to_owned(), kid };
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let signed = format!("{}.{}", part(serde_json::to_vec(&header)?), part(serde_json::to_vec(claims)?));
    let signature = key.sign(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use proptest::prelude::*;

    const NOW: NumericDate = NumericDate(1_780_000_000);

    fn claims() -> Claims {
        Claims {
            iss: "fep".to_owned(),
            sub: "anna".to_owned(),
            person: PersonId("local:anna".to_owned()),
            roles: RoleSet::of(&[Role::Observer]),
            scopes: vec![Scope::ALL],
            iat: NOW,
            exp: NOW.plus_s(900),
            jti: "a1".to_owned(),
            token: None,
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn keys_of(keys: &[&SigningKey], revoked: Vec<Revocation>) -> TicketKeys {
        let keys = keys.iter().map(|key| PublicKey::of(&key.verifying_key())).collect();
        TicketKeys::new(Published { issuer: "fep".to_owned(), keys, revoked }).expect("keys")
    }

    // REQ: FEP-KIT-107
    #[test]
    fn the_examples_of_rfc_8037_are_signed_named_and_verified_as_printed_there() {
        // RFC 8037 appendix A: the private key, the thumbprint, and the signature over "Example of Ed25519 signing".
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("base64url");
        let key = SigningKey::from_bytes(&seed.try_into().expect("32 octets"));
        let public = PublicKey::of(&key.verifying_key());
        assert_eq!(public.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(public.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        assert_eq!(
            signature,
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    // REQ: FEP-KIT-107
    #[test]
    fn a_ticket_ends_at_its_second_and_is_not_valid_before_it_was_issued() {
        let key = key(1);
        let keys = keys_of(&[&key], vec![]);
        let ticket = sign(&key, &claims()).expect("signed");
        assert_eq!(keys.verify(&ticket, NOW), Ok(claims()));
        assert_eq!(keys.verify(&ticket, NOW.plus_s(899)), Ok(claims()));
        assert_eq!(keys.verify(&ticket, NOW.plus_s(900)), Err(TicketRefused::Expired));
        assert_eq!(keys.verify(&ticket, NOW.plus_s(-CLOCK_SKEW_S)), Ok(claims()));
        assert_eq!(keys.verify(&ticket, NOW.plus_s(-CLOCK_SKEW_S - 1)), Err(TicketRefused::Times));
        let endless =
            sign(&key, &Claims { exp: NOW.plus_s(MAX_LIFETIME_S + 1), ..claims() }).expect("signed");
        assert_eq!(keys.verify(&endless, NOW), Err(TicketRefused::Times));
    }

    // REQ: FEP-KIT-107
    #[test]
    fn a_ticket_of_another_key_is_refused_also_under_the_name_of_a_known_key() {
        let (own, foreign) = (key(1), key(2));
        let keys = keys_of(&[&own], vec![]);
        let ticket = sign(&foreign, &claims()).expect("signed");
        assert_eq!(keys.verify(&ticket, NOW), Err(TicketRefused::Key));
        let good = sign(&own, &claims()).expect("signed");
        let header = good.split('.').next().expect("a header");
        let body = ticket.split('.').nth(1).expect("claims");
        let signed = format!("{header}.{body}");
        let signature = URL_SAFE_NO_PAD.encode(foreign.sign(signed.as_bytes()).to_bytes());
        assert_eq!(keys.verify(&format!("{signed}.{signature}"), NOW), Err(TicketRefused::Signature));
        let elsewhere = sign(&own, &Claims { iss: "other".to_owned(), ..claims() }).expect("signed");
        assert_eq!(keys.verify(&elsewhere, NOW), Err(TicketRefused::Issuer));
    }

    // REQ: FEP-KIT-107
    #[test]
    fn a_header_with_another_algorithm_or_more_members_is_refused() {
        let key = key(1);
        let keys = keys_of(&[&key], vec![]);
        let kid = PublicKey::of(&key.verifying_key()).kid;
        let good = sign(&key, &claims()).expect("signed");
        let claims = good.split('.').nth(1).expect("claims");
        let refusal = |header: String, signature: Option<&str>| {
            let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
            let own = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
            keys.verify(&format!("{signed}.{}", signature.unwrap_or(&own)), NOW).expect_err("refused")
        };
        let header = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#);
        assert_eq!(refusal(header("none"), Some("")), TicketRefused::Algorithm);
        assert_eq!(refusal(header("HS256"), None), TicketRefused::Algorithm);
        assert_eq!(refusal(header("EdDSA"), Some("")), TicketRefused::Form);
        let more = header("EdDSA").replace('}', r#","crit":["x"]}"#);
        assert_eq!(refusal(more, None), TicketRefused::Form);
    }

    // REQ: FEP-KIT-107
    #[test]
    fn claims_that_this_version_does_not_know_are_not_passed_over() {
        let key = key(1);
        let keys = keys_of(&[&key], vec![]);
        let good = sign(&key, &claims()).expect("signed");
        let header = good.split('.').next().expect("a header");
        let mut value = serde_json::to_value(claims()).expect("JSON");
        value["only_for"] = "reading".into();
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(value.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        assert_eq!(keys.verify(&format!("{signed}.{signature}"), NOW), Err(TicketRefused::Form));
    }

    // REQ: FEP-KIT-108
    #[test]
    fn a_revoked_ticket_person_or_token_is_refused_and_others_are_not() {
        let key = key(1);
        let ticket = sign(&key, &claims()).expect("signed");
        let with_token = sign(&key, &Claims { token: Some("t9".to_owned()), ..claims() }).expect("signed");
        let later = sign(&key, &Claims { iat: NOW.plus_s(1), ..claims() }).expect("signed");
        let check = |what: Revoked| {
            let keys = keys_of(&[&key], vec![Revocation { what, at: NOW }]);
            [&ticket, &with_token, &later].map(|ticket| keys.verify(ticket, NOW).is_ok())
        };
        let person = |id: &str| PersonId(id.to_owned());
        let one = |jti: &str| Revoked::Ticket { jti: jti.to_owned(), person: person("local:anna") };
        assert_eq!(check(one("a1")), [false, false, false]);
        assert_eq!(check(one("a2")), [true, true, true]);
        assert_eq!(check(Revoked::Person(person("local:anna"))), [false, false, true]);
        assert_eq!(check(Revoked::Person(person("local:bert"))), [true, true, true]);
        assert_eq!(check(Revoked::Token("t9".to_owned())), [true, false, true]);
    }

    #[test]
    fn a_published_key_that_is_weak_or_under_a_wrong_name_is_refused() {
        let mut published = PublicKey::of(&key(1).verifying_key());
        published.kid = PublicKey::of(&key(2).verifying_key()).kid;
        let of = |key: PublicKey| TicketKeys::new(Published { keys: vec![key], ..Published::default() });
        assert!(of(published).is_err());
        // The identity point: every signature of zeros would hold for it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let weak = VerifyingKey::from_bytes(&identity).expect("a point");
        assert!(of(PublicKey::of(&weak)).is_err());
    }

    proptest! {
        // REQ: FEP-KIT-107
        #[test]
        fn a_ticket_changed_in_any_place_is_refused(at in 0_usize..400, to in proptest::char::range('-', 'z')) {
            let key = key(1);
            let keys = keys_of(&[&key], vec![]);
            let ticket = sign(&key, &claims()).expect("signed");
            let at = at % ticket.len();
            let mut changed = ticket.clone();
            changed.replace_range(at..=at, &to.to_string());
            prop_assume!(changed != ticket);
            prop_assert!(keys.verify(&changed, NOW).is_err(), "{} at {}", to, at);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(keys_of(&[&key(1)], vec![]).verify(&text, NOW).is_err());
        }
    }
}
