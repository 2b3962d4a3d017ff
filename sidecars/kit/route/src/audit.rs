//! The audit trail of a service, for every service alike: its routes, entries of what callers do, refusals within bounds,
//! and the health part that turns red when the chain is broken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use fep_audit::{Entry, Event, Filter, PAGE_MAX};
use fep_database::{Database, Transient, hex};
use fep_identity::{Person, Role};
use fep_kit::health::Health;
use fep_kit::{Problem, Stop};
use fep_time::{AsciiForm, LeapSeconds, Tai, tai_now};
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use utoipa::ToSchema;

use crate::body::{Answer, Json, List, Schemas, with_type};
use crate::login::{Act, Journal};
use crate::param::{Form, Reach};
use crate::route::{Call, Declared, Route};
use crate::service::Refusal;

/// Refusals that wait to be written.
const WAITING_MAX: usize = 256;
/// Refusals that are written one by one in a minute; the others are counted and written as one entry. So nobody fills the
/// disk by asking for what they may not have.
const REFUSALS_A_MINUTE: u32 = 60;
/// How often the whole chain is verified.
const VERIFY_EVERY: Duration = Duration::from_secs(3600);
const CHAIN: &str = "audit chain";
const WRITING: &str = "audit";

/// An entry of the trail.
#[derive(Serialize, ToSchema)]
struct AuditEntry {
    number: u64,
    /// UTC.
    at: String,
    /// TAI nanoseconds since 1958-01-01, a text because it exceeds what every reader of JSON takes as a number.
    at_tai_ns: String,
    person: String,
    account: String,
    action: String,
    subject: String,
    detail: String,
    /// Hash of the entry before, 64 hexadecimal digits.
    previous: String,
    hash: String,
}

/// What a verification of the whole trail found.
#[derive(Serialize, ToSchema)]
struct AuditReport {
    holds: bool,
    entries: u64,
    last: u64,
    /// What is wrong, at most the first hundred.
    findings: Vec<String>,
    findings_in_all: u64,
}

/// The trail of a service. Clones share it.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    database: Database,
    health: Health,
    refusals: mpsc::Sender<Event>,
    waiting: Mutex<Option<mpsc::Receiver<Event>>>,
    /// Refusals that found no room.
    missed: AtomicU64,
    verifying: Semaphore,
}

impl Trail {
    /// Of a database that has [`fep_audit::SCHEMA`].
    #[must_use]
    pub fn new(database: &Database, health: &Health) -> Trail {
        let (refusals, waiting) = mpsc::channel(WAITING_MAX);
        health.warning(CHAIN, "the chain is being verified for the first time");
        Trail(Arc::new(Inner {
            database: database.clone(),
            health: health.clone(),
            refusals,
            waiting: Mutex::new(Some(waiting)),
            missed: AtomicU64::new(0),
            verifying: Semaphore::new(1),
        }))
    }

    /// `GET /v1/audit`, its export and its verification: for security officers and administrators whose scope is
    /// everything, because entries name persons, and things of every spacecraft.
    #[must_use]
    pub fn routes(&self) -> Vec<Declared> {
        let get = |path, summary| {
            Route::get(path, summary)
                .roles(&[Role::SecurityOfficer, Role::Administrator])
                .reaches(Reach::EVERYTHING)
        };
        vec![
            get("/v1/audit", "Entries of the audit trail in their order.")
                .query("after", Form::Integer(0, i64::MAX as u64), "Only after this number.")
                .query(
                    "limit",
                    Form::Integer(1, PAGE_MAX as u64),
                    "At most so many; 1000 where nothing is said.",
                )
                .query("person", Form::Text(256), "Only of this person.")
                .query("action", Form::Text(128), "Only this action.")
                .query("subject", Form::Text(1024), "Only of this subject.")
                .to(&self.0, list),
            get(
                "/v1/audit/export",
                "The whole trail as lines of JSON, as `fep_audit::verify_lines` takes them.",
            )
            .to(&self.0, export),
            get("/v1/audit/verify", "Verifies the whole chain.").to(&self.0, verify),
        ]
    }

    /// For [`crate::Service::report_refusals_to`]: writes refusals, sixty a minute one by one, and counts the rest.
    pub fn refusals(&self) -> impl Fn(&Refusal<'_>) + Send + Sync + 'static {
        let inner = Arc::clone(&self.0);
        move |refusal| {
            let (method, path) = refusal.route;
            let detail = serde_json::json!({
                "request": refusal.request_id, "status": refusal.status, "reason": refusal.reason,
            });
            inner.refuse(event(refusal.person, "", "refused", &format!("{method} {path}"), detail));
        }
    }

    /// Writes what somebody did, in a transaction of its own.
    ///
    /// # Errors
    /// 503 when it cannot be written; health says so too.
    pub async fn note(
        &self,
        person: Option<&Person>,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Result<(), Problem> {
        self.0.write(event(person, "", action, subject, detail)).await
    }

    /// Writes refusals and verifies the chain, at once and then every hour, until `stop`: a task of the process.
    pub async fn keep(self, stop: Stop) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waiting) = waiting else { return };
        tokio::join!(self.0.write_refusals(waiting, &stop), self.0.verify_often(&stop));
    }
}

impl Journal for Trail {
    fn record<'a>(&'a self, act: Act<'a>) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(self.0.write(event_of(&act)))
    }

    fn refused(&self, act: &Act<'_>) {
        self.0.refuse(event_of(act));
    }
}

fn event_of(act: &Act<'_>) -> Event {
    let mut detail = act.detail.clone();
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("request".to_owned(), act.request_id.into());
    }
    event(act.person, act.account, act.action, act.subject, detail)
}

/// An entry within the bounds of the trail, whatever a caller sent; for a change of the service's own tables, which has it
/// in its transaction by [`fep_audit::append`]. `account` counts where no person is known.
#[must_use]
pub fn event(person: Option<&Person>, account: &str, action: &str, subject: &str, detail: Value) -> Event {
    let fitting = |text: &str, most: usize| {
        let mut end = text.len().min(most);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].replace('\0', "")
    };
    Event {
        at: tai_now(),
        person: person.map_or_else(|| "nobody".to_owned(), |person| fitting(&person.id.0, 256)),
        account: fitting(person.map_or(account, |person| &person.account), 256),
        action: fitting(action, 128),
        subject: fitting(subject, 1024),
        detail: fitting(&detail.to_string(), 65_536),
    }
}

impl Inner {
    async fn write(&self, event: Event) -> Result<(), Problem> {
        match fep_audit::note(&self.database, event).await {
            Ok(_) => {
                self.health.well(WRITING);
                Ok(())
            }
            Err(error) => {
                self.health.ill(WRITING, format!("the trail cannot be written: {error}"));
                let detail = "the audit trail cannot be written, and nothing is done without it";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "audit-away", detail)
                    .hint("the health and the log of the service name the cause"))
            }
        }
    }

    fn refuse(&self, event: Event) {
        if self.refusals.try_send(event).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn write_refusals(&self, mut waiting: mpsc::Receiver<Event>, stop: &Stop) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        let mut left = REFUSALS_A_MINUTE;
        let mut over = false;
        while !over {
            tokio::select! {
                () = stop.wait() => over = true,
                Some(event) = waiting.recv() => self.write_refusal(event, &mut left).await,
                _ = minute.tick() => {
                    self.write_missed().await;
                    left = REFUSALS_A_MINUTE;
                }
            }
        }
        while let Ok(event) = waiting.try_recv() {
            self.write_refusal(event, &mut left).await;
        }
        self.write_missed().await;
    }

    async fn write_refusal(&self, event: Event, left: &mut u32) {
        if *left == 0 {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *left -= 1;
        // Health and log say what is wrong; the refusal itself is in the log.
        let _ = self.write(event).await;
    }

    async fn write_missed(&self) {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let detail = serde_json::json!({"refusals": missed});
            let entry = event(None, "", "refusals not listed", "", detail);
            if self.write(entry).await.is_err() {
                self.missed.fetch_add(missed, Ordering::Relaxed);
            }
        }
    }

    async fn verify_often(&self, stop: &Stop) {
        let mut every = tokio::time::interval(VERIFY_EVERY);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                _ = every.tick() => {}
            }
            tokio::select! {
                () = stop.wait() => return,
                // What it finds is in the health.
                _ = self.verify() => {}
            }
        }
    }

    async fn verify(&self) -> Result<AuditReport, fep_audit::Error> {
        let report = match fep_audit::verify(&self.database, &[], None).await {
            Ok(report) => report,
            Err(error) => {
                self.health.ill(CHAIN, format!("the chain cannot be verified: {error}"));
                return Err(error);
            }
        };
        match report.findings.first() {
            None => self.health.well(CHAIN),
            Some(first) => {
                let text = format!("the chain is broken: {first} ({} findings)", report.findings_in_all);
                self.health.ill(CHAIN, text);
            }
        }
        Ok(AuditReport {
            holds: report.holds(),
            entries: report.entries,
            last: report.last,
            findings: report.findings.iter().map(ToString::to_string).collect(),
            findings_in_all: report.findings_in_all,
        })
    }

    async fn entries(&self, filter: &Filter) -> Result<Vec<Entry>, fep_audit::Error> {
        let mut reading = self.database.read("reading the audit trail").await?;
        fep_audit::page(&mut reading, filter).await
    }
}

fn problem(error: &fep_audit::Error) -> Problem {
    if error.is_transient() {
        tracing::warn!("{error}");
        let detail = "the audit trail cannot be read now";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "audit-away", detail).hint("ask again later");
    }
    Problem::fault("reading the audit trail", error)
}

async fn list(inner: Arc<Inner>, call: Call<()>) -> Result<List<AuditEntry>, Problem> {
    let text = |name: &str| call.values.get(name).map(str::to_owned);
    let filter = Filter {
        after: call.values.number("after").unwrap_or(0),
        limit: call.values.number("limit").unwrap_or(PAGE_MAX),
        person: text("person"),
        action: text("action"),
        subject: text("subject"),
    };
    let entries = inner.entries(&filter).await.map_err(|error| problem(&error))?;
    let leap_seconds = LeapSeconds::builtin();
    Ok(List(entries.into_iter().map(|entry| view(entry, &leap_seconds)).collect()))
}

fn view(entry: Entry, leap_seconds: &LeapSeconds) -> AuditEntry {
    let utc = |at: Tai| leap_seconds.utc(at).map(|utc| utc.to_ascii(AsciiForm::A, 3));
    AuditEntry {
        number: entry.number,
        // A time that no calendar has can only have been put there; the hash then says so.
        at: utc(entry.at).unwrap_or_default(),
        at_tai_ns: entry.at.0.to_string(),
        previous: hex::text(&entry.previous),
        hash: hex::text(&entry.hash),
        person: entry.person,
        account: entry.account,
        action: entry.action,
        subject: entry.subject,
        detail: entry.detail,
    }
}

/// Lines of JSON that are read page by page while they are sent.
struct Lines(axum::body::Body);

impl Answer for Lines {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/x-ndjson");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(with_type(self.0, "application/x-ndjson"))
    }
}

async fn export(inner: Arc<Inner>, call: Call<()>) -> Result<Lines, Problem> {
    let caller = Arc::clone(call.caller()?);
    let detail = serde_json::json!({"request": call.request_id});
    inner.write(event(Some(&caller.person), "", "audit trail exported", "", detail)).await?;
    // The trail only grows: short reads one after the other are one trail, and hold no transaction while a client reads
    // slowly. An answer that breaks off has no end that a client takes for one.
    let pages = futures::stream::try_unfold((inner, 0), |(inner, after)| async move {
        let filter = Filter { after, limit: PAGE_MAX, ..Filter::default() };
        let entries = inner.entries(&filter).await.map_err(|error| {
            tracing::error!("an export of the audit trail breaks off: {error}");
            std::io::Error::other("the audit trail cannot be read")
        })?;
        let Some(last) = entries.last().map(|entry| entry.number) else { return Ok(None) };
        let lines: String = entries.iter().map(|entry| entry.to_line() + "\n").collect();
        Ok::<_, std::io::Error>(Some((Bytes::from(lines), (inner, last))))
    });
    Ok(Lines(axum::body::Body::from_stream(pages)))
}

async fn verify(inner: Arc<Inner>, _call: Call<()>) -> Result<Json<AuditReport>, Problem> {
    let Ok(_one) = inner.verifying.try_acquire() else {
        let detail = "the chain is being verified for somebody else";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).hint("ask again later"));
    };
    inner.verify().await.map(Json).map_err(|error| problem(&error))
}
