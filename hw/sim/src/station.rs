//! A ground station as the front-end processor sees it: a stream at a rate, by TCP, UDP or into a file.
//!
//! A station runs in a thread of its own: source, channel, schedule, line. It knows what it sent and what its channel did to
//! it; what the receiver made of that is not its affair.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::channel::{Carriage, Channel, ChannelError, ChannelSpec};
use crate::ledger::{ChannelCounts, Ledger, Memory};
use crate::line::{Datagram, Line, LineError, Sent, TransportSpec};
use crate::pacing::Pacer;
use crate::radio::Radio;
use crate::source::{Source, SourceError, SourceSpec, Supplied, Unit};
use crate::symbols::{SymbolCounts, SymbolSpec};

/// A station as its configuration says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationSpec {
    /// Its name in reports.
    pub name: String,
    /// What it sends.
    pub source: SourceSpec,
    /// Where to.
    pub transport: TransportSpec,
    /// Bit rate, bit/s; as fast as the receiver takes it if left out.
    #[serde(default)]
    pub rate_bps: Option<u64>,
    /// Faults of the radio channel in front of it, to CADUs of decided bits.
    #[serde(default)]
    pub channel: ChannelSpec,
    /// The station delivers soft symbols: their format, modulation, noise and faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<SymbolSpec>,
    /// Seed of spacecraft and channel.
    #[serde(default)]
    pub seed: u64,
    /// Seed of the faults alone, of channel or symbols; left out, it is `seed`. Stations of one spacecraft have one `seed`,
    /// so that they send the same frames, and each a `channel_seed` of its own, so that they lose others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_seed: Option<u64>,
    /// What happens while nobody is connected.
    #[serde(default)]
    pub unconnected: Unconnected,
}

/// What a station does while nobody is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unconnected {
    /// The spacecraft waits.
    #[default]
    Hold,
    /// The spacecraft goes on; nobody hears it. Needs a rate.
    Lose,
}

/// Why a station cannot start.
#[derive(Debug, Error)]
pub enum StationError {
    /// The source is impossible or missing.
    #[error("station {name}: source: {source}")]
    Source {
        /// Station.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// The channel is impossible.
    #[error("station {name}: {source}")]
    Channel {
        /// Station.
        name: String,
        /// Why.
        source: ChannelError,
    },
    /// The link cannot be opened.
    #[error("station {name}: transport: {source}")]
    Line {
        /// Station.
        name: String,
        /// Why.
        source: LineError,
    },
    /// A key makes no sense beside another.
    #[error("station {name}: {what}")]
    Senseless {
        /// Station.
        name: String,
        /// What, and what to do.
        what: &'static str,
    },
    /// The system gives no thread.
    #[error("station {name}: cannot start a thread: {source}")]
    Thread {
        /// Station.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What a station is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StationState {
    /// Nobody is connected.
    #[default]
    Waiting,
    /// Sending.
    Sending,
    /// Between two passes of a recording.
    Pausing,
    /// Everything was sent, or it was asked to stop.
    Ended,
    /// The system refused to send on; see the error.
    Failed,
}

/// What a station has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationReport {
    /// Station.
    pub name: String,
    /// What it is doing.
    pub state: StationState,
    /// CADUs (frames, for datagrams of frames) that the system took in whole. Pieces of a recording count as CADUs.
    pub cadus_sent: u64,
    /// CADUs of batches that a broken connection cut: some of them may have been received.
    pub cadus_cut: u64,
    /// CADUs sent while nobody was connected.
    pub cadus_unheard: u64,
    /// Octets that the system took.
    pub octets_sent: u64,
    /// Connections made.
    pub connections: u64,
    /// Times a recording was played to its end.
    pub passes: u64,
    /// Times the schedule was given up because the receiver did not keep pace.
    pub stalls: u64,
    /// What the channel did.
    pub channel: ChannelCounts,
    /// What was done to the symbols, of a station that delivers those.
    #[serde(default)]
    pub symbols: SymbolCounts,
    /// Why it failed.
    pub error: Option<String>,
}

/// A running station. Dropping it stops it.
#[derive(Debug)]
pub struct Station {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    thread: Option<JoinHandle<Ledger>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    report: Mutex<StationReport>,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, StationReport> {
        // A report is plain numbers: whatever a panicking thread left is still a report.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl StationSpec {
    /// What this station sends one at a time.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match (&self.transport, &self.source) {
            _ if self.symbols.is_some() => Unit::Frame,
            (TransportSpec::Udp { datagram: Datagram::Frame, .. }, _) => Unit::Frame,
            (_, SourceSpec::Capture { .. }) if !self.transport.is_datagrams() && self.channel.is_clear() => {
                Unit::Recorded
            }
            _ => Unit::Cadu,
        }
    }

    fn seed_of_faults(&self) -> u64 {
        self.channel_seed.unwrap_or(self.seed)
    }

    fn carriage(&self) -> Carriage {
        if self.transport.is_datagrams() { Carriage::Datagrams } else { Carriage::Stream }
    }

    /// Checks everything that can be checked without opening the link.
    ///
    /// # Errors
    /// [`StationError`] names the key.
    pub fn validate(&self) -> Result<(), StationError> {
        let name = || self.name.clone();
        let senseless = |what| Err(StationError::Senseless { name: name(), what });
        if self.name.is_empty() {
            return senseless("a station needs a name");
        }
        if self.rate_bps == Some(0) {
            return senseless("rate_bps = 0: leave it out to send as fast as the receiver takes the data");
        }
        if self.unconnected == Unconnected::Lose && self.rate_bps.is_none() {
            return senseless(
                "unconnected = \"lose\" needs rate_bps: without one everything is lost at once",
            );
        }
        let endless = match &self.source {
            SourceSpec::Capture { repeat, .. } => *repeat,
            SourceSpec::Spacecraft(downlink) => downlink.frames.is_none(),
        };
        if endless && matches!(self.transport, TransportSpec::File { .. }) {
            return senseless("a file cannot take an endless source: set source.frames, or repeat = false");
        }
        if endless && self.rate_bps.is_none() && self.transport.is_datagrams() {
            return senseless("datagrams without end need rate_bps: nothing else would hold them back");
        }
        if self.symbols.is_some() && !self.channel.is_clear() {
            return senseless(
                "channel: symbols do not pass a channel of bits; their faults are keys of the table symbols",
            );
        }
        if let SourceSpec::Spacecraft(downlink) = &self.source
            && downlink.line_code.is_differential()
        {
            if self.transport.is_datagrams() {
                return senseless(
                    "source.line_code: datagrams hold bits, no levels: a station that sends them has undone it",
                );
            }
            if !self.channel.is_clear() {
                return senseless(
                    "source.line_code: the faults of the table channel are planned for bits, and one wrong level makes \
                     two wrong bits; the table symbols has faults for levels",
                );
            }
        }
        let source = self.build_source()?;
        self.build_channel(&source, Memory::Totals)?;
        self.build_radio(Memory::Totals)?;
        Ok(())
    }

    fn build_source(&self) -> Result<Source, StationError> {
        Source::new(&self.source, self.unit(), self.seed)
            .map_err(|source| StationError::Source { name: self.name.clone(), source })
    }

    fn build_radio(&self, memory: Memory) -> Result<Option<Radio>, StationError> {
        let refused = |source| StationError::Source { name: self.name.clone(), source };
        match (&self.symbols, &self.source) {
            (None, _) => Ok(None),
            (Some(_), SourceSpec::Capture { .. }) => Err(refused(SourceError::CaptureSymbols)),
            (Some(symbols), SourceSpec::Spacecraft(downlink)) => {
                Radio::new(downlink, symbols, memory, self.seed_of_faults()).map(Some).map_err(refused)
            }
        }
    }

    fn build_channel(&self, source: &Source, memory: Memory) -> Result<Option<Channel>, StationError> {
        if self.symbols.is_some() || (self.channel.is_clear() && memory == Memory::Totals) {
            return Ok(None);
        }
        Channel::new(self.channel.clone(), source.layout(), self.carriage(), memory, self.seed_of_faults())
            .map(Some)
            .map_err(|source| StationError::Channel { name: self.name.clone(), source })
    }
}

impl Station {
    /// Starts a station.
    ///
    /// # Errors
    /// [`StationError`] when the configuration makes no sense, the recording is missing or the link cannot be opened.
    pub fn start(spec: &StationSpec) -> Result<Station, StationError> {
        Station::start_remembering(spec, Memory::Totals)
    }

    /// Starts a station whose channel keeps as much of a ledger as `memory` says; [`Station::join`] hands it over.
    ///
    /// # Errors
    /// As [`Station::start`].
    pub fn start_remembering(spec: &StationSpec, memory: Memory) -> Result<Station, StationError> {
        spec.validate()?;
        let source = spec.build_source()?;
        let way = match (spec.build_radio(memory)?, spec.unit()) {
            (Some(radio), _) => Way::Symbols(Box::new(radio)),
            (None, Unit::Recorded) => Way::Clear,
            (None, _) => spec
                .build_channel(&source, memory)?
                .map_or(Way::Clear, |channel| Way::Bits(Box::new(channel))),
        };
        Station::launch(spec.name.clone(), source, way, &spec.transport, spec.rate_bps, spec.unconnected)
    }

    /// Starts a station for a source prepared by the caller, behind a clear channel: what benchmarks need.
    ///
    /// # Errors
    /// [`StationError::Line`] when the link cannot be opened.
    pub fn start_source(
        name: &str,
        source: Source,
        transport: &TransportSpec,
        rate_bps: Option<u64>,
    ) -> Result<Station, StationError> {
        Station::launch(name.to_owned(), source, Way::Clear, transport, rate_bps, Unconnected::Hold)
    }

    fn launch(
        name: String,
        source: Source,
        way: Way,
        transport: &TransportSpec,
        rate_bps: Option<u64>,
        unconnected: Unconnected,
    ) -> Result<Station, StationError> {
        let line =
            Line::open(transport).map_err(|source| StationError::Line { name: name.clone(), source })?;
        let address = line.local_address();
        let report = StationReport { name: name.clone(), ..StationReport::default() };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), report: Mutex::new(report) });
        let runner = Runner {
            shared: Arc::clone(&shared),
            unit_len: match way {
                Way::Symbols(_) => SYMBOL_DATAGRAM,
                Way::Clear | Way::Bits(_) => source.layout().cadu_len(),
            },
            source,
            way,
            line,
            pacer: Pacer::new(rate_bps, unconnected == Unconnected::Lose, Instant::now()),
            unconnected,
        };
        let thread = std::thread::Builder::new()
            .name(format!("sim-{name}"))
            .spawn(move || runner.run())
            .map_err(|source| StationError::Thread { name, source })?;
        Ok(Station { shared, address, thread: Some(thread) })
    }

    /// The local address of a listening station, with the port it was given.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> StationReport {
        self.shared.report().clone()
    }

    /// Everything was sent, or it stopped or failed.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks it to stop; [`Station::join`] waits until it has.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for its end: of the source, or, after [`Station::stop`], of the batch at hand.
    ///
    /// # Panics
    /// If the station's thread panicked.
    #[must_use]
    pub fn join(mut self) -> (StationReport, Ledger) {
        let ledger = self.thread.take().map(|thread| thread.join().expect("a station never panics"));
        (self.report(), ledger.unwrap_or_default())
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed; a second one here would hide it.
            let _ = thread.join();
        }
    }
}

/// What lies between the source and the line.
enum Way {
    Clear,
    Bits(Box<Channel>),
    Symbols(Box<Radio>),
}

/// Octets of symbols in a datagram, which has no other bounds to keep.
const SYMBOL_DATAGRAM: usize = 4096;

struct Runner {
    shared: Arc<Shared>,
    source: Source,
    way: Way,
    line: Line,
    pacer: Pacer,
    unit_len: usize,
    unconnected: Unconnected,
}

/// How long to wait for a receiver before looking again.
const CONNECT_POLL: Duration = Duration::from_millis(5);

/// What a batch of octets stands for.
#[derive(Clone, Copy)]
struct Batch {
    /// Units in it as they leave the channel.
    units: u64,
    /// Octets whose time it takes: those that went into the channel, of which some may be lost or come twice.
    due_octets: usize,
}

/// What a batch of units ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchEnd {
    Full,
    Pass { pause_ms: u64 },
    Source,
}

impl Way {
    fn counts(&self) -> ChannelCounts {
        match self {
            Way::Clear => ChannelCounts::default(),
            Way::Bits(channel) => *channel.counts(),
            Way::Symbols(radio) => *radio.ledger().counts(),
        }
    }
}

impl Runner {
    fn run(mut self) -> Ledger {
        let end = match self.source.endless_octets().filter(|_| matches!(self.way, Way::Clear)) {
            Some(octets) => self.repeat(&octets),
            None => self.play(),
        };
        let closed = self.line.close(matches!(end, Ok(true)));
        let error = end.and(closed).err();
        let mut report = self.shared.report();
        report.state = if error.is_some() { StationState::Failed } else { StationState::Ended };
        report.error = error.map(|error| error.to_string());
        drop(report);
        match self.way {
            Way::Clear => Ledger::default(),
            Way::Bits(channel) => channel.into_ledger(),
            Way::Symbols(radio) => radio.into_ledger(),
        }
    }

    /// Sends the source until its end (true) or until somebody stops the station.
    fn play(&mut self) -> std::io::Result<bool> {
        let mut batch = Vec::new();
        while !self.shared.stopping() {
            let heard = self.wait_for_receiver();
            if !heard && self.unconnected == Unconnected::Hold {
                continue;
            }
            batch.clear();
            let (batch_facts, end) = self.fill(&mut batch);
            self.send(&batch, batch_facts, heard)?;
            match end {
                BatchEnd::Full => {}
                BatchEnd::Pass { pause_ms } => self.pause(Duration::from_millis(pause_ms)),
                BatchEnd::Source => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Sends the same octets over and over, without touching them.
    fn repeat(&mut self, octets: &[u8]) -> std::io::Result<bool> {
        let mut at = 0;
        while !self.shared.stopping() {
            let heard = self.wait_for_receiver();
            if !heard && self.unconnected == Unconnected::Hold {
                continue;
            }
            let units = self.pacer.batch_len(self.unit_len) / self.unit_len;
            let end = octets.len().min(at + units * self.unit_len);
            let facts = Batch { units: (end - at).div_ceil(self.unit_len) as u64, due_octets: end - at };
            self.send(&octets[at..end], facts, heard)?;
            at = end % octets.len();
            if at == 0 {
                self.shared.report().passes += 1;
            }
        }
        Ok(false)
    }

    /// Fills a batch with what the channel makes of so much time of the source.
    fn fill(&mut self, batch: &mut Vec<u8>) -> (Batch, BatchEnd) {
        let batch_len = self.pacer.batch_len(self.unit_len);
        let mut unit = Vec::with_capacity(self.unit_len);
        let mut units = 0;
        let mut sent_octets = 0;
        let before = self.way.counts().cadus_out;
        let end = loop {
            if batch.len().max(sent_octets) >= batch_len {
                break BatchEnd::Full;
            }
            unit.clear();
            match (self.source.next(&mut unit), &mut self.way) {
                (Supplied::Unit, Way::Bits(channel)) => {
                    sent_octets += unit.len();
                    channel.push(&unit, &mut |octets| batch.extend_from_slice(octets));
                }
                (Supplied::Unit, Way::Symbols(radio)) => radio.push(&unit, batch),
                (Supplied::Unit, Way::Clear) => {
                    batch.extend_from_slice(&unit);
                    units += 1;
                }
                (Supplied::Again { pause_ms }, _) => break BatchEnd::Pass { pause_ms },
                (Supplied::End, way) => {
                    match way {
                        Way::Clear => {}
                        Way::Bits(channel) => {
                            channel.finish(&mut |octets| batch.extend_from_slice(octets));
                        }
                        Way::Symbols(radio) => radio.finish(batch),
                    }
                    break BatchEnd::Source;
                }
            }
        };
        let mut report = self.shared.report();
        report.passes += u64::from(end != BatchEnd::Full);
        if !matches!(self.way, Way::Clear) {
            report.channel = self.way.counts();
            units = report.channel.cadus_out - before;
        }
        if let Way::Symbols(radio) = &self.way {
            report.symbols = *radio.counts();
        }
        // What the channel loses or repeats takes the time that it took to send: another station of the same spacecraft, with
        // other faults, sends the same frame at the same time.
        let due_octets = if matches!(self.way, Way::Bits(_)) { sent_octets } else { batch.len() };
        (Batch { units, due_octets }, end)
    }

    fn send(&mut self, batch: &[u8], Batch { units, due_octets }: Batch, heard: bool) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        while let Some(wait) = self.pacer.wait(Instant::now()) {
            if shared.stopping() {
                break;
            }
            std::thread::sleep(wait);
        }
        self.pacer.advance(due_octets);
        let sent =
            if heard { Some(self.line.send(batch, self.unit_len, &|| shared.stopping())?) } else { None };
        let mut report = shared.report();
        report.stalls = self.pacer.stalls();
        report.connections = self.line.connections();
        match sent {
            Some(Sent::All) => {
                report.cadus_sent += units;
                report.octets_sent += batch.len() as u64;
            }
            Some(Sent::Cut(octets)) => {
                report.cadus_cut += units;
                report.octets_sent += octets as u64;
            }
            None => report.cadus_unheard += units,
        }
        Ok(())
    }

    /// Whether somebody is connected; waits a little if nobody is and the spacecraft waits for them.
    fn wait_for_receiver(&mut self) -> bool {
        let heard = self.line.connect();
        let mut report = self.shared.report();
        let was_waiting = report.state != StationState::Sending;
        report.state = if heard { StationState::Sending } else { StationState::Waiting };
        drop(report);
        if self.unconnected == Unconnected::Hold {
            if !heard {
                std::thread::sleep(CONNECT_POLL);
            } else if was_waiting {
                self.pacer.restart(Instant::now());
            }
        }
        heard
    }

    fn pause(&mut self, pause: Duration) {
        self.shared.report().state = StationState::Pausing;
        let until = Instant::now() + pause;
        while !self.shared.stopping() {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                break;
            };
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        self.pacer.restart(Instant::now());
    }
}
