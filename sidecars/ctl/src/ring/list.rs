//! `fepctl ring list`: which rings there are, who writes and who reads them.

use std::io::{self, Write};

use fep_bus::{RingInfo, list};
use fep_time::Monotonic;
use serde_json::{Value, json};

use super::args::RingPlace;
use super::refused;
use crate::failure::{Failure, output};
use crate::figures;
use crate::terminal;

/// Runs the command.
pub(super) fn run(place: &RingPlace, as_json: bool) -> Result<(), Failure> {
    let dir = place.resolve()?;
    let rings = list(&dir).map_err(|error| refused(error, &dir))?;
    if rings.is_empty() && !as_json {
        return Err(Failure::new(format!("there is no ring under {}", dir.display()))
            .hint("`fepctl up` or fepd makes them; --directory or --config says where they are"));
    }
    let mut out = terminal::out(as_json);
    let written = if as_json {
        let all: Vec<Value> = rings
            .iter()
            .map(|ring| match ring {
                Ok(ring) => json_of(ring),
                Err(error) => json!({"error": error.to_string()}),
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &all).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        write_table(&mut out, rings.iter())
    };
    written.and_then(|()| out.flush()).map_err(output)
}

fn producer(ring: &RingInfo) -> &'static str {
    match (ring.producer_alive, ring.halted) {
        (true, _) => "running",
        (false, true) => "stopped",
        (false, false) => "died",
    }
}

fn json_of(ring: &RingInfo) -> Value {
    json!({
        "name": ring.name,
        "schema": ring.schema,
        "colour": ring.colour.directory(),
        "path": ring.path,
        "producer": producer(ring),
        "records": ring.head.seq.saturating_sub(ring.start.seq),
        "bytes": ring.head.payload.saturating_sub(ring.start.payload),
        "slots": ring.slots,
        "data_len": ring.data_len,
        "heartbeat_age_ms": ring.heartbeat_age_ns(Monotonic::now()).map(|age_ns| age_ns / 1_000_000),
        "consumers": ring.consumers,
        "more_consumers": ring.more_consumers,
    })
}

fn write_table<'a>(
    out: &mut impl Write,
    rings: impl Iterator<Item = &'a Result<RingInfo, fep_bus::BusError>>,
) -> io::Result<()> {
    writeln!(
        out,
        "{:<24} {:<6} {:<8} {:>14} {:>10} {:>10}  CONSUMERS",
        "RING", "COLOUR", "PRODUCER", "RECORDS", "OCTETS", "LOG"
    )?;
    for ring in rings {
        match ring {
            Ok(ring) => writeln!(
                out,
                "{:<24} {:<6} {:<8} {:>14} {:>10} {:>10}  {}{}",
                ring.name,
                ring.colour.directory(),
                producer(ring),
                figures::grouped(ring.head.seq.saturating_sub(ring.start.seq)),
                figures::octets(ring.head.payload.saturating_sub(ring.start.payload)),
                figures::octets(ring.data_len),
                ring.consumers.join(" "),
                if ring.more_consumers { " and more: too many files in the cursor directory" } else { "" }
            )?,
            Err(error) => writeln!(out, "unusable: {error}")?,
        }
    }
    Ok(())
}
