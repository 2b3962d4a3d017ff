//! A link as the control thread sees it: a supervised role, the readings of its metric pages, its rings' watchers.

mod job;

use fep_bus::MetricReader;
use fep_time::Monotonic;

pub(crate) use job::LinkJob;

use crate::metrics::{CounterReading, LinkReading};
use crate::rates::RateMeter;
use crate::rings::BusSetting;
use crate::role::{Patience, Role};
use crate::watch::RingWatch;
use fep_control::api::{LinkLedgers, LinkStatus, ThreadStatus};
use fep_control::config::LinkConfig;
use fep_net::WaitMode;

/// A link: its role and what the control thread reads of it.
pub(crate) struct Link {
    pub(crate) role: Role<LinkJob>,
    pub(crate) watch: RingWatch,
    pages: Option<Pages>,
    rates: RateMeter,
}

/// The metric pages of a link that has been opened at least once.
struct Pages {
    metrics: MetricReader,
    counters: MetricReader,
}

impl Link {
    pub(crate) fn new(job: LinkJob, patience: Patience) -> Link {
        let wanted = job.config.enabled;
        Link {
            role: Role::new(job, wanted, patience),
            watch: RingWatch::default(),
            pages: None,
            rates: RateMeter::default(),
        }
    }

    pub(crate) fn config(&self) -> &LinkConfig {
        &self.role.job().config
    }

    /// To be called when a life of it has opened its rings and pages.
    pub(crate) fn attach(&mut self, setting: &BusSetting) {
        let names = self.role.job().ring_plan().names(&self.config().name);
        self.watch.open(&setting.dir, names);
        let page = |name: String| MetricReader::open(&setting.dir.join("metrics").join(name)).ok();
        let name = &self.config().name;
        let pages = (page(name.clone()), page(format!("{name}.counters")));
        if let (Some(metrics), Some(counters)) = pages {
            self.pages = Some(Pages { metrics, counters });
        }
    }

    /// To be called when it is to become another link of the same name.
    pub(crate) fn detach(&mut self) {
        (self.watch, self.pages, self.rates) = (RingWatch::default(), None, RateMeter::default());
    }

    /// To be called about once a second.
    pub(crate) fn sample_rates(&mut self) {
        let reading = self.reading();
        self.rates.sample(&reading);
    }

    pub(crate) fn reading(&self) -> LinkReading {
        self.pages.as_ref().map(|pages| LinkReading::of(&pages.metrics)).unwrap_or_default()
    }

    fn counters(&self) -> CounterReading {
        self.pages.as_ref().map(|pages| CounterReading::of(&pages.counters)).unwrap_or_default()
    }

    fn state(&self, reading: &LinkReading) -> &'static str {
        let role = &self.role;
        match role.failure() {
            _ if role.is_abandoned() => "abandoned",
            _ if role.is_stopping() => "stopping",
            _ if role.is_running() && self.pages.is_none() => "starting",
            Some(_) if !role.is_running() => "failed",
            _ if role.is_running() => reading.state(),
            _ if role.is_wanted() => "starting",
            _ => "disabled",
        }
    }

    pub(crate) fn status(&self, now: Monotonic) -> LinkStatus {
        let reading = self.reading();
        let config = self.config();
        let granted = self.role.granted();
        let wait = self.role.seat().map_or(config.transport.wait, |seat| seat.wait);
        LinkStatus {
            name: config.name.clone(),
            id: config.id,
            channel: config.channel.name.clone(),
            spacecraft: config.channel.spacecraft_names(),
            session: session_name(config).to_owned(),
            transport: transport_name(config),
            enabled: self.role.is_wanted(),
            state: self.state(&reading).to_owned(),
            failure: self.role.failure().map(str::to_owned),
            retry_ms: self.role.retry_ms(now),
            restarts: self.role.restarts(),
            sync: if self.role.is_running() { reading.sync_state() } else { "" }.to_owned(),
            thread: ThreadStatus {
                core: granted.core,
                realtime: granted.realtime,
                wait: wait_name(wait).to_owned(),
                busy_percent: self.rates.busy_percent,
                cpu_percent: self.rates.cpu_percent,
            },
            rates: self.rates.rates.clone(),
            transport_counters: reading.named("link"),
            sync_counters: reading.named("sync"),
            ledger: reading.ledger(),
            vcs: reading.vcs(&config.channel, &self.counters()),
            latency: reading.latency(),
        }
    }

    pub(crate) fn ledgers(&self) -> LinkLedgers {
        let reading = self.reading();
        const RECEPTION: [&str; 4] = ["kernel_drops", "truncated", "discarded_bytes", "receive_errors"];
        let mut reception = reading.named("link");
        reception.retain(|count| RECEPTION.contains(&count.name.as_str()));
        LinkLedgers {
            link: self.config().name.clone(),
            vcs: reading.vcs(&self.config().channel, &self.counters()),
            reception,
            ledger: reading.ledger(),
        }
    }
}

/// As in the configuration.
pub(crate) fn wait_name(wait: WaitMode) -> &'static str {
    match wait {
        WaitMode::Busy => "busy",
        WaitMode::Wait => "wait",
        WaitMode::Adaptive => "adaptive",
    }
}

/// OPS, TEST or REPLAY.
fn session_name(config: &LinkConfig) -> &'static str {
    match config.session {
        fep_record::Session::Ops => "OPS",
        fep_record::Session::Test => "TEST",
        fep_record::Session::Replay => "REPLAY",
    }
}

/// Kind and address, for people.
fn transport_name(config: &LinkConfig) -> String {
    use fep_net::TransportSpec;
    let transport = &config.transport.transport;
    let place = match transport {
        TransportSpec::TcpClient(tcp) => tcp.address.to_string(),
        TransportSpec::TcpServer(tcp) => tcp.address.to_string(),
        TransportSpec::Udp(udp) => udp.bind.to_string(),
        TransportSpec::Serial(serial) => serial.device.display().to_string(),
        TransportSpec::File(file) => file.path.display().to_string(),
        TransportSpec::Stdin(_) => String::new(),
    };
    format!("{} {place}", transport.kind()).trim_end().to_owned()
}
