//! A PostgreSQL server of the test's own: Debian's programs, a fresh directory, a Unix socket, no port.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Server {
    directory: tempfile::TempDir,
    process: Child,
}

impl Server {
    /// Starts a server.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (`apt-get install postgresql`; `make test` does it) or does not start.
    pub(crate) fn start() -> Server {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        // The server refuses to run as root: then it runs as the user that the package made.
        let as_root = rustix::process::geteuid().is_root();
        if as_root {
            let status = Command::new("chown")
                .args(["-R", "postgres"])
                .arg(directory.path())
                .status()
                .expect("chown is part of every system");
            assert!(status.success(), "the package postgresql makes a user \"postgres\"; it is missing");
        }
        let run = |program: &str| {
            let program = programs.join(program);
            if as_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
                command
            } else {
                Command::new(program)
            }
        };
        let made = run("initdb")
            .args(["--auth=trust", "--username=fep", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let process = run("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses="])
            .args(["-c", "fsync=off"])
            .args(["-c", "max_connections=200"])
            .arg("-k")
            .arg(directory.path())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .expect("postgres starts");
        let server = Server { directory, process };
        server.wait(&programs);
        server
    }

    fn wait(&self, programs: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(programs.join("pg_isready"))
                .arg("-h")
                .arg(self.directory.path())
                .stdout(Stdio::null())
                .status()
                .expect("pg_isready starts");
            if ready.success() {
                return;
            }
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL did not answer within a minute:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// URL of a new, empty database.
    pub(crate) fn database(&self, name: &str) -> String {
        let made = Command::new(programs().join("createdb"))
            .arg("-h")
            .arg(self.directory.path())
            .args(["-U", "fep", name])
            .output()
            .expect("createdb starts");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        let host = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://fep@{host}/{name}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is the server's fast shutdown: its children end with it.
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.process.wait();
    }
}

fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is not installed: apt-get install postgresql (make test does it)")
}
