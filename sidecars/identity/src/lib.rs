//! The process of identity: the only one that reads accounts, tokens and private ticket keys. It logs persons in, issues
//! tickets that all other services verify off-line, and keeps an audit trail of all that (`docs/services/identity.md`).
//!
//! | what | where |
//! |---|---|
//! | the service | [`IdentityService`], [`service`] |
//! | its configuration, `config/identity.toml` | [`Config`] |

mod config;
mod first;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use fep_database::Database;
use fep_identity::{Authenticator, Identity, NumericDate};
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_kit::{Document, Problem, Stop};
use fep_process::{Process, Service};
use fep_route::audit::Trail;
use fep_route::login::{self, Act, Journal};
use fep_route::{Limits, status_routes};
use futures::future::BoxFuture;
use prometheus::IntCounterVec;

pub use config::{Config, Places};

/// How often keys, tokens and database are looked at for the health.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What its command line has beside the usual.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add the first administrator; refused where one exists. The password is read from the terminal or standard input
    AddAdministrator {
        /// Name of the account
        name: String,
    },
}

/// The process.
#[derive(Debug)]
pub struct IdentityService {
    config: Config,
    command: Option<Command>,
}

impl Service for IdentityService {
    const NAME: &'static str = "fep-identity";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "Logs persons in, issues tickets and tokens, keeps accounts";
    const DEFAULTS: &'static str = config::DEFAULT_TOML;
    type Arguments = Arguments;

    fn prepare(document: &Document, arguments: Arguments) -> Result<IdentityService, String> {
        let config = Config::read(document).map_err(|errors| errors.to_string())?;
        Ok(IdentityService { config, command: arguments.command })
    }

    fn log(&self) -> &str {
        // A command prints what it did; a service says what it does.
        if self.command.is_some() { "warn" } else { &self.config.places.log }
    }

    fn run(self, process: &Process) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(async {
            match &self.command {
                Some(Command::AddAdministrator { name }) => {
                    first::add_administrator(&self.config, name).await
                }
                None => serve(&self.config, process).await,
            }
        })
    }
}

/// The routes of the service and what they work on.
///
/// # Errors
/// What the kit says of names and random octets.
pub fn service(
    identity: &Arc<Identity>,
    authenticator: &Arc<Authenticator>,
    trail: &Trail,
    health: &Health,
    limits: Limits,
) -> Result<fep_route::Service, String> {
    let metrics = Metrics::new("fep_identity");
    let acts =
        metrics.counters("acts", "Acts on accounts, tokens and tickets, by what was done.", &["action"]);
    let journal = Arc::new(Counted { trail: trail.clone(), acts: acts.map_err(|error| error.to_string())? });
    let service =
        fep_route::Service::new("fep-identity", IdentityService::VERSION, Arc::clone(authenticator), limits);
    Ok(service
        .map_err(|error| error.to_string())?
        .with(login::recorded_routes(identity, authenticator, journal))
        .with(trail.routes())
        .with(status_routes(health, &metrics))
        .report_refusals_to(trail.refusals()))
}

/// The trail, and a counter beside it.
struct Counted {
    trail: Trail,
    acts: IntCounterVec,
}

impl Journal for Counted {
    fn record<'a>(&'a self, act: Act<'a>) -> BoxFuture<'a, Result<(), Problem>> {
        self.acts.with_label_values(&[act.action]).inc();
        self.trail.record(act)
    }

    fn refused(&self, act: &Act<'_>) {
        self.acts.with_label_values(&[act.action]).inc();
        self.trail.refused(act);
    }
}

async fn serve(config: &Config, process: &Process) -> Result<(), String> {
    let opened = Identity::open(&config.places.state, config.identity.clone(), NumericDate::now());
    let identity = Arc::new(opened.map_err(|error| error.to_string())?);
    let database = Database::open(&config.places.database, &[fep_audit::SCHEMA]).await;
    let database = database.map_err(|error| error.to_string())?;
    let authenticator = Authenticator::new(&identity.public_file(), config.identity.peers.clone());
    let authenticator = authenticator.map_err(|error| error.to_string())?;
    let authenticator = Arc::new(authenticator.with_tokens(Arc::clone(identity.tokens())));
    let health = Health::new(&format!("fep-identity {}", IdentityService::VERSION));
    let trail = Trail::new(&database, &health);
    let service = service(&identity, &authenticator, &trail, &health, config.http.limits.clone())?;
    let stop = &process.stop;
    let served = async {
        let served = config.http.serve(&service, stop.clone(), || process.notify.ready()).await;
        // Whatever ended it, the others end too.
        stop.now();
        served
    };
    let (served, (), (), ()) = tokio::join!(
        served,
        login::keep_keys(Arc::clone(&identity), stop.clone()),
        trail.keep(stop.clone()),
        look(&authenticator, &database, &health, process, stop),
    );
    database.close().await;
    served
}

/// Looks at what the service stands on, for its health and the watchdog.
async fn look(
    authenticator: &Authenticator,
    database: &Database,
    health: &Health,
    process: &Process,
    stop: &Stop,
) {
    let every = process.notify.watchdog_interval().map_or(LOOK_EVERY, |interval| interval.min(LOOK_EVERY));
    let mut every = tokio::time::interval(every);
    loop {
        tokio::select! {
            () = stop.wait() => return,
            _ = every.tick() => {}
        }
        authenticator.look_now();
        match authenticator.fault() {
            None => health.well("keys"),
            Some(fault) => health.ill("keys", fault),
        }
        match database.health().await {
            Ok(_) => health.well("database"),
            Err(error) => health.ill("database", error.to_string()),
        }
        process.notify.alive();
    }
}
