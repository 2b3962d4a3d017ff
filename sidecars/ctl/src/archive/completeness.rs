//! `fepctl archive completeness`: how much came in a span of time, and when nothing did.

use std::io::{self, Write};

use serde_json::Value;

use super::args::CompletenessArgs;
use super::client::Client;
use super::print;
use crate::daemon::path_segment;
use crate::failure::Failure;
use crate::{figures, times};

/// Runs the command.
pub(crate) fn run(args: &CompletenessArgs) -> Result<(), Failure> {
    let mut query = format!(
        "/v1/completeness?scid={}&from={}&to={}&session={}",
        args.scid,
        path_segment(&args.from),
        path_segment(&args.to),
        path_segment(&args.session),
    );
    if let Some(link) = args.link {
        query.push_str(&format!("&link={link}"));
    }
    if args.packets {
        query.push_str("&unit=packets");
    }
    let found: Value = Client::of(&args.plain.target)?.get(&query)?;
    print(args.plain.json, &found, |out| table(out, &found))
}

fn table(out: &mut impl Write, found: &Value) -> io::Result<()> {
    let link = |of: &Value| of["link"].as_u64().map_or_else(|| "all".to_owned(), |link| link.to_string());
    writeln!(
        out,
        "{:<14} {:>5} {:>14} {:>10} {:>7} {:>11}",
        "CHANNEL", "LINK", "RECEIVED", "LOST", "RESETS", "SHARE"
    )?;
    for channel in found["channels"].as_array().into_iter().flatten() {
        let number = |key: &str| figures::grouped(channel[key].as_u64().unwrap_or_default());
        let apid = channel["apid"].as_u64().map(|apid| format!("/{apid}")).unwrap_or_default();
        writeln!(
            out,
            "{:<14} {:>5} {:>14} {:>10} {:>7} {:>9.4} %",
            format!("{}/{}{apid}", channel["scid"], channel["vcid"]),
            link(channel),
            number("received"),
            number("lost"),
            number("resets"),
            100.0 * channel["share"].as_f64().unwrap_or_default(),
        )?;
    }
    for silence in found["silences"].as_array().into_iter().flatten() {
        let at = |key: &str| times::utc(silence[key].as_i64().unwrap_or_default(), 0);
        writeln!(out, "silence, link {}: {} to {}", link(silence), at("from_tai_ns"), at("to_tai_ns"))?;
    }
    let counted_to = times::utc(found["counted_to_tai_ns"].as_i64().unwrap_or_default(), 0);
    writeln!(
        out,
        "counted to {counted_to}: what came later is not in sealed segments yet, if it is before --to"
    )
}
