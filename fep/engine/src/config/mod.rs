//! Configuration: what `fepd` is told, read from TOML, checked whole, refused with file, line, key and allowed values.
//!
//! Not a place for behaviour: values only. `config/default.toml` and `config/missions/*.toml` are built in; a user's
//! file is laid over the first and may add to the second. A configuration with one mistake is refused as a whole, and
//! all mistakes that can be found at once are told at once.
//!
//! ```
//! let config = fepd::config::load_text("mine.toml", "[daemon]\nrealtime_priority = 0\n").unwrap();
//! assert_eq!(config.daemon.realtime_priority, 0);
//! let errors = fepd::config::load_text("mine.toml", "[daemon]\nrealtime = 1\n").unwrap_err();
//! assert!(errors.to_string().starts_with("mine.toml:2:1: daemon.realtime: unknown key"));
//! ```

mod code;
mod daemon;
mod link;
mod mission;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fep_coding::soft::SoftFormat;
pub use fep_config::{ConfigError, ConfigErrors};
use fep_config::{Diagnostics, Source};
use fep_record::Session;
use serde::Serialize;

use crate::chain::{Framing, IdlePolicy};
pub use mission::{ChannelConfig, Mission, Spacecraft, VcColour, VcConfig, VcService};

/// The built-in configuration, with every key explained.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/default.toml");

/// The built-in missions: name and text.
pub const MISSIONS: [(&str, &str); 7] = [
    ("aqua", include_str!("../../../../config/missions/aqua.toml")),
    ("cso", include_str!("../../../../config/missions/cso.toml")),
    ("lab", include_str!("../../../../config/missions/lab.toml")),
    ("metopb", include_str!("../../../../config/missions/metopb.toml")),
    ("noaa20", include_str!("../../../../config/missions/noaa20.toml")),
    ("noaa21", include_str!("../../../../config/missions/noaa21.toml")),
    ("npp", include_str!("../../../../config/missions/npp.toml")),
];

/// Everything `fepd` is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The process.
    pub daemon: DaemonConfig,
    /// Shared-memory rings.
    pub rings: RingsConfig,
    /// Station links in the order of their names; the index is no identity, see [`LinkConfig::id`].
    pub links: Vec<LinkConfig>,
    /// Missions by name: the built-in ones and one's own.
    pub missions: BTreeMap<String, Mission>,
}

impl Config {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&LinkConfig> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Absolute path of the control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.daemon.run_dir.join(&self.daemon.control_socket)
    }

    /// Directory of the bus: rings and cursors, black and red apart below it.
    pub fn bus_dir(&self) -> PathBuf {
        self.daemon.run_dir.join(&self.rings.dir)
    }

    /// Directory of the metric pages.
    pub fn metrics_dir(&self) -> PathBuf {
        self.daemon.run_dir.join("metrics")
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
    /// Name, 1 to 19 characters `a-z 0-9 - _`.
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
}

/// How blocks of soft symbols are decoded: see `decode_threads` in `config/default.toml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Decoding {
    /// Threads that decode; 0 for the link's own.
    pub threads: usize,
    /// The most blocks decoded together; 0 as the decoder likes best.
    pub batch: usize,
    /// How long a block may wait for others to be decoded with, microseconds.
    pub wait_us: u32,
}

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

/// Reads one mission: a built-in one by name, or a file by path (anything with a `/` or ending in `.toml`).
///
/// # Errors
/// Every mistake found; a name that is not built in tells those that are.
pub fn load_mission(name_or_path: &str) -> Result<Mission, ConfigErrors> {
    if name_or_path.contains('/') || name_or_path.ends_with(".toml") {
        let path = Path::new(name_or_path);
        return load_mission_source(mission_name(path), &Source::read(path)?);
    }
    match MISSIONS.iter().find(|(name, _)| *name == name_or_path) {
        Some((name, text)) => load_mission_text(name, &format!("<missions/{name}.toml>"), text),
        None => {
            let allowed = MISSIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            let allowed = format!("{allowed}, or the path of a file ending in .toml");
            Err(ConfigErrors::of_file(
                name_or_path,
                format!("no mission {name_or_path:?} is built in"),
                allowed,
            ))
        }
    }
}

/// Reads one mission from a text; `file` is its name in messages.
///
/// # Errors
/// Every mistake found.
pub fn load_mission_text(name: &str, file: &str, text: &str) -> Result<Mission, ConfigErrors> {
    load_mission_source(name, &Source::new(file, text))
}

fn load_mission_source(name: &str, source: &Source) -> Result<Mission, ConfigErrors> {
    let mut found = Diagnostics::default();
    let mission = mission::read_mission(name, source, &mut found);
    found.into_result().map(|()| mission)
}

fn read(user: Option<&Source>, base: &Path) -> Result<Config, ConfigErrors> {
    let default = Source::new("<default.toml>", DEFAULT_TOML);
    let mut found = Diagnostics::default();
    let config = daemon::read_config(user, &default, base, &mut found);
    found.into_result()?;
    // `read_config` returns nothing only after a report.
    config.ok_or_else(|| ConfigErrors::of_file("<default.toml>", "nothing could be read", ""))
}

fn mission_name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("mission")
}
