//! The effective configuration as a file: the built-in one with a user's laid over it, by the rules of the overlay.

use std::path::{Path, PathBuf};

use fep_config::Source;
use toml::{Table, Value};

use super::{ConfigErrors, DEFAULT_TOML, read};

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
    let mut base = PathBuf::new();
    if let Some(path) = path {
        let user = Source::read(path)?;
        base = path.parent().unwrap_or(Path::new("")).to_owned();
        read(Some(&user), &base)?;
        for (name, value) in table_of(&user)? {
            match (merged.get_mut(&name), value) {
                // Links are taken whole, as they are read.
                (Some(Value::Table(below)), Value::Table(own)) if name != "links" => below.extend(own),
                (_, value) => drop(merged.insert(name, value)),
            }
        }
    }
    make_absolute(&mut merged, &base)
        .map_err(|why| ConfigErrors::of_file(&base.display().to_string(), why, ""))?;
    let text = toml::to_string_pretty(&merged)
        .map_err(|error| ConfigErrors::of_file(&default.name, format!("cannot be written: {error}"), ""))?;
    Ok(format!("{HEAD}{text}"))
}

fn table_of(source: &Source) -> Result<Table, ConfigErrors> {
    source.text.parse().map_err(|error: toml::de::Error| {
        ConfigErrors::one(source, &error.span().unwrap_or(0..0), "", error.message(), "")
    })
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
