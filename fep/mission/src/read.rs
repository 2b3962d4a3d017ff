//! Reads a mission file.

use std::collections::BTreeMap;

use fep_ccsds::{Fecf, FrameKind, FrameSpec, Ocf};
use fep_coding::Randomizer;
use fep_coding::differential::LineCode;
use fep_config::{Diagnostics, Place, Section, Source, nearest, parse};

use crate::code::{read_code, read_sync};
use crate::{
    ChannelConfig, ChannelSpacecraft, Colour, Mission, PacketLayout, Spacecraft, UndeclaredApids, VcConfig,
    VcService,
};

/// Reads one mission file.
pub fn read_mission(name: &str, source: &Source, found: &mut Diagnostics) -> Mission {
    let parsed = parse(source, found);
    let root = Section::root(source, &parsed);
    let title = root.string("title", found).map(|(title, _)| title);
    if title.is_none() && !root.has("title") {
        root.missing("title", found, "a string");
    }
    let spacecraft_section = root.table("spacecraft", found);
    let channel_section = root.table("channel", found);
    let mut spacecraft = BTreeMap::new();
    for (name, _, section) in spacecraft_section.named_tables(found) {
        let craft = read_spacecraft(section, found);
        spacecraft.insert(name, craft);
    }
    let mut channels = BTreeMap::new();
    let mut any = false;
    for (channel, _, section) in channel_section.named_tables(found) {
        any = true;
        if let Some(config) = read_channel(&format!("{name}/{channel}"), section, &spacecraft, found) {
            channels.insert(channel, config);
        }
    }
    if !any {
        root.missing("channel", found, "at least one table [channel.NAME]");
    }
    root.finish(found);
    let spacecraft = spacecraft.into_iter().filter_map(|(name, craft)| Some((name, craft?))).collect();
    Mission { name: name.to_owned(), title: title.unwrap_or_default(), spacecraft, channels }
}

/// Reports a mistake where a mission file describes the packets of a spacecraft, or the spacecraft where it does not.
pub(crate) fn report_packets(source: &Source, spacecraft: &str, message: &str, found: &mut Diagnostics) {
    // What is wrong with the file itself was reported when the mission was read.
    let mut known = Diagnostics::default();
    let parsed = parse(source, &mut known);
    for (name, _, section) in
        Section::root(source, &parsed).table("spacecraft", &mut known).named_tables(&mut known)
    {
        if let Some(place) = section.place_of("packets").filter(|_| name == spacecraft) {
            place.report(found, message, "one description, the same in both");
        }
    }
}

fn read_spacecraft(section: Section<'_>, found: &mut Diagnostics) -> Option<Spacecraft> {
    let scid =
        section.require("scid", found, "0 to 65535", |s, found| s.integer("scid", 0..=u16::MAX, found));
    let mut apids = BTreeMap::new();
    for (number, place, name) in section.table("apids", found).named_strings(found) {
        match number.parse::<u16>() {
            Ok(apid) if apid <= 2047 => {
                if apids.insert(apid, name).is_some() {
                    place.report(found, format!("APID {apid} is named twice"), "");
                }
            }
            _ => place.report(found, format!("{number:?} is not an APID"), "0 to 2047"),
        }
    }
    let policies = [
        ("accept", UndeclaredApids::Accept),
        ("report", UndeclaredApids::Report),
        ("reject", UndeclaredApids::Reject),
    ];
    let packets = section.deserialize::<PacketLayout>("packets", found).unwrap_or_default();
    if let (Err(problem), Some(place)) = (packets.validate(), section.place_of("packets")) {
        place.report(found, problem, "");
    }
    let undeclared_apids = section.choice("undeclared_apids", &policies, found).unwrap_or_default();
    section.finish(found);
    Some(Spacecraft { scid: scid?, apids, undeclared_apids, packets })
}

/// AOS and USLP frames of idle data have a virtual channel of their own, on every physical channel (732.0-B 4.1.2.2.3.2).
const FILL_VCID: u8 = 63;

const RANDOMIZERS: [(&str, Randomizer); 3] =
    [("none", Randomizer::None), ("legacy", Randomizer::Legacy255), ("long", Randomizer::Long131071)];

fn read_channel(
    name: &str,
    section: Section<'_>,
    spacecraft: &BTreeMap<String, Option<Spacecraft>>,
    found: &mut Diagnostics,
) -> Option<ChannelConfig> {
    let randomizer = section.require("randomizer", found, "none, legacy, long", |s, found| {
        s.choice("randomizer", &RANDOMIZERS, found)
    });
    let line_code = section.choice("line_code", &LineCode::ALL.map(|code| (code.name(), code)), found);
    let line_place = section.place_of("line_code");
    let (kind, frame) =
        section.require_table("frame", found).map_or((None, None), |table| read_frame(table, found));
    let code = section.require_table("code", found).and_then(|table| read_code(table, &frame, found));
    let sync = section.require_table("sync", found).and_then(|table| read_sync(table, code.as_ref(), found));
    let carried = read_carried(&section, &frame, spacecraft, found);
    let vcs = read_vcs(&section, kind, carried.as_deref(), found);
    if let (Some(line), Some(place), Some(sync)) = (line_code, line_place, &sync)
        && line != LineCode::NrzL
        && sync.symbols.is_some()
    {
        place.report(
            found,
            "this code is not transparent: it cannot be read through a differential line code",
            "nrz_l",
        );
    }
    section.finish(found);
    let sync = sync?;
    Some(ChannelConfig {
        name: name.to_owned(),
        spacecraft: carried?,
        frame: frame?,
        sync: sync.bits,
        soft_sync: sync.symbols,
        randomizer: randomizer?,
        code: code?,
        line_code: line_code.unwrap_or_default(),
        vcs,
    })
}

/// The key `spacecraft` of a channel: one name, or several. Without a spacecraft: its own mistakes were reported where it stands,
/// and nobody who names it is blamed.
fn read_carried(
    section: &Section<'_>,
    frame: &Option<FrameSpec>,
    spacecraft: &BTreeMap<String, Option<Spacecraft>>,
    found: &mut Diagnostics,
) -> Option<Vec<ChannelSpacecraft>> {
    let known = spacecraft.keys().cloned().collect::<Vec<_>>().join(", ");
    let allowed = format!("one of, or a list of: {known}");
    if !section.has("spacecraft") {
        section.missing("spacecraft", found, &allowed);
        return None;
    }
    let mistakes = found.len();
    let mut carried: Vec<ChannelSpacecraft> = Vec::new();
    let mut unreadable = false;
    for (name, place) in section.string_or_strings("spacecraft", found)? {
        let craft = match spacecraft.get(&name) {
            Some(Some(craft)) => craft,
            Some(None) => {
                unreadable = true;
                continue;
            }
            None => {
                let meant = nearest(&name, spacecraft.keys().map(String::as_str));
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
                place.report(found, format!("no spacecraft is called {name:?}{meant}"), known.clone());
                continue;
            }
        };
        check_scid(craft.scid, frame, &place, found);
        if let Some(other) = carried.iter().find(|other| other.scid == craft.scid) {
            let message = if other.name == name {
                format!("spacecraft {name:?} is named twice")
            } else {
                format!(
                    "spacecraft {name:?} has scid {} as {:?}: no header tells them apart",
                    craft.scid, other.name
                )
            };
            place.report(found, message, "");
            continue;
        }
        let Spacecraft { scid, apids, undeclared_apids, .. } = craft;
        let (apids, undeclared_apids) = (apids.keys().copied().collect(), *undeclared_apids);
        carried.push(ChannelSpacecraft { name, scid: *scid, apids, undeclared_apids });
    }
    if let (true, Some(place)) =
        (carried.is_empty() && !unreadable && found.len() == mistakes, section.place_of("spacecraft"))
    {
        place.report(found, "the list is empty", allowed);
    }
    (found.len() == mistakes && !unreadable).then_some(carried)
}

/// The tables `vc` of a channel. Without spacecraft (a mistake that is reported elsewhere) only their own mistakes.
fn read_vcs(
    section: &Section<'_>,
    kind: Option<FrameKind>,
    carried: Option<&[ChannelSpacecraft]>,
    found: &mut Diagnostics,
) -> Vec<VcConfig> {
    let mut vcs: Vec<VcConfig> = Vec::new();
    if !section.has("vc") {
        section.missing("vc", found, "at least one table [[…vc]]");
        return vcs;
    }
    for table in section.tables("vc", found) {
        let place = table.place();
        let Some(vc) = read_vc(table, kind, carried, found) else { continue };
        if vcs.iter().any(|other| other.id == vc.id && other.spacecraft == vc.spacecraft) {
            if let Some(place) = place {
                let message = match carried {
                    Some([_, _, ..]) => {
                        format!(
                            "virtual channel {} of spacecraft {:?} is described twice",
                            vc.id, vc.spacecraft
                        )
                    }
                    _ => format!("virtual channel {} is described twice", vc.id),
                };
                place.report(found, message, "");
            }
            continue;
        }
        vcs.push(vc);
    }
    for craft in carried.unwrap_or_default() {
        let has_fill = vcs.iter().any(|vc| vc.id == FILL_VCID && vc.scid == craft.scid);
        if kind.is_some_and(|kind| kind != FrameKind::Tm) && !has_fill {
            vcs.push(VcConfig {
                spacecraft: craft.name.clone(),
                scid: craft.scid,
                id: FILL_VCID,
                name: "fill".to_owned(),
                service: VcService::Idle,
                packets: false,
                colour: Colour::Black,
            });
        }
    }
    vcs
}

fn check_scid(scid: u16, frame: &Option<FrameSpec>, place: &Place<'_>, found: &mut Diagnostics) {
    let most = match frame.as_ref().map(|frame| frame.kind) {
        Some(FrameKind::Tm) => 1023,
        Some(FrameKind::Aos) => 255,
        Some(FrameKind::Uslp) | None => u16::MAX,
    };
    if scid > most {
        place.report(
            found,
            format!("its scid {scid} does not fit the header of this kind of frame"),
            format!("0 to {most}"),
        );
    }
}

/// The kind of frame, even when the rest is wrong, and the whole.
fn read_frame(section: Section<'_>, found: &mut Diagnostics) -> (Option<FrameKind>, Option<FrameSpec>) {
    let kinds = [("tm", FrameKind::Tm), ("aos", FrameKind::Aos), ("uslp", FrameKind::Uslp)];
    let kind = section.require("kind", found, "tm, aos, uslp", |s, found| s.choice("kind", &kinds, found));
    let frame_len = section
        .require("frame_len", found, "7 to 65536", |s, found| s.integer("frame_len", 7..=65536usize, found));
    let mut octets = |key| section.integer(key, 0..=65535usize, found).unwrap_or(0);
    let insert_zone_len = octets("insert_zone_len");
    let security_header_len = octets("security_header_len");
    let security_trailer_len = octets("security_trailer_len");
    let trailer_len = octets("trailer_len");
    let fecfs = [("none", Fecf::None), ("crc16", Fecf::Crc16), ("crc32", Fecf::Crc32)];
    let spec = FrameSpec {
        insert_zone_len,
        security_header_len,
        security_trailer_len,
        trailer_len,
        fecf: section.choice("fecf", &fecfs, found).unwrap_or_default(),
        ocf: section
            .choice("ocf", &[("absent", Ocf::Absent), ("present", Ocf::Present)], found)
            .unwrap_or_default(),
        fhec: section.boolean("fhec", found).unwrap_or(false),
        variable_len: section.boolean("variable_len", found).unwrap_or(false),
        truncated_len: section.integer("truncated_len", 6..=65536usize, found),
        secondary_header_len: section.integer("secondary_header_len", 1..=2048usize, found),
        ..FrameSpec::new(kind.unwrap_or(FrameKind::Uslp), frame_len.unwrap_or(65536))
    };
    let place = section.place();
    section.finish(found);
    if kind.is_none() || frame_len.is_none() {
        return (kind, None);
    }
    if let (Err(error), Some(place)) = (spec.validate(), place) {
        place.report(found, error.to_string(), "");
        return (kind, None);
    }
    (kind, Some(spec))
}

const SERVICES: [(&str, VcService); 5] = [
    ("packets", VcService::Packets),
    ("m_pdu", VcService::MPdu),
    ("b_pdu", VcService::BPdu),
    ("vca", VcService::Vca),
    ("idle", VcService::Idle),
];

fn read_vc(
    section: Section<'_>,
    kind: Option<FrameKind>,
    carried: Option<&[ChannelSpacecraft]>,
    found: &mut Diagnostics,
) -> Option<VcConfig> {
    let most = if kind == Some(FrameKind::Tm) { 7 } else { 63 };
    let id =
        section.require("id", found, &format!("0 to {most}"), |s, found| s.integer("id", 0..=most, found));
    let allowed: Vec<(&str, VcService)> = SERVICES
        .into_iter()
        .filter(|(_, service)| match kind {
            Some(FrameKind::Aos) => *service != VcService::Packets,
            Some(FrameKind::Tm | FrameKind::Uslp) => !matches!(service, VcService::MPdu | VcService::BPdu),
            None => true,
        })
        .collect();
    let names = allowed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let service = section.require("service", found, &names, |s, found| s.choice("service", &allowed, found));
    let name = section.string("name", found).map(|(name, _)| name).unwrap_or_default();
    let packets = section.boolean("packets", found);
    if let (Some(true), Some(service), Some(place)) = (packets, service, section.place_of("packets"))
        && !service.carries_packets()
    {
        place.report(found, "this service carries no packets", "false");
    }
    let colours = [("black", Colour::Black), ("red", Colour::Red)];
    let colour = section.choice("colour", &colours, found).unwrap_or(Colour::Black);
    let own = section.string("spacecraft", found);
    section.finish(found);
    let (spacecraft, scid) = match (own, carried) {
        (None, Some([first, ..])) => (first.name.clone(), first.scid),
        (Some((own, place)), Some(carried)) => match carried.iter().find(|craft| craft.name == own) {
            Some(craft) => (craft.name.clone(), craft.scid),
            None => {
                let names = carried.iter().map(|craft| craft.name.as_str()).collect::<Vec<_>>().join(", ");
                place.report(found, format!("this channel does not carry a spacecraft {own:?}"), names);
                return None;
            }
        },
        (own, _) => (own.map(|(own, _)| own).unwrap_or_default(), 0),
    };
    let service = service?;
    let packets = packets.unwrap_or(true) && service.carries_packets();
    Some(VcConfig { spacecraft, scid, id: id?, name, service, packets, colour })
}
