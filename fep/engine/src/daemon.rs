//! The process: control thread, signals, orderly stop.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fep_bus::BusError;
use fep_notify::Notify;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control_socket::{self, Bound, Name};
use crate::guard;
use crate::server::{self, Shared};
use crate::supervisor::{ConfigSource, Supervisor};
use fep_control::config::{Config, ConfigErrors};

/// While a consumer is watched its cursor is looked at this often.
const TICK: Duration = Duration::from_millis(1);
/// While none is, the thread sleeps longer.
const QUIET_TICK: Duration = Duration::from_millis(10);
/// Rates, and looks at what seldom changes.
const SLOWLY: Duration = Duration::from_secs(1);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is refused.
    #[error("the configuration is refused:\n{0}")]
    Config(#[from] ConfigErrors),
    /// Another `fepd` holds the run directory.
    #[error(
        "another fepd{} runs on the run directory {}: stop it, or use another directory (daemon.run_dir or --run-dir)",
        process(*.pid),
        .run_dir.display()
    )]
    AlreadyRuns {
        /// Its process number, 0 when it is not known.
        pid: u32,
        /// The directory.
        run_dir: PathBuf,
    },
    /// The run directory was deleted or replaced while this `fepd` ran, and another one has it now.
    #[error(
        "the run directory {} was deleted or replaced, and another fepd{} runs on it now: this one has ended",
        .run_dir.display(),
        process(*.pid)
    )]
    Replaced {
        /// Process number of the other, 0 when it is not known.
        pid: u32,
        /// The directory.
        run_dir: PathBuf,
    },
    /// The run directory was deleted or replaced while `fepd` ran, and cannot be made anew.
    #[error("the run directory {} was deleted or replaced, and its rings cannot be made anew: {source}", .run_dir.display())]
    Homeless {
        /// The directory.
        run_dir: PathBuf,
        /// Why the events ring cannot be made.
        source: BusError,
    },
    /// The run directory is another user's, who could read or replace everything below it.
    #[error(
        "the run directory {} belongs to user {owner}, neither to root nor to the user of this fepd, {own}: \
         remove it, or use another directory (daemon.run_dir or --run-dir)",
        .run_dir.display()
    )]
    Foreign {
        /// The directory.
        run_dir: PathBuf,
        /// Number of the user it belongs to.
        owner: u32,
        /// Number of the user of this process.
        own: u32,
    },
    /// Rings or pages cannot be had.
    #[error(transparent)]
    Bus(BusError),
    /// The operating system refuses something.
    #[error("{what}: {source}")]
    Os {
        /// What was attempted.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

fn process(pid: u32) -> String {
    if pid == 0 { String::new() } else { format!(" (process {pid})") }
}

fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> DaemonError {
    let what = what.into();
    move |source| DaemonError::Os { what, source }
}

/// Runs the daemon until it is stopped by SIGTERM, SIGINT or the control interface. SIGHUP reloads.
///
/// # Errors
/// The configuration, a ring, or the control socket.
pub fn run(source: ConfigSource, config: Config) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(os("no control thread"))?;
    runtime.block_on(control(source, config))
}

async fn control(source: ConfigSource, config: Config) -> Result<(), DaemonError> {
    let signals = Signals::new()?;
    let notify = Notify::from_environment();
    let run_dir = config.daemon.run_dir.clone();
    std::fs::create_dir_all(&run_dir).map_err(os(format!("run_dir {}", run_dir.display())))?;
    check_owner(&run_dir)?;
    warn_unless_in_memory(&run_dir);
    let socket = config.control_socket();
    let in_the_way = || os(format!("control socket {}", socket.display()));
    // What stands in the way is found before anything runs.
    control_socket::check_place(&socket).map_err(in_the_way())?;
    // The lock of the events ring comes first: it tells a second daemon apart before it takes the socket of the first.
    let supervisor = Supervisor::start(source, config.clone()).map_err(|error| match error {
        // Only a `fepd` holds the events ring.
        BusError::Held { pid, .. } => DaemonError::AlreadyRuns { pid, run_dir },
        other => DaemonError::Bus(other),
    })?;
    let bound = control_socket::bind(&socket, &config.daemon).await.map_err(in_the_way())?;
    let exporter = match config.daemon.metrics_address {
        Some(address) => {
            let bound = tokio::net::TcpListener::bind(address).await;
            Some(bound.map_err(os(format!("daemon.metrics_address {address}")))?)
        }
        None => None,
    };
    let shared = Shared::new(supervisor);
    // Who can ask finds every role started, or failed with its cause.
    shared.until(|supervisor| supervisor.is_settled(None)).await;
    if let Some(exporter) = exporter {
        tokio::spawn(guard::serve(exporter, server::exporter(shared.clone())));
    }
    // Requests are answered until everything has stopped.
    let mut answering = None;
    let ran = run_until_stopped(&shared, &config, bound, &mut answering, signals, &notify).await;
    if let Err(error) = &ran {
        tracing::error!("{error}");
    }
    notify.stopping();
    shared.lock().stop();
    shared.until(Supervisor::has_stopped).await;
    // Answers under way (that of the stop request itself) are still sent.
    tokio::time::sleep(Duration::from_millis(20)).await;
    tracing::info!("fepd has stopped");
    ran
}

/// What ends the process, or lets it read its configuration again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals, DaemonError> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(os("SIGTERM"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(os("SIGINT"))?,
            hangup: signal(SignalKind::hangup()).map_err(os("SIGHUP"))?,
        })
    }
}

/// Answers and supervises until `fepd` is asked to stop, or cannot do its work any more.
async fn run_until_stopped(
    shared: &Shared,
    config: &Config,
    bound: Bound,
    answering: &mut Option<Answering>,
    mut signals: Signals,
    notify: &Notify,
) -> Result<(), DaemonError> {
    let socket = config.control_socket();
    let answer = |(listener, name)| Answering {
        task: tokio::spawn(guard::serve(listener, server::router(shared.clone()))),
        name,
    };
    let placed = bound.put_in_place().map_err(os(format!("control socket {}", socket.display())))?;
    *answering = Some(answer(placed));
    tracing::info!(socket = %socket.display(), links = config.links.len(), "fepd runs");
    notify.ready();
    let mut watchdog = notify.watchdog();

    let mut slowly = tokio::time::interval(SLOWLY);
    let mut tick = TICK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {
                tick = if shared.lock().tick() { TICK } else { QUIET_TICK };
            }
            _ = slowly.tick() => {
                shared.lock().tick_slowly()?;
                // Supervision works: roles that stand still are its business.
                watchdog.turned(Instant::now());
                // It goes with a run directory that somebody deletes.
                if answering.as_ref().is_none_or(|answering| answering.name.is_gone())
                    && let Ok(placed) =
                        control_socket::bind(&socket, &config.daemon).await.and_then(Bound::put_in_place)
                {
                    tracing::warn!(socket = %socket.display(), "the control socket was deleted; it was made again");
                    *answering = Some(answer(placed));
                }
            }
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            () = shared.stop.notified() => return Ok(()),
            _ = signals.hangup.recv() => {
                if let Err(errors) = shared.lock().reload() {
                    tracing::error!("the configuration is refused, nothing was changed:\n{errors}");
                }
            }
        }
    }
}

/// Answers requests until it is dropped; its name goes with it.
struct Answering {
    name: Name,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The owner of the run directory is trusted with everything below it, red rings included: in a directory that everybody may
/// write in (`/dev/shm`) anybody can have made it beforehand.
fn check_owner(run_dir: &Path) -> Result<(), DaemonError> {
    let found = std::fs::metadata(run_dir).map_err(os(format!("run_dir {}", run_dir.display())))?;
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != 0 && owner != own {
        return Err(DaemonError::Foreign { run_dir: run_dir.to_owned(), owner, own });
    }
    // With the sticky bit others may still add names, but replace none.
    if found.mode() & 0o1002 == 0o002 {
        tracing::warn!(
            "{}: every user may replace what lies in it (mode {:o})",
            run_dir.display(),
            found.mode() & 0o7777
        );
    }
    Ok(())
}

fn warn_unless_in_memory(run_dir: &Path) {
    match crate::realtime::is_memory_file_system(run_dir) {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "{} is not on a memory file system (tmpfs or hugetlbfs): rings there are written to disk by the kernel",
            run_dir.display()
        ),
        Err(error) => tracing::warn!("{}: {error}", run_dir.display()),
    }
}
