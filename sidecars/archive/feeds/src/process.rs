//! The process: configuration in, threads and service up, an orderly end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_kit::Document;
use fep_kit::access::Access;
use fep_kit::listen::{Address, serve};
use fep_process::Process;
use fep_record::Session;

use crate::clients::Clients;
use crate::config::FeedsConfig;
use crate::cursor::CursorDirectory;
use crate::feed::{Feed, Places};
use crate::http::{self, Served};
use crate::status::FeedState;
use fep_feed_wire::spec::{FeedSpec, Transport};

/// How long requests that run may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the feeds until told to stop. Every section of the document that is not ours is left alone.
///
/// # Errors
/// Why it cannot start, or could not go on.
pub fn run(document: &Document, process: &Process) -> Result<(), String> {
    let stop = &process.stop;
    let config = FeedsConfig::read(document).map_err(|errors| errors.to_string())?;
    let feeding = &config.feeding;
    // Until the end: two processes with one directory would each undo what the other confirmed.
    let _alone = CursorDirectory::hold(&feeding.cursors).map_err(|error| error.to_string())?;
    let clients = Arc::new(Clients::new(feeding));
    let places = Places {
        rings: config.archive.rings.clone(),
        segments: config.archive.segments.clone(),
        cursors: feeding.cursors.clone(),
        objects: config.objects.clone(),
        patience: Duration::from_millis(feeding.patience_ms),
        names_max: feeding.names_max,
        service: feeding.name.clone(),
    };
    let feeds: BTreeMap<String, Arc<Feed>> = config
        .feeds
        .into_iter()
        .map(|(name, spec)| {
            let session = Session::from(spec.session).name();
            let state = FeedState::new(&name, session, in_words(&spec), spec.enabled);
            let (places, clients, stop) = (places.clone(), Arc::clone(&clients), stop.clone());
            (name, Arc::new(Feed { spec, state, places, clients, stop }))
        })
        .collect();
    let mut threads = Vec::new();
    for (name, feed) in &feeds {
        let feed = Arc::clone(feed);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || feed.run());
        threads.push(thread.map_err(|error| format!("no thread for the feed {name}: {error}"))?);
    }
    let is_working = || threads.iter().all(|thread| !thread.is_finished());
    let served =
        attend(Arc::new(feeds), config.listen, config.listen_mode, config.access, process, is_working);
    stop.now();
    for thread in threads {
        // A thread that panicked has told it already; the others end in order.
        let _ = thread.join();
    }
    served
}

/// Serves status and orders until the end; without an address only waits for it.
fn attend(
    feeds: http::Feeds,
    listen: Option<Address>,
    mode: u32,
    access: Access,
    process: &Process,
    is_working: impl Fn() -> bool,
) -> Result<(), String> {
    let served = Served::new(feeds).map_err(|error| format!("no metrics: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let Some(address) = listen else {
            process.notify.ready();
            let alive = say_alive(process, is_working);
            tokio::select! { () = process.stop.wait() => {}, () = alive => {} }
            return Ok(());
        };
        let listener = address.bind(mode).await.map_err(|error| format!("{address}: {error}"))?;
        process.notify.ready();
        let served = serve(vec![listener], http::router(served, access), process.stop.clone(), GRACE);
        let alive = say_alive(process, is_working);
        tokio::select! {
            served = served => served.map_err(|error| format!("{address}: {error}")),
            () = alive => Ok(()),
        }
    })
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

fn in_words(spec: &FeedSpec) -> String {
    match &spec.transport {
        Transport::TcpServer { bind, .. } => format!("tcp server {bind}"),
        Transport::TcpClient { address, .. } => format!("tcp client of {address}"),
        Transport::Udp { to, .. } => format!("udp to {to}"),
    }
}
