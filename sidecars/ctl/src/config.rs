//! `fepctl config` and `fepctl missions`: configuration, offline.

use std::io::{self, Write};
use std::path::Path;

use fep_control::config::{self, DEFAULT_TOML};
use fep_mission::MISSIONS;
use serde_json::json;

use crate::cli::ConfigCommand;
use crate::failure::{Failure, output};
use crate::places::load_config;

/// `fepctl config ...`
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, json } => check(file.as_deref(), *json),
        ConfigCommand::Show { file, json } => show(file.as_deref(), *json),
        ConfigCommand::Explain { key } => explain(key),
    }
}

/// What messages call the configuration.
fn name_of(file: Option<&Path>) -> String {
    file.map_or_else(|| "the built-in configuration".to_owned(), |path| path.display().to_string())
}

fn check(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let checked = config::load(file);
    let mut out = io::stdout().lock();
    let name = name_of(file);
    let (written, errors) = match &checked {
        Ok(config) if as_json => {
            let answer = json!({"file": name, "errors": [], "links": config.links.len(), "missions": config.missions.len()});
            (writeln!(out, "{answer}"), 0)
        }
        Ok(config) => {
            let enabled = config.links.iter().filter(|link| link.enabled).count();
            let text = format!(
                "{name} is in order: {} links ({enabled} enabled), {} missions",
                config.links.len(),
                config.missions.len()
            );
            (writeln!(out, "{text}"), 0)
        }
        Err(errors) if as_json => {
            (writeln!(out, "{}", json!({"file": name, "errors": errors})), errors.0.len())
        }
        Err(errors) => (writeln!(out, "{errors}"), errors.0.len()),
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    match errors {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{name} has 1 error"))),
        many => Err(Failure::new(format!("{name} has {many} errors"))),
    }
}

fn show(file: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let config = load_config(file)?;
    let mut out = io::stdout().lock();
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
    let mut out = io::stdout().lock();
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
                    "         --channel {name}: spacecraft {}, frames of {} octets, {} virtual channels",
                    spacecraft.collect::<Vec<_>>().join(", "),
                    channel.frame.frame_len,
                    channel.vcs.len()
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
    comment: Vec<String>,
}

/// Every table and key of a commented TOML text, with the comments directly above it.
fn explanations(text: &str) -> Vec<Explained> {
    let mut found: Vec<Explained> = Vec::new();
    let mut table = String::new();
    let mut comment: Vec<String> = Vec::new();
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
        } else if let Some(said) = trimmed.strip_prefix('#') {
            // A key that has no default stands in a comment of its own: `# id = 1`.
            let key = said.trim().split_once(" = ").map(|(key, _)| key).filter(|key| is_key(key));
            match key {
                Some(key) if !said.starts_with("  ") => {
                    let key = join(&table, key);
                    found.push(Explained { key, line: said.trim().to_owned(), comment: comment.clone() });
                }
                _ => comment.push(said.strip_prefix(' ').unwrap_or(said).to_owned()),
            }
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']).to_owned();
            found.push(Explained {
                key: table.clone(),
                line: trimmed.to_owned(),
                comment: std::mem::take(&mut comment),
            });
        } else if let Some((key, value)) = trimmed.split_once('=') {
            depth = brackets(value);
            // Keys that share one comment stand directly below one another.
            found.push(Explained {
                key: join(&table, key.trim()),
                line: trimmed.to_owned(),
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
    let mut out = io::stdout().lock();
    let mut write = || -> io::Result<()> {
        let mut last: &[String] = &[];
        for one in &chosen {
            // A comment over several keys is said once.
            if one.comment != last {
                writeln!(out)?;
                one.comment.iter().try_for_each(|said| writeln!(out, "  {said}"))?;
            }
            last = &one.comment;
            let line = if one.line.starts_with('[') {
                one.line.clone()
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

    #[test]
    fn keys_that_share_a_comment_share_the_explanation() {
        let text =
            "[a]\n# Both.\nx = 1\ny = [\n  2,\n]\n\n# Third,\n# two lines.\nz = 3\n# Optional.\n# id = 1\n";
        let all = explanations(text);
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["a", "a.x", "a.y", "a.z", "a.id"]);
        assert_eq!(all[1].comment, all[2].comment);
        assert_eq!(all[3].comment, ["Third,", "two lines."]);
        assert_eq!(all[4].line, "id = 1");
    }
}
