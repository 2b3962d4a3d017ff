//! Talking to the daemon: HTTP/JSON over its Unix control socket, one request at a time, from ordinary blocking code.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_control::api::ApiError;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, plain};

/// A daemon that has not answered after this time is reported as hanging, not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest answer we take: status of some thousand virtual channels is well below.
const BODY_MAX: usize = 64 << 20;

/// A client of one control socket.
pub(crate) struct Daemon {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Daemon {
    /// A client of `socket`; nothing is sent yet.
    pub(crate) fn at(socket: PathBuf) -> Result<Daemon, Failure> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Failure::new(format!("cannot start the I/O of the client: {}", plain(&error)))
            })?;
        Ok(Daemon { socket, runtime })
    }

    /// The JSON answer to a GET.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(Method::GET, path)
    }

    /// Commands something; the JSON answer.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(Method::POST, path)
    }

    fn answer<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Failure> {
        let body = self.request(method, path)?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(format!(
                "the daemon at {} answered {path} with something this fepctl does not understand: {error}",
                self.socket.display()
            ))
            .hint(
                "are daemon and fepctl of the same version? compare `fepd --version` and `fepctl --version`",
            )
        })
    }

    /// The text answer to a GET.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.request(Method::GET, path)?).into_owned())
    }

    fn request(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(ANSWER_WITHIN, exchange(&self.socket, method, path)).await
        });
        let (status, body) = match answer {
            Err(_elapsed) => {
                return Err(Failure::no_daemon(format!(
                    "the daemon at {} accepted the request but did not answer within {} s",
                    self.socket.display(),
                    ANSWER_WITHIN.as_secs()
                ))
                .hint("look at its log; if it hangs, stop and start it again: the rings and their readers survive that"));
            }
            Ok(done) => done?,
        };
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status, path, &body))
    }
}

/// One request on a connection of its own.
async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::no_daemon(format!("the daemon at {} broke off the connection: {error}", socket.display()))
            .hint("it may be stopping; look at its log")
    };
    let stream =
        tokio::net::UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "fepd")
        .header(hyper::header::ACCEPT, "application/json, text/plain")
        .body(Full::new(Bytes::new()))
        .map_err(|error| Failure::usage(format!("{path:?} cannot be asked of the daemon: {error}")))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), BODY_MAX)
        .collect()
        .await
        .map_err(|error| broken(&error))?
        .to_bytes();
    driver.abort();
    Ok((status, body))
}

/// Says why nothing answers, and what to do.
fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let path = socket.display();
    match error.kind() {
        ErrorKind::NotFound => Failure::no_daemon(format!("no daemon: the control socket {path} does not exist"))
            .hint("start one with `fepctl up` (or `systemctl start fepd`), or name its socket with --socket or --config"),
        ErrorKind::ConnectionRefused => {
            Failure::no_daemon(format!("no daemon: nobody listens on the control socket {path} (left by one that was killed)"))
                .hint("start one with `fepctl up` (or `systemctl start fepd`)")
        }
        ErrorKind::PermissionDenied => Failure::no_daemon(format!("permission denied on the control socket {path}"))
            .hint("your user must be in the group that owns the socket: see `ls -l` of it and `id`"),
        _ => Failure::no_daemon(format!("cannot reach the daemon on {path}: {}", plain(error))),
    }
}

/// The daemon's own words where it gave some.
fn refusal(status: StatusCode, path: &str, body: &[u8]) -> Failure {
    if let Ok(ApiError { message, errors }) = serde_json::from_slice(body) {
        let failure = Failure::new(message);
        if errors.is_empty() {
            return failure;
        }
        return failure.hint(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "));
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    Failure::new(if text.is_empty() {
        format!("the daemon refused {path}: {status}")
    } else {
        format!("the daemon refused {path}: {status}: {text}")
    })
}

/// Makes a name safe to stand in a request path.
pub(crate) fn path_segment(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(byte as char);
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_name_with_strange_characters_stays_one_path_segment() {
        assert_eq!(path_segment("npp-1.x"), "npp-1.x");
        assert_eq!(path_segment("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
    }

    #[test]
    fn a_refusal_repeats_the_daemons_own_words() {
        let failure = refusal(StatusCode::NOT_FOUND, "/x", br#"{"message":"no link is called x: a, b are"}"#);
        assert_eq!(failure.to_string(), "no link is called x: a, b are");
        let failure = refusal(StatusCode::BAD_GATEWAY, "/x", b"");
        assert_eq!(failure.to_string(), "the daemon refused /x: 502 Bad Gateway");
    }
}
