//! The process: control thread, signals, orderly stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_bus::BusError;
use tokio::signal::unix::{SignalKind, signal};

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
    let mut terminate = signal(SignalKind::terminate()).map_err(os("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(os("SIGINT"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(os("SIGHUP"))?;
    let run_dir = config.daemon.run_dir.clone();
    std::fs::create_dir_all(&run_dir).map_err(os(format!("run_dir {}", run_dir.display())))?;
    warn_unless_in_memory(&run_dir);
    // The lock of the events ring comes first: it tells a second daemon apart before it takes the socket of the first.
    let supervisor = Supervisor::start(source, config.clone()).map_err(|error| match error {
        // Only a `fepd` holds the events ring.
        BusError::Held { pid, .. } => DaemonError::AlreadyRuns { pid, run_dir },
        other => DaemonError::Bus(other),
    })?;
    let shared = Shared::new(supervisor);
    // Who can ask finds every role started, or failed with its cause.
    shared.until(|supervisor| supervisor.is_settled(None)).await;
    let socket = config.control_socket();
    let listener =
        server::bind(&socket, &config.daemon).map_err(os(format!("control socket {}", socket.display())))?;
    let _socket = RemoveAtEnd(socket.clone());
    let mut serving = tokio::spawn(async_serve(listener, server::router(shared.clone())));
    if let Some(address) = config.daemon.metrics_address {
        let exporter = tokio::net::TcpListener::bind(address)
            .await
            .map_err(os(format!("daemon.metrics_address {address}")))?;
        let router = server::exporter(shared.clone());
        tokio::spawn(async move { axum::serve(exporter, router).await });
    }
    tracing::info!(socket = %socket.display(), links = config.links.len(), "fepd runs");

    let mut slowly = tokio::time::interval(SLOWLY);
    let mut tick = TICK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {
                tick = if shared.lock().tick() { TICK } else { QUIET_TICK };
            }
            _ = slowly.tick() => {
                shared.lock().tick_slowly();
                // It goes with a run directory that somebody deletes.
                if !socket.exists() && let Ok(listener) = server::bind(&socket, &config.daemon) {
                    tracing::warn!(socket = %socket.display(), "the control socket was deleted; it is there again");
                    serving.abort();
                    serving = tokio::spawn(async_serve(listener, server::router(shared.clone())));
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = shared.stop.notified() => break,
            _ = hangup.recv() => {
                if let Err(errors) = shared.lock().reload() {
                    tracing::error!("the configuration is refused, nothing was changed:\n{errors}");
                }
            }
        }
    }
    shared.lock().stop();
    shared.until(Supervisor::has_stopped).await;
    // Answers under way (that of the stop request itself) are still sent.
    tokio::time::sleep(Duration::from_millis(20)).await;
    serving.abort();
    tracing::info!("fepd has stopped");
    Ok(())
}

async fn async_serve(listener: tokio::net::UnixListener, router: axum::Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "control interface");
    }
}

/// The socket's name goes with the process that answers under it.
struct RemoveAtEnd(PathBuf);

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
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
