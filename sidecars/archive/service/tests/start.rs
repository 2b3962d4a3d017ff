//! The service as a process: what its supervisor learns, and what `--check` refuses.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fep-archive"));
    command.env_remove("FEP_ARCHIVE_CONFIG").arg("--config").arg(config).stderr(Stdio::null());
    command
}

fn config(root: &Path, more: &str) -> std::path::PathBuf {
    let text = format!(
        "[archive]\nsegments = \"{0}/segments\"\nrings = \"{0}/bus\"\ndatabase = \"sqlite://{0}/catalogue.sqlite3\"\n\
         audit_key = \"{0}/audit.key\"\n[store]\nurl = \"file://{0}/store\"\n[retention]\nremoval_key = \"{0}/removals.key\"\n\
         [http]\nlisten = [\"unix:{0}/archive.sock\"]\nstop_grace_s = 1\n{more}",
        root.display()
    );
    let path = root.join("archive.toml");
    std::fs::write(&path, text).expect("written");
    path
}

// REQ: FEP-ARC-163
#[test]
fn the_supervisor_learns_when_requests_are_taken_and_that_they_are_still_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&name).expect("bound");
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let mut service = command(&config(directory.path(), ""))
        .env("NOTIFY_SOCKET", &name)
        .env("WATCHDOG_USEC", "200000")
        .spawn()
        .expect("it starts");
    let mut seen = Vec::new();
    let mut octets = [0; 256];
    while !(seen.contains(&"READY=1".to_owned())
        && seen.iter().filter(|one| *one == "WATCHDOG=1").count() > 3)
    {
        match supervisor.recv(&mut octets) {
            Ok(length) => seen.push(String::from_utf8_lossy(&octets[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("it says nothing more: {error}; {seen:?}; {:?}", service.try_wait()),
        }
        if seen.last().is_some_and(|last| last == "READY=1") {
            std::os::unix::net::UnixStream::connect(directory.path().join("archive.sock"))
                .expect("it listens");
        }
    }
    let pid = rustix::process::Pid::from_raw(service.id() as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    assert_eq!(service.wait().expect("it ended").code(), Some(0));
}

// REQ: FEP-KIT-186
#[test]
fn a_second_archive_on_the_same_catalogue_says_who_has_it_and_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let mut first = command(&config(root, "")).spawn().expect("it starts");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while std::os::unix::net::UnixStream::connect(root.join("archive.sock")).is_err() {
        assert_eq!(first.try_wait().expect("a child"), None, "it ended");
        assert!(std::time::Instant::now() < until, "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another door and other rings: only the catalogue is the same.
    let file = root.join("archive.toml");
    let text = std::fs::read_to_string(&file).expect("readable");
    let text = text.replace("archive.sock", "other.sock").replace("/bus\"", "/other\"");
    std::fs::write(&file, text).expect("written");
    let second = command(&file).stderr(Stdio::piped()).output().expect("it ends");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1), "{said}");
    assert!(said.contains(&format!("held by fep-archive, process {}", first.id())), "{said}");
    let pid = rustix::process::Pid::from_raw(first.id() as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    assert_eq!(first.wait().expect("it ended").code(), Some(0));
}

// REQ: FEP-ARC-163
#[test]
fn the_check_refuses_what_the_start_refuses_and_touches_nothing() {
    for more in [
        "[users.anna]\ntoken_sha256 = \"x\"\nroles = [\"read\"]\n",
        "[feeds.a]\nsources = 3\n",
        "[sql]\nthreads = 0\n",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let config = config(directory.path(), more);
        let refused = |arguments: &[&str]| {
            let output = command(&config).args(arguments).stderr(Stdio::piped()).output().expect("it starts");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let check = refused(&["--check"]);
        assert!(check.0 == Some(1) && check.1.contains("archive.toml:"), "{check:?}");
        assert_eq!(check, refused(&[]), "{more}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 1, "{more}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let output = command(&config(directory.path(), "")).arg("--check").output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the configuration is good\n");
    assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 1);
}
