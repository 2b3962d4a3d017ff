//! Missions: what a front end must know of a spacecraft beforehand, and no header says.
//!
//! One file describes one mission: its spacecraft, their physical channels with frames, codes and markers, and the
//! virtual channels. Every process reads the same file. Values only, checked whole: a file with one mistake is refused
//! with file, line, key and what is allowed, and all mistakes that can be found at once are reported at once.
//!
//! ```
//! let mission = fep_mission::load("npp").unwrap();
//! assert_eq!(mission.channels["hrd"].scids().collect::<Vec<_>>(), [157]);
//! ```

mod code;
mod fleet;
mod packets;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fep_ccsds::FrameSpec;
use fep_coding::differential::LineCode;
use fep_coding::soft::SoftSyncSpec;
use fep_coding::{CodeSpec, Randomizer, SyncSpec};
use fep_config::{ConfigErrors, Diagnostics, Source};
use serde::Serialize;

pub use fep_colour::Colour;
pub use fleet::{Fleet, FleetChannel, FleetConflict};
pub use packets::{PacketLayout, SecondaryHeader, TimeField};
pub use read::read_mission;

/// The built-in missions: name and text.
pub const MISSIONS: [(&str, &str); 7] = [
    ("aqua", include_str!("../../../config/missions/aqua.toml")),
    ("cso", include_str!("../../../config/missions/cso.toml")),
    ("lab", include_str!("../../../config/missions/lab.toml")),
    ("metopb", include_str!("../../../config/missions/metopb.toml")),
    ("noaa20", include_str!("../../../config/missions/noaa20.toml")),
    ("noaa21", include_str!("../../../config/missions/noaa21.toml")),
    ("npp", include_str!("../../../config/missions/npp.toml")),
];

/// What every key of a mission file means, in tables of Markdown.
pub const KEYS_MD: &str = include_str!("../../../config/missions/README.md");

/// A mission: everything about its space segment that a front end must know beforehand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mission {
    /// Name of the file without `.toml`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Spacecraft by name.
    pub spacecraft: BTreeMap<String, Spacecraft>,
    /// Physical channels by name.
    pub channels: BTreeMap<String, ChannelConfig>,
}

/// One spacecraft of a mission.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spacecraft {
    /// Spacecraft identifier.
    pub scid: u16,
    /// Names of application processes by APID.
    pub apids: BTreeMap<u16, String>,
    /// What becomes of packets with other APIDs.
    pub undeclared_apids: UndeclaredApids,
    /// Secondary headers of its telemetry packets.
    pub packets: PacketLayout,
}

/// What becomes of packets with an APID that the mission file does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UndeclaredApids {
    /// They are taken like any other.
    #[default]
    Accept,
    /// They are taken, counted and reported.
    Report,
    /// They are counted and reported, and not taken.
    Reject,
}

/// The managed parameters of one physical channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelConfig {
    /// `mission/channel`.
    pub name: String,
    /// The spacecraft whose master channels it carries, at least one: frames of any other are bad.
    pub spacecraft: Vec<ChannelSpacecraft>,
    /// Transfer frames.
    pub frame: FrameSpec,
    /// Marker among bits and how to search for it; `block_len` is that of the code, or of the frames of a sliced stream.
    pub sync: SyncSpec,
    /// Marker among symbols and how to search for it, of codes that have theirs there.
    pub soft_sync: Option<SoftSyncSpec>,
    /// Randomiser of the codeblock.
    pub randomizer: Randomizer,
    /// Channel code.
    pub code: CodeSpec,
    /// Whether bits are levels or changes of level on this channel; behind the convolutional code, if there is one.
    pub line_code: LineCode,
    /// Virtual channels of all spacecraft; frames of any other are bad.
    pub vcs: Vec<VcConfig>,
}

/// A spacecraft as a physical channel knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelSpacecraft {
    /// Its name in the mission.
    pub name: String,
    /// Spacecraft identifier.
    pub scid: u16,
    /// The APIDs that the mission names.
    pub apids: BTreeSet<u16>,
    /// What becomes of packets with other APIDs.
    pub undeclared_apids: UndeclaredApids,
}

impl ChannelConfig {
    /// Identifiers of the spacecraft, in the order of the file.
    pub fn scids(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.spacecraft.iter().map(|spacecraft| spacecraft.scid)
    }

    /// Names of the spacecraft, for people: `a, b`.
    pub fn spacecraft_names(&self) -> String {
        self.spacecraft.iter().map(|spacecraft| spacecraft.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Octets between markers.
    pub fn block_len(&self) -> usize {
        self.sync.block_len
    }

    /// Whether some virtual channel carries clear data of an enciphered mission.
    pub fn has_red(&self) -> bool {
        self.vcs.iter().any(|vc| vc.colour == Colour::Red)
    }
}

/// One virtual channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VcConfig {
    /// Name of its spacecraft.
    pub spacecraft: String,
    /// Identifier of its spacecraft.
    pub scid: u16,
    /// Virtual channel identifier.
    pub id: u8,
    /// What people call it; empty when the file says nothing.
    pub name: String,
    /// What its frames carry.
    pub service: VcService,
    /// Whether packets are taken out and published.
    pub packets: bool,
    /// Whether its data is clear data of an enciphered mission.
    pub colour: Colour,
}

/// What the data field of a virtual channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VcService {
    /// Packets of TM (132.0-B 4.1.4) or USLP frames (732.1-B 4.1.4).
    Packets,
    /// AOS multiplexing protocol data unit (732.0-B 4.1.4.2).
    MPdu,
    /// AOS bitstream protocol data unit (732.0-B 4.1.4.3).
    BPdu,
    /// Virtual channel access: the frame's data is the mission's own.
    Vca,
    /// Only idle data.
    Idle,
}

impl VcService {
    /// Whether packets can be taken out of it.
    pub fn carries_packets(self) -> bool {
        matches!(self, VcService::Packets | VcService::MPdu)
    }
}

/// Reads one mission: a built-in one by name, or a file by path (anything with a `/` or ending in `.toml`).
///
/// # Errors
/// Every mistake found; a name that is not built in tells those that are.
pub fn load(name_or_path: &str) -> Result<Mission, ConfigErrors> {
    if name_or_path.contains('/') || name_or_path.ends_with(".toml") {
        let path = Path::new(name_or_path);
        return load_source(mission_name(path), &Source::read(path)?);
    }
    match MISSIONS.iter().find(|(name, _)| *name == name_or_path) {
        Some((name, text)) => load_text(name, &format!("<missions/{name}.toml>"), text),
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

/// Every mission: those that are built in, and a user's own by name and path, which take the place of built-in ones.
///
/// # Errors
/// Every mistake found.
pub fn load_all(own: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, Mission>, ConfigErrors> {
    let mut missions = BTreeMap::new();
    let mut read = Ok(());
    for (name, path) in own {
        let mission = Source::read(path).and_then(|source| load_source(name, &source));
        read = ConfigErrors::both(read, mission)
            .map(|((), mission)| drop(missions.insert(name.clone(), mission)));
    }
    for (name, text) in MISSIONS.iter().filter(|(name, _)| !own.contains_key(*name)) {
        missions.insert((*name).to_owned(), load_text(name, &format!("<missions/{name}.toml>"), text)?);
    }
    read.map(|()| missions)
}

/// Reads one mission from a text; `file` is its name in messages.
///
/// # Errors
/// Every mistake found.
pub fn load_text(name: &str, file: &str, text: &str) -> Result<Mission, ConfigErrors> {
    load_source(name, &Source::new(file, text))
}

fn load_source(name: &str, source: &Source) -> Result<Mission, ConfigErrors> {
    let mut found = Diagnostics::default();
    let mission = read_mission(name, source, &mut found);
    found.into_result().map(|()| mission)
}

/// Name of the mission that a file describes: that of the file without `.toml`.
pub fn mission_name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("mission")
}
