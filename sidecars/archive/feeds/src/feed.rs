//! The threads of the feeds: one a feed that listens, connects or sends, and one more a client that connected.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fep_file::FileError;
use fep_kit::Stop;
use fep_record::Session;
use socket2::{SockRef, TcpKeepalive};

use crate::clients::{Clients, Refusal};
use crate::cursor::CursorFile;
use crate::datagrams::{self, Target};
use crate::delivery::{Delivery, Terms};
use crate::pipe::Pipe;
use crate::sources::Sources;
use crate::status::{ClientState, FeedState};
use crate::stream::{self, Service};
use fep_feed_wire::control::{FromClient, FromFeed, PROTOCOL, Start, to_json};
use fep_feed_wire::filter::Filter;
use fep_feed_wire::spec::{FeedSpec, Form, Transport, check_name};
use fep_feed_wire::wire::{MESSAGE_MAX, encode_control};

/// How often a thread that waits for something else looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a client may take for its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A peer that acknowledges nothing for so long is gone (a pulled cable sends no word).
const UNANSWERED_AFTER: Duration = Duration::from_secs(30);
/// Longest name that a ring takes for a consumer.
const CONSUMER_NAME_MAX: usize = 31;
/// Connections beyond `clients_max` that may be greeted at a time, to be told why they are refused.
const GREETED_MAX: usize = 16;
/// Pauses between tries to connect.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Directories that all feeds share.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) rings: PathBuf,
    pub(crate) segments: PathBuf,
    pub(crate) cursors: PathBuf,
    /// Directory in which the objects of the archive's store can be read.
    pub(crate) objects: Option<PathBuf>,
    pub(crate) patience: Duration,
    /// Most names that clients of one feed may have.
    pub(crate) names_max: usize,
    /// Name of this process among the consumers of a ring; "" for none.
    pub(crate) service: String,
}

/// One feed: its configuration, its state, and all that its threads need.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) spec: FeedSpec,
    pub(crate) state: FeedState,
    pub(crate) places: Places,
    pub(crate) clients: Arc<Clients>,
    pub(crate) stop: Stop,
}

/// Who is served, and how.
struct Who {
    name: String,
    start: Start,
    acknowledge: bool,
    filter: Filter,
}

impl Feed {
    /// Runs the feed until the process stops; returns when all its threads have ended.
    pub(crate) fn run(self: &Arc<Feed>) {
        while !self.stop.is_stopping() {
            if !self.state.is_enabled() {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            let ended = match &self.spec.transport {
                Transport::TcpServer { bind, clients_max, .. } => self.listen(*bind, *clients_max),
                Transport::TcpClient { address, acknowledge } => self.connect(*address, *acknowledge),
                Transport::Udp { to, bind, pace_bps, .. } => self.send(*to, *bind, *pace_bps),
            };
            if let Err(problem) = ended {
                self.state.set_problem(Some(problem));
                self.pause(Duration::from_secs(1));
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.state.is_enabled() && !self.stop.is_stopping()
    }

    fn pause(&self, time: Duration) {
        let until = std::time::Instant::now() + time;
        while !self.stop.is_stopping() && std::time::Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn listen(self: &Arc<Feed>, bind: SocketAddr, clients_max: usize) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot listen at {bind}: {error}");
        let listener = TcpListener::bind(bind).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        self.state.listens_at(listener.local_addr().ok().map(|address| address.to_string()));
        self.state.set_problem(None);
        let mut threads: Vec<std::thread::JoinHandle<()>> = Vec::new();
        while self.goes_on() {
            match listener.accept() {
                Ok((stream, peer)) => {
                    threads.retain(|thread| !thread.is_finished());
                    if threads.len() >= clients_max + GREETED_MAX {
                        // So many are being greeted or refused already: this one is closed without a word.
                        continue;
                    }
                    let full = threads.len() >= clients_max;
                    let feed = Arc::clone(self);
                    let name = format!("{}<{peer}", self.state.name);
                    let spawned = std::thread::Builder::new()
                        .name(name)
                        .spawn(move || feed.greet(stream, peer, full.then_some(clients_max)));
                    match spawned {
                        Ok(thread) => threads.push(thread),
                        Err(error) => self.state.set_problem(Some(format!("no thread for {peer}: {error}"))),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                // A connection that was gone before it was taken is nobody's problem.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.state.set_problem(Some(format!("cannot accept at {bind}: {error}")));
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
        self.state.listens_at(None);
        for thread in threads {
            // A client's thread that panicked has told it already.
            let _ = thread.join();
        }
        Ok(())
    }

    /// A client has connected.
    fn greet(&self, mut stream: TcpStream, peer: SocketAddr, full: Option<usize>) {
        let greeted = self.prepare(&stream).map_err(|error| (error.to_string(), String::new()));
        let greeted = greeted.and_then(|()| self.clients.may_connect(&self.spec, peer));
        let who = greeted.and_then(|()| match full {
            Some(clients_max) => {
                Err((format!("{clients_max} clients are connected"), "as many (clients_max)".to_owned()))
            }
            None => self.who(&mut stream),
        });
        let refused = match who {
            Ok(who) => match self.serve_stream(&who, &mut stream, peer) {
                Ok(()) => return,
                Err(problem) => (problem, "nothing the client could do: see the log of fep-feeds".to_owned()),
            },
            Err(refused) => refused,
        };
        let (reason, allowed) = refused;
        tracing::warn!(feed = self.state.name, %peer, "refused: {reason}");
        if self.spec.form == Form::Framed {
            let mut message = Vec::new();
            encode_control(&to_json(&FromFeed::Refused { reason, allowed }), &mut message);
            // The client may be gone; then there is nobody to tell.
            let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
            let _ = stream.write_all(&message);
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(5))
                .with_interval(Duration::from_secs(5))
                .with_retries(3),
        )?;
        socket.set_tcp_user_timeout(Some(UNANSWERED_AFTER))
    }

    /// Asks a client of a framed feed who it is; the client of a raw feed is the feed's one.
    fn who(&self, stream: &mut TcpStream) -> Result<Who, Refusal> {
        if self.spec.form == Form::Raw {
            return Ok(self.the_one(false));
        }
        let FromClient::Hello { protocol, client, token, start, acknowledge, filter } =
            stream::hello(stream, HELLO_WITHIN)?;
        if protocol != PROTOCOL {
            return Err((format!("protocol {protocol}"), format!("protocol {PROTOCOL}")));
        }
        if let Err(allowed) = check_name(&client) {
            return Err((format!("{client:?} is no name of a client"), allowed.to_owned()));
        }
        self.clients.may_take(&self.state.name, self.spec.is_red(), &client, token.as_deref())?;
        if let Some((key, what, allowed)) = filter.problem() {
            return Err((format!("filter.{key}: {what}"), allowed.to_owned()));
        }
        self.has_room_for(&client)?;
        Ok(Who { name: client, start: start.unwrap_or(self.spec.start), acknowledge, filter })
    }

    /// Refuses a name that was never here once as many as may be have been: each has a cursor and a state.
    fn has_room_for(&self, client: &str) -> Result<(), Refusal> {
        let names_max = self.places.names_max;
        let cannot = |error: FileError| (format!("the cursors cannot be read: {error}"), String::new());
        let known = CursorFile::names(&self.places.cursors, &self.state.name).map_err(cannot)?;
        if known.contains(client)
            || self.state.knows(client)
            || known.len().max(self.state.names()) < names_max
        {
            return Ok(());
        }
        let allowed = "the name of one of them; an operator removes cursors that nobody needs any more";
        Err((
            format!("{names_max} names have been here, which is as many as may be (feeding.names_max)"),
            allowed.to_owned(),
        ))
    }

    /// The one client of a feed whose clients have no names.
    fn the_one(&self, acknowledge: bool) -> Who {
        let (name, start) = (self.state.name.clone(), self.spec.start);
        Who { name, start, acknowledge, filter: Filter::default() }
    }

    fn terms(&self, who: &Who) -> Terms {
        Terms {
            session: Session::from(self.spec.session),
            form: self.spec.form,
            record_len: self.spec.frame_len,
            message_max: match self.spec.transport {
                Transport::Udp { datagram_max, .. } => datagram_max,
                _ => MESSAGE_MAX,
            },
            filters: [self.spec.filter.clone(), who.filter.clone()],
            acknowledge: who.acknowledge,
        }
    }

    /// The client's name among the consumers of a ring.
    fn consumer(&self, client: &str) -> String {
        consumer_name(&self.places.service, &self.state.name, client)
    }

    /// Opens sources and cursor of a client that nobody else serves now.
    fn pipe(&self, who: &Who, client: &ClientState) -> Result<Pipe, String> {
        let (cursor, problem) = CursorFile::open(&self.places.cursors, &self.state.name, &who.name)
            .map_err(|error| format!("the cursor of {}: {error}", who.name))?;
        if let Some(problem) = problem {
            tracing::error!(feed = self.state.name, client = who.name, "the cursor is lost: {problem}");
        }
        let rings = self.spec.sources.clone();
        let (sources, stands) =
            Sources::open(&self.places, &self.consumer(&who.name), &rings, &cursor, who.start)
                .map_err(|error| format!("the sources cannot be followed: {error}"))?;
        let delivery = Delivery::new(self.terms(who), Arc::clone(&client.ledger), &stands);
        Ok(Pipe::new(sources, delivery, cursor, rings))
    }

    /// Serves one connection from beginning to end. A newer connection of the same client ends an older one: an old one
    /// may be half-open, and its client is not.
    fn serve_stream(&self, who: &Who, stream: &mut TcpStream, peer: SocketAddr) -> Result<(), String> {
        let client = self.state.client(&who.name);
        let connection = client.connection.fetch_add(1, Ordering::Relaxed) + 1;
        let _served = client.served.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_newest = || client.connection.load(Ordering::Relaxed) == connection;
        if !is_newest() {
            return Err("a newer connection of this client has come".to_owned());
        }
        let mut pipe = self.pipe(who, &client)?;
        let mut greeting = Vec::new();
        if self.spec.form == Form::Framed {
            let rings = pipe.rings().to_vec();
            pipe.delivery.welcome(&self.state.name, &who.name, &rings, &mut greeting);
        }
        client.connected(peer.to_string());
        pipe.show(&client);
        tracing::info!(feed = self.state.name, client = who.name, %peer, "serving");
        let goes_on = || self.goes_on() && is_newest();
        let service = Service {
            form: self.spec.form,
            acknowledges: who.acknowledge,
            stalled_after: self.spec.stalled_after(),
            alive_every: self.spec.alive_every(),
            goes_on: &goes_on,
        };
        let why = stream::serve(&service, stream, &mut pipe, &client, greeting);
        tracing::info!(feed = self.state.name, client = who.name, %peer, "served: {why}");
        let finished = pipe.finish(&client);
        client.ended(why);
        let _ = stream.shutdown(Shutdown::Both);
        if let Err(error) = finished {
            self.state.set_problem(Some(format!("client {}: {error}", who.name)));
        }
        Ok(())
    }

    fn connect(&self, address: SocketAddr, acknowledge: bool) -> Result<(), String> {
        let mut pause = RECONNECT.0;
        while self.goes_on() {
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(3)).and_then(|stream| {
                self.prepare(&stream)?;
                Ok(stream)
            });
            match connected {
                Ok(mut stream) => {
                    self.state.set_problem(None);
                    self.serve_stream(&self.the_one(acknowledge), &mut stream, address)?;
                    pause = RECONNECT.0;
                }
                Err(error) => self.state.set_problem(Some(format!("cannot connect to {address}: {error}"))),
            }
            self.pause(pause);
            pause = (pause * 2).min(RECONNECT.1);
        }
        Ok(())
    }

    fn send(&self, to: SocketAddr, bind: Option<SocketAddr>, pace_bps: Option<u64>) -> Result<(), String> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = match bind {
            Some(address) => UdpSocket::bind(address),
            None => UdpSocket::bind(any),
        };
        let socket = socket.map_err(|error| format!("no socket to send from: {error}"))?;
        let who = self.the_one(false);
        let client = self.state.client(&who.name);
        client.connection.fetch_add(1, Ordering::Relaxed);
        let mut pipe = self.pipe(&who, &client)?;
        let mut greeting = Vec::new();
        if self.spec.form == Form::Framed {
            let rings = pipe.rings().to_vec();
            pipe.delivery.welcome(&self.state.name, &who.name, &rings, &mut greeting);
        }
        self.state.set_problem(None);
        client.connected(to.to_string());
        pipe.show(&client);
        let goes_on = || self.goes_on();
        let (form, alive_every) = (self.spec.form, self.spec.alive_every());
        let target = Target { socket: &socket, to, pace_bps, form, alive_every, goes_on: &goes_on };
        let ended = datagrams::serve(&target, &mut pipe, &client, &self.state, greeting);
        let finished = pipe.finish(&client);
        client.ended("ended by the feed".to_owned());
        ended.and(finished).map_err(|error| error.to_string())
    }
}

/// The name that a client of a feed of a process has among the consumers of a ring: different for different clients, feeds and
/// processes, and one that a ring takes.
fn consumer_name(service: &str, feed: &str, client: &str) -> String {
    // A feed without named clients goes by its own name.
    let client = if client == feed { "" } else { client };
    let before = if service.is_empty() { String::new() } else { format!("{service}..") };
    let after = if client.is_empty() { String::new() } else { format!(".{client}") };
    let name = format!("{before}{feed}{after}");
    // A dot within a part could be taken for one between two.
    if name.len() <= CONSUMER_NAME_MAX && [service, feed, client].iter().all(|part| !part.contains('.')) {
        return name;
    }
    // Told apart by what is a hash of them: the cursor that counts is ours, not the ring's.
    let parts = [service, feed, client].join("/");
    let hash = parts.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    format!("feed.{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-FEED-153
    #[test]
    fn clients_of_different_feeds_and_processes_are_different_consumers() {
        assert_eq!(consumer_name("", "yamcs-cso-1", "yamcs-cso-1"), "yamcs-cso-1");
        assert_eq!(consumer_name("", "cso-2", "archive"), "cso-2.archive");
        assert_eq!(consumer_name("north", "cso-2", "archive"), "north..cso-2.archive");
        let who = [
            ("", "a", "a"),
            ("", "a", "b"),
            ("", "a.b", "a.b"),
            ("", "a", "b.c"),
            ("", "a.b", "c"),
            ("", "a.b.c", "a.b.c"),
            ("a", "b", "b"),
            ("a", "b", "c"),
            ("a.b", "c", "c"),
            ("n", "a", "a"),
            ("", "n", "a"),
            ("north", "a-feed-with-a-long-name", "client-of-it"),
            ("south", "a-feed-with-a-long-name", "client-of-it"),
        ];
        let mut names: Vec<String> =
            who.iter().map(|(service, feed, client)| consumer_name(service, feed, client)).collect();
        assert!(names.iter().all(|name| fep_bus::check_name(name).is_ok()), "{names:?}");
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}
