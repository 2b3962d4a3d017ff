//! `fepctl config` and `fepctl missions`: configuration, offline.

mod documented;
mod explain;
mod kind;
mod programs;

use std::io::{self, Write};
use std::path::Path;

use fep_config::{ConfigErrors, Diagnostics, Document, Source};
use fep_control::config::{self, CorePolicy};
use fep_mission::MISSIONS;
use serde_json::{Value, json};

use crate::cli::{ConfigCommand, ConfigKind};
use crate::failure::{Failure, output};
use crate::figures::counted;
use crate::places::load_config;
use crate::{stations, terminal};

/// `fepctl config ...`
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, kind, json } => check(file.as_deref(), *kind, *json),
        ConfigCommand::Show { file, json } => show(file.as_deref(), *json),
        ConfigCommand::Explain { key } => explain::run(key),
    }
}

/// What messages call the configuration.
fn name_of(file: Option<&Path>) -> String {
    file.map_or_else(|| "the built-in configuration".to_owned(), |path| path.display().to_string())
}

fn check(file: Option<&Path>, wanted: Option<ConfigKind>, as_json: bool) -> Result<(), Failure> {
    let read_as = kind::of(file, wanted);
    let checked = match (read_as.kind, file) {
        (ConfigKind::Mission, Some(path)) => check_mission(path),
        (ConfigKind::Stations, Some(path)) => check_stations(path),
        (ConfigKind::Archive | ConfigKind::Identity, Some(path)) => {
            return programs::check(path, read_as, as_json);
        }
        _ => check_daemon(file),
    };
    print_check(&name_of(file), read_as, checked, as_json)
}

fn check_stations(file: &Path) -> Result<Summary, ConfigErrors> {
    let name = name_of(Some(file));
    stations::read(Some(file)).map(|simulation| Summary {
        text: format!(
            "{name} is in order, read as simulated stations: {}",
            counted(simulation.station.len(), "station", "stations")
        ),
        json: json!({
            "file": name, "kind": "stations", "errors": [], "stations": simulation.station.len(),
        }),
    })
}

fn check_mission(file: &Path) -> Result<Summary, ConfigErrors> {
    let name = name_of(Some(file));
    let checked = Source::read(file).and_then(|source| {
        let mut found = Diagnostics::default();
        let mission = fep_mission::read_mission(fep_mission::mission_name(file), &source, &mut found);
        found.into_result().map(|()| mission)
    });
    checked.map(|mission| Summary {
        text: format!(
            "{name} is in order, read as a mission: {}, {}, {}",
            counted(mission.spacecraft.len(), "spacecraft", "spacecraft"),
            counted(mission.channels.len(), "channel", "channels"),
            counted(
                mission.channels.values().map(|channel| channel.vcs.len()).sum::<usize>(),
                "virtual channel",
                "virtual channels"
            )
        ),
        json: json!({
            "file": name, "kind": "mission", "errors": [],
            "spacecraft": mission.spacecraft.len(), "channels": mission.channels.len(),
        }),
    })
}

fn check_daemon(file: Option<&Path>) -> Result<Summary, ConfigErrors> {
    let name = name_of(file);
    let config = config::load(file)?;
    if let (Some(file), Some(last)) = (file, last_core()) {
        check_cores(file, &config, last)?;
    }
    let enabled = config.links.iter().filter(|link| link.enabled).count();
    let merged = match config.spacecraft.len() {
        0 => String::new(),
        count => format!("{}, ", counted(count, "merged spacecraft", "merged spacecraft")),
    };
    Ok(Summary {
        text: format!(
            "{name} is in order, read as a configuration of the daemon: {} ({enabled} enabled), {merged}{}",
            counted(config.links.len(), "link", "links"),
            counted(config.missions.len(), "mission", "missions")
        ),
        json: json!({
            "file": name, "kind": "daemon", "errors": [], "links": config.links.len(),
            "spacecraft": config.spacecraft.len(), "missions": config.missions.len(),
        }),
    })
}

/// Cores that this machine has not: `fepd` runs without them and warns, but whoever names one expects to get it.
fn check_cores(file: &Path, config: &config::Config, last: usize) -> Result<(), ConfigErrors> {
    let document = Document::read(file)?;
    let links = config.links.iter().map(|link| ("links", &link.name, link.core));
    let crafts = config.spacecraft.iter().map(|craft| ("spacecraft", &craft.name, craft.core));
    let fixed = links.chain(crafts).filter_map(|(table, name, core)| match core {
        CorePolicy::Fixed(core) => Some((format!("{table}.{name}.core"), core, "auto, none, ")),
        _ => None,
    });
    let of_all = config.daemon.cores.iter().map(|core| ("daemon.cores".to_owned(), *core, ""));
    let mut checked = Ok(());
    for (key, core, others) in fixed.chain(of_all).filter(|(_, core, _)| *core > last) {
        let message = format!("this machine has no core {core}: a thread would run on any");
        let mistake = document.mistake(&key, &message, &format!("{others}0 to {last}"));
        checked = ConfigErrors::both(checked, Err(mistake)).map(|((), ())| ());
    }
    checked
}

/// The greatest number of a core of this machine, where the kernel says: `0-7`.
fn last_core() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/present").ok()?;
    text.trim().rsplit(['-', ',']).next()?.parse().ok()
}

/// What is said of a file without mistakes.
struct Summary {
    text: String,
    json: Value,
}

fn print_check(
    name: &str,
    read_as: kind::ReadAs,
    checked: Result<Summary, ConfigErrors>,
    as_json: bool,
) -> Result<(), Failure> {
    if let (Err(errors), false) = (&checked, as_json)
        && errors.0.iter().all(|error| error.line == 0)
    {
        // It could not be read at all: as what does not matter.
        return Err(Failure::new(errors.to_string()));
    }
    let mut out = terminal::out(as_json);
    let (written, errors) = match &checked {
        Ok(summary) if as_json => (writeln!(out, "{}", summary.json), 0),
        Ok(summary) => (writeln!(out, "{}", summary.text), 0),
        Err(errors) if as_json => {
            let answer = json!({"file": name, "kind": kind::name(read_as.kind), "errors": errors});
            (writeln!(out, "{answer}"), errors.count())
        }
        Err(errors) => (writeln!(out, "{errors}"), errors.count()),
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    if errors == 0 {
        return Ok(());
    }
    let errors = counted(errors, "error", "errors");
    let failure = Failure::new(format!("{name} has {errors}, read as {}", kind::in_words(read_as.kind)));
    Err(match read_as.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

fn show(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    if let (Some(path), Some(says)) = (file, kind::of(file, None).says)
        && says != ConfigKind::Daemon
    {
        let path = path.display();
        return Err(Failure::new(format!(
            "{path} is {}; what is shown is a configuration of the daemon",
            kind::in_words(says)
        ))
        .hint(format!("`fepctl config check {path}` checks it")));
    }
    let config = load_config(file)?;
    let mut out = terminal::out(as_json);
    let written = if as_json {
        serde_json::to_writer_pretty(&mut out, &config).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        let text = config::effective_toml(file).map_err(|errors| Failure::new(errors.to_string()))?;
        out.write_all(text.as_bytes())
    };
    written.and_then(|()| out.flush()).map_err(output)
}

/// `fepctl missions`
pub(crate) fn missions(as_json: bool) -> Result<(), Failure> {
    let mut list = Vec::new();
    for (name, _) in MISSIONS {
        list.push(crate::decode::load_mission(name)?);
    }
    let mut out = terminal::out(as_json);
    let written = if as_json {
        serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        list.iter().try_for_each(|mission| {
            writeln!(out, "{:<8} {}", mission.name, mission.title)?;
            mission.channels.iter().try_for_each(|(name, channel)| {
                let spacecraft =
                    channel.spacecraft.iter().map(|craft| format!("{} (SCID {})", craft.name, craft.scid));
                writeln!(
                    out,
                    "         --channel {name}: spacecraft {}, frames of {} octets, {}",
                    spacecraft.collect::<Vec<_>>().join(", "),
                    channel.frame.frame_len,
                    counted(channel.vcs.len(), "virtual channel", "virtual channels")
                )
            })
        })
    };
    written.and_then(|()| out.flush()).map_err(output)
}
