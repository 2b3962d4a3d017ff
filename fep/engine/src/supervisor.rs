//! Everything the control thread does: links started and stopped, configuration read again, rings watched, events
//! published. The hot threads never see it.

use fep_time::{Monotonic, Tai};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam::queue::ArrayQueue;
use fep_bus::{BusError, Colour, GateState, Producer, RingInfo, Tag, Warden, WardenEvent, WardenSpec};
use fep_net::WaitMode;
use fep_record::{EventRecord, KIND_EVENT, Session};
use serde_json::{Value, json};

use crate::event::{Event, EventCode, EventQueue, NO_LINK, Severity};
use crate::link_slot::{LinkSlot, RingWarden, ring_spec};
use crate::realtime;
use fep_control::api::{GateStatus, Ledgers, LinkStatus, ReloadReport, RingStatus, Status};
use fep_control::config::{self, Config, ConfigErrors, CorePolicy, LinkConfig};

const EVENTS_RING: &str = "events";
/// Longest event payload; a longer one is a mistake of ours and is cut to its code.
const EVENT_MAX: u32 = 4096;
/// Events that can wait for the control thread.
const EVENT_QUEUE: usize = 4096;
/// Wardens of rings without an armed consumer look this much more rarely: every so many ticks.
const QUIET_TICKS: u64 = 50;

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

/// The links, rings and events of one daemon.
pub(crate) struct Supervisor {
    source: ConfigSource,
    config: Config,
    links: BTreeMap<String, LinkSlot>,
    queue: EventQueue,
    events: Producer,
    events_warden: RingWarden,
    warnings: Vec<String>,
    started: Instant,
    started_tai_ns: i64,
    reloads: u64,
    ticks: u64,
    armed: BTreeMap<String, bool>,
    pub(crate) stopping: bool,
}

impl Supervisor {
    /// Makes or takes over all rings and starts the enabled links.
    pub(crate) fn start(source: ConfigSource, config: Config) -> Result<Supervisor, BusError> {
        let mut warnings = Vec::new();
        if config.daemon.lock_memory
            && let Err(error) = realtime::lock_memory()
        {
            warnings.push(format!(
                "memory is not locked: {error} (grant CAP_IPC_LOCK or LimitMEMLOCK, or set daemon.lock_memory = false)"
            ));
        }
        let queue: EventQueue = Arc::new(ArrayQueue::new(EVENT_QUEUE));
        let spec =
            ring_spec(&config, EVENTS_RING, "fep.event.v1", Colour::Black, config.rings.events, EVENT_MAX);
        let events = Producer::create_or_attach(&config.bus_dir(), &spec)?;
        let warden = Warden::open(&config.bus_dir(), EVENTS_RING, WardenSpec::default())?;
        let mut supervisor = Supervisor {
            source,
            links: BTreeMap::new(),
            queue,
            events,
            events_warden: RingWarden { ring: EVENTS_RING.to_owned(), warden },
            warnings,
            started: Instant::now(),
            started_tai_ns: fep_time::tai_now().0,
            reloads: 0,
            ticks: 0,
            armed: BTreeMap::new(),
            stopping: false,
            config: config.clone(),
        };
        supervisor.tell(
            EventCode::Started,
            NO_LINK,
            json!({"version": env!("CARGO_PKG_VERSION"), "pid": std::process::id()}),
        );
        for link in &config.links {
            let core = supervisor.core_for(link);
            let slot = LinkSlot::create(link, &config, core, &supervisor.queue)?;
            supervisor.links.insert(link.name.clone(), slot);
        }
        for link in config.links.iter().filter(|link| link.enabled) {
            supervisor.start_link(&link.name);
        }
        for warning in &supervisor.warnings {
            tracing::warn!("{warning}");
        }
        Ok(supervisor)
    }

    /// The core of a link: the one it names, or the least used of those for `auto`.
    fn core_for(&self, link: &LinkConfig) -> Option<usize> {
        match link.core {
            CorePolicy::None => None,
            CorePolicy::Fixed(core) => Some(core),
            CorePolicy::Auto => {
                let used = |core: usize| {
                    let others = self.links.values().filter(|slot| slot.config.name != link.name);
                    let taken = others.filter(|slot| slot.core == Some(core)).count();
                    // A core that a link asks for by number is left to it as long as there are others.
                    let reserved = self
                        .config
                        .links
                        .iter()
                        .filter(|other| other.core == CorePolicy::Fixed(core))
                        .count();
                    taken.max(reserved)
                };
                self.auto_cores().into_iter().min_by_key(|core| used(*core))
            }
        }
    }

    fn auto_cores(&self) -> Vec<usize> {
        if !self.config.daemon.cores.is_empty() {
            return self.config.daemon.cores.clone();
        }
        let allowed = realtime::allowed_cores();
        // The first core is left to everything else, if there is another.
        if allowed.len() > 1 { allowed[1..].to_vec() } else { allowed }
    }

    fn core_is_shared(&self, name: &str, core: Option<usize>) -> bool {
        core.is_some()
            && self.links.values().any(|slot| {
                slot.config.name != name && slot.core == core && (slot.config.enabled || slot.is_running())
            })
    }

    fn start_link(&mut self, name: &str) {
        let Some(slot) = self.links.get(name) else { return };
        let mut config = slot.config.clone();
        if self.core_is_shared(name, slot.core) && config.transport.wait != WaitMode::Wait {
            if config.transport.wait == WaitMode::Busy {
                let core = slot.core.unwrap_or_default();
                self.warn(format!(
                    "link {name} shares core {core}: it sleeps while it waits instead of spinning"
                ));
            }
            config.transport.wait = WaitMode::Wait;
        }
        let priority = self.config.daemon.realtime_priority;
        let Some(slot) = self.links.get_mut(name) else { return };
        let (id, core) = (slot.config.id, slot.core);
        match slot.start(config, priority) {
            Ok(warnings) => {
                for warning in warnings {
                    self.warn(warning);
                }
                self.tell(EventCode::LinkStarted, id, json!({"link": name, "core": core}));
            }
            Err(error) => {
                slot.failure = Some(error.clone());
                self.tell(EventCode::LinkFailed, id, json!({"link": name, "reason": error}));
            }
        }
    }

    fn stop_link(&mut self, name: &str) {
        let Some(slot) = self.links.get_mut(name) else { return };
        let was_running = slot.is_running();
        slot.stop();
        let id = slot.config.id;
        // What the thread had to tell comes before the news that it has gone.
        self.publish_events();
        if was_running {
            self.tell(EventCode::LinkStopped, id, json!({"link": name}));
        }
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            tracing::warn!("{warning}");
            self.warnings.push(warning);
        }
    }

    /// To be called about every millisecond. Returns whether some consumer is watched, so that it must stay so often.
    pub(crate) fn tick(&mut self) -> bool {
        self.ticks += 1;
        let now = fep_time::tai_now().0;
        let watch = Monotonic::now();
        let all = self.ticks.is_multiple_of(QUIET_TICKS);
        self.publish_events();
        self.events.housekeep(watch);
        let mut news = Vec::new();
        let mut failed = Vec::new();
        for slot in self.links.values_mut() {
            slot.keep_alive(now);
            if let Some(reason) = slot.look_after() {
                failed.push((slot.config.name.clone(), slot.config.id, reason));
            }
            for watched in &mut slot.wardens {
                scan(watched, watch, all, slot.config.id, &mut self.armed, &mut news);
            }
        }
        scan(&mut self.events_warden, watch, all, NO_LINK, &mut self.armed, &mut news);
        for (name, id, reason) in failed {
            self.tell(EventCode::LinkFailed, id, json!({"link": name, "reason": reason}));
        }
        for (id, code, detail) in news {
            self.tell(code, id, detail);
        }
        self.armed.values().any(|armed| *armed)
    }

    /// To be called about once a second.
    pub(crate) fn sample_rates(&mut self) {
        self.links.values_mut().for_each(LinkSlot::sample_rates);
    }

    fn publish_events(&mut self) {
        while let Some(event) = self.queue.pop() {
            self.publish(event);
        }
    }

    pub(crate) fn tell(&mut self, code: EventCode, link_id: u16, detail: Value) {
        self.publish(Event { code, link_id, tai_ns: fep_time::tai_now().0, detail });
    }

    fn publish(&mut self, event: Event) {
        let Event { code, link_id, tai_ns, mut detail } = event;
        let slot = self.links.values().find(|slot| slot.config.id == link_id);
        let link = slot.map(|slot| slot.config.name.clone());
        let session = slot.map_or(Session::Ops, |slot| slot.config.session);
        if let Value::Object(fields) = &mut detail {
            fields.insert("event".to_owned(), code.name().into());
            if let Some(link) = &link {
                fields.insert("link".to_owned(), link.as_str().into());
            }
        }
        match code.severity() {
            Severity::Info => tracing::info!("{detail}"),
            Severity::Warning => tracing::warn!("{detail}"),
            Severity::Alarm => tracing::error!("{detail}"),
        }
        let record = EventRecord { code: code as u16, severity: code.severity() as u8, link_id, session };
        let (flags, words) = record.to_words();
        let tag =
            Tag { kind: KIND_EVENT, flags, received: Tai(tai_ns), published: fep_time::tai_now(), words };
        let payload = detail.to_string();
        let payload = if payload.len() > EVENT_MAX as usize { "{}" } else { payload.as_str() };
        if let Err(error) = self.events.publish(tag, payload.as_bytes()) {
            tracing::error!(%error, "event not published");
        }
    }

    /// Enables a link; the message says what happened.
    pub(crate) fn enable(&mut self, name: &str) -> Result<String, String> {
        let Some(slot) = self.links.get(name) else { return Err(self.unknown_link(name)) };
        if slot.is_running() {
            return Ok(format!("link {name} is enabled already"));
        }
        self.start_link(name);
        match self.links.get(name).and_then(|slot| slot.failure.clone()) {
            Some(reason) => Err(format!("link {name} does not start: {reason}")),
            None => Ok(format!("link {name} is enabled")),
        }
    }

    /// Disables a link: what it has received is published first.
    pub(crate) fn disable(&mut self, name: &str) -> Result<String, String> {
        let Some(slot) = self.links.get_mut(name) else { return Err(self.unknown_link(name)) };
        slot.failure = None;
        if !slot.is_running() {
            return Ok(format!("link {name} is disabled already"));
        }
        self.stop_link(name);
        Ok(format!("link {name} is disabled"))
    }

    /// Makes a link forget synchronisation and frame counters.
    pub(crate) fn reset(&mut self, name: &str) -> Result<String, String> {
        match self.links.get(name) {
            None => Err(self.unknown_link(name)),
            Some(slot) if slot.reset() => Ok(format!("link {name} is reset")),
            Some(slot) if slot.is_running() => {
                Err(format!("link {name} does not take commands now; try again"))
            }
            Some(_) => Err(format!("link {name} is disabled; enable it first")),
        }
    }

    pub(crate) fn unknown_link(&self, name: &str) -> String {
        let names = self.links.keys().cloned().collect::<Vec<_>>().join(", ");
        format!("no link is called {name:?} (there are: {names})")
    }

    /// Reads the configuration again. Links that it does not change never notice; a configuration with a mistake
    /// changes nothing.
    pub(crate) fn reload(&mut self) -> Result<ReloadReport, ConfigErrors> {
        let new = match self.source.load() {
            Ok(new) => new,
            Err(errors) => {
                self.tell(EventCode::ReloadRefused, NO_LINK, json!({"mistakes": errors.0.len()}));
                return Err(errors);
            }
        };
        let mut report =
            ReloadReport { needs_restart: start_only_changes(&self.config, &new), ..Default::default() };
        let (daemon, rings) = (self.config.daemon.clone(), self.config.rings.clone());
        let old = std::mem::replace(&mut self.config, Config { daemon, rings, ..new });
        let links = self.config.links.clone();
        let gone: Vec<String> =
            self.links.keys().filter(|name| self.config.link(name).is_none()).cloned().collect();
        // Everything that stops has stopped before anything starts: one link may take over the address of another.
        for name in gone {
            self.remove(&name);
            report.stopped.push(name);
        }
        let mut to_create = Vec::new();
        for link in &links {
            let was_enabled = old.link(&link.name).is_some_and(|old| old.enabled);
            let known = self.links.get(&link.name).map(|slot| slot.config == *link);
            match (known, was_enabled, link.enabled) {
                (Some(true), ..) => {
                    report.untouched.push(link.name.clone());
                    continue;
                }
                (Some(false), true, true) => report.restarted.push(link.name.clone()),
                (Some(false), true, false) => report.stopped.push(link.name.clone()),
                (_, _, true) => report.started.push(link.name.clone()),
                (_, _, false) => {}
            }
            self.remove(&link.name);
            to_create.push(link);
        }
        for link in to_create {
            self.create(link);
        }
        self.reloads += 1;
        self.tell(
            EventCode::Reloaded,
            NO_LINK,
            json!({
                "started": report.started, "stopped": report.stopped, "restarted": report.restarted,
                "needs_restart": report.needs_restart,
            }),
        );
        Ok(report)
    }

    /// Stops a link and lets its rings go, so that somebody else may have them.
    fn remove(&mut self, name: &str) {
        self.stop_link(name);
        self.links.remove(name);
    }

    fn create(&mut self, link: &LinkConfig) {
        let core = self.core_for(link);
        match LinkSlot::create(link, &self.config, core, &self.queue) {
            Ok(slot) => {
                self.links.insert(link.name.clone(), slot);
                if link.enabled {
                    self.start_link(&link.name);
                }
            }
            Err(error) => {
                let reason = error.to_string();
                self.warn(format!("link {}: {reason}", link.name));
                self.tell(EventCode::LinkFailed, link.id, json!({"link": link.name, "reason": reason}));
            }
        }
    }

    /// Stops every link and publishes what there is to tell. The rings close when the supervisor is dropped.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.tell(EventCode::Stopping, NO_LINK, json!({}));
        let names: Vec<String> = self.links.keys().cloned().collect();
        for name in names {
            self.stop_link(&name);
        }
        self.publish_events();
    }

    pub(crate) fn status(&self) -> Status {
        let path = |path: &Path| path.display().to_string();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_tai_ns: self.started_tai_ns,
            uptime_s: self.started.elapsed().as_secs_f64(),
            config_file: self.source.file.as_deref().map(path),
            run_dir: path(&self.config.daemon.run_dir),
            bus_dir: path(&self.config.bus_dir()),
            metrics_dir: path(&self.config.metrics_dir()),
            reloads: self.reloads,
            warnings: self.warnings.clone(),
            stopping: self.stopping,
            links: self.link_statuses(),
            rings: self.ring_statuses(),
        }
    }

    pub(crate) fn link_statuses(&self) -> Vec<LinkStatus> {
        self.links.values().map(LinkSlot::status).collect()
    }

    pub(crate) fn link_status(&self, name: &str) -> Option<LinkStatus> {
        self.links.get(name).map(LinkSlot::status)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &LinkSlot> {
        self.links.values()
    }

    pub(crate) fn ring_statuses(&self) -> Vec<RingStatus> {
        let infos: BTreeMap<String, RingInfo> = fep_bus::list(&self.config.bus_dir())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|info| info.ok().map(|info| (info.name.clone(), info)))
            .collect();
        let watched = self.links.values().flat_map(|slot| &slot.wardens).chain([&self.events_warden]);
        watched
            .filter_map(|watched| infos.get(&watched.ring).map(|info| ring_status(info, watched)))
            .collect()
    }

    pub(crate) fn ledgers(&self) -> Ledgers {
        let links: Vec<_> = self.links.values().map(LinkSlot::ledgers).collect();
        let balanced = links.iter().all(|link| link.ledger.is_balanced());
        Ledgers { links, bus: self.ring_statuses(), balanced }
    }
}

/// Sections that are read at start only, and differ.
fn start_only_changes(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    if old.daemon != new.daemon {
        changes.push("daemon".to_owned());
    }
    if old.rings != new.rings {
        changes.push("rings".to_owned());
    }
    changes
}

fn scan(
    watched: &mut RingWarden,
    now: Monotonic,
    all: bool,
    link_id: u16,
    armed: &mut BTreeMap<String, bool>,
    news: &mut Vec<(u16, EventCode, Value)>,
) {
    if !all && !armed.get(&watched.ring).copied().unwrap_or(false) {
        return;
    }
    let ring = &watched.ring;
    watched.warden.scan(now, &mut |event| {
        let (code, detail) = match event {
            WardenEvent::Armed { consumer } => {
                armed.insert(ring.clone(), true);
                (EventCode::ConsumerArmed, json!({"ring": ring, "consumer": consumer}))
            }
            WardenEvent::Warned { consumer, credit_permille } => {
                let detail = json!({"ring": ring, "consumer": consumer, "credit_permille": credit_permille});
                (EventCode::ConsumerWarned, detail)
            }
            WardenEvent::Recovered { consumer } => {
                (EventCode::ConsumerRecovered, json!({"ring": ring, "consumer": consumer}))
            }
            WardenEvent::Evicted { consumer, at_seq } => {
                (EventCode::ConsumerEvicted, json!({"ring": ring, "consumer": consumer, "at_seq": at_seq}))
            }
            WardenEvent::CursorIgnored { consumer, problem } => {
                let problem = format!("{problem:?}");
                (EventCode::CursorIgnored, json!({"ring": ring, "consumer": consumer, "problem": problem}))
            }
            WardenEvent::CursorsLeftOut { limit } => {
                let problem =
                    format!("more than {limit} files in the cursor directory: not all are looked at");
                (EventCode::CursorIgnored, json!({"ring": ring, "problem": problem}))
            }
        };
        news.push((link_id, code, detail));
    });
}

fn ring_status(info: &RingInfo, watched: &RingWarden) -> RingStatus {
    let gates = watched.warden.status().unwrap_or_default();
    RingStatus {
        name: info.name.clone(),
        colour: info.colour.directory().to_owned(),
        head_seq: info.head.seq,
        bytes: info.head.payload,
        epoch: info.epoch,
        gates: gates
            .into_iter()
            .map(|gate| GateStatus {
                state: match gate.state {
                    GateState::Free => "free",
                    GateState::Absent => "absent",
                    GateState::Gated => "gated",
                    GateState::Warned => "warned",
                    GateState::Evicted => "evicted",
                    GateState::Detached => "detached",
                }
                .to_owned(),
                alive: gate.alive,
                credit_percent: f64::from(gate.credit_permille) / 10.0,
                lag_records: gate.lag_records,
                lag_bytes: gate.lag_bytes,
                evictions: gate.evictions,
                consumed_records: gate.ledger.consumed_records,
                lost_records: gate.ledger.lost_records,
                consumer: gate.consumer,
            })
            .collect(),
    }
}
