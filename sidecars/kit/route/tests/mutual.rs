//! Mutual TLS: services are known by their certificates.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fep_identity::{CertificateName, PeerService, Peers, Role, RoleSet, Scope};
use fep_route::{Certificates, ClientAuthority, ClientCertificate, Door, DoorConfig, DoorError, Limits};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use support::{Running, Site, ask_on, body, status};
use tokio_rustls::TlsConnector;

/// An authority of one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Own {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn write(&self, dir: &Path) -> PathBuf {
        let file = dir.join("clients.pem");
        std::fs::write(&file, self.0.pem()).expect("written");
        file
    }

    fn signs(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> Own {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate").der().clone();
        Own { certificate, key }
    }
}

fn service(certificate: &str) -> PeerService {
    PeerService {
        uid: None,
        certificate: Some(certificate.parse().expect("a name of a certificate")),
        roles: RoleSet::of(&[Role::Observer]),
        scopes: vec![Scope::ALL],
    }
}

/// A site whose door asks clients for certificates, and the certificate of the server.
async fn site(
    peers: BTreeMap<String, PeerService>,
    clients: &Authority,
    want: ClientCertificate,
) -> (Site, Running, CertificateDer<'static>) {
    let site = Site::new(Limits { head_timeout_s: 60, ..Limits::default() }, Peers::new(peers));
    let dir = site.dir.path();
    let made = rcgen::generate_simple_self_signed(vec!["fep.example".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(dir.join("key.pem"), mode).expect("set");
    let config = DoorConfig {
        certificate: Some(dir.join("cert.pem")),
        key: Some(dir.join("key.pem")),
        client_ca: Some(clients.write(dir)),
        client_certificate: want,
        hosts: vec!["fep.example".to_owned()],
        ..DoorConfig::at("127.0.0.1:0")
    };
    let running = site.open(config).await;
    (site, running, made.cert.der().clone())
}

/// The answer to `GET /v1/me` with this certificate and ticket; nothing where the connection is refused.
async fn me(
    running: &Running,
    server: &CertificateDer<'static>,
    own: Option<&Own>,
    ticket: Option<&str>,
) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(server.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key.serialize_der()).expect("a key");
            let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
            // Not held to one another here: a thief has the certificate without its key.
            let pair = SingleCertAndKey::from(CertifiedKey::new(vec![own.certificate.clone()], key));
            config.with_client_cert_resolver(Arc::new(pair))
        }
    };
    let name = ServerName::try_from("fep.example").expect("a name");
    // In TLS 1.3 the client is done before the server has looked at its certificate: a refusal is seen by the answer.
    let stream = TlsConnector::from(Arc::new(config)).connect(name, running.connect().await).await.ok()?;
    let ticket = ticket.map(|ticket| format!("Authorization: Bearer {ticket}"));
    let headers: Vec<&str> = ticket.iter().map(String::as_str).collect();
    let answer = ask_on(stream, "fep.example", "GET /v1/me", &headers, "").await;
    (!answer.is_empty()).then_some(answer)
}

fn account(answer: Option<String>) -> String {
    let answer = answer.expect("an answer");
    assert_eq!(status(&answer), 200, "{answer}");
    body(&answer)["account"].as_str().unwrap_or_default().to_owned()
}

// REQ: FEP-KIT-301
#[tokio::test]
async fn a_service_is_known_by_its_certificate_and_one_of_another_authority_time_or_purpose_gets_no_connection()
 {
    let (authority, other) = (Authority::new(), Authority::new());
    let by_name = authority.signs("archive.example", |_| ());
    let by_key = authority.signs("recorder.example", |_| ());
    let digest: [u8; 32] = Sha256::digest(by_key.key.subject_public_key_info()).into();
    let known = BTreeMap::from([
        ("archive".to_owned(), service("dns:archive.example")),
        ("recorder".to_owned(), service(&CertificateName::Spki(digest).to_string())),
    ]);
    let (site, running, server) = site(known, &authority, ClientCertificate::Required).await;
    assert_eq!(account(me(&running, &server, Some(&by_name), None).await), "archive");
    assert_eq!(account(me(&running, &server, Some(&by_key), None).await), "recorder");

    let expired = authority.signs("archive.example", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let future = authority.signs("archive.example", |params| {
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
    });
    let servers = authority.signs("archive.example", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let foreign = other.signs("archive.example", |_| ());
    let ticket = site.ticket(Role::Observer, 0);
    for (what, own) in [
        ("expired", Some(&expired)),
        ("not valid yet", Some(&future)),
        ("for servers", Some(&servers)),
        ("of another authority", Some(&foreign)),
        ("none", None),
    ] {
        assert_eq!(me(&running, &server, own, Some(&ticket)).await, None, "{what}");
    }
    // The name of a service with a key that is not the one of the certificate.
    let stolen = Own { certificate: by_name.certificate.clone(), key: KeyPair::generate().expect("a key") };
    assert_eq!(
        me(&running, &server, Some(&stolen), Some(&ticket)).await,
        None,
        "a certificate without its key"
    );
}

// REQ: FEP-KIT-301
#[tokio::test]
async fn a_certificate_of_nobody_opens_nothing_and_a_ticket_decides_where_there_is_one() {
    let authority = Authority::new();
    let known = BTreeMap::from([("archive".to_owned(), service("dns:archive.example"))]);
    let (site, running, server) = site(known, &authority, ClientCertificate::Required).await;
    let nobody = authority.signs("console.example", |_| ());
    let answer = me(&running, &server, Some(&nobody), None).await.expect("an answer");
    assert_eq!(status(&answer), 401);
    let ticket = site.ticket(Role::Observer, 0);
    assert_eq!(account(me(&running, &server, Some(&nobody), Some(&ticket)).await), "test");
    let archive = authority.signs("archive.example", |_| ());
    assert_eq!(account(me(&running, &server, Some(&archive), Some(&ticket)).await), "test");
    // A ticket that is refused is not made good by the certificate.
    let ended = site.ticket(Role::Observer, 10_000);
    let answer = me(&running, &server, Some(&archive), Some(&ended)).await.expect("an answer");
    assert_eq!(status(&answer), 401);
}

// REQ: FEP-KIT-301
#[tokio::test]
async fn where_a_certificate_is_optional_persons_come_with_tickets_and_wrong_certificates_still_get_no_connection()
 {
    let (authority, other) = (Authority::new(), Authority::new());
    let known = BTreeMap::from([("archive".to_owned(), service("dns:archive.example"))]);
    let (site, running, server) = site(known, &authority, ClientCertificate::Optional).await;
    let ticket = site.ticket(Role::Observer, 0);
    assert_eq!(account(me(&running, &server, None, Some(&ticket)).await), "test");
    assert_eq!(me(&running, &server, None, None).await.map(|answer| status(&answer)), Some(401));
    let archive = authority.signs("archive.example", |_| ());
    assert_eq!(account(me(&running, &server, Some(&archive), None).await), "archive");
    let foreign = other.signs("archive.example", |_| ());
    assert_eq!(me(&running, &server, Some(&foreign), None).await, None);
}

// REQ: FEP-KIT-302
#[tokio::test]
async fn an_authority_is_exchanged_without_a_restart_and_a_damaged_one_does_not_replace_it() {
    let (old, new) = (Authority::new(), Authority::new());
    let known = BTreeMap::from([("archive".to_owned(), service("dns:archive.example"))]);
    let (site, running, server) = site(known, &old, ClientCertificate::Required).await;
    let (before, after) = (old.signs("archive.example", |_| ()), new.signs("archive.example", |_| ()));
    assert_eq!(account(me(&running, &server, Some(&before), None).await), "archive");
    let dir = site.dir.path();
    let authority = ClientAuthority { file: dir.join("clients.pem"), is_required: true };
    let certificates =
        Certificates::with_clients(&dir.join("cert.pem"), &dir.join("key.pem"), Some(authority))
            .expect("good");
    std::fs::write(dir.join("clients.pem"), "nothing").expect("written");
    let said = certificates.refresh().expect_err("no certificate").to_string();
    assert!(said.contains("clients.pem: holds no certificate"), "{said}");
    new.write(dir);
    for _ in 0..600 {
        if let Some(answer) = me(&running, &server, Some(&after), None).await {
            assert_eq!(account(Some(answer)), "archive");
            assert_eq!(
                me(&running, &server, Some(&before), None).await,
                None,
                "the old authority signs nobody"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new authority was not read");
}

// REQ: FEP-KIT-301
#[tokio::test]
async fn an_authority_of_clients_needs_a_door_with_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    for listen in ["127.0.0.1:0".to_owned(), format!("unix:{}", dir.path().join("x.sock").display())] {
        let config =
            DoorConfig { client_ca: Some(Authority::new().write(dir.path())), ..DoorConfig::at(&listen) };
        let refused = Door::open(&config).await.expect_err("refused");
        assert!(matches!(refused, DoorError::ClientAuthority(_)), "{refused}");
    }
}
