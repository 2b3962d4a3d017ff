//! Processes that benchmarks measure: `fepd` with one link, a recorder of what it publishes, and the archive service. Each
//! is killed when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{MetricReader, MetricValue};
use fep_control::api::Status;
use fepd::realtime;

/// The ring of frames of a [`Daemon`]'s link.
pub const RING: &str = "bench.frames";
/// How long anything of a process is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An error in words, as benchmarks tell it.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A daemon.
pub struct Daemon {
    dir: tempfile::TempDir,
    _process: Process,
}

impl Daemon {
    /// Starts it with one link, whose thread has the last core of this machine: it connects to `station` and waits as `wait`
    /// says ("busy", "adaptive"), `rings` are keys of `[rings]`.
    ///
    /// # Errors
    /// It does not start or does not answer.
    pub fn start(station: &TcpListener, wait: &str, rings: &str) -> Result<Daemon, String> {
        let core = realtime::allowed_cores().last().copied().unwrap_or(0);
        Daemon::start_with(&format!(
            "[rings]\n{rings}\n\
             [links.bench]\nchannel = \"cso/cso-2-payload\"\ncore = {core}\nwait = \"{wait}\"\nsession = \"TEST\"\n\
             transport = {{ kind = \"tcp_client\", address = \"{}\" }}\n",
            station.local_addr().map_err(text)?
        ))
    }

    /// Starts it with these tables of its configuration, without section `[daemon]`.
    ///
    /// # Errors
    /// It does not start or does not answer.
    pub fn start_with(tables: &str) -> Result<Daemon, String> {
        let dir = tempfile::Builder::new().prefix("fep-bench").tempdir_in("/dev/shm").map_err(text)?;
        let file = dir.path().join("fepd.toml");
        std::fs::write(&file, format!("[daemon]\nlog = \"error\"\n{tables}")).map_err(text)?;
        let process = Process::start("fepd", &[Path::new("--run-dir"), dir.path()], &file)?;
        let daemon = Daemon { dir, _process: process };
        wait_for("the control socket", || daemon.get::<Status>("/status").ok())?;
        Ok(daemon)
    }

    /// Directory of its rings.
    pub fn rings(&self) -> PathBuf {
        self.dir.path().join("bus")
    }

    /// What its control socket answers.
    ///
    /// # Errors
    /// It does not answer, or something else than is asked for.
    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let body = ask(&self.dir.path().join("control.sock"), &format!("GET {path}"), "")?;
        serde_json::from_reader(body).map_err(text)
    }
}

/// A recorder of the frames of a [`Daemon`], with its defaults otherwise.
pub struct Recorder {
    rings: PathBuf,
    _process: Process,
}

impl Recorder {
    /// Starts it on the rings of `daemon`; segments go below `disk`. Returns when it records.
    ///
    /// # Errors
    /// It does not start or finds no ring.
    pub fn start(daemon: &Daemon, disk: &Path) -> Result<Recorder, String> {
        let rings = daemon.rings();
        let config = format!(
            "[archive]\nrings = {rings:?}\nsegments = {:?}\nlog = \"error\"\n[recorder]\nrecord = [{RING:?}]\nroot_key = {:?}\n",
            disk.join("segments"),
            disk.join("root.key")
        );
        let file = disk.join("archive.toml");
        std::fs::write(&file, config).map_err(text)?;
        let process = Process::start("fep-recorder", &[], &file)?;
        let recorder = Recorder { rings, _process: process };
        wait_for("the recorder", || recorder.figure("rings").filter(|rings| *rings == 1))?;
        Ok(recorder)
    }

    /// A figure of its metric page.
    pub fn figure(&self, name: &str) -> Option<u64> {
        match MetricReader::open(&self.rings.join("metrics/recorder")).ok()?.value(name)? {
            MetricValue::Counter(value) | MetricValue::Gauge(value) => Some(value),
            _ => None,
        }
    }
}

/// The archive service over what is below a directory, with nothing recorded anew.
pub struct Archive {
    socket: PathBuf,
    _process: Process,
}

impl Archive {
    /// Its segments below `root`.
    pub fn segments(root: &Path) -> PathBuf {
        root.join("segments")
    }

    /// Its store below `root`.
    pub fn store(root: &Path) -> PathBuf {
        root.join("store")
    }

    /// The URL of its catalogue below `root`.
    pub fn database(root: &Path) -> String {
        format!("sqlite://{}", root.join("catalogue.sqlite3").display())
    }

    /// Starts it, with `sections` more of configuration. Returns when it answers.
    ///
    /// # Errors
    /// It does not start or does not answer.
    pub fn start(root: &Path, sections: &str) -> Result<Archive, String> {
        let socket = root.join("archive.sock");
        let config = format!(
            "[archive]\nrings = {:?}\nsegments = {:?}\ndatabase = {:?}\naudit_key = \"\"\nlog = \"error\"\n[store]\nurl = \"file://{}\"\n\
             [http]\nlisten = [\"unix:{}\"]\n{sections}",
            root.join("rings"),
            Archive::segments(root),
            Archive::database(root),
            Archive::store(root).display(),
            socket.display(),
        );
        let file = root.join("archive.toml");
        std::fs::write(&file, config).map_err(text)?;
        let archive = Archive { socket, _process: Process::start("fep-archive", &[], &file)? };
        wait_for("the archive", || archive.get("/v1/status").ok())?;
        Ok(archive)
    }

    /// The body of the answer to a GET, as it comes.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn get(&self, path: &str) -> Result<impl Read + use<>, String> {
        ask(&self.socket, &format!("GET {path}"), "")
    }

    /// The body of the answer to a POST of JSON, as it comes.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn post(&self, path: &str, json: &str) -> Result<impl Read + use<>, String> {
        ask(&self.socket, &format!("POST {path}"), json)
    }
}

/// Asks over a Unix socket, one question a connection, by HTTP 1.0: the body of the answer is what comes until the end.
fn ask(socket: &Path, question: &str, json: &str) -> Result<BufReader<UnixStream>, String> {
    let mut stream = UnixStream::connect(socket).map_err(text)?;
    let len = json.len();
    write!(
        stream,
        "{question} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{json}"
    )
    .map_err(text)?;
    let mut answer = BufReader::with_capacity(256 << 10, stream);
    let mut status = String::new();
    answer.read_line(&mut status).map_err(text)?;
    let mut line = String::new();
    while answer.read_line(&mut line).map_err(text)? > 2 {
        line.clear();
    }
    if status.split(' ').nth(1) == Some("200") {
        return Ok(answer);
    }
    let mut refusal = String::new();
    answer.read_to_string(&mut refusal).map_err(text)?;
    Err(format!("{question}: {} {refusal}", status.trim()))
}

/// Looks until there is something, [`PATIENCE`] at most.
///
/// # Errors
/// There was nothing in that time.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {} s for {what}", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that dies with its owner.
pub struct Process(Child);

impl Process {
    /// Starts a program of the workspace with a configuration file, and these arguments more.
    ///
    /// # Errors
    /// It is not there, or does not start.
    pub fn start(name: &str, arguments: &[&Path], config: &Path) -> Result<Process, String> {
        let mut command = Command::new(program(name)?);
        command.arg("--config").arg(config).args(arguments).stdin(Stdio::null());
        command.spawn().map(Process).map_err(text)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of the workspace beside this one; built now if it is not there (`make bench` builds it first).
///
/// # Errors
/// It cannot be built.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(text)?;
    let path = own.with_file_name(name);
    if !path.exists() {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--workspace", "--bin", name]);
        if own.parent().is_some_and(|dir| dir.ends_with("release")) {
            cargo.arg("--release");
        }
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).stdin(Stdio::null());
        // Whether it could be built shows in what is there afterwards.
        let _ = cargo.status();
    }
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not there: cargo build --release --workspace --bin {name}", path.display()))
    }
}
