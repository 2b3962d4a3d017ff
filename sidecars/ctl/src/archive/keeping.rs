//! `fepctl archive scrub`, `backup`, `restore`: long work of the service, watched to its end.

use std::io::{self, IsTerminal, Write};
use std::process::Command;
use std::time::Duration;

use fep_client::blocking::Client;
use fep_client::model::archive::{BackupReport, Job, JobState, ScrubReport};
use fep_client::{Call, Verbatim, api};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use super::archive;
use super::args::{BackupArgs, PlainArgs, RestoreArgs};
use crate::failure::Failure;
use crate::figures;
use crate::programs::find_program;
use crate::service::Reached;
use crate::signals::Ending;
use crate::terminal::print;

const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `fepctl archive scrub`
pub(crate) fn scrub(args: &PlainArgs) -> Result<(), Failure> {
    let job = watched(&args.target.client()?, api::archive::scrub())?;
    let report: ScrubReport = report(&job)?;
    let found = report.findings_in_all.max(report.findings.len() as u64);
    let quarantined = report.quarantined_in_all.max(report.quarantined.len() as u64);
    print(args.json, &job, |out| {
        writeln!(
            out,
            "{} segments, {} read, {} findings",
            figures::grouped(report.segments),
            figures::octets(report.octets),
            figures::grouped(found)
        )?;
        for finding in &report.findings {
            let repaired = if finding.repaired { "repaired" } else { "NOT REPAIRED" };
            writeln!(out, "  {} {}: {}: {repaired}", finding.segment, finding.place, finding.problem)?;
        }
        more(out, found, report.findings.len(), "findings")?;
        for segment in &report.quarantined {
            writeln!(out, "  in quarantine now: {segment}")?;
        }
        more(out, quarantined, report.quarantined.len(), "segments in quarantine")
    })?;
    if quarantined > 0 || !report.findings.iter().all(|finding| finding.repaired) {
        return Err(Failure::new("not everything could be repaired"));
    }
    if found > report.findings.len() as u64 {
        // Each of them may be one that was not repaired.
        return Err(Failure::new("not all findings are listed")
            .hint("the log of fep-archive has them all; scrub again: what was repaired is no finding then"));
    }
    Ok(())
}

/// `fepctl archive backup`
pub(crate) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let job = watched(&args.target.client()?, api::archive::backup(args.place.as_deref()))?;
    let report: BackupReport = report(&job)?;
    let missing = report.missing_in_all.max(report.missing.len() as u64);
    print(args.json, &job, |out| {
        writeln!(
            out,
            "{} objects, {} of them copied now ({})",
            figures::grouped(report.objects),
            figures::grouped(report.copied),
            figures::octets(report.octets)
        )?;
        for (segment, why) in &report.missing {
            writeln!(out, "  not in it: {segment}: {why}")?;
        }
        more(out, missing, report.missing.len(), "segments that are not in it")
    })?;
    if missing > 0 {
        return Err(
            Failure::new("the backup is not whole").hint("`fepctl archive scrub` reports what is wrong")
        );
    }
    Ok(())
}

fn report<T: DeserializeOwned + Default>(job: &Job) -> Result<T, Failure> {
    if job.report.is_null() {
        return Ok(T::default());
    }
    T::deserialize(&job.report).map_err(|error| {
        Failure::new(format!("the archive reports something that this fepctl does not understand: {error}"))
            .hint("compare `fep-archive --version` and `fepctl --version`")
    })
}

fn more(out: &mut impl Write, all: u64, listed: usize, what: &str) -> io::Result<()> {
    match all.saturating_sub(listed as u64) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more {what}: the log of fep-archive has them all"),
    }
}

/// `fepctl archive restore`: the service cannot put together what it is serving, so this runs its program.
pub(crate) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let program = find_program("fep-archive")?;
    let mut command = Command::new(&program);
    command.arg("--restore-from").arg(&args.place);
    if let Some(config) = &args.config {
        command.arg("--config").arg(config);
    }
    let status = command.status().map_err(|error| Failure::file("start", &program, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::new("the archive was not restored")) }
}

/// Starts a job and watches it to its end; Ctrl-C leaves it running.
fn watched(client: &Client, start: Call<Job>) -> Result<Verbatim<Job>, Failure> {
    let started = client.call(&start).map_err(archive)?;
    let ending = Ending::watch()?;
    let call: Call<Verbatim<Job>> = api::archive::job(&started.id).answering();
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new(started.segments.unwrap_or_default())
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} segments {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    loop {
        let job = client.call(&call)?;
        // The number is known once it has begun.
        bar.set_length(job.segments.unwrap_or_default());
        bar.set_position(job.segments_done);
        match job.state {
            JobState::Queued | JobState::Running => {}
            JobState::Done => {
                bar.finish_and_clear();
                return Ok(job);
            }
            JobState::Cancelled => return Err(Failure::new(format!("somebody cancelled the {}", job.kind))),
            JobState::Failed | JobState::Other => {
                return Err(Failure::new(job.model.problem.unwrap_or_else(|| "the work failed".to_owned())));
            }
        }
        if !ending.sleep(LOOK_EVERY) {
            return Err(Failure::new(format!("the {} goes on without being watched", started.kind))
                .hint(format!("GET {} of the service shows it", call.path())));
        }
    }
}
