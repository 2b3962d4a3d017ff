//! What every service with a database stands on: configuration, database, audit trail, health, metrics, and serving all of
//! it until the process shall stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fep_database::{Alone, Database, Options, Schema, Writing};
use fep_identity::{Authenticator, Peers};
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_kit::{ConfigErrors, Document, Problem, Stop};
use fep_notify::Notify;
use serde::Deserialize;

use crate::Failed;
use crate::audit::Trail;
use crate::http::{HttpConfig, status_routes};
use crate::limits::Limits;
use crate::service::Service;

/// How often keys and database are looked at for the health.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The section `[service]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Places {
    log: String,
    keys: PathBuf,
    rings: PathBuf,
    database: Option<Options>,
}

impl Default for Places {
    fn default() -> Places {
        let keys = PathBuf::from("/var/lib/fep/identity/ticket-keys.pub.json");
        Places { log: "info".to_owned(), keys, rings: PathBuf::from("/dev/shm/fep/bus"), database: None }
    }
}

/// The sections `[service]`, `[http]` and `[peers]`, which every service has that only verifies tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseConfig {
    /// `log`: least severity of log lines.
    pub log: String,
    /// `keys`: the file of public keys that fep-identity writes.
    pub keys: PathBuf,
    /// `rings`: directory of the rings.
    pub rings: PathBuf,
    /// `[service.database]`
    pub database: Options,
    /// `[http]`
    pub http: HttpConfig,
    /// `[peers]`: services by the user they run as or by their certificate.
    pub peers: Peers,
}

impl BaseConfig {
    /// Reads and checks it; nothing is touched. `own` names the sections of the service itself.
    ///
    /// # Errors
    /// Every mistake of one section, with its place.
    pub fn read(document: &Document, own: &[&str]) -> Result<BaseConfig, ConfigErrors> {
        document.only(&[&["service", "http", "peers"], own].concat())?;
        let places: Places = document.section("service")?;
        let database = places.database.ok_or_else(|| {
            let allowed = "[service.database] with url = \"sqlite:///PATH\" or \"postgres://…\"";
            document.mistake("service.database", "is missing", allowed)
        })?;
        // The error says what is allowed.
        database.check().map_err(|error| document.mistake("service.database", &error.to_string(), ""))?;
        let http: HttpConfig = document.section("http")?;
        http.check().map_err(|(key, message, allowed)| {
            document.mistake(&format!("http.{key}"), &message, &allowed)
        })?;
        let peers: Peers = document.section("peers")?;
        peers.check().map_err(|mistake| {
            document.mistake(&format!("peers.{}", mistake.key), &mistake.message, mistake.allowed)
        })?;
        Ok(BaseConfig { log: places.log, keys: places.keys, rings: places.rings, database, http, peers })
    }

    /// Opens what the service stands on, with its own tables `schemas` beside those of the audit trail.
    ///
    /// # Errors
    /// Public keys that cannot be read, a database that cannot be opened.
    pub async fn open(
        &self,
        name: &'static str,
        version: &'static str,
        schemas: &[Schema],
    ) -> Result<Base, String> {
        let authenticator = Authenticator::new(&self.keys, self.peers.clone());
        let authenticator = authenticator.map_err(|error| error.to_string())?;
        Base::open(name, version, &self.database, schemas, Arc::new(authenticator)).await
    }
}

/// What a service stands on. Clones share it.
#[derive(Clone)]
pub struct Base {
    /// Tables of the service and of the audit trail.
    pub database: Database,
    /// Who asks.
    pub authenticator: Arc<Authenticator>,
    /// How the service is.
    pub health: Health,
    /// Its counters and gauges.
    pub metrics: Metrics,
    /// Who did what.
    pub trail: Trail,
    name: &'static str,
    version: &'static str,
    /// Nobody else works on the database.
    _alone: Arc<Alone>,
}

impl Base {
    /// Opens the database for this process alone; `name` is the program's, with `-`.
    ///
    /// # Errors
    /// A database that cannot be opened, or that another process of this name works on.
    pub async fn open(
        name: &'static str,
        version: &'static str,
        database: &Options,
        schemas: &[Schema],
        authenticator: Arc<Authenticator>,
    ) -> Result<Base, String> {
        let schemas = [schemas, &[fep_audit::SCHEMA]].concat();
        let alone = Alone::take(database, name).await.map_err(|error| error.to_string())?;
        let database = Database::open(database, &schemas).await.map_err(|error| error.to_string())?;
        let health = Health::new(&format!("{name} {version}"));
        let trail = Trail::new(&database, &health);
        let metrics = Metrics::new(&name.replace('-', "_"));
        Ok(Base { database, authenticator, health, metrics, trail, name, version, _alone: Arc::new(alone) })
    }

    /// A service with the routes that all have: its audit trail, health and metrics. Refusals are in the trail.
    ///
    /// # Errors
    /// When the system gives no random octets.
    pub fn service(&self, limits: Limits) -> Result<Service, String> {
        let service = Service::new(self.name, self.version, Arc::clone(&self.authenticator), limits);
        Ok(service
            .map_err(|error| error.to_string())?
            .with(self.trail.routes())
            .with(status_routes(&self.health, &self.metrics))
            .report_refusals_to(self.trail.refusals()))
    }

    /// Makes one change in one transaction, which `work` gets and gives back to be committed; again while the database fails
    /// with what may pass by itself. `work` must do nothing but to the database.
    ///
    /// # Errors
    /// What `work` failed with, as the answer to the caller; 503 while the database is away.
    pub async fn change<T, F>(&self, doing: &'static str, work: impl Fn(Writing) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<(Writing, T), Failed>>,
    {
        let change = || async {
            let (writing, done) = work(self.database.begin(doing).await?).await?;
            writing.commit().await?;
            Ok(done)
        };
        self.attempt(doing, change).await
    }

    /// Reads, or makes a change from [`Database::begin`] to `commit`; again while the database fails with what may pass by
    /// itself, as [`Database::retry`].
    ///
    /// # Errors
    /// What `work` failed with, as the answer to the caller; 503 while the database is away.
    pub async fn attempt<T, F>(&self, doing: &'static str, work: impl FnMut() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        self.database.retry(doing, work).await.map_err(|failed| failed.problem(doing))
    }

    /// Serves until `stop`, keeps trail and health, and does `work` beside. What ends with an error ends all.
    ///
    /// # Errors
    /// Why it could not be served, or what `work` failed with.
    pub async fn serve(
        &self,
        http: &HttpConfig,
        service: &Service,
        (stop, notify): (&Stop, &Notify),
        work: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let served = async {
            let served = http.serve(service, stop.clone(), || notify.ready()).await;
            // Whatever ended it, the others end too.
            stop.now();
            served
        };
        let work = async {
            let done = work.await;
            if done.is_err() {
                stop.now();
            }
            done
        };
        let (served, done, (), ()) =
            tokio::join!(served, work, self.trail.clone().keep(stop.clone()), self.look(stop, notify));
        self.database.close().await;
        served.and(done)
    }

    /// Looks at what the service stands on, for its health and the watchdog.
    async fn look(&self, stop: &Stop, notify: &Notify) {
        let every = notify.watchdog_interval().map_or(LOOK_EVERY, |interval| interval.min(LOOK_EVERY));
        let mut every = tokio::time::interval(every);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                _ = every.tick() => {}
            }
            self.authenticator.look_now();
            match self.authenticator.fault() {
                None => self.health.well("keys"),
                Some(fault) => self.health.ill("keys", fault),
            }
            match self.database.health().await {
                Ok(_) => self.health.well("database"),
                Err(error) => self.health.ill("database", error.to_string()),
            }
            notify.alive();
        }
    }
}
