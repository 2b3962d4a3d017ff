//! What is shown of feeds and clients, and what the threads that serve them share with whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::ledger::{Counts, Ledger};

/// One feed as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub enabled: bool,
    /// Session of what it sends.
    pub session: String,
    /// Where it goes, in words.
    pub transport: String,
    /// The address it listens at, with the port that the system chose where 0 was asked for.
    pub address: Option<String>,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
    /// Its clients, also those that are away but have been here since the start.
    pub clients: Vec<ClientStatus>,
}

/// One client as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientStatus {
    /// Its name; a feed without named clients gives its own.
    pub name: String,
    /// Its address, while it is connected.
    pub peer: Option<String>,
    /// Connections so far.
    pub connections: u64,
    /// Why the last connection ended.
    pub last_end: Option<String>,
    /// Where it stands in each source.
    pub sources: Vec<SourceStatus>,
    /// Records sent and not confirmed yet.
    pub on_the_way: usize,
    /// What became of every record; `followed = sent + filtered + lost`.
    pub counts: Counts,
}

/// Where a client stands in one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Name of the ring.
    pub ring: String,
    /// Whether records come from the ring; else from the archive.
    pub live: bool,
    /// The record that is read next.
    pub next_seq: u64,
    /// The first record that is not confirmed.
    pub confirmed_seq: u64,
    /// Records published and not read yet, as far as the ring tells.
    pub behind: Option<u64>,
    /// Why the next records, which exist, are waited for: they are in an object store that cannot be read here, or the disk fails
    /// to read them at the moment.
    #[serde(default)]
    pub waits_for: Option<String>,
}

/// A client while the process runs. Shared by its thread, its feed and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct ClientState {
    pub(crate) ledger: Arc<Ledger>,
    /// The connection that is served now; a newer one asks the older to end by raising it.
    pub(crate) connection: AtomicU64,
    /// Held by the thread that serves the client.
    pub(crate) served: Mutex<()>,
    view: Mutex<View>,
}

#[derive(Debug, Default, Clone)]
struct View {
    peer: Option<String>,
    last_end: Option<String>,
    sources: Vec<SourceStatus>,
    on_the_way: usize,
}

impl ClientState {
    pub(crate) fn show(&self, sources: Vec<SourceStatus>, on_the_way: usize) {
        let mut view = lock(&self.view);
        view.sources = sources;
        view.on_the_way = on_the_way;
    }

    pub(crate) fn connected(&self, peer: String) {
        lock(&self.view).peer = Some(peer);
    }

    pub(crate) fn ended(&self, why: String) {
        let mut view = lock(&self.view);
        view.peer = None;
        view.last_end = Some(why);
    }

    fn status(&self, name: &str) -> ClientStatus {
        let view = lock(&self.view).clone();
        ClientStatus {
            name: name.to_owned(),
            peer: view.peer,
            connections: self.connection.load(Ordering::Relaxed),
            last_end: view.last_end,
            sources: view.sources,
            on_the_way: view.on_the_way,
            counts: self.ledger.counts(),
        }
    }
}

/// A feed while the process runs.
#[derive(Debug)]
pub(crate) struct FeedState {
    pub(crate) name: String,
    pub(crate) session: &'static str,
    pub(crate) transport: String,
    pub(crate) enabled: AtomicBool,
    address: Mutex<Option<String>>,
    problem: Mutex<Option<String>>,
    clients: Mutex<BTreeMap<String, Arc<ClientState>>>,
}

impl FeedState {
    pub(crate) fn new(name: &str, session: &'static str, transport: String, enabled: bool) -> FeedState {
        FeedState {
            name: name.to_owned(),
            session,
            transport,
            enabled: AtomicBool::new(enabled),
            address: Mutex::default(),
            problem: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The client of this name, made when it comes for the first time.
    pub(crate) fn client(&self, name: &str) -> Arc<ClientState> {
        lock(&self.clients).entry(name.to_owned()).or_default().clone()
    }

    /// Whether a client of this name has been here since the start.
    pub(crate) fn knows(&self, name: &str) -> bool {
        lock(&self.clients).contains_key(name)
    }

    /// Names that have been here since the start.
    pub(crate) fn names(&self) -> usize {
        lock(&self.clients).len()
    }

    pub(crate) fn listens_at(&self, address: Option<String>) {
        *lock(&self.address) = address;
    }

    /// Says what is wrong, or that nothing is any more. A change is a line of the log.
    pub(crate) fn set_problem(&self, problem: Option<String>) {
        let mut known = lock(&self.problem);
        if *known != problem {
            match &problem {
                Some(problem) => tracing::warn!(feed = self.name, "{problem}"),
                None => tracing::info!(feed = self.name, "works again"),
            }
            *known = problem;
        }
    }

    pub(crate) fn status(&self) -> FeedStatus {
        let clients = lock(&self.clients).iter().map(|(name, client)| client.status(name)).collect();
        FeedStatus {
            name: self.name.clone(),
            enabled: self.is_enabled(),
            session: self.session.to_owned(),
            transport: self.transport.clone(),
            address: lock(&self.address).clone(),
            problem: lock(&self.problem).clone(),
            clients,
        }
    }
}

/// A thread that panicked while it held one of these locks left only counters and texts behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
