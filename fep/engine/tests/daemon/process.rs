//! The real `fepd` process with a run directory of its own, and a station for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// Long enough for the slowest machine; nothing is asserted about it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls `look` until it gives something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Fepd {
    pub(crate) run_dir: PathBuf,
    child: Option<Child>,
}

impl Fepd {
    /// One that somebody else has started and will end.
    pub(crate) fn of(run_dir: &Path) -> Fepd {
        Fepd { run_dir: run_dir.to_owned(), child: None }
    }

    /// Starts it with `config` and waits until it answers.
    pub(crate) fn start(run_dir: &Path, config: &Path) -> Fepd {
        Fepd::start_with(run_dir, config, Stdio::inherit())
    }

    /// The same, with its messages elsewhere.
    pub(crate) fn start_with(run_dir: &Path, config: &Path, messages: Stdio) -> Fepd {
        let child = command(run_dir, config).stderr(messages).spawn().expect("fepd starts");
        let mut fepd = Fepd { run_dir: run_dir.to_owned(), child: Some(child) };
        wait_for("the control socket", || {
            let ended = fepd.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            assert!(ended.is_none(), "fepd has ended");
            fepd.request("GET", "/status").ok().filter(|(status, _)| *status == 200)
        });
        fepd
    }

    /// Status code and body of an answer.
    pub(crate) fn request(&self, method: &str, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.run_dir.join("control.sock"))?;
        self.send(&mut stream, method, path, "")
    }

    /// The same, with a body in JSON.
    pub(crate) fn post(&self, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.run_dir.join("control.sock"))?;
        self.send(&mut stream, "POST", path, body)
    }

    fn send(
        &self,
        stream: &mut UnixStream,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: fepd\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.request("GET", path).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("one of our own").id()
    }

    /// Waits until it ends by itself, for its exit code.
    pub(crate) fn ends(mut self) -> Option<i32> {
        let mut child = self.child.take().expect("one of our own");
        let ended = wait_for("the end of fepd", || child.try_wait().expect("a child"));
        ended.code()
    }

    /// Stops it in its tracks (SIGSTOP): alive, but it does nothing any more.
    pub(crate) fn freeze(&self) {
        signal(self.pid(), "-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        signal(self.pid(), "-CONT");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), "-TERM");
        let status = child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("killed");
        child.wait().expect("a child");
    }
}

impl Drop for Fepd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill").success());
}

pub(crate) fn command(run_dir: &Path, config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fepd"));
    command.arg("--run-dir").arg(run_dir).arg("--config").arg(config).stdin(Stdio::null());
    command.env("FEP_TEST_SWITCHES", "1");
    command
}

/// A directory in memory where there is one.
pub(crate) fn run_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
}

/// A station that waits for the daemon.
pub(crate) struct Station {
    listener: TcpListener,
}

impl Station {
    pub(crate) fn new() -> Station {
        Station { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    pub(crate) fn accept(&self) -> TcpStream {
        self.listener.accept().expect("a connection").0
    }
}

/// Small rings, no real time, and the links given.
pub(crate) fn config(links: &[(&str, &str, u16)]) -> String {
    let mut text =
        "[daemon]\nrealtime_priority = 0\nlock_memory = false\nlog = \"warn\"\nrestart_min_ms = 10\n\
                    restart_max_ms = 50\n[rings]\nframes_data_mib = 8\n\
                    packets_data_mib = 8\nextent_mib = 2\nframes_desc_log2 = 13\npackets_desc_log2 = 13\n\
                    [link]\nreconnect_min_ms = 10\nreconnect_max_ms = 50\n"
            .to_owned();
    for (name, channel, port) in links {
        text += &format!(
            "[links.{name}]\nchannel = \"{channel}\"\n\
             transport = {{ kind = \"tcp_client\", address = \"127.0.0.1:{port}\" }}\n"
        );
    }
    text
}
