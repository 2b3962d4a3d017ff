//! The process of identity: the only one that reads accounts, tokens and private ticket keys. It logs persons in, issues
//! tickets that all other services verify off-line, and keeps an audit trail of all that (`docs/services/identity.md`).
//!
//! | what | where |
//! |---|---|
//! | the service | [`IdentityService`], [`service`] |
//! | its configuration, `config/identity.toml` | [`Config`] |

mod config;
mod events;
mod first;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use fep_database::Options;
use fep_event_ring::EventRing;
use fep_identity::{Authenticator, Identity, NumericDate, Peers};
use fep_kit::health::Health;
use fep_kit::{Document, Problem, Stop};
use fep_process::{Process, Service};
use fep_route::audit::Trail;
use fep_route::login::{self, Act, Journal};
use fep_route::{Base, Limits};
use futures::future::BoxFuture;
use prometheus::IntCounterVec;

use crate::events::Events;

pub use config::{Config, Places};
pub use events::IdentityEvent;

/// How often it is looked whether somebody can administer.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What its command line has beside the usual.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add the first administrator; refused while a local account can administer. The password is read from the terminal or standard input
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
pub fn service(base: &Base, identity: &Arc<Identity>, limits: Limits) -> Result<fep_route::Service, String> {
    reporting(base, identity, limits, Events::default())
}

/// The routes, whose acts are events too.
fn reporting(
    base: &Base,
    identity: &Arc<Identity>,
    limits: Limits,
    events: Events,
) -> Result<fep_route::Service, String> {
    let acts =
        base.metrics.counters("acts", "Acts on accounts, tokens and tickets, by what was done.", &["action"]);
    let journal = Arc::new(Counted {
        trail: base.trail.clone(),
        acts: acts.map_err(|error| error.to_string())?,
        events,
    });
    Ok(base.service(limits)?.with(login::recorded_routes(identity, &base.authenticator, journal)))
}

/// The trail, a counter beside it, and what operators have to know of it.
struct Counted {
    trail: Trail,
    acts: IntCounterVec,
    events: Events,
}

impl Journal for Counted {
    fn record<'a>(&'a self, act: Act<'a>) -> BoxFuture<'a, Result<(), Problem>> {
        self.trail.record(act)
    }

    // What is recorded may still fail: it is counted, and operators learn of it, once it is done.
    fn done(&self, act: &Act<'_>) {
        self.acts.with_label_values(&[act.action]).inc();
        self.events.note(act);
    }

    fn refused(&self, act: &Act<'_>) {
        self.acts.with_label_values(&[act.action]).inc();
        self.events.note(act);
        self.trail.refused(act);
    }

    fn directory_away(&self, reason: &str) {
        self.events.directory_away(reason);
    }
}

async fn serve(config: &Config, process: &Process) -> Result<(), String> {
    // Before anything of it is read: a second process would undo what the first one writes.
    let held = Identity::hold(&config.places.state, IdentityService::NAME);
    let _held = held.map_err(|error| error.to_string())?;
    let opened = Identity::open(&config.places.state, config.identity.clone(), NumericDate::now());
    let identity = Arc::new(opened.map_err(|error| error.to_string())?);
    let base = open(&identity, config.identity.peers.clone(), &config.places.database).await?;
    let ring =
        EventRing::open_or_wait(&config.places.rings, "identity").map_err(|error| error.to_string())?;
    let events = Events::new(ring.sender(), &base.health, identity.role_sets());
    let service = reporting(&base, &identity, config.http.limits.clone(), events)?;
    let Process { stop, notify } = process;
    let keep = async {
        tokio::join!(
            login::keep_keys(Arc::clone(&identity), stop.clone()),
            watch_administrators(Arc::clone(&identity), base.health.clone(), stop.clone())
        );
        Ok(())
    };
    base.serve(&config.http, &service, (stop, notify), keep).await
}

/// Warns in the health while nobody can administer: accounts end by themselves.
async fn watch_administrators(identity: Arc<Identity>, health: Health, stop: Stop) {
    const PART: &str = "administrators";
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.wait() => return,
            _ = every.tick() => {}
        }
        let identity = Arc::clone(&identity);
        let looked =
            tokio::task::spawn_blocking(move || identity.accounts().administrator(NumericDate::now())).await;
        match looked {
            Ok(Ok(Some(_))) => health.well(PART),
            Ok(Ok(None)) => health.warning(
                PART,
                "no local account can administer: `fep-identity add-administrator NAME` adds one, as the owner of the state directory",
            ),
            Ok(Err(error)) => health.ill(PART, error.to_string()),
            Err(error) => health.ill(PART, error.to_string()),
        }
    }
}

/// What the service stands on; unlike others it takes tokens as well.
///
/// # Errors
/// Keys that cannot be read, a database that cannot be opened.
pub async fn open(identity: &Identity, peers: Peers, database: &Options) -> Result<Base, String> {
    let authenticator = Authenticator::new(&identity.public_file(), peers);
    let authenticator = authenticator.map_err(|error| error.to_string())?;
    let authenticator = Arc::new(authenticator.with_tokens(Arc::clone(identity.tokens())));
    Base::open(IdentityService::NAME, IdentityService::VERSION, database, &[], authenticator).await
}
