//! What the tests of feeds share: rings and feeds in a directory of their own, and a framed client.

#![allow(dead_code, reason = "every test program uses its own part")]

use fep_time::Tai;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use std::os::unix::fs::MetadataExt;

use fep_bus::{Producer, RingSpec, Tag};
use fep_ccsds::Gvcid;
use fep_feed_wire::control::{FromFeed, SourcePlace};
use fep_feed_wire::wire::{
    Decoder, MESSAGE_MAX, Message, RecordHead, encode_acknowledgement, encode_control,
};
use fep_feeds::status::{ClientStatus, FeedStatus};
use fep_identity::{Cost, Identity, IdentityConfig, NumericDate, PersonId, Profile, Role, Scope};
use fep_kit::{Document, Stop};
use fep_process::{Notify, Process};
use fep_record::{FrameRecord, KIND_FRAME, Session};

pub(crate) const LONG: Duration = Duration::from_secs(60);

const PASSWORD: &str = "correct horse battery";

/// Rings, feeds, and everything they need, in a directory of its own.
pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) producers: BTreeMap<String, Producer>,
    /// Whose tickets are accepted.
    pub(crate) identity: Identity,
    /// More of `[identity]`.
    pub(crate) peers: String,
    /// Whether the user of the test is known at the Unix socket without a ticket.
    pub(crate) knows_own_user: bool,
    /// More keys of `[feeding]`.
    pub(crate) feeding: &'static str,
    pub(crate) running: Option<(Stop, std::thread::JoinHandle<Result<(), String>>)>,
}

impl House {
    pub(crate) fn new(rings: &[&str]) -> House {
        House::with_tickets_of(900, rings)
    }

    /// A house whose tickets end after so long.
    pub(crate) fn with_tickets_of(ticket_lifetime_s: u32, rings: &[&str]) -> House {
        let dir = tempfile::tempdir().expect("a directory");
        let producers = rings
            .iter()
            .map(|name| {
                let spec = RingSpec {
                    desc_log2: 12,
                    data_len: 2 << 20,
                    extent_len: 256 << 10,
                    payload_max: 4096,
                    ..RingSpec::new(*name, "ccsds.frame.v1")
                };
                let producer = Producer::create_or_attach(&dir.path().join("bus"), &spec).expect("a ring");
                ((*name).to_owned(), producer)
            })
            .collect();
        let config = IdentityConfig {
            password: Cost { memory_kib: 8, passes: 1 },
            ticket_lifetime_s,
            ..IdentityConfig::default()
        };
        let identity = Identity::open_unchecked(&dir.path().join("identity"), config, NumericDate::now());
        let identity = identity.expect("an identity");
        House {
            dir,
            producers,
            identity,
            peers: String::new(),
            knows_own_user: true,
            feeding: "",
            running: None,
        }
    }

    /// Makes an account of an observer.
    pub(crate) fn account(&self, name: &str, scopes: Vec<Scope>) {
        let profile = Profile {
            person: PersonId(format!("local:{name}")),
            roles: vec![Role::Observer.name().to_owned()],
            scopes,
            expires: None,
            password_expires: None,
            disabled: false,
        };
        self.identity.add_account(name, PASSWORD, profile).expect("an account");
    }

    /// A ticket of an account.
    pub(crate) fn ticket(&self, name: &str) -> String {
        let login = self.identity.login_local(name, PASSWORD, NumericDate::now());
        login.expect("a state").expect("a login").ticket
    }

    /// The configuration with these feeds, which are whole tables.
    pub(crate) fn configuration(&self, feeds: &str) -> String {
        let dir = self.dir.path();
        let uid = std::fs::metadata("/proc/self").expect("Linux").uid();
        let own_user = format!(
            "[identity.peers.test]\nuid = {uid}\nroles = [\"observer\", \"operator\"]\n\
             scopes = [{{ spacecraft = \"all\", colours = [\"black\", \"red\"], sessions = [\"ops\", \"test\", \"replay\"] }}]\n"
        );
        let own_user = if self.knows_own_user { own_user } else { String::new() };
        format!(
            "[archive]\nrings = {:?}\nsegments = {:?}\n\n\
             [feeding]\ncursors = {:?}\nlisten = \"unix:{}\"\npatience_ms = 200\n{}\n\
             [identity]\nkeys = {:?}\nlocal_roles = []\n{own_user}{}\n{feeds}",
            dir.join("bus"),
            dir.join("segments"),
            dir.join("cursors"),
            dir.join("feeds.sock").display(),
            self.feeding,
            self.identity.public_file(),
            self.peers,
        )
    }

    /// Starts the feeds; `feeds` are whole tables.
    pub(crate) fn start(&mut self, feeds: &str) {
        let text = self.configuration(feeds);
        let document = Document::from_text("test.toml", text).expect("TOML");
        let stop = Stop::default();
        let process = Process { stop: stop.clone(), notify: Notify::default() };
        let thread = std::thread::spawn(move || fep_feeds::run(&document, &process));
        self.running = Some((stop, thread));
        let give_up = Instant::now() + LONG;
        while self.try_request("GET", "/health").is_err() {
            assert!(Instant::now() < give_up, "the feeds do not come up");
            if self.running.as_ref().is_some_and(|(_, thread)| thread.is_finished()) {
                panic!("{:?}", self.running.take().expect("running").1.join());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.now();
            thread.join().expect("no panic").expect("an orderly end");
        }
    }

    pub(crate) fn publish(&mut self, ring: &str, record: FrameRecord, payload: &[u8]) -> u64 {
        let (flags, words) = record.to_words();
        let tag = Tag { kind: KIND_FRAME, flags, received: Tai(1), published: Tai(2), words };
        self.producers.get_mut(ring).expect("a ring").publish(tag, payload).expect("it fits")
    }

    /// Publishes frames of 100 octets that follow from their number, on virtual channel `number % 4`.
    pub(crate) fn frames(&mut self, ring: &str, numbers: std::ops::Range<u64>, session: Session) {
        for number in numbers {
            self.publish(ring, frame(number, session), &payload(number));
        }
    }

    pub(crate) fn try_request(&self, method: &str, path: &str) -> Result<String, String> {
        request(&self.dir.path().join("feeds.sock"), method, path)
    }

    /// Waits until the answer of a path, a refusal as well, holds this; what is shown there may be half a second old.
    pub(crate) fn until_said(&self, path: &str, text: &str) -> String {
        let give_up = Instant::now() + LONG;
        loop {
            let said = self.try_request("GET", path).unwrap_or_else(|refused| refused);
            if said.contains(text) {
                return said;
            }
            assert!(Instant::now() < give_up, "{path} does not say {text}: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn status(&self, feed: &str) -> FeedStatus {
        let body = self.try_request("GET", &format!("/feeds/{feed}")).expect("an answer");
        serde_json::from_str(&body).expect("a status")
    }

    pub(crate) fn client(&self, feed: &str, name: &str) -> ClientStatus {
        let status = self.status(feed);
        let found = status.clients.iter().find(|client| client.name == name);
        found.cloned().unwrap_or_else(|| panic!("no client {name}: {status:?}"))
    }

    pub(crate) fn until(
        &self,
        what: &str,
        feed: &str,
        mut reached: impl FnMut(&FeedStatus) -> bool,
    ) -> FeedStatus {
        let give_up = Instant::now() + LONG;
        loop {
            let status = self.status(feed);
            if reached(&status) {
                return status;
            }
            assert!(Instant::now() < give_up, "{what}: {status:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where a feed listens.
    pub(crate) fn address(&self, feed: &str) -> SocketAddr {
        let status = self.until("it listens", feed, |status| status.address.is_some());
        status.address.expect("it listens").parse().expect("an address")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.now();
            let _ = thread.join();
        }
    }
}

pub(crate) fn request(socket: &Path, method: &str, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(LONG)).map_err(failed)?;
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(format!("{head}\n{body}")) }
}

pub(crate) fn frame(number: u64, session: Session) -> FrameRecord {
    let gvcid = Gvcid { tfvn: 0, scid: 673, vcid: (number % 4) as u8 };
    FrameRecord { gvcid, session, frame_count: number as u32, ..FrameRecord::default() }
}

pub(crate) fn payload(number: u64) -> Vec<u8> {
    let mut octets = number.to_be_bytes().to_vec();
    octets.resize(100, (number % 251) as u8);
    octets
}

/// A framed client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) decoder: Decoder,
    pub(crate) buffer: Vec<u8>,
    pub(crate) sources: Vec<SourcePlace>,
    pub(crate) controls: Vec<FromFeed>,
}

pub(crate) enum Got {
    Record(RecordHead, Vec<u8>),
    Control(FromFeed),
}

impl Client {
    /// Says hello and is welcome; `Err` with the reason when it is refused.
    pub(crate) fn connect(address: SocketAddr, hello: &str) -> Result<Client, String> {
        Client::greet(TcpStream::connect(address).expect("it listens"), hello)
    }

    /// As [`Client::connect`], over this connection.
    pub(crate) fn greet(stream: TcpStream, hello: &str) -> Result<Client, String> {
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let mut client = Client {
            stream,
            decoder: Decoder::new(MESSAGE_MAX),
            buffer: vec![0; 65_536],
            sources: Vec::new(),
            controls: Vec::new(),
        };
        let mut octets = Vec::new();
        encode_control(hello.as_bytes(), &mut octets);
        client.stream.write_all(&octets).expect("it takes a hello");
        match client.next() {
            Got::Control(FromFeed::Welcome { sources, .. }) => {
                client.sources = sources;
                Ok(client)
            }
            Got::Control(FromFeed::Refused { reason, .. }) => Err(reason),
            Got::Control(other) => panic!("{other:?} instead of a welcome"),
            Got::Record(..) => panic!("a record instead of a welcome"),
        }
    }

    pub(crate) fn named(address: SocketAddr, name: &str, more: &str) -> Client {
        let hello = format!("{{\"say\":\"hello\",\"protocol\":1,\"client\":\"{name}\"{more}}}");
        Client::connect(address, &hello).expect("welcome")
    }

    pub(crate) fn next(&mut self) -> Got {
        loop {
            match self.decoder.next_message().expect("messages") {
                Some(Message::Record(head, payload)) => return Got::Record(head, payload.to_vec()),
                Some(Message::Control(json)) => {
                    return Got::Control(serde_json::from_slice(json).expect("control"));
                }
                Some(Message::Acknowledgement(_)) => panic!("from a feed"),
                None => {}
            }
            let taken = self.stream.read(&mut self.buffer).expect("octets");
            assert!(taken > 0, "the feed closed the connection");
            self.decoder.push(&self.buffer[..taken]);
        }
    }

    /// The next record; what is said in between is kept.
    pub(crate) fn record(&mut self) -> (RecordHead, Vec<u8>) {
        loop {
            match self.next() {
                Got::Record(head, payload) => return (head, payload),
                Got::Control(FromFeed::Alive { .. }) => {}
                Got::Control(said) => self.controls.push(said),
            }
        }
    }

    pub(crate) fn numbers(&mut self, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let (_, octets) = self.record();
                let number = u64::from_be_bytes(octets[..8].try_into().expect("8 octets"));
                assert_eq!(octets, payload(number), "octet for octet");
                number
            })
            .collect()
    }

    pub(crate) fn acknowledge(&mut self, number: u64) {
        let mut octets = Vec::new();
        encode_acknowledgement(number, &mut octets);
        self.stream.write_all(&octets).expect("it is taken");
    }
}

pub(crate) const FRAMED: &str = "[feeds.f]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\nstart = \"oldest\"\nanonymous = true\n\
                      transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n";

/// [`FRAMED`], and every client is asked who it is.
pub(crate) fn asking() -> String {
    FRAMED.replace("anonymous = true\n", "")
}

pub(crate) fn is_balanced(client: &ClientStatus) -> bool {
    let counts = &client.counts;
    counts.followed == counts.sent + counts.filtered.values().sum::<u64>() + counts.lost.values().sum::<u64>()
}
