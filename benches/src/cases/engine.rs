//! The real daemon, in a process of its own: throughput from loopback TCP into its ring, and the latency from the
//! socket until a frame is visible to another process.
//!
//! The link's thread has the last core of this machine to itself; this process sends (and reads) on the others. No
//! peer installs that does the same work: the figure stands alone, and the note says what was lost.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fep_bus::{Consumer, Poll, Resume};
use fep_control::api::{Ledgers, Status};
use fepd::realtime;
use hdrhistogram::Histogram;

use super::chain::{MADE_FRAMES, made};
use crate::processes::{Daemon, PATIENCE, RING, text, wait_for};
use crate::{Case, Measured};

pub(crate) const CADU: usize = 1279;
const LATENCY_BPS: f64 = 200e6;
const RINGS: &str = "frames_data_mib = 128";

/// `tcp/ring` and `latency/200mbit`.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, unit, run: fn(f64) -> Result<Measured, String>| Case {
        name: name.into(),
        unit,
        peer_name: "",
        run: Box::new(move |budget_s| {
            run(budget_s).unwrap_or_else(|reason| Measured {
                note: format!("not measured: {reason}"),
                ..Measured::default()
            })
        }),
    };
    vec![case("tcp/ring", "Gbit/s", tcp_ring), case("latency/200mbit", "us p50 (less is better)", latency)]
}

fn tcp_ring(budget_s: f64) -> Result<Measured, String> {
    let flow = flow(budget_s.clamp(1.0, 15.0), &mut |_| {})?;
    Ok(Measured { ours: flow.gigabits_per_s(), peer: None, note: flow.note() })
}

/// What became of a stream that was sent as fast as the daemon took it.
pub struct Flow {
    /// From the first octet sent to the last frame published.
    pub seconds: f64,
    /// Frames sent.
    pub sent: u64,
    /// Frames received, good, and missing by counters, as the daemon says.
    pub received: u64,
    /// Frames with nothing wrong.
    pub good: u64,
    /// Frames missing by virtual channel counters.
    pub lost: u64,
    /// Records in the frames ring.
    pub published: u64,
    /// Processor time of the link's thread a second, in percent.
    pub cpu_percent: f64,
    /// What the daemon could not have on this machine.
    pub warnings: Vec<String>,
}

impl Flow {
    /// Bits of CADUs a second.
    pub fn gigabits_per_s(&self) -> f64 {
        8.0 * (self.sent as usize * CADU) as f64 / self.seconds / 1e9
    }

    /// Whether every frame sent is in the ring.
    pub fn is_lossless(&self) -> bool {
        self.sent == self.received && self.sent == self.good && self.lost == 0 && self.published == self.sent
    }

    /// The figures behind the rate.
    pub fn note(&self) -> String {
        format!(
            "{} CADUs of {CADU} octets in {:.1} s, {} published, {} lost{}, thread {:.0} % busy{}",
            self.sent,
            self.seconds,
            self.published,
            self.sent.abs_diff(self.good) + self.lost,
            if self.is_lossless() { "" } else { " (LOSS)" },
            self.cpu_percent,
            if self.warnings.is_empty() { String::new() } else { format!("; {}", self.warnings.join("; ")) },
        )
    }
}

/// Sends for `seconds`, as fast as it is taken, through a daemon of its own; `tell` hears of every second.
///
/// # Errors
/// The daemon does not start, does not answer or does not finish.
pub fn flow(seconds: f64, tell: &mut dyn FnMut(&str)) -> Result<Flow, String> {
    let stream = made(0)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let daemon = Daemon::start(&listener, "adaptive", RINGS)?;
    let (mut connection, _) = listener.accept().map_err(text)?;
    let start = Instant::now();
    let (mut passes, mut told) = (0_u64, 0);
    while start.elapsed().as_secs_f64() < seconds {
        connection.write_all(&stream.bytes).map_err(text)?;
        passes += 1;
        let elapsed_s = start.elapsed().as_secs();
        if elapsed_s > told {
            told = elapsed_s;
            let gigabits =
                8.0 * (passes as usize * stream.bytes.len()) as f64 / start.elapsed().as_secs_f64() / 1e9;
            tell(&format!("{told:>4} s  {gigabits:.3} Gbit/s sent"));
        }
    }
    let sent = passes * MADE_FRAMES as u64;
    let (ledgers, elapsed) = wait_for("the last frame", || {
        let ledgers: Ledgers = daemon.get("/ledgers").ok()?;
        (ledgers.links.first()?.ledger.counts.received >= sent).then(|| (ledgers, start.elapsed()))
    })?;
    let status: Status = daemon.get("/status")?;
    let counts = ledgers.links.first().ok_or("no link")?.ledger.counts;
    let published = status.rings.iter().find(|ring| ring.name == RING).map_or(0, |ring| ring.head_seq - 1);
    Ok(Flow {
        seconds: elapsed.as_secs_f64(),
        sent,
        received: counts.received,
        good: counts.good,
        lost: counts.lost,
        published,
        cpu_percent: status.links.first().map_or(0.0, |link| link.thread.cpu_percent),
        warnings: status.warnings,
    })
}

/// One CADU every 51 µs, the next only when the last is visible or its time has come.
fn latency(budget_s: f64) -> Result<Measured, String> {
    let stream = made(0)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let daemon = Daemon::start(&listener, "busy", RINGS)?;
    let (mut connection, _) = listener.accept().map_err(text)?;
    connection.set_nodelay(true).map_err(text)?;
    let mut consumer = Consumer::attach(&daemon.rings(), RING, "bench", Resume::Oldest).map_err(text)?;
    let frames_s = LATENCY_BPS / (8.0 * CADU as f64);
    let histogram = std::thread::scope(|scope| {
        let measure = scope.spawn(|| {
            let _ = realtime::pin_to(realtime::allowed_cores().first().copied().unwrap_or(0));
            measure_latency(
                &mut connection,
                &mut consumer,
                &stream.bytes,
                frames_s,
                budget_s.clamp(1.0, 15.0),
            )
        });
        measure.join().unwrap_or_else(|_| Err("the measuring thread panicked".to_owned()))
    })?;
    let status: Status = daemon.get("/status")?;
    let us = |ns: u64| ns as f64 / 1e3;
    let note = format!(
        "from before the write of a CADU's last octet to the frame visible here; p99 {:.1} us, p99.9 {:.1} us, max {:.1} us, \
         {} frames{}",
        us(histogram.value_at_quantile(0.99)),
        us(histogram.value_at_quantile(0.999)),
        us(histogram.max()),
        histogram.len(),
        if status.warnings.is_empty() { String::new() } else { format!("; {}", status.warnings.join("; ")) },
    );
    Ok(Measured { ours: us(histogram.value_at_quantile(0.5)), peer: None, note })
}

fn measure_latency(
    connection: &mut TcpStream,
    consumer: &mut Consumer,
    stream: &[u8],
    frames_s: f64,
    seconds: f64,
) -> Result<Histogram<u64>, String> {
    // Until the synchroniser is in lock, frames are held back: the first ones are not measured.
    const WARM_UP: usize = 200;
    // Recording saturates: the bounds must hold the worst there can be.
    let mut histogram = Histogram::new_with_bounds(1, PATIENCE.as_nanos() as u64, 3).map_err(text)?;
    let mut seen = 0;
    let start = Instant::now();
    let total = WARM_UP + (frames_s * seconds) as usize;
    for (index, cadu) in stream.chunks(CADU).cycle().take(total).enumerate() {
        let due = Duration::from_secs_f64(index as f64 / frames_s);
        while start.elapsed() < due {
            std::hint::spin_loop();
        }
        let sent = Instant::now();
        connection.write_all(cadu).map_err(text)?;
        loop {
            match consumer.peek() {
                Poll::Record(_) => {
                    consumer.skip();
                    seen += 1;
                    if seen > index {
                        break;
                    }
                }
                Poll::Empty if index < WARM_UP && sent.elapsed() > Duration::from_millis(1) => break,
                Poll::Empty => std::hint::spin_loop(),
                other => return Err(format!("the ring says {other:?}")),
            }
            if sent.elapsed() > PATIENCE {
                return Err(format!("frame {index} never came"));
            }
        }
        if index >= WARM_UP {
            histogram.saturating_record(sent.elapsed().as_nanos() as u64);
        }
    }
    Ok(histogram)
}
