//! A `fep-archive` process of a test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;

use crate::control::get;
use crate::programs::{program, wait_until};
use crate::sidecar::Sidecar;

/// A running archive service with catalogue and index of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    process: Sidecar,
}

impl Archive {
    /// Starts it over these segments and rings; what it makes lies in `directory`. `more` is added to section `[http]`.
    ///
    /// # Panics
    /// If it cannot be executed.
    #[must_use]
    pub fn start(directory: PathBuf, segments: &Path, rings: &Path, more: &str) -> Archive {
        std::fs::create_dir_all(&directory).expect("a directory of ours");
        let text = format!(
            "[archive]\nsegments = {segments:?}\nrings = {rings:?}\nlog = \"warn\"\n\
             database = \"sqlite://{0}/catalogue.sqlite3\"\naudit_key = \"{0}/audit.key\"\n\
             [store]\nurl = \"file://{0}/store\"\n[retention]\nremoval_key = \"{0}/keys/removals.key\"\n[http]\nlisten = [\"unix:{0}/sock\"]\n{more}",
            directory.display(),
        );
        let config = directory.join("archive.toml");
        std::fs::write(&config, text).expect("the directory is writable");
        Archive { directory, process: Sidecar::start("fep-archive", &config) }
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it has ended by itself before.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again.
    ///
    /// # Panics
    /// If it runs, or cannot be executed.
    pub fn restart(&mut self) {
        self.process.restart();
    }

    /// Asks it to stop and waits.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }

    /// Its JSON answer.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn ask(&self, path: &str) -> Result<Value, String> {
        let body = get(&self.directory.join("sock"), path)?;
        serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))
    }

    /// Waits until it has taken in so many segments, and there is nothing beside them.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn has_taken_in(&self, segments: usize) {
        wait_until("every segment is taken in", || {
            let status = self.ask("/v1/status")?;
            let (taken, tail) = (&status["totals"]["segments"], &status["tail_rows"]);
            if *taken == segments && *tail == 0 {
                Ok(())
            } else {
                Err(format!("{taken} of {segments}, {tail}"))
            }
        });
    }

    /// The file of a retrieval with these options; `fepctl` holds it against its manifest.
    ///
    /// # Errors
    /// What `fepctl` says.
    ///
    /// # Panics
    /// If `fepctl` cannot be executed.
    pub fn try_retrieve(&self, unit: &str, format: &str, options: &[&str]) -> Result<Vec<u8>, String> {
        let out = self.directory.join(format!("{unit}.{format}"));
        let address = format!("unix:{}/sock", self.directory.display());
        let done = Command::new(program("fepctl"))
            .args(["archive", "get", unit, "--archive", &address, "--format", format, "--force", "--out"])
            .arg(&out)
            .args(options)
            .output()
            .expect("fepctl can be executed");
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        Ok(std::fs::read(&out).expect("it was written"))
    }

    /// As [`Archive::try_retrieve`].
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn retrieve(&self, unit: &str, format: &str, options: &[&str]) -> Vec<u8> {
        self.try_retrieve(unit, format, options).unwrap_or_else(|refused| panic!("{options:?}: {refused}"))
    }

    /// Files of the index, by their names in the store.
    ///
    /// # Panics
    /// Never: what cannot be read is being made.
    #[must_use]
    pub fn index(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (root, mut files) = (self.directory.join("store"), BTreeMap::new());
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    let name = path.strip_prefix(&root).expect("below it").to_owned();
                    // What is being made has another name until it is whole.
                    files.insert(name, std::fs::read(&path).unwrap_or_default());
                }
            }
        }
        files
    }
}
