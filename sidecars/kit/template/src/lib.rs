//! The smallest service of the kit: notes, which two persons clear together. A service of your own begins as a copy of it.

use std::sync::Arc;

use fep_database::{Migration, Schema};
use fep_event_ring::{EventRing, EventSender};
use fep_identity::Role;
use fep_jobs::Runner;
use fep_kit::{Document, Problem};
use fep_orders::{Order, Rule};
use fep_process::{NoArguments, Process};
use fep_record::Session;
use fep_route::jobs::{self, JobView};
use fep_route::orders::{self, Asking, OrderView};
use fep_route::{Base, BaseConfig, Call, Failed, Form, Json, List, Reach, Route, Service, Text, audit};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::AnyConnection;

fep_events::event_codes! {
    /// What the service says to operators.
    pub enum TemplateEvent {
        /// The notes were cleared.
        Cleared = 60_000, "cleared", Warning, "copy what is still needed from the audit trail";
    }
}

const SCHEMA: Schema =
    Schema::new("notes", &[Migration::new(1, "notes", "CREATE TABLE notes (text TEXT PRIMARY KEY)")]);

/// The process: `fep_process::main::<Template>()`.
pub struct Template(BaseConfig);

impl fep_process::Service for Template {
    const NAME: &'static str = "fep-template";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "Keeps notes, which two persons clear together";
    const DEFAULTS: &'static str = include_str!("../template.toml");
    type Arguments = NoArguments;

    fn prepare(document: &Document, _: NoArguments) -> Result<Template, String> {
        BaseConfig::read(document, &[]).map(Template).map_err(|errors| errors.to_string())
    }

    fn log(&self) -> &str {
        &self.0.log
    }

    fn run(self, process: &Process) -> Result<(), String> {
        let ring = EventRing::open(&self.0.rings, "template").map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let (notes, service) = Notes::open(&self.0, ring.sender()).await?;
            let clearing = orders::executor(&notes.base, &notes, clear);
            let runner = Runner::new(notes.base.database.clone(), 1).kind("clearing", clearing);
            let work = async { runner.run(process.stop.wait()).await.map_err(|error| error.to_string()) };
            notes.base.serve(&self.0.http, &service, (&process.stop, &process.notify), work).await
        })
    }
}

/// What the routes work on.
pub struct Notes {
    base: Base,
    events: EventSender,
}

impl Notes {
    /// Opens what they stand on, and declares the routes.
    ///
    /// # Errors
    /// Public keys that cannot be read, a database that cannot be opened.
    pub async fn open(config: &BaseConfig, events: &EventSender) -> Result<(Arc<Notes>, Service), String> {
        let schemas = [SCHEMA, fep_orders::SCHEMA, fep_jobs::SCHEMA];
        let base = config.open("fep-template", env!("CARGO_PKG_VERSION"), &schemas).await?;
        let (none, persons) = (Reach::default(), [Role::Operator, Role::Approver]);
        let service = base.service(config.http.limits.clone())?.with(orders::routes(&base, &persons, none));
        let service = service.with(jobs::routes(&base, &persons, none));
        let notes = &Arc::new(Notes { base, events: events.clone() });
        let operator = |route: Route<_>| route.role(Role::Operator).touches_no_data();
        let begin_at = operator(Route::post("/v1/clearings/{id}/begin", "Begins what was approved."));
        let own = [
            Route::get("/v1/notes", "All notes.").role(Role::Observer).touches_no_data().to(notes, list),
            operator(Route::post("/v1/notes", "Adds a note, once.")).to(notes, add),
            operator(Route::post("/v1/clearings", "Asks for clearing the notes of now.")).to(notes, ask),
            begin_at.path_parameter("id", Form::Name, "Name of the order.").to(notes, begin),
        ];
        Ok((Arc::clone(notes), service.with(own)))
    }

    async fn all(&self) -> Result<Vec<String>, Problem> {
        let read = || async { all(&mut *self.base.database.read("reading notes").await?).await };
        self.base.attempt("reading notes", read).await
    }
}

async fn all(connection: &mut AnyConnection) -> Result<Vec<String>, Failed> {
    Ok(sqlx::query_scalar("SELECT text FROM notes ORDER BY text").fetch_all(connection).await?)
}

fn hash(notes: &[String]) -> [u8; 32] {
    Sha256::digest(notes.join("\n")).into()
}

async fn list(notes: Arc<Notes>, _: Call<()>) -> Result<List<String>, Problem> {
    notes.all().await.map(List)
}

async fn add(notes: Arc<Notes>, call: Call<Json<Text<1000>>>) -> Result<(), Problem> {
    let (text, person) = (&*call.body.0, Some(&call.caller()?.person));
    let add = notes.base.change("adding a note", |mut writing| async move {
        let add = sqlx::query("INSERT INTO notes (text) VALUES ($1) ON CONFLICT (text) DO NOTHING");
        add.bind(text).execute(&mut *writing).await?;
        fep_audit::append(&mut writing, audit::event(person, "", "note added", text, json!({}))).await?;
        Ok((writing, ()))
    });
    add.await
}

async fn ask(notes: Arc<Notes>, call: Call<Json<Asking>>) -> Result<Json<OrderView>, Problem> {
    let rule = Rule::new("clearing", Role::Operator.name(), &[Role::Approver.name()], 86_400);
    let all = notes.all().await?;
    orders::ask(&notes.base, &call, &rule, &format!("clear {} notes", all.len()), hash(&all)).await
}

async fn begin(notes: Arc<Notes>, call: Call<()>) -> Result<Json<JobView>, Problem> {
    orders::begin(&notes.base, &call, hash(&notes.all().await?)).await
}

async fn clear(notes: Arc<Notes>, order: Order) -> Result<String, Problem> {
    let order = &order;
    let clear = notes.base.change("clearing notes", |mut writing| async move {
        let all = all(&mut writing).await?;
        orders::unchanged(order, hash(&all))?;
        sqlx::query("DELETE FROM notes").execute(&mut *writing).await?;
        let outcome = format!("{} notes cleared", all.len());
        orders::succeed(&mut writing, &order.id, &outcome).await?;
        Ok((writing, outcome))
    });
    let outcome = clear.await?;
    notes.events.report(TemplateEvent::Cleared, u16::MAX, Session::Ops, json!({"order": order.id}));
    Ok(outcome)
}
