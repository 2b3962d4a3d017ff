//! Mistakes said more fully than the reader of a single key can: from the tables that document the keys, and from the text.

use fep_config::{ConfigError, Source};

use super::KEYS_MD;

/// Adds to a mistake what may be written instead, where that is known.
pub(super) fn amend(error: &mut ConfigError, user: Option<&Source>) {
    if error.message == "missing key" && error.allowed.is_empty() {
        error.allowed = meaning(&error.key).unwrap_or_default();
    }
    // The defaults of every link are `[link]`, and a link of one's own is in `[links]`.
    if let (Some(name), "unknown key", Some(user)) =
        (error.key.strip_prefix("link."), error.message.as_str(), user)
        && is_table(&user.text, &error.key)
    {
        error.message = format!("unknown key; did you mean [links.{name}]?");
    }
}

/// What the page of keys says of a key of a link or a merged spacecraft, without the kinds of transport that have it.
fn meaning(key: &str) -> Option<String> {
    let mut parts: Vec<&str> = key.split('.').collect();
    *parts.get_mut(1)? = "NAME";
    let row = format!("| `{}` | ", parts.join("."));
    let line = KEYS_MD.lines().find_map(|line| line.strip_prefix(row.as_str()))?;
    let meaning = line.trim_end_matches([' ', '|']).split(" | ").last()?;
    let meaning = meaning.split_once(": ").map_or(meaning, |(_, meaning)| meaning);
    let meaning = meaning.split(';').next().unwrap_or(meaning);
    Some(meaning.replace('`', ""))
}

/// Whether the text opens a table of this name, or one inside it.
fn is_table(text: &str, name: &str) -> bool {
    let heads = text.lines().filter_map(|line| line.trim().strip_prefix('['));
    heads.filter_map(|head| head.strip_prefix(name)).any(|rest| rest.starts_with([']', '.']))
}
