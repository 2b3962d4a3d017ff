//! A role as the control thread sees it: its thread, its rings' watchers, the readings of its pages.

use fep_bus::{LatestReader, MetricReader};
use fep_time::Monotonic;

use crate::metrics::{CounterReading, Reading};
use crate::ocf;
use crate::plan::{Need, Seat};
use crate::rates::RateMeter;
use crate::rings::BusSetting;
use crate::role::{Command, Granted, Job, News, Patience, Role};
use crate::watch::RingWatch;
use fep_control::api::{ClcwStatus, ThreadStatus};
use fep_control::config::CorePolicy;
use fep_net::WaitMode;

/// What the supervisor has to know of the job of a role.
pub(crate) trait Work: Job {
    /// What the role is called in messages: `link` or `spacecraft`.
    const KIND: &'static str;
    /// Number in event records.
    fn id(&self) -> u16;
    /// What the data is.
    fn session(&self) -> fep_record::Session;
    /// Where it wants to run, and how it wants to wait.
    fn wishes(&self) -> (CorePolicy, WaitMode);
    /// Names of its rings.
    fn ring_names(&self) -> Vec<String>;
}

/// A role and what the control thread reads of it.
pub(crate) struct Supervised<J: Work> {
    pub(crate) role: Role<J>,
    watch: RingWatch,
    pages: Pages,
    pub(crate) rates: RateMeter,
    /// Why the last attempt of a link to connect failed; gone once it has connected.
    pub(crate) connect_error: Option<String>,
}

/// The pages of a role that has been opened at least once.
#[derive(Default)]
struct Pages {
    metrics: Option<MetricReader>,
    counters: Option<MetricReader>,
    ocf: Option<LatestReader>,
}

impl<J: Work> Supervised<J> {
    pub(crate) fn new(job: J, wanted: bool, patience: Patience) -> Supervised<J> {
        Supervised {
            role: Role::new(job, wanted, patience),
            watch: RingWatch::default(),
            pages: Pages::default(),
            rates: RateMeter::default(),
            connect_error: None,
        }
    }

    /// It becomes another role of the same name.
    pub(crate) fn replace(&mut self, job: J, wanted: bool, now: Monotonic) {
        (self.watch, self.pages, self.rates, self.connect_error) = Default::default();
        self.role.replace(job, wanted, now);
    }

    pub(crate) fn reading(&self) -> Reading {
        self.pages.metrics.as_ref().map(Reading::of).unwrap_or_default()
    }

    pub(crate) fn counters(&self) -> CounterReading {
        self.pages.counters.as_ref().map(CounterReading::of).unwrap_or_default()
    }

    pub(crate) fn clcws(&self) -> Vec<ClcwStatus> {
        self.pages.ocf.as_ref().map(ocf::clcws).unwrap_or_default()
    }

    /// The state in a word; `running` says what a running role does.
    pub(crate) fn state<'s>(&self, running: &'s str) -> &'s str {
        let role = &self.role;
        match role.failure() {
            _ if role.is_abandoned() => "abandoned",
            _ if role.is_stopping() => "stopping",
            _ if role.is_running() && self.pages.metrics.is_none() => "starting",
            _ if role.is_running() => running,
            Some(_) => "failed",
            None if role.is_wanted() => "starting",
            None => "disabled",
        }
    }

    pub(crate) fn thread(&self) -> ThreadStatus {
        let granted = self.role.granted();
        let (_, wished) = self.role.job().wishes();
        let wait = self.role.seat().map_or(wished, |seat| seat.wait);
        ThreadStatus {
            core: granted.core,
            realtime: matches!(granted.class, "fifo" | "rr"),
            class: granted.class.to_owned(),
            wait: wait_name(wait).to_owned(),
            busy_percent: self.rates.busy_percent,
            cpu_percent: self.rates.cpu_percent,
        }
    }
}

/// As in the configuration.
fn wait_name(wait: WaitMode) -> &'static str {
    match wait {
        WaitMode::Busy => "busy",
        WaitMode::Wait => "wait",
        WaitMode::Adaptive => "adaptive",
    }
}

/// OPS, TEST or REPLAY.
pub(crate) fn session_name(session: fep_record::Session) -> &'static str {
    match session {
        fep_record::Session::Ops => "OPS",
        fep_record::Session::Test => "TEST",
        fep_record::Session::Replay => "REPLAY",
    }
}

/// A supervised role of any kind.
pub(crate) trait AnySupervised {
    fn kind(&self) -> &'static str;
    fn name(&self) -> &str;
    fn id(&self) -> u16;
    fn session(&self) -> fep_record::Session;
    fn need(&self) -> Need<'_>;
    fn granted(&self) -> Granted;
    fn failure(&self) -> Option<&str>;
    fn is_wanted(&self) -> bool;
    fn is_running(&self) -> bool;
    fn is_stopping(&self) -> bool;
    fn is_abandoned(&self) -> bool;
    fn is_leaving(&self) -> bool;
    fn is_due(&self, now: Monotonic) -> bool;
    fn is_settled(&self, now: Monotonic) -> bool;
    fn enable(&mut self);
    fn disable(&mut self, now: Monotonic);
    fn remove(&mut self, now: Monotonic);
    fn command(&self, command: Command) -> bool;
    fn start(&mut self, seat: Seat, now: Monotonic) -> Option<News>;
    fn sit(&mut self, seat: &Seat);
    fn look_after(&mut self, now: Monotonic) -> Option<News>;
    /// A life of it is ready: the last failure is over.
    fn clear_failure(&mut self);
    /// A life of it has opened its rings and pages: watches and reads them.
    fn attach(&mut self, setting: &BusSetting);
    /// Names of its rings, whether it has made them or not.
    fn ring_names(&self) -> Vec<String>;
    fn watch(&self) -> &RingWatch;
    fn watch_mut(&mut self) -> &mut RingWatch;
    /// To be called about once a second.
    fn sample_rates(&mut self);
}

impl<J: Work> AnySupervised for Supervised<J> {
    fn kind(&self) -> &'static str {
        J::KIND
    }

    fn name(&self) -> &str {
        self.role.job().name()
    }

    fn id(&self) -> u16 {
        self.role.job().id()
    }

    fn session(&self) -> fep_record::Session {
        self.role.job().session()
    }

    fn need(&self) -> Need<'_> {
        let (core, wait) = self.role.job().wishes();
        let present = self.role.seat().filter(|_| self.role.is_running()).and_then(|seat| seat.core);
        Need { name: self.name(), core, wait, present }
    }

    fn granted(&self) -> Granted {
        self.role.granted()
    }

    fn failure(&self) -> Option<&str> {
        self.role.failure()
    }

    fn is_wanted(&self) -> bool {
        self.role.is_wanted()
    }

    fn is_running(&self) -> bool {
        self.role.is_running()
    }

    fn is_stopping(&self) -> bool {
        self.role.is_stopping()
    }

    fn is_abandoned(&self) -> bool {
        self.role.is_abandoned()
    }

    fn is_leaving(&self) -> bool {
        self.role.is_leaving()
    }

    fn is_due(&self, now: Monotonic) -> bool {
        self.role.is_due(now)
    }

    fn is_settled(&self, now: Monotonic) -> bool {
        self.role.is_settled(now)
    }

    fn enable(&mut self) {
        self.role.enable();
    }

    fn disable(&mut self, now: Monotonic) {
        self.role.disable(now);
    }

    fn remove(&mut self, now: Monotonic) {
        self.role.remove(now);
    }

    fn command(&self, command: Command) -> bool {
        self.role.command(command)
    }

    fn start(&mut self, seat: Seat, now: Monotonic) -> Option<News> {
        self.role.start(seat, now)
    }

    fn sit(&mut self, seat: &Seat) {
        self.role.sit(seat);
    }

    fn look_after(&mut self, now: Monotonic) -> Option<News> {
        self.role.look_after(now)
    }

    fn clear_failure(&mut self) {
        self.role.clear_failure();
    }

    fn attach(&mut self, setting: &BusSetting) {
        self.watch.open(&setting.dir, self.role.job().ring_names());
        let name = self.name();
        let page = |name: String| MetricReader::open(&setting.dir.join("metrics").join(name)).ok();
        let pages = Pages {
            metrics: page(name.to_owned()),
            counters: page(format!("{name}.counters")),
            ocf: ocf::open_reader(setting, name),
        };
        self.pages = pages;
    }

    fn ring_names(&self) -> Vec<String> {
        self.role.job().ring_names()
    }

    fn watch(&self) -> &RingWatch {
        &self.watch
    }

    fn watch_mut(&mut self) -> &mut RingWatch {
        &mut self.watch
    }

    fn sample_rates(&mut self) {
        let reading = self.reading();
        self.rates.sample(&reading);
    }
}
