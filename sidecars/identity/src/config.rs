//! The configuration: `config/identity.toml` explains every key.

use std::path::PathBuf;

use fep_database::Options;
use fep_identity::IdentityConfig;
use fep_kit::{ConfigErrors, Document};
use fep_route::{DoorConfig, HttpConfig};
use serde::Deserialize;

/// What the program has without `--config`.
pub(crate) const DEFAULT_TOML: &str = include_str!("../../../config/identity.toml");

/// Where the service is reached where nothing is said: below a directory that its unit makes for it.
const DOOR: &str = "unix:/run/fep/identity/identity.sock";
/// Everybody on this machine may connect: whoever logs in has nothing yet but a password, and every other route asks for a
/// ticket or knows the peer by its user.
const DOOR_MODE: u32 = 0o666;

/// What each door says of its mode itself. The kit's default is narrower than that of this service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Modes {
    doors: Vec<Mode>,
}

#[derive(Debug, Deserialize)]
struct Mode {
    unix_mode: Option<u32>,
}

/// The section `[service]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// Directory of accounts, tokens and keys.
    pub state: PathBuf,
    /// Least severity of log lines.
    pub log: String,
    /// Directory of the rings, for the events of this process.
    pub rings: PathBuf,
    /// Where the audit trail is kept.
    pub database: Options,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            state: PathBuf::from("/var/lib/fep/identity"),
            log: "info".to_owned(),
            rings: PathBuf::from("/dev/shm/fep/bus"),
            database: Options::new("sqlite:///var/lib/fep/identity/audit.sqlite3"),
        }
    }
}

impl Places {
    /// Refuses what a start would refuse of them before it makes anything.
    fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if std::fs::metadata(&self.state).is_ok_and(|found| !found.is_dir()) {
            let message = format!("{} is no directory", self.state.display());
            return Err(("state", message, "a directory, or a path that is free"));
        }
        // The error says what is allowed.
        self.database.check().map_err(|error| ("database", error.to_string(), ""))
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[service]`
    pub places: Places,
    /// `[http]`
    pub http: HttpConfig,
    /// `[identity]`
    pub identity: IdentityConfig,
}

impl Default for Config {
    fn default() -> Config {
        let door = DoorConfig { unix_mode: DOOR_MODE, ..DoorConfig::at(DOOR) };
        Config {
            places: Places::default(),
            http: HttpConfig { doors: vec![door], ..HttpConfig::default() },
            identity: IdentityConfig::default(),
        }
    }
}

impl Config {
    /// Reads and checks it, and the files that it names (certificates, keys, authorities, passwords): what a start would refuse
    /// of them is refused here. Nothing is changed.
    ///
    /// # Errors
    /// Every mistake of one section, with its place.
    pub fn read(document: &Document) -> Result<Config, ConfigErrors> {
        document.only(&["service", "http", "identity"])?;
        let mut config = Config {
            places: document.section("service")?,
            http: document.section("http")?,
            identity: document.section("identity")?,
        };
        if config.http.doors.is_empty() {
            config.http.doors = Config::default().http.doors;
        }
        let modes: Modes = document.section("http")?;
        for (door, mode) in config.http.doors.iter_mut().zip(modes.doors) {
            door.unix_mode = mode.unix_mode.unwrap_or(DOOR_MODE);
        }
        config.http.check().map_err(|(key, message, allowed)| {
            document.mistake(&format!("http.{key}"), &message, &allowed)
        })?;
        config.identity.check().and_then(|()| config.identity.check_files()).map_err(|mistake| {
            document.mistake(&format!("identity.{}", mistake.key), &mistake.message, &mistake.allowed)
        })?;
        config.places.check().map_err(|(key, message, allowed)| {
            document.mistake(&format!("service.{key}"), &message, allowed)
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let document = Document::from_text("identity.toml", text).expect("TOML");
        Config::read(&document).map_err(|errors| errors.to_string())
    }

    // REQ: FEP-KIT-310
    #[test]
    fn the_explained_file_holds_every_default_and_an_empty_file_means_the_same() {
        assert_eq!(read(DEFAULT_TOML), Ok(Config::default()));
        assert_eq!(read(""), Ok(Config::default()));
        // Every key of the sections stands in it: what serde writes of the defaults is looked up.
        let written = [
            serde_json::to_value(HttpConfig {
                doors: vec![DoorConfig::at("unix:x")],
                ..HttpConfig::default()
            }),
            serde_json::to_value(IdentityConfig::default()),
        ];
        let mut keys = Vec::new();
        for value in written {
            collect(&value.expect("JSON"), &mut keys);
        }
        assert!(keys.len() > 25, "{keys:?}");
        for key in keys {
            let is_there = DEFAULT_TOML.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} ="))
                    || line.contains(&format!("{key}]"))
                    || line.contains(&format!(".{key}."))
            });
            assert!(is_there, "config/identity.toml does not explain {key}");
        }
    }

    // REQ: FEP-KIT-195
    #[test]
    fn a_door_is_for_everybody_of_the_machine_unless_it_says_otherwise() {
        let modes = |text: &str| -> Vec<u32> {
            read(text).expect("good").http.doors.iter().map(|door| door.unix_mode).collect()
        };
        assert_eq!(modes(""), [0o666]);
        let two =
            "[[http.doors]]\nlisten = \"unix:/a\"\n[[http.doors]]\nlisten = \"unix:/b\"\nunix_mode = 0o660\n";
        assert_eq!(modes(two), [0o666, 0o660]);
    }

    fn collect(value: &serde_json::Value, keys: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(members) => {
                for (key, value) in members {
                    keys.push(key.clone());
                    collect(value, keys);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
            _ => {}
        }
    }

    // REQ: FEP-KIT-310
    #[test]
    fn mistakes_are_refused_at_their_line_before_anything_is_touched() {
        for (text, said) in [
            ("[sevice]\n", "identity.toml:1:2: sevice: unknown section; did you mean service?"),
            ("[service]\nstat = \"x\"\n", "identity.toml:2:1: service.stat: unknown key"),
            ("[[http.doors]]\nlisten = \"0.0.0.0:80\"\n", "0.0.0.0:80 can be reached from other machines"),
            ("[[http.doors]]\nlisten = \"unix:/x\"\nclient_ca = \"y\"\n", "client_ca is for doors with"),
            ("[http.limits]\nrequests = 0\n", "http.limits.requests"),
            ("[identity]\nticket_lifetime_s = 86400\n", "identity.toml:2:1: identity.ticket_lifetime_s"),
            ("[identity.peers.a]\nroles = []\nscopes = []\n", "nothing proves that it is this service"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
