//! Feeds as configured: `[feeds.NAME]` of `config/archive.toml`, which explains every key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fep_config::{ConfigErrors, Document};
use fep_record::Session;
use serde::Deserialize;

use crate::check;
use crate::control::Start;
use crate::filter::Filter;

/// What of section `[archive]` concerns the feeds; the archive service judges its other keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Archive {
    /// Directory of the segments: what a client that is behind is served from.
    pub segments: PathBuf,
    /// Directory of the rings.
    pub rings: PathBuf,
    /// Least severity of log lines.
    pub log: String,
}

impl Default for Archive {
    fn default() -> Archive {
        Archive {
            segments: PathBuf::from("/var/lib/fep/archive/segments"),
            rings: PathBuf::from("/dev/shm/fep/bus"),
            log: "info".to_owned(),
        }
    }
}

/// What of section `[store]` concerns the feeds; the archive service judges its other keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Store {
    /// `file://DIRECTORY`, or an address of S3.
    pub url: String,
}

impl Default for Store {
    fn default() -> Store {
        Store { url: "file:///var/lib/fep/archive/store".to_owned() }
    }
}

/// Section `[feeding]`: the process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feeding {
    /// Name of this process among those that follow the same rings; "" when it is the only one of its kind.
    pub name: String,
    /// Directory of the clients' cursors. One process at a time.
    pub cursors: PathBuf,
    /// Directory in which the objects of the archive's store can be read; "" is that of `[store] url`, if it is `file://`.
    pub objects: PathBuf,
    /// Where status and orders are served: `IP:PORT` or `unix:PATH`; "" serves nowhere.
    pub listen: String,
    /// Permissions of a Unix socket, octal.
    pub listen_mode: String,
    /// How long records that a ring has overwritten may take to turn up in the segments while no recorder lives.
    pub patience_ms: u64,
    /// Most names that clients of one feed may have, ever: each has a cursor file.
    pub names_max: usize,
    /// Most names of one person or service in one feed.
    pub names_of_one: usize,
    /// Machines that red data may go to, this one included only if it is named.
    pub red_receivers: Vec<IpAddr>,
}

impl Default for Feeding {
    fn default() -> Feeding {
        Feeding {
            name: String::new(),
            cursors: PathBuf::from("/var/lib/fep/feeds"),
            objects: PathBuf::new(),
            listen: "unix:/dev/shm/fep/feeds.sock".to_owned(),
            listen_mode: "0660".to_owned(),
            patience_ms: 10_000,
            names_max: 1024,
            names_of_one: 16,
            red_receivers: Vec::new(),
        }
    }
}

/// How records lie on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The payloads alone: frames of one length, or packets, one after the other; over UDP one a datagram.
    Raw,
    /// Messages with length and metadata ([`crate::wire`]).
    Framed,
}

/// Session as configured: written as operators write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionName {
    /// Live operations.
    Ops,
    /// A rehearsal or a simulator.
    Test,
    /// Played again from the archive.
    Replay,
}

impl From<SessionName> for Session {
    fn from(name: SessionName) -> Session {
        match name {
            SessionName::Ops => Session::Ops,
            SessionName::Test => Session::Test,
            SessionName::Replay => Session::Replay,
        }
    }
}

/// Where a feed goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transport {
    /// Clients connect to us.
    TcpServer {
        /// Address to listen at.
        bind: SocketAddr,
        /// Most clients at a time (framed feeds; a raw feed has one).
        #[serde(default = "clients_max")]
        clients_max: usize,
        /// Machines that may connect; empty: every one.
        #[serde(default)]
        peers: Vec<IpAddr>,
        /// Certificate chain (PEM): the feed speaks TLS 1.3 and nothing else. Framed feeds that other machines reach need it.
        #[serde(default)]
        certificate: Option<PathBuf>,
        /// Private key of the certificate (PEM).
        #[serde(default)]
        key: Option<PathBuf>,
        /// Authority of the certificates that clients show (PEM): `[identity.peers]` says who they are.
        #[serde(default)]
        client_ca: Option<PathBuf>,
    },
    /// We connect to the client.
    TcpClient {
        /// Its address.
        address: SocketAddr,
        /// Whether it acknowledges (framed feeds).
        #[serde(default)]
        acknowledge: bool,
    },
    /// Datagrams to the client, or to a group.
    Udp {
        /// Its address.
        to: SocketAddr,
        /// Address to send from, which chooses the interface of a group.
        #[serde(default)]
        bind: Option<SocketAddr>,
        /// Most bits a second, counted without headers; as fast as the system takes them without.
        #[serde(default)]
        pace_bps: Option<u64>,
        /// Longest datagram; longer ones are not sent and counted as lost.
        #[serde(default = "datagram_max")]
        datagram_max: usize,
    },
}

const fn clients_max() -> usize {
    32
}

const fn datagram_max() -> usize {
    65_507
}

/// Section `[feeds.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// Rings to follow, by whole name: `cso-1.frames`, `red/cso-1.packets`.
    pub sources: Vec<String>,
    /// Session of the records sent: others never are.
    pub session: SessionName,
    /// How records lie on the wire.
    pub form: Form,
    /// Where they go.
    pub transport: Transport,
    /// Octets of every frame of a raw feed over TCP, where nothing else tells where a frame ends; not needed for packets.
    #[serde(default)]
    pub frame_len: Option<u32>,
    /// Where a client starts that has no cursor.
    #[serde(default)]
    pub start: Start,
    /// Which records are sent.
    #[serde(default)]
    pub filter: Filter,
    /// Whether clients are not asked who they are, and any name is anybody's: black framed feeds on a loopback address only.
    #[serde(default)]
    pub anonymous: bool,
    /// Whether it runs from the start, or waits for the order to.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// A client over TCP that takes nothing for so long, though there is something, is disconnected; its cursor stays.
    #[serde(default = "stalled_after_ms")]
    pub stalled_after_ms: u64,
    /// After so long without anything to send, a framed feed says that it is alive.
    #[serde(default = "alive_every_ms")]
    pub alive_every_ms: u64,
}

const fn enabled() -> bool {
    true
}

const fn stalled_after_ms() -> u64 {
    600_000
}

const fn alive_every_ms() -> u64 {
    1_000
}

impl FeedSpec {
    /// [`FeedSpec::stalled_after_ms`] as a duration.
    #[must_use]
    pub fn stalled_after(&self) -> Duration {
        Duration::from_millis(self.stalled_after_ms)
    }

    /// [`FeedSpec::alive_every_ms`] as a duration.
    #[must_use]
    pub fn alive_every(&self) -> Duration {
        Duration::from_millis(self.alive_every_ms)
    }

    /// Whether its sources are red.
    #[must_use]
    pub fn is_red(&self) -> bool {
        self.sources.iter().any(|source| source.starts_with("red/"))
    }
}

/// What the configuration says of feeds, free of mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSections {
    /// What is ours of section `[archive]`.
    pub archive: Archive,
    /// Section `[feeding]`.
    pub feeding: Feeding,
    /// Directory in which the objects of the archive's store can be read, if one is known.
    pub objects: Option<PathBuf>,
    /// Sections `[feeds.NAME]`.
    pub feeds: BTreeMap<String, FeedSpec>,
}

impl FeedSections {
    /// Reads the sections and checks what no single key can tell. Every mistake is reported at once.
    ///
    /// # Errors
    /// With file, line, key and what is allowed.
    pub fn read(document: &Document) -> Result<FeedSections, ConfigErrors> {
        let before: Before = document.section("feeding")?;
        if before.clients.0 {
            let mistake = "clients are not configured here any more: they show a ticket or a certificate";
            let allowed = "nothing; [identity] says where the public keys of tickets are, [identity.peers.NAME] knows a \
                           service by its certificate (docs/feeds.md)";
            return Err(document.mistake("feeding.clients", mistake, allowed));
        }
        let places = ConfigErrors::both(document.section("archive"), document.section("feeding"));
        let lists = ConfigErrors::both(document.section("store"), document.section("feeds"));
        let ((archive, feeding), (store, feeds)): ((Archive, Feeding), (Store, _)) =
            ConfigErrors::both(places, lists)?;
        let objects = match store.url.strip_prefix("file://") {
            _ if feeding.objects != PathBuf::new() => Some(feeding.objects.clone()),
            Some(directory) if !directory.is_empty() => Some(PathBuf::from(directory)),
            _ => None,
        };
        let sections = FeedSections { archive, feeding, objects, feeds };
        let mut sensible = Ok(());
        check::check(&sections, &mut |key: &str, message: &str, allowed: &str| {
            let before = std::mem::replace(&mut sensible, Ok(()));
            let mistake = Err::<(), _>(document.mistake(key, message, allowed));
            sensible = ConfigErrors::both(before, mistake).map(drop);
        });
        sensible?;
        Ok(sections)
    }
}

/// What section `[feeding]` had once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Before {
    clients: IsPresent,
}

/// Whether a key or section stands in a document, whatever it holds: for what is no longer read and must be replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IsPresent(pub bool);

impl<'de> Deserialize<'de> for IsPresent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<IsPresent, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| IsPresent(true))
    }
}

/// The name of a ring without its colour, of a source as configured.
#[must_use]
pub fn ring_of(source: &str) -> &str {
    source.strip_prefix("red/").or(source.strip_prefix("black/")).unwrap_or(source)
}

/// Names of feeds and clients become file names.
///
/// # Errors
/// What a name may be.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let legal = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_.".contains(&octet);
    if name.is_empty() || name.len() > 31 || name.starts_with('.') || !name.bytes().all(legal) {
        return Err("1 to 31 of a-z 0-9 - _ . and no dot first");
    }
    Ok(())
}
