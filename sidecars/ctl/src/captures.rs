//! `fepctl captures`: the recordings of real satellites found on this machine.

use std::io::{self, Write};

use fep_sim::captures;
use serde_json::json;

use crate::failure::{Failure, output};
use crate::figures;
use crate::terminal;

/// Runs the command.
pub(crate) fn run(as_json: bool) -> Result<(), Failure> {
    let found = captures::find().map_err(|error| Failure::new(error.to_string()))?;
    let mut out = terminal::out(as_json);
    let written = if as_json {
        let list: Vec<_> = found
            .iter()
            .map(|capture| {
                json!({
                    "mission": capture.facts.mission,
                    "path": capture.path,
                    "cadu_len": capture.facts.cadu_len,
                    "interleave": capture.facts.interleave,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        found.iter().try_for_each(|capture| {
            let len = capture.path.metadata().map_or(0, |facts| facts.len());
            writeln!(
                out,
                "{:<8} {:>9}  {}",
                capture.facts.mission,
                figures::octets(len),
                capture.path.display()
            )
        })
    };
    written.map_err(output)
}
