//! Persons from an LDAP directory (RFC 4511): found by a filter, proven by a bind with their own password, given roles by
//! their groups.
//!
//! * Over the network only with TLS: `ldaps://` or StartTLS. Plain LDAP is for the loopback address.
//! * What a person types is escaped before it stands in a filter (RFC 4515 section 3).
//! * An empty password is refused here: a directory takes a bind with one for an anonymous bind and says yes
//!   (RFC 4513 section 5.1.2).
//! * Who the person is comes from the directory (`person_attribute`), not from what was typed: two spellings of a name
//!   are one person.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ldap3::{LdapConnAsync, LdapConnSettings, LdapError as Ldap3Error, Scope as SearchScope, SearchEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::accounts::{LoggedIn, LoginRefused};
use crate::config::{IdentityConfigError, mistake};
use crate::{Person, PersonId, RoleSets, Scope};

/// Where `user_filter` has the name that was typed, and `group_filter` the person's distinguished name.
const ACCOUNT: &str = "{account}";
const DN: &str = "{dn}";
/// A longer name or password is refused before the directory is asked.
const MAX_NAME_BYTES: usize = 256;
const MAX_PASSWORD_BYTES: usize = crate::password::MAX_PASSWORD_BYTES;
/// A longer name of an account is no name for people.
const MAX_ACCOUNT_CHARS: usize = 64;
/// Logins that wait for the directory at the same time: one that does not answer must not keep a connection for everybody.
const MAX_ASKING: usize = 16;

/// The section `[identity.ldap]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdapConfig {
    /// `ldap://HOST:PORT` or `ldaps://HOST:PORT`.
    pub url: String,
    /// Whether TLS begins on the plain port (StartTLS).
    #[serde(default)]
    pub start_tls: bool,
    /// Certificates (PEM) that the server's is held against. The system's are not used.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who looks persons up; nobody in particular where it is empty.
    #[serde(default)]
    pub bind_dn: String,
    /// File with the password of `bind_dn`.
    #[serde(default)]
    pub bind_password_file: Option<PathBuf>,
    /// Where persons are.
    pub user_base: String,
    /// Filter of one person; `{account}` stands for the name that was typed.
    #[serde(default = "user_filter")]
    pub user_filter: String,
    /// Attribute with the name of the account.
    #[serde(default = "account_attribute")]
    pub account_attribute: String,
    /// Attribute that identifies the person for ever, also under another name or a second account.
    #[serde(default = "person_attribute")]
    pub person_attribute: String,
    /// Where groups are.
    pub group_base: String,
    /// Filter of a person's groups; `{dn}` stands for the person's distinguished name.
    #[serde(default = "group_filter")]
    pub group_filter: String,
    /// Attribute with the name of a group.
    #[serde(default = "group_attribute")]
    pub group_attribute: String,
    /// Roles and sets of roles that a group gives, by the group's name. They hold in all scopes of the person: who operates
    /// one spacecraft and only observes another has two accounts.
    pub roles: BTreeMap<String, Vec<String>>,
    /// Scopes that a group gives, by the group's name.
    pub scopes: BTreeMap<String, Vec<Scope>>,
    /// How long one answer of the directory may take.
    #[serde(default = "timeout_s")]
    pub timeout_s: u16,
}

fn user_filter() -> String {
    "(&(objectClass=inetOrgPerson)(uid={account}))".to_owned()
}

fn account_attribute() -> String {
    "uid".to_owned()
}

fn person_attribute() -> String {
    "entryUUID".to_owned()
}

fn group_filter() -> String {
    "(&(objectClass=groupOfNames)(member={dn}))".to_owned()
}

fn group_attribute() -> String {
    "cn".to_owned()
}

const fn timeout_s() -> u16 {
    5
}

impl LdapConfig {
    pub(crate) fn check(&self, sets: &RoleSets) -> Result<(), IdentityConfigError> {
        let tls = self.url.starts_with("ldaps://") || (self.url.starts_with("ldap://") && self.start_tls);
        let host = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let loopback = ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| {
            host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        let on_this_machine = self.url.starts_with("ldap://") && loopback;
        if !tls && !on_this_machine {
            let message = format!("{:?} would carry passwords in the clear", self.url);
            let allowed =
                "ldaps://HOST, ldap://HOST with start_tls = true, or ldap:// on the loopback address";
            return Err(mistake("ldap.url", message, allowed));
        }
        if tls && self.ca_file.is_none() {
            return Err(mistake(
                "ldap.ca_file",
                "the server could be anybody",
                "a file with certificates (PEM)",
            ));
        }
        if !self.bind_dn.is_empty() && self.bind_password_file.is_none() {
            return Err(mistake(
                "ldap.bind_password_file",
                "a bind without a password is anonymous",
                "a file",
            ));
        }
        for (key, filter, hole) in
            [("ldap.user_filter", &self.user_filter, ACCOUNT), ("ldap.group_filter", &self.group_filter, DN)]
        {
            if filter.matches(hole).count() != 1 {
                return Err(mistake(
                    key,
                    format!("{filter:?} does not have {hole} once"),
                    "a filter with it",
                ));
            }
        }
        if !(1..=60).contains(&self.timeout_s) {
            return Err(mistake("ldap.timeout_s", format!("{} s", self.timeout_s), "1 to 60"));
        }
        for (name, roles) in &self.roles {
            if let Err(unknown) = sets.resolve(roles.iter().map(String::as_str)) {
                let key = format!("ldap.roles.{name}");
                let message = format!("{:?} is not a role", unknown.name);
                return Err(mistake(&key, message, unknown.allowed));
            }
        }
        Ok(())
    }
}

impl LdapConfig {
    /// Reads the files that are named: what the start of the process would refuse of them, this refuses.
    pub(crate) fn check_files(&self) -> Result<(), IdentityConfigError> {
        self.bind_password().map_err(|error| {
            let allowed = "a file with the password of bind_dn, which this user can read";
            mistake("ldap.bind_password_file", error.to_string(), allowed)
        })?;
        self.tls().map(drop).map_err(|error| {
            let allowed = "a file with certificates (PEM), which this user can read";
            mistake("ldap.ca_file", error.to_string(), allowed)
        })
    }

    fn bind_password(&self) -> Result<String, LdapError> {
        let password = match &self.bind_password_file {
            Some(path) => read(path)?.trim_end_matches(['\r', '\n']).to_owned(),
            None => String::new(),
        };
        if !self.bind_dn.is_empty() && password.is_empty() {
            let path = self.bind_password_file.clone().unwrap_or_default();
            return Err(LdapError::File { path, why: "holds no password".to_owned() });
        }
        Ok(password)
    }

    fn tls(&self) -> Result<Option<rustls::ClientConfig>, LdapError> {
        self.ca_file.as_deref().map(client_config).transpose()
    }
}

/// Whether the name of an account could be taken for another one, or is too long for a ticket: invisible characters (Unicode's
/// Cc, and those of Cf and of white space that show nothing or turn the direction of writing), or white space at an end.
pub(crate) fn is_hard_to_read(account: &str) -> bool {
    let is_invisible = |letter: char| {
        letter.is_control()
            || (letter.is_whitespace() && letter != ' ')
            || matches!(
                letter,
                '\u{AD}'
                    | '\u{61C}'
                    | '\u{115F}'..='\u{1160}'
                    | '\u{180B}'..='\u{180F}'
                    | '\u{200B}'..='\u{200F}'
                    | '\u{202A}'..='\u{202E}'
                    | '\u{2060}'..='\u{206F}'
                    | '\u{3164}'
                    | '\u{FE00}'..='\u{FE0F}'
                    | '\u{FEFF}'
                    | '\u{FFA0}'
                    | '\u{FFF0}'..='\u{FFFB}'
                    | '\u{E0000}'..='\u{E0FFF}'
            )
    };
    account.trim() != account
        || account.chars().count() > MAX_ACCOUNT_CHARS
        || account.chars().any(is_invisible)
}

/// What keeps the directory from answering.
#[derive(Debug, thiserror::Error)]
pub enum LdapError {
    /// The protocol, the connection or TLS.
    #[error("the LDAP directory {url} cannot be asked: {source}")]
    Protocol {
        /// Which.
        url: String,
        /// Why.
        source: Ldap3Error,
    },
    /// A file of the configuration.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An entry without the attribute that says who it is.
    #[error(
        "the entry {dn} has no {attribute}; set ldap.person_attribute and ldap.account_attribute to ones it has"
    )]
    Attribute {
        /// Distinguished name.
        dn: String,
        /// Attribute.
        attribute: String,
    },
}

/// A directory of persons.
#[derive(Debug)]
pub struct Directory {
    config: LdapConfig,
    bind_password: String,
    tls: Option<Arc<rustls::ClientConfig>>,
    asking: tokio::sync::Semaphore,
}

impl Directory {
    pub(crate) fn new(config: LdapConfig) -> Result<Directory, LdapError> {
        let bind_password = config.bind_password()?;
        let tls = config.tls()?.map(Arc::new);
        let asking = tokio::sync::Semaphore::new(MAX_ASKING);
        Ok(Directory { config, bind_password, tls, asking })
    }

    /// Looks a person up and binds as them.
    ///
    /// # Errors
    /// The outer: the directory does not answer. The inner: why the login is refused.
    pub async fn login(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Result<LoggedIn, LoginRefused>, LdapError> {
        // RFC 4513 5.1.2: an empty password makes an anonymous bind of it, which succeeds.
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Ok(Err(LoginRefused::WrongPassword));
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Ok(Err(LoginRefused::Unknown));
        }
        let Ok(_turn) = self.asking.try_acquire() else { return Ok(Err(LoginRefused::Busy)) };
        self.ask(name, password).await
    }

    async fn ask(&self, name: &str, password: &str) -> Result<Result<LoggedIn, LoginRefused>, LdapError> {
        let config = &self.config;
        let failed = |source| LdapError::Protocol { url: config.url.clone(), source };
        let timeout = Duration::from_secs(u64::from(config.timeout_s));
        let mut ldap = self.connect(timeout).await.map_err(failed)?;
        let bound = ldap.with_timeout(timeout).simple_bind(&config.bind_dn, &self.bind_password).await;
        bound.and_then(ldap3::LdapResult::success).map_err(failed)?;
        let filter = config.user_filter.replace(ACCOUNT, &ldap3::ldap_escape(name));
        let attributes = [config.account_attribute.as_str(), config.person_attribute.as_str()];
        let found =
            ldap.with_timeout(timeout).search(&config.user_base, SearchScope::Subtree, &filter, attributes);
        let found = entries(found.await).map_err(failed)?;
        let [entry] = &found[..] else {
            // Two entries are nobody in particular.
            let _ = ldap.with_timeout(timeout).unbind().await;
            return Ok(Err(LoginRefused::Unknown));
        };
        let first = |attribute: &str| -> Result<String, LdapError> {
            let key = entry.attrs.keys().find(|key| key.eq_ignore_ascii_case(attribute));
            let value = key.and_then(|key| entry.attrs[key].first()).filter(|value| !value.is_empty());
            let missing = || LdapError::Attribute { dn: entry.dn.clone(), attribute: attribute.to_owned() };
            value.cloned().ok_or_else(missing)
        };
        let person = Person {
            id: PersonId(format!("ldap:{}", first(&config.person_attribute)?)),
            account: first(&config.account_attribute)?,
        };
        // Groups are read by the one who looks up: persons need not be allowed to.
        let filter = config.group_filter.replace(DN, &ldap3::ldap_escape(entry.dn.as_str()));
        let attributes = [config.group_attribute.as_str()];
        let groups =
            ldap.with_timeout(timeout).search(&config.group_base, SearchScope::Subtree, &filter, attributes);
        let groups = entries(groups.await).map_err(failed)?;
        let bound = ldap.with_timeout(timeout).simple_bind(&entry.dn, password).await.map_err(failed)?;
        let _ = ldap.with_timeout(timeout).unbind().await;
        match bound.rc {
            0 => {}
            // 49 invalidCredentials, 50 insufficientAccessRights, 53 unwillingToPerform (a locked account): RFC 4511 4.1.9.
            49 | 50 | 53 => return Ok(Err(LoginRefused::WrongPassword)),
            _ => return Err(failed(Ldap3Error::from(bound))),
        }
        Ok(Ok(self.given(person, &groups)))
    }

    fn given(&self, person: Person, groups: &[SearchEntry]) -> LoggedIn {
        let names: Vec<&String> = groups.iter().flat_map(|group| group.attrs.values().flatten()).collect();
        let roles = names.iter().filter_map(|name| self.config.roles.get(*name)).flatten().cloned().collect();
        let mut scopes: Vec<Scope> = Vec::new();
        for scope in names.iter().filter_map(|name| self.config.scopes.get(*name)).flatten() {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        LoggedIn { person, roles, scopes, expires: None }
    }

    async fn connect(&self, timeout: Duration) -> Result<ldap3::Ldap, Ldap3Error> {
        let mut settings =
            LdapConnSettings::new().set_conn_timeout(timeout).set_starttls(self.config.start_tls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let connecting = LdapConnAsync::with_settings(settings, &self.config.url);
        // The time-out of the settings ends with the connection; TLS and StartTLS come after it.
        let (connection, ldap) = tokio::time::timeout(timeout * 2, connecting).await??;
        ldap3::drive!(connection);
        Ok(ldap)
    }
}

fn entries(found: Result<ldap3::SearchResult, Ldap3Error>) -> Result<Vec<SearchEntry>, Ldap3Error> {
    let (entries, _) = found?.success()?;
    Ok(entries.into_iter().filter(|entry| !entry.is_ref()).map(SearchEntry::construct).collect())
}

fn read(path: &Path) -> Result<String, LdapError> {
    std::fs::read_to_string(path)
        .map_err(|error| LdapError::File { path: path.to_owned(), why: error.to_string() })
}

fn client_config(ca_file: &Path) -> Result<rustls::ClientConfig, LdapError> {
    let wrong = |why: String| LdapError::File { path: ca_file.to_owned(), why };
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca_file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LdapConfig {
        LdapConfig {
            url: "ldap://127.0.0.1:389".to_owned(),
            start_tls: false,
            ca_file: None,
            bind_dn: String::new(),
            bind_password_file: None,
            user_base: "ou=people,dc=example".to_owned(),
            user_filter: user_filter(),
            account_attribute: account_attribute(),
            person_attribute: person_attribute(),
            group_base: "ou=groups,dc=example".to_owned(),
            group_filter: group_filter(),
            group_attribute: group_attribute(),
            roles: BTreeMap::new(),
            scopes: BTreeMap::new(),
            timeout_s: 5,
        }
    }

    // REQ: FEP-KIT-110
    #[test]
    fn a_directory_that_would_carry_passwords_in_the_clear_or_could_be_anybody_is_refused() {
        let sets = RoleSets::default();
        let refused = |config: LdapConfig| config.check(&sets).err().map(|error| error.key);
        assert_eq!(refused(config()), None);
        let at = |url: &str| LdapConfig { url: url.to_owned(), ..config() };
        for url in
            ["ldap://ldap.example", "ldap://127.0.0.1.example", "http://127.0.0.1", "ldap://localhost@evil"]
        {
            assert_eq!(refused(at(url)).as_deref(), Some("ldap.url"), "{url}");
        }
        assert_eq!(refused(at("ldaps://ldap.example")).as_deref(), Some("ldap.ca_file"));
        let start_tls =
            LdapConfig { start_tls: true, ca_file: Some("ca.pem".into()), ..at("ldap://ldap.example") };
        assert_eq!(refused(start_tls), None);
        let filter = LdapConfig { user_filter: "(uid=x)".to_owned(), ..config() };
        assert_eq!(refused(filter).as_deref(), Some("ldap.user_filter"));
        let anonymous = LdapConfig { bind_dn: "cn=reader".to_owned(), ..config() };
        assert_eq!(refused(anonymous).as_deref(), Some("ldap.bind_password_file"));
        let roles = BTreeMap::from([("a".to_owned(), vec!["boss".to_owned()])]);
        let unknown = LdapConfig { roles, ..config() };
        assert_eq!(refused(unknown).as_deref(), Some("ldap.roles.a"));
    }

    // REQ: FEP-KIT-110
    #[test]
    fn what_a_person_types_is_escaped_as_the_examples_of_rfc_4515_are() {
        // RFC 4515 section 4: "Parens R Us (for all your parenthetical needs)", "*", "C:\MyFile", and four NULs and a 4.
        for (typed, escaped) in [
            (
                "Parens R Us (for all your parenthetical needs)",
                r"Parens R Us \28for all your parenthetical needs\29",
            ),
            ("*", r"\2a"),
            (r"C:\MyFile", r"C:\5cMyFile"),
            ("\0\0\0\u{4}", "\\00\\00\\00\u{4}"),
            ("anna)(uid=*))(|(uid=*", r"anna\29\28uid=\2a\29\29\28|\28uid=\2a"),
        ] {
            assert_eq!(ldap3::ldap_escape(typed), escaped);
        }
    }

    // REQ: FEP-KIT-192
    #[test]
    fn names_that_show_less_than_they_hold_are_hard_to_read_and_names_of_people_are_not() {
        for good in ["anna", "Jörg Müller", "o(neil)*", "Ольга", "李", "x@y.example"] {
            assert!(!is_hard_to_read(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            " anna",
            "anna ",
            "an\u{200B}na",
            "anna\u{202E}",
            "an\u{AD}na",
            "\u{FEFF}anna",
            "an\nna",
            "anna\u{A0}b",
            "a\u{E0061}",
            &long,
        ] {
            assert!(is_hard_to_read(bad), "{bad:?}");
        }
    }

    // REQ: FEP-KIT-193
    #[tokio::test]
    async fn a_directory_that_takes_connections_and_never_answers_is_given_up_and_keeps_no_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        for start_tls in [false, true] {
            let url = format!("ldap://{address}");
            let silent = LdapConfig { url, start_tls, timeout_s: 1, ..config() };
            let directory = Arc::new(Directory::new(silent).expect("a directory"));
            let mut asking = Vec::new();
            let mut held = Vec::new();
            for _ in 0..MAX_ASKING {
                let directory = Arc::clone(&directory);
                asking
                    .push(tokio::spawn(async move { directory.login("anna", "a password").await.is_err() }));
                held.push(listener.accept().await.expect("it asks").0);
            }
            assert_eq!(
                directory.login("anna", "a password").await.expect("no fault"),
                Err(LoginRefused::Busy)
            );
            for one in asking {
                assert!(one.await.expect("no panic"), "nobody is logged in");
            }
            // The other end is told: what it reads comes to an end.
            for mut stream in held {
                let mut said = Vec::new();
                let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
                let ended = tokio::time::timeout(Duration::from_secs(60), read).await;
                assert!(ended.is_ok(), "a connection is kept");
            }
        }
    }
}
