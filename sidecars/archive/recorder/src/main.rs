//! The recorder's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use fep_kit::Document;
use fep_process::{Process, Service};
use fep_recorder::Config;
use fep_segments::roots;

const AFTER_REPAIR: &str = "\
A wrong octet in header or footer is put right; a footer that is worse off is made again from the blocks, up to the last
whole one. The file as it was stays beside, as ….original. The recorder may run meanwhile.";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Directory of the rings, instead of archive.rings
    #[arg(long, value_name = "DIR")]
    rings: Option<PathBuf>,
    /// Directory of the segments, instead of archive.segments
    #[arg(long, value_name = "DIR")]
    segments: Option<PathBuf>,
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
fn key(file: &Path) -> Result<(), String> {
    let key = roots::signing_key(file).map_err(|error| error.to_string())?;
    println!("{}", roots::hex(key.verifying_key().as_bytes()));
    Ok(())
}

/// What this process was asked to do.
enum Recorder {
    Record { config: Box<Config>, notes: Vec<String> },
    Repair(Vec<PathBuf>),
    Key(PathBuf),
}

impl Service for Recorder {
    const NAME: &'static str = "fep-recorder";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "fep-recorder, copies the rings of fepd to segment files";
    const DEFAULTS: &'static str = "";
    type Arguments = Arguments;

    fn prepare(document: &Document, arguments: Arguments) -> Result<Recorder, String> {
        match arguments.command {
            Some(Command::Repair { files }) => return Ok(Recorder::Repair(files)),
            Some(Command::Key { file }) => return Ok(Recorder::Key(file)),
            None => {}
        }
        let mut config = Config::of(document).map_err(|errors| errors.to_string())?;
        config.places.rings = arguments.rings.unwrap_or(config.places.rings);
        config.places.segments = arguments.segments.unwrap_or(config.places.segments);
        let mut notes = vec![format!("rings recorded: {}", config.recorder.record.join(", "))];
        let found = fep_recorder::check(&config).map_err(|error| error.to_string())?;
        notes.extend(found.into_iter().map(|note| format!("note: {note}")));
        Ok(Recorder::Record { config: Box::new(config), notes })
    }

    fn log(&self) -> &str {
        match self {
            Recorder::Record { config, .. } => &config.places.log,
            Recorder::Repair(_) | Recorder::Key(_) => "warn",
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Recorder::Record { notes, .. } => notes.clone(),
            Recorder::Repair(_) | Recorder::Key(_) => Vec::new(),
        }
    }

    fn run(self, process: &Process) -> Result<(), String> {
        match self {
            Recorder::Record { config, .. } => {
                fep_recorder::run(*config, process).map_err(|error| error.to_string())
            }
            Recorder::Repair(files) => repair(&files),
            Recorder::Key(file) => key(&file),
        }
    }
}

/// Repairs each file; fails when one cannot be.
fn repair(files: &[PathBuf]) -> Result<(), String> {
    let mut problems = Vec::new();
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
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn main() -> ExitCode {
    fep_process::main::<Recorder>()
}
