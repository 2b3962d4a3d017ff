//! What is shown of feeds and clients, and what the threads that serve them share with whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fep_record::Session;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::events::{Events, FeedEvent, of_feed};
use crate::ledger::{Counts, Ledger};

/// One feed as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientStatus {
    /// Its name; a feed without named clients gives its own.
    pub name: String,
    /// Whose name it is: the identifier of a person or service; nothing where the feed asks nobody.
    #[serde(default)]
    pub owner: Option<String>,
    /// Its address, while it is connected.
    pub peer: Option<String>,
    /// Why it cannot be served, if it cannot.
    #[serde(default)]
    pub problem: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug)]
pub(crate) struct ClientState {
    name: String,
    about: About,
    pub(crate) ledger: Arc<Ledger>,
    /// The connection that is served now; a newer one asks the older to end by raising it.
    pub(crate) connection: AtomicU64,
    /// Held by the thread that serves the client.
    pub(crate) served: Mutex<()>,
    view: Mutex<View>,
}

#[derive(Debug, Default, Clone)]
struct View {
    owner: Option<String>,
    peer: Option<String>,
    problem: Option<String>,
    last_end: Option<String>,
    sources: Vec<SourceStatus>,
    on_the_way: usize,
}

/// What events about a feed say in any case.
#[derive(Debug, Clone)]
struct About {
    events: Events,
    feed: String,
    session: Session,
    /// Spacecraft that the feed is narrowed to.
    scids: Vec<u16>,
}

impl About {
    fn report(&self, code: FeedEvent, more: &[(&str, Value)]) {
        let mut detail = of_feed(&self.feed, &self.scids);
        for (key, value) in more {
            detail[*key] = value.clone();
        }
        self.events.report(code, self.session, detail);
    }
}

impl ClientState {
    fn new(name: &str, about: About) -> ClientState {
        ClientState {
            name: name.to_owned(),
            about,
            ledger: Arc::default(),
            connection: AtomicU64::new(0),
            served: Mutex::default(),
            view: Mutex::default(),
        }
    }

    /// Reports an event about this client.
    pub(crate) fn report(&self, code: FeedEvent, more: &[(&str, Value)]) {
        let client = ("client", Value::from(self.name.as_str()));
        self.about.report(code, &[&[client], more].concat());
    }

    /// Whose the name is.
    pub(crate) fn owned_by(&self, owner: Option<&str>) {
        lock(&self.view).owner = owner.map(str::to_owned);
    }

    /// Says why the client cannot be served, and as which event, or that its cursor was stored again. Only a new reason is an
    /// event: a client that comes again and again with the same one is none.
    pub(crate) fn set_problem(&self, problem: Option<(FeedEvent, String)>) {
        let reason = problem.as_ref().map(|(_, reason)| reason.clone());
        let before = std::mem::replace(&mut lock(&self.view).problem, reason.clone());
        if let Some((code, reason)) = problem.filter(|_| before != reason) {
            self.report(code, &[("reason", reason.into())]);
        }
    }

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

    fn status(&self) -> ClientStatus {
        let view = lock(&self.view).clone();
        ClientStatus {
            name: self.name.clone(),
            owner: view.owner,
            peer: view.peer,
            problem: view.problem,
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
    about: About,
    pub(crate) transport: String,
    pub(crate) enabled: AtomicBool,
    address: Mutex<Option<String>>,
    problem: Mutex<Option<String>>,
    clients: Mutex<BTreeMap<String, Arc<ClientState>>>,
}

impl FeedState {
    /// `scids`: the spacecraft that it is narrowed to.
    pub(crate) fn new(
        (name, session, scids): (&str, Session, &[u16]),
        transport: String,
        enabled: bool,
        events: Events,
    ) -> FeedState {
        FeedState {
            name: name.to_owned(),
            about: About { events, feed: name.to_owned(), session, scids: scids.to_vec() },
            transport,
            enabled: AtomicBool::new(enabled),
            address: Mutex::default(),
            problem: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// Reports an event about this feed.
    pub(crate) fn report(&self, code: FeedEvent, more: &[(&str, Value)]) {
        self.about.report(code, more);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The client of this name, made when it comes for the first time. How many there may be is decided before
    /// ([`crate::names::Names`]).
    pub(crate) fn client(&self, name: &str) -> Arc<ClientState> {
        let new = || Arc::new(ClientState::new(name, self.about.clone()));
        lock(&self.clients).entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub(crate) fn listens_at(&self, address: Option<String>) {
        *lock(&self.address) = address;
    }

    /// Says what is wrong, or that nothing is any more. A change is an event.
    pub(crate) fn set_problem(&self, problem: Option<String>) {
        let before = std::mem::replace(&mut *lock(&self.problem), problem.clone());
        match problem {
            Some(problem) if before.as_ref() != Some(&problem) => {
                self.report(FeedEvent::FeedFailed, &[("reason", problem.into())]);
            }
            None if before.is_some() => self.report(FeedEvent::FeedRecovered, &[]),
            _ => {}
        }
    }

    pub(crate) fn status(&self) -> FeedStatus {
        let clients = lock(&self.clients).values().map(|client| client.status()).collect();
        FeedStatus {
            name: self.name.clone(),
            enabled: self.is_enabled(),
            session: self.about.session.name().to_owned(),
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
