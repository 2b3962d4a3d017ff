//! The hot thread of one link: receive, decode, publish, run to completion, on a core of its own where there is one.
//!
//! It shares nothing with the rest of the process but what it alone writes (rings, metric pages), a queue of commands
//! it looks into while it keeps house, and a queue of events. It is never waited for and never waits, except in the
//! kernel for bytes.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use fep_net::{Link, LinkCounters, LinkState, Polled, TransportSpec};
use fep_time::Monotonic;
use serde_json::json;

use fep_downlink::{Chain, ChainOptions, DecodePool, Reception, ResumePoint};

use crate::decode_pool::DecodeThreads;
use crate::event::EventCode;
use crate::metrics::{STATE_DISABLED, STATE_FAILED, ThreadFigures};
use crate::publisher::Publisher;
use crate::realtime;
use fep_control::config::LinkConfig;

/// Between two looks at the command queue, the counters and the rings' heartbeats.
const HOUSEKEEP_EVERY: Duration = Duration::from_millis(1);
/// Between two readings of the processor time, which cost a system call.
const CPU_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the command queue once the data has ended.
const ENDED_NAP: Duration = Duration::from_millis(10);

/// What a hot thread can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Stop: what has been received is decoded and published first.
    Stop,
    /// Forget synchronisation, frame counters and packets begun.
    Reset,
}

/// What a thread could not have, told once at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) core: Option<usize>,
    pub(crate) realtime: bool,
    pub(crate) warnings: Vec<String>,
}

/// How a thread shall run.
#[derive(Debug, Clone)]
pub(crate) struct ThreadSpec {
    pub(crate) core: Option<usize>,
    pub(crate) realtime_priority: u8,
}

/// A running thread. Joining it gives the publisher back, to be used by the next one.
pub(crate) struct LinkThread {
    handle: JoinHandle<Ended>,
    commands: Arc<ArrayQueue<Command>>,
    pub(crate) granted: Granted,
}

/// What a thread leaves behind.
pub(crate) struct Ended {
    pub(crate) publisher: Publisher,
    pub(crate) resume_point: ResumePoint,
    pub(crate) failure: Option<String>,
}

impl LinkThread {
    /// Starts the thread and waits until it runs, so that what it was refused can be told.
    pub(crate) fn start(
        config: LinkConfig,
        spec: ThreadSpec,
        publisher: Publisher,
        resume: ResumePoint,
    ) -> std::io::Result<LinkThread> {
        let commands = Arc::new(ArrayQueue::new(16));
        let (granted_in, granted_out) = std::sync::mpsc::sync_channel(1);
        let queue = commands.clone();
        let name = format!("fep-{}", config.name);
        let handle = std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            let granted = ask_kernel(&config.name, &spec);
            let _ = granted_in.send(granted);
            run(&config, publisher, resume, &queue)
        })?;
        let granted =
            granted_out.recv().unwrap_or(Granted { core: None, realtime: false, warnings: Vec::new() });
        Ok(LinkThread { handle, commands, granted })
    }

    /// Tells it something. `false` when it has not looked into its queue for sixteen commands.
    pub(crate) fn tell(&self, command: Command) -> bool {
        self.commands.push(command).is_ok()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Stops it and waits for it: at most one sleep in the kernel and the decoding of what is held.
    pub(crate) fn stop(self) -> Result<Ended, String> {
        // A full queue holds commands that will be read before the thread sleeps again; one of them may be lost for this.
        self.commands.force_push(Command::Stop);
        self.join()
    }

    /// Waits for a thread that has ended by itself.
    pub(crate) fn join(self) -> Result<Ended, String> {
        self.handle.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
        })
    }
}

fn ask_kernel(link: &str, spec: &ThreadSpec) -> Granted {
    let mut granted = Granted { core: None, realtime: false, warnings: Vec::new() };
    if let Some(core) = spec.core {
        match realtime::pin_to(core) {
            Ok(()) => granted.core = Some(core),
            Err(error) => granted.warnings.push(format!("link {link} is not pinned to core {core}: {error}")),
        }
    }
    if spec.realtime_priority > 0 {
        match realtime::set_fifo(spec.realtime_priority) {
            Ok(()) => granted.realtime = true,
            Err(error) => granted.warnings.push(format!(
                "link {link} runs without real-time priority: {error} (grant CAP_SYS_NICE or LimitRTPRIO, or set \
                 daemon.realtime_priority = 0)"
            )),
        }
    }
    granted
}

/// What the loop keeps between turns.
struct Turn {
    figures: ThreadFigures,
    kept_house_at: Instant,
    cpu_read_at: Instant,
    connections: u64,
    disconnects: u64,
}

fn run(
    config: &LinkConfig,
    mut publisher: Publisher,
    resume: ResumePoint,
    commands: &ArrayQueue<Command>,
) -> Ended {
    let options = ChainOptions {
        session: config.session,
        framing: config.framing,
        idle: config.idle,
        isa: None,
        symbols: config.symbols,
        decoding: config.decoding,
    };
    let mut transport = config.transport.clone();
    if config.decoding.wait_us > 0 {
        // A block that waits for others must not wait for the kernel as well.
        transport.max_wait_us = transport.max_wait_us.min(config.decoding.wait_us.max(1));
    }
    publisher.housekeep(fep_time::tai_now().0);
    let chain = make_chain(config, options);
    let (mut chain, mut link) = match (chain, Link::open(transport)) {
        (Ok(chain), Ok(link)) => (chain, link),
        (Err(error), _) => return fail(publisher, resume, error),
        (_, Err(error)) => return fail(publisher, resume, error.to_string()),
    };
    chain.resume(resume);
    let start = Instant::now();
    let figures = ThreadFigures::default();
    let mut turn = Turn { figures, kept_house_at: start, cpu_read_at: start, connections: 0, disconnects: 0 };
    loop {
        let mut work_start = None;
        let polled = link.poll(&mut |chunk| {
            work_start.get_or_insert_with(Instant::now);
            publisher.received(chunk.received);
            if chunk.connection_start {
                chain.disconnected(&mut publisher);
            }
            let reception = Reception { antenna: config.id, ..Reception::new(chunk.bytes, chunk.received) };
            chain.receive(&reception, Monotonic::now(), &mut publisher);
        });
        turn.figures.turns += 1;
        if chain.is_waiting() {
            chain.idle(Monotonic::now(), &mut publisher);
        }
        let now = Instant::now();
        if let Some(start) = work_start {
            turn.figures.work_ns += now.duration_since(start).as_nanos() as u64;
        }
        if polled == Polled::Data(0) || now.duration_since(turn.kept_house_at) >= HOUSEKEEP_EVERY {
            turn.kept_house_at = now;
            if keep_house(&mut turn, now, &mut publisher, &mut chain, &link, commands) {
                break;
            }
        }
        if chain.pool_failed() {
            let point = chain.resume_point().clone();
            return fail(
                publisher,
                point,
                "a decode thread failed; its blocks are published as uncorrectable".to_owned(),
            );
        }
        if polled == Polled::Ended {
            if let LinkState::Failed(reason) = link.state() {
                let reason = reason.clone();
                let point = chain.resume_point().clone();
                chain.disconnected(&mut publisher);
                publisher.metrics.update(&chain, link.counters(), link.state(), &turn.figures);
                return fail(publisher, point, reason);
            }
            rest(&mut turn, &mut publisher, &mut chain, &link, config, commands);
            break;
        }
    }
    // Drain: what the kernel has already handed over is decoded, and what the synchroniser holds is given out.
    chain.disconnected(&mut publisher);
    publisher.events.flush();
    publisher.metrics.update(&chain, link.counters(), link.state(), &turn.figures);
    publisher.metrics.set_state(STATE_DISABLED);
    publisher.housekeep(fep_time::tai_now().0);
    Ended { publisher, resume_point: chain.resume_point().clone(), failure: None }
}

fn make_chain(config: &LinkConfig, options: ChainOptions) -> Result<Chain, String> {
    let pool = match config.decoding.threads {
        0 => None,
        count => DecodeThreads::start(count).map(|pool| Box::new(pool) as Box<dyn DecodePool>),
    };
    Chain::with_pool(&config.channel, options, pool).map_err(|error| error.to_string())
}

/// The data has ended: gives out what is held, then waits for commands.
fn rest(
    turn: &mut Turn,
    publisher: &mut Publisher,
    chain: &mut Chain,
    link: &Link,
    config: &LinkConfig,
    commands: &ArrayQueue<Command>,
) {
    chain.disconnected(publisher);
    let source = match config.transport.transport {
        TransportSpec::File(_) => "end of the file",
        TransportSpec::Stdin(_) => "end of standard input",
        _ => "closed",
    };
    publisher.events.flush();
    publisher.events.tell(EventCode::LinkEnded, json!({"reason": source}));
    while !keep_house(turn, Instant::now(), publisher, chain, link, commands) {
        std::thread::sleep(ENDED_NAP);
    }
}

#[cold]
fn fail(mut publisher: Publisher, resume_point: ResumePoint, reason: String) -> Ended {
    publisher.events.flush();
    publisher.metrics.set_state(STATE_FAILED);
    publisher.housekeep(fep_time::tai_now().0);
    Ended { publisher, resume_point, failure: Some(reason) }
}

/// By the counters, not by the state: a connection that came back within the millisecond is told as well.
fn tell_connections(turn: &mut Turn, publisher: &mut Publisher, counters: &LinkCounters) {
    let (up, down) = (counters.connections - turn.connections, counters.disconnects - turn.disconnects);
    (turn.connections, turn.disconnects) = (counters.connections, counters.disconnects);
    if down > 0 {
        publisher
            .events
            .tell(EventCode::Disconnected, json!({"times": down, "half_open": counters.half_open}));
    }
    if up > 0 {
        publisher.events.tell(EventCode::Connected, json!({"times": up}));
    }
}

/// Counters, heartbeats, events, commands. `true` to stop.
fn keep_house(
    turn: &mut Turn,
    now: Instant,
    publisher: &mut Publisher,
    chain: &mut Chain,
    link: &Link,
    commands: &ArrayQueue<Command>,
) -> bool {
    if now.duration_since(turn.cpu_read_at) >= CPU_EVERY {
        turn.cpu_read_at = now;
        turn.figures.cpu_ns = realtime::thread_cpu_ns();
    }
    tell_connections(turn, publisher, link.counters());
    turn.figures.events_overflowed = publisher.events.overflowed();
    turn.figures.packets_too_long = publisher.packets_too_long;
    publisher.metrics.update(chain, link.counters(), link.state(), &turn.figures);
    publisher.housekeep(fep_time::tai_now().0);
    while let Some(command) = commands.pop() {
        match command {
            Command::Stop => return true,
            Command::Reset => {
                chain.reset();
                publisher.resume.clear();
                publisher.events.tell(EventCode::LinkReset, json!({}));
            }
        }
    }
    false
}
