//! A `fep-recorder` process of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use fep_bus::{MetricReader, MetricValue};

use crate::programs::{program, signal, wait_until};

/// A running recorder. Dropping it kills it.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    rings: PathBuf,
}

impl Recorder {
    /// Writes its configuration into `directory`: rings and segments as given, `keys` of section `[recorder]`.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn configure(directory: &Path, rings: &Path, segments: &Path, keys: &str) -> PathBuf {
        let text = format!(
            "[archive]\nrings = {rings:?}\nsegments = {segments:?}\nlog = \"warn\"\n\n\
             [recorder]\nrecord = [\"*.frames\"]\nscan_interval_ms = 20\nroot_key = {:?}\n{keys}",
            directory.join("root.key")
        );
        let path = directory.join("archive.toml");
        std::fs::write(&path, text).expect("the directory is writable");
        path
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn start(config: &Path, rings: &Path) -> Recorder {
        Recorder::start_by(Command::new(program("fep-recorder")), config, rings)
    }

    /// As [`Recorder::start`], by a command that executes its first argument.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn start_by(mut command: Command, config: &Path, rings: &Path) -> Recorder {
        let child = command
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .expect("fep-recorder can be executed");
        Recorder { child, rings: rings.to_owned() }
    }

    /// A figure of its metric page.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn figure(&self, name: &str) -> Result<u64, String> {
        let page =
            MetricReader::open(&self.rings.join("metrics/recorder")).map_err(|error| error.to_string())?;
        match page.value(name) {
            Some(MetricValue::Counter(value) | MetricValue::Gauge(value)) => Ok(value),
            _ => Err(format!("no figure {name}")),
        }
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it has ended by itself before.
    pub fn kill(mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the recorder ended by itself: {status}");
        }
        self.child.kill().expect("it is our child and alive");
        self.child.wait().expect("it is our child");
    }

    /// Stops it in its tracks (SIGSTOP): alive, but it takes nothing any more.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(mut self) -> ExitStatus {
        signal(&self.child, "TERM");
        wait_until("the recorder stops", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Fails only when it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
