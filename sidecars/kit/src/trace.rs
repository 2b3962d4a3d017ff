//! Log lines on standard error, one form for all sidecars.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging. `least` is what to log: `error`, `warn`, `info`, `debug`, `trace`, or a filter for parts of the
/// program (`info,fep_archive=debug`). The environment variable `FEP_LOG` comes first.
///
/// # Errors
/// When `least` or the variable is no such filter; the text says which. Called a second time it changes nothing.
pub fn start(least: &str) -> Result<(), String> {
    let told = std::env::var("FEP_LOG");
    let filter = filter(told.as_deref().unwrap_or(least))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    Ok(())
}

/// Whether [`start`] takes `least`, for whoever checks a configuration without starting.
///
/// # Errors
/// When it is no filter.
pub fn check(least: &str) -> Result<(), String> {
    filter(least).map(drop)
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    text.parse().map_err(|error: ParseError| {
        format!("{text:?} is not a log filter ({error}): allowed are error, warn, info, debug, trace")
    })
}
