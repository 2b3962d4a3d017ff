//! The sections of `config/archive.toml` that this process reads; the file explains every key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fep_catalogue::{OrderRules, PacketLayouts, RetentionRule, SERVICE_NAME_MAX, StoreConfig};
use fep_database::Options;
use fep_feed_wire::spec::IsPresent;
use fep_identity::VerifyingConfig;
use fep_kit::config::ARCHIVE_SECTIONS;
use fep_kit::listen::Address;
use fep_kit::{ConfigErrors, Document};
use fep_route::{ClientCertificate, DoorConfig, DoorError, Limits};
use serde::Deserialize;

/// The built-in configuration, with every key explained.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/archive.toml");

/// Section `[archive]`: where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Name of this process where several follow the same rings; "" for the only one.
    pub name: String,
    /// Directory of the recorder's segments.
    pub segments: PathBuf,
    /// Directory of the rings, for what is not on disk yet.
    pub rings: PathBuf,
    /// Database of the catalogue: `sqlite://PATH` or `postgres://…`.
    pub database: String,
    /// File that holds the password of the database, instead of the URL.
    pub database_password_file: Option<PathBuf>,
    /// Where the signed heads of the audit trail go, one file a day: `AUDIT_HEADS/2026-12-01.json`. Empty: `roots/audit` below
    /// the segments.
    pub audit_heads: PathBuf,
    /// Private key that signs them, made on first use. Empty: they are not signed.
    pub audit_key: PathBuf,
    /// Memory for rows of records that are in no sealed segment yet.
    pub tail_memory_mib: usize,
    /// Disk for those that have no room in memory.
    pub tail_disk_mib: u64,
    /// Least severity of log lines.
    pub log: String,
}

impl Default for ArchiveConfig {
    fn default() -> ArchiveConfig {
        ArchiveConfig {
            name: String::new(),
            segments: PathBuf::from("/var/lib/fep/archive/segments"),
            rings: PathBuf::from("/dev/shm/fep/bus"),
            database: "sqlite:///var/lib/fep/archive/catalogue.sqlite3".to_owned(),
            database_password_file: None,
            audit_heads: PathBuf::new(),
            audit_key: PathBuf::from("/var/lib/fep/keys/audit.key"),
            tail_memory_mib: 256,
            tail_disk_mib: 4096,
            log: "info".to_owned(),
        }
    }
}

/// Section `[http]`: the interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Addresses: `IP:PORT` or `unix:PATH`.
    pub listen: Vec<String>,
    /// Permissions of Unix sockets, octal.
    pub socket_mode: String,
    /// Certificate chain (PEM) of the addresses that other machines reach.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Authority (PEM) of the certificates that services show at these addresses.
    pub client_ca: Option<PathBuf>,
    /// What becomes of a client without a certificate, where `client_ca` is set.
    pub client_certificate: ClientCertificate,
    /// Names by which clients ask, `host` or `host:port`, beside the addresses.
    pub hosts: Vec<String>,
    /// Web pages of other origins that may ask.
    pub origins: Vec<String>,
    /// Whether a proxy stands before the Unix sockets: then nobody is known by their user there.
    pub proxied: bool,
    /// What all callers and one may take.
    pub limits: Limits,
    /// Retrievals at a time; more are refused.
    pub retrievals_max: usize,
    /// Those of one caller.
    pub retrievals_of_one: usize,
    /// Live tails at a time; more are refused.
    pub tails_max: usize,
    /// Those of one caller.
    pub tails_of_one: usize,
    /// Whether red data is given out.
    pub serve_red: bool,
    /// How long a stop waits for answers that are being sent.
    pub stop_grace_s: u64,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: vec!["unix:/dev/shm/fep/archive.sock".to_owned(), "127.0.0.1:8480".to_owned()],
            socket_mode: "0660".to_owned(),
            certificate: None,
            key: None,
            client_ca: None,
            client_certificate: ClientCertificate::default(),
            hosts: Vec::new(),
            origins: Vec::new(),
            proxied: false,
            limits: Limits::default(),
            retrievals_max: 8,
            retrievals_of_one: 4,
            tails_max: 64,
            tails_of_one: 16,
            serve_red: false,
            stop_grace_s: 10,
        }
    }
}

/// Section `[sql]`: limits of queries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlConfig {
    /// Rows of one answer.
    pub rows_max: u64,
    /// Seconds of one query.
    pub timeout_s: u64,
    /// Memory that one query may compute with.
    pub memory_mib: usize,
    /// Queries at a time; more are refused.
    pub queries_max: usize,
    /// Threads of one query.
    pub threads: usize,
    /// The program that answers queries; where none is named, `fep-archive-sql` beside this one.
    pub program: Option<PathBuf>,
}

impl Default for SqlConfig {
    fn default() -> SqlConfig {
        SqlConfig {
            rows_max: 100_000,
            timeout_s: 30,
            memory_mib: 512,
            queries_max: 4,
            threads: 2,
            program: None,
        }
    }
}

/// Section `[store]`; its keys are those of the catalogue's store.
#[derive(Deserialize)]
#[serde(transparent)]
struct StoreSection(StoreConfig);

impl Default for StoreSection {
    fn default() -> StoreSection {
        StoreSection(StoreConfig::new("file:///var/lib/fep/archive/store"))
    }
}

/// Section `[retention]`: what is kept for how long, where, and where copies go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Classes of segments; the first that fits holds.
    pub rules: Vec<RetentionRule>,
    /// Percent of the disk free, below which a warning is given.
    pub low_percent: f64,
    /// Percent free, below which it is an alarm.
    pub critical_percent: f64,
    /// Seconds between two rounds of keeping.
    pub round_s: u64,
    /// Places that backups may be made to.
    pub backups: Vec<String>,
    /// File of the private key that signs records of removal; made on first use. Empty: nothing is recorded.
    pub removal_key: PathBuf,
    /// One role for each person, other than the one who asked, who must approve a deletion.
    pub deletion_approvers: Vec<String>,
    /// The same for the lifting of a hold.
    pub release_approvers: Vec<String>,
    /// Hours that such an order waits for approvals and for its execution to begin.
    pub order_valid_h: u64,
}

impl Default for RetentionConfig {
    fn default() -> RetentionConfig {
        RetentionConfig {
            rules: Vec::new(),
            low_percent: 10.0,
            critical_percent: 3.0,
            round_s: 60,
            backups: Vec::new(),
            removal_key: PathBuf::from("/var/lib/fep/keys/removals.key"),
            deletion_approvers: vec!["approver".to_owned()],
            release_approvers: vec!["approver".to_owned()],
            order_valid_h: 720,
        }
    }
}

/// Section `[replay]`: where replays may go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayConfig {
    /// Addresses that framed replays may be sent to, or waited for at.
    pub receivers: Vec<SocketAddr>,
    /// Addresses that take live data: no replay goes there. Those of the feeds are known without being named here.
    pub operational: Vec<SocketAddr>,
    /// Addresses that payloads alone may be replayed to: nothing in them says that they are replayed.
    pub raw_targets: Vec<SocketAddr>,
    /// Whether replays may make rings beside the live ones (`replay.NAME…`).
    pub rings: bool,
    /// Whether red data may be replayed over a network.
    pub red_over_network: bool,
}

/// Everything that this process is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is.
    pub archive: ArchiveConfig,
    /// The interface.
    pub http: HttpConfig,
    /// Who asks.
    pub identity: VerifyingConfig,
    /// Index files and moved segments.
    pub store: StoreConfig,
    /// Limits of SQL.
    pub sql: SqlConfig,
    /// Where replays may go.
    pub replay: ReplayConfig,
    /// Keeping.
    pub retention: RetentionConfig,
    /// What orders need, as `retention` says it.
    pub orders: OrderRules,
    /// The file that this was read from, for backups; `None`: what is built in.
    pub file: Option<PathBuf>,
    /// Packets as the missions describe them: those built in, and those of `[missions]`.
    pub packets: PacketLayouts,
    /// Addresses, read.
    pub addresses: Vec<Address>,
    /// Doors at these addresses.
    pub doors: Vec<DoorConfig>,
}

impl Config {
    /// Reads and checks the sections.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn read(document: &Document) -> Result<Config, ConfigErrors> {
        document.only(&ARCHIVE_SECTIONS)?;
        refuse_users(document)?;
        let identity: VerifyingConfig = document.section("identity")?;
        identity.check().map_err(|mistake| {
            document.mistake(&format!("identity.{}", mistake.key), &mistake.message, &mistake.allowed)
        })?;
        let http: HttpConfig = document.section("http")?;
        let mut addresses = Vec::new();
        for text in &http.listen {
            let address = text
                .parse()
                .map_err(|detail: String| document.mistake("http.listen", &detail, "IP:PORT or unix:PATH"))?;
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(document.mistake("http.listen", "no address", "IP:PORT or unix:PATH, one or more"));
        }
        let socket_mode = u32::from_str_radix(&http.socket_mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| document.mistake("http.socket_mode", "no permissions", "octal, as \"0660\""))?;
        let doors: Vec<DoorConfig> =
            addresses.iter().map(|address| door(address, &http, socket_mode)).collect();
        for door in &doors {
            door.check().map_err(|error| {
                let allowed = match &error {
                    DoorError::Tls(_) => {
                        "http.certificate, http.key and http.client_ca: PEM files that this user can read"
                    }
                    _ => "unix:PATH, a loopback IP:PORT, or IP:PORT with http.certificate and http.key",
                };
                document.mistake("http.listen", &error.to_string(), allowed)
            })?;
        }
        http.limits.check().map_err(|(key, allowed)| {
            document.mistake(&format!("http.limits.{key}"), "cannot be worked with", allowed)
        })?;
        let sql: SqlConfig = document.section("sql")?;
        let archive: ArchiveConfig = document.section("archive")?;
        check_name(&archive.name)
            .map_err(|allowed| document.mistake("archive.name", &format!("{:?}", archive.name), &allowed))?;
        let positive: [(&str, usize); 10] = [
            ("archive.tail_memory_mib", archive.tail_memory_mib),
            ("http.retrievals_max", http.retrievals_max),
            ("http.retrievals_of_one", http.retrievals_of_one),
            ("http.tails_max", http.tails_max),
            ("http.tails_of_one", http.tails_of_one),
            ("sql.rows_max", sql.rows_max as usize),
            ("sql.memory_mib", sql.memory_mib),
            ("sql.queries_max", sql.queries_max),
            ("sql.threads", sql.threads),
            ("retention.round_s", document.section::<RetentionConfig>("retention")?.round_s as usize),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(document.mistake(key, "0", "1 or more"));
        }
        let own: BTreeMap<String, PathBuf> = document.section("missions")?;
        let own = own.into_iter().map(|(name, path)| (name, document.directory().join(path))).collect();
        let packets = PacketLayouts::from(fep_mission::Fleet::load(&own)?);
        let StoreSection(store) = document.section("store")?;
        let replay = document.section("replay")?;
        let retention: RetentionConfig = document.section("retention")?;
        let marks = 0.0..=100.0;
        if !marks.contains(&retention.low_percent) || !marks.contains(&retention.critical_percent) {
            return Err(document.mistake("retention.low_percent", "no part of a disk", "0 to 100"));
        }
        let valid_s = retention.order_valid_h.saturating_mul(3600);
        let orders = OrderRules::new(
            retention.deletion_approvers.clone(),
            retention.release_approvers.clone(),
            valid_s,
        )
        .map_err(|error| document.mistake("retention", &error.to_string(), "see config/archive.toml"))?;
        let file = None;
        let config = Config {
            orders,
            file,
            archive,
            http,
            identity,
            store,
            sql,
            replay,
            retention,
            packets,
            addresses,
            doors,
        };
        // The error says what is allowed.
        let database = config.database().check();
        database.map_err(|error| document.mistake("archive.database", &error.to_string(), ""))?;
        Ok(config)
    }

    /// Where the catalogue is.
    #[must_use]
    pub fn database(&self) -> Options {
        let password_file = self.archive.database_password_file.clone();
        Options { password_file, ..Options::new(&self.archive.database) }
    }

    /// Where the signed heads of the audit trail go.
    #[must_use]
    pub fn audit_heads(&self) -> PathBuf {
        let configured = &self.archive.audit_heads;
        if configured.as_os_str().is_empty() {
            return self.archive.segments.join("roots/audit");
        }
        configured.clone()
    }

    /// How long a query may take.
    #[must_use]
    pub fn sql_timeout(&self) -> Duration {
        Duration::from_secs(self.sql.timeout_s)
    }
}

/// The door at an address: with TLS where other machines reach it.
fn door(address: &Address, http: &HttpConfig, unix_mode: u32) -> DoorConfig {
    let mut hosts = http.hosts.clone();
    if matches!(address, Address::Unix(_)) {
        // What fepctl of an earlier release calls it. No browser reaches a Unix socket by itself.
        hosts.push("archive".to_owned());
    }
    let plain = DoorConfig {
        unix_mode,
        hosts,
        origins: http.origins.clone(),
        proxied: http.proxied,
        ..DoorConfig::at(&address.to_string())
    };
    if address.is_local() {
        return plain;
    }
    DoorConfig {
        certificate: http.certificate.clone(),
        key: http.key.clone(),
        client_ca: http.client_ca.clone(),
        client_certificate: http.client_certificate,
        ..plain
    }
}

/// What stands in the file instead of users with tokens of their own.
const NO_USERS: &str = "[identity] with `keys`: persons log in at fep-identity (fepctl login) and ask with a ticket; services are \
     named in [identity.peers.NAME]; see docs/archive.md";

/// Refuses the users of an earlier release: whoever is named there would find the service closed, and not know why.
fn refuse_users(document: &Document) -> Result<(), ConfigErrors> {
    let users: IsPresent = document.section("users")?;
    if users.0 {
        return Err(document.mistake("users", "there are no users in this file any more", NO_USERS));
    }
    Ok(())
}

/// Holds the name of a service to what rings take as a part of a consumer's name.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_".contains(&octet);
    if name.len() <= SERVICE_NAME_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("\"\", or 1 to {SERVICE_NAME_MAX} of a-z 0-9 - _"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigErrors> {
        Config::read(&Document::from_text("archive.toml", text)?)
    }

    // REQ: FEP-ARCS-014
    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented = read(DEFAULT_TOML).expect("the file that explains every key is right");
        let plain = read("").expect("nothing said is nothing wrong");
        assert_eq!(documented.archive, plain.archive);
        assert_eq!(documented.http, plain.http);
        assert_eq!(documented.identity, plain.identity);
        assert_eq!(documented.store, plain.store);
        assert_eq!(documented.sql, plain.sql);
        assert_eq!(documented.replay, plain.replay);
        assert_eq!(documented.retention, plain.retention);
        assert_eq!(documented.packets, plain.packets);
    }

    #[test]
    fn the_documented_file_names_every_key_of_the_service() {
        for (section, keys) in [
            (
                "archive",
                &[
                    "name",
                    "segments",
                    "rings",
                    "database",
                    "audit_heads",
                    "audit_key",
                    "tail_memory_mib",
                    "tail_disk_mib",
                    "log",
                ][..],
            ),
            ("store", &["url", "request_timeout_s", "retry_timeout_s"]),
            (
                "http",
                &[
                    "listen",
                    "socket_mode",
                    "retrievals_max",
                    "retrievals_of_one",
                    "tails_max",
                    "tails_of_one",
                    "serve_red",
                    "stop_grace_s",
                    "client_certificate",
                    "hosts",
                    "origins",
                    "proxied",
                    "limits",
                ],
            ),
            ("identity", &["keys", "local_roles"]),
            ("sql", &["rows_max", "timeout_s", "memory_mib", "queries_max", "threads"]),
            ("replay", &["receivers", "operational", "raw_targets", "rings", "red_over_network"]),
            (
                "retention",
                &[
                    "rules",
                    "low_percent",
                    "critical_percent",
                    "round_s",
                    "backups",
                    "removal_key",
                    "deletion_approvers",
                    "release_approvers",
                    "order_valid_h",
                ],
            ),
        ] {
            let table: toml::Table = DEFAULT_TOML.parse().expect("TOML");
            let told: Vec<&String> = table[section].as_table().expect("a section").keys().collect();
            for key in keys {
                assert!(told.iter().any(|told| told == key), "{section}.{key} is not explained");
            }
            assert_eq!(told.len(), keys.len(), "{section}: {told:?}");
        }
    }

    // REQ: FEP-ARC-178
    #[test]
    fn users_of_an_earlier_release_are_refused_at_their_line_with_what_to_write_instead() {
        for users in ["[users]\n", "[users.anna]\ntoken_sha256 = \"x\"\nroles = [\"read\"]\n"] {
            let error = read(&format!("[sql]\nthreads = 1\n{users}")).expect_err("refused").to_string();
            assert!(
                error.contains("archive.toml:3:") && error.contains("users: there are no users"),
                "{error}"
            );
            assert!(error.contains("[identity]") && error.contains("fepctl login"), "{error}");
        }
    }

    // REQ: FEP-KIT-171
    #[test]
    fn what_cannot_be_is_refused_at_its_key() {
        for (text, told) in [
            (
                "[http]\nlisten = [\"localhost:80\"]\n",
                "archive.toml:2:1: http.listen: \"localhost:80\" is neither",
            ),
            (
                "[http]\nlisten = [\"0.0.0.0:8480\"]\n",
                "archive.toml:2:1: http.listen: 0.0.0.0:8480 can be reached from other machines: it needs a certificate",
            ),
            (
                "[http.limits]\nrequests = 0\n",
                "archive.toml:2:1: http.limits.requests: cannot be worked with",
            ),
            ("[identity]\nkeys = \"\"\n", "archive.toml:2:1: identity.keys: no path"),
            (
                "[identity.peers.a]\nroles = []\nscopes = []\n",
                "archive.toml:1:17: identity.peers.a: nothing proves that it is this service",
            ),
            ("[http]\nsocket_mode = \"rw\"\n", "archive.toml:2:1: http.socket_mode: no permissions"),
            ("[sql]\nthreads = 0\n", "archive.toml:2:1: sql.threads: 0 (allowed: 1 or more)"),
            (
                "[retention]\nlow_percent = 120.0\n",
                "archive.toml:2:1: retention.low_percent: no part of a disk",
            ),
            (
                "[archive]\nname = \"Second\"\n",
                "archive.toml:2:1: archive.name: \"Second\" (allowed: \"\", or 1 to 13 of a-z 0-9 - _)",
            ),
            ("[archive]\nname = \"fourteen-chars\"\n", "archive.toml:2:1: archive.name"),
            // Files that a start would refuse.
            (
                "[http]\nlisten = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\ncertificate = \"/none.pem\"\nkey = \"/none.key\"\n",
                "archive.toml:2:1: http.listen: /none.pem: No such file",
            ),
            (
                "[archive]\ndatabase = \"postgres://fep@127.0.0.1/a\"\ndatabase_password_file = \"/none\"\n",
                "archive.toml:2:1: archive.database: ",
            ),
            ("[archive]\ndatabase = \"mysql://x\"\n", "archive.toml:2:1: archive.database: database: url: "),
            ("[sequel]\n", "archive.toml:1:2: sequel: unknown section"),
        ] {
            let refused = read(text).expect_err(text).to_string();
            assert!(refused.starts_with(told), "{refused}");
            assert!(refused.matches("allowed").count() <= 1, "what is allowed is said once: {refused}");
        }
    }
}
