//! TLS 1.3 by rustls, with certificates that are read again when their files change.

use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

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

/// Version of both files.
type Seen = [Option<(u64, i64, i64)>; 2];

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A certificate chain and its key, both in PEM files.
#[derive(Clone)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    seen: Arc<Mutex<Seen>>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// A file that cannot be read, a key that others may read, a key of another certificate.
    pub fn read(certificate: &Path, key: &Path) -> Result<Certificates, TlsError> {
        let seen = versions(certificate, key);
        let current = Arc::new(Current(RwLock::new(Arc::new(certified(certificate, key)?))));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(TlsError::Setup)?
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certificates {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            seen: Arc::new(Mutex::new(seen)),
            config: Arc::new(config),
        })
    }

    /// Reads the files again when they have changed; connections made from then on get the new certificate.
    ///
    /// # Errors
    /// As [`Certificates::read`]; the certificate in use stays. It is tried again at the next call.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = versions(&self.certificate, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        let certified = certified(&self.certificate, &self.key)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        *seen = now;
        Ok(true)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn versions(certificate: &Path, key: &Path) -> Seen {
    [certificate, key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    })
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let wrong = |path: &Path, why: String| TlsError::File { path: path.to_owned(), why };
    let read = |path: &Path| -> io::Result<Vec<u8>> { std::fs::read(path) };
    let text = read(certificate).map_err(|error| wrong(certificate, error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate (PEM)".to_owned()));
    }
    let mode =
        std::fs::metadata(key).map_err(|error| wrong(key, error.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(wrong(
            key,
            format!("has mode {mode:04o}: everybody could use it; set it with chmod 0640"),
        ));
    }
    let text = read(key).map_err(|error| wrong(key, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(key, error.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|error| TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        why: error.to_string(),
    })
}
