//! A service as a process: command line, check, readiness, stop, exit codes.
//!
//! Not under the usual harness, because this very program is also the service: `SERVICE=1 start --config FILE`.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use fep_kit::Document;
use fep_process::{Process, Service};
use serde_like::Settings;

/// What the service is configured with, read without a derive.
mod serde_like {
    use fep_kit::Document;

    pub(crate) struct Settings {
        pub(crate) fails: bool,
    }

    impl Settings {
        pub(crate) fn read(document: &Document) -> Result<Settings, String> {
            let section: std::collections::BTreeMap<String, bool> =
                document.section("test").map_err(|errors| errors.to_string())?;
            if let Some(key) = section.keys().find(|key| *key != "fails") {
                return Err(format!("test.{key}: there is no such key"));
            }
            Ok(Settings { fails: section.get("fails").copied().unwrap_or(false) })
        }
    }
}

struct TestService {
    settings: Settings,
    greeting: Option<String>,
}

#[derive(clap::Args)]
struct Own {
    /// What to say
    #[arg(long)]
    greeting: Option<String>,
}

impl Service for TestService {
    const NAME: &'static str = "fep-test";
    const VERSION: &'static str = "1.2.3";
    const ABOUT: &'static str = "Does nothing";
    const DEFAULTS: &'static str = "[test]\nfails = false\n";
    type Arguments = Own;

    fn prepare(document: &Document, own: Own) -> Result<TestService, String> {
        Ok(TestService { settings: Settings::read(document)?, greeting: own.greeting })
    }

    fn run(self, process: &Process) -> Result<(), String> {
        if self.settings.fails {
            return Err("it cannot run".to_owned());
        }
        process.notify.ready();
        process
            .notify
            .status(&format!("greets with {}\nalways", self.greeting.as_deref().unwrap_or("nothing")));
        if process.notify.watchdog_interval() == Some(Duration::from_secs(1)) {
            process.notify.alive();
        }
        while !process.stop.is_stopping() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    if std::env::var_os("SERVICE").is_some() {
        return fep_process::main::<TestService>();
    }
    the_command_line_is_checked_and_a_bad_configuration_is_refused_by_check_and_start_alike();
    a_service_says_when_it_is_ready_and_stops_in_order_on_a_signal();
    println!("both hold");
    ExitCode::SUCCESS
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env_clear().env("SERVICE", "1").args(arguments);
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().expect("it starts");
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    (status.code(), text(stdout), text(stderr))
}

// REQ: FEP-KIT-260
fn the_command_line_is_checked_and_a_bad_configuration_is_refused_by_check_and_start_alike() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (code, out, _) = output(&["--version"]);
    assert_eq!((code, out.trim()), (Some(0), "fep-test 1.2.3"));
    let (code, out, _) = output(&["--help"]);
    assert!(code == Some(0) && out.contains("--greeting") && out.contains("Exit codes"), "{out}");
    for wrong in [&["--nothing"][..], &["--config"], &["word"]] {
        assert_eq!(output(wrong).0, Some(2), "{wrong:?}");
    }
    let (code, out, _) = output(&["--check"]);
    assert_eq!((code, out.trim()), (Some(0), "the configuration is good"));
    for text in ["[test]\nfails = 3\n", "[test]\nother = true\n", "[test\n"] {
        let path = file("bad.toml", text);
        let check = output(&["--check", "--config", &path]);
        let start = output(&["--config", &path]);
        assert_eq!(check.0, Some(1), "{text}: {}", check.2);
        assert!(check.2.starts_with("fep-test: the configuration is refused:\n"), "{}", check.2);
        assert_eq!(check, start, "{text}");
    }
    let missing = output(&["--check", "--config", "/nowhere/x.toml"]);
    assert_eq!(missing.0, Some(1), "{}", missing.2);
    let (code, _, err) = output(&["--config", &file("fails.toml", "[test]\nfails = true\n")]);
    assert!(code == Some(1) && err.contains("fep-test: it cannot run"), "{err}");
}

// REQ: FEP-KIT-261
fn a_service_says_when_it_is_ready_and_stops_in_order_on_a_signal() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    for (signal, name) in [
        (rustix::process::Signal::TERM, path.clone().into_os_string()),
        (rustix::process::Signal::INT, path.clone().into_os_string()),
        (rustix::process::Signal::TERM, format!("@fep-process-test-{}", std::process::id()).into()),
    ] {
        let socket = bind(&name);
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let mut service = command(&["--greeting", "salve"])
            .env("NOTIFY_SOCKET", &name)
            .env("WATCHDOG_USEC", "2000000")
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        assert_eq!(next(&socket, &mut service), "READY=1");
        assert_eq!(next(&socket, &mut service), "STATUS=greets with salve always");
        assert_eq!(next(&socket, &mut service), "WATCHDOG=1");
        let pid = rustix::process::Pid::from_raw(service.id() as i32).expect("a process");
        rustix::process::kill_process(pid, signal).expect("it is ours");
        assert_eq!(next(&socket, &mut service), "STOPPING=1");
        assert_eq!(service.wait().expect("it ended").code(), Some(0));
        let _ = std::fs::remove_file(&path);
    }
    // Nobody listens, or nothing that could be a socket: it runs all the same.
    for name in [path.as_os_str(), Path::new("relative").as_os_str(), Path::new("").as_os_str()] {
        let mut service =
            command(&[]).env("NOTIFY_SOCKET", name).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(300));
        assert!(service.try_wait().expect("it is ours").is_none(), "{name:?}: it ended");
        service.kill().expect("it is ours");
        service.wait().expect("it ended");
    }
}

fn bind(name: &std::ffi::OsStr) -> UnixDatagram {
    use std::os::linux::net::SocketAddrExt;
    match name.to_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
            UnixDatagram::bind_addr(&address).expect("bound")
        }
        None => UnixDatagram::bind(name).expect("bound"),
    }
}

fn next(socket: &UnixDatagram, service: &mut Child) -> String {
    let mut octets = [0; 1024];
    match socket.recv(&mut octets) {
        Ok(length) => String::from_utf8_lossy(&octets[..length]).into_owned(),
        Err(error) => panic!("the service says nothing: {error}; {:?}", service.try_wait()),
    }
}
