//! `fepctl archive`: what the archive holds, fetched, queried, replayed and verified.

pub(crate) mod args;
mod client;
mod completeness;
mod get;
mod keeping;
mod replay;
mod select;
mod sql;
mod verify;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::daemon::path_segment;
use crate::failure::{Failure, output};
use crate::terminal::{self, say};
use crate::{figures, times};
use args::{ArchiveCommand, GapListArgs, GapsCommand, PlainArgs, QueryArgs};
use client::Client;

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
        ArchiveCommand::Backup(args) => keeping::backup(args),
        ArchiveCommand::Restore(args) => keeping::restore(args),
    }
}

/// As JSON or as text.
fn print<T: Serialize + ?Sized>(
    as_json: bool,
    answer: &T,
    text: impl FnOnce(&mut terminal::Shown<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = terminal::out(as_json);
    let written = if as_json {
        serde_json::to_writer_pretty(&mut out, answer).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text(&mut out)
    };
    written.and_then(|()| out.flush()).map_err(output)
}

fn status(args: &PlainArgs) -> Result<(), Failure> {
    let status: Value = Client::of(&args.target)?.get("/v1/status")?;
    print(args.json, &status, |out| {
        let totals = &status["totals"];
        let number = |of: &Value| figures::grouped(of.as_u64().unwrap_or_default());
        writeln!(out, "fep-archive {}", status["version"].as_str().unwrap_or_default())?;
        writeln!(
            out,
            "segments     {} ({} in quarantine)",
            number(&totals["segments"]),
            number(&totals["quarantined"])
        )?;
        writeln!(out, "on disk      {}", figures::octets(totals["octets"].as_u64().unwrap_or_default()))?;
        writeln!(out, "frames       {}", number(&totals["frames"]))?;
        writeln!(out, "packets      {}", number(&totals["packets"]))?;
        writeln!(out, "not sealed   {} rows", number(&status["tail_rows"]))?;
        if status["unindexed_segments"].as_u64().is_some_and(|segments| segments > 0) {
            let octets = figures::octets(status["unindexed_octets"].as_u64().unwrap_or_default());
            writeln!(out, "not indexed  {} segments, {octets}", number(&status["unindexed_segments"]))?;
        }
        if status["has_looked_at_all"].as_bool() == Some(false) {
            writeln!(
                out,
                "not indexed  the archive was started and has not looked at all that was recorded"
            )?;
        }
        writeln!(out, "lost on disk {} records", number(&totals["lost_records"]))?;
        writeln!(out, "open gaps    {}", number(&totals["open_gaps"]))
    })
}

fn query(args: &QueryArgs) -> Result<(), Failure> {
    let wanted = select::retrieval(args.unit, &args.selection, Some("jsonl"), false, Some(args.limit))?;
    let client = Client::of(&args.target)?;
    let mut pending = Vec::new();
    let mut lines = 0_u64;
    let mut is_whole = Ok(());
    let mut out = terminal::out(args.json);
    client.stream(
        &format!("/v1/{}?{wanted}", wanted.unit),
        &[],
        |_, head| {
            is_whole = whole_by_head(head);
            Ok(())
        },
        |octets| {
            pending.extend_from_slice(octets);
            let Some(end) = pending.iter().rposition(|octet| *octet == b'\n') else { return Ok(()) };
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
            Ok(())
        },
    )?;
    out.flush().map_err(output)?;
    drop(out);
    if lines == 0 {
        say!("fepctl: nothing matches");
        hint_of_nothing(&client.get(&format!("/v1/{}/manifest?{wanted}", wanted.unit))?);
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
fn whole_by_head(head: &hyper::HeaderMap) -> Result<(), Failure> {
    head.get("fep-incomplete")
        .map_or(Ok(()), |missing| Err(not_whole(missing.to_str().unwrap_or("the archive says no more"))))
}

/// The same of a manifest or an answer of SQL, which names what is missing.
fn whole(answer: &Value) -> Result<(), Failure> {
    let missing: Vec<&str> =
        answer["incomplete"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if missing.is_empty() { Ok(()) } else { Err(not_whole(&missing.join("; "))) }
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
fn hint_of_nothing(manifest: &Value) {
    for session in manifest["other_sessions"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say!("fepctl: session {} has matches: --session {session}", session.to_uppercase());
    }
}

fn gaps(command: &GapsCommand) -> Result<(), Failure> {
    match command {
        GapsCommand::List(args) => {
            let gaps: Vec<Value> =
                Client::of(&args.plain.target)?.get(&format!("/v1/gaps{}", gap_query(args)?))?;
            print(args.plain.json, &gaps, |out| gap_table(out, &gaps))
        }
        GapsCommand::Show { id, plain } => {
            let gap: Value = Client::of(&plain.target)?.get(&format!("/v1/gaps/{}", path_segment(id)))?;
            print(plain.json, &gap, |out| {
                gap_table(out, std::slice::from_ref(&gap))?;
                for step in gap["steps"].as_array().into_iter().flatten() {
                    let text = |key: &str| step[key].as_str().unwrap_or_default();
                    let at = times::utc(step["at_tai_ns"].as_i64().unwrap_or_default(), 0);
                    writeln!(
                        out,
                        "{at} {}: {} -> {} {}",
                        text("person"),
                        text("from"),
                        text("to"),
                        text("note")
                    )?;
                }
                Ok(())
            })
        }
        GapsCommand::Set { id, state, note, plain } => {
            let path = format!("/v1/gaps/{}/state", path_segment(id));
            let gap: Value =
                Client::of(&plain.target)?.post(&path, &json!({"state": state, "note": note}))?;
            print(plain.json, &gap, |out| gap_table(out, std::slice::from_ref(&gap)))
        }
    }
}

fn gap_query(args: &GapListArgs) -> Result<String, Failure> {
    let from = match &args.last {
        Some(last) => Some(select::last_span(last)?.0),
        None => args.from.clone(),
    };
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let given = [
        ("from", from),
        ("to", args.to.clone()),
        ("scid", number(args.scid.map(u32::from))),
        ("vcid", number(args.vcid.map(u32::from))),
        ("apid", number(args.apid.map(u32::from))),
        ("link", number(args.link.map(u32::from))),
        ("session", args.session.clone()),
        ("state", args.state.clone()),
        ("limit", number(args.limit)),
    ];
    let pairs: Vec<String> = given
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={}", path_segment(&value))))
        .collect();
    Ok(if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) })
}

fn gap_table(out: &mut impl Write, gaps: &[Value]) -> io::Result<()> {
    if gaps.is_empty() {
        return writeln!(out, "no gap");
    }
    writeln!(
        out,
        "{:<34} {:<24} {:<14} {:>5} {:>10} {:<6} {:<13} GAP",
        "RING", "AFTER (UTC)", "CHANNEL", "LINK", "LOST", "CAUSE", "STATE"
    )?;
    for gap in gaps {
        let channel = &gap["channel"];
        let apid = channel["apid"].as_u64().map(|apid| format!("/{apid}")).unwrap_or_default();
        let text = |key: &str| gap[key].as_str().unwrap_or_default();
        writeln!(
            out,
            "{:<34} {:<24} {:<14} {:>5} {:>10} {:<6} {:<13} {}",
            text("ring"),
            times::utc(gap["start_tai_ns"].as_i64().unwrap_or_default(), 3),
            format!("{}/{}{apid}", channel["scid"], channel["vcid"]),
            channel["link"].to_string(),
            gap["lost"].to_string(),
            text("cause"),
            text("state"),
            text("id"),
        )?;
    }
    Ok(())
}
