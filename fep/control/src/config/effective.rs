//! The effective configuration as a file: the built-in one with a user's laid over it, by the rules of the overlay.

use std::path::Path;

use fep_config::Source;
use toml::{Table, Value};

use super::link::WAITS;
use super::{Config, ConfigErrors, CorePolicy, DEFAULT_TOML, LinkConfig, SpacecraftConfig, read};

const HEAD: &str =
    "# Effective configuration of fepd: every key, its own value or the default. Paths are absolute.\n\n";

/// The effective configuration of the file at `path` (the built-in one without), as TOML that is accepted in its turn and
/// gives the same settings from whatever directory.
///
/// # Errors
/// Every mistake in the file.
pub fn effective_toml(path: Option<&Path>) -> Result<String, ConfigErrors> {
    let default = Source::new("<default.toml>", DEFAULT_TOML);
    let mut merged = table_of(&default)?;
    let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let refuse = |why: String| ConfigErrors::of_file(&base.display().to_string(), why, "");
    let base = std::path::absolute(Path::new(".").join(base)).map_err(|error| refuse(error.to_string()))?;
    let user = path.map(Source::read).transpose()?;
    let config = read(user.as_ref(), &base)?;
    if let Some(user) = &user {
        for (name, value) in table_of(user)? {
            match (merged.get_mut(&name), value) {
                // Links are taken whole, as they are read.
                (Some(Value::Table(below)), Value::Table(own)) if name != "links" => below.extend(own),
                (_, value) => drop(merged.insert(name, value)),
            }
        }
    }
    make_absolute(&mut merged, &base).and_then(|()| add_defaults(&mut merged, &config)).map_err(refuse)?;
    let text = toml::to_string_pretty(&merged)
        .map_err(|error| ConfigErrors::of_file(&default.name, format!("cannot be written: {error}"), ""))?;
    Ok(format!("{HEAD}{text}"))
}

fn table_of(source: &Source) -> Result<Table, ConfigErrors> {
    source.text.parse().map_err(|error: toml::de::Error| {
        ConfigErrors::one(source, &error.span().unwrap_or(0..0), "", error.message(), "")
    })
}

/// What the built-in configuration cannot hold, because it is in tables with names of one's own: every key of transports,
/// protocols and merged spacecraft.
fn add_defaults(merged: &mut Table, config: &Config) -> Result<(), String> {
    let mut table = |group: &str, name: &str, keys: Table| {
        let tables = merged.get_mut(group).and_then(Value::as_table_mut);
        if let Some(Value::Table(table)) = tables.and_then(|tables| tables.get_mut(name)) {
            table.extend(keys);
        }
    };
    for link in &config.links {
        table("links", &link.name, of_link(link).map_err(|error| format!("{}: {error}", link.name))?);
    }
    for craft in &config.spacecraft {
        table(
            "spacecraft",
            &craft.name,
            of_spacecraft(craft).map_err(|error| format!("{}: {error}", craft.name))?,
        );
    }
    Ok(())
}

fn of_link(link: &LinkConfig) -> Result<Table, toml::ser::Error> {
    let mut keys = Table::new();
    keys.insert("transport".to_owned(), Value::try_from(&link.transport.transport)?);
    keys.insert("protocol".to_owned(), Value::try_from(&link.transport.protocol)?);
    Ok(keys)
}

fn of_spacecraft(craft: &SpacecraftConfig) -> Result<Table, toml::ser::Error> {
    let core = match craft.core {
        CorePolicy::Auto => Value::from("auto"),
        CorePolicy::None => Value::from("none"),
        CorePolicy::Fixed(core) => Value::try_from(core)?,
    };
    let wait = WAITS.iter().find(|(_, wait)| *wait == craft.wait).map_or("wait", |(word, _)| word);
    let keys = [
        ("wait_us", Value::from(craft.wait_us)),
        ("window_frames", Value::try_from(craft.window_frames)?),
        ("idle", Value::try_from(craft.idle)?),
        ("core", core),
        ("wait", Value::from(wait)),
    ];
    Ok(keys.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
}

/// Paths are relative to the file they are written in: in another file they would lead elsewhere.
fn make_absolute(merged: &mut Table, base: &Path) -> Result<(), String> {
    let absolute = |value: &mut Value| -> Result<(), String> {
        let Value::String(text) = value else { return Ok(()) };
        if !text.is_empty() {
            let path = std::path::absolute(base.join(&*text)).map_err(|error| format!("{text}: {error}"))?;
            *text = path
                .into_os_string()
                .into_string()
                .map_err(|path| format!("{}: is no text", path.display()))?;
        }
        Ok(())
    };
    let file_of = |link: &mut Table| -> Result<(), String> {
        match link.get_mut("transport") {
            Some(Value::Table(transport))
                if transport.get("kind").and_then(Value::as_str) == Some("file") =>
            {
                transport.get_mut("path").map_or(Ok(()), absolute)
            }
            _ => Ok(()),
        }
    };
    let tables = merged.iter_mut().filter_map(|(name, value)| Some((name.as_str(), value.as_table_mut()?)));
    for (name, table) in tables {
        match name {
            "daemon" => table.get_mut("run_dir").map_or(Ok(()), absolute)?,
            "missions" => table.iter_mut().try_for_each(|(_, path)| absolute(path))?,
            "link" => file_of(table)?,
            "links" => table.iter_mut().filter_map(|(_, link)| link.as_table_mut()).try_for_each(file_of)?,
            _ => {}
        }
    }
    Ok(())
}
