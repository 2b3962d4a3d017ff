//! The tests' own consumer processes, of a ring (`fep-test-consumer`) and of a feed (`fep-test-feed-client`), and their
//! journals.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::journal::{self, Line};
use crate::programs::{program, signal, wait_until};

/// A consumer process that may be killed and started again. Dropping it kills it.
#[derive(Debug)]
pub struct Follower {
    program: &'static str,
    arguments: Vec<OsString>,
    journal: PathBuf,
    child: Option<Child>,
}

impl Follower {
    /// Starts consumer `name` of `ring`; its journal lies in `directory`.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn start(rings: &Path, ring: &str, name: &str, directory: &Path) -> Follower {
        let arguments = vec![rings.into(), ring.into(), name.into()];
        Follower::run("fep-test-consumer", arguments, directory.join(format!("{ring}.{name}.journal")))
    }

    /// Starts client `name` of the framed feed at `address`; `filter` is its own, as JSON. Its journal lies in
    /// `directory`. It acknowledges what it has written down.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn of_feed(address: SocketAddr, name: &str, filter: &str, directory: &Path) -> Follower {
        let arguments = vec![address.to_string().into(), name.into(), filter.into()];
        Follower::run("fep-test-feed-client", arguments, directory.join(format!("feed.{name}.journal")))
    }

    fn run(program: &'static str, arguments: Vec<OsString>, journal: PathBuf) -> Follower {
        let mut follower = Follower { program, arguments, journal, child: None };
        follower.restart();
        follower
    }

    /// Starts it again where its cursor stands.
    ///
    /// # Panics
    /// If it runs, or cannot be executed.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new(program(self.program))
            .args(&self.arguments)
            .arg(&self.journal)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be executed: {error}", self.program));
        self.child = Some(child);
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it has ended by itself before.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the consumer ended by itself: {status}");
        }
        child.kill().expect("it is our child and alive");
        child.wait().expect("it is our child");
    }

    /// Stops it in its tracks (SIGSTOP): alive, but it reads nothing any more.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self) {
        signal(self.child.as_ref().expect("it runs"), "STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self) {
        signal(self.child.as_ref().expect("it runs"), "CONT");
    }

    /// How many lines it has written down so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        journal::written(&self.journal)
    }

    /// What it has written down so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        // Before the first batch there is no file.
        journal::read(&self.journal).unwrap_or_default()
    }

    /// Lets it read what is there, and returns all it has written down in all its lives.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn finish(mut self) -> Vec<Line> {
        std::fs::write(self.journal.with_extension("stop"), []).expect("the directory is writable");
        let mut child = self.child.take().expect("it runs");
        let status = wait_until("the consumer has read everything", || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        assert!(status.success(), "the consumer failed: {status}");
        self.lines()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Fails only when it is dead already. A frozen process dies too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
