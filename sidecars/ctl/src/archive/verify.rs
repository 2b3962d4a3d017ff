//! `fepctl archive verify`: an archive directory held against its own hashes, without service or catalogue.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use fep_segments::{SegmentReport, Stream, TreeReport, list, streams, verify_tree};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::VerifyArgs;
use super::print;
use crate::failure::Failure;
use crate::figures;

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let reported = |error: fep_segments::SegmentError| Failure::new(error.to_string());
    if !args.directory.is_dir() {
        return Err(Failure::new(format!("{} is no directory", args.directory.display()))
            .hint("the directory of the segments: `archive.segments` of the service's configuration"));
    }
    let key = args.public_key.as_deref().map(public_key).transpose()?;
    let mut count = 0;
    for stream in streams(&args.directory).map_err(reported)? {
        count += list(&args.directory, &stream).map_err(reported)?.len() as u64;
    }
    let bar = if io::stderr().is_terminal() { ProgressBar::new(count) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} segments {eta} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = verify_tree(&args.directory, key.as_ref(), |stream: &Stream, _: &SegmentReport| {
        bar.set_message(stream.to_string());
        bar.inc(1);
    })
    .map_err(reported)?;
    bar.finish_and_clear();
    print(args.json, &as_json(&report), |out| as_text(out, &report))?;
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::new("the archive is not what was recorded"))
}

fn public_key(file: &Path) -> Result<[u8; 32], Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let text = text.trim();
    let octets: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    octets
        .and_then(|octets| octets.try_into().ok())
        .ok_or_else(|| Failure::new(format!("{} holds no public key: 64 hexadecimal digits", file.display())))
}

fn as_json(report: &TreeReport) -> serde_json::Value {
    let segments: Vec<serde_json::Value> = report
        .streams
        .iter()
        .flat_map(|(stream, segments)| segments.iter().map(move |segment| (stream, segment)))
        .map(|(stream, segment)| {
            json!({
                "stream": stream.to_string(),
                "file": segment.path.display().to_string(),
                "records": segment.records,
                "octets": segment.octets,
                "lost_records": segment.lost_records,
                "sealed": segment.footer.is_some(),
                "findings": segment.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    let roots: Vec<serde_json::Value> = report
        .roots
        .iter()
        .map(|root| json!({"problems": root.problems.iter().map(ToString::to_string).collect::<Vec<_>>()}))
        .collect();
    json!({"sound": report.is_sound(), "segments": segments, "roots": roots})
}

fn as_text(out: &mut impl Write, report: &TreeReport) -> io::Result<()> {
    writeln!(
        out,
        "{:<32} {:>9} {:>14} {:>12} {:>10}  FINDINGS",
        "STREAM", "SEGMENTS", "RECORDS", "OCTETS", "LOST"
    )?;
    for (stream, segments) in &report.streams {
        let sum = |of: fn(&SegmentReport) -> u64| segments.iter().map(of).sum::<u64>();
        let findings: usize = segments.iter().map(|segment| segment.findings.len()).sum();
        writeln!(
            out,
            "{:<32} {:>9} {:>14} {:>12} {:>10}  {}",
            stream.to_string(),
            segments.len(),
            figures::grouped(sum(|segment| segment.records)),
            figures::octets(sum(|segment| segment.octets)),
            figures::grouped(sum(|segment| segment.lost_records)),
            if findings == 0 { "none".to_owned() } else { findings.to_string() }
        )?;
        for segment in segments.iter().filter(|segment| !segment.is_sound()) {
            for finding in &segment.findings {
                writeln!(out, "  {}: {finding}", segment.path.display())?;
            }
        }
    }
    for problem in report.roots.iter().flat_map(|root| &root.problems) {
        writeln!(out, "  daily root: {problem}")?;
    }
    writeln!(
        out,
        "{} signed days; {}",
        report.roots.len(),
        if report.is_sound() { "everything holds" } else { "NOT SOUND" }
    )
}
