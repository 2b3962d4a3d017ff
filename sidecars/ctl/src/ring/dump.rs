//! `fepctl ring dump`: payloads to a file.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use fep_bus::Resume;

use super::args::DumpArgs;
use super::record::Understood;
use super::tail::{cursor_file, forget};
use super::{Heard, Limits, attach, passing_name, read};
use crate::failure::{Failure, output};
use crate::figures;
use crate::output_file::OutputFile;
use crate::signals::Ending;
use crate::terminal::say;

/// A dump without a count ends when the ring has been silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<(), Failure> {
    let dir = args.source.place.resolve()?;
    let ending = Ending::watch()?;
    let resume = if args.latest { Resume::Latest } else { Resume::Oldest };
    let name = passing_name("dump");
    let Some(mut consumer) = attach(&dir, &args.source.ring, &name, resume, Duration::ZERO, &ending)? else {
        return Ok(());
    };
    let to_stdout = args.out == Path::new("-");
    // Payloads as they are: whoever writes them to a terminal asked for it.
    let mut file = if to_stdout { None } else { Some(OutputFile::create(&args.out)?) };
    let mut stdout = io::stdout().lock();
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
                match &mut file {
                    None => stdout.write_all(payload).map_err(output),
                    Some(file) => {
                        file.write(payload);
                        file.check()
                    }
                }
            }
            Heard::Gap(gap) => {
                lost += gap.records;
                Ok(())
            }
            Heard::Restarted => Ok(()),
        },
    );
    let path = cursor_file(&dir, &args.source.ring, &name);
    drop(consumer);
    forget(&path);
    done?;
    match file {
        None => stdout.flush().map_err(output)?,
        Some(file) => file.finish()?,
    }
    say!(
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
