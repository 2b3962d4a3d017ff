//! A consumer of a ring for the whole-system tests: it writes down what it reads, then moves its cursor, and can be killed
//! at any moment.
//!
//! `fep-test-consumer RINGS_DIRECTORY RING CONSUMER JOURNAL`: it waits for the ring, resumes at its cursor and follows the
//! ring, over restarts of the producer, until a file `JOURNAL.stop` exists and nothing more comes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fep_bus::{BusError, Consumer, Poll, Resume};
use fep_tests::journal::{Line, Writer};

/// Lines written at once.
const BATCH: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, ring, consumer, journal] = &arguments[..] else {
        eprintln!("fep-test-consumer RINGS_DIRECTORY RING CONSUMER JOURNAL");
        return ExitCode::from(2);
    };
    match follow(Path::new(directory), ring, consumer, Path::new(journal)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fep-test-consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn follow(
    directory: &Path,
    ring: &str,
    name: &str,
    journal: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = Writer::open(journal)?;
    let stop = journal.with_extension("stop");
    let mut consumer = loop {
        match Consumer::attach(directory, ring, name, Resume::Cursor) {
            Ok(consumer) => break consumer,
            Err(error) if is_absent(&error) && !stop.exists() => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    };
    let mut payload = Vec::new();
    loop {
        let idle = match consumer.poll(&mut payload) {
            Poll::Record(record) => {
                writer.add(Line::of_record(&record, &payload));
                false
            }
            Poll::Gap(gap) => {
                writer.add(Line::of_gap(&gap));
                false
            }
            Poll::Restarted { .. } => false,
            Poll::Recreated => {
                consumer.reattach()?;
                false
            }
            Poll::Empty | Poll::Closed => true,
        };
        // The journal first, the cursor behind it: what the cursor has passed is written down.
        if writer.pending() >= BATCH || idle && writer.pending() > 0 {
            writer.flush()?;
            consumer.store_cursor()?;
        } else if idle {
            if stop.exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The ring has not been made yet.
fn is_absent(error: &BusError) -> bool {
    matches!(error, BusError::NotFound { .. })
}
