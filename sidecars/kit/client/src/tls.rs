//! TLS 1.3 of clients: which authorities are trusted, which certificate is shown, and what a failed handshake means.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_time::{AsciiForm, Utc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::error::TlsFault;
use crate::{Address, Error};

/// How a client proves things over TLS, and whom it believes. All files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that sign those of services. No others are trusted, not those of the system either:
    /// a site says which it means (`/etc/ssl/certs/ca-certificates.crt` has those of a Debian system).
    pub authorities: Option<PathBuf>,
    /// The certificate (with its chain) that this client shows, and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
}

fn wrong(file: &Path, why: impl std::fmt::Display, hint: &str) -> Error {
    Error::setup(format!("{}: {why}", file.display()), hint)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| wrong(file, plain(&error), ""))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let hint = "a PEM file with -----BEGIN CERTIFICATE----- is needed";
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(file, error, hint))?;
    if chain.is_empty() { Err(wrong(file, "it holds no certificate", hint)) } else { Ok(chain) }
}

/// What rustls needs to reach `service`.
pub(crate) fn config(service: &Address, tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let Some(file) = &tls.authorities else {
        return Err(Error::setup(
            format!("{service} cannot be verified: no authority is trusted"),
            "give the file with the certificate of the authority that signs those of services (--ca FILE)",
        ));
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(file)? {
        roots.add(root).map_err(|error| wrong(file, error, ""))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let setup = |error: rustls::Error| Error::setup(format!("TLS cannot be set up: {error}"), "");
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_root_certificates(roots);
    let mut config = match &tls.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let own = private_key(key)?;
            builder.with_client_auth_cert(chain, own).map_err(|error| {
                let what = format!("{} is not the key of {}: {error}", key.display(), certificate.display());
                Error::setup(what, "give the key that the certificate was made for")
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let metadata = std::fs::metadata(file).map_err(|error| wrong(file, plain(&error), ""))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        let why = format!("it has mode {mode:04o}: everybody could use this key");
        return Err(wrong(
            file,
            why,
            "chmod 0600, and have a new certificate made if somebody may have read it",
        ));
    }
    let hint = "a PEM file with -----BEGIN PRIVATE KEY----- is needed";
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| wrong(file, error, hint))
}

/// The name that the certificate of a host must have.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| Error::setup(format!("{host:?} is no name that a certificate could have"), ""))
}

/// What rustls found wrong, where an I/O error comes of that.
pub(crate) fn fault_in(error: &(dyn std::error::Error + 'static)) -> Option<TlsFault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(fault(found));
        }
        // `io::Error` gives the source of what is in it, not what is in it.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

fn fault(error: &rustls::Error) -> TlsFault {
    use rustls::Error as Rustls;
    match error {
        Rustls::InvalidCertificate(why) => certificate_fault(why),
        Rustls::AlertReceived(alert) => alert_fault(*alert),
        Rustls::InvalidMessage(_) => TlsFault::NoTls,
        Rustls::PeerIncompatible(_) => TlsFault::NothingInCommon,
        other => TlsFault::Other(other.to_string()),
    }
}

fn certificate_fault(why: &CertificateError) -> TlsFault {
    match why {
        CertificateError::Expired => TlsFault::Expired(String::new()),
        CertificateError::ExpiredContext { not_after, .. } => TlsFault::Expired(at(", at", *not_after)),
        CertificateError::NotValidYet => TlsFault::NotValidYet(String::new()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            TlsFault::NotValidYet(at(", before", *not_before))
        }
        // An authority of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownAuthority,
        CertificateError::NotValidForNameContext { expected, presented } => {
            // rustls writes `DnsName("x")` and `IpAddress(1.2.3.4)`.
            let bare = |name: &String| {
                let inside = name.split_once('(').map_or(name.as_str(), |(_, inside)| inside);
                inside.trim_end_matches(')').trim_matches('"').to_owned()
            };
            let presented: Vec<String> = presented.iter().map(bare).collect();
            TlsFault::OtherName {
                expected: expected.to_str().into_owned(),
                presented: if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") },
            }
        }
        other => TlsFault::Certificate(other.to_string()),
    }
}

fn alert_fault(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Alert;
    let refused = |why: &str| TlsFault::CertificateRefused(why.to_owned());
    match alert {
        Alert::CertificateRequired => TlsFault::CertificateWanted,
        Alert::CertificateExpired => refused("it has expired, or is not valid yet"),
        Alert::UnknownCA => refused("the service does not trust the authority that signed it"),
        Alert::CertificateRevoked => refused("it is revoked"),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => refused("it is not one for this"),
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            TlsFault::NothingInCommon
        }
        Alert::UnrecognisedName => TlsFault::Other("the service does not know this name".to_owned()),
        other => TlsFault::Other(format!("the service says {other:?}")),
    }
}

/// A time of a certificate as UTC; nothing where no calendar has it.
fn at(before: &str, time: UnixTime) -> String {
    let day_1970 = 4383;
    let day = i32::try_from(time.as_secs() / 86_400).ok().and_then(|day| day.checked_add(day_1970));
    let ns = i64::try_from(time.as_secs() % 86_400).unwrap_or_default() * fep_time::NS_PER_SECOND;
    let utc = day.and_then(|day| Utc::from_day_and_ns(day, ns).ok());
    utc.map_or_else(String::new, |utc| {
        format!("{before} {}Z", utc.to_ascii(AsciiForm::A, 0).trim_end_matches('Z'))
    })
}

/// The text of an I/O error without the number that Rust appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_shown_in_utc() {
        let time = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        // `date -u -d @1733506695`
        assert_eq!(at(", at", time(1_733_506_695)), ", at 2024-12-06T17:38:15Z");
        assert_eq!(at(", at", time(0)), ", at 1970-01-01T00:00:00Z");
        assert_eq!(at(", at", time(u64::MAX)), "");
    }
}
