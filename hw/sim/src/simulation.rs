//! A set of stations from one TOML file: what `fepctl up` and `fepctl sim` start.
//!
//! Reading a file says everything that is wrong with it at once. Whether a recording is on this machine is found out only
//! when its station starts, so that the others can play without it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::line::TransportSpec;
use crate::station::{Station, StationError, StationSpec};

/// The stations started when no file is named: five real satellites and the synthetic mission `cso`.
pub const DEFAULT_SIMULATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/simulation.toml"));

/// Stations that play together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// The stations, in the order of the file.
    pub station: Vec<StationSpec>,
}

/// Why a file of stations cannot be used.
#[derive(Debug, Error)]
pub enum SimulationError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not TOML, or a key is unknown, missing or of the wrong type.
    #[error("{name}: {message}")]
    Syntax {
        /// Where the text comes from.
        name: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// Keys that make no sense, all of them.
    #[error("{name}: {}", problems.join("; "))]
    Senseless {
        /// Where the text comes from.
        name: String,
        /// One sentence each.
        problems: Vec<String>,
    },
}

impl Simulation {
    /// Reads the stations of a file; paths in it are relative to it.
    ///
    /// # Errors
    /// [`SimulationError`] says what, where, and what to do.
    pub fn read(path: &Path) -> Result<Simulation, SimulationError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SimulationError::Read { path: path.to_owned(), source })?;
        Ok(Simulation::parse(&text, &path.display().to_string())?.beside(path))
    }

    /// Reads the stations of a text; `name` says in messages where it comes from.
    ///
    /// # Errors
    /// As [`Simulation::read`].
    pub fn parse(text: &str, name: &str) -> Result<Simulation, SimulationError> {
        let simulation: Simulation = toml::from_str(text)
            .map_err(|error| SimulationError::Syntax { name: name.to_owned(), message: error.to_string() })?;
        let problems: Vec<String> = simulation.problems().into_iter().map(|(_, problem)| problem).collect();
        if problems.is_empty() {
            Ok(simulation)
        } else {
            Err(SimulationError::Senseless { name: name.to_owned(), problems })
        }
    }

    /// The same with the paths of its transports relative to the directory of `file`, as in every configuration.
    #[must_use]
    pub fn beside(mut self, file: &Path) -> Simulation {
        let directory = file.parent().unwrap_or(Path::new(""));
        for station in &mut self.station {
            if let TransportSpec::File { path } = &mut station.transport {
                *path = directory.join(&*path);
            }
        }
        self
    }

    /// Starts every station; those that cannot start are reported and do not keep the others back.
    #[must_use]
    pub fn start(&self) -> (Vec<Station>, Vec<StationError>) {
        let mut running = Vec::new();
        let mut failed = Vec::new();
        for spec in &self.station {
            match Station::start(spec) {
                Ok(station) => running.push(station),
                Err(error) => failed.push(error),
            }
        }
        (running, failed)
    }

    /// Everything that makes no sense, one sentence each, with the index of the station it concerns.
    #[must_use]
    pub fn problems(&self) -> Vec<(Option<usize>, String)> {
        let mut problems = Vec::new();
        if self.station.is_empty() {
            problems.push((None, "no [[station]] is described".to_owned()));
        }
        for (index, spec) in self.station.iter().enumerate() {
            let before = &self.station[..index];
            let mut problem = |text: String| problems.push((Some(index), text));
            if before.iter().any(|other| other.name == spec.name) {
                problem(format!("two stations are called {:?}: give one another name", spec.name));
            }
            if let TransportSpec::TcpServer { bind } = spec.transport
                && bind.port() != 0
                && let Some(other) = before.iter().find(|other| other.transport == spec.transport)
            {
                problem(format!(
                    "stations {:?} and {:?} both listen on {bind}: give one another port",
                    other.name, spec.name
                ));
            }
            match spec.validate() {
                Ok(()) => {}
                Err(StationError::Source { source: crate::SourceError::Capture(missing), .. })
                    if !matches!(missing, crate::captures::CaptureError::Unknown { .. }) => {}
                Err(error) => problem(error.to_string()),
            }
        }
        problems
    }
}
