//! Reads `[daemon]`, `[rings]`, `[missions]` and puts the whole configuration together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fep_config::{Diagnostics, Section, Source, parse};

use super::link::{Known, Taken, read_links};
use super::names::check_form;
use super::spacecraft::read_spacecraft;
use super::{Config, DaemonConfig, MAX_CORE, RingAccess, RingSize, RingsConfig};
use fep_mission::{MISSIONS, Mission, mission_name, read_mission};

/// Reads the user's file over the built-in one. `None` only when something was reported.
pub(crate) fn read_config(
    user: Option<&Source>,
    default: &Source,
    base: &Path,
    found: &mut Diagnostics,
) -> Option<Config> {
    let user_table = user.map(|source| parse(source, found));
    let default_table = parse(default, found);
    let mut root = Section::root(default, &default_table);
    if let (Some(source), Some(table)) = (user, &user_table) {
        root = Section::root(source, table).over(&root);
    }

    let (missions, broken) = read_missions(root.table("missions", found), base, found);
    let daemon = read_daemon(root.table("daemon", found), base, found);
    let rings = read_rings(root.table("rings", found), found);
    let link_defaults = root.table("link", found);
    // Links are taken whole: the layer that has the last word, nothing of the one below.
    let links = root.table("links", found).first_layer_only();
    let known = Known { missions: &missions, broken: &broken };
    let mut taken = Taken::default();
    if let Some(address) = daemon.as_ref().and_then(|daemon| daemon.metrics_address) {
        taken.exclusive.claim_metrics(address);
    }
    let mut links = read_links(links, link_defaults, &known, base, &mut taken, found);
    let spacecraft = read_spacecraft(root.table("spacecraft", found), &mut links, &mut taken, found);
    root.finish(found);
    Some(Config { daemon: daemon?, rings: rings?, links, spacecraft, missions })
}

/// Every mission, and the names of those in which something is wrong.
fn read_missions(
    section: Section<'_>,
    base: &Path,
    found: &mut Diagnostics,
) -> (BTreeMap<String, Mission>, Vec<String>) {
    let mut missions = BTreeMap::new();
    let mut broken = Vec::new();
    for (name, place, path) in section.named_strings(found) {
        let path = base.join(path);
        match Source::read(&path) {
            Ok(source) => {
                let before = found.len();
                missions.insert(name.clone(), read_mission(&name, &source, found));
                if found.len() > before {
                    broken.push(name);
                }
            }
            Err(errors) => {
                broken.push(name);
                // At the key that names the file, and for the reason that its reader gives.
                let reasons = errors.0.into_iter().map(|error| error.message).collect::<Vec<_>>().join("; ");
                place.report(found, format!("{}: {reasons}", path.display()), "");
            }
        }
    }
    for (name, text) in MISSIONS {
        if !missions.contains_key(name) && !broken.iter().any(|other| other == name) {
            let source = Source::new(format!("<missions/{}.toml>", mission_name(Path::new(name))), text);
            missions.insert(name.to_owned(), read_mission(name, &source, found));
        }
    }
    (missions, broken)
}

fn read_daemon(section: Section<'_>, base: &Path, found: &mut Diagnostics) -> Option<DaemonConfig> {
    let run_dir = section.string("run_dir", found).and_then(|(dir, place)| {
        if dir.is_empty() {
            place.report(found, "a directory must be named", "");
            return None;
        }
        Some(base.join(dir))
    });
    let control_socket = relative(&section, "control_socket", found);
    let control_mode = mode(&section, "control_mode", found);
    let metrics_address = section.string("metrics_address", found).and_then(|(address, place)| {
        if address.is_empty() {
            return Some(None);
        }
        let parsed = address.parse();
        if parsed.is_err() {
            place.report(found, format!("{address:?} is not an address"), "\"ADDRESS:PORT\" or \"\"");
        }
        parsed.ok().map(Some)
    });
    let logs = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level.to_owned()));
    let control_group = section.string("control_group", found).map(|(group, _)| group);
    let realtime_priority = section.integer("realtime_priority", 0..=99, found);
    let lock_memory = section.boolean("lock_memory", found);
    let cores = distinct_cores(&section, found);
    let restart_min_ms = section.integer("restart_min_ms", 1..=600_000u32, found);
    let restart_max_ms = section.integer("restart_max_ms", 1..=600_000u32, found);
    let stop_timeout_ms = section.integer("stop_timeout_ms", 100..=600_000u32, found);
    if let (Some(min), Some(max), Some(place)) =
        (restart_min_ms, restart_max_ms, section.place_of("restart_max_ms"))
        && max < min
    {
        place.report(found, format!("{max} is less than restart_min_ms, {min}"), "");
    }
    let log = section.choice("log", &logs, found);
    section.finish(found);
    Some(DaemonConfig {
        run_dir: run_dir?,
        control_socket: control_socket?,
        control_mode: control_mode?,
        control_group: control_group?,
        realtime_priority: realtime_priority?,
        lock_memory: lock_memory?,
        cores,
        restart_min_ms: restart_min_ms?,
        restart_max_ms: restart_max_ms?,
        stop_timeout_ms: stop_timeout_ms?,
        metrics_address: metrics_address?,
        log: log?,
    })
}

fn distinct_cores(section: &Section<'_>, found: &mut Diagnostics) -> Vec<usize> {
    let mut cores = Vec::new();
    for core in section.integers("cores", 0..=MAX_CORE, found).unwrap_or_default() {
        if cores.contains(&core) {
            if let Some(place) = section.place_of("cores") {
                place.report(found, format!("core {core} is named twice"), "");
            }
        } else {
            cores.push(core);
        }
    }
    cores
}

fn read_rings(section: Section<'_>, found: &mut Diagnostics) -> Option<RingsConfig> {
    let dir = relative(&section, "dir", found);
    let mut access = |mode_key, group_key| {
        let mode = mode(&section, mode_key, found);
        let group = section.string(group_key, found).map(|(group, _)| group);
        Some(RingAccess { mode: mode?, group: group? })
    };
    let black = access("mode", "group");
    let red = access("red_mode", "red_group");
    if red.as_ref().is_some_and(|red| red.mode & 0o007 != 0)
        && let Some(place) = section.place_of("red_mode")
    {
        let allowed = "\"0600\" to \"0770\", the last digit 0";
        place.report(found, "red rings are for their owner and their group alone".to_owned(), allowed);
    }
    let extent = power_of_two_mib(&section, "extent_mib", found);
    let mut size = |desc, data| {
        let desc_log2 = section.integer(desc, 4..=28u32, found);
        let mib = power_of_two_mib(&section, data, found)?;
        if let Some(extent) = extent
            && mib < 2 * extent
            && let Some(place) = section.place_of(data)
        {
            place.report(
                found,
                format!("{mib} MiB is less than two extents of {extent} MiB (extent_mib)"),
                "",
            );
        }
        Some(RingSize { desc_log2: desc_log2?, data_len: mib << 20 })
    };
    let frames = size("frames_desc_log2", "frames_data_mib");
    let packets = size("packets_desc_log2", "packets_data_mib");
    let events = size("events_desc_log2", "events_data_mib");
    let packet_most = extent.map_or(1 << 28, |mib| u32::try_from(mib << 18).unwrap_or(1 << 28));
    let packet_max = section.integer("packet_max", 7..=packet_most, found);
    let mut gates: Vec<String> = Vec::new();
    for (name, place) in section.strings("gates", found).unwrap_or_default() {
        if let Err(message) = check_form(&name) {
            place.report(found, message, "");
        } else if gates.contains(&name) {
            place.report(found, format!("{name:?} is named twice"), "");
        } else {
            gates.push(name);
        }
    }
    if gates.len() > 16
        && let Some(place) = section.place_of("gates")
    {
        place.report(found, format!("{} consumers are watched", gates.len()), "at most 16");
    }
    section.finish(found);
    Some(RingsConfig {
        dir: dir?,
        black: black?,
        red: red?,
        frames: frames?,
        packets: packets?,
        events: events?,
        extent_len: extent? << 20,
        packet_max: packet_max?,
        gates,
    })
}

/// A size in MiB; rings are powers of two so that a position becomes an offset by masking.
fn power_of_two_mib(section: &Section<'_>, key: &'static str, found: &mut Diagnostics) -> Option<u64> {
    let mib = section.integer(key, 1..=1u64 << 20, found)?;
    if !mib.is_power_of_two() {
        if let Some(place) = section.place_of(key) {
            place.report(found, format!("{mib} is no power of two"), "1, 2, 4, 8, … 1048576");
        }
        return None;
    }
    Some(mib)
}

/// A path below `run_dir`: relative, and nothing that leaves it.
fn relative(section: &Section<'_>, key: &'static str, found: &mut Diagnostics) -> Option<PathBuf> {
    let (text, place) = section.string(key, found)?;
    let path = PathBuf::from(&text);
    let stays = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if text.is_empty() || !stays {
        place.report(found, format!("{text:?} is not a path below run_dir"), "a relative path without `..`");
        return None;
    }
    Some(path)
}

/// Permissions, written in octal.
fn mode(section: &Section<'_>, key: &'static str, found: &mut Diagnostics) -> Option<u32> {
    let (text, place) = section.string(key, found)?;
    let parsed = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
    if parsed.is_none() {
        let allowed = "octal digits, \"0600\" to \"0777\", the owner reading and writing";
        place.report(found, format!("{text:?} are no permissions"), allowed);
    }
    parsed
}
