//! TLS: version 1.3 and nothing older, certificates read again while the service runs.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use fep_identity::Peers;
use fep_route::{Certificates, DoorConfig, Limits, TlsError};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use support::{Site, ask_on, ends, status};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

/// Makes a certificate for `fep.example` and writes it with its key; the certificate.
fn make(dir: &Path, key_mode: u32) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["fep.example".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    std::fs::set_permissions(dir.join("key.pem"), std::fs::Permissions::from_mode(key_mode)).expect("set");
    made.cert.der().clone()
}

fn client(
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).ok()?;
    Some(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

async fn hello(
    running: &support::Running,
    trusted: &CertificateDer<'static>,
) -> Result<String, std::io::Error> {
    let connector = client(trusted, &rustls::version::TLS13).expect("TLS 1.3");
    let name = ServerName::try_from("fep.example").expect("a name");
    let stream = connector.connect(name, running.connect().await).await?;
    Ok(ask_on(stream, "fep.example", "GET /v1/hello", &[], "").await)
}

// REQ: FEP-KIT-116
#[tokio::test]
async fn a_certificate_is_read_again_without_a_restart_and_a_wrong_one_does_not_replace_it() {
    let site = Site::new(Limits { head_timeout_s: 2, ..Limits::default() }, Peers::default());
    let dir = site.dir.path();
    let first = make(dir, 0o600);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let config = DoorConfig {
        certificate: Some(cert.clone()),
        key: Some(key.clone()),
        hosts: vec!["fep.example".to_owned()],
        ..DoorConfig::at("127.0.0.1:0")
    };
    let running = site.open(config).await;
    assert_eq!(status(&hello(&running, &first).await.expect("trusted")), 200);
    // A key that does not belong to the certificate: the old pair stays.
    let certificates = Certificates::read(&cert, &key).expect("a pair");
    let text = std::fs::read_to_string(&cert).expect("readable");
    make(dir, 0o600);
    std::fs::write(&cert, &text).expect("written");
    assert!(matches!(certificates.refresh(), Err(TlsError::Mismatch { .. })));
    assert_eq!(status(&hello(&running, &first).await.expect("trusted")), 200);
    let second = make(dir, 0o600);
    assert!(certificates.refresh().expect("a pair"));
    assert!(!certificates.refresh().expect("nothing new"));
    // The running service looks by itself.
    for _ in 0..600 {
        if hello(&running, &second).await.is_ok_and(|answer| status(&answer) == 200) {
            assert!(hello(&running, &first).await.is_err(), "the old certificate is not shown any more");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the new certificate was not read");
}

// REQ: FEP-KIT-116
#[tokio::test]
async fn plain_http_at_a_tls_door_and_handshakes_that_stop_end() {
    let site = Site::new(Limits { head_timeout_s: 1, ..Limits::default() }, Peers::default());
    let dir = site.dir.path();
    make(dir, 0o640);
    let config = DoorConfig {
        certificate: Some(dir.join("cert.pem")),
        key: Some(dir.join("key.pem")),
        ..DoorConfig::at("127.0.0.1:0")
    };
    let running = site.open(config).await;
    let silent = running.connect().await;
    let mut plain = running.connect().await;
    plain.write_all(b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    assert!(!String::from_utf8_lossy(&ends(plain).await).contains("HTTP/1.1"));
    ends(silent).await;
    // A ClientHello that offers TLS 1.2 alone, as RFC 5246 writes it: refused with the alert protocol_version (70).
    let mut old = running.connect().await;
    let mut client_hello = vec![0x16, 0x03, 0x01, 0x00, 0x3f, 0x01, 0x00, 0x00, 0x3b, 0x03, 0x03];
    client_hello.extend([7; 32]);
    client_hello.extend([0x00, 0x00, 0x02, 0xc0, 0x2b, 0x01, 0x00, 0x00, 0x10]);
    // signature_algorithms: ecdsa_secp256r1_sha256; supported_groups: secp256r1.
    client_hello.extend([0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03]);
    client_hello.extend([0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17]);
    old.write_all(&client_hello).await.expect("sent");
    let alert = ends(old).await;
    assert_eq!((alert.first(), alert.last()), (Some(&0x15), Some(&70)), "{alert:?}");
}

// REQ: FEP-KIT-116
#[test]
fn a_private_key_that_everybody_may_read_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), 0o644);
    let refused = Certificates::read(&dir.path().join("cert.pem"), &dir.path().join("key.pem"));
    let text = refused.expect_err("refused").to_string();
    assert!(text.contains("mode 0644") && text.contains("chmod 0640"), "{text}");
    let missing = Certificates::read(&dir.path().join("none.pem"), &dir.path().join("key.pem"));
    assert!(missing.expect_err("refused").to_string().contains("none.pem"));
}
