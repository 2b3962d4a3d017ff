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
use crate::feed::{Feed, Places};
use crate::http;
use crate::spec::{FeedSpec, FeedsConfig, Transport};
use crate::status::FeedState;

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
    let mistake = |key: &str, what: &str, allowed: &str| document.mistake(key, what, allowed).to_string();
    let listen: Option<Address> = match feeding.listen.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|error: String| mistake("feeding.listen", &error, "IP:PORT, unix:PATH, or \"\""))?,
        ),
    };
    let mode = u32::from_str_radix(&feeding.listen_mode, 8).ok().filter(|mode| *mode <= 0o777);
    let mode = mode.ok_or_else(|| {
        mistake("feeding.listen_mode", "no permissions", "three octal digits, e.g. \"0660\"")
    })?;
    let access = Access::from_document(document, listen.as_slice()).map_err(|errors| errors.to_string())?;
    crate::cursor::make_directory(&feeding.cursors)
        .map_err(|error| format!("{}: {error}", feeding.cursors.display()))?;
    let clients = Arc::new(Clients::new(feeding));
    let places = Places {
        rings: config.archive.rings.clone(),
        segments: config.archive.segments.clone(),
        cursors: feeding.cursors.clone(),
        patience: Duration::from_millis(feeding.patience_ms),
        names_max: feeding.names_max,
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
    let served = attend(Arc::new(feeds), listen, mode, access, process, is_working);
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
        let served = serve(vec![listener], http::router(feeds, access), process.stop.clone(), GRACE);
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
