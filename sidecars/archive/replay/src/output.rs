//! The ways out of a replay. None of them blocks: what cannot go now is offered again.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fep_bus::{ClaimError, OnFull, Producer, RingSpec, Tag, Warden, WardenSpec};
use fep_feed_wire::control::{FromFeed, PROTOCOL, SourcePlace, to_json};
use fep_feed_wire::wire::{RECORD_HEAD_LEN, RecordHead, encode_control, encode_record};
use fep_record::{KIND_FRAME, REPLAY_RING_PREFIX, Session};
use fep_segments::Stream;

use crate::live::Live;
use crate::reel::Played;
use crate::target::Form;

/// Octets collected before they are written.
const BATCH: usize = 256 << 10;
/// Longest payload of a UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is on its way.
    Taken,
    /// There is no room now.
    Full,
    /// It can never go this way: its length, or the system's refusal.
    Unfit,
}

/// A way out.
pub(crate) trait Output: Send {
    /// Offers a record, which is marked as replayed already.
    fn offer(&mut self, played: &Played, tag: Tag, payload: &[u8]) -> io::Result<Offer>;

    /// Sends what was only collected so far, as far as it goes.
    fn flush(&mut self) -> io::Result<()>;

    /// Waits a little for room, or for the receiver; `within` at most.
    fn wait(&mut self, within: Duration) -> io::Result<()>;

    /// Whether everything taken has left.
    fn is_drained(&mut self) -> bool;
}

/// The octets of one record as `form` has it.
struct Encoder {
    form: Form,
    number: u64,
}

impl Encoder {
    fn welcome(form: Form, name: &str, streams: &[Stream], out: &mut Vec<u8>) -> Encoder {
        if form == Form::Framed {
            let sources = streams.iter().map(|stream| SourcePlace {
                ring: stream.to_string(),
                series: 0,
                next_seq: 0,
                sent_before_seq: 0,
            });
            let said = FromFeed::Welcome {
                protocol: PROTOCOL,
                feed: format!("{REPLAY_RING_PREFIX}{name}"),
                client: name.to_owned(),
                session: Session::Replay,
                sources: sources.collect(),
            };
            encode_control(&to_json(&said), out);
        }
        Encoder { form, number: 0 }
    }

    fn encode(&mut self, played: &Played, tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
        self.number += 1;
        match self.form {
            Form::Raw => out.extend_from_slice(payload),
            Form::Framed => {
                let (number, source, seq) = (self.number, played.stream, played.record.seq);
                let head = RecordHead { number, source, seq, repeated: false, live: false, tag };
                encode_record(&head, payload, out);
            }
        }
    }
}

/// A stream of octets over TCP.
pub(crate) struct TcpOutput {
    stream: Option<TcpStream>,
    listener: Option<TcpListener>,
    live: Live,
    encoder: Encoder,
    ready: Vec<u8>,
    start: usize,
    /// Raw frames: nothing else tells where one ends, so all have the length of the first.
    frame_len: Option<usize>,
}

impl TcpOutput {
    pub(crate) fn connect(
        address: SocketAddr,
        form: Form,
        name: &str,
        streams: &[Stream],
    ) -> io::Result<TcpOutput> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        let mut output = TcpOutput::new(None, Live::default(), form, name, streams);
        output.adopt(stream)?;
        Ok(output)
    }

    pub(crate) fn listen(
        bind: SocketAddr,
        live: Live,
        form: Form,
        name: &str,
        streams: &[Stream],
    ) -> io::Result<TcpOutput> {
        let listener = TcpListener::bind(bind)?;
        listener.set_nonblocking(true)?;
        Ok(TcpOutput::new(Some(listener), live, form, name, streams))
    }

    /// The address listened at, while nobody has come.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    fn new(
        listener: Option<TcpListener>,
        live: Live,
        form: Form,
        name: &str,
        streams: &[Stream],
    ) -> TcpOutput {
        let mut ready = Vec::with_capacity(2 * BATCH);
        let encoder = Encoder::welcome(form, name, streams, &mut ready);
        TcpOutput { stream: None, listener, live, encoder, ready, start: 0, frame_len: None }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        self.listener = None;
        Ok(())
    }

    /// Takes the first receiver that connects; `false` while nobody has. A live process of ours is none: it took this address for
    /// that of a station, and would take what it receives for live.
    fn has_receiver(&mut self) -> io::Result<bool> {
        if self.stream.is_some() {
            return Ok(true);
        }
        let Some(listener) = &self.listener else { return Ok(false) };
        match listener.accept() {
            Ok((stream, peer)) => {
                let own = stream.local_addr()?;
                if let Err(who) = self.live.check_peer(peer, own) {
                    return Err(io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!("{who}: nothing is replayed"),
                    ));
                }
                self.adopt(stream).map(|()| true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Output for TcpOutput {
    fn offer(&mut self, played: &Played, tag: Tag, payload: &[u8]) -> io::Result<Offer> {
        if !self.has_receiver()? {
            return Ok(Offer::Full);
        }
        if self.ready.len() - self.start >= BATCH {
            self.flush()?;
            if self.ready.len() - self.start >= BATCH {
                return Ok(Offer::Full);
            }
        }
        if self.encoder.form == Form::Raw
            && tag.kind == KIND_FRAME
            && *self.frame_len.get_or_insert(payload.len()) != payload.len()
        {
            return Ok(Offer::Unfit);
        }
        self.encoder.encode(played, tag, payload, &mut self.ready);
        Ok(Offer::Taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.has_receiver()? {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.start < self.ready.len() {
            match stream.write(&self.ready[self.start..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(octets) => self.start += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.ready.clear();
        self.start = 0;
        Ok(())
    }

    fn wait(&mut self, within: Duration) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(within.subsec_nanos()) };
        let waited = match (&self.stream, &self.listener) {
            (Some(stream), _) => poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timeout)),
            (None, Some(listener)) => poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout)),
            (None, None) => Ok(0),
        };
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_drained(&mut self) -> bool {
        self.ready.is_empty()
    }
}

/// A record a datagram.
pub(crate) struct UdpOutput {
    socket: UdpSocket,
    to: SocketAddr,
    encoder: Encoder,
    datagram: Vec<u8>,
}

impl UdpOutput {
    pub(crate) fn new(to: SocketAddr, form: Form, name: &str, streams: &[Stream]) -> io::Result<UdpOutput> {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        let mut datagram = Vec::new();
        let encoder = Encoder::welcome(form, name, streams, &mut datagram);
        if !datagram.is_empty() {
            socket.send_to(&datagram, to)?;
        }
        Ok(UdpOutput { socket, to, encoder, datagram })
    }
}

impl Output for UdpOutput {
    fn offer(&mut self, played: &Played, tag: Tag, payload: &[u8]) -> io::Result<Offer> {
        let head_len = if self.encoder.form == Form::Framed { RECORD_HEAD_LEN } else { 0 };
        if head_len + payload.len() > DATAGRAM_MAX {
            return Ok(Offer::Unfit);
        }
        self.datagram.clear();
        self.encoder.encode(played, tag, payload, &mut self.datagram);
        match self.socket.send_to(&self.datagram, self.to) {
            Ok(_) => Ok(Offer::Taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.encoder.number -= 1;
                Ok(Offer::Full)
            }
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, within: Duration) -> io::Result<()> {
        std::thread::sleep(within.min(Duration::from_millis(1)));
        Ok(())
    }

    fn is_drained(&mut self) -> bool {
        true
    }
}

/// How often a replay ring's consumers are looked after.
const SCAN_EVERY: Duration = Duration::from_millis(1);

/// A ring of the replay's own, which waits for its consumers.
pub(crate) struct RingOutput {
    producer: Producer,
    warden: Warden,
    directory: PathBuf,
    scanned: Instant,
}

impl RingOutput {
    /// Lays out `replay.NAME.frames` (or `.packets`, `.events`), named after what the first stream holds.
    pub(crate) fn new(
        rings: &Path,
        name: &str,
        streams: &[Stream],
        consumers: &[String],
    ) -> Result<RingOutput, fep_bus::BusError> {
        let stream = streams.first();
        let content =
            stream.and_then(|stream| stream.ring.rsplit_once('.')).map_or("frames", |(_, content)| content);
        let ring_name = format!("{REPLAY_RING_PREFIX}{name}.{content}");
        let colour = stream.map_or(fep_bus::Colour::Black, |stream| stream.colour);
        let mode = if colour == fep_bus::Colour::Red { 0o600 } else { 0o640 };
        let spec = RingSpec {
            colour,
            desc_log2: 14,
            data_len: 32 << 20,
            extent_len: 4 << 20,
            payload_max: 1 << 20,
            gates: consumers.to_vec(),
            on_full: OnFull::Wait,
            mode,
            // A consumer that looks at the schema alone cannot take it for a live ring either.
            ..RingSpec::new(ring_name.clone(), "ccsds.replay.v1")
        };
        let producer = Producer::create_or_attach(rings, &spec)?;
        let warden =
            Warden::open(rings, &format!("{}/{ring_name}", colour.directory()), WardenSpec::default())?;
        let directory = rings.join(colour.directory()).join(&ring_name);
        let mut output = RingOutput { producer, warden, directory, scanned: Instant::now() };
        output.attend(true);
        Ok(output)
    }

    /// Signs of life, and the limit moved to where the consumers are.
    fn attend(&mut self, now: bool) {
        if now || self.scanned.elapsed() >= SCAN_EVERY {
            self.scanned = Instant::now();
            let now = fep_time::Monotonic::now();
            self.producer.housekeep(now);
            self.warden.scan(now, &mut |event| tracing::debug!(?event, "replay ring"));
        }
    }
}

impl Output for RingOutput {
    fn offer(&mut self, _played: &Played, tag: Tag, payload: &[u8]) -> io::Result<Offer> {
        self.attend(false);
        match self.producer.claim(payload.len()) {
            Ok(mut claim) => {
                claim.write(payload);
                claim.commit(Tag { published: fep_time::tai_now(), ..tag });
                Ok(Offer::Taken)
            }
            Err(ClaimError::Full) => Ok(Offer::Full),
            Err(ClaimError::TooLong { .. }) => Ok(Offer::Unfit),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attend(true);
        Ok(())
    }

    fn wait(&mut self, within: Duration) -> io::Result<()> {
        std::thread::sleep(within.min(SCAN_EVERY));
        self.attend(true);
        Ok(())
    }

    fn is_drained(&mut self) -> bool {
        self.attend(true);
        let head = self.producer.head().seq;
        let waits_for = |status: &fep_bus::GateStatus| {
            use fep_bus::GateState::{Absent, Gated, Warned};
            match status.state {
                Absent => head > 1,
                Gated | Warned => status.lag_records > 0,
                _ => false,
            }
        };
        !self.warden.status().unwrap_or_default().iter().any(waits_for)
    }
}

impl Drop for RingOutput {
    fn drop(&mut self) {
        // The name goes first, so that nobody attaches to what is over; who has it mapped reads on to its end.
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!("{}: {error}", self.directory.display());
        }
    }
}
