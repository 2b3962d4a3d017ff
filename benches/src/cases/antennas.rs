//! Two antennas of one spacecraft through the real daemon: 500 Mbit/s each over loopback TCP, each with seeded losses of its
//! own. How much later than on the first link that had it is a frame in the spacecraft's ring?
//!
//! Both times are those of the records: when a thread of `fepd` published. No peer merges.

use std::collections::HashMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fep_bus::{Consumer, Poll, Record, Resume};
use fep_control::api::SpacecraftStatus;
use fep_record::FrameRecord;
use hdrhistogram::Histogram;

use super::chain::made_frames;
use super::engine::CADU;
use crate::processes::{Daemon, PATIENCE, text, wait_for};
use crate::{Case, Measured};

const RATE_BPS: f64 = 500e6;
/// Of a thousand CADUs, how many each antenna never sends.
const LOSS_PERMILLE: u64 = 10;
const WAIT_US: u64 = 20_000;
const ANTENNAS: [&str; 2] = ["north", "south"];

/// `merge/live/2x500`
pub fn cases() -> Vec<Case> {
    vec![Case {
        name: "merge/live/2x500".into(),
        unit: "us p99 (less is better)",
        peer_name: "",
        run: Box::new(|budget_s| {
            measure(budget_s.clamp(1.0, 5.0)).unwrap_or_else(|reason| Measured {
                note: format!("not measured: {reason}"),
                ..Measured::default()
            })
        }),
    }]
}

fn measure(seconds: f64) -> Result<Measured, String> {
    let frames = (RATE_BPS * seconds / (8.0 * CADU as f64)) as usize;
    let stream = made_frames(0, frames)?;
    let stations = ANTENNAS.map(|_| TcpListener::bind("127.0.0.1:0"));
    let mut config = "[rings]\nframes_data_mib = 256\n[link]\ncore = \"none\"\n".to_owned();
    for (name, station) in ANTENNAS.iter().zip(&stations) {
        let address = station.as_ref().map_err(text)?.local_addr().map_err(text)?;
        config += &format!(
            "[links.{name}]\nchannel = \"cso/cso-2-payload\"\nsession = \"TEST\"\n\
             transport = {{ kind = \"tcp_client\", address = \"{address}\" }}\n"
        );
    }
    config += &format!("[spacecraft.leo]\nlinks = [\"north\", \"south\"]\nwait_us = {WAIT_US}\n");
    let daemon = Daemon::start_with(&config)?;
    let mut connections = Vec::new();
    for station in stations {
        let (connection, _) = station.and_then(|station| station.accept()).map_err(text)?;
        connection.set_nodelay(true).map_err(text)?;
        connections.push(connection);
    }
    let sent = AtomicBool::new(false);
    let (had, seen) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&daemon.rings(), &sent));
        let had = send(&mut connections, &stream.bytes, frames);
        if had.is_ok() {
            // What is in flight when the last octet was sent waits for nobody longer than this.
            let _ = wait_for("the last frame", || {
                let leo: SpacecraftStatus = daemon.get("/spacecraft/leo").ok()?;
                leo.antennas.iter().all(|antenna| antenna.counts.pending == 0).then_some(())
            });
            std::thread::sleep(Duration::from_millis(500));
        }
        sent.store(true, Ordering::Release);
        let seen = reading.join().unwrap_or_else(|_| Err("the reading thread panicked".to_owned()));
        Ok::<_, String>((had?, seen?))
    })?;
    let leo: SpacecraftStatus = daemon.get("/spacecraft/leo")?;
    let lost_on_bus: u64 = leo.antennas.iter().map(|antenna| antenna.lost_on_bus).sum();
    let missing =
        (0..frames as u32).filter(|count| had[*count as usize] && !seen.served.contains_key(count)).count();
    let mut added = Histogram::<u64>::new_with_bounds(1, PATIENCE.as_nanos() as u64, 3).map_err(text)?;
    for (count, served_ns) in &seen.served {
        let first_ns = seen.first.get(count).ok_or("a frame that no antenna had")?;
        added.saturating_record(served_ns.saturating_sub(*first_ns).max(0).cast_unsigned());
    }
    let us = |quantile: f64| added.value_at_quantile(quantile) as f64 / 1e3;
    let faults = missing + seen.twice + seen.disordered + lost_on_bus as usize;
    let note = format!(
        "added to the link that had it first; p50 {:.0} us, p99.9 {:.0} us, max {:.0} us; {} frames sent to each, {} had by \
         an antenna, {missing} of them missing, {} served twice, {} out of order, {lost_on_bus} lost on the bus{}; wait {} ms",
        us(0.5),
        us(0.999),
        us(1.0),
        frames,
        had.iter().filter(|had| **had).count(),
        seen.twice,
        seen.disordered,
        if faults == 0 { "" } else { " (FAULT)" },
        WAIT_US / 1000,
    );
    Ok(Measured { ours: us(0.99), note, ..Measured::default() })
}

/// Sends each CADU to each antenna but for what that one loses; which frames any was sent.
fn send(connections: &mut [TcpStream], stream: &[u8], frames: usize) -> Result<Vec<bool>, String> {
    let mut random = 0x0FED_CBA9_8765_4321_u64;
    let mut had = vec![false; frames];
    let start = Instant::now();
    for (index, cadu) in stream.chunks(CADU).enumerate() {
        let due = Duration::from_secs_f64(index as f64 * 8.0 * CADU as f64 / RATE_BPS);
        // The processes measured need the cores: who is early sleeps.
        if let Some(early) =
            due.checked_sub(start.elapsed()).filter(|early| *early > Duration::from_micros(200))
        {
            std::thread::sleep(early);
        }
        for connection in connections.iter_mut() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random % 1000 >= LOSS_PERMILLE {
                had[index] = true;
                connection.write_all(cadu).map_err(text)?;
            }
        }
    }
    Ok(had)
}

/// When each frame was published, by its count.
#[derive(Default)]
struct Seen {
    /// On the link that had it first, in nanoseconds.
    first: HashMap<u32, i64>,
    /// In the spacecraft's ring.
    served: HashMap<u32, i64>,
    twice: usize,
    disordered: usize,
}

fn read(rings: &Path, done: &AtomicBool) -> Result<Seen, String> {
    let attach = |name: &str| {
        Consumer::attach(rings, &format!("{name}.frames"), "bench", Resume::Oldest).map_err(text)
    };
    let mut links = [attach(ANTENNAS[0])?, attach(ANTENNAS[1])?];
    let mut spacecraft = attach("leo")?;
    let (mut seen, mut newest) = (Seen::default(), None);
    loop {
        let last_turn = done.load(Ordering::Acquire);
        for link in &mut links {
            drain(link, |count, published_ns| {
                let first = seen.first.entry(count).or_insert(published_ns);
                *first = published_ns.min(*first);
            })?;
        }
        drain(&mut spacecraft, |count, published_ns| {
            seen.twice += usize::from(seen.served.insert(count, published_ns).is_some());
            seen.disordered += usize::from(newest.is_some_and(|newest| count < newest));
            newest = Some(count);
        })?;
        if last_turn {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Everything that is in a ring now: count and time of publication.
fn drain(consumer: &mut Consumer, mut each: impl FnMut(u32, i64)) -> Result<(), String> {
    loop {
        match consumer.peek() {
            Poll::Record(Record { tag, .. }) => {
                let record =
                    FrameRecord::from_words(tag.flags, tag.words).ok_or("a record of another version")?;
                each(record.frame_count, tag.published.0);
                consumer.skip();
            }
            Poll::Empty => return Ok(()),
            other => return Err(format!("the ring says {other:?}")),
        }
    }
}
