//! What all missions together say of their spacecraft, by the numbers that recorded frames and packets carry.
//!
//! A process that works on recorded data (the archive, say) does not know by which physical channel a frame came: it has the
//! header's identifiers and the length. [`Fleet`] answers what those stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use fep_ccsds::{Frame, FrameSpec, Gvcid};
use fep_config::{ConfigErrors, Diagnostics, Source};

use crate::read::report_packets;
use crate::{
    ChannelSpacecraft, Colour, MISSIONS, Mission, PacketLayout, SecondaryHeader, VcConfig, VcService,
    load_all,
};

/// Spacecraft, virtual channels and packets of several missions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    layouts: BTreeMap<u16, PacketLayout>,
    channels: BTreeMap<Gvcid, Vec<FleetChannel>>,
}

/// One virtual channel as a mission describes it, with the frames that carry it.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetChannel {
    /// `mission/channel` of the physical channel; the first by name where several describe it alike.
    pub name: String,
    /// Its transfer frames.
    pub frame: FrameSpec,
    /// Its spacecraft, with the APIDs that the mission names.
    pub spacecraft: ChannelSpacecraft,
    /// The virtual channel.
    pub vc: VcConfig,
}

/// Two missions contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConflict {
    /// The mission read later.
    pub mission: String,
    /// Its spacecraft.
    pub spacecraft: String,
    /// Identifier of the spacecraft.
    pub scid: u16,
    /// The mission read before.
    pub other: String,
}

impl fmt::Display for FleetConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mission {} describes the packets of spacecraft {} (SCID {}) otherwise than mission {}: no header tells which \
             holds",
            self.mission, self.spacecraft, self.scid, self.other
        )
    }
}

impl std::error::Error for FleetConflict {}

impl Fleet {
    /// Every mission that is built in, and a user's own by name and path, which take the place of built-in ones.
    ///
    /// # Errors
    /// Every mistake found in the files, each with file, line and key; then every pair of missions that describe the packets
    /// of one spacecraft identifier differently, at the key of the one read later.
    pub fn load(own: &BTreeMap<String, PathBuf>) -> Result<Fleet, ConfigErrors> {
        let missions = load_all(own)?;
        let (fleet, conflicts) = Fleet::gather(missions.values());
        let mut located = Ok(());
        for conflict in conflicts {
            let mut found = Diagnostics::default();
            let source = match own.get(&conflict.mission) {
                Some(path) => Source::read(path)?,
                None => built_in(&conflict.mission),
            };
            report_packets(&source, &conflict.spacecraft, &conflict.to_string(), &mut found);
            located = ConfigErrors::both(located, found.into_result()).map(|_| ());
        }
        located.map(|()| fleet)
    }

    /// What these missions say.
    ///
    /// # Errors
    /// Two of them describe the packets of one spacecraft identifier differently.
    pub fn of<'m>(missions: impl IntoIterator<Item = &'m Mission>) -> Result<Fleet, FleetConflict> {
        let (fleet, conflicts) = Fleet::gather(missions);
        conflicts.into_iter().next().map_or(Ok(fleet), Err)
    }

    fn gather<'m>(missions: impl IntoIterator<Item = &'m Mission>) -> (Fleet, Vec<FleetConflict>) {
        let mut fleet = Fleet::default();
        let mut conflicts = Vec::new();
        let mut described_by: BTreeMap<u16, &str> = BTreeMap::new();
        for mission in missions {
            for (name, craft) in mission.spacecraft.iter().filter(|(_, craft)| !craft.packets.is_empty()) {
                let known = fleet.layouts.entry(craft.scid).or_insert_with(|| craft.packets.clone());
                let other = *described_by.entry(craft.scid).or_insert(&mission.name);
                if *known != craft.packets {
                    conflicts.push(FleetConflict {
                        mission: mission.name.clone(),
                        spacecraft: name.clone(),
                        scid: craft.scid,
                        other: other.to_owned(),
                    });
                }
            }
            for channel in mission.channels.values() {
                let tfvn = channel.frame.kind.tfvn();
                for vc in &channel.vcs {
                    let Some(craft) = channel.spacecraft.iter().find(|craft| craft.scid == vc.scid) else {
                        continue;
                    };
                    let described = FleetChannel {
                        name: channel.name.clone(),
                        frame: channel.frame.clone(),
                        spacecraft: craft.clone(),
                        vc: vc.clone(),
                    };
                    let gvcid = Gvcid { tfvn, scid: vc.scid, vcid: vc.id };
                    let known = fleet.channels.entry(gvcid).or_default();
                    if !known.iter().any(|known| known.is_alike(&described)) {
                        known.push(described);
                    }
                }
            }
        }
        (fleet, conflicts)
    }

    /// A fleet with these secondary headers and no channels: for tests and for tools without missions.
    #[must_use]
    pub fn of_layouts(layouts: BTreeMap<u16, PacketLayout>) -> Fleet {
        Fleet { layouts, channels: BTreeMap::new() }
    }

    /// Secondary headers of packets by spacecraft identifier.
    #[must_use]
    pub fn layouts(&self) -> &BTreeMap<u16, PacketLayout> {
        &self.layouts
    }

    /// The secondary header of an application process; of a spacecraft that no mission describes, nothing that anybody reads.
    #[must_use]
    pub fn secondary_header(&self, scid: u16, apid: u16) -> SecondaryHeader {
        self.layouts.get(&scid).map_or(SecondaryHeader::None, |layout| layout.of(apid))
    }

    /// Whether packets can be taken out of frames of any spacecraft.
    #[must_use]
    pub fn has_packets(&self) -> bool {
        self.channels.values().flatten().any(|channel| channel.vc.packets)
    }

    /// Whether packets can be taken out of frames of this spacecraft at all.
    #[must_use]
    pub fn has_packets_of(&self, scid: u16) -> bool {
        self.channels
            .iter()
            .any(|(gvcid, known)| gvcid.scid == scid && known.iter().any(|channel| channel.vc.packets))
    }

    /// The description of the virtual channel that this good frame came by. `None` for a channel that no mission describes,
    /// and where several missions describe it so that the frame fits more than one: then nobody can say how packets lie in
    /// it.
    ///
    /// A description with a frame error control field that matches the frame wins over those without: what fits by chance
    /// fits one time in 65 536.
    #[must_use]
    pub fn channel_of(&self, gvcid: Gvcid, octets: &[u8]) -> Option<&FleetChannel> {
        let known = self.channels.get(&gvcid)?;
        let fits = |channel: &&FleetChannel| {
            Frame::parse(&channel.frame, octets).is_ok_and(|frame| frame.gvcid == gvcid)
        };
        let checked = |channel: &&FleetChannel| channel.frame.fecf != fep_ccsds::Fecf::None;
        let mut fitting: Vec<&FleetChannel> = known.iter().filter(fits).collect();
        if fitting.iter().any(checked) {
            fitting.retain(checked);
        }
        if fitting.len() == 1 { fitting.pop() } else { None }
    }
}

impl FleetChannel {
    /// Whether packets lie in both alike. Names do not matter.
    fn is_alike(&self, other: &FleetChannel) -> bool {
        let of = |channel: &FleetChannel| -> (FrameSpec, VcService, bool, Colour) {
            (channel.frame.clone(), channel.vc.service, channel.vc.packets, channel.vc.colour)
        };
        let apids = |craft: &ChannelSpacecraft| (craft.undeclared_apids, craft.apids.clone());
        of(self) == of(other) && apids(&self.spacecraft) == apids(&other.spacecraft)
    }
}

/// The text of a built-in mission; empty for another name.
fn built_in(name: &str) -> Source {
    let text = MISSIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
    Source::new(format!("<missions/{name}.toml>"), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_ccsds::Fecf;

    fn mission(name: &str, spacecraft: &str, frame: &str) -> Mission {
        let text = format!(
            "title = \"t\"\n[spacecraft.s]\nscid = 42\n{spacecraft}\n[channel.c]\nspacecraft = \"s\"\n\
             randomizer = \"none\"\nframe = {{ kind = \"tm\", {frame} }}\nsync = {{ marker = \"1acffc1d\" }}\n\
             code = {{ code = \"none\" }}\nvc = [{{ id = 0, service = \"packets\" }}]\n"
        );
        crate::load_text(name, "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    // REQ: FEP-ARC-220
    #[test]
    fn contradicting_missions_are_reported_at_file_line_and_key() {
        let directory = std::env::temp_dir().join(format!("fep-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let text = |packets: &str| {
            format!(
                "title = \"t\"\n[spacecraft.s]\nscid = 42\n{packets}\n[channel.c]\nspacecraft = \"s\"\n\
                 randomizer = \"none\"\nframe = {{ kind = \"tm\", frame_len = 100 }}\n\
                 sync = {{ marker = \"1acffc1d\" }}\ncode = {{ code = \"none\" }}\n\
                 vc = [{{ id = 0, service = \"packets\" }}]\n"
            )
        };
        let mut own = BTreeMap::new();
        for (name, packets) in
            [("one", "packets.all = { kind = \"pus_c\" }"), ("two", "packets.apids.7 = { kind = \"pus_c\" }")]
        {
            let path = directory.join(format!("{name}.toml"));
            std::fs::write(&path, text(packets)).expect("a file");
            own.insert(name.to_owned(), path);
        }
        let said = Fleet::load(&own).expect_err("they contradict each other").to_string();
        std::fs::remove_dir_all(&directory).expect("it was there");
        assert!(said.contains("two.toml:4:"), "{said}");
        assert!(said.contains("spacecraft.s.packets: mission two"), "{said}");
        assert!(said.contains("SCID 42") && said.contains("mission one"), "{said}");
    }

    // REQ: FEP-ARC-220
    #[test]
    fn the_built_in_missions_do_not_contradict_each_other() {
        let fleet = Fleet::load(&BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(fleet.has_packets_of(157), "Suomi NPP");
        assert!(!fleet.has_packets_of(1), "no mission has this spacecraft");
    }

    // REQ: FEP-ARC-220
    #[test]
    fn a_frame_that_fits_several_descriptions_belongs_to_the_one_whose_check_matches_or_to_none() {
        let plain = mission("plain", "", "frame_len = 100");
        let checked = mission("checked", "", "frame_len = 100, fecf = \"crc16\"");
        let with_trailer = mission("trailer", "", "frame_len = 100, trailer_len = 4");
        let gvcid = Gvcid { tfvn: 0, scid: 42, vcid: 0 };
        let mut octets = vec![0; 100];
        octets[..6].copy_from_slice(&[0x02, 0xA0, 0, 0, 0x18, 0]);
        let name = |missions: &[&Mission], octets: &[u8]| {
            let fleet = Fleet::of(missions.iter().copied()).expect("no contradiction");
            fleet.channel_of(gvcid, octets).map(|channel| channel.name.clone())
        };
        assert_eq!(name(&[&plain], &octets), Some("plain/c".to_owned()));
        assert_eq!(name(&[&plain], &octets[..99]), None, "of another length");
        assert_eq!(name(&[&plain, &plain], &octets), Some("plain/c".to_owned()), "described alike");
        assert_eq!(
            name(&[&plain, &checked], &octets),
            Some("plain/c".to_owned()),
            "its check does not match"
        );
        assert_eq!(name(&[&plain, &with_trailer], &octets), None, "nobody can say");
        let crc = fep_coding::crc::crc16_fecf(&octets[..98]);
        octets[98..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(name(&[&plain, &checked, &with_trailer], &octets), Some("checked/c".to_owned()));
        assert_eq!(checked.channels["c"].frame.fecf, Fecf::Crc16);
    }
}
