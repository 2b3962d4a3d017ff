//! `fepctl archive verify`: an archive directory held against its own hashes, without service or catalogue.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use fep_segments::{Expected, SegmentReport, Stream, TreeReport, list, roots, streams, verify_tree};
use fep_time::clock::unix_now_ns;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::VerifyArgs;
use crate::failure::Failure;
use crate::figures;
use crate::terminal::print;

const HINT: &str = "the directory of the segments: `archive.segments` of the service's configuration";

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let reported = |error: fep_segments::SegmentError| Failure::new(error.to_string());
    if !args.directory.is_dir() {
        return Err(Failure::new(format!("{} is no directory", args.directory.display())).hint(HINT));
    }
    let key = |file: &Option<PathBuf>| file.as_deref().map(roots::public_key).transpose().map_err(reported);
    let expected = Expected {
        root_key: key(&args.public_key)?,
        removal_key: key(&args.removal_key)?,
        head: args.head.as_deref().map(roots::read_head).transpose().map_err(reported)?,
        days: args.days,
        now_unix_ns: Some(unix_now_ns()),
    };
    let mut count = 0;
    for stream in streams(&args.directory).map_err(reported)? {
        count += list(&args.directory, &stream).map_err(reported)?.len() as u64;
    }
    let bar = if io::stderr().is_terminal() { ProgressBar::new(count) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} segments {eta} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = verify_tree(&args.directory, &expected, |stream: &Stream, _: &SegmentReport| {
        bar.set_message(stream.to_string());
        bar.inc(1);
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| {
        let is_no_archive = error.condemned().is_some_and(|(path, _)| path == args.directory);
        let failure = reported(error);
        if is_no_archive { failure.hint(HINT) } else { failure }
    })?;
    print(args.json, &as_json(&report), |out| as_text(out, &report))?;
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::new("the archive is not what was recorded"))
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
        .map(|root| json!({"day": root.day, "segments": root.segments, "problems": root.problems}))
        .collect();
    json!({
        "sound": report.is_sound(),
        "pinned": report.is_pinned(),
        "unpinned": report.unpinned,
        "segments": segments,
        "roots": roots,
        "removals": report.removals,
        "unsigned_segments": report.unsigned,
        "problems": report.problems,
        "notes": report.notes,
    })
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
    for (root, problem) in
        report.roots.iter().flat_map(|root| root.problems.iter().map(move |text| (root, text)))
    {
        writeln!(out, "  {}: {problem}", root.path.display())?;
    }
    for problem in &report.problems {
        writeln!(out, "  {problem}")?;
    }
    for note in &report.notes {
        writeln!(out, "  note: {note}")?;
    }
    writeln!(
        out,
        "{} signed days, {} records of removal, {} segments that no day names yet",
        report.roots.len(),
        report.removals,
        report.unsigned
    )?;
    if !report.is_pinned() {
        let parts = report.unpinned.join(", ");
        writeln!(
            out,
            "UNPINNED: {parts} came from the archive itself, or not at all: whoever can write all of it can have made it \
             (--key, --removal-key, --head)"
        )?;
    }
    writeln!(out, "{}", if report.is_sound() { "everything holds" } else { "NOT SOUND" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(directory: &std::path::Path) -> VerifyArgs {
        VerifyArgs {
            directory: directory.to_owned(),
            public_key: None,
            removal_key: None,
            head: None,
            days: None,
            json: true,
        }
    }

    // REQ: FEP-SEG-152
    #[test]
    fn an_empty_directory_and_one_that_does_not_exist_are_refused_with_a_hint() {
        let directory = tempfile::tempdir().unwrap();
        for place in [directory.path().to_owned(), directory.path().join("nowhere")] {
            let Err(Failure::Reported { hint, code, .. }) = run(&args(&place)) else { panic!("it holds") };
            assert_eq!((hint.as_deref(), code), (Some(HINT), 1));
        }
    }

    // REQ: FEP-SEG-150
    #[test]
    fn what_came_from_the_archive_itself_is_called_unpinned_in_text_and_json() {
        let mut report = TreeReport { unpinned: vec!["the head"], ..TreeReport::default() };
        let text = |report: &TreeReport| {
            let mut out = Vec::new();
            as_text(&mut out, report).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(text(&report).contains("UNPINNED: the head came from"));
        assert_eq!(as_json(&report)["pinned"], false);
        report.unpinned.clear();
        assert!(!text(&report).contains("UNPINNED") && text(&report).ends_with("everything holds\n"));
        assert_eq!(as_json(&report)["pinned"], true);
        report.problems.push("5 days were signed".to_owned());
        assert!(text(&report).contains("5 days were signed") && text(&report).ends_with("NOT SOUND\n"));
    }
}
