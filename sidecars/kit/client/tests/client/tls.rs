//! TLS against real doors of `fep_route`: whom the client believes, what it shows, and what it says when that fails.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fep_client::{Address, Bearer, Client, Config, Error, Tls, TlsFault, api};
use fep_identity::{PeerService, Peers, Role, RoleSet, Scope};
use fep_route::{ClientCertificate, DoorConfig, Limits};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::support::{Running, Site};

/// An authority of one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its certificate as a file.
    fn file(&self, dir: &Path, name: &str) -> PathBuf {
        let file = dir.join(format!("{name}.pem"));
        std::fs::write(&file, self.0.pem()).expect("written");
        file
    }

    /// A certificate for these names and its key as files.
    fn signs(
        &self,
        dir: &Path,
        file: &str,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let (certificate_file, key_file) = (dir.join(format!("{file}.pem")), dir.join(format!("{file}.key")));
        std::fs::write(&certificate_file, certificate.pem()).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("set");
        (certificate_file, key_file)
    }
}

fn site(peers: Peers) -> Site {
    Site::new(Limits { head_timeout_s: 60, ..Limits::default() }, peers)
}

/// Opens a TLS door, to which clients come as `localhost`.
async fn open(
    site: &Site,
    own: &(PathBuf, PathBuf),
    clients: Option<PathBuf>,
    want: ClientCertificate,
) -> Running {
    let config = DoorConfig {
        certificate: Some(own.0.clone()),
        key: Some(own.1.clone()),
        client_ca: clients,
        client_certificate: want,
        hosts: vec!["localhost".to_owned()],
        ..DoorConfig::at("127.0.0.1:0")
    };
    site.open(config).await
}

fn address(running: &Running) -> Address {
    format!("https://localhost:{}", running.tcp().port()).parse().expect("an address")
}

/// Who the service says one is.
async fn me(address: &Address, tls: &Tls, ticket: Option<&str>) -> Result<String, Error> {
    let bearer = ticket.map(|ticket| Bearer::new(ticket).expect("a ticket"));
    let client = Client::new(Config { tls: tls.clone(), bearer, ..Config::at(address.clone()) })?;
    client.call(&api::identity::me()).await.map(|me| me.account)
}

fn fault(answer: Result<String, Error>) -> TlsFault {
    match answer {
        Err(Error::Tls { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

// REQ: FEP-KIT-205
#[tokio::test]
async fn a_service_is_believed_by_its_authority_name_and_time_and_each_refusal_says_what_to_do() {
    let (authority, other) = (Authority::new("site"), Authority::new("elsewhere"));
    let site = site(Peers::default());
    let dir = site.dir.path();
    let trusted = Tls { authorities: Some(authority.file(dir, "ca")), own: None };
    let stranger = Tls { authorities: Some(other.file(dir, "other")), own: None };
    let good = authority.signs(dir, "good", &["localhost", "127.0.0.1"], |_| ());
    let running = open(&site, &good, None, ClientCertificate::Required).await;
    let ticket = site.ticket(Role::Observer, 0);
    assert_eq!(me(&address(&running), &trusted, Some(&ticket)).await.expect("trusted"), "test");
    let by_ip: Address = format!("https://{}", running.tcp()).parse().expect("an address");
    assert_eq!(me(&by_ip, &trusted, Some(&ticket)).await.expect("an address in the certificate"), "test");
    let refused = me(&address(&running), &trusted, None).await.expect_err("nobody");
    assert_eq!(refused.refusal().map(|refusal| refusal.status.as_u16()), Some(401), "{refused}");

    let unknown = me(&address(&running), &stranger, Some(&ticket)).await;
    let text = unknown.as_ref().expect_err("refused").to_string();
    assert!(
        text.starts_with("https://localhost:") && text.contains("authority that is not trusted"),
        "{text}"
    );
    let unknown = fault(unknown);
    assert!(unknown == TlsFault::UnknownAuthority && unknown.hint().contains("--ca FILE"), "{unknown}");

    let expired = authority.signs(dir, "expired", &["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let running = open(&site, &expired, None, ClientCertificate::Required).await;
    let over = fault(me(&address(&running), &trusted, Some(&ticket)).await);
    assert_eq!(over.to_string(), "its certificate has expired, at 2002-01-01T00:00:00Z");
    assert!(over.hint().contains("new certificate") && over.hint().contains("clock"), "{over}");

    let future = authority.signs(dir, "future", &["localhost"], |params| {
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
    });
    let running = open(&site, &future, None, ClientCertificate::Required).await;
    let early = fault(me(&address(&running), &trusted, Some(&ticket)).await);
    assert!(matches!(&early, TlsFault::NotValidYet(at) if at.contains("2200-01-01")), "{early}");
    assert!(early.hint().contains("date -u"), "{early}");

    let named = authority.signs(dir, "named", &["fep.example", "fep2.example"], |_| ());
    let running = open(&site, &named, None, ClientCertificate::Required).await;
    let name = fault(me(&address(&running), &trusted, Some(&ticket)).await);
    assert_eq!(name.to_string(), "its certificate is for fep.example, fep2.example, not for localhost");
    assert!(name.hint().contains("address with a name"), "{name}");
}

// REQ: FEP-KIT-205
#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_one_that_is_missing_or_refused_is_reported_as_that() {
    let (authority, other) = (Authority::new("site"), Authority::new("elsewhere"));
    let known = PeerService {
        uid: None,
        certificate: Some("dns:archive.example".parse().expect("a name of a certificate")),
        roles: RoleSet::of(&[Role::Observer]),
        scopes: vec![Scope::ALL],
    };
    let site = site(Peers::new(BTreeMap::from([("archive".to_owned(), known)])));
    let dir = site.dir.path();
    let ca = authority.file(dir, "ca");
    let server = authority.signs(dir, "server", &["localhost"], |_| ());
    let running = open(&site, &server, Some(ca.clone()), ClientCertificate::Required).await;
    let with = |own: Option<(PathBuf, PathBuf)>| Tls { authorities: Some(ca.clone()), own };
    let own = authority.signs(dir, "own", &["archive.example"], |_| ());
    assert_eq!(me(&address(&running), &with(Some(own.clone())), None).await.expect("known"), "archive");

    let wanted = fault(me(&address(&running), &with(None), None).await);
    assert!(wanted == TlsFault::CertificateWanted && wanted.hint().contains("--cert FILE"), "{wanted}");
    let foreign = other.signs(dir, "foreign", &["archive.example"], |_| ());
    let refused = fault(me(&address(&running), &with(Some(foreign)), None).await);
    assert!(matches!(refused, TlsFault::CertificateRefused(_)), "{refused}");
    assert!(refused.hint().contains("client_ca"), "{refused}");
    let expired = authority.signs(dir, "expired", &["archive.example"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let refused = fault(me(&address(&running), &with(Some(expired)), None).await);
    assert!(refused.to_string().contains("it has expired"), "{refused}");
}

// REQ: FEP-KIT-205
#[tokio::test]
async fn what_speaks_no_tls_and_files_that_cannot_be_used_are_named() {
    let authority = Authority::new("site");
    let site = site(Peers::default());
    let dir = site.dir.path();
    let ca = authority.file(dir, "ca");
    let plain = site.on_loopback().await;
    let trusting = Tls { authorities: Some(ca.clone()), own: None };
    let no_tls = fault(me(&address(&plain), &trusting, None).await);
    assert!(no_tls == TlsFault::NoTls && no_tls.hint().contains("http://"), "{no_tls}");

    let own = authority.signs(dir, "own", &["localhost"], |_| ());
    let running = open(&site, &own, None, ClientCertificate::Required).await;
    let mixed: Address = format!("http://{}", running.tcp()).parse().expect("an address");
    let broken = me(&mixed, &Tls::default(), None).await.expect_err("TLS");
    assert!(broken.hint().is_some_and(|hint| hint.contains("https://")), "{broken}");

    let readable = authority.signs(dir, "readable", &["localhost"], |_| ());
    std::fs::set_permissions(&readable.1, std::fs::Permissions::from_mode(0o644)).expect("set");
    let empty = dir.join("empty.pem");
    std::fs::write(&empty, "nothing").expect("written");
    for (tls, said) in [
        (Tls::default(), "no authority is trusted"),
        (Tls { authorities: Some(dir.join("none.pem")), own: None }, "none.pem: no such file"),
        (Tls { authorities: Some(empty.clone()), own: None }, "empty.pem: it holds no certificate"),
        (Tls { authorities: Some(ca.clone()), own: Some(readable) }, "mode 0644: everybody"),
        (Tls { authorities: Some(ca.clone()), own: Some((own.0.clone(), empty)) }, "empty.pem: "),
        (
            Tls {
                authorities: Some(ca.clone()),
                own: Some((own.0, authority.signs(dir, "x", &["x"], |_| ()).1)),
            },
            "x.key is not the key of",
        ),
    ] {
        let refused = me(&address(&running), &tls, None).await.expect_err("refused");
        assert!(matches!(refused, Error::Setup { .. }), "{refused}");
        assert!(refused.to_string().contains(said), "{said}: {refused}");
    }
}
