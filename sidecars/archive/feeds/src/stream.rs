//! One client over TCP, served by a thread of its own until one of the two has enough.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::Connection;
use crate::pipe::{Pipe, PipeError};
use crate::status::ClientState;
use fep_feed_wire::control::FromClient;
use fep_feed_wire::spec::Form;
use fep_feed_wire::wire::{CLIENT_MESSAGE_MAX, Decoder, Message};

/// Octets held ready for the socket.
const READY: usize = 256 << 10;

/// Things taken from the sources, and pieces taken from the client, in one turn: between turns it is looked whether to go on.
const TAKES_A_TURN: usize = 4096;
const READS_A_TURN: usize = 64;

/// Longest sleep while the sources have nothing.
const IDLE_MAX: Duration = Duration::from_millis(5);

/// How a connection is to be served.
pub(crate) struct Service<'a> {
    pub(crate) form: Form,
    /// The client said in its hello that it acknowledges, or is configured to.
    pub(crate) acknowledges: bool,
    pub(crate) stalled_after: Duration,
    pub(crate) alive_every: Duration,
    /// Why to end, if so: the process stops, the feed is disabled, a newer connection has come, the client may not stay.
    pub(crate) ends: &'a mut dyn FnMut() -> Option<End>,
}

/// Serves the connection; returns why it ended. The pipe is left with everything confirmed that arrived.
pub(crate) fn serve(
    service: &mut Service<'_>,
    stream: &mut Connection,
    pipe: &mut Pipe,
    client: &ClientState,
    greeting: Vec<u8>,
) -> End {
    let mut served = Serving {
        ready: greeting,
        start: 0,
        written: 0,
        decoder: Decoder::new(CLIENT_MESSAGE_MAX),
        moved: Instant::now(),
        spoke: Instant::now(),
    };
    match served.run(service, stream, pipe, client) {
        Ok(end) | Err(end) => end,
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The process stops, the feed is disabled, or a newer connection has come.
    #[error("ended by the feed")]
    Feed,
    /// The client may not stay.
    #[error("{0}")]
    Expired(String),
    /// The client closed it.
    #[error("closed by the client")]
    Closed,
    /// The client took nothing for so long.
    #[error("took nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Cursor or sources.
    #[error(transparent)]
    Pipe(PipeError),
    /// The system.
    #[error(transparent)]
    Io(io::Error),
    /// The client said what it should not.
    #[error("{0}")]
    Protocol(String),
}

impl From<PipeError> for End {
    fn from(error: PipeError) -> End {
        End::Pipe(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

struct Serving {
    ready: Vec<u8>,
    start: usize,
    written: u64,
    decoder: Decoder,
    /// When the client last took something, or there was nothing for it.
    moved: Instant,
    /// When something was last written.
    spoke: Instant,
}

impl Serving {
    fn run(
        &mut self,
        service: &mut Service<'_>,
        stream: &mut Connection,
        pipe: &mut Pipe,
        client: &ClientState,
    ) -> Result<End, End> {
        stream.socket().set_nonblocking(true)?;
        stream.socket().set_nodelay(true)?;
        let mut idle = Duration::from_micros(250);
        loop {
            if let Some(end) = (service.ends)() {
                return Ok(end);
            }
            let nothing = self.fill(pipe)?;
            if self.ready.is_empty()
                && service.form == Form::Framed
                && self.spoke.elapsed() > service.alive_every
            {
                pipe.alive(&mut self.ready);
            }
            let wrote = self.write(stream)?;
            if self.read(service, stream, pipe)? {
                return Ok(End::Closed);
            }
            if !service.acknowledges {
                pipe.delivery.arrived(self.written.saturating_sub(stream.unconfirmed()?));
            }
            pipe.attend(client)?;
            let blocked = !self.ready.is_empty() || stream.flush_ready()?;
            if wrote || !blocked {
                self.moved = Instant::now();
            } else if self.moved.elapsed() > service.stalled_after {
                return Ok(End::Stalled(service.stalled_after));
            }
            if nothing && !blocked {
                idle = (idle * 2).min(IDLE_MAX);
            } else {
                idle = Duration::from_micros(250);
            }
            if nothing || blocked {
                wait(stream.socket(), blocked, idle)?;
            }
        }
    }

    /// Makes octets ready. Whether the sources have nothing more for now. What a filter drops makes nothing ready, however
    /// much it is.
    fn fill(&mut self, pipe: &mut Pipe) -> Result<bool, End> {
        for _ in 0..TAKES_A_TURN {
            if self.ready.len() - self.start >= READY {
                break;
            }
            if !pipe.take(&mut self.ready)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write(&mut self, stream: &mut Connection) -> Result<bool, End> {
        let mut wrote = false;
        while self.start < self.ready.len() {
            match stream.write(&self.ready[self.start..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(octets) => {
                    self.start += octets;
                    self.written += octets as u64;
                    self.spoke = Instant::now();
                    wrote = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.start == self.ready.len() {
            self.ready.clear();
            self.start = 0;
        } else if self.start >= READY {
            self.ready.drain(..self.start);
            self.start = 0;
        }
        Ok(wrote)
    }

    /// Takes what the client says, but not without end where it never stops. Whether it has closed the connection.
    fn read(&mut self, service: &Service<'_>, stream: &mut Connection, pipe: &mut Pipe) -> Result<bool, End> {
        let mut octets = [0; 4096];
        for _ in 0..READS_A_TURN {
            match stream.read(&mut octets) {
                Ok(0) => return Ok(true),
                // A raw feed has nothing to listen to; what comes is taken off the socket and means nothing.
                Ok(_) if service.form == Form::Raw => {}
                Ok(taken) => {
                    self.decoder.push(&octets[..taken]);
                    self.messages(pipe)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn messages(&mut self, pipe: &mut Pipe) -> Result<(), End> {
        loop {
            match self.decoder.next_message() {
                Ok(None) => return Ok(()),
                Ok(Some(Message::Acknowledgement(number))) => {
                    pipe.delivery.acknowledged(number).map_err(End::Protocol)?;
                }
                Ok(Some(Message::Control(_))) => {
                    return Err(End::Protocol("a second hello: one is said, first".to_owned()));
                }
                Ok(Some(Message::Record(..))) => {
                    return Err(End::Protocol("a record from a client".to_owned()));
                }
                Err(error) => return Err(End::Protocol(error.to_string())),
            }
        }
    }
}

/// Waits until the client says something, takes something (if it is blocked), or the time is over.
fn wait(stream: &TcpStream, blocked: bool, idle: Duration) -> io::Result<()> {
    let flags = if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let timeout = if blocked { Duration::from_millis(50) } else { idle };
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) };
    match poll(&mut [PollFd::new(stream, flags)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads the hello of a client of a framed feed, until `deadline` at most.
///
/// # Errors
/// What is wrong, and what would be right.
pub(crate) fn hello(stream: &mut Connection, deadline: Instant) -> Result<FromClient, (String, String)> {
    const RIGHT: &str =
        "a hello as the first message, e.g. {\"say\":\"hello\",\"protocol\":1,\"client\":\"archive-2\"}";
    let begun = Instant::now();
    let failed = |what: String| (what, RIGHT.to_owned());
    let mut decoder = Decoder::new(CLIENT_MESSAGE_MAX);
    let mut octets = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(format!("no hello within {} s", begun.elapsed().as_secs())));
        }
        stream.socket().set_read_timeout(Some(left)).map_err(|error| failed(error.to_string()))?;
        // One octet at a time would be exact; a client says nothing more before it is welcome.
        match stream.read(&mut octets) {
            Ok(0) => return Err(failed("closed before its hello".to_owned())),
            Ok(taken) => decoder.push(&octets[..taken]),
            // Over its time is what the beginning of the loop finds.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                continue;
            }
            Err(error) => return Err(failed(format!("no hello: {error}"))),
        }
        match decoder.next_message() {
            Ok(None) => {}
            Ok(Some(Message::Control(json))) => {
                return serde_json::from_slice(json).map_err(|error| failed(format!("no hello: {error}")));
            }
            Ok(Some(_)) => return Err(failed("something else than a hello".to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}
