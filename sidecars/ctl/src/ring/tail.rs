//! `fepctl ring tail`: records as they arrive.

use std::io::Write;
use std::time::Duration;

use fep_bus::Resume;

use super::args::TailArgs;
use super::record::{LinkNames, Understood, json, line};
use super::{Heard, Limits, attach, passing_name, read};
use crate::failure::{Failure, output};
use crate::hashing::hex;
use crate::signals::Ending;
use crate::terminal;

/// Runs the command.
pub(super) fn run(args: &TailArgs) -> Result<(), Failure> {
    let dir = args.source.place.resolve()?;
    let links = LinkNames(args.source.place.link_names());
    let ending = Ending::watch()?;
    let resume = if args.oldest { Resume::Oldest } else { Resume::Latest };
    let name = passing_name("tail");
    let Some(mut consumer) = attach(&dir, &args.source.ring, &name, resume, Duration::ZERO, &ending)? else {
        return Ok(());
    };
    let limits = Limits { count: args.count, until_idle: args.until_idle.map(Duration::from_millis) };
    let mut out = terminal::out(args.json);
    let done = read(
        &mut consumer,
        &limits,
        &ending,
        |record| Understood::of(record).passes(&args.filter),
        |heard| {
            let text = match heard {
                Heard::Record(record, payload) if args.json => {
                    let mut object = json(record, payload, &links);
                    if let Some(octets) = args.hex {
                        object["hex"] = hex(&payload[..payload.len().min(octets)]).into();
                    }
                    object.to_string()
                }
                Heard::Record(record, payload) => {
                    let mut text = line(record, payload, &links);
                    if let Some(octets) = args.hex {
                        text.push_str(&hex_lines(&payload[..payload.len().min(octets)]));
                    }
                    text
                }
                Heard::Gap(gap) if args.json => {
                    serde_json::json!({"kind": "gap", "records": gap.records, "bytes": gap.bytes}).to_string()
                }
                Heard::Gap(gap) => {
                    format!(
                        "--- this reader was too slow: {} records ({} B) lost ---",
                        gap.records, gap.bytes
                    )
                }
                Heard::Restarted if args.json => serde_json::json!({"kind": "restarted"}).to_string(),
                Heard::Restarted => "--- the daemon was started again ---".to_owned(),
            };
            writeln!(out, "{text}").map_err(output)
        },
    );
    let path = cursor_file(&dir, &args.source.ring, &name);
    drop(consumer);
    forget(&path);
    done.and_then(|()| out.flush().map_err(output))
}

/// Sixteen octets a line, below the record.
fn hex_lines(octets: &[u8]) -> String {
    octets.chunks(16).fold(String::new(), |mut text, row| {
        let shown: Vec<String> = row.iter().map(|octet| format!("{octet:02x}")).collect();
        text.push_str("\n    ");
        text.push_str(&shown.join(" "));
        text
    })
}

/// The cursor file of a reader that does not want to be remembered.
pub(crate) fn cursor_file(dir: &std::path::Path, ring: &str, name: &str) -> Option<std::path::PathBuf> {
    let short = ring.rsplit('/').next().unwrap_or(ring);
    let rings = fep_bus::list(dir).ok()?;
    rings
        .into_iter()
        .flatten()
        .find(|info| info.name == short)
        .and_then(|info| Some(info.path.parent()?.join("cursors").join(name)))
}

/// Removes such a file; if that fails it is only listed as a reader that has gone.
pub(crate) fn forget(path: &Option<std::path::PathBuf>) {
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
}
