//! `fepctl archive scrub`, `backup`, `restore`: long work of the service, watched to its end.

use std::io::{self, IsTerminal, Write};
use std::process::Command;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::{BackupArgs, PlainArgs, RestoreArgs};
use super::client::Client;
use super::print;
use crate::failure::Failure;
use crate::figures;
use crate::programs::find_program;
use crate::signals::Ending;

const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `fepctl archive scrub`
pub(crate) fn scrub(args: &PlainArgs) -> Result<(), Failure> {
    let client = Client::of(&args.target)?;
    let job = watched(&client, client.post("/v1/scrub", &json!({}))?)?;
    let report = &job["report"];
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    print(args.json, &job, |out| {
        writeln!(
            out,
            "{} segments, {} read, {} findings",
            figures::grouped(report["segments"].as_u64().unwrap_or_default()),
            figures::octets(report["octets"].as_u64().unwrap_or_default()),
            list("findings").len()
        )?;
        for finding in list("findings") {
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let repaired = if finding["repaired"] == true { "repaired" } else { "NOT REPAIRED" };
            writeln!(out, "  {} {}: {}: {repaired}", text("segment"), text("place"), text("problem"))?;
        }
        for segment in list("quarantined") {
            writeln!(out, "  in quarantine now: {}", segment.as_str().unwrap_or_default())?;
        }
        Ok(())
    })?;
    if list("findings").iter().all(|finding| finding["repaired"] == true) {
        Ok(())
    } else {
        Err(Failure::new("not everything could be repaired"))
    }
}

/// `fepctl archive backup`
pub(crate) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let client = Client::of(&args.target)?;
    let body = args.place.as_ref().map_or_else(|| json!({}), |place| json!({"place": place}));
    let job = watched(&client, client.post("/v1/backup", &body)?)?;
    let report = &job["report"];
    let number = |key: &str| report[key].as_u64().unwrap_or_default();
    print(args.json, &job, |out| {
        writeln!(
            out,
            "{} objects, {} of them copied now ({})",
            figures::grouped(number("objects")),
            figures::grouped(number("copied")),
            figures::octets(number("octets"))
        )?;
        for (segment, why) in report["missing"].as_object().into_iter().flatten() {
            writeln!(out, "  not in it: {segment}: {}", why.as_str().unwrap_or_default())?;
        }
        Ok(())
    })?;
    if report["missing"].as_object().is_some_and(|missing| !missing.is_empty()) {
        return Err(
            Failure::new("the backup is not whole").hint("`fepctl archive scrub` reports what is wrong")
        );
    }
    Ok(())
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

/// Watches a job to its end; Ctrl-C leaves it running.
fn watched(client: &Client, started: Value) -> Result<Value, Failure> {
    let ending = Ending::watch()?;
    let path = format!("/v1/jobs/{}", started["id"]);
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new(started["segments"].as_u64().unwrap_or_default())
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} segments {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    loop {
        let job: Value = client.get(&path)?;
        bar.set_position(job["segments_done"].as_u64().unwrap_or_default());
        match job["state"].as_str() {
            Some("queued" | "running") => {}
            Some("done") => {
                bar.finish_and_clear();
                return Ok(job);
            }
            _ => return Err(Failure::new(job["problem"].as_str().unwrap_or("the work failed"))),
        }
        if !ending.sleep(LOOK_EVERY) {
            let what = started["kind"].as_str().unwrap_or_default();
            return Err(Failure::new(format!("the {what} goes on without being watched"))
                .hint(format!("GET {path} of the service shows it")));
        }
    }
}
