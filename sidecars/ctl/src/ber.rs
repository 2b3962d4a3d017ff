//! `fepctl ber`: error rates of any code over Eb/N0, by seeded Monte Carlo, as a table, CSV, JSON and a plot.
//!
//! The result follows from the arguments alone, whatever the number of threads: frames are simulated in numbered parts,
//! each from a random stream of its own, and parts count in the order of their numbers until a point has enough.
//! Synchronisation is taken for granted: what is measured is the code and its decoder.

mod curve;
mod plot;
mod trial;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::str::FromStr;

use fep_coding::CodeSpec;
use fep_coding::soft::{SoftFormat, SymbolBits};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::BerArgs;
use crate::failure::{Failure, output};
use crate::keys;
use crate::{output_file, signals, terminal};
use curve::{Curve, Plan};

/// Eb/N0 values in dB: `FROM:TO:STEP`, or one value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EbN0Range(Vec<f64>);

/// More points than anybody waits for.
const POINTS_MAX: usize = 200;

impl FromStr for EbN0Range {
    type Err = String;

    fn from_str(text: &str) -> Result<EbN0Range, String> {
        let parts: Result<Vec<f64>, _> = text.split(':').map(str::parse::<f64>).collect();
        let finite = parts.ok().filter(|parts| parts.iter().all(|db| db.abs() <= 60.0));
        match finite.as_deref() {
            Some([db]) => Ok(EbN0Range(vec![*db])),
            Some([from, to, step]) if *step > 0.0 && from <= to => {
                let count = ((to - from) / step + 1e-9).floor() as usize + 1;
                if count > POINTS_MAX {
                    return Err(format!("{count} points; at most {POINTS_MAX}"));
                }
                Ok(EbN0Range((0..count).map(|i| from + i as f64 * step).collect()))
            }
            _ => Err("one value in dB, or FROM:TO:STEP with FROM <= TO and STEP > 0".to_owned()),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &BerArgs) -> Result<(), Failure> {
    let code =
        keys::code(&args.code).map_err(|why| Failure::usage(format!("--code {}: {why}", args.code)))?;
    let format = match &args.symbols {
        Some(text) => keys::format(text).map_err(|why| Failure::usage(format!("--symbols {text}: {why}")))?,
        None => SoftFormat::new(SymbolBits::Eight),
    };
    let reference = args.reference.as_deref().map(read_reference).transpose()?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let plan = Plan {
        code: sliced_as_blocks(code),
        format,
        seed: args.seed,
        errors_min: args.errors,
        frames_max: args.frames,
    };
    let bar = progress_bar(args.eb_n0.0.len());
    let curve = Curve::measure(&plan, &args.eb_n0.0, threads, &mut |point, points, tally| {
        bar.set_position((point * 100) as u64 + plan.percent(tally));
        bar.set_message(format!(
            "point {} of {points}  {} of {} frames wrong",
            point + 1,
            tally.frame_errors,
            tally.frames
        ));
    });
    bar.finish_and_clear();
    let curve = curve.map_err(|error| Failure::usage(error.to_string()))?;
    signals::end_at_once()?;
    if let Some(path) = &args.svg {
        output_file::write(path, plot::svg(&args.code, &curve, reference.as_deref()).as_bytes())?;
    }
    if let Some(path) = &args.csv {
        output_file::write(path, curve.csv().as_bytes())?;
    }
    let mut out = terminal::out(args.json);
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &curve).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        curve.write_text(&mut out)
    };
    written.and_then(|()| out.flush()).map_err(output)
}

/// Slices are codewords like any other: the stream around them changes nothing in how they decode.
fn sliced_as_blocks(code: CodeSpec) -> CodeSpec {
    code.slicing().map_or(code, |slicing| slicing.codeword)
}

/// Lines of Eb/N0 in dB and a rate, separated by a comma; lines of words are passed over.
fn read_reference(path: &Path) -> Result<Vec<(f64, f64)>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut points = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '#') {
            continue;
        }
        let mut columns = line.split(',').map(|column| column.trim().parse::<f64>());
        match (columns.next(), columns.next()) {
            (Some(Ok(db)), Some(Ok(rate))) => points.push((db, rate)),
            _ => {
                return Err(Failure::new(format!(
                    "{} line {}: expected `Eb/N0 in dB, rate`",
                    path.display(),
                    number + 1
                )));
            }
        }
    }
    Ok(points)
}

fn progress_bar(points: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar:.cyan/black} {percent:>3} %  {msg}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(100 * points as u64).with_style(style.progress_chars("━━╌"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        assert_eq!("1:2:0.5".parse(), Ok(EbN0Range(vec![1.0, 1.5, 2.0])));
        assert_eq!("-0.3".parse(), Ok(EbN0Range(vec![-0.3])));
        for wrong in ["", "1:2", "2:1:1", "0:1:0", "0:1:-1", "nan", "0:100:0.1", "0:1e9:1"] {
            assert!(wrong.parse::<EbN0Range>().is_err(), "{wrong}");
        }
    }
}
