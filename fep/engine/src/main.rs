//! The daemon's command line.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fepd::ConfigSource;

const AFTER_HELP: &str = "\
It runs until SIGTERM, SIGINT or `fepctl` stops it; SIGHUP reads the configuration again.
Exit codes: 0 stopped in order, 1 could not run or go on, 2 wrong usage.";

/// fepd, the front-end processor daemon
#[derive(Parser)]
#[command(name = "fepd", version, after_help = AFTER_HELP)]
struct Arguments {
    /// Configuration laid over the built-in one (see config/default.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of everything shared with other processes, instead of daemon.run_dir
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let source = ConfigSource { file: arguments.config, run_dir: arguments.run_dir };
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("fepd: the configuration is refused:\n{errors}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.check {
        println!(
            "the configuration is good: {} links, {} merged spacecraft, {} missions",
            config.links.len(),
            config.spacecraft.len(),
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
    match fepd::daemon::run(source, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fepd: {error}");
            ExitCode::FAILURE
        }
    }
}
