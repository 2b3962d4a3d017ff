//! TLS 1.3 by rustls, for servers and where wanted for clients too, with certificates that are read again when their files
//! change.

use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fep_identity::PeerCertificate;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The private key is not that of the certificate.
    #[error("{key} is not the key of {certificate}: {why}")]
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What rustls says.
        why: String,
    },
    /// rustls itself.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Which certificates clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Certificates of the authorities that sign those of clients (PEM).
    pub file: PathBuf,
    /// Whether a client without one gets no connection; otherwise it may come with a ticket.
    pub is_required: bool,
}

/// Versions of the files.
type Seen = Vec<Option<(u64, i64, i64)>>;

/// A certificate chain and its key, and where clients show certificates their authority, all in PEM files.
#[derive(Clone)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<ClientAuthority>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads certificate and key; clients show no certificate.
    ///
    /// # Errors
    /// A file that cannot be read, a key that others may read, a key of another certificate.
    pub fn read(certificate: &Path, key: &Path) -> Result<Certificates, TlsError> {
        Certificates::with_clients(certificate, key, None)
    }

    /// Reads certificate and key, and the authority of the certificates that clients show.
    ///
    /// # Errors
    /// As [`Certificates::read`]; an authority that holds no certificate.
    pub fn with_clients(
        certificate: &Path,
        key: &Path,
        clients: Option<ClientAuthority>,
    ) -> Result<Certificates, TlsError> {
        // Looked at before reading: a change in between is read again the next time.
        let seen = versions(certificate, key, clients.as_ref());
        let config = server_config(certificate, key, clients.as_ref())?;
        Ok(Certificates {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            clients,
            current: Arc::new(RwLock::new(config)),
            seen: Arc::new(Mutex::new(seen)),
        })
    }

    /// Reads the files again when one has changed; connections made from then on are under the new ones.
    ///
    /// # Errors
    /// As [`Certificates::with_clients`]; what is in use stays. It is tried again at the next call.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = versions(&self.certificate, &self.key, self.clients.as_ref());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        let config = server_config(&self.certificate, &self.key, self.clients.as_ref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        *seen = now;
        Ok(true)
    }

    /// What a connection is begun with: rustls's configuration of the files as read last.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who the other end of a connection has proved to be; `None` where it showed no certificate.
#[must_use]
pub fn peer_of(connection: &ServerConnection) -> Option<PeerCertificate> {
    // The handshake has verified it; one that cannot be read a second time is the certificate of nobody.
    let certificate = connection.peer_certificates()?.first()?;
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(PeerCertificate {
        spki_sha256: Sha256::digest(certificate.subject_public_key_info().as_ref()).into(),
        dns_names: certificate.valid_dns_names().map(str::to_owned).collect(),
    })
}

fn versions(certificate: &Path, key: &Path, clients: Option<&ClientAuthority>) -> Seen {
    let version = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    };
    [certificate, key].into_iter().chain(clients.map(|clients| clients.file.as_path())).map(version).collect()
}

fn wrong(path: &Path, why: impl Into<String>) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.into() }
}

fn server_config(
    certificate: &Path,
    key: &Path,
    clients: Option<&ClientAuthority>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Setup)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for root in chain(&clients.file)? {
                roots.add(root).map_err(|error| wrong(&clients.file, error.to_string()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let verifier = if clients.is_required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| wrong(&clients.file, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let own = SingleCertAndKey::from(certified(certificate, key, &provider)?);
    let mut config = builder.with_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if clients.is_some() {
        // A session that is resumed would carry a certificate that nobody looks at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The certificates of a PEM file, at least one.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = std::fs::read(file).map_err(|error| wrong(file, error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(file, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(file, "holds no certificate (PEM)"));
    }
    Ok(chain)
}

fn certified(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = chain(certificate)?;
    let mode =
        std::fs::metadata(key).map_err(|error| wrong(key, error.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(wrong(
            key,
            format!("has mode {mode:04o}: everybody could use it; set it with chmod 0640"),
        ));
    }
    let text = std::fs::read(key).map_err(|error| wrong(key, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(key, error.to_string()))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        why: error.to_string(),
    })
}
