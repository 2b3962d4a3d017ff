//! A check of the real process is the start's own code: both refuse the same, in the same words.

mod site;

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use site::Site;

// REQ: FEP-IDN-171
#[test]
fn a_check_refuses_files_that_a_start_refuses_at_their_key() {
    let site = Site::new();
    let good = std::fs::read_to_string(site.path("identity.toml")).expect("the configuration");
    let said = |arguments: &[&str], more: &str| {
        std::fs::write(site.path("identity.toml"), format!("{good}{more}")).expect("written");
        let mut child =
            site.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut text = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
        (child.wait().expect("it ends").success(), text)
    };
    let (secret, empty) = (site.path("secret"), site.path("empty"));
    std::fs::write(&secret, "a password\n").expect("written");
    std::fs::write(&empty, "").expect("written");
    let missing = site.path("missing");
    let ldap = |password: &Path, ca: &Path| {
        format!(
            "[identity.ldap]\nurl = \"ldaps://ldap.example\"\nca_file = {ca:?}\nbind_dn = \"cn=fep\"\n\
             bind_password_file = {password:?}\nuser_base = \"ou=people\"\ngroup_base = \"ou=groups\"\n\
             roles = {{ a = [\"observer\"] }}\nscopes = {{}}\n"
        )
    };
    let door = |certificate: &Path, key: &Path| {
        format!("[[http.doors]]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n")
    };
    // Doors are one list: those of the configuration come first.
    for (more, key, why) in [
        (ldap(&missing, &empty), "identity.ldap.bind_password_file", "missing: No such file"),
        (ldap(&empty, &empty), "identity.ldap.bind_password_file", "empty: holds no password"),
        (ldap(&secret, &missing), "identity.ldap.ca_file", "missing"),
        (ldap(&secret, &empty), "identity.ldap.ca_file", "empty: holds no certificate"),
        (door(&missing, &missing), "http.doors[1]", "missing: No such file"),
        (door(&empty, &missing), "http.doors[1]", "empty: holds no certificate"),
        ("[identity.ldap]\nurl = \"ldap://127.0.0.1\"\nuser_base = \"\"\ngroup_base = \"\"\nroles = { a = [\"boss\"] }\nscopes = {}\n".to_owned(), "identity.ldap.roles.a", "\"boss\" is not a role (allowed: "),
    ] {
        let (is_good, checked) = said(&["--check"], &more);
        assert!(!is_good && checked.contains(&format!("{key}: ")) && checked.contains(why), "{more}: {checked}");
        assert!(checked.matches("allowed").count() <= 1, "{checked}");
        let (is_good, started) = said(&[], &more);
        assert!(!is_good && started == checked, "{started}");
    }
    assert!(!site.path("state").exists(), "nothing was touched");
    // The state is a file; the database is none.
    for (from, to, key) in [
        (format!("state = {:?}", site.path("state")), format!("state = {empty:?}"), "service.state: "),
        ("sqlite://".to_owned(), "mysql://".to_owned(), "service.database: "),
    ] {
        std::fs::write(site.path("identity.toml"), good.replace(&from, &to)).expect("written");
        let output = site.command(&["--check"]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(key), "{text}");
    }
    assert!(said(&["--check"], "").0, "as it was");
}
