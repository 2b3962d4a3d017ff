//! The threads of the feeds: one a feed that listens, connects or sends, and one more a client that connected.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fep_event_ring::Seldom;
use fep_kit::Stop;
use fep_record::Session;
use fep_route::{Certificates, ClientAuthority};
use socket2::{SockRef, TcpKeepalive};

use crate::connection::Connection;
use crate::cursor::CursorFile;
use crate::datagrams::{self, Target};
use crate::delivery::{Delivery, Terms};
use crate::events::FeedEvent;
use crate::identities::{Admitted, Identities, Refusal, Watch};
use crate::names::{Names, Visit};
use crate::pipe::{Pipe, PipeError};
use crate::sources::Sources;
use crate::status::{ClientState, FeedState};
use crate::stream::{self, End, Service};
use fep_feed_wire::control::{FromClient, FromFeed, PROTOCOL, Start, to_json};
use fep_feed_wire::filter::{Filter, Quality};
use fep_feed_wire::spec::{FeedSpec, Form, Transport, check_name};
use fep_feed_wire::wire::{MESSAGE_MAX, encode_control};

/// How often a thread that waits for something else looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a client may take for its handshake and its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A peer that acknowledges nothing for so long is gone (a pulled cable sends no word).
const UNANSWERED_AFTER: Duration = Duration::from_secs(30);
/// Longest name that a ring takes for a consumer.
const CONSUMER_NAME_MAX: usize = 31;
/// Connections that may be greeted at a time, and those of one address: others are closed without a word.
const GREETED_MAX: usize = 64;
const GREETED_OF_ONE: usize = 16;
/// A listener that failed for a moment works again when it has not failed for so long: what comes and goes is one event.
const WELL_AFTER: Duration = Duration::from_secs(15);
/// How often the files of certificates are looked at.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(10);
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
    /// Name of this process among the consumers of a ring; "" for none.
    pub(crate) service: String,
}

/// One feed: its configuration, its state, and all that its threads need.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) spec: FeedSpec,
    pub(crate) state: FeedState,
    pub(crate) places: Places,
    pub(crate) names: Arc<Names>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) refusals: Seldom,
    pub(crate) stop: Stop,
}

/// Who is served, and how.
struct Who {
    name: String,
    start: Start,
    acknowledge: bool,
    filter: Filter,
    admitted: Admitted,
    /// Its place among the clients that are connected; none where there is one client anyway.
    _visit: Option<Visit>,
}

/// A connection that was accepted, and its thread.
struct Accepted {
    thread: JoinHandle<()>,
    from: IpAddr,
    /// It is known who it is: it counts among the clients, not among those that are greeted.
    is_known: Arc<AtomicBool>,
}

impl Accepted {
    fn is_greeted(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed)
    }
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
                Transport::TcpServer { bind, .. } => self.listen(*bind),
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

    fn listen(self: &Arc<Feed>, bind: SocketAddr) -> Result<(), String> {
        let certificates = certificates(&self.spec)?;
        let failed = |error: io::Error| format!("cannot listen at {bind}: {error}");
        let listener = TcpListener::bind(bind).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        self.state.listens_at(listener.local_addr().ok().map(|address| address.to_string()));
        self.state.set_problem(None);
        let mut accepted: Vec<Accepted> = Vec::new();
        let mut look_at = Instant::now() + LOOK_AT_CERTIFICATES;
        let mut failed_at: Option<Instant> = None;
        let fails = |problem: String| {
            self.state.set_problem(Some(problem));
            Some(Instant::now())
        };
        while self.goes_on() {
            if failed_at.is_some_and(|at| at.elapsed() > WELL_AFTER) {
                failed_at = None;
                self.state.set_problem(None);
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_AT_CERTIFICATES;
                if let Some(Err(error)) = certificates.as_ref().map(Certificates::refresh) {
                    failed_at = fails(format!("the old certificates stay: {error}"));
                }
            }
            match listener.accept() {
                Ok((stream, peer)) => {
                    accepted.retain(|one| !one.thread.is_finished());
                    let greeted = || accepted.iter().filter(|one| one.is_greeted());
                    let of_one = greeted().filter(|one| one.from == peer.ip()).count();
                    if greeted().count() >= GREETED_MAX || of_one >= GREETED_OF_ONE {
                        // So many are being greeted or refused already: this one is closed without a word.
                        continue;
                    }
                    let (feed, certificates) = (Arc::clone(self), certificates.clone());
                    let is_known = Arc::new(AtomicBool::new(false));
                    let known = Arc::clone(&is_known);
                    let spawned = std::thread::Builder::new()
                        .name(format!("{}<{peer}", self.state.name))
                        .spawn(move || feed.greet(stream, peer, certificates.as_ref(), &known));
                    match spawned {
                        Ok(thread) => accepted.push(Accepted { thread, from: peer.ip(), is_known }),
                        Err(error) => failed_at = fails(format!("no thread for a client: {error}")),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                // A connection that was gone before it was taken is nobody's problem.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    failed_at = fails(format!("cannot accept at {bind}: {error}"));
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
        self.state.listens_at(None);
        for one in accepted {
            // A client's thread that panicked has been logged already.
            let _ = one.thread.join();
        }
        Ok(())
    }

    /// A client has connected.
    fn greet(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        certificates: Option<&Certificates>,
        is_known: &AtomicBool,
    ) {
        let deadline = Instant::now() + HELLO_WITHIN;
        let prepared = self.prepare(&stream).map_err(|error| error.to_string());
        let connected = prepared.and_then(|()| match certificates {
            None => Ok(Connection::plain(stream)),
            Some(certificates) => {
                Connection::accept(stream, certificates, deadline).map_err(|error| error.to_string())
            }
        });
        let mut connection = match connected {
            Ok(connection) => connection,
            // Who speaks no TLS gets no answer; who does has the alert.
            Err(problem) => return self.report_refusal(peer, &problem, "TLS 1.3, as the feed speaks it"),
        };
        let who = self.identities.may_connect(&self.spec, peer);
        let who = who.and_then(|()| self.who(&mut connection, deadline));
        let refused = match who {
            Ok(who) => {
                is_known.store(true, Ordering::Relaxed);
                match self.serve_stream(&who, &mut connection, peer) {
                    Ok(()) => return,
                    Err(problem) => {
                        (problem, "nothing the client could do: see the log of fep-feeds".to_owned())
                    }
                }
            }
            Err(refused) => refused,
        };
        let (reason, allowed) = refused;
        self.report_refusal(peer, &reason, &allowed);
        let mut message = Vec::new();
        if self.spec.form == Form::Framed {
            encode_control(&to_json(&FromFeed::Refused { reason, allowed }), &mut message);
        }
        connection.end_with(&message, Duration::from_secs(1));
    }

    fn report_refusal(&self, peer: SocketAddr, reason: &str, allowed: &str) {
        tracing::info!(feed = self.state.name, %peer, "refused: {reason}");
        if let Some(times) = self.refusals.note(Instant::now()) {
            let peer = peer.to_string();
            let detail = [
                ("peer", peer.into()),
                ("reason", reason.into()),
                ("allowed", allowed.into()),
                ("times", times.into()),
            ];
            self.state.report(FeedEvent::ClientRefused, &detail);
        }
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
    fn who(&self, connection: &mut Connection, deadline: Instant) -> Result<Who, Refusal> {
        if self.spec.form == Form::Raw {
            let visit = self.names.enter(&self.state.name, None)?;
            return Ok(Who { _visit: Some(visit), ..self.the_one(false) });
        }
        let FromClient::Hello { protocol, client, token, start, acknowledge, filter } =
            stream::hello(connection, deadline)?;
        if protocol != PROTOCOL {
            return Err((format!("protocol {protocol}"), format!("protocol {PROTOCOL}")));
        }
        if let Err(allowed) = check_name(&client) {
            return Err((format!("{client:?} is no name of a client"), allowed.to_owned()));
        }
        let admitted = self.identities.admit(&self.spec, token.as_deref(), connection.credentials())?;
        if let Some((key, what, allowed)) = filter.problem() {
            return Err((format!("filter.{key}: {what}"), allowed.to_owned()));
        }
        let person = admitted.person.as_ref().map(|person| person.id.0.as_str());
        let visit = Some(self.names.enter(&client, person)?);
        let start = start.unwrap_or(self.spec.start);
        Ok(Who { name: client, start, acknowledge, filter, admitted, _visit: visit })
    }

    /// The one client of a feed whose clients have no names.
    fn the_one(&self, acknowledge: bool) -> Who {
        let (name, start) = (self.state.name.clone(), self.spec.start);
        let (filter, admitted) = (Filter::default(), Admitted::default());
        Who { name, start, acknowledge, filter, admitted, _visit: None }
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
            // Of a bad frame nobody knows for sure whose it is.
            scope: who.admitted.spacecraft.clone().map(|spacecraft| Filter {
                spacecraft,
                quality: Quality::Good,
                ..Filter::default()
            }),
            acknowledge: who.acknowledge,
        }
    }

    /// The client's name among the consumers of a ring.
    fn consumer(&self, client: &str) -> String {
        consumer_name(&self.places.service, &self.state.name, client)
    }

    /// Opens sources and cursor of a client that nobody else serves now.
    fn pipe(&self, who: &Who, client: &ClientState) -> Result<Pipe, String> {
        let failed = |error: fep_file::FileError| {
            let problem = format!("the cursor of {}: {error}", who.name);
            client.set_problem(Some((FeedEvent::CursorRefused, problem.clone())));
            problem
        };
        let (mut cursor, problem) =
            CursorFile::open(&self.places.cursors, &self.state.name, &who.name).map_err(failed)?;
        if let Some(problem) = problem {
            client.report(FeedEvent::CursorLost, &[("reason", problem.into())]);
        }
        if let Some(person) = &who.admitted.person
            && cursor.own(&person.id.0).map_err(failed)?
        {
            // What could not be written before can be now.
            client.set_problem(None);
        }
        let rings = self.spec.sources.clone();
        let (sources, stands) =
            Sources::open(&self.places, &self.consumer(&who.name), &rings, &cursor, who.start)
                .map_err(|error| format!("the sources cannot be followed: {error}"))?;
        let delivery = Delivery::new(self.terms(who), Arc::clone(&client.ledger), &stands);
        Ok(Pipe::new(sources, delivery, cursor, rings, client))
    }

    /// Serves one connection from beginning to end. A newer connection of the same client ends an older one: an old one
    /// may be half-open, and its client is not.
    fn serve_stream(&self, who: &Who, stream: &mut Connection, peer: SocketAddr) -> Result<(), String> {
        let client = self.state.client(&who.name);
        let connection = client.connection.fetch_add(1, Ordering::Relaxed) + 1;
        let _served = client.served.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_newest = || client.connection.load(Ordering::Relaxed) == connection;
        if !is_newest() {
            return Err("a newer connection of this client has come".to_owned());
        }
        let mut pipe = self.pipe(who, &client)?;
        if matches!(self.spec.transport, Transport::TcpClient { .. }) {
            // Connected, and something to send: only now the feed works.
            self.state.set_problem(None);
        }
        let mut greeting = Vec::new();
        if self.spec.form == Form::Framed {
            let rings = pipe.rings().to_vec();
            pipe.delivery.welcome(&self.state.name, &who.name, &rings, &mut greeting);
        }
        let person = who.admitted.person.as_ref().map(|person| person.id.0.as_str());
        client.owned_by(person);
        client.connected(peer.to_string());
        pipe.show(&client);
        tracing::info!(feed = self.state.name, client = who.name, person, %peer, "serving");
        let mut watch = Watch::new(&self.identities, &who.admitted);
        let mut ends = || {
            if !self.goes_on() || !is_newest() {
                return Some(End::Feed);
            }
            watch.turned(Instant::now()).err().map(End::Expired)
        };
        let mut service = Service {
            form: self.spec.form,
            acknowledges: who.acknowledge,
            stalled_after: self.spec.stalled_after(),
            alive_every: self.spec.alive_every(),
            ends: &mut ends,
        };
        let why = stream::serve(&mut service, stream, &mut pipe, &client, greeting);
        tracing::info!(feed = self.state.name, client = who.name, %peer, "served: {why}");
        let reason = [("reason", why.to_string().into())];
        match &why {
            End::Stalled(_) => client.report(FeedEvent::ClientDropped, &reason),
            End::Expired(_) => client.report(FeedEvent::ClientExpired, &reason),
            _ => {}
        }
        let finished = pipe.finish(&client);
        client.ended(why.to_string());
        stream.end_with(&[], Duration::from_millis(100));
        let failed = match (why, finished) {
            (End::Pipe(error), _) | (_, Err(error)) => Some(error),
            _ => None,
        };
        if let Some(error) = failed {
            let code = match error {
                PipeError::Cursor(_) => FeedEvent::CursorRefused,
                PipeError::Source(_) => FeedEvent::SourceAway,
            };
            client.set_problem(Some((code, error.to_string())));
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
                Ok(stream) => {
                    let mut connection = Connection::plain(stream);
                    self.serve_stream(&self.the_one(acknowledge), &mut connection, address)?;
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
        client.ended(End::Feed.to_string());
        ended.and(finished).map_err(|error| error.to_string())
    }
}

/// The name that a client of a feed of a process has among the consumers of a ring: different for different clients, feeds and
/// processes, and one that a ring takes.
/// The certificates of a feed that speaks TLS.
pub(crate) fn certificates(spec: &FeedSpec) -> Result<Option<Certificates>, String> {
    let Transport::TcpServer { certificate: Some(certificate), key: Some(key), client_ca, .. } =
        &spec.transport
    else {
        return Ok(None);
    };
    // A client without a certificate may come with a ticket.
    let clients = client_ca.clone().map(|file| ClientAuthority { file, is_required: false });
    Certificates::with_clients(certificate, key, clients).map(Some).map_err(|error| error.to_string())
}

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
    format!("feed.{:016x}", hash(&parts))
}

/// FNV-1a of 64 bits: for names that must be short, and need to be different only from one another.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3)
    })
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
