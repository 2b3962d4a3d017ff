//! Talking to a service of the kit: one HTTP request a connection, over a Unix socket or the loopback address. A ticket is
//! sent nowhere else, because nothing protects it on the way.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::failure::{Failure, plain};

/// A login waits for its turn and for argon2id; a verification walks a whole trail.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// The longest answer that is taken: an export of an audit trail.
const BODY_MAX: usize = 1 << 30;

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port, of this machine.
    Tcp(String),
}

impl Address {
    /// # Errors
    /// Neither `unix:PATH` nor `http://` and an address of this machine.
    pub(crate) fn parse(text: &str) -> Result<Address, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        let host = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let is_here = |host: &str| {
            host.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
                || host.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok())
        };
        match host {
            Some(host) if is_here(host) => Ok(Address::Tcp(host.to_owned())),
            _ => Err(Failure::usage(format!("{text:?} is no address to which a ticket may be sent"))
                .hint("unix:PATH, or http:// with a loopback address and a port, as http://127.0.0.1:8470")),
        }
    }
}

/// Asks; the body of a success.
///
/// # Errors
/// Nobody answers, or the service refuses: in its own words.
pub(crate) fn ask(
    server: &str,
    method: Method,
    path: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> Result<Bytes, Failure> {
    let (status, octets) = answer(server, method, path, bearer, body)?;
    if status.is_success() {
        return Ok(octets);
    }
    Err(refused(server, path, status, &octets))
}

/// What an answer says that is no success.
pub(crate) fn refused(server: &str, path: &str, status: StatusCode, body: &[u8]) -> Failure {
    refusal(body).unwrap_or_else(|| Failure::new(format!("{server} refused {path}: {status}")))
}

/// Asks; whatever is answered.
///
/// # Errors
/// Nobody answers.
pub(crate) fn answer(
    server: &str,
    method: Method,
    path: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> Result<(StatusCode, Bytes), Failure> {
    let address = Address::parse(server)?;
    let host = match &address {
        Address::Unix(_) => "localhost",
        Address::Tcp(host) => host,
    };
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if let Some(bearer) = bearer {
        let mut value = header::HeaderValue::try_from(format!("Bearer {bearer}"))
            .map_err(|_| Failure::new("what FEP_TICKET or FEP_TOKEN holds is no ticket and no token"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let octets = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = request
        .body(Full::new(octets))
        .map_err(|error| Failure::usage(format!("{path:?} cannot be asked of a service: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(format!("cannot start the I/O of the client: {}", plain(&error))))?;
    let answered = runtime
        .block_on(async { tokio::time::timeout(ANSWER_WITHIN, exchange(server, &address, request)).await });
    answered.map_err(|_| {
        Failure::no_daemon(format!("{server} did not answer within {} s", ANSWER_WITHIN.as_secs()))
    })?
}

/// What a service says when it refuses, as the body of its answer has it (RFC 9457); `None` when it says nothing so.
pub(crate) fn refusal(body: &[u8]) -> Option<Failure> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
        #[serde(default, rename = "where")]
        place: String,
        #[serde(default)]
        allowed: String,
        #[serde(default)]
        hint: String,
    }
    let Problem { detail, place, allowed, hint } = serde_json::from_slice(body).ok()?;
    let place = if place.is_empty() { place } else { format!("{place}: ") };
    let allowed = if allowed.is_empty() { allowed } else { format!(" (allowed: {allowed})") };
    let failure = Failure::new(format!("{place}{detail}{allowed}"));
    Some(if hint.is_empty() { failure } else { failure.hint(hint) })
}

async fn exchange(
    server: &str,
    address: &Address,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Failure> {
    let away = |error: std::io::Error| {
        Failure::no_daemon(format!("no service at {server}: {}", plain(&error)))
            .hint("start it, or name where it is with --server")
    };
    match address {
        Address::Unix(path) => {
            send(server, tokio::net::UnixStream::connect(path).await.map_err(away)?, request).await
        }
        Address::Tcp(host) => {
            send(server, tokio::net::TcpStream::connect(host).await.map_err(away)?, request).await
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    server: &str,
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::no_daemon(format!("{server} broke off the connection: {error}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(|error| broken(&error))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-172
    #[test]
    fn a_ticket_is_sent_to_this_machine_alone() {
        for good in ["unix:/run/x.sock", "http://127.0.0.1:80", "http://[::1]:80/", "http://localhost:80"] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "unix:",
            "http://fep.example:80",
            "http://10.0.0.1:80",
            "http://127.0.0.1.evil.example:80",
            "http://localhost:80@evil.example:80",
            "http://127.0.0.1:80/x",
            "https://127.0.0.1:80",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
