//! What the control thread holds of one link: its thread or, while it rests, its rings and pages; and the readings of
//! its metric pages.

use std::time::Instant;

use fep_bus::{Access, BusError, Colour, MetricReader, Producer, RingSpec, Warden, WardenSpec};

use crate::event::{EventQueue, LinkEvents};
use crate::link_thread::{Command, Ended, Granted, LinkThread, ThreadSpec};
use crate::metrics::{CounterReading, LinkMetrics, LinkReading};
use crate::publisher::{Publisher, RingPair};
use crate::resume::ResumePage;
use fep_control::api::{LinkLedgers, LinkStatus, Rates, ThreadStatus};
use fep_control::config::{Config, LinkConfig, RingSize};
use fep_downlink::ResumePoint;
use fep_mission::VcColour;

/// A datagram of a wrong length is published as it came.
const DATAGRAM_MAX: usize = 65_535;

/// A link as the control thread sees it.
pub(crate) struct LinkSlot {
    pub(crate) config: LinkConfig,
    pub(crate) core: Option<usize>,
    pub(crate) wardens: Vec<RingWarden>,
    pub(crate) failure: Option<String>,
    granted: Granted,
    body: Body,
    reader: MetricReader,
    counters: MetricReader,
    rates: RateMeter,
}

enum Body {
    Running(LinkThread),
    Resting(Box<(Publisher, ResumePoint)>),
    /// The thread panicked and took its rings with it.
    Lost,
}

/// The warden of one ring.
pub(crate) struct RingWarden {
    pub(crate) ring: String,
    pub(crate) warden: Warden,
}

impl LinkSlot {
    /// Makes or takes over rings and pages. Nothing runs yet.
    pub(crate) fn create(
        config: &LinkConfig,
        whole: &Config,
        core: Option<usize>,
        queue: &EventQueue,
    ) -> Result<LinkSlot, BusError> {
        let dir = whole.bus_dir();
        let (publisher, resume) = make_publisher(config, whole, queue)?;
        let mut wardens = Vec::new();
        for (ring, _, _) in ring_names(config) {
            let warden = Warden::open(&dir, &ring, WardenSpec::default())?;
            wardens.push(RingWarden { ring, warden });
        }
        Ok(LinkSlot {
            config: config.clone(),
            core,
            wardens,
            failure: None,
            granted: Granted { core: None, realtime: false, warnings: Vec::new() },
            body: Body::Resting(Box::new((publisher, resume))),
            reader: MetricReader::open(&dir.join("metrics").join(&config.name))?,
            counters: MetricReader::open(&dir.join("metrics").join(format!("{}.counters", config.name)))?,
            rates: RateMeter::new(),
        })
    }

    /// Starts the thread; does nothing when it runs. `config` may differ from the slot's in how the thread waits.
    pub(crate) fn start(&mut self, config: LinkConfig, priority: u8) -> Result<Vec<String>, String> {
        let (publisher, resume) = match std::mem::replace(&mut self.body, Body::Lost) {
            Body::Resting(parts) => *parts,
            Body::Running(thread) => {
                self.body = Body::Running(thread);
                return Ok(Vec::new());
            }
            Body::Lost => return Err("its thread took its rings with it; restart fepd".to_owned()),
        };
        let spec = ThreadSpec { core: self.core, realtime_priority: priority };
        let thread = LinkThread::start(config, spec, publisher, resume)
            .map_err(|error| format!("no thread: {error}"))?;
        self.failure = None;
        self.granted = thread.granted.clone();
        self.body = Body::Running(thread);
        Ok(self.granted.warnings.clone())
    }

    /// Stops the thread and waits for it; does nothing when none runs.
    pub(crate) fn stop(&mut self) {
        match std::mem::replace(&mut self.body, Body::Lost) {
            Body::Running(thread) => self.settle(thread.stop()),
            other => self.body = other,
        }
    }

    /// Notices a thread that has ended by itself. `Some` with the reason, once.
    pub(crate) fn look_after(&mut self) -> Option<String> {
        if !matches!(&self.body, Body::Running(thread) if thread.is_finished()) {
            return None;
        }
        let Body::Running(thread) = std::mem::replace(&mut self.body, Body::Lost) else { return None };
        self.settle(thread.join());
        Some(self.failure.get_or_insert_with(|| "ended without a reason".to_owned()).clone())
    }

    fn settle(&mut self, ended: Result<Ended, String>) {
        match ended {
            Ok(Ended { publisher, resume_point, failure }) => {
                self.failure = failure;
                self.body = Body::Resting(Box::new((publisher, resume_point)));
            }
            Err(panic) => {
                self.failure = Some(format!("panic: {panic}"));
                self.body = Body::Lost;
            }
        }
    }

    /// Rings of a resting link have no thread that keeps their heartbeat.
    pub(crate) fn keep_alive(&mut self, now_tai_ns: i64) {
        if let Body::Resting(parts) = &mut self.body {
            parts.0.housekeep(now_tai_ns);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.body, Body::Running(_))
    }

    /// Forgets synchronisation and counters. `false` when no thread runs or its queue is full.
    pub(crate) fn reset(&self) -> bool {
        matches!(&self.body, Body::Running(thread) if thread.tell(Command::Reset))
    }

    /// To be called about once a second.
    pub(crate) fn sample_rates(&mut self) {
        let reading = LinkReading::of(&self.reader);
        self.rates.sample(&reading);
    }

    pub(crate) fn reading(&self) -> LinkReading {
        LinkReading::of(&self.reader)
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let reading = self.reading();
        let config = &self.config;
        let state = match (&self.body, &self.failure) {
            (Body::Running(_), _) => reading.state(),
            (_, Some(_)) => "failed",
            (_, None) => "disabled",
        };
        LinkStatus {
            name: config.name.clone(),
            id: config.id,
            channel: config.channel.name.clone(),
            spacecraft: config.channel.spacecraft.clone(),
            session: session_name(config).to_owned(),
            transport: transport_name(config),
            enabled: self.is_running(),
            state: state.to_owned(),
            failure: self.failure.clone(),
            sync: reading.sync_state().to_owned(),
            thread: ThreadStatus {
                core: self.granted.core,
                realtime: self.granted.realtime,
                busy_percent: self.rates.busy_percent,
                cpu_percent: self.rates.cpu_percent,
            },
            rates: self.rates.rates.clone(),
            transport_counters: reading.named("link"),
            sync_counters: reading.named("sync"),
            ledger: reading.ledger(),
            vcs: reading.vcs(&config.channel, &CounterReading::of(&self.counters)),
            latency: reading.latency(),
        }
    }

    pub(crate) fn ledgers(&self) -> LinkLedgers {
        let reading = self.reading();
        const RECEPTION: [&str; 4] = ["kernel_drops", "truncated", "discarded_bytes", "receive_errors"];
        let mut reception = reading.named("link");
        reception.retain(|count| RECEPTION.contains(&count.name.as_str()));
        LinkLedgers {
            link: self.config.name.clone(),
            vcs: reading.vcs(&self.config.channel, &CounterReading::of(&self.counters)),
            reception,
            ledger: reading.ledger(),
        }
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Frames,
    Packets,
}

fn ring_names(config: &LinkConfig) -> Vec<(String, Colour, Content)> {
    let name = &config.name;
    let mut rings = vec![
        (format!("{name}.frames"), Colour::Black, Content::Frames),
        (format!("{name}.packets"), Colour::Black, Content::Packets),
    ];
    if config.channel.has_red() {
        rings.push((format!("{name}.red.frames"), Colour::Red, Content::Frames));
        rings.push((format!("{name}.red.packets"), Colour::Red, Content::Packets));
    }
    rings
}

/// Specification of a ring of the configured sizes and permissions.
pub(crate) fn ring_spec(
    config: &Config,
    name: &str,
    schema: &str,
    colour: Colour,
    size: RingSize,
    payload_max: u32,
) -> RingSpec {
    let access = if colour == Colour::Red { &config.rings.red } else { &config.rings.black };
    RingSpec {
        colour,
        desc_log2: size.desc_log2,
        data_len: size.data_len,
        extent_len: config.rings.extent_len,
        payload_max,
        gates: config.rings.gates.clone(),
        mode: access.mode,
        group: (!access.group.is_empty()).then(|| access.group.clone()),
        ..RingSpec::new(name, schema)
    }
}

fn make_publisher(
    config: &LinkConfig,
    whole: &Config,
    queue: &EventQueue,
) -> Result<(Publisher, ResumePoint), BusError> {
    let dir = whole.bus_dir();
    let frame_max = match config.framing {
        fep_downlink::Framing::Stream => config.channel.frame.frame_len,
        _ => DATAGRAM_MAX.min((whole.rings.extent_len / 4) as usize),
    };
    let mut producers = Vec::new();
    for (name, colour, content) in ring_names(config) {
        let spec = match content {
            Content::Frames => {
                ring_spec(whole, &name, "ccsds.frame.v1", colour, whole.rings.frames, frame_max as u32)
            }
            Content::Packets => ring_spec(
                whole,
                &name,
                "ccsds.packet.v1",
                colour,
                whole.rings.packets,
                whole.rings.packet_max,
            ),
        };
        let producer = Producer::create_or_attach(&dir, &spec)?;
        tracing::info!(ring = name, origin = ?producer.origin(), next_seq = producer.head().seq, "ring ready");
        producers.push(producer);
    }
    let mut producers = producers.into_iter();
    let mut pair = || Some(RingPair { frames: producers.next()?, packets: producers.next()? });
    let (black, red) = (pair(), pair());
    let Some(black) = black else { unreachable!("every link has two black rings") };
    assert_eq!(
        red.is_some(),
        config.channel.vcs.iter().any(|vc| vc.colour == VcColour::Red),
        "red rings exist where there is red data"
    );
    let frames_ring = format!("{}.frames", config.name);
    // Whoever may read black data may read the counters.
    let black_access = &whole.rings.black;
    let pages = Access {
        mode: black_access.mode,
        group: (!black_access.group.is_empty()).then(|| black_access.group.clone()),
    };
    let (resume_page, point) =
        ResumePage::take_over(&dir, &config.name, &black.frames, &frames_ring, &config.channel, &pages)?;
    let metrics = LinkMetrics::create(&dir, &config.name, &config.channel, &pages)?;
    let events = LinkEvents::new(queue.clone(), config.id);
    Ok((Publisher::new(black, red, resume_page, metrics, events), point))
}

/// Rates out of two readings of the counters.
struct RateMeter {
    at: Instant,
    bytes: u64,
    frames: u64,
    packets: u64,
    work_ns: u64,
    cpu_ns: u64,
    rates: Rates,
    busy_percent: f64,
    cpu_percent: f64,
}

impl RateMeter {
    fn new() -> RateMeter {
        RateMeter {
            at: Instant::now(),
            bytes: 0,
            frames: 0,
            packets: 0,
            work_ns: 0,
            cpu_ns: 0,
            rates: Rates::default(),
            busy_percent: 0.0,
            cpu_percent: 0.0,
        }
    }

    fn sample(&mut self, reading: &LinkReading) {
        let now = Instant::now();
        let elapsed_s = now.duration_since(self.at).as_secs_f64().max(1e-3);
        self.at = now;
        let rate = |now: u64, last: &mut u64| {
            // A counter that went back belongs to a new thread.
            let gained = now.saturating_sub(*last);
            *last = now;
            gained as f64 / elapsed_s
        };
        self.rates = Rates {
            bits_per_s: 8.0 * rate(reading.number("link.bytes"), &mut self.bytes),
            frames_per_s: rate(reading.number("chain.received"), &mut self.frames),
            packets_per_s: rate(reading.number("chain.packets"), &mut self.packets),
        };
        self.busy_percent = rate(reading.number("thread.work_ns"), &mut self.work_ns) / 1e7;
        self.cpu_percent = rate(reading.number("thread.cpu_ns"), &mut self.cpu_ns) / 1e7;
    }
}
