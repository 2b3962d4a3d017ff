//! The processes that `fepctl up` starts beside the daemon: recorder, archive service, feeds, identity service.
//!
//! Each is started only where its program stands beside this one. They depend on nothing but rings and files: one that dies
//! is reported and changes nothing for the others.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_control::config::Config;

use crate::cli::UpArgs;
use crate::failure::Failure;
use crate::output_file;
use crate::places::{archive_socket, identity_socket};
use crate::programs::beside;
use crate::terminal::say;

/// An orderly stop that takes longer is ended by force.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// Of the archive, in the order of starting; stopped in this order too, so that what is last in the rings is recorded and then indexed.
const PROGRAMS: [&str; 3] = ["fep-recorder", "fep-archive", "fep-feeds"];
const IDENTITY: &str = "fep-identity";

/// The sidecars that run.
pub(crate) struct Sidecars {
    running: Vec<(&'static str, Child)>,
    /// One sentence for each that does not exist and would have been started.
    pub(crate) missing: Vec<String>,
}

impl Sidecars {
    /// Starts those that exist. `echo` passes their log lines on.
    pub(crate) fn start(config: &Config, args: &UpArgs, echo: bool) -> Result<Sidecars, Failure> {
        let mut sidecars = Sidecars { running: Vec::new(), missing: Vec::new() };
        if args.no_archive {
            return Ok(sidecars);
        }
        let file = match &args.archive_config {
            Some(file) => file.clone(),
            None => own_config(config, args.archive_dir.as_deref())?,
        };
        let feeds = std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.parse::<toml::Table>().ok())
            .is_some_and(|table| table.contains_key("feeds"));
        for name in PROGRAMS {
            let program = beside(name)?;
            if name == "fep-feeds" && !feeds {
                continue;
            }
            if !program.is_file() {
                let missing = format!("{name} does not exist beside fepctl: {}", without(name));
                say!("fepctl: {missing}");
                sidecars.missing.push(missing);
                continue;
            }
            sidecars.run(name, &program, &file, echo)?;
        }
        if !sidecars.running.is_empty() {
            say!("the archive is configured by {}", file.display());
        }
        if args.archive_config.is_none() {
            sidecars.start_identity(config, args.archive_dir.as_deref(), echo)?;
        }
        Ok(sidecars)
    }

    /// Starts the identity service of this workstation. Nothing here waits for a login: whoever wants to try tickets, tokens
    /// and roles reads how the first administrator is made.
    fn start_identity(
        &mut self,
        config: &Config,
        directory: Option<&Path>,
        echo: bool,
    ) -> Result<(), Failure> {
        let program = beside(IDENTITY)?;
        // It is not missed: everything else works without it.
        if !program.is_file() {
            return Ok(());
        }
        let place = identity_config(config, directory)?;
        self.run(IDENTITY, &program, &place.file, echo)?;
        if !place.accounts.exists() {
            say!(
                "logins are served at {0}; nobody can log in yet. To try them: {1} --config {2} add-administrator NAME, then \
                 fepctl login --server {0} --account NAME",
                place.door,
                program.display(),
                place.file.display()
            );
        }
        Ok(())
    }

    fn run(&mut self, name: &'static str, program: &Path, file: &Path, echo: bool) -> Result<(), Failure> {
        let mut command = Command::new(program);
        command.arg("--config").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| Failure::file("start", program, &error))?;
        if let Some(lines) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(lines).lines().map_while(Result::ok) {
                    if echo {
                        say!("{name}: {line}");
                    }
                }
            });
        }
        say!("{name} runs as pid {}", child.id());
        self.running.push((name, child));
        Ok(())
    }

    /// Says which died since the last look.
    pub(crate) fn report_deaths(&mut self) {
        self.running.retain_mut(|(name, child)| match child.try_wait() {
            Ok(Some(status)) => {
                say!("fepctl: {name} has died ({status}); everything else runs on. `fepctl up --no-monitor` shows its log");
                false
            }
            _ => true,
        });
    }

    /// Stops all in order, by force what does not hear.
    pub(crate) fn stop(self) {
        for (name, mut child) in self.running {
            let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let until = Instant::now() + if asked.is_ok() { STOPPED_WITHIN } else { Duration::ZERO };
            while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if matches!(child.try_wait(), Ok(None)) {
                say!("fepctl: {name} did not stop when asked and is killed");
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// What a missing program costs.
fn without(name: &str) -> &'static str {
    match name {
        "fep-recorder" => "nothing is recorded",
        "fep-archive" => "what is recorded cannot be queried or replayed",
        _ => "the configured feeds send nothing",
    }
}

/// Where the identity service of a workstation is.
struct IdentityPlace {
    file: PathBuf,
    door: String,
    /// Exists once an account was made.
    accounts: PathBuf,
}

/// A configuration of the identity service for one workstation. What it keeps outlives the run, beside the archive; its door is
/// for the user who started it.
fn identity_config(config: &Config, directory: Option<&Path>) -> Result<IdentityPlace, Failure> {
    let directory = identity_state(directory);
    let run = &config.daemon.run_dir;
    let door = format!("unix:{}", identity_socket(config).display());
    let text = format!(
        "# Made by `fepctl up`; config/identity.toml explains every key.\n\
         [service]\nstate = {}\nrings = {}\n\n[service.database]\nurl = {}\n\n[[http.doors]]\nlisten = {}\nunix_mode = 0o600\n",
        quoted("", &directory),
        quoted("", &config.bus_dir()),
        quoted("sqlite://", &directory.join("audit.sqlite3")),
        quoted("", Path::new(&door)),
    );
    // For its owner alone: it has passwords, if only as hashes.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(|error| Failure::file("make", &directory, &error))?;
    let file = run.join("identity.toml");
    output_file::write(&file, text.as_bytes())?;
    Ok(IdentityPlace { file, door, accounts: directory.join("accounts.json") })
}

/// What the identity service of a workstation keeps, where the archive is kept in `directory`.
fn identity_state(directory: Option<&Path>) -> PathBuf {
    match directory {
        Some(directory) => directory.join("identity"),
        None => state_home().join("fep/identity"),
    }
}

/// A path as a string of TOML.
fn quoted(scheme: &str, path: &Path) -> String {
    toml::Value::String(format!("{scheme}{}", path.display())).to_string()
}

/// A configuration for one workstation: everything below one directory, reached over a Unix socket.
fn own_config(config: &Config, directory: Option<&Path>) -> Result<PathBuf, Failure> {
    let keys = identity_state(directory).join("ticket-keys.pub.json");
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => state_home().join("fep/archive"),
    };
    let bus = config.bus_dir();
    let run = &config.daemon.run_dir;
    // The key that signed days before stays where an earlier version made it.
    let old_key = directory.join("root.key");
    let root_key = if old_key.exists() { old_key } else { directory.join("keys/root.key") };
    let text = format!(
        "# Made by `fepctl up`; config/archive.toml explains every key.\n\
         [archive]\nsegments = {}\nrings = {}\ndatabase = {}\naudit_key = {}\n\n[store]\nurl = {}\n\n[http]\nlisten = [{}]\n\n\
         [recorder]\nroot_key = {}\n\n[retention]\nremoval_key = {}\n\n[identity]\nkeys = {}\n",
        quoted("", &directory.join("segments")),
        quoted("", &bus),
        quoted("sqlite://", &directory.join("catalogue.sqlite3")),
        quoted("", &directory.join("keys/audit.key")),
        quoted("file://", &directory.join("store")),
        quoted("unix:", &archive_socket(config)),
        quoted("", &root_key),
        quoted("", &directory.join("keys/removals.key")),
        quoted("", &keys),
    );
    for dir in [&directory, &directory.join("segments"), run] {
        std::fs::create_dir_all(dir).map_err(|error| Failure::file("make", dir, &error))?;
    }
    let file = run.join("archive.toml");
    output_file::write(&file, text.as_bytes())?;
    Ok(file)
}

/// Where a user's programs keep what they have to keep (XDG base directories).
fn state_home() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"))
}
