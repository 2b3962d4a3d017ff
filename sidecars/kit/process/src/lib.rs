//! One way to start a service, so that a `main` is three lines:
//!
//! ```no_run
//! # use fep_kit::Document;
//! # use fep_process::{NoArguments, Process, Service};
//! # struct Planner;
//! # impl Service for Planner {
//! #     const NAME: &'static str = "fep-planner";
//! #     const VERSION: &'static str = "0.1.0";
//! #     const ABOUT: &'static str = "Plans passes";
//! #     const DEFAULTS: &'static str = "";
//! #     type Arguments = NoArguments;
//! #     fn prepare(_: &Document, _: NoArguments) -> Result<Planner, String> { Ok(Planner) }
//! #     fn run(self, _: &Process) -> Result<(), String> { Ok(()) }
//! # }
//! fn main() -> std::process::ExitCode {
//!     fep_process::main::<Planner>()
//! }
//! ```
//!
//! Every service has `--config FILE`, `--check`, `--version` and `--help`, and what it adds. [`Service::prepare`] is all that
//! can be said before anything is touched; `--check` is exactly that, so that a configuration that is called good is one that
//! the start takes. The exit code is 0 after an orderly stop, 1 when the service could not run or go on, 2 for a wrong command
//! line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};
use fep_kit::{Document, Stop};

pub use fep_notify::{Notify, Watchdog};

const AFTER_HELP: &str = "\
It runs until SIGTERM or SIGINT. FEP_LOG sets what is logged, before the configuration.
Exit codes: 0 stopped in order, 1 could not run or go on, 2 wrong usage.";

/// A service that is a process of its own.
pub trait Service: Sized {
    /// Name of the program.
    const NAME: &'static str;
    /// Its version: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// What it does, in one line.
    const ABOUT: &'static str;
    /// The configuration that it has without `--config`, as TOML.
    const DEFAULTS: &'static str;
    /// What its command line has beside the usual; [`NoArguments`] when nothing.
    type Arguments: Args;
    /// Environment variable that names the configuration where `--config` does not.
    const CONFIG_VARIABLE: Option<&'static str> = None;

    /// Reads the configuration, and refuses everything that can be known to be wrong without touching anything.
    ///
    /// # Errors
    /// What is wrong, for an operator.
    fn prepare(document: &Document, arguments: Self::Arguments) -> Result<Self, String>;

    /// Learns which file its configuration was read from, where it was a file: for backups of it.
    fn read_from(&mut self, file: &Path) {
        let _ = file;
    }

    /// What is logged: a level or a filter.
    fn log(&self) -> &str {
        "info"
    }

    /// What `--check` says below "the configuration is good": what is worth knowing all the same, one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Does its work until `process.stop` says so. It calls [`Notify::ready`] once it can be used.
    ///
    /// # Errors
    /// Why it could not run, or cannot go on.
    fn run(self, process: &Process) -> Result<(), String>;
}

/// What a service has of its process.
#[derive(Debug, Clone)]
pub struct Process {
    /// When to stop: SIGTERM, SIGINT, or the service itself.
    pub stop: Stop,
    /// The supervisor, which learns how the service is.
    pub notify: Notify,
}

/// A service adds nothing to the usual command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct NoArguments {}

#[derive(Parser)]
struct CommandLine<A: Args> {
    /// Configuration [default: built in]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say what is wrong with the configuration, if anything, and end
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    own: A,
}

/// The whole `main` of a service.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    let command = CommandLine::<S::Arguments>::command()
        .name(S::NAME)
        .version(S::VERSION)
        .about(S::ABOUT)
        .after_help(AFTER_HELP);
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        // --help and --version come this way as well, and are no mistakes.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match start::<S>(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{}: {problem}", S::NAME);
            ExitCode::FAILURE
        }
    }
}

fn start<S: Service>(matches: &ArgMatches) -> Result<(), String> {
    let arguments =
        CommandLine::<S::Arguments>::from_arg_matches(matches).map_err(|error| error.to_string())?;
    let named = || S::CONFIG_VARIABLE.and_then(std::env::var_os).filter(|file| !file.is_empty());
    let file = arguments.config.or_else(|| named().map(PathBuf::from));
    let document = match &file {
        Some(path) => Document::read(path),
        None => Document::from_text(format!("<{}>", S::NAME), S::DEFAULTS),
    };
    let refused = |problem: String| format!("the configuration is refused:\n{problem}");
    let document = document.map_err(|errors| refused(errors.to_string()))?;
    let mut service = S::prepare(&document, arguments.own).map_err(refused)?;
    if let Some(file) = &file {
        service.read_from(file);
    }
    // Before the check ends: a filter that the start refuses is refused by the check as well.
    fep_kit::trace::start(service.log()).map_err(|problem| refused(format!("log: {problem}")))?;
    if arguments.check {
        println!("the configuration is good");
        service.notes().iter().for_each(|note| println!("{note}"));
        return Ok(());
    }
    let stop = Stop::on_signals().map_err(|error| format!("no signals can be heard: {error}"))?;
    let notify = Notify::from_environment();
    tracing::info!("{} {} starts", S::NAME, S::VERSION);
    let process = Process { stop, notify };
    let result = service.run(&process);
    process.notify.stopping();
    if result.is_ok() {
        tracing::info!("{} has stopped", S::NAME);
    }
    result
}
