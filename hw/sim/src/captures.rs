//! The seven recordings of real satellites shipped inside the `ccsds` package, and where to find them.
//!
//! They are too large to be tracked here and are already on every machine that has built the benchmarks. They are looked
//! for in this order: the directory named by the environment variable `FEP_CAPTURES`; the package's sources as
//! `cargo metadata` tells them (run in the current directory, then in the executable's); the `registry/src` folders of
//! the cargo home. This module knows file names and the few facts needed to cut a recording into CADUs; how it is
//! decoded is the mission's configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// Environment variable naming a directory that holds the recordings.
pub const CAPTURES_VARIABLE: &str = "FEP_CAPTURES";

/// The version of the `ccsds` package whose fixtures are meant.
const PACKAGE_VERSION: &str = "0.1.0-beta.25";

/// One recording: AOS, marker 1ACFFC1D at an arbitrary bit offset, legacy randomiser, Reed-Solomon (255,223).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureFacts {
    /// Short name of the satellite, as the missions' configuration files use it.
    pub mission: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Octets from one marker to the next, marker included.
    pub cadu_len: usize,
    /// Reed-Solomon codewords in one codeblock.
    pub interleave: u8,
}

/// Every recording of the package.
pub const CATALOGUE: [CaptureFacts; 7] = [
    facts("npp", "npp.20241206T173815.dat", 4),
    facts("noaa20", "noaa20.20241206T162710.dat", 4),
    facts("noaa21", "noaa21.20241206T171609.dat", 5),
    facts("aqua", "aqua.20241206T175646.dat", 4),
    facts("metopb", "metopb.20241206T152751.dat", 4),
    facts("metopc", "metopc.20241206T162917.dat", 4),
    facts("gcomw1", "gcomw1.20241206T165853.dat", 4),
];

const fn facts(mission: &'static str, file: &'static str, interleave: u8) -> CaptureFacts {
    CaptureFacts { mission, file, cadu_len: 4 + 255 * interleave as usize, interleave }
}

/// A recording found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// What is known about it.
    pub facts: CaptureFacts,
    /// Where it lies.
    pub path: PathBuf,
}

/// Why no recording can be played.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// `FEP_CAPTURES` is set, and what it names holds no recording.
    #[error(
        "{variable} names {directory:?}, which does not hold {wanted}: point it at the folder of the *.dat captures, \
         or unset it",
        variable = CAPTURES_VARIABLE
    )]
    Variable {
        /// The variable's value.
        directory: PathBuf,
        /// The file that was looked for.
        wanted: String,
    },
    /// Nothing was found anywhere.
    #[error(
        "the captures of real satellites (package ccsds {PACKAGE_VERSION}, tests/fixtures/cadu) are not on this machine: \
         run `cargo fetch` in the sources of this project, or set {variable} to a folder that holds {wanted}",
        variable = CAPTURES_VARIABLE
    )]
    Absent {
        /// The file that was looked for.
        wanted: String,
    },
    /// No recording has this name.
    #[error("no capture is called {name:?}: known are {}", known_names())]
    Unknown {
        /// The name asked for.
        name: String,
    },
}

fn known_names() -> String {
    CATALOGUE.map(|facts| format!("{} ({})", facts.mission, facts.file)).join(", ")
}

/// Every recording of the catalogue that is on this machine, in the catalogue's order.
///
/// # Errors
/// [`CaptureError`] when the folder that holds them cannot be found; its text says what to do.
pub fn find() -> Result<Vec<Capture>, CaptureError> {
    let directory = directory("the *.dat captures")?;
    Ok(CATALOGUE.iter().filter_map(|facts| in_directory(&directory, facts)).collect())
}

/// The recording called `name`: a mission (`npp`) or a file name (`npp.20241206T173815.dat`).
///
/// # Errors
/// [`CaptureError`] when there is no such recording or it is not on this machine.
pub fn find_one(name: &str) -> Result<Capture, CaptureError> {
    let facts = lookup(name).ok_or_else(|| CaptureError::Unknown { name: name.to_owned() })?;
    let directory = directory(facts.file)?;
    in_directory(&directory, &facts).ok_or_else(|| CaptureError::Absent { wanted: facts.file.to_owned() })
}

/// The catalogue's entry of a mission or file name.
#[must_use]
pub fn lookup(name: &str) -> Option<CaptureFacts> {
    CATALOGUE.into_iter().find(|facts| facts.mission == name || facts.file == name)
}

fn in_directory(directory: &Path, facts: &CaptureFacts) -> Option<Capture> {
    let path = directory.join(facts.file);
    path.is_file().then_some(Capture { facts: *facts, path })
}

fn directory(wanted: &str) -> Result<PathBuf, CaptureError> {
    let holds_captures =
        |directory: &PathBuf| CATALOGUE.iter().any(|facts| directory.join(facts.file).is_file());
    if let Some(value) = std::env::var_os(CAPTURES_VARIABLE) {
        let directory = PathBuf::from(value);
        // Whoever sets the variable means it: looking elsewhere would play data that was not asked for.
        return if holds_captures(&directory) {
            Ok(directory)
        } else {
            Err(CaptureError::Variable { directory, wanted: wanted.to_owned() })
        };
    }
    let workspaces = [
        std::env::current_dir().ok(),
        std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)),
    ];
    let by_metadata = workspaces.into_iter().flatten().filter_map(|start| from_cargo_metadata(&start));
    by_metadata
        .chain(from_registry_sources())
        .find(holds_captures)
        .ok_or_else(|| CaptureError::Absent { wanted: wanted.to_owned() })
}

/// The fixtures' folder as cargo tells it for the workspace that contains `start`.
fn from_cargo_metadata(start: &Path) -> Option<PathBuf> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(start)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let manifest = metadata["packages"]
        .as_array()?
        .iter()
        .find(|package| package["name"] == "ccsds" && package["version"] == PACKAGE_VERSION)?["manifest_path"]
        .as_str()?;
    Some(fixtures_of(Path::new(manifest).parent()?))
}

/// The fixtures' folders that may lie in the registry sources of the cargo home.
fn from_registry_sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let Some(sources) = home.map(|home| home.join("registry").join("src")) else { return Vec::new() };
    let Ok(registries) = std::fs::read_dir(sources) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = registries
        .flatten()
        .map(|registry| fixtures_of(&registry.path().join(format!("ccsds-{PACKAGE_VERSION}"))))
        .collect();
    folders.sort();
    folders
}

fn fixtures_of(package: &Path) -> PathBuf {
    package.join("tests").join("fixtures").join("cadu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capture_is_named_by_mission_and_by_file() {
        for facts in CATALOGUE {
            assert_eq!(lookup(facts.mission), Some(facts));
            assert_eq!(lookup(facts.file), Some(facts));
            assert!(facts.file.starts_with(facts.mission));
        }
        assert!(matches!(find_one("voyager"), Err(CaptureError::Unknown { .. })));
    }

    #[test]
    // REQ: FEP-SIM-001
    fn the_captures_of_the_package_are_found_and_are_one_mebibyte_each() {
        let captures = find().expect("cargo knows the ccsds package that the benchmarks depend on");
        assert_eq!(captures.len(), CATALOGUE.len());
        for capture in captures {
            let len = std::fs::metadata(&capture.path).expect("it was just found").len();
            assert_eq!(len, 1 << 20, "{}", capture.facts.file);
        }
    }
}
