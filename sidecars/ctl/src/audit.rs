//! `fepctl audit` and `fepctl archive audit`: the audit trail of any service on the kit.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use fep_client::model::audit::{Entry, Filter, Report};
use fep_client::{CopyError, Verbatim, api};

use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::{terminal, times};

/// What can be done with a trail; `T` says of which service.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand<T: Args> {
    /// List entries of the audit trail in their order
    List {
        #[command(flatten)]
        service: T,
        /// Only after this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only what this person did
        #[arg(long, value_name = "ID")]
        person: Option<String>,
        /// Only this action
        #[arg(long)]
        action: Option<String>,
        /// Only what was done to this
        #[arg(long)]
        subject: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the service verify its whole audit trail; fails when it does not hold
    Verify {
        #[command(flatten)]
        service: T,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the whole audit trail as lines of JSON
    Export {
        #[command(flatten)]
        service: T,
    },
}

/// Runs a command.
pub(crate) fn run<T: Args + Reached>(command: &AuditCommand<T>) -> Result<(), Failure> {
    match command {
        AuditCommand::List { service, after, limit, person, action, subject, json } => {
            let filter = Filter {
                after: *after,
                limit: *limit,
                person: person.clone(),
                action: action.clone(),
                subject: subject.clone(),
            };
            let entries: Verbatim<Vec<Entry>> =
                service.client()?.call(&api::audit::list(&filter).answering())?;
            terminal::print(*json, &entries, |out| table(out, &entries))
        }
        AuditCommand::Verify { service, json } => {
            let report: Verbatim<Report> = service.client()?.call(&api::audit::verify().answering())?;
            terminal::print(*json, &report, |out| verdict(out, &report))?;
            if report.holds { Ok(()) } else { Err(Failure::new("the audit trail does not hold")) }
        }
        AuditCommand::Export { service } => {
            let client = service.client()?;
            let mut out = terminal::out(true);
            client.begin(&api::audit::export())?.copy_to(&mut out).map_err(|error| match error {
                CopyError::Service(error) => Failure::from(error),
                CopyError::Writer(error) => output(error),
            })?;
            out.flush().map_err(output)
        }
    }
}

fn table(out: &mut impl Write, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "no entry");
    }
    writeln!(out, "{:>8}  {:<20}  {:<16}  ACTION, SUBJECT", "NUMBER", "WHEN (UTC)", "ACCOUNT")?;
    for entry in entries {
        let account = if entry.account.is_empty() { &entry.person } else { &entry.account };
        let done = format!("{} {}", entry.action, entry.subject);
        writeln!(
            out,
            "{:>8}  {:<20}  {account:<16}  {}",
            entry.number,
            times::utc(entry.at_tai_ns.0, 0),
            done.trim_end()
        )?;
        if !matches!(entry.detail.as_str(), "" | "{}") {
            writeln!(out, "{:>8}  {}", "", entry.detail)?;
        }
    }
    Ok(())
}

fn verdict(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{finding}")?;
    }
    let more = report.findings_in_all.saturating_sub(report.findings.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    let holds = if report.holds { "holds" } else { "is broken" };
    writeln!(out, "the chain of {} entries {holds}", report.entries)
}
