//! The test's own consumer process, `fep-test-consumer`, and its journal.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::journal::{self, Line};
use crate::programs::{program, wait_until};

/// A consumer process that may be killed and started again. Dropping it kills it.
#[derive(Debug)]
pub struct Follower {
    rings: PathBuf,
    ring: String,
    name: String,
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
        let journal = directory.join(format!("{ring}.{name}.journal"));
        let (rings, ring, name) = (rings.to_owned(), ring.to_owned(), name.to_owned());
        let mut follower = Follower { rings, ring, name, journal, child: None };
        follower.restart();
        follower
    }

    /// Starts it again where its cursor stands.
    ///
    /// # Panics
    /// If it runs, or cannot be executed.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new(program("fep-test-consumer"))
            .arg(&self.rings)
            .args([&self.ring, &self.name])
            .arg(&self.journal)
            .stdin(Stdio::null())
            .spawn()
            .expect("fep-test-consumer can be executed");
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
        self.signal("-STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the consumer is our child and alive");
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
