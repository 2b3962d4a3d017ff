//! The hot thread of one link: receive, decode, publish, run to completion, on a core of its own where there is one.
//!
//! It shares nothing with the rest of the process but what it alone writes (rings, metric pages), its line to the control
//! thread, which it looks at while it keeps house, and a queue of events. It is never waited for and never waits, except in
//! the kernel for octets.

use std::sync::Arc;

use fep_net::{Event, LinkState, Polled, Station, TransportSpec, WaitMode};
use fep_time::Monotonic;
use serde_json::json;

use fep_coding::SyncState;
use fep_downlink::{
    Chain, ChainOptions, DecodePool, Framing, IdlePolicy, Reception, ReorderSpec, ResumePoint,
};

use super::connections::Connections;
use crate::decode_pool::DecodeThreads;
use crate::event::{EventCode, EventQueue, LinkEvents};
use crate::heard::{Heard, Speaker};
use crate::metrics::{MetricPlan, RoleMetrics, STATE_DISABLED, STATE_FAILED, ThreadFigures};
use crate::ocf::OcfOutlet;
use crate::plan::{Class, Seat};
use crate::publisher::Publisher;
use crate::realtime;
use crate::resume::ResumePage;
use crate::rings::{BusSetting, RingPlan, Rings};
use crate::role::{Command, Ended, Job, Line};
use crate::supervised::Work;
use fep_bus::{BusError, Colour};
use fep_control::config::{CorePolicy, LinkConfig};
use fep_record::Session;

/// Between two looks at the line, the counters and the rings' heartbeats.
const HOUSEKEEP_EVERY_NS: i64 = 1_000_000;
/// Between two readings of the processor time, which cost a system call.
const CPU_EVERY_NS: i64 = 100_000_000;
/// Between two looks whether the rings still lie under their names.
const LINKED_EVERY_NS: i64 = 1_000_000_000;
/// Between two looks at the line once the data has ended.
const ENDED_NAP: std::time::Duration = std::time::Duration::from_millis(10);
/// Most frames of a virtual channel that wait for one that was overtaken.
const REORDER_WINDOW: usize = 4096;
/// A datagram of a wrong length is published as it came.
const DATAGRAM_MAX: u32 = 65_535;

/// What a link's thread is to do.
#[derive(Clone)]
pub(crate) struct LinkJob {
    pub(crate) config: LinkConfig,
    /// The sign to the thread of the spacecraft, if one merges this link with others.
    pub(crate) heard: Heard,
    pub(crate) setting: Arc<BusSetting>,
    pub(crate) queue: EventQueue,
}

/// What outlives a thread: open rings, pages, and where the frame counters stand.
pub(crate) struct LinkKept {
    publisher: Publisher,
    resume_point: ResumePoint,
}

impl LinkJob {
    /// Which rings the link has.
    fn ring_plan(&self) -> RingPlan {
        let frame_max = match self.config.framing {
            Framing::Stream => self.config.channel.frame.frame_len as u32,
            _ => DATAGRAM_MAX.min((self.setting.rings.extent_len / 4) as u32),
        };
        // A link of a merge publishes frames only: its spacecraft takes the packets out.
        let packets = self.config.merged_by.is_none();
        RingPlan { red: self.config.channel.has_red(), packets, frame_max }
    }

    fn open(&self) -> Result<LinkKept, BusError> {
        let LinkJob { config, setting, queue, .. } = self;
        let rings = Rings::open(setting, &config.name, &self.ring_plan())?;
        // Whoever may read black data may read the counters.
        let pages = setting.access(Colour::Black);
        let (page, resume_point) =
            ResumePage::take_over(&setting.dir, &config.name, &rings, &config.channel, &pages)?;
        let metrics =
            RoleMetrics::create(&setting.dir, &config.name, &config.channel, MetricPlan::Link, &pages)?;
        let ocf = OcfOutlet::open(setting, &config.name, config.channel.has_red())?;
        let events = LinkEvents::new(queue.clone(), config.id);
        Ok(LinkKept { publisher: Publisher::new(rings, page, metrics, events, ocf), resume_point })
    }
}

impl Job for LinkJob {
    type Kept = LinkKept;

    fn name(&self) -> &str {
        &self.config.name
    }

    fn run(self, kept: Option<LinkKept>, seat: Seat, line: &Line) -> Ended<LinkKept> {
        // On its core, so that the rings lie near it; but laying them out is no work for a real-time thread.
        line.sit(&Seat { class: Class::Normal, ..seat });
        let kept = match kept.map_or_else(|| self.open(), Ok) {
            Ok(kept) => kept,
            Err(error) => return Ended { kept: None, failure: Some(error.to_string()) },
        };
        line.sit(&seat);
        let LinkKept { mut publisher, resume_point } = kept;
        publisher.housekeep(Monotonic::now());
        let (chain, station) = match make_chain(&self.config).and_then(|chain| {
            let mut transport = self.config.transport.clone();
            transport.wait = seat.wait;
            for wait_us in [self.config.decoding.wait_us, self.config.reorder_wait_us] {
                // What waits for others must not wait for the kernel as well.
                if wait_us > 0 {
                    transport.max_wait_us = transport.max_wait_us.min(wait_us);
                }
            }
            let mut station = Station::open(transport).map_err(|error| error.to_string())?;
            line.wake_with(
                station.waker().map_err(|error| format!("no descriptor to be woken by: {error}"))?,
            );
            Ok((chain, station))
        }) {
            Ok(opened) => opened,
            Err(error) => return fail(publisher, resume_point, error),
        };
        let speaker = self.heard.speak();
        Receiver::new(self.config, publisher, chain, station, resume_point, speaker).run(line)
    }

    fn keep_alive(kept: &mut LinkKept, now: Monotonic) {
        kept.publisher.housekeep(now);
    }
}

impl Work for LinkJob {
    const KIND: &'static str = "link";

    fn id(&self) -> u16 {
        self.config.id
    }

    fn session(&self) -> Session {
        self.config.session
    }

    fn wishes(&self) -> (CorePolicy, WaitMode) {
        (self.config.core, self.config.transport.wait)
    }

    fn ring_names(&self) -> Vec<String> {
        self.ring_plan().names(&self.config.name)
    }
}

fn make_chain(config: &LinkConfig) -> Result<Chain, String> {
    let options = ChainOptions {
        session: config.session,
        framing: config.framing,
        // Whether idle frames are dropped is decided where frames are served.
        idle: if config.merged_by.is_some() { IdlePolicy::Publish } else { config.idle },
        frames_only: config.merged_by.is_some(),
        // Behind a merge it is the merge that puts frames in order.
        reorder: (config.reorder_wait_us > 0 && config.merged_by.is_none()).then(|| ReorderSpec {
            wait_ns: 1000 * i64::from(config.reorder_wait_us),
            window_frames: REORDER_WINDOW,
        }),
        isa: None,
        symbols: config.symbols,
        decoding: config.decoding,
        ..ChainOptions::default()
    };
    let pool = match config.decoding.threads {
        0 => None,
        count => DecodeThreads::start(count).map(|pool| Box::new(pool) as Box<dyn DecodePool>),
    };
    Chain::with_pool(&config.channel, options, pool).map_err(|error| error.to_string())
}

#[cold]
fn fail(mut publisher: Publisher, resume_point: ResumePoint, cause: String) -> Ended<LinkKept> {
    publisher.events.flush();
    publisher.metrics.set_state(STATE_FAILED);
    publisher.housekeep(Monotonic::now());
    Ended { kept: Some(LinkKept { publisher, resume_point }), failure: Some(cause) }
}

/// One life of a link, once everything is open.
struct Receiver {
    config: LinkConfig,
    publisher: Publisher,
    chain: Chain,
    station: Station,
    figures: ThreadFigures,
    kept_house_at: Monotonic,
    cpu_read_at: Monotonic,
    linked_at: Monotonic,
    connections: Connections,
    speaker: Speaker,
    /// Whether datagrams come: on a stream the synchroniser knows.
    datagrams_come: bool,
}

impl Receiver {
    fn new(
        config: LinkConfig,
        publisher: Publisher,
        mut chain: Chain,
        station: Station,
        resume: ResumePoint,
        speaker: Speaker,
    ) -> Receiver {
        chain.resume(&resume);
        let start = Monotonic::now();
        let connections = Connections::new(super::transport_name(&config));
        Receiver {
            config,
            publisher,
            chain,
            station,
            figures: ThreadFigures::default(),
            kept_house_at: start,
            cpu_read_at: start,
            linked_at: start,
            connections,
            speaker,
            datagrams_come: false,
        }
    }

    fn run(mut self, line: &Line) -> Ended<LinkKept> {
        // Whoever sees that it is ready sees its own figures, not those of the life before.
        self.update_metrics();
        line.report_ready();
        loop {
            let (polled, now) = self.turn();
            if now.ns_since(self.kept_house_at) >= HOUSEKEEP_EVERY_NS && self.keep_house(now, line) {
                break;
            }
            if now.ns_since(self.linked_at) >= LINKED_EVERY_NS {
                self.linked_at = now;
                if let Err(cause) = self.publisher.check_linked() {
                    self.end_stream();
                    // Rings that nobody can find are worth nothing: the next life makes new ones.
                    return Ended { kept: None, failure: Some(cause) };
                }
            }
            if self.chain.pool_failed() {
                let cause = "a decode thread failed; its blocks are published as uncorrectable".to_owned();
                self.end_stream();
                return fail(self.publisher, self.chain.resume_point(), cause);
            }
            if polled == Polled::Ended {
                if let LinkState::Failed(reason) = self.station.state() {
                    let reason = reason.clone();
                    self.end_stream();
                    return fail(self.publisher, self.chain.resume_point(), reason);
                }
                self.rest(line);
                break;
            }
        }
        // What the kernel has already passed on is decoded, and what the synchroniser holds is published.
        self.end_stream();
        self.publisher.metrics.set_state(STATE_DISABLED);
        self.publisher.housekeep(Monotonic::now());
        let kept = LinkKept { publisher: self.publisher, resume_point: self.chain.resume_point() };
        Ended { kept: Some(kept), failure: None }
    }

    /// Takes what has come, and says when it was done.
    fn turn(&mut self) -> (Polled, Monotonic) {
        let Receiver { config, publisher, chain, station, connections, datagrams_come, .. } = self;
        let mut work_start = None;
        let polled = station.poll(&mut |event| match event {
            Event::Chunk(chunk) => {
                // One reading a turn: what it bounds is far longer than a turn.
                let now = *work_start.get_or_insert_with(Monotonic::now);
                publisher.received(chunk.received);
                let reception =
                    Reception { antenna: config.id, ..Reception::new(chunk.octets, chunk.received) };
                chain.receive(&reception, now, publisher);
                *datagrams_come = true;
            }
            Event::Connected { peer, .. } => connections.connected(peer),
            Event::ConnectFailed { cause, .. } => connections.failed(cause),
            Event::Refused { peer, reason, .. } => publisher.events.refused(peer, reason),
            // What is held comes out now, with its own times, and not when the next connection begins.
            Event::Disconnected { reason, .. } => {
                chain.disconnected(publisher);
                *datagrams_come = false;
                connections.disconnected(reason);
            }
            Event::Silence { last_received, .. } => {
                chain.disconnected(publisher);
                *datagrams_come = false;
                publisher.events.report(EventCode::Silent, json!({"last_received_tai_ns": last_received.0}));
            }
            // Nothing is sent on a downlink.
            Event::Transmitted { .. } | Event::TransmitFailed { .. } => {}
        });
        self.figures.turns += 1;
        if self.chain.is_waiting() {
            self.chain.idle(Monotonic::now(), &mut self.publisher);
        }
        let heard = match self.chain.sync_state() {
            Some(state) => matches!(state, SyncState::Lock | SyncState::Flywheel),
            None => self.datagrams_come,
        };
        self.speaker.say(heard);
        let now = Monotonic::now();
        if let Some(start) = work_start {
            self.figures.work_ns += now.ns_since(start).unsigned_abs();
        }
        (polled, now)
    }

    /// The stream has ended: publishes what is held and brings the page up to date.
    fn end_stream(&mut self) {
        self.chain.disconnected(&mut self.publisher);
        self.connections.flush(Monotonic::now(), &mut self.publisher.events);
        self.publisher.events.flush();
        self.update_metrics();
    }

    /// The data has ended: publishes what is held, then waits for commands.
    fn rest(&mut self, line: &Line) {
        self.end_stream();
        let source = match self.config.transport.transport {
            TransportSpec::File(_) => "end of the file",
            TransportSpec::Stdin(_) => "end of standard input",
            _ => "closed",
        };
        self.publisher.events.report(EventCode::LinkEnded, json!({"reason": source}));
        while !self.keep_house(Monotonic::now(), line) {
            std::thread::sleep(ENDED_NAP);
        }
    }

    fn update_metrics(&mut self) {
        let Receiver { publisher, chain, station, figures, .. } = self;
        publisher.metrics.update_link(chain, station.counters(), station.state());
        publisher.metrics.update(figures, &publisher.ocf.counts, chain.ledger(), chain.vcs());
    }

    /// Counters, heartbeats, events, commands. `true` to stop.
    fn keep_house(&mut self, now: Monotonic, line: &Line) -> bool {
        self.kept_house_at = now;
        if now.ns_since(self.cpu_read_at) >= CPU_EVERY_NS {
            self.cpu_read_at = now;
            self.figures.cpu_ns = realtime::thread_cpu_ns();
        }
        self.connections.report(now, &mut self.publisher.events);
        self.figures.events_overflowed = self.publisher.events.overflowed();
        self.figures.packets_too_long = self.publisher.packets_too_long;
        self.update_metrics();
        self.publisher.housekeep(now);
        while let Some(command) = line.next() {
            match command {
                Command::Stop => return true,
                Command::Reset => {
                    self.chain.reset(&mut self.publisher);
                    self.publisher.resume.clear();
                    self.publisher.events.report(EventCode::LinkReset, json!({}));
                }
                Command::Sit(seat) => {
                    line.sit(&seat);
                    self.station.set_wait(seat.wait);
                }
                Command::Panic => panic!("asked for by the test switch"),
            }
        }
        false
    }
}
