//! The URL of a database: which engine, and whether the way to it is protected.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;

use crate::{Error, Options};

const PASSWORD_LIMIT_OCTETS: u64 = 4096;

/// Which engine a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        })
    }
}

/// An address that was checked. It may hold a password and is never printed.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) engine: Engine,
    pub(crate) any: AnyConnectOptions,
    /// SQLite: the file.
    pub(crate) file: Option<PathBuf>,
    /// For messages: engine and file, or engine, host and database.
    pub(crate) shown: String,
}

impl Address {
    pub(crate) fn of(options: &Options) -> Result<Address, Error> {
        match options.url.split_once(':') {
            Some(("sqlite", _)) => sqlite(options),
            Some(("postgres" | "postgresql", _)) => postgres(options),
            _ => Err(bad("it begins with neither sqlite: nor postgres:")),
        }
    }

    /// For what only PostgreSQL has.
    pub(crate) fn postgres(&self) -> Result<PgConnectOptions, Error> {
        Ok(PgConnectOptions::from_url(&self.any.database_url)
            .map_err(|_| bad("it cannot be read as an address of PostgreSQL"))?
            .disable_statement_logging())
    }
}

fn sqlite(options: &Options) -> Result<Address, Error> {
    // The error of the parser may quote the URL; one of SQLite has no password.
    let parsed = SqliteConnectOptions::from_str(&options.url)
        .map_err(|error| bad(&format!("{error}; allowed: sqlite:///directory/file.sqlite3")))?;
    let file = parsed.get_filename().to_owned();
    if options.url.contains('?') || options.url.contains(":memory:") || file == Path::new("") {
        return Err(bad(
            "a database of SQLite is a file, named without parameters: sqlite:///directory/file.sqlite3",
        ));
    }
    let any = AnyConnectOptions::from_str(&options.url)
        .map_err(|error| bad(&error.to_string()))?
        .disable_statement_logging();
    let shown = format!("SQLite, {}", file.display());
    Ok(Address { engine: Engine::Sqlite, any, file: Some(file), shown })
}

fn postgres(options: &Options) -> Result<Address, Error> {
    const FORM: &str = "postgres://user@host/database";
    // Errors of the parser may quote parts of the URL, and so the password: they are not repeated.
    let unreadable = || bad(&format!("it cannot be read as {FORM}"));
    let mut any =
        AnyConnectOptions::from_str(&options.url).map_err(|_| unreadable())?.disable_statement_logging();
    if let Some(file) = &options.password_file {
        if any.database_url.password().is_some() {
            return Err(bad("it has a password, and password_file is set: remove the one of the URL"));
        }
        let text = fep_file::read_text(file, PASSWORD_LIMIT_OCTETS)?;
        let password = text.trim_end_matches(['\r', '\n']);
        any.database_url.set_password(Some(password)).map_err(|()| unreadable())?;
    }
    let parsed = PgConnectOptions::from_url(&any.database_url).map_err(|_| unreadable())?;
    if !is_local(&parsed) {
        let asked = any.database_url.query_pairs().any(|(key, _)| key == "sslmode" || key == "ssl-mode");
        match parsed.get_ssl_mode() {
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => {}
            _ if asked => {
                return Err(bad(
                    "the server is on another machine and sslmode does not ask for TLS: allowed are require, verify-ca \
                     and verify-full (the usual one, when sslmode is left out)",
                ));
            }
            _ => {
                any.database_url.query_pairs_mut().append_pair("sslmode", "verify-full");
            }
        }
    }
    let host = match parsed.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => parsed.get_host().to_owned(),
    };
    let shown = format!("PostgreSQL, {host}, {}", parsed.get_database().unwrap_or("its default database"));
    Ok(Address { engine: Engine::Postgres, any, file: None, shown })
}

/// Whether nothing of the connection leaves this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn bad(problem: &str) -> Error {
    Error::Option { key: "url", problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Address, Error> {
        Address::of(&Options::new(url))
    }

    // REQ: FEP-KIT-213
    #[test]
    fn a_server_on_another_machine_is_reached_by_tls_only_and_verified_unless_asked_otherwise() {
        let mode = |url: &str| of(url).expect("allowed").postgres().expect("readable").get_ssl_mode();
        for url in ["postgres://fep@db.example/archive", "postgresql://fep@192.0.2.1:5433/archive"] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
        }
        assert!(matches!(mode("postgres://fep@db.example/archive?sslmode=require"), PgSslMode::Require));
        for weak in ["disable", "allow", "prefer"] {
            let refused = of(&format!("postgres://fep:s3cret@db.example/archive?sslmode={weak}"));
            let text = refused.err().expect("refused").to_string();
            assert!(text.contains("verify-full") && !text.contains("s3cret"), "{text}");
        }
        for local in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert!(of(&format!("postgres://fep@{local}/archive?sslmode=disable")).is_ok(), "{local}");
        }
        // A parameter may name another host than the URL seems to.
        assert!(of("postgres://fep@localhost/archive?sslmode=disable&host=db.example").is_err());
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for url in [
            "mysql://a:s3cret@b/c",
            "",
            "postgres://fep:s3cret@:bad/x",
            "sqlite::memory:",
            "sqlite://a?mode=ro",
        ] {
            let text = of(url).err().expect("refused").to_string();
            assert!(text.starts_with("database: url: ") && !text.contains("s3cret"), "{text}");
        }
        let debug = format!("{:?}", Options::new("postgres://fep:s3cret@localhost/x"));
        assert!(!debug.contains("s3cret"), "{debug}");
    }
}
