//! `fepctl ring`: what is in the shared-memory rings. Reads them as any other consumer does.

pub(crate) mod args;
mod dump;
mod follow;
mod list;
mod record;
mod tail;

use std::path::Path;
use std::time::{Duration, Instant};

use fep_bus::{BusError, Consumer, Gap, Poll, Record, Resume};

pub(crate) use record::{LinkNames, event_advice, event_spacecraft, event_text, json, line};
pub(crate) use tail::{cursor_file, forget};

use self::args::RingCommand;
use crate::failure::Failure;
use crate::signals::Ending;

/// Runs one of the ring commands.
pub(crate) fn run(command: &RingCommand) -> Result<(), Failure> {
    match command {
        RingCommand::List { place, json } => list::run(place, *json),
        RingCommand::Tail(args) => tail::run(args),
        RingCommand::Dump(args) => dump::run(args),
        RingCommand::Follow(args) => follow::run(args),
    }
}

/// The bus's own words, with advice where we have some.
fn refused(error: BusError, dir: &Path) -> Failure {
    let hint = match &error {
        BusError::NotFound { .. } => Some(format!(
            "`fepctl ring list --directory {}` shows which exist; `fepctl up` or fepd makes the rings",
            dir.display()
        )),
        BusError::Held { .. } => Some("give this consumer another name with --name".to_owned()),
        BusError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Some("your user must be in the group that owns the ring: see `ls -l` of it and `id`".to_owned())
        }
        _ => None,
    };
    let failure = Failure::new(error.to_string());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name for a reader that nobody asked to remember.
pub(crate) fn passing_name(what: &str) -> String {
    format!("fepctl-{what}-{}", std::process::id())
}

/// What a reading loop gets to hear.
enum Heard<'a> {
    /// A record; the payload is empty when only the descriptor was wanted.
    Record(&'a Record, &'a [u8]),
    /// Records that this reader lost.
    Gap(Gap),
    /// A new life of the producer.
    Restarted,
}

/// When a reading loop ends by itself.
struct Limits {
    /// After so many accepted records.
    count: Option<u64>,
    /// When nothing came for so long.
    until_idle: Option<Duration>,
}

/// How often a reader shows that it lives and stores its cursor.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(200);

/// Reads until a limit is reached or somebody ends the process. `wanted` judges by the descriptor alone; `hear` gets
/// what passed, with its payload. It survives restarts of the producer and rings made anew.
fn read(
    consumer: &mut Consumer,
    limits: &Limits,
    ending: &Ending,
    mut wanted: impl FnMut(&Record) -> bool,
    mut hear: impl FnMut(Heard<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut payload = Vec::new();
    let mut accepted = 0u64;
    let mut last_record = Instant::now();
    let mut last_beat = Instant::now();
    let mut pause = Duration::ZERO;
    let mut turns = 0u32;
    while limits.count.is_none_or(|count| accepted < count) {
        // The clock and the flag cost more than a poll: a busy reader looks at them now and then.
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(256) || !pause.is_zero() {
            if ending.asked() {
                return Ok(());
            }
            if last_beat.elapsed() >= HEARTBEAT_EVERY {
                last_beat = Instant::now();
                consumer
                    .heartbeat(fep_time::Monotonic::now())
                    .map_err(|error| Failure::new(error.to_string()))?;
            }
        }
        let found = match consumer.peek() {
            Poll::Record(record) if !wanted(&record) => {
                consumer.skip();
                Poll::Record(None)
            }
            Poll::Record(_) => match consumer.poll(&mut payload) {
                Poll::Record(record) => Poll::Record(Some(record)),
                Poll::Gap(gap) => Poll::Gap(gap),
                Poll::Restarted { epoch, first_seq } => Poll::Restarted { epoch, first_seq },
                Poll::Empty => Poll::Empty,
                Poll::Closed => Poll::Closed,
                Poll::Recreated => Poll::Recreated,
            },
            Poll::Gap(gap) => Poll::Gap(gap),
            Poll::Restarted { epoch, first_seq } => Poll::Restarted { epoch, first_seq },
            Poll::Empty => Poll::Empty,
            Poll::Closed => Poll::Closed,
            Poll::Recreated => Poll::Recreated,
        };
        match found {
            Poll::Record(record) => {
                if let Some(record) = record {
                    hear(Heard::Record(&record, &payload))?;
                    accepted += 1;
                }
                if !pause.is_zero() || turns.is_multiple_of(256) {
                    last_record = Instant::now();
                }
                pause = Duration::ZERO;
            }
            Poll::Gap(gap) => hear(Heard::Gap(gap))?,
            Poll::Restarted { .. } => hear(Heard::Restarted)?,
            Poll::Recreated => {
                // Half-made rings are never visible, but the new one may be gone again by now.
                if consumer.reattach().is_err() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Poll::Empty | Poll::Closed => {
                if pause.is_zero() {
                    // First empty look after records: the idle time begins here, not at the last look at the clock.
                    last_record = Instant::now();
                }
                if limits.until_idle.is_some_and(|limit| last_record.elapsed() >= limit) {
                    return Ok(());
                }
                pause = (pause * 2).clamp(Duration::from_micros(20), Duration::from_millis(1));
                std::thread::sleep(pause);
            }
        }
    }
    Ok(())
}

/// Attaches; when the ring does not exist yet, tries again until `wait` is over.
fn attach(
    dir: &Path,
    ring: &str,
    name: &str,
    resume: Resume,
    wait: Duration,
    ending: &Ending,
) -> Result<Option<Consumer>, Failure> {
    let until = Instant::now() + wait;
    loop {
        match Consumer::attach(dir, ring, name, resume) {
            Ok(consumer) => return Ok(Some(consumer)),
            Err(BusError::NotFound { .. }) if Instant::now() < until => {
                if !ending.sleep(Duration::from_millis(20)) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(refused(error, dir)),
        }
    }
}
