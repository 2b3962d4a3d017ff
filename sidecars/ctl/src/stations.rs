//! Simulated stations: read from a file or built in, started as threads of this process, stopped together.

use std::path::Path;

use fep_config::{ConfigErrors, Document};
use fep_sim::{DEFAULT_SIMULATION, Simulation};
use fep_sim::{Station, StationReport, StationState};

use crate::failure::Failure;
use crate::figures;

/// What messages call the built-in stations.
const BUILT_IN: &str = "<simulation.toml>";

/// The stations of a file, or the built-in ones.
pub(crate) fn load(file: Option<&Path>) -> Result<Simulation, Failure> {
    read(file).map_err(|errors| Failure::new(errors.to_string()))
}

/// As [`load`], with the mistakes as a list.
pub(crate) fn read(file: Option<&Path>) -> Result<Simulation, ConfigErrors> {
    let document = match file {
        // As every configuration: a regular file of bounded size, never waited for.
        Some(path) => Document::read(path)?,
        None => Document::from_text(BUILT_IN, DEFAULT_SIMULATION)?,
    };
    let simulation: Simulation = document.whole()?;
    let mut sensible = Ok(());
    for (station, problem) in simulation.problems() {
        let key = station.map_or_else(|| "station".to_owned(), |index| format!("station[{index}]"));
        let mistake = Err::<(), _>(document.mistake(&key, &problem, ""));
        sensible = ConfigErrors::both(sensible, mistake).map(drop);
    }
    sensible.map(|()| match file {
        Some(path) => simulation.beside(path),
        None => simulation,
    })
}

/// Keeps only the named stations; a name that does not exist is an error.
pub(crate) fn select(mut simulation: Simulation, names: &[String]) -> Result<Simulation, Failure> {
    if names.is_empty() {
        return Ok(simulation);
    }
    for name in names {
        if !simulation.station.iter().any(|station| station.name == *name) {
            let known: Vec<&str> = simulation.station.iter().map(|station| station.name.as_str()).collect();
            return Err(Failure::usage(format!("no station is called {name:?}"))
                .hint(format!("stations: {}", known.join(", "))));
        }
    }
    simulation.station.retain(|station| names.contains(&station.name));
    Ok(simulation)
}

/// Running stations and those that could not start.
pub(crate) struct Stations {
    running: Vec<Station>,
    /// One sentence for each that did not start.
    pub(crate) refused: Vec<String>,
}

impl Stations {
    /// Starts all; one that cannot start does not keep the others back.
    pub(crate) fn start(simulation: &Simulation) -> Stations {
        let (running, failed) = simulation.start();
        Stations { running, refused: failed.iter().map(ToString::to_string).collect() }
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn reports(&self) -> Vec<StationReport> {
        self.running.iter().map(Station::report).collect()
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.running.iter().all(Station::is_ended)
    }

    /// Asks all to stop, then waits for each.
    pub(crate) fn stop(self) -> Vec<StationReport> {
        self.running.iter().for_each(Station::stop);
        self.running.into_iter().map(|station| station.join().0).collect()
    }
}

/// A report in one line.
pub(crate) fn line(report: &StationReport) -> String {
    let state = match report.state {
        StationState::Waiting => "waiting for a receiver",
        StationState::Sending => "sending",
        StationState::Pausing => "between two passes",
        StationState::Ended => "ended",
        StationState::Failed => "FAILED",
    };
    let mut text = format!(
        "{:<19} {state:<22} {:>6} CADUs {:>9}  connections {}",
        report.name,
        figures::count(report.cadus_sent),
        figures::octets(report.octets_sent),
        report.connections
    );
    for (what, amount) in [
        ("passes", report.passes),
        ("cut", report.cadus_cut),
        ("unheard", report.cadus_unheard),
        ("stalls", report.stalls),
    ] {
        if amount > 0 {
            text.push_str(&format!("  {what} {}", figures::count(amount)));
        }
    }
    if let Some(error) = &report.error {
        text.push_str(&format!("  ({error})"));
    }
    text
}
