//! Reads `[spacecraft.NAME]`: spacecraft whose links are merged.

use fep_config::{Diagnostics, Place, Section, nearest};
use fep_downlink::{ANTENNAS_MAX, Framing, IdlePolicy};
use fep_net::WaitMode;

use super::link::{Taken, WAITS, claim, id_of_name, read_core};
use super::names::check_name;
use super::{Antenna, CorePolicy, LinkConfig, SpacecraftConfig};

/// Longest wait of a merge, microseconds.
const WAIT_US_MAX: u32 = 10_000_000;
const WAIT_US: u32 = 20_000;
/// Most frames of a virtual channel that a merge holds.
const WINDOW_MAX: usize = 1 << 20;
const WINDOW: usize = 8192;
/// One place of a merge is its memory of what it served before.
const LINKS_MAX: usize = ANTENNAS_MAX - 1;

/// Reads every spacecraft, and notes in the links which one merges them. One with a mistake is reported and left out.
pub(super) fn read_spacecraft(
    section: Section<'_>,
    links: &mut [LinkConfig],
    taken: &mut Taken,
    found: &mut Diagnostics,
) -> Vec<SpacecraftConfig> {
    let mut crafts = Vec::new();
    for (name, place, section) in section.named_tables(found) {
        // A wrong name hides no mistake inside.
        let mut named = true;
        if let Err(message) = check_name(&name) {
            place.report(found, message, "");
            named = false;
        } else if links.iter().any(|link| link.name == name) || taken.broken.contains(&name) {
            place.report(found, format!("a link is called {name:?} too: their rings would be the same"), "");
            named = false;
        }
        crafts.extend(read_one(&name, &section, links, taken, found).filter(|_| named));
        section.finish(found);
    }
    crafts
}

fn read_one(
    name: &str,
    section: &Section<'_>,
    links: &mut [LinkConfig],
    taken: &mut Taken,
    found: &mut Diagnostics,
) -> Option<SpacecraftConfig> {
    let or = |value: Option<u32>, default| value.unwrap_or(default);
    let wait_us = or(section.integer("wait_us", 0..=WAIT_US_MAX, found), WAIT_US);
    let window_frames = section.integer("window_frames", 16..=WINDOW_MAX, found).unwrap_or(WINDOW);
    let idles = [("publish", IdlePolicy::Publish), ("drop", IdlePolicy::Drop)];
    let idle = section.choice("idle", &idles, found).unwrap_or(IdlePolicy::Publish);
    let core = read_core(section, found).unwrap_or(CorePolicy::Auto);
    let wait = section.choice("wait", &WAITS, found).unwrap_or(WaitMode::Wait);
    let members = read_members(section, links, &taken.broken, found)?;
    let id = id_of_name(name);
    if let (Some(other), Some(place)) = (claim(&mut taken.ids, id, name), section.place())
        && other != name
    {
        place.report(found, format!("its number {id} is that of link {other:?} too"), "another name");
    }
    let first = links[*members.first()?].clone();
    let place = section.place_of("links");
    let mut same = |what: &str, of: &dyn Fn(&LinkConfig) -> String| {
        let values: Vec<String> = members.iter().map(|index| of(&links[*index])).collect();
        if let (Some(place), true) = (&place, values.iter().any(|value| *value != values[0])) {
            let values = values.join(", ");
            place.report(found, format!("the links are of different {what}: {values}"), "one for all");
        }
    };
    same("channels", &|link| link.channel.name.clone());
    same("sessions", &|link| format!("{:?}", link.session).to_uppercase());
    let mut antennas = Vec::new();
    for index in &members {
        let link = &mut links[*index];
        link.merged_by = Some(name.to_owned());
        antennas.push(Antenna { name: link.name.clone(), id: link.id });
    }
    Some(SpacecraftConfig {
        name: name.to_owned(),
        id,
        in_order: members.iter().all(|index| links[*index].framing == Framing::Stream),
        links: antennas,
        channel: first.channel,
        session: first.session,
        idle,
        wait_us,
        window_frames,
        core,
        wait,
    })
}

/// Indexes of the links that it names; `None` when something is wrong with one of them. The mistakes of `broken` links were
/// reported where they stand.
fn read_members(
    section: &Section<'_>,
    links: &[LinkConfig],
    broken: &[String],
    found: &mut Diagnostics,
) -> Option<Vec<usize>> {
    let allowed = "names of two or more links, as in [\"a\", \"b\"]";
    if !section.has("links") {
        section.missing("links", found, allowed);
        return None;
    }
    let named: Vec<(String, Place<'_>)> = section.strings("links", found)?;
    let count = named.len();
    let mut members = Vec::new();
    for (link, place) in named {
        match links.iter().position(|known| known.name == link) {
            None if broken.contains(&link) => {}
            None => {
                let readable = links.iter().map(|link| link.name.as_str());
                let names = readable.chain(broken.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
                let meant = nearest(&link, names.split(", "));
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
                place.report(found, format!("no link is called {link:?}{meant}"), names);
            }
            Some(index) if members.contains(&index) => {
                place.report(found, format!("link {link:?} is named twice"), "");
            }
            Some(index) => {
                if let Some(other) = &links[index].merged_by {
                    place.report(
                        found,
                        format!("link {link:?} is merged by spacecraft {other:?} already"),
                        "",
                    );
                } else {
                    members.push(index);
                }
            }
        }
    }
    if !(2..=LINKS_MAX).contains(&count)
        && let Some(place) = section.place_of("links")
    {
        let named =
            if count == 1 { "1 link is named".to_owned() } else { format!("{count} links are named") };
        place.report(found, named, format!("2 to {LINKS_MAX}"));
    }
    // A mistake above was reported; what is left is not looked at any further.
    (members.len() == count && members.len() >= 2).then_some(members)
}
