//! The process: opens everything, takes in what is recorded, serves until it is told to stop.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fep_catalogue::{
    Catalogue, DiskLevel, Ingest, IngestConfig, IngestStep, Keeper, RestoreReport, Round, Store, StoreConfig,
    Tail, TailLimits, Watermarks,
};
use fep_event_ring::EventRing;
use fep_feed_wire::FeedSections;
use fep_kit::health::Health;
use fep_kit::listen::Address;
use fep_kit::metrics::Metrics;
use fep_kit::{ConfigErrors, Document, Stop};
use fep_process::{Notify, Process};
use fep_replay::Policy;
use fep_route::{Door, serve};
use prometheus::{IntCounterVec, IntGaugeVec};
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::events::Events;
use crate::replays::Replays;
use crate::retrieval::Archive;
use crate::service::{Service, now_tai_ns};
use crate::{api, events, indexes, jobs, watch};

/// Pause between two rounds of taking in when there was nothing to do.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a round that failed: the database or the store is away.
const FAILED_PAUSE: Duration = Duration::from_secs(2);

/// How often the supervisor learns that requests are answered, where it does not want to know it more often.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The configuration, as far as it can be known to be right without touching anything.
#[derive(Debug)]
pub struct Prepared {
    /// The sections.
    pub config: Config,
    feeds: FeedSections,
}

impl Prepared {
    /// Reads and checks everything that this process reads.
    ///
    /// # Errors
    /// The mistakes of a section, with their places.
    pub fn read(document: &Document) -> Result<Prepared, ConfigErrors> {
        let config = Config::read(document)?;
        Ok(Prepared { config, feeds: FeedSections::read(document)? })
    }
}

/// Runs the archive until the process is to stop, on threads of its own.
///
/// # Errors
/// What keeps it from starting or serving, in words for the operator.
pub fn run(prepared: Prepared, process: &Process) -> Result<(), String> {
    let runtime = threads()?;
    let result = runtime.block_on(run_until_stopped(prepared, process));
    // Retrievals whose client went away may still be reading: they are not waited for.
    runtime.shutdown_background();
    result
}

fn threads() -> Result<Runtime, String> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    threads.map_err(|error| format!("the threads cannot be started: {error}"))
}

async fn run_until_stopped(prepared: Prepared, process: &Process) -> Result<(), String> {
    let Prepared { config, feeds } = prepared;
    let stop = &process.stop;
    if let Some(directory) = config.store.url.strip_prefix("file://") {
        make_directory(directory).map_err(|error| format!("cannot make {directory}: {error}"))?;
    }
    let authenticator = config.identity.authenticator().map_err(|error| error.to_string())?;
    let authenticator = Arc::new(authenticator);
    let text = |error: fep_catalogue::Error| error.to_string();
    // Two that take in, keep and delete beside one another would each undo what the other does.
    let alone = fep_database::Alone::take(&config.database(), "fep-archive").await;
    let _alone = alone.map_err(|error| error.to_string())?;
    let catalogue = Catalogue::open_with(&config.database())
        .await
        .map_err(|error| format!("{error}. When this does not pass: {}", watch::HINT))?
        .with_rules(config.orders.clone());
    // What does not serve red data does not index, list or delete it either.
    let catalogue = if config.http.serve_red { catalogue } else { catalogue.black_only() };
    let store = Store::open(&config.store).map_err(text)?;
    let health = Health::new(concat!("fep-archive ", env!("CARGO_PKG_VERSION")));
    let metrics = Metrics::new("fep_archive");
    let name = match config.archive.name.as_str() {
        "" => "archive".to_owned(),
        name => format!("archive.{name}"),
    };
    let ring = EventRing::open_or_wait(&config.archive.rings, &name).map_err(|error| error.to_string())?;
    let events = Events::new(ring.sender(), &health);
    let ingest = IngestConfig {
        archive: config.archive.segments.clone(),
        bus: Some(config.archive.rings.clone()),
        tail: true,
        tail_limits: TailLimits {
            memory_octets: config.archive.tail_memory_mib << 20,
            disk_octets: config.archive.tail_disk_mib << 20,
            directory: Some(tail_directory(&config)),
        },
        packets: config.packets.clone(),
        service: config.archive.name.clone(),
    };
    let ingest = Ingest::open(ingest, catalogue.clone(), store.clone()).await.map_err(text)?;
    let segments = config.archive.segments.clone();
    let read = Keeper::new(&segments, catalogue.clone(), store.clone(), config.packets.clone()).indexes();
    let fleet = Arc::clone(config.packets.fleet());
    let archive = Archive { segments, catalogue, store, tail: ingest.tail(), indexes: read, fleet };
    archive.tail.attend();
    let intake = Intake::new(health.clone(), &metrics, ingest.tail()).map_err(|error| error.to_string())?;
    let counts = indexes::Counts::new(&metrics).map_err(|error| error.to_string())?;
    let replays = Replays::new(policy(&feeds, &config));
    let mut doors = Vec::new();
    for door in &config.doors {
        let door = Door::open(door).await.map_err(|error| format!("cannot listen: {error}"))?;
        tracing::info!("listening on {}", door.address());
        doors.push(door);
    }
    let grace = Duration::from_secs(config.http.stop_grace_s);
    let service = Service::new(config, archive, authenticator, health, metrics, replays.clone())?;
    let service = Arc::new(service);
    if service.keeper.has_lost_history().await.map_err(text)? {
        let problem = "the catalogue is new, and the store has an index of before: holds, orders, gap states and the audit trail \
                       of before are not in it. If there is a backup, stop, move the new database away and restore";
        service.health.warning("history", problem);
    }
    let routes = api::routes(&service)?;
    let router = routes.router().map_err(|mistake| mistake.to_string())?;
    let limits = routes.limits().clone();
    let trail = tokio::spawn(service.trail.clone().keep(stop.clone()));
    let taking_in = tokio::spawn(intake.run(ingest, stop.clone()));
    let keeping = tokio::spawn(keep(Arc::clone(&service), stop.clone()));
    let watching = tokio::spawn(watch::run(Arc::clone(&service), stop.clone()));
    let reporting = tokio::spawn(events::follow(Arc::clone(&service), events.clone(), stop.clone()));
    let working = tokio::spawn(work(Arc::clone(&service), events, stop.clone()));
    let mending = tokio::spawn(indexes::run(Arc::clone(&service), counts, stop.clone()));
    let living = tokio::spawn(live(process.notify.clone(), stop.clone()));
    process.notify.ready();
    let served = serve(doors, router, limits, stop.clone(), grace).await;
    stop.now();
    let _ = tokio::join!(taking_in, keeping, watching, reporting, working, mending, living, trail);
    // Replays end in order on their threads.
    let _ = tokio::task::spawn_blocking(move || replays.stop()).await;
    served.map_err(|error| format!("serving ended: {error}"))
}

/// Reports to the supervisor that the threads that answer requests take turns. How the parts of the archive are is in its
/// health: an archive without its database still answers.
async fn live(notify: Notify, stop: Stop) {
    let every = notify.watchdog_interval().map_or(ALIVE_EVERY, |interval| interval.min(ALIVE_EVERY));
    while !stop.is_stopping() {
        notify.alive();
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Where what has no room in memory waits: beside the index, or, where that is on a server, where programs put what is gone
/// with them.
fn tail_directory(config: &Config) -> PathBuf {
    config.store.url.strip_prefix("file://").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Makes a directory for what the archive keeps, and those above it: for owner and group, whatever the umask is. One that
/// exists stays as it is.
pub(crate) fn make_directory(directory: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(directory)
}

/// Puts an archive together again from a backup: into the directory, store and database of the configuration, all empty.
///
/// # Errors
/// What keeps it from being put together, in words for the operator.
pub fn restore(
    config: &Config,
    from: &str,
    progress: &mut dyn FnMut(&RestoreReport),
) -> Result<RestoreReport, String> {
    let text = |error: fep_catalogue::Error| error.to_string();
    let source = StoreConfig { url: from.to_owned(), ..config.store.clone() };
    let source = Store::open(&source).map_err(text)?;
    for directory in
        [config.store.url.strip_prefix("file://"), config.archive.segments.to_str()].into_iter().flatten()
    {
        make_directory(directory).map_err(|error| format!("cannot make {directory}: {error}"))?;
    }
    let store = Store::open(&config.store).map_err(text)?;
    let database = config.database();
    let restored = Keeper::restore(&source, &config.archive.segments, &store, &database, progress);
    threads()?.block_on(restored).map_err(text)
}

/// Scrubs and backups. Without a database none can be begun: it is tried again.
async fn work(service: Arc<Service>, events: Events, stop: Stop) {
    while !stop.is_stopping() {
        match jobs::run(Arc::clone(&service), events.clone(), stop.clone()).await {
            Ok(()) => return,
            Err(error) => service.health.warning("jobs", error.to_string()),
        }
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(FAILED_PAUSE) => {}
        }
    }
}

/// Rounds of keeping: deletions that two persons decided, segments whose time on the disk is over, the disk itself.
async fn keep(service: Arc<Service>, stop: Stop) {
    let retention = &service.config.retention;
    let marks =
        Watermarks { low_percent: retention.low_percent, critical_percent: retention.critical_percent };
    let every = Duration::from_secs(retention.round_s);
    while !stop.is_stopping() {
        match keep_once(&service, &marks).await {
            Err(error) => service.health.warning("keeping", error.to_string()),
            Ok(round) => match round.problems.first() {
                None => service.health.well("keeping"),
                Some(first) => {
                    let more = round.problem_count - 1;
                    let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                    service.health.warning("keeping", format!("{}: {}{others}", first.what, first.why));
                }
            },
        }
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn keep_once(service: &Service, marks: &Watermarks) -> Result<Round, fep_catalogue::Error> {
    let keeper = &service.keeper;
    if let Ok(disk) = keeper.disk(marks) {
        let free = format!("{} of {} octets are free", disk.free_octets, disk.octets);
        match disk.level {
            DiskLevel::Critical => service.health.ill("disk", format!("{free}: recording stops soon")),
            DiskLevel::Low => service.health.warning("disk", free),
            DiskLevel::Ok => service.health.well("disk"),
        }
    }
    let round = keeper.round(&service.config.retention.rules, now_tai_ns()).await?;
    for (deletion, gone) in &round.deleted {
        tracing::info!("deletion {deletion}: {gone} segments are gone");
    }
    if !round.moved.is_empty() {
        tracing::info!("{} segments were moved to the object store", round.moved.len());
    }
    Ok(round)
}

/// Where replays may go: nowhere that live data goes, as far as this file tells.
fn policy(feeds: &FeedSections, config: &Config) -> Policy {
    let mut policy = Policy {
        rings: config.replay.rings.then(|| config.archive.rings.clone()),
        receivers: config.replay.receivers.clone(),
        operational: config.replay.operational.clone(),
        raw_targets: config.replay.raw_targets.clone(),
        red_over_network: config.replay.red_over_network,
        ..Policy::default()
    };
    // What this process listens at is no receiver either; the sockets of other live processes are looked up.
    policy.operational.extend(config.addresses.iter().filter_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }));
    policy.refuse_feeds(feeds);
    policy
}

/// Taking in what the recorder wrote.
struct Intake {
    health: Health,
    tail: Tail,
    taken: IntCounterVec,
    tail_rows: IntGaugeVec,
    tail_octets: IntGaugeVec,
}

impl Intake {
    fn new(health: Health, metrics: &Metrics, tail: Tail) -> Result<Intake, prometheus::Error> {
        let taken = metrics.counters("segments", "Segments taken in, by what became of them.", &["what"])?;
        let tail_rows = metrics.gauges("tail_rows", "Rows that are in no sealed segment yet.", &[])?;
        let tail_octets =
            metrics.gauges("tail_memory_octets", "Octets of memory that these rows take.", &[])?;
        Ok(Intake { health, tail, taken, tail_rows, tail_octets })
    }

    async fn run(self, mut ingest: Ingest, stop: Stop) {
        while !stop.is_stopping() {
            let mut failed = false;
            let pause = match ingest.step().await {
                Ok(step) => {
                    self.note(&step);
                    self.note_open_ends(&ingest);
                    self.note_damaged(&ingest);
                    if step.is_idle() { ROUND_PAUSE } else { Duration::ZERO }
                }
                Err(error) => {
                    self.health.ill("intake", error.to_string());
                    failed = true;
                    FAILED_PAUSE
                }
            };
            tokio::select! {
                () = stop.wait() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.tail.look_wanted(), if !failed => {}
            }
        }
    }

    fn note(&self, step: &IngestStep) {
        let count = |what: &str, number: usize| self.taken.with_label_values(&[what]).inc_by(number as u64);
        count("taken_in", step.segments.len());
        count("repaired", step.repaired.len());
        count("refused", step.refused.len());
        self.tail_rows.with_label_values::<&str>(&[]).set(self.tail.rows() as i64);
        self.tail_octets.with_label_values::<&str>(&[]).set(self.tail.memory_octets() as i64);
        match step.put_off.first() {
            Some((id, why)) => self.health.warning("intake", format!("{id}: {why}; it is tried again")),
            None => self.health.well("intake"),
        }
    }

    /// What cannot be taken in, and what the recorder put aside: until it is repaired or removed.
    fn note_damaged(&self, ingest: &Ingest) {
        let others = |more: usize| if more > 0 { format!(" (and {more} more)") } else { String::new() };
        match ingest.refused().next() {
            None => self.health.well("refused segments"),
            Some((id, why)) => {
                let more = others(ingest.refused().count() - 1);
                self.health.warning("refused segments", format!("{id}: {why}{more}"));
            }
        }
        match ingest.set_aside().next() {
            None => self.health.well("files put aside"),
            Some(file) => {
                let reason = file.reason.as_deref().unwrap_or("it is damaged");
                let more = others(ingest.set_aside().count() - 1);
                let hint = "repair it (fepctl archive repair) or restore the segment";
                let path = file.path.display();
                self.health.warning("files put aside", format!("{path}: {reason}{more}; {hint}"));
            }
        }
    }

    /// What of the open ends cannot be asked for.
    fn note_open_ends(&self, ingest: &Ingest) {
        let left_out = self.tail.left_out_rows();
        if let Some((stream, why)) = ingest.unfollowed().next() {
            self.health.warning("open tail", format!("{stream} is not followed: {why}; it is tried again"));
        } else if left_out > 0 {
            let detail = format!(
                "{left_out} rows have no room (archive.tail_memory_mib, archive.tail_disk_mib): queries do not see \
                 them before their segments are sealed; is the recorder sealing?"
            );
            self.health.warning("open tail", detail);
        } else {
            self.health.well("open tail");
        }
    }
}
