//! The recorder's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use fep_kit::Stop;
use fep_recorder::Config;

const USAGE: &str = "\
fep-recorder, copies the rings of fepd to segment files

Usage: fep-recorder [--config FILE] [--rings DIR] [--segments DIR] [--check]

  --config FILE    configuration, sections [archive] and [recorder] (see config/archive.toml)
  --rings DIR      directory of the rings, instead of archive.rings
  --segments DIR   directory of the segments, instead of archive.segments
  --check          only checks the configuration
  --version        prints the version
  --help           prints this

It runs until SIGTERM or SIGINT, then commits what it has and seals its segments.
Exit codes: 0 stopped in order, 1 could not run, 2 wrong usage.";

#[derive(Default)]
struct Arguments {
    config: Option<PathBuf>,
    rings: Option<PathBuf>,
    segments: Option<PathBuf>,
    check: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fep-recorder: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut config = match arguments.config.as_deref().map(Config::load).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(errors) => {
            eprintln!("fep-recorder: the configuration is refused:\n{errors}");
            return ExitCode::FAILURE;
        }
    };
    config.places.rings = arguments.rings.unwrap_or(config.places.rings);
    config.places.segments = arguments.segments.unwrap_or(config.places.segments);
    if arguments.check {
        println!("the configuration is good: rings {}", config.recorder.record.join(", "));
        return ExitCode::SUCCESS;
    }
    let failed = |message: String| {
        eprintln!("fep-recorder: {message}");
        ExitCode::FAILURE
    };
    if let Err(error) = fep_kit::trace::start(&config.places.log) {
        return failed(error);
    }
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => return failed(format!("no signals can be heard: {error}")),
    };
    match fep_recorder::run(config, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.to_string()),
    }
}

fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut path = |name: &str| arguments.next().map(PathBuf::from).ok_or(format!("{name} needs a path"));
        match argument.to_str() {
            Some("--config") => parsed.config = Some(path("--config")?),
            Some("--rings") => parsed.rings = Some(path("--rings")?),
            Some("--segments") => parsed.segments = Some(path("--segments")?),
            Some("--check") => parsed.check = true,
            Some("--version" | "-V") => {
                println!("fep-recorder {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Some("--help" | "-h") => {
                println!("{USAGE}");
                return Ok(None);
            }
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    Ok(Some(parsed))
}
