//! Logging in: the session file, and which ticket a service is sent. The service is a socket that answers as the identity
//! service does; the real one is tested in its own crate.

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::Receiver;

use support::Asked;

const FAR: i64 = 4_000_000_000;

/// Answers each request by its path.
fn serve(socket: &Path) -> Receiver<Asked> {
    support::serve(socket, |asked| {
        let ticket = |ticket: &str| {
            format!(
                r#"{{"ticket":"{ticket}","expires":{FAR},"account":"anna","person":"p","roles":[],"scopes":[]}}"#
            )
        };
        match asked.what.split(' ').nth(1) {
            Some("/v1/login") if asked.body.contains("wrong") => {
                (401, r#"{"detail":"it is wrong","hint":"ask"}"#.to_owned())
            }
            Some("/v1/login") => (200, ticket("of.the.login")),
            Some("/v1/logout") if asked.bearer.contains("forgotten") => {
                (401, r#"{"detail":"the ticket is not accepted"}"#.to_owned())
            }
            Some("/v1/logout") if asked.bearer.contains("busy") => (503, r#"{"detail":"not now"}"#.to_owned()),
            Some("/v1/ticket") => (200, ticket("of.the.token")),
            Some("/v1/me") => {
                (200, r#"{"account":"anna","person":"p","roles":["observer"],"scopes":[]}"#.to_owned())
            }
            Some("/v1/audit/verify") => (
                200,
                r#"{"holds":false,"entries":7,"last":7,"findings":["entry 3 was altered"],"findings_in_all":1}"#
                    .to_owned(),
            ),
            _ => (204, String::new()),
        }
    })
}

fn run(dir: &Path, arguments: &[&str], set: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fepctl"));
    command.args(arguments);
    for variable in ["FEP_TICKET", "FEP_TOKEN", "FEP_CA", "FEP_CERT", "FEP_KEY"] {
        command.env_remove(variable);
    }
    command.env("XDG_RUNTIME_DIR", dir).env("FEP_IDENTITY", format!("unix:{}", dir.join("s.sock").display()));
    command.envs(set.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().expect("an input").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

// REQ: FEP-CTL-170
#[test]
fn a_login_keeps_its_ticket_for_the_owner_alone_until_the_log_out_and_the_environment_comes_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("s.sock"));
    let refused = run(dir.path(), &["login", "--account", "anna"], &[], "wrong password\n");
    assert!(!refused.status.success() && said(&refused).contains("it is wrong\n  ask"), "{}", said(&refused));
    asked.recv().expect("a login");
    let session = dir.path().join("fep/session.json");
    assert!(!session.exists());

    let done = run(dir.path(), &["login", "--account", "anna"], &[], "the password\n");
    assert!(done.status.success() && said(&done).contains("anna is logged in"), "{}", said(&done));
    let body = asked.recv().expect("a login").body;
    assert_eq!(body, r#"{"account":"anna","password":"the password"}"#);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&session), mode(&dir.path().join("fep"))), (0o600, 0o700));

    for (set, bearers) in [
        (&[][..], &["Bearer of.the.login"][..]),
        (&[("FEP_TICKET", "a.b.c")], &["Bearer a.b.c"]),
        (&[("FEP_TOKEN", "fep_x")], &["Bearer fep_x", "Bearer of.the.token"]),
    ] {
        let done = run(dir.path(), &["whoami"], set, "");
        assert!(done.status.success() && said(&done).contains("observer"), "{}", said(&done));
        for bearer in bearers {
            assert_eq!(asked.recv().expect("a request").bearer, *bearer);
        }
    }
    let broken = run(dir.path(), &["audit", "verify"], &[], "");
    assert!(!broken.status.success() && said(&broken).contains("entry 3 was altered"), "{}", said(&broken));
    asked.recv().expect("a request");

    let done = run(dir.path(), &["logout"], &[], "");
    assert!(done.status.success(), "{}", said(&done));
    let Asked { what, bearer, .. } = asked.recv().expect("a log-out");
    assert_eq!((what.as_str(), bearer.as_str()), ("POST /v1/logout", "Bearer of.the.login"));
    assert!(!session.exists());
}

// REQ: FEP-CTL-170
#[test]
fn a_session_that_has_ended_is_reported_with_what_to_do_and_its_ticket_is_not_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("fep")).expect("made");
    let session = dir.path().join("fep/session.json");
    std::fs::write(&session, r#"{"server":"","account":"anna","ticket":"a.b.c","expires":1}"#)
        .expect("written");
    std::fs::set_permissions(&session, std::fs::Permissions::from_mode(0o600)).expect("set");
    let refused = run(dir.path(), &["whoami"], &[], "");
    let text = said(&refused);
    assert!(
        text.contains("the session of anna has ended") && text.contains("fepctl login --account anna"),
        "{text}"
    );
    // Without a service the log-out of a session that has ended still forgets it.
    assert!(run(dir.path(), &["logout"], &[], "").status.success());
    assert!(!session.exists());
}

/// A session as a login leaves it.
fn logged_in(dir: &Path, ticket: &str) -> std::path::PathBuf {
    let session = dir.join("fep/session.json");
    std::fs::create_dir_all(dir.join("fep")).expect("made");
    let server = format!("unix:{}", dir.join("s.sock").display());
    let text = format!(r#"{{"server":"{server}","account":"anna","ticket":"{ticket}","expires":{FAR}}}"#);
    std::fs::write(&session, text).expect("written");
    std::fs::set_permissions(&session, std::fs::Permissions::from_mode(0o600)).expect("set");
    session
}

// REQ: FEP-CTL-150
#[test]
fn a_log_out_removes_the_session_in_any_case_and_the_exit_code_says_whether_the_ticket_has_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    // Nobody serves.
    let session = logged_in(dir.path(), "a.b.c");
    let away = run(dir.path(), &["logout"], &[], "");
    let text = said(&away);
    assert!(away.status.code() == Some(3) && !session.exists(), "{:?} {text}", away.status);
    assert!(text.contains("anna is logged out here") && text.contains("stays valid for"), "{text}");
    let again = run(dir.path(), &["logout"], &[], "");
    assert!(again.status.success() && said(&again).contains("nobody is logged in"), "{}", said(&again));

    let asked = serve(&dir.path().join("s.sock"));
    let session = logged_in(dir.path(), "forgotten");
    let gone = run(dir.path(), &["logout"], &[], "");
    let text = said(&gone);
    assert!(gone.status.success() && !session.exists(), "{text}");
    assert!(text.contains("did not know the ticket any more"), "{text}");
    assert_eq!(asked.recv().expect("a log-out").bearer, "Bearer forgotten");

    let session = logged_in(dir.path(), "busy");
    let busy = run(dir.path(), &["logout"], &[], "");
    let text = said(&busy);
    assert!(busy.status.code() == Some(1) && !session.exists(), "{:?} {text}", busy.status);
    assert!(text.contains("not now") && text.contains("stays valid"), "{text}");
}

// REQ: FEP-CTL-150
#[test]
fn a_log_out_removes_a_session_file_that_is_damaged_or_that_others_can_read_as_its_message_promises() {
    let dir = tempfile::tempdir().expect("a directory");
    for (mode, text, words) in [(0o644, None, "mode 0644"), (0o600, Some("{}"), "holds no session")] {
        let session = logged_in(dir.path(), "a.b.c");
        if let Some(text) = text {
            std::fs::write(&session, text).expect("written");
        }
        std::fs::set_permissions(&session, std::fs::Permissions::from_mode(mode)).expect("set");
        let refused = run(dir.path(), &["whoami"], &[], "");
        assert!(said(&refused).contains("fepctl logout removes it"), "{}", said(&refused));
        let done = run(dir.path(), &["logout"], &[], "");
        let text = said(&done);
        assert!(done.status.code() == Some(1) && !session.exists(), "{text}");
        assert!(text.contains(words) && text.contains("it is removed"), "{text}");
    }
}

// REQ: FEP-CTL-151
#[test]
fn accounts_are_disabled_enabled_and_unlocked_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = serve(&dir.path().join("s.sock"));
    for act in ["disable", "enable", "unlock"] {
        let done = run(dir.path(), &["account", act, "bert"], &[("FEP_TICKET", "a.b.c")], "");
        assert!(done.status.success() && said(&done).contains(&format!("bert is {act}")), "{}", said(&done));
        assert_eq!(asked.recv().expect("a request").what, format!("POST /v1/accounts/bert/{act}"));
    }
}

// REQ: FEP-CTL-174
#[test]
fn services_are_looked_for_in_the_run_directory_of_the_configuration_and_a_socket_of_others_is_none_of_them()
{
    let dir = tempfile::tempdir().expect("a directory");
    let run_dir = dir.path().join("run");
    std::fs::create_dir(&run_dir).expect("made");
    let config = dir.path().join("fep.toml");
    std::fs::write(&config, format!("[daemon]\nrun_dir = {run_dir:?}\n")).expect("written");
    let config = config.to_str().expect("text");
    let ask = |arguments: &[&str], set: &[(&str, &str)], input: &str| {
        let mut command = support::fepctl();
        command.args(arguments).env("XDG_RUNTIME_DIR", dir.path()).envs(set.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let _ = child.stdin.take().expect("an input").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    };
    let named = [("FEP_CONFIG", config)];
    // Where nobody serves, the message names the place.
    let text = said(&ask(&["archive", "status"], &named, ""));
    assert!(text.contains(&format!("{}/archive.sock", run_dir.display())), "{text}");
    let text = said(&ask(&["whoami"], &named, ""));
    assert!(text.contains("/run/fep/identity/identity.sock"), "{text}");

    let archive = support::serve(&run_dir.join("archive.sock"), |_| (404, "{}".to_owned()));
    let identity = serve(&run_dir.join("identity.sock"));
    ask(&["archive", "status"], &named, "");
    ask(&["archive", "status", "--config", config], &[], "");
    for _ in 0..2 {
        assert_eq!(archive.recv().expect("a request").what, "GET /v1/status");
    }
    let done = ask(&["login", "--account", "anna"], &named, "the password\n");
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(identity.recv().expect("a login").what, "POST /v1/login");
    let done = ask(&["whoami", "--config", config], &[], "");
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(identity.recv().expect("a request").bearer, "Bearer of.the.login");
    // A token is exchanged there, too.
    ask(&["archive", "status"], &[named[0], ("FEP_TOKEN", "fep_x")], "");
    assert_eq!(identity.recv().expect("a token").bearer, "Bearer fep_x");
    assert_eq!(archive.recv().expect("a request").bearer, "Bearer of.the.token");
    // What is said comes first.
    let elsewhere = format!("unix:{}/none.sock", dir.path().display());
    let text = said(&ask(&["archive", "status", "--archive", &elsewhere], &named, ""));
    assert!(text.contains("none.sock"), "{text}");

    // Where others can put sockets, no password is sent to one.
    std::fs::set_permissions(&run_dir, std::fs::Permissions::from_mode(0o777)).expect("set");
    let text = said(&ask(&["login", "--account", "anna"], &named, "the password\n"));
    assert!(text.contains("/run/fep/identity/identity.sock"), "{text}");
    assert!(identity.try_recv().is_err(), "nothing was sent");
}
