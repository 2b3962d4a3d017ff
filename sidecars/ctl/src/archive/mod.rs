//! `fepctl archive`: what the archive holds, fetched, queried, replayed and verified.

pub(crate) mod args;
mod completeness;
mod deciding;
mod deleting;
mod get;
mod holding;
mod keeping;
mod replay;
mod select;
mod sql;
mod verify;

use std::io::{self, Write};
use std::time::Duration;

use fep_client::blocking::{Client, Reply};
use fep_client::model::archive::{Gap, Manifest, NewGapState, Status};
use fep_client::{Bearer, Error, Query, Times, Verbatim, api};
use serde_json::Value;

use crate::failure::{Failure, output};
use crate::service::{self, Reached};
use crate::session;
use crate::terminal::{self, print, say};
use crate::{audit, figures, places, times};
use args::{ArchiveCommand, GapListArgs, GapsCommand, PlainArgs, QueryArgs, Target};

/// A manifest is made before its head is sent.
const TIMES: Times = Times {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(600),
    silence: Duration::from_secs(60),
};
/// How an API token begins.
const TOKEN: &str = "fep_";
/// No row is longer, with the octets of the longest packet as hexadecimal.
const LINE_MAX: usize = 1 << 20;

/// Runs a command.
pub(crate) fn run(command: &ArchiveCommand) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Status(args) => status(args),
        ArchiveCommand::Query(args) => query(args),
        ArchiveCommand::Get(args) => get::run(args),
        ArchiveCommand::Replay(command) => replay::run(command),
        ArchiveCommand::Gaps(command) => gaps(command),
        ArchiveCommand::Completeness(args) => completeness::run(args),
        ArchiveCommand::Verify(args) => verify::run(args),
        ArchiveCommand::Scrub(args) => keeping::scrub(args),
        ArchiveCommand::Sql(args) => sql::run(args),
        ArchiveCommand::Segments(args) => deleting::segments(args),
        ArchiveCommand::Hold(args) => holding::hold(args),
        ArchiveCommand::Holds(args) => holding::holds(args),
        ArchiveCommand::Release(args) => holding::release(args),
        ArchiveCommand::Releases(args) => holding::releases(args),
        ArchiveCommand::Delete(args) => deleting::delete(args),
        ArchiveCommand::Deletions(args) => deleting::deletions(args),
        ArchiveCommand::Approve(args) => deciding::approve(args),
        ArchiveCommand::Refuse(args) => deciding::decline(args, deciding::Declining::Refuse),
        ArchiveCommand::Withdraw(args) => deciding::decline(args, deciding::Declining::Withdraw),
        ArchiveCommand::Audit(command) => audit::run(command),
        ArchiveCommand::Backup(args) => keeping::backup(args),
        ArchiveCommand::Restore(args) => keeping::restore(args),
    }
}

impl Target {
    fn bearer(&self) -> Result<Option<Bearer>, Failure> {
        let config = self.config.as_deref();
        let Some(file) = &self.token_file else { return session::bearer(config, &self.tls) };
        let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
        let bearer = session::named(&file.display().to_string(), text.trim())?;
        // Services but that of identity take tickets.
        if text.trim().starts_with(TOKEN) {
            session::ticket_for(bearer, config, &self.tls).map(Some)
        } else {
            Ok(Some(bearer))
        }
    }
}

impl Reached for Target {
    fn client(&self) -> Result<Client, Failure> {
        // The address first: no token is exchanged for one that is none.
        let archive = places::archive(self.archive.as_deref(), self.config.as_deref())?;
        service::address(&archive)?;
        service::client(&archive, &self.tls, self.bearer()?, TIMES)
    }
}

fn status(args: &PlainArgs) -> Result<(), Failure> {
    let status: Verbatim<Status> =
        args.target.client()?.call(&api::archive::status().answering()).map_err(archive)?;
    print(args.json, &status, |out| {
        let totals = &status.totals;
        let number = figures::grouped;
        writeln!(out, "fep-archive {}", status.version)?;
        writeln!(
            out,
            "segments     {} ({} in quarantine)",
            number(totals.segments),
            number(totals.quarantined)
        )?;
        writeln!(out, "on disk      {}", figures::octets(totals.octets))?;
        writeln!(out, "frames       {}", number(totals.frames))?;
        writeln!(out, "packets      {}", number(totals.packets))?;
        writeln!(out, "not sealed   {} rows", number(status.tail_rows))?;
        if status.unindexed_segments > 0 {
            let octets = figures::octets(status.unindexed_octets);
            writeln!(out, "not indexed  {} segments, {octets}", number(status.unindexed_segments))?;
        }
        if !status.has_looked_at_all {
            writeln!(
                out,
                "not indexed  the archive was started and has not looked at all that was recorded"
            )?;
        }
        writeln!(out, "lost on disk {} records", number(totals.lost_records))?;
        writeln!(out, "open gaps    {}", number(totals.open_gaps))
    })
}

/// An error of the client, with what to do about it where that is the archive's own.
fn archive(error: Error) -> Failure {
    let hint = match &error {
        Error::Unreachable { kind: io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, .. } => {
            "start it with `fepctl up` (or `systemctl start fep-archive`), or name it with --archive"
        }
        Error::Refused(refused) if refused.status.as_u16() == 401 => "fepctl login --account NAME",
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

fn query(args: &QueryArgs) -> Result<(), Failure> {
    let wanted = select::retrieval(args.unit, &args.selection, Some("jsonl"), false, Some(args.limit))?;
    let client = args.target.client()?;
    let (unit, query) = (wanted.unit.to_string(), wanted.to_string());
    let mut reply = client.begin(&api::archive::retrieve(&unit, &query)).map_err(archive)?;
    let mut pending = Vec::new();
    let mut lines = 0_u64;
    let is_whole = whole_by_head(&reply);
    let mut out = terminal::out(args.json);
    while let Some(octets) = reply.chunk()? {
        pending.extend_from_slice(&octets);
        let Some(end) = pending.iter().rposition(|octet| *octet == b'\n') else {
            if pending.len() > LINE_MAX {
                return Err(Failure::new("the archive sent a line without an end"));
            }
            continue;
        };
        for line in pending[..end].split(|octet| *octet == b'\n') {
            lines += 1;
            if args.json {
                out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(output)?;
            } else {
                let row: Value = serde_json::from_slice(line).map_err(|error| {
                    Failure::new(format!("the archive sent a line that is no JSON: {error}"))
                })?;
                if lines == 1 {
                    writeln!(out, "{}", heading(&row)).map_err(output)?;
                }
                writeln!(out, "{}", line_of(&row)).map_err(output)?;
            }
        }
        pending.drain(..=end);
    }
    out.flush().map_err(output)?;
    drop(out);
    if lines == 0 {
        say!("fepctl: nothing matches");
        hint_of_nothing(&client.call(&api::archive::manifest(&unit, &query))?);
    } else if lines == args.limit && !args.json {
        say!("fepctl: the first {lines}; --limit gives more");
    }
    is_whole
}

/// An answer was shown or stored, and something that was recorded is not in it.
fn not_whole(missing: &str) -> Failure {
    Failure::new(format!("the answer is not whole: {missing}")).hint(
        "what is missing is in the answer once the archive has indexed it: ask again (fepctl archive status)",
    )
}

/// Whether the head of an answer says that something is missing.
fn whole_by_head(reply: &Reply<'_>) -> Result<(), Failure> {
    let head = reply.headers();
    let missing =
        head.get("fep-incomplete").map(|missing| missing.to_str().unwrap_or("the archive says no more"));
    missing.map_or(Ok(()), |missing| Err(not_whole(missing)))
}

/// The same of a manifest or an answer of SQL, which names what is missing.
fn whole(incomplete: &[String]) -> Result<(), Failure> {
    if incomplete.is_empty() { Ok(()) } else { Err(not_whole(&incomplete.join("; "))) }
}

fn heading(row: &Value) -> String {
    let unit = if row["apid"].is_null() { "FRAME COUNT" } else { "APID  SEQUENCE  TYPE" };
    format!(
        "{:<30} {:<7} {:<20} {:>9} {:<10} {:>7}  {unit}",
        "RECEIVED (UTC)", "SESSION", "RING", "SCID/VCID", "QUALITY", "OCTETS"
    )
}

fn line_of(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let unit = if row["apid"].is_null() {
        row["frame_count"].to_string()
    } else {
        let of_type = match (row["service"].as_i64(), row["subtype"].as_i64()) {
            (Some(service), Some(subtype)) => format!("{service}/{subtype}"),
            _ => String::new(),
        };
        format!("{:>4} {:>9}  {of_type}", row["apid"].to_string(), row["sequence_count"].to_string())
    };
    format!(
        "{:<30} {:<7} {:<20} {:>9} {:<10} {:>7}  {unit}",
        text("rx_utc"),
        text("session"),
        text("ring"),
        format!("{}/{}", row["scid"], row["vcid"]),
        text("quality"),
        row["len"].to_string()
    )
}

/// Nothing matched: says so when the same in another session would have, as the manifest says.
fn hint_of_nothing(manifest: &Manifest) {
    for session in &manifest.other_sessions {
        say!("fepctl: session {} has matches: --session {session}", session.to_uppercase());
    }
}

fn gaps(command: &GapsCommand) -> Result<(), Failure> {
    match command {
        GapsCommand::List(args) => {
            let call = api::archive::gaps(&gap_query(args)?).answering();
            let gaps: Verbatim<Vec<Gap>> = args.plain.target.client()?.call(&call).map_err(archive)?;
            print(args.plain.json, &gaps, |out| gap_table(out, &gaps))
        }
        GapsCommand::Show { id, plain } => {
            let call = api::archive::gap(id).answering();
            let gap: Verbatim<Gap> = plain.target.client()?.call(&call).map_err(archive)?;
            print(plain.json, &gap, |out| {
                gap_table(out, std::slice::from_ref(&gap.model))?;
                gap.steps.iter().try_for_each(|step| {
                    let at = times::utc(step.at_tai_ns.0, 0);
                    writeln!(out, "{at} {}: {} -> {} {}", step.person, step.from, step.to, step.note)
                })
            })
        }
        GapsCommand::Set { id, state, note, plain } => {
            let new = NewGapState { state: state.clone(), note: note.clone() };
            let call = api::archive::set_gap(id, &new).answering();
            let gap: Verbatim<Gap> = plain.target.client()?.call(&call).map_err(archive)?;
            print(plain.json, &gap, |out| gap_table(out, std::slice::from_ref(&gap.model)))
        }
    }
}

fn gap_query(args: &GapListArgs) -> Result<Query, Failure> {
    let from = match &args.last {
        Some(last) => Some(select::last_span(last)?.0),
        None => args.from.clone(),
    };
    Ok(Query::new()
        .with("from", from)
        .with("to", args.to.as_ref())
        .with("scid", args.scid)
        .with("vcid", args.vcid)
        .with("apid", args.apid)
        .with("link", args.link)
        .with("session", args.session.as_ref())
        .with("state", args.state.as_ref())
        .with("limit", args.limit))
}

fn gap_table(out: &mut impl Write, gaps: &[Gap]) -> io::Result<()> {
    if gaps.is_empty() {
        return writeln!(out, "no gap");
    }
    writeln!(
        out,
        "{:<34} {:<24} {:<14} {:>5} {:>10} {:<6} {:<13} GAP",
        "RING", "AFTER (UTC)", "CHANNEL", "LINK", "LOST", "CAUSE", "STATE"
    )?;
    for gap in gaps {
        let channel = &gap.channel;
        let apid = channel.apid.map(|apid| format!("/{apid}")).unwrap_or_default();
        writeln!(
            out,
            "{:<34} {:<24} {:<14} {:>5} {:>10} {:<6} {:<13} {}",
            gap.ring,
            times::utc(gap.start_tai_ns.0, 3),
            format!("{}/{}{apid}", channel.scid, channel.vcid),
            channel.link,
            gap.lost,
            gap.cause,
            gap.state,
            gap.id,
        )?;
    }
    Ok(())
}
