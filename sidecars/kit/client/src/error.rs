//! What can go wrong between a client and a service, and what to do about it.

use std::fmt;
use std::io;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::Deserialize;

use crate::Address;

/// Octets of a body without a problem document that are quoted.
const QUOTED_MAX: usize = 300;

/// Why there is no answer. It says what and where; [`Error::hint`] says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What the client was made with cannot be used: an address, a file, a header. Nothing was sent.
    #[error("{what}")]
    Setup {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// No connection.
    #[error("no service at {service}: {why}")]
    Unreachable {
        /// Where.
        service: Address,
        /// Kind of the system's error.
        kind: io::ErrorKind,
        /// What the system says.
        why: String,
        /// What to do.
        hint: String,
    },
    /// No TLS connection, or one that the service ended over a certificate.
    #[error("{service}: {fault}")]
    Tls {
        /// Where.
        service: Address,
        /// What.
        fault: TlsFault,
    },
    /// Nothing came for too long.
    #[error("{service} {what} within {waited_s} s")]
    Silent {
        /// Where.
        service: Address,
        /// What it did not do.
        what: &'static str,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// The connection ended before the answer, or what came is no HTTP.
    #[error("{service} broke off {during}: {why}")]
    Broken {
        /// Where.
        service: Address,
        /// `the connection` or `its answer`.
        during: &'static str,
        /// What was seen.
        why: String,
    },
    /// An answer or an event that is larger than what is taken.
    #[error("{service} answered {path} with more than {octets_max} octets")]
    TooLong {
        /// Where.
        service: Address,
        /// What was asked.
        path: String,
        /// What is taken.
        octets_max: usize,
    },
    /// A success whose body is something else than was agreed.
    #[error("{service} answered {path} with something that this program does not understand: {why}")]
    Malformed {
        /// Where.
        service: Address,
        /// What was asked.
        path: String,
        /// What was found.
        why: String,
    },
    /// The service answered, and said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
}

impl Error {
    pub(crate) fn setup(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Setup { what: what.into(), hint: hint.into() }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        let text = match self {
            Error::Setup { hint, .. } | Error::Unreachable { hint, .. } => hint.as_str(),
            Error::Tls { fault, .. } => fault.hint(),
            Error::Silent { .. } => "look at the log of the service, and ask again",
            Error::Broken { service: Address::Http { .. }, .. } => {
                "look at the log of the service; a door with TLS is asked with https://"
            }
            Error::Broken { service: Address::Https { .. }, .. } => {
                "look at the log of the service; its door may want a certificate of its callers, or other ones"
            }
            Error::Broken { .. } => "look at the log of the service, and ask again",
            Error::TooLong { .. } => "ask for less at a time",
            Error::Malformed { .. } => "compare the versions of the service and of this program",
            Error::Refused(refusal) => refusal.hint.as_str(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// Whether no service answered at all: another one, or the same one later, may.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. } | Error::Silent { .. } | Error::Broken { .. } | Error::Tls { .. }
        )
    }

    /// What the service said where it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// What is wrong between the certificates of a client and of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The service's certificate is over.
    #[error("its certificate has expired{0}")]
    Expired(String),
    /// The service's certificate begins later.
    #[error("its certificate is not valid yet{0}")]
    NotValidYet(String),
    /// No authority that is trusted signed it.
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownAuthority,
    /// It is the certificate of another name.
    #[error("its certificate is for {presented}, not for {expected}")]
    OtherName {
        /// The name in the address.
        expected: String,
        /// The names in the certificate.
        presented: String,
    },
    /// The certificate is wrong in another way.
    #[error("its certificate is refused: {0}")]
    Certificate(String),
    /// The other end speaks no TLS.
    #[error("it does not speak TLS")]
    NoTls,
    /// The other end has no common version or algorithm.
    #[error("it speaks no TLS 1.3 that this program speaks too")]
    NothingInCommon,
    /// The service wants a certificate of its callers.
    #[error("it takes callers with a certificate only")]
    CertificateWanted,
    /// The service refuses the certificate of this client.
    #[error("it refuses the certificate of this client: {0}")]
    CertificateRefused(String),
    /// Anything else.
    #[error("no TLS connection: {0}")]
    Other(String),
}

impl TlsFault {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            TlsFault::Expired(_) => {
                "whoever runs the service gives it a new certificate; if it has one, look at the clock of this machine"
            }
            TlsFault::NotValidYet(_) => "look at the clock of this machine: `date -u`",
            TlsFault::UnknownAuthority => {
                "give the file with the certificate of the authority that signed it (--ca FILE)"
            }
            TlsFault::OtherName { .. } => {
                "give the address with a name that the certificate has, or give the service a certificate with this name"
            }
            TlsFault::Certificate(_) => "whoever runs the service gives it another certificate",
            TlsFault::NoTls => {
                "the port is another one, or it is a door without TLS (http://, on its own machine only)"
            }
            TlsFault::NothingInCommon => "services of fep speak TLS 1.3: look at what stands before it",
            TlsFault::CertificateWanted => "give a certificate and its key (--cert FILE --key FILE)",
            TlsFault::CertificateRefused(_) => {
                "give a certificate that is valid and that the service's client_ca has signed (--cert FILE --key FILE)"
            }
            TlsFault::Other(_) => "look at the log of the service",
        }
    }
}

/// What a service says when it refuses: a problem document (RFC 9457), or what could be made of another answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where.
    pub service: Address,
    /// What was asked, without the query.
    pub path: String,
    /// Status code of the answer.
    pub status: StatusCode,
    /// Kind of problem: `/problems/bad-parameter`. Empty without a problem document.
    pub kind: String,
    /// What happened.
    pub detail: String,
    /// Where in the request; empty where nothing is said.
    pub place: String,
    /// What would be accepted; empty where nothing is said.
    pub allowed: String,
    /// What to do; empty where nothing is said.
    pub hint: String,
    /// Name of the request in the log of the service; empty where it has none.
    pub request_id: String,
    /// The body, for services with documents of their own.
    pub body: Bytes,
}

/// RFC 9457 makes every member optional and has consumers ignore those of another type.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: serde_json::Value,
    title: serde_json::Value,
    detail: serde_json::Value,
    instance: serde_json::Value,
    #[serde(rename = "where")]
    place: serde_json::Value,
    allowed: serde_json::Value,
    hint: serde_json::Value,
}

impl Refusal {
    pub(crate) fn read(
        service: &Address,
        path: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Refusal {
        let is_object = body.iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'{');
        let problem = if is_object { serde_json::from_slice::<Problem>(&body).ok() } else { None };
        let problem = problem.unwrap_or_default();
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            _ => String::new(),
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let instance = text(problem.instance);
        let request_id = header("x-request-id")
            .or_else(|| instance.strip_prefix("/requests/").map(str::to_owned))
            .unwrap_or_default();
        let mut detail = text(problem.detail);
        if detail.is_empty() {
            detail = text(problem.title);
        }
        if detail.is_empty() {
            detail = format!("it answered {}", described(status));
            let said = quoted(&body);
            if !said.is_empty() {
                detail = format!("{detail}: {said}");
            }
        }
        Refusal {
            service: service.clone(),
            path: path.split('?').next().unwrap_or_default().to_owned(),
            status,
            kind: text(problem.kind),
            detail,
            place: text(problem.place),
            allowed: text(problem.allowed),
            hint: text(problem.hint),
            request_id,
            body,
        }
    }

    /// Whether the problem is of this kind, the last part of its type: `second-person-needed`.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kind.strip_prefix("/problems/") == Some(kind)
    }
}

fn described(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

/// The beginning of a body as one line of text.
fn quoted(body: &[u8]) -> String {
    let start = &body[..body.len().min(QUOTED_MAX)];
    let text = String::from_utf8_lossy(start);
    let text: Vec<&str> =
        text.split(|character: char| character.is_whitespace() || character.is_control()).collect();
    let text = text.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if body.len() > QUOTED_MAX { format!("{text}…") } else { text }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.is_empty() {
            write!(f, "{} refused {}: ", self.service, self.path)?;
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.detail)?;
        if !self.allowed.is_empty() {
            write!(f, " (allowed: {})", self.allowed)?;
        }
        // A fault of the service is found in its log by this name.
        if self.status.is_server_error() && !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Why a body was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The service.
    #[error(transparent)]
    Service(#[from] Error),
    /// The writer.
    #[error(transparent)]
    Writer(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &'static str) -> Refusal {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", hyper::header::HeaderValue::from_static("r-7"));
        let service: Address = "unix:/x".parse().expect("an address");
        let status = StatusCode::from_u16(status).expect("a status");
        Refusal::read(&service, "/v1/x?y=1", status, &headers, Bytes::from_static(body.as_bytes()))
    }

    // REQ: FEP-KIT-206
    #[test]
    fn a_problem_says_what_where_what_is_allowed_and_what_to_do() {
        let refusal = read(
            400,
            r#"{"type":"/problems/bad-parameter","title":"Bad parameter","status":400,"detail":"\"x\" is no number",
                "where":"vcid","allowed":"0 to 63","hint":"see docs","instance":"/requests/r-7","more":[1]}"#,
        );
        assert_eq!(refusal.to_string(), r#"vcid: "x" is no number (allowed: 0 to 63)"#);
        assert!(refusal.is("bad-parameter") && !refusal.is("bad"));
        assert_eq!((refusal.hint.as_str(), refusal.request_id.as_str()), ("see docs", "r-7"));
        let fault = read(500, r#"{"type":"/problems/fault","detail":"reading failed"}"#);
        assert_eq!(fault.to_string(), "reading failed (request r-7)");
    }

    // REQ: FEP-KIT-206
    #[test]
    fn a_malformed_problem_still_says_who_refused_what_and_shows_the_beginning_of_what_came() {
        for (body, said) in [
            ("", "unix:/x refused /v1/x: it answered 502 Bad Gateway (request r-7)"),
            ("{", "unix:/x refused /v1/x: it answered 502 Bad Gateway: { (request r-7)"),
            (r#"{"detail": 7, "where": [], "type": null}"#, "it answered 502 Bad Gateway: {\"detail\": 7"),
            ("[1]", "it answered 502 Bad Gateway: [1]"),
            ("<html>\n\u{1b}[2J <b>no</b>", "it answered 502 Bad Gateway: <html> [2J <b>no</b>"),
        ] {
            let shown = read(502, body).to_string();
            assert!(shown.contains(said), "{shown}");
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        let title_alone = read(503, r#"{"title": "Busy", "hint": 9}"#);
        assert!(title_alone.to_string().contains("Busy"));
        let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
        assert!(read(500, long).to_string().len() < 500);
    }
}
