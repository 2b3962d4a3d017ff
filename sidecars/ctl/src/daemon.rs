//! Talking to the daemon: HTTP/JSON over its Unix control socket, one request at a time, from ordinary blocking code.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_client::blocking::Client;
use fep_client::{Address, Call, Config, Error, Method, Octets, StatusCode, Times};
use fep_control::api::ApiError;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// A daemon that has not answered after this time is reported as hanging, not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client of one control socket.
pub(crate) struct Daemon {
    socket: PathBuf,
    client: Client,
}

impl Daemon {
    /// A client of `socket`; nothing is sent yet.
    pub(crate) fn at(socket: PathBuf) -> Result<Daemon, Failure> {
        let times = Times { connect: ANSWER_WITHIN, answer: ANSWER_WITHIN, silence: ANSWER_WITHIN };
        let client = Client::new(Config { times, ..Config::at(Address::Unix(socket.clone())) })?;
        Ok(Daemon { socket, client })
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
        self.client.call(&Call::new(method, path)).map_err(|error| failure(&self.socket, path, error))
    }

    /// The text answer to a GET.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let asked = self.client.octets(&Call::<Octets>::get(path));
        let body = asked.map_err(|error| failure(&self.socket, path, error))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// What the client of the kit says, in the words of a daemon and its socket.
fn failure(socket: &Path, path: &str, error: Error) -> Failure {
    let shown = socket.display();
    match error {
        Error::Unreachable { kind, why, .. } => unreachable(socket, kind, &why),
        Error::Silent { .. } => Failure::no_daemon(format!(
            "the daemon at {shown} accepted the request but did not answer within {} s",
            ANSWER_WITHIN.as_secs()
        ))
        .hint(
            "look at its log; if it hangs, stop and start it again: the rings and their readers survive that",
        ),
        Error::Broken { why, .. } => {
            Failure::no_daemon(format!("the daemon at {shown} broke off the connection: {why}"))
                .hint("it may be stopping; look at its log")
        }
        Error::Malformed { why, .. } => Failure::new(format!(
            "the daemon at {shown} answered {path} with something this fepctl does not understand: {why}"
        ))
        .hint("are daemon and fepctl of the same version? compare `fepd --version` and `fepctl --version`"),
        Error::Refused(refused) => refusal(refused.status, path, &refused.body),
        other => other.into(),
    }
}

/// Says why nothing answers, and what to do.
fn unreachable(socket: &Path, kind: ErrorKind, why: &str) -> Failure {
    let path = socket.display();
    match kind {
        ErrorKind::NotFound => Failure::no_daemon(format!("no daemon: the control socket {path} does not exist"))
            .hint("start one with `fepctl up` (or `systemctl start fepd`), or name its socket with --socket or --config"),
        ErrorKind::ConnectionRefused => {
            Failure::no_daemon(format!("no daemon: nobody listens on the control socket {path} (left by one that was killed)"))
                .hint("start one with `fepctl up` (or `systemctl start fepd`)")
        }
        ErrorKind::PermissionDenied => Failure::no_daemon(format!("permission denied on the control socket {path}"))
            .hint("your user must be in the group that owns the socket: see `ls -l` of it and `id`"),
        _ => Failure::no_daemon(format!("cannot reach the daemon on {path}: {why}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_the_daemons_own_words() {
        let failure = refusal(StatusCode::NOT_FOUND, "/x", br#"{"message":"no link is called x: a, b are"}"#);
        assert_eq!(failure.to_string(), "no link is called x: a, b are");
        let failure = refusal(StatusCode::BAD_GATEWAY, "/x", b"");
        assert_eq!(failure.to_string(), "the daemon refused /x: 502 Bad Gateway");
    }
}
