//! Jobs of a service over HTTP: looking at one, cancelling it. What a job does belongs to the service.

use std::sync::Arc;

use fep_identity::Role;
use fep_jobs::Job;
use fep_kit::Problem;
use fep_time::tai_now;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::param::{Form, Reach};
use crate::route::{Call, Declared, Route};
use crate::{Base, audit};

/// A job as a caller sees it.
#[derive(Serialize, ToSchema)]
pub struct JobView {
    id: String,
    kind: String,
    person: String,
    state: String,
    /// Units of work done.
    done: u64,
    /// All units, where that is known.
    total: Option<u64>,
    /// What it is at.
    note: String,
    cancel_asked: bool,
    attempts: u32,
    /// What came of it, or why it failed; empty until it ended.
    outcome: String,
}

impl From<Job> for JobView {
    fn from(job: Job) -> JobView {
        JobView {
            id: job.id,
            kind: job.kind,
            person: job.person,
            state: job.state.name().to_owned(),
            done: job.progress.done,
            total: job.progress.total,
            note: job.progress.note,
            cancel_asked: job.cancel_asked,
            attempts: job.attempts,
            outcome: job.outcome,
        }
    }
}

/// `GET /v1/jobs/{id}` and `POST /v1/jobs/{id}/cancel`, for callers with one of these roles and this reach.
#[must_use]
pub fn routes(base: &Base, roles: &[Role], reach: Reach) -> Vec<Declared> {
    let base = &Arc::new(base.clone());
    let get = Route::get("/v1/jobs/{id}", "One job.").roles(roles).reaches(reach);
    let post = Route::post("/v1/jobs/{id}/cancel", "Asks a job to stop.").roles(roles).reaches(reach);
    vec![
        get.path_parameter("id", Form::Name, "Name of the job.").to(base, one),
        post.path_parameter("id", Form::Name, "Name of the job.").to(base, cancel),
    ]
}

async fn one(base: Arc<Base>, call: Call<()>) -> Result<Json<JobView>, Problem> {
    const DOING: &str = "reading a job";
    let found = base.attempt(DOING, || async {
        let mut reading = base.database.read(DOING).await?;
        Ok(fep_jobs::get(&mut reading, call.values.get("id").unwrap_or_default()).await?)
    });
    Ok(Json(found.await?.into()))
}

async fn cancel(base: Arc<Base>, call: Call<()>) -> Result<Json<JobView>, Problem> {
    let (id, caller) = (call.values.get("id").unwrap_or_default(), call.caller()?);
    let cancelled = base.change("cancelling a job", |mut writing| async move {
        let job = fep_jobs::cancel(&mut writing, id, tai_now()).await?;
        let event = audit::event(Some(&caller.person), "", "job cancelled", id, serde_json::json!({}));
        fep_audit::append(&mut writing, event).await?;
        Ok((writing, job))
    });
    Ok(Json(cancelled.await?.into()))
}
