//! One writing or reading process of the bus benchmarks, started by `cases::bus`; ours and the peer's run the same
//! loops. Speaks one line on standard output: readers "ready" when attached, everybody a line of figures at the end.
//! A writer starts when a line arrives on its standard input.
//!
//! `ring_process BUS ROLE CPU LEN SECONDS PLACE WAY`, where BUS is `fep` or `iceoryx2`, ROLE `writer` or a reader's name,
//! PLACE a directory or a service name and WAY `copy` (the reader copies every payload out), `in-place` (it reads the
//! first and the last word where they lie).

use std::hint::{black_box, spin_loop};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fep_benches::cases::bus::{ICEORYX_BUFFER, ring_spec};
use fep_bus::{Consumer, Poll, Producer, Resume, Tag};
use iceoryx2::prelude::{ZeroCopySend, ipc};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use rustix::thread::{CpuSet, sched_setaffinity};

type Failure = Box<dyn std::error::Error>;

/// A payload as a plain type, which is what suits the peer best.
#[repr(C)]
#[derive(Debug, Clone, Copy, ZeroCopySend)]
struct Octets<const LEN: usize>([u8; LEN]);

/// What a reader is told in one turn of its loop.
enum Turn {
    Records { seq: u64 },
    Lost(u64),
    Nothing,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bus, role, cpu, len, seconds, place, way] = arguments.as_slice() else {
        return Err("started by the benchmark `versus`, not by hand".into());
    };
    pin(cpu.parse()?);
    let len: usize = len.parse()?;
    let time = Duration::from_secs_f64(seconds.parse()?);
    match (bus.as_str(), role.as_str(), len) {
        ("fep", "writer", _) => write_fep(Path::new(place), len, time),
        ("fep", reader, _) => read_fep(Path::new(place), reader, way, len),
        ("iceoryx2", "writer", 1115) => write_iceoryx::<1115>(place, time),
        ("iceoryx2", "writer", 64) => write_iceoryx::<64>(place, time),
        ("iceoryx2", _, 1115) => read_iceoryx::<1115>(place, way),
        ("iceoryx2", _, 64) => read_iceoryx::<64>(place, way),
        _ => Err(format!("no such run: {arguments:?}").into()),
    }
}

/// Runs `publish` (given a record number) for the time, in bursts so that the clock is rarely asked.
fn write_loop(time: Duration, mut publish: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    let start = Instant::now();
    let mut seq = 0;
    while start.elapsed() < time {
        for _ in 0..1000 {
            seq += 1;
            publish(seq)?;
        }
    }
    println!("{seq} 0 {}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs `turn` until nothing has come for 200 ms; prints records, losses and the seconds from first to last record.
fn read_loop(mut turn: impl FnMut() -> Result<Turn, Failure>) -> Result<(), Failure> {
    println!("ready");
    io::stdout().flush()?;
    let (mut records, mut lost, mut empty_turns) = (0_u64, 0_u64, 0_u32);
    let mut first = None;
    let mut last = Instant::now();
    loop {
        match turn()? {
            Turn::Records { seq } => {
                black_box(seq);
                first.get_or_insert_with(Instant::now);
                records += 1;
                empty_turns = 0;
            }
            Turn::Lost(count) => lost += count,
            Turn::Nothing => {
                empty_turns += 1;
                if empty_turns == 64 {
                    last = Instant::now();
                }
                if empty_turns.is_multiple_of(4096) {
                    // Several readers share a processor: an idle one must not keep the others from reading.
                    std::thread::yield_now();
                    if first.is_some() && last.elapsed() > Duration::from_millis(200) {
                        break;
                    }
                }
                spin_loop();
            }
        }
    }
    let seconds = first.map_or(0.0, |first| last.duration_since(first).as_secs_f64());
    println!("{records} {lost} {seconds}");
    Ok(())
}

fn write_fep(dir: &Path, len: usize, time: Duration) -> Result<(), Failure> {
    let mut producer = Producer::create_or_attach(dir, &ring_spec(len))?;
    let mut payload = vec![0x5A_u8; len];
    write_loop(time, |seq| {
        payload[..8].copy_from_slice(&seq.to_le_bytes());
        producer.publish(Tag { kind: 1, words: [seq, 0], ..Tag::default() }, &payload)?;
        Ok(())
    })
}

fn read_fep(dir: &Path, name: &str, way: &str, len: usize) -> Result<(), Failure> {
    let mut consumer = Consumer::attach(dir, "bench", name, Resume::Latest)?;
    let last = len / 8 - 1;
    if way == "copy" {
        let mut out = Vec::new();
        return read_loop(|| {
            Ok(turn_of(consumer.poll(&mut out), |record| {
                black_box(out.as_slice());
                record.seq
            }))
        });
    }
    read_loop(|| {
        let poll = consumer.visit(|_, payload| payload.word(0) ^ payload.word(last));
        Ok(turn_of(poll, |(_, word)| word))
    })
}

fn turn_of<T>(poll: Poll<T>, seq: impl FnOnce(T) -> u64) -> Turn {
    match poll {
        Poll::Record(record) => Turn::Records { seq: seq(record) },
        Poll::Gap(gap) => Turn::Lost(gap.records),
        Poll::Empty | Poll::Closed | Poll::Restarted { .. } | Poll::Recreated => Turn::Nothing,
    }
}

fn iceoryx_service<const LEN: usize>(
    name: &str,
) -> Result<PortFactory<ipc::Service, Octets<LEN>, ()>, Failure> {
    let node = iceoryx2::prelude::NodeBuilder::new().create::<ipc::Service>()?;
    Ok(node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<Octets<LEN>>()
        .enable_safe_overflow(true)
        .subscriber_max_buffer_size(ICEORYX_BUFFER)
        .subscriber_max_borrowed_samples(2)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(8)
        .open_or_create()?)
}

fn write_iceoryx<const LEN: usize>(name: &str, time: Duration) -> Result<(), Failure> {
    let service = iceoryx_service::<LEN>(name)?;
    let publisher = service.publisher_builder().max_loaned_samples(2).create()?;
    let mut payload = Octets([0x5A; LEN]);
    write_loop(time, |seq| {
        payload.0[..8].copy_from_slice(&seq.to_le_bytes());
        publisher.loan_uninit()?.write_payload(payload).send()?;
        Ok(())
    })
}

fn read_iceoryx<const LEN: usize>(name: &str, way: &str) -> Result<(), Failure> {
    let service = iceoryx_service::<LEN>(name)?;
    let subscriber = service.subscriber_builder().buffer_size(ICEORYX_BUFFER).create()?;
    let (mut out, mut expected) = (Octets([0; LEN]), None);
    let copy = way == "copy";
    let mut pending = None;
    read_loop(|| {
        if let Some(seq) = pending.take() {
            return Ok(Turn::Records { seq });
        }
        let Some(sample) = subscriber.receive()? else { return Ok(Turn::Nothing) };
        let octets = sample.payload();
        let seq = u64::from_le_bytes(octets.0[..8].try_into()?);
        if copy {
            out = *octets;
            black_box(&out);
        } else {
            black_box(octets.0[LEN - 8..].first());
        }
        // The peer does not say what it dropped: our own number in the payload does.
        let lost = seq - expected.unwrap_or(seq);
        expected = Some(seq + 1);
        if lost == 0 {
            return Ok(Turn::Records { seq });
        }
        pending = Some(seq);
        Ok(Turn::Lost(lost))
    })
}

/// Writers and readers never share a processor, for ours and for the peer alike.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // A machine with fewer processors refuses; the run then floats, which the figures will show.
    let _ = sched_setaffinity(None, &set);
}
