//! Who asks, and what they may: users with roles and tokens from the configuration.
//!
//! * With users configured, every request but health and metrics needs `Authorization: Bearer TOKEN`.
//! * Without users, whoever reaches a Unix socket or the loopback address may read; on a Unix socket the service's own
//!   user and root may operate as well (the kernel vouches for who they are). Any other address is refused at start.
//! * What destroys data needs two different persons, both authenticated by token: one who asks, one who approves.
//!
//! Tokens are kept as SHA-256 only; they are long random strings, so no slow hash is needed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::listen::{Address, Peer};
use crate::{ConfigErrors, Document, Problem};

pub use fep_config::digest_of_hex;

/// What a user may do. Each role stands alone: who may approve may not therefore operate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything, change nothing.
    Read,
    /// Start and stop work that destroys nothing: replays, scrubs, backups, states of gaps, requests for deletion.
    Operate,
    /// Be the second person of an act that destroys data.
    Approve,
}

/// What `roles` of a user may hold.
const ROLES: &str = "one or more of \"read\", \"operate\", \"approve\", each once";

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Approve => "approve",
        }
    }
}

/// A user as configured: `[users.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// SHA-256 of the token, 64 hexadecimal digits (`printf %s TOKEN | sha256sum`).
    pub token_sha256: String,
    /// What the user may do.
    pub roles: Vec<Role>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: String,
    roles: Vec<Role>,
    authenticated: bool,
}

impl Caller {
    /// Name for the audit: the user's, or how a caller without a token came (`uid 1000`, `127.0.0.1`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Holds the caller to a role.
    ///
    /// # Errors
    /// A problem document (403) that names the role.
    pub fn may(&self, role: Role) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "not-permitted",
            format!("{} does not have the role {:?}", self.name, role.name()),
        );
        Err(if self.authenticated {
            problem.hint("roles are given in the section [users] of the configuration")
        } else {
            problem.hint("ask with a token: a caller without one can only read, or operate on the service's Unix socket as its own user")
        })
    }

    /// The name of a person who is authenticated by token and has this role: what an act that destroys data needs.
    ///
    /// # Errors
    /// A problem document (403).
    pub fn person(&self, role: Role) -> Result<&str, Problem> {
        if !self.authenticated {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "not-permitted",
                "what destroys data is done by persons with a token only",
            )
            .hint("configure users in the section [users] and ask with `Authorization: Bearer TOKEN`"));
        }
        self.may(role)?;
        Ok(&self.name)
    }

    /// The second of two persons: authenticated, with the role `approve`, and not the one who asked.
    ///
    /// # Errors
    /// A problem document (403).
    pub fn second_person(&self, first: &str) -> Result<&str, Problem> {
        let second = self.person(Role::Approve)?;
        if second == first {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "second-person-needed",
                format!("{first} asked for this and cannot approve it as well"),
            )
            .hint("another person with the role \"approve\" must"));
        }
        Ok(second)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, Problem> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Problem::fault("finding out who asks", &"no access layer on this path"))
    }
}

#[derive(Debug)]
struct User {
    name: String,
    digest: [u8; 32],
    roles: Vec<Role>,
}

/// The users of a service.
#[derive(Debug, Clone, Default)]
pub struct Access {
    users: Arc<Vec<User>>,
}

impl Access {
    /// Reads the section `[users]` and checks it against the addresses that are listened on.
    ///
    /// # Errors
    /// A digest that is none, two users with one token, or an address that others can reach while there are no users.
    pub fn from_document(document: &Document, addresses: &[Address]) -> Result<Access, ConfigErrors> {
        let configured: BTreeMap<String, UserConfig> = document.section("users")?;
        if configured.is_empty()
            && let Some(address) = addresses.iter().find(|address| !address.is_local())
        {
            return Err(document.mistake(
                "http.listen",
                &format!("{address} can be reached from other machines and no user is configured"),
                "a loopback address, a Unix socket, or any address together with [users]",
            ));
        }
        let mut users: Vec<User> = Vec::new();
        for (name, user) in configured {
            let key = format!("users.{name}.token_sha256");
            let Some(digest) = digest_of_hex(&user.token_sha256) else {
                return Err(document.mistake(&key, "no SHA-256", "64 hexadecimal digits"));
            };
            if let Some(other) = users.iter().find(|other| other.digest == digest) {
                let message = format!("{} has the same token: these would be one person", other.name);
                return Err(document.mistake(&key, &message, "a token of one's own"));
            }
            let key = format!("users.{name}.roles");
            if user.roles.is_empty() {
                return Err(document.mistake(&key, "empty: this user could do nothing", ROLES));
            }
            if (1..user.roles.len()).any(|at| user.roles[..at].contains(&user.roles[at])) {
                return Err(document.mistake(&key, "a role is named twice", ROLES));
            }
            users.push(User { name, digest, roles: user.roles });
        }
        Ok(Access { users: Arc::new(users) })
    }

    /// Who a request comes from.
    ///
    /// # Errors
    /// A problem document (401) when a token is needed and missing, or wrong.
    pub fn caller(&self, authorization: Option<&str>, peer: &Peer) -> Result<Caller, Problem> {
        let Some(authorization) = authorization else {
            return if self.users.is_empty() {
                Ok(without_token(peer))
            } else {
                Err(unauthenticated("a token is needed"))
            };
        };
        let token = authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthenticated("only bearer tokens are taken"))?;
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // Digests are compared, not tokens: how long it takes tells nothing of a token.
        let user = self.users.iter().find(|user| user.digest == digest);
        let user = user.ok_or_else(|| unauthenticated("nobody has this token"))?;
        Ok(Caller { name: user.name.clone(), roles: user.roles.clone(), authenticated: true })
    }
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "not-authenticated", detail)
        .at("Authorization")
        .allowed("Bearer TOKEN")
        .hint("tokens belong to the users of the section [users] of the configuration")
}

fn without_token(peer: &Peer) -> Caller {
    let (name, roles) = match peer {
        Peer::Unix { uid: Some(uid), trusted } => {
            let roles: &[Role] = if *trusted { &[Role::Read, Role::Operate] } else { &[Role::Read] };
            (format!("uid {uid}"), roles.to_vec())
        }
        Peer::Unix { uid: None, .. } => ("unknown local user".to_owned(), vec![Role::Read]),
        Peer::Tcp(address) => (address.ip().to_string(), vec![Role::Read]),
    };
    Caller { name, roles, authenticated: false }
}

/// Middleware: finds out who asks, holds them to the role `read`, and lets handlers take a [`Caller`]. A request that
/// would change something from a web page of another origin is refused, as a browser on the loopback address would carry it.
pub async fn authenticate(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<axum::extract::ConnectInfo<Peer>>()
        .map_or(Peer::Tcp(SocketAddr::from(([0, 0, 0, 0], 0))), |info| info.0.clone());
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = match access.caller(authorization, &peer) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if let Err(problem) = caller.may(Role::Read) {
        return problem.into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !caller.authenticated && request.headers().contains_key(header::ORIGIN) {
        let detail = "a web page cannot command this service without a token";
        return Problem::new(StatusCode::FORBIDDEN, "not-permitted", detail).at("Origin").into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "alpha" and "beta" as coreutils compute them.
    const USERS: &str = "[users.anna]
token_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"
roles = [\"read\", \"operate\", \"approve\"]
[users.bert]
token_sha256 = \"f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753\"
roles = [\"read\", \"approve\"]
";

    fn access(text: &str) -> Result<Access, ConfigErrors> {
        let document = Document::from_text("x.toml", text).expect("TOML");
        Access::from_document(&document, &["127.0.0.1:80".parse().expect("an address")])
    }

    fn loopback() -> Peer {
        Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    // REQ: FEP-KIT-006
    #[test]
    fn with_users_a_caller_is_who_the_token_says_and_nobody_without() {
        let access = access(USERS).expect("good users");
        let anna = access.caller(Some("Bearer alpha"), &loopback()).expect("known");
        assert_eq!(anna.name(), "anna");
        anna.may(Role::Operate).expect("has the role");
        let bert = access.caller(Some("bearer beta"), &loopback()).expect("known");
        assert_eq!(bert.may(Role::Operate).expect_err("has not").status(), StatusCode::FORBIDDEN);
        let own = Peer::Unix { uid: Some(0), trusted: true };
        for told in [None, Some("Bearer gamma"), Some("Basic alpha"), Some("alpha"), Some("Bearer ")] {
            let problem = access.caller(told, &own).expect_err("not known");
            assert_eq!(problem.status(), StatusCode::UNAUTHORIZED, "{told:?}");
        }
    }

    // REQ: FEP-KIT-007
    #[test]
    fn what_destroys_data_needs_two_different_persons_with_tokens() {
        let access = access(USERS).expect("good users");
        let anna = access.caller(Some("Bearer alpha"), &loopback()).expect("known");
        let bert = access.caller(Some("Bearer beta"), &loopback()).expect("known");
        assert_eq!(anna.person(Role::Operate), Ok("anna"));
        assert_eq!(bert.second_person("anna"), Ok("bert"));
        let problem = anna.second_person("anna").expect_err("the same person");
        assert!(problem.detail.contains("anna asked for this"), "{problem}");
        let root = Access::default().caller(None, &Peer::Unix { uid: Some(0), trusted: true });
        let root = root.expect("may come in");
        assert!(root.person(Role::Operate).is_err() && root.second_person("anna").is_err());
    }

    #[test]
    fn without_users_everybody_local_reads_and_only_the_services_own_user_operates() {
        let access = access("").expect("no users on loopback are fine");
        let peers = [
            (loopback(), false),
            (Peer::Unix { uid: Some(4000), trusted: false }, false),
            (Peer::Unix { uid: Some(1000), trusted: true }, true),
        ];
        for (peer, operates) in peers {
            let caller = access.caller(None, &peer).expect("may come in");
            assert!(caller.may(Role::Read).is_ok());
            assert_eq!(caller.may(Role::Operate).is_ok(), operates, "{peer:?}");
            assert!(caller.may(Role::Approve).is_err());
        }
    }

    #[test]
    fn a_user_without_a_role_or_with_one_twice_is_refused_at_the_key() {
        let user = |roles: &str| {
            let digest = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
            let text = format!("[users.carl]\nroles = {roles}\ntoken_sha256 = \"{digest}\"\n");
            access(&text).map(drop).map_err(|refused| refused.to_string())
        };
        assert_eq!(user("[\"read\"]"), Ok(()));
        let allowed = "(allowed: one or more of \"read\", \"operate\", \"approve\", each once)";
        let expected = format!("x.toml:2:1: users.carl.roles: empty: this user could do nothing {allowed}");
        assert_eq!(user("[]"), Err(expected));
        let expected = format!("x.toml:2:1: users.carl.roles: a role is named twice {allowed}");
        assert_eq!(user("[\"read\", \"operate\", \"read\"]"), Err(expected));
    }

    #[test]
    fn configurations_that_are_not_safe_are_refused_at_their_key() {
        let open = Document::from_text("x.toml", "[http]\nlisten = [\"0.0.0.0:80\"]\n").expect("TOML");
        let refused = Access::from_document(&open, &["0.0.0.0:80".parse().expect("an address")]);
        let text = refused.expect_err("open to all").to_string();
        assert!(text.starts_with("x.toml:2:1: http.listen: 0.0.0.0:80 can be reached"), "{text}");
        let twice = format!(
            "{USERS}[users.carl]\nroles = []\ntoken_sha256 = \"{}\"\n",
            "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
        );
        let text = access(&twice).expect_err("two persons with one token").to_string();
        assert!(text.starts_with("x.toml:9:1: users.carl.token_sha256: anna has the same token"), "{text}");
        let text =
            access("[users.a]\nroles = []\ntoken_sha256 = \"zz\"\n").expect_err("no digest").to_string();
        assert!(text.contains("users.a.token_sha256: no SHA-256"), "{text}");
    }
}
