//! What a supervisor learns of the service: the protocol of `sd_notify(3)`.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The supervisor. Without one every message goes nowhere.
#[derive(Debug, Clone)]
pub struct Notify {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. A socket that cannot be is logged, and the
    /// service runs without.
    #[must_use]
    pub fn from_environment() -> Notify {
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match address(&name) {
            Ok(to) => Some(Arc::new(to)),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={}: {error}: the supervisor learns nothing", name.display());
                None
            }
        });
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| *us > 0 && for_us).map(Duration::from_micros);
        Notify { to, watchdog }
    }

    /// The service can be used.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One line for operators: what it is at. Line ends become blanks.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// It stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// How often at least [`Notify::alive`] must be called, with some reserve; `None` when nobody waits for it.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The service does its work. Call it where that is known, not from a thread that does nothing else.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, to)) = self.to.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), to) {
            tracing::warn!(%error, "the supervisor does not take {message:?}");
        }
    }
}

fn address(name: &OsStr) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let octets = name.as_bytes();
    let to = match octets.split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        Some((b'/', _)) => SocketAddr::from_pathname(name)?,
        _ => return Err(std::io::Error::other("neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold up the service.
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}
