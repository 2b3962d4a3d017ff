//! `fep-archive`: the archive service. See `docs/archive.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fep_archive::config::{Config, DEFAULT_TOML};
use fep_archive::process;
use fep_kit::{Document, Stop, trace};

/// Indexes what the recorder writes, and serves it: retrieval, exports, SQL, replay, gaps, keeping.
#[derive(Parser)]
#[command(name = "fep-archive", version)]
struct Arguments {
    /// Configuration of the archive's processes [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_ARCHIVE_CONFIG")]
    config: Option<PathBuf>,
    /// Put the archive together again from a backup, into the (empty) places of the configuration, and end
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    restore_from: Option<String>,
    /// Only say what is wrong with the configuration, if anything
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fep-archive: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), String> {
    let document = match &arguments.config {
        Some(path) => Document::read(path),
        None => Document::from_text("<archive.toml>", DEFAULT_TOML),
    };
    let document = document.map_err(|errors| errors.to_string())?;
    let mut config = Config::read(&document).map_err(|errors| errors.to_string())?;
    config.file.clone_from(&arguments.config);
    if arguments.check {
        println!("nothing wrong");
        return Ok(());
    }
    trace::start(&config.archive.log)?;
    let stop = Stop::on_signals().map_err(|error| format!("signals cannot be heard: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads cannot be had: {error}"))?;
    if let Some(from) = &arguments.restore_from {
        let mut told = 0;
        let restored = runtime.block_on(process::restore(&config, from, |report| {
            if report.objects >= told + 100 {
                told = report.objects;
                eprintln!("{} objects, {} octets", report.objects, report.octets);
            }
        }))?;
        println!(
            "restored {} objects, {} octets, {} rows of the catalogue; {} orders that were open are refused",
            restored.objects, restored.octets, restored.rows, restored.orders_refused
        );
        return Ok(());
    }
    let result = runtime.block_on(process::run(&document, config, &stop));
    // Retrievals whose client went away may still be reading: they are not waited for.
    runtime.shutdown_background();
    result
}
