//! The recorder's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fep_kit::Stop;
use fep_recorder::Config;

const AFTER_HELP: &str = "\
It runs until SIGTERM or SIGINT, then commits what it has and seals its segments.
Exit codes: 0 stopped in order, 1 could not run, 2 wrong usage.";

/// fep-recorder, copies the rings of fepd to segment files
#[derive(Parser)]
#[command(name = "fep-recorder", version, after_help = AFTER_HELP)]
struct Arguments {
    /// Configuration, sections [archive] and [recorder] (see config/archive.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the rings, instead of archive.rings
    #[arg(long, value_name = "DIR")]
    rings: Option<PathBuf>,
    /// Directory of the segments, instead of archive.segments
    #[arg(long, value_name = "DIR")]
    segments: Option<PathBuf>,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
