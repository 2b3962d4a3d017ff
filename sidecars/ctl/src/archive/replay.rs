//! `fepctl archive replay`: start replays and command them.

use std::io::{self, Write};

use fep_archive_query::Format;
use serde_json::{Value, json};

use super::args::{ReplayArgs, ReplayCommand, ReplayStartArgs, UnitName};
use super::client::Client;
use super::print;
use super::select::retrieval;
use crate::daemon::path_segment;
use crate::failure::Failure;
use crate::{figures, times};

/// Runs a command.
pub(crate) fn run(command: &ReplayCommand) -> Result<(), Failure> {
    match command {
        ReplayCommand::Start(args) => start(args),
        ReplayCommand::List(args) => {
            let replays: Vec<Value> = Client::of(&args.target)?.get("/v1/replays")?;
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
            let rx_tai_ns = fep_archive_query::parse_time(time).map_err(|detail| {
                Failure::usage(format!("--time: {detail} (allowed: UTC as 2024-12-06T17:38:15Z)"))
            })?;
            order(replay, &json!({"order": "seek", "rx_tai_ns": rx_tai_ns}))
        }
        ReplayCommand::Loop { replay, off } => order(replay, &json!({"order": "loop", "looping": !off})),
        ReplayCommand::Stop(args) => order(args, &json!({"order": "stop"})),
    }
}

fn order(args: &ReplayArgs, order: &Value) -> Result<(), Failure> {
    let path = format!("/v1/replays/{}/orders", path_segment(&args.name));
    let status: Value = Client::of(&args.target)?.post(&path, order)?;
    print(args.json, &status, |out| table(out, std::slice::from_ref(&status)))
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
    let status: Value = Client::of(&args.target)?.post("/v1/replays", &body)?;
    print(args.json, &status, |out| table(out, std::slice::from_ref(&status)))
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

fn table(out: &mut impl Write, replays: &[Value]) -> io::Result<()> {
    if replays.is_empty() {
        return writeln!(out, "no replay");
    }
    writeln!(
        out,
        "{:<16} {:<9} {:>8} {:>12} {:>11} {:>8}  POSITION",
        "REPLAY", "PHASE", "SPEED", "SENT", "OCTETS", "MISSING"
    )?;
    for replay in replays {
        let number = |key: &str| replay[key].as_u64().unwrap_or_default();
        writeln!(
            out,
            "{:<16} {:<9} {:>8} {:>12} {:>11} {:>8}  {}",
            replay["name"].as_str().unwrap_or_default(),
            replay["phase"].as_str().unwrap_or_default(),
            replay["speed"].to_string().trim_matches('"'),
            figures::grouped(number("sent")),
            figures::octets(number("sent_octets")),
            figures::grouped(number("missing")),
            replay["position_tai_ns"]
                .as_i64()
                .map_or_else(|| "-".to_owned(), |position| times::utc(position, 3)),
        )?;
        if let Some(problem) = replay["problem"].as_str() {
            writeln!(out, "  {problem}")?;
        }
        if let Some(address) = replay["address"].as_str() {
            writeln!(out, "  waits for its receiver at {address}")?;
        }
    }
    Ok(())
}
