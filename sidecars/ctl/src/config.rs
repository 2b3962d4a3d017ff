//! `fepctl config` and `fepctl missions`: configuration, offline.

use std::io::{self, Write};
use std::path::Path;

use fep_config::{ConfigErrors, Diagnostics, Source};
use fep_control::config::{self, DEFAULT_TOML};
use fep_mission::MISSIONS;
use serde_json::{Value, json};

use crate::cli::{ConfigCommand, ConfigKind};
use crate::failure::{Failure, output};
use crate::figures::counted;
use crate::places::load_config;
use crate::terminal;

/// `fepctl config ...`
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, kind, json } => check(file.as_deref(), *kind, *json),
        ConfigCommand::Show { file, json } => show(file.as_deref(), *json),
        ConfigCommand::Explain { key } => explain(key),
    }
}

/// What messages call the configuration.
fn name_of(file: Option<&Path>) -> String {
    file.map_or_else(|| "the built-in configuration".to_owned(), |path| path.display().to_string())
}

/// What a file is checked as.
fn kind_of(file: Option<&Path>, wanted: Option<ConfigKind>) -> ConfigKind {
    let Some(path) = file else { return ConfigKind::Daemon };
    // A file that cannot be read has no kind; whoever checks it says why.
    wanted
        .or_else(|| Source::read(path).ok().map(|source| looks_like(&source.text)))
        .unwrap_or(ConfigKind::Daemon)
}

/// Which of the two a text is, by the tables and keys on its top level. It need not be right, not even TOML: a file with
/// mistakes is to be checked as what it was meant to be.
fn looks_like(text: &str) -> ConfigKind {
    let (mut on_top, mut in_spacecraft, mut mission) = (true, false, false);
    for line in text.lines().map(str::trim) {
        let table = line.strip_prefix('[').map(|rest| rest.trim_start_matches('['));
        if let Some(table) = table {
            on_top = false;
            let name = table.split(['.', ']']).next().unwrap_or_default().trim();
            in_spacecraft = name == "spacecraft";
            match name {
                "daemon" | "rings" | "missions" | "link" | "links" => return ConfigKind::Daemon,
                "channel" => mission = true,
                _ => {}
            }
        } else if let Some((key, _)) = line.split_once('=') {
            // A daemon merges the links of a `[spacecraft.NAME]`; a mission says its `scid`.
            let key = key.trim();
            mission |= (on_top && (key == "title" || key.starts_with("channel.")))
                || (in_spacecraft && key == "scid");
        }
    }
    if mission { ConfigKind::Mission } else { ConfigKind::Daemon }
}

fn check(file: Option<&Path>, wanted: Option<ConfigKind>, as_json: bool) -> Result<(), Failure> {
    let kind = kind_of(file, wanted);
    match (kind, file) {
        (ConfigKind::Mission, Some(path)) => check_mission(path, as_json),
        _ => check_daemon(file, as_json),
    }
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
    print_check(&name, "mission", summary, as_json)
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
    print_check(&name, "daemon", summary, as_json)
}

/// What is said of a file without mistakes.
struct Summary {
    text: String,
    json: Value,
}

fn print_check(
    name: &str,
    kind: &str,
    checked: Result<Summary, ConfigErrors>,
    as_json: bool,
) -> Result<(), Failure> {
    let mut out = terminal::out(as_json);
    let (written, errors) = match &checked {
        Ok(summary) if as_json => (writeln!(out, "{}", summary.json), 0),
        Ok(summary) => (writeln!(out, "{}", summary.text), 0),
        Err(errors) if as_json => {
            let answer = json!({"file": name, "kind": kind, "errors": errors});
            (writeln!(out, "{answer}"), errors.0.len())
        }
        Err(errors) => (writeln!(out, "{errors}"), errors.0.len()),
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    let read_as = if kind == "mission" { "a mission" } else { "a configuration of the daemon" };
    let other = if kind == "mission" { "daemon" } else { "mission" };
    let failed = |count: String| {
        Err(Failure::new(format!("{name} has {count}, read as {read_as}"))
            .hint(format!("if it is the other kind of file: --kind {other}")))
    };
    match errors {
        0 => Ok(()),
        1 => failed("1 error".to_owned()),
        many => failed(format!("{many} errors")),
    }
}

fn show(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let config = load_config(file)?;
    let mut out = terminal::out(as_json);
    let written = if as_json {
        serde_json::to_writer_pretty(&mut out, &config).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        let text = toml::to_string_pretty(&config).map_err(|error| {
            Failure::new(format!("this configuration cannot be shown as TOML: {error}")).hint("try --json")
        })?;
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

/// A key of the default configuration with the comment above it.
#[derive(Debug, PartialEq)]
struct Explained {
    key: String,
    /// As written in the default configuration.
    line: String,
    /// Whether the line is an example: the key has no default.
    example: bool,
    comment: Vec<String>,
}

/// Every table and key of a commented TOML text, with the comments directly above it.
fn explanations(text: &str) -> Vec<Explained> {
    let mut found: Vec<Explained> = Vec::new();
    let mut table = String::new();
    let mut comment: Vec<String> = Vec::new();
    // Whether a key has used the comment: the next comment line then begins another.
    let mut used = false;
    let mut depth = 0i32;
    for line in text.lines() {
        let trimmed = line.trim();
        // Inside a value of several lines.
        if depth > 0 {
            depth += brackets(trimmed);
            continue;
        }
        if trimmed.is_empty() {
            comment.clear();
            used = false;
        } else if let Some(said) = trimmed.strip_prefix('#') {
            // A key that has no default stands in a comment of its own: `# id = 1`.
            let key = said.trim().split_once(" = ").map(|(key, _)| key).filter(|key| is_key(key));
            match key {
                Some(key) if !said.starts_with("  ") => {
                    let key = join(&table, key);
                    found.push(Explained {
                        key,
                        line: said.trim().to_owned(),
                        example: true,
                        comment: comment.clone(),
                    });
                    used = true;
                }
                _ => {
                    if std::mem::take(&mut used) {
                        comment.clear();
                    }
                    comment.push(said.strip_prefix(' ').unwrap_or(said).to_owned());
                }
            }
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']).to_owned();
            found.push(Explained {
                key: table.clone(),
                line: trimmed.to_owned(),
                example: false,
                comment: std::mem::take(&mut comment),
            });
        } else if let Some((key, value)) = trimmed.split_once('=') {
            depth = brackets(value);
            used = true;
            // Keys that share one comment stand directly below one another.
            found.push(Explained {
                key: join(&table, key.trim()),
                line: trimmed.to_owned(),
                example: false,
                comment: comment.clone(),
            });
        }
    }
    found
}

fn brackets(text: &str) -> i32 {
    text.chars()
        .map(|letter| match letter {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

fn explain(key: &str) -> Result<(), Failure> {
    let all = explanations(DEFAULT_TOML);
    // `links.NAME.wait` is explained where the defaults of every link are.
    let wanted = match key.strip_prefix("links.").and_then(|rest| rest.split_once('.')) {
        Some((_, rest)) if all.iter().any(|one| one.key == format!("link.{rest}")) => format!("link.{rest}"),
        _ => key.to_owned(),
    };
    let exact: Vec<&Explained> = all.iter().filter(|one| one.key == wanted).collect();
    let inside = format!("{wanted}.");
    let mut chosen = exact;
    chosen.extend(all.iter().filter(|one| one.key.starts_with(&inside)));
    if chosen.is_empty() {
        chosen = all.iter().filter(|one| one.key.contains(&wanted)).collect();
    }
    if chosen.is_empty() {
        let tables: Vec<&str> =
            all.iter().filter(|one| one.line.starts_with('[')).map(|one| one.key.as_str()).collect();
        return Err(Failure::usage(format!("no key of the configuration is called {key:?}"))
            .hint(format!("tables: {}; `fepctl config explain TABLE` shows one whole", tables.join(", "))));
    }
    let mut out = terminal::text_out();
    let mut write = || -> io::Result<()> {
        let mut last: &[String] = &[];
        for one in &chosen {
            // A comment over several keys is written once.
            if one.comment != last {
                writeln!(out)?;
                one.comment.iter().try_for_each(|said| writeln!(out, "  {said}"))?;
            }
            last = &one.comment;
            let line = if one.line.starts_with('[') {
                one.line.clone()
            } else if one.example {
                format!("{}  (default: none; example: {})", one.key, default_of(&one.line))
            } else {
                format!("{}  (default: {})", one.key, default_of(&one.line))
            };
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    write().map_err(output)
}

fn default_of(line: &str) -> &str {
    line.split_once('=').map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_default_configuration_has_an_explanation() {
        let all = explanations(DEFAULT_TOML);
        let silent: Vec<&str> = all
            .iter()
            .filter(|one| {
                !one.key.starts_with("links") && !one.line.starts_with('[') && one.comment.is_empty()
            })
            .map(|one| one.key.as_str())
            .collect();
        assert!(silent.is_empty(), "keys without a comment: {silent:?}");
        assert!(all.iter().any(|one| one.key == "daemon.run_dir"), "{all:?}");
    }

    // REQ: FEP-CTL-103
    #[test]
    fn a_file_is_a_mission_or_a_configuration_of_the_daemon_by_its_top_level() {
        for (name, text) in MISSIONS {
            assert_eq!(looks_like(text), ConfigKind::Mission, "{name}");
        }
        assert_eq!(looks_like(DEFAULT_TOML), ConfigKind::Daemon);
        for (text, kind) in [
            ("", ConfigKind::Daemon),
            ("[spacecraft.leo]\nlinks = [\"north\", \"south\"]\n", ConfigKind::Daemon),
            ("[spacecraft.leo]\nscid = 5\n", ConfigKind::Mission),
            ("[[channel.x.vc]]\nid = \n", ConfigKind::Mission),
            ("title = 7\n", ConfigKind::Mission),
            (fep_sim::DEFAULT_SIMULATION, ConfigKind::Daemon),
            ("[links.a]\ntitle = \"x\"\n", ConfigKind::Daemon),
            ("title = \"x\"\n[daemon]\n", ConfigKind::Daemon),
        ] {
            assert_eq!(looks_like(text), kind, "{text:?}");
        }
    }

    #[test]
    fn keys_that_share_a_comment_share_the_explanation() {
        let text =
            "[a]\n# Both.\nx = 1\ny = [\n  2,\n]\n\n# Third,\n# two lines.\nz = 3\n# Optional.\n# id = 1\n";
        let all = explanations(text);
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["a", "a.x", "a.y", "a.z", "a.id"]);
        assert_eq!(all[1].comment, all[2].comment);
        assert_eq!(all[3].comment, ["Third,", "two lines."]);
        assert_eq!(
            (all[4].line.as_str(), all[4].comment.as_slice()),
            ("id = 1", &["Optional.".to_owned()][..])
        );
    }

    // REQ: FEP-CTL-102
    #[test]
    fn a_key_has_the_comment_directly_above_it_and_none_of_its_neighbours() {
        let text = "[link]\n# One.\na = 1\n# Two,\n# of two lines.\nb = 2\nc = 3\n# Three.\nd = 4\n";
        let comments: Vec<Vec<String>> = explanations(text).into_iter().map(|one| one.comment).collect();
        assert_eq!(
            comments,
            [
                vec![],
                vec!["One."],
                vec!["Two,", "of two lines."],
                vec!["Two,", "of two lines."],
                vec!["Three."]
            ]
        );
        // In the built-in file: no key of [link] repeats what another is explained by, unless they share it.
        let all = explanations(DEFAULT_TOML);
        let of = |key: &str| all.iter().find(|one| one.key == key).map(|one| one.comment.join(" "));
        let wait = of("link.wait").expect("a key of the built-in file");
        assert!(
            wait.contains("spins") && !wait.contains("session") && !wait.contains("Number of the link"),
            "{wait}"
        );
        assert_eq!(of("link.spin_us"), of("link.wait"), "they share it");
    }
}
