//! A `fepd` process of a test's own: its directory, its configuration, its life and death.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use fep_control::api::{LinkStatus, Status};
use tempfile::TempDir;

use crate::control::get;
use crate::programs::{program, signal, wait_until};

/// A directory on a memory file system for one daemon, gone with this value.
#[derive(Debug)]
pub struct RunDirectory {
    directory: TempDir,
}

impl RunDirectory {
    /// A new, empty one.
    ///
    /// # Panics
    /// If the system gives none.
    #[must_use]
    pub fn new() -> RunDirectory {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("fep-test-").tempdir_in(parent).expect("a directory");
        RunDirectory { directory }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the rings are.
    #[must_use]
    pub fn rings(&self) -> PathBuf {
        self.path().join("bus")
    }

    /// Writes a configuration of `tables` (whole TOML tables, such as links) and returns its path.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn configure(&self, tables: &str) -> PathBuf {
        // No real-time priority and no pinning: tests of several daemons share the cores of one machine.
        let text = format!(
            "[daemon]\nrun_dir = {:?}\nrealtime_priority = 0\nlock_memory = false\nlog = \"warn\"\n\n\
             [link]\ncore = \"none\"\nreconnect_min_ms = 10\nreconnect_max_ms = 50\n\n{tables}",
            self.path()
        );
        let path = self.path().join("fepd.toml");
        std::fs::write(&path, text).expect("the directory is writable");
        path
    }
}

/// The table of a link named after its station, connecting to it.
#[must_use]
pub fn tcp_link(name: &str, channel: &str, address: SocketAddr) -> String {
    format!(
        "[links.{name}]\nchannel = \"{channel}\"\n\
         transport = {{ kind = \"tcp_client\", address = \"{address}\" }}\n\n"
    )
}

impl Default for RunDirectory {
    fn default() -> Self {
        RunDirectory::new()
    }
}

/// A running `fepd`. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts `fepd` and waits until it answers.
    ///
    /// # Panics
    /// If it cannot be started or ends at once.
    #[must_use]
    pub fn start(directory: &RunDirectory, config: &Path) -> Daemon {
        let mut daemon = Daemon::launch(directory, config);
        wait_until("fepd answers", || {
            if let Some(status) = daemon.child.try_wait().map_err(|error| error.to_string())? {
                panic!("fepd ended at once: {status}; its messages are above");
            }
            daemon.status().and_then(|status| {
                // The socket of a killed predecessor may lie there still.
                if status.pid == daemon.child.id() { Ok(()) } else { Err(format!("process {}", status.pid)) }
            })
        });
        daemon
    }

    /// Starts `fepd` and does not wait for anything.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn launch(directory: &RunDirectory, config: &Path) -> Daemon {
        let child = Command::new(program("fepd"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .expect("fepd can be executed");
        Daemon { child, socket: directory.path().join("control.sock") }
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn status(&self) -> Result<Status, String> {
        let body = get(&self.socket, "/status")?;
        serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))
    }

    /// What it says of one link.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn link(&self, name: &str) -> Result<LinkStatus, String> {
        let status = self.status()?;
        status.links.into_iter().find(|link| link.name == name).ok_or_else(|| format!("no link {name}"))
    }

    /// Process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: no handler runs, nothing is written any more.
    ///
    /// # Panics
    /// If it has ended by itself before: then the test would prove nothing.
    pub fn kill(mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("fepd ended by itself: {status}");
        }
        self.child.kill().expect("it is our child and alive");
        self.child.wait().expect("it is our child");
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(mut self) -> ExitStatus {
        signal(&self.child, "TERM");
        wait_until("fepd stops", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only when it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
