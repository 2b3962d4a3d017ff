//! What kind of configuration a file is, by its content.

use std::path::Path;

use fep_config::Source;

use crate::cli::ConfigKind;

/// Every kind, in the order of messages.
const KINDS: [ConfigKind; 5] = [
    ConfigKind::Daemon,
    ConfigKind::Mission,
    ConfigKind::Stations,
    ConfigKind::Archive,
    ConfigKind::Identity,
];

/// Tables of the file of recorder, archive and feeds. `missions` is one of the daemon's file, too.
pub(super) const ARCHIVE_TABLES: [&str; 11] = [
    "archive",
    "http",
    "store",
    "sql",
    "replay",
    "retention",
    "users",
    "identity",
    "recorder",
    "feeding",
    "feeds",
];
/// Tables of the file of the identity service.
pub(super) const IDENTITY_TABLES: [&str; 3] = ["service", "http", "identity"];
/// What of `[http]` and `[identity]` stands in the file of the identity service alone: services that verify tickets have sections
/// with these names, too.
const IDENTITY_ALONE: [(&str, &str); 9] = [
    ("http", "doors"),
    ("identity", "issuer"),
    ("identity", "ticket_lifetime_s"),
    ("identity", "rotate_keys_days"),
    ("identity", "token_lifetime_days"),
    ("identity", "password"),
    ("identity", "lockout"),
    ("identity", "role_sets"),
    ("identity", "ldap"),
];

/// As `--kind` names it.
pub(super) const fn name(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::Daemon => "daemon",
        ConfigKind::Mission => "mission",
        ConfigKind::Stations => "stations",
        ConfigKind::Archive => "archive",
        ConfigKind::Identity => "identity",
    }
}

/// As what a file of this kind is read.
pub(super) const fn in_words(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::Daemon => "a configuration of the daemon",
        ConfigKind::Mission => "a mission",
        ConfigKind::Stations => "simulated stations",
        ConfigKind::Archive => "a configuration of recorder, archive and feeds",
        ConfigKind::Identity => "a configuration of the identity service",
    }
}

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadAs {
    pub(super) kind: ConfigKind,
    /// What its content says it is, where it says so.
    pub(super) says: Option<ConfigKind>,
    /// The kind was asked for.
    pub(super) is_wanted: bool,
}

impl ReadAs {
    /// What may be mended by reading the file as another kind.
    pub(super) fn hint(self) -> Option<String> {
        match self.says {
            Some(says) if says == self.kind => None,
            Some(says) => Some(format!("it looks like {}: --kind {}", in_words(says), name(says))),
            None if self.is_wanted => None,
            None => {
                let others = KINDS.iter().filter(|other| **other != self.kind);
                let others: Vec<String> = others.map(|other| format!("--kind {}", name(*other))).collect();
                Some(format!("if it is another kind of file: {}", others.join(" or ")))
            }
        }
    }
}

/// What a file is read as.
pub(super) fn of(file: Option<&Path>, wanted: Option<ConfigKind>) -> ReadAs {
    let Some(path) = file else {
        return ReadAs { kind: ConfigKind::Daemon, says: Some(ConfigKind::Daemon), is_wanted: false };
    };
    // A file that cannot be read has no kind; whoever checks it says why.
    let says = Source::read(path).ok().and_then(|source| says(&source.text));
    ReadAs { kind: wanted.or(says).unwrap_or(ConfigKind::Daemon), says, is_wanted: wanted.is_some() }
}

/// Which kind a text is, by its tables and keys. It need not be right, not even TOML: a file with mistakes is to be checked as
/// what it was meant to be.
fn says(text: &str) -> Option<ConfigKind> {
    let mut table = Vec::new();
    let (mut found, mut mission, mut identity) = (None, false, false);
    for line in text.lines().map(str::trim) {
        let (name, is_table) = match (head(line), line.split_once('=')) {
            (Some(head), _) => {
                table = parts(head);
                (table.clone(), true)
            }
            (None, Some((key, _))) if !line.starts_with('#') => ([&table[..], &parts(key)].concat(), false),
            _ => continue,
        };
        match name[..] {
            ["daemon" | "rings" | "link" | "links", ..] if is_table => {
                found.get_or_insert(ConfigKind::Daemon);
            }
            ["station", ..] => {
                found.get_or_insert(ConfigKind::Stations);
            }
            ["service", ..] if is_table => identity = true,
            // Sections of one file, of which each process reads its own. `missions` is a section of the daemon, too.
            [first, ..] if is_table && ARCHIVE_TABLES.contains(&first) => {
                found.get_or_insert(ConfigKind::Archive);
            }
            // A daemon merges the links of a `[spacecraft.NAME]`; a mission says its `scid`.
            ["channel", ..] | ["title"] | ["spacecraft", _, "scid"] => mission = true,
            _ => {}
        }
        if let [first, second, ..] = name[..] {
            identity |= IDENTITY_ALONE.contains(&(first, second));
        }
    }
    match found {
        None | Some(ConfigKind::Archive) if identity => Some(ConfigKind::Identity),
        None if mission => Some(ConfigKind::Mission),
        found => found,
    }
}

/// The tables on the top level of a text, as far as it can be read.
pub(super) fn tables(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| Some(parts(head(line.trim())?)[0])).collect()
}

/// The name in the head of a table, `[a.b]` or `[[a.b]]`.
fn head(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.trim_start_matches('[').split(']').next()
}

/// The parts of a name with dots.
fn parts(name: &str) -> Vec<&str> {
    name.split('.').map(|part| part.trim().trim_matches('"')).collect()
}

#[cfg(test)]
mod tests {
    use fep_control::config::DEFAULT_TOML;
    use fep_mission::MISSIONS;

    use super::*;

    fn looks_like(text: &str) -> ConfigKind {
        says(text).unwrap_or(ConfigKind::Daemon)
    }

    // REQ: FEP-CTL-103
    #[test]
    fn a_file_is_what_the_tables_on_its_top_level_say() {
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
            ("[missions]\nx = \"x.toml\"\n", ConfigKind::Daemon),
            ("[missions]\nx = \"x.toml\"\n[http]\n", ConfigKind::Archive),
            ("[feeds.one]\nform = \"raw\"\n", ConfigKind::Archive),
            ("[recorder]\nrings = 3\n", ConfigKind::Archive),
            (include_str!("../../../../config/archive.toml"), ConfigKind::Archive),
            ("[identity]\nkeys = \"x\"\n", ConfigKind::Archive),
            ("[http]\nlisten = []\n[identity.peers.console]\nuid = 1\n", ConfigKind::Archive),
            (include_str!("../../../../config/identity.toml"), ConfigKind::Identity),
            ("[service]\nstate = 7\n", ConfigKind::Identity),
            ("[http]\n[[http.doors]]\nlisten = \n", ConfigKind::Identity),
            ("[identity]\nissuer = \"x\"\n", ConfigKind::Identity),
            ("[identity]\nlockout.failures = 9\n", ConfigKind::Identity),
            ("[identity]\n# issuer = \"x\"\n", ConfigKind::Archive),
            ("[[station]]\nname = 7\n[station.channel]\n", ConfigKind::Stations),
            ("station = []\n", ConfigKind::Stations),
            (fep_sim::DEFAULT_SIMULATION, ConfigKind::Stations),
            (include_str!("../../../../config/lab-stations.toml"), ConfigKind::Stations),
            (include_str!("../../../../config/lab.toml"), ConfigKind::Daemon),
            ("[links.a]\ntitle = \"x\"\n", ConfigKind::Daemon),
            ("title = \"x\"\n[daemon]\n", ConfigKind::Daemon),
        ] {
            assert_eq!(looks_like(text), kind, "{text:?}");
        }
    }
}
