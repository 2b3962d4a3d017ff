//! What kind of configuration a file is, by its content.

use std::path::Path;

use fep_config::Source;

use crate::cli::ConfigKind;

/// Kinds that this program checks itself.
pub(super) const CHECKED: [ConfigKind; 3] = [ConfigKind::Daemon, ConfigKind::Mission, ConfigKind::Stations];

/// Tables of the file of recorder, archive and feeds.
pub(super) const ARCHIVE_TABLES: [&str; 10] =
    ["archive", "http", "store", "sql", "replay", "retention", "identity", "recorder", "feeding", "feeds"];
/// The table that only the file of the login service has; others it shares with the archive.
pub(super) const IDENTITY_TABLE: &str = "service";

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
        ConfigKind::Identity => "a configuration of the login service",
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
                let others = CHECKED.iter().filter(|other| **other != self.kind);
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

/// Which kind a text is, by the tables and keys on its top level. It need not be right, not even TOML: a file with mistakes
/// is to be checked as what it was meant to be.
fn says(text: &str) -> Option<ConfigKind> {
    let (mut on_top, mut in_spacecraft, mut mission, mut archive) = (true, false, false, false);
    for line in text.lines().map(str::trim) {
        let table = line.strip_prefix('[').map(|rest| rest.trim_start_matches('['));
        if let Some(table) = table {
            on_top = false;
            let name = table.split(['.', ']']).next().unwrap_or_default().trim();
            in_spacecraft = name == "spacecraft";
            match name {
                "daemon" | "rings" | "link" | "links" => return Some(ConfigKind::Daemon),
                "station" => return Some(ConfigKind::Stations),
                // Sections of one file, of which each process reads its own. `missions` is a section of the daemon, too.
                _ if ARCHIVE_TABLES.contains(&name) => archive = true,
                IDENTITY_TABLE => return Some(ConfigKind::Identity),
                "channel" => mission = true,
                _ => {}
            }
        } else if let Some((key, _)) = line.split_once('=') {
            let key = key.trim();
            if on_top && key == "station" {
                return Some(ConfigKind::Stations);
            }
            // A daemon merges the links of a `[spacecraft.NAME]`; a mission says its `scid`.
            mission |= (on_top && (key == "title" || key.starts_with("channel.")))
                || (in_spacecraft && key == "scid");
        }
    }
    if archive {
        return Some(ConfigKind::Archive);
    }
    mission.then_some(ConfigKind::Mission)
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
            (include_str!("../../../../config/identity.toml"), ConfigKind::Identity),
            ("[http.limits]\n[identity]\n[service]\n", ConfigKind::Identity),
            ("[identity]\ntickets = []\n", ConfigKind::Archive),
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
