//! The process: finds rings, goes round them, watches the disk, tells, stops in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use fep_bus::{BusError, RingInfo};
use fep_process::Process;
use fep_segments::{ArchiveLock, SegmentError, Stream, roots};
use rustix::fs::{Access, access};
use serde_json::json;

use crate::config::Config;
use crate::disk::Disk;
use crate::event::{Event, EventCode, EventSink};
use crate::figures::Figures;
use crate::opening::Seed;
use crate::pending::Room;
use crate::sealer::Sealer;
use crate::space::{Space, SpaceLevel};
use crate::stream::{StreamOptions, StreamRecorder};

/// How long it sleeps when nothing is new: well under the time a ring holds at any rate.
const IDLE: Duration = Duration::from_millis(1);
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// How long an orderly stop may take before what is left is left to the next life.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a recorder without a single ring tries to get one that refuses it for good.
const USELESS_AFTER: Duration = Duration::from_secs(3);
/// How long until a ring that could not be recorded is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Recording of all chosen rings.
pub struct Recorder {
    config: Config,
    disk: Disk,
    streams: Vec<StreamRecorder>,
    /// To be opened again after an error.
    seeds: Vec<(Instant, Seed)>,
    /// Rings that were refused.
    refused: BTreeMap<Stream, Refused>,
    sealer: Sealer,
    /// Nobody else records into this directory.
    _lock: ArchiveLock,
    events: EventSink,
    figures: Option<Figures>,
    /// Rings of the metric page.
    laid_out_for: BTreeSet<String>,
    space: Option<Space>,
    level: SpaceLevel,
    next_index: u16,
    next_scan: Instant,
    next_housekeeping: Instant,
}

/// A ring that could not be recorded.
struct Refused {
    /// Since when.
    since: Instant,
    /// When it is tried again.
    retry_at: Instant,
    /// The last reason.
    error: SegmentError,
}

impl Recorder {
    /// Prepares everything; rings are attached to in [`Recorder::turn`].
    ///
    /// # Errors
    /// The places cannot be used ([`check`]), another recorder works on the same directory, or no thread can be started.
    pub fn new(config: Config) -> Result<Recorder, SegmentError> {
        check(&config)?.iter().for_each(|note| tracing::warn!("{note}"));
        let archive = &config.places.segments;
        std::fs::create_dir_all(archive).map_err(SegmentError::io(archive, "create"))?;
        let lock = ArchiveLock::take(archive)?;
        let (disk, refusal) = Disk::new(config.recorder.io_uring);
        if let Some(reason) = refusal {
            tracing::warn!("{reason}: blocks are written with plain calls");
        }
        let key = &config.recorder.root_key;
        let root_key = (!key.as_os_str().is_empty()).then(|| key.clone());
        let sealer = Sealer::start(archive.clone(), root_key)
            .map_err(SegmentError::io(archive, "start a thread for"))?;
        let now = Instant::now();
        Ok(Recorder {
            config,
            disk,
            streams: Vec::new(),
            seeds: Vec::new(),
            refused: BTreeMap::new(),
            sealer,
            _lock: lock,
            events: EventSink::without_ring(),
            figures: None,
            laid_out_for: BTreeSet::new(),
            space: None,
            level: SpaceLevel::Good,
            next_index: 0,
            next_scan: now,
            next_housekeeping: now,
        })
    }

    /// The recordings under way.
    pub fn streams(&self) -> &[StreamRecorder] {
        &self.streams
    }

    /// One round over everything; sleeps a little when there is nothing to do.
    pub fn turn(&mut self) {
        let now = Instant::now();
        if now >= self.next_scan {
            self.next_scan = now + Duration::from_millis(self.config.recorder.scan_interval_ms);
            self.scan(now);
        }
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.keep_house();
        }
        let moved = self.go_round(now);
        if moved {
            return;
        }
        if self.disk.in_flight() > 0 {
            self.disk.wait(IDLE);
        } else {
            std::thread::sleep(IDLE);
        }
    }

    fn go_round(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(done) = self.disk.next_done() {
            moved = true;
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.owns(done.token)) {
                stream.done(done);
            }
        }
        // Room that comes back goes to the ring that has waited longest: one that never waits would take it all.
        let mut longest: BTreeMap<u64, Instant> = BTreeMap::new();
        for (file_system, since) in self.streams.iter().filter_map(StreamRecorder::waits_for_room) {
            let first = longest.entry(file_system).or_insert(since);
            *first = since.min(*first);
        }
        let mut ended = Vec::new();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let waits_since = stream.waits_for_room().map(|(_, since)| since);
            let first = longest.get(&stream.file_system).copied();
            let room = if self.level == SpaceLevel::Critical {
                Room::Critical
            } else if first.is_some() && first != waits_since {
                Room::AfterAnother
            } else {
                Room::Free
            };
            match stream.turn(now, &mut self.disk, room) {
                Ok(more) => moved |= more,
                Err(error) => {
                    tracing::warn!("{error}: opened again");
                    ended.push(index);
                }
            }
            for job in stream.take_jobs() {
                self.sealer.add(job);
            }
            for event in stream.take_events() {
                self.events.tell(event);
            }
        }
        for index in ended.into_iter().rev() {
            let (mut seed, jobs) = self.streams.remove(index).into_seed();
            jobs.into_iter().for_each(|job| self.sealer.add(job));
            seed.events.drain(..).for_each(|event| self.events.tell(event));
            self.seeds.push((now, seed));
        }
        moved | self.open_again(now)
    }

    fn open_again(&mut self, now: Instant) -> bool {
        let mut opened = false;
        let mut index = 0;
        while index < self.seeds.len() {
            if self.seeds[index].0 > now {
                index += 1;
                continue;
            }
            match self.seeds[index].1.open() {
                Ok(stream) => {
                    self.seeds.remove(index);
                    self.streams.push(stream);
                    opened = true;
                }
                Err(error) => {
                    tracing::warn!("{}: {error}", self.seeds[index].1.stream);
                    self.seeds[index].0 = now + RETRY;
                    index += 1;
                }
            }
        }
        opened
    }

    /// Takes up rings that are new.
    fn scan(&mut self, now: Instant) {
        let rings = match fep_bus::list(&self.config.places.rings) {
            Ok(rings) => rings,
            Err(error) => {
                tracing::warn!("{error}");
                return;
            }
        };
        // A ring that cannot be read is told by its producer's tools; here it is one that is not there yet.
        for RingInfo { name, colour, .. } in rings.into_iter().flatten() {
            let stream = Stream::new(colour, name);
            let known = self.streams.iter().any(|known| *known.stream() == stream)
                || self.seeds.iter().any(|(_, seed)| seed.stream == stream);
            let waits = self.refused.get(&stream).is_some_and(|refused| now < refused.retry_at);
            if known || waits || !self.config.recorder.records(&stream.ring) {
                continue;
            }
            self.begin(stream, now);
        }
    }

    fn begin(&mut self, stream: Stream, now: Instant) {
        let settings = &self.config.recorder;
        let options = StreamOptions {
            archive: self.config.places.segments.clone(),
            rings: self.config.places.rings.clone(),
            consumer: settings.consumer.clone(),
            segment_len: settings.segment_mib << 20,
            seal_after: Duration::from_secs(settings.seal_after_s),
            block_len: (settings.block_kib << 10) as usize,
            blocks_waiting: settings.blocks_waiting,
            commit_interval: settings.commit_interval(),
            commit_len: settings.commit_mib << 20,
            direct: settings.direct,
        };
        let index = self.next_index;
        match StreamRecorder::open(options, stream.clone(), index) {
            Ok(recording) => {
                self.next_index = index.wrapping_add(1);
                self.refused.remove(&stream);
                self.streams.push(recording);
            }
            Err(error) => {
                // Reported at first, then quietly tried again.
                let since = self.refused.get(&stream).map_or(now, |before| before.since);
                if since == now {
                    let detail = json!({"stream": stream.to_string(), "reason": error.to_string()});
                    self.events.tell(Event::new(EventCode::RingRefused, detail));
                }
                self.refused.insert(stream, Refused { since, retry_at: now + RETRY, error });
            }
        }
    }

    /// Why this process is of no use: it records nothing, and every ring that it should record refuses it for a reason that
    /// does not pass by itself, for some time now.
    pub fn is_useless(&self, now: Instant) -> Option<&SegmentError> {
        let nothing = self.streams.is_empty() && self.seeds.is_empty();
        let refused = self
            .refused
            .values()
            .all(|refused| now.duration_since(refused.since) >= USELESS_AFTER && is_lasting(&refused.error));
        self.refused.values().next().filter(|_| nothing && refused).map(|refused| &refused.error)
    }

    fn keep_house(&mut self) {
        self.watch_space();
        for stream in &mut self.streams {
            if let Err(error) = stream.heartbeat() {
                tracing::warn!("{}: {error}", stream.stream());
            }
        }
        while let Some(event) = self.sealer.next_event() {
            self.events.tell(event);
        }
        self.lay_out_figures();
        if let Some(figures) = &mut self.figures {
            // Rings that wait to be opened again stand still: that is told, too.
            let waiting = self.seeds.iter().map(|(_, seed)| seed.told());
            let told: Vec<_> = self.streams.iter_mut().map(StreamRecorder::told).chain(waiting).collect();
            figures.update(&told, self.space, self.level, self.sealer.figures());
        }
    }

    /// The events ring and the metric page, once the directory of the rings is there.
    fn lay_out_figures(&mut self) {
        let rings = self.config.places.rings.clone();
        let streams = self.streams.iter().map(|stream| stream.stream().to_string());
        let named: BTreeSet<String> =
            streams.chain(self.seeds.iter().map(|(_, seed)| seed.stream.to_string())).collect();
        if self.laid_out_for == named {
            return;
        }
        if self.figures.is_none() {
            match EventSink::open(&rings) {
                Ok(sink) => self.events = sink,
                Err(error) => tracing::warn!("{error}: events are log lines only"),
            }
        }
        match Figures::create(&rings, &named) {
            Ok(figures) => self.figures = Some(figures),
            Err(error) => tracing::warn!("{error}: no metric page"),
        }
        self.laid_out_for = named;
    }

    fn watch_space(&mut self) {
        let space = match Space::of(&self.config.places.segments) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!("{}: {error}", self.config.places.segments.display());
                return;
            }
        };
        let settings = &self.config.recorder;
        let level = space.level(settings.warning_free_percent, settings.critical_free_percent, self.level);
        if level != self.level {
            let code = match level {
                SpaceLevel::Good => EventCode::DiskRecovered,
                SpaceLevel::Warning if self.level == SpaceLevel::Critical => EventCode::DiskRecovered,
                SpaceLevel::Warning => EventCode::DiskWarning,
                SpaceLevel::Critical => EventCode::DiskFull,
            };
            let detail = json!({"free_octets": space.free_octets, "free_percent": space.free_percent()});
            self.events.tell(Event::new(code, detail));
        }
        self.level = level;
        self.space = Some(space);
    }

    /// Ends without a recording; the reason.
    fn give_up(mut self) -> SegmentError {
        self.sealer.stop(STOP_LIMIT);
        let reason = self.refused.into_values().next().map(|refused| refused.error);
        reason
            .unwrap_or_else(|| SegmentError::format(&self.config.places.segments, "nothing can be recorded"))
    }

    /// Takes what is in the rings, commits it, seals every segment, lets go of the rings.
    pub fn stop(mut self) {
        let started = Instant::now();
        // What was published before the signal.
        self.go_round(started);
        self.streams.iter_mut().for_each(StreamRecorder::finish);
        while started.elapsed() < STOP_LIMIT
            && self.streams.iter().any(|stream| !stream.is_finished() && !stream.waits())
        {
            self.go_round(Instant::now());
            self.streams.iter_mut().for_each(StreamRecorder::finish);
            self.disk.wait(IDLE);
        }
        for mut stream in std::mem::take(&mut self.streams) {
            stream.take_jobs().into_iter().for_each(|job| self.sealer.add(job));
            let told = json!({"stream": stream.stream().to_string(), "records": stream.figures().records});
            if let Err(error) = stream.detach() {
                tracing::warn!("{error}");
            }
            self.events.tell(Event::new(EventCode::RecordingStopped, told));
        }
        self.sealer.stop(STOP_LIMIT);
        while let Some(event) = self.sealer.next_event() {
            self.events.tell(event);
        }
    }
}

/// Whether an error stays as it is until somebody does something about it.
fn is_lasting(error: &SegmentError) -> bool {
    match error {
        SegmentError::Bus(error) => !matches!(error, BusError::Io { .. } | BusError::NotFound { .. }),
        SegmentError::Io { .. } | SegmentError::Format { .. } | SegmentError::File(_) => false,
    }
}

/// Looks whether the places of a configuration can be used: what a start refuses, this refuses. Changes nothing. Returns
/// what is worth knowing all the same.
///
/// # Errors
/// The place of the segments or of the rings cannot be used.
pub fn check(config: &Config) -> Result<Vec<String>, SegmentError> {
    let Config { places, recorder } = config;
    let mut notes = Vec::new();
    let segments = &places.segments;
    // What has to be made first is made in the nearest directory that exists.
    let nearest = segments.ancestors().find(|place| place.symlink_metadata().is_ok());
    let nearest = nearest.filter(|place| !place.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_directory = std::fs::metadata(nearest).map_err(SegmentError::io(nearest, "look at"))?.is_dir();
    if !is_directory {
        return Err(SegmentError::format(
            nearest,
            "a directory is expected, for the segments (archive.segments)",
        ));
    }
    access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| SegmentError::io(nearest, "write segments (archive.segments) into")(error.into()))?;
    match std::fs::metadata(&places.rings) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(SegmentError::format(
                &places.rings,
                "a directory is expected, that of the rings (archive.rings)",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            notes.push(format!("{}: no ring exists yet", places.rings.display()));
        }
        Err(error) => return Err(SegmentError::io(&places.rings, "look at")(error)),
    }
    if ArchiveLock::is_held(segments) {
        notes.push(format!("{}: a recorder works on it now; a second one would end", segments.display()));
    }
    let key = &recorder.root_key;
    if !key.as_os_str().is_empty() {
        if roots::is_within(segments, key) {
            notes.push(format!(
                "{} lies among the segments: who has their disk has the key that signs the days (recorder.root_key)",
                key.display()
            ));
        }
        if let Err(error) = roots::check_key(segments, key) {
            notes.push(format!("days will not be signed: {error}"));
        }
    }
    Ok(notes)
}

/// Records until told to stop.
///
/// # Errors
/// As [`Recorder::new`]; and when every ring refuses this process for good ([`Recorder::is_useless`]).
pub fn run(config: Config, process: &Process) -> Result<(), SegmentError> {
    tracing::info!(
        segments = %config.places.segments.display(), rings = %config.places.rings.display(), "recording"
    );
    let mut recorder = Recorder::new(config)?;
    process.notify.ready();
    let mut watchdog = process.notify.watchdog();
    while !process.stop.is_stopping() {
        recorder.turn();
        watchdog.turned(Instant::now());
        if recorder.is_useless(Instant::now()).is_some() {
            return Err(recorder.give_up());
        }
    }
    recorder.stop();
    Ok(())
}
