//! The daemon's command line.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use fepd::ConfigSource;

const USAGE: &str = "\
fepd, the front-end processor daemon

Usage: fepd [--config FILE] [--run-dir DIR] [--check]

  --config FILE   configuration laid over the built-in one (see config/default.toml)
  --run-dir DIR   directory of everything shared with other processes, instead of daemon.run_dir
  --check         only checks the configuration
  --version       prints the version
  --help          prints this

It runs until SIGTERM, SIGINT or `fepctl` stops it; SIGHUP reads the configuration again.
Exit codes: 0 stopped in order, 1 could not run, 2 wrong usage.";

struct Arguments {
    source: ConfigSource,
    check: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fepd: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let config = match arguments.source.load() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("fepd: the configuration is refused:\n{errors}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.check {
        println!(
            "the configuration is good: {} links, {} missions",
            config.links.len(),
            config.missions.len()
        );
        return ExitCode::SUCCESS;
    }
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("FEP_LOG")
        .try_from_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(&config.daemon.log));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match fepd::daemon::run(arguments.source, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fepd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments { source: ConfigSource::default(), check: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut path = |name: &str| arguments.next().map(PathBuf::from).ok_or(format!("{name} needs a path"));
        match argument.to_str() {
            Some("--config") => parsed.source.file = Some(path("--config")?),
            Some("--run-dir") => parsed.source.run_dir = Some(path("--run-dir")?),
            Some("--check") => parsed.check = true,
            Some("--version" | "-V") => {
                println!("fepd {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Some("--help" | "-h") => {
                println!("{USAGE}");
                return Ok(None);
            }
            _ => return Err(format!("{argument:?} is no argument")),
        }
    }
    Ok(Some(parsed))
}
