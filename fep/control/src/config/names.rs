//! Names of links and spacecraft: what they must look like, and which are taken by something else.

/// Ring names, page names and cursor names hold 31 characters, and `.red.packets`, the longest ending, takes 12 of them.
const NAME_MAX: usize = 19;

/// Names under which other processes of the family have rings or pages. Rings below `replay.` are never recorded.
const RESERVED: [&str; 12] = [
    "archive",
    "chronology",
    "console",
    "encryptors",
    "events",
    "feeds",
    "fepd",
    "flight-software",
    "metrics",
    "recorder",
    "replay",
    "reservation",
];

/// Names become file names, metric labels and paths of the control interface.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    check_form(name)?;
    if RESERVED.contains(&name) {
        return Err(format!("{name:?} is reserved: another part of the front end has rings of this name"));
    }
    Ok(())
}

/// Names of other processes' consumers, which may be called what they are.
pub(super) fn check_form(name: &str) -> Result<(), String> {
    let fits =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(fits) {
        return Err(format!("{name:?} is no name (1 to {NAME_MAX} of a-z, 0-9, - and _)"));
    }
    Ok(())
}
