//! `fepctl sim`: simulated stations on their own.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::cli::SimArgs;
use crate::failure::{Failure, output};
use crate::figures;
use crate::signals::Ending;
use crate::stations::{self, Stations};
use crate::terminal::{self, say};

/// Runs the command.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    let simulation = stations::select(stations::load(args.stations.as_deref())?, &args.names)?;
    let mut out = terminal::out(args.json);
    if args.list {
        let written = if args.json {
            serde_json::to_writer_pretty(&mut out, &simulation)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            simulation.station.iter().try_for_each(|station| {
                let rate = station.rate_bps.map_or_else(
                    || "as fast as it goes".to_owned(),
                    |rate| crate::figures::bit_rate(rate as f64),
                );
                writeln!(out, "{:<19} {rate:>18}  {}", station.name, transport(&station.transport))
            })
        };
        return written.map_err(output);
    }
    let ending = Ending::watch()?;
    let stations = Stations::start(&simulation);
    for refusal in &stations.refused {
        say!("fepctl: {refusal}");
    }
    if stations.count() == 0 {
        return Err(Failure::new("no station could be started"));
    }
    say!("{} on the air; Ctrl-C stops them", figures::counted(stations.count(), "station", "stations"));
    let started = Instant::now();
    let run_for = args.run_for.map(Duration::from_secs);
    let mut printed = Ok(());
    while !stations.all_ended() && run_for.is_none_or(|limit| started.elapsed() < limit) {
        let pause = Duration::from_millis(args.interval_ms);
        let left = run_for.map_or(pause, |limit| limit.saturating_sub(started.elapsed()));
        if !ending.sleep(pause.min(left)) {
            break;
        }
        // The last reports are printed when all have stopped, and only then.
        if stations.all_ended() || run_for.is_some_and(|limit| started.elapsed() >= limit) {
            break;
        }
        printed = print(&mut out, &stations.reports(), args.json);
        if printed.is_err() {
            break;
        }
    }
    let reports = stations.stop();
    printed.and_then(|()| print(&mut out, &reports, args.json)).map_err(output)?;
    let failed: Vec<&str> =
        reports.iter().filter(|report| report.error.is_some()).map(|report| report.name.as_str()).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("stations failed: {}", failed.join(", "))))
    }
}

fn print(out: &mut impl Write, reports: &[fep_sim::StationReport], json: bool) -> io::Result<()> {
    for report in reports {
        if json {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", stations::line(report))?;
        }
    }
    if !json {
        writeln!(out)?;
    }
    out.flush()
}

/// A transport as its configuration says it, on one line.
fn transport(spec: &impl serde::Serialize) -> String {
    match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(keys)) => keys
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| match value {
                serde_json::Value::String(text) => format!("{key} {text}"),
                other => format!("{key} {other}"),
            })
            .collect::<Vec<_>>()
            .join(", "),
        _ => String::new(),
    }
}
