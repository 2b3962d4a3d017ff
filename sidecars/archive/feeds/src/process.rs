//! The process: configuration in, threads and service up, an orderly end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_event_ring::{EventRing, Seldom};
use fep_identity::Authenticator;
use fep_kit::Document;
use fep_process::Process;
use fep_record::Session;
use fep_route::{Door, DoorConfig, Limits, Service, serve};
use serde_json::json;

use crate::config::FeedsConfig;
use crate::cursor;
use crate::events::{Events, FeedEvent};
use crate::feed::{Feed, Places, hash};
use crate::http::{self, Served};
use crate::identities::Identities;
use crate::names::{Bounds, Names};
use crate::status::FeedState;
use fep_feed_wire::spec::{FeedSpec, Transport};
use fep_kit::Stop;

/// How long requests that run may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the feeds until the process stops. Every section of the document that is not ours is left alone.
///
/// # Errors
/// Why it cannot start, or could not go on.
pub fn run(document: &Document, process: &Process) -> Result<(), String> {
    let stop = &process.stop;
    let config = FeedsConfig::read(document).map_err(|errors| errors.to_string())?;
    // Until the end: two processes with one directory would each undo what the other confirmed.
    let _alone = cursor::hold(&config.feeding.cursors)
        .map_err(|error| format!("feeding.cursors, a directory for one process alone: {error}"))?;
    let name = events_of(&config.feeding.name);
    let ring = EventRing::open_or_wait(&config.archive.rings, &name).map_err(|error| error.to_string())?;
    let assembled = Assembled::new(&config, Events::new(ring.sender()), stop)?;
    let mut threads = Vec::new();
    for (name, feed) in assembled.feeds.iter() {
        let feed = Arc::clone(feed);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || feed.run());
        threads.push(thread.map_err(|error| format!("no thread for the feed {name}: {error}"))?);
    }
    let is_working = || threads.iter().all(|thread| !thread.is_finished());
    let unpublished = || ring.sender().unpublished();
    let served = assembled.attend(config.door.as_ref(), process, is_working, unpublished);
    stop.now();
    for thread in threads {
        // A thread that panicked has been logged already; the others end in order.
        let _ = thread.join();
    }
    served
}

/// The service of a configuration without its threads, for the generated test of who may call what.
///
/// # Errors
/// As [`run`].
#[doc(hidden)]
pub fn service_for_test(config: &FeedsConfig) -> Result<Service, String> {
    let assembled = Assembled::new(config, Events::default(), &Stop::default())?;
    assembled.served()?.service(Arc::clone(&assembled.authenticator)).map_err(|error| error.to_string())
}

/// Everything that works, before it does.
struct Assembled {
    feeds: http::Feeds,
    authenticator: Arc<Authenticator>,
    identities: Arc<Identities>,
    events: Events,
}

impl Assembled {
    fn new(config: &FeedsConfig, events: Events, stop: &Stop) -> Result<Assembled, String> {
        let feeding = &config.feeding;
        let authenticator = Arc::new(config.identity.authenticator().map_err(|error| error.to_string())?);
        let red = feeding.red_receivers.clone();
        let identities = Arc::new(Identities::new(Arc::clone(&authenticator), red));
        let places = Places {
            rings: config.archive.rings.clone(),
            segments: config.archive.segments.clone(),
            cursors: feeding.cursors.clone(),
            objects: config.objects.clone(),
            patience: Duration::from_millis(feeding.patience_ms),
            service: feeding.name.clone(),
        };
        let feeds: BTreeMap<String, Arc<Feed>> = config
            .feeds
            .iter()
            .map(|(name, spec)| {
                let about = (name.as_str(), Session::from(spec.session), spec.filter.spacecraft.as_slice());
                let bounds = Bounds {
                    names_max: feeding.names_max,
                    names_of_one: feeding.names_of_one,
                    clients_max: match spec.transport {
                        Transport::TcpServer { clients_max, .. } => clients_max,
                        _ => 1,
                    },
                };
                let feed = Feed {
                    state: FeedState::new(about, in_words(spec), spec.enabled, events.clone()),
                    spec: spec.clone(),
                    places: places.clone(),
                    names: Names::new(feeding.cursors.clone(), name, bounds),
                    identities: Arc::clone(&identities),
                    refusals: Seldom::default(),
                    stop: stop.clone(),
                };
                (name.clone(), Arc::new(feed))
            })
            .collect();
        Ok(Assembled { feeds: Arc::new(feeds), authenticator, identities, events })
    }

    fn served(&self) -> Result<Arc<Served>, String> {
        let served = Served::new(Arc::clone(&self.feeds), Arc::clone(&self.identities));
        served.map(Arc::new).map_err(|error| format!("no metrics: {error}"))
    }

    /// Serves status and orders until the end; without a door only waits for it.
    fn attend(
        &self,
        door: Option<&DoorConfig>,
        process: &Process,
        is_working: impl Fn() -> bool,
        unpublished: impl Fn() -> u64,
    ) -> Result<(), String> {
        let served = self.served()?;
        let service = served.service(Arc::clone(&self.authenticator)).map_err(|error| error.to_string())?;
        let router = service.router().map_err(|mistake| mistake.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(async {
            let stop = &process.stop;
            let mut doors = Vec::new();
            if let Some(door) = door {
                doors.push(Door::open(door).await.map_err(|error| error.to_string())?);
            }
            process.notify.ready();
            let working = async {
                tokio::join!(
                    say_alive(process, is_working),
                    served.keep(stop.clone(), unpublished),
                    self.watch_keys()
                )
            };
            let serving = async {
                if doors.is_empty() {
                    stop.wait().await;
                    return Ok(());
                }
                serve(doors, router, Limits::default(), stop.clone(), GRACE).await
            };
            tokio::select! {
                served = serving => served.map_err(|error| error.to_string()),
                _ = working => Ok(()),
            }
        })
    }

    /// Reports when the public keys cannot be read, and when they can be again. It never ends.
    async fn watch_keys(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut known: Option<String> = None;
        loop {
            second.tick().await;
            let fault = self.identities.fault();
            if fault == known {
                continue;
            }
            match &fault {
                Some(reason) => {
                    self.events.report(FeedEvent::KeysUnreadable, Session::Ops, json!({"reason": reason}));
                }
                None => self.events.report(FeedEvent::KeysRead, Session::Ops, json!({})),
            }
            known = fault;
        }
    }
}

/// Says to the supervisor that the process lives, for as long as the thread of every feed does. It never ends.
async fn say_alive(process: &Process, is_working: impl Fn() -> bool) {
    let mut watchdog = process.notify.watchdog();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        if is_working() {
            watchdog.turned(Instant::now());
        }
    }
}

/// Whose the events ring is: each of several processes has its own.
fn events_of(name: &str) -> String {
    const NAME_MAX: usize = 24;
    let whole = format!("feeds.{name}");
    match whole.len() {
        _ if name.is_empty() => "feeds".to_owned(),
        ..=NAME_MAX => whole,
        // A ring takes no longer name.
        _ => format!("feeds.{:016x}", hash(name)),
    }
}

fn in_words(spec: &FeedSpec) -> String {
    match &spec.transport {
        Transport::TcpServer { bind, certificate: Some(_), .. } => format!("tcp server {bind} with TLS"),
        Transport::TcpServer { bind, .. } => format!("tcp server {bind}"),
        Transport::TcpClient { address, .. } => format!("tcp client of {address}"),
        Transport::Udp { to, .. } => format!("udp to {to}"),
    }
}
