//! Everything the control thread does: roles started and stopped, configuration read again, rings watched, events
//! published. It never waits for a role; the hot threads never see it.

mod events;
mod reload;
mod roles;
mod run_directory;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use fep_bus::{BusError, Producer};
use fep_time::{Monotonic, Tai};
use serde_json::json;

use crate::daemon::DaemonError;
use crate::event::{EventCode, EventQueue, NO_LINK};
use crate::heard::Heard;
use crate::link::Link;
use crate::plan::Offer;
use crate::realtime;
use crate::rings::{BusSetting, EVENTS_RING};
use crate::role::Patience;
use crate::spacecraft::Spacecraft;
use crate::watch::RingWatch;
use fep_control::config::{self, Config, ConfigErrors};
pub(crate) use roles::{Kind, Verb};
use run_directory::RunDirectory;

/// Events that can wait for the control thread.
const EVENT_QUEUE: usize = 4096;
/// Rings without a watched consumer are looked at this much more rarely: every so many ticks.
const QUIET_TICKS: u64 = 50;
/// So long `fepd` tries to make a run directory anew that somebody has deleted.
const HOMELESS_FOR_NS: i64 = 10_000_000_000;

/// Where the configuration came from and what of it was overridden on the command line.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// The user's file.
    pub file: Option<PathBuf>,
    /// Directory of everything shared, instead of the configured one.
    pub run_dir: Option<PathBuf>,
}

impl ConfigSource {
    /// Reads the configuration with its overrides.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut config = config::load(self.file.as_deref())?;
        if let Some(run_dir) = &self.run_dir {
            config.daemon.run_dir.clone_from(run_dir);
        }
        Ok(config)
    }
}

/// The roles, rings and events of one daemon.
pub(crate) struct Supervisor {
    source: ConfigSource,
    config: Config,
    setting: Arc<BusSetting>,
    patience: Patience,
    offer: Offer,
    links: BTreeMap<String, Link>,
    spacecraft: BTreeMap<String, Spacecraft>,
    heard: BTreeMap<String, Heard>,
    queue: EventQueue,
    events: Producer,
    events_watch: RingWatch,
    run_directory: RunDirectory,
    /// Since when the events ring cannot be made anew.
    homeless_since: Option<Monotonic>,
    /// What could not be had at start.
    start_warnings: Vec<String>,
    /// What the last plan of the seats does not grant.
    plan_warnings: Vec<String>,
    logged_warnings: BTreeSet<String>,
    started: Monotonic,
    started_at: Tai,
    reloads: u64,
    ticks: u64,
    pub(crate) stopping: bool,
}

impl Supervisor {
    /// Opens the events ring and makes a role for every link. Nothing runs before the first tick.
    ///
    /// # Errors
    /// The events ring: above all, another `fepd` holds it. What is wrong with a single link is that link's failure.
    pub(crate) fn start(source: ConfigSource, config: Config) -> Result<Supervisor, BusError> {
        let mut start_warnings = Vec::new();
        if config.daemon.lock_memory
            && let Err(error) = realtime::lock_memory()
        {
            start_warnings.push(format!(
                "memory is not locked: {error} (grant CAP_IPC_LOCK or LimitMEMLOCK, or set daemon.lock_memory = false)"
            ));
        }
        let allowed = realtime::allowed_cores();
        for core in config.daemon.cores.iter().filter(|core| !allowed.contains(core)) {
            start_warnings.push(format!(
                "daemon.cores names core {core}, which fepd may not use (it may use {allowed:?})"
            ));
        }
        let setting = Arc::new(BusSetting::of(&config));
        let events = Producer::create_or_attach(&setting.dir, &setting.events())?;
        let mut events_watch = RingWatch::default();
        events_watch.open(&setting.dir, vec![EVENTS_RING.to_owned()]);
        let daemon = &config.daemon;
        let mut supervisor = Supervisor {
            patience: Patience {
                restart_min_ms: daemon.restart_min_ms,
                restart_max_ms: daemon.restart_max_ms,
                stop_timeout_ms: daemon.stop_timeout_ms,
            },
            offer: Offer { allowed, auto: daemon.cores.clone(), priority: daemon.realtime_priority },
            run_directory: RunDirectory::of(&config),
            homeless_since: None,
            source,
            setting,
            links: BTreeMap::new(),
            spacecraft: BTreeMap::new(),
            heard: BTreeMap::new(),
            queue: Arc::new(ArrayQueue::new(EVENT_QUEUE)),
            events,
            events_watch,
            start_warnings,
            plan_warnings: Vec::new(),
            logged_warnings: BTreeSet::new(),
            started: Monotonic::now(),
            started_at: fep_time::tai_now(),
            reloads: 0,
            ticks: 0,
            stopping: false,
            config,
        };
        supervisor.report(
            EventCode::Started,
            NO_LINK,
            json!({"version": env!("CARGO_PKG_VERSION"), "pid": std::process::id()}),
        );
        for link in supervisor.config.links.clone() {
            supervisor.add_link(link);
        }
        for craft in supervisor.config.spacecraft.clone() {
            supervisor.add_spacecraft(craft);
        }
        supervisor.remove_drained_orphans();
        supervisor.log_warnings();
        Ok(supervisor)
    }

    /// To be called about every millisecond; never waits. Returns whether some consumer is watched, so that it must stay so
    /// often.
    pub(crate) fn tick(&mut self) -> bool {
        self.ticks += 1;
        let now = Monotonic::now();
        self.publish_events();
        self.events.housekeep(now);
        self.look_after_roles(now);
        self.watch_rings(now)
    }

    /// To be called about once a second.
    ///
    /// # Errors
    /// `fepd` cannot do its work any more: its run directory is gone, and cannot be had again.
    pub(crate) fn tick_slowly(&mut self) -> Result<(), DaemonError> {
        self.roles_mut().for_each(|role| role.sample_rates());
        let gone = self.run_directory.look();
        let anew = if self.events.is_still_linked() { Ok(()) } else { self.open_events_anew() };
        if let Some(what) = gone {
            // Behind the new ring, so that whoever attaches to it reads this.
            self.report(EventCode::RunDirectoryGone, NO_LINK, json!({"reason": what}));
        }
        self.log_warnings();
        anew
    }

    /// The roles make their rings anew by themselves; this is the one of the supervisor. Who has it has the directory.
    fn open_events_anew(&mut self) -> Result<(), DaemonError> {
        match Producer::create_or_attach(&self.setting.dir, &self.setting.events()) {
            Ok(events) => {
                self.events = events;
                self.events_watch.open(&self.setting.dir, vec![EVENTS_RING.to_owned()]);
                self.run_directory.adopt();
                self.homeless_since = None;
                Ok(())
            }
            Err(BusError::Held { pid, .. }) => {
                Err(DaemonError::Replaced { pid, run_dir: self.config.daemon.run_dir.clone() })
            }
            Err(error) => {
                let now = Monotonic::now();
                let since = *self.homeless_since.get_or_insert(now);
                if now.ns_since(since) < HOMELESS_FOR_NS {
                    tracing::error!(%error, "the events ring cannot be made anew; it is tried again");
                    return Ok(());
                }
                Err(DaemonError::Homeless { run_dir: self.config.daemon.run_dir.clone(), source: error })
            }
        }
    }

    /// How long a thread may take to stop.
    pub(crate) fn stop_timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.patience.stop_timeout_ms.into())
    }

    fn watch_rings(&mut self, now: Monotonic) -> bool {
        let all = self.ticks.is_multiple_of(QUIET_TICKS);
        let mut news = Vec::new();
        let mut watching = false;
        for role in self.roles_mut() {
            let id = role.id();
            watching |= role.watch_mut().scan(now, all, &mut |code, detail| news.push((id, code, detail)));
        }
        watching |= self.events_watch.scan(now, all, &mut |code, detail| news.push((NO_LINK, code, detail)));
        for (id, code, detail) in news {
            self.report(code, id, detail);
        }
        watching
    }

    /// What could not be had, and what it costs.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.start_warnings.clone();
        warnings.extend(self.run_directory.warning().map(str::to_owned));
        warnings.extend(self.plan_warnings.iter().cloned());
        for role in self.roles() {
            warnings.extend(role.granted().warnings);
        }
        warnings
    }

    /// Logs each warning once.
    fn log_warnings(&mut self) {
        for warning in self.warnings() {
            if self.logged_warnings.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
    }
}
