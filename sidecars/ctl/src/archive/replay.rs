//! `fepctl archive replay`: start replays and command them.

use std::io::{self, Write};

use fep_archive_query::Format;
use fep_client::model::archive::Replay;
use fep_client::{Verbatim, api};
use serde_json::{Value, json};

use super::archive;
use super::args::{ReplayArgs, ReplayCommand, ReplayStartArgs, UnitName};
use super::select::retrieval;
use crate::failure::Failure;
use crate::service::Reached;
use crate::terminal::print;
use crate::{figures, times};

/// Runs a command.
pub(crate) fn run(command: &ReplayCommand) -> Result<(), Failure> {
    match command {
        ReplayCommand::Start(args) => start(args),
        ReplayCommand::List(args) => {
            let call = api::archive::replays().answering();
            let replays: Verbatim<Vec<Replay>> = args.target.client()?.call(&call).map_err(archive)?;
            print(args.json, &replays, |out| table(out, &replays))
        }
        ReplayCommand::Pause(args) => order(args, &json!({"order": "pause"})),
        ReplayCommand::Resume(args) => order(args, &json!({"order": "resume"})),
        ReplayCommand::Step { replay, records } => {
            order(replay, &json!({"order": "step", "records": records}))
        }
        ReplayCommand::Speed { replay, speed } => {
            order(replay, &json!({"order": "speed", "speed": speed_of(speed)?}))
        }
        ReplayCommand::Seek { replay, time } => {
            let rx_tai_ns = times::at("--time", time)?;
            order(replay, &json!({"order": "seek", "rx_tai_ns": rx_tai_ns}))
        }
        ReplayCommand::Loop { replay, off } => order(replay, &json!({"order": "loop", "looping": !off})),
        ReplayCommand::Stop(args) => order(args, &json!({"order": "stop"})),
    }
}

fn order(args: &ReplayArgs, order: &Value) -> Result<(), Failure> {
    let call = api::archive::command_replay(&args.name, order).answering();
    let status: Verbatim<Replay> = args.target.client()?.call(&call).map_err(archive)?;
    print(args.json, &status, |out| table(out, std::slice::from_ref(&status.model)))
}

fn start(args: &ReplayStartArgs) -> Result<(), Failure> {
    let wanted = retrieval(args.unit, &args.selection, None, false, None)?;
    let form = if args.raw { "raw" } else { "framed" };
    let target = match (&args.to_tcp, &args.listen, &args.to_udp, &args.to_ring) {
        (Some(address), ..) => json!({"kind": "tcp_client", "address": address, "form": form}),
        (_, Some(bind), ..) => json!({"kind": "tcp_server", "bind": bind, "form": form}),
        (_, _, Some(to), _) => json!({"kind": "udp", "to": to, "form": form}),
        (_, _, _, Some(consumers)) => {
            json!({"kind": "ring", "consumers": consumers.split(',').collect::<Vec<_>>()})
        }
        _ => {
            return Err(Failure::usage("where shall it go?")
                .hint("one of --to-tcp IP:PORT, --listen IP:PORT, --to-udp IP:PORT, --to-ring CONSUMERS"));
        }
    };
    let unit = match args.unit {
        UnitName::Frames => "frames",
        UnitName::Packets => "packets",
    };
    // The form of an answer has nothing to do with a replay; the default is left unsaid.
    let query = wanted.in_format(Format::JsonLines).to_string();
    let mut body = json!({
        "name": args.name, "unit": unit, "query": query, "target": target, "speed": speed_of(&args.speed)?,
        "loop": args.looping, "paused": args.paused,
    });
    if let Some(idle_max_ms) = args.idle_max_ms {
        body["idle_max_ms"] = json!(idle_max_ms);
    }
    let call = api::archive::start_replay(&body).answering();
    let status: Verbatim<Replay> = args.target.client()?.call(&call).map_err(archive)?;
    print(args.json, &status, |out| table(out, std::slice::from_ref(&status.model)))
}

/// A number, or `fastest`.
fn speed_of(text: &str) -> Result<Value, Failure> {
    if text == "fastest" {
        return Ok(json!("fastest"));
    }
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() => Ok(json!(times)),
        _ => Err(Failure::usage(format!("--speed: {text:?} is no speed (allowed: 0.1 to 1000, or fastest)"))),
    }
}

fn table(out: &mut impl Write, replays: &[Replay]) -> io::Result<()> {
    if replays.is_empty() {
        return writeln!(out, "no replay");
    }
    writeln!(
        out,
        "{:<16} {:<9} {:>8} {:>12} {:>11} {:>8}  POSITION",
        "REPLAY", "PHASE", "SPEED", "SENT", "OCTETS", "MISSING"
    )?;
    for replay in replays {
        writeln!(
            out,
            "{:<16} {:<9} {:>8} {:>12} {:>11} {:>8}  {}",
            replay.name,
            replay.phase,
            replay.speed.to_string().trim_matches('"'),
            figures::grouped(replay.sent),
            figures::octets(replay.sent_octets),
            figures::grouped(replay.missing),
            replay.position_tai_ns.map_or_else(|| "-".to_owned(), |position| times::utc(position.0, 3)),
        )?;
        if let Some(problem) = &replay.problem {
            writeln!(out, "  {problem}")?;
        }
        if let Some(address) = &replay.address {
            writeln!(out, "  waits for its receiver at {address}")?;
        }
    }
    Ok(())
}
