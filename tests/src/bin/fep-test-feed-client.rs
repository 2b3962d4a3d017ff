//! A client of a framed feed for the whole-system tests: it writes down what it gets, then acknowledges it, and can be
//! killed at any moment.
//!
//! `fep-test-feed-client ADDRESS NAME FILTER JOURNAL`: it connects as NAME (again and again, should the feed go away) and
//! follows until a file `JOURNAL.stop` exists and nothing more comes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fep_bus::Record;
use fep_feed_wire::control::FromFeed;
use fep_feed_wire::wire::{Decoder, MESSAGE_MAX, Message, encode_acknowledgement, encode_control};
use fep_tests::journal::{Line, Writer};

/// Lines written at once.
const BATCH: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, filter, journal] = &arguments[..] else {
        eprintln!("fep-test-feed-client ADDRESS NAME FILTER JOURNAL");
        return ExitCode::from(2);
    };
    match follow(address, name, filter, Path::new(journal)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fep-test-feed-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn follow(address: &str, name: &str, filter: &str, journal: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = Writer::open(journal)?;
    let stop = journal.with_extension("stop");
    loop {
        match connection(address, name, filter, &mut writer, &stop) {
            Ok(()) => return Ok(()),
            // The feed was killed, or is not there yet.
            Err(Failure::Connection(error)) => {
                eprintln!("fep-test-feed-client {name} connects again: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(Failure::Feed(problem)) => return Err(problem.into()),
        }
    }
}

enum Failure {
    Connection(io::Error),
    Feed(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Connection(error)
    }
}

/// Follows over one connection; returns when nothing more comes and the test wants an end.
fn connection(
    address: &str,
    name: &str,
    filter: &str,
    writer: &mut Writer,
    stop: &Path,
) -> Result<(), Failure> {
    let wrong = |problem: String| Failure::Feed(problem);
    let mut stream = TcpStream::connect(address)?;
    let hello = format!(
        "{{\"say\":\"hello\",\"protocol\":1,\"client\":\"{name}\",\"acknowledge\":true,\"filter\":{filter}}}"
    );
    let mut out = Vec::new();
    encode_control(hello.as_bytes(), &mut out);
    stream.write_all(&out)?;
    let mut decoder = Decoder::new(MESSAGE_MAX);
    let mut octets = vec![0; 256 << 10];
    let mut last = 0;
    loop {
        let mut idle = false;
        while let Some(message) = decoder.next_message().map_err(|error| wrong(error.to_string()))? {
            match message {
                Message::Record(head, payload) => {
                    if head.number != last + 1 {
                        return Err(wrong(format!(
                            "record {} follows record {last} of the connection",
                            head.number
                        )));
                    }
                    last = head.number;
                    let len = payload.len() as u32;
                    let record = Record { seq: head.seq, pos: 0, len, tag: head.tag, payload_before: 0 };
                    writer.add(Line::of_record(&record, payload));
                }
                Message::Control(json) => {
                    match serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))? {
                        FromFeed::Alive { .. } => idle = true,
                        FromFeed::Refused { reason, .. } => return Err(wrong(reason)),
                        FromFeed::Lost { from_seq, to_seq, reason, .. } => {
                            return Err(wrong(format!("{from_seq} to {to_seq} are lost: {reason:?}")));
                        }
                        FromFeed::Welcome { .. } | FromFeed::State { .. } => {}
                    }
                }
                Message::Acknowledgement(_) => {
                    return Err(wrong("an acknowledgement from a feed".to_owned()));
                }
            }
        }
        // The journal first, the acknowledgement behind it: what is acknowledged is written down.
        if writer.pending() >= BATCH || idle && writer.pending() > 0 {
            writer.flush()?;
            out.clear();
            encode_acknowledgement(last, &mut out);
            stream.write_all(&out)?;
        } else if idle && stop.exists() {
            return Ok(());
        }
        match stream.read(&mut octets)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            taken => decoder.push(&octets[..taken]),
        }
    }
}
