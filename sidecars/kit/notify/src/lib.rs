//! What a supervisor learns of a process: the protocol of `sd_notify(3)`. Every service has it by `fep-process`; `fepd`, which is
//! no sidecar, takes this crate alone.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The supervisor. Without one every message goes nowhere.
#[derive(Debug, Clone, Default)]
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

    /// Counts when the next sign of life is due.
    #[must_use]
    pub fn watchdog(&self) -> Watchdog {
        Watchdog { notify: self.clone(), next: Instant::now() }
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

/// Signs of life of a loop that turns faster than the supervisor wants to hear: called every turn, it sends when one is due.
#[derive(Debug)]
pub struct Watchdog {
    notify: Notify,
    next: Instant,
}

impl Watchdog {
    /// The loop has done its work at `now`.
    pub fn turned(&mut self, now: Instant) {
        let Some(interval) = self.notify.watchdog_interval() else { return };
        if now >= self.next {
            self.notify.alive();
            self.next = now + interval / 2;
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

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-262
    #[test]
    fn a_loop_says_that_it_lives_when_it_is_due_and_not_every_turn() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).expect("bound");
        supervisor.set_nonblocking(true).expect("it is set");
        let to = Some(Arc::new(address(path.as_os_str()).expect("an address")));
        let notify = Notify { to, watchdog: Some(Duration::from_secs(8)) };
        let mut watchdog = notify.watchdog();
        let start = watchdog.next;
        let mut octets = [0; 64];
        for (second, due) in [(0, true), (1, false), (2, true), (3, false), (9, true), (10, false)] {
            watchdog.turned(start + Duration::from_secs(second));
            let received = supervisor.recv(&mut octets).ok();
            assert_eq!(
                received.map(|length| &octets[..length]),
                due.then_some(&b"WATCHDOG=1"[..]),
                "{second}"
            );
        }
    }
}
