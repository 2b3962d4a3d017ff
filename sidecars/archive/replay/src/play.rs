//! A replay that runs: one thread, steered by orders.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fep_bus::{BusError, Tag};
use fep_feed_wire::spec::check_name;
use fep_record::Session;
use serde::{Deserialize, Serialize};

use crate::live::{Live, Protocol};
use crate::output::{Offer, Output, RingOutput, TcpOutput, UdpOutput};
use crate::pacing::{Due, Pacer, Speed};
use crate::reel::{Played, Reel, ReelError, colour_of};
use crate::target::{NotAllowed, Policy, Target, door};

/// Longest name of a replay: its ring's name must fit.
pub const NAME_MAX: usize = 15;

/// How often a thread that waits looks after its output.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often it is looked whether a live process of ours has come to where a replay goes.
const GUARD_EVERY: Duration = Duration::from_secs(1);

/// What is to be played, apart from the reel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// 1 to 15 of `a-z 0-9 - _ .`, no dot first.
    pub name: String,
    /// Where it goes.
    pub target: Target,
    /// How fast.
    #[serde(default = "original")]
    pub speed: Speed,
    /// Whether it begins again at its end.
    #[serde(default, rename = "loop")]
    pub looping: bool,
    /// Whether it waits for an order before its first record.
    #[serde(default)]
    pub paused: bool,
    /// Longest silence, in milliseconds: longer ones of the original (between two contacts) are cut short. As the original
    /// if left out.
    #[serde(default)]
    pub idle_max_ms: Option<u32>,
}

const fn original() -> Speed {
    Speed::ORIGINAL
}

/// What a replay that runs can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Hold.
    Pause,
    /// Go on.
    Resume,
    /// Let so many more records go at once, and hold.
    Step {
        /// Records.
        records: u32,
    },
    /// Go on at another speed.
    Speed {
        /// How fast.
        speed: Speed,
    },
    /// Go on with the first record received at this time or later; back or forth.
    Seek {
        /// Nanoseconds of TAI since 1958.
        rx_tai_ns: i64,
    },
    /// Begin again at the end, or no longer.
    Loop {
        /// Whether to.
        looping: bool,
    },
    /// End now.
    Stop,
}

/// Where a replay is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Records go out as they are due.
    Playing,
    /// It holds.
    Paused,
    /// All records were taken; what is on its way is waited for.
    Draining,
    /// It has come to its end.
    Ended,
    /// It was stopped.
    Stopped,
    /// It could not go on.
    Failed,
}

impl Phase {
    /// Whether it is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Phase::Ended | Phase::Stopped | Phase::Failed)
    }
}

/// A replay as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayStatus {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub target: Target,
    /// The address it listens at, until its receiver has come.
    pub address: Option<SocketAddr>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it failed.
    pub problem: Option<String>,
    /// How fast it plays.
    pub speed: Speed,
    /// Whether it begins again at its end.
    pub looping: bool,
    /// Times it has begun again.
    pub laps: u64,
    /// Records given to the receiver.
    pub sent: u64,
    /// Their payload octets.
    pub sent_octets: u64,
    /// Records that this receiver can never take (their length, or of a version that this program does not know).
    pub unfit: u64,
    /// Records that the archive should have had, in this lap.
    pub missing: u64,
    /// Segments, or parts of them, that could not be read, in this lap. The replay went on behind them.
    #[serde(default)]
    pub unread: u64,
    /// The first of them, and why.
    #[serde(default)]
    pub unread_first: Option<String>,
    /// Time of reception of the last record sent, nanoseconds of TAI since 1958.
    pub position_tai_ns: Option<i64>,
    /// By how much records were later than their time and not made up for, in total.
    pub slipped_ns: i64,
}

/// Why a replay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No name of a replay.
    #[error("{name:?} is no name of a replay (allowed: {allowed})")]
    Name {
        /// The name.
        name: String,
        /// What a name may be.
        allowed: &'static str,
    },
    /// It may not go there.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The receiver cannot be reached, or no socket made.
    #[error("the receiver: {0}")]
    Receiver(io::Error),
    /// No ring can be laid out.
    #[error(transparent)]
    Ring(#[from] BusError),
}

/// The replay is over: it takes no more orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the replay is over")]
pub struct Over;

/// A replay that runs. Dropping it stops it.
pub struct Replay {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    orders: VecDeque<Order>,
    status: ReplayStatus,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left counters and orders behind, which are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replay {
    /// Starts to play `reel` to where `spec` says, if `policy` lets it.
    ///
    /// # Errors
    /// When it may not or cannot.
    pub fn start(spec: ReplaySpec, reel: Box<dyn Reel>, policy: &Policy) -> Result<Replay, StartError> {
        let allowed = "1 to 15 of a-z 0-9 - _ . and no dot first";
        if check_name(&spec.name).is_err() || spec.name.len() > NAME_MAX {
            return Err(StartError::Name { name: spec.name, allowed });
        }
        policy.check(&spec.target, colour_of(reel.as_ref()))?;
        let mut address = None;
        let mut door = door(&spec.target);
        let (name, streams) = (&spec.name, reel.streams());
        let output: Box<dyn Output> = match &spec.target {
            Target::TcpClient { address, form } => {
                Box::new(TcpOutput::connect(*address, *form, name, streams).map_err(StartError::Receiver)?)
            }
            Target::TcpServer { bind, form } => {
                let output = TcpOutput::listen(*bind, policy.live.clone(), *form, name, streams);
                let output = output.map_err(StartError::Receiver)?;
                address = output.address();
                door = address.map(|address| (Protocol::Tcp, address));
                Box::new(output)
            }
            Target::Udp { to, form } => {
                Box::new(UdpOutput::new(*to, *form, name, streams).map_err(StartError::Receiver)?)
            }
            Target::Ring { consumers } => {
                let rings = policy.rings.clone().unwrap_or_default();
                Box::new(RingOutput::new(&rings, name, streams, consumers)?)
            }
        };
        let idle_max_ns = spec.idle_max_ms.map(|idle_max_ms| i64::from(idle_max_ms) * 1_000_000);
        let mut pacer = Pacer::new(spec.speed, idle_max_ns);
        if spec.paused {
            pacer.pause(0);
        }
        let status = ReplayStatus {
            name: spec.name.clone(),
            target: spec.target,
            address,
            phase: if spec.paused { Phase::Paused } else { Phase::Playing },
            problem: None,
            speed: spec.speed,
            looping: spec.looping,
            laps: 0,
            sent: 0,
            sent_octets: 0,
            unfit: 0,
            missing: 0,
            unread: 0,
            unread_first: None,
            position_tai_ns: None,
            slipped_ns: 0,
        };
        let state = Mutex::new(State { orders: VecDeque::new(), status: status.clone() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let player = Player {
            shared: Arc::clone(&shared),
            reel,
            output,
            pacer,
            status,
            head: None,
            sent_before_lap: 0,
            payload: Vec::new(),
            began: Instant::now(),
            guard: Guard { live: policy.live.clone(), door, checked: Instant::now() },
        };
        let thread = std::thread::Builder::new()
            .name(format!("replay-{}", spec.name))
            .spawn(move || player.run())
            .map_err(StartError::Receiver)?;
        Ok(Replay { shared, thread: Some(thread) })
    }

    /// Gives an order; it is carried out within milliseconds, in the order given.
    ///
    /// # Errors
    /// The replay is over.
    pub fn order(&self, order: Order) -> Result<(), Over> {
        let mut state = self.shared.lock();
        if state.status.phase.is_over() {
            return Err(Over);
        }
        state.orders.push_back(order);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> ReplayStatus {
        self.shared.lock().status.clone()
    }

    /// Waits until it is over, for so long at most, and says where it is then.
    #[must_use]
    pub fn wait(&self, within: Duration) -> ReplayStatus {
        let over = |state: &mut State| !state.status.phase.is_over();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), within, over);
        waited
            .map_or_else(|poisoned| poisoned.into_inner().0.status.clone(), |(state, _)| state.status.clone())
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // It may be over already; then there is nothing to stop.
        let _ = self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Player {
    shared: Arc<Shared>,
    reel: Box<dyn Reel>,
    output: Box<dyn Output>,
    pacer: Pacer,
    status: ReplayStatus,
    /// The record that goes next.
    head: Option<(Played, Tag)>,
    sent_before_lap: u64,
    payload: Vec<u8>,
    began: Instant,
    guard: Guard,
}

/// Looks again and again whether a live process of ours has come to where the replay goes.
struct Guard {
    live: Live,
    door: Option<(Protocol, SocketAddr)>,
    checked: Instant,
}

impl Guard {
    fn attend(&mut self) -> io::Result<()> {
        let Some((protocol, address)) = self.door else { return Ok(()) };
        if self.checked.elapsed() < GUARD_EVERY {
            return Ok(());
        }
        let checked = self.live.check(protocol, address);
        self.checked = Instant::now();
        checked.map_err(|who| {
            io::Error::new(io::ErrorKind::PermissionDenied, format!("{who}: nothing more is replayed"))
        })
    }
}

enum Failure {
    Reel(ReelError),
    Output(io::Error),
}

impl From<ReelError> for Failure {
    fn from(error: ReelError) -> Failure {
        Failure::Reel(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Records after which status and orders are looked at, when nothing else makes a pause.
const STRIDE: u32 = 256;

impl Player {
    fn run(mut self) {
        let phase = self.play();
        self.status.phase = match phase {
            Ok(phase) => phase,
            Err(Failure::Reel(error)) => {
                self.status.problem = Some(format!("the archive: {error}"));
                Phase::Failed
            }
            Err(Failure::Output(error)) => {
                self.status.problem = Some(format!("the receiver: {error}"));
                Phase::Failed
            }
        };
        self.note_missing();
        tracing::info!(replay = self.status.name, phase = ?self.status.phase, sent = self.status.sent, "over");
        let status = self.status.clone();
        let shared = Arc::clone(&self.shared);
        // The connection is closed and the ring gone before anybody hears that it is over.
        drop(self);
        shared.lock().status = status;
        shared.changed.notify_all();
    }

    fn now_ns(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    fn play(&mut self) -> Result<Phase, Failure> {
        let mut until_look = 0;
        loop {
            if until_look == 0 {
                if self.obey()? {
                    return Ok(Phase::Stopped);
                }
                self.guard.attend()?;
                self.show();
                until_look = STRIDE;
            }
            until_look -= 1;
            if self.head.is_none() && !self.fetch()? {
                // A lap without a record would only turn in place.
                if self.status.looping && self.status.sent > self.sent_before_lap {
                    self.status.laps += 1;
                    self.sent_before_lap = self.status.sent;
                    self.reel.wind(i64::MIN)?;
                    self.pacer.rewind();
                    until_look = 0;
                    continue;
                }
                match self.drain()? {
                    Some(phase) => return Ok(phase),
                    None => continue,
                }
            }
            let Some((played, tag)) = self.head else { continue };
            let now_ns = self.now_ns();
            match self.pacer.due(tag.received.0, now_ns) {
                Due::Now => match self.output.offer(&played, tag, &self.payload)? {
                    Offer::Taken => {
                        self.pacer.sent(tag.received.0, now_ns);
                        self.status.sent += 1;
                        self.status.sent_octets += self.payload.len() as u64;
                        self.status.position_tai_ns = Some(tag.received.0);
                        self.head = None;
                    }
                    Offer::Unfit => {
                        self.status.unfit += 1;
                        self.head = None;
                    }
                    Offer::Full => {
                        self.output.flush()?;
                        self.output.wait(LOOK_EVERY)?;
                        until_look = 0;
                    }
                },
                Due::At(due_ns) => {
                    self.output.flush()?;
                    let left = Duration::from_nanos(u64::try_from(due_ns - now_ns).unwrap_or(0));
                    self.sleep(left.min(LOOK_EVERY));
                    until_look = 0;
                }
                Due::Held => {
                    self.output.flush()?;
                    self.sleep(LOOK_EVERY);
                    until_look = 0;
                }
            }
        }
    }

    /// Gets the next record and marks it as replayed; `false` at the end.
    fn fetch(&mut self) -> Result<bool, Failure> {
        while let Some(played) = self.reel.next_record(&mut self.payload)? {
            let tag = played.record.tag;
            // A record that cannot be marked must not go: nobody could tell it from a live one.
            match Session::Replay.mark_record(tag.kind, tag.words) {
                Some(words) => {
                    self.head = Some((played, Tag { words, ..tag }));
                    return Ok(true);
                }
                None => self.status.unfit += 1,
            }
        }
        Ok(false)
    }

    /// Waits until what was taken has left. `None`: it was wound back meanwhile and goes on.
    fn drain(&mut self) -> Result<Option<Phase>, Failure> {
        self.status.phase = Phase::Draining;
        loop {
            self.output.flush()?;
            if self.output.is_drained() {
                return Ok(Some(Phase::Ended));
            }
            self.output.wait(LOOK_EVERY)?;
            self.guard.attend()?;
            if self.obey()? {
                return Ok(Some(Phase::Stopped));
            }
            if self.status.phase != Phase::Draining {
                return Ok(None);
            }
            self.show();
        }
    }

    /// Carries out the orders given. `true`: stop.
    fn obey(&mut self) -> Result<bool, Failure> {
        loop {
            let Some(order) = self.shared.lock().orders.pop_front() else { return Ok(false) };
            let now_ns = self.now_ns();
            match order {
                Order::Pause => self.pacer.pause(now_ns),
                Order::Resume => self.pacer.resume(now_ns),
                Order::Step { records } => self.pacer.step(u64::from(records), now_ns),
                Order::Speed { speed } => self.pacer.set_speed(speed, now_ns),
                Order::Seek { rx_tai_ns } => {
                    self.reel.wind(rx_tai_ns)?;
                    self.head = None;
                    self.pacer.seek(rx_tai_ns, now_ns);
                    if self.status.phase == Phase::Draining {
                        self.status.phase = Phase::Playing;
                    }
                }
                Order::Loop { looping } => self.status.looping = looping,
                Order::Stop => return Ok(true),
            }
        }
    }

    fn show(&mut self) {
        if self.status.phase != Phase::Draining {
            self.status.phase = if self.pacer.is_paused() { Phase::Paused } else { Phase::Playing };
        }
        self.status.speed = self.pacer.speed();
        self.status.slipped_ns = self.pacer.slipped_ns();
        self.note_missing();
        self.shared.lock().status.clone_from(&self.status);
    }

    fn note_missing(&mut self) {
        self.status.missing = self.reel.missing_records();
        let unread = self.reel.unread();
        if self.status.unread != unread.count {
            self.status.unread = unread.count;
            self.status.unread_first.clone_from(&unread.first);
        }
    }

    /// Sleeps, but not through an order.
    fn sleep(&mut self, time: Duration) {
        let state = self.shared.lock();
        if state.orders.is_empty() {
            let _ = self.shared.changed.wait_timeout(state, time);
        }
    }
}
