//! The whole set as `make run` starts it, under traffic, for an hour (or as many minutes as the first argument says): stations,
//! daemon, recorder, archive, login service, feeds with two clients, queries every few seconds, and one replay after another.
//! Prints memory, descriptors and threads of every process, and ends with exit code 1 when one of them grows or dies. The second
//! argument is the directory for what is recorded, 10 MB a second; it is removed at the end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fep_benches::flat::{Judged, Sample};
use fep_benches::processes::{Process, program, text};
use fep_control::config::DEFAULT_TOML;

/// Time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Rings that the two clients of the feeds follow.
const FED: [&str; 2] = ["cso-1.packets", "npp.packets"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let minutes = arguments.next().map_or(Ok(60.0), |argument| argument.parse::<f64>());
    let place = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let Ok(minutes @ 1.0..) = minutes else {
        eprintln!("usage: hour [MINUTES [DIRECTORY]]");
        return ExitCode::from(2);
    };
    match run(Duration::from_secs_f64(60.0 * minutes), &place) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything stayed as it was.
fn run(time: Duration, place: &Path) -> Result<bool, String> {
    let set = Set::start(place)?;
    let is_over = AtomicBool::new(false);
    let figures = Figures::default();
    let samples = std::thread::scope(|scope| {
        for port in set.fed {
            let (is_over, figures) = (&is_over, &figures);
            scope.spawn(move || take_feed(port, is_over, &figures.fed_octets));
        }
        scope.spawn(|| query(&set, &is_over, &figures));
        scope.spawn(|| replay(&set, &is_over, &figures));
        let samples = set.sample(time);
        is_over.store(true, Ordering::Relaxed);
        samples
    });
    println!("{figures}");
    let mut is_flat = true;
    println!(
        "{:<14} {:>30} {:>10} {:>13} {:>11}",
        "process", "memory MiB, middle → end third", "most", "descriptors", "threads"
    );
    for (name, samples) in &samples {
        let Some(judged) = Judged::of(samples) else {
            println!("{name:<14} has ended, or ran too short to be judged: {} samples", samples.len());
            is_flat = false;
            continue;
        };
        let mib = |kib: u64| kib as f64 / 1024.0;
        let Judged { before, after, memory_max_kib } = judged;
        println!(
            "{name:<14} {:>17.1} → {:>10.1} {:>10.1} {:>7} → {:<4} {:>5} → {:<4} {}",
            mib(before.memory_kib),
            mib(after.memory_kib),
            mib(memory_max_kib),
            before.descriptors,
            after.descriptors,
            before.threads,
            after.threads,
            if judged.is_flat() { "flat" } else { "GROWS" }
        );
        is_flat &= judged.is_flat();
    }
    for (what, count) in [
        ("queries", &figures.queries),
        ("replays", &figures.replays),
        ("octets by the feeds", &figures.fed_octets),
    ] {
        if count.load(Ordering::Relaxed) == 0 {
            println!("no {what}: nothing is shown by this run");
            is_flat = false;
        }
    }
    Ok(is_flat)
}

/// What was asked of the set meanwhile.
#[derive(Default)]
struct Figures {
    queries: AtomicU64,
    failed: AtomicU64,
    replays: AtomicU64,
    replayed_octets: AtomicU64,
    fed_octets: AtomicU64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} queries and {} replays done, {} failed; {} MB replayed, {} MB by the feeds",
            of(&self.queries),
            of(&self.replays),
            of(&self.failed),
            of(&self.replayed_octets) / 1_000_000,
            of(&self.fed_octets) / 1_000_000
        )
    }
}

/// `fepctl up` with everything it starts, and the login service. All of it ends when this is dropped.
struct Set {
    up: Child,
    _identity: Process,
    pids: BTreeMap<String, u32>,
    /// Takes the replays.
    receiver: TcpListener,
    /// Where the archive is reached.
    archive: String,
    fed: [u16; 2],
    shm: tempfile::TempDir,
    _kept: tempfile::TempDir,
}

impl Set {
    fn start(place: &Path) -> Result<Set, String> {
        let shm = tempfile::Builder::new().prefix("fep-hour").tempdir_in("/dev/shm").map_err(text)?;
        let kept = tempfile::Builder::new().prefix("fep-hour").tempdir_in(place).map_err(text)?;
        let run = shm.path().join("run");
        let config = shm.path().join("fep.toml");
        let own = DEFAULT_TOML.replace("run_dir = \"/dev/shm/fep\"", &format!("run_dir = {run:?}"));
        if own == DEFAULT_TOML {
            return Err("the built-in configuration has another run_dir than /dev/shm/fep".to_owned());
        }
        std::fs::write(&config, own).map_err(text)?;
        let receiver = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let receives = receiver.local_addr().map_err(text)?;
        let at = |name: &str| kept.path().join(name);
        let ports = [free_port()?, free_port()?];
        let mut tables = format!(
            "[archive]\nrings = {:?}\nsegments = {:?}\ndatabase = \"sqlite://{}\"\naudit_key = {:?}\n\
             [store]\nurl = \"file://{}\"\n[http]\nlisten = [\"unix:{}\"]\n[recorder]\nroot_key = {:?}\n\
             [retention]\nremoval_key = {:?}\n[identity]\nkeys = {:?}\n[replay]\nraw_targets = [\"{receives}\"]\n\
             [feeding]\ncursors = {:?}\nlisten = \"\"\n",
            run.join("bus"),
            at("segments"),
            at("catalogue.sqlite3").display(),
            at("audit.key"),
            at("store").display(),
            run.join("archive.sock").display(),
            at("root.key"),
            at("removals.key"),
            at("identity/ticket-keys.pub.json"),
            at("cursors")
        );
        for (ring, port) in FED.iter().zip(ports) {
            let name = ring.replace('.', "-");
            tables += &format!(
                "[feeds.{name}]\nsources = [\"{ring}\"]\nsession = \"TEST\"\nform = \"raw\"\nstart = \"live\"\n\
                 transport = {{ kind = \"tcp_server\", bind = \"127.0.0.1:{port}\" }}\n"
            );
        }
        let file = shm.path().join("archive.toml");
        std::fs::write(&file, tables).map_err(text)?;
        std::fs::create_dir(at("segments")).map_err(text)?;
        let logins = shm.path().join("identity.toml");
        let tables = format!(
            "[service]\nstate = {:?}\nrings = {:?}\n[service.database]\nurl = \"sqlite://{}\"\n[[http.doors]]\nlisten = \"unix:{}\"\n",
            at("identity"),
            run.join("bus"),
            at("logins.sqlite3").display(),
            shm.path().join("identity.sock").display()
        );
        std::fs::write(&logins, tables).map_err(text)?;

        let mut up = Command::new(program("fepctl")?);
        up.args(["up", "--no-monitor", "--config"]).arg(&config).arg("--archive-config").arg(&file);
        let mut up =
            up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(text)?;
        let mut pids = BTreeMap::from([("fepctl up".to_owned(), up.id())]);
        let said = up.stderr.take().ok_or("no standard error")?;
        let started = processes_of(said);
        // The last one to start.
        while !pids.contains_key("fep-feeds") {
            match started.recv_timeout(Duration::from_secs(60)) {
                Ok((name, pid)) => drop(pids.insert(name, pid)),
                Err(_) => {
                    let _ = up.kill();
                    return Err(format!("the set did not start: {:?} run", pids.keys()));
                }
            }
        }
        let identity = Process::start("fep-identity", &[], &logins)?;
        pids.insert("fep-identity".to_owned(), identity.id());
        let archive = format!("unix:{}", run.join("archive.sock").display());
        Ok(Set { up, _identity: identity, pids, receiver, archive, fed: ports, shm, _kept: kept })
    }

    /// Samples of every process for so long.
    fn sample(&self, time: Duration) -> BTreeMap<String, Vec<Sample>> {
        let mut samples: BTreeMap<String, Vec<Sample>> =
            self.pids.keys().map(|name| (name.clone(), Vec::new())).collect();
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::sleep(SAMPLE_EVERY);
            for (name, pid) in &self.pids {
                match Sample::of(*pid) {
                    Some(sample) => samples.entry(name.clone()).or_default().push(sample),
                    // It has ended: nothing is left to be judged.
                    None => drop(samples.insert(name.clone(), Vec::new())),
                }
            }
        }
        samples
    }

    /// Runs a command of the archive; whether it was done.
    fn ask(&self, arguments: &[&str]) -> bool {
        let Ok(fepctl) = program("fepctl") else { return false };
        let mut command = Command::new(fepctl);
        command.arg("archive").args(arguments).args(["--archive", &self.archive]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let pid = i32::try_from(self.up.id()).ok().and_then(rustix::process::Pid::from_raw);
        let asked = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::INT));
        if !matches!(asked, Some(Ok(()))) {
            let _ = self.up.kill();
        }
        let _ = self.up.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    Ok(listener.local_addr().map_err(text)?.port())
}

/// Names and numbers of the processes that `fepctl up` says it has started. What it says is read until its end.
fn processes_of(said: impl Read + Send + 'static) -> Receiver<(String, u32)> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let Some((before, after)) = line.split_once(" runs as pid ") else { continue };
            let pid =
                after.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|pid| pid.parse().ok());
            if let (Some(name), Some(pid)) = (before.split(' ').next(), pid) {
                let _ = sender.send((name.to_owned(), pid));
            }
        }
    });
    receiver
}

fn take_feed(port: u16, is_over: &AtomicBool, octets: &AtomicU64) {
    let mut taken = vec![0; 64 << 10];
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        while !is_over.load(Ordering::Relaxed) {
            match stream.read(&mut taken) {
                Ok(0) => break,
                Ok(count) => drop(octets.fetch_add(count as u64, Ordering::Relaxed)),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => break,
            }
        }
    }
}

fn query(set: &Set, is_over: &AtomicBool, figures: &Figures) {
    let file = set.shm.path().join("minute.pkt").display().to_string();
    let asked: [&[&str]; 4] = [
        &["query", "frames", "--last", "1m", "--session", "test", "--limit", "100"],
        &[
            "get",
            "packets",
            "--last",
            "20s",
            "--session",
            "test",
            "--scid",
            "157",
            "--format",
            "packets",
            "--force",
            "--out",
            &file,
        ],
        &["completeness", "--last", "5m", "--session", "test", "--scid", "157"],
        &["gaps", "list"],
    ];
    for arguments in asked.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let counted = if set.ask(arguments) { &figures.queries } else { &figures.failed };
        counted.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(3));
    }
}

/// One replay after another, each under a name of its own, to a receiver that takes what comes.
fn replay(set: &Set, is_over: &AtomicBool, figures: &Figures) {
    let listener = &set.receiver;
    let Ok(address) = listener.local_addr().map(|address| address.to_string()) else { return };
    let _ = listener.set_nonblocking(true);
    let mut taken = vec![0; 64 << 10];
    for number in 0.. {
        let name = format!("hour-{number}");
        let arguments = [
            "replay",
            "start",
            &name,
            "frames",
            "--last",
            "30s",
            "--session",
            "test",
            "--raw",
            "--to-tcp",
            &address,
        ];
        if !set.ask(&arguments) {
            figures.failed.fetch_add(1, Ordering::Relaxed);
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_secs(2));
            continue;
        }
        let until = Instant::now() + Duration::from_secs(60);
        let mut stream = None;
        while Instant::now() < until && !is_over.load(Ordering::Relaxed) {
            match (&mut stream, listener.accept()) {
                (None, Ok((accepted, _))) => {
                    let _ = accepted.set_read_timeout(Some(Duration::from_secs(1)));
                    let _ = accepted.set_nonblocking(false);
                    stream = Some(accepted);
                }
                (None, Err(_)) => std::thread::sleep(Duration::from_millis(200)),
                (Some(accepted), _) => match accepted.read(&mut taken) {
                    Ok(0) => {
                        figures.replays.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    Ok(count) => drop(figures.replayed_octets.fetch_add(count as u64, Ordering::Relaxed)),
                    Err(_) => {}
                },
            }
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}
