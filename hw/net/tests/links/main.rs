//! Links against real sockets, lines and files of this host. Sockets stay on 127.0.0.0/8.

mod netns;
mod reader;
mod serial;
mod spec;
mod station;
mod tcp;
mod transmit;
mod udp;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fep_net::{EndReason, Event, Link, Polled, Refusal, TransmitFault};

/// Far beyond what any of these tests needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address of the loopback interface with a port of the kernel's choice.
fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// What a link delivered.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// Sizes of the chunks.
    sizes: Vec<usize>,
    /// Offsets in `bytes` at which a connection started.
    starts: Vec<usize>,
    /// Offsets in `bytes` at which a connection ended, and why.
    ends: Vec<(usize, EndReason)>,
    silences: usize,
    /// Who was refused, and why.
    refused: Vec<(Option<SocketAddr>, Refusal)>,
    /// Why attempts to connect failed.
    connect_faults: Vec<String>,
    /// The other ends of the connections.
    peers: Vec<Option<SocketAddr>>,
    truncated: usize,
    datagrams: usize,
    stamps: Vec<i64>,
    /// Tokens of units that were sent.
    transmitted: Vec<u64>,
    /// Tokens of units that were not, octets of them that were, and why.
    failed: Vec<(u64, usize, TransmitFault)>,
}

impl Received {
    fn turn(&mut self, link: &mut Link) -> Polled {
        link.poll(&mut |event| self.take(event))
    }

    /// Takes an event, and asserts what holds of all links: connections and their ends alternate, octets lie between them.
    fn take(&mut self, event: Event<'_>) {
        let connected = self.starts.len() > self.ends.len();
        match event {
            Event::Refused { peer, reason, .. } => self.refused.push((peer, reason)),
            Event::ConnectFailed { cause, .. } => self.connect_faults.push(cause.to_owned()),
            Event::Connected { peer, .. } => {
                assert!(!connected, "connected twice");
                self.peers.push(peer);
                self.starts.push(self.bytes.len());
            }
            Event::Disconnected { reason, .. } => {
                assert!(connected, "disconnected without a connection");
                self.ends.push((self.bytes.len(), reason));
            }
            Event::Chunk(chunk) => {
                assert!(connected, "octets without a connection");
                self.bytes.extend_from_slice(chunk.octets);
                self.sizes.push(chunk.octets.len());
                self.truncated += usize::from(chunk.truncated);
                self.datagrams += usize::from(chunk.unit);
                self.stamps.push(chunk.received.0);
            }
            Event::Silence { last_received, .. } => {
                assert_eq!(self.stamps.last(), Some(&last_received.0));
                self.silences += 1;
            }
            Event::Transmitted { token, .. } => {
                assert!(connected, "a completion without a connection");
                self.transmitted.push(token);
            }
            Event::TransmitFailed { token, sent_octets, in_doubt_octets, fault, .. } => {
                assert!(connected, "a completion without a connection");
                assert_eq!(in_doubt_octets, 0);
                self.failed.push((token, sent_octets, fault));
            }
        }
    }

    /// Polls until `done`.
    fn until(&mut self, link: &mut Link, done: impl Fn(&Received, &Link) -> bool) {
        let start = Instant::now();
        while !done(self, link) {
            self.turn(link);
            let (state, fault) = (link.state(), link.last_fault());
            assert!(
                start.elapsed() < PATIENCE,
                "still waiting with {} octets, {state:?}, {fault:?}, {:?}",
                self.bytes.len(),
                link.counters()
            );
        }
    }
}

/// Octets that repeat nowhere soon, so that a lost or doubled piece shows.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}

/// The counters of causes always add up.
fn assert_balanced(link: &Link) {
    let c = link.counters();
    let causes = c.disconnects_by_peer
        + c.disconnects_by_us
        + c.disconnects_by_error
        + c.disconnects_by_protocol
        + c.resets
        + c.half_open;
    assert_eq!(c.disconnects, causes, "{c:?}");
    let open = c.connections - c.disconnects;
    assert!(open <= 1, "{c:?}");
}
