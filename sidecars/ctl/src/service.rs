//! Reaching services: the client of the kit, with the words of this program for what goes wrong.

use std::path::PathBuf;

use clap::Args;
use fep_client::blocking::Client;
use fep_client::{Address, Bearer, Config, Error, Times, Tls};

use crate::failure::Failure;

/// Whom to believe over TLS, and what to show.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsArgs {
    /// Certificates of the authorities that sign those of services (PEM)
    #[arg(long, value_name = "FILE", env = "FEP_CA", help_heading = "For https:// addresses")]
    ca: Option<PathBuf>,
    /// Certificate that this program shows (PEM), where a service wants one
    #[arg(
        long,
        value_name = "FILE",
        env = "FEP_CERT",
        requires = "key",
        help_heading = "For https:// addresses"
    )]
    cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "FEP_KEY",
        requires = "cert",
        help_heading = "For https:// addresses"
    )]
    key: Option<PathBuf>,
}

impl TlsArgs {
    fn tls(&self) -> Tls {
        Tls { authorities: self.ca.clone(), own: self.cert.clone().zip(self.key.clone()) }
    }
}

/// A service that commands can be sent to.
pub(crate) trait Reached {
    /// Its client, asking as who is logged in.
    ///
    /// # Errors
    /// An address or a file that cannot be used, a session that has ended.
    fn client(&self) -> Result<Client, Failure>;
}

/// # Errors
/// What is no address of a service.
pub(crate) fn address(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|error: Error| {
        let failure = Failure::usage(error.to_string());
        with_hint(failure, &error)
    })
}

/// A client; nothing is sent yet.
///
/// # Errors
/// An address or a file that cannot be used; a ticket that everybody on the way could read.
pub(crate) fn client(
    server: &str,
    tls: &TlsArgs,
    bearer: Option<Bearer>,
    times: Times,
) -> Result<Client, Failure> {
    let address = address(server)?;
    let config =
        Config { bearer, tls: tls.tls(), times, answer_octets_max: 256 << 20, ..Config::at(address) };
    Ok(Client::new(config)?)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let text = error.to_string();
        let failure = match &error {
            Error::Unreachable { .. } | Error::Silent { .. } | Error::Broken { .. } => {
                Failure::no_daemon(text)
            }
            _ => Failure::new(text),
        };
        with_hint(failure, &error)
    }
}

fn with_hint(failure: Failure, error: &Error) -> Failure {
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-172
    #[test]
    fn a_ticket_is_sent_to_this_machine_and_over_tls_alone() {
        let bearer = || Some(Bearer::new("a.b.c").expect("a ticket"));
        let made = |server: &str| client(server, &TlsArgs::default(), bearer(), Times::default());
        for good in ["unix:/run/x.sock", "http://127.0.0.1:80", "http://[::1]:80/", "http://localhost:80"] {
            assert!(made(good).is_ok(), "{good}");
        }
        for bad in ["http://fep.example:80", "http://10.0.0.1:80", "http://127.0.0.1.evil.example:80"] {
            let text = made(bad).expect_err("in the clear").to_string();
            assert!(text.contains("no ticket is sent to") && text.contains("https://HOST:PORT"), "{text}");
        }
        for wrong in ["", "unix:", "http://localhost:80@evil.example:80", "http://127.0.0.1:80/x"] {
            let failure = made(wrong).expect_err("no address");
            assert_eq!(failure.code(), 2, "{wrong}: {failure}");
        }
        let text = made("https://127.0.0.1:80").expect_err("no authority").to_string();
        assert!(text.contains("--ca FILE"), "{text}");
    }
}
