//! `fepctl config` and `fepctl missions`: configuration, offline.

mod documented;
mod explain;
mod kind;

use std::io::{self, Write};
use std::path::Path;

use fep_config::{ConfigErrors, Diagnostics, Source};
use fep_control::config;
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
    match (kind::of(file, wanted), file) {
        (ConfigKind::Mission, Some(path)) => check_mission(path, as_json),
        (ConfigKind::Stations, Some(path)) => check_stations(path, as_json),
        (ConfigKind::Archive, Some(path)) => Err(not_ours(path)),
        _ => check_daemon(file, as_json),
    }
}

/// Programs that read the file of the archive's processes, each its own sections.
const ARCHIVE_PROGRAMS: [&str; 3] = ["fep-recorder", "fep-archive", "fep-feeds"];

/// A file that is read by programs which this one knows nothing of.
fn not_ours(file: &Path) -> Failure {
    let name = file.display();
    let checks = ARCHIVE_PROGRAMS.map(|program| format!("{program} --config {name} --check"));
    Failure::new(format!("{name} configures recorder, archive and feeds: fepctl cannot check it"))
        .hint(format!("each of these checks the sections that it reads: {}", checks.join("; ")))
}

fn check_stations(file: &Path, as_json: bool) -> Result<(), Failure> {
    let name = name_of(Some(file));
    let summary = stations::read(Some(file)).map(|simulation| Summary {
        text: format!(
            "{name} is in order, read as simulated stations: {}",
            counted(simulation.station.len(), "station", "stations")
        ),
        json: json!({
            "file": name, "kind": "stations", "errors": [], "stations": simulation.station.len(),
        }),
    });
    print_check(&name, ConfigKind::Stations, summary, as_json)
}

fn check_mission(file: &Path, as_json: bool) -> Result<(), Failure> {
    let name = name_of(Some(file));
    let checked = Source::read(file).and_then(|source| {
        let mut found = Diagnostics::default();
        let mission = fep_mission::read_mission(fep_mission::mission_name(file), &source, &mut found);
        found.into_result().map(|()| mission)
    });
    let summary = checked.map(|mission| Summary {
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
    });
    print_check(&name, ConfigKind::Mission, summary, as_json)
}

fn check_daemon(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let name = name_of(file);
    let summary = config::load(file).map(|config| {
        let enabled = config.links.iter().filter(|link| link.enabled).count();
        Summary {
            text: format!(
                "{name} is in order, read as a configuration of the daemon: {} ({enabled} enabled), {}",
                counted(config.links.len(), "link", "links"),
                counted(config.missions.len(), "mission", "missions")
            ),
            json: json!({
                "file": name, "kind": "daemon", "errors": [],
                "links": config.links.len(), "missions": config.missions.len(),
            }),
        }
    });
    print_check(&name, ConfigKind::Daemon, summary, as_json)
}

/// What is said of a file without mistakes.
struct Summary {
    text: String,
    json: Value,
}

fn print_check(
    name: &str,
    kind: ConfigKind,
    checked: Result<Summary, ConfigErrors>,
    as_json: bool,
) -> Result<(), Failure> {
    let mut out = terminal::out(as_json);
    let (written, errors) = match &checked {
        Ok(summary) if as_json => (writeln!(out, "{}", summary.json), 0),
        Ok(summary) => (writeln!(out, "{}", summary.text), 0),
        Err(errors) if as_json => {
            let answer = json!({"file": name, "kind": kind::name(kind), "errors": errors});
            (writeln!(out, "{answer}"), errors.count())
        }
        Err(errors) => (writeln!(out, "{errors}"), errors.count()),
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    if errors == 0 {
        return Ok(());
    }
    let others = kind::CHECKED.iter().filter(|other| **other != kind);
    let others: Vec<String> = others.map(|other| format!("--kind {}", kind::name(*other))).collect();
    let errors = counted(errors, "error", "errors");
    Err(Failure::new(format!("{name} has {errors}, read as {}", kind::in_words(kind)))
        .hint(format!("if it is another kind of file: {}", others.join(" or "))))
}

fn show(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
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
