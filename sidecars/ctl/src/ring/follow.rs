//! `fepctl ring follow`: a real consumer that keeps an account of all it reads. System tests use it as the process at
//! the far end.

use std::io::{self, Write};
use std::time::Duration;

use fep_bus::{Consumer, Resume};
use serde::Serialize;

use super::args::FollowArgs;
use super::record::Understood;
use super::{Heard, Limits, attach, read};
use crate::failure::{Failure, output};
use crate::report::{Report, Tally};
use crate::signals::Ending;
use crate::terminal::{self, say};

/// What a consumer was offered, read and lost, since its cursor was first set: `published = consumed + lost_records`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct ReaderLedger {
    /// By sequence numbers: where the cursor stands now, less where it was first set.
    published: u64,
    /// As counted record by record.
    consumed: u64,
    lost_records: u64,
    lost_bytes: u64,
}

/// The report of a stream and of the reader of it.
#[derive(Serialize)]
struct Account {
    #[serde(flatten)]
    report: Report,
    ledger: ReaderLedger,
    /// New lives of the producer seen by this process.
    restarts: u64,
}

/// Sequence number at which the consumer's ledger began.
fn ledger_start(consumer: &Consumer) -> u64 {
    let ledger = consumer.ledger();
    consumer.position().seq.saturating_sub(ledger.consumed_records + ledger.lost_records)
}

/// Runs the command.
pub(super) fn run(args: &FollowArgs) -> Result<(), Failure> {
    let dir = args.source.place.resolve()?;
    let ending = Ending::watch()?;
    let wait = Duration::from_millis(args.wait_ms);
    // A cursor of this name comes first; only without one does --latest matter.
    let resume = if args.fresh {
        if args.latest { Resume::Latest } else { Resume::Oldest }
    } else if args.latest && !has_cursor(&dir, args) {
        Resume::Latest
    } else {
        Resume::Cursor
    };
    let Some(mut consumer) = attach(&dir, &args.source.ring, &args.name, resume, wait, &ending)? else {
        return Ok(());
    };
    let mut start = ledger_start(&consumer);
    let instance = consumer.instance();
    let mut tally =
        Tally::new(true).map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    let mut restarts = 0;
    let limits = Limits { count: args.count, until_idle: args.until_idle.map(Duration::from_millis) };
    let mut unknown = 0u64;
    read(
        &mut consumer,
        &limits,
        &ending,
        |_| true,
        |heard| {
            match heard {
                Heard::Record(record, payload) => match Understood::of(record) {
                    Understood::Frame(frame) => tally.frame(&frame, None),
                    Understood::Packet(packet) => tally.packet(&packet, payload),
                    Understood::Event(_) => {}
                    Understood::Unknown => unknown += 1,
                },
                Heard::Gap(_) => tally.interrupted(),
                Heard::Restarted => restarts += 1,
            }
            Ok(())
        },
    )?;
    // A ring laid out anew without memory of the old one begins a new ledger.
    if consumer.instance() != instance {
        start = ledger_start(&consumer);
    }
    let counted = consumer.ledger();
    let ledger = ReaderLedger {
        published: consumer.position().seq.saturating_sub(start),
        consumed: counted.consumed_records,
        lost_records: counted.lost_records,
        lost_bytes: counted.lost_bytes,
    };
    consumer.detach().map_err(|error| Failure::new(error.to_string()))?;
    if unknown > 0 {
        say!("fepctl: {unknown} records of another version were counted but not understood");
    }
    print(args, &Account { report: tally.finish(), ledger, restarts }).map_err(output)
}

fn has_cursor(dir: &std::path::Path, args: &FollowArgs) -> bool {
    super::tail::cursor_file(dir, &args.source.ring, &args.name).is_some_and(|path| path.exists())
}

fn print(args: &FollowArgs, account: &Account) -> io::Result<()> {
    let mut out = terminal::out(args.json);
    if args.json {
        serde_json::to_writer_pretty(&mut out, account).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        account.report.write_text_of_ring(&mut out)?;
        let ReaderLedger { published, consumed, lost_records, lost_bytes } = account.ledger;
        writeln!(
            out,
            "\nReader       published {published} = consumed {consumed} + lost {lost_records} ({lost_bytes} octets)"
        )?;
        writeln!(out, "             {} restarts of the producer seen", account.restarts)?;
    }
    out.flush()
}
