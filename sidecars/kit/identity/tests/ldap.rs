//! Logins against a real OpenLDAP server (slapd), which `make tools` installs. It listens on the loopback address in a
//! directory of its own, and takes no bind without TLS.

#![cfg(feature = "ldap")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fep_identity::ldap::LdapConfig;
use fep_identity::{
    Colours, Identity, IdentityConfig, IdentityError, Issued, LoginRefused, NumericDate, PersonId, Profile,
    Role, RoleSet, RoleSets, Scope, Sessions, Spacecraft,
};

const PEOPLE: &str = r"
dn: dc=example
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=example
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reads only

dn: uid=anna,ou=people,dc=example
objectClass: inetOrgPerson
uid: anna
cn: Anna
sn: A
userPassword: annas password

dn: uid=bert,ou=people,dc=example
objectClass: inetOrgPerson
uid: bert
cn: Bert
sn: B
userPassword: berts password

dn: cn=O \28Neil\29 *,ou=people,dc=example
objectClass: inetOrgPerson
uid: o(neil)*
cn: O (Neil) *
sn: O
userPassword: neils password

dn: uid=twin,ou=people,dc=example
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: T
userPassword: twins password

dn: cn=Other Twin,ou=people,dc=example
objectClass: inetOrgPerson
uid: twin
cn: Other Twin
sn: T
userPassword: twins password

dn: cn=operators,ou=groups,dc=example
objectClass: groupOfNames
cn: operators
member: uid=anna,ou=people,dc=example
member: cn=O \28Neil\29 *,ou=people,dc=example

dn: cn=satellite-157,ou=groups,dc=example
objectClass: groupOfNames
cn: satellite-157
member: uid=anna,ou=people,dc=example
member: cn=O \28Neil\29 *,ou=people,dc=example

dn: cn=unheard-of,ou=groups,dc=example
objectClass: groupOfNames
cn: unheard-of
member: uid=anna,ou=people,dc=example
";

struct Slapd {
    dir: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `slapd` and its tools stand where only root's path looks.
fn program(name: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(name));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing: run `make tools`"))
}

impl Slapd {
    fn start() -> Slapd {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        for name in ["ca.pem", "other.pem"] {
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
            std::fs::write(path.join(name), made.cert.pem()).expect("written");
            std::fs::write(path.join(format!("{name}.key")), made.signing_key.serialize_pem())
                .expect("written");
        }
        std::fs::create_dir(path.join("db")).expect("made");
        std::fs::write(path.join("reader"), "reads only\n").expect("written");
        std::fs::write(path.join("people.ldif"), PEOPLE.trim_start()).expect("written");
        let at = path.display();
        let config = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             pidfile {at}/pid\n\
             TLSCertificateFile {at}/ca.pem\nTLSCertificateKeyFile {at}/ca.pem.key\n\
             security simple_bind=64\n\
             database mdb\nmaxsize 16777216\nsuffix \"dc=example\"\ndirectory {at}/db\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"cn=reader,dc=example\" read by * none\n"
        );
        std::fs::write(path.join("slapd.conf"), config).expect("written");
        let added = Command::new(program("slapadd"))
            .arg("-f")
            .arg(path.join("slapd.conf"))
            .arg("-l")
            .arg(path.join("people.ldif"))
            .output()
            .expect("slapadd starts");
        assert!(added.status.success(), "slapadd: {}", String::from_utf8_lossy(&added.stderr));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let child = Command::new(program("slapd"))
            .args(["-h", &format!("ldap://127.0.0.1:{port}"), "-d", "0", "-f"])
            .arg(path.join("slapd.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        let slapd = Slapd { dir, child, port };
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return slapd;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("slapd does not listen after a minute");
    }

    fn config(&self) -> LdapConfig {
        let scope =
            Scope { spacecraft: Spacecraft::these([157]), colours: Colours::ALL, sessions: Sessions::ALL };
        serde_json::from_value(serde_json::json!({
            "url": format!("ldap://127.0.0.1:{}", self.port),
            "start_tls": true,
            "ca_file": self.dir.path().join("ca.pem"),
            "bind_dn": "cn=reader,dc=example",
            "bind_password_file": self.dir.path().join("reader"),
            "user_base": "ou=people,dc=example",
            "group_base": "ou=groups,dc=example",
            "roles": {"operators": ["shift-leader"]},
            "scopes": {"satellite-157": [scope]},
        }))
        .expect("a configuration")
    }

    fn identity(&self, ldap: LdapConfig) -> Identity {
        let sets =
            BTreeMap::from([("shift-leader".to_owned(), RoleSet::of(&[Role::Observer, Role::Operator]))]);
        let config =
            IdentityConfig { ldap: Some(ldap), role_sets: RoleSets::new(sets), ..IdentityConfig::default() };
        Identity::open(&self.dir.path().join("identity"), config, NumericDate::now()).expect("an identity")
    }
}

async fn login(identity: &Identity, name: &str, password: &str) -> Result<Issued, LoginRefused> {
    identity.login_ldap(name, password, NumericDate::now()).await.expect("the directory answers")
}

// REQ: FEP-KIT-110
#[tokio::test]
async fn a_person_logs_in_over_start_tls_and_their_groups_give_roles_and_scopes() {
    let slapd = Slapd::start();
    let identity = slapd.identity(slapd.config());
    let anna = login(&identity, "anna", "annas password").await.expect("logged in");
    assert_eq!(anna.roles, RoleSet::of(&[Role::Observer, Role::Operator]));
    assert_eq!(anna.scopes.len(), 1);
    assert_eq!(anna.scopes[0].spacecraft, Spacecraft::these([157]));
    assert!(anna.person.id.0.starts_with("ldap:") && anna.person.account == "anna", "{:?}", anna.person);
    // Another spelling is the same person under the directory's name.
    let again = login(&identity, "ANNA", "annas password").await.expect("logged in");
    assert_eq!(again.person, anna.person);
    assert_eq!(login(&identity, "anna", "berts password").await, Err(LoginRefused::WrongPassword));
    assert_eq!(login(&identity, "carl", "annas password").await, Err(LoginRefused::Unknown));
    let bert = login(&identity, "bert", "berts password").await;
    assert!(matches!(bert, Err(LoginRefused::NoRole(_))), "no group, no role: {bert:?}");
    let twin = login(&identity, "twin", "twins password").await;
    assert_eq!(twin, Err(LoginRefused::Unknown), "two entries are nobody in particular");
}

// REQ: FEP-KIT-192
#[tokio::test]
async fn a_person_of_the_directory_does_not_come_by_the_name_of_a_local_account_in_other_letters() {
    let slapd = Slapd::start();
    let identity = slapd.identity(slapd.config());
    let profile = Profile {
        person: PersonId("local:anna".to_owned()),
        roles: vec!["observer".to_owned()],
        scopes: vec![Scope::ALL],
        expires: None,
        password_expires: None,
        disabled: true,
    };
    identity.add_account("anna", "correct horse battery", profile).expect("added");
    // The directory takes case and spaces for the same name; the local account was disabled for a reason.
    for name in ["ANNA", "Anna", " anna ", "anna"] {
        let refused = login(&identity, name, "annas password").await;
        assert!(matches!(refused, Err(LoginRefused::Name { .. })), "{name:?}: {refused:?}");
    }
    assert_eq!(login(&identity, "ANNA", "berts password").await, Err(LoginRefused::WrongPassword));
    login(&identity, "o(neil)*", "neils password").await.expect("others are not concerned");
}

// REQ: FEP-KIT-110
#[tokio::test]
async fn names_that_are_filters_find_nobody_but_the_person_who_is_called_so() {
    let slapd = Slapd::start();
    let identity = slapd.identity(slapd.config());
    for name in [
        "*",
        "ann*",
        "a*na",
        "anna)(objectClass=*",
        "*)(uid=anna",
        "anna))(|(uid=*",
        "*))(&(objectClass=*",
        "anna\0",
        "\\2a",
        "\\61nna",
        "anna)(cn=Anna))(&(uid=x",
        "",
    ] {
        let refused = login(&identity, name, "annas password").await;
        assert_eq!(refused, Err(LoginRefused::Unknown), "{name:?}");
    }
    let neil = login(&identity, "o(neil)*", "neils password").await.expect("his name is like that");
    assert_eq!(neil.person.account, "o(neil)*");
    assert!(neil.roles.has(Role::Operator), "his groups are found by his escaped name");
}

// REQ: FEP-KIT-110
#[tokio::test]
async fn an_empty_password_is_not_the_anonymous_bind_that_the_directory_would_take_it_for() {
    let slapd = Slapd::start();
    let identity = slapd.identity(slapd.config());
    assert_eq!(login(&identity, "anna", "").await, Err(LoginRefused::WrongPassword));
    assert_eq!(login(&identity, "anna", "\0").await, Err(LoginRefused::WrongPassword));
}

// REQ: FEP-KIT-110
#[tokio::test]
async fn a_server_that_is_not_the_configured_one_or_does_not_answer_gets_no_password() {
    let slapd = Slapd::start();
    let other = LdapConfig { ca_file: Some(slapd.dir.path().join("other.pem")), ..slapd.config() };
    let plain = LdapConfig { start_tls: false, ..slapd.config() };
    // Nobody ever answers here.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let silent_config =
        LdapConfig { url: format!("ldap://127.0.0.1:{port}"), timeout_s: 1, ..slapd.config() };
    for config in [other, plain, silent_config] {
        let identity = slapd.identity(config);
        let answer = identity.login_ldap("anna", "annas password", NumericDate::now()).await;
        assert!(matches!(answer, Err(IdentityError::Ldap(_))), "{answer:?}");
    }
}
