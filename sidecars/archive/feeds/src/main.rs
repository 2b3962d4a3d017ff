//! `fep-feeds`: frames and packets to other systems. See `docs/feeds.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fep_feeds::FeedsConfig;
use fep_kit::{Document, Stop, trace};

/// Gives frames and packets to other systems, each client with its own filter and its own lossless cursor.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration of the archive's processes; this one reads [archive], [feeding], [feeds.NAME] and [users].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only says what is wrong with the configuration, if anything.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fep-feeds: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), String> {
    let document = Document::read(&arguments.config).map_err(|errors| errors.to_string())?;
    let config = FeedsConfig::read(&document).map_err(|errors| errors.to_string())?;
    if arguments.check {
        println!("{}: {} feeds, nothing wrong", arguments.config.display(), config.feeds.len());
        return Ok(());
    }
    trace::start(&config.archive.log)?;
    let stop = Stop::on_signals().map_err(|error| format!("signals cannot be heard: {error}"))?;
    fep_feeds::run(&document, &stop)
}
