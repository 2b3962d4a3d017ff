//! Station links over loopback, beside a plain blocking `read` loop of the standard library in the same run.
//!
//! Receiver and sender are each pinned to a core of their own. The sink makes one pass over every octet, as a synchroniser would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fep_net::{Event, Link, LinkSpec, LinkState, WaitMode};
use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{Case, Measured};

const PEER: &str = "std read loop";
const RECEIVER_CORE: usize = 0;
const SENDER_CORE: usize = 1;
/// One CADU: marker, frame and check symbols.
const CADU_BYTES: usize = 1279;
/// Ours and the peer take turns so often; the best of each counts.
const ROUNDS: u32 = 3;

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, unit, run: fn(f64) -> Measured| Case {
        name: name.into(),
        unit,
        peer_name: PEER,
        run: Box::new(run),
    };
    vec![
        case("net/tcp/loopback", "Gbit/s", tcp_loopback),
        case("net/tcp/receive-alone", "Gbit/s", tcp_receive_alone),
        case("net/udp/loopback", "Gbit/s", udp_loopback),
        case("net/udp/1gbit", "% received", udp_at_one_gigabit),
        case("net/tcp/latency-200mbit", "us p50 (less is better)", tcp_latency),
    ]
}

/// A pass over every octet, fast enough not to be what is measured.
fn pass(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum ^ u64::from_le_bytes(*word))
}

/// The octets that an event brings.
fn octets<'e>(event: &Event<'e>) -> Option<&'e [u8]> {
    if let Event::Chunk(chunk) = event { Some(chunk.octets) } else { None }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    // A machine with one core measures both on it; the figure says so by being poor.
    let _ = sched_setaffinity(None, &cores);
}

/// Runs `work` on a thread pinned to the receiver's core, so that the harness's own thread stays unpinned.
fn on_receiver_core<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin(RECEIVER_CORE);
            work()
        });
        pinned.join().expect("the receiver does not panic")
    })
}

/// Sends until told to stop; the sockets close when it ends.
struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Sender {
    fn start(mut send: impl FnMut() -> std::io::Result<()> + Send + 'static) -> Sender {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (stop.clone(), sent.clone());
        let (pinned, is_pinned) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            pin(SENDER_CORE);
            // A busy receiver must not spin before the new thread has left its core.
            let _ = pinned.send(());
            while !told.load(Ordering::Relaxed) && send().is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        is_pinned.recv().expect("the sender has started");
        Sender { stop, sent, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sender does not panic");
        self.sent.load(Ordering::Relaxed)
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn busy(mut spec: LinkSpec) -> Link {
    spec.wait = WaitMode::Busy;
    Link::open(spec).expect("io_uring and loopback are there")
}

fn gigabits(bytes: u64, start: Instant) -> f64 {
    bytes as f64 * 8e-9 / start.elapsed().as_secs_f64()
}

/// Ours and the peer by turns; the best round of each.
fn by_turns(
    budget_s: f64,
    ours: impl Fn(Duration) -> f64 + Sync,
    peer: impl Fn(Duration) -> f64 + Sync,
) -> (f64, f64) {
    let each = Duration::from_secs_f64(budget_s / f64::from(2 * ROUNDS));
    (0..ROUNDS).fold((0.0, 0.0), |(a, b): (f64, f64), _| {
        (a.max(on_receiver_core(|| ours(each))), b.max(on_receiver_core(|| peer(each))))
    })
}

fn tcp_flood(to: SocketAddr) -> Sender {
    let mut stream = TcpStream::connect(to).expect("the receiver listens");
    let block = vec![0x5a; 256 << 10];
    Sender::start(move || stream.write_all(&block))
}

/// Sends pages of a file without copying them, so that the sender is not what is measured.
fn tcp_flood_of_pages(to: SocketAddr) -> Sender {
    const OCTETS: usize = 4 << 20;
    let stream = TcpStream::connect(to).expect("the receiver listens");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&vec![0x5a; OCTETS]).expect("room for 4 MiB");
    Sender::start(move || {
        let mut offset = 0;
        Ok(rustix::fs::sendfile(&stream, &file, Some(&mut offset), OCTETS).map(|_| ())?)
    })
}

fn tcp_loopback(budget_s: f64) -> Measured {
    tcp_stream(budget_s, tcp_flood, "a copying sender is the limit")
}

fn tcp_receive_alone(budget_s: f64) -> Measured {
    tcp_stream(budget_s, tcp_flood_of_pages, "the sender copies nothing (sendfile)")
}

fn tcp_stream(budget_s: f64, flood: fn(SocketAddr) -> Sender, sender: &str) -> Measured {
    let ours = |time: Duration| {
        let mut link = busy(LinkSpec::tcp_server(loopback()));
        let sender = flood(link.local_address().expect("it listens"));
        while *link.state() != LinkState::Connected {
            link.poll(&mut |_| ());
        }
        let (start, before, mut sum) = (Instant::now(), link.counters().bytes, 0);
        while start.elapsed() < time {
            link.poll(&mut |event| sum ^= octets(&event).map_or(0, pass));
        }
        let rate = gigabits(link.counters().bytes - before, start);
        std::hint::black_box(sum);
        drop(link);
        sender.stop();
        rate
    };
    let peer = |time: Duration| {
        let listener = TcpListener::bind(loopback()).expect("loopback is there");
        let sender = flood(listener.local_addr().expect("it listens"));
        let (mut stream, _) = listener.accept().expect("the sender connects");
        let mut buffer = vec![0; 128 << 10];
        let (start, mut bytes, mut sum) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            let len = stream.read(&mut buffer).expect("the sender sends");
            sum ^= pass(&buffer[..len]);
            bytes += len as u64;
        }
        let rate = gigabits(bytes, start);
        std::hint::black_box(sum);
        drop(stream);
        sender.stop();
        rate
    };
    let (ours, peer) = by_turns(budget_s, ours, peer);
    Measured {
        ours,
        peer: Some(peer),
        note: format!("one receiving core, 128 KiB buffers, a pass over every octet; {sender}"),
    }
}

fn udp_flood(to: SocketAddr) -> Sender {
    let socket = UdpSocket::bind(loopback()).expect("loopback is there");
    socket.connect(to).expect("an address");
    let datagram = [0x5a; CADU_BYTES];
    // A datagram nobody has room for is the receiver's loss, not an error of the sender.
    Sender::start(move || {
        let _ = socket.send(&datagram);
        Ok(())
    })
}

/// The peer's socket, with as much buffer as the system grants without privileges (ours asks for 32 MiB with them).
fn udp_peer() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).expect("loopback is there");
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 32 << 20).expect("cut to the limit");
    socket
}

fn udp_loopback(budget_s: f64) -> Measured {
    let ours = |time: Duration| {
        let mut link = busy(LinkSpec::udp(loopback()));
        let sender = udp_flood(link.local_address().expect("it is bound"));
        let (start, mut sum) = (Instant::now(), 0);
        while start.elapsed() < time {
            link.poll(&mut |event| sum ^= octets(&event).map_or(0, pass));
        }
        let rate = gigabits(link.counters().bytes, start);
        std::hint::black_box(sum);
        sender.stop();
        rate
    };
    let peer = |time: Duration| {
        let socket = udp_peer();
        let sender = udp_flood(socket.local_addr().expect("it is bound"));
        let mut buffer = [0; 9216];
        let (start, mut bytes, mut sum) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            let len = socket.recv(&mut buffer).expect("the sender sends");
            sum ^= pass(&buffer[..len]);
            bytes += len as u64;
        }
        let rate = gigabits(bytes, start);
        std::hint::black_box(sum);
        sender.stop();
        rate
    };
    let (ours, peer) = by_turns(budget_s, ours, peer);
    let note = format!(
        "datagrams of {CADU_BYTES} octets, sent as fast as one core can; ours with kernel time stamps"
    );
    Measured { ours, peer: Some(peer), note }
}

/// Sends a datagram whenever the clock says that one is due.
fn udp_paced(to: SocketAddr, bit_rate: f64) -> Sender {
    let socket = UdpSocket::bind(loopback()).expect("loopback is there");
    socket.connect(to).expect("an address");
    let (datagram, start, mut sent) = ([0x5a; CADU_BYTES], Instant::now(), 0u64);
    Sender::start(move || {
        while (sent * CADU_BYTES as u64 * 8) as f64 > start.elapsed().as_secs_f64() * bit_rate {
            std::hint::spin_loop();
        }
        sent += 1;
        let _ = socket.send(&datagram);
        Ok(())
    })
}

fn udp_at_one_gigabit(budget_s: f64) -> Measured {
    let time = Duration::from_secs_f64(budget_s / 2.0);
    let drain = Duration::from_millis(100);
    let (ours, dropped) = on_receiver_core(|| {
        let mut link = busy(LinkSpec::udp(loopback()));
        let sender = udp_paced(link.local_address().expect("it is bound"), 1e9);
        let (start, mut sum) = (Instant::now(), 0);
        while start.elapsed() < time {
            link.poll(&mut |event| sum ^= octets(&event).map_or(0, pass));
        }
        let sent = sender.stop();
        while start.elapsed() < time + drain {
            link.poll(&mut |event| sum ^= octets(&event).map_or(0, pass));
        }
        std::hint::black_box(sum);
        (link.counters().datagrams as f64 * 100.0 / sent as f64, link.counters().kernel_drops)
    });
    let peer = on_receiver_core(|| {
        let socket = udp_peer();
        socket.set_read_timeout(Some(drain)).expect("a timeout");
        let sender = udp_paced(socket.local_addr().expect("it is bound"), 1e9);
        let (start, mut received, mut sum, mut buffer) = (Instant::now(), 0u64, 0, [0; 9216]);
        let mut take = |received: &mut u64| match socket.recv(&mut buffer) {
            Ok(len) => {
                sum ^= pass(&buffer[..len]);
                *received += 1;
                true
            }
            Err(_) => false,
        };
        while start.elapsed() < time {
            take(&mut received);
        }
        let sent = sender.stop();
        while take(&mut received) {}
        std::hint::black_box(sum);
        received as f64 * 100.0 / sent as f64
    });
    let note = format!("1 Gbit/s of {CADU_BYTES}-octet datagrams; ours dropped {dropped} in the kernel");
    Measured { ours, peer: Some(peer), note }
}

/// Sends CADUs at 200 Mbit/s, each beginning with the time it was handed to the socket.
fn tcp_stamped(to: SocketAddr, epoch: Instant) -> Sender {
    let mut stream = TcpStream::connect(to).expect("the receiver listens");
    stream.set_nodelay(true).expect("a TCP option");
    let (start, mut sent) = (Instant::now(), 0u64);
    Sender::start(move || {
        while (sent * CADU_BYTES as u64 * 8) as f64 > start.elapsed().as_secs_f64() * 200e6 {
            std::hint::spin_loop();
        }
        sent += 1;
        let mut cadu = [0; CADU_BYTES];
        cadu[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
        stream.write_all(&cadu)
    })
}

/// Finds the time stamps in a stream of stamped CADUs cut anywhere.
#[derive(Default)]
struct Stamps {
    held: Vec<u8>,
    position: usize,
}

impl Stamps {
    fn take(&mut self, bytes: &[u8], now_ns: u64, latencies: &mut Histogram<u64>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = rest.len().min(CADU_BYTES - self.position);
            let wanted = 8 - self.held.len();
            self.held.extend_from_slice(&rest[..len.min(wanted)]);
            self.position += len;
            rest = &rest[len..];
            if self.position == CADU_BYTES {
                if let Some(stamp) = self.held.first_chunk::<8>() {
                    latencies.saturating_record(now_ns.saturating_sub(u64::from_le_bytes(*stamp)));
                }
                self.held.clear();
                self.position = 0;
            }
        }
    }
}

fn tcp_latency(budget_s: f64) -> Measured {
    let time = Duration::from_secs_f64(budget_s / 2.0);
    let fresh = || Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3).expect("valid bounds");
    let epoch = Instant::now();
    let ours = on_receiver_core(|| {
        let (mut latencies, mut stamps) = (fresh(), Stamps::default());
        let mut link = busy(LinkSpec::tcp_server(loopback()));
        let sender = tcp_stamped(link.local_address().expect("it listens"), epoch);
        let start = Instant::now();
        while start.elapsed() < time {
            link.poll(&mut |event| {
                if let Some(octets) = octets(&event) {
                    stamps.take(octets, epoch.elapsed().as_nanos() as u64, &mut latencies);
                }
            });
        }
        drop(link);
        sender.stop();
        latencies
    });
    let peer = on_receiver_core(|| {
        let (mut latencies, mut stamps, mut buffer) = (fresh(), Stamps::default(), vec![0; 128 << 10]);
        let listener = TcpListener::bind(loopback()).expect("loopback is there");
        let sender = tcp_stamped(listener.local_addr().expect("it listens"), epoch);
        let (mut stream, _) = listener.accept().expect("the sender connects");
        let start = Instant::now();
        while start.elapsed() < time {
            let len = stream.read(&mut buffer).expect("the sender sends");
            stamps.take(&buffer[..len], epoch.elapsed().as_nanos() as u64, &mut latencies);
        }
        drop(stream);
        sender.stop();
        latencies
    });
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let note = format!(
        "p99 {:.1} us, p99.9 {:.1} us; peer p99 {:.1} us, p99.9 {:.1} us",
        us(&ours, 0.99),
        us(&ours, 0.999),
        us(&peer, 0.99),
        us(&peer, 0.999)
    );
    Measured { ours: us(&ours, 0.5), peer: Some(us(&peer, 0.5)), note }
}
