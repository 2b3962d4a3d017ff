//! `fepctl ring dump`: payloads to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use fep_bus::Resume;

use super::record::Understood;
use super::tail::{cursor_file, forget};
use super::{Heard, Limits, attach, passing_name, read};
use crate::cli::DumpArgs;
use crate::failure::{Failure, output};
use crate::figures;
use crate::signals::Ending;

/// A dump without a count ends when the ring has been silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<(), Failure> {
    let dir = args.place.resolve()?;
    let ending = Ending::watch()?;
    let resume = if args.latest { Resume::Latest } else { Resume::Oldest };
    let name = passing_name("dump");
    let Some(mut consumer) = attach(&dir, &args.ring, &name, resume, Duration::ZERO, &ending)? else {
        return Ok(());
    };
    let to_stdout = args.out == Path::new("-");
    let mut file: Box<dyn Write> = if to_stdout {
        Box::new(io::stdout().lock())
    } else {
        let file = File::create(&args.out).map_err(|error| Failure::file("create", &args.out, &error))?;
        Box::new(BufWriter::with_capacity(1 << 20, file))
    };
    let failed = |error: io::Error| {
        if to_stdout { output(error) } else { Failure::file("write", &args.out, &error) }
    };
    let until_idle = args.until_idle.map(Duration::from_millis).or(args.count.is_none().then_some(SILENCE));
    let limits = Limits { count: args.count, until_idle };
    let (mut records, mut octets, mut lost) = (0u64, 0u64, 0u64);
    let done = read(
        &mut consumer,
        &limits,
        &ending,
        |record| Understood::of(record).passes(&args.filter),
        |heard| match heard {
            Heard::Record(_, payload) => {
                records += 1;
                octets += payload.len() as u64;
                file.write_all(payload).map_err(failed)
            }
            Heard::Gap(gap) => {
                lost += gap.records;
                Ok(())
            }
            Heard::Restarted => Ok(()),
        },
    );
    let path = cursor_file(&dir, &args.ring, &name);
    drop(consumer);
    forget(&path);
    done?;
    file.flush().map_err(failed)?;
    eprintln!(
        "{} records, {} octets written{}",
        figures::grouped(records),
        figures::grouped(octets),
        if lost > 0 {
            format!("; {} records lost: this reader was too slow", figures::grouped(lost))
        } else {
            String::new()
        }
    );
    Ok(())
}
