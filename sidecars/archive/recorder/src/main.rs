//! The recorder's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fep_kit::Stop;
use fep_recorder::Config;
use fep_segments::roots;

const AFTER_HELP: &str = "\
It runs until SIGTERM or SIGINT, then commits what it has and seals its segments.
Exit codes: 0 stopped in order, 1 could not run (or nothing could be repaired), 2 wrong usage.";

const AFTER_REPAIR: &str = "\
A wrong octet in header or footer is put right; a footer that is worse off is made again from the blocks, up to the last
whole one. The file as it was stays beside, as ….original. The recorder may run meanwhile.";

/// fep-recorder, copies the rings of fepd to segment files
#[derive(Parser)]
#[command(name = "fep-recorder", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration, sections [archive] and [recorder] (see config/archive.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the rings, instead of archive.rings
    #[arg(long, value_name = "DIR")]
    rings: Option<PathBuf>,
    /// Directory of the segments, instead of archive.segments
    #[arg(long, value_name = "DIR")]
    segments: Option<PathBuf>,
    /// Only check the configuration and its places, as a start does
    #[arg(long)]
    check: bool,
}

/// What it does instead of recording.
#[derive(Subcommand)]
enum Command {
    /// Repair damaged segments
    #[command(after_help = AFTER_REPAIR)]
    Repair {
        /// Files that were put aside: ….seg.damaged, ….open.damaged; or sealed segments
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Make the key that signs days, if the file does not exist yet, and print its public key
    Key {
        /// File of the private key, as recorder.root_key
        file: PathBuf,
    },
}

/// Makes the key where there is none, and says what its public half is.
fn key(file: &Path) -> ExitCode {
    match roots::signing_key(file) {
        Ok(key) => {
            println!("{}", roots::hex(key.verifying_key().as_bytes()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fep-recorder: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Repairs each file; fails when one cannot be.
fn repair(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match fep_segments::repair(file) {
            Ok(repaired) => {
                let state = if repaired.is_exact {
                    "exactly as it was sealed".to_owned()
                } else if repaired.keeps_chain {
                    format!("its footer is the old one, and {} records are damaged", repaired.damaged_records)
                } else {
                    format!(
                        "its footer is made anew, so that the chain may break behind it; {} records are damaged",
                        repaired.damaged_records
                    )
                };
                println!("{}: {} records, {state}", repaired.path.display(), repaired.records);
                println!("  the damaged file is {} now", repaired.original.display());
            }
            Err(error) => {
                eprintln!("fep-recorder: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Repair { files }) => return repair(files),
        Some(Command::Key { file }) => return key(file),
        None => {}
    }
    let mut config = match arguments.config.as_deref().map(Config::load).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(errors) => {
            eprintln!("fep-recorder: the configuration is refused:\n{errors}");
            return ExitCode::FAILURE;
        }
    };
    config.places.rings = arguments.rings.unwrap_or(config.places.rings);
    config.places.segments = arguments.segments.unwrap_or(config.places.segments);
    let failed = |message: String| {
        eprintln!("fep-recorder: {message}");
        ExitCode::FAILURE
    };
    if let Err(error) = fep_kit::trace::start(&config.places.log) {
        return failed(format!("archive.log: {error}"));
    }
    if arguments.check {
        return match fep_recorder::check(&config) {
            Ok(notes) => {
                println!("the configuration is good: rings {}", config.recorder.record.join(", "));
                notes.iter().for_each(|note| println!("note: {note}"));
                ExitCode::SUCCESS
            }
            Err(error) => failed(error.to_string()),
        };
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
