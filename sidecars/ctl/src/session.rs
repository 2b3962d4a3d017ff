//! Who one is for services: the ticket of the last login, kept in a file that only its owner reads.

use std::path::{Path, PathBuf};

use fep_client::model::identity::Ticket;
use fep_client::{Bearer, Times, api};
use fep_time::clock::unix_now_ns;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::places;
use crate::service::{self, TlsArgs};

/// No session is longer.
const SESSION_MAX: u64 = 64 << 10;

/// A login that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Where the login was.
    #[serde(default)]
    pub(crate) server: String,
    /// The name that was given.
    pub(crate) account: String,
    /// For the header `Authorization`.
    pub(crate) ticket: String,
    /// Seconds since 1970-01-01T00:00:00 UTC.
    pub(crate) expires: i64,
}

impl Session {
    /// Seconds until it ends; `None` when it has ended.
    pub(crate) fn left_s(&self) -> Option<i64> {
        let now_s = i64::try_from(unix_now_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        Some(self.expires.saturating_sub(now_s)).filter(|left_s| *left_s > 0)
    }
}

/// The ticket for a request to a service of the installation: `FEP_TICKET` as it is, one for the API token in `FEP_TOKEN`,
/// or that of the last login. `None` where there is none of them: the service may know the peer by its user or certificate.
///
/// # Errors
/// A token that is refused, a session that has ended or that others can read.
pub(crate) fn bearer(config: Option<&Path>, tls: &TlsArgs) -> Result<Option<Bearer>, Failure> {
    if let Some(ticket) = set("FEP_TICKET") {
        return named("FEP_TICKET", &ticket).map(Some);
    }
    if let Some(token) = set("FEP_TOKEN") {
        return ticket_for(named("FEP_TOKEN", &token)?, config, tls).map(Some);
    }
    let Some(session) = load()? else { return Ok(None) };
    if session.left_s().is_none() {
        return Err(Failure::new(format!("the session of {} has ended", session.account))
            .hint(format!("fepctl login --account {}", session.account)));
    }
    named("the session", &session.ticket).map(Some)
}

/// The ticket that the identity service gives for an API token.
///
/// # Errors
/// It does not answer, or refuses the token.
pub(crate) fn ticket_for(token: Bearer, config: Option<&Path>, tls: &TlsArgs) -> Result<Bearer, Failure> {
    let identity = places::identity(set("FEP_IDENTITY").as_deref(), config)?;
    let client = service::client(&identity, tls, Some(token), Times::default())?;
    Ok(Bearer::new(&client.call(&api::identity::ticket())?.ticket)?)
}

/// # Errors
/// What stands there is no ticket and no token; it is not shown.
pub(crate) fn named(place: &str, text: &str) -> Result<Bearer, Failure> {
    Bearer::new(text).map_err(|_| Failure::new(format!("what {place} holds is no ticket and no token")))
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The session of a login at `server`.
pub(crate) fn of(server: &str, ticket: Ticket) -> Session {
    let Ticket { ticket, expires, account, .. } = ticket;
    Session { server: server.to_owned(), account, ticket, expires }
}

/// The session of the last login; `None` when nobody is logged in.
///
/// # Errors
/// A file that others can read or that holds no session.
pub(crate) fn load() -> Result<Option<Session>, Failure> {
    load_from(&file()?)
}

fn load_from(file: &Path) -> Result<Option<Session>, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let failed =
        |why: String| Failure::new(why).hint("fepctl logout removes it, fepctl login makes a new one");
    let Some(text) =
        fep_file::read_if_exists(file, SESSION_MAX).map_err(|error| failed(error.to_string()))?
    else {
        return Ok(None);
    };
    let mode =
        std::fs::metadata(file).map_err(|error| Failure::file("look at", file, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let why =
            format!("{} has mode {:04o}: others could have read the ticket", file.display(), mode & 0o7777);
        return Err(failed(why));
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| failed(format!("{} holds no session: {error}", file.display())))
}

/// Keeps a session.
///
/// # Errors
/// The system's.
pub(crate) fn keep(session: &Session) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let file = file()?;
    if let Some(dir) = file.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| Failure::file("make", dir, &error))?;
    }
    let text = serde_json::to_vec(session).map_err(|error| Failure::new(error.to_string()))?;
    fep_file::replace(&file, 0o600, &text).map_err(|error| Failure::new(error.to_string()))
}

/// Forgets the session.
///
/// # Errors
/// The system's.
pub(crate) fn forget() -> Result<(), Failure> {
    let file = file()?;
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file("remove", &file, &error))
        }
        _ => Ok(()),
    }
}

fn file() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("XDG_RUNTIME_DIR")
        .or_else(|| set("XDG_STATE_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            Failure::new("a session has no place: XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME are not set")
        })?;
    Ok(dir.join("fep/session.json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    // REQ: FEP-CTL-171
    #[test]
    fn a_session_that_others_can_read_or_that_is_damaged_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("session.json");
        assert_eq!(load_from(&file).expect("no file"), None);
        let session = Session {
            server: String::new(),
            account: "anna".to_owned(),
            ticket: "a.b.c".to_owned(),
            expires: 1,
        };
        let text = serde_json::to_vec(&session).expect("JSON");
        fep_file::replace(&file, 0o600, &text).expect("written");
        assert_eq!(load_from(&file).expect("a session").as_ref(), Some(&session));
        assert_eq!(session.left_s(), None, "it has ended");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("set");
        assert!(load_from(&file).expect_err("refused").to_string().contains("mode 0640"));
        fep_file::replace(&file, 0o600, b"{}").expect("written");
        assert!(load_from(&file).expect_err("refused").to_string().contains("holds no session"));
    }
}
