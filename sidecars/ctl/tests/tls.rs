//! TLS and the audit trail against real doors of `fep_route`.

#[path = "../../kit/route/tests/support/mod.rs"]
mod site;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use fep_database::Options;
use fep_identity::{Authenticator, Peers, Role};
use fep_route::{Base, ClientCertificate, DoorConfig, Limits, login};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use site::{PASSWORD, Running, Site};
use support::{refuses, stderr, stdout};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let authority = Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"));
        std::fs::write(dir.join(name), authority.0.pem()).expect("written");
        authority
    }

    fn signs(&self, dir: &Path, file: &str, name: &str, year: i32) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let files = (dir.join(format!("{file}.pem")), dir.join(format!("{file}.key")));
        std::fs::write(&files.0, certificate.pem()).expect("written");
        std::fs::write(&files.1, key.serialize_pem()).expect("written");
        std::fs::set_permissions(&files.1, std::fs::Permissions::from_mode(0o600)).expect("set");
        files
    }
}

/// A service with login and audit trail, and a person who may see it.
async fn site() -> Site {
    let site = Site::new(Limits { head_timeout_s: 60, ..Limits::default() }, Peers::default());
    site.account("anna", &[Role::SecurityOfficer, Role::Administrator]);
    let authenticator = Authenticator::new(&site.identity.public_file(), Peers::default()).expect("keys");
    let authenticator = Arc::new(authenticator.with_tokens(Arc::clone(site.identity.tokens())));
    let options: Options = serde_json::from_value(serde_json::json!({
        "url": format!("sqlite://{}", site.dir.path().join("audit.sqlite3").display()),
    }))
    .expect("options");
    let base = Base::open("example", "1", &options, &[], Arc::clone(&authenticator)).await.expect("a base");
    let service = base.service(Limits { head_timeout_s: 60, ..Limits::default() }).expect("a service");
    let routes = login::recorded_routes(&site.identity, &authenticator, Arc::new(base.trail.clone()));
    Site { service: service.with(routes), ..site }
}

async fn open(site: &Site, own: (PathBuf, PathBuf), client_ca: Option<PathBuf>) -> Running {
    let config = DoorConfig {
        certificate: Some(own.0),
        key: Some(own.1),
        client_ca,
        client_certificate: ClientCertificate::Required,
        hosts: vec!["localhost".to_owned()],
        ..DoorConfig::at("127.0.0.1:0")
    };
    site.open(config).await
}

/// Runs it beside the service.
async fn run(dir: &Path, arguments: Vec<String>) -> Output {
    let dir = dir.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut command = support::fepctl();
        command.args(arguments).env("XDG_RUNTIME_DIR", &dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // A command that reads nothing may have ended.
        let _ = writeln!(child.stdin.take().expect("an input"), "{PASSWORD}");
        child.wait_with_output().expect("it ends")
    });
    ended.await.expect("it ran")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

// REQ: FEP-CTL-155
#[tokio::test(flavor = "multi_thread")]
async fn a_login_over_tls_and_the_audit_trail_by_both_commands_is_one_and_the_same() {
    let site = site().await;
    let dir = site.dir.path();
    let authority = Authority::new(dir, "ca.pem");
    let running = open(&site, authority.signs(dir, "good", "localhost", 2200), None).await;
    let server = format!("https://localhost:{}", running.tcp().port());
    let ca = dir.join("ca.pem").display().to_string();
    let tls = ["--server", &server, "--ca", &ca];
    let login = run(dir, words(&[&["login", "--account", "anna"][..], &tls].concat())).await;
    assert!(stdout(&login).contains("anna is logged in"), "{}", stderr(&login));
    let whoami = run(dir, words(&[&["whoami"][..], &tls].concat())).await;
    assert!(stdout(&whoami).contains("security-officer"), "{}", stderr(&whoami));
    let archive = ["--archive", &server, "--ca", &ca];
    let one = run(dir, words(&[&["audit", "list"][..], &tls].concat())).await;
    let other = run(dir, words(&[&["archive", "audit", "list"][..], &archive].concat())).await;
    assert!(stdout(&one).contains("anna              login\n"), "{}{}", stdout(&one), stderr(&one));
    assert_eq!(stdout(&one), stdout(&other));
    let verified = run(dir, words(&[&["archive", "audit", "verify"][..], &archive].concat())).await;
    assert!(stdout(&verified).contains("entries holds"), "{}", stderr(&verified));
    let exported = run(dir, words(&[&["archive", "audit", "export"][..], &archive].concat())).await;
    assert!(stdout(&exported).lines().count() >= 2, "{}", stderr(&exported));
    let none = ["audit", "list", "--action", "no such", "--json"];
    let none = run(dir, words(&[&none[..], &tls].concat())).await;
    assert_eq!(stdout(&none), "[]\n", "{}", stderr(&none));
}

// REQ: FEP-CTL-155
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_certificates_is_reported_with_what_to_do() {
    let site = site().await;
    let dir = site.dir.path();
    let authority = Authority::new(dir, "ca.pem");
    let other = Authority::new(dir, "other.pem");
    let (ca, other_ca) = (dir.join("ca.pem"), dir.join("other.pem"));
    let good = open(&site, authority.signs(dir, "good", "localhost", 2200), None).await;
    let expired = open(&site, authority.signs(dir, "expired", "localhost", 2002), None).await;
    let named = open(&site, authority.signs(dir, "named", "fep.example", 2200), None).await;
    let mutual = open(&site, authority.signs(dir, "mutual", "localhost", 2200), Some(ca.clone())).await;
    let foreign = other.signs(dir, "foreign", "anna", 2200);
    let plain = site.on_loopback().await;
    let text = |path: &Path| path.display().to_string();
    let (with_ca, with_other) =
        (vec!["--ca".to_owned(), text(&ca)], vec!["--ca".to_owned(), text(&other_ca)]);
    let with_foreign =
        [with_ca.clone(), words(&["--cert", &text(&foreign.0), "--key", &text(&foreign.1)])].concat();
    for (running, options, said) in [
        (&good, vec![], ["cannot be verified: no authority is trusted", "--ca FILE"]),
        (&good, with_other, ["signed by an authority that is not trusted", "--ca FILE"]),
        (&expired, with_ca.clone(), ["has expired, at 2002-01-01T00:00:00Z", "a new certificate"]),
        (&named, with_ca.clone(), ["is for fep.example, not for localhost", "address with a name"]),
        (&mutual, with_ca.clone(), ["takes callers with a certificate only", "--cert FILE --key FILE"]),
        (&mutual, with_foreign, ["it refuses the certificate of this client", "client_ca"]),
        (&plain, with_ca.clone(), ["does not speak TLS", "http://"]),
    ] {
        let server = format!("https://localhost:{}", running.tcp().port());
        for command in [&["whoami", "--server"][..], &["archive", "status", "--archive"]] {
            let arguments = [words(command), vec![server.clone()], options.clone()].concat();
            let output = run(dir, arguments).await;
            refuses(&output, 1, &said);
            assert!(stderr(&output).contains("localhost:"), "{}", stderr(&output));
        }
    }
    let half =
        [words(&["whoami", "--server", "https://localhost:1"]), with_ca, words(&["--cert", "x"])].concat();
    refuses(&run(dir, half).await, 2, &["--key"]);
}
