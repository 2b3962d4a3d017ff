//! Configuration: what `fepd` is to do, read from TOML, checked whole, refused with file, line, key and allowed values.
//!
//! Not a place for behaviour: values only. `config/default.toml` and `config/missions/*.toml` are built in; a user's
//! file is laid over the first and may add to the second. A configuration with one mistake is refused as a whole, and
//! all mistakes that can be found at once are reported at once.
//!
//! ```
//! let config = fep_control::config::load_text("mine.toml", "[daemon]\nrealtime_priority = 0\n").unwrap();
//! assert_eq!(config.daemon.realtime_priority, 0);
//! let errors = fep_control::config::load_text("mine.toml", "[daemon]\nrealtime = 1\n").unwrap_err();
//! assert!(errors.to_string().starts_with("mine.toml:2:1: daemon.realtime: unknown key"));
//! ```

mod amend;
mod daemon;
mod effective;
mod exclusive;
mod link;
mod names;
mod spacecraft;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use effective::effective_toml;
use fep_coding::soft::SoftFormat;
pub use fep_config::{ConfigError, ConfigErrors};
use fep_config::{Diagnostics, Source};
use fep_record::Session;
use serde::Serialize;

use fep_downlink::{Decoding, Framing, IdlePolicy};
use fep_mission::{ChannelConfig, Mission};

/// The built-in configuration, with every key explained.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/default.toml");

/// What the keys mean that the built-in configuration cannot hold, because they are in tables with names of one's own: a
/// table of Markdown.
pub const KEYS_MD: &str = include_str!("../../../../docs/keys.md");

/// Everything `fepd` is configured with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The process.
    pub daemon: DaemonConfig,
    /// Shared-memory rings.
    pub rings: RingsConfig,
    /// Station links in the order of their names; the index is no identity, see [`LinkConfig::id`].
    pub links: Vec<LinkConfig>,
    /// Spacecraft whose links are merged, in the order of their names.
    pub spacecraft: Vec<SpacecraftConfig>,
    /// Missions by name: the built-in ones and one's own.
    pub missions: BTreeMap<String, Mission>,
}

impl Config {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&LinkConfig> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The spacecraft of this name, if its links are merged.
    pub fn merged_spacecraft(&self, name: &str) -> Option<&SpacecraftConfig> {
        self.spacecraft.iter().find(|craft| craft.name == name)
    }

    /// Absolute path of the control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.daemon.run_dir.join(&self.daemon.control_socket)
    }

    /// Directory of the bus: rings and cursors, black and red apart below it.
    pub fn bus_dir(&self) -> PathBuf {
        self.daemon.run_dir.join(&self.rings.dir)
    }

    /// Directory of the metric pages: beside the rings, on the bus.
    pub fn metrics_dir(&self) -> PathBuf {
        self.bus_dir().join("metrics")
    }
}

/// The process: see `[daemon]` in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DaemonConfig {
    /// Directory of everything shared.
    pub run_dir: PathBuf,
    /// Control socket, relative to `run_dir`.
    pub control_socket: PathBuf,
    /// Its permissions.
    pub control_mode: u32,
    /// Its group; empty keeps the group of the process.
    pub control_group: String,
    /// SCHED_FIFO priority of link threads, 0 for none.
    pub realtime_priority: u8,
    /// Whether memory is locked.
    pub lock_memory: bool,
    /// Cores for `core = "auto"`.
    pub cores: Vec<usize>,
    /// First pause before a role that failed is started again.
    pub restart_min_ms: u32,
    /// Longest such pause.
    pub restart_max_ms: u32,
    /// How long a role's thread may take to stop before it is abandoned.
    pub stop_timeout_ms: u32,
    /// Address of the Prometheus exporter.
    pub metrics_address: Option<std::net::SocketAddr>,
    /// Least severity logged.
    pub log: String,
}

/// Rings: see `[rings]` in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RingsConfig {
    /// Directory of the rings, relative to `run_dir`; black and red rings have one of their own below it.
    pub dir: PathBuf,
    /// Who may read black rings.
    pub black: RingAccess,
    /// Who may read red rings.
    pub red: RingAccess,
    /// Size of frames rings.
    pub frames: RingSize,
    /// Size of packets rings.
    pub packets: RingSize,
    /// Size of the events ring.
    pub events: RingSize,
    /// Octets of an extent.
    pub extent_len: u64,
    /// Longest record of packets rings.
    pub packet_max: u32,
    /// Consumers whose cursor is watched.
    pub gates: Vec<String>,
}

/// Permissions of rings of one colour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RingAccess {
    /// Permissions.
    pub mode: u32,
    /// Group; empty keeps the group of the process.
    pub group: String,
}

/// Size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RingSize {
    /// Descriptors, as a power of two.
    pub desc_log2: u32,
    /// Octets of the byte log.
    pub data_len: u64,
}

/// One station link: see `[link]` in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkConfig {
    /// Name, 1 to 19 characters `a-z 0-9 - _`, none that another process uses.
    pub name: String,
    /// Number in ring records, made from the name so that it survives every change of the other links.
    pub id: u16,
    /// Whether a thread is started for it.
    pub enabled: bool,
    /// Physical channel.
    pub channel: ChannelConfig,
    /// Where the bits come from, and how the thread waits for them.
    pub transport: fep_net::LinkSpec,
    /// Core of its thread.
    pub core: CorePolicy,
    /// What the data is.
    pub session: Session,
    /// What becomes of idle frames.
    pub idle: IdlePolicy,
    /// How frames lie in what the station sends.
    pub framing: Framing,
    /// How soft symbols lie in the octets; `None` for a link of plain bits.
    pub symbols: Option<SoftFormat>,
    /// How blocks of soft symbols are decoded.
    pub decoding: Decoding,
    /// How long a frame that came in a datagram of its own may wait for one that should have come before; 0 for not at all.
    pub reorder_wait_us: u32,
    /// The spacecraft that merges this link with others.
    pub merged_by: Option<String>,
}

/// One spacecraft whose links are merged: see `[spacecraft.NAME]` in `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpacecraftConfig {
    /// Name, as that of a link: it names the rings.
    pub name: String,
    /// Number in event records, made from the name.
    pub id: u16,
    /// Its links, at least two, all of one channel and session.
    pub links: Vec<Antenna>,
    /// Physical channel.
    pub channel: ChannelConfig,
    /// What the data is.
    pub session: Session,
    /// What becomes of idle frames.
    pub idle: IdlePolicy,
    /// How long a frame may wait for other antennas, microseconds.
    pub wait_us: u32,
    /// Most frames of a virtual channel that are held.
    pub window_frames: usize,
    /// Core of its thread.
    pub core: CorePolicy,
    /// How its thread waits for frames.
    pub wait: fep_net::WaitMode,
    /// Whether every link delivers frames in the order in which they were sent.
    pub in_order: bool,
}

/// A link of a spacecraft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Antenna {
    /// Name of the link.
    pub name: String,
    /// Its number in ring records.
    pub id: u16,
}

/// Whether a link or spacecraft could be called so: names of other processes are none.
pub fn is_role_name(name: &str) -> bool {
    names::check_name(name).is_ok()
}

/// Greatest number of a core that can be named: one less than the kernel interface's limit.
pub const MAX_CORE: usize = 1023;

/// On which core a link's thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CorePolicy {
    /// The next of the list of cores.
    Auto,
    /// Wherever the kernel puts it.
    None,
    /// This one.
    Fixed(usize),
}

/// Reads the configuration: the built-in one, with the file at `path` laid over it if there is one.
///
/// # Errors
/// Every mistake found; also a file that cannot be read.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigErrors> {
    let Some(path) = path else { return read(None, Path::new("")) };
    read(Some(&Source::read(path)?), path.parent().unwrap_or(Path::new("")))
}

/// Reads a configuration from a text called `name`; paths in it are relative to the working directory.
///
/// # Errors
/// Every mistake found.
pub fn load_text(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    read(Some(&Source::new(name, text)), Path::new(""))
}

fn read(user: Option<&Source>, base: &Path) -> Result<Config, ConfigErrors> {
    let default = Source::new("<default.toml>", DEFAULT_TOML);
    let mut found = Diagnostics::default();
    let config = daemon::read_config(user, &default, base, &mut found);
    found.amend(|error| amend::amend(error, user));
    found.into_result()?;
    // `read_config` returns nothing only after a report.
    config.ok_or_else(|| ConfigErrors::of_file("<default.toml>", "nothing could be read", ""))
}
