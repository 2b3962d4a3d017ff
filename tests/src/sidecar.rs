//! A sidecar process of a test's own: started with a configuration, stopped, killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::programs::{program, signal, wait_until};

/// A sidecar that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Sidecar {
    name: &'static str,
    config: PathBuf,
    child: Option<Child>,
}

impl Sidecar {
    /// Starts `name --config config`.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn start(name: &'static str, config: &Path) -> Sidecar {
        let mut sidecar = Sidecar { name, config: config.to_owned(), child: None };
        sidecar.restart();
        sidecar
    }

    /// Starts it again.
    ///
    /// # Panics
    /// If it runs, or cannot be executed.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let child =
            Command::new(program(self.name)).arg("--config").arg(&self.config).stdin(Stdio::null()).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{} cannot be executed: {error}", self.name)));
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it has ended by itself before: then the test would prove nothing.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{} ended by itself: {status}", self.name);
        }
        child.kill().expect("it is our child and alive");
        child.wait().expect("it is our child");
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        signal(&child, "TERM");
        wait_until(&format!("{} stops", self.name), || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Fails only when it is dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
